"""Rewards: positive numbers on objects, and their logarithms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gentoolkit.core import validate


def checked_reward(reward: Tensor) -> Tensor:
    """Return `reward`; raise ValueError unless it is positive and finite throughout."""
    if not validate.readable(reward) or bool(((reward > 0) & (reward < torch.inf)).all()):
        return reward
    for bad, what, advice in (
        (torch.isnan(reward), "NaN", "look for 0 / 0 or the log of a negative number"),
        (reward < 0, "negative", "pass for example exp of a negative energy"),
        (reward == 0, "zeros, whose log is -inf", "add a floor: reward.clamp_min(1e-6)"),
        (torch.isinf(reward), "infinite", "subtract a constant from the log-reward"),
    ):
        if bool(bad.any()):
            raise ValueError(
                f"rewards must be positive and finite; got {int(bad.sum())} of {reward.numel()} "
                f"{what}; {advice}"
            )
    return reward


def checked_log_reward(log_reward: Tensor, n: int) -> Tensor:
    """Return `log_reward`; raise ValueError unless it is `n` finite numbers, (n,)."""
    validate.per_sample("log_reward", log_reward, n)
    if validate.readable(log_reward) and not validate.finite(log_reward):
        zeros = int((log_reward == -torch.inf).sum())
        nans, tops = int(torch.isnan(log_reward).sum()), int((log_reward == torch.inf).sum())
        raise ValueError(
            f"log-rewards must be finite; got {zeros} of -inf (a zero reward), {nans} NaN and "
            f"{tops} of +inf; add a floor, for example reward.clamp_min(1e-6).log()"
        )
    return log_reward


@dataclass(frozen=True)
class LogOf:
    """The logarithm of a positive reward, (B, D) -> (B,), checked at every call."""

    reward: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """Return `log R(x)`, (B,)."""
        return checked_reward(self.reward(x)).log()


@dataclass(frozen=True)
class Corners:
    """The reward of the hypergrid: a floor, a plateau in each corner block, a peak inside it.

        a_d = |x_d / (side - 1) - 1/2|
        R = floor + plateau prod_d 1[a_d > 0.25] + peak prod_d 1[0.3 < a_d < 0.4]

    Arguments:
        side: values of a coordinate.
        floor: reward everywhere, positive; the smaller, the further apart are the modes.
        plateau: added in the corner blocks.
        peak: added in a ring inside each.
    """

    side: int = 8
    floor: float = 0.1
    plateau: float = 0.5
    peak: float = 2.0

    def __call__(self, x: Tensor) -> Tensor:
        """Return the rewards of points (B, dims), shape (B,)."""
        # In whole numbers: in floating point x = 3 and 12 of 16 are on different sides of 0.3.
        last = self.side - 1
        twice = (2 * x - last).abs()  # 2 (side - 1) a_d
        outer = (2 * twice > last).all(1)
        ring = ((5 * twice > 3 * last) & (5 * twice < 4 * last)).all(1)
        like = torch.get_default_dtype()
        return self.floor + self.plateau * outer.to(like) + self.peak * ring.to(like)


@dataclass(frozen=True)
class WeightedEnergies:
    """A log-reward steered by a context: energies weighed against each other, or switched on.

        log R(x | w) = - sum_k w_k E_k(x) / temperature

    Weights between 0 and 1 that sum to one trace a Pareto front; weights of 0 or 1 switch modules.

    Arguments:
        energies: functions of objects (B, D) -> (B,), K of them.
        temperature: positive; the lower, the closer to the minima.
    """

    energies: Sequence[Callable[[Tensor], Tensor]]
    temperature: float = 1.0

    def __call__(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the log-rewards of objects (B, D) under contexts (B, K), shape (B,)."""
        if context.ndim != 2 or context.shape[1] != len(self.energies):
            raise ValueError(
                f"contexts must have shape (B, {len(self.energies)}), one weight an energy; got "
                f"{tuple(context.shape)}; pass one row of weights for each object"
            )
        each = torch.stack([energy(x) for energy in self.energies], 1)
        return -(context * each).sum(1) / self.temperature

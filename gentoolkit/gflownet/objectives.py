"""Conditions of balance, all computed from one and the same batch of paths.

With the log-flows F along a path, `F_0 = Z` and `F_n = R(x)`, the imbalance of step t is
`core.residuals`: log F_t + log pull - log F_{t-1} - log push. Detailed balance squares each,
trajectory balance their sum, sub-trajectory balance every partial sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gentoolkit.core import Trajectory, log_variance, residuals, trajectory_balance, validate


@dataclass(frozen=True)
class BalanceTerms:
    """What a model says of a batch of paths of at most T moves, the stop included.

    Arguments:
        log_push: (T, B), zero on padding.
        log_pull: (T, B), zero for the stop and on padding.
        log_flow: (T + 1, B), log F at the states; log R from the stop on.
        alive: bool (T, B), false on padding.
    """

    log_push: Tensor
    log_pull: Tensor
    log_flow: Tensor
    alive: Tensor

    def log_weight(self) -> Tensor:
        """Return `log R + sum log pull - sum log push`, (B,): log Z on every path if balanced."""
        return self.log_flow[-1] + (self.log_pull - self.log_push).sum(0)

    def residuals(self) -> Tensor:
        """Return the imbalance of every step, (T, B), zero on padding."""
        ratio = self.log_pull - self.log_push
        return residuals(Trajectory((), ratio, self.log_flow[0]), self.log_flow)


class FlowModel(Protocol):
    """What an objective asks of a model; the paths are those of its kind."""

    def balance_terms(self, paths: Any, /) -> BalanceTerms:  # noqa: ANN401
        """Return the terms of balance along the paths."""
        ...

    def inflow(self, paths: Any, /) -> Tensor:  # noqa: ANN401
        """Return the log of the flow into every state of the paths, (T, B)."""
        ...


Objective = Callable[[FlowModel, Any], Tensor]
"""A loss () of a model on a batch of paths, drawn from any law that reaches them all."""


@dataclass(frozen=True)
class TrajectoryBalance:
    """The square of the imbalance of whole paths, `(log w - log Z)^2`.

    Reference: Malkin et al. 2022 (arXiv 2201.13259).
    """

    def __call__(self, model: FlowModel, paths: Any) -> Tensor:  # noqa: ANN401
        """Return the mean over paths, shape ()."""
        terms = model.balance_terms(paths)
        return trajectory_balance(terms.log_weight(), terms.log_flow[0])


@dataclass(frozen=True)
class LogVariance:
    """The variance of log w over the batch: trajectory balance without a log Z to learn.

    Reference: Richter et al. 2020 (arXiv 2010.10436).
    """

    def __call__(self, model: FlowModel, paths: Any) -> Tensor:  # noqa: ANN401
        """Return the variance, shape (); all paths must share one context."""
        return log_variance(model.balance_terms(paths).log_weight())


@dataclass(frozen=True)
class DetailedBalance:
    """The square of the imbalance of every move and of the stop."""

    def __call__(self, model: FlowModel, paths: Any) -> Tensor:  # noqa: ANN401
        """Return the mean over the moves of all paths, shape ()."""
        terms = model.balance_terms(paths)
        return terms.residuals().square().sum() / terms.alive.sum()


@dataclass(frozen=True)
class SubTrajectoryBalance:
    """The squares of the imbalance of all stretches of a path, short ones first.

        d_ij = sum of the residuals of steps i + 1 ... j
        loss = sum_{i<j} decay^(j-i) d_ij^2 / sum_{i<j} decay^(j-i)

    A small decay > 0 leaves single moves (detailed balance), a large one whole paths.

    Reference: Madan et al. 2022 (arXiv 2209.12782).
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        validate.positive("decay", self.decay)

    def __call__(self, model: FlowModel, paths: Any) -> Tensor:  # noqa: ANN401
        """Return the mean over paths, shape ()."""
        terms = model.balance_terms(paths)
        return self.per_path(terms.residuals(), terms.alive).mean()

    def per_path(self, residual: Tensor, alive: Tensor) -> Tensor:
        """Return the loss of each path from its residuals (T, B), zero where not alive, (B,)."""
        total = residual.cumsum(0)
        total = torch.cat([torch.zeros_like(total[:1]), total])  # (T + 1, B)
        steps = torch.arange(len(total), device=total.device)
        length = (steps[1:] - steps[:-1, None]).clamp_min(0)  # (from, to), zero if not ahead
        # The longest stretch has weight one: a ratio of weights survives any decay and length.
        power = (length - len(residual) * (self.decay > 1)).to(total.dtype)
        weight = torch.where(length > 0, self.decay**power, 0.0)
        weight = weight[:, :, None] * alive[None]  # (T, T, B)
        square = (total[None, 1:] - total[:-1, None]).square()
        return (weight * square).sum((0, 1)) / weight.sum((0, 1))


@dataclass(frozen=True)
class FlowMatching:
    """The square of `log (inflow + floor) - log (outflow + floor)` at every state of the paths.

    The inflow of a state is a sum over its parents, so all of them are scored. What flows into a
    stop must be the reward of the object. The pull plays no part.

    Arguments:
        floor: added to both flows, so that tiny ones do not rule; zero asks for equal logs.
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        validate.at_least_zero("floor", self.floor)

    def __call__(self, model: FlowModel, paths: Any) -> Tensor:  # noqa: ANN401
        """Return the mean over the states after the source and the stops, shape ()."""
        terms, inflow = model.balance_terms(paths), model.inflow(paths)
        gap = self._gap(inflow[1:], terms.log_flow[1:-1])
        last = terms.alive.sum(0) - 1
        leaving = (terms.log_flow[:-1] + terms.log_push).gather(0, last[None])[0]
        stop = self._gap(leaving, terms.log_flow[-1])
        squares = torch.where(terms.alive[1:], gap, 0.0).square().sum() + stop.square().sum()
        return squares / terms.alive.sum()

    def _gap(self, entering: Tensor, leaving: Tensor) -> Tensor:
        if self.floor == 0.0:
            return entering - leaving
        floor = torch.full_like(leaving, self.floor).log()
        return torch.logaddexp(entering, floor) - torch.logaddexp(leaving, floor)

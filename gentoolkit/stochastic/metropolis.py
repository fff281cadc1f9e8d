"""Moves in detailed balance with a density: random walk, MALA, Hamiltonian Monte Carlo.

They are their own reversal, so no proposal density enters the log-ratio, `log g(x) - log g(y)`, and
exactly zero where a proposal is rejected. A decision to accept is a constant for gradients, so
their sizes are plain numbers, never parameters.
"""

from abc import abstractmethod
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import Gaussian, Reversible, validate
from gentoolkit.core.chain import Target, log_density
from gentoolkit.stochastic.gradient import checked_size, value_and_score


@dataclass(frozen=True)
class Place:
    """Where a move stands, with what was computed there.

    Arguments:
        x: (B, *event).
        log_g: log g at `x`, (B,).
        gradient: grad log g at `x`, or `x` itself where no gradient is needed.
    """

    x: Tensor
    log_g: Tensor
    gradient: Tensor


class Metropolised(Reversible):
    """Proposals that are taken with probability `min(1, exp(log_accept))`, else the state stays.

    Obligations: `target` and `moves` are fields; `look` evaluates what a proposal needs at a
    state; `propose` returns the next place and `log_accept`, so that detailed balance holds.
    Several moves with one g are again in detailed balance, and their log-ratio telescopes.
    """

    target: Target
    moves: int
    advice = "start where log g is finite, and fix a log-density that gives NaN or infinity"

    @abstractmethod
    def look(self, x: Tensor) -> Place:
        """Return the place at `x`."""

    @abstractmethod
    def propose(self, here: Place, generator: Generator | None) -> tuple[Place, Tensor]:
        """Return the proposed place and the log of the acceptance ratio, (B,)."""

    def log_g(self, x: Tensor) -> Tensor:
        """Return the log-density that the moves keep, (B,)."""
        return log_density(self.target, x)

    def move(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw the state after all moves."""
        return self.push(x, generator)[0]

    # Detailed balance gives these two in the core; here they reuse the values of the moves, which
    # would otherwise be computed twice.
    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `y` by the moves from `x`."""
        first = here = self.look(x)
        n = x.shape[0]
        for _ in range(self.moves):
            there, log_accept = self.propose(here, generator)
            u = torch.rand(n, dtype=here.x.dtype, device=here.x.device, generator=generator)
            # NaN fails the comparison: a proposal that ran away is rejected.
            take = u.log() < log_accept.detach()
            wide = take.reshape(n, *[1] * (here.x.ndim - 1))
            here = Place(
                torch.where(wide, there.x, here.x),
                torch.where(take, there.log_g, here.log_g),
                torch.where(wide, there.gradient, here.gradient),
            )
        return here.x, first.log_g - here.log_g

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `x` by the same moves from `y`."""
        x, ratio = self.push(y, generator)
        return x, -ratio

    def _check(self, name: str, size: float) -> None:
        if isinstance(size, Tensor):
            raise TypeError(
                f"{name} must be a plain number; got a tensor; no gradient flows through an accept "
                "decision, so it cannot be trained: pass float(size)"
            )
        checked_size(name, size, "halve it until about half of the proposals are accepted")
        validate.positive_count("moves", self.moves)


@dataclass(frozen=True)
class Metropolis(Metropolised):
    """Random-walk Metropolis: `y = x + width noise`, taken with probability `min(1, g(y)/g(x))`.

    Arguments:
        target: log g, a function or an object with `log_prob`.
        width: standard deviation of the proposal.
        moves: how many in this step.

    Raises:
        ValueError: `width` is not positive and finite, or `moves` is below one.
        TypeError: `width` is a tensor.

    Reference: Metropolis et al. 1953.
    """

    target: Target
    width: float
    moves: int = 1

    def __post_init__(self) -> None:
        self._check("width", self.width)

    def look(self, x: Tensor) -> Place:
        """Return log g at `x`."""
        return Place(x, self.log_g(x), x)

    def propose(self, here: Place, generator: Generator | None) -> tuple[Place, Tensor]:
        """Return a Gaussian step away; the proposal is symmetric."""
        y = Gaussian(here.x, self.width).sample(generator=generator)
        there = self.look(y)
        return there, there.log_g - here.log_g


@dataclass(frozen=True)
class MALA(Metropolised):
    """The Langevin step as a proposal, accepted or rejected.

        y = x + e grad log g(x) + sqrt(2 e) noise

    Arguments:
        target: log g, a function or an object with `log_prob`.
        step_size: e.
        moves: how many in this step.

    Raises:
        ValueError: `step_size` is not positive and finite, or `moves` is below one.
        TypeError: `step_size` is a tensor.

    Reference: Roberts and Tweedie 1996.
    """

    target: Target
    step_size: float
    moves: int = 1

    def __post_init__(self) -> None:
        self._check("step_size", self.step_size)

    def look(self, x: Tensor) -> Place:
        """Return log g and its gradient at `x`."""
        return Place(x, *value_and_score(self.target, x))

    def propose(self, here: Place, generator: Generator | None) -> tuple[Place, Tensor]:
        """Return a Langevin step, with the ratio of its two proposal densities."""
        f = self._law(here)
        there = self.look(f.sample(generator=generator))
        ratio = self._law(there).log_prob(here.x) - f.log_prob(there.x)
        return there, there.log_g - here.log_g + ratio

    def _law(self, place: Place) -> Gaussian:
        return Gaussian(place.x + self.step_size * place.gradient, sqrt(2.0 * self.step_size))


def leapfrog(
    log_g: Target, x: Tensor, p: Tensor, gradient: Tensor, step_size: Tensor | float, steps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return `x`, `p`, `log g(x)` and its gradient after `steps` leapfrogs from `x` and `p`."""
    value = x.new_zeros(x.shape[0])
    p = p + 0.5 * step_size * gradient
    for i in range(steps):
        x = x + step_size * p
        value, gradient = value_and_score(log_g, x)
        p = p + (step_size if i + 1 < steps else 0.5 * step_size) * gradient
    return x, p, value, gradient


@dataclass(frozen=True)
class HMC(Metropolised):
    """Hamiltonian Monte Carlo: a fresh momentum, leapfrogs, and an accept decision.

        accept with probability min(1, exp(H(x, p) - H(y, q))),   H = -log g(x) + |p|^2 / 2

    Arguments:
        target: log g, a function or an object with `log_prob`.
        step_size: of one leapfrog.
        leapfrogs: how many make a proposal.
        moves: proposals in this step.

    Raises:
        ValueError: `step_size` is not positive and finite, or a count is below one.
        TypeError: `step_size` is a tensor.

    Reference: Duane et al. 1987; Neal 2011 (arXiv 1206.1901).
    """

    target: Target
    step_size: float
    leapfrogs: int = 5
    moves: int = 1

    def __post_init__(self) -> None:
        self._check("step_size", self.step_size)
        validate.positive_count("leapfrogs", self.leapfrogs)

    def look(self, x: Tensor) -> Place:
        """Return log g and its gradient at `x`."""
        return Place(x, *value_and_score(self.target, x))

    def propose(self, here: Place, generator: Generator | None) -> tuple[Place, Tensor]:
        """Return the end of a path of constant energy, up to the error of the leapfrog."""
        p = Gaussian(torch.zeros_like(here.x), 1.0).sample(generator=generator)
        y, q, value, gradient = leapfrog(
            self.target, here.x, p, here.gradient, self.step_size, self.leapfrogs
        )
        kinetic = 0.5 * (p.square() - q.square()).reshape(len(p), -1).sum(1)
        return Place(y, value, gradient), value - here.log_g + kinetic

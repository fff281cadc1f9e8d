"""Unadjusted Hamiltonian moves on an extended state: position and momentum.

A state has shape (B, 2, *event): `state[:, 0]` is x, `state[:, 1]` is p. One unadjusted move is two
steps: a partial refreshment of the momentum, which is random, and a leapfrog, a bijection of volume
one.

    refresh    p' = h p + sqrt(1 - h^2) noise
    leapfrog   p+ = p' + (e/2) grad log g(x),  y = x + e p+,  q = p+ + (e/2) grad log g(y)
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import Bijection, Gaussian, Kernel, Law, validate
from gentoolkit.core.chain import Source, Target, draw, log_density
from gentoolkit.stochastic.gradient import checked_size, value_and_score

STABLE = (
    "a leapfrog is stable only while step_size^2 * L < 4, with L the largest curvature of -log g"
)


def split(state: Tensor) -> tuple[Tensor, Tensor]:
    """Return position and momentum of an extended state (B, 2, *event).

    Raises:
        ValueError: the state has no room for both.
    """
    if state.ndim < 2 or state.shape[1] != 2:
        raise ValueError(
            f"an extended state must have shape (B, 2, *event); got {tuple(state.shape)}; start "
            "from WithMomentum(source), or torch.stack([x, p], 1)"
        )
    return state[:, 0], state[:, 1]


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
class WithMomentum:
    """A density with an independent standard normal momentum beside it.

        log_prob(x, p) = log_prob(x) + log N(p; 0, I)

    Arguments:
        density: a source, which also samples, or a target, which is only scored.
    """

    density: Source | Target

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` extended states, (n, 2, *event)."""
        x = draw(self.density, n, generator)  # pyright: ignore[reportArgumentType]
        return torch.stack([x, Gaussian(torch.zeros_like(x), 1.0).sample(generator=generator)], 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of extended states (B, 2, *event), shape (B,)."""
        position, p = split(x)
        momentum = Gaussian(torch.zeros_like(p), 1.0).log_prob(p)
        return log_density(self.density, position) + momentum  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Leapfrog(Bijection):
    """Leapfrog steps of Hamilton's equations: volume preserving, undone by turning p round.

    Arguments:
        log_g: minus the potential energy.
        step_size: e; stable while `e^2 L < 4`, with L the largest curvature of `-log g`.
        steps: how many.

    Raises:
        ValueError: `step_size` is not positive and finite, or `steps` is below one.

    Reference: Neal 2011, MCMC using Hamiltonian dynamics (arXiv 1206.1901).
    """

    log_g: Target
    step_size: Tensor | float
    steps: int = 1
    advice = f"lower step_size: {STABLE}; the rule for a Langevin step of size d is d * L < 2"

    def __post_init__(self) -> None:
        checked_size("step_size", self.step_size, STABLE)
        validate.positive_count("steps", self.steps)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state (B, 2, *event) after the steps, and zeros (B,)."""
        position, momentum = split(x)
        gradient = value_and_score(self.log_g, position)[1]
        moved = leapfrog(self.log_g, position, momentum, gradient, self.step_size, self.steps)
        return torch.stack(moved[:2], 1), x.new_zeros(x.shape[0])

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state before the steps, and zeros (B,)."""
        position, momentum = split(y)
        back, log_det = self.transform(torch.stack([position, -momentum], 1))
        return torch.stack([back[:, 0], -back[:, 1]], 1), log_det


@dataclass(frozen=True)
class Refreshed(Law):
    """The law of an extended state (B, 2, *event) whose position is known.

    Arguments:
        position: (B, *event).
        momentum: the law of the momentum, (B, *event); the density is its own.
    """

    position: Tensor
    momentum: Gaussian

    def sample(self, n: int | None = None, generator: Generator | None = None) -> Tensor:
        """Draw a momentum for each position."""
        momentum = self.momentum.sample(n, generator)
        return torch.stack([self.position.expand_as(momentum), momentum], 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of the momenta of `x`, shape (B,).

        Raises:
            ValueError: `x` holds other positions, where this law has no density.
        """
        position, momentum = split(x)
        if validate.readable(x) and not torch.equal(position, self.position):
            raise ValueError(
                "x and y must hold the same positions; got a pair that a Refresh cannot make; "
                "replay only states that this step produced"
            )
        return self.momentum.log_prob(momentum)


@dataclass(frozen=True)
class Refresh(Kernel):
    """A partial refreshment of the momentum, with a reversal that may be learned.

        f(p'|p) = N(h p, (1 - h^2) I),   b(p|x, p') = N(h p' + 2 (1 - h) c(x, p'), (1 - h^2) I)

    With c = 0 it is in balance with the standard normal. The best correction is, to first order in
    1 - h, `c = p' + grad_{p'} log q(x, p')`, with q the law of the particles.

    Arguments:
        keep: h, the share of the momentum that stays, from 0 to below 1.
        correction: c, from the state after the refreshment (B, 2, *event) to (B, *event).

    Raises:
        ValueError: `keep` is outside [0, 1).

    Reference: Geffner and Domke 2021 (arXiv 2107.04150); Doucet et al. 2022 (arXiv 2208.07698).
    """

    keep: float
    correction: Callable[[Tensor], Tensor] | None = None
    advice = Leapfrog.advice

    def __post_init__(self) -> None:
        if not 0.0 <= self.keep < 1.0:
            raise ValueError(
                f"keep must lie in [0, 1); got {self.keep}; 0 draws a new momentum, and 1 would "
                "leave nothing to chance"
            )

    def push_law(self, x: Tensor) -> "Refreshed":
        """Return f(.|x), under which the position stays."""
        position, momentum = split(x)
        return Refreshed(position, Gaussian(self.keep * momentum, sqrt(1.0 - self.keep**2)))

    def pull_law(self, y: Tensor) -> "Refreshed":
        """Return b(.|y), under which the position stays."""
        law = self.push_law(y)
        if self.correction is None:
            return law
        shift = 2.0 * (1.0 - self.keep) * self.correction(y)
        return Refreshed(law.position, Gaussian(law.momentum.mean + shift, law.momentum.std))

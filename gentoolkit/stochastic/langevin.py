"""Langevin steps without an accept decision, with a reversal that may be learned.

    f(y|x) = N(x + e grad log g(x), 2 e I)
    b(x|y) = N(y + e grad log g(y) + 2 e c(y), 2 e I)

With c = 0 the step is undone by the same kernel, started at y: plain annealed importance sampling.
The reversal of a diffusion through marginals q has drift `-grad log g + 2 grad log q`, so the best
correction is `c = grad log q - grad log g`: what the particles lag behind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, sqrt

import torch
from torch import Tensor, nn

from gentoolkit.core import Gaussian, Kernel
from gentoolkit.core.chain import Target
from gentoolkit.stochastic.gradient import checked_size, value_and_score
from gentoolkit.stochastic.held import Held

_RULE = (
    "an explicit Langevin step is stable only while step_size * L < 2, with L the largest "
    "curvature of -log g"
)


@dataclass(frozen=True)
class Langevin(Kernel):
    """One unadjusted Langevin step (ULA) for an unnormalised density g.

    Arguments:
        log_g: its log, (B, *event) -> (B,), or an object with `log_prob`.
        step_size: e, the time of the step, one number; stable while `e L < 2`, with L the largest
            curvature of `-log g`. A tensor is differentiated.
        correction: c, what the reversal's score adds to grad log g, (B, *event) -> (B, *event).

    Raises:
        ValueError: `step_size` is not positive and finite.

    Reference: Wu, Köhler, Noé 2020 (arXiv 2002.06707); Doucet, Grathwohl, Matthews, Strathmann
        2022 (arXiv 2208.07698) for the correction.
    """

    log_g: Target
    step_size: Tensor | float
    correction: Callable[[Tensor], Tensor] | None = None
    advice = f"lower step_size: {_RULE}, so step_size * L > 2 makes paths explode"

    def __post_init__(self) -> None:
        checked_size("step_size", self.step_size, f"start near 1 / L: {_RULE}")

    def push_law(self, x: Tensor) -> Gaussian:
        """Return f(.|x)."""
        return self._around(x + self.step_size * value_and_score(self.log_g, x)[1])

    def pull_law(self, y: Tensor) -> Gaussian:
        """Return b(.|y)."""
        law = self.push_law(y)
        if self.correction is None:
            return law
        return self._around(law.mean + 2.0 * self.step_size * self.correction(y))

    def _around(self, mean: Tensor) -> Gaussian:
        # A path that ran away is the chain's to report: a law refuses no mean.
        e = self.step_size
        return Gaussian(mean, (2.0 * e).sqrt() if isinstance(e, Tensor) else sqrt(2.0 * e))


class TrainedLangevin(nn.Module, Kernel):
    """An unadjusted Langevin step whose step size is a parameter.

    Arguments:
        log_g: the log of an unnormalised density, or an object with `log_prob`; its own parameters
            are not trained.
        step_size: where training starts.

    Raises:
        ValueError: `step_size` is not positive and finite.

    Reference: Hagemann, Hertrich, Steidl 2021 (arXiv 2111.12506).
    """

    advice = Langevin.advice

    def __init__(self, log_g: Target, step_size: float) -> None:
        super().__init__()
        checked_size("step_size", step_size, f"start near 1 / L: {_RULE}")
        self.log_g = Held(log_g)
        self.log_step = nn.Parameter(torch.tensor(log(step_size)))

    def step(self) -> Langevin:
        """Return the step with its present size."""
        return Langevin(self.log_g.thing, self.log_step.exp())

    def push_law(self, x: Tensor) -> Gaussian:
        """Return f(.|x); a draw is reparameterised."""
        return self.step().push_law(x)

    def pull_law(self, y: Tensor) -> Gaussian:
        """Return b(.|y); a draw is reparameterised."""
        return self.step().pull_law(y)

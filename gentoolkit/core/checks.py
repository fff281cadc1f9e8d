"""Checks of a step, a chain or a density against exact truth.

Each returns a `Check`: a measured number, the bound it must stay under, and a line to print. The
tests assert them, and the lessons print them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, sqrt

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import validate
from gentoolkit.core.chain import Density
from gentoolkit.core.laws import Gaussian
from gentoolkit.core.step import Bijection, Step

STANDARD_ERRORS = 4.0
"""How far a mean of a simulation may lie from the truth: 1 in 16,000 by chance if normal."""


@dataclass(frozen=True)
class Check:
    """One measured number and the bound that it must not exceed."""

    name: str
    value: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the value is a number within the bound."""
        return isfinite(self.value) and self.value <= self.bound

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        """Give the verdict with its number; ≈ marks digits that differ from run to run."""
        verdict = "PASS" if self.passed else "FAIL"
        return f"{verdict}  {self.name}: ≈ {self.value:.3g}, bound {self.bound:.3g}"


def same_ratio(
    step: Step, x: Tensor, bound: float = 1e-10, generator: Generator | None = None
) -> Check:
    """Check that push, pull and log_ratio give one and the same number for one pair of states.

    Arguments:
        step: the step; its push is run from `x` and its pull from what push gave.
        x: states on the source side, (B, *event).
        bound: largest absolute difference.
        generator: source of randomness.
    """
    y, pushed = step.push(validate.batch("x", x), generator)
    back, pulled = step.pull(y, generator)
    if not pushed.shape == pulled.shape == (x.shape[0],):
        return Check("push, pull and log_ratio have shape (B,)", inf, bound)
    gap = torch.stack([pushed - step.log_ratio(x, y), pulled - step.log_ratio(back, y)])
    return Check("push, pull and log_ratio agree", float(gap.detach().abs().max()), bound)


def round_trip(step: Bijection, x: Tensor, bound: float = 1e-10) -> Check:
    """Check that the inverse undoes the map and reports the same log-determinant."""
    y, log_det = step.transform(validate.batch("x", x))
    back, log_det_back = step.inverse(y)
    gap = max(float(g.detach().abs().max()) for g in (back - x, log_det_back - log_det))
    return Check("the inverse undoes the map", gap, bound)


def log_det(step: Bijection, x: Tensor, bound: float = 1e-10) -> Check:
    """Check the log-determinant against `slogdet` of the Jacobian by automatic differentiation.

    The whole (B, D, B, D) Jacobian is formed, so a map that mixes the rows of a batch fails too.
    """
    n = validate.batch("x", x).shape[0]
    jacobian = torch.autograd.functional.jacobian(lambda x: step.transform(x)[0], x)
    assert isinstance(jacobian, Tensor)
    full = jacobian.reshape(n, x[0].numel(), n, x[0].numel())
    own = full[torch.arange(n), :, torch.arange(n), :]  # (B, D, D)
    mixing = float((full.abs().sum() - own.abs().sum()).abs())
    gap = (torch.linalg.slogdet(own).logabsdet - step.transform(x)[1]).detach().abs().max()
    return Check("log-determinant equals slogdet of the Jacobian", float(gap) + mixing, bound)


def mean_is(values: Tensor, expected: float, name: str = "mean") -> Check:
    """Check that a simulation's mean lies within 4 of its own standard errors of the truth.

    Arguments:
        values: (B,) independent draws.
        expected: the exact mean.
        name: what is averaged.
    """
    if values.ndim != 1 or values.shape[0] < 2:
        raise ValueError(f"values must have shape (B,), B >= 2; got {tuple(values.shape)}")
    error = float(values.std()) / sqrt(values.shape[0])
    off = abs(float(values.mean()) - expected)
    rounding = 1e-9 * max(1.0, abs(expected))
    score = 0.0 if off <= rounding else off / error if error > 0 else inf
    return Check(f"{name}, distance in standard errors", score, STANDARD_ERRORS)


def mean_weight(log_w: Tensor, log_z: float) -> Check:
    """Check `E[w] = Z` over paths pushed from the source; `log_w` (B,)."""
    return mean_is((log_w - log_z).exp(), 1.0, "E[w] = Z")


def mean_inverse_weight(log_w: Tensor, log_z: float) -> Check:
    """Check `E[1/w] = 1/Z` over paths pulled from exact samples of the target; `log_w` (B,)."""
    return mean_is((log_z - log_w).exp(), 1.0, "E_pull[1/w] = 1/Z")


def bridge(pushed: Tensor, pulled: Tensor, log_z: float) -> Check:
    """Check the weights of pushed and pulled paths against each other and against log Z.

        E_push[w / (w + Z)] = E_pull[Z / (w + Z)]

    Both sides lie between 0 and 1, so this holds its own where the weights are too heavy-tailed
    for their mean to be trusted.

    Arguments:
        pushed: log-weights of paths pushed from the source, (B,).
        pulled: log-weights of paths pulled from exact samples of the target, (B',).
        log_z: the exact value.

    Reference: Bennett 1976; Meng and Wong 1996 (bridge sampling).
    """
    left, right = (pushed - log_z).sigmoid(), (log_z - pulled).sigmoid()
    error = (left.var() / left.shape[0] + right.var() / right.shape[0]).sqrt()
    off = (left.mean() - right.mean()).abs()
    # Two chains that agree exactly give 1/2 on both sides, without spread.
    score = 0.0 if float(off) <= 1e-9 else float(off / error)
    return Check("push and pull give one Z, distance in standard errors", score, STANDARD_ERRORS)


def fits(
    density: Density, n: int = 20_000, probes: int = 8, generator: Generator | None = None
) -> Check:
    """Check that samples follow `log_prob`, and that `log_prob` is normalised.

    For normalised p and q the weight q/p of a draw from p has Z = 1, which `bridge` checks. The
    probes q are narrow Gaussians (a third of the sample's own spread) around points of a sample:
    each looks at the fit near one place. The largest deviation counts, in standard errors.

    Arguments:
        density: a continuous density with events of shape (D,).
        n: sample size.
        probes: how many places are looked at.
        generator: source of randomness.
    """
    x = density.sample(n, generator=generator)
    log_p = validate.per_sample("log_prob", density.log_prob(x), n)
    spread = (x.quantile(0.84, 0) - x.quantile(0.16, 0)) / 2  # robust, unlike a deviation
    scores = []
    for place in density.sample(probes, generator=generator):
        q = Gaussian(place[None], spread / 3)
        y = q.sample(n, generator=generator)
        # A path without steps from p, whose target is q.
        there, back = q.log_prob(x) - log_p, q.log_prob(y) - density.log_prob(y)
        scores.append(bridge(there, back, 0.0).value)
    return Check(
        "samples fit the density, worst probe in standard errors", max(scores), STANDARD_ERRORS
    )


def dead_parameters(loss: Callable[[], Tensor], module: nn.Module) -> list[str]:
    """Return the names of the parameters that the gradient of `loss` does not reach.

    Arguments:
        loss: evaluates the loss, shape ().
        module: whose parameters are looked at.
    """
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    return [
        name
        for name, gradient in zip(names, gradients, strict=True)
        if gradient is None or not bool(gradient.abs().sum() > 0)
    ]

"""Solvers of the probability-flow ODE: the deterministic path with the marginals of the SDE.

    dx/dt = f x - g^2 score / 2

A step that ends where no noise is left cannot evaluate the score there: every solver then goes to
`signal` times the estimate of the data.
"""

from dataclasses import dataclass
from math import expm1, inf, log, sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.denoiser import Denoiser, NoiseLevel
from gentoolkit.diffusion.samplers import Advance, Sampler, mix, rates_at, standard_noise
from gentoolkit.numerics import Adaptive, heun
from gentoolkit.numerics.ode import Field, Rule


@dataclass(frozen=True)
class ProbabilityFlow(Sampler):
    """The ODE in time, by a rule for general equations.

    Arguments:
        rule: one step: `euler` (order 1), `heun` (2) or `rk4` (4) of `gentoolkit.numerics`.

    Reference: Song et al. 2021 (arXiv 2011.13456).
    """

    rule: Rule = heun

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step."""

        def advance(x: Tensor, here: NoiseLevel, there: NoiseLevel) -> tuple[Tensor, Tensor]:
            data = model.estimate(x, here)
            if there.noise == 0.0:
                return data, there.signal * data
            t = torch.tensor(here.time, dtype=torch.float64)
            h = torch.tensor(there.time, dtype=torch.float64) - t
            return data, self.rule(_slope(model, here, data), t, h, (x,))[0]

        return advance


def _slope(model: Denoiser, here: NoiseLevel, data: Tensor) -> Field:
    """Return the right side of the ODE; its first call, at `here`, asks the net no second time."""
    known = [(here, data)]

    def slope(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor]:
        (point,) = state
        at, estimate = known.pop() if known else _estimate(model, point, t)
        drift, fall = rates_at(model, float(t))
        # -g^2 score / 2 = fall (signal data - x) / 2, for g^2 = -noise^2 fall.
        return ((drift - 0.5 * fall) * point + (0.5 * fall * at.signal) * estimate,)

    return slope


def _estimate(model: Denoiser, x: Tensor, t: Tensor) -> tuple[NoiseLevel, Tensor]:
    (at,) = model.levels(t[None])
    return at, model.estimate(x, at)


@dataclass(frozen=True)
class AdaptiveFlow(Sampler):
    """The ODE in time, by as many steps between two of the times as its tolerances ask for.

    The times are where states are wanted, and the solver starts anew at each: two times are
    enough, and more of them cost a few calls each. `State.calls` tells what a solution took. The
    largest error of any entry counts, so one stiff row slows the batch.

    Arguments:
        rtol: tolerance of a step's error, relative to the state.
        atol: absolute tolerance of a step's error.
        max_steps: how many steps may be tried between two times.

    Raises:
        ValueError: a tolerance that is not positive, or no steps; on the way, that no step is
            small enough, or that there are too many.

    Reference: Dormand and Prince 1980; Song et al. 2021 (arXiv 2011.13456).
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 1000

    def __post_init__(self) -> None:
        self._solver()  # its checks are ours

    def _solver(self) -> Adaptive:
        return Adaptive(self.rtol, self.atol, max_steps=self.max_steps)

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the solution from one time to the next."""
        solver = self._solver()

        def advance(x: Tensor, here: NoiseLevel, there: NoiseLevel) -> tuple[Tensor, Tensor]:
            data = model.estimate(x, here)
            if there.noise == 0.0:
                return data, there.signal * data
            slope = _slope(model, here, data)
            return data, solver.solve(slope, (x,), here.time, there.time)[0]

        return advance


@dataclass(frozen=True)
class EDM(Sampler):
    """Heun's rule for `y = x / signal` in the noise level `u = noise / signal`, with churn.

        dy/du = (y - data) / u

    Churn first raises the level from u to `(1 + gamma) u` by fresh noise, with
    `gamma = min(churn / T, sqrt(2) - 1)`, never above the schedule's last level.

    Arguments:
        churn: how much noise is renewed over all T steps; 0 draws nothing.
        low: least level u that is churned.
        high: greatest level u that is churned.
        noise_scale: deviation of the fresh noise, near 1 (S_noise).

    Raises:
        ValueError: `churn` is negative, `noise_scale` not positive, or not `0 <= low <= high`.

    Reference: Karras et al. 2022 (arXiv 2206.00364).
    """

    churn: float = 0.0
    low: float = 0.0
    high: float = inf
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.churn < inf:
            raise ValueError(f"churn must be >= 0 and finite; got {self.churn}; 0 draws nothing")
        if not 0.0 <= self.low <= self.high:
            raise ValueError(
                f"churn needs 0 <= low <= high; got low={self.low}, high={self.high}; exchange them"
            )
        validate.positive("noise_scale", self.noise_scale)

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step; its estimate is read after the churn."""
        gamma = min(self.churn / steps, sqrt(2.0) - 1.0)
        (top,) = model.levels(torch.ones(1))

        def advance(x: Tensor, here: NoiseLevel, there: NoiseLevel) -> tuple[Tensor, Tensor]:
            if gamma > 0.0 and self.low <= here.ratio <= self.high:
                start = self._lifted(model, here, top, gamma)
                added = sqrt(max(0.0, start.ratio**2 - here.ratio**2))
                noise = standard_noise(x, generator)
                x = (x / here.signal + added * self.noise_scale * noise) * start.signal
                here = start
            data = model.estimate(x, here)
            return data, _heun(model, x, data, here, there)

        return advance

    @staticmethod
    def _lifted(model: Denoiser, here: NoiseLevel, top: NoiseLevel, gamma: float) -> NoiseLevel:
        if here.ratio * (1.0 + gamma) >= top.ratio:
            return top
        return model.level_at(here.half_log_snr - log(1.0 + gamma))


def _heun(model: Denoiser, x: Tensor, data: Tensor, here: NoiseLevel, there: NoiseLevel) -> Tensor:
    end = mix(x, data, here, there, there.noise)  # Euler's rule in u is DDIM's step
    if there.noise == 0.0:
        return end
    y = x / here.signal
    first = (y - data) / here.ratio
    second = (end / there.signal - model.estimate(end, there)) / there.ratio
    return there.signal * (y + (there.ratio - here.ratio) / 2.0 * (first + second))


@dataclass(frozen=True)
class DPMSolver2(Sampler):
    """The exponential midpoint rule in `lambda = log(signal / noise)`: order 2, two calls a step.

        u   = (signal_m / signal_t) x - noise_m (exp(h / 2) - 1) e(x, t)
        x_s = (signal_s / signal_t) x - noise_s (exp(h) - 1) e(u, m)

    with h the step of lambda and m the time at its middle.

    Reference: Lu et al. 2022 (arXiv 2206.00927).
    """

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step."""

        def advance(x: Tensor, here: NoiseLevel, there: NoiseLevel) -> tuple[Tensor, Tensor]:
            data = model.estimate(x, here)
            if there.noise == 0.0:
                return data, there.signal * data
            middle = model.level_at(0.5 * (here.half_log_snr + there.half_log_snr))
            u = mix(x, data, here, middle, middle.noise)  # DDIM's step is the first-order rule
            noise = (u - middle.signal * model.estimate(u, middle)) / middle.noise
            grown = expm1(there.half_log_snr - here.half_log_snr)
            return data, (there.signal / here.signal) * x - there.noise * grown * noise

        return advance


@dataclass(frozen=True)
class DPMSolverPlusPlus2M(Sampler):
    """The two-step rule in `lambda = log(signal / noise)`: order 2, one call a step.

        x_s = (noise_s / noise_t) x - signal_s (exp(-h) - 1) D
        D   = data + (data - data before) h / (2 h before)

    The first step, and one that ends without noise, are of first order.

    Reference: Lu et al. 2022 (arXiv 2211.01095).
    """

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step, which remembers the last one of its run."""
        before: tuple[Tensor, float] | None = None

        def advance(x: Tensor, here: NoiseLevel, there: NoiseLevel) -> tuple[Tensor, Tensor]:
            nonlocal before
            data = model.estimate(x, here)
            h = there.half_log_snr - here.half_log_snr
            slope = data
            if before is not None and there.noise > 0.0:
                last, h_last = before
                slope = data + (data - last) * (h / (2.0 * h_last))
            before = data, h
            return data, (there.noise / here.noise) * x - there.signal * expm1(-h) * slope

        return advance

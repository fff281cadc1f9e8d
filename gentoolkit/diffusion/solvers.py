"""Solvers of the probability-flow ODE: the deterministic path with the marginals of the SDE.

    dx/dt = f x - g^2 score / 2

A step that ends where no noise is left cannot evaluate the score there: every solver then goes to
`signal` times the estimate of the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import expm1, inf, log, sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.denoiser import Denoiser, Level
from gentoolkit.diffusion.samplers import Sampler, State, mix, standard_noise
from gentoolkit.numerics import heun
from gentoolkit.numerics.ode import Rule


@dataclass(frozen=True)
class ProbabilityFlow(Sampler):
    """The ODE in time, by a rule for general equations.

    Arguments:
        rule: one step: `euler` (order 1), `heun` (2) or `rk4` (4) of `gentoolkit.numerics`.

    Reference: Song et al. 2021 (arXiv 2011.13456).
    """

    rule: Rule = heun

    def walk(
        self, model: Denoiser, x: Tensor, points: list[Level], generator: Generator | None
    ) -> Iterator[State]:
        """Yield the state at each of `points`."""
        data = x
        for here, there in pairwise(points):
            data = model.data(x, here)
            yield State(here.time, x, data)
            x = self._step(model, x, data, here, there)
        yield State(points[-1].time, x, data)

    def _step(
        self, model: Denoiser, x: Tensor, data: Tensor, here: Level, there: Level
    ) -> Tensor:
        if there.noise == 0.0:
            return there.signal * data
        known = [(here, data)]  # the slope at the start needs no second call of the net

        def slope(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor]:
            (point,) = state
            at, estimate = known.pop() if known else _estimate(model, point, t)
            with torch.no_grad():
                drift, fall = (float(v) for v in model.schedule.rates(t[None]))
            # -g^2 score / 2 = fall (signal data - x) / 2, for g^2 = -noise^2 fall.
            return ((drift - 0.5 * fall) * point + (0.5 * fall * at.signal) * estimate,)

        t = torch.tensor(here.time, dtype=torch.float64)
        h = torch.tensor(there.time, dtype=torch.float64) - t
        return self.rule(slope, t, h, (x,))[0]


def _estimate(model: Denoiser, x: Tensor, t: Tensor) -> tuple[Level, Tensor]:
    (at,) = model.levels(t[None])
    return at, model.data(x, at)


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
        inflation: deviation of the fresh noise, near 1.

    Raises:
        ValueError: `churn` is negative, `inflation` not positive, or not `0 <= low <= high`.

    Reference: Karras et al. 2022 (arXiv 2206.00364).
    """

    churn: float = 0.0
    low: float = 0.0
    high: float = inf
    inflation: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.churn < inf:
            raise ValueError(f"churn must be >= 0 and finite; got {self.churn}; 0 draws nothing")
        if not 0.0 <= self.low <= self.high:
            raise ValueError(
                f"churn needs 0 <= low <= high; got low={self.low}, high={self.high}; exchange them"
            )
        validate.positive("inflation", self.inflation)

    def walk(
        self, model: Denoiser, x: Tensor, points: list[Level], generator: Generator | None
    ) -> Iterator[State]:
        """Yield the state at each of `points`, its estimate read after the churn."""
        data = x
        gamma = min(self.churn / (len(points) - 1), sqrt(2.0) - 1.0)
        (top,) = model.levels(torch.ones(1))
        for here, there in pairwise(points):
            start, y = here, x
            if gamma > 0.0 and self.low <= here.ratio <= self.high:
                start = self._lifted(model, here, top, gamma)
                added = sqrt(max(0.0, start.ratio**2 - here.ratio**2))
                noise = standard_noise(x, generator)
                y = (x / here.signal + added * self.inflation * noise) * start.signal
            data = model.data(y, start)
            yield State(here.time, x, data)
            x = _heun(model, y, data, start, there)
        yield State(points[-1].time, x, data)

    @staticmethod
    def _lifted(model: Denoiser, here: Level, top: Level, gamma: float) -> Level:
        if here.ratio * (1.0 + gamma) >= top.ratio:
            return top
        return model.level_at(here.half_log_snr - log(1.0 + gamma))


def _heun(model: Denoiser, x: Tensor, data: Tensor, here: Level, there: Level) -> Tensor:
    end = mix(x, data, here, there, there.noise)  # Euler's rule in u is DDIM's step
    if there.noise == 0.0:
        return end
    y = x / here.signal
    first = (y - data) / here.ratio
    second = (end / there.signal - model.data(end, there)) / there.ratio
    return there.signal * (y + (there.ratio - here.ratio) / 2.0 * (first + second))


@dataclass(frozen=True)
class DPMSolver2(Sampler):
    """The exponential midpoint rule in `lambda = log(signal / noise)`: order 2, two calls a step.

        u   = (signal_m / signal_t) x - noise_m (exp(h / 2) - 1) e(x, t)
        x_s = (signal_s / signal_t) x - noise_s (exp(h) - 1) e(u, m)

    with h the step of lambda and m the time at its middle.

    Reference: Lu et al. 2022 (arXiv 2206.00927).
    """

    def walk(
        self, model: Denoiser, x: Tensor, points: list[Level], generator: Generator | None
    ) -> Iterator[State]:
        """Yield the state at each of `points`."""
        data = x
        for here, there in pairwise(points):
            data = model.data(x, here)
            yield State(here.time, x, data)
            if there.noise == 0.0:
                x = there.signal * data
                continue
            middle = model.level_at(0.5 * (here.half_log_snr + there.half_log_snr))
            u = mix(x, data, here, middle, middle.noise)  # DDIM's step is the first-order rule
            noise = (u - middle.signal * model.data(u, middle)) / middle.noise
            grown = expm1(there.half_log_snr - here.half_log_snr)
            x = (there.signal / here.signal) * x - there.noise * grown * noise
        yield State(points[-1].time, x, data)


@dataclass(frozen=True)
class DPMSolverPlusPlus2M(Sampler):
    """The two-step rule in `lambda = log(signal / noise)`: order 2, one call a step.

        x_s = (noise_s / noise_t) x - signal_s (exp(-h) - 1) D
        D   = data + (data - data before) h / (2 h before)

    The first step, and one that ends without noise, are of first order.

    Reference: Lu et al. 2022 (arXiv 2211.01095).
    """

    def walk(
        self, model: Denoiser, x: Tensor, points: list[Level], generator: Generator | None
    ) -> Iterator[State]:
        """Yield the state at each of `points`."""
        data, before, h_before = x, None, 0.0
        for here, there in pairwise(points):
            data = model.data(x, here)
            yield State(here.time, x, data)
            h = there.half_log_snr - here.half_log_snr
            slope = data
            if before is not None and there.noise > 0.0:
                slope = data + (data - before) * (h / (2.0 * h_before))
            x = (there.noise / here.noise) * x - there.signal * expm1(-h) * slope
            before, h_before = data, h
        yield State(points[-1].time, x, data)

"""Samplers: from noise to data along falling times, one state after another.

    x = sampler.sample(model.denoiser(context), n, steps)
    for state in sampler.walk(model.denoiser(context), n, steps): ...

No gradient is kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import expm1, sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.denoiser import Denoiser, NoiseLevel
from gentoolkit.processes import Counted, State, falling_times, walk

Advance = Callable[[Tensor, NoiseLevel, NoiseLevel], tuple[Tensor, Tensor]]
"""One step, (x, here, there) -> the estimate of the data read at `here`, the state at `there`."""


class Sampler(ABC):
    """A way from noise to data.

    Obligation: `begin` returns the step of one run, from checked arguments. It is asked for once a
    run, so a step may remember the ones before it.
    """

    def walk(
        self,
        denoiser: Denoiser,
        start: int | Tensor,
        steps: int | Tensor = 100,
        generator: Generator | None = None,
    ) -> Iterator[State]:
        """Yield the T+1 states of a run, from noise towards data; `estimate` is of the data.

        Where no signal is left at the first time every sampler begins with DDIM's step: there the
        equations are singular, but the state is noise alone and the step is plain.

        Arguments:
            denoiser: tells the data.
            start: how many states to draw from the denoiser's source, or the states at the first
                time, (B, *event).
            steps: number of even steps from 1 to 0, or falling times (T+1,).
            generator: source of randomness.

        Raises:
            TypeError: states or times are integers.
            ValueError: the states are not finite, the times leave [0, 1] or do not fall, there is
                no signal to read the data from, or the states leave the real numbers on the way.
        """
        levels = denoiser.levels(falling_times(steps))
        x = denoiser.start(start, generator)
        counted = Counted(denoiser.net)
        model = replace(denoiser, net=counted)
        advance = self.begin(model, len(levels) - 1, generator)

        def step(x: Tensor, i: int) -> tuple[Tensor, Tensor]:
            here, there = levels[i], levels[i + 1]
            if here.signal > 0.0:
                return advance(x, here, there)
            data = model.estimate(x, here)
            return data, mix(x, data, here, there, there.noise)

        return walk(step, x, [level.time for level in levels], counted)

    def sample(
        self,
        denoiser: Denoiser,
        start: int | Tensor,
        steps: int | Tensor = 100,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return the states at the last time, (B, *event): see `walk` for the arguments."""
        *_, end = self.walk(denoiser, start, steps, generator)
        return end.x

    @abstractmethod
    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step of a run of `steps` steps."""


def standard_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Return standard normal numbers in the shape, type and place of `like`."""
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def posterior_std(here: NoiseLevel, there: NoiseLevel) -> float:
    """Return the deviation of `q(x_there | x_here, x_0)`, with `there` nearer to the data.

    variance = noise_there^2 (1 - SNR_here / SNR_there)
    """
    return there.noise * sqrt(-expm1(2.0 * (here.half_log_snr - there.half_log_snr)))


def mix(x: Tensor, data: Tensor, here: NoiseLevel, there: NoiseLevel, direction: float) -> Tensor:
    """Return `signal_there data + direction e`, with `e = (x - signal_here data) / noise_here`."""
    slope = direction / here.noise
    return slope * x + (there.signal - slope * here.signal) * data


@dataclass(frozen=True)
class DDIM(Sampler):
    """Steps of any length along the family of chains that share DDPM's marginals.

        x_s = signal_s x0 + sqrt(noise_s^2 - std^2) e + std z
        std = eta noise_s sqrt(1 - SNR_t / SNR_s)

    with x0 and e the net's estimates. At `eta = 0` nothing is drawn: a first-order solver of the
    probability-flow ODE, exact where the estimate of the noise stays the same. At `eta = 1` it is
    DDPM's `ancestral()`: each state is drawn from the posterior of the noising chain.

    Arguments:
        eta: share of the posterior's deviation that is drawn anew, in [0, 1].
        wide: draw z with the deviation of the noising kernel q(x_t|x_s), std noise_t / noise_s,
            in place of the posterior's; nothing is then drawn in a step that ends without noise.

    Raises:
        ValueError: `eta` lies outside [0, 1].

    Reference: Song, Meng, Ermon 2021 (arXiv 2010.02502).
    """

    eta: float = 0.0
    wide: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.eta <= 1.0:
            raise ValueError(
                f"eta must lie in [0, 1]; got {self.eta}; 0 draws nothing, 1 is DDPM, and beyond "
                "it the marginals cannot be kept"
            )

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step."""

        def advance(x: Tensor, here: NoiseLevel, there: NoiseLevel) -> tuple[Tensor, Tensor]:
            data = model.estimate(x, here)
            std = self.eta * posterior_std(here, there)
            rest = sqrt(max(0.0, there.noise**2 - std**2))  # rounding may leave -1e-17
            x = mix(x, data, here, there, rest)
            if std == 0.0:
                return data, x
            drawn = std * here.noise / there.noise if self.wide else std
            return data, x + drawn * standard_noise(x, generator)

        return advance


def ancestral(wide: bool = False) -> DDIM:
    """Return the generative chain of DDPM, `DDIM(1)`.

    Reference: Ho, Jain, Abbeel 2020 (arXiv 2006.11239).
    """
    return DDIM(1.0, wide)


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """The reverse SDE by Euler's rule, with noise at every step, the last one too.

        dx = [f x - g^2 score] dt + g dw,   t falling

    Reference: Anderson 1982; Song et al. 2021 (arXiv 2011.13456).
    """

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step."""

        def advance(x: Tensor, here: NoiseLevel, there: NoiseLevel) -> tuple[Tensor, Tensor]:
            data = model.estimate(x, here)
            drift, fall = rates_at(model, here.time)
            h = here.time - there.time
            gain = -h * fall  # h g^2 / noise^2
            mean = (1.0 - h * drift - gain) * x + gain * here.signal * data
            return data, mean + here.noise * sqrt(gain) * standard_noise(x, generator)

        return advance


def rates_at(model: Denoiser, time: float) -> tuple[float, float]:
    """Return the derivatives of log signal and log-SNR at one time, as plain numbers."""
    t = torch.tensor([time], dtype=torch.float64, device=model.schedule.device)
    drift, fall = model.schedule.rates(t)
    return float(drift), float(fall)


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """A step of the reverse SDE, then Langevin steps at the new time.

        x <- x + e score + sqrt(2 e) z,   e = 2 (ratio |z| / |score|)^2

    The norms are means over the batch, so rows share one step size. Where no noise is left there
    is no score, and where the score is zero in all rows the rule has no step: no correction.

    Arguments:
        ratio: signal-to-noise ratio of a Langevin step.
        corrections: how many after each step.

    Raises:
        ValueError: `ratio` is not positive, or no correction is asked for.

    Reference: Song et al. 2021 (arXiv 2011.13456).
    """

    ratio: float = 0.16
    corrections: int = 1

    def __post_init__(self) -> None:
        validate.positive("ratio", self.ratio)
        validate.positive_count("corrections", self.corrections)

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step to a corrected state; the first is taken as it is."""
        predict = EulerMaruyama().begin(model, steps, generator)

        def advance(x: Tensor, here: NoiseLevel, there: NoiseLevel) -> tuple[Tensor, Tensor]:
            data, x = predict(x, here, there)
            for _ in range(self.corrections if there.noise > 0.0 else 0):
                x = self._correct(model, x, there, generator)
            return data, x

        return advance

    def _correct(
        self, model: Denoiser, x: Tensor, at: NoiseLevel, generator: Generator | None
    ) -> Tensor:
        score = (at.signal * model.estimate(x, at) - x) / at.noise**2
        z = standard_noise(x, generator)
        step = 2.0 * (self.ratio * _mean_norm(z) / _mean_norm(score)).square()
        step = torch.where(torch.isfinite(step), step, 0.0)
        return x + step * score + (2.0 * step).sqrt() * z


def _mean_norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1).mean()

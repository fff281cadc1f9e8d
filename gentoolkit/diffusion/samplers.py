"""Samplers: from noise to data along falling times, one state after another.

A sampler is called as `sampler(net, schedule, parametrisation, x, times, generator)` and yields
T+1 states for T+1 times, so an animation or a path costs nothing. No gradient is kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import expm1, sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.coordinates import Parametrisation
from gentoolkit.diffusion.denoiser import Denoiser, Level, Net, checked_path, checked_start
from gentoolkit.diffusion.schedule import Schedule

Advance = Callable[[Tensor, Level, Level], tuple[Tensor, Tensor]]
"""One step, (x, here, there) -> the estimate of the data read at `here`, the state at `there`."""


@dataclass(frozen=True)
class State:
    """What a sampler yields at each time.

    Arguments:
        time: in [0, 1], data at 0.
        x: (B, *event).
        data: the net's estimate of the data from `x`, (B, *event); at the last time, where the
            net is not asked again, the estimate that led there.
        calls: how often the net was asked to reach `x`, whatever the size of the batch.
    """

    time: float
    x: Tensor
    data: Tensor
    calls: int = 0


class Sampler(ABC):
    """A way from noise to data.

    Obligation: `begin` returns the step of one run, from checked arguments. It is asked for once a
    run, so a step may remember the ones before it.
    """

    def __call__(
        self,
        net: Net,
        schedule: Schedule,
        parametrisation: Parametrisation,
        x: Tensor,
        times: Tensor,
        generator: Generator | None = None,
    ) -> Iterator[State]:
        """Yield the states at `times`, from the noise `x` towards data.

        Arguments:
            net: a denoiser, from states (B, *event) and times (B,) to (B, *event).
            schedule: signal and noise.
            parametrisation: what the net's output means.
            x: states at the first time, (B, *event): at time 1, noise of the schedule's
                `prior_std`.
            times: falling, (T+1,).
            generator: source of randomness; not used by a deterministic sampler.

        Raises:
            TypeError: `x` or `times` holds integers.
            ValueError: `x` is not finite, the times leave [0, 1] or do not fall, or the states
                leave the real numbers on the way.
        """
        counted = Counted(net)
        model = Denoiser(counted, schedule, parametrisation)
        points = model.levels(checked_path(times, falling=True))
        advance = self.begin(model, len(points) - 1, generator)
        return walk(advance, checked_start(x), points, counted)

    @abstractmethod
    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step of a run of `steps` steps."""


class Counted:
    """A net that counts how often it is asked."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.calls = 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the net's output."""
        self.calls += 1
        return self.net(x, t)


def walk(advance: Advance, x: Tensor, points: list[Level], net: Counted) -> Iterator[State]:
    """Yield the state at each of `points`, the first of which holds `x`.

    A state comes with the estimate that its step reads, so it is yielded once that step is made.

    Raises:
        ValueError: the last state is not finite.
    """
    data, calls = x, net.calls
    for here, there in pairwise(points):
        data, following = advance(x, here, there)
        yield State(here.time, x, data, calls)
        x, calls = following, net.calls
    yield State(points[-1].time, validate.batch("the last state", x), data, calls)


def last(states: Iterator[State]) -> State:
    """Run a sampler to its end and return the last state."""
    *_, end = states
    return end


def standard_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Return standard normal numbers in the shape, type and place of `like`."""
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def posterior_std(here: Level, there: Level) -> float:
    """Return the deviation of `q(x_there | x_here, x_0)`, with `there` nearer to the data.

    variance = noise_there^2 (1 - SNR_here / SNR_there)
    """
    return there.noise * sqrt(-expm1(2.0 * (here.half_log_snr - there.half_log_snr)))


def mix(x: Tensor, data: Tensor, here: Level, there: Level, direction: float) -> Tensor:
    """Return `signal_there data + direction e`, with `e = (x - signal_here data) / noise_here`."""
    slope = direction / here.noise
    return slope * x + (there.signal - slope * here.signal) * data


@dataclass(frozen=True)
class Ancestral(Sampler):
    """The generative chain of DDPM: each state is drawn from the posterior of the noising chain.

        x_s ~ q(x_s | x_t, x_0 = data estimate)

    Arguments:
        wide: add the noise of the noising kernel q(x_t|x_s) rather than the posterior's: the
            larger variance; nothing is then added in a step that ends without noise.

    Reference: Ho, Jain, Abbeel 2020 (arXiv 2006.11239).
    """

    wide: bool = False

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step."""

        def advance(x: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
            data = model.data(x, here)
            std = posterior_std(here, there)
            mean = mix(x, data, here, there, sqrt(max(0.0, there.noise**2 - std**2)))
            if there.noise == 0.0:
                return data, mean
            # The noising kernel has the posterior's deviation times noise_t / noise_s.
            spread = std * here.noise / there.noise if self.wide else std
            return data, mean + spread * standard_noise(x, generator)

        return advance


def _reverse_step(
    model: Denoiser, x: Tensor, data: Tensor, here: Level, there: Level
) -> tuple[Tensor, float]:
    """Return the mean and the deviation of one Euler step of the reverse SDE."""
    t = torch.tensor([here.time], dtype=torch.float64)
    with torch.no_grad():
        drift, fall = (float(v) for v in model.schedule.rates(t))
    h = here.time - there.time
    squared = -(here.noise**2) * fall  # g^2
    gain = h * squared / here.noise**2
    mean = (1.0 - h * drift - gain) * x + gain * here.signal * data
    return mean, sqrt(squared * h)


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """The reverse SDE by Euler's rule, with noise at every step, the last one too.

        dx = [f x - g^2 score] dt + g dw,   t falling

    Reference: Anderson 1982; Song et al. 2021 (arXiv 2011.13456).
    """

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step."""

        def advance(x: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
            data = model.data(x, here)
            mean, std = _reverse_step(model, x, data, here, there)
            return data, mean + std * standard_noise(x, generator)

        return advance


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """A step of the reverse SDE, then Langevin steps at the new time.

        x <- x + e score + sqrt(2 e) z,   e = 2 (ratio |z| / |score|)^2

    The norms are means over the batch, so rows share one step size. Where no noise is left there
    is no score, and no correction.

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

        def advance(x: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
            data, x = predict(x, here, there)
            for _ in range(self.corrections if there.noise > 0.0 else 0):
                x = self._correct(model, x, there, generator)
            return data, x

        return advance

    def _correct(
        self, model: Denoiser, x: Tensor, at: Level, generator: Generator | None
    ) -> Tensor:
        score = (at.signal * model.data(x, at) - x) / at.noise**2
        z = standard_noise(x, generator)
        step = 2.0 * (self.ratio * _mean_norm(z) / _mean_norm(score)) ** 2
        return x + step * score + sqrt(2.0 * step) * z


def _mean_norm(x: Tensor) -> float:
    return float(x.flatten(1).norm(dim=1).mean())

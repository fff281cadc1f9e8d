"""A net with its schedule and parametrisation: the estimate of the data that samplers read."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.core.chain import Source, draw
from gentoolkit.diffusion.parametrisations import Parametrisation, present
from gentoolkit.processes import Schedule
from gentoolkit.processes.gaussian import spread

Net = Callable[[Tensor, Tensor], Tensor]
"""From states (B, *event) and times (B,) to (B, *event)."""


@dataclass(frozen=True)
class NoiseLevel:
    """A time with its signal and noise as plain numbers: `x_t = signal x_0 + noise e`.

    Plain numbers, made for all times at once, cost a step nothing and keep the states' dtype.
    """

    time: float
    signal: float
    noise: float

    @property
    def ratio(self) -> float:
        """The noise over the signal: the noise level of `x / signal`."""
        return self.noise / self.signal if self.signal > 0.0 else inf

    @property
    def half_log_snr(self) -> float:
        """`log(signal / noise)`, infinite where either is missing."""
        if self.signal == 0.0:
            return -inf
        return log(self.signal / self.noise) if self.noise > 0.0 else inf


@dataclass(frozen=True)
class Denoiser:
    """A net, read through its parametrisation, as an estimate of the data.

        >>> from gentoolkit.diffusion import DDIM, LogSnrLinear, PredictsNoise
        >>> schedule = LogSnrLinear()
        >>> denoiser = Denoiser(lambda x, t: x, schedule, PredictsNoise(), schedule.source((2,)))
        >>> DDIM().sample(denoiser, 5, steps=10).shape
        torch.Size([5, 2])

    Arguments:
        net: from states (B, *event) and times (B,) to (B, *event).
        schedule: signal and noise.
        parametrisation: what the net's output means.
        source: the law of the noise that a sampler starts from; without it a sampler must be
            handed its first states.
    """

    net: Net
    schedule: Schedule
    parametrisation: Parametrisation
    source: Source | None = None

    def _read(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, s = (spread(level, x) for level in self.schedule.levels(t))
        return x, self.output(x, t.expand(x.shape[0])), a, s

    def data(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the estimate of the data at states `x` (B, *event) and times `t` (B,) or ()."""
        return self.parametrisation.to_data(*self._read(x, t))

    def noise(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the estimate of the noise e, (B, *event)."""
        return self.parametrisation.to_noise(*self._read(x, t))

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the estimate of the score `grad log p_t(x) = -e / noise`, (B, *event).

        Raises:
            ValueError: there is no noise at some time.
        """
        read = self._read(x, t)
        return -self.parametrisation.to_noise(*read) / present(read[-1])

    def estimate(self, x: Tensor, at: NoiseLevel) -> Tensor:
        """Return the estimate of the data at one level, (B, *event)."""
        output = self.output(x, x.new_full((x.shape[0],), at.time))
        return self.parametrisation.to_data(x, output, at.signal, at.noise)

    def output(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the net's output, (B, *event).

        Raises:
            ValueError: the net returns another shape.
        """
        output = self.net(x, t)
        if output.shape != x.shape:
            raise ValueError(
                f"a denoiser must return the shape of its input {tuple(x.shape)}; got "
                f"{tuple(output.shape)}; fix its last layer"
            )
        return output

    def levels(self, times: Tensor) -> list[NoiseLevel]:
        """Return signal and noise at each of `times` (T,), computed together in float64.

        Raises:
            ValueError: no signal is left somewhere, and the net's output does not tell the data
                there.
        """
        t = times.detach().to(self.schedule.device, torch.float64)
        with torch.no_grad():
            signal, noise = self.schedule.levels(t)
        readable(self.parametrisation, signal, noise)
        rows = zip(t.tolist(), signal.tolist(), noise.tolist(), strict=True)
        return [NoiseLevel(*row) for row in rows]

    def level_at(self, half_log_snr: float) -> NoiseLevel:
        """Return the level where `log(signal / noise)` has this value."""
        value = torch.tensor([2.0 * half_log_snr], dtype=torch.float64, device=self.schedule.device)
        with torch.no_grad():
            return self.levels(self.schedule.time_of(value))[0]

    def start(self, start: int | Tensor, generator: Generator | None = None) -> Tensor:
        """Return the first states of a run: so many draws of the source, or those given.

        Raises:
            TypeError: they are integers.
            ValueError: they are empty, NaN or infinite, or there is no source to draw from.
        """
        if not isinstance(start, Tensor):
            if self.source is None:
                raise ValueError(
                    f"this denoiser has no source to draw {start} states from; got source=None; "
                    "hand over states (B, *event), or build it with schedule.source(event_shape)"
                )
            start = draw(self.source, validate.positive_count("n", start), generator)
        if not validate.batch("the first states", start).is_floating_point():
            raise TypeError(
                f"the first states must hold floating-point numbers; got {start.dtype}; use "
                "x.float(), and scale images to about unit deviation"
            )
        return start.detach()


def readable(parametrisation: Parametrisation, signal: Tensor, noise: Tensor) -> None:
    """Raise a ValueError where no signal is left and the output does not tell the data."""
    one = torch.ones_like(signal)
    if bool((signal == 0).any()) and not bool(
        torch.isfinite(parametrisation.to_data(one, one, signal, noise)).all()
    ):
        raise ValueError(
            "where no signal is left the data cannot be read from the noise or the score; got a "
            f"time of signal 0 and a net that {type(parametrisation).__name__}; start below it, "
            "for example with even_times(steps, start=0.999), or train a net for PredictsData or "
            "PredictsVelocity"
        )

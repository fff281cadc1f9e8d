"""What every sampler reads: a net as an estimate of the data, and levels as plain numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.coordinates import Parametrisation
from gentoolkit.diffusion.schedule import Schedule

Net = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Level:
    """A time with its coefficients as plain numbers.

        x_t = signal x_0 + noise e,   data estimate = of_state x_t + of_output output

    Plain numbers, made for all times at once, cost a step nothing and keep the states' dtype.
    """

    time: float
    signal: float
    noise: float
    of_state: float
    of_output: float

    @property
    def ratio(self) -> float:
        """The noise over the signal: the noise level of `x / signal`."""
        return self.noise / self.signal

    @property
    def half_log_snr(self) -> float:
        """`log(signal / noise)`, infinite where there is no noise."""
        return log(self.signal / self.noise) if self.noise > 0.0 else inf


@dataclass(frozen=True)
class Denoiser:
    """A net, read through its parametrisation, as an estimate of the data.

    Arguments:
        net: from states (B, *event) and times (B,) to (B, *event).
        schedule: signal and noise.
        parametrisation: what the net's output means; its schedule is this one.
    """

    net: Net
    schedule: Schedule
    parametrisation: Parametrisation

    def levels(self, times: Tensor) -> list[Level]:
        """Return the coefficients at each of `times` (T,), computed together in float64.

        Raises:
            ValueError: the parametrisation reads another schedule.
        """
        t = times.detach().to(torch.float64)
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        with torch.no_grad():
            signal, noise = self.schedule.levels(t)
            if self.parametrisation.schedule is not self.schedule:
                _same(signal, self.parametrisation.schedule.levels(t)[0])
            # Every parametrisation is linear in the state and the output.
            of_state = self.parametrisation.to_data(one, t, zero)
            of_output = self.parametrisation.to_data(zero, t, one)
        columns = (t, signal, noise, of_state, of_output)
        return [Level(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    def level_at(self, half_log_snr: float) -> Level:
        """Return the level where `log(signal / noise)` has this value."""
        with torch.no_grad():
            time = self.schedule.time_of(torch.tensor([2.0 * half_log_snr], dtype=torch.float64))
        return self.levels(time)[0]

    def data(self, x: Tensor, at: Level) -> Tensor:
        """Return the estimate of the data from `x` at one level, (B, *event), without gradient.

        Raises:
            ValueError: the net returns another shape.
        """
        with torch.no_grad():
            output = self.net(x, x.new_full((x.shape[0],), at.time))
        if output.shape != x.shape:
            raise ValueError(
                f"a denoiser must return the shape of its input {tuple(x.shape)}; got "
                f"{tuple(output.shape)}; reshape the net's output"
            )
        if at.of_state == 0.0 and at.of_output == 1.0:
            return output
        return at.of_state * x + at.of_output * output


def _same(signal: Tensor, other: Tensor) -> None:
    if not torch.allclose(signal, other, rtol=1e-9, atol=1e-12):
        raise ValueError(
            "the parametrisation must read the sampler's schedule; got one whose signal differs "
            f"by up to {float((signal - other).abs().max()):.3g}; build both from one schedule"
        )


def checked_start(x: Tensor) -> Tensor:
    """Return `x` without its graph if it is a batch of finite floating-point states.

    Raises:
        TypeError: it holds integers.
        ValueError: it is empty, NaN or infinite.
    """
    validate.batch("x", x)
    if not x.is_floating_point():
        raise TypeError(
            f"x must hold floating-point states; got {x.dtype}; use x.float(), and scale images "
            "to about unit deviation"
        )
    return x.detach()


def checked_path(times: Tensor, falling: bool) -> Tensor:
    """Return `times` (T+1,) if they lie in [0, 1] and fall, or rise, strictly.

    Raises:
        TypeError: they are no floating-point tensor.
        ValueError: fewer than two, outside [0, 1], or not in order.
    """
    way, turned = ("fall", "noise at 1 first") if falling else ("rise", "data at 0 first")
    if not isinstance(times, Tensor) or not times.is_floating_point():
        raise TypeError(
            "times must be a floating-point tensor; got "
            f"{getattr(times, 'dtype', type(times).__name__)}; use even_times(steps)"
        )
    if times.ndim != 1 or times.shape[0] < 2:
        raise ValueError(
            f"times must have shape (T+1,) with one step or more; got {tuple(times.shape)}; "
            "use even_times(steps) with steps >= 1"
        )
    low, high = (float(v) for v in torch.aminmax(times))
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"times must lie in [0, 1]; got {low} to {high}; divide the number of a step by the "
            "number of steps"
        )
    steps = times.diff()
    if not bool(((steps < 0) if falling else (steps > 0)).all()):
        raise ValueError(
            f"times must {way} strictly, {turned}; got {times.tolist()[:5]}...; turn them round "
            "with times.flip(0), and drop repeated ones"
        )
    return times

"""Schedules: how much signal and how much noise a state holds at each time.

    x_t = signal(t) x_0 + noise(t) e,   e ~ N(0, I),   log_snr(t) = 2 log(signal / noise)

Time runs from 0 (data) to 1 (noise), and the log-SNR falls strictly. One type serves continuous
time and any grid of it: a discrete model is a schedule read at the times of its steps.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


def checked_times(t: Tensor) -> Tensor:
    """Return `t` if it holds floating-point times in [0, 1].

    Raises:
        TypeError: `t` is not a floating-point tensor.
        ValueError: some time is outside [0, 1], or NaN.
    """
    if not isinstance(t, Tensor) or not t.is_floating_point():
        raise TypeError(
            f"times must be a floating-point tensor; got {getattr(t, 'dtype', type(t).__name__)}; "
            "divide the number of a step by the number of steps"
        )
    if t.numel() == 0:
        raise ValueError(f"times are empty; got shape {tuple(t.shape)}; pass one time or more")
    low, high = torch.aminmax(t.detach())
    if not (float(low) >= 0.0 and float(high) <= 1.0):
        raise ValueError(
            f"times must lie in [0, 1], data at 0 and noise at 1; got {float(low)} to "
            f"{float(high)}; divide the number of a step by the number of steps"
        )
    return t


def falling(name: str, log_snr: Tensor) -> Tensor:
    """Return `log_snr` (T,) if it falls strictly and is finite, save for `inf` at the start.

    Raises:
        ValueError: it rises, stays, is NaN, or reaches signal 0 (`-inf`) or, after the first
            entry, noise 0 (`inf`).
    """
    values = log_snr.detach()
    inner = values.ndim == 1 and bool(torch.isfinite(values[1:]).all())
    if not inner or not float(values[0]) > -torch.inf:
        raise ValueError(
            f"{name} must be finite: neither signal nor noise may vanish; got "
            f"{values.flatten().tolist()[:5]}; cut the schedule off before an end"
        )
    if not bool((values.diff() < 0).all()):
        i = int((~(values.diff() < 0)).nonzero()[0])
        raise ValueError(
            f"{name} must fall strictly with time; got {float(values[i])} then "
            f"{float(values[i + 1])} at entry {i + 1}; sort the times, or turn the schedule round"
        )
    return log_snr


class Schedule(ABC):
    """Signal and noise as functions of time.

    Obligations of a subclass: `_log_signal`, `_log_snr` (strictly falling; infinite only at the
    ends of time, `inf` at 0) and its inverse `_time_of`, all elementwise.
    """

    prior_std: float = 1.0
    """Deviation of the source, to which data of about unit variance is carried at time 1."""

    @abstractmethod
    def _log_signal(self, t: Tensor) -> Tensor:
        """Return log signal."""

    @abstractmethod
    def _log_snr(self, t: Tensor) -> Tensor:
        """Return 2 log(signal / noise)."""

    @abstractmethod
    def _time_of(self, log_snr: Tensor) -> Tensor:
        """Return the time of a log-SNR that is reached."""

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return `signal(t), noise(t)`: one check for both.

        Arguments:
            t: times in [0, 1], any shape.

        Raises:
            TypeError: `t` is not a floating-point tensor.
            ValueError: some time is outside [0, 1].
        """
        log_signal = self._log_signal(checked_times(t))
        return log_signal.exp(), (log_signal - 0.5 * self._log_snr(t)).exp()

    def signal(self, t: Tensor) -> Tensor:
        """Return the factor of the data, in the shape of `t`."""
        return self._log_signal(checked_times(t)).exp()

    def noise(self, t: Tensor) -> Tensor:
        """Return the standard deviation of the noise, in the shape of `t`."""
        return self.levels(t)[1]

    def log_snr(self, t: Tensor) -> Tensor:
        """Return `2 log(signal / noise)`, in the shape of `t`; `inf` where there is no noise."""
        return self._log_snr(checked_times(t))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the time derivatives of log signal and of log-SNR, in the shape of `t`.

            drift f = d log signal / dt,   diffusion g^2 = -noise^2 d log_snr / dt

        By automatic differentiation; differentiable in the parameters of a learned schedule.
        """
        # Only a module has parameters that a gradient could go to.
        follow = torch.is_grad_enabled() and isinstance(self, nn.Module)
        with torch.enable_grad():
            at = checked_times(t).detach().requires_grad_()
            # t * 0 gives a schedule without drift a graph to differentiate.
            values = (self._log_signal(at) + 0.0 * at, self._log_snr(at))
            rates = [torch.autograd.grad(v.sum(), at, create_graph=follow)[0] for v in values]
        return rates[0], rates[1]

    def time_of(self, log_snr: Tensor) -> Tensor:
        """Return the time at which the log-SNR is reached: the inverse of `log_snr`.

        Raises:
            ValueError: some value is never reached.
        """
        ends = torch.tensor([0.0, 1.0], dtype=log_snr.dtype, device=log_snr.device)
        ends = self._log_snr(ends).detach()
        high, low = float(ends[0]), float(ends[1])
        slack = 1e-4 if log_snr.dtype == torch.float32 else 1e-9
        least, most = (float(v) for v in torch.aminmax(log_snr.detach()))
        if not (least >= low - slack * (1 + abs(low)) and most <= high + slack * (1 + abs(high))):
            raise ValueError(
                f"log_snr must lie in [{low:.6g}, {high:.6g}], where this schedule goes; got "
                f"{least} to {most}; clamp it, or widen the schedule"
            )
        return self._time_of(log_snr.clamp(low, high)).clamp(0.0, 1.0)


class VariancePreserving(Schedule):
    """Schedules with `signal^2 + noise^2 = 1`, given by their log-SNR alone."""

    def _log_signal(self, t: Tensor) -> Tensor:
        return 0.5 * logsigmoid(self._log_snr(t))

"""Gaussian noising: how much signal and how much noise a state holds at each time.

    x_t = signal(t) x_0 + noise(t) e,   e ~ N(0, I),   log_snr(t) = 2 log(signal / noise)

Time runs from 0 (data) to 1 (noise), and the log-SNR falls strictly. One type serves continuous
time and any grid of it: a discrete model is a schedule read at the times of its steps.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.func import jvp
from torch.nn.functional import logsigmoid

from gentoolkit.core import validate
from gentoolkit.core.laws import Gaussian
from gentoolkit.processes.process import Process, Time


def checked_times(t: Tensor) -> Tensor:
    """Return `t` if it holds floating-point times in [0, 1], in at least float32.

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
    if validate.readable(t):
        low, high = (float(v) for v in torch.aminmax(t.detach()))
        if not (low >= 0.0 and high <= 1.0):
            raise ValueError(
                f"times must lie in [0, 1], data at 0 and noise at 1; got {low} to {high}; "
                "divide the number of a step by the number of steps"
            )
    return t.float() if t.itemsize < 4 else t


def spread(level: Tensor, like: Tensor) -> Tensor:
    """Shape levels of shape (B,) or () so that they broadcast to `like` (B, *event).

    Raises:
        ValueError: there is another number of levels than rows.
    """
    if level.ndim == 0:
        return level
    if level.ndim != 1 or level.shape[0] not in (1, like.shape[0]):
        raise ValueError(
            f"times must have shape ({like.shape[0]},) or (), one for each row; got "
            f"{tuple(level.shape)}; use t.expand(B)"
        )
    return level.reshape(-1, *(1,) * (like.ndim - 1))


class Schedule(Process):
    """Gaussian noise on R^d: signal and noise as functions of time.

    Obligations of a subclass: `_log_signal`, `_log_snr` (strictly falling; infinite only at the
    ends of time, `inf` at 0 and `-inf` at 1) and its inverse `_time_of`, all elementwise.

    Reference: Kingma, Salimans, Poole, Ho 2021 (arXiv 2107.00630).
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

    @property
    def device(self) -> torch.device:
        """Where the tensors of a schedule live; the CPU without any."""
        held = (*self.parameters(), *self.buffers()) if isinstance(self, nn.Module) else ()
        return held[0].device if held else torch.device("cpu")

    @property
    def trained(self) -> bool:
        """Whether the schedule has parameters."""
        return isinstance(self, nn.Module) and any(True for _ in self.parameters())

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return `signal(t), noise(t)`, in the shape and dtype of `t`.

        Arguments:
            t: times in [0, 1], any shape.

        Raises:
            TypeError: `t` is not a floating-point tensor.
            ValueError: some time is outside [0, 1].
        """
        at = checked_times(t)
        log_signal, log_snr = self._log_signal(at), self._log_snr(at)
        noise = (log_signal - 0.5 * log_snr).exp()
        # Without signal the difference is that of two infinities: all that is left is the source.
        noise = torch.where(log_snr == -torch.inf, self.prior_std, noise)
        return log_signal.exp().to(t.dtype), noise.to(t.dtype)

    def signal(self, t: Tensor) -> Tensor:
        """Return the factor of the data, in the shape of `t`."""
        return self._log_signal(checked_times(t)).exp().to(t.dtype)

    def noise(self, t: Tensor) -> Tensor:
        """Return the standard deviation of the noise, in the shape of `t`."""
        return self.levels(t)[1]

    def log_snr(self, t: Tensor) -> Tensor:
        """Return `2 log(signal / noise)`, in the shape of `t`.

        It is `inf` where there is no noise and `-inf` where there is no signal.
        """
        return self._log_snr(checked_times(t)).to(t.dtype)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the time derivatives of log signal and of log-SNR, in the shape of `t`.

            drift f = d log signal / dt,   diffusion g^2 = -noise^2 d log_snr / dt

        By automatic differentiation; differentiable in the parameters of a learned schedule.
        """
        if validate.traced():  # six times as slow as what follows
            at = checked_times(t)
            levels = lambda at: (self._log_signal(at), self._log_snr(at))  # noqa: E731
            rates = jvp(levels, (at,), (torch.ones_like(at),))[1]
            return rates[0].to(t.dtype), rates[1].to(t.dtype)
        follow = torch.is_grad_enabled() and self.trained
        # A copy made outside of inference mode can be differentiated even where t cannot.
        with torch.inference_mode(False), torch.enable_grad():
            at = checked_times(t).detach().clone().requires_grad_()
            # t * 0 gives a schedule without drift a graph to differentiate.
            values = (self._log_signal(at) + 0.0 * at, self._log_snr(at))
            rates = [torch.autograd.grad(v.sum(), at, create_graph=follow)[0] for v in values]
        return rates[0].to(t.dtype), rates[1].to(t.dtype)

    def time_of(self, log_snr: Tensor) -> Tensor:
        """Return the time at which the log-SNR is reached: the inverse of `log_snr`.

        Raises:
            ValueError: some value is never reached.
        """
        values = log_snr.float() if log_snr.itemsize < 4 else log_snr
        ends = self._log_snr(values.new_tensor([0.0, 1.0])).detach()
        if validate.readable(values):
            high, low = ends.tolist()
            slack = 1e-4 if values.dtype == torch.float32 else 1e-9
            least, most = (float(v) for v in torch.aminmax(values.detach()))
            below, above = (slack * (1 + abs(v)) for v in (low, high))
            if not (least >= low - below and most <= high + above):
                raise ValueError(
                    f"log_snr must lie in [{low:.6g}, {high:.6g}], where this schedule goes; got "
                    f"{least} to {most}; clamp it, or widen the schedule"
                )
        return self._time_of(values.clamp(ends[1], ends[0])).clamp(0.0, 1.0).to(log_snr.dtype)

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Time) -> Tensor:
        """Return `signal(t) x_0 + noise(t) noise`, (B, *event).

        Arguments:
            x_0: data, (B, *event).
            noise: standard normal numbers, (B, *event).
            t: times, (B,) or one.
        """
        a, s = self.levels(t if isinstance(t, Tensor) else x_0.new_tensor(t))
        return spread(a, x_0) * x_0 + spread(s, x_0) * noise

    def sample(self, x_0: Tensor, t: Time, generator: Generator | None = None) -> Tensor:
        """Draw `x_t ~ N(signal x_0, noise^2)`, (B, *event)."""
        e = torch.randn(x_0.shape, generator=generator, dtype=x_0.dtype, device=x_0.device)
        return self.add_noise(x_0, e, t)

    def posterior(self, x_t: Tensor, x_0: Tensor, s: Time, t: Time) -> Gaussian:
        """Return the law of x_s given x_t and x_0, for times s < t.

            r = SNR_t / SNR_s,   mean = r (signal_s / signal_t) x_t + (1 - r) signal_s x_0
            std = noise_s sqrt(1 - r)

        Raises:
            ValueError: there is no noise at `s`, so the law is a point.
        """
        s, t = (v if isinstance(v, Tensor) else x_t.new_tensor(v) for v in (s, t))
        (a_s, s_s), (a_t, s_t) = self.levels(s), self.levels(t)
        gap = -torch.expm1(self.log_snr(t) - self.log_snr(s))
        # r signal_s / signal_t, written so that no signal need be left at t.
        of_state = a_t * s_s.square() / (a_s * s_t.square())
        mean = spread(of_state, x_t) * x_t + spread(a_s * gap, x_t) * x_0
        return Gaussian(mean, spread(s_s * gap.sqrt(), x_t))

    def source(self, event_shape: Sequence[int], like: Tensor | None = None) -> Gaussian:
        """Return `N(0, prior_std^2 I)` over states of shape `event_shape`."""
        like = torch.empty(0) if like is None else like
        return Gaussian(like.new_zeros(1, *validate.event_shape(event_shape)), self.prior_std)


class VariancePreserving(Schedule):
    """Schedules with `signal^2 + noise^2 = 1`, given by their log-SNR alone."""

    def _log_signal(self, t: Tensor) -> Tensor:
        return 0.5 * logsigmoid(self._log_snr(t))

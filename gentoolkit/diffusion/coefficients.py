"""The steps of a discrete diffusion: exact coefficients of every step of a grid.

    noising    x_i | x_{i-1}      ~ N(keep x_{i-1}, noising_var)
    posterior  x_{i-1} | x_i, x_0 ~ N(of_state x_i + of_data x_0, posterior_var)

All from the log-SNRs l_i, with r = exp(l_i - l_{i-1}): of_data = signal_{i-1} (1 - r),
of_state = r signal_{i-1} / signal_i, noising_var = noise_i^2 (1 - r) and
posterior_var = noise_{i-1}^2 (1 - r), so nothing cancels on a fine grid.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.processes import Schedule
from gentoolkit.processes.gaussian import checked_times, spread


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of T steps, each (T,), float64; entry 0 leads between the data and x_1.

    The data counts as free of noise, so the first posterior is a point: its variance is 0.

    Arguments:
        times: times of the noisy states x_1, ..., x_T.
        signal: factor of the data in x_i.
        noise: deviation of the noise in x_i.
        log_snr: of x_i; `-inf` at x_T if no signal is left there.
        keep: factor of x_{i-1} in x_i.
        noising_var: variance of x_i given x_{i-1}.
        of_state: factor of x_i in the posterior mean.
        of_data: factor of x_0 in the posterior mean.
        posterior_var: variance of x_{i-1} given x_i and x_0.
    """

    times: Tensor
    signal: Tensor
    noise: Tensor
    log_snr: Tensor
    keep: Tensor
    noising_var: Tensor
    of_state: Tensor
    of_data: Tensor
    posterior_var: Tensor

    @property
    def decoder_var(self) -> Tensor:
        """The usual variance of the data given x_1, `(noise_1 / signal_1)^2`, shape ()."""
        return (-self.log_snr[0]).exp()


def coefficients(schedule: Schedule, times: Tensor) -> Coefficients:
    """Return the coefficients of the steps whose noisy states are at the falling `times` (T,).

    Raises:
        TypeError: `times` is not a floating-point tensor.
        ValueError: times are out of [0, 1] or do not fall, or the schedule does not fall there,
            or some state holds no noise, or one before the last no signal.
    """
    t = checked_times(times).double()
    seen = validate.readable(t)
    if t.ndim != 1 or (seen and not bool((t.diff() < 0).all())):
        raise ValueError(
            f"times must be a row that falls strictly; got shape {tuple(t.shape)}, starting "
            f"{t.flatten().tolist()[:4]}; sort them, and give each once"
        )
    t = t.flip(0)
    signal, noise = (level.double() for level in schedule.levels(t))
    log_snr = schedule.log_snr(t).double()
    values = log_snr.detach()
    if seen and not bool(torch.isfinite(values[:-1]).all() and values[-1] < torch.inf):
        raise ValueError(
            "every noisy state must hold noise, and all but the last signal; got log-SNR "
            f"{values.tolist()[:4]}...; leave out the time of the data itself, or cut the schedule"
        )
    if seen and not bool((values.diff() < 0).all()):
        raise ValueError(
            f"log-SNR must fall strictly with time; got {values.tolist()[:4]}... at the times; "
            "turn the schedule round"
        )
    gap = torch.cat([log_snr.new_ones(1), -torch.expm1(log_snr.diff())])
    before = torch.cat([signal.new_ones(1), signal[:-1]])
    noise_before = torch.cat([noise.new_zeros(1), noise[:-1]])
    return Coefficients(
        times=t,
        signal=signal,
        noise=noise,
        log_snr=log_snr,
        keep=signal / before,
        noising_var=noise.square() * gap,
        # r signal_{i-1} / signal_i, written so that no signal need be left at the last.
        of_state=signal * noise_before.square() / (before * noise.square()),
        of_data=before * gap,
        posterior_var=noise_before.square() * gap,
    )


class ReverseVariance(ABC):
    """The variance of the denoising steps.

    Obligation: `of` returns variances that broadcast to the states; they may depend on the state.
    """

    @abstractmethod
    def of(self, c: Coefficients, i: Tensor, x: Tensor) -> Tensor:
        """Return the variance of x_{i-1} given x_i = `x`, for entries `i` (B,) of the steps."""


def _floor(c: Coefficients) -> Tensor:
    """Return the posterior variances, with the decoder's in place of the first, which is 0."""
    return torch.cat([c.decoder_var[None], c.posterior_var[1:]])


@dataclass(frozen=True)
class PosteriorVariance(ReverseVariance):
    """That of the posterior given the data: exact if the data were one point.

    The first entry is the decoder's variance, `(noise_1 / signal_1)^2`.
    """

    def of(self, c: Coefficients, i: Tensor, x: Tensor) -> Tensor:
        """Return `posterior_var`, and the decoder's variance at entry 0."""
        return spread(_floor(c)[i].to(x.dtype), x)


@dataclass(frozen=True)
class NoisingVariance(ReverseVariance):
    """That of the noising step: exact if the data were standard normal."""

    def of(self, c: Coefficients, i: Tensor, x: Tensor) -> Tensor:
        """Return `noising_var`."""
        return spread(c.noising_var[i].to(x.dtype), x)


class GivenVariance(nn.Module, ReverseVariance):
    """Variances that are known: measured, or computed for data in closed form.

    Arguments:
        values: one for each step, (T,); the first is the decoder's.

    Raises:
        ValueError: a value is not positive and finite.

    Reference: Bao, Li, Zhu, Zhang 2022 (arXiv 2201.06503).
    """

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        validate.positive("values", values)
        self.register_buffer("values", values)

    def of(self, c: Coefficients, i: Tensor, x: Tensor) -> Tensor:
        """Return `values[i]`.

        Raises:
            ValueError: there is another number of values than steps.
        """
        if self.values.shape != c.times.shape:
            raise ValueError(
                f"values must have shape {tuple(c.times.shape)}, one variance for each step; got "
                f"{tuple(self.values.shape)}; measure them on this grid"
            )
        return spread(self.values.to(x)[i], x)


class LearnedVariance(nn.Module, ReverseVariance):
    """A trained place between the posterior's variance and the noising step's.

        log var = u log noising_var + (1 - u) log posterior_var,   u = weight(x, t)

    At entry 0 the decoder's variance takes the place of the posterior's.

    Arguments:
        weight: maps states (B, *event) and times (B,) to u, which broadcasts to the states; it is
            not kept to [0, 1].

    Reference: Nichol and Dhariwal 2021 (arXiv 2102.09672).
    """

    def __init__(self, weight: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = weight

    def of(self, c: Coefficients, i: Tensor, x: Tensor) -> Tensor:
        """Return the interpolated variance, shaped as `x`."""
        low, high = (v.log()[i].to(x.dtype) for v in (_floor(c), c.noising_var))
        u = self.weight(x, c.times[i].to(x.dtype))
        return torch.lerp(spread(low, x).expand_as(x), spread(high, x).expand_as(x), u).exp()

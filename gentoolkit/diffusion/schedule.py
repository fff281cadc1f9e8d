"""Schedules in closed form; the type they share is `Schedule`."""

from dataclasses import dataclass
from math import isfinite, log

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gentoolkit.core import validate
from gentoolkit.diffusion.levels import Schedule, VariancePreserving, checked_times, falling

__all__ = [
    "Cosine",
    "LinearBeta",
    "LogSnrLinear",
    "Schedule",
    "SubVP",
    "VarianceExploding",
    "VariancePreserving",
    "checked_times",
    "falling",
]


def descends(high: float, low: float) -> None:
    """Raise a ValueError unless `high` is above `low` and both are finite."""
    if not (isfinite(high) and isfinite(low) and high > low):
        raise ValueError(
            f"log-SNR must fall from a finite high to a finite low; got high={high}, low={low}; "
            "for example high=6, low=-7"
        )


@dataclass(frozen=True)
class LogSnrLinear(VariancePreserving):
    """Log-SNR falls on a straight line: `log_snr(t) = high + (low - high) t`.

    Arguments:
        high: log-SNR at time 0: a little noise is there from the start.
        low: log-SNR at time 1.

    Raises:
        ValueError: `high` is not above `low`, or one is not finite.
    """

    high: float = 6.0
    low: float = -7.0

    def __post_init__(self) -> None:
        descends(self.high, self.low)

    def _log_snr(self, t: Tensor) -> Tensor:
        return self.high + (self.low - self.high) * t

    def _time_of(self, log_snr: Tensor) -> Tensor:
        return (self.high - log_snr) / (self.high - self.low)


@dataclass(frozen=True)
class Cosine(VariancePreserving):
    """Signal and noise are cosine and sine of an angle that grows evenly.

        signal = cos(angle), noise = sin(angle),   log_snr = -2 log tan(angle)

    The angle is cut off where the log-SNR is `high` and `low`, so neither ever vanishes.

    Arguments:
        high: log-SNR at time 0.
        low: log-SNR at time 1.

    Raises:
        ValueError: `high` is not above `low`, or one is not finite.

    Reference: Nichol and Dhariwal 2021 (arXiv 2102.09672).
    """

    high: float = 10.0
    low: float = -10.0

    def __post_init__(self) -> None:
        descends(self.high, self.low)

    def _ends(self, like: Tensor) -> Tensor:
        ends = torch.tensor([self.high, self.low], dtype=like.dtype, device=like.device)
        return (-0.5 * ends).exp().atan()

    def _log_snr(self, t: Tensor) -> Tensor:
        start, end = self._ends(t)
        return -2.0 * (start + (end - start) * t).tan().log()

    def _time_of(self, log_snr: Tensor) -> Tensor:
        start, end = self._ends(log_snr)
        return ((-0.5 * log_snr).exp().atan() - start) / (end - start)


@dataclass(frozen=True)
class VarianceExploding(Schedule):
    """The data stays, the noise grows: `signal = 1`, `noise^2 = low^2 ((high / low)^(2 t) - 1)`.

    Arguments:
        low: scale below which no noise is resolved.
        high: deviation of the source.

    Raises:
        ValueError: not `0 < low < high`.

    Reference: Song et al. 2021 (arXiv 2011.13456).
    """

    low: float = 0.01
    high: float = 50.0

    def __post_init__(self) -> None:
        validate.positive("low", self.low)
        validate.positive("high", self.high)
        if not self.low < self.high:
            raise ValueError(
                f"noise must grow; got low={self.low}, high={self.high}; exchange them"
            )
        object.__setattr__(self, "prior_std", self.high)

    def _log_signal(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def _log_snr(self, t: Tensor) -> Tensor:
        return -torch.expm1(2.0 * log(self.high / self.low) * t).log() - 2.0 * log(self.low)

    def _time_of(self, log_snr: Tensor) -> Tensor:
        excess = (-log_snr - 2.0 * log(self.low)).exp()
        return excess.log1p() / (2.0 * log(self.high / self.low))


def _beta_bounds(beta_min: float, beta_max: float) -> None:
    validate.positive("beta_min", beta_min)
    validate.positive("beta_max", beta_max)


def _spent(t: Tensor, beta_min: float, beta_max: float) -> Tensor:
    """Return I(t), the integral of `beta_min + (beta_max - beta_min) t` from 0."""
    return beta_min * t + 0.5 * (beta_max - beta_min) * t.square()


def _when_spent(spent: Tensor, beta_min: float, beta_max: float) -> Tensor:
    # The root that does not subtract nearly equal numbers.
    root = (beta_min**2 + 2.0 * (beta_max - beta_min) * spent).clamp_min(0.0).sqrt()
    return 2.0 * spent / (beta_min + root)


@dataclass(frozen=True)
class LinearBeta(VariancePreserving):
    """The variance-preserving diffusion whose rate of noise beta(t) grows linearly.

        I(t) = beta_min t + (beta_max - beta_min) t^2 / 2,   signal = exp(-I / 2)
        noise^2 = 1 - exp(-I),   log_snr = -log(exp(I) - 1)

    Arguments:
        beta_min: rate at time 0.
        beta_max: rate at time 1.

    Raises:
        ValueError: a rate is not positive and finite.

    Reference: Ho, Jain, Abbeel 2020 (arXiv 2006.11239); Song et al. 2021 (arXiv 2011.13456).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        _beta_bounds(self.beta_min, self.beta_max)

    def _log_signal(self, t: Tensor) -> Tensor:
        return -0.5 * _spent(t, self.beta_min, self.beta_max)

    def _log_snr(self, t: Tensor) -> Tensor:
        spent = _spent(t, self.beta_min, self.beta_max)
        return -spent - (-torch.expm1(-spent)).log()

    def _time_of(self, log_snr: Tensor) -> Tensor:
        return _when_spent(softplus(-log_snr), self.beta_min, self.beta_max)


@dataclass(frozen=True)
class SubVP(Schedule):
    """As `LinearBeta`, with less noise: `noise = 1 - exp(-I)`, the square of what it was.

    Arguments:
        beta_min: rate at time 0.
        beta_max: rate at time 1.

    Raises:
        ValueError: a rate is not positive and finite.

    Reference: Song et al. 2021 (arXiv 2011.13456).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        _beta_bounds(self.beta_min, self.beta_max)

    def _log_signal(self, t: Tensor) -> Tensor:
        return -0.5 * _spent(t, self.beta_min, self.beta_max)

    def _log_snr(self, t: Tensor) -> Tensor:
        spent = _spent(t, self.beta_min, self.beta_max)
        return -spent - 2.0 * (-torch.expm1(-spent)).log()

    def _time_of(self, log_snr: Tensor) -> Tensor:
        # noise / signal = 2 sinh(I / 2)
        spent = 2.0 * (0.5 * (-0.5 * log_snr).exp()).asinh()
        return _when_spent(spent, self.beta_min, self.beta_max)

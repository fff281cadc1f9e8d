"""Schedules: how signal and noise go with time, in closed form, by a table, or trained."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, log
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gentoolkit.core import validate
from gentoolkit.numerics import increasing_root
from gentoolkit.processes import Schedule, VariancePreserving


@torch.no_grad()
def computable(schedule: Schedule) -> None:
    """Raise a ValueError unless the levels of `schedule` are right in float32 and fall.

    Without noise at time 0, or signal at time 1, the log-SNR may be infinite there.
    """
    t = torch.linspace(0.0, 1.0, 33, dtype=torch.float64)
    exact, single = schedule.log_snr(t), schedule.log_snr(t.float()).double()
    signal = schedule.signal(t.float())
    near = (single - exact).abs() <= 0.05 + 1e-3 * exact.abs()
    good = ((single == exact) | near) & ((signal > 0) | (exact == -torch.inf))
    if not bool(good.all()):
        i = int((~good).nonzero()[0])
        raise ValueError(
            f"a schedule must be right in float32, which this one leaves; got log-SNR "
            f"{float(single[i]):.6g} for {float(exact[i]):.6g} and signal {float(signal[i]):.3g} "
            f"at time {float(t[i]):.3g}; end with less noise: raise low, or lower the betas"
        )
    if not bool((exact.diff() < 0).all()):
        raise ValueError(
            f"log-SNR must fall strictly with time; got {exact.tolist()[:4]}...; turn the "
            "schedule round"
        )


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
        ValueError: `high` is not above `low`, one is not finite, or float32 cannot tell.
    """

    high: float = 6.0
    low: float = -7.0

    def __post_init__(self) -> None:
        descends(self.high, self.low)
        computable(self)

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
        ValueError: `high` is not above `low`, one is not finite, or float32 cannot tell.

    Reference: Nichol and Dhariwal 2021 (arXiv 2102.09672).
    """

    high: float = 10.0
    low: float = -10.0

    def __post_init__(self) -> None:
        descends(self.high, self.low)
        computable(self)

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
        computable(self)

    def _log_signal(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def _log_snr(self, t: Tensor) -> Tensor:
        return -torch.expm1(2.0 * log(self.high / self.low) * t).log() - 2.0 * log(self.low)

    def _time_of(self, log_snr: Tensor) -> Tensor:
        excess = (-log_snr - 2.0 * log(self.low)).exp()
        return excess.log1p() / (2.0 * log(self.high / self.low))


class _LinearRate(Schedule):
    """Schedules whose rate of noise grows linearly: `signal = exp(-I / 2)`."""

    beta_min: float
    beta_max: float

    def __post_init__(self) -> None:
        validate.positive("beta_min", self.beta_min)
        validate.positive("beta_max", self.beta_max)
        computable(self)

    def _spent(self, t: Tensor) -> Tensor:
        """Return I(t), the integral of the rate from 0."""
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t.square()

    def _when_spent(self, spent: Tensor) -> Tensor:
        # The root that does not subtract nearly equal numbers.
        squared = self.beta_min**2 + 2.0 * (self.beta_max - self.beta_min) * spent
        return 2.0 * spent / (self.beta_min + squared.clamp_min(0.0).sqrt())

    def _log_signal(self, t: Tensor) -> Tensor:
        return -0.5 * self._spent(t)


@dataclass(frozen=True)
class LinearBeta(_LinearRate, VariancePreserving):
    """The variance-preserving diffusion whose rate of noise beta(t) grows linearly.

        I(t) = beta_min t + (beta_max - beta_min) t^2 / 2,   signal = exp(-I / 2)
        noise^2 = 1 - exp(-I),   log_snr = -log(exp(I) - 1)

    Arguments:
        beta_min: rate at time 0.
        beta_max: rate at time 1.

    Raises:
        ValueError: a rate is not positive and finite, or no signal is left in float32.

    Reference: Ho, Jain, Abbeel 2020 (arXiv 2006.11239); Song et al. 2021 (arXiv 2011.13456).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def _log_snr(self, t: Tensor) -> Tensor:
        spent = self._spent(t)
        return -spent - (-torch.expm1(-spent)).log()

    def _time_of(self, log_snr: Tensor) -> Tensor:
        return self._when_spent(softplus(-log_snr))


@dataclass(frozen=True)
class SubVP(_LinearRate):
    """As `LinearBeta`, with less noise: `noise = 1 - exp(-I)`, the square of what it was.

    Raises:
        ValueError: a rate is not positive and finite, or no signal is left in float32.

    Reference: Song et al. 2021 (arXiv 2011.13456).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def _log_snr(self, t: Tensor) -> Tensor:
        spent = self._spent(t)
        return -spent - 2.0 * (-torch.expm1(-spent)).log()

    def _time_of(self, log_snr: Tensor) -> Tensor:
        # noise / signal = 2 sinh(I / 2)
        return self._when_spent(2.0 * (0.5 * (-0.5 * log_snr).exp()).asinh())


class Betas(nn.Module, VariancePreserving):
    """The discrete schedule: T variances beta_i, read at the times i / T.

        signal(i / T)^2 = prod_{j <= i} (1 - beta_j)

    Between these times `-2 log signal` is interpolated linearly, so that one model serves the
    grid, any part of it, and continuous time.

    Arguments:
        betas: T variances in (0, 1), best in float64.

    Raises:
        TypeError: `betas` is not a floating-point tensor.
        ValueError: a beta is outside (0, 1): the signal would vanish or not fall; or no signal is
            left in float32.

    Reference: Ho, Jain, Abbeel 2020 (arXiv 2006.11239).
    """

    knots: Tensor

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        if not isinstance(betas, Tensor) or not betas.is_floating_point():
            raise TypeError(
                "betas must be a floating-point tensor; got "
                f"{getattr(betas, 'dtype', type(betas).__name__)}; use betas.double()"
            )
        inside = (betas > 0) & (betas < 1)
        if betas.ndim != 1 or betas.numel() == 0 or not bool(inside.all()):
            raise ValueError(
                f"betas must be a row of T >= 1 numbers strictly between 0 and 1; got shape "
                f"{tuple(betas.shape)} with {int((~inside).sum())} outside; take more steps, or "
                "smaller betas"
            )
        spent = -torch.log1p(-betas.double()).cumsum(0)
        knots = torch.cat([spent.new_zeros(1), spent])
        self.register_buffer("knots", knots, persistent=False)
        computable(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # The knots follow to another device, but never to fewer digits.
        return super()._apply(lambda x: x.to(fn(x.new_empty(0)).device), recurse)

    @classmethod
    def linear(cls, steps: int, low: float = 1e-4, high: float = 0.02) -> Self:
        """Return betas on a straight line from `low` to `high`, as DDPM has them for 1000 steps.

        Raises:
            ValueError: `steps` is below one, or an end is outside (0, 1).
        """
        validate.positive_count("steps", steps)
        return cls(torch.linspace(low, high, steps, dtype=torch.float64))

    def _spent(self, t: Tensor) -> Tensor:
        knots = self.knots.to(t.device)
        place = t.double() * (len(knots) - 1)
        # A time i / T in float32 must find knot i, not a number beside it.
        nearest = place.round()
        slack = 4.0 * torch.finfo(t.dtype).eps * place
        near = (place - nearest).abs() <= slack
        place = place + torch.where(near, nearest - place, 0.0).detach()
        i = place.detach().long().clamp(0, len(knots) - 2)
        return torch.lerp(knots[i], knots[i + 1], place - i)

    def _log_signal(self, t: Tensor) -> Tensor:
        return (-0.5 * self._spent(t)).to(t.dtype)

    def _log_snr(self, t: Tensor) -> Tensor:
        spent = self._spent(t)
        return (-spent - (-torch.expm1(-spent)).log()).to(t.dtype)

    def _time_of(self, log_snr: Tensor) -> Tensor:
        knots = self.knots.to(log_snr.device)
        spent = softplus(-log_snr.double())
        i = torch.searchsorted(knots, spent.detach(), right=True).clamp(1, len(knots) - 1) - 1
        part = (spent - knots[i]) / (knots[i + 1] - knots[i])
        return ((i + part) / (len(knots) - 1)).to(log_snr.dtype)


class LearnedLogSnr(nn.Module, VariancePreserving):
    """A log-SNR that falls between fixed ends along a trained increasing curve.

        log_snr(t) = high + (low - high) c(t),   c = sum_k w_k c_k,   w = softmax

    c_0(t) = t, and the others are logistic curves of trained place and steepness, each from 0 at
    time 0 to 1 at time 1. The curve is strictly increasing whatever the parameters are.

    Arguments:
        high: log-SNR at time 0.
        low: log-SNR at time 1.
        bends: number of logistic curves.

    Raises:
        ValueError: `high` is not above `low`, or `bends` is below one.

    Reference: Kingma, Salimans, Poole, Ho 2021 (arXiv 2107.00630).
    """

    def __init__(self, high: float = 6.0, low: float = -7.0, bends: int = 4) -> None:
        super().__init__()
        descends(high, low)
        validate.positive_count("bends", bends)
        self.high, self.low = high, low
        self.weight = nn.Parameter(torch.zeros(bends + 1))
        self.place = nn.Parameter((torch.arange(bends) + 0.5) / bends)
        self.log_steepness = nn.Parameter(torch.full((bends,), 1.5))
        computable(self)

    def _curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return c and its derivative at `t`."""
        steep, at = self.log_steepness.exp(), t[..., None] - self.place
        start, end = (-steep * self.place).sigmoid(), (steep * (1.0 - self.place)).sigmoid()
        inner = (steep * at).sigmoid()
        curves = torch.cat([t[..., None], (inner - start) / (end - start)], -1)
        slopes = steep * inner * (1.0 - inner) / (end - start)
        slopes = torch.cat([torch.ones_like(t)[..., None], slopes], -1)
        w = self.weight.softmax(-1)
        return (curves * w).sum(-1), (slopes * w).sum(-1)

    def _log_snr(self, t: Tensor) -> Tensor:
        return self.high + (self.low - self.high) * self._curve(t)[0]

    def _time_of(self, log_snr: Tensor) -> Tensor:
        aim = (self.high - log_snr) / (self.high - self.low)

        def off(t: Tensor) -> tuple[Tensor, Tensor]:
            value, slope = self._curve(t)
            return value - aim, slope

        slack = 1e-5 if aim.dtype == torch.float32 else 1e-13
        return increasing_root(off, torch.zeros_like(aim), torch.ones_like(aim), slack)

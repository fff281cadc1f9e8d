"""Schedules that are given by numbers: a table of betas, or trained parameters."""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gentoolkit.core import validate
from gentoolkit.diffusion.schedule import VariancePreserving, descends
from gentoolkit.numerics import increasing_root


@dataclass(frozen=True)
class Betas(VariancePreserving):
    """The discrete schedule: T variances beta_i, read at the times i / T.

        signal(i / T)^2 = prod_{j <= i} (1 - beta_j)

    Between these times `-2 log signal` is interpolated linearly, so that one model serves the
    grid, any part of it, and continuous time.

    Arguments:
        betas: T variances in (0, 1), best in float64.

    Raises:
        TypeError: `betas` is not a floating-point tensor.
        ValueError: a beta is outside (0, 1): the signal would vanish or not fall.

    Reference: Ho, Jain, Abbeel 2020 (arXiv 2006.11239).
    """

    betas: Tensor
    _knots: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.betas, Tensor) or not self.betas.is_floating_point():
            raise TypeError(
                "betas must be a floating-point tensor; got "
                f"{getattr(self.betas, 'dtype', type(self.betas).__name__)}; use betas.double()"
            )
        inside = (self.betas > 0) & (self.betas < 1)
        if self.betas.ndim != 1 or self.betas.numel() == 0 or not bool(inside.all()):
            raise ValueError(
                f"betas must be a row of T >= 1 numbers strictly between 0 and 1; got shape "
                f"{tuple(self.betas.shape)} with {int((~inside).sum())} outside; take more steps, "
                "or smaller betas"
            )
        spent = -torch.log1p(-self.betas.double()).cumsum(0)
        object.__setattr__(self, "_knots", torch.cat([spent.new_zeros(1), spent]))

    @classmethod
    def linear(cls, steps: int, low: float = 1e-4, high: float = 0.02) -> Self:
        """Return betas on a straight line from `low` to `high`, as DDPM has them for 1000 steps.

        Raises:
            ValueError: `steps` is below one, or an end is outside (0, 1).
        """
        validate.positive_count("steps", steps)
        return cls(torch.linspace(low, high, steps, dtype=torch.float64))

    def _spent(self, t: Tensor) -> Tensor:
        knots = self._knots.to(t.device)
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
        knots = self._knots.to(log_snr.device)
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

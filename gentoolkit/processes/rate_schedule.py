"""Schedules of rates: how fast the jumps come in."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from gentoolkit.core import validate


class RateSchedule(ABC):
    """The rate of noising beta as a function of time.

    Obligations: `rate` is positive and monotone, `integral` its exact integral from 0 and
    `time_of` the inverse of that, all elementwise. An integral that is never reached, infinity
    among them, may give any time past the end.
    """

    @abstractmethod
    def rate(self, t: Tensor) -> Tensor:
        """Return beta(t)."""

    @abstractmethod
    def integral(self, t: Tensor) -> Tensor:
        """Return `B_t = int_0^t beta`."""

    @abstractmethod
    def time_of(self, b: Tensor) -> Tensor:
        """Return the time at which `B_t` is `b`."""

    def bound(self, s: Tensor, t: Tensor) -> Tensor:
        """Return the largest rate between `s` and `t`: that of an end, for the rate is monotone."""
        return torch.maximum(self.rate(s), self.rate(t))


@dataclass(frozen=True)
class ConstantRate(RateSchedule):
    """`beta(t) = speed`, which is positive."""

    speed: float = 1.0

    def __post_init__(self) -> None:
        validate.positive("speed", self.speed)

    def rate(self, t: Tensor) -> Tensor:
        """Return `speed`."""
        return torch.full_like(t, self.speed)

    def integral(self, t: Tensor) -> Tensor:
        """Return `speed t`."""
        return self.speed * t

    def time_of(self, b: Tensor) -> Tensor:
        """Return `b / speed`."""
        return b / self.speed


@dataclass(frozen=True)
class LinearRate(RateSchedule):
    """`beta(t) = low + slope t`, so `B_t = low t + slope t^2 / 2`; both numbers are positive."""

    low: float = 0.1
    slope: float = 10.0

    def __post_init__(self) -> None:
        validate.positive("low", self.low)
        validate.positive("slope", self.slope)

    def rate(self, t: Tensor) -> Tensor:
        """Return `low + slope t`."""
        return self.low + self.slope * t

    def integral(self, t: Tensor) -> Tensor:
        """Return `low t + slope t^2 / 2`."""
        return self.low * t + 0.5 * self.slope * t.square()

    def time_of(self, b: Tensor) -> Tensor:
        """Return the positive root, without a difference of near equals."""
        # Divided by b, or infinity would be divided by infinity.
        part = self.low / b
        return 2.0 / (part + (part.square() + 2.0 * self.slope / b).sqrt())


@dataclass(frozen=True)
class LogLinearRate(RateSchedule):
    """Tokens are lost evenly in time: of those at time 0, `1 - (1 - left) t` are left at time t.

        beta(t) = (1 - left) / (1 - (1 - left) t),   B_t = -log(1 - (1 - left) t)

    Made for masks and `end` = 1, where the share `left` in (0, 1) is not masked.

    Reference: Austin et al. 2021 (arXiv 2107.03006), whose 1 / (T - t + 1) this is.
    """

    left: float = 1e-3

    def __post_init__(self) -> None:
        if not 0.0 < self.left < 1.0:
            raise ValueError(
                f"left must lie in (0, 1); got {self.left}; the rate is infinite if none is left"
            )

    def rate(self, t: Tensor) -> Tensor:
        """Return `(1 - left) / (1 - (1 - left) t)`."""
        return (1.0 - self.left) / (1.0 - (1.0 - self.left) * t)

    def integral(self, t: Tensor) -> Tensor:
        """Return `-log(1 - (1 - left) t)`."""
        return -(-(1.0 - self.left) * t).log1p()

    def time_of(self, b: Tensor) -> Tensor:
        """Return `(1 - e^-b) / (1 - left)`."""
        return -torch.expm1(-b) / (1.0 - self.left)

"""What a network predicts, and how one prediction is read as any other.

    x_t = signal x_0 + noise e,   score = -e / noise,   v = signal e - noise x_0

Given x_t these are four coordinates of one unknown: the network chooses one, the rest follows.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from gentoolkit.core import validate

Level = Tensor | float
"""Signal or noise: a number, or a tensor that broadcasts to the states."""


class Parametrisation(ABC):
    """What a network's output at states `x` (B, *event) of known signal and noise means.

    A subclass writes `to_data`, `to_noise` and `target`. The first two are linear in the state and
    the output; each is written out, since one from the other loses digits where the log-SNR is
    extreme. `signal` and `noise` are numbers or broadcast to `x`.
    """

    @abstractmethod
    def to_data(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return the estimate of the data x_0, (B, *event)."""

    @abstractmethod
    def to_noise(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return the estimate of the noise e, (B, *event)."""

    @abstractmethod
    def target(self, x_0: Tensor, e: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return what the output should be for given data and noise, (B, *event)."""


def present(noise: Level) -> Level:
    """Return `noise` if there is some.

    Raises:
        ValueError: there is none somewhere, so a score would be that of the bare data.
    """
    known = not isinstance(noise, Tensor) or validate.readable(noise)
    if known and not bool((noise > 0).all() if isinstance(noise, Tensor) else noise > 0):
        raise ValueError(
            "a score needs noise; got a time at which the schedule has none; "
            "start a little above time 0"
        )
    return noise


@dataclass(frozen=True)
class PredictsNoise(Parametrisation):
    """The output is the noise e."""

    def to_data(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return `(x - noise e) / signal`."""
        return (x - noise * output) / signal

    def to_noise(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return the output itself."""
        return output

    def target(self, x_0: Tensor, e: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return the noise."""
        return e


@dataclass(frozen=True)
class PredictsData(Parametrisation):
    """The output is the data x_0."""

    def to_data(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return the output itself."""
        return output

    def to_noise(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return `(x - signal x_0) / noise`.

        Raises:
            ValueError: there is no noise at some time.
        """
        return (x - signal * output) / present(noise)

    def target(self, x_0: Tensor, e: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return the data."""
        return x_0


@dataclass(frozen=True)
class PredictsScore(Parametrisation):
    """The output is the score, `-e / noise`."""

    def to_data(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return Tweedie's `(x + noise^2 score) / signal`."""
        return (x + noise * noise * output) / signal

    def to_noise(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return `-noise score`."""
        return -noise * output

    def target(self, x_0: Tensor, e: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return `-e / noise`.

        Raises:
            ValueError: there is no noise at some time.
        """
        return -e / present(noise)


@dataclass(frozen=True)
class PredictsVelocity(Parametrisation):
    """The output is `v = signal e - noise x_0`.

    Reference: Salimans and Ho 2022 (arXiv 2202.00512).
    """

    def to_data(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return `(signal x - noise v) / (signal^2 + noise^2)`."""
        return (signal * x - noise * output) / (signal * signal + noise * noise)

    def to_noise(self, x: Tensor, output: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return `(noise x + signal v) / (signal^2 + noise^2)`."""
        return (noise * x + signal * output) / (signal * signal + noise * noise)

    def target(self, x_0: Tensor, e: Tensor, signal: Level, noise: Level) -> Tensor:
        """Return `signal e - noise x_0`."""
        return signal * e - noise * x_0

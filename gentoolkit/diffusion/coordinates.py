"""What a network predicts, and how one prediction is read as any other.

    x_t = signal x_0 + noise e,   score = -e / noise,   v = signal e - noise x_0

Given x_t these are four coordinates of one unknown: the network chooses one, the rest follows.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from gentoolkit.diffusion.schedule import Schedule


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


def perturb(schedule: Schedule, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return `signal(t) x0 + noise(t) noise`, (B, *event).

    Arguments:
        schedule: says how much of each.
        x0: data, (B, *event).
        noise: standard normal numbers, (B, *event).
        t: times, (B,) or ().
    """
    a, s = schedule.levels(t)
    return spread(a, x0) * x0 + spread(s, x0) * noise


@dataclass(frozen=True)
class Parametrisation(ABC):
    """A reading of a network's output at states `x` (B, *event) and times `t` (B,) or ().

    A subclass writes `to_data` and `to_noise`; each is written out, since one from the other loses
    digits where the log-SNR is extreme.

    Arguments:
        schedule: signal and noise at each time.
    """

    schedule: Schedule

    def levels(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return signal and noise at `t`, shaped to broadcast to `x`."""
        a, s = self.schedule.levels(t)
        return spread(a, x), spread(s, x)

    @abstractmethod
    def to_data(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return the estimate of the data x_0, (B, *event)."""

    @abstractmethod
    def to_noise(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return the estimate of the noise e, (B, *event)."""

    @abstractmethod
    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return what the output should be for given data and noise, (B, *event)."""

    def to_score(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return the score `grad log p_t(x) = -e / noise`, (B, *event).

        Raises:
            ValueError: there is no noise at some time, so the score is that of the bare data.
        """
        _, s = self.levels(x, t)
        return -self.to_noise(x, t, output) / _present(s)

    def to_velocity(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return `v = signal e - noise x_0`, (B, *event)."""
        a, s = self.levels(x, t)
        return a * self.to_noise(x, t, output) - s * self.to_data(x, t, output)


def _present(noise: Tensor) -> Tensor:
    if not bool((noise > 0).all()):
        raise ValueError(
            "a score needs noise; got a time at which the schedule has none; "
            "start a little above time 0"
        )
    return noise


@dataclass(frozen=True)
class PredictsNoise(Parametrisation):
    """The output is the noise e."""

    def to_data(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return `(x - noise e) / signal`."""
        a, s = self.levels(x, t)
        return (x - s * output) / a

    def to_noise(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return the output itself."""
        return output

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return the noise."""
        return noise


@dataclass(frozen=True)
class PredictsData(Parametrisation):
    """The output is the data x_0."""

    def to_data(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return the output itself."""
        return output

    def to_noise(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return `(x - signal x_0) / noise`.

        Raises:
            ValueError: there is no noise at some time.
        """
        a, s = self.levels(x, t)
        return (x - a * output) / _present(s)

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return the data."""
        return x0


@dataclass(frozen=True)
class PredictsScore(Parametrisation):
    """The output is the score, `-e / noise`."""

    def to_data(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return Tweedie's `(x + noise^2 score) / signal`."""
        a, s = self.levels(x, t)
        return (x + s.square() * output) / a

    def to_noise(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return `-noise score`."""
        return -self.levels(x, t)[1] * output

    def to_score(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return the output itself."""
        return output

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return `-e / noise`.

        Raises:
            ValueError: there is no noise at some time.
        """
        return -noise / _present(self.levels(x0, t)[1])


@dataclass(frozen=True)
class PredictsVelocity(Parametrisation):
    """The output is `v = signal e - noise x_0`.

    Reference: Salimans and Ho 2022 (arXiv 2202.00512).
    """

    def to_data(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return `(signal x - noise v) / (signal^2 + noise^2)`."""
        a, s = self.levels(x, t)
        return (a * x - s * output) / (a.square() + s.square())

    def to_noise(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return `(noise x + signal v) / (signal^2 + noise^2)`."""
        a, s = self.levels(x, t)
        return (s * x + a * output) / (a.square() + s.square())

    def to_velocity(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Return the output itself."""
        return output

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return `signal e - noise x_0`."""
        a, s = self.levels(x0, t)
        return a * noise - s * x0

"""DDIM: one trained net, a family of chains with the same marginals, and a latent code."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.coordinates import Parametrisation
from gentoolkit.diffusion.denoiser import Denoiser, Level, Net, checked_path, checked_start
from gentoolkit.diffusion.samplers import (
    Advance,
    Counted,
    Sampler,
    State,
    mix,
    posterior_std,
    standard_noise,
    walk,
)
from gentoolkit.diffusion.schedule import Schedule


def _direction(there: Level, std: float) -> float:
    """Return `sqrt(noise^2 - std^2)`: what is left of the noise along the old direction."""
    return sqrt(max(0.0, there.noise**2 - std**2))  # rounding may leave -1e-17


@dataclass(frozen=True)
class DDIM(Sampler):
    """Steps of any length along the family of chains that share DDPM's marginals.

        x_s = signal_s x0 + sqrt(noise_s^2 - std^2) e + std z
        std = eta noise_s sqrt(1 - SNR_t / SNR_s)

    with x0 and e the net's estimates. At `eta = 0` nothing is drawn: a first-order solver of the
    probability-flow ODE, exact where the estimate of the noise stays the same. At `eta = 1` it is
    `Ancestral()`.

    Arguments:
        eta: share of the posterior's deviation that is drawn anew, in [0, 1].

    Raises:
        ValueError: `eta` lies outside [0, 1].

    Reference: Song, Meng, Ermon 2021 (arXiv 2010.02502).
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.eta <= 1.0:
            raise ValueError(
                f"eta must lie in [0, 1]; got {self.eta}; 0 draws nothing, 1 is DDPM, and beyond "
                "it the marginals cannot be kept"
            )

    def begin(self, model: Denoiser, steps: int, generator: Generator | None) -> Advance:
        """Return the step."""

        def advance(x: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
            data = model.data(x, here)
            std = self.eta * posterior_std(here, there)
            x = mix(x, data, here, there, _direction(there, std))
            return data, x + std * standard_noise(x, generator) if std > 0.0 else x

        return advance


def encode(
    net: Net,
    schedule: Schedule,
    parametrisation: Parametrisation,
    x: Tensor,
    times: Tensor,
) -> Iterator[State]:
    """Yield the states from data to noise by DDIM's step taken upwards: a latent code.

    `DDIM()` over `times.flip(0)` decodes; the round trip closes to first order in the step. At a
    first time without noise the estimate of the noise is read at the second time.

    Arguments:
        net: a denoiser, from states (B, *event) and times (B,) to (B, *event).
        schedule: signal and noise.
        parametrisation: what the net's output means.
        x: states at the first time, (B, *event): data.
        times: rising, (T+1,).

    Raises:
        TypeError: `x` or `times` holds integers.
        ValueError: `x` is not finite, the times leave [0, 1] or do not rise, or the states leave
            the real numbers on the way.
    """
    counted = Counted(net)
    model = Denoiser(counted, schedule, parametrisation)
    points = model.levels(checked_path(times, falling=False))

    def advance(x: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
        if here.noise > 0.0:
            data = model.data(x, here)
            return data, mix(x, data, here, there, there.noise)
        end = (there.signal / here.signal) * x
        # signal x_0 + noise e, with e read at that place; the data is the state itself.
        return x, 2.0 * end - there.signal * model.data(end, there)

    return walk(advance, checked_start(x), points, counted)


def slerp(start: Tensor, end: Tensor, weight: float) -> Tensor:
    """Return the point at `weight` along the great circle from `start` to `end`, (B, *event).

        [sin((1 - w) angle) start + sin(w angle) end] / sin(angle)

    Each row is one vector. Between independent noises it keeps their typical length, which a
    straight line does not.

    Arguments:
        start: (B, *event).
        end: (B, *event).
        weight: 0 gives `start`, 1 gives `end`.

    Raises:
        TypeError: `start` or `end` holds integers.
        ValueError: shapes differ, a row is zero, or two rows point in opposite directions.

    Reference: Shoemake 1985.
    """
    for name, value in (("start", start), ("end", end)):
        if not validate.batch(name, value).is_floating_point():
            raise TypeError(f"{name} must hold floating-point codes; got {value.dtype}; use float")
    if start.shape != end.shape:
        raise ValueError(
            f"start and end must have one shape; got {tuple(start.shape)} and "
            f"{tuple(end.shape)}; interpolate between codes of one net"
        )
    a, b = start.flatten(1), end.flatten(1)
    lengths = [v.norm(dim=1, keepdim=True) for v in (a, b)]
    if not all(bool((length > 0).all()) for length in lengths):
        raise ValueError("a row is zero and has no direction; got length 0; draw it anew")
    u, v = a / lengths[0], b / lengths[1]
    # By half angles: exact for nearly equal rows, where the arc cosine loses half its digits.
    angle = 2.0 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))
    if bool((torch.pi - angle < 1e-4).any()):
        raise ValueError(
            f"opposite rows have no shortest arc; got an angle of {float(angle.max()):.6f}; "
            "draw one of them anew"
        )
    angle = angle.clamp_min(1e-8)[:, None]  # below it the weights are those of a line
    mixed = ((1.0 - weight) * angle).sin() * a + (weight * angle).sin() * b
    return (mixed / angle.sin()).reshape(start.shape)

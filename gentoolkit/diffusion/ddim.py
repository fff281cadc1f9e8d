"""DDIM upwards: a latent code for data, and the way between two codes."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.denoiser import Denoiser
from gentoolkit.diffusion.samplers import mix
from gentoolkit.processes import Counted, State, falling_times, walk


def encode(denoiser: Denoiser, x: Tensor, steps: int | Tensor = 100) -> Iterator[State]:
    """Yield the states from data to noise by DDIM's step taken upwards: a latent code.

    `DDIM().sample(denoiser, code, steps)` decodes; the round trip closes to first order in the
    step. At a time without noise the estimate of the noise is read at the next one, and into a
    time without signal there is no way back: end before it.

    Arguments:
        denoiser: tells the data.
        x: data, states at the last of the times, (B, *event).
        steps: number of even steps, or falling times (T+1,): those of the way down.

    Raises:
        TypeError: states or times are integers.
        ValueError: the states are not finite, the times leave [0, 1] or do not fall, or the states
            leave the real numbers on the way.
    """
    levels = denoiser.levels(falling_times(steps).flip(0))
    if levels[-1].signal == 0.0:
        raise ValueError(
            f"a code must keep some signal; got none at time {levels[-1].time:g}, where all data "
            "have one code; start the times below it, for example at 0.999"
        )
    counted = Counted(denoiser.net)
    model = replace(denoiser, net=counted)

    def advance(x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        here, there = levels[i], levels[i + 1]
        if here.noise > 0.0:
            data = model.estimate(x, here)
            return data, mix(x, data, here, there, there.noise)
        end = (there.signal / here.signal) * x
        # signal x_0 + noise e, with e read at that place; the data is the state itself.
        return x, 2.0 * end - there.signal * model.estimate(end, there)

    return walk(advance, denoiser.start(x), [level.time for level in levels], counted)


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

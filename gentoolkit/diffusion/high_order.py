"""Matching the derivatives of the score too, from noised data alone.

With `x_t = signal x_0 + noise e` and `l = e + noise score(x_t)`, the derivatives of log p_t are
means over the data behind a state, each with a power of the noise in front:

    E[-e | x]             = noise   score(x)
    E[|l|^2 - D | x]      = noise^2 tr grad score(x)
    E[-l^3 | x]           = noise^3 d^2 score / dx^2        (one dimension)
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.func import jvp

from gentoolkit.core import Unsupported, validate
from gentoolkit.diffusion.denoiser import Denoiser
from gentoolkit.numerics import divergence
from gentoolkit.processes.gaussian import spread


def derivatives(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return f, f' and f'' at numbers `x` (..., 1), each alone, by forward mode.

    A piecewise linear f has no second derivative to give: use tanh or SiLU inside a net.
    """
    one = torch.ones_like(x)

    def first(at: Tensor) -> tuple[Tensor, Tensor]:
        both = jvp(f, (at,), (one,))
        return both[0], both[1]

    (value, slope), rates = jvp(first, (x,), (one,))[:2]
    return value, slope, rates[1]


def high_order_matching(
    denoiser: Denoiser,
    x: Tensor,
    t: Tensor,
    generator: Generator | None = None,
    *,
    second: float = 0.5,
    third: float = 0.0,
) -> Tensor:
    """Return the matching loss of order one, two or three at the times `t`, (B,).

        |n - e|^2 + second (-noise tr dn/dx - (|l|^2 - D))^2 + third (-noise^2 d^2n/dx^2 + l^3)^2

    with n the noise that the net estimates and `l = e - n`, through which no gradient flows: l
    tells the target of the higher orders, and must not be bent to make them easy.

    Arguments:
        denoiser: the estimate, read as the noise e.
        x: data, (B, D).
        t: times, (B,) or ().
        generator: source of randomness.
        second: weight of the second order, 0 or more.
        third: weight of the third order; above 0 in one dimension only.

    Raises:
        ValueError: a weight is negative, `x` is not of shape (B, D), or the third order meets a
            piecewise linear net.
        Unsupported: the third order in more than one dimension, where the target also needs the
            whole second derivative.

    Reference: Lu, Zheng, Bao, Chen, Li, Zhu 2022 (arXiv 2206.08265).
    """
    if min(second, third) < 0.0:
        raise ValueError(
            f"weights of the orders must not be negative; got second={second}, third={third}; "
            "0 leaves an order out"
        )
    if validate.batch("x", x).ndim != 2:
        raise ValueError(f"x must have shape (B, D); got {tuple(x.shape)}; use x.flatten(1)")
    if third > 0.0 and x.shape[1] != 1:
        raise Unsupported(
            f"the third order is offered in one dimension; got D = {x.shape[1]}; in more its "
            "target holds the whole second derivative; use third=0.0"
        )
    a, s = (spread(level, x) for level in denoiser.schedule.levels(t))
    e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    noised = a * x + s * e
    if second == third == 0.0:
        return (denoiser.noise(noised, t) - e).square().sum(1)
    if x.shape[1] == 1:
        # (B, 1) columns: the derivative of each row alone, by forward mode.
        n, slope, bend = derivatives(lambda at: denoiser.noise(at, t), noised)
        tr, bend = slope.sum(1), bend[:, 0]
    else:
        n, tr = divergence(lambda at: denoiser.noise(at, t), noised)
        bend = None
    rest = (e - n).detach()
    loss = (n - e).square().sum(1)
    noise = s.reshape(-1)
    loss = loss + second * (-noise * tr - (rest.square().sum(1) - x.shape[1])).square()
    if bend is not None and third > 0.0:
        if validate.readable(bend) and not bool(bend.any()):
            raise ValueError(
                "the third order needs a second derivative; got 0 everywhere, as from a net that "
                "is piecewise linear; use tanh or SiLU in place of ReLU"
            )
        loss = loss + third * (-noise.square() * bend + rest[:, 0] ** 3).square()
    return loss

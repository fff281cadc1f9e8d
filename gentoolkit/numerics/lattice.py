"""Matrices on the links of a periodic square lattice: plaquettes, loops, gauge transformations.

A field of links is `U: (B, 2, L, M, N, N)`: `U[:, 0, i, j]` leads from site (i, j) to (i + 1, j),
`U[:, 1, i, j]` to (i, j + 1), and the sites wrap around.
"""

import torch
from torch import Tensor

from gentoolkit.core import validate


def links(u: Tensor) -> Tensor:
    """Return `u` if its shape is that of a field of links, (B, 2, L, M, N, N).

    Raises:
        ValueError: it is not, or a side is below 2.
    """
    if u.ndim != 6 or u.shape[1] != 2 or u.shape[4] != u.shape[5] or min(u.shape[2:4]) < 2:
        raise ValueError(
            "links must have shape (B, 2, L, M, N, N), sides of 2 or more; got "
            f"{tuple(u.shape)}; two directions at each site, one matrix for each"
        )
    return u


def plaquettes(u: Tensor) -> Tensor:
    """Return the product of the links around each unit square, (B, L, M, N, N).

        P(x) = U_0(x) U_1(x + e_0) U_0(x + e_1)^dag U_1(x)^dag

    Raises:
        ValueError: `u` is not a field of links.
    """
    across, up = links(u).unbind(1)
    return across @ up.roll(-1, 1) @ (up @ across.roll(-1, 2)).mH


def loops(u: Tensor, width: int, height: int) -> Tensor:
    """Return the product of the links around each rectangle (Wilson loops), (B, L, M, N, N).

    Arguments:
        u: links, (B, 2, L, M, N, N).
        width: links along direction 0.
        height: links along direction 1.

    Raises:
        ValueError: `u` is not a field of links, or a side of the rectangle is below one.
    """
    across, up = links(u).unbind(1)
    bottom = _line(across, validate.positive_count("width", width), 1)
    right = _line(up, validate.positive_count("height", height), 2)
    return bottom @ right.roll(-width, 1) @ (right @ bottom.roll(-height, 2)).mH


def _line(u: Tensor, length: int, axis: int) -> Tensor:
    """Return the products of `length` links in a row, from each site on."""
    product = u
    for k in range(1, length):
        product = product @ u.roll(-k, axis)
    return product


def gauge_transform(u: Tensor, g: Tensor) -> Tensor:
    """Turn the frame at each site: `U_mu(x) -> g(x) U_mu(x) g(x + e_mu)^dag`.

    Plaquettes become `g(x) P(x) g(x)^dag`: their eigenvalues stay.

    Arguments:
        u: links, (B, 2, L, M, N, N).
        g: one matrix for each site, (L, M, N, N) or (B, L, M, N, N).

    Raises:
        ValueError: `u` is not a field of links, or `g` has another lattice.
    """
    g = g if g.ndim == 5 else g[None]
    if g.ndim != 5 or g.shape[1:] != links(u).shape[2:] or g.shape[0] not in (1, u.shape[0]):
        raise ValueError(
            f"g must have shape {tuple(u.shape[2:])}, one matrix for each site; got "
            f"{tuple(g.shape)}; draw it with haar(n, *sides)"
        )
    ends = torch.stack([g.roll(-1, 1), g.roll(-1, 2)], 1)
    return g[:, None] @ u @ ends.mH


def transposed(u: Tensor) -> Tensor:
    """Exchange the two directions of the lattice; plaquettes become their inverses."""
    return u.flip(1).transpose(2, 3)

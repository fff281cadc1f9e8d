"""Particles whose mean position is zero: how they are made so, checked, and measured.

A density that no shift changes cannot be normalised over all positions. It lives on the subspace
of configurations with mean zero, which has (M - 1) n dimensions for M particles in R^n.
"""

import torch
from torch import Tensor

from gentoolkit.core import validate

ZERO_MEAN = "zero centre of mass"
"""The base measure of densities of particles: the length measure of the zero-mean subspace."""


def without_mean(x: Tensor, dimensions: int | None = None) -> Tensor:
    """Return particles moved so that their mean position is zero.

    Arguments:
        x: (B, M, n), or (B, M, n + f) with features behind the positions.
        dimensions: n; all columns are positions if left out.
    """
    n = x.shape[-1] if dimensions is None else dimensions
    place, rest = x[..., :n], x[..., n:]
    return torch.cat([place - place.mean(-2, keepdim=True), rest], -1)


def checked_zero_mean(name: str, x: Tensor, dimensions: int | None = None) -> Tensor:
    """Return `x` if the mean position of its particles is zero.

    Values are looked at where `validate.readable` allows it.

    Raises:
        ValueError: some mean is farther from zero than rounding explains.
    """
    n = x.shape[-1] if dimensions is None else dimensions
    if validate.readable(x):
        place = x[..., :n].detach()
        worst = float(place.mean(-2).abs().max())
        if worst > 1e-5 * (1.0 + float(place.abs().max())):
            raise ValueError(
                f"{name} must have its centre of mass at zero, since the density lives on that "
                f"subspace; got a mean position of {worst:.3g}; use without_mean(x)"
            )
    return x


def distances(x: Tensor) -> Tensor:
    """Return the distance of each of the M (M - 1) / 2 pairs of particles, (B, pairs).

    Arguments:
        x: positions, (B, M, n).
    """
    i, j = torch.triu_indices(x.shape[-2], x.shape[-2], 1, device=x.device)
    return (x[..., i, :] - x[..., j, :]).norm(dim=-1)

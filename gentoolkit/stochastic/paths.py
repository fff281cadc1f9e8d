"""Paths of densities from a source to a target, and the schedules along them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.core.chain import Source, Target, log_density


class Path(ABC):
    """Unnormalised densities g_beta from a source at beta = 0 to a target at beta = 1.

    Obligations: `source` and `target` are fields; `log_prob(x, beta)` gives log g_beta, (B,).
    """

    source: Source
    target: Target

    @abstractmethod
    def log_prob(self, x: Tensor, beta: Tensor | float) -> Tensor:
        """Return log g_beta at `x`, shape (B,)."""

    def at(self, beta: Tensor | float) -> "Tempered":
        """Return the density at one `beta`."""
        return Tempered(self, beta)


@dataclass(frozen=True)
class Tempered:
    """The density of a path at one `beta`, from 0 to 1."""

    path: Path
    beta: Tensor | float

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log g_beta at `x`, shape (B,)."""
        return self.path.log_prob(x, self.beta)


@dataclass(frozen=True)
class GeometricPath(Path):
    """The geometric path: `log g_beta = (1 - beta) log source + beta log target`.

    Arguments:
        source: a normalised density that samples.
        target: an unnormalised log-density.

    Reference: Neal 2001, Annealed importance sampling.
    """

    source: Source
    target: Target

    def log_prob(self, x: Tensor, beta: Tensor | float) -> Tensor:
        """Return log g_beta at `x`, shape (B,)."""
        # At its ends the path is one density alone, also where the other is zero.
        if not isinstance(beta, Tensor) and beta in (0.0, 1.0):
            return log_density(self.target if beta else self.source, x)
        start, end = log_density(self.source, x), log_density(self.target, x)
        return (1.0 - beta) * start + beta * end


def checked_schedule(betas: Tensor) -> Tensor:
    """Return `betas` if they are a floating-point row that increases from 0 to 1.

    Raises:
        TypeError: they are not a floating-point tensor.
        ValueError: they are no such row.
    """
    if not isinstance(betas, Tensor) or not betas.is_floating_point():
        raise TypeError(
            "betas must be a floating-point tensor; got "
            f"{getattr(betas, 'dtype', type(betas).__name__)}; use torch.linspace(0, 1, K + 1)"
        )
    row = betas.detach()
    if row.ndim != 1 or len(row) < 2:
        raise ValueError(
            f"betas must be a row of two or more; got shape {tuple(row.shape)}; use "
            "torch.linspace(0, 1, K + 1) for K steps"
        )
    if float(row[0]) != 0.0 or float(row[-1]) != 1.0:
        raise ValueError(
            f"a schedule must run from 0 to 1; got {float(row[0])} to {float(row[-1])}; put 0 in "
            "front and 1 at the end"
        )
    if not bool((row.diff() > 0).all()):
        raise ValueError(
            f"a schedule must increase; got a least step of {float(row.diff().min())}; sort it, "
            "and give each value once"
        )
    return betas


def even_schedule(steps: int) -> Tensor:
    """Return `k / steps` for k = 0..steps, in float64.

    Raises:
        ValueError: `steps` is below one.
    """
    return torch.linspace(
        0.0, 1.0, validate.positive_count("steps", steps) + 1, dtype=torch.float64
    )

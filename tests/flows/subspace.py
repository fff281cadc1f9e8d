"""Densities on the zero-mean subspace, seen in orthonormal coordinates of it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class InCoordinates:
    """A density of M particles in R^n as one of (M - 1) n numbers: lengths stay as they are."""

    density: Any

    @property
    def basis(self) -> Tensor:
        """Orthonormal columns that sum to zero, (M, M - 1)."""
        m = self.density.event_shape[0]
        centring = torch.eye(m) - torch.full((m, m), 1 / m)
        return torch.linalg.eigh(centring).eigenvectors[:, 1:]

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw coordinates, (n, (M - 1) n)."""
        x = self.density.sample(n, generator=generator)
        return torch.einsum("ms,bmn->bsn", self.basis, x).flatten(1)

    def log_prob(self, y: Tensor) -> Tensor:
        """Return the density of the particles with these coordinates, over its normaliser."""
        rows = y.reshape(len(y), -1, self.density.event_shape[1])
        x = torch.einsum("ms,bsn->bmn", self.basis, rows)
        return self.density.log_prob(x) - getattr(self.density, "log_z", 0.0)

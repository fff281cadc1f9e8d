"""Small steps and a target that tests of the core share."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gentoolkit import Bijection, FunctionKernel, Gaussian, Reversible
from gentoolkit.core.chain import Target
from gentoolkit.targets import GaussianMixture


@dataclass(frozen=True)
class Affine(Bijection):
    """`y = A x + c`, the least bijection."""

    a: Tensor
    c: Tensor

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return A x + c and log|det A|."""
        return x @ self.a.T + self.c, self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return A^-1 (y - c) and log|det A|."""
        return torch.linalg.solve(self.a, (y - self.c).T).T, self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return torch.linalg.slogdet(self.a).logabsdet.expand(x.shape[0])


@dataclass(frozen=True)
class Sinh(Bijection):
    """`y = sinh(x)` in each coordinate: a Jacobian that depends on the point."""

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return sinh x and sum log cosh x."""
        return x.sinh(), x.cosh().log().sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return asinh y and sum log cosh asinh y."""
        x = y.asinh()
        return x, x.cosh().log().sum(1)


@dataclass(frozen=True)
class Metropolis(Reversible):
    """Random-walk Metropolis on a target."""

    target: Target
    width: float = 0.5

    def log_g(self, x: Tensor) -> Tensor:
        """Return the target's log-density."""
        return self.target.log_prob(x)  # pyright: ignore

    def move(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Propose a Gaussian step, accept with probability min(1, g(y)/g(x))."""
        noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
        y = x + self.width * noise
        chance = torch.rand(x.shape[0], dtype=x.dtype, generator=generator)
        accept = chance.log() < self.log_g(y) - self.log_g(x)
        return torch.where(accept[:, None], y, x)


def linear_gaussian(dtype: torch.dtype, perturb: float = 0.3) -> FunctionKernel:
    """Two unrelated affine Gaussian laws that even change the dimension, 2 -> 3."""
    torch.manual_seed(1)
    a, b = torch.randn(3, 2, dtype=dtype), perturb * torch.randn(2, 3, dtype=dtype)
    return FunctionKernel(
        lambda x: Gaussian(x @ a.T + 0.1, 0.7), lambda y: Gaussian(y @ b.T - 0.2, 1.3)
    )


def lopsided() -> GaussianMixture:
    """Three unequal components and a normaliser that is not one."""
    return GaussianMixture(
        torch.tensor([[0.0, 1.0], [2.0, -1.0], [-1.5, 0.3]]),
        torch.tensor([0.3, 1.0, 0.6]),
        torch.tensor([0.2, 0.5, 0.3]),
        log_z=1.7,
    )


@dataclass(frozen=True)
class Flattened:
    """The square root of a target: a density that is not the target, for a move to keep."""

    target: GaussianMixture

    def log_prob(self, x: Tensor) -> Tensor:
        """Return half the log-density."""
        return 0.5 * self.target.log_prob(x)

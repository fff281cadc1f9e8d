"""Gaussian pairs of densities on which every unadjusted move is affine."""

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from gentoolkit import Gaussian, Law
from gentoolkit.stochastic import GeometricPath, Tempered

K, STEP, LOG_Z = 6, 0.07, 0.8
PRECISION = torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
MEAN = torch.tensor([1.5, -0.5], dtype=torch.float64)


@dataclass(frozen=True)
class Bump:
    """`log_prob(x) = log_z + log N(x; mean, precision^-1)`."""

    mean: Tensor
    precision: Tensor
    log_z: float = 0.0

    def log_prob(self, x: Tensor) -> Tensor:
        off = x - self.mean
        constant = torch.linalg.slogdet(self.precision).logabsdet - len(self.mean) * log(2 * pi)
        return self.log_z + (constant - ((off @ self.precision) * off).sum(1)) / 2

    def sample(self, n, generator=None):
        noise = torch.randn(n, len(self.mean), generator=generator, dtype=self.mean.dtype)
        return self.mean + noise @ torch.linalg.cholesky(self.precision.inverse()).T


def annealing_path() -> GeometricPath:
    """From N(0, 4 I) to a skewed bump with log Z = 0.8."""
    return GeometricPath(Gaussian(torch.zeros(1, 2), 2.0), Bump(MEAN, PRECISION, LOG_Z))


def affine_score(g: Tempered) -> tuple[Tensor, Tensor]:
    """Return A and a of `grad log g_beta(x) = a - A x`, in closed form."""
    beta = float(g.beta)
    return beta * PRECISION + (1 - beta) / 4.0 * torch.eye(2), beta * PRECISION @ MEAN


def marginals(betas: Tensor, step: float = STEP) -> list[tuple[Tensor, Tensor]]:
    """Mean and covariance of q_0, ..., q_K by the Kalman recursion."""
    path, laws = annealing_path(), [(torch.zeros(2), 4.0 * torch.eye(2))]
    for beta in betas[1:].tolist():
        curvature, pull = affine_score(path.at(beta))
        gain = torch.eye(2) - step * curvature
        mean, cov = laws[-1]
        laws.append((gain @ mean + step * pull, gain @ cov @ gain.T + 2 * step * torch.eye(2)))
    return laws


@dataclass(frozen=True)
class Full(Law):
    """A Gaussian with a full covariance, for exact reversals."""

    mean: Tensor
    cov: Tensor

    def sample(self, n=None, generator=None):
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean + noise @ torch.linalg.cholesky(self.cov).T

    def log_prob(self, x):
        return torch.distributions.MultivariateNormal(self.mean, self.cov).log_prob(x)

"""What the Jacobian determinant must be: the best likelihood of linear flows.

Signs: a flow's log-determinants belong to the map that samples. Here `J = dz/dx` is the Jacobian
of the map that scores, x -> z, and `log |det J|` is minus their sum.
"""

from dataclasses import dataclass
from math import e, log, pi

import torch
from torch import Tensor

from gentoolkit.core import validate


def _square(name: str, matrix: Tensor) -> Tensor:
    if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
        raise TypeError(
            f"{name} must be a floating-point tensor; got "
            f"{getattr(matrix, 'dtype', type(matrix).__name__)}; use matrix.double()"
        )
    if validate.batch(name, matrix).ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(
            f"{name} must have shape (D, D); got {tuple(matrix.shape)}; "
            "use torch.cov(x.T) of data x with shape (n, D)"
        )
    return matrix


def _spectrum(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues, ascending, and the eigenvectors of a covariance."""
    _square("covariance", covariance)
    if not torch.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-8):
        gap = float((covariance - covariance.T).abs().max())
        raise ValueError(
            f"covariance must be symmetric; got entries that differ by {gap:.3g} across the "
            "diagonal; use (S + S.T) / 2"
        )
    values, vectors = torch.linalg.eigh(covariance)
    floor = torch.finfo(values.dtype).eps * len(values) * float(values.abs().max())
    if not float(values[0]) > floor:
        raise ValueError(
            "covariance must have positive eigenvalues; got a smallest one of "
            f"{float(values[0]):.3g}: the data fill no volume, and the best loss is minus "
            "infinity; add noise of some variance s2, S + s2 * eye"
        )
    return values, vectors


@dataclass(frozen=True)
class GaussianOptimum:
    """What maximum likelihood reaches with a linear flow, whatever the flow.

        loss = sum_i log(2 pi e l_i) / 2,   log |det J| = -sum_i log(l_i) / 2

    Arguments:
        eigenvalues: of the covariance, ascending, (D,).
    """

    eigenvalues: Tensor

    @property
    def loss(self) -> float:
        """The least mean negative log-likelihood, in nats: the entropy of the Gaussian."""
        return float(0.5 * (2.0 * pi * e * self.eigenvalues).log().sum())

    @property
    def log_det(self) -> float:
        """The value log |det J| of every optimal J = dz/dx."""
        return float(-0.5 * self.eigenvalues.log().sum())

    @property
    def lipschitz(self) -> float:
        """Largest stretch of x -> z, one over the smallest deviation of the data."""
        return float(self.eigenvalues[0].rsqrt())

    @property
    def lipschitz_inverse(self) -> float:
        """Largest stretch of z -> x, the largest deviation of the data."""
        return float(self.eigenvalues[-1].sqrt())

    @property
    def condition(self) -> float:
        """The condition number of J that the data force on any optimal linear flow."""
        return self.lipschitz * self.lipschitz_inverse


def gaussian_optimum(covariance: Tensor) -> GaussianOptimum:
    """Return the best likelihood of linear flows z = W x, in closed form.

    Arguments:
        covariance: S of data with mean zero, (D, D).

    Raises:
        ValueError: S is not a symmetric matrix with positive eigenvalues.

    Reference: Liao and He 2021 (arXiv 2102.06539); Tipping and Bishop 1999 for S = V V' + s2 I.
    """
    return GaussianOptimum(_spectrum(covariance)[0])


def whitening(covariance: Tensor, rotation: Tensor | None = None) -> Tensor:
    """Return an optimal linear flow: `W = Q S^(-1/2)`, so that `W S W' = I`.

    Every orthogonal Q gives the same density and the same |det W|.

    Arguments:
        covariance: S, (D, D).
        rotation: Q, orthogonal (D, D); the identity if left out.

    Returns:
        W, (D, D).

    Raises:
        ValueError: S has no inverse, or Q is not orthogonal.
    """
    values, vectors = _spectrum(covariance)
    root = (vectors * values.rsqrt()) @ vectors.T
    if rotation is None:
        return root
    eye = torch.eye(len(values), dtype=values.dtype, device=values.device)
    slack = 1e-4 if values.dtype == torch.float32 else 1e-8
    if rotation.shape != eye.shape or not torch.allclose(rotation @ rotation.T, eye, atol=slack):
        raise ValueError(
            f"rotation must be orthogonal, of shape {tuple(eye.shape)}; got "
            f"{tuple(rotation.shape)}; use torch.linalg.qr to make one"
        )
    return rotation @ root


def linear_loss(weight: Tensor, covariance: Tensor) -> Tensor:
    """Return the population loss of the flow z = W x on data with second moments S, shape ().

        L = tr(W S W') / 2 + D log(2 pi) / 2 - log |det W|

    Arguments:
        weight: W, (D, D); the gradient flows through.
        covariance: S, (D, D).

    Raises:
        ValueError: the shapes differ, or W is singular.
    """
    if _square("weight", weight).shape != _square("covariance", covariance).shape:
        raise ValueError(
            f"weight and covariance must have one shape; got {tuple(weight.shape)} and "
            f"{tuple(covariance.shape)}; both are (D, D)"
        )
    log_det = torch.linalg.slogdet(weight).logabsdet
    if not bool(torch.isfinite(log_det)):
        raise ValueError(
            f"weight must be invertible; got log |det W| = {float(log_det)}; "
            "start at whitening(covariance) or at the identity"
        )
    energy = torch.einsum("ij,jk,ik->", weight, covariance, weight)
    return 0.5 * energy + 0.5 * len(weight) * log(2.0 * pi) - log_det

"""What the Jacobian determinant must be: the best likelihood, and how far a flow is from it.

Signs: a flow's log-determinants belong to the map that samples. Here `J = dz/dx` is the Jacobian
of the map that scores, x -> z, and `log |det J|` is minus their sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, e, log, pi

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.flows.layer import Flow


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


def cholesky_whitening(covariance: Tensor) -> Tensor:
    """Return the optimal linear flow that is triangular: `W = L^-1` with `S = L L'`, (D, D)."""
    _spectrum(covariance)
    lower = torch.linalg.cholesky(covariance)
    eye = torch.eye(lower.shape[0], dtype=lower.dtype, device=lower.device)
    return torch.linalg.solve_triangular(lower, eye, upper=False)


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


def isolated_entropy(covariances: Sequence[Tensor]) -> float:
    """Return the least loss on N well separated points, each blurred by its own Gaussian.

        H = log N + mean_n sum_i log(2 pi e l_i(S_n)) / 2

    It depends on the local eigenvalues alone, whatever the network.

    Arguments:
        covariances: S_n of each point's noise, N matrices (D, D).
    """
    count = validate.positive_count("the number of covariances", len(covariances))
    return log(count) + sum(gaussian_optimum(s).loss for s in covariances) / count


def depth_for(condition: float, clamp: float) -> int:
    """Return how many clamped couplings can reach a condition number by their diagonals alone.

        smallest K with e^(2 c K) >= condition: each layer stretches one direction by at most
        e^c and shrinks another by at most e^-c

    Raises:
        ValueError: `condition` is below one, or `clamp` is not positive.
    """
    validate.positive("clamp", clamp)
    if not 1.0 <= condition < float("inf"):
        raise ValueError(
            f"condition must be at least 1; got {condition}; it is the largest over the smallest "
            "singular value"
        )
    return ceil(log(condition) / (2.0 * clamp))


@dataclass(frozen=True)
class Volume:
    """How a flow treats volume on given data; the entropy identity needs no knowledge of the flow.

    Arguments:
        energy: E|z|^2 / D, 1 at every stationary point of a flow whose scale is free.
        loss: mean negative log-likelihood, in nats.
        log_det: mean of log |det dz/dx|.
        lipschitz: largest singular value of J = dz/dx over the points.
        lipschitz_inverse: largest singular value of its inverse.
        condition: largest ratio of singular values of J at one point.
        inverse_error: largest error of x -> z -> x, in the precision of the data.
        features: D.
    """

    energy: float
    loss: float
    log_det: float
    lipschitz: float
    lipschitz_inverse: float
    condition: float
    inverse_error: float
    features: int

    def entropy_gap(self, entropy: float) -> float:
        """Return `E log|det J| - (H(N(0, I)) - H(p))`: zero at the optimum, in nats.

        Arguments:
            entropy: H(p) of the data's law.
        """
        return self.log_det - (0.5 * self.features * log(2.0 * pi * e) - entropy)


def measure_volume(flow: Flow, x: Tensor) -> Volume:
    """Measure what a flow does to volume on data.

    Arguments:
        flow: without context.
        x: data, (B, D), in the precision in which the flow was trained: in float64 a failing
            inverse hides.

    Raises:
        ValueError: `x` is empty, not finite or of another width.
    """
    with torch.no_grad():
        loss = -float(flow.log_prob(x).mean())  # refuses bad data and estimated log-determinants
    start = x.detach().requires_grad_()
    with torch.enable_grad():
        path = flow.chain().pull(start)
        z = path.states[0]
        sums = z.sum(0)
        rows = [torch.autograd.grad(sums[i], start, retain_graph=True)[0] for i in range(len(sums))]
    singular = torch.linalg.svdvals(torch.stack(rows, 1).double())  # (B, D)
    z = z.detach()
    with torch.no_grad():
        back = z
        for step in flow.chain().steps:
            back = step.push(back)[0]
    return Volume(
        energy=float(z.square().mean()),
        loss=loss,
        log_det=-float(path.log_ratio.detach().sum(0).mean()),
        lipschitz=float(singular.max()),
        lipschitz_inverse=float(1.0 / singular.min()),
        condition=float((singular[:, 0] / singular[:, -1]).max()),
        inverse_error=float((back - x).abs().max()),
        features=flow.features,
    )

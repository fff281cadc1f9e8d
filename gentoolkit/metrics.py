"""How far two samples lie apart, and how many samples a weighted one is worth."""

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.core.objectives import ess

__all__ = ["energy_distance", "ess", "frechet_distance", "mmd"]


def _pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x, y = validate.batch("x", x).flatten(1), validate.batch("y", y).flatten(1)
    if x.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x and y must be samples of one space; got rows of {x.shape[1:].numel()} and "
            f"{y.shape[1:].numel()} numbers; compare (N, D) with (M, D)"
        )
    if min(x.shape[0], y.shape[0]) < 2:
        raise ValueError(
            f"both samples need two rows or more; got {x.shape[0]} and {y.shape[0]}; draw more"
        )
    # Far from zero, differences keep only the digits that a common shift does not eat.
    centre = x.detach().mean(0)
    return x - centre, y - centre


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Return |x_i - y_j|, (N, M), from differences: inner products would cancel."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _mean_off_diagonal(matrix: Tensor) -> Tensor:
    n = matrix.shape[0]
    return (matrix.sum() - matrix.diagonal().sum()) / (n * (n - 1))


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the unbiased estimate of the energy distance, shape ().

        2 E|X - Y| - E|X - X'| - E|Y - Y'|

    It is zero in expectation exactly when the laws agree, so an estimate may be slightly negative.
    Memory grows as N M: 5,000 points a side are comfortable.

    >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> float(energy_distance(x, x + 1.0)) > 0.5
    True

    Arguments:
        x: (N, *event), N >= 2.
        y: (M, *event), M >= 2.

    Raises:
        ValueError: a sample is empty, too small, not finite, or of another space.

    Reference: Székely and Rizzo 2013.
    """
    x, y = _pair(x, y)
    between = _distances(x, y).mean()
    within = _mean_off_diagonal(_distances(x, x)) + _mean_off_diagonal(_distances(y, y))
    return 2 * between - within


def mmd(x: Tensor, y: Tensor, bandwidth: float | None = None) -> Tensor:
    """Return the unbiased squared maximum mean discrepancy, shape ().

        E k(X, X') + E k(Y, Y') - 2 E k(X, Y),   k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2))

    Arguments:
        x: (N, *event), N >= 2.
        y: (M, *event), M >= 2.
        bandwidth: length scale of the kernel; the median distance between x and y if left out.

    Raises:
        ValueError: a sample is empty, too small, not finite or of another space, or the bandwidth
            is not positive.

    Reference: Gretton et al. 2012, A kernel two-sample test.
    """
    x, y = _pair(x, y)
    between = _distances(x, y)
    scale = float(between.median()) if bandwidth is None else bandwidth
    validate.positive("bandwidth", scale)

    def kernel(distance: Tensor) -> Tensor:
        return (-0.5 * (distance / scale).square()).exp()

    return (
        _mean_off_diagonal(kernel(_distances(x, x)))
        + _mean_off_diagonal(kernel(_distances(y, y)))
        - 2 * kernel(between).mean()
    )


def frechet_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the squared Fréchet distance of the Gaussians that share mean and covariance, ().

        |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2))

    Of features of a classifier it is the FID of the literature. It sees means and covariances and
    nothing else. Two samples of one law are not at distance 0, the less so the smaller they are:
    compare only distances of equally large samples.

    >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> round(float(frechet_distance(x, x + 3.0)), 3)
    18.0

    Arguments:
        x: (N, *event), N >= 2.
        y: (M, *event), M >= 2.

    Raises:
        ValueError: a sample is empty, too small, not finite, or of another space.

    Reference: Dowson and Landau 1982; Heusel et al. 2017 (arXiv 1706.08500).
    """
    x, y = _pair(x, y)
    c_x, c_y = (torch.cov(sample.double().mT).reshape(2 * sample.shape[1:]) for sample in (x, y))
    values, vectors = torch.linalg.eigh(c_x)
    root = vectors * values.clamp(min=0.0).sqrt() @ vectors.mT
    # C_x C_y has the eigenvalues of this symmetric matrix.
    shared = torch.linalg.eigvalsh(root @ c_y @ root).clamp(min=0.0).sqrt().sum()
    apart = (x.double().mean(0) - y.double().mean(0)).square().sum()
    return (apart + c_x.trace() + c_y.trace() - 2 * shared).to(x)

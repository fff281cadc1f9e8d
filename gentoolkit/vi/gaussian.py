"""Mean field of a Gaussian target: the case where everything about it is known exactly.

The target is `N(mean, precision^-1)`; the family is the Gaussians with independent coordinates.
"""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from gentoolkit.core import Gaussian, validate


def _target(mean: Tensor, precision: Tensor) -> None:
    size = validate.batch("mean", mean).shape[0]
    validate.batch("precision", precision)
    if mean.ndim != 1 or precision.shape != (size, size):
        raise ValueError(
            "mean and precision must have shape (D,) and (D, D); got "
            f"{tuple(mean.shape)} and {tuple(precision.shape)}; pass one target"
        )
    if not torch.allclose(precision, precision.T, rtol=1e-5, atol=1e-8):
        raise ValueError(
            "precision must be symmetric; got an asymmetry of "
            f"{float((precision - precision.T).abs().max()):.3g}; pass the inverse covariance"
        )
    lowest = float(torch.linalg.eigvalsh(precision.detach())[0])
    if not lowest > 0:
        raise ValueError(
            f"precision must be positive definite; got a least eigenvalue of {lowest:.3g}; "
            "pass the inverse of a covariance matrix"
        )


def _start(start: Tensor, mean: Tensor) -> None:
    validate.batch("start", start)
    if start.shape[-1:] != mean.shape:
        raise ValueError(
            f"start must have shape (..., {mean.shape[0]}) like mean; got {tuple(start.shape)}; "
            "give one number per coordinate"
        )


def reverse_fit(mean: Tensor, precision: Tensor) -> Gaussian:
    """Return the factorised Gaussian q with the least KL(q || p): mean field's optimum.

        q = N(mean, diag v),   v_j = 1 / precision_jj     (not the marginal variance)

    Arguments:
        mean: (D,).
        precision: inverse covariance of the target p, (D, D).

    Returns:
        A law of one row, event (D,).

    Reference: Bishop 2006, section 10.1.2.
    """
    _target(mean, precision)
    return Gaussian(mean[None], precision.diagonal().rsqrt()[None])


def gaussian_kl(mean_q: Tensor, cov_q: Tensor, mean_p: Tensor, cov_p: Tensor) -> Tensor:
    """Return KL(q || p) of two Gaussians, shape ().

        [tr(cov_p^-1 cov_q) - D + (mean_p - mean_q)' cov_p^-1 (mean_p - mean_q)
         + log det cov_p - log det cov_q] / 2

    Arguments:
        mean_q: (D,).
        cov_q: covariance of q, (D, D).
        mean_p: (D,).
        cov_p: covariance of p, (D, D).

    Raises:
        ValueError: shapes differ, or a covariance is not symmetric and positive definite.
    """
    # A covariance and a precision obey the same rules.
    _target(mean_q, cov_q)
    _target(mean_p, cov_p)
    _start(mean_q, mean_p)
    factor_q, factor_p = torch.linalg.cholesky(cov_q), torch.linalg.cholesky(cov_p)
    columns = torch.cat([factor_q, (mean_p - mean_q)[:, None]], 1)  # (D, D + 1)
    squares = torch.linalg.solve_triangular(factor_p, columns, upper=False).square().sum()
    log_dets = 2 * (factor_p.diagonal().log() - factor_q.diagonal().log()).sum()
    return 0.5 * (squares - mean_q.shape[0] + log_dets)


def cavi_gaussian(mean: Tensor, precision: Tensor, start: Tensor) -> Iterator[Tensor]:
    """Coordinate ascent on the means of a factorised Gaussian, one sweep a state, without end.

        m_j <- mean_j - sum_{k != j} precision_jk (m_k - mean_k) / precision_jj

    each from the newest m. For two variables of correlation r the error falls by exactly r^2 a
    sweep. The variances need no iteration: see `reverse_fit`.

    Arguments:
        mean: (D,).
        precision: inverse covariance of the target, (D, D).
        start: means before the first sweep, (..., D).

    Yields:
        The means after each sweep, (..., D): `itertools.islice` takes as many as wanted.

    Raises:
        ValueError: at the call, for a wrong shape, NaN, or a precision that is none.

    Reference: Bishop 2006, section 10.1.2; Blei, Kucukelbir, McAuliffe 2017 (arXiv 1601.00670).
    """
    _target(mean, precision)
    _start(start, mean)
    return _cavi(mean, precision, start)


def _conditional_mean(mean: Tensor, precision: Tensor, x: Tensor, j: int) -> Tensor:
    """Return E[x_j | the other coordinates of x], shape (...)."""
    # The j-th term of the product is taken out again: x_j itself must not count.
    off = (x - mean) @ precision[:, j] / precision[j, j]
    return x[..., j] - off


def _cavi(mean: Tensor, precision: Tensor, start: Tensor) -> Iterator[Tensor]:
    m = start
    while True:
        m = m.clone()
        for j in range(mean.shape[0]):
            m[..., j] = _conditional_mean(mean, precision, m, j)
        yield m


def gibbs_gaussian(
    mean: Tensor, precision: Tensor, start: Tensor, generator: Generator | None = None
) -> Iterator[Tensor]:
    """Gibbs sampling of a Gaussian, one sweep a state, without end.

        x_j ~ N(conditional mean given the newest others, 1 / precision_jj)

    The same moves as `cavi_gaussian`, with noise.

    Arguments:
        mean: (D,).
        precision: inverse covariance of the target, (D, D).
        start: states before the first sweep, (..., D); leading dimensions are chains.
        generator: source of randomness.

    Yields:
        The states after each sweep, (..., D).

    Raises:
        ValueError: at the call, for a wrong shape, NaN, or a precision that is none.

    Reference: Geman and Geman 1984.
    """
    _target(mean, precision)
    _start(start, mean)
    return _gibbs(mean, precision, start, generator)


def _gibbs(
    mean: Tensor, precision: Tensor, start: Tensor, generator: Generator | None
) -> Iterator[Tensor]:
    std, x = precision.diagonal().rsqrt(), start
    while True:
        x = x.clone()
        noise = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        for j in range(mean.shape[0]):
            x[..., j] = _conditional_mean(mean, precision, x, j) + std[j] * noise[..., j]
        yield x


def _correlation(correlation: float, sweeps: Tensor) -> None:
    if not -1.0 < correlation < 1.0:
        raise ValueError(
            f"correlation must lie strictly between -1 and 1; got {correlation}; at the ends the "
            "target has no density"
        )
    if bool((sweeps < 1).any()):
        raise ValueError(
            f"sweeps must be at least 1; got {float(sweeps.min())}; count from the first sweep"
        )


def cavi_error(correlation: float, sweeps: Tensor) -> Tensor:
    """Return what is left of the error of the last-updated mean, `r^(2k)`, in units of its start.

    Arguments:
        correlation: r, of two variables.
        sweeps: k >= 1, any shape.

    Returns:
        The shape of `sweeps`.
    """
    _correlation(correlation, sweeps)
    return (correlation**2) ** sweeps  # a negative base with a real exponent would be NaN


def gibbs_error(correlation: float, sweeps: Tensor, start: float | None = None) -> Tensor:
    """Return the exact root-mean-square error of Gibbs's running mean, in posterior deviations.

    In a sweep over two variables of correlation r the last-updated one is an autoregression,
    `x <- rho x + noise of variance 1 - rho^2` with `rho = r^2`. The mean of its first k states has

        stationary start:  variance = [(1+rho)/(1-rho) - 2 rho (1-rho^k) / (k (1-rho)^2)] / k
        start at x_0:      bias = x_0 rho (1-rho^k) / (k (1-rho))
                           variance = (1-rho^2) / (k (1-rho))^2  sum_{m=1}^k (1-rho^m)^2

    and both tend to `sqrt((1+rho) / ((1-rho) k))`.

    Arguments:
        correlation: r.
        sweeps: k >= 1, any shape.
        start: how many deviations from the mean the chain starts; left out, it starts from an
            exact sample.

    Returns:
        The shape of `sweeps`.
    """
    _correlation(correlation, sweeps)
    rho, k = correlation**2, sweeps
    gone = 1.0 - rho**k
    if start is None:
        long_run = (1.0 + rho) / (1.0 - rho) - 2.0 * rho * gone / (k * (1.0 - rho) ** 2)
        return (long_run / k).sqrt()
    bias = start * rho * gone / (k * (1.0 - rho))
    # sum_m (1 - rho^m)^2 = k - 2 sum_m rho^m + sum_m rho^(2m), two geometric series.
    tail = k - 2.0 * rho * gone / (1.0 - rho) + rho**2 * (1.0 - rho ** (2 * k)) / (1.0 - rho**2)
    variance = (1.0 - rho**2) * tail / (k * (1.0 - rho)).square()
    return (bias.square() + variance).sqrt()

"""Mean field of a Gaussian target: the case where everything about it is known exactly.

The target is `N(mean, precision^-1)`; the family is the Gaussians with independent coordinates.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from gentoolkit.core import Gaussian, validate


def _target(mean: Tensor, precision: Tensor) -> None:
    validate.batch("mean", mean)
    validate.batch("precision", precision)
    validate.shapes("pass one target", mean=(mean, "D"), precision=(precision, "D D"))
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
        mean: (D,), as that of the law returned, which has one row.
        precision: inverse covariance of the target p, (D, D).
    """
    _target(mean, precision)
    return Gaussian(mean[None], precision.diagonal().rsqrt()[None])


def gaussian_kl(mean_q: Tensor, cov_q: Tensor, mean_p: Tensor, cov_p: Tensor) -> Tensor:
    """Return KL(q || p) of two Gaussians, shape ().

        [tr(cov_p^-1 cov_q) - D + (mean_p - mean_q)' cov_p^-1 (mean_p - mean_q)
         + log det cov_p - log det cov_q] / 2

    Means are (D,), covariances (D, D).

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
    return _sweeps(mean, precision, start, torch.zeros_like)


def _sweeps(
    mean: Tensor, precision: Tensor, x: Tensor, noise_like: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    """Set each coordinate to its mean given the newest others, plus noise."""
    while True:
        x, noise = x.clone(), noise_like(x)
        for j in range(mean.shape[0]):
            # The product counts x_j itself, which subtracting from x_j takes out again.
            off = (x - mean) @ precision[:, j] / precision[j, j]
            x[..., j] = x[..., j] - off + noise[..., j]
        yield x


def gibbs_gaussian(
    mean: Tensor, precision: Tensor, start: Tensor, generator: Generator | None = None
) -> Iterator[Tensor]:
    """Gibbs sampling of a Gaussian, one sweep a state, without end.

        x_j ~ N(conditional mean given the newest others, 1 / precision_jj)

    The same moves, arguments and errors as `cavi_gaussian`, with noise; the leading dimensions of
    `start` are chains.

    Reference: Geman and Geman 1984.
    """
    _target(mean, precision)
    _start(start, mean)
    std = precision.diagonal().rsqrt()

    def noise_like(x: Tensor) -> Tensor:
        return std * torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)

    return _sweeps(mean, precision, start, noise_like)


def _correlation(correlation: float, sweeps: Tensor) -> None:
    if not -1.0 < correlation < 1.0:
        raise ValueError(
            f"correlation must lie strictly between -1 and 1; got {correlation}; "
            "at the ends the target has no density"
        )
    if (fewest := float(sweeps.min())) < 1:
        raise ValueError(f"sweeps must be at least 1; got {fewest}; count from the first sweep")


def cavi_error(correlation: float, sweeps: Tensor) -> Tensor:
    """Return what is left of the error of the last-updated mean, `r^(2k)`, in units of its start.

    Arguments:
        correlation: r, of two variables, strictly between -1 and 1.
        sweeps: k >= 1, any shape, which the result has too.
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
        sweeps: k >= 1, any shape, which the result has too.
        start: how many deviations from the mean the chain starts; an exact sample if left out.
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

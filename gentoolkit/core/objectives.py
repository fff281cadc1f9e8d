"""Objectives: plain functions of log-weights.

Paths pushed from the source carry `log_w = trajectory.log_weight(target)`; paths pulled from data
carry `log_evidence`, whose exponential averages to p(x). The same functions read both.
"""

from math import log

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.core.chain import Trajectory


def _log_weights(log_w: Tensor) -> Tensor:
    if not isinstance(log_w, Tensor) or log_w.ndim < 1 or log_w.numel() == 0:
        got = tuple(log_w.shape) if isinstance(log_w, Tensor) else type(log_w).__name__
        raise ValueError(f"log_w must be a tensor with at least one entry; got {got}; draw more")
    if (
        validate.readable(log_w)
        and bool(torch.isnan(log_w.detach().sum()))
        and bool(torch.isnan(log_w).any())
    ):
        raise ValueError(
            f"log_w must hold no NaN; got {int(torch.isnan(log_w).sum())} of {log_w.numel()}; "
            "look for 0 * inf or log of a negative number in the target"
        )
    return log_w


def _scaled(log_w: Tensor) -> Tensor:
    """Return the weights over their largest one: a common factor cancels in what follows."""
    largest = log_w.max()
    if validate.readable(log_w) and not bool(largest.isfinite()):
        raise ValueError(
            f"weights must be finite and not all zero; got a largest log_w of {float(largest)}; "
            "at -inf the source never reaches the target's support, at +inf a density is infinite"
        )
    return (log_w - largest).exp()


def elbo(log_w: Tensor) -> Tensor:
    """Return the mean of the log-weights: the lower bound `E[log w] <= log Z`, shape ().

    Arguments:
        log_w: (B,) log-weights of pushed paths, or log-evidences of pulled ones.
    """
    return _log_weights(log_w).mean()


def log_z(log_w: Tensor, dim: int = 0) -> Tensor:
    """Return `log mean exp(log_w)` over `dim`: the importance-sampling estimate of log Z.

    Fed K log-evidences of one data point along `dim`, it is the importance-weighted bound, with
    `E[log_z] <= log p(x)` rising in K.

    Arguments:
        log_w: log-weights, for example (B,) or (K, B).
        dim: the dimension of the samples.

    Returns:
        `log_w` without `dim`.

    Reference: Burda, Grosse, Salakhutdinov 2015 (arXiv 1509.00519).
    """
    log_w = _log_weights(log_w)
    # Samples that are all impossible give -inf, and no gradient, where logsumexp's would be NaN.
    dead = (log_w == -torch.inf).all(dim, keepdim=True)
    total = log_w.masked_fill(dead, 0.0).logsumexp(dim)
    return total.masked_fill(dead.squeeze(dim), -torch.inf) - log(log_w.shape[dim])


def ess(log_w: Tensor) -> Tensor:
    """Return the effective sample size `(sum w)^2 / sum w^2`, between 1 and B, shape ().

    Reference: Kong 1992; Liu 2001.
    """
    w = _scaled(_log_weights(log_w))
    return w.sum(0).square() / w.square().sum(0)


def log_z_error(log_w: Tensor) -> Tensor:
    """Return the standard error of `log_z(log_w)` by the delta method, shape ().

        se = sd(w) / (mean(w) sqrt(B)),   sd with the B - 1 of an unbiased variance

    It is honest only when the effective sample size is not tiny: a heavy tail that was never
    drawn does not show in it.

    Raises:
        ValueError: fewer than two weights.
    """
    n = _log_weights(log_w).shape[0]
    if n < 2:
        raise ValueError(f"a standard error needs two weights or more; got {n}; draw more paths")
    w = _scaled(log_w)
    return w.std(0) / (w.mean(0) * n**0.5)


def log_variance(log_w: Tensor) -> Tensor:
    """Return the variance of the log-weights, shape (); zero exactly when the chains agree.

    Reference: Richter et al. 2020 (arXiv 2010.10436).
    """
    if _log_weights(log_w).shape[0] < 2:
        raise ValueError(f"a variance needs two weights or more; got {log_w.shape[0]}; draw more")
    return log_w.var(0)


def trajectory_balance(log_w: Tensor, log_z: Tensor | float) -> Tensor:
    """Return the mean of `(log_w - log_z)^2`, shape (): the squared imbalance of whole paths.

    Arguments:
        log_w: (B,).
        log_z: the learned or known log normaliser, one number.

    Reference: Malkin et al. 2022 (arXiv 2201.13259).
    """
    return (_log_weights(log_w) - log_z).square().mean()


def residuals(trajectory: Trajectory, log_flow: Tensor) -> Tensor:
    """Return the imbalance of each step, (T, B).

        residual_t = log F_t(x_t) + log b(x_{t-1}|x_t) - log F_{t-1}(x_{t-1}) - log f(x_t|x_{t-1})

    Detailed balance squares each; trajectory balance squares their sum over t, which telescopes to
    `log_weight - log Z` when `F_0 = Z source` and `F_T = target`; sub-trajectory balance squares
    every partial sum.

    Arguments:
        trajectory: T steps of B paths.
        log_flow: (T+1, B), log F_t at the states of the trajectory.

    Raises:
        ValueError: `log_flow` has another shape.

    Reference: Bengio et al. 2021 (arXiv 2111.09266).
    """
    steps, n = trajectory.log_ratio.shape
    if log_flow.shape != (steps + 1, n):
        raise ValueError(
            f"log_flow must have shape ({steps + 1}, {n}), one number per state; got "
            f"{tuple(log_flow.shape)}; evaluate it at every state from x_0 to x_T"
        )
    return log_flow.diff(dim=0) + trajectory.log_ratio


def variance_shares(terms: Tensor) -> Tensor:
    """Return how much each term of a log-weight contributes to its variance, (T,).

        share_t = Cov(term_t, log_w),   log_w = sum_t term_t,   sum_t share_t = Var(log_w)

    A negative share belongs to a term that makes up for the others.

    Arguments:
        terms: (T, B), for example the `residuals` of a trajectory.

    Raises:
        ValueError: there are fewer than two paths, or the shape is another.
    """
    if terms.ndim != 2 or terms.shape[1] < 2:
        raise ValueError(
            f"terms must have shape (T, B) with B >= 2; got {tuple(terms.shape)}; draw more paths"
        )
    centred = terms - terms.mean(1, keepdim=True)
    return centred @ centred.sum(0) / (terms.shape[1] - 1)

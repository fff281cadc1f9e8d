"""Score matching: losses whose minimiser is `grad log p`, from samples of p alone.

Each returns one number a sample, (B,); a score is any function of rows.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.numerics import Noise, divergence, hutchinson, rademacher

Score = Callable[[Tensor], Tensor]
"""An estimate of `grad log p`: rows (B, *event) to (B, *event), each alone."""


def tweedie(x: Tensor, score: Tensor, signal: Tensor | float, noise: Tensor | float) -> Tensor:
    """Return the posterior mean of the data from the score of the noisy states, (B, *event).

        E[x_0 | x] = (x + noise^2 grad log p(x)) / signal,   x = signal x_0 + noise e

    Arguments:
        x: noisy states, (B, *event).
        score: of the law of the noisy states, at `x`.
        signal: factor of the data, a number or broadcasting to `x`.
        noise: deviation of the noise, a number or broadcasting to `x`.

    Raises:
        ValueError: the signal is not positive, or the shapes of `x` and `score` differ.

    Reference: Efron 2011 (Tweedie's formula and selection bias).
    """
    validate.positive("signal", signal)
    if x.shape != score.shape:
        raise ValueError(
            f"score must have the shape of x, {tuple(x.shape)}; got {tuple(score.shape)}; "
            "evaluate it at x"
        )
    return (x + noise * noise * score) / signal


def explicit_matching(score: Score, truth: Score, x: Tensor) -> Tensor:
    """Return `|score(x) - truth(x)|^2 / 2`, (B,): where the true score is known."""
    return 0.5 * (_scored(score, x) - truth(x)).square().flatten(1).sum(1)


def denoising_matching(
    score: Score, x: Tensor, std: float, generator: Generator | None = None
) -> Tensor:
    """Return `|score(x + std e) + e / std|^2 / 2`, (B,): the score of the data with added noise.

    Its mean is that of `explicit_matching` on the noisy law plus a constant above zero, so a loss
    of 0 is out of reach even for the true score.

    Arguments:
        score: the estimate.
        x: data, (B, *event).
        std: deviation of the added noise.
        generator: source of randomness.

    Raises:
        TypeError: `x` holds integers.
        ValueError: `std` is not positive, or `x` is empty or not finite.

    Reference: Vincent 2011 (A connection between score matching and denoising autoencoders).
    """
    validate.positive("std", std)
    e = torch.randn(_real(x).shape, generator=generator, dtype=x.dtype, device=x.device)
    return 0.5 * (_scored(score, x + std * e) + e / std).square().flatten(1).sum(1)


def implicit_matching(score: Score, x: Tensor) -> Tensor:
    """Return `tr d score / dx + |score|^2 / 2`, (B,): the exact trace, by D products.

    Its mean is that of `explicit_matching` less `E|grad log p|^2 / 2`: it can be negative.

    Arguments:
        score: the estimate, from (B, D) to (B, D).
        x: data, (B, D).

    Raises:
        TypeError: `x` holds integers.
        ValueError: `x` is not of shape (B, D), empty or not finite.

    Reference: Hyvärinen 2005 (Estimation of non-normalized statistical models by score matching).
    """
    value, trace = divergence(lambda at: _scored(score, at), _rows(x))
    return trace + 0.5 * value.square().sum(1)


def estimated_matching(
    score: Score, x: Tensor, noise: Noise = rademacher, generator: Generator | None = None
) -> Tensor:
    """Return `implicit_matching` with Hutchinson's estimate of the trace, (B,): one product.

        e' (d score / dx) e + |score|^2 / 2,   E[e e'] = I

    This is sliced score matching with reduced variance.

    Arguments:
        score: the estimate, from (B, D) to (B, D).
        x: data, (B, D).
        noise: draws e: `rademacher` or `gaussian`.
        generator: source of randomness.

    Reference: Song, Garg, Shi, Ermon 2019 (arXiv 1905.07088).
    """
    e = noise(_rows(x), generator)
    value, trace = hutchinson(lambda at: _scored(score, at), x, e)
    return trace + 0.5 * value.square().sum(1)


def _real(x: Tensor) -> Tensor:
    if not validate.batch("x", x).is_floating_point():
        raise TypeError(f"x must hold real numbers; got {x.dtype}; use x.float()")
    return x


def _rows(x: Tensor) -> Tensor:
    if _real(x).ndim != 2:
        raise ValueError(f"x must have shape (B, D); got {tuple(x.shape)}; use x.flatten(1)")
    return x


def _scored(score: Score, x: Tensor) -> Tensor:
    value = score(x)
    if value.shape != x.shape:
        raise ValueError(
            f"score must return the shape of its input, {tuple(x.shape)}; got "
            f"{tuple(value.shape)}; fix its last layer"
        )
    return value

"""Mean field of a Bayesian mixture of K unit-variance Gaussians on the line.

    mu_k ~ N(0, prior_variance),   c_i ~ uniform on 1..K,   x_i ~ N(mu_{c_i}, 1)
    q(mu_k) = N(means_k, variances_k),   q(c_i = k) = responsibilities_ik

The first line is the model, the second the family in which its posterior is sought.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from gentoolkit.core import validate

MOST_LABELLINGS = 2**20


@dataclass(frozen=True)
class MixtureState:
    """The factorised posterior after a sweep, and its bound.

    Arguments:
        means, variances: of q(mu_k), (K,).
        responsibilities: q(c_i = k), rows sum to one, (n, K).
        elbo: lower bound of log p(x), shape ().
    """

    means: Tensor
    variances: Tensor
    responsibilities: Tensor
    elbo: Tensor


def cavi_mixture(
    x: Tensor, means: Tensor, prior_variance: float, variances: Tensor | None = None
) -> Iterator[MixtureState]:
    """Coordinate ascent on the factorised posterior, one sweep a state, without end.

        responsibilities_ik  proportional to  exp(x_i means_k - (means_k^2 + variances_k) / 2)
        variances_k = 1 / (1 / prior_variance + sum_i responsibilities_ik)
        means_k = variances_k sum_i responsibilities_ik x_i

    The bound never falls. Equal starting means stay equal: break the tie.

    Arguments:
        x: data, (n,).
        means: before the first sweep, (K,).
        prior_variance: of each mu_k.
        variances: before the first sweep, (K,); one if left out.

    Raises:
        ValueError: at the call, for an empty or non-finite input, a wrong shape, or a variance
            that is not positive.

    Reference: Blei, Kucukelbir, McAuliffe 2017 (arXiv 1601.00670), section 3.
    """
    validate.batch("x", x)
    validate.batch("means", means)
    validate.positive("prior_variance", prior_variance)
    variances = torch.ones_like(means) if variances is None else variances
    advice = "this mixture lives on the line"
    validate.shapes(advice, x=(x, "n"), means=(means, "K"), variances=(variances, "K"))
    validate.positive("variances", variances)

    def sweeps(means: Tensor, variances: Tensor) -> Iterator[MixtureState]:
        while True:
            scores = x[:, None] * means - 0.5 * (means.square() + variances)  # (n, K)
            responsibilities = scores.softmax(-1)
            variances = 1.0 / (1.0 / prior_variance + responsibilities.sum(0))
            means = variances * (x @ responsibilities)
            elbo = _elbo(x, means, variances, responsibilities, prior_variance)
            yield MixtureState(means, variances, responsibilities, elbo)

    return sweeps(means, variances)


def _elbo(
    x: Tensor, means: Tensor, variances: Tensor, responsibilities: Tensor, prior_variance: float
) -> Tensor:
    """Return the evidence lower bound of any factorised q, shape ()."""
    prior = -0.5 * (log(2 * pi * prior_variance) + (means.square() + variances) / prior_variance)
    squares = (x[:, None] - means).square() + variances  # (n, K), E (x_i - mu_k)^2
    likelihood = responsibilities * (-0.5 * log(2 * pi) - 0.5 * squares)
    # xlogy is 0 at r = 0, where r log r would be NaN.
    labels = -len(x) * log(len(means)) - torch.xlogy(responsibilities, responsibilities).sum()
    entropy = 0.5 * (log(2 * pi) + 1.0 + variances.log())
    return prior.sum() + likelihood.sum() + labels + entropy.sum()


def mixture_evidence(x: Tensor, components: int, prior_variance: float) -> Tensor:
    """Return the exact log p(x) by summing over all K^n labellings, shape ().

        p(x) = K^-n sum_c prod_k N(x of cluster k; 0, I + prior_variance 1 1')

    Raises:
        ValueError: there are more than 2^20 labellings of the data x (n,) by K components, or a
            wrong shape or range.
    """
    validate.shapes("this mixture lives on the line", x=(validate.batch("x", x), "n"))
    n = len(x)
    validate.positive_count("components", components)
    validate.positive("prior_variance", prior_variance)
    labellings = components**n
    if labellings > MOST_LABELLINGS:
        raise ValueError(
            f"there are too many labellings to sum; got {components}^{n}; "
            f"use at most {MOST_LABELLINGS}, with fewer data or components"
        )
    # Digit i of a labelling's number in base K is the label of data point i.
    powers = components ** torch.arange(n, device=x.device)
    labels = torch.arange(labellings, device=x.device)[:, None] // powers % components  # (L, n)
    log_p = x.new_full((labellings,), -n * log(components) - 0.5 * n * log(2 * pi))
    log_p = log_p - 0.5 * x.square().sum()
    for k in range(components):
        inside = (labels == k).to(x.dtype)
        count, total = inside.sum(1), inside @ x
        # log det and inverse of I + s2 11' by the matrix determinant lemma and Sherman-Morrison.
        spread = 1.0 + prior_variance * count
        log_p = log_p - 0.5 * spread.log() + 0.5 * prior_variance * total.square() / spread
    return log_p.logsumexp(0)

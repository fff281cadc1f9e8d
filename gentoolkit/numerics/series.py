"""The logarithm of a determinant near the identity as a power series, cut or stopped at random.

    log det (I + J) = sum over k >= 1 of (-1)^(k+1) tr(J^k) / k,   |J| <= L < 1

with |J| the spectral norm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate


def contracting(name: str, lipschitz: float) -> float:
    """Return a Lipschitz constant if the map it belongs to contracts.

    Raises:
        ValueError: it is not between 0 and 1, both excluded.
    """
    if not 0.0 < lipschitz < 1.0:
        raise ValueError(
            f"{name} must lie between 0 and 1; got {lipschitz}; "
            "from 1 on, x + g(x) need not be invertible: take for example 0.9"
        )
    return float(lipschitz)


def truncation_bound(features: int, lipschitz: float, terms: int) -> float:
    """Return the largest error of the series cut after `terms` terms.

        |rest| <= D L^(n+1) / ((n+1) (1 - L))

    Arguments:
        features: D.
        lipschitz: L, a bound of the spectral norm of J.
        terms: n.

    Raises:
        ValueError: L is not between 0 and 1, or there are no features or terms.

    Reference: Chen, Behrmann, Duvenaud, Jacobsen 2019 (arXiv 1906.02735).
    """
    validate.positive_count("features", features)
    n = validate.positive_count("terms", terms)
    rate = contracting("lipschitz", lipschitz)
    return features * rate ** (n + 1) / ((n + 1) * (1.0 - rate))


def terms_needed(features: int, lipschitz: float, tolerance: float) -> int:
    """Return the least number of terms whose `truncation_bound` is below `tolerance`."""
    validate.positive("tolerance", tolerance)
    n = 1
    while truncation_bound(features, lipschitz, n) >= tolerance:
        n += 1
    return n


def log_det_series(jacobian: Tensor, terms: int) -> Tensor:
    """Return the series for log det (I + J) cut after `terms` terms, traces exact, (B,).

    Arguments:
        jacobian: J, (B, D, D).
        terms: how many terms.
    """
    power, total = jacobian, torch.zeros_like(jacobian[..., 0, 0])
    for k in range(1, validate.positive_count("terms", terms) + 1):
        trace = power.diagonal(dim1=-2, dim2=-1).sum(-1)
        total = total + (-1) ** (k + 1) / k * trace
        if k < terms:
            power = power @ jacobian
    return total


@dataclass(frozen=True)
class Stop:
    """A random number of terms, and the weights that make a stopped series unbiased.

        N = sure + G,   P(G >= j) = keep^j,   weight of term k = 1 / P(N >= k)

    Arguments:
        keep: chance of going on after each further term. The variance is finite for every map
            of Lipschitz constant L only if `keep > L^2`.
        sure: how many terms are always there, without weight.

    Raises:
        ValueError: `keep` is not between 0 and 1, or `sure` is below one.

    Reference: Kahn 1955 (Russian roulette); Chen et al. 2019 (arXiv 1906.02735).
    """

    keep: float = 0.9
    sure: int = 2

    def __post_init__(self) -> None:
        validate.positive_count("sure", self.sure)
        if not 0.0 < self.keep < 1.0:
            raise ValueError(
                f"keep must lie between 0 and 1; got {self.keep}; it is the chance of going on"
            )

    def weights(self, generator: Generator | None = None) -> list[float]:
        """Draw N and return the weights of terms 1 ... N."""
        device = None if generator is None else generator.device
        uniform = float(torch.rand((), generator=generator, dtype=torch.float64, device=device))
        further = int(log(max(uniform, 1e-300)) / log(self.keep))  # P(further >= j) = keep^j
        return [1.0] * self.sure + [self.keep**-j for j in range(1, further + 1)]


def stochastic_log_det(
    product: Callable[[Tensor], Tensor], noise: Tensor, weights: list[float]
) -> Tensor:
    """Return a weighted series for log det (I + J) with every trace estimated, (B,).

        sum over k of weights[k-1] (-1)^(k+1) (e' J^k e) / k,   one e for all terms

    Unbiased if `weights` come from a `Stop`; all ones give the mean of the cut series.

    Arguments:
        product: takes v (B, D) to `v' J` of each row.
        noise: e, (B, D), with E[e e'] = I.
        weights: one number for each term.
    """
    v, total = noise, torch.zeros_like(noise[..., 0])
    for k, weight in enumerate(weights, 1):
        v = product(v)
        total = total + (-1) ** (k + 1) * weight / k * (v * noise).sum(-1)
    return total

"""Tails and quantiles on the log scale: the normal law's and Student's, right however far out.

Both work with the logarithm of a *lower* tail probability at most 1/2; the upper tail is its mirror
image, so nothing is ever computed as one minus something.
"""

from functools import lru_cache
from math import lgamma, log, pi

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.numerics.roots import increasing_root

_NODES = 32
_NEWTON = 12


def lower_normal_quantile(log_p: Tensor) -> Tensor:
    """Return the e <= 0 with `log Phi(e) = log_p`, differentiable.

    Newton's method on `log Phi`, which is concave: from the left of the root it climbs to it.

    Arguments:
        log_p: log-probabilities, at most log 1/2 (up to rounding), any shape.
    """
    with torch.no_grad():
        e = -(-2.0 * log_p).sqrt()  # Phi(e) <= exp(-e^2 / 2) / 2, so this lies to the left
        for _ in range(_NEWTON):
            e = _newton(e, log_p)
    for _ in range(2):  # recorded: derivatives are right up to the third, as in `increasing_root`
        e = _newton(e, log_p)
    return e


def _newton(e: Tensor, log_p: Tensor) -> Tensor:
    value = torch.special.log_ndtr(e)
    slope = (-0.5 * e.square() - 0.5 * log(2.0 * pi) - value).exp()
    return e - (value - log_p) / slope


def student_log_tail(x: Tensor, degrees: float) -> Tensor:
    """Return `log P(t < x)` of Student's law for x <= 0, differentiable.

        P(t < x) = 1 / B(1/2, nu/2)  integral of sin(s)^(nu - 1) over 0 < s < phi
        phi = arctan(sqrt(nu) / |x|)

    by Gauss-Jacobi quadrature of `(sin(phi v) / (phi v))^(nu - 1)` under the weight `v^(nu - 1)`,
    which is exact to rounding: a power law far out stays a power law.

    Arguments:
        x: at most zero, any shape, float64.
        degrees: degrees of freedom nu, above zero.

    Raises:
        ValueError: `degrees` is not positive and finite.
    """
    validate.positive("degrees", degrees)
    return _log_tail(torch.atan2(torch.full_like(x, degrees**0.5), -x).log(), degrees)[0]


def lower_student_quantile(log_p: Tensor, degrees: float) -> Tensor:
    """Return the x <= 0 with `log P(t < x) = log_p`, differentiable.

    Arguments:
        log_p: log-probabilities, at most log 1/2 (up to rounding), any shape, float64.
        degrees: degrees of freedom nu, above zero.

    Raises:
        ValueError: `degrees` is not positive and finite.
    """
    validate.positive("degrees", degrees)
    # sin(s) / s lies in [2/pi, 1], which brackets log phi.
    middle = (log_p.detach() + _log_beta(degrees) + log(degrees)) / degrees
    reach = abs(degrees - 1.0) / degrees * log(pi / 2.0) + 1e-9
    top = torch.full_like(middle, log(pi / 2.0) + 1e-9)

    def off(log_phi: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = _log_tail(log_phi, degrees)
        return value - log_p, slope

    high = torch.minimum(middle + reach, top)
    low = torch.minimum(middle - reach, high)
    log_phi = increasing_root(off, low, high, 1e-11 * (1.0 + log_p.detach().abs()))
    return -(degrees**0.5) / log_phi.exp().tan()


def _log_beta(degrees: float) -> float:
    return lgamma(0.5) + lgamma(degrees / 2.0) - lgamma((degrees + 1.0) / 2.0)


def _log_tail(log_phi: Tensor, degrees: float) -> tuple[Tensor, Tensor]:
    """Return the log tail probability at an angle, and its derivative along the angle's log."""
    nodes, weights = (torch.tensor(v, dtype=log_phi.dtype) for v in _jacobi(degrees))
    nodes, weights = nodes.to(log_phi.device), weights.to(log_phi.device)
    phi = log_phi.exp()
    mean = ((phi[..., None] * nodes / pi).sinc().pow(degrees - 1.0) * weights).sum(-1)
    value = degrees * log_phi + mean.log() - _log_beta(degrees)
    # The density of log phi, over the probability.
    slope = (log_phi + (degrees - 1.0) * phi.sin().log() - _log_beta(degrees) - value).exp()
    return value, slope


@lru_cache(maxsize=64)
def _jacobi(degrees: float) -> tuple[list[float], list[float]]:
    """Return nodes and weights on [0, 1] for the weight `v^(nu - 1)` (Golub and Welsch 1969)."""
    b = degrees - 1.0
    k = torch.arange(_NODES, dtype=torch.float64)
    total = 2.0 * k + b
    diagonal = b * b / (total * (total + 2.0))
    diagonal[0] = b / (b + 2.0)
    k, total = k[1:], total[1:]
    square = 4.0 * k * k * (k + b) ** 2 / (total.square() * (total + 1.0) * (total - 1.0))
    square[0] = 4.0 * (1.0 + b) / ((2.0 + b) ** 2 * (3.0 + b))  # b + 1 divided out
    off = square.sqrt()
    matrix = torch.diag(diagonal) + torch.diag(off, 1) + torch.diag(off, -1)
    places, vectors = torch.linalg.eigh(matrix)
    mass = vectors[0].square() / degrees  # the whole mass is the integral of v^(nu - 1)
    return ((1.0 + places) / 2.0).tolist(), mass.tolist()

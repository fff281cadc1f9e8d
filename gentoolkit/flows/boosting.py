"""Boosting: a mixture grows by one flow at a time, each trained on what is explained badly.

    G_k = (1 - r) G_{k-1} + r p_k,   F(G) = -E_data[log G]
    dF/dr at r = 0:  -(E_data[p_k / G_{k-1}] - 1)

The best new component maximises `E_data[p_k / G_{k-1}]`, which has no maximum over flows; two
losses stand in for it. The best weight, given the component, is a concave problem in one number.

Reference: Giaquinto and Banerjee 2020 (arXiv 2002.11896); Guo et al. 2016; Frank and Wolfe 1956.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.flows.layer import Flow
from gentoolkit.flows.mixture import FlowMixture

Loss = Callable[[Tensor], Tensor]


def boosting_weights(log_g: Tensor, cap: float = 10.0) -> Tensor:
    """Return weights of data points proportional to 1/G, (B,), with mean one.

    Arguments:
        log_g: log G of each data point under the mixture so far, (B,).
        cap: the largest weight, as a multiple of the mean; the rest is scaled up to mean one
            again, so that a weight may end a little above it.

    Raises:
        ValueError: a density is zero or not a number, or the cap is below one.
    """
    log_g = validate.batch("log_g", log_g, torch.Size([]))
    if not 1.0 <= cap:
        raise ValueError(f"cap must be 1 or more; got {cap}; 10 lets a point count tenfold")
    weights = len(log_g) * (-log_g.detach()).softmax(0)
    weights = weights.clamp(max=cap)
    return weights / weights.mean()


def weighted_loss(component: Flow, mixture: FlowMixture, cap: float = 10.0) -> Loss:
    """Return the loss `-E[omega log p_new]`, omega proportional to 1/G: the papers' surrogate.

    Only the new component gets a gradient.
    """

    def loss(batch: Tensor) -> Tensor:
        with torch.no_grad():
            omega = boosting_weights(mixture.log_prob(batch), cap)
        return -(omega * component.log_prob(batch)).mean()

    return loss


def boosted_loss(component: Flow, mixture: FlowMixture, r: float) -> Loss:
    """Return the loss `-E[log((1 - r) G + r p_new)]`: what is wanted itself, at a fixed r.

    Only the new component gets a gradient.

    Raises:
        ValueError: r lies outside [0, 1].
    """
    validate.probability("r", r)

    def loss(batch: Tensor) -> Tensor:
        with torch.no_grad():
            log_g = mixture.log_prob(batch)
        return -mixed(log_g, component.log_prob(batch), r).mean()

    return loss


def mixed(log_g: Tensor, log_p: Tensor, r: float) -> Tensor:
    """Return `log((1 - r) G + r p)`, the shape of the two.

    Raises:
        ValueError: r lies outside [0, 1], or the shapes differ.
    """
    validate.probability("r", r)
    validate.shapes("one log-density per point", log_g=(log_g, "n"), log_p=(log_p, "n"))
    if r in (0.0, 1.0):  # log 0 would make NaN of a gradient
        return log_p if r else log_g
    ends = torch.tensor([1.0 - r, r], dtype=torch.float64).log().tolist()
    return torch.logaddexp(ends[0] + log_g, ends[1] + log_p)


def best_weight(
    log_g: Tensor, log_p: Tensor, mass: Tensor | None = None, tolerance: float = 1e-9
) -> float:
    """Return the r in [0, 1] that maximises `E_data[log((1 - r) G + r p)]`, by bisection.

    The objective is concave in r, with the slope `E_data[(p - G) / ((1 - r) G + r p)]`. If the
    slope at 0 is not positive the component is refused: r = 0.

    Arguments:
        log_g: log-densities of data points under the mixture so far, (B,).
        log_p: log-densities under the new component, (B,).
        mass: probabilities of the points; equal if left out.
        tolerance: of r.

    Raises:
        ValueError: shapes differ, a density of the mixture is zero, or something is not a number.
    """
    log_g = validate.batch("log_g", log_g, torch.Size([])).detach().double()
    validate.shapes("one log-density per point", log_g=(log_g, "n"), log_p=(log_p, "n"))
    validate.positive("tolerance", tolerance)
    ratio = log_p.detach().double() - log_g  # p may be zero somewhere: -inf
    if bool(ratio.isnan().any()) or bool((ratio == torch.inf).any()):
        raise ValueError(
            "log_p must hold log-densities; got NaN or +infinity; look at the new component"
        )
    gain = ratio.exp() - 1.0
    share = torch.full_like(log_g, 1.0 / len(log_g)) if mass is None else mass.double()
    validate.shapes("one mass per point", log_g=(log_g, "n"), mass=(share, "n"))

    def slope(r: float) -> float:
        # (p - G) / ((1 - r) G + r p), written so that p / G may overflow.
        each = torch.where(ratio > 50.0, 1.0 / (r + (-ratio).exp()), gain / (1.0 + r * gain))
        return float((share * each).sum())

    low, high = 0.0, 1.0
    if slope(low) <= 0.0:
        return 0.0
    if bool((ratio > -torch.inf).all()) and slope(high) >= 0.0:
        return 1.0
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0.0 else (low, middle)
    return (low + high) / 2

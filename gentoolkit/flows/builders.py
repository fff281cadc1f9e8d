"""Ready-made flows, as plain functions."""

from collections.abc import Callable, Sequence

from torch import nn

from gentoolkit.core import validate
from gentoolkit.flows.coupling import AffineCoupling, SplineCoupling, alternating_mask
from gentoolkit.flows.layer import Flow


def real_nvp(
    features: int,
    couplings: int = 8,
    hidden: Sequence[int] = (64, 64),
    context: int = 0,
    activation: Callable[[], nn.Module] = nn.SiLU,
) -> Flow:
    """Return a flow of affine couplings that keep the two halves in turn.

    Arguments:
        features: width of a data point, two or more.
        couplings: how many layers.
        hidden: widths of each net's hidden layers.
        context: width of the context, 0 for none.
        activation: makes the nonlinearity of the nets.

    Raises:
        ValueError: fewer than two features, or no layer.

    Reference: Dinh, Sohl-Dickstein, Bengio 2016 (arXiv 1605.08803).
    """
    turns = range(validate.positive_count("couplings", couplings))
    layers = [
        AffineCoupling(
            features, alternating_mask(features, t), hidden, context, activation=activation
        )
        for t in turns
    ]
    return Flow(layers, features)


def spline_flow(
    features: int,
    couplings: int = 4,
    bins: int = 8,
    bound: float = 5.0,
    hidden: Sequence[int] = (64, 64),
    context: int = 0,
    activation: Callable[[], nn.Module] = nn.SiLU,
) -> Flow:
    """Return a flow of rational-quadratic spline couplings that keep the two halves in turn.

    Data should lie mostly within [-bound, bound]: outside, the layers are the identity.

    Arguments:
        features: width of a data point, two or more.
        couplings: how many layers.
        bins: bins of each spline.
        bound: half the side of the box in which the splines bend.
        hidden: widths of each net's hidden layers.
        context: width of the context, 0 for none.
        activation: makes the nonlinearity of the nets.

    Raises:
        ValueError: fewer than two features or bins, no layer, or a bound that is not positive.

    Reference: Durkan et al. 2019 (arXiv 1906.04032).
    """
    turns = range(validate.positive_count("couplings", couplings))
    layers = [
        SplineCoupling(
            features, bins, bound, alternating_mask(features, t), hidden, context, activation
        )
        for t in turns
    ]
    return Flow(layers, features)

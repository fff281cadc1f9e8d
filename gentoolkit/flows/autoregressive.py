"""Autoregressive layers: a triangular Jacobian, one pass one way and one feature at a time back.

    x_i = (y_i - m_i(y_<i)) exp(-l_i(y_<i)),   log |det dy/dx| = sum of l_i

The conditioner sees the data side, so scoring takes one pass and sampling visits the features in
order (MAF); turned round, sampling takes one pass and scoring visits them (IAF).
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.flows.condition import rows
from gentoolkit.flows.layer import Flow, Inverted, Layer
from gentoolkit.nets import MADE
from gentoolkit.numerics import spline, spline_inverse, spline_knots


class MaskedAutoregressive(Layer):
    """A layer that scores in one pass and samples one feature at a time.

    Obligations of a subclass: `score` maps y to x entry by entry, given each entry's parameters,
    and `draw` is its inverse; both return the log-derivative dy/dx of each entry.

    Arguments:
        net: gives the parameters of feature i from the features before it.
    """

    def __init__(self, net: MADE) -> None:
        super().__init__()
        self.net, self.context = net, net.context

    @abstractmethod
    def score(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and log dy/dx for `y` (*shape) and `parameters` (*shape, outputs)."""

    @abstractmethod
    def draw(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log dy/dx for `x` (*shape) and `parameters` (*shape, outputs)."""

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return `x` and the log-determinant in one pass of the network."""
        x, log_slope = self.score(y, self.net(rows(y, self.net.features), context))
        return x, log_slope.sum(-1)

    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return `y` and the log-determinant, one feature after the other."""
        log_slopes: list[Tensor] = []

        def visit(feature: int, parameters: Tensor) -> Tensor:
            y, log_slope = self.draw(x[:, feature], parameters)
            log_slopes.append(log_slope)
            return y

        y = self.net.unroll(rows(x, self.net.features), visit, context)
        return y, sum(log_slopes[1:], start=log_slopes[0])


class AffineAutoregressive(MaskedAutoregressive):
    """Shift and scale of each feature from the features before it.

        y_i = x_i exp(l_i) + m_i,   l_i = bound tanh(raw_i / bound)

    Arguments:
        features: width D of the data.
        hidden: widths of the conditioner's hidden layers.
        context: width of the context, 0 if there is none.
        order: which feature comes first, second, ...; 0, 1, ... if left out.
        bound: largest |log-scale|, so that no scale overflows.

    Reference: Papamakarios, Pavlakou, Murray 2017 (arXiv 1705.07057).
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        order: Sequence[int] | None = None,
        bound: float = 3.0,
    ) -> None:
        validate.positive("bound", bound)
        super().__init__(MADE(features, 2, hidden, context=context, order=order))
        self.bound = bound

    def _shift_and_log_scale(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = parameters.unbind(-1)
        return shift, (raw / self.bound).tanh() * self.bound

    def score(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(y - m) exp(-l)` and `l`."""
        shift, log_scale = self._shift_and_log_scale(parameters)
        return (y - shift) * (-log_scale).exp(), log_scale

    def draw(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x exp(l) + m` and `l`."""
        shift, log_scale = self._shift_and_log_scale(parameters)
        return x * log_scale.exp() + shift, log_scale


class SplineAutoregressive(MaskedAutoregressive):
    """A monotone rational-quadratic spline of each feature from the features before it.

        x_i = spline(y_i; knots_i(y_<i)),   the identity outside of [-bound, bound]

    Arguments:
        features: width D of the data.
        bins: bins of each spline, at least 2.
        bound: half the side of the box on which the splines act.
        hidden: widths of the conditioner's hidden layers.
        context: width of the context, 0 if there is none.
        order: which feature comes first, second, ...; 0, 1, ... if left out.

    Raises:
        ValueError: fewer than two bins, or a box without width.

    Reference: Durkan, Bekasov, Murray, Papamakarios 2019 (arXiv 1906.04032).
    """

    def __init__(
        self,
        features: int,
        bins: int = 8,
        bound: float = 5.0,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        order: Sequence[int] | None = None,
    ) -> None:
        outputs = 3 * validate.positive_count("bins", bins) - 1
        spline_knots(torch.zeros(outputs), bound)  # refuses a bad number of bins and a bad box
        super().__init__(MADE(features, outputs, hidden, context=context, order=order))
        self.bound = bound

    def score(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return `spline(y)` and minus its log-slope."""
        x, log_slope = spline(y, spline_knots(parameters, self.bound))
        return x, -log_slope

    def draw(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the y with `spline(y) = x` and minus the spline's log-slope there."""
        y, log_slope = spline_inverse(x, spline_knots(parameters, self.bound))
        return y, -log_slope


class InverseAutoregressive(Inverted):
    """An autoregressive layer turned round: samples in one pass, scores one feature at a time.

    Arguments:
        layer: the layer to turn round; its conditioner then sees the source side.

    Raises:
        TypeError: `layer` is not a MaskedAutoregressive.

    Reference: Kingma et al. 2016 (arXiv 1606.04934).
    """

    def __init__(self, layer: MaskedAutoregressive) -> None:
        if not isinstance(layer, MaskedAutoregressive):
            raise TypeError(
                f"layer must be a MaskedAutoregressive; got {type(layer).__name__}; pass for "
                "example AffineAutoregressive(2), or turn another layer round with Inverted"
            )
        super().__init__(layer)


def maf(features: int, layers: int = 5, hidden: Sequence[int] = (64, 64), context: int = 0) -> Flow:
    """Return a masked autoregressive flow: affine layers whose orders alternate.

    Arguments:
        features: width D of the data.
        layers: how many layers.
        hidden: widths of each conditioner's hidden layers.
        context: width of the context, 0 if there is none.

    Reference: Papamakarios, Pavlakou, Murray 2017 (arXiv 1705.07057).
    """
    orders = _alternating(features, layers)
    return Flow([AffineAutoregressive(features, hidden, context, o) for o in orders], features)


def iaf(features: int, layers: int = 5, hidden: Sequence[int] = (64, 64), context: int = 0) -> Flow:
    """Return an inverse autoregressive flow: `maf` with every layer turned round.

    Arguments:
        features: width D of the data.
        layers: how many layers.
        hidden: widths of each conditioner's hidden layers.
        context: width of the context, 0 if there is none.

    Reference: Kingma et al. 2016 (arXiv 1606.04934).
    """
    return Flow(
        [
            InverseAutoregressive(AffineAutoregressive(features, hidden, context, order))
            for order in _alternating(features, layers)
        ],
        features,
    )


def _alternating(features: int, layers: int) -> list[tuple[int, ...]]:
    """Return orders that turn round from layer to layer: no feature always comes first."""
    there = tuple(range(validate.positive_count("features", features)))
    count = validate.positive_count("layers", layers)
    return [there if i % 2 == 0 else there[::-1] for i in range(count)]

"""Coupling layers: some coordinates pass unchanged and tell a net how to move the others.

    y_kept = x_kept,   y_moved = g(x_moved; net(x_kept, context)),   log |det| = sum log g'

The Jacobian is triangular, so one pass scores and one pass samples.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.init import zeros_

from gentoolkit.core import validate
from gentoolkit.flows.condition import at_least_two, beside, context_width, rows
from gentoolkit.flows.layer import Layer
from gentoolkit.nets import MLP
from gentoolkit.numerics import spline, spline_inverse, spline_knots


def alternating_mask(features: int, turn: int = 0) -> range:
    """Return the coordinates that coupling number `turn` of a stack keeps: halves in turn.

    Raises:
        ValueError: there are fewer than two features.
    """
    middle = at_least_two(features) // 2
    return range(middle, features) if turn % 2 else range(middle)


def _kept(features: int, mask: Sequence[int] | None) -> list[int]:
    kept = list(alternating_mask(features) if mask is None else mask)
    if (
        not 0 < len(kept) < features
        or len(set(kept)) < len(kept)
        or not all(0 <= i < features for i in kept)
    ):
        raise ValueError(
            f"mask must name some of the {features} coordinates, once each, and leave some to "
            f"move; got {kept}; use, for example, {list(alternating_mask(features))}"
        )
    return kept


class Coupling(Layer):
    """The shape of every coupling layer: the split, the net, the join.

    A subclass says how many parameters the net gives for each moved coordinate, and writes
    `push_each` and `pull_each`. The last layer of the net starts at zero.

    Arguments:
        features: width of an event, two or more.
        parameters: what the net gives for each moved coordinate.
        mask: the coordinates that pass unchanged; the first half if left out.
        hidden: widths of the net's hidden layers.
        context: width of the context, 0 for none.
        activation: makes the nonlinearity of the net.

    Raises:
        ValueError: fewer than two features, or a split with an empty part.
    """

    order: Tensor
    back: Tensor

    def __init__(
        self,
        features: int,
        parameters: int,
        mask: Sequence[int] | None = None,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.features, self.context = at_least_two(features), context_width(context)
        kept = _kept(features, mask)
        moved = [i for i in range(features) if i not in set(kept)]
        self.kept, self.moved = len(kept), len(moved)
        order = torch.tensor(kept + moved)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)
        # Slices cost nothing; only a scattered split pays for an index.
        self._first = kept == list(range(self.kept))
        self._last = moved == list(range(self.moved)) and kept[0] == self.moved
        self._last = self._last and kept == list(range(self.moved, features))
        self.net = MLP(self.kept + context, self.moved * parameters, hidden, activation)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        zeros_(last.weight)
        zeros_(last.bias)

    @abstractmethod
    def push_each(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Move each coordinate towards the target; return it and log g', both (B, moved)."""

    @abstractmethod
    def pull_each(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Move each coordinate towards the source; return it and the same log g', (B, moved)."""

    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y and the sum of log g', (B,)."""
        kept, moved = self._split(x)
        moved, log_slope = self.push_each(moved, self.net(beside(kept, context, self.context)))
        return self._join(kept, moved), log_slope.sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return x and the sum of log g', (B,): the kept part is the same on both sides."""
        kept, moved = self._split(y)
        moved, log_slope = self.pull_each(moved, self.net(beside(kept, context, self.context)))
        return self._join(kept, moved), log_slope.sum(1)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rows(x, self.features)
        # One split, and not two slices: its gradient is one join.
        if self._last:
            moved, kept = x.split((self.moved, self.kept), 1)
            return kept, moved
        if not self._first:
            x = x.index_select(1, self.order)
        kept, moved = x.split((self.kept, self.moved), 1)
        return kept, moved

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        if self._last:
            return torch.cat([moved, kept], 1)
        x = torch.cat([kept, moved], 1)
        return x if self._first else x.index_select(1, self.back)


class AffineCoupling(Coupling):
    """Moves coordinates by a shift and a bounded scale.

        y_moved = x_moved exp(s) + t,   s = c tanh(r / c),   t, r = net(x_kept, context)

    Starts as the identity.

    Arguments:
        features: width of an event, two or more.
        mask: the coordinates that pass unchanged; the first half if left out.
        hidden: widths of the net's hidden layers.
        context: width of the context, 0 for none.
        largest: c, the bound of |s|: an unbounded exponential overflows.
        activation: makes the nonlinearity of the net.

    Raises:
        ValueError: fewer than two features, a split with an empty part, or c not positive.

    Reference: Dinh, Sohl-Dickstein, Bengio 2016 (arXiv 1605.08803).
    """

    def __init__(
        self,
        features: int,
        mask: Sequence[int] | None = None,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        largest: float = 3.0,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__(features, 2, mask, hidden, context, activation)
        validate.positive("largest", largest)
        self.largest = largest

    def _shift_and_log_scale(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = parameters.tensor_split(2, 1)
        return shift, (raw / self.largest).tanh() * self.largest

    def push_each(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return `moved exp(s) + t` and s."""
        shift, log_scale = self._shift_and_log_scale(parameters)
        return torch.addcmul(shift, moved, log_scale.exp()), log_scale

    def pull_each(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(moved - t) exp(-s)` and s."""
        shift, log_scale = self._shift_and_log_scale(parameters)
        return (moved - shift) / log_scale.exp(), log_scale


class SplineCoupling(Coupling):
    """Moves coordinates by monotone rational-quadratic splines, identity outside [-bound, bound].

    The net gives the splines of the pulling direction, which is the one that training runs: it
    then needs no root. Starts as the identity.

    Arguments:
        features: width of an event, two or more.
        bins: bins of each spline, two or more.
        bound: half the side of the box.
        mask: the coordinates that pass unchanged; the first half if left out.
        hidden: widths of the net's hidden layers.
        context: width of the context, 0 for none.
        activation: makes the nonlinearity of the net.

    Raises:
        ValueError: fewer than two features or bins, a split with an empty part, or a bound that
            is not positive.

    Reference: Durkan et al. 2019 (arXiv 1906.04032).
    """

    def __init__(
        self,
        features: int,
        bins: int = 8,
        bound: float = 5.0,
        mask: Sequence[int] | None = None,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        if validate.positive_count("bins", bins) < 2:
            raise ValueError(f"a spline needs two bins or more; got {bins}; 8 is a good start")
        validate.positive("bound", bound)
        super().__init__(features, 3 * bins - 1, mask, hidden, context, activation)
        self.bins, self.bound = bins, bound

    def _knots(self, parameters: Tensor) -> Tensor:
        return spline_knots(parameters.unflatten(1, (self.moved, -1)), self.bound)

    def push_each(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Run the splines from y to x, by the root of a quadratic."""
        moved, log_slope = spline_inverse(moved, self._knots(parameters))
        return moved, -log_slope

    def pull_each(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Run the splines from x to y, in closed form."""
        moved, log_slope = spline(moved, self._knots(parameters))
        return moved, -log_slope

"""The masked network whose outputs for a feature see only the features before it."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from gentoolkit.core import validate


class MADE(nn.Module):
    """A masked perceptron, (B, features) -> (B, features, outputs), autoregressive in an order.

        output of feature order[k] depends on x[order[0]], ..., x[order[k-1]] and on the context

    Every hidden unit has a degree: how many features, in the order, it may see. Units are sorted
    by degree, so `unroll` can visit the features one by one at the price of about one pass.
    Weights and biases lie in one parameter, so that a pass masks all of them at once.

    Arguments:
        features: width D of the input.
        outputs: numbers returned for each feature.
        hidden: widths of the hidden layers, each at least D - 1 (D with a context): then every
            feature sees all before it.
        context: width of the context, 0 if there is none.
        order: which feature comes first, second, ...; 0, 1, ... if left out.
        activation: acts on hidden units one by one, perhaps in place.

    Raises:
        TypeError: a width or an entry of `order` is not a whole number.
        ValueError: a width is below what the order needs, or `order` is not a permutation.

    Reference: Germain, Gregor, Murray, Larochelle 2015 (arXiv 1502.03509).

    >>> net = MADE(3, outputs=2, hidden=(8,))
    >>> net(torch.zeros(5, 3)).shape
    torch.Size([5, 3, 2])
    """

    mask: Tensor

    def __init__(
        self,
        features: int,
        outputs: int = 1,
        hidden: Sequence[int] = (64, 64),
        *,
        context: int = 0,
        order: Sequence[int] | None = None,
        activation: Callable[[Tensor], Tensor] = torch.relu_,
    ) -> None:
        super().__init__()
        self.features = validate.positive_count("features", features)
        self.outputs = validate.positive_count("outputs", outputs)
        self.context = context if context == 0 else validate.positive_count("context", context)
        self.order = tuple(range(features)) if order is None else _permutation(order, features)
        self.activation = activation
        lowest = 0 if context else 1  # a unit of degree 0 sees the context alone
        count = features - lowest
        # A lone feature without a context has constant outputs: hidden units would do nothing.
        widths = [_wide_enough(width, count, features) for width in hidden] if count else []
        self._degrees = [[lowest + i * count // width for i in range(width)] for width in widths]
        masks = self._masks()
        self._shapes = [(len(m), m.shape[1]) for m in masks]
        parts = [part for m in masks for part in (m.flatten(), m.new_ones(len(m)))]
        self.register_buffer("mask", torch.cat(parts), persistent=False)
        self.packed = nn.Parameter(torch.empty_like(self.mask))
        self.reset()

    def _masks(self) -> list[Tensor]:
        """Return which unit sees which, one 0-1 matrix a layer; a degree may see up to itself."""
        place = [self.order.index(i) for i in range(self.features)]
        sees = [k + 1 for k in place] + [0] * self.context
        last = [k for k in place for _ in range(self.outputs)]
        degrees = [torch.tensor(d) for d in (sees, *self._degrees, last)]
        dtype = torch.get_default_dtype()
        masks = [(of[:, None] >= seen).to(dtype) for seen, of in pairwise(degrees)]
        return masks if self.features > 1 or self.context else [masks[0][:, :0]]

    def reset(self) -> None:
        """Draw weights and biases anew, uniform within 1 / sqrt(fan-in) as torch's linear does."""
        with torch.no_grad():
            for weight, bias in self._split(self.packed):
                bound = max(1, weight.shape[1]) ** -0.5
                weight.uniform_(-bound, bound)
                bias.uniform_(-bound, bound)

    def _split(self, packed: Tensor) -> list[tuple[Tensor, Tensor]]:
        parts = packed.split([size for shape in self._shapes for size in (prod(shape), shape[0])])
        return [
            (weight.view(shape), bias)
            for weight, bias, shape in zip(parts[::2], parts[1::2], self._shapes, strict=True)
        ]

    def weights(self) -> list[tuple[Tensor, Tensor]]:
        """Return the masked weight (out, in) and the bias (out,) of each layer."""
        return self._split(self.packed * self.mask)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the outputs of all features in one pass, (B, features, outputs).

        Arguments:
            x: (B, features).
            context: (B, context), or None if the network takes none.
        """
        if x.ndim != 2 or x.shape[1] != self.features:
            raise ValueError(
                f"x must have shape (B, {self.features}); got {tuple(x.shape)}; use "
                f"x.reshape(-1, {self.features})"
            )
        (weight, bias), *rest = self.weights()
        h = x if weight.shape[1] else x[:, :0]
        if self.context:
            h = torch.cat([x, self._checked(x, context)], -1)
        elif context is not None:
            self._checked(x, context)
        h = linear(h, weight, bias)
        for weight, bias in rest:
            h = linear(self.activation(h), weight, bias)
        return h.view(-1, self.features, self.outputs)

    def unroll(
        self,
        like: Tensor,
        visit: Callable[[int, Tensor], Tensor],
        context: Tensor | None = None,
    ) -> Tensor:
        """Build an input feature by feature, each from the outputs that the ones before it give.

        Each visit computes only the hidden units that have just seen all they may see.

        Arguments:
            like: a tensor of B rows with the dtype and device to use.
            visit: from a feature's index and its outputs (B, outputs), returns its value (B,).
            context: (B, context), or None if the network takes none.

        Returns:
            The input (B, features) at which `forward` gives the outputs that were visited.
        """
        seen = like[:, :0] if context is None and not self.context else self._checked(like, context)
        (first, bias), *rest = self.weights()
        if first.shape[1]:  # columns in the order in which they are seen: the context, then x
            known = range(self.features, self.features + self.context)
            first = first[:, [*known, *self.order]]
        *layers, (last, last_bias) = [(first, bias), *rest]
        hidden = [like[:, :0] for _ in layers]
        values: list[Tensor] = []
        for k, feature in enumerate(self.order):
            below = seen
            for i, (weight, bias) in enumerate(layers):
                start, end = bisect_left(self._degrees[i], k), bisect_right(self._degrees[i], k)
                if end > start:
                    block = linear(below, weight[start:end, : below.shape[1]], bias[start:end])
                    hidden[i] = torch.cat([hidden[i], self.activation(block)], -1)
                below = hidden[i]
            rows = slice(feature * self.outputs, (feature + 1) * self.outputs)
            outputs = linear(below, last[rows, : below.shape[1]], last_bias[rows])
            values.append(visit(feature, outputs))
            if k + 1 < self.features:
                seen = torch.cat([seen, values[-1][:, None]], -1)
        columns = [self.order.index(i) for i in range(self.features)]
        return torch.stack([values[i] for i in columns], -1)

    def _checked(self, x: Tensor, context: Tensor | None) -> Tensor:
        return validate.context("this network", context, len(x), self.context)


def _permutation(order: Sequence[int], features: int) -> tuple[int, ...]:
    if sorted(order) != list(range(features)):
        raise ValueError(
            f"order must hold each of 0 ... {features - 1} once; got {list(order)}; "
            "pass for example tuple(reversed(range(features)))"
        )
    return tuple(int(i) for i in order)


def _wide_enough(width: int, count: int, features: int) -> int:
    if validate.positive_count("layer width", width) < count:
        raise ValueError(
            f"every hidden width must be at least {count} for {features} features; got {width}; "
            "widen the layer, or some features would see only part of those before them"
        )
    return width

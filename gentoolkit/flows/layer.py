"""What every flow layer offers, and the flow that stacks them.

A layer is a `Bijection` with parameters. `transform` runs from the source to the target (the way
that samples), `inverse` from the target to the source (the way that scores data).
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Bijection, Chain, Frozen, Law, standard_normal, validate
from gentoolkit.core.chain import Source


class Layer(nn.Module, Bijection):
    """A bijection with parameters, perhaps conditional on a context, perhaps estimated.

    Obligations: `transform(x)` returns `y = T(x)` and `log |det dT/dx|` at `x`, shape (B,);
    `inverse(y)` returns `x` and the *same* log-determinant, no sign flip. A layer says what else
    its two methods take: one with `self.context > 0` takes `context`, (B, self.context); one with
    `self.estimated = True`, whose log-determinant is a random estimate, takes `generator`.

    `push` and `pull` hand both to whatever declares them, and refuse a context that nothing asks
    for; `given` binds a context, and `reversed(layer)` exchanges source and target.
    """

    context: int = 0

    @abstractmethod
    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Move from the source to the target: `y` and `log |det dT/dx|` at `x`, (B,)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Move from the target to the source: `x` and `log |det dT/dx|` at that `x`, (B,)."""

    def push(
        self, x: Tensor, generator: Generator | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return `transform(x)`, with the context and the generator if the layer takes them."""
        return self.transform(x, **self._options(context, generator))

    def pull(
        self, y: Tensor, generator: Generator | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return `inverse(y)`, with the context and the generator if the layer takes them."""
        return self.inverse(y, **self._options(context, generator))

    def given(self, context: Tensor | None) -> Bijection:
        """Return this layer as a step for one context, (B, self.context)."""
        return self if context is None else Given(self, context)

    def __reversed__(self) -> "Inverted":
        return Inverted(self)

    def _options(self, context: Tensor | None, generator: Generator | None) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.context:
            options["context"] = context
        elif context is not None:
            validate.no_context(context, f"this {type(self).__name__}")
        if self.estimated:
            options["generator"] = generator
        return options


class Given(Bijection):
    """A layer whose context is fixed.

    Arguments:
        layer: the layer.
        context: one row for each row of the batches that it will meet, (B, layer.context).
    """

    def __init__(self, layer: Layer, context: Tensor) -> None:
        self.layer, self.context, self.estimated = layer, context, layer.estimated

    def transform(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Push the layer under its context."""
        return self.layer.push(x, generator, self.context)

    def inverse(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Pull the layer under its context."""
        return self.layer.pull(y, generator, self.context)


class Inverted(Layer):
    """A layer run the other way: `T' = T^-1`, so `log |det T'| = -log |det T|`.

    It turns a layer that samples in one pass into one that scores in one pass.

    Arguments:
        layer: the layer to turn round; `reversed(layer)` makes the same.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.context, self.estimated = layer.context, layer.estimated

    def transform(
        self, x: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pull the layer, and turn the sign of its log-determinant."""
        y, log_det = self.layer.pull(x, generator, context)
        return y, -log_det

    def inverse(
        self, y: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Push the layer, and turn the sign of its log-determinant."""
        x, log_det = self.layer.push(y, generator, context)
        return x, -log_det


def bind(layers: Iterable[nn.Module], context: Tensor | None) -> list[Bijection]:
    """Return layers as steps; those that take a context get it.

    Raises:
        ValueError: there is a context that no layer takes.
    """
    steps = [layer for layer in layers if isinstance(layer, Layer)]
    if context is not None and not any(layer.context for layer in steps):
        validate.no_context(context, "a flow of these layers")
    return [layer.given(context) if layer.context else layer for layer in steps]


class Flow(nn.Module):
    """A normalizing flow: layers from a source to data.

        log p(x) = log source(z) - sum of log |det|,   z = inverse of all layers at x

    >>> from gentoolkit.flows import Flow, Planar
    >>> flow = Flow([Planar(2), Planar(2)], 2)
    >>> x = flow.sample(5, generator=torch.Generator().manual_seed(0))
    >>> flow.log_prob(x).shape
    torch.Size([5])

    Arguments:
        layers: from the source side to the target side.
        event_shape: shape of a data point; a number stands for a vector.
        source: a density of such events; the standard normal if left out. A law of the core is
            held as buffers and follows the flow; a module is registered; anything else, such as a
            torch distribution, stays where it is.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770); Papamakarios et al. 2021
        (arXiv 1912.02762).
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        event_shape: int | Sequence[int],
        source: Source | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.event_shape = validate.event_shape(event_shape)
        law = standard_normal(*self.event_shape) if source is None else source
        self.source = Frozen(law) if isinstance(law, Law) else law

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain source -> data, for one context if the flow is conditional.

        Arguments:
            context: one row for each row of the batch that the chain will meet.
        """
        return Chain(self.source, bind(self.layers, context))

    def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Return the exact log-density of `x` (B, *event_shape), shape (B,).

        Raises:
            ValueError: a layer has no exact log-determinant, or `x` is empty, not finite or of
                another shape.
        """
        return self.chain(context).log_prob(validate.batch("x", x, self.event_shape))

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return `log_prob` of each row of a batch, (B,), or its unbiased estimate.

        Where a layer only estimates its log-determinant this is what `log_prob` refuses.
        """
        x = validate.batch("batch", batch, self.event_shape)
        return self.chain(context).pull(x, generator).log_evidence()

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return minus the mean log-likelihood of a batch (B, *event_shape), shape ()."""
        return -self.elbo(batch, context=context, generator=generator).mean()

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` samples, (n, *event_shape); a context must have `n` rows.

        No gradient is kept: `chain(context).push(n)` keeps it.
        """
        return self.chain(context).push(n, generator).states[-1]

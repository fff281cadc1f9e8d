"""What every flow layer offers, and the flow that stacks them.

A layer is a `Bijection` with parameters. `transform` runs from the source to the target (the way
that samples), `inverse` from the target to the source (the way that scores data).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Bijection, Chain, Density, standard_normal, validate


class Layer(nn.Module, Bijection):
    """A bijection with parameters, perhaps conditional on a context.

    Obligations: `transform(x, context)` returns `y = T(x; context)` and `log |det dT/dx|` at `x`,
    shape (B,); `inverse(y, context)` returns `x` and the *same* log-determinant, no sign flip.
    Without a context a layer is a step of a chain as it stands; `given` binds a context. A layer
    whose log-determinant is a random estimate sets `self.estimated = True`.
    """

    @abstractmethod
    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Move from the source to the target: `y` and `log |det dT/dx|` at `x`, (B,)."""

    @abstractmethod
    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Move from the target to the source: `x` and `log |det dT/dx|` at that `x`, (B,)."""

    def given(self, context: Tensor | None) -> Bijection:
        """Return this layer as a step for one context (B, context_features)."""
        return self if context is None else Given(self, context)


@dataclass(frozen=True)
class Given(Bijection):
    """A layer whose context is fixed."""

    layer: Layer
    context: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "estimated", self.layer.estimated)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `layer.transform(x, context)`."""
        return self.layer.transform(x, self.context)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return `layer.inverse(y, context)`."""
        return self.layer.inverse(y, self.context)


class Inverted(Layer):
    """A layer run the other way: `T' = T^-1`, so `log |det T'| = -log |det T|`.

    It turns a layer that samples in one pass into one that scores in one pass.

    Arguments:
        layer: the layer to turn round.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.estimated = layer.estimated

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return `transform(x)`; an estimated log-determinant is drawn by the generator."""
        y, log_det = self.layer.pull(x, generator)
        return y, -log_det

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return `inverse(y)`; an estimated log-determinant is drawn by the generator."""
        x, log_det = self.layer.push(y, generator)
        return x, -log_det

    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return `layer.inverse(x)` with the sign of its log-determinant turned."""
        y, log_det = self.layer.inverse(x, context)
        return y, -log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return `layer.transform(y)` with the sign of its log-determinant turned."""
        x, log_det = self.layer.transform(y, context)
        return x, -log_det


class Flow(nn.Module):
    """A normalizing flow: layers from a source to data of `features` numbers.

        log p(x) = log source(z) - sum of log |det|,   z = inverse of all layers at x

    Arguments:
        layers: from the source side to the target side.
        features: width of a datum.
        source: a density over (features,); the standard normal if left out. A module among its
            attributes is not registered: pass sources without parameters.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770); Papamakarios et al. 2021
        (arXiv 1912.02762).
    """

    def __init__(
        self, layers: Sequence[Layer], features: int, source: Density | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.features = validate.positive_count("features", features)
        self._source = source

    def source(self) -> Density:
        """Return the source density."""
        if self._source is not None:
            return self._source
        like = next(self.parameters(), torch.empty(0))
        return standard_normal(self.features, dtype=like.dtype, device=like.device)

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain source -> data, for one context (B, context_features) if there is one.

        Arguments:
            context: one row for each row of the batch that the chain will meet.
        """
        steps = [layer.given(context) for layer in self._steps()]
        return Chain(self.source(), steps)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the exact log-density of `x` (B, features), shape (B,).

        Raises:
            ValueError: a layer has no exact log-determinant, or `x` is empty, not finite or of
                another width.
        """
        if any(layer.estimated for layer in self._steps()):
            return self.chain(context).log_prob(self._rows(x))  # refuses, and names the layer
        return self._score(self._rows(x), context)

    def sample(
        self, n: int, generator: Generator | None = None, context: Tensor | None = None
    ) -> Tensor:
        """Draw `n` samples, (n, features); a context must have `n` rows."""
        z = y = self.source().sample(validate.positive_count("n", n), generator=generator)
        for layer in self._steps():
            y = layer.transform(y, context)[0]
        # Only a sample that went wrong is worth the chain's account of every step.
        finite = bool(torch.isfinite(y.detach().sum()))
        return y if finite else self._named(z, context)

    def loss(self, x: Tensor) -> Tensor:
        """Return minus the mean log-likelihood of a batch (B, features), shape ().

        Where a layer only estimates its log-determinant this is an unbiased estimate, which is
        enough to train on; `log_prob` refuses it.
        """
        return -self._score(self._rows(x), None).mean()

    def _steps(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def _score(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Return the log-evidence of checked rows without the chain's checks at every step.

        They cost as much as eight small layers; a result that is not finite goes through the chain
        after all, which names the step.
        """
        z, total = x, x.new_zeros(x.shape[0])
        for layer in reversed(self._steps()):
            z, log_det = layer.inverse(z, context)
            total = total + log_det
        value = self.source().log_prob(z) - total
        if bool(torch.isfinite(value.detach().sum())):
            return value
        return self.chain(context).pull(x).log_evidence()

    def _named(self, y: Tensor, context: Tensor | None) -> Tensor:
        """Push again and name the first layer whose state is not finite."""
        for k, layer in enumerate(self._steps()):
            y = layer.transform(y, context)[0]
            validate.batch(f"the state after layers[{k}], a {type(layer).__name__},", y)
        return y

    def _rows(self, x: Tensor) -> Tensor:
        if validate.batch("x", x).ndim != 2 or x.shape[1] != self.features:
            raise ValueError(
                f"x must have shape (B, {self.features}); got {tuple(x.shape)}; "
                "flatten each datum to one row"
            )
        return x

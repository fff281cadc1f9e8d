"""The contract of every model: a pair of chains that can be built, trained, drawn from, scored."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from gentoolkit.core.chain import Chain


@runtime_checkable
class Model(Protocol):
    """What every exported model offers.

    Obligations: all options are keywords; the condition is called `context`, has one row for each
    row of the batch, and is refused (ValueError) by a model that has none; everything random is
    drawn from the generator, if one is given. What a family cannot offer raises `Unsupported` with
    the reason and what to use instead.
    """

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one data point."""
        ...

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the pair of chains between the source and the data."""
        ...

    def loss(
        self,
        batch: Any,  # noqa: ANN401 - a tensor (B, *event), or what a family trains on
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return what training minimises, shape ()."""
        ...

    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` data, (n, *event), without a gradient: `chain(context).push(n)` keeps it."""
        ...

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return a lower bound of log p of each row of the batch, (B,), or log p itself."""
        ...

"""A flow as a `torch.distributions.Distribution`.

The other way needs nothing: a torch distribution, and so a flow of a library that builds them,
stands as the source of a `Chain` as it is.
"""

from typing import Self

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from gentoolkit.core import validate
from gentoolkit.flows.layer import Flow


class FlowDistribution(Distribution):
    """A flow in torch's own form: `log_prob`, `sample`, `rsample`, batch and event shapes.

    Arguments:
        flow: its parameters stay where they are; gradients of both `log_prob` and `rsample` reach
            them.
        context: (*batch, context_features), bound for good: one distribution for each row. Without
            one the batch shape is ().
        validate_args: as in torch.

    Raises:
        TypeError: `flow` is not a Flow.
        ValueError: the context is empty or not finite.
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(
        self, flow: Flow, context: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        if not isinstance(flow, Flow):
            raise TypeError(
                f"flow must be a Flow; got {type(flow).__name__}; wrap layers in Flow(layers, D)"
            )
        self.flow, self.context = flow, context
        batch = () if context is None else validate.batch("context", context).shape[:-1]
        super().__init__(torch.Size(batch), flow.event_shape, validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """All of the real events."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def _rows(self, shape: torch.Size) -> Tensor | None:
        """Return the context repeated to one row for each event of a sample of `shape`."""
        if self.context is None:
            return None
        width = self.context.shape[-1]
        return self.context.expand(*shape, width).reshape(-1, width)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of `value` (*sample, *batch, *event), (*sample, *batch).

        Raises:
            ValueError: another event shape, or values that are not finite.
        """
        if self._validate_args:
            self._validate_sample(value)
        event = self.event_shape
        split = value.ndim - len(event)
        if split < 0 or value.shape[split:] != event:
            raise ValueError(
                f"value must end with shape {tuple(event)}; got shape {tuple(value.shape)}; "
                "one event is one row"
            )
        shape = torch.broadcast_shapes(value.shape[:split], self.batch_shape)
        flat = value.expand(*shape, *event).reshape(-1, *event)
        return self.flow.log_prob(flat, context=self._rows(shape)).reshape(shape)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draw events (*sample_shape, *batch, *event); the gradient flows through."""
        shape = torch.Size(sample_shape) + self.batch_shape
        if shape.numel() == 0:
            like = next(self.flow.parameters(), torch.empty(0))
            return like.new_empty(*shape, *self.event_shape)
        paths = self.flow.chain(self._rows(shape)).push(shape.numel())
        return paths.states[-1].reshape(*shape, *self.event_shape)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Self:
        """Return the same distribution with a larger batch shape."""
        shape = torch.Size(batch_shape)
        new = type(self)(self.flow, None, validate_args=False)
        if self.context is not None:
            new.context = self.context.expand(*shape, self.context.shape[-1])
        new._batch_shape = shape
        new._validate_args = self._validate_args
        return new

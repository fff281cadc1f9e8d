"""What layers ask of their inputs: the width of an event, and a context beside it.

These look at shapes alone; values are looked at once, where a batch enters the chain.
"""

import torch
from torch import Tensor

from gentoolkit.core import validate


def rows(x: Tensor, features: int) -> Tensor:
    """Return `x` if its shape is (B, features).

    Raises:
        ValueError: it is not; a wrong width could broadcast silently further on.
    """
    if x.ndim != 2 or x.shape[1] != features:
        raise ValueError(
            f"this layer takes batches of shape (B, {features}); got {tuple(x.shape)}; "
            f"reshape the batch, or build the layer for its width"
        )
    return x


def beside(x: Tensor, context: Tensor | None, width: int) -> Tensor:
    """Return what a net sees: `x` (B, D), and the context (B, width) to its right if there is one.

    Raises:
        ValueError: a context is missing, of a wrong shape, or handed to a layer that has none.
    """
    if context is None and width == 0:
        return x
    if context is None:
        raise ValueError(
            f"this layer needs a context of shape ({x.shape[0]}, {width}); got none; "
            "pass context=..., or bind it by layer.given(context)"
        )
    if context.shape != (x.shape[0], width):
        hint = "one row for each data point" if width else "build it with context > 0 to use one"
        raise ValueError(
            f"context must have shape ({x.shape[0]}, {width}); got {tuple(context.shape)}; {hint}"
        )
    return torch.cat([x, context], 1)


def context_width(width: int) -> int:
    """Return the width of a context if it is zero (none) or more.

    Raises:
        ValueError: it is negative.
    """
    return 0 if width == 0 else validate.positive_count("context", width)


def at_least_two(features: int) -> int:
    """Return the width of an event that a layer must split in two parts.

    Raises:
        ValueError: there is nothing to split.
    """
    if validate.positive_count("features", features) < 2:
        raise ValueError(
            f"a split needs two features or more; got {features}; "
            "use an elementwise or autoregressive layer for one number"
        )
    return features

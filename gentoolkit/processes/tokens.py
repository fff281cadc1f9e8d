"""Tokens: whether they are any, and how to draw them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gentoolkit.core import validate


def shaped(name: str, x: Tensor, shape: Sequence[int], advice: str) -> Tensor:
    """Return `x` if it has this very shape, else raise a ValueError that ends in `advice`."""
    if x.shape != torch.Size(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}; got {tuple(x.shape)}; {advice}")
    return x


def per_row(t: Tensor, x: Tensor) -> Tensor:
    """Return times or noise `t`, () or (B,), shaped to broadcast to states x (B, ...).

    Raises:
        ValueError: `t` has neither one entry nor one for each row.
    """
    if t.ndim and len(t) not in (1, len(x)):
        raise ValueError(
            f"times must be one number or one for each of {len(x)} rows; got {len(t)}; use "
            "t.expand(len(x))"
        )
    return t.reshape(-1, *[1] * (x.ndim - 1)) if t.ndim else t


def checked_tokens(name: str, x: Tensor, size: int, dims: int | None = None) -> Tensor:
    """Return `x` if it holds tokens 0..size-1 in int64, (B, ...), or (B, dims) if that is given.

    Raises:
        TypeError: `x` is not a tensor of int64.
        ValueError: it is empty, of another shape, or a token is out of range.
    """
    validate.batch(name, x)
    if x.dtype != torch.int64:
        raise TypeError(f"{name} must hold tokens in int64; got {x.dtype}; use {name}.long()")
    if dims is not None and x.shape[1:] != (dims,):
        raise ValueError(
            f"{name} must have shape (B, {dims}); got {tuple(x.shape)}; use {name}.flatten(1), or "
            "build the model for this number of tokens"
        )
    if validate.readable(x):
        low, high = (int(v) for v in torch.aminmax(x))
        if low < 0 or high >= size:
            raise ValueError(
                f"{name} must hold tokens in 0..{size - 1}; got {low} to {high}; check the number "
                "of tokens of the rate matrix, and whether it counts a mask"
            )
    return x


def draw(probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw one token from each row of weights (..., C), int64 (...); rows need not sum to 1.

    A race of exponential clocks: a token of weight zero never wins against a positive one.
    """
    clocks = torch.empty_like(probs).exponential_(generator=generator)
    return (probs / clocks).argmax(-1)


def weigh(law: Tensor, likelihood: Tensor) -> Tensor:
    """Return probabilities in proportion to `law * likelihood`, (..., C)."""
    weights = law * likelihood
    # A net may put nothing on what the state allows: then all of that is as likely.
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, likelihood)
    return weights / weights.sum(-1, keepdim=True)

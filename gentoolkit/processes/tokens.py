"""Tokens: whether they are any, and how to draw them."""

import torch
from torch import Tensor

from gentoolkit.core import validate


def checked_tokens(name: str, x: Tensor, size: int, dims: int | None = None) -> Tensor:
    """Return `x` if it holds tokens 0..size-1 in int64, with a batch dimension.

    Arguments:
        name: what an error calls `x`.
        x: tokens.
        size: number of tokens C.
        dims: number of places, if `x` must be (B, dims).

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


def two_or_more(name: str, size: int) -> int:
    """Return `size` if it is a number of tokens among which one can jump.

    Raises:
        TypeError: `size` is not an int.
        ValueError: `size` is below two.
    """
    if validate.positive_count(name, size) < 2:
        raise ValueError(f"{name} must be at least 2; got {size}; one token cannot jump anywhere")
    return size

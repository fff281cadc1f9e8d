"""Tokens: whether they are any, and how to draw them."""

import torch
from torch import Tensor

from gentoolkit.core import validate


def checked_tokens(name: str, x: Tensor, size: int) -> Tensor:
    """Return `x` if it holds tokens 0..size-1 in int64, with a batch dimension.

    Raises:
        TypeError: `x` is not a tensor of int64.
        ValueError: it is empty, or a token is out of range.
    """
    validate.batch(name, x)
    if x.dtype != torch.int64:
        raise TypeError(f"{name} must hold tokens in int64; got {x.dtype}; use {name}.long()")
    low, high = (int(v) for v in torch.aminmax(x))
    if low < 0 or high >= size:
        raise ValueError(
            f"{name} must hold tokens in 0..{size - 1}; got {low} to {high}; check the number of "
            "tokens of the generator, and whether it counts a mask"
        )
    return x


def draw(probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw one token from each row of weights (..., C), int64 (...); rows need not sum to 1.

    A race of exponential clocks: a token of weight zero never wins against a positive one.
    """
    clocks = torch.empty_like(probs).exponential_(generator=generator)
    return (probs / clocks).argmax(-1)


def two_or_more(name: str, size: int) -> int:
    """Return `size` if it is a number of tokens among which one can jump.

    Raises:
        TypeError: `size` is not an int.
        ValueError: `size` is below two.
    """
    if validate.positive_count(name, size) < 2:
        raise ValueError(f"{name} must be at least 2; got {size}; one token cannot jump anywhere")
    return size


def checked_mask(mask: int, size: int) -> int:
    """Return `mask` if it is one of `size` tokens, or -1 for the last.

    Raises:
        ValueError: it is not.
    """
    if not -1 <= mask < size:
        raise ValueError(
            f"mask must be a token in 0..{size - 1}; got {mask}; count the mask in size, or leave "
            "it out to take the last token"
        )
    return mask

"""Checks of what a caller hands in: each error says what is wrong, what was got, how to mend it."""

from math import isfinite

import torch
from torch import Tensor


def positive_count(name: str, n: int) -> int:
    """Return `n` if it is a whole number of at least one.

    Raises:
        TypeError: `n` is not an int.
        ValueError: `n` is below one.
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"{name} must be a whole number; got {n!r}; pass an int such as 256")
    if n < 1:
        raise ValueError(f"{name} must be at least 1; got {n}; ask for one sample or more")
    return n


def batch(name: str, x: Tensor) -> Tensor:
    """Return `x` if it is a tensor with a batch dimension, not empty and without NaN or infinity.

    Raises:
        TypeError: `x` is not a tensor.
        ValueError: `x` has no batch dimension, is empty or is not finite.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor; got {type(x).__name__}; convert with torch.as_tensor"
        )
    if x.ndim < 1:
        raise ValueError(f"{name} needs a batch dimension; got a scalar; use x[None]")
    if x.numel() == 0:
        raise ValueError(
            f"{name} is empty; got shape {tuple(x.shape)}; pass at least one row with one value"
        )
    # Any NaN or infinity reaches the sum, and a sum is ten times cheaper than a full test; only a
    # sum that overflowed by itself needs the full test.
    finite = not x.is_floating_point() or isfinite(float(x.detach().sum()))
    if not finite and not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(
            f"{name} must be finite; got {bad} NaN or infinite of {x.numel()} values; "
            "clean the data or lower the step size that made them"
        )
    return x


def per_sample(name: str, value: Tensor, n: int) -> Tensor:
    """Return `value` if it holds one scalar per sample, shape (n,).

    Raises:
        ValueError: `value` has another shape; `(n, 1)` would broadcast silently to `(n, n)`.
    """
    if value.shape != (n,):
        raise ValueError(
            f"{name} must have shape ({n},), one number per sample; got {tuple(value.shape)}; "
            "sum over the event dimensions and keep no trailing 1"
        )
    return value


def positive(name: str, value: Tensor | float) -> None:
    """Raise unless every entry of `value` is finite and above zero.

    Raises:
        ValueError: some entry is zero, negative, NaN or infinite.
    """
    if isinstance(value, Tensor):
        if value.numel() == 0:
            raise ValueError(f"{name} is empty; got shape {tuple(value.shape)}; pass some values")
        # One fused reduction: NaN fails every comparison, so it is caught too.
        low, high = torch.aminmax(value.detach())
        smallest, largest = float(low), float(high)
    else:
        smallest = largest = float(value)
    if not (smallest > 0.0 and largest < float("inf")):
        raise ValueError(
            f"{name} must be positive and finite; got values from {smallest} to {largest}; "
            "pass a standard deviation, for example log_std.exp()"
        )

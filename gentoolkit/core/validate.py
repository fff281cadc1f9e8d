"""Checks of what a caller hands in: each error says what is wrong, what was got, how to mend it.

Shapes and types are looked at always. *Values* are read, which waits for the device, at the doors
of the library alone: inside a chain, under `torch.compile`, inside the transforms of `torch.func`
and on the meta device `readable` says no.
"""

import threading
from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor


class _Depth(threading.local):
    inside = 0


_DEPTH = _Depth()


class unread:
    """A context in which values are not read: the inside of a chain, whose ends are checked."""

    def __enter__(self) -> None:
        if not torch.compiler.is_compiling():
            _DEPTH.inside += 1

    def __exit__(self, *error: object) -> None:
        if not torch.compiler.is_compiling():
            _DEPTH.inside -= 1


def traced(x: Tensor | None = None) -> bool:
    """Whether values, those of `x`, cannot be read at all.

    So it is in a compiled function, in a transform of `torch.func`, and on the meta device.
    """
    if torch.compiler.is_compiling() or (x is not None and x.device.type == "meta"):
        return True
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore


def values_checked() -> bool:
    """Whether values may be read here: not in a chain, a compiled function or a transform."""
    return not (_DEPTH.inside or traced())


def readable(x: Tensor) -> bool:
    """Whether the values of `x` may be read here; tensors on the meta device have none."""
    return not (_DEPTH.inside or traced(x))


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


def event_shape(shape: int | Sequence[int]) -> torch.Size:
    """Return the shape of one event: a number stands for a vector of so many entries.

    Raises:
        TypeError: a size is not an int.
        ValueError: a size is below one.
    """
    sizes = [shape] if isinstance(shape, int) else shape
    return torch.Size([positive_count("event_shape", size) for size in sizes])


def finite(x: Tensor) -> bool:
    """Whether no entry of `x` is NaN or infinite; whole numbers always are."""
    # Any NaN or infinity reaches the sum, and a sum is ten times cheaper than a full test; only a
    # sum that overflowed by itself needs the full test.
    if not x.is_floating_point() or isfinite(float(x.detach().sum())):
        return True
    return bool(torch.isfinite(x).all())


def batch(name: str, x: Tensor, event: torch.Size | None = None) -> Tensor:
    """Return `x` if it is a tensor (B, *event), not empty and without NaN or infinity.

    Arguments:
        name: what the caller calls it.
        x: what was handed in.
        event: the event shape that is asked for; any if left out.

    Raises:
        TypeError: `x` is not a tensor.
        ValueError: `x` has no batch dimension, another event shape, is empty or is not finite.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor; got {type(x).__name__}; convert with torch.as_tensor"
        )
    if x.ndim < 1:
        raise ValueError(f"{name} needs a batch dimension; got a scalar; use x[None]")
    if event is not None and x.shape[1:] != event:
        raise ValueError(
            f"{name} must have shape (B, {', '.join(map(str, event))}); got {tuple(x.shape)}; "
            "one row for each datum"
        )
    if x.numel() == 0:
        raise ValueError(
            f"{name} is empty; got shape {tuple(x.shape)}; pass at least one row with one value"
        )
    if readable(x) and not finite(x):
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
        if not readable(value):
            return
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


def no_context(context: Tensor | None, name: str) -> None:
    """Raise if a model that has no condition was given one.

    Raises:
        ValueError: there is a context.
    """
    if context is not None:
        raise ValueError(
            f"{name} takes no context; got one of shape {tuple(context.shape)}; leave context "
            "out, or build a conditional model"
        )

"""Checks of what a caller hands in: each error says what is wrong, what was got, how to fix it.

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


def readable(x: Tensor) -> bool:
    """Whether values may be read here for a check: not inside a chain, nor where `traced`."""
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


def shapes(advice: str, **named: tuple[Tensor, str]) -> None:
    """Raise unless the tensors have the sizes that are named, each name one number throughout.

        shapes("one label per row", x=(x, "n D"), y=(y, "n"))

    Raises:
        ValueError: a tensor has another number of dimensions, or two sizes of one name differ.
    """
    sizes: dict[str, int] = {}
    fits = all(
        x.ndim == len(names.split())
        and all(sizes.setdefault(n, k) == k for n, k in zip(names.split(), x.shape, strict=True))
        for x, names in named.values()
    )
    if not fits:
        wants = (", ".join(names.split()) for _, names in named.values())
        raise ValueError(
            f"{' and '.join(named)} must have shape {' and '.join(f'({w})' for w in wants)}; got "
            f"{' and '.join(str(tuple(x.shape)) for x, _ in named.values())}; {advice}"
        )


def finite(x: Tensor) -> bool:
    """Whether no entry of `x` is NaN or infinite; whole numbers always are."""
    # Any NaN or infinity reaches the sum, and a sum is ten times cheaper than a full test; only a
    # sum that overflowed by itself needs the full test.
    if x.is_complex():
        x = torch.view_as_real(x.resolve_conj())
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
            "one row for each data point"
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
        got, advice = f"values from {smallest} to {largest}", "for example log_std.exp()"
    else:
        smallest = largest = got = float(value)
        advice = "a number above zero"
    if not (smallest > 0.0 and largest < float("inf")):
        raise ValueError(f"{name} must be positive and finite; got {got}; pass {advice}")


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


def context(name: str, context: Tensor | None, n: int, width: int) -> Tensor:
    """Return `context` if it has one row of `width` numbers for each of `n` rows.

    Raises:
        ValueError: it is left out, or has another shape.
    """
    if context is None or context.shape != (n, width):
        got = None if context is None else tuple(context.shape)
        wants = f"shape ({n}, {width})" if width else "no context"
        raise ValueError(
            f"{name} takes {wants}; got {got}; pass one row of context for each row, or build it "
            "with context=the width of yours"
        )
    return context


def probability(name: str, value: float) -> float:
    """Return `value` if it is in [0, 1].

    Raises:
        ValueError: it is not.
    """
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [0, 1]; got {value}; it is a probability")
    return value


def at_least_zero(name: str, value: float) -> float:
    """Return `value` if it is finite and not negative.

    Raises:
        ValueError: it is negative, NaN or infinite.
    """
    if not 0.0 <= value < float("inf"):
        raise ValueError(f"{name} must be zero or positive, and finite; got {value}; try 0.0")
    return value

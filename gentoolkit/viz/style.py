"""The small choices that layers share, checked: limits, sizes, opacity, line style."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range, as_range


def limits(values: np.ndarray, limits: Sequence[float] | None) -> Range:
    """Choose the values of the two ends of a colour map.

    Arguments:
        values: the numbers to colour.
        limits: the two values; the extremes of ``values`` if None.

    Returns:
        (lowest, highest) with lowest < highest.

    Raises:
        ValueError: ``limits`` is not an interval.
    """
    if limits is not None:
        return as_range(limits, "limits")
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)  # one flat colour, mid-scale


def positive(value: float, name: str) -> float:
    """Check a size.

    Arguments:
        value: the size.
        name: what it is, for the error message.

    Returns:
        The size as a float.

    Raises:
        ValueError: not a finite number above 0.
    """
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} is not positive: got {value}. Pass a number above 0.")
    return float(value)


def opacity(alpha: float) -> float:
    """Check an opacity.

    Arguments:
        alpha: the opacity.

    Returns:
        The opacity as a float.

    Raises:
        ValueError: outside of (0, 1].
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"The opacity is out of range: got {alpha}. Pass 0 < alpha <= 1.")
    return float(alpha)


def stroke(color: str, width: float, dash: bool, alpha: float) -> dict[str, Any]:
    """Describe how a line looks.

    Arguments:
        color: ``#RRGGBB``.
        width: width in pixels.
        dash: dashed or solid.
        alpha: opacity.

    Returns:
        The entries of a layer's spec.

    Raises:
        ValueError: one of them is out of range.
    """
    colors.rgb(color)
    style = {"color": color, "width": positive(width, "width")}
    return style | {"dash": bool(dash), "alpha": opacity(alpha)}

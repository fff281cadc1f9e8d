"""Numbers on their way to the browser: checked, quantised, and laid end to end in one buffer."""

from math import inf

import numpy as np

from gentoolkit.viz import colors

Range = tuple[float, float]
Shape = tuple[int | str, ...]
"""Lengths of the axes; a letter stands for any length above zero."""

WIDEST = 24.0
"""Times the panel's range over which positions may be spread before they are stored as float32."""


def as_array(
    values: object,
    name: str,
    shape: Shape | None = None,
    *,
    frames: int | None = None,
    low: float = -inf,
    high: float = inf,
    whole: bool = False,
) -> np.ndarray:
    """Turn numbers, an array or a tensor into a checked float64 array.

    Arguments:
        values: nested numbers, a numpy array, or anything with torch's ``detach().cpu()``.
        name: what the numbers are, for the error message.
        shape: the shape that is needed, such as ``("N", 2)``; None permits all.
        frames: permit one more axis in front, of this length.
        low: the lowest value permitted.
        high: the highest value permitted.
        whole: permit whole numbers only.

    Returns:
        A finite, non-empty float64 array.

    Raises:
        ValueError: another shape, empty, not finite, or out of range.
    """
    detach = getattr(values, "detach", None)  # a tensor, without importing torch to ask
    try:
        array = np.asarray(detach().cpu().double().numpy() if detach else values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numbers in rows of equal length; got {error}; pass an array"
        ) from None
    if shape is not None:
        shapes = [shape] if frames is None else [shape, (frames, *shape)]
        if not any(_fits(array.shape, one) for one in shapes):
            wanted = " or ".join(f"({', '.join(map(str, one))}{',' * (len(one) == 1)})"
                                 for one in shapes)  # fmt: skip
            moves = "" if frames is None else ", the longer one with an entry per frame"
            raise ValueError(
                f"{name} must have shape {wanted}; got {array.shape}; reshape it{moves}"
            )
    if array.size == 0:
        raise ValueError(f"{name} is empty; got shape {array.shape}; pass at least one value")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(
            f"{name} must be finite; got {bad} NaN or infinite of {array.size} values; "
            "remove or replace them before you draw"
        )
    if array.min() < low or array.max() > high or (whole and (array != array.round()).any()):
        kind = "whole numbers" if whole else "numbers"
        bounds = f"of at least {low:g}" if high == inf else f"from {low:g} to {high:g}"
        raise ValueError(
            f"{name} must be {kind} {bounds}; got values from {array.min():g} to {array.max():g}; "
            "correct the others"
        )
    return array


def _fits(got: tuple[int, ...], wanted: Shape) -> bool:
    pairs = zip(got, wanted, strict=False)
    return len(got) == len(wanted) and all(isinstance(b, str) or a == b for a, b in pairs)


def as_range(limits: object, name: str) -> Range:
    """Check that a pair of limits is a proper interval.

    Arguments:
        limits: (lowest, highest), in the units of the data.
        name: what the limits bound, for the error message.

    Raises:
        ValueError: not two finite numbers with lowest < highest.
    """
    low, high = as_array(limits, name, (2,)).tolist()
    if low >= high:
        raise ValueError(
            f"{name} must be an interval; got ({low:g}, {high:g}); pass (lowest, highest)"
        )
    return low, high


def as_law(values: object, name: str, shape: Shape, *, frames: int | None = None) -> np.ndarray:
    """Check probabilities along the last axis, for arguments as in ``as_array``.

    Raises:
        ValueError: another shape, a negative entry, or a sum that is not 1.
    """
    law = as_array(values, name, shape, frames=frames, low=-1e-9)
    if abs(law.sum(-1) - 1).max() > 1e-4:
        raise ValueError(
            f"{name} must sum to 1; got sums from {law.sum(-1).min():g} to {law.sum(-1).max():g}; "
            "divide by the sum"
        )
    return law


def as_times(values: object, name: str, *, falling: bool = False) -> np.ndarray:
    """Check two or more times (F,) that rise, or that fall.

    Raises:
        ValueError: fewer than two, or in another order.
    """
    times = as_array(values, name, ("F",))
    if len(times) < 2 or not (np.diff(-times if falling else times) > 0).all():
        way = "fall" if falling else "increase"
        raise ValueError(
            f"{name} must {way}; got {len(times)} from {times[0]:g} to {times[-1]:g}; pass two or "
            "more, sorted"
        )
    return times


def at_least(value: float, name: str, least: int) -> int:
    """Check a whole number.

    Raises:
        ValueError: not whole, or below ``least``.
    """
    if isinstance(value, bool) or value != value // 1 or value < least:
        raise ValueError(
            f"{name} must be a whole number of at least {least}; got {value!r}; pass {least} or "
            "more"
        )
    return int(value)


def positive(value: float, name: str) -> float:
    """Check a finite number above 0.

    Raises:
        ValueError: another number.
    """
    if not 0 < value < inf:
        raise ValueError(f"{name} must be positive; got {value}; pass a number above 0")
    return float(value)


def extent(values: np.ndarray) -> Range:
    """Find a range that holds all values, 5 % wider at each end."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


class Pack:
    """Arrays laid end to end in one buffer, with a table that says how to read each back.

    Positions become uint16 relative to the panel, colour and heat values uint8, everything else
    float32. A *moving* array has the frame as its first axis. Every method that stores an array
    returns its name in the table.
    """

    def __init__(self) -> None:
        self.table: dict[str, dict[str, object]] = {}
        self._parts: list[bytes] = []
        self._known: dict[tuple[object, ...], str] = {}
        self._size = 0

    def _put(self, array: np.ndarray, moving: bool, **how: object) -> str:
        pad = -self._size % 4  # typed arrays in the browser start on multiples of their item size
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        key = (data, array.dtype.name, array.shape, moving, repr(how))
        if key in self._known:  # two panels with the same picture send it once
            return self._known[key]
        name = self._known[key] = f"a{len(self.table)}"
        self.table[name] = {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "offset": self._size + pad,
            "moving": moving,
            "lo": [],
            "hi": [],
            **how,
        }
        self._parts += [bytes(pad), data]
        self._size += pad + len(data)
        return name

    def positions(self, xy: np.ndarray, x: Range, y: Range, moving: bool) -> str:
        """Store positions (..., 2) relative to the panel's range, so that far from zero they keep.

        As uint16 over a window that holds them all, at least three times as wide as the panel:
        wrong by less than 1/5000 of the panel. Where one lies further out than that permits, all
        become float32, so that lines to it keep their slope.

        Arguments:
            xy: (..., 2) coordinates.
            x: the panel's horizontal range.
            y: the panel's vertical range.
            moving: whether the first axis is the frame.
        """
        panel: dict[str, object] = {"x": list(x), "y": list(y)}
        near, far = np.array([x, y], dtype=float).T
        places = xy.reshape(-1, 2)
        lo = np.minimum(2 * near - far, places.min(axis=0))
        hi = np.maximum(2 * far - near, places.max(axis=0))
        if ((hi - lo) > WIDEST * (far - near)).any():
            shares = np.clip((xy - near) / (far - near), -1e30, 1e30).astype(np.float32)
            return self._put(shares, moving, lo=near.tolist(), hi=far.tolist(), **panel)
        steps = np.round((xy - lo) / (hi - lo) * 65535).astype(np.uint16)
        return self._put(steps, moving, lo=lo.tolist(), hi=hi.tolist(), **panel)

    def shades(self, values: np.ndarray, limits: Range, moving: bool) -> str:
        """Store colour values of any shape as uint8: limits[0] becomes 0, limits[1] becomes 255."""
        unit = np.clip((values - limits[0]) / (limits[1] - limits[0]), 0, 1)
        shades = np.round(unit * 255).astype(np.uint8)
        return self._put(shades, moving, lo=[limits[0]], hi=[limits[1]])

    def floats(self, values: np.ndarray, moving: bool, along: Range = (0.0, 1.0)) -> str:
        """Store numbers of any shape as float32.

        Where ``along``, the range of the axis they are drawn along, lies far from zero, they are
        stored as differences from its low end.
        """
        low, high = along
        if max(abs(low), abs(high)) <= 100 * (high - low):
            return self._put(values.astype(np.float32), moving)
        return self._put((values - low).astype(np.float32), moving, origin=low)

    def colormap(self, name: str) -> str:
        """Store one of ``colors.COLORMAPS`` once, as 256 colours."""
        rows = colors.table(name)
        for known, entry in self.table.items():
            if entry.get("colormap") == name:
                return known
        key = self._put(rows, False)
        self.table[key]["colormap"] = name
        return key

    def buffer(self) -> bytes:
        """Join the arrays: the bytes that travel to the browser."""
        return b"".join(self._parts)

"""Numbers on their way to the browser: checked, quantised, and laid end to end in one buffer."""

from collections.abc import Sequence

import numpy as np

from gentoolkit.viz import colors

Range = tuple[float, float]


def as_array(values: object, name: str, ndim: Sequence[int] = ()) -> np.ndarray:
    """Turn numbers, an array or a tensor into a checked float64 array.

    Arguments:
        values: nested numbers, a numpy array, or anything with torch's ``detach().cpu().numpy()``.
        name: what the numbers are, for the error message.
        ndim: the permitted numbers of dimensions; empty permits all.

    Returns:
        A finite, non-empty float64 array.

    Raises:
        ValueError: empty, not finite, or of a wrong number of dimensions.
    """
    detach = getattr(values, "detach", None)  # a tensor, without importing torch to ask
    array = np.asarray(detach().cpu().numpy() if detach else values, dtype=np.float64)
    if ndim and array.ndim not in ndim:
        raise ValueError(
            f"{name} has the wrong number of dimensions: got shape {array.shape}. "
            f"Pass an array of {' or '.join(str(n) for n in ndim)} dimensions."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: got shape {array.shape}. Pass at least one value.")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(
            f"{name} is not finite: got {bad} NaN or infinite of {array.size} values. "
            "Remove or replace them before you draw."
        )
    return array


def as_range(limits: Sequence[float], name: str) -> Range:
    """Check that a pair of limits is a proper interval.

    Arguments:
        limits: (lowest, highest), in the units of the data.
        name: what the limits bound, for the error message.

    Returns:
        The two limits as floats.

    Raises:
        ValueError: not two finite numbers with lowest < highest.
    """
    pair = as_array(limits, name, ndim=(1,))
    if pair.shape != (2,) or pair[0] >= pair[1]:
        raise ValueError(
            f"{name} is not an interval: got {tuple(pair.tolist())}. "
            "Pass (lowest, highest) with lowest < highest."
        )
    return float(pair[0]), float(pair[1])


class Pack:
    """Arrays laid end to end in one buffer, with a table that says how to read each back.

    Positions become uint16 (an error of at most half a step of window / 65535), colour and heat
    values uint8, everything else float32. A *moving* array has the frame as its first axis.
    """

    def __init__(self) -> None:
        self.table: dict[str, dict[str, object]] = {}
        self._parts: list[bytes] = []
        self._known: dict[tuple[object, ...], str] = {}
        self._size = 0

    def _put(self, array: np.ndarray, moving: bool, lo: list[float], hi: list[float]) -> str:
        pad = -self._size % 4  # typed arrays in the browser start on multiples of their item size
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        key = (data, array.dtype.name, array.shape, moving, tuple(lo), tuple(hi))
        if key in self._known:  # two panels with the same picture send it once
            return self._known[key]
        name = self._known[key] = f"a{len(self.table)}"
        self.table[name] = {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "offset": self._size + pad,
            "moving": moving,
            "lo": lo,
            "hi": hi,
        }
        self._parts += [bytes(pad), data]
        self._size += pad + len(data)
        return name

    def positions(self, xy: np.ndarray, x: Range, y: Range, moving: bool) -> str:
        """Store positions (..., 2) as uint16 over a window three times the panel's width.

        What lies beyond the window is clipped to its edge, which is outside of the picture.

        Arguments:
            xy: (..., 2) coordinates.
            x: the panel's horizontal range.
            y: the panel's vertical range.
            moving: whether the first axis is the frame.

        Returns:
            The array's name in the table.
        """
        lo = np.array([2 * x[0] - x[1], 2 * y[0] - y[1]])
        hi = np.array([2 * x[1] - x[0], 2 * y[1] - y[0]])
        unit = np.clip((xy - lo) / (hi - lo), 0, 1)
        return self._put(np.round(unit * 65535).astype(np.uint16), moving, lo.tolist(), hi.tolist())

    def shades(self, values: np.ndarray, limits: Range, moving: bool) -> str:
        """Store colour values as uint8: limits[0] becomes 0, limits[1] becomes 255.

        Arguments:
            values: numbers of any shape.
            limits: the values of the two ends of the colour map.
            moving: whether the first axis is the frame.

        Returns:
            The array's name in the table.
        """
        unit = np.clip((values - limits[0]) / (limits[1] - limits[0]), 0, 1)
        return self._put(np.round(unit * 255).astype(np.uint8), moving, [limits[0]], [limits[1]])

    def floats(self, values: np.ndarray, moving: bool) -> str:
        """Store numbers as float32.

        Arguments:
            values: numbers of any shape.
            moving: whether the first axis is the frame.

        Returns:
            The array's name in the table.
        """
        return self._put(values.astype(np.float32), moving, [], [])

    def colormap(self, name: str) -> str:
        """Store a colour map once, so that browser and poster use the same 256 colours.

        Arguments:
            name: one of ``colors.COLORMAPS``.

        Returns:
            The array's name in the table.
        """
        rows = colors.table(name)
        for known, entry in self.table.items():
            if entry.get("colormap") == name:
                return known
        key = self._put(rows, False, [], [])
        self.table[key]["colormap"] = name
        return key

    def buffer(self) -> bytes:
        """Join the arrays.

        Returns:
            The bytes that travel to the browser.
        """
        return b"".join(self._parts)


def unpack(table: dict[str, dict], buffer: bytes, name: str) -> np.ndarray:
    """Read an array back as the browser reads it.

    Arguments:
        table: the ``arrays`` entry of a scene's spec.
        buffer: the scene's buffer.
        name: the array's name in the table.

    Returns:
        Positions in data units, uint8 and float32 as stored.
    """
    entry = table[name]
    dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    count = int(np.prod(entry["shape"]))
    array = np.frombuffer(buffer, dtype, count, entry["offset"]).reshape(entry["shape"])
    if entry["dtype"] == "uint16":
        lo, hi = np.array(entry["lo"]), np.array(entry["hi"])
        return lo + array * ((hi - lo) / 65535)
    return array

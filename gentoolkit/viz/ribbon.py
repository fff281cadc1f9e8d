"""The layer of flows: lines with a head, whose widths can move, alone or side by side."""

import math
from typing import Any, Self

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.strokes import StrokePanel
from gentoolkit.viz.style import opacity

THINNEST = 0.4
"""Pixels below which a ribbon is not drawn."""
_PEN, _APART = 2.0, 1.0
_DASH = (9.0, 5.0)


class RibbonPanel(StrokePanel):
    """The part of ``Panel`` that draws flows."""

    def ribbons(
        self,
        xy: object,
        widths: object,
        *,
        color: str = colors.PUSH,
        dash: bool = False,
        alpha: float = 0.9,
        beside: bool = True,
    ) -> Self:
        """Draw flows along polylines: as wide as they are strong, with a head where they lead.

        Two flows that run along one line in opposite directions lie side by side, each on the
        right of its way, with a half head: equal flows mirror each other.

        Arguments:
            xy: (P, V, 2) vertices of P polylines, each in the direction of its flow.
            widths: (P,) widths in pixels, still or moving; below half a pixel none is drawn.
            color: the colour of all.
            dash: dashed, the sign of ``pull``.
            alpha: opacity in (0, 1].
            beside: on the right of the line, with a half head; otherwise along it.

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, negative widths, not finite, or a style out of its range.
        """
        lines = self._pairs(xy, "ribbons", 3)
        wide = as_array(widths, "the ribbons' widths", ndim=(1, 2))
        moving = self._moving(wide, 1, "the ribbons' widths")
        if wide.shape[-1] != lines.shape[-3] or wide.min() < 0 or lines.shape[-2] < 2:
            raise ValueError(
                f"The widths do not fit the ribbons: got shape {wide.shape}, lowest "
                f"{wide.min():g}, for lines of shape {lines.shape}. Pass one width of at least 0 "
                "for each line of two vertices or more."
            )
        colors.rgb(color)
        layer: dict[str, Any] = {"kind": "ribbons", "xy": self._positions(lines, 3)}
        layer |= {"widths": self._pack.floats(wide, moving), "color": color, "dash": bool(dash)}
        return self._add(layer | {"alpha": opacity(alpha), "beside": bool(beside)})


def strands(line: np.ndarray, width: float, dash: bool, beside: bool) -> list[np.ndarray]:
    """Fill one ribbon with thin strokes, for a surface that knows no polygons.

    Arguments:
        line: (V, 2) pixels, y downward, in the direction of the flow.
        width: in pixels.
        dash: leave gaps across the shaft.
        beside: on the right of the line, with a half head.

    Returns:
        Polylines for a pen of ``pen(width)`` pixels.
    """
    if width < THINNEST:
        return []
    barb = 4.0 + 0.25 * width
    head = min(6.0 + 0.8 * width, 0.6 * _length(line))
    shaft = _cut(line, _length(line) - head)
    low, high = (_APART, _APART + width) if beside else (-0.5 * width, 0.5 * width)
    half = 0.5 * pen(width)
    tracks = _steps(low + half, high - half)
    found = [_aside(shaft, away) for away in tracks]
    if dash:
        found = [piece for track in found for piece in _dashes(track, _DASH[0] - 2 * half)]
    tip = _aside(line[-2:], low if beside else 0.0)[-1]
    across = _steps(low if beside else low - barb, high + barb)
    return found + [np.stack([_aside(shaft[-2:], away)[-1], tip]) for away in across]


def pen(width: float) -> float:
    """Return the pen for a ribbon: thinner ones need a finer pen."""
    return min(_PEN, width)


def _steps(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, max(1, math.ceil((high - low) / (0.5 * _PEN)) + 1))


def _length(line: np.ndarray) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _cut(line: np.ndarray, length: float) -> np.ndarray:
    """Keep the first pixels of a polyline."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    inner = line[along < length - 1e-9]
    end = [np.interp(length, along, line[:, k]) for k in range(2)]
    return np.concatenate([inner, [end]])


def _aside(line: np.ndarray, away: float) -> np.ndarray:
    """Move a polyline to the right of its direction, y downward."""
    run = np.gradient(line, axis=0)
    run = run / np.maximum(np.hypot(run[:, 0], run[:, 1]), 1e-9)[:, None]
    return line + away * np.stack([-run[:, 1], run[:, 0]], axis=1)


def _dashes(line: np.ndarray, mark: float) -> list[np.ndarray]:
    """Cut a polyline into marks, with gaps that leave room for a round pen."""
    total = _length(line)
    rests = [_cut(line[::-1], total - start)[::-1] for start in np.arange(0.0, total, sum(_DASH))]
    return [_cut(rest, min(mark, _length(rest))) for rest in rests]

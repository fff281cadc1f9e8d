"""Ribbons filled with thin strokes, for a surface that knows no polygons."""

import math

import numpy as np

from gentoolkit.viz.panel import THINNEST

_PEN, _APART = 2.0, 1.0
_DASH = (9.0, 5.0)


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

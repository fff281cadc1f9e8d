"""Where the panels of a scene lie on its poster: rows, margins, ticks. Sizes are in pixels."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gentoolkit.viz import font

_GAP, _MARGIN, _TEXT = 18, 12, 14
_WIDTHS = {1: 430, 2: 760, 3: 880}
"""Width of the poster for the number of panels in a row."""


@dataclass(frozen=True)
class Place:
    """A panel's plot area, the margin to its left, and the room for its title."""

    panel: dict[str, Any]
    left: int
    top: int
    width: int
    height: int
    margin: float
    room: float

    def pixels(self, xy: np.ndarray) -> np.ndarray:
        """Map coordinates of the panel to the poster.

        Arguments:
            xy: (..., 2) coordinates.

        Returns:
            (..., 2) pixels, y downward.
        """
        (x0, x1), (y0, y1) = self.panel["x"], self.panel["y"]
        across = self.left + (xy[..., 0] - x0) / (x1 - x0) * self.width
        down = self.top + (y1 - xy[..., 1]) / (y1 - y0) * self.height
        return np.stack([across, down], axis=-1)

    def x_ticks(self) -> list[tuple[float, str]]:
        """Choose the ticks of the horizontal axis.

        Returns:
            Values, each with its label.
        """
        low, high = self.panel["x"]
        return ticks(low, high, self.width / 70)

    def y_ticks(self) -> list[tuple[float, str]]:
        """Choose the ticks of the vertical axis.

        Returns:
            Values, each with its label.
        """
        low, high = self.panel["y"]
        return ticks(low, high, 5)


def ticks(low: float, high: float, count: float) -> list[tuple[float, str]]:
    """Choose round tick values, 1, 2 or 5 times a power of ten.

    Arguments:
        low: start of the axis.
        high: end of the axis.
        count: about how many are wanted.

    Returns:
        Values inside of the axis, each with its label.
    """
    raw = (high - low) / max(1.0, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = min(6, max(0, -math.floor(math.log10(step) + 1e-9)))
    found = []
    for k in range(first, last + 1):
        value = k * step
        text = f"{value:.0e}" if abs(value) >= 1e5 else f"{value:.{digits}f}"
        found.append((value, text.replace("-", "\u2212")))
    return found


def _left_margin(panel: dict[str, Any]) -> int:
    if not panel["axes"]:
        return 1
    low, high = panel["y"]
    widest = max((font.text_width(text, _TEXT) for _, text in ticks(low, high, 5)), default=0)
    return math.ceil(widest) + 12 + (24 if panel["y_label"] else 0)


def layout(panels: list[dict[str, Any]]) -> tuple[list[Place], int, int]:
    """Put the panels in rows of about equal length, three in a row at most.

    Arguments:
        panels: the ``panels`` entry of a scene's spec.

    Returns:
        The places, and width and height of the poster.
    """
    per_row = math.ceil(len(panels) / math.ceil(len(panels) / 3))
    total = _WIDTHS[per_row]
    if per_row == 1:  # a wide strip
        total = round(total * min(1.75, max(panel["weight"] for panel in panels)))
    places: list[Place] = []
    top = _MARGIN
    for start in range(0, len(panels), per_row):
        row, top = _row(panels[start : start + per_row], total, per_row, top)
        places += row
    return places, total, top


def _row(
    panels: list[dict[str, Any]], total: int, per_row: int, top: int
) -> tuple[list[Place], int]:
    """Place one row; its plot areas share their top. Returns them and where the next row starts."""
    free = total - 2 * _MARGIN - _GAP * (per_row - 1)
    weights = sum(panel["weight"] for panel in panels) * per_row / len(panels)
    top += 26 if any(panel["title"] for panel in panels) else 0
    labelled = any(panel["axes"] and panel["x_label"] for panel in panels)
    bottom = 28 + (20 if labelled else 0) if any(panel["axes"] for panel in panels) else 4
    margins = [_left_margin(panel) for panel in panels]
    widths = [
        free * panel["weight"] / weights - margin - 10
        for panel, margin in zip(panels, margins, strict=True)
    ]
    naturals = [
        width * (panel["y"][1] - panel["y"][0]) / (panel["x"][1] - panel["x"][0])
        for panel, width in zip(panels, widths, strict=True)
    ]
    equal = [n for panel, n in zip(panels, naturals, strict=True) if panel["equal"]]
    # Panels of nearly the same height get the same one.
    alike = [n for n in equal if n >= 0.75 * max(equal)]
    height = min(min(alike, default=widths[0] / 1.6), 560.0)
    places, pen = [], float(_MARGIN)
    for panel, width, natural, margin in zip(panels, widths, naturals, margins, strict=True):
        tall = min(height, natural) if panel["equal"] else height
        # A tall panel whose height was cut keeps its unit lengths and gives up width.
        wide = width * tall / natural if panel["equal"] else width
        sizes = (round(pen + margin), top, round(wide), round(tall))
        places.append(Place(panel, *sizes, margin=margin, room=width + 10))
        pen += margin + width + 10 + _GAP
    return places, math.ceil(top + height + bottom + _MARGIN)

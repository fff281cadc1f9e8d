"""Layers made of lines: polylines, trails, arrows, curves, accounts."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Pack, Range, as_array
from gentoolkit.viz.style import positive, stroke


class StrokePanel:
    """The half of ``Panel`` that draws lines, and the checks that both halves share."""

    def __init__(self, spec: dict[str, Any], pack: Pack, frames: int) -> None:
        self._spec = spec
        self._pack = pack
        self._frames = frames
        self._x: Range = (spec["x"][0], spec["x"][1])
        self._y: Range = (spec["y"][0], spec["y"][1])

    def lines(
        self,
        xy: object,
        *,
        color: str = colors.PUSH,
        width: float = 1.5,
        dash: bool = False,
        alpha: float = 1.0,
    ) -> Self:
        """Draw polylines, such as a grid that a map bends.

        Arguments:
            xy: (P, V, 2) vertices of P polylines.
            color: line colour.
            width: line width in pixels.
            dash: dashed, the sign of ``pull``.
            alpha: opacity in (0, 1].

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, not finite, or a style out of its range.
        """
        vertices = self._positions(self._pairs(xy, "lines", 3), 3)
        return self._add({"kind": "lines", "xy": vertices} | stroke(color, width, dash, alpha))

    def trails(
        self,
        xy: object,
        *,
        color: str = colors.PUSH,
        width: float = 1.5,
        dash: bool = False,
        alpha: float = 0.5,
        length: int | None = None,
    ) -> Self:
        """Draw the path of each particle up to the current frame.

        Arguments:
            xy: (F, N, 2) positions.
            color: line colour.
            width: line width in pixels.
            dash: dashed, the sign of ``pull``.
            alpha: opacity in (0, 1].
            length: frames kept of each path; None keeps all.

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, not finite, or a style out of its range.
        """
        points = self._pairs(xy, "trails", 2)
        if points.ndim != 3:
            raise ValueError(
                f"Trails do not move: got shape {points.shape}. Pass (frames, N, 2) positions."
            )
        layer: dict[str, Any] = {"kind": "trails", "xy": self._positions(points, 2)}
        layer["length"] = self._frames if length is None else int(positive(length, "length"))
        return self._add(layer | stroke(color, width, dash, alpha))

    def arrows(
        self,
        xy: object,
        vectors: object,
        *,
        color: str = colors.NEUTRAL,
        width: float = 1.5,
        alpha: float = 1.0,
    ) -> Self:
        """Draw arrows, such as a velocity field.

        Arguments:
            xy: (N, 2) tails.
            vectors: (N, 2) displacements in the units of the axes.
            color: line colour.
            width: line width in pixels.
            alpha: opacity in (0, 1].

        Returns:
            This panel.

        Raises:
            ValueError: wrong or different shapes, not finite, or a style out of its range.
        """
        tails = self._pairs(xy, "arrows", 2)
        moves = self._pairs(vectors, "vectors", 2)
        if tails.shape[-2] != moves.shape[-2]:
            raise ValueError(
                f"Each arrow needs one vector: got {tails.shape} tails and {moves.shape} vectors. "
                "Pass as many vectors as tails."
            )
        heads = self._positions(tails + moves, 2)
        layer: dict[str, Any] = {"kind": "arrows", "xy": self._positions(tails, 2), "heads": heads}
        return self._add(layer | stroke(color, width, False, alpha))

    def curve(
        self,
        x: object,
        y: object,
        *,
        color: str = colors.PUSH,
        width: float = 2.0,
        dash: bool = False,
        marker: bool = True,
    ) -> Self:
        """Draw a still curve with one vertex per frame and a marker that runs along it.

        Arguments:
            x: (F,) horizontal coordinates; any number of vertices if ``marker`` is False.
            y: (F,) vertical coordinates.
            color: line colour.
            width: line width in pixels.
            dash: dashed, the sign of ``pull``.
            marker: draw the part not yet reached pale, and a dot at the current frame.

        Returns:
            This panel.

        Raises:
            ValueError: different lengths, not one vertex per frame, or not finite.
        """
        across, up = as_array(x, "x", ndim=(1,)), as_array(y, "y", ndim=(1,))
        expected = self._frames if marker else len(across)
        if not len(across) == len(up) == expected:
            raise ValueError(
                f"The curve does not fit: got {len(across)} x and {len(up)} y for {expected} "
                "vertices. Pass one x and one y per frame, or marker=False."
            )
        xy = self._positions(np.stack([across, up], axis=1), 2)
        layer: dict[str, Any] = {"kind": "curve", "xy": xy, "marker": bool(marker)}
        return self._add(layer | stroke(color, width, dash, 1.0))

    def accounts(
        self,
        x: object,
        y: object,
        *,
        name: str = "log-density",
        color: str = colors.PUSH,
        width: float = 2.5,
        others: int = 60,
    ) -> Self:
        """Draw the running number of the selected particle, with a marker at the current frame.

        A click on a particle of a moving ``points`` layer in the same scene selects it, and so do
        the keys [ and ] or two buttons; until then particle 0 is selected. The number is written
        under the picture. The poster shows particle 0.

        Arguments:
            x: (F,) horizontal coordinate of each frame.
            y: (F, N) number of each particle at each frame.
            name: what the number is, as it is written under the picture.
            color: line colour of the selected particle.
            width: its line width in pixels.
            others: how many of the N curves are drawn faint behind it; 0 for none.

        Returns:
            This panel.

        Raises:
            ValueError: not one x and one row of y per frame, not finite, a negative ``others``, or
                a style out of its range.
        """
        across, tall = as_array(x, "x", ndim=(1,)), as_array(y, "y", ndim=(2,))
        if not len(across) == len(tall) == self._frames:
            raise ValueError(
                f"The accounts do not fit the frames: got {len(across)} x and {len(tall)} rows of "
                f"y for a scene of {self._frames}. Pass x of shape (frames,), y of (frames, N)."
            )
        if others != int(others) or others < 0:
            raise ValueError(
                f"others is not a number of curves: got {others}. Pass a whole number from 0 on."
            )
        count = tall.shape[1]
        if others:
            picks = np.unique(np.linspace(0, count - 1, min(int(others), count)).astype(int))
            beside = np.broadcast_to(across, (len(picks), self._frames))
            faint = np.stack([beside, tall[:, picks].T], axis=2)
            self.lines(faint, color=colors.NEUTRAL, width=1.0, alpha=0.22)
        layer: dict[str, Any] = {"kind": "accounts", "name": str(name)}
        # float32 and not uint16: the number is also read out, wherever it lies.
        layer |= {"x": self._pack.floats(across, False), "y": self._pack.floats(tall.T, False)}
        return self._add(layer | stroke(color, width, False, 1.0))

    def probe(
        self,
        field: object,
        *,
        start: Sequence[float],
        name: str = "estimate",
    ) -> Self:
        """Add a handle that the reader drags, and a ring at the place that a field gives for it.

        The browser interpolates the field between its grid points, so no kernel is asked. The
        handle also takes the focus and moves with the arrow keys; the numbers are written under
        the picture. One scene has one handle, which all panels with a probe share.

        Arguments:
            field: (H, W, 2) places on a grid from edge to edge of the panel, row 0 at the lower
                edge, still or moving.
            start: where the handle is at first.
            name: what the ring shows, as it is written under the picture.

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, fewer than two rows or columns, or not finite.
        """
        places = self._pairs(field, "the probe's field", 3)
        if min(places.shape[-3:-1]) < 2:
            raise ValueError(
                f"The probe's field has no cells: got shape {places.shape}. "
                "Pass two rows and two columns or more."
            )
        at = as_array(start, "the probe's start", ndim=(1,))
        if at.shape != (2,):
            raise ValueError(f"The probe starts nowhere: got shape {at.shape}. Pass (x, y).")
        inside = np.clip(at, (self._x[0], self._y[0]), (self._x[1], self._y[1]))
        layer = {"kind": "probe", "field": self._positions(places, 3), "name": str(name)}
        return self._add(layer | {"start": inside.tolist()})

    def _crosses(self, crossed: object, count: int) -> str:
        marks = np.asarray(crossed)
        if marks.dtype != bool or marks.shape != (count,):
            raise ValueError(
                f"The crosses do not fit: got {marks.dtype} of shape {marks.shape} for {count} "
                f"points. Pass booleans of shape ({count},)."
            )
        return self._pack.shades(marks.astype(float), (0.0, 255.0), False)

    def _ghosts(self, ghosts: object, points: np.ndarray) -> str:
        places = self._pairs(ghosts, "ghosts", 2)
        if places.shape != points.shape:
            raise ValueError(
                f"Each point needs one ghost: got shape {places.shape} for points {points.shape}. "
                "Pass as many ghosts as points, in as many frames."
            )
        return self._positions(places, 2)

    def _add(self, layer: dict[str, Any]) -> Self:
        self._spec["layers"].append(layer)
        return self

    def _moving(self, array: np.ndarray, still: int, name: str) -> bool:
        if array.ndim == still:
            return False
        if len(array) != self._frames:
            raise ValueError(
                f"{name} does not fit the frames: got {len(array)} frames for a scene of "
                f"{self._frames}. Pass one array per frame, or a still array of {still} dimensions."
            )
        return True

    def _pairs(self, xy: object, name: str, still: int) -> np.ndarray:
        array = as_array(xy, name, ndim=(still, still + 1))
        if array.shape[-1] != 2:
            raise ValueError(
                f"{name} are not in the plane: got shape {array.shape}. "
                "Pass coordinates whose last axis has length 2."
            )
        self._moving(array, still, name)
        return array

    def _positions(self, xy: np.ndarray, still: int) -> str:
        return self._pack.positions(xy, self._x, self._y, xy.ndim > still)

"""One coordinate system of a scene, and the layers that can be drawn in it."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Pack, Range, as_array, as_range, at_least, positive

INK = "#1F2933"
"""The colour of words, and of lines that are as plain as words."""
GREY = "#A7AFB7"
"""The colour of what stands behind."""
THINNEST = 0.4
"""Pixels below which a ribbon is not drawn."""

Limits = Sequence[float] | None


class Panel:
    """One coordinate system of a scene; every method adds a layer and returns the panel.

    Made by ``Scene.panel``; ``x`` and ``y`` are its ranges. An array is either *still* (drawn in
    each frame) or *moving*: the same with one more axis in front, whose length is the scene's
    number of frames. Shapes below are those of still arrays. F frames,
    N points, P polylines, V vertices, E edges.

    All layers take the same words: ``color`` is ``#RRGGBB``; ``size`` (a diameter) and ``width``
    are in pixels, above 0; ``alpha`` is an opacity in (0, 1]; ``dash`` means dashed, the sign of
    ``pull``. Where ``values`` are coloured, ``colormap`` is one of ``colors.COLORMAPS`` and
    ``limits`` are the values of its two ends, the extremes of ``values`` if None. Every method
    raises a ValueError for a wrong shape, numbers that are not finite, or a style out of its range.
    """

    def __init__(self, spec: dict[str, Any], pack: Pack, frames: int) -> None:
        self._spec = spec
        self._pack = pack
        self._frames = frames
        self.x: Range = (spec["x"][0], spec["x"][1])
        self.y: Range = (spec["y"][0], spec["y"][1])

    def points(
        self,
        xy: object,
        *,
        color: str = colors.PUSH,
        size: float = 5.0,
        alpha: float = 0.6,
        values: object = None,
        limits: Limits = None,
        colormap: str = "viridis",
        crossed: object = None,
        ghosts: object = None,
    ) -> Self:
        """Draw particles as discs; a click on one shows its path when they move.

        Arguments:
            xy: (N, 2) positions.
            color: of all discs, unless ``values`` is given.
            values: (N,) numbers that colour each disc, still or moving; labels for ``classes``.
            crossed: (N,) true for particles drawn as crosses in ``colors.WRONG``; in every frame.
            ghosts: (N, 2) a second place of each, such as where it is expected to end: a dashed
                line leads from the selected one to a ring there.
        """
        points = self._plane(xy, "points", "N")
        layer: dict[str, Any] = {"kind": "points", "xy": self._positions(points, 2)}
        layer |= {"color": _color(color), "size": positive(size, "size"), "alpha": _alpha(alpha)}
        layer |= self._shading(values, points.shape[-2], limits, colormap)
        if crossed is not None:
            marks = np.asarray(crossed)
            if marks.dtype != bool or marks.shape != points.shape[-2:-1]:
                raise ValueError(
                    f"crossed must be one boolean per point; got {marks.dtype} of shape "
                    f"{marks.shape}; pass booleans of shape ({points.shape[-2]},)"
                )
            layer["crossed"] = self._pack.shades(marks.astype(float), (0.0, 255.0), False)
        if ghosts is not None:
            places = as_array(ghosts, "ghosts, one per point and frame,", points.shape)
            layer["ghosts"] = self._positions(places, 2)
        return self._add(layer)

    def heat(
        self,
        values: object,
        *,
        limits: Limits = None,
        colormap: str = "viridis",
        alpha: float = 1.0,
    ) -> Self:
        """Fill the panel with a heat map; row 0 lies at the lower edge, column 0 at the left.

        Arguments:
            values: (H, W) numbers at the cell centres of a regular grid over the panel's range.
        """
        grid = as_array(values, "heat", ("H", "W"), frames=self._frames)
        shades = self._pack.shades(grid, _limits(grid, limits), grid.ndim > 2)
        layer = {"kind": "heat", "values": shades, "colormap": self._pack.colormap(colormap)}
        return self._add(layer | {"alpha": _alpha(alpha)})

    def images(
        self,
        values: object,
        *,
        limits: Sequence[float] = (0.0, 1.0),
        colormap: str = "greys",
        gap: float = 0.0,
    ) -> Self:
        """Lay small images out in a grid of unit cells, from the upper left, row by row.

        Arguments:
            values: (N, H, W) pixels, row 0 at the top; use ``Scene.image_panel`` for the grid.
            gap: room for words below each row, as a share of a cell from 0 to 1.
        """
        pixels = as_array(values, "images", ("N", "H", "W"), frames=self._frames)
        room = float(as_array(gap, "gap", (), low=0, high=1))
        shades = self._pack.shades(pixels, as_range(limits, "limits"), pixels.ndim > 3)
        layer = {"kind": "images", "values": shades, "colormap": self._pack.colormap(colormap)}
        return self._add(layer | {"gap": room})

    def lines(
        self,
        xy: object,
        *,
        color: str = colors.PUSH,
        width: float = 1.5,
        dash: bool = False,
        alpha: float = 1.0,
    ) -> Self:
        """Draw polylines (P, V, 2), such as a grid that a map bends."""
        vertices = self._positions(self._plane(xy, "lines", "P", "V"), 3)
        return self._add({"kind": "lines", "xy": vertices} | _stroke(color, width, dash, alpha))

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
            length: frames kept of each path; None keeps all.
        """
        points = as_array(xy, "trails", (self._frames, "N", 2))
        layer: dict[str, Any] = {"kind": "trails", "xy": self._positions(points, 2)}
        layer["length"] = self._frames if length is None else at_least(length, "length", 1)
        return self._add(layer | _stroke(color, width, dash, alpha))

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
        """
        tails = self._plane(xy, "arrows", "N")
        moves = self._plane(vectors, "vectors, one per arrow,", tails.shape[-2])
        heads = self._positions(tails + moves, 2)
        layer: dict[str, Any] = {"kind": "arrows", "xy": self._positions(tails, 2), "heads": heads}
        return self._add(layer | _stroke(color, width, False, alpha))

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
            widths: (P,) widths in pixels, still or moving; below ``THINNEST`` none is drawn.
            beside: on the right of the line, with a half head; otherwise along it.
        """
        lines = self._plane(xy, "ribbons", "P", "V")
        if lines.shape[-2] < 2:
            raise ValueError(
                f"ribbons must have two vertices or more; got shape {lines.shape}; pass their ends"
            )
        wide = self._widths(widths, "widths of ribbons", lines.shape[-3])
        layer: dict[str, Any] = {"kind": "ribbons", "xy": self._positions(lines, 3)}
        layer |= {"widths": self._pack.floats(wide, wide.ndim > 1), "color": _color(color)}
        return self._add(
            layer | {"dash": bool(dash), "alpha": _alpha(alpha), "beside": bool(beside)}
        )

    def graph(
        self,
        nodes: object,
        edges: object,
        *,
        widths: object = 1.5,
        color: str = colors.NEUTRAL,
        size: float = 14.0,
        values: object = None,
        limits: Limits = None,
        colormap: str = "viridis",
    ) -> Self:
        """Draw nodes joined by edges whose widths can move (a flow through states).

        Arguments:
            nodes: (N, 2) positions.
            edges: (E, 2) indices of the joined nodes.
            widths: (E,) widths in pixels, still or moving, or one number; 0 hides an edge.
            color: of edges, and of nodes unless ``values`` is given.
            values: (N,) numbers that colour the nodes, still or moving.
        """
        places = self._plane(nodes, "nodes", "N")
        count = places.shape[-2]
        joined = as_array(edges, "edges between nodes", ("E", 2), low=0, high=count - 1, whole=True)
        thick = [widths] * len(joined) if isinstance(widths, int | float) else widths
        wide = self._widths(thick, "widths of edges", len(joined))
        layer: dict[str, Any] = {"kind": "graph", "xy": self._positions(places, 2)}
        layer |= {"color": _color(color), "edges": joined.astype(int).tolist()}
        layer |= {"size": positive(size, "size"), "widths": self._pack.floats(wide, wide.ndim > 1)}
        return self._add(layer | self._shading(values, count, limits, colormap))

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
            marker: draw the part not yet reached pale, and a dot at the current frame.
        """
        across = as_array(x, "x of the curve", (self._frames if marker else "V",))
        up = as_array(y, "y of the curve", across.shape)
        xy = self._positions(np.stack([across, up], axis=1), 2)
        layer: dict[str, Any] = {"kind": "curve", "xy": xy, "marker": bool(marker)}
        return self._add(layer | _stroke(color, width, dash, 1.0))

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
            others: how many of the N curves are drawn faint behind it; 0 for none.
        """
        across = as_array(x, "x of the accounts", (self._frames,))
        tall = as_array(y, "y of the accounts", (self._frames, "N"))
        count = tall.shape[1]
        if at_least(others, "others", 0):
            picks = np.unique(np.linspace(0, count - 1, min(int(others), count)).astype(int))
            beside = np.broadcast_to(across, (len(picks), self._frames))
            faint = np.stack([beside, tall[:, picks].T], axis=2)
            self.lines(faint, color=colors.NEUTRAL, width=1.0, alpha=0.22)
        layer: dict[str, Any] = {"kind": "accounts", "name": str(name)}
        # float32 and not uint16: the number is also read out, wherever it lies.
        layer["x"] = self._pack.floats(across, False, self.x)
        layer["y"] = self._pack.floats(tall.T, False, self.y)
        return self._add(layer | _stroke(color, width, False, 1.0))

    def bars(
        self,
        heights: object,
        *,
        positions: object = None,
        width: float = 0.8,
        color: str = colors.PUSH,
        alpha: float = 0.85,
    ) -> Self:
        """Draw bars from zero.

        Arguments:
            heights: (N,) signed heights in the units of the vertical axis.
            positions: (N,) centres on the horizontal axis; 0, 1, ..., N-1 if None.
            width: bar width in the units of the horizontal axis.
        """
        tall = as_array(heights, "heights of bars", ("N",), frames=self._frames)
        count = tall.shape[-1]
        centres = np.arange(float(count)) if positions is None else positions
        at = as_array(centres, "positions of bars", (count,))
        layer: dict[str, Any] = {"kind": "bars", "heights": self._pack.floats(tall, tall.ndim > 1)}
        layer["positions"] = self._pack.floats(at, False, self.x)
        layer["width"] = positive(width, "width")
        return self._add(layer | {"color": _color(color), "alpha": _alpha(alpha)})

    def text(
        self,
        x: float,
        y: float,
        words: str | Sequence[str],
        *,
        color: str = INK,
        size: float = 14.0,
        anchor: str = "center",
    ) -> Self:
        """Write words at a place.

        Arguments:
            x: horizontal coordinate.
            y: vertical coordinate of the line's middle.
            words: one text, or one per frame.
            size: height in pixels, at least 14.
            anchor: ``left``, ``center`` or ``right``: the part of the text that lies at x.
        """
        texts = [words] if isinstance(words, str) else [str(word) for word in words]
        if not isinstance(words, str) and len(texts) != self._frames:
            raise ValueError(
                f"words must be one text or one per frame; got {len(texts)} texts for "
                f"{self._frames} frames; pass a string for a text that stays"
            )
        if size < 14 or anchor not in ("left", "center", "right"):
            raise ValueError(
                "words must have a readable style; got "
                f"size {size} and anchor {anchor!r}; pass a size of at least 14 and the anchor "
                "left, center or right"
            )
        place = self._positions(as_array([[x, y]], "the text's place"), 2)
        layer: dict[str, Any] = {"kind": "text", "xy": place, "texts": texts}
        return self._add(layer | {"color": _color(color), "size": float(size), "anchor": anchor})

    def probe(self, field: object, *, start: Sequence[float], name: str = "estimate") -> Self:
        """Add a handle that the reader drags, and a ring at the place that a field gives for it.

        The browser interpolates the field between its grid points, so no kernel is asked. The
        handle also takes the focus and moves with the arrow keys; the numbers are written under
        the picture. One scene has one handle, which all panels with a probe share.

        Arguments:
            field: (H, W, 2) places on a grid from edge to edge of the panel, row 0 at the lower
                edge, still or moving; H and W are at least 2.
            start: where the handle is at first.
            name: what the ring shows, as it is written under the picture.
        """
        places = self._plane(field, "the probe's field", "H", "W")
        if min(places.shape[-3:-1]) < 2:
            raise ValueError(
                f"the probe's field must have cells; got shape {places.shape}; pass two rows and "
                "two columns or more"
            )
        at = as_array(start, "the probe's start", (2,))
        inside = np.clip(at, (self.x[0], self.y[0]), (self.x[1], self.y[1]))
        layer = {"kind": "probe", "field": self._positions(places, 3), "name": str(name)}
        return self._add(layer | {"start": inside.tolist()})

    def colormap(self, name: str) -> str:
        """Store a colour map for a drawing module of one's own; return the name of its array."""
        return self._pack.colormap(name)

    @property
    def nowhere(self) -> np.ndarray:
        """(2,) a place outside of the picture, for what is not to be seen in a frame."""
        return np.array([2 * high - low for low, high in (self.x, self.y)])

    def _add(self, layer: dict[str, Any]) -> Self:
        self._spec["layers"].append(layer)
        return self

    def _plane(self, xy: object, name: str, *axes: int | str) -> np.ndarray:
        return as_array(xy, name, (*axes, 2), frames=self._frames)

    def _positions(self, xy: np.ndarray, still: int) -> str:
        return self._pack.positions(xy, self.x, self.y, xy.ndim > still)

    def _widths(self, widths: object, name: str, count: int) -> np.ndarray:
        return as_array(widths, name, (count,), frames=self._frames, low=0)

    def _shading(self, values: object, count: int, limits: Limits, colormap: str) -> dict[str, str]:
        if values is None:
            return {}
        array = as_array(values, "values, one per point,", (count,), frames=self._frames)
        bounds = (0.0, 255.0) if colormap == "classes" else _limits(array, limits)
        key = self._pack.colormap(colormap)
        return {"values": self._pack.shades(array, bounds, array.ndim > 1), "colormap": key}


def _limits(values: np.ndarray, limits: Limits) -> Range:
    if limits is not None:
        return as_range(limits, "limits")
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)  # one flat colour, mid-scale


def _color(color: str) -> str:
    colors.rgb(color)
    return color


def _alpha(alpha: float) -> float:
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be an opacity; got {alpha}; pass 0 < alpha <= 1")
    return float(alpha)


def _stroke(color: str, width: float, dash: bool, alpha: float) -> dict[str, Any]:
    style = {"color": _color(color), "width": positive(width, "width")}
    return style | {"dash": bool(dash), "alpha": _alpha(alpha)}

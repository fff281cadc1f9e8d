"""One coordinate system of a scene, and the layers that can be drawn in it."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array, as_range
from gentoolkit.viz.ribbon import RibbonPanel
from gentoolkit.viz.style import limits as color_limits
from gentoolkit.viz.style import opacity, positive


class Panel(RibbonPanel):
    """One coordinate system of a scene; every method adds a layer and returns the panel.

    Made by ``Scene.panel``. An array is either *still* (drawn in each frame) or *moving*: the same
    with one more axis in front, whose length is the scene's number of frames. Shapes below are
    those of still arrays. F frames, N points, P polylines, V vertices, E edges.
    """

    def points(
        self,
        xy: object,
        *,
        color: str = colors.PUSH,
        size: float = 5.0,
        alpha: float = 0.6,
        values: object = None,
        limits: Sequence[float] | None = None,
        colormap: str = "viridis",
        crossed: object = None,
        ghosts: object = None,
    ) -> Self:
        """Draw particles as discs; a click on one shows its path when they move.

        Arguments:
            xy: (N, 2) positions.
            color: the colour of all discs, unless ``values`` is given.
            size: diameter in pixels.
            alpha: opacity in (0, 1].
            values: (N,) numbers that colour each disc, still or moving; labels for ``classes``.
            limits: values of the two ends of the colour map; the extremes of ``values`` if None.
            colormap: one of ``colors.COLORMAPS``.
            crossed: (N,) true for particles drawn as crosses in ``colors.WRONG``; in every frame.
            ghosts: (N, 2) a second place of each, such as where it is expected to end: a dashed
                line leads from the selected one to a ring there.

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, not finite, or a style out of its range.
        """
        points = self._pairs(xy, "points", 2)
        colors.rgb(color)
        layer: dict[str, Any] = {"kind": "points", "xy": self._positions(points, 2), "color": color}
        layer |= {"size": positive(size, "size"), "alpha": opacity(alpha)}
        if values is not None:
            layer |= self._shading(values, points.shape[-2], limits, colormap)
        if crossed is not None:
            layer["crossed"] = self._crosses(crossed, points.shape[-2])
        if ghosts is not None:
            layer["ghosts"] = self._ghosts(ghosts, points)
        return self._add(layer)

    def heat(
        self,
        values: object,
        *,
        limits: Sequence[float] | None = None,
        colormap: str = "viridis",
        alpha: float = 1.0,
    ) -> Self:
        """Fill the panel with a heat map; row 0 lies at the lower edge, column 0 at the left.

        Arguments:
            values: (H, W) numbers at the cell centres of a regular grid over the panel's range.
            limits: values of the two ends of the colour map; the extremes of ``values`` if None.
            colormap: one of ``colors.COLORMAPS``.
            alpha: opacity in (0, 1].

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, not finite, or a style out of its range.
        """
        grid = as_array(values, "heat", ndim=(2, 3))
        moving = self._moving(grid, 2, "heat")
        shades = self._pack.shades(grid, color_limits(grid, limits), moving)
        layer: dict[str, Any] = {
            "kind": "heat",
            "values": shades,
            "colormap": self._pack.colormap(colormap),
        }
        return self._add(layer | {"alpha": opacity(alpha)})

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
            limits: pixel values of the two ends of the colour map.
            colormap: one of ``colors.COLORMAPS``; ``greys`` shows ink on white.
            gap: room for words below each row, as a share of a cell.

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, not finite, or a gap out of [0, 1].
        """
        if not 0 <= gap <= 1:
            raise ValueError(f"The gap is out of range: got {gap}. Pass 0 <= gap <= 1.")
        pixels = as_array(values, "images", ndim=(3, 4))
        moving = self._moving(pixels, 3, "images")
        shades = self._pack.shades(pixels, as_range(limits, "limits"), moving)
        layer = {"kind": "images", "values": shades, "colormap": self._pack.colormap(colormap)}
        return self._add(layer | {"gap": float(gap)})

    def graph(
        self,
        nodes: object,
        edges: object,
        *,
        widths: object = 1.5,
        color: str = colors.NEUTRAL,
        size: float = 14.0,
        values: object = None,
        limits: Sequence[float] | None = None,
        colormap: str = "viridis",
    ) -> Self:
        """Draw nodes joined by edges whose widths can move (a flow through states).

        Arguments:
            nodes: (N, 2) positions.
            edges: (E, 2) indices of the joined nodes.
            widths: (E,) widths in pixels, still or moving, or one number; 0 hides an edge.
            color: the colour of edges, and of nodes unless ``values`` is given.
            size: node diameter in pixels.
            values: (N,) numbers that colour the nodes, still or moving.
            limits: values of the two ends of the colour map; the extremes of ``values`` if None.
            colormap: one of ``colors.COLORMAPS``.

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, unknown nodes, negative widths, or not finite.
        """
        places = self._pairs(nodes, "nodes", 2)
        joined = as_array(edges, "edges", ndim=(2,))
        count = places.shape[-2]
        whole = joined.shape[1] == 2 and bool((joined == joined.round()).all())
        if not whole or joined.min() < 0 or joined.max() >= count:
            raise ValueError(
                f"Edges do not name pairs of nodes: got shape {joined.shape} with values from "
                f"{joined.min():g} to {joined.max():g}. "
                f"Pass (E, 2) whole numbers from 0 to {count - 1}."
            )
        thick = as_array(widths, "widths", ndim=(0, 1, 2))
        thick = np.full(len(joined), float(thick)) if thick.ndim == 0 else thick
        moving = self._moving(thick, 1, "widths")
        if thick.shape[-1] != len(joined) or thick.min() < 0:
            raise ValueError(
                f"Widths do not fit the edges: got shape {thick.shape}, lowest {thick.min():g}. "
                f"Pass {len(joined)} widths of at least 0."
            )
        colors.rgb(color)
        layer: dict[str, Any] = {"kind": "graph", "xy": self._positions(places, 2), "color": color}
        layer |= {"edges": joined.astype(int).tolist(), "size": positive(size, "size")}
        layer["widths"] = self._pack.floats(thick, moving)
        if values is not None:
            layer |= self._shading(values, count, limits, colormap)
        return self._add(layer)

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
            color: fill colour.
            alpha: opacity in (0, 1].

        Returns:
            This panel.

        Raises:
            ValueError: wrong shapes, not finite, or a style out of its range.
        """
        tall = as_array(heights, "bars", ndim=(1, 2))
        moving = self._moving(tall, 1, "bars")
        count = tall.shape[-1]
        centres = np.arange(count) if positions is None else as_array(positions, "positions", (1,))
        if len(centres) != count:
            raise ValueError(
                f"Each bar needs one position: got {count} bars and {len(centres)} positions. "
                "Pass as many positions as bars."
            )
        layer: dict[str, Any] = {"kind": "bars", "heights": self._pack.floats(tall, moving)}
        layer |= {"positions": self._pack.floats(np.asarray(centres, dtype=float), False)}
        layer |= {"width": positive(width, "width"), "color": color, "alpha": opacity(alpha)}
        colors.rgb(color)
        return self._add(layer)

    def text(
        self,
        x: float,
        y: float,
        words: str | Sequence[str],
        *,
        color: str = "#1F2933",
        size: float = 14.0,
        anchor: str = "center",
    ) -> Self:
        """Write words at a place.

        Arguments:
            x: horizontal coordinate.
            y: vertical coordinate of the line's middle.
            words: one text, or one per frame.
            color: text colour.
            size: height in pixels, at least 14.
            anchor: ``left``, ``center`` or ``right``: the part of the text that lies at x.

        Returns:
            This panel.

        Raises:
            ValueError: a wrong number of texts, too small, an unknown anchor, or not finite.
        """
        still = isinstance(words, str)
        texts = [words] if still else [str(word) for word in words]
        if not still and len(texts) != self._frames:
            raise ValueError(
                f"The texts do not fit the frames: got {len(texts)} texts for {self._frames} "
                "frames. Pass one text, or one per frame."
            )
        if size < 14 or anchor not in ("left", "center", "right"):
            raise ValueError(
                f"The text's style is out of range: got size {size} and anchor {anchor!r}. "
                "Use a size of at least 14 and the anchor left, center or right."
            )
        colors.rgb(color)
        place = as_array([[x, y]], "the text's place")
        layer: dict[str, Any] = {
            "kind": "text",
            "xy": self._positions(place, 2),
            "texts": texts,
            "color": color,
        }
        return self._add(layer | {"size": float(size), "anchor": anchor})

    def colormap(self, name: str) -> str:
        """Store a colour map for a drawing module of one's own.

        Arguments:
            name: one of ``colors.COLORMAPS``.

        Returns:
            The name of its (256, 3) array in the scene's spec.

        Raises:
            ValueError: no colour map has this name.
        """
        return self._pack.colormap(name)

    def _shading(
        self, values: object, count: int, limits: Sequence[float] | None, colormap: str
    ) -> dict[str, Any]:
        array = as_array(values, "values", ndim=(1, 2))
        moving = self._moving(array, 1, "values")
        if array.shape[-1] != count:
            raise ValueError(
                f"Each point needs one value: got {array.shape[-1]} values for {count} points. "
                "Pass one value per point."
            )
        bounds = (0.0, 255.0) if colormap == "classes" else color_limits(array, limits)
        key = self._pack.colormap(colormap)
        return {"values": self._pack.shades(array, bounds, moving), "colormap": key}

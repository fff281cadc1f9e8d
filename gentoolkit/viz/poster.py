"""One frame of a scene as a PNG, for pages that can play nothing (and for committed notebooks)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import unpack
from gentoolkit.viz.place import Place, layout
from gentoolkit.viz.raster import Raster, bilinear
from gentoolkit.viz.ribbon import pen, strands

_INK, _FAINT, _GRID, _FRAME = "#1F2933", "#52606D", "#E9EDF1", "#B8C2CC"


class _Drawing:
    """The layers of one frame on a raster; one method per kind of layer."""

    def __init__(self, raster: Raster, spec: dict[str, Any], buffer: bytes, frame: int) -> None:
        self.raster = raster
        self._spec = spec
        self._buffer = buffer
        self._frame = frame
        layers = [layer for panel in spec["panels"] for layer in panel["layers"]]
        self._followed = any(layer["kind"] == "accounts" for layer in layers)

    def _all(self, name: str) -> np.ndarray:
        return unpack(self._spec["arrays"], self._buffer, name)

    def _now(self, name: str) -> np.ndarray:
        array = self._all(name)
        return array[self._frame] if self._spec["arrays"][name]["moving"] else array

    def _shades(self, layer: dict[str, Any]) -> np.ndarray:
        return self._all(layer["colormap"]).astype(np.float32)[self._now(layer["values"])]

    def _stroke(self, layer: dict[str, Any], lines: list[np.ndarray], alpha: float = 1.0) -> None:
        width = layer["width"]
        dash = (3.5 * width + 2, 2.5 * width + 1) if layer["dash"] else None
        self.raster.strokes(lines, layer["color"], width, alpha * layer["alpha"], dash)

    def heat(self, place: Place, layer: dict[str, Any]) -> None:
        box = (place.left, place.top, place.width, place.height)
        self.raster.picture(self._shades(layer)[::-1], box, smooth=True, alpha=layer["alpha"])

    def images(self, place: Place, layer: dict[str, Any]) -> None:
        columns = round(place.panel["x"][1])
        cell = place.width / columns
        inset, pitch = max(1.0, cell * 0.04), cell * (1 + layer["gap"])
        for i, image in enumerate(self._shades(layer)):
            left = round(place.left + (i % columns) * cell + inset)
            top = round(place.top + (i // columns) * pitch + inset)
            side = round(cell - 2 * inset)
            self.raster.rectangle((left - 1, top - 1, side + 2, side + 2), "#CFD6DD")
            self.raster.picture(image, (left, top, side, side))

    def points(self, place: Place, layer: dict[str, Any]) -> None:
        at = place.pixels(self._now(layer["xy"]))
        flat = np.array(colors.rgb(layer["color"]), dtype=np.float32)
        shades = self._shades(layer) if "values" in layer else np.tile(flat, (len(at), 1))
        if "crossed" in layer:
            crossed = self._all(layer["crossed"]) > 0
            self.raster.discs(at[~crossed], layer["size"] / 2, shades[~crossed], layer["alpha"])
            arm = 0.45 * layer["size"] + 1.5
            ends = arm * np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
            crosses = list((at[crossed][:, None, None] + ends).reshape(-1, 2, 2))
            self.raster.strokes(crosses, "#FFFFFF", 4, 0.8)
            self.raster.strokes(crosses, colors.WRONG, 2)
        else:
            self.raster.discs(at, layer["size"] / 2, shades, layer["alpha"])
        if self._followed and self._spec["arrays"][layer["xy"]]["moving"]:
            path = place.pixels(self._all(layer["xy"])[:, 0])  # the particle of the accounts
            self.raster.strokes([path], "#FFFFFF", 4.5, 0.85)
            self.raster.strokes([path], _INK, 2)
            self._marker(at[[0]], layer["color"], 7)
            if "ghosts" in layer:
                self._foretell(at[0], place.pixels(self._now(layer["ghosts"]))[0])

    def probe(self, place: Place, layer: dict[str, Any]) -> None:
        here = np.array(layer["start"])
        field = self._now(layer["field"])
        (x0, x1), (y0, y1) = place.panel["x"], place.panel["y"]
        share = (here - [x0, y0]) / [x1 - x0, y1 - y0] * [field.shape[1] - 1, field.shape[0] - 1]
        there = bilinear(field, share[:1], share[1:])[0, 0]
        at = place.pixels(here)
        self._foretell(at, place.pixels(there))
        for radius, color in ((9.0, _INK), (6.5, "#FFFFFF"), (3.0, _INK)):
            tint = np.array([colors.rgb(color)], dtype=np.float32)
            self.raster.discs(at[None], radius, tint, 1.0)

    def _foretell(self, here: np.ndarray, there: np.ndarray) -> None:
        """Lead a dashed line from a place to the ring around another."""
        turn = np.linspace(0, 2 * np.pi, 48)
        ring = there + 9 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        self.raster.strokes([np.stack([here, there]), ring], "#FFFFFF", 5, 0.85)
        self.raster.strokes([np.stack([here, there])], _INK, 2, dash=(7, 5))
        self.raster.strokes([ring], _INK, 2.5)

    def _marker(self, at: np.ndarray, color: str, radius: float) -> None:
        self.raster.discs(at, radius + 2, np.full((1, 3), 255.0, dtype=np.float32), 1.0)
        self.raster.discs(at, radius, np.array([colors.rgb(color)], dtype=np.float32), 1.0)

    def lines(self, place: Place, layer: dict[str, Any]) -> None:
        self._stroke(layer, list(place.pixels(self._now(layer["xy"]))))

    def trails(self, place: Place, layer: dict[str, Any]) -> None:
        first = max(0, self._frame - layer["length"] + 1)
        path = place.pixels(self._all(layer["xy"])[first : self._frame + 1])
        self._stroke(layer, list(path.swapaxes(0, 1)))

    def arrows(self, place: Place, layer: dict[str, Any]) -> None:
        tails = place.pixels(self._now(layer["xy"]))
        heads = place.pixels(self._now(layer["heads"]))
        lines = []
        for tail, head in zip(tails, heads, strict=True):
            run = head - tail
            length = float(np.hypot(*run))
            if length < 0.5:  # no direction to show
                continue
            angle, barb = math.atan2(run[1], run[0]), min(7.0, 0.45 * length)
            sides = [angle + math.pi + turn for turn in (-0.5, 0.5)]
            ends = [head + barb * np.array([math.cos(a), math.sin(a)]) for a in sides]
            lines += [np.stack([tail, head]), np.stack([ends[0], head, ends[1]])]
        self._stroke(layer, lines)

    def ribbons(self, place: Place, layer: dict[str, Any]) -> None:
        paths = place.pixels(self._now(layer["xy"]))
        for path, width in zip(paths, self._now(layer["widths"]).tolist(), strict=True):
            lines = strands(path, width, layer["dash"], layer["beside"])
            self.raster.strokes(lines, layer["color"], pen(width), layer["alpha"])

    def graph(self, place: Place, layer: dict[str, Any]) -> None:
        at = place.pixels(self._now(layer["xy"]))
        for (start, end), width in zip(layer["edges"], self._now(layer["widths"]), strict=True):
            if width > 0:
                self.raster.strokes([at[[start, end]]], layer["color"], float(width), 0.55)
        flat = np.array(colors.rgb(layer["color"]), dtype=np.float32)
        shades = self._shades(layer) if "values" in layer else np.tile(flat, (len(at), 1))
        white = np.full((len(at), 3), 255.0, dtype=np.float32)
        self.raster.discs(at, layer["size"] / 2 + 1, white, 1.0)
        self.raster.discs(at, layer["size"] / 2 - 1, shades, 1.0)

    def bars(self, place: Place, layer: dict[str, Any]) -> None:
        centres, heights = self._now(layer["positions"]), self._now(layer["heights"])
        half = layer["width"] / 2
        foot = place.pixels(np.stack([centres - half, np.zeros_like(heights)], axis=1))
        tip = place.pixels(np.stack([centres + half, heights], axis=1))
        for (x0, y0), (x1, y1) in zip(foot, tip, strict=True):
            self.raster.rectangle((x0, y0, x1 - x0, y1 - y0), layer["color"], layer["alpha"])

    def curve(self, place: Place, layer: dict[str, Any]) -> None:
        path = place.pixels(self._now(layer["xy"]))
        if layer["marker"]:
            self._running(path, layer)
        else:
            self._stroke(layer, [path])

    def accounts(self, place: Place, layer: dict[str, Any]) -> None:
        xy = np.stack([self._all(layer["x"]), self._all(layer["y"])[0]], axis=1)
        path = place.pixels(xy)
        self.raster.strokes([path], "#FFFFFF", layer["width"] + 3, 0.85)
        self._running(path, layer)

    def _running(self, path: np.ndarray, layer: dict[str, Any]) -> None:
        self._stroke(layer, [path], alpha=0.28)
        self._stroke(layer, [path[: self._frame + 1]])
        self._marker(path[[self._frame]], layer["color"], 5)

    def text(self, place: Place, layer: dict[str, Any]) -> None:
        (x, y), size = place.pixels(self._now(layer["xy"]))[0], layer["size"]
        words = layer["texts"][min(self._frame, len(layer["texts"]) - 1)]
        style = {"size": size, "color": layer["color"], "anchor": layer["anchor"]}
        self.raster.text(words, x, y + 0.36 * size, bold=True, halo=True, **style)


def _axes(raster: Raster, place: Place) -> Callable[[], None]:
    """Draw the grid now; return what draws the frame and the labels above the layers."""
    panel, left, top = place.panel, place.left, place.top
    right, bottom = left + place.width, top + place.height
    across, up = place.x_ticks(), place.y_ticks()
    xs = [round(float(place.pixels(np.array([v, 0.0]))[0])) for v, _ in across]
    ys = [round(float(place.pixels(np.array([0.0, v]))[1])) for v, _ in up]
    if panel["axes"]:
        for x in xs:
            raster.rectangle((x, top, 1, place.height), _GRID)
        for y in ys:
            raster.rectangle((left, y, place.width, 1), _GRID)

    def finish() -> None:
        if panel["title"]:
            raster.text(panel["title"], left, top - 11, size=15, bold=True, room=place.room)
        if not panel["axes"]:
            return
        for side in ((left, top, place.width, 1), (left, bottom - 1, place.width, 1)):
            raster.rectangle(side, _FRAME)
        for side in ((left, top, 1, place.height), (right - 1, top, 1, place.height)):
            raster.rectangle(side, _FRAME)
        for x, (_, text) in zip(xs, across, strict=True):
            raster.rectangle((x, bottom, 1, 4), _FRAME)
            raster.text(text, x, bottom + 20, color=_FAINT, anchor="center")
        for y, (_, text) in zip(ys, up, strict=True):
            raster.rectangle((left - 4, y, 4, 1), _FRAME)
            raster.text(text, left - 7, y + 5, color=_FAINT, anchor="right")
        raster.text(panel["x_label"], (left + right) / 2, bottom + 41, anchor="center")
        middle = (top + bottom) / 2
        raster.text(panel["y_label"], left - place.margin + 12, middle, anchor="center",
                    upright=True)  # fmt: skip

    return finish


def draw_poster(spec: dict[str, Any], buffer: bytes, frame: int) -> bytes:
    """Draw one frame of a scene.

    Arguments:
        spec: the scene's description.
        buffer: its numbers.
        frame: index of the frame, at least 0.

    Returns:
        A PNG file.
    """
    places, width, height = layout(spec["panels"])
    raster = Raster(width, height)
    drawing = _Drawing(raster, spec, buffer, frame)
    painters: dict[str, Callable[[Place, dict[str, Any]], None]] = {
        "heat": drawing.heat, "images": drawing.images, "points": drawing.points,
        "lines": drawing.lines, "trails": drawing.trails, "arrows": drawing.arrows,
        "graph": drawing.graph, "bars": drawing.bars, "curve": drawing.curve, "text": drawing.text,
        "accounts": drawing.accounts, "probe": drawing.probe, "ribbons": drawing.ribbons,
    }  # fmt: skip
    for place in places:
        finish = _axes(raster, place)
        raster.clip((place.left, place.top, place.width, place.height))
        for layer in place.panel["layers"]:
            painters[layer["kind"]](place, layer)
        raster.clip(None)
        finish()
    return raster.png()

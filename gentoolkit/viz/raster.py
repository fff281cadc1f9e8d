"""A tiny anti-aliased drawing surface and a PNG writer, from numpy and zlib alone.

Every stroke is laid down as closely spaced round stamps whose edge is one pixel soft. Coordinates
are pixels, x to the right and y downward, as in the browser's canvas.
"""

import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from gentoolkit.viz import colors, font

_PALETTE = 96  # enough for a smooth heat map; doubling it doubles the file

Box = tuple[float, float, float, float]
"""left, top, width, height."""


def dense(polyline: np.ndarray, dash: tuple[float, float] | None = None) -> np.ndarray:
    """Walk along a polyline in steps of at most half a pixel.

    Arguments:
        polyline: (V, 2) vertices.
        dash: lengths of mark and gap; None for a whole line.

    Returns:
        (M, 2) places for the stamps.
    """
    lengths = np.hypot(*np.diff(polyline, axis=0).T)
    total = float(lengths.sum())
    if total == 0:
        return polyline[:1]
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    where = np.linspace(0, total, int(total * 2) + 2)
    if dash is not None:
        where = where[np.mod(where, dash[0] + dash[1]) <= dash[0]]
    return np.stack([np.interp(where, along, polyline[:, k]) for k in range(2)], axis=1)


class Raster:
    """A white surface of width x height pixels to draw on."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels = np.full((height, width, 3), 255.0, dtype=np.float32)
        self._clip = (0, 0, width, height)

    def clip(self, box: Box | None) -> None:
        """Keep what follows inside a box.

        Arguments:
            box: the box; None lifts the limit.
        """
        height, width = self.pixels.shape[:2]
        left, top, w, h = box or (0, 0, width, height)
        corners = (max(0, round(left)), max(0, round(top)))
        self._clip = (*corners, min(width, round(left + w)), min(height, round(top + h)))

    def _stamps(self, at: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flat pixel index, coverage in (0, 1] and stamp number of every touched pixel."""
        left, top, right, bottom = self._clip
        reach = int(np.ceil(radius + 1))
        inside = (at[:, 0] > left - reach) & (at[:, 0] < right + reach)
        inside &= (at[:, 1] > top - reach) & (at[:, 1] < bottom + reach)
        number = np.flatnonzero(inside)
        near = at[number]
        offset = np.arange(-reach, reach + 1)
        x = np.floor(near[:, 0]).astype(int)[:, None, None] + offset[None, None, :]
        y = np.floor(near[:, 1]).astype(int)[:, None, None] + offset[None, :, None]
        # The centre of pixel i lies at i + 0.5.
        away = np.hypot(x + 0.5 - near[:, 0, None, None], y + 0.5 - near[:, 1, None, None])
        cover = np.clip(radius + 0.5 - away, 0, min(1.0, 2 * radius))
        x, y = np.broadcast_arrays(x, y)
        keep = (cover > 0) & (x >= left) & (x < right) & (y >= top) & (y < bottom)
        owner = np.broadcast_to(number[:, None, None], keep.shape)
        return (y * self.pixels.shape[1] + x)[keep], cover[keep], owner[keep]

    def _blend(self, where: np.ndarray, cover: np.ndarray, color: np.ndarray) -> None:
        flat = self.pixels.reshape(-1, 3)
        flat[where] += cover[:, None] * (color - flat[where])

    def strokes(
        self,
        lines: Sequence[np.ndarray],
        color: str,
        width: float,
        alpha: float = 1.0,
        dash: tuple[float, float] | None = None,
    ) -> None:
        """Draw polylines in one colour; where they cross they do not get darker.

        Arguments:
            lines: polylines (V, 2).
            color: ``#RRGGBB``.
            width: line width.
            alpha: opacity.
            dash: lengths of mark and gap; None for whole lines.
        """
        if not lines:
            return
        at = np.concatenate([dense(line, dash) for line in lines])
        mask = np.zeros(self.pixels.shape[0] * self.pixels.shape[1], dtype=np.float32)
        for start in range(0, len(at), 20_000):  # bounds the memory of long trails
            index, cover, _ = self._stamps(at[start : start + 20_000], width / 2)
            np.maximum.at(mask, index, cover.astype(np.float32))
        where = np.flatnonzero(mask)
        self._blend(where, alpha * mask[where], np.array(colors.rgb(color), dtype=np.float32))

    def discs(self, at: np.ndarray, radius: float, color: np.ndarray, alpha: float) -> None:
        """Draw translucent discs; overlaps get darker as in the browser.

        The share of light that passes is the product over discs, whatever their order; where
        colours differ they mix in proportion to what each disc keeps back.

        Arguments:
            at: (N, 2) centres.
            radius: radius.
            color: (N, 3) colours in [0, 255].
            alpha: opacity of one disc.
        """
        index, cover, owner = self._stamps(at, radius)
        kept = -np.log1p(-np.minimum(alpha * cover, 0.999))
        size = self.pixels.shape[0] * self.pixels.shape[1]
        total = np.bincount(index, kept, size)
        where = np.flatnonzero(total)
        channels = [np.bincount(index, kept * color[owner, k], size)[where] for k in range(3)]
        mixed = np.stack(channels, axis=1) / total[where, None]
        self._blend(where, 1 - np.exp(-total[where]), mixed.astype(np.float32))

    def rectangle(self, box: Box, color: str, alpha: float = 1.0) -> None:
        """Fill a rectangle, whole pixels only.

        Arguments:
            box: the rectangle; negative sizes extend to the left and upward.
            color: ``#RRGGBB``.
            alpha: opacity.
        """
        self.picture(np.array(colors.rgb(color), dtype=np.float32)[None, None], box, alpha=alpha)

    def picture(
        self, source: np.ndarray, box: Box, *, smooth: bool = False, alpha: float = 1.0
    ) -> None:
        """Stretch a picture over a box.

        Arguments:
            source: (H, W, 3) colours in [0, 255], row 0 at the top.
            box: where it goes.
            smooth: interpolate between the centres of its pixels, or show them as squares.
            alpha: opacity.
        """
        x = sorted((box[0], box[0] + box[2]))
        y = sorted((box[1], box[1] + box[3]))
        left, right = max(self._clip[0], round(x[0])), min(self._clip[2], round(x[1]))
        top, bottom = max(self._clip[1], round(y[0])), min(self._clip[3], round(y[1]))
        if right <= left or bottom <= top:
            return
        u = (np.arange(left, right) + 0.5 - x[0]) / (x[1] - x[0]) * source.shape[1]
        v = (np.arange(top, bottom) + 0.5 - y[0]) / (y[1] - y[0]) * source.shape[0]
        fill = bilinear(source, u - 0.5, v - 0.5) if smooth else _nearest(source, u, v)
        area = self.pixels[top:bottom, left:right]
        area += alpha * (fill.astype(np.float32) - area)

    def text(
        self,
        words: str,
        x: float,
        y: float,
        *,
        size: float = 14,
        color: str = "#1F2933",
        anchor: str = "left",
        bold: bool = False,
        upright: bool = False,
        halo: bool = False,
        room: float = math.inf,
    ) -> None:
        """Write one line.

        Arguments:
            words: the line.
            x: where the anchor lies.
            y: the base line (the anchor's height if upright).
            size: font size.
            color: ``#RRGGBB``.
            anchor: ``left``, ``center`` or ``right``.
            bold: thicker strokes.
            upright: turned to read from below.
            halo: a white rim that keeps words readable on a picture.
            room: the width that a long line is shrunk to.
        """
        size *= min(1.0, room / max(font.text_width(words, size), 1e-9))
        share = {"left": 0.0, "center": 0.5, "right": 1.0}[anchor]
        shift = share * font.text_width(words, size)
        lines = [stroke - [shift, 0.0] for stroke in font.text_strokes(words, size)]
        if upright:
            lines = [np.stack([x - line[:, 1], y - line[:, 0]], axis=1) for line in lines]
        else:
            lines = [np.stack([x + line[:, 0], y - line[:, 1]], axis=1) for line in lines]
        pen = size * (0.125 if bold else 0.088)
        if halo:
            self.strokes(lines, "#FFFFFF", pen + 4, 0.9)
        self.strokes(lines, color, pen)

    def png(self) -> bytes:
        """Encode with at most 96 colours, which suits flat pictures and keeps notebooks small.

        Returns:
            A PNG file.
        """
        height, width = self.pixels.shape[:2]
        palette, index = _quantise(np.clip(self.pixels.reshape(-1, 3).round(), 0, 255))
        rows = index.reshape(height, width)
        raw = b"".join(b"\0" + row.tobytes() for row in rows)
        return (
            b"\x89PNG\r\n\x1a\n"
            + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
            + _chunk(b"PLTE", palette.tobytes())
            + _chunk(b"IDAT", zlib.compress(raw, 9))
            + _chunk(b"IEND", b"")
        )


def bilinear(source: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Interpolate between the centres of a picture's pixels, or the points of a grid.

    Arguments:
        source: (H, W, C) values.
        u: (A,) columns, with fractions; beyond the ends as at the ends.
        v: (B,) rows, likewise.

    Returns:
        (B, A, C) values.
    """
    u = np.clip(u, 0, source.shape[1] - 1)
    v = np.clip(v, 0, source.shape[0] - 1)
    c0, r0 = np.floor(u).astype(int), np.floor(v).astype(int)
    c1, r1 = np.minimum(c0 + 1, source.shape[1] - 1), np.minimum(r0 + 1, source.shape[0] - 1)
    a, b = (u - c0)[None, :, None], (v - r0)[:, None, None]
    upper = (1 - a) * source[r0][:, c0] + a * source[r0][:, c1]
    lower = (1 - a) * source[r1][:, c0] + a * source[r1][:, c1]
    return (1 - b) * upper + b * lower


def _nearest(source: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    rows = np.clip(v.astype(int), 0, source.shape[0] - 1)
    columns = np.clip(u.astype(int), 0, source.shape[1] - 1)
    return source[rows][:, columns]


def _quantise(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) colours -> a palette (<= 96, 3) uint8 and (N,) indices into it."""
    bins = (pixels.astype(int) >> 3) @ np.array([1024, 32, 1])  # 5 bits a channel
    names, inverse, counts = np.unique(bins, return_inverse=True, return_counts=True)
    sums = [np.bincount(inverse, pixels[:, k], len(names)) for k in range(3)]
    means = np.stack(sums, axis=1) / counts[:, None]
    # Half of the palette by frequency; the rest to the colours worst served so far, so that a few
    # dots of a rare colour keep it.
    chosen = np.argsort(-counts, kind="stable")[: _PALETTE // 2].tolist()
    far = ((means[:, None, :] - means[chosen][None, :, :]) ** 2).sum(axis=2).min(axis=1)
    while len(chosen) < min(_PALETTE, len(names)):
        chosen.append(int(np.argmax(far * np.sqrt(counts))))
        far = np.minimum(far, ((means - means[chosen[-1]]) ** 2).sum(axis=1))
    palette = means[chosen]
    distance = ((means[:, None, :] - palette[None, :, :]) ** 2).sum(axis=2)
    return palette.round().astype(np.uint8), distance.argmin(axis=1)[inverse].astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

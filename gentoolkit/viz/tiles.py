"""Small pictures that play, in tiles side by side: images on their way, and grids of tokens."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array, as_range, at_least
from gentoolkit.viz.particles import number
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

_GAP = 0.34  # room for words under a tile, as a share of it
_CELL = 3  # picture elements along each side of a cell: room for a weave and a dot
_WEAVE = np.indices((_CELL, _CELL)).sum(0) % 2 == 1


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Tiles (F, N, H, W) with so many in a row, words under them, and a name for all of them."""

    cells: np.ndarray
    wide: int
    words: Sequence[str] | None
    anchor: str
    called: str

    @classmethod
    def grid(
        cls, cells: np.ndarray, columns: int | None, labels: Sequence[object] | None, called: str
    ) -> "_Tiles":
        count = cells.shape[1]
        wide = count if count <= 8 else int(np.ceil(np.sqrt(2 * count)))
        wide = wide if columns is None else at_least(columns, "columns", 1)
        words = None if labels is None else [str(label) for label in labels]
        if words is not None and len(words) != count:
            raise ValueError(
                f"labels must be one per tile; got {len(words)} for {count} tiles; pass as many"
            )
        return cls(cells, wide, words, "center", f"{count} {called}")

    @classmethod
    def rows(
        cls,
        rows: Mapping[str, Iterable[object]],
        read: Callable[[Iterable[object]], np.ndarray],
        called: str,
    ) -> "_Tiles":
        if not rows:
            raise ValueError("there must be a row to show; got none; pass {'name': tiles}")
        stacks = [read(row) for row in rows.values()]
        shapes = {stack.shape for stack in stacks}
        if len(shapes) > 1:
            raise ValueError(
                f"rows must match; got shapes {sorted(shapes)}; pass as many frames and tiles of "
                "one size in each"
            )
        wide = stacks[0].shape[1]
        words = [word for name in rows for word in (name, *[""] * (wide - 1))]
        called = f"{len(rows)} rows of {wide} {called}"
        return cls(np.concatenate(stacks, axis=1), wide, words, "left", called)

    def told(self, way: str) -> str:
        """Compose an alternative text."""
        names = [word for word in self.words or () if word] if self.anchor == "left" else []
        return f"{self.called} {way}{': ' if names else ''}{', '.join(names)}."

    def draw(
        self,
        scene: Scene,
        pixels: np.ndarray,
        limits: Sequence[float],
        colormap: str,
        title: str = "",
        weight: float = 2.0,
    ) -> None:
        """Add the panel: pixels (F, N, ., .) of the tiles, with words under them."""
        gap = 0.0 if self.words is None else _GAP
        height = -(-pixels.shape[1] // self.wide) * (1 + gap)
        panel = scene.panel((0, self.wide), (0, height), title=title, axes=False, weight=weight)
        panel.images(pixels, limits=limits, colormap=colormap, gap=gap)
        for i, word in enumerate(self.words or ()):
            if word:
                across = i % self.wide + (0.5 if self.anchor == "center" else 0.05)
                # The text's middle lies in the middle of the room below its tile.
                up = height - (i // self.wide + 1) * (1 + gap) + 0.5 * gap
                panel.text(across, up, word, anchor=self.anchor)


def strip(
    images: Iterable[object],
    times: object,
    labels: Sequence[object] | None = None,
    *,
    alt: str | None = None,
    columns: int | None = None,
    limits: Sequence[float] | None = None,
    fps: float = 12.0,
) -> Scene:
    """Show images that are denoised (or noised), each in a tile of its own, as ink on white.

    Arguments:
        images: (F, N, H, W) or (F, N, 1, H, W) pixels, row 0 at the top, or a sequence of F such
            batches as a sampler yields them.
        times: (F,) time of each frame.
        labels: N words under the tiles, such as the classes asked for.
        alt: the alternative text; composed if None.
        columns: tiles in a row; up to 8 in one row, else about twice as many as rows, if None.
        limits: pixel values that are white and black; the extremes of the last frame if None.
        fps: frames a second at normal speed.

    Returns:
        A scene of F frames and one panel.

    Raises:
        ValueError: images of another shape or not finite, not one time per frame or label per
            image, or an argument out of range.
    """
    shown = _Tiles.grid(_images(images), columns, labels, "images side by side")
    return _film(shown, times, alt, limits, fps)


def strip_rows(
    rows: Mapping[str | float, Iterable[object]],
    times: object,
    *,
    row_label: str = "",
    alt: str | None = None,
    limits: Sequence[float] | None = None,
    fps: float = 12.0,
) -> Scene:
    """Show one strip above the other, such as the same noise under several guidance scales.

    Arguments:
        rows: name -> images as for ``strip``, as many in each row; the first row is on top.
        times: (F,) time of each frame.
        row_label: what the names are, such as ``guidance``, written before each.
        alt: the alternative text; composed if None.
        limits: pixel values that are white and black; the extremes of the last frame if None.
        fps: frames a second at normal speed.

    Returns:
        A scene of F frames and one panel.

    Raises:
        ValueError: no row, rows of different shapes, or what ``strip`` refuses.
    """
    named = {f"{row_label} {name}".strip(): images for name, images in rows.items()}
    return _film(_Tiles.rows(named, _images, "images"), times, alt, limits, fps)


def picture_rows(
    rows: Mapping[str, object],
    *,
    alt: str,
    limits: Sequence[float] = (0.0, 1.0),
    greys: int = 9,
) -> Scene:
    """Show rows of small pictures that stand still, the row's name under each, as ink on white.

    Arguments:
        rows: name -> (N, H, W), (N, 1, H, W) or square pictures as rows of pixels, (N, H * H); as
            many in each row; the first row is on top.
        alt: the alternative text.
        limits: pixel values that are white and black.
        greys: how many shades are drawn; few keep a notebook with noisy pictures small.

    Returns:
        A scene of one frame and one panel.

    Raises:
        ValueError: no row, pictures of other shapes, or fewer than two shades.
    """
    low, high = as_range(limits, "limits")
    steps = at_least(greys, "greys", 2) - 1

    def read(pictures: Iterable[object]) -> np.ndarray:
        found = as_array(pictures, "pictures")
        if found.ndim == 2:
            side = round(found.shape[1] ** 0.5)
            found = as_array(found, "pictures as rows of pixels", ("N", side * side))
            found = found.reshape(-1, side, side)
        shade = np.clip((_images([found])[0] - low) / (high - low), 0.0, 1.0)
        return (np.round(steps * shade) / steps)[None]

    shown = _Tiles.rows(rows, read, "pictures")  # pyright: ignore[reportArgumentType]
    scene = Scene(1, alt=alt)
    shown.draw(scene, shown.cells, (0.0, 1.0), "greys", weight=1.0)
    return scene


def token_grid(
    tokens: Iterable[object],
    times: object,
    *,
    size: int,
    shape: tuple[int, int] | None = None,
    mask: int | None = None,
    labels: Sequence[object] | None = None,
    alt: str | None = None,
    columns: int | None = None,
) -> Scene:
    """Show states of tokens as small pictures, one cell a token, whose cells jump in time.

    Token 0 is white and the last one ink. A mask is a woven cell in violet. A cell that has just
    jumped carries a dot: blue where time falls (push), orange where it rises (pull).

    Arguments:
        tokens: F batches of whole numbers, (B, H, W), or (B, D) with ``shape``: as a sampler
            yields them, ``[state.x for state in walk(...)]``, or an array of F of them.
        times: (F,) time of each frame.
        size: number of tokens, C, the mask among them.
        shape: (H, W) with H W = D, for tokens in a row.
        mask: which token is the mask, -1 for the last; None if there is none.
        labels: B words under the tiles.
        alt: the alternative text; composed if None.
        columns: tiles in a row; up to 8 in one row, else about twice as many as rows, if None.

    Returns:
        A scene of F frames and at most 1.5 MB; each frame's note counts jumps and masks.

    Raises:
        ValueError: tokens out of range or of another shape, a mask that is no token, not one time
            per frame or label per tile, no columns, or more than 1.5 MB.
    """
    shown = _Tiles.grid(_tokens(tokens, size, shape), columns, labels, "grids of tokens")
    return _jumping(shown, times, size, mask, alt, "")


def token_rows(
    rows: Mapping[str, Iterable[object]],
    times: object,
    *,
    size: int,
    shape: tuple[int, int] | None = None,
    mask: int | None = None,
    alt: str | None = None,
    title: str = "",
) -> Scene:
    """Show one row of token grids above the other, such as the same noise under each sampler.

    Arguments:
        rows: name -> tokens as for ``token_grid``, as many in each; the first row is on top.
        times: (F,) time of each frame.
        size: number of tokens, C, the mask among them.
        shape: (H, W) with H W = D, for tokens in a row.
        mask: which token is the mask, -1 for the last; None if there is none.
        alt: the alternative text; composed if None.
        title: shown above.

    Returns:
        A scene of F frames and at most 1.5 MB.

    Raises:
        ValueError: no row, rows of different shapes, or what ``token_grid`` refuses.
    """
    shown = _Tiles.rows(rows, lambda row: _tokens(row, size, shape), "grids of tokens")
    return _jumping(shown, times, size, mask, alt, title)


def _batches(frames: Iterable[object], name: str, *shapes: tuple[int | str, ...]) -> np.ndarray:
    """Stack one batch of tiles per frame; all have one of the shapes."""
    found = [as_array(batch, f"{name} of frame {f}") for f, batch in enumerate(frames)]
    seen = {one.shape for one in found}
    lengths = {len(shape) for shape in shapes}
    if len(seen) != 1 or found[0].ndim not in lengths:
        wanted = " or ".join(f"({', '.join(map(str, shape))})" for shape in shapes)
        raise ValueError(
            f"{name} must be {wanted}, the same in each frame; got shapes {sorted(seen)}; pass "
            "what has rows and columns"
        )
    stack = np.stack(found)
    shape = next(shape for shape in shapes if len(shape) == found[0].ndim)
    return as_array(stack, f"{name} in all frames", ("F", *shape))


def _images(images: Iterable[object]) -> np.ndarray:
    """Check images and return them as (F, N, H, W)."""
    stack = _batches(images, "images", ("N", "H", "W"), ("N", 1, "H", "W"))
    return stack[:, :, 0] if stack.ndim == 5 else stack


def _tokens(tokens: Iterable[object], size: int, shape: tuple[int, int] | None) -> np.ndarray:
    """Check tokens and return them as (F, B, H, W) whole numbers."""
    flat = ("B", "H", "W") if shape is None else ("B", shape[0] * shape[1])
    stack = _batches(tokens, "tokens", flat)
    high = at_least(size, "size", 2) - 1
    as_array(stack, f"tokens of size={size}, the mask among them,", low=0, high=high, whole=True)
    whole = stack.astype(int)
    return whole if shape is None else whole.reshape(*whole.shape[:2], *shape)


def _film(
    shown: _Tiles, times: object, alt: str | None, limits: Sequence[float] | None, fps: float
) -> Scene:
    pixels = shown.cells
    at = as_array(times, "times, one per frame,", (len(pixels),))
    way = "turn from noise to pictures" if at[0] > at[-1] else "turn to noise"
    scene = Scene(
        len(pixels),
        alt=shown.told(way) if alt is None else alt,
        fps=fps,
        # A single frame has no story: neither a time nor a count belongs under it.
        times=at if len(at) > 1 else None,
        notes=[f"t = {number(t)}, frame {f + 1} of {len(at)}." for f, t in enumerate(at)]
        if len(at) > 1
        else None,
    )
    low, high = float(pixels[-1].min()), float(pixels[-1].max())
    ends = (low, high if low < high else low + 1.0)
    shown.draw(scene, pixels, ends if limits is None else limits, "greys")
    return scene


def _jumping(
    shown: _Tiles, times: object, size: int, mask: int | None, alt: str | None, title: str
) -> Scene:
    cells = shown.cells
    at = as_array(times, "times, one per frame,", (len(cells),))
    if mask is not None and not -size <= mask < size:
        raise ValueError(
            f"mask must be a token; got {mask} of {size}; pass one of 0 to {size - 1}, or -1"
        )
    masked = np.zeros(cells.shape, bool) if mask is None else cells == mask % size
    jumped = np.zeros(cells.shape, bool)
    jumped[1:] = cells[1:] != cells[:-1]
    way = "jump from noise to data"
    if at[0] <= at[-1]:
        way = "jump to noise" if at[-1] > at[0] else "jump to noise and back to data"
    scene = Scene(
        len(cells),
        alt=shown.told(way) if alt is None else alt,
        fps=6.0,
        times=at,
        notes=_notes(at, jumped, masked, mask is not None),
        poster_frame=-1 if at[0] > at[-1] else len(cells) // 5,  # where it can be read
        smooth=False,  # a token is one or another, never in between
    )
    pixels = _pixels(cells, masked, jumped, np.diff(at, prepend=at[0]) > 0, size, mask)
    shown.draw(scene, pixels, (0.0, 255.0), "tokens", title)
    return small(scene, "the number of frames or of images")


def _pixels(
    cells: np.ndarray,
    masked: np.ndarray,
    jumped: np.ndarray,
    rising: np.ndarray,
    size: int,
    mask: int | None,
) -> np.ndarray:
    """Turn tokens (F, B, H, W) into values of the map ``tokens``, woven and dotted."""
    order = np.arange(size)
    if mask is not None:  # ink goes by the place among the tokens that are not the mask
        order = order - (order > mask % size)
    levels = max(1, size - 1 - (mask is not None))
    values = np.round(order / levels * colors.TOKEN_INK)[cells]
    if mask is None and not jumped.any():
        return values
    fine, whole = (np.repeat(np.repeat(a, _CELL, axis=2), _CELL, axis=3) for a in (values, masked))
    weave = np.where(_WEAVE, colors.TOKEN_WEAVE, colors.TOKEN_MASK)
    fine = np.where(whole, np.tile(weave, cells.shape[2:]), fine)
    middle = (..., slice(_CELL // 2, None, _CELL), slice(_CELL // 2, None, _CELL))
    way = np.where(rising, colors.TOKEN_PULL, colors.TOKEN_PUSH)[:, None, None, None]
    fine[middle] = np.where(jumped, way, fine[middle])
    return fine


def _notes(times: np.ndarray, jumped: np.ndarray, masked: np.ndarray, has_mask: bool) -> list[str]:
    words, total = [], masked[0].size
    for f, time in enumerate(times):
        parts = [f"{int(jumped[f].sum())} of {total} tokens have jumped"] if f else []
        parts += [f"{int(masked[f].sum())} are masked"] if has_mask else []
        told = ", ".join(parts) or f"{total} tokens"
        words.append(f"t = {time:.2f}, frame {f + 1} of {len(times)}: {told}.")
    return words

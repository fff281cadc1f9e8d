"""Grids of tokens whose cells jump: small pictures made of symbols, one tile for each state."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small
from gentoolkit.viz.strip import tiles

_CELL = 3  # picture elements along each side of a cell: room for a weave and a dot
_WEAVE = np.indices((_CELL, _CELL)).sum(0) % 2 == 1
_SMALLER = "the number of frames or of images, or leave out the marks of jumps (jumps=False)"


def token_grid(
    tokens: Iterable[object],
    times: object,
    *,
    size: int,
    shape: tuple[int, int] | None = None,
    mask: int | None = None,
    labels: Sequence[object] | None = None,
    jumps: bool = True,
    alt: str | None = None,
    columns: int | None = None,
    title: str = "",
    time_label: str = "t",
    fps: float = 6.0,
    group: str | None = None,
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
        jumps: mark the cells that differ from the frame before.
        alt: the alternative text; composed if None.
        columns: tiles in a row; up to 8 in one row, else about twice as many as rows, if None.
        title: shown above.
        time_label: the name of the time.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of F frames and at most 1.5 MB; each frame's note counts jumps and masks.

    Raises:
        ValueError: tokens out of range or of another shape, a mask that is no token, not one time
            per frame or label per tile, no columns, or more than 1.5 MB.
    """
    cells, at = _cells(tokens, size, shape), as_array(times, "times", ("N",))
    count = cells.shape[1]
    wide = count if count <= 8 else int(np.ceil(np.sqrt(2 * count)))
    wide = wide if columns is None else columns
    words = None if labels is None else [str(label) for label in labels]
    if wide < 1 or (words is not None and len(words) != count):
        raise ValueError(
            f"The tiles do not fit: got columns={columns} and "
            f"{'no' if words is None else len(words)} labels for {count} tiles. Pass at least 1 "
            "column, and as many labels as tiles."
        )
    told = f"{count} grids of tokens {_way(at)}."
    return _scene(
        cells, at, size, mask, jumps, told if alt is None else alt,
        (wide, words, title, "center"), (time_label, fps, group),
    )  # fmt: skip


def token_rows(
    rows: Mapping[str, Iterable[object]],
    times: object,
    *,
    size: int,
    shape: tuple[int, int] | None = None,
    mask: int | None = None,
    jumps: bool = True,
    alt: str | None = None,
    title: str = "",
    time_label: str = "t",
    fps: float = 6.0,
    group: str | None = None,
) -> Scene:
    """Show one row of token grids above the other, such as the same noise under each sampler.

    Arguments:
        rows: name -> tokens as for ``token_grid``, as many in each; the first row is on top.
        times: (F,) time of each frame.
        size: number of tokens, C, the mask among them.
        shape: (H, W) with H W = D, for tokens in a row.
        mask: which token is the mask, -1 for the last; None if there is none.
        jumps: mark the cells that differ from the frame before.
        alt: the alternative text; composed if None.
        title: shown above.
        time_label: the name of the time.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of F frames and at most 1.5 MB.

    Raises:
        ValueError: no row, rows of different shapes, or what ``token_grid`` refuses.
    """
    if not rows:
        raise ValueError("There is no row to show: got 0. Pass {'name': tokens}.")
    stacks = [_cells(tokens, size, shape) for tokens in rows.values()]
    at = as_array(times, "times", ("N",))
    shapes = {stack.shape for stack in stacks}
    if len(shapes) > 1:
        raise ValueError(
            f"The rows do not match: got shapes {sorted(shapes)}. "
            "Pass as many frames and grids of one size in each row."
        )
    wide = stacks[0].shape[1]
    words = [name for row in rows for name in (row, *[""] * (wide - 1))]
    told = f"{len(rows)} rows of {wide} grids of tokens {_way(at)}: {', '.join(rows)}."
    return _scene(
        np.concatenate(stacks, axis=1), at, size, mask, jumps, told if alt is None else alt,
        (wide, words, title, "left"), (time_label, fps, group),
    )  # fmt: skip


def _cells(tokens: Iterable[object], size: int, shape: tuple[int, int] | None) -> np.ndarray:
    """Check tokens and return them as (F, B, H, W) whole numbers."""
    batches = [as_array(batch, f"the tokens of frame {f}") for f, batch in enumerate(tokens)]
    found = {batch.shape for batch in batches}
    first = batches[0].shape if len(found) == 1 else ()
    fits = len(first) == 3 if shape is None else len(first) == 2 and first[1] == np.prod(shape)
    if not fits:
        raise ValueError(
            f"The tokens are no grids: got frames of shape {sorted(found)} and shape={shape}. Pass "
            "(B, H, W) in each frame, or (B, D) with shape=(H, W) where H W = D."
        )
    stack = np.stack(batches)
    if size < 2 or stack.min() < 0 or stack.max() >= size or (stack != stack.round()).any():
        raise ValueError(
            f"The tokens are out of range: got {stack.min():g} to {stack.max():g} for {size} "
            "tokens. Pass whole numbers from 0 to size - 1, and count the mask in size."
        )
    return (
        stack.astype(int) if shape is None else stack.astype(int).reshape(*stack.shape[:2], *shape)
    )


def _scene(
    cells: np.ndarray,
    times: np.ndarray,
    size: int,
    mask: int | None,
    jumps: bool,
    alt: str,
    layout: tuple[int, Sequence[str] | None, str, str],
    playing: tuple[str, float, str | None],
) -> Scene:
    (wide, words, title, anchor), (label, fps, group) = layout, playing
    if mask is not None and not -size <= mask < size:
        raise ValueError(
            f"The mask is no token: got {mask} of {size}. Pass one of 0 to {size - 1}, or -1."
        )
    if len(times) != len(cells):
        raise ValueError(
            f"times do not fit the frames: got {len(times)} times for {len(cells)} frames. "
            "Pass one time per frame."
        )
    masked = np.zeros(cells.shape, bool) if mask is None else cells == mask % size
    jumped = np.zeros(cells.shape, bool)
    jumped[1:] = cells[1:] != cells[:-1]
    scene = Scene(
        len(cells),
        alt=alt,
        fps=fps,
        times=times,
        time_label=label,
        notes=_notes(times, label, jumped, masked, mask is not None),
        group=group,
        poster_frame=-1 if times[0] > times[-1] else len(cells) // 5,  # where it can be read
        smooth=False,  # a token is one or another, never in between
    )
    pixels = _pixels(
        cells, masked, jumped & jumps, np.diff(times, prepend=times[0]) > 0, size, mask
    )
    tiles(scene, pixels, wide, words, title, (0.0, 255.0), "tokens", anchor)
    return small(scene, _SMALLER)


def _pixels(
    cells: np.ndarray,
    masked: np.ndarray,
    dotted: np.ndarray,
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
    if mask is None and not dotted.any():
        return values
    fine = np.repeat(np.repeat(values, _CELL, axis=2), _CELL, axis=3)
    weave = np.where(_WEAVE, colors.TOKEN_WEAVE, colors.TOKEN_MASK)
    woven = np.tile(weave, cells.shape[2:])
    whole = np.repeat(np.repeat(masked, _CELL, axis=2), _CELL, axis=3)
    fine = np.where(whole, woven, fine)
    middle = (..., slice(_CELL // 2, None, _CELL), slice(_CELL // 2, None, _CELL))
    way = np.where(rising, colors.TOKEN_PULL, colors.TOKEN_PUSH)[:, None, None, None]
    fine[middle] = np.where(dotted, way, fine[middle])
    return fine


def _notes(
    times: np.ndarray, label: str, jumped: np.ndarray, masked: np.ndarray, has_mask: bool
) -> list[str]:
    words, total = [], masked[0].size
    for f, time in enumerate(times):
        parts = [f"{int(jumped[f].sum())} of {total} tokens have jumped"] if f else []
        parts += [f"{int(masked[f].sum())} are masked"] if has_mask else []
        told = ", ".join(parts) or f"{total} tokens"
        words.append(f"{label} = {time:.2f}, frame {f + 1} of {len(times)}: {told}.")
    return words


def _way(times: np.ndarray) -> str:
    if times[0] > times[-1]:
        return "jump from noise to data"
    return "jump to noise" if times[-1] > times[0] else "jump to noise and back to data"

"""Small images on their way from noise to data: tiles that play, in one strip or in rows."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.scene import Scene

_GAP = 0.34  # room for words under a tile, as a share of it


def strip(
    images: Iterable[object],
    times: object,
    labels: Sequence[object] | None = None,
    *,
    alt: str | None = None,
    columns: int | None = None,
    title: str = "",
    limits: Sequence[float] | None = None,
    colormap: str = "greys",
    time_label: str = "t",
    fps: float = 12.0,
    group: str | None = None,
) -> Scene:
    """Show images that are denoised (or noised), each in a tile of its own.

    Arguments:
        images: (F, N, H, W) or (F, N, 1, H, W) pixels, row 0 at the top, or a sequence of F such
            batches as a sampler yields them.
        times: (F,) time of each frame.
        labels: N words under the tiles, such as the classes asked for.
        alt: the alternative text; composed if None.
        columns: tiles in a row; up to 8 in one row, else about twice as many as rows, if None.
        title: shown above.
        limits: pixel values that are white and black; the extremes of the last frame if None.
        colormap: one of ``colors.COLORMAPS``; ``greys`` shows ink on white.
        time_label: the name of the time.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of F frames and one panel.

    Raises:
        ValueError: images of another shape or not finite, not one time per frame or label per
            image, or an argument out of range.
    """
    pixels, at = _pixels(images), as_array(times, "times", ("N",))
    count = pixels.shape[1]
    wide = count if count <= 8 else int(np.ceil(np.sqrt(2 * count)))
    wide = wide if columns is None else columns
    if wide < 1:
        raise ValueError(f"The grid has no columns: got {columns}. Pass at least 1.")
    words = None if labels is None else [str(label) for label in labels]
    if words is not None and len(words) != count:
        raise ValueError(
            f"Each image needs one label: got {len(words)} labels for {count} images. "
            "Pass as many labels as images."
        )
    notes = _notes(at, time_label)
    scene = Scene(
        len(pixels),
        alt=alt if alt is not None else f"{count} images side by side {_way(at)}.",
        fps=fps,
        times=at,
        time_label=time_label,
        notes=notes,
        group=group,
    )
    tiles(scene, pixels, wide, words, title, limits, colormap)
    return scene


def strip_rows(
    rows: Mapping[str | float, Iterable[object]],
    times: object,
    *,
    row_label: str = "",
    alt: str | None = None,
    title: str = "",
    limits: Sequence[float] | None = None,
    colormap: str = "greys",
    time_label: str = "t",
    fps: float = 12.0,
    group: str | None = None,
) -> Scene:
    """Show one strip above the other, such as the same noise under several guidance scales.

    Arguments:
        rows: name -> images as for ``strip``, as many in each row; the first row is on top.
        times: (F,) time of each frame.
        row_label: what the names are, such as ``guidance``, written before each.
        alt: the alternative text; composed if None.
        title: shown above.
        limits: pixel values that are white and black; the extremes of the last frame if None.
        colormap: one of ``colors.COLORMAPS``.
        time_label: the name of the time.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of F frames and one panel.

    Raises:
        ValueError: no row, rows of different shapes, or what ``strip`` refuses.
    """
    if not rows:
        raise ValueError("There is no row to show: got 0. Pass {'name': images}.")
    stacks, at = [_pixels(images) for images in rows.values()], as_array(times, "times", ("N",))
    shapes = {stack.shape for stack in stacks}
    if len(shapes) > 1:
        raise ValueError(
            f"The rows do not match: got shapes {sorted(shapes)}. "
            "Pass as many frames and images of one size in each row."
        )
    pixels, wide = np.concatenate(stacks, axis=1), stacks[0].shape[1]
    names = [f"{row_label} {name}".strip() for name in rows]
    notes = _notes(at, time_label)
    scene = Scene(
        len(pixels),
        alt=f"{len(names)} rows of {wide} images {_way(at)}: {', '.join(names)}."
        if alt is None
        else alt,
        fps=fps,
        times=at,
        time_label=time_label,
        notes=notes,
        group=group,
    )
    words = [names[i // wide] if i % wide == 0 else "" for i in range(pixels.shape[1])]
    tiles(scene, pixels, wide, words, title, limits, colormap, "left")
    return scene


def _pixels(images: Iterable[object]) -> np.ndarray:
    """Check images and return them as (F, N, H, W)."""
    batches = [as_array(batch, f"frame {f}") for f, batch in enumerate(images)]
    shapes = {batch.shape for batch in batches}
    shape = batches[0].shape if len(shapes) == 1 else ()
    single = len(shape) == 4 and shape[1] == 1
    if len(shape) != 3 and not single:
        raise ValueError(
            f"There are no images to show: got frames of shape {sorted(shapes)}. "
            "Pass (N, H, W) or (N, 1, H, W) pixels, the same in each frame."
        )
    stack = np.stack(batches)
    return stack[:, :, 0] if single else stack


def tiles(
    scene: Scene,
    pixels: np.ndarray,
    wide: int,
    words: Sequence[str] | None,
    title: str,
    limits: Sequence[float] | None,
    colormap: str,
    anchor: str = "center",
) -> None:
    """Add the panel of tiles, with words under them.

    Arguments:
        scene: of F frames.
        pixels: (F, N, H, W).
        wide: tiles in a row.
        words: N texts, empty where there is none; None for no room.
        title: shown above.
        limits: pixel values that are white and black; the extremes of the last frame if None.
        colormap: one of ``colors.COLORMAPS``.
        anchor: where a text lies under its tile.
    """
    gap = 0.0 if words is None else _GAP
    count = pixels.shape[1]
    rows = -(-count // wide)
    height = rows * (1 + gap)
    ends = (float(pixels[-1].min()), float(pixels[-1].max()))
    ends = ends if ends[0] < ends[1] else (ends[0], ends[0] + 1.0)
    panel = scene.panel((0, wide), (0, height), title=title, axes=False, weight=2.0)
    panel.images(pixels, limits=ends if limits is None else limits, colormap=colormap, gap=gap)
    for i, word in enumerate(words or ()):
        if word:
            across = i % wide + (0.5 if anchor == "center" else 0.05)
            # The text's middle lies in the middle of the room below its tile.
            up = height - (i // wide + 1) * (1 + gap) + 0.5 * gap
            panel.text(across, up, word, anchor=anchor)


def _notes(times: np.ndarray, label: str) -> list[str]:
    parts = [f"{label} = {time:.2f}".replace("-", "\u2212") for time in times]
    return [f"{part}, frame {f + 1} of {len(parts)}." for f, part in enumerate(parts)]


def _way(times: np.ndarray) -> str:
    return "turn from noise to pictures" if times[0] > times[-1] else "turn to noise"

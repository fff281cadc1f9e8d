"""Words that are filled in, and bars of music: tokens as a reader knows them."""

from collections.abc import Iterable, Sequence

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array, at_least
from gentoolkit.viz.panel import INK
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

_FINE = 6  # pixels across a cell
_LETTER = 22.0


def word_grid(
    words: Iterable[object],
    times: object,
    *,
    letters: str,
    mask: int = -1,
    columns: int = 4,
    alt: str | None = None,
) -> Scene:
    """Show words whose letters are filled in: one cell a letter, a blank is woven violet.

    Letters that are there in the first frame are black, those filled in are blue. A cell that has
    just been filled or changed has a blue foot.

    Arguments:
        words: F batches of tokens (B, D), as a sampler yields them.
        times: (F,) time of each frame, falling.
        letters: one character for each token but the mask, in order.
        mask: which token is the blank, -1 for the one after the last letter.
        columns: how many words stand side by side.
        alt: the alternative text; composed if None.

    Returns:
        A scene of F frames; each note says how many blanks are left.

    Raises:
        ValueError: tokens out of range or of another shape, not one time per frame, no columns.
    """
    batches = [as_array(batch, f"words of frame {f}", ("B", "D")) for f, batch in enumerate(words)]
    blank = len(letters) if mask == -1 else mask
    cells = as_array(
        np.stack(batches), "tokens of words", ("F", "B", "D"), low=0, high=len(letters), whole=True
    ).astype(int)
    frames, count, width = cells.shape
    at = as_array(times, "times, one per frame,", (frames,))
    wide = min(at_least(columns, "columns", 1), count)
    hidden, jumped = cells == blank, np.zeros(cells.shape, bool)
    jumped[1:] = cells[1:] != cells[:-1]
    order = [*letters[:blank], " ", *letters[blank:]]
    named = ["".join(order[c] if c != blank else "_" for c in row) for row in cells[-1]]
    scene = Scene(
        frames,
        alt=alt or f"{count} words of {width} letters are filled in; at last: {', '.join(named)}.",
        fps=3.0,
        times=at,
        notes=[
            f"t = {time:.2f}, frame {f + 1} of {frames}: {int(jumped[f].sum())} letters have "
            f"jumped, {int(hidden[f].sum())} are blank."
            for f, time in enumerate(at)
        ],
        smooth=False,
    )
    pixels = np.zeros((*cells.shape, _FINE, _FINE))
    weave = np.where(np.add.outer(np.arange(_FINE), np.arange(_FINE)) % 3 == 0,
                     colors.TOKEN_WEAVE, colors.TOKEN_MASK)  # fmt: skip
    pixels[hidden] = weave
    pixels[..., -1, :] = np.where(
        (jumped & ~hidden)[..., None], colors.TOKEN_PUSH, pixels[..., -1, :]
    )
    for column in range(wide):
        chosen = np.arange(column, count, wide)
        panel = scene.panel((0, width), (0, len(chosen)), axes=False)
        tiles = pixels[:, chosen].reshape(frames, -1, _FINE, _FINE)
        panel.images(tiles, limits=(0.0, 255.0), colormap="tokens")
        for row, word in enumerate(chosen):
            for d in range(width):
                given = not hidden[0, word, d]
                panel.text(
                    d + 0.5,
                    len(chosen) - row - 0.5,
                    [order[c] for c in cells[:, word, d]],
                    size=_LETTER,
                    color=INK if given else colors.PUSH,
                )
    return small(scene, "the number of frames or of words")


def piano_roll(
    pitches: Iterable[object],
    times: object,
    *,
    titles: Sequence[str],
    held: Iterable[object] | None = None,
    given: object | None = None,
    moments: int = 8,
    alt: str | None = None,
) -> Scene:
    """Show tunes that are filled in: time to the right, pitch upward, one stroke a note.

    Moments that are given are black, those filled in are blue; a moment that is masked or silent
    stays empty.

    Arguments:
        pitches: F batches (B, S) of pitches at S moments, NaN where nothing sounds or is known.
        times: (F,) time of each frame, falling.
        titles: B words, above the panels.
        held: F batches (B, S), true where a moment only goes on with the note before it.
        given: (S,) true where the tunes are given.
        moments: how many make a bar; thin lines stand between bars.
        alt: the alternative text; composed if None.

    Returns:
        A scene of F frames.

    Raises:
        ValueError: shapes that do not fit, or nothing to show.
    """
    tunes = np.stack([np.asarray(batch, dtype=float) for batch in pitches])
    if tunes.ndim != 3 or tunes.shape[1] != len(titles) or np.isnan(tunes).all():
        raise ValueError(
            "pitches must be F batches (B, S) with one title each; got shape "
            f"{tunes.shape} and {len(titles)} titles; stack the frames of a run"
        )
    frames, _, length = tunes.shape
    at = as_array(times, "times, one per frame,", (frames,))
    on = np.zeros(tunes.shape, bool) if held is None else np.stack([np.asarray(h) for h in held])
    known = np.zeros(length, bool) if given is None else np.asarray(given, dtype=bool)
    if on.shape != tunes.shape or known.shape != (length,):
        raise ValueError(
            f"held and given must fit the pitches {tunes.shape}; got {on.shape} and "
            f"{known.shape}; pass one entry for each moment"
        )
    low, high = float(np.nanmin(tunes)) - 1.5, float(np.nanmax(tunes)) + 1.5
    empty = np.isnan(tunes).sum((1, 2))
    scene = Scene(
        frames,
        alt=alt or f"{len(titles)} tunes of {length} moments are filled in, note by note.",
        fps=3.0,
        times=at,
        notes=[
            f"t = {time:.2f}, frame {f + 1} of {frames}: {int(empty[f])} of {tunes[f].size} "
            "moments are empty."
            for f, time in enumerate(at)
        ],
        smooth=False,
    )
    for b, title in enumerate(titles):
        panel = scene.panel(
            (0.0, float(length)), (low, high), title=title, equal=False,
            x_label="quavers", y_label="pitch (MIDI)" if b == 0 else "",
        )  # fmt: skip
        walls = [[[x, low], [x, high]] for x in range(moments, length, moments)]
        if walls:
            panel.lines(walls, color=colors.NEUTRAL, width=1.0)
        strokes = np.stack([_strokes(tunes[f, b], on[f, b]) for f in range(frames)])
        for color, chosen in ((INK, known), (colors.PUSH, ~known)):
            seen = ~np.isnan(strokes).any((-1, -2)) & chosen
            if chosen.any():
                shown = np.where(seen[..., None, None], strokes, panel.nowhere)
                panel.lines(shown, color=color, width=8.0)
    return small(scene, "the number of frames or of tunes")


def _strokes(row: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Return a segment for each moment, (S, 2, 2); a note that only goes on leaves no gap."""
    moment = np.arange(len(row))
    start = moment + np.where(on & (moment > 0), 0.0, 0.14)
    return np.stack([np.stack([start, row], -1), np.stack([moment + 1.0, row], -1)], 1)

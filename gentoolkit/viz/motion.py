"""From the states of a trajectory to the frames of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gentoolkit.viz.arrays import Range, as_array


@dataclass(frozen=True)
class Motion:
    """Frames of a trajectory: points (F, B, 2), times (F,) and one note per frame or None."""

    points: np.ndarray
    times: np.ndarray
    notes: list[str] | None


def between_states(
    states: Sequence[object], between: int, times: object, notes: Sequence[str] | None
) -> Motion:
    """Put frames between states, on the straight line that joins them.

    Arguments:
        states: T + 1 arrays or tensors of shape (B, 2).
        between: frames added between two states.
        times: (T + 1,) value of each state; its number if None.
        notes: T + 1 sentences; each stands until the next state is reached.

    Returns:
        The T (between + 1) + 1 frames.

    Raises:
        ValueError: states that are not (B, 2), of changing B, or not one time and note per state.
    """
    if len(states) == 0 or between != int(between) or between < 0:
        raise ValueError(
            f"There is nothing to show: got {len(states)} states, between={between}. "
            "Pass at least one state and a whole between >= 0."
        )
    arrays = [as_array(state, f"state {i}") for i, state in enumerate(states)]
    for i, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[1] != 2 or array.shape != arrays[0].shape:
            raise ValueError(
                f"State {i} cannot be drawn in a plane: got shape {array.shape} where state 0 has "
                f"{arrays[0].shape}. Pass a trajectory whose states are all (B, 2)."
            )
    count = len(arrays)
    stops = np.arange(count, dtype=float) if times is None else as_array(times, "times")
    if stops.shape != (count,) or (notes is not None and len(notes) != count):
        given = None if notes is None else len(notes)
        raise ValueError(
            f"Times or notes do not fit the states: got {stops.shape} times and {given} notes for "
            f"{count} states. Pass one of each per state."
        )
    path = np.stack(arrays)
    where = np.arange((count - 1) * (between + 1) + 1) / (between + 1)
    left = np.minimum(where.astype(int), max(count - 2, 0))
    right = np.minimum(left + 1, count - 1)
    share = (where - left)[:, None, None]
    return Motion(
        points=(1 - share) * path[left] + share * path[right],
        times=np.interp(where, np.arange(count), stops),
        notes=None if notes is None else [str(notes[int(w)]) for w in where],
    )


def extent(values: np.ndarray) -> Range:
    """Find a range that holds all values with some room.

    Arguments:
        values: numbers of any shape.

    Returns:
        (lowest, highest), 5 % wider at each end.
    """
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin

"""Places for words that would lie on each other."""

import numpy as np

from gentoolkit.viz.arrays import as_array, positive


def apart(places: object, room: float) -> np.ndarray:
    """Push places apart until no two are nearer than `room`, each as little as it needs.

    Arguments:
        places: (N, 2), such as the medians of classes.
        room: least distance, in the units of the axes.

    Returns:
        (N, 2) places.
    """
    xy = as_array(places, "places", ("N", 2)).astype(float).copy()
    positive(room, "room")
    # A fixed direction for places that coincide, so that the result is always the same.
    turn = 2.4 * np.arange(len(xy))
    xy += 1e-3 * room * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for _ in range(200):
        offset = xy[:, None] - xy[None]
        distance = np.linalg.norm(offset, axis=2) + np.eye(len(xy)) * room
        lacking = np.clip(1.02 * room - distance, 0.0, None) * (1 - np.eye(len(xy)))
        if lacking.max(initial=0.0) <= 0.02 * room:
            break
        xy += 0.5 * (offset / distance[..., None] * lacking[..., None]).sum(1)
    return xy

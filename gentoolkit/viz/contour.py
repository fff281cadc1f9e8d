"""Outlines of a density on a grid: where it passes a level, as short line segments."""

import numpy as np

from gentoolkit.viz.arrays import Range, as_array

# The corners of a cell, from the lower left against the clock; the edge k joins corner k to the
# next one. For each pattern of corners above the level (bit k for corner k): the crossed edges.
_CROSSED: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((3, 0),), 2: ((0, 1),), 3: ((3, 1),), 4: ((1, 2),), 5: ((3, 0), (1, 2)), 6: ((0, 2),),
    7: ((3, 2),), 8: ((2, 3),), 9: ((2, 0),), 10: ((0, 1), (2, 3)), 11: ((2, 1),), 12: ((1, 3),),
    13: ((1, 0),), 14: ((0, 3),),
}  # fmt: skip
_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])


def outline(values: object, level: float, x: Range, y: Range) -> np.ndarray:
    """Find where a function on a grid passes a level (marching squares).

    Arguments:
        values: (H, W) numbers at the cell centres of a regular grid; row 0 at the lower edge.
        level: the level.
        x: (left, right) edges of the grid.
        y: (lower, upper) edges of the grid.

    Returns:
        (S, 2, 2) segments; S is 0 if the function does not pass the level.

    Raises:
        ValueError: the grid is not two-dimensional or not finite.
    """
    grid = as_array(values, "outline", ("N", "M"))
    height, width = grid.shape
    rows, columns = np.mgrid[: height - 1, : width - 1]
    corner = np.stack([grid[rows + up, columns + across] for across, up in _CORNERS])
    pattern = ((corner > level) * (1 << np.arange(4))[:, None, None]).sum(0)
    found = [np.zeros((0, 2, 2))]
    for code, pairs in _CROSSED.items():
        at = np.nonzero(pattern == code)
        if not len(at[0]):
            continue
        base = np.stack([columns[at], rows[at]], axis=1)
        for pair in pairs:
            ends = [base + _crossing(corner[(slice(None), *at)], edge, level) for edge in pair]
            found.append(np.stack(ends, axis=1))
    scale = np.array([(x[1] - x[0]) / width, (y[1] - y[0]) / height])
    return np.array([x[0], y[0]]) + (np.concatenate(found) + 0.5) * scale


def _crossing(corner: np.ndarray, edge: int, level: float) -> np.ndarray:
    """(4, S) corner values -> (S, 2) place on the edge, from the cell's lower left corner."""
    start, end = edge, (edge + 1) % 4
    share = (level - corner[start]) / (corner[end] - corner[start])
    return _CORNERS[start] + share[:, None] * (_CORNERS[end] - _CORNERS[start])


def level_of(values: object, share: float) -> float:
    """Find the level above which a density on a grid holds a share of its mass.

    Raises:
        ValueError: a share out of range, a negative value, or nothing above zero.
    """
    mass = np.sort(as_array(values, "density").ravel())[::-1]
    if not 0 < share < 1 or mass[-1] < 0 or mass[0] <= 0:
        raise ValueError(
            f"a region must hold a share of mass; got share {share} and densities from "
            f"{mass[-1]:g} to {mass[0]:g}; pass 0 < share < 1 and densities of at least 0"
        )
    total = np.cumsum(mass)
    return float(mass[np.searchsorted(total, share * total[-1])])

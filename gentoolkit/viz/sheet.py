"""A chain of bijections on the plane, seen as a rubber sheet: the numbers behind ``warp``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core import Chain, Step
from gentoolkit.core.chain import Source, draw, log_density
from gentoolkit.viz.arrays import Range
from gentoolkit.viz.particles import cells

PIECES = 3
"""Pieces of a grid line between two crossings: enough to look bent where a layer is gentle."""


@dataclass(frozen=True)
class Sheet:
    """Grid lines and particles at every depth of a chain, depth 0 on the source side.

    Arguments:
        lines: (T + 1, P, V, 2) vertices of the source's grid lines.
        points: (T + 1, N, 2) particles.
        log_det: (T + 1, N), the sum of log |det| of the layers that a particle has passed.
        log_density: (T + 1, N), `log source(x_0) - log_det`: exact at each depth.
    """

    lines: np.ndarray
    points: np.ndarray
    log_det: np.ndarray
    log_density: np.ndarray


def layers_of(chain: Chain) -> list[Step]:
    """Return the steps of a chain that can be drawn as a sheet.

    Raises:
        TypeError: not a Chain.
        ValueError: no step, or one that is random or only estimates its log-determinant.
    """
    if not isinstance(chain, Chain):
        raise TypeError(
            f"a sheet is bent by a chain; got {type(chain).__name__}; pass a Chain of Bijections, "
            "for example flow.chain()"
        )
    for t, step in enumerate(chain.steps):
        if why := step.why_no_density():
            raise ValueError(
                f"a sheet needs exact bijections; got steps[{t}], {why}; or draw a pushed "
                "Trajectory with weighed_paths"
            )
    if not chain.steps:
        raise ValueError("a sheet needs a layer that bends it; got 0 steps; pass one or more")
    return list(chain.steps)


def like(source: Source) -> Tensor:
    """Draw one sample, for its dtype and device; the global random state stays as it was."""
    with torch.random.fork_rng():
        return draw(source, 1)


def grid_lines(extent: Range, lines: int, pieces: int = PIECES) -> np.ndarray:
    """Draw a square grid of so many lines in each direction, as (2 lines, V, 2) vertices."""
    places = np.linspace(*extent, lines)
    along = np.linspace(*extent, pieces * (lines - 1) + 1)
    across, up = np.meshgrid(places, along, indexing="ij")
    return np.concatenate([np.stack([across, up], axis=2), np.stack([up, across], axis=2)])


def push_sheet(chain: Chain, extent: Range, lines: int, n: int, pieces: int = PIECES) -> Sheet:
    """Push a grid and `n` particles of the source through a chain, layer by layer.

    The particles are the same ones for every chain with this source.

    Raises:
        ValueError: the source is not on the plane, or a state is not finite or of another shape.
    """
    with torch.no_grad():
        generator = torch.Generator(like(chain.source).device).manual_seed(0)
        points = draw(chain.source, n, generator)
        if points.shape != (n, 2):
            raise ValueError(
                f"a sheet lies in the plane; got samples of shape {tuple(points.shape)} from the "
                f"source; pass a Chain whose source draws ({n}, 2) numbers"
            )
        grid = grid_lines(extent, lines, pieces)
        state = torch.cat([torch.as_tensor(grid.reshape(-1, 2)).to(points), points])
        split = len(state) - n
        states, log_dets = [state], [state.new_zeros(n)]
        for t, step in enumerate(layers_of(chain)):
            state, log_det = step.push(state)
            if state.shape != states[0].shape or not bool(torch.isfinite(state).all()):
                raise ValueError(
                    f"a layer must map the whole plane; got shape {tuple(state.shape)} for "
                    f"{len(states[0])} points or values that are not finite after steps[{t}], a "
                    f"{type(step).__name__}; fix it, or pass a smaller extent"
                )
            states.append(state)
            log_dets.append(log_dets[-1] + log_det[split:])
        log_det = torch.stack(log_dets)
        log_p = log_density(chain.source, points) - log_det
    path = torch.stack(states).double().cpu().numpy()
    return Sheet(
        lines=path[:, :split].reshape(len(path), *grid.shape),
        points=path[:, split:],
        log_det=log_det.double().cpu().numpy(),
        log_density=log_p.double().cpu().numpy(),
    )


def densities(chain: Chain, extent: Range, grid: int, every_depth: bool = True) -> np.ndarray:
    """Evaluate the density of the first layers of a chain on a grid, exactly, by pulling.

    The grids of all depths share the batch, so that each layer is inverted once.

    Returns:
        (T + 1, grid, grid) densities after 0, 1, ..., T layers, or (1, grid, grid), after all, if
        not ``every_depth``; row 0 is the lowest.

    Raises:
        ValueError: a density is NaN.
    """
    steps = layers_of(chain)
    with torch.no_grad():
        places = torch.as_tensor(cells(extent, grid)).to(like(chain.source))
        state, log_det = places, places.new_zeros(len(places))
        for step in reversed(steps):
            state, own = step.pull(state)
            log_det = log_det + own
            if every_depth:  # the grid of the depth below this layer joins the batch
                state = torch.cat([state, places])
                log_det = torch.cat([log_det, log_det.new_zeros(len(places))])
        density = (log_density(chain.source, state) - log_det).exp()
        density = density.double().cpu().numpy().reshape(-1, grid, grid)[::-1]
    bad = np.isnan(density).sum((1, 2))
    if bad.any():
        raise ValueError(
            f"a density must be a number; got NaN at {int(bad.max())} of {grid * grid} grid points "
            f"after {int(bad.argmax()) if every_depth else len(steps)} layers; pass an extent "
            "where the inverses are defined, or density=False"
        )
    return density


def between(count: int, frames: int) -> np.ndarray:
    """Weigh (frames, count) states so that equally spaced frames join them by straight lines."""
    where = np.linspace(0, count - 1, frames)
    return np.maximum(0.0, 1.0 - np.abs(where[:, None] - np.arange(count)))


def mix(weights: np.ndarray, states: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Return the weighted sums of states (count, ...) for weights (frames, count)."""
    return np.tensordot(weights, np.asarray(states), 1)

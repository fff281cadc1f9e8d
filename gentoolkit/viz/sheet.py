"""A chain of bijections on the plane, seen as a rubber sheet: the numbers behind ``warp``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core import Bijection, Chain
from gentoolkit.core.chain import Source, Target, draw, log_density
from gentoolkit.viz.arrays import Range

_EACH = 3  # pieces of a grid line between two crossings: enough to look bent


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


def layers_of(chain: Chain) -> list[Bijection]:
    """Check that a chain can be drawn as a sheet.

    Returns:
        Its steps.

    Raises:
        TypeError: not a Chain, or a step is not a Bijection.
        ValueError: no step, or one that only estimates its log-determinant.
    """
    if not isinstance(chain, Chain):
        raise TypeError(
            f"There is no chain to draw: got {type(chain).__name__}. "
            "Pass a Chain of Bijections, for example flow.chain()."
        )
    if not chain.steps:
        raise ValueError("The chain moves nothing: got 0 steps. Pass a Chain of one step or more.")
    steps = []
    for t, step in enumerate(chain.steps):
        name = f"steps[{t}], a {type(step).__name__}"
        if not isinstance(step, Bijection):
            raise TypeError(
                f"A random step does not bend a sheet: got {name}. "
                "Pass a Chain whose steps are all Bijections, or draw its Trajectory."
            )
        if step.estimated:
            raise ValueError(
                f"The accounts need exact log-determinants: got {name}, which estimates its own. "
                "Make the layer exact before you draw it."
            )
        steps.append(step)
    return steps


def _like(source: Source) -> Tensor:
    """One sample, for its dtype and device; the global random state stays as it was."""
    with torch.random.fork_rng():
        return draw(source, 1)


def grid_lines(extent: Range, lines: int) -> np.ndarray:
    """Draw a square grid.

    Arguments:
        extent: (lowest, highest) of both coordinates.
        lines: how many in each direction.

    Returns:
        (2 lines, V, 2) vertices.
    """
    places = np.linspace(*extent, lines)
    along = np.linspace(*extent, _EACH * (lines - 1) + 1)
    across, up = np.meshgrid(places, along, indexing="ij")
    return np.concatenate([np.stack([across, up], axis=2), np.stack([up, across], axis=2)])


def push_sheet(chain: Chain, extent: Range, lines: int, n: int, seed: int) -> Sheet:
    """Push a grid and `n` particles of the source through a chain, layer by layer.

    Arguments:
        chain: bijections on the plane.
        extent: (lowest, highest) of both coordinates of the grid.
        lines: grid lines in each direction.
        n: number of particles.
        seed: of the particles: the same ones for every chain with this source.

    Raises:
        ValueError: the source is not on the plane, or a state is not finite or of another shape.
    """
    with torch.no_grad():
        generator = torch.Generator(_like(chain.source).device).manual_seed(seed)
        points = draw(chain.source, n, generator)
        if points.shape != (n, 2):
            raise ValueError(
                f"The source is not on the plane: got samples of shape {tuple(points.shape)}. "
                f"Pass a Chain whose source draws ({n}, 2) numbers."
            )
        grid = grid_lines(extent, lines)
        state = torch.cat([torch.as_tensor(grid.reshape(-1, 2)).to(points), points])
        split = len(state) - n
        states, log_dets = [state], [state.new_zeros(n)]
        for t, step in enumerate(layers_of(chain)):
            state, log_det = step.transform(state)
            if state.shape != states[0].shape or not bool(torch.isfinite(state).all()):
                raise ValueError(
                    f"steps[{t}], a {type(step).__name__}, tears the sheet: got shape "
                    f"{tuple(state.shape)} for {len(states[0])} points, or values that are not "
                    "finite. Use maps of the whole plane, or a smaller extent."
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


def centres(extent: Range, grid: int) -> np.ndarray:
    """Lay a regular grid over a square.

    Returns:
        (grid * grid, 2) cell centres, row by row from below.
    """
    side = extent[0] + (np.arange(grid) + 0.5) * (extent[1] - extent[0]) / grid
    across, up = np.meshgrid(side, side)
    return np.stack([across.ravel(), up.ravel()], axis=1)


def densities(chain: Chain, extent: Range, grid: int, every_depth: bool = True) -> np.ndarray:
    """Evaluate the density of the first layers of a chain on a grid, exactly, by pulling.

    The grids of all depths share the batch, so that each layer is inverted once.

    Arguments:
        chain: bijections on the plane.
        extent: (lowest, highest) of both coordinates.
        grid: cells along each side.
        every_depth: after 0, 1, ..., T layers; after all T layers if False.

    Returns:
        (T + 1, grid, grid) densities, or (1, grid, grid); row 0 is the lowest.

    Raises:
        ValueError: a density is NaN.
    """
    steps = layers_of(chain)
    with torch.no_grad():
        like = _like(chain.source)
        places = torch.as_tensor(centres(extent, grid)).to(like)
        state, log_det = places, places.new_zeros(len(places))
        for step in reversed(steps):
            state, own = step.inverse(state)
            log_det = log_det + own
            if every_depth:  # the grid of the depth below this layer joins the batch
                state = torch.cat([state, places])
                log_det = torch.cat([log_det, log_det.new_zeros(len(places))])
        density = (log_density(chain.source, state) - log_det).exp()
        density = density.double().cpu().numpy().reshape(-1, grid, grid)[::-1]
    bad = np.isnan(density).sum((1, 2))
    if bad.any():
        raise ValueError(
            f"A density is not a number: got NaN at {int(bad.max())} of {grid * grid} grid points "
            f"after {int(bad.argmax()) if every_depth else len(steps)} layers. "
            "Narrow the extent to where the inverses are defined, or pass density=False."
        )
    return density


def target_density(target: Target, extent: Range, grid: int, chain: Chain) -> np.ndarray:
    """Evaluate a target on a grid, up to a factor.

    Arguments:
        target: a log-density: a function (B, 2) -> (B,), or an object with ``log_prob``.
        extent: (lowest, highest) of both coordinates.
        grid: cells along each side.
        chain: whose source has the dtype and the device that the target is called with.

    Returns:
        (grid, grid) numbers with highest value 1; row 0 is the lowest.

    Raises:
        ValueError: the target is NaN, or nowhere above zero.
    """
    with torch.no_grad():
        like = _like(chain.source)
        values = log_density(target, torch.as_tensor(centres(extent, grid)).to(like))
    log_p = values.double().cpu().numpy().reshape(grid, grid)
    highest = float(log_p.max())
    if not np.isfinite(highest):
        raise ValueError(
            f"The target has no density to draw: got a highest log-density of {highest} on the "
            "grid. Pass a log-density that is finite somewhere within the extent."
        )
    return np.exp(log_p - highest)


def between(count: int, frames: int) -> np.ndarray:
    """Weigh `count` states so that `frames` equally spaced frames join them by straight lines.

    Returns:
        (frames, count) weights; every row sums to one.
    """
    where = np.linspace(0, count - 1, frames)
    return np.maximum(0.0, 1.0 - np.abs(where[:, None] - np.arange(count)))


def mix(weights: np.ndarray, states: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Return the weighted sums of states (count, ...) for weights (frames, count)."""
    return np.tensordot(weights, np.asarray(states), 1)

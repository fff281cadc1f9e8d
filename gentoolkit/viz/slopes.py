"""Annealing as two slopes of one mountain: up by the push, down by the pull, and what it weighs.

log w_k = log g_k(x_k) - log evidence(x_0, ..., x_k)          running, for each particle
share_k = Cov(log w_k - log w_{k-1}, log w_T)                 of the variance of log w_T
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core import Trajectory, residuals, variance_shares
from gentoolkit.core.chain import Target, log_density
from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range, as_array, as_range
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.sheet import centres
from gentoolkit.viz.size import small

_BINS = 40


def slopes(
    pushed: Trajectory,
    pulled: Trajectory,
    densities: Sequence[Target],
    *,
    alt: str,
    extent: Sequence[float] = (-4.0, 4.0),
    span: Sequence[float] = (-15.0, 5.0),
    most: float | None = None,
    lag: object = None,
    grid: int = 40,
    exact: float | None = None,
    fps: float = 8.0,
    group: str | None = None,
) -> Scene:
    """Show a chain of annealed densities from both ends, with its log-weights.

    Panels: pushed particles at density k over its heat; pulled particles, which start at the target
    and stand at density T - k when the others stand at k; the running log-weight of the pushed
    ones; how much each step adds to the variance of the last.

    Arguments:
        pushed: T steps of paths in the plane from the source.
        pulled: T steps of paths in the plane, pulled from samples of the target.
        densities: g_0, ..., g_T: log-densities (B, 2) -> (B,), the source first, the target last.
        alt: the alternative text.
        extent: (lowest, highest) of both coordinates.
        span: (lowest, highest) log-weight shown; what lies beyond piles up in the outermost bars.
        most: the height of the last panel, in squared nats; what the highest bar needs if None. Fix
            it, and `span`, where several scenes are compared.
        lag: (T + 1, M, 2), an arrow for each of the first M pushed particles: grad log q_k - grad
            log g_k. One common factor brings the arrows to a length that fits the picture.
        grid: cells of the heat along each side.
        exact: log Z, if known, as a line in the histogram.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of T + 1 frames and at most 1.5 MB.

    Raises:
        ValueError: paths off the plane, another number of steps or densities, fewer than two paths,
            numbers that are not finite, or more than 1.5 MB.

    Reference: Doucet, Grathwohl, Matthews, Strathmann 2022 (arXiv 2208.07698).
    """
    side, weights = as_range(extent, "extent"), as_range(span, "span")
    up, down = _plane(pushed, "pushed"), _plane(pulled, "pulled")
    count = len(up)
    if not len(down) == len(densities) == count or count < 2:
        raise ValueError(
            f"The two slopes do not fit: got {count - 1} steps pushed, {len(down) - 1} pulled and "
            f"{len(densities)} densities. Pass T >= 1 steps each way and T + 1 densities, the "
            "source's first."
        )
    with torch.no_grad():
        flow = [log_density(g, x) for g, x in zip(densities, pushed.states, strict=True)]
        running = torch.stack(flow) - pushed.ledger()
        terms = residuals(pushed, torch.stack(flow))
        # The path's start weighs nothing where g_0 is the source.
        terms[0] += running[0]
        shares = variance_shares(terms.double())
    log_w = as_array(running, "log-weights", ("N", "M"))
    notes = [_note(k, count - 1, w) for k, w in enumerate(log_w)]
    scene = Scene(count, alt=alt, fps=fps, time_label="density", notes=notes, group=group)
    heat = np.stack([_heat(g, side, grid, pushed.states[0]) for g in densities])
    left = scene.panel(side, side, title="push: from the source up")
    left.heat(heat, limits=(0.0, 1.0), colormap="greys", alpha=0.7).points(up, size=4.5)
    if lag is not None:
        _arrows(left, up, lag, side)
    right = scene.panel(side, side, title="pull: from the target down")
    right.heat(heat[::-1], limits=(0.0, 1.0), colormap="greys", alpha=0.7)
    right.points(down[::-1], color=colors.PULL, size=4.5)
    _histogram(scene, log_w, weights, exact)
    _bars(scene, shares.numpy(), most)
    return small(scene, "the number of paths or grid")


def _plane(trajectory: Trajectory, name: str) -> np.ndarray:
    states = [as_array(x, f"{name} state {t}") for t, x in enumerate(trajectory.states)]
    if any(x.ndim != 2 or x.shape[1] != 2 or x.shape != states[0].shape for x in states):
        raise ValueError(
            f"The {name} paths cannot be drawn in a plane: got states of shapes "
            f"{sorted({x.shape for x in states})}. Pass a trajectory whose states are all (B, 2)."
        )
    return np.stack(states)


def _heat(density: Target, side: Range, grid: int, like: Tensor) -> np.ndarray:
    """Evaluate a density on the cells, its highest value 1: normalisers differ on the way."""
    with torch.no_grad():
        log_g = log_density(density, torch.as_tensor(centres(side, grid)).to(like))
    values = log_g.double().cpu().numpy().reshape(grid, grid)
    return np.exp(values - values.max())


def _arrows(panel: Panel, points: np.ndarray, lag: object, side: Range) -> None:
    vectors = as_array(lag, "lag", ("F", "N", "M"))
    if len(vectors) != len(points) or not 1 <= vectors.shape[1] <= points.shape[1]:
        raise ValueError(
            f"The lag does not fit the paths: got shape {vectors.shape} for {len(points)} states "
            f"of {points.shape[1]} particles. Pass (T + 1, M, 2) for the first M of them."
        )
    # A few extreme arrows must not shorten the others to nothing.
    length = np.hypot(vectors[..., 0], vectors[..., 1])
    usual = float(np.quantile(length, 0.9)) or 1.0
    reach = 0.1 * (side[1] - side[0])
    shown = vectors * reach / np.maximum(usual, length)[..., None]
    panel.arrows(points[:, : vectors.shape[1]], shown, color=colors.WRONG, width=1.6)


def _histogram(scene: Scene, log_w: np.ndarray, span: Range, exact: float | None) -> None:
    edges = np.linspace(*span, _BINS + 1)
    clipped = np.clip(log_w, *span)
    heights = np.stack([np.histogram(row, edges)[0] for row in clipped]) / log_w.shape[1]
    # Without k = 0, where all weights are one.
    top = 1.1 * float(heights[1:].max())
    panel = scene.panel(
        span, (0.0, top), title="share of log w", x_label="log w so far", equal=False
    )
    middle = (edges[:-1] + edges[1:]) / 2
    width = 0.9 * (edges[1] - edges[0])
    panel.bars(np.minimum(heights, top), positions=middle, width=width)
    if exact is not None:
        panel.lines([[[exact, 0.0], [exact, top]]], color="#1F2933", width=2.0, dash=True)


def _bars(scene: Scene, shares: np.ndarray, most: float | None) -> None:
    low = min(0.0, 1.1 * float(shares.min()))
    top = 1.1 * float(shares.max()) if most is None else float(most)
    top = max(top, low + 1e-6)
    steps = len(shares)
    total = float(shares.sum())
    panel = scene.panel(
        (0.3, steps + 0.7),
        (low, top),
        title=f"Var log w = {total:.2f}",
        x_label="step",
        equal=False,
    )
    at = np.arange(1, steps + 1)
    panel.bars(np.clip(shares, low, top), positions=at, color=colors.NEUTRAL)
    reached = np.where(np.arange(steps + 1)[:, None] == at, np.clip(shares, low, top), 0.0)
    panel.bars(reached, positions=at, color=colors.PUSH, alpha=1.0)


def _note(k: int, last: int, log_w: np.ndarray) -> str:
    if k == 0:
        return "At the source the pushed particles weigh one; the pulled ones stand at the target."
    mean, spread = float(log_w.mean()), float(log_w.std())
    said = f"mean log w {mean:.2f}, deviation {spread:.2f}".replace("-", "\u2212")
    return f"Density {k} of {last}: {said}."

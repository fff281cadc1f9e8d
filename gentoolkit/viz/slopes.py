"""Annealing as two slopes of one mountain: up by the push, down by the pull, and what it weighs.

log w_k = log g_k(x_k) - log evidence(x_0, ..., x_k)          running, for each particle
share_k = Cov(log w_k - log w_{k-1}, log w_T)                 of the variance of log w_T
"""

from collections.abc import Sequence

import numpy as np
import torch

from gentoolkit.core import Trajectory, residuals, variance_shares
from gentoolkit.core.chain import Target, log_density
from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range, as_array, as_range
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.particles import density_over, histogram_panel, in_plane, number
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

_CELLS = 40


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
    exact: float | None = None,
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
        exact: log Z, if known, as a line in the histogram.

    Returns:
        A scene of T + 1 frames and at most 1.5 MB.

    Raises:
        ValueError: paths off the plane, another number of steps or densities, fewer than two paths,
            numbers that are not finite, or more than 1.5 MB.

    Reference: Doucet, Grathwohl, Matthews, Strathmann 2022 (arXiv 2208.07698).
    """
    side, weights = as_range(extent, "extent"), as_range(span, "span")
    up, down = in_plane(pushed.states, "pushed state"), in_plane(pulled.states, "pulled state")
    count = len(up)
    if not len(down) == len(densities) == count or count < 2:
        raise ValueError(
            f"both slopes must have T >= 1 steps; got {count - 1} pushed, {len(down) - 1} pulled "
            f"and {len(densities)} densities; pass T + 1 densities, the source's first"
        )
    with torch.no_grad():
        flow = [log_density(g, x) for g, x in zip(densities, pushed.states, strict=True)]
        running = torch.stack(flow) - pushed.ledger()
        terms = residuals(pushed, torch.stack(flow))
        # The path's start weighs nothing where g_0 is the source.
        terms[0] += running[0]
        shares = variance_shares(terms.double()).numpy()
    log_w = as_array(running, "log-weights", ("T", "B"))
    notes = [_note(k, count - 1, w) for k, w in enumerate(log_w)]
    scene = Scene(count, alt=alt, fps=8.0, time_label="density", notes=notes)
    heat = np.stack([density_over(g, side, _CELLS, pushed.states[0]) for g in densities])
    left = scene.panel(side, side, title="push: from the source up")
    left.heat(heat, limits=(0.0, 1.0), colormap="greys", alpha=0.7).points(up, size=4.5)
    if lag is not None:
        _arrows(left, up, lag)
    right = scene.panel(side, side, title="pull: from the target down")
    right.heat(heat[::-1], limits=(0.0, 1.0), colormap="greys", alpha=0.7)
    right.points(down[::-1], color=colors.PULL, size=4.5)
    histogram_panel(
        scene, log_w, weights, exact, title="share of paths", label="log w so far",
        color=colors.PUSH, piled=True,
    )  # fmt: skip
    _share_panel(scene, shares, most)
    return small(scene, "the number of paths")


def _arrows(panel: Panel, points: np.ndarray, lag: object) -> None:
    vectors = as_array(lag, "lag", (len(points), "M", 2))
    tails = points[:, : vectors.shape[1]]
    # A few extreme arrows must not shorten the others to nothing.
    length = np.hypot(vectors[..., 0], vectors[..., 1])
    usual = float(np.quantile(length, 0.9)) or 1.0
    reach = 0.1 * (panel.x[1] - panel.x[0])
    shown = vectors * reach / np.maximum(usual, length)[..., None]
    panel.arrows(tails, shown, color=colors.WRONG, width=1.6)


def _share_panel(scene: Scene, shares: np.ndarray, most: float | None) -> None:
    low = min(0.0, 1.1 * float(shares.min()))
    top = max(1.1 * float(shares.max()) if most is None else float(most), low + 1e-6)
    title = f"variance of log w: {float(shares.sum()):.2f}"
    span: Range = (0.3, len(shares) + 0.7)
    panel = scene.panel(span, (low, top), title=title, x_label="step", equal=False)
    at, tall = np.arange(1, len(shares) + 1), np.clip(shares, low, top)
    panel.bars(tall, positions=at, color=colors.NEUTRAL)
    reached = np.where(np.arange(scene.frames)[:, None] == at, tall, 0.0)
    panel.bars(reached, positions=at, color=colors.PUSH, alpha=1.0)


def _note(k: int, last: int, log_w: np.ndarray) -> str:
    if k == 0:
        return "At the source the pushed particles weigh one; the pulled ones stand at the target."
    mean, spread = number(float(log_w.mean())), number(float(log_w.std()))
    return f"Density {k} of {last}: mean log w {mean}, deviation {spread}."

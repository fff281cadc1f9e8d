"""The ledger: layer tiles over a cloud, and the log-weight of each particle, layer by layer.

    log_w_t = log target(x_t) - log source(x_0) + sum_{s <= t} log_ratio_s

is the log-weight of the chain stopped after layer t. A move in detailed balance with the target
adds exactly zero to it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core import Trajectory
from gentoolkit.core.chain import Target, log_density
from gentoolkit.viz.arrays import as_range
from gentoolkit.viz.arrays import extent as extent_of
from gentoolkit.viz.ledger_panels import density_over, histogram_panel
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

TILES = {
    "flow": ("F", "#0072B2"),
    "langevin": ("L", "#00795A"),
    "metropolis": ("M", "#B2182B"),
    "vae": ("V", "#7B5AA6"),
    "diffusion": ("D", "#8C564B"),
}
"""Letter and colour of each kind of layer."""


def stopped(trajectory: Trajectory, target: Target) -> Tensor:
    """Return the log-weight of the chain stopped after each layer, (T+1, B).

        log_w_t = log target(x_t) - log source(x_0) + sum_{s <= t} log_ratio_s

    Row 0 is that of no layer, the last row the log-weight of the trajectory.

    Arguments:
        trajectory: T steps of B paths, whose states all have the target's width.
        target: the unnormalised log-density, a function or an object with `log_prob`.

    Raises:
        ValueError: the target does not give one number per path.
    """
    known = torch.stack([log_density(target, x) for x in trajectory.states])
    return known - trajectory.ledger()


def ledger(
    trajectory: Trajectory,
    kinds: Sequence[str],
    target: Target,
    *,
    log_z: float,
    alt: str,
    extent: Sequence[float] = (-6.0, 6.0),
    span: float = 12.0,
    fps: float = 2.0,
    group: str | None = None,
) -> Scene:
    """Show a cloud layer by layer, each particle's account of log w, and the histogram of log w.

    A click on a particle, or the keys [ and ], chooses whose account is drawn.

    Arguments:
        trajectory: T steps of B paths in the plane, pushed from the source.
        kinds: of the T layers, each a key of `TILES`.
        target: the unnormalised log-density; its density is drawn behind the cloud.
        log_z: the exact log normaliser, marked in both right panels.
        alt: the alternative text.
        extent: (lowest, highest) of both coordinates.
        span: nats of the histogram to either side of `log_z`; the outermost bars hold the rest.
        fps: layers a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of T + 1 frames and at most 1.5 MB.

    Raises:
        ValueError: not one known kind for each layer, states outside of the plane, a log-weight
            that is not finite, `span` not positive, or more than 1.5 MB.

    Reference: Wu, Köhler, Noé 2020 (arXiv 2002.06707).
    """
    _check(trajectory, kinds, span)
    side = as_range(extent, "extent")
    with torch.no_grad():
        log_w = stopped(trajectory, target).double().cpu().numpy()
        if not np.isfinite(log_w).all():
            raise ValueError(
                f"the ledger needs finite log-weights; got {int((~np.isfinite(log_w)).sum())} that "
                "are not; use a target that is positive on the whole plane"
            )
        heat = density_over(target, side, trajectory.states[0])
    scene = Scene(
        len(log_w),
        alt=alt,
        fps=fps,
        times=np.arange(len(log_w)),
        time_label="layer",
        notes=_notes(kinds, log_w),
        group=group,
    )
    names = ["source", *(f"{k}: {kind}" for k, kind in enumerate(kinds, 1))]
    cloud = scene.panel(side, side, title="the cloud, over the target")
    cloud.heat(heat, limits=(0.0, 1.3), colormap="greys")
    states = np.stack([x.detach().double().cpu().numpy() for x in trajectory.states])
    cloud.points(states, size=3.0, alpha=0.45)
    width = side[1] - side[0]
    cloud.text(side[0] + 0.03 * width, side[1] - 0.055 * width, names, anchor="left")
    _accounts(scene, kinds, log_w, log_z)
    histogram_panel(scene, log_w, log_z, span)
    return small(scene, "the number of particles or layers")


def _check(trajectory: Trajectory, kinds: Sequence[str], span: float) -> None:
    unknown = [kind for kind in kinds if kind not in TILES]
    if unknown or len(kinds) != len(trajectory.log_ratio) or not kinds:
        raise ValueError(
            f"each layer needs a kind; got {list(kinds)} for {len(trajectory.log_ratio)} layers; "
            f"pass one of {', '.join(TILES)} for each"
        )
    shapes = {tuple(x.shape[1:]) for x in trajectory.states}
    if shapes != {(2,)}:
        raise ValueError(
            f"the ledger draws states in the plane; got event shapes {sorted(shapes)}; pass a "
            "trajectory whose states are all (B, 2)"
        )
    if not span > 0:
        raise ValueError(f"span must be positive; got {span}; pass nats, such as 12")


def _notes(kinds: Sequence[str], log_w: np.ndarray) -> list[str]:
    found = ["Before any layer: the source, weighed against the target."]
    for k, (kind, change) in enumerate(zip(kinds, np.diff(log_w, axis=0), strict=True), 1):
        largest = float(np.abs(change).max())
        still = largest < 1e-4
        moved = "no log-weight changes" if still else f"log-weights change by up to {largest:.1f}"
        found.append(f"Layer {k} of {len(kinds)}, {kind}: {moved}.")
    return found


def _accounts(scene: Scene, kinds: Sequence[str], log_w: np.ndarray, log_z: float) -> Panel:
    # Particle 0 is the one chosen at first: its account must lie inside, whatever the others do.
    seen = np.array([*np.quantile(log_w, (0.1, 0.99)), *log_w[:, 0], log_z])
    low, high = extent_of(seen)
    count, top = len(kinds), high + 0.12 * (high - low)
    panel = scene.panel(
        (0, count),
        (low, top),
        title="account of log w",
        x_label="layer",
        equal=False,
    )
    # Tile k hangs over the stretch in which layer k acts; the layer just done stands filled.
    for k, kind in enumerate(kinds):
        letter, color = TILES[kind]
        edges = [[k + 0.06, high], [k + 0.94, high], [k + 0.94, top], [k + 0.06, top]]
        edges.append(edges[0])
        panel.lines(np.array([edges]), color=color, width=2.0)
        active = [f"[{letter}]" if f == k + 1 else letter for f in range(count + 1)]
        panel.text(k + 0.5, (high + top) / 2, active, color=color)
    panel.lines([[[0, log_z], [count, log_z]]], color="#1F2933", width=1.5, dash=True)
    panel.accounts(np.arange(count + 1), log_w, name="log w, stopped here", others=40)
    return panel

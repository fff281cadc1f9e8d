"""Paths as a cloud, with what each has paid and the histogram of its log-weight.

`weighed_paths` takes the paths of any chain, in the plane or placed there. Its log-weight

    log target(x_T) - log source(x_0) + sum_{s <= t} log_ratio_s

is what the path would weigh if the steps that are left cost nothing. `ledger` takes a chain of
mixed layers whose states all have a target density, and keeps the log-weight of the chain stopped
after each, to which a move in detailed balance with the target adds exactly zero.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core import Trajectory, ess, log_z_error
from gentoolkit.core import log_z as log_mean
from gentoolkit.core.chain import Target, log_density
from gentoolkit.viz.arrays import as_array, as_range, positive
from gentoolkit.viz.particles import account_panel, density_over, histogram_panel, in_plane
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

_CELLS = 64
TILES = {
    "flow": ("F", "#0072B2"),
    "langevin": ("L", "#00795A"),
    "metropolis": ("M", "#B2182B"),
    "vae": ("V", "#7B5AA6"),
    "diffusion": ("D", "#8C564B"),
}
"""Letter and colour of each kind of layer in a ledger."""


def weighed_paths(
    trajectory: Trajectory,
    target: Target,
    *,
    log_z: float,
    alt: str,
    place: Callable[[Tensor], Tensor] | None = None,
    behind: Target | None = None,
    extent: Sequence[float] = (-3.4, 3.4),
    span: float = 12.0,
    title: str = "the paths",
) -> Scene:
    """Show paths from the source to the target, log w so far, and the histogram of log w.

    A click on a particle, or the keys [ and ], chooses whose log-weight is drawn. The picture of a
    chain without steps stands still.

    Arguments:
        trajectory: T steps of B paths, pushed from the source.
        target: the unnormalised log-density of the last state.
        log_z: the exact log normaliser, marked in both right panels.
        alt: the alternative text.
        place: states -> where they are drawn, (B, 2); the states themselves if None.
        behind: a log-density on the plane, drawn behind the cloud; the target if None.
        extent: (lowest, highest) of both coordinates.
        span: nats of the histogram to either side of `log_z`; the outermost bars hold the rest.
        title: of the first panel.

    Returns:
        A scene of T + 1 frames (2 for no step) and at most 1.5 MB.

    Raises:
        ValueError: states that are not placed in the plane, a log-weight that is not finite, a
            `span` that is not positive, or more than 1.5 MB.

    Reference: Zhang, Chen, Malkin, Bengio 2022 (arXiv 2209.02606).
    """
    side, reach = as_range(extent, "extent"), positive(span, "span")
    with torch.no_grad():
        placed = [x if place is None else place(x) for x in trajectory.states]
        states = in_plane(placed, "state")
        log_w = trajectory.log_weight(target).double()
        paid = log_w + trajectory.log_evidence() - trajectory.ledger()
        account = as_array(paid, "accounts of log w")
        like = torch.zeros(1, dtype=torch.float64)
        heat = density_over(target if behind is None else behind, side, _CELLS, like)
    steps = len(states) - 1
    told = (
        f"ELBO {log_w.mean():.2f}, log Z {log_mean(log_w):.2f} ± {log_z_error(log_w):.2f}, "
        f"effective sample size {ess(log_w):.0f} of {len(log_w)}"
    ).replace("-", "−")
    notes = [*(f"Step {k} of {steps}." for k in range(steps)), f"Step {steps} of {steps}: {told}."]
    if steps == 0:  # a chain without steps
        states, account = np.repeat(states, 2, 0), np.repeat(account, 2, 0)
        notes = [f"No step: {told}."] * 2
    at = np.arange(len(states))
    fps = min(60.0, max(1.0, at[-1] / 4))  # a film of four seconds
    scene = Scene(len(at), alt=alt, fps=fps, times=at, time_label="step", notes=notes)
    cloud = scene.panel(side, side, title=title)
    cloud.heat(heat, limits=(0.0, 1.3), colormap="greys").points(states, size=3.0, alpha=0.5)
    account_panel(
        scene, at, account, title="log w so far", label="step", name="log w so far",
        inside=(0.1, 0.95), across=(0, at[-1]), mark=log_z,
    )  # fmt: skip
    last = np.repeat(account[-1:], len(at), 0)
    histogram_panel(scene, last, (log_z - reach, log_z + reach), log_z)
    return small(scene, "the number of paths or steps")


def stopped(trajectory: Trajectory, target: Target) -> Tensor:
    """Return the log-weight of the chain stopped after each layer, (T+1, B).

        log_w_t = log target(x_t) - log source(x_0) + sum_{s <= t} log_ratio_s

    Row 0 is that of no layer, the last row the log-weight of the trajectory.
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
) -> Scene:
    """Show a cloud layer by layer, each particle's log w so far, and the histogram of log w.

    A click on a particle, or the keys [ and ], chooses whose log-weight is drawn.

    Arguments:
        trajectory: T steps of B paths in the plane, pushed from the source.
        kinds: of the T layers, each a key of `TILES`.
        target: the unnormalised log-density; its density is drawn behind the cloud.
        log_z: the exact log normaliser, marked in both right panels.
        alt: the alternative text.
        extent: (lowest, highest) of both coordinates.
        span: nats of the histogram to either side of `log_z`; the outermost bars hold the rest.

    Returns:
        A scene of T + 1 frames and at most 1.5 MB.

    Raises:
        ValueError: not one known kind for each layer, states outside of the plane, a log-weight
            that is not finite, `span` not positive, or more than 1.5 MB.

    Reference: Wu, Köhler, Noé 2020 (arXiv 2002.06707).
    """
    count = len(trajectory.states) - 1
    if len(kinds) != count or not kinds or not set(kinds) <= set(TILES):
        raise ValueError(
            f"each layer needs a kind; got {list(kinds)} for {count} layers; pass one of "
            f"{', '.join(TILES)} for each"
        )
    side, reach = as_range(extent, "extent"), positive(span, "span")
    states = in_plane(trajectory.states, "state")
    with torch.no_grad():
        log_w = as_array(stopped(trajectory, target), "log-weights")
        heat = density_over(target, side, _CELLS, trajectory.states[0])
    at = np.arange(count + 1)
    notes = ["Before any layer: the source, weighed against the target."]
    for k, (kind, change) in enumerate(zip(kinds, np.diff(log_w, axis=0), strict=True), 1):
        most = float(np.abs(change).max())
        moved = (
            f"log-weights change by up to {most:.1f}" if most >= 1e-4 else "no log-weight changes"
        )
        notes.append(f"Layer {k} of {count}, {kind}: {moved}.")
    scene = Scene(count + 1, alt=alt, fps=2.0, times=at, time_label="layer", notes=notes)
    cloud = scene.panel(side, side, title="the cloud, over the target")
    cloud.heat(heat, limits=(0.0, 1.3), colormap="greys").points(states, size=3.0, alpha=0.45)
    names = ["source", *(f"{k}: {kind}" for k, kind in enumerate(kinds, 1))]
    width = side[1] - side[0]
    cloud.text(side[0] + 0.03 * width, side[1] - 0.055 * width, names, anchor="left")
    room = 0.12
    panel = account_panel(
        scene, at, log_w, title="log w, stopped here", label="layer", name="log w, stopped here",
        inside=(0.1, 0.99), across=(0, count * 1.06), mark=log_z, room=room,
    )  # fmt: skip
    # Tile k hangs over the stretch in which layer k acts; the layer just done stands filled.
    low, top = panel.y
    high = low + (top - low) / (1 + room)
    for k, kind in enumerate(kinds):
        letter, color = TILES[kind]
        left, right = k + 0.06, k + 0.94
        tile = [[left, high], [right, high], [right, top], [left, top], [left, high]]
        panel.lines([tile], color=color, width=2.0)
        active = [f"[{letter}]" if f == k + 1 else letter for f in range(count + 1)]
        panel.text(k + 0.5, (high + top) / 2, active, color=color)
    histogram_panel(scene, log_w, (log_z - reach, log_z + reach), log_z)
    return small(scene, "the number of particles or layers")

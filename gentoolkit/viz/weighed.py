"""One weight for every family: a cloud on its way, what each path has paid, and its log w.

    account_t = log target(x_T) - log source(x_0) + sum_{s <= t} log_ratio_s

is what the path would weigh if the steps that are left cost nothing. It ends at log w, for paths
in the plane, on a lattice, or of one step.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core import Trajectory, ess, log_z_error
from gentoolkit.core import log_z as log_mean
from gentoolkit.core.chain import Target
from gentoolkit.viz.arrays import as_range
from gentoolkit.viz.arrays import extent as extent_of
from gentoolkit.viz.ledger_panels import density_over, histogram_panel
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small


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
    seconds: float = 4.0,
    group: str | None = None,
) -> Scene:
    """Show paths from the source to the target, their accounts, and the histogram of log w.

    A click on a particle, or the keys [ and ], chooses whose account is drawn. The picture of a
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
        seconds: how long the film lasts at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of T + 1 frames (2 for no step) and at most 1.5 MB.

    Raises:
        ValueError: states that cannot be placed in the plane, a log-weight that is not finite,
            `span` or `seconds` not positive, or more than 1.5 MB.

    Reference: Zhang, Chen, Malkin, Bengio 2022 (arXiv 2209.02606).
    """
    if not (span > 0 and seconds > 0):
        raise ValueError(
            f"span and seconds must be positive; got {span} and {seconds}; pass span=12, seconds=4"
        )
    side = as_range(extent, "extent")
    with torch.no_grad():
        states = _places(trajectory.states, place)
        log_w = trajectory.log_weight(target).double()
        account = (log_w + trajectory.log_evidence() - trajectory.ledger()).cpu().numpy()
        heat = density_over(target if behind is None else behind, side, torch.zeros(1).double())
    if not np.isfinite(account).all():
        raise ValueError(
            f"accounts must be finite; got {int((~np.isfinite(account)).sum())} that are not; use "
            "a target that is positive wherever paths end, and chains that reach one another"
        )
    if len(states) == 1:  # a chain without steps
        states, account = np.repeat(states, 2, 0), np.repeat(account, 2, 0)
    steps = len(trajectory.log_ratio)
    scene = Scene(
        len(states),
        alt=alt,
        fps=min(60.0, max(1.0, (len(states) - 1) / seconds)),
        times=np.arange(len(states)),
        time_label="step",
        notes=_notes(steps, len(states), log_w),
        group=group,
    )
    cloud = scene.panel(side, side, title=title)
    cloud.heat(heat, limits=(0.0, 1.3), colormap="greys")
    cloud.points(states, size=3.0, alpha=0.5)
    _account_panel(scene, account, log_z)
    histogram_panel(scene, np.repeat(account[-1:], len(states), 0), log_z, span)
    return small(scene, "the number of paths or steps")


def _places(states: Sequence[Tensor], place: Callable[[Tensor], Tensor] | None) -> np.ndarray:
    placed = [x if place is None else place(x) for x in states]
    shapes = {tuple(x.shape[1:]) for x in placed}
    if shapes != {(2,)}:
        raise ValueError(
            f"paths are drawn in the plane; got event shapes {sorted(shapes)}; pass place=, which "
            "gives each state a point (B, 2)"
        )
    return np.stack([x.detach().double().cpu().numpy() for x in placed])


def _notes(steps: int, frames: int, log_w: Tensor) -> list[str]:
    told = (
        f"ELBO {log_w.mean():.2f}, log Z {log_mean(log_w):.2f} ± {log_z_error(log_w):.2f}, "
        f"effective sample size {ess(log_w):.0f} of {len(log_w)}"
    ).replace("-", "−")
    if steps == 0:
        return [f"No step: {told}."] * frames
    return [*(f"Step {k} of {steps}." for k in range(steps)), f"Step {steps} of {steps}: {told}."]


def _account_panel(scene: Scene, account: np.ndarray, log_z: float) -> Panel:
    # Particle 0 is the one chosen at first: its account must lie inside, whatever the others do.
    seen = np.array([*np.quantile(account, (0.1, 0.95)), *account[:, 0], log_z - 1, log_z + 1])
    last = len(account) - 1
    panel = scene.panel(
        (0, last), extent_of(seen), title="account of log w", x_label="step", equal=False
    )
    panel.lines([[[0, log_z], [last, log_z]]], color="#1F2933", width=1.5, dash=True)
    panel.accounts(np.arange(len(account)), account, name="account of log w", others=40)
    return panel

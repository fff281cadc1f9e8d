"""A flow on the plane as a rubber sheet: grid, particles and density, scrubbed through its depth.

    log p_k(x_k) = log source(x_0) - sum_{t <= k} log |det dT_t/dx|

is the running account of each particle.
"""

from collections.abc import Sequence

import numpy as np

from gentoolkit.core import Chain
from gentoolkit.core.chain import Target
from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array, as_range
from gentoolkit.viz.arrays import extent as extent_of
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.sheet import between as weights_between
from gentoolkit.viz.sheet import densities, layers_of, mix, push_sheet, target_density
from gentoolkit.viz.size import LARGEST, small
from gentoolkit.viz.warp_panels import (
    accounts_panel,
    density_panel,
    note,
    number,
    outlines,
    sheet_panel,
    spread,
)

_SMALLER = "n, lines, grid or the number of frames"


def warp(
    chain: Chain,
    *,
    alt: str,
    n: int = 400,
    extent: Sequence[float] = (-4.0, 4.0),
    lines: int = 17,
    between: int = 6,
    grid: int = 64,
    target: Target | None = None,
    density: bool = True,
    title: str = "colour: log |det| so far",
    seed: int = 0,
    fps: float = 20.0,
    group: str | None = None,
) -> Scene:
    """Show a chain of bijections bend the plane, layer by layer.

    Panels: the source's grid and particles on their way to the target, coloured by the log |det|
    that each has gathered; the density after so many layers; the running log-density of the
    selected particle, whose last value is `chain.log_prob` of its end. At a layer all is exact;
    between two, positions and accounts go straight and densities cross-fade.

    Arguments:
        chain: bijections on the plane, with exact log-determinants.
        alt: the alternative text.
        n: number of particles.
        extent: (lowest, highest) of both coordinates.
        lines: grid lines in each direction.
        between: frames between two layers; fewer in a deep chain, so that the scene stays small.
        grid: cells of the density along each side.
        target: a log-density whose 50 and 90 % regions are outlined over the flow's density.
        density: False leaves the density out, for layers that are slow or unable to invert.
        title: of the first panel.
        seed: of the particles, so that the same chain always gives the same scene.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of at most 1.5 MB.

    Raises:
        TypeError: not a chain, or a step is not a Bijection.
        ValueError: a source or a state off the plane or not finite, an estimated log-determinant,
            a density that is NaN, a count out of range, or more than 1.5 MB.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770).
    """
    span = as_range(extent, "extent")
    _at_least(n=(n, 1), lines=(lines, 2), between=(between, 0), grid=(grid, 8))
    names = [type(layer).__name__ for layer in layers_of(chain)]
    depth = len(names)
    sheet = push_sheet(chain, span, lines, n, seed)
    per_frame = 4 * sheet.lines[0].size // 2 + 9 * n + (grid * grid if density else 0)
    room = (LARGEST // per_frame - 1) // depth - 1
    share = weights_between(depth + 1, depth * (min(between, max(room, 0)) + 1) + 1)
    where = share @ np.arange(depth + 1)
    log_det, running = mix(share, sheet.log_det), mix(share, sheet.log_density)
    notes = [note(w, names, values) for w, values in zip(where, log_det, strict=True)]
    scene = Scene(
        len(where), alt=alt, fps=fps, times=where, time_label="layer", notes=notes, group=group
    )
    bent, points = mix(share, sheet.lines), mix(share, sheet.points)
    sheet_panel(scene, span, title, points, log_det, bent)
    if density:
        heat = mix(share, densities(chain, span, grid))
        panel = density_panel(scene, span, heat, target is not None)
        if target is not None:
            outlines(panel, span, target_density(target, span, grid, chain))
    elif target is not None:
        panel = scene.panel(span, span, title="target: 50 and 90 % regions")
        outlines(panel, span, target_density(target, span, grid, chain))
    accounts_panel(scene, where, running, "layer")
    return small(scene, _SMALLER)


def warp_training(
    snapshots: Sequence[Chain],
    losses: object,
    *,
    alt: str,
    steps: object = None,
    n: int = 400,
    extent: Sequence[float] = (-4.0, 4.0),
    lines: int = 17,
    grid: int = 64,
    target: Target | None = None,
    density: bool = True,
    title: str = "colour: log |det|",
    seed: int = 0,
    fps: float = 8.0,
    group: str | None = None,
) -> Scene:
    """Show how training bends the sheet: one frame for each snapshot, at full depth.

    Arguments:
        snapshots: S chains, each with parameters of its own: copy the model, for its chain only
            points to parameters that training goes on to change.
        losses: (S,) loss of each snapshot.
        alt: the alternative text.
        steps: (S,) increasing training steps of the snapshots; 0, 1, ... if None.
        n: number of particles; the same draws from the source for every snapshot.
        extent: (lowest, highest) of both coordinates.
        lines: grid lines in each direction.
        grid: cells of the density along each side.
        target: a log-density whose 50 and 90 % regions are outlined over the flow's density.
        density: False leaves the density out.
        title: of the first panel.
        seed: of the particles.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of S frames and at most 1.5 MB.

    Raises:
        TypeError: a snapshot is not a chain of Bijections.
        ValueError: fewer than two snapshots, not one loss and one step each, steps that do not
            increase, or what ``warp`` refuses.
    """
    span = as_range(extent, "extent")
    _at_least(snapshots=(len(snapshots), 2), n=(n, 1), lines=(lines, 2), grid=(grid, 8))
    loss = as_array(losses, "losses", ("N",))
    count = len(snapshots)
    at = np.arange(float(count)) if steps is None else as_array(steps, "steps", ("N",))
    if not len(loss) == len(at) == count or not (np.diff(at) > 0).all():
        raise ValueError(
            f"Losses or steps do not fit the snapshots: got {len(loss)} losses and {len(at)} "
            f"steps for {count} snapshots. Pass one of each per snapshot, the steps increasing."
        )
    sheets = [push_sheet(chain, span, lines, n, seed) for chain in snapshots]
    notes = [f"Step {t:g}: loss {number(v)}." for t, v in zip(at, loss, strict=True)]
    scene = Scene(count, alt=alt, fps=fps, times=at, time_label="step", notes=notes, group=group)
    log_det = np.stack([sheet.log_det[-1] for sheet in sheets])
    bent, points = (np.stack([getattr(s, k)[-1] for s in sheets]) for k in ("lines", "points"))
    sheet_panel(scene, span, title, points, log_det, bent)
    if density:
        heat = np.concatenate([densities(chain, span, grid, False) for chain in snapshots])
        panel = density_panel(scene, span, heat, target is not None)
        if target is not None:
            outlines(panel, span, target_density(target, span, grid, snapshots[-1]))
    panel = scene.panel(extent_of(at), extent_of(loss), title="loss", x_label="step", equal=False)
    panel.curve(at, loss)
    return small(scene, _SMALLER)


def warp_time(
    states: object,
    times: object,
    log_density: object,
    *,
    alt: str,
    extent: Sequence[float] = (-4.0, 4.0),
    lines: object = None,
    density: object = None,
    field: tuple[object, object] | None = None,
    title: str = "colour: log |det| so far",
    fps: float = 20.0,
    group: str | None = None,
) -> Scene:
    """Show a continuous flow: the scrubber is time.

    Arguments:
        states: (F, N, 2) particles at each time, the source's first.
        times: (F,) increasing times.
        log_density: (F, N) log-density of each particle under the flow at that time.
        alt: the alternative text.
        extent: (lowest, highest) of both coordinates.
        lines: (F, P, V, 2) grid lines that were carried along, if any.
        density: (F, G, G) density on the cells of a grid over the extent, row 0 lowest, if any.
        field: places (M, 2) and velocities (F, M, 2) to draw as arrows, if any. One common factor
            brings the arrows to a length that fits the picture.
        title: of the first panel.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of F frames and at most 1.5 MB.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, times that do not
            increase, or more than 1.5 MB.

    Reference: Chen et al. 2018 (arXiv 1806.07366).
    """
    span = as_range(extent, "extent")
    points, at = as_array(states, "states", ("F", "N", "M")), as_array(times, "times", ("N",))
    running = as_array(log_density, "log_density", ("N", "M"))
    if points.shape[2] != 2 or points.shape[:2] != running.shape or len(at) != len(points):
        raise ValueError(
            f"The states do not fit: got states {points.shape}, {len(at)} times and log-densities "
            f"{running.shape}. Pass shapes (F, N, 2), (F,) and (F, N)."
        )
    if len(at) < 2 or not (np.diff(at) > 0).all():
        raise ValueError(
            f"The times do not increase: got {len(at)} from {at[0]:g} to {at[-1]:g}. "
            "Pass two or more, each above the one before."
        )
    log_det = running[0] - running
    notes = [f"Time {t:.2f}: {spread(v)}" for t, v in zip(at, log_det, strict=True)]
    scene = Scene(len(at), alt=alt, fps=fps, times=at, time_label="t", notes=notes, group=group)
    panel = sheet_panel(scene, span, title, points, log_det, lines)
    if field is not None:
        places = as_array(field[0], "the field's places", ("N", "M"))
        arrows = as_array(field[1], "the field's velocities", ("F", "N", "M"))
        longest = float(np.hypot(arrows[..., 0], arrows[..., 1]).max())
        reach = (span[1] - span[0]) / max(4.0, len(places) ** 0.5)
        shown = arrows * (reach / longest if longest else 1.0)
        panel.arrows(places, shown, color=colors.PUSH, width=1.6)
    if density is not None:
        density_panel(scene, span, as_array(density, "density", ("F", "N", "M")))
    accounts_panel(scene, at, running, "t")
    return small(scene, _SMALLER)


def _at_least(**counts: tuple[int, int]) -> None:
    for name, (value, least) in counts.items():
        if isinstance(value, bool) or value != int(value) or value < least:
            raise ValueError(
                f"{name} is out of range: got {value!r}. Pass a whole number from {least} on."
            )

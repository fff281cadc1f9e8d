"""A flow on the plane as a rubber sheet: grid, particles and density, scrubbed through its depth.

    log p_k(x_k) = log source(x_0) - sum_{t <= k} log |det dT_t/dx|

is the log-weight of each particle so far.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core import Chain
from gentoolkit.core.chain import Target
from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range, as_array, as_range, as_times, at_least, positive
from gentoolkit.viz.arrays import extent as extent_of
from gentoolkit.viz.contour import level_of, outline
from gentoolkit.viz.panel import INK, Panel
from gentoolkit.viz.particles import account_panel, density_over, number
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.sheet import PIECES, Sheet, densities, layers_of, like, mix, push_sheet
from gentoolkit.viz.sheet import between as weights_between
from gentoolkit.viz.size import LARGEST, small

_SMALLER = "n, lines, grid or the number of frames"
_LINES, _GRID = 17, 64


def warp(
    chain: Chain,
    *,
    alt: str,
    n: int = 400,
    extent: Sequence[float] = (-4.0, 4.0),
    lines: int = _LINES,
    pieces: int = PIECES,
    between: int = 6,
    grid: int = _GRID,
    target: Target | None = None,
    density: bool = True,
    decades: float | None = None,
    mark: Sequence[float] | None = None,
) -> Scene:
    """Show a chain of bijections bend the plane, layer by layer.

    Panels: the source's grid and particles on their way to the target, coloured by the log |det|
    that each has gathered; the density after so many layers; the running log-density of the
    selected particle, whose last value is `chain.log_prob` of its end. At a layer all is exact;
    between two, positions and log-weights go straight and densities cross-fade.

    Arguments:
        chain: bijections on the plane, with exact log-determinants.
        alt: the alternative text.
        n: number of particles.
        extent: (lowest, highest) of both coordinates.
        lines: grid lines in each direction.
        pieces: of a grid line between two crossings. Each is drawn straight, so take more where
            the chain bends strongly: with few, lines seem to cross that do not.
        between: frames between two layers; fewer in a deep chain, so that the scene stays small.
        grid: cells of the density along each side.
        target: a log-density whose 50 and 90 % regions are outlined over the flow's density.
        density: False leaves the density out, for layers that are slow or unable to invert.
        decades: colour by the logarithm of the density, down to so many powers of ten below the
            brightest place; a linear scale if None, on which thin bridges cannot be seen.
        mark: a place (2,) to mark in the first panel, such as the centre of a layer.

    Returns:
        A scene of at most 1.5 MB; the same chain always gives the same one.

    Raises:
        TypeError: not a chain.
        ValueError: a random step or an estimated log-determinant, a source or a state off the
            plane or not finite, a density that is NaN, a count out of range, or more than 1.5 MB.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770).
    """
    span = as_range(extent, "extent")
    sizes = (("n", n, 1), ("lines", lines, 2), ("pieces", pieces, 1), ("grid", grid, 8))
    for name, value, least in sizes:
        at_least(value, name, least)
    at_least(between, "between", 0)
    names = [type(layer).__name__ for layer in layers_of(chain)]
    depth = len(names)
    sheet = _with_one_to_follow(push_sheet(chain, span, lines, n, pieces), span)
    per_frame = 4 * sheet.lines[0].size // 2 + 9 * n + (grid * grid if density else 0)
    room = (LARGEST // per_frame - 1) // depth - 1
    share = weights_between(depth + 1, depth * (min(between, max(room, 0)) + 1) + 1)
    where = share @ np.arange(depth + 1)
    log_det = mix(share, sheet.log_det)
    notes = [_note(w, names, values) for w, values in zip(where, log_det, strict=True)]
    scene = Scene(len(where), alt=alt, times=where, time_label="layer", notes=notes)
    panel = _sheet_panel(scene, span, "colour: log |det| so far", mix(share, sheet.lines))
    _color_points(panel, mix(share, sheet.points), log_det)
    if mark is not None:
        panel.points([list(mark)], color=INK, size=11, alpha=1.0)
        panel.points([list(mark)], color="#FFFFFF", size=5, alpha=1.0)
    if density:
        heat = mix(share, densities(chain, span, grid))
        _density_panel(scene, span, heat, target, chain, decades)
    elif target is not None:
        panel = scene.panel(span, span, title="target: 50 and 90 % regions")
        _outline(panel, span, density_over(target, span, grid, like(chain.source)))
    _log_density_panel(scene, where, mix(share, sheet.log_density), "layer")
    return small(scene, _SMALLER)


def _with_one_to_follow(sheet: Sheet, span: Range) -> Sheet:
    """Exchange particle 0, whose path is drawn first, for one that stays inside and moves most."""
    middle, half = sum(span) / 2, (span[1] - span[0]) / 2
    reach = np.abs(sheet.points - middle).max((0, 2)) / half
    length = np.hypot(*np.diff(sheet.points, axis=0).transpose(2, 0, 1)).sum(0)
    best = int(np.where(reach < 0.8, length, -reach).argmax())
    order = np.arange(len(reach))
    order[[0, best]] = best, 0
    return replace(
        sheet,
        points=sheet.points[:, order],
        log_det=sheet.log_det[:, order],
        log_density=sheet.log_density[:, order],
    )


def warp_training(
    snapshots: Sequence[Chain],
    losses: object,
    *,
    alt: str,
    steps: object = None,
    n: int = 400,
    extent: Sequence[float] = (-4.0, 4.0),
    pieces: int = PIECES,
    target: Target | None = None,
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
        pieces: as for ``warp``.
        target: a log-density whose 50 and 90 % regions are outlined over the flow's density.

    Returns:
        A scene of S frames and at most 1.5 MB.

    Raises:
        TypeError: a snapshot is not a chain.
        ValueError: fewer than two snapshots, not one loss and one step each, steps that do not
            increase, or what ``warp`` refuses.
    """
    span, count = as_range(extent, "extent"), len(snapshots)
    at_least(n, "n", 1)
    at_least(pieces, "pieces", 1)
    loss = as_array(losses, "losses, one per snapshot,", (count,))
    at = as_times(np.arange(count) if steps is None else steps, "steps of snapshots")
    sheets = [push_sheet(chain, span, _LINES, n, pieces) for chain in snapshots]
    notes = [f"Step {t:g}: loss {number(v)}." for t, v in zip(at, loss, strict=True)]
    scene = Scene(count, alt=alt, fps=8.0, times=at, time_label="step", notes=notes)
    bent, points, log_det = (
        np.stack(ends)
        for ends in zip(*((s.lines[-1], s.points[-1], s.log_det[-1]) for s in sheets), strict=True)
    )
    panel = _sheet_panel(scene, span, "colour: log |det|", bent, followed=False)
    _color_points(panel, points, log_det)
    heat = np.concatenate([densities(chain, span, _GRID, False) for chain in snapshots])
    _density_panel(scene, span, heat, target, snapshots[-1])
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
    field: tuple[object, object] | None = None,
    density: object | None = None,
    decades: float | None = None,
    target: Target | None = None,
) -> Scene:
    """Show a continuous flow: the scrubber is time.

    Arguments:
        states: (F, N, 2) particles at each time, the source's first.
        times: (F,) increasing times.
        log_density: (F, N) log-density of each particle under the flow at that time.
        alt: the alternative text.
        extent: (lowest, highest) of both coordinates.
        field: places (M, 2) and velocities (F, M, 2) to draw as arrows, if any. One common factor
            brings the arrows to a length that fits the picture.
        density: (F, G, G) density of the flow at each time at the centres of a grid's cells, row 0
            the lowest, if it is to be drawn.
        decades: as for ``warp``.
        target: a log-density whose 50 and 90 % regions are outlined over the flow's density.

    Returns:
        A scene of F frames and at most 1.5 MB.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, times that do not
            increase, a target without the density to draw it on, or more than 1.5 MB.

    Reference: Chen et al. 2018 (arXiv 1806.07366).
    """
    span, at = as_range(extent, "extent"), as_times(times, "times")
    points = as_array(states, "states", (len(at), "N", 2))
    running = as_array(log_density, "log_density", points.shape[:2])
    log_det = running[0] - running
    notes = [f"Time {t:.2f}: {_spread(v)}" for t, v in zip(at, log_det, strict=True)]
    scene = Scene(len(at), alt=alt, times=at, notes=notes)
    panel = _sheet_panel(scene, span, "colour: log |det| so far", None)
    _color_points(panel, points, log_det)
    if field is not None:
        places = as_array(field[0], "the field's places", ("M", 2))
        arrows = as_array(field[1], "the field's velocities", (len(at), *places.shape))
        longest = float(np.hypot(arrows[..., 0], arrows[..., 1]).max())
        reach = (span[1] - span[0]) / max(4.0, len(places) ** 0.5)
        shown = arrows * (reach / longest if longest else 1.0)
        panel.arrows(places, shown, color=colors.PUSH, width=1.6)
    if density is not None:
        heat = as_array(density, "density", (len(at), "G", "G"))
        _heat_panel(scene, span, heat, target, torch.zeros(1, 2), decades)
    elif target is not None:
        raise ValueError(
            "a target is outlined over the flow's density; got no density; pass density as well"
        )
    _log_density_panel(scene, at, running, "t")
    return small(scene, _SMALLER)


def _sheet_panel(
    scene: Scene, span: Range, title: str, lines: np.ndarray | None, followed: bool = True
) -> Panel:
    # No names of axes, which are the plane's; the room is used to say what the player draws itself.
    words = "black line: path of the blue point" if followed else ""
    panel = scene.panel(span, span, title=title, x_label=words)
    if lines is not None:
        panel.lines(lines, color=colors.NEUTRAL, width=1.0, alpha=0.5)
    return panel


def _color_points(panel: Panel, points: np.ndarray, log_det: np.ndarray) -> None:
    """Draw particles coloured by their log |det|, with a scale at the foot of the panel."""
    bound, beyond = _bound(np.abs(log_det))
    limits = (-bound, bound)
    panel.points(points, values=log_det, size=5.5, alpha=0.9, limits=limits, colormap="balance")
    low, side = panel.x[0], panel.x[1] - panel.x[0]
    scale = np.linspace(-1, 1, 9)  # few colours, which also survive the poster's palette
    foot = low + 0.045 * side
    bar = np.stack([low + side * (0.5 + 0.16 * scale), np.full(9, foot)], axis=1)
    panel.points(bar, values=bound * scale, size=12, alpha=1.0, limits=limits, colormap="balance")
    less, more = ("≤ ", "≥ ") if beyond else ("", "")
    panel.text(low + 0.30 * side, foot, less + number(-bound), anchor="right")
    panel.text(low + 0.70 * side, foot, f"{more}+{number(bound)}", anchor="left")


def _bound(size: np.ndarray) -> tuple[float, bool]:
    """Return where the scale of colours ends, and whether some particles lie beyond.

    A few extreme particles must not wash out the others: if the largest is more than half as large
    again as all but one in two hundred of the frame that has the largest, the scale ends there.
    """
    usual, most = float(np.quantile(size, 0.995, axis=-1).max()), float(size.max())
    beyond = most > 1.5 * usual
    return (usual if beyond else most) or 0.5, beyond


def _density_panel(
    scene: Scene,
    span: Range,
    heat: np.ndarray,
    target: Target | None,
    chain: Chain,
    decades: float | None = None,
) -> None:
    _heat_panel(scene, span, heat, target, like(chain.source), decades)


def _heat_panel(
    scene: Scene,
    span: Range,
    heat: np.ndarray,
    target: Target | None,
    sample: Tensor,
    decades: float | None = None,
) -> None:
    """Add a density (F, G, G) as heat, one scale for all frames, and the target's outlines."""
    top = float(heat.max())
    top = top if 0 < top < np.inf else 1.0
    title, foot, low = "density", f"brightest: {top:.2g}", 0.0
    shown, high = np.minimum(heat, top), top
    if decades is not None:
        low, high = -positive(decades, "decades"), 0.0
        shown = np.log10(np.maximum(shown / top, 10.0**low))
        title = "log-density"
        foot = f"brightest: {top:.2g}, darkest: {top * 10.0**low:.1g} or less"
    title = title if target is None else f"{title}, target outlined"
    panel = scene.panel(span, span, title=title, x_label=foot)
    panel.heat(shown, limits=(low, high))
    if target is not None:
        _outline(panel, span, density_over(target, span, heat.shape[1], sample))


def _outline(panel: Panel, span: Range, density: np.ndarray) -> None:
    """Outline the regions that hold 50 and 90 % of a density's mass on the grid."""
    for share in (0.5, 0.9):
        segments = outline(density, level_of(density, share), span, span)
        if len(segments):
            panel.lines(segments, color=INK, width=3.5, alpha=0.55)
            panel.lines(segments, color="#FFFFFF", width=1.5)


def _log_density_panel(scene: Scene, at: np.ndarray, running: np.ndarray, label: str) -> None:
    # Densities have long tails downward.
    words = f"{label} (grey: other points)" if running.shape[1] > 1 else label
    account_panel(
        scene, at, running, title="log-density of one point", label=words, name="log-density",
        inside=(0.02, 1.0), others=60,
    )  # fmt: skip


def _note(where: float, names: list[str], log_det: np.ndarray) -> str:
    depth = round(where)
    if where == 0:
        return "At the source: the sheet is flat."
    if abs(where - depth) < 1e-9:
        return f"After layer {depth} of {len(names)}, {names[depth - 1]}: {_spread(log_det)}"
    layer = int(where)
    return f"Inside layer {layer + 1} of {len(names)}, {names[layer]}: {_spread(log_det)}"


def _spread(log_det: np.ndarray) -> str:
    low, high = number(float(log_det.min())), number(float(log_det.max()))
    return f"log |det| of the particles so far from {low} to {high}."

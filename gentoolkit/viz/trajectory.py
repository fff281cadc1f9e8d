"""Particles on their way between noise and data, in lanes side by side on the same noise."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_range
from gentoolkit.viz.lane import Lane, common, like, there_and_back
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small
from gentoolkit.viz.trajectory_panels import (
    Field,
    account_panel,
    beside_words,
    captions,
    count_crosses,
    crossed_ends,
    description,
    field_over,
    grid,
    limited,
    notes,
    square,
    start_colors,
)

__all__ = ["Field", "Lane", "there_and_back", "trajectories"]

_HEAT, _ARROWS, _PROBE = 48, 11, 33  # cells or points along each side
_SMALLER = "the number of particles, frames or lanes, or leave out the estimates (data=None)"


def trajectories(
    lanes: Lane | Sequence[Lane],
    *,
    score: Field | None = None,
    denoiser: Field | None = None,
    density: Field | None = None,
    log_ratio: object = None,
    off: Callable[[Tensor], Tensor] | None = None,
    extent: Sequence[float] | None = None,
    probe: Sequence[float] | None = None,
    frames: int = 60,
    alt: str | None = None,
    time_label: str = "t",
    fps: float = 15.0,
    group: str | None = None,
) -> Scene:
    """Show runs of the same particles side by side, scrubbed through one time.

    Particle i has one colour in all lanes (by where it started, from left to right), and a click
    shows its way in all of them, with a ring at the data estimated from it where the lane has
    estimates. A lane with fewer steps holds its states longer. Fields, exact or learned, are drawn
    at the time of the frame.

    Arguments:
        lanes: one lane or several, all noising, all denoising, or all ``there_and_back``.
        score: (M, 2) score of the law at that time: arrows that grow with it up to a limit.
        denoiser: (M, 2) estimate of the data: a handle to drag, and a ring at the estimate.
        density: (M,) density of the law at that time, up to a factor: heat, relative to its
            highest value in each frame.
        log_ratio: (T, N) log-ratios of the first lane's steps: a panel with their running sum.
        off: (N, 2) -> (N,), true outside of every mode. The particles that end there, where the
            time is least, are crosses in every frame, so that they can be traced back.
        extent: (lowest, highest) of both coordinates; what holds nearly all particles if None.
        probe: where the handle starts; to the right of the middle and above it if None.
        frames: about how many; every step of the finest lane gets the same number.
        alt: the alternative text; composed from the lanes if None.
        time_label: the name of the time.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of at most 1.5 MB.

    Raises:
        ValueError: lanes that do not fit together, a field of another shape or not finite, an
            argument out of range, or more than 1.5 MB.

    Reference: Song et al. 2021 (arXiv 2011.13456).
    """
    shown = [lanes] if isinstance(lanes, Lane) else list(lanes)
    clock = common(shown, frames)
    sample = like(shown)
    span = square(shown) if extent is None else as_range(extent, "extent")
    outside = [crossed_ends(off, lane, sample) for lane in shown]
    counts = None if off is None else [int(crossed.sum()) for crossed in outside]
    scene = Scene(
        len(clock.times),
        alt=description(shown, counts) if alt is None else alt,
        fps=fps,
        times=clock.times,
        time_label=time_label,
        notes=notes(shown, clock, time_label),
        group=group,
        # At its end a denoiser estimates what is already there.
        poster_frame=-1 if denoiser is None else round(0.65 * (len(clock.times) - 1)),
    )

    def over(field: Field, name: str, count: int, to_edge: bool = False) -> np.ndarray:
        values = field_over(field, name, grid(span, count, to_edge), clock.times, sample)
        return values.reshape(len(clock.times), count, count, *values.shape[2:])

    heat = None if density is None else over(density, "density", _HEAT)
    arrows = None if score is None else over(score, "score", _ARROWS)
    ring = None if denoiser is None else over(denoiser, "denoiser", _PROBE, to_edge=True)
    reach = 0.9 * (span[1] - span[0]) / _ARROWS
    # Three panels in a row leave no room for the time, which stands below them anyway.
    narrow = len(shown) + (log_ratio is not None) not in (1, 2, 4)
    colored = "colour: place at the start, left to right"
    for k, (lane, held) in enumerate(zip(shown, clock.held, strict=True)):
        probed = ring is not None and k == 0
        label = "drag the handle: the ring is its estimate" if probed else colored
        panel = scene.panel(span, span, title=lane.name, x_label=label)
        if heat is not None:
            top = np.maximum(heat.max((1, 2), keepdims=True), 1e-300)
            panel.heat(heat / top, limits=(0.0, 1.7), colormap="greys")
        if arrows is not None:
            places = grid(span, _ARROWS, False)
            moves = limited(arrows.reshape(len(arrows), -1, 2), reach)
            free = beside_words(places, span, off is not None)
            panel.arrows(places[free], moves[:, free], color=colors.NEUTRAL, width=1.3, alpha=0.8)
        panel.points(
            lane.path[held],
            values=start_colors(shown[0]),
            limits=(0.0, 1.0),
            colormap="cool",
            size=5.5,
            alpha=0.85,
            crossed=None if off is None else outside[k],
            ghosts=None if lane.estimates is None else lane.estimates[held],
        )
        if probed:
            third = span[0] + 0.66 * (span[1] - span[0])
            start = (third, third) if probe is None else probe
            panel.probe(ring, start=start, name="estimate of the data")
        captions(panel, span, lane, held, None if narrow else time_label)
        if off is not None:
            count_crosses(panel, span, outside[k])
    if log_ratio is not None:
        account_panel(scene, shown[0], clock.held[0], log_ratio)
    return small(scene, _SMALLER)

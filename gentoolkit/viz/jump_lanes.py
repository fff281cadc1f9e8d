"""Samplers of a jump process side by side: lanes of particles on one graph of states."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.jump_panels import (
    checked_law,
    checked_states,
    crosses,
    particles,
    state_panel,
)
from gentoolkit.viz.lane import Clock, Lane, common
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small
from gentoolkit.viz.state_graph import StateGraph

_SMALLER = "the number of particles or frames"


@dataclass(frozen=True, eq=False)
class JumpLane:
    """One sampler's run of particles over states, in the order in which it happened.

    Arguments:
        name: shown above it.
        states: (T + 1, B) numbers of states, as ``numbers_of`` gives them.
        times: (T + 1,) time of each state, falling.
        clamped: (T + 1, B) true where the step that led to a state was too long for its rates;
            None if none was.
        caption: a few words under the lane, such as how far its law is from the data's.
    """

    name: str
    states: object
    times: object
    clamped: object = None
    caption: str = ""


def jump_lanes(
    graph: StateGraph,
    lanes: Sequence[JumpLane],
    law: Callable[[float], object],
    *,
    frames: int = 49,
    alt: str | None = None,
    time_label: str = "t",
    fps: float = 8.0,
    group: str | None = None,
) -> Scene:
    """Show samplers side by side on the same graph and clock, each with its own steps.

    The states are grey by the exact law at that time. A particle has one colour in all lanes, by
    the state where the first lane starts it. A red cross marks a particle whose last step was
    clamped.

    Arguments:
        graph: N states.
        lanes: one or more, of as many particles each.
        law: the exact law (N,) at a time.
        frames: about how many; every step of the finest lane gets the same number.
        alt: the alternative text; composed if None.
        time_label: the name of the time.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of at most 1.5 MB.

    Raises:
        ValueError: lanes that do not fit together, numbers of no state, marks of another shape,
            no law, or more than 1.5 MB.
    """
    wheres = [checked_states(graph, lane.states, len(np.asarray(lane.times))) for lane in lanes]
    marks = [_marks(lane, where) for lane, where in zip(lanes, wheres, strict=True)]
    runs = [
        Lane(lane.name, list(graph.scatter(where)), lane.times)
        for lane, where in zip(lanes, wheres, strict=True)
    ]
    clock = common(runs, frames)
    laws = checked_law(
        graph,
        [as_array(law(float(t)), "the law") for t in clock.times],
        len(clock.times),
        "the law",
    )
    names = "; ".join(f"{run.name}: {run.steps} steps" for run in runs)
    scene = Scene(
        len(clock.times),
        alt=alt
        or f"{wheres[0].shape[1]} particles jump from noise to data in {len(runs)} lanes: {names}.",
        fps=fps,
        times=clock.times,
        time_label=time_label,
        notes=_lane_notes(runs, marks, clock, time_label),
        group=group,
        smooth=False,
    )
    x, y = graph.ranges
    for lane, run, where, mark, held in zip(lanes, runs, wheres, marks, clock.held, strict=True):
        panel = state_panel(scene, graph, laws, lane.name, len(runs))
        falling = np.zeros(len(held), dtype=bool)
        particles(panel, graph, where[held], falling, 4.5, 0.3)
        if mark is not None:
            crosses(panel, graph, where[held], mark[held])
        words = [run.when(k) for k in held]
        panel.text(x[0] + 0.05, y[1] - 0.16, words, anchor="left")
        if lane.caption:
            panel.text(x[0] + 0.05, y[0] + 0.16, lane.caption, anchor="left")
    return small(scene, _SMALLER)


def _marks(lane: JumpLane, where: np.ndarray) -> np.ndarray | None:
    if lane.clamped is None:
        return None
    marks = as_array(lane.clamped, f"the marks of lane {lane.name!r}")
    if marks.shape != where.shape:
        raise ValueError(
            f"The marks of lane {lane.name!r} do not fit: got shape {marks.shape} for states "
            f"{where.shape}. Pass one truth value per state and particle."
        )
    return marks > 0


def _lane_notes(
    runs: Sequence[Lane], marks: Sequence[np.ndarray | None], clock: Clock, label: str
) -> list[str]:
    told = []
    for f, t in enumerate(clock.times):
        parts = []
        for run, mark, held in zip(runs, marks, clock.held, strict=True):
            k = int(held[f])
            more = "" if mark is None else f", {int(mark[k].sum())} clamped"
            parts.append(f"{run.name}: {run.when(k)}{more}")
        told.append(f"{label} = {t:.2f}. {'; '.join(parts)}.")
    return told

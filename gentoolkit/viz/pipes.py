"""Flows of reward as water in pipes: settled, while a net learns, and along one path."""

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.pipe_graph import EACH, Pipes, along, pipes_of, run, running, waypoints
from gentoolkit.viz.pipe_panels import (
    cells,
    checked,
    checked_law,
    law_panel,
    leak_meter,
    leak_words,
    ring,
    scale_of,
    sum_panel,
    unseen,
    water_panel,
)
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

__all__ = ["Pipes", "along", "learned_pipes", "path_account", "running_pipes"]

_RUNNER = "#7B5AA6"
_SMALLER = "the number of frames"


def running_pipes(
    pipes: Pipes,
    flow: object,
    stop: object,
    *,
    target: object,
    law: object,
    leaks: object | None = None,
    particles: int = 80,
    seed: int = 0,
    start: int | None = None,
    widest: float | None = None,
    alt: str | None = None,
    title: str = "",
    fps: float = 16.0,
    group: str | None = None,
) -> Scene:
    """Show a flow as pipes, with particles of reward that run through it and drop into cells.

    A blue pipe is as wide as its flow, a grey drop as what stops there. Beside it, where paths
    end and where they should. It is made in a few milliseconds, so that a knob may be dragged.

    Arguments:
        pipes: S states and E pipes, laid out once.
        flow: (E,) flow along each pipe, at least 0.
        stop: (S,) flow into each drop, at least 0.
        target: (S,) the law that is wanted.
        law: (S,) the law of where paths end.
        leaks: (S,) ``log inflow - log flow`` of each state; if None, states show the law instead.
        particles: how many run, each by the shares of what leaves a state.
        seed: of the particles; the same one keeps most on their way while a knob is turned.
        start: number of the state where the water comes in, marked by a ring; the source if None.
        widest: the flow that is drawn 13 pixels wide; the strongest one if None.
        alt: the alternative text; composed if None.
        title: of the first panel.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of at most 1.5 MB.

    Raises:
        ValueError: shapes that do not fit, negative flows, a state that particles reach but that
            nothing leaves, no law, no particle, no such start, or more than 1.5 MB.
    """
    water = checked(flow, "the flow", len(pipes.graph.pairs), None, 0.0)
    into = checked(stop, "the stop flow", len(pipes.graph.at), None, 0.0)
    wanted = checked_law(target, "the target", len(pipes.graph.at), None)
    found = checked_law(law, "the terminating law", len(pipes.graph.at), None)
    if isinstance(particles, bool) or particles != int(particles) or particles < 1:
        raise ValueError(f"Nothing runs: got {particles!r} particles. Pass a whole number above 0.")
    first = pipes.source if start is None else int(start)
    _check_exits(pipes, water, into, first)
    taken = run(pipes, water, into, int(particles), seed, first)
    at, dropped = running(pipes, taken)
    off, scale = 0.5 * abs(found - wanted).sum(), scale_of(water, widest)
    words = "" if leaks is None else f" {leak_words(pipes, _leaks(pipes, leaks, None))}"
    told = f"The law of where paths end is off by {off:.3f}.{words}"
    scene = Scene(
        len(at),
        alt=alt
        or f"{_network(pipes)} Each pipe is as wide as its flow; {unseen(water, scale)} "
        f"carry too little to be drawn. {told}",
        fps=fps,
        times=np.arange(len(at)) / EACH,
        time_label="move",
        notes=[f"{k} of {particles} particles have dropped into a cell. {told}" for k in dropped],
        group=group,
        poster_frame=round(0.55 * (len(at) - 1)),
    )
    panel = water_panel(scene, pipes, water, into, scale, title or "flow of reward")
    if leaks is None:
        cells(panel, pipes, found)
    else:
        leak_meter(panel, pipes, _leaks(pipes, leaks, None))
    if start is not None:
        ring(panel, pipes, first, _RUNNER)
    panel.points(at, color=_RUNNER, size=5.0, alpha=0.8)
    law_panel(scene, pipes, wanted, found)
    return small(scene, "the number of particles")


def learned_pipes(
    pipes: Pipes,
    flow: object,
    stop: object,
    *,
    target: object,
    law: object,
    leaks: object,
    times: object,
    time_label: str = "iteration",
    widest: float | None = None,
    alt: str | None = None,
    title: str = "",
    fps: float = 8.0,
    group: str | None = None,
    poster_frame: int = -1,
) -> Scene:
    """Show the flow of a net while it learns, one frame a snapshot, with a leak meter per state.

    Purple states take in less than they give away, green ones more; the one that leaks most has a
    ring. Pipes of one width carry one flow in all frames.

    Arguments:
        pipes: S states and E pipes, laid out once.
        flow: (F, E) flow along each pipe, at least 0.
        stop: (F, S) flow into each drop, at least 0.
        target: (S,) the law that is wanted.
        law: (F, S) the law of where paths end.
        leaks: (F, S) ``log inflow - log flow`` of each state.
        times: (F,) when each snapshot was taken.
        time_label: what ``times`` counts.
        widest: the flow that is drawn 13 pixels wide; the strongest of the last frame if None.
        alt: the alternative text; composed if None.
        title: of the first panel.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.
        poster_frame: the snapshot that is drawn where nothing can play.

    Returns:
        A scene of F frames and at most 1.5 MB.

    Raises:
        ValueError: shapes that do not fit, negative flows, no law, or more than 1.5 MB.
    """
    at = as_array(times, "times", ("N",))
    water = checked(flow, "the flow", len(pipes.graph.pairs), len(at), 0.0)
    into = checked(stop, "the stop flow", len(pipes.graph.at), len(at), 0.0)
    wanted = checked_law(target, "the target", len(pipes.graph.at), None)
    found = checked_law(law, "the terminating law", len(pipes.graph.at), len(at))
    leak = _leaks(pipes, leaks, len(at))
    off = 0.5 * abs(found - wanted).sum(1)
    scene = Scene(
        len(at),
        alt=alt
        or f"{_network(pipes)} {len(at)} snapshots of a net that learns the flow: the law "
        f"of where paths end is off by {off[0]:.3f} at first and by {off[-1]:.3f} at last.",
        fps=fps,
        times=at,
        time_label=time_label,
        notes=[
            f"{time_label} {t:g}: the law is off by {off[f]:.3f}. {leak_words(pipes, leak[f])}"
            for f, t in enumerate(at)
        ],
        group=group,
        poster_frame=poster_frame,
    )
    scale = scale_of(water[-1], widest)
    panel = water_panel(scene, pipes, water, into, scale, title or "flow of a net")
    leak_meter(panel, pipes, leak)
    law_panel(scene, pipes, wanted, found)
    return small(scene, _SMALLER)


def path_account(
    pipes: Pipes,
    flow: object,
    stop: object,
    path: object,
    residuals: object,
    *,
    total: float,
    leaks: object | None = None,
    widest: float | None = None,
    alt: str | None = None,
    title: str = "",
    fps: float = 2.0,
    group: str | None = None,
) -> Scene:
    """Show one path, and its trajectory balance as the running sum of its detailed balances.

    The flows of the states between cancel: after the stop the sum is the residual of the whole
    path, which a dashed line marks.

    Arguments:
        pipes: S states and E pipes, laid out once.
        flow: (E,) flow along each pipe, at least 0.
        stop: (S,) flow into each drop, at least 0.
        path: (T,) numbers of the states from the source to the one where the path stops.
        residuals: (T,) imbalance of each of its T - 1 moves, then of its stop.
        total: the residual of the whole path, computed by itself.
        leaks: (S,) ``log inflow - log flow`` of each state, or None.
        widest: the flow that is drawn 13 pixels wide; the strongest one if None.
        alt: the alternative text; composed if None.
        title: of the first panel.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of T + 1 frames.

    Raises:
        ValueError: shapes that do not fit, negative flows, or a path that leaves the pipes.
    """
    water = checked(flow, "the flow", len(pipes.graph.pairs), None, 0.0)
    into = checked(stop, "the stop flow", len(pipes.graph.at), None, 0.0)
    taken = pipes_of(pipes, path)
    each = checked(residuals, "the list of residuals", len(taken), None, -np.inf)
    sums = np.concatenate([[0.0], np.cumsum(each)])
    parts = [*(f"move {k + 1}" for k in range(len(each) - 1)), "the stop"]
    told = ["The path is at the source; nothing is summed yet."]
    told += [
        f"After {part} ({_signed(one)}) the sum is {_signed(now)}; the whole path has "
        f"{_signed(total)}."
        for part, one, now in zip(parts, each, sums[1:], strict=True)
    ]
    scene = Scene(
        len(sums),
        alt=alt
        or f"{_network(pipes)} One path of {len(each) - 1} moves and a stop. The residuals "
        f"of its moves sum to {_signed(sums[-1])}; that of the whole path is {_signed(total)}.",
        fps=fps,
        times=np.arange(len(sums)),
        time_label="move",
        notes=told,
        group=group,
    )
    panel = water_panel(scene, pipes, water, into, scale_of(water, widest), title or "one path")
    if leaks is None:
        cells(panel, pipes, into / max(float(into.sum()), 1e-300))
    else:
        leak_meter(panel, pipes, _leaks(pipes, leaks, None))
    panel.points(waypoints(pipes, taken[:, None])[::2], color=colors.PUSH, size=9.0, alpha=1.0)
    sum_panel(scene, each, sums, total)
    return small(scene, _SMALLER)


def _check_exits(pipes: Pipes, flow: np.ndarray, stop: np.ndarray, start: int) -> None:
    if not 0 <= start < len(stop):
        raise ValueError(
            f"The water comes in nowhere: got start {start}. Pass the number of one of the "
            f"{len(stop)} states, from 0 on."
        )
    leaving = stop + np.bincount(pipes.graph.pairs[:, 0], flow, len(stop))
    enters = np.bincount(pipes.graph.pairs[:, 1], flow, len(stop)) > 0
    enters[start] = True
    stuck = np.flatnonzero(enters & ~(leaving > 0))
    if len(stuck):
        raise ValueError(
            f"Particles would be stuck: got no flow out of state {pipes.graph.names[stuck[0]]}. "
            "Pass flows that leave every state which they enter."
        )


def _leaks(pipes: Pipes, leaks: object, frames: int | None) -> np.ndarray:
    return checked(leaks, "the list of leaks", len(pipes.graph.at), frames, -np.inf)


def _network(pipes: Pipes) -> str:
    return f"{len(pipes.graph.at)} states joined by {len(pipes.graph.pairs)} pipes."


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\u2212")

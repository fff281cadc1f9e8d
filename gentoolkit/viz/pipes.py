"""Flows of reward as water in pipes: settled, while a net learns, and along one path."""

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array, as_law, at_least, extent, positive
from gentoolkit.viz.graph import (
    WIDEST,
    apart_by,
    circles,
    draw_states,
    law_panel,
    named,
    shade_states,
    write_beside,
)
from gentoolkit.viz.panel import GREY, INK, THINNEST, Panel
from gentoolkit.viz.particles import number
from gentoolkit.viz.pipe_graph import EACH, Pipes, along, pipes_of, run, running, waypoints
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

__all__ = ["Pipes", "along", "learned_pipes", "path_account", "running_pipes"]

_RUNNER = "#7B5AA6"
_TIGHT = 0.02
"""Nats up to which a state counts as tight."""
_LEAK_END = 2.0
_RING = 1.25
"""Radius of the ring, in rooms of a state; names stand outside of it."""
_PLACED = 8
"""States from which on the bars of the laws stand at their states."""
_TALLEST = 0.74
"""Height of the tallest such bar, as a share of the least distance of two states."""


def running_pipes(
    pipes: Pipes,
    flow: object,
    stop: object,
    *,
    target: object,
    law: object,
    leaks: object | None = None,
    particles: int = 80,
    start: int | None = None,
    widest: float | None = None,
    alt: str | None = None,
    title: str = "flow of reward",
) -> Scene:
    """Show a flow as pipes, with particles of reward that run through it and drop into cells.

    A blue pipe is as wide as its flow, a grey drop as what stops there. Beside it, where paths
    end and where they should. It is made in a few milliseconds, so that a knob may be dragged, and
    most particles keep their way while it is.

    Arguments:
        pipes: S states and E pipes, laid out once.
        flow: (E,) flow along each pipe, at least 0.
        stop: (S,) flow into each drop, at least 0.
        target: (S,) the law that is wanted.
        law: (S,) the law of where paths end.
        leaks: (S,) ``log inflow - log flow`` of each state; if None, states show the law instead.
        particles: how many run, each by the shares of what leaves a state.
        start: number of the state where the water comes in, marked by a ring; the source if None.
        widest: the flow that is drawn 13 pixels wide; the strongest one if None.
        alt: the alternative text; composed if None.
        title: of the first panel.

    Returns:
        A scene of at most 1.5 MB.

    Raises:
        ValueError: shapes that do not fit, negative flows, a state that particles reach but that
            nothing leaves, no law, no particle, no such start, or more than 1.5 MB.
    """
    water, into = _flows(pipes, flow, stop)
    shape = into.shape
    wanted = as_law(target, "the target", shape)
    found = as_law(law, "the terminating law", shape)
    first = pipes.source if start is None else int(start)
    _check_exits(pipes, water, into, first)
    taken = run(pipes, water, into, at_least(particles, "particles", 1), first)
    at, dropped = running(pipes, taken)
    scale = _scale(water, widest)
    told = f"The law of where paths end is off by {apart_by(found, wanted):.3f}."
    leak = None if leaks is None else as_array(leaks, "leaks of states", shape)
    told += "" if leak is None else f" {_leak_words(pipes, leak)}"
    scene = Scene(
        len(at),
        alt=alt
        or f"{_network(pipes)} Each pipe is as wide as its flow; "
        f"{int((scale * water < THINNEST).sum())} carry too little to be drawn. {told}",
        fps=16.0,
        times=np.arange(len(at)) / EACH,
        time_label="move",
        notes=[f"{k} of {particles} particles have dropped into a cell. {told}" for k in dropped],
        poster_frame=round(0.55 * (len(at) - 1)),
    )
    panel = _water_panel(scene, pipes, water, into, scale, title)
    if leak is None:
        _cells(panel, pipes, found)
    else:
        _leak_meter(panel, pipes, leak)
    if start is not None:
        panel.lines(_ring(pipes, first)[None], color=_RUNNER, width=2.0)
    panel.points(at, color=_RUNNER, size=5.0, alpha=0.8)
    _law_panel(scene, pipes, wanted, found)
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
    alt: str | None = None,
    title: str = "flow of a net",
    poster_frame: int = -1,
) -> Scene:
    """Show the flow of a net while it learns, one frame a snapshot, with a leak meter per state.

    Purple states take in less than they give away, green ones more; the one that leaks most has a
    ring. Pipes of one width carry one flow in all frames: 13 pixels the strongest of the last.

    Arguments:
        pipes: S states and E pipes, laid out once.
        flow: (F, E) flow along each pipe, at least 0.
        stop: (F, S) flow into each drop, at least 0.
        target: (S,) the law that is wanted.
        law: (F, S) the law of where paths end.
        leaks: (F, S) ``log inflow - log flow`` of each state.
        times: (F,) the iteration of each snapshot.
        alt: the alternative text; composed if None.
        title: of the first panel.
        poster_frame: the snapshot that is drawn where nothing can play.

    Returns:
        A scene of F frames and at most 1.5 MB.

    Raises:
        ValueError: shapes that do not fit, negative flows, no law, or more than 1.5 MB.
    """
    at = as_array(times, "times", ("F",))
    water, into = _flows(pipes, flow, stop, len(at))
    wanted = as_law(target, "the target", into.shape[1:])
    found = as_law(law, "the terminating law", into.shape)
    leak = as_array(leaks, "leaks of states", into.shape)
    off = apart_by(found, wanted)
    scene = Scene(
        len(at),
        alt=alt
        or f"{_network(pipes)} {len(at)} snapshots of a net that learns the flow: the law "
        f"of where paths end is off by {off[0]:.3f} at first and by {off[-1]:.3f} at last.",
        fps=8.0,
        times=at,
        time_label="iteration",
        notes=[
            f"iteration {t:g}: the law is off by {off[f]:.3f}. {_leak_words(pipes, leak[f])}"
            for f, t in enumerate(at)
        ],
        poster_frame=poster_frame,
    )
    panel = _water_panel(scene, pipes, water, into, _scale(water[-1]), title)
    _leak_meter(panel, pipes, leak)
    _law_panel(scene, pipes, wanted, found)
    return small(scene, "the number of frames")


def path_account(
    pipes: Pipes,
    flow: object,
    stop: object,
    path: object,
    residuals: object,
    *,
    total: float,
    leaks: object | None = None,
    alt: str | None = None,
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
        leaks: (S,) ``log inflow - log flow`` of each state; if None, states show what stops there.
        alt: the alternative text; composed if None.

    Returns:
        A scene of T + 1 frames.

    Raises:
        ValueError: shapes that do not fit, negative flows, or a path that leaves the pipes.
    """
    water, into = _flows(pipes, flow, stop)
    taken = pipes_of(pipes, path)
    each = as_array(residuals, "residuals of the path", (len(taken),))
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
        fps=2.0,
        times=np.arange(len(sums)),
        time_label="move",
        notes=told,
    )
    panel = _water_panel(scene, pipes, water, into, _scale(water), "one path")
    if leaks is None:
        _cells(panel, pipes, into / max(float(into.sum()), 1e-300))
    else:
        _leak_meter(panel, pipes, as_array(leaks, "leaks of states", into.shape))
    panel.points(waypoints(pipes, taken[:, None])[::2], color=colors.PUSH, size=9.0, alpha=1.0)
    _sum_panel(scene, each, sums, total)
    return small(scene, "the number of frames")


def _flows(
    pipes: Pipes, flow: object, stop: object, frames: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Check the flows through the pipes and into the drops, in one frame or in all."""
    moving = () if frames is None else (frames,)
    return (
        as_array(flow, "the flow", (*moving, len(pipes.graph.pairs)), low=0),
        as_array(stop, "the stop flow", (*moving, len(pipes.graph.at)), low=0),
    )


def _check_exits(pipes: Pipes, flow: np.ndarray, stop: np.ndarray, start: int) -> None:
    if not 0 <= start < len(stop):
        raise ValueError(
            f"start must be one of {len(stop)} states; got start {start}; pass its number, from 0"
        )
    leaving = stop + np.bincount(pipes.graph.pairs[:, 0], flow, len(stop))
    enters = np.bincount(pipes.graph.pairs[:, 1], flow, len(stop)) > 0
    enters[start] = True
    stuck = np.flatnonzero(enters & ~(leaving > 0))
    if len(stuck):
        raise ValueError(
            f"particles would be stuck; got no flow out of state {pipes.graph.names[stuck[0]]}; "
            "pass flows that leave every state which they enter"
        )


def _scale(flow: np.ndarray, widest: float | None = None) -> float:
    """Return the pixels that one unit of flow is wide."""
    return WIDEST / positive(float(flow.max()) if widest is None else widest, "the widest flow")


def _water_panel(
    scene: Scene, pipes: Pipes, flow: np.ndarray, stop: np.ndarray, scale: float, title: str
) -> Panel:
    """Add the network: pipes in blue as wide as their flow, drops into the cells in grey."""
    panel = scene.panel(*pipes.ranges, title=title, axes=False)
    # Every pipe is seen, also one that carries too little to be drawn.
    ways = pipes.ways[:, [0, -1]] if pipes.straight else pipes.ways
    panel.lines(ways, color="#CFD6DD", width=1.0)
    most = 2.2 * WIDEST  # a net that has not learned yet may claim any flow
    for where, much, color in (
        (pipes.ways, flow, colors.PUSH),
        (pipes.drops, stop, colors.NEUTRAL),
    ):
        widths = np.minimum(scale * much, most)
        panel.ribbons(where, widths, color=color, alpha=0.85, beside=False)
    for across, up, word in pipes.ticks:
        panel.text(across, up, word, color=colors.NEUTRAL)
    return panel


def _cells(panel: Panel, pipes: Pipes, law: np.ndarray) -> None:
    """Draw the states, the darker the more paths end there."""
    draw_states(panel, pipes.graph, _disc(pipes), law)
    _names(panel, pipes)


def _leak_meter(panel: Panel, pipes: Pipes, leaks: np.ndarray) -> None:
    """Let each state glow with its leak (S,) or (F, S), and ring the one that leaks most.

    Purple takes in less than it gives away, green takes in more, grey is tight.
    """
    limits = (-_LEAK_END, _LEAK_END)
    shade_states(panel, pipes.graph, _disc(pipes), leaks, limits, "balance")
    _names(panel, pipes)
    worst, leaking = abs(leaks).argmax(-1), abs(leaks).max(-1) > _TIGHT
    rings = _ring(pipes, worst)[..., None, :, :]
    rings = np.where(leaking[..., None, None, None], rings, panel.nowhere)
    panel.lines(rings, color=colors.WRONG, width=2.0)
    words = "purple: takes in too little; green: too much"
    place = (panel.x[0] + 0.1, panel.y[0] + 0.3 * pipes.graph.unit)
    panel.text(*place, words, color=INK, anchor="left")


def _ring(pipes: Pipes, state: int | np.ndarray) -> np.ndarray:
    return circles(pipes.graph.at[state], _RING * pipes.graph.room)


def _leak_words(pipes: Pipes, leaks: np.ndarray) -> str:
    worst = int(abs(leaks).argmax())
    if abs(leaks[worst]) <= _TIGHT:
        return f"Every state is tight to {_TIGHT:g} nats."
    side = "too much" if leaks[worst] > 0 else "too little"
    nats = f"{abs(leaks[worst]):.2f} nats"
    return f"State {pipes.graph.names[worst]} leaks most: it takes in {nats} {side}."


def _law_panel(scene: Scene, pipes: Pipes, target: np.ndarray, law: np.ndarray) -> None:
    """Add the two laws as bars that stand where their states lie."""
    at, unit = pipes.graph.at, pipes.graph.unit
    if len(at) < _PLACED:
        legend = ("target", "terminating law")
        law_panel(scene, pipes.graph, target, law, legend, "where paths end")
        return
    (x0, x1), (y0, y1) = pipes.ranges
    panel = scene.panel(
        (x0, x1), (y0, y1 + 1.9 * unit), title="where paths end", axes=False, weight=0.85
    )
    foot = at - [0.0, 0.36 * unit]
    panel.lines(np.stack([foot - [0.4 * unit, 0], foot + [0.4 * unit, 0]], 1), color="#CFD6DD")
    # A net that has not learned yet may put all on one state: what is taller than this is cut.
    top = min(float(max(target.max(), law.max())), 1.6 * float(target.max()))
    tallest = unit * (0.42 if named(pipes.graph) else _TALLEST)  # names stand below
    for values, width, color in ((target, 17.0, GREY), (law, 11.0, colors.PUSH)):
        tall = tallest * np.minimum(values / top, 1.0)
        ends = foot + np.stack([np.zeros_like(tall), tall], -1)
        bars = np.stack([np.broadcast_to(foot, ends.shape), ends], -2)
        # A dashed line ends flat, and its first dash is longer than the tallest bar.
        panel.lines(bars, color=color, width=width, dash=True)
    apart = [f"apart by {v:.3f}" for v in np.atleast_1d(apart_by(law, target))]
    lines = (
        (f"wide grey: target; full height {top:.2g}", colors.NEUTRAL),
        ("narrow blue: terminating law", colors.PUSH),
        (apart if len(apart) > 1 else apart[0], INK),
    )
    for k, (line, color) in enumerate(lines):
        panel.text(x0 + 0.1, y1 + (1.62 - 0.55 * k) * unit, line, color=color, anchor="left")
    for across, up, word in pipes.ticks:
        panel.text(across, up, word, color=colors.NEUTRAL)
    write_beside(panel, pipes.graph, pipes.graph.names, (0.0, -2.4), "center")


def _sum_panel(scene: Scene, each: np.ndarray, sums: np.ndarray, total: float) -> None:
    """Add bars of each move's residual (T,), their running sum (T + 1,), and the whole path's."""
    low, high = extent(np.concatenate([sums, each, [0.0, total]]))
    high += 0.22 * (high - low)
    panel = scene.panel(
        (-0.2, len(each) + 0.2), (low, high), title="balance of the path, summed",
        x_label="moves, the last one the stop", equal=False, weight=0.85,
    )  # fmt: skip
    moves = np.arange(len(each))
    reached = np.arange(len(sums))[:, None] > moves
    panel.bars(each * reached, positions=moves + 0.5, width=0.7, color=GREY, alpha=1.0)
    ends = [[[-0.2, total], [len(each) + 0.2, total]]]
    panel.lines(ends, color=INK, width=2.0, dash=True)
    panel.accounts(np.arange(len(sums)), sums[:, None], name="sum of residuals", others=0)
    words = ("bars: moves; blue: their sum", "dashed: the whole path")
    for k, line in enumerate(words):
        panel.text(0, high - (0.06 + 0.075 * k) * (high - low), line, anchor="left")


def _disc(pipes: Pipes) -> float:
    (x0, x1), _ = pipes.ranges
    return min(40.0, 150.0 * pipes.graph.unit / (x1 - x0))


def _names(panel: Panel, pipes: Pipes) -> None:
    write_beside(panel, pipes.graph, pipes.graph.names, (0.0, _RING + 0.7), "center")


def _network(pipes: Pipes) -> str:
    return f"{len(pipes.graph.at)} states joined by {len(pipes.graph.pairs)} pipes."


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else ''}{number(value, 3)}"

"""Processes that jump: particles on a graph of states, flux balance, samplers side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array, as_law, as_times, at_least
from gentoolkit.viz.graph import (
    WIDEST,
    StateGraph,
    apart_by,
    circles,
    draw_states,
    law_panel,
    write_beside,
)
from gentoolkit.viz.lane import Lane, common
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

_SMALLER = "the number of particles or frames"
_LEAK = 0.02
"""Share of the strongest flow from which on a difference counts as a leak."""
_SCATTERED = 0.1  # of the largest flow: a jump that is marked in the scatter
_MARKED = 3  # halves of edges with a ring, at most


class Jumping(Protocol):
    """What a batch of jump paths offers."""

    start: float
    """Time where the paths begin."""
    end: float
    """Time where they end."""

    def state_at(self, t: float) -> Tensor:
        """(B, D) tokens at time t."""
        ...


def numbers_of(x: object, size: int) -> np.ndarray:
    """Number states of D tokens, the last token running fastest.

    Arguments:
        x: (..., D) tokens.
        size: number of tokens C.

    Returns:
        (...) whole numbers below C ** D.

    Raises:
        ValueError: a token out of range.
    """
    tokens = as_array(x, "tokens", low=0, high=size - 1, whole=True).astype(int)
    return (tokens * size ** np.arange(tokens.shape[-1])[::-1]).sum(-1)


def follow(path: Jumping, frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read jump paths at equally spaced times, from their start to their end.

    Arguments:
        path: a batch of B paths over D tokens, such as a ``JumpPath``.
        frames: how many times, at least 2.
        size: number of tokens C.

    Returns:
        Numbers of states (F, B), and times (F,).

    Raises:
        ValueError: fewer than two frames, or tokens out of range.
    """
    times = np.linspace(path.start, path.end, at_least(frames, "frames", 2))
    return np.stack([numbers_of(path.state_at(float(t)), size) for t in times]), times


def run_law(start: object, rates: object, times: object) -> np.ndarray:
    """Follow a law under rates that change with time: d/dr p = p R, r the time that has passed.

    Each piece takes the rates in its middle, by a matrix exponential: an error of the square of
    its length, and never a negative probability.

    Arguments:
        start: (N,) law at the first time.
        rates: (F - 1, N, N) rates in the middle of each piece; the diagonals are not read.
        times: (F,) times, rising or falling.

    Returns:
        (F, N) laws.

    Raises:
        ValueError: shapes that do not fit, or negative rates.
    """
    law, at = as_array(start, "the law", ("N",)), as_array(times, "times", ("F",))
    shape = (len(at) - 1, len(law), len(law))
    off = 1 - np.eye(len(law))
    matrices = as_array(as_array(rates, "rates of each piece", shape) * off, "rates", low=0)
    matrices = matrices - matrices.sum(-1)[..., None] * np.eye(len(law))
    pieces = torch.as_tensor(matrices * np.abs(np.diff(at))[:, None, None])
    found = [law]
    for step in torch.linalg.matrix_exp(pieces).numpy():
        found.append(found[-1] @ step)
    return np.stack(found)


def jump_landscape(
    graph: StateGraph,
    states: object,
    times: object,
    law: object,
    *,
    pull_rates: object,
    push_rates: object,
    alt: str | None = None,
) -> Scene:
    """Show particles that jump among a few states, out to noise and back.

    A state is the darker the more probable it is. A ribbon on an edge is the flow there, the law
    of where it starts times the rate: dashed orange while time rises (pull), solid blue while it
    falls (push). Beside it, the law as bars, and the share of the particles.

    Arguments:
        graph: N states.
        states: (F, B) number of each particle's state at each frame, as ``follow`` gives them.
        times: (F,) time of each frame: rising, falling, or first rising and then falling.
        law: (F, N) the law at each frame.
        pull_rates: (F, N, N) or (N, N) rates of noising, from x to y at [x, y].
        push_rates: (F, N, N) or (N, N) rates of the reversal.
        alt: the alternative text; composed if None.

    Returns:
        A scene of F frames and at most 1.5 MB.

    Raises:
        ValueError: shapes that do not fit, numbers of no state, no law, negative rates, or more
            than 1.5 MB.
    """
    at, count = as_array(times, "times", ("F",)), len(graph.at)
    where = _numbers(graph, states, len(at))
    laws = as_law(law, "the law", (len(at), count))
    rising = np.diff(at, append=at[-1]) > 0
    pull, push = _flows(graph, laws, pull_rates, False), _flows(graph, laws, push_rates, True)
    seen = np.stack([np.bincount(row, minlength=count) for row in where]) / where.shape[1]
    jumped = np.concatenate([[0], (where[1:] != where[:-1]).sum(1)])
    told = [
        f"{'pull' if rising[f] else 'push'}, t = {t:.2f}: {jumped[f]} of {where.shape[1]} "
        f"particles have just jumped; most are at {graph.names[int(seen[f].argmax())]}, "
        f"{seen[f].max():.2f} of them."
        for f, t in enumerate(at)
    ]
    way = "to noise" if at[-1] > at[0] else "from noise to data"
    way = "to noise and back to data" if at.argmax() not in (0, len(at) - 1) else way
    scene = Scene(
        len(at),
        alt=alt or f"{where.shape[1]} particles jump among {count} states, {way}.",
        fps=8.0,
        times=at,
        notes=told,
        smooth=False,
        poster_frame=round((0.08 if rising[0] else 0.8) * (len(at) - 1)),
    )
    panel = _state_panel(scene, graph, laws, "states, flows and particles", 2)
    top = max(float(pull.max()), float(push.max()), 1e-300)
    if rising.any():
        widths = WIDEST * pull * rising[:, None] / top
        panel.ribbons(graph.halves, widths, color=colors.PULL, dash=True, alpha=0.85)
    if not rising.all():
        widths = WIDEST * push * ~rising[:, None] / top
        panel.ribbons(graph.halves[:, ::-1], widths, color=colors.PUSH, alpha=0.85)
    _particles(panel, graph, where, np.diff(at, prepend=at[0]) > 0, single=True)
    _probabilities(panel, graph, laws)
    law_panel(scene, graph, laws, seen, ("exact law", "share"), "law and particles")
    return small(scene, _SMALLER)


def _both_flows(
    graph: StateGraph,
    at: np.ndarray,
    law: object,
    pull_rates: object,
    push_rates: object,
    pushed: object,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Read what a picture of balance shows at the times (F,).

    Returns:
        The exact laws and the pushed ones (F, N), the flows of noising and of the reversal on each
        edge (F, 2 E), and the largest flow.
    """
    shape = (len(at), len(graph.at))
    laws, found = as_law(law, "the law", shape), as_law(pushed, "the law that is pushed", shape)
    pull, push = _flows(graph, laws, pull_rates, False), _flows(graph, laws, push_rates, True)
    return laws, found, pull, push, max(float(pull.max()), float(push.max()), 1e-300)


def flux_balance(
    graph: StateGraph,
    times: object,
    law: object,
    *,
    pull_rates: object,
    push_rates: object,
    pushed: object,
) -> Scene:
    """Show both flows of every edge: what leaves a state as noise, and what comes back into it.

    On each half of an edge the dashed orange ribbon is the noising's flow out of the near state,
    ``law(x) Q(x, y)``, and the solid blue one beside it the reversal's flow back into it,
    ``law(y) R(y, x)``. With exact ratios the two mirror each other; where they do not the edge
    leaks, and the three halves that leak most are marked. Where a fault is everywhere,
    `flux_scatter` shows it better. Beside it, the law that the reversal really arrives at.

    Arguments:
        graph: N states.
        times: (F,) time of each frame, falling from noise to data.
        law: (F, N) the exact law at each frame.
        pull_rates: (F, N, N) or (N, N) rates of noising, from x to y at [x, y].
        push_rates: (F, N, N) rates of the reversal, exact or learned.
        pushed: (F, N) the law that the reversal gives, as ``run_law`` finds it.

    Returns:
        A scene of F frames and at most 1.5 MB; the notes name the edge that leaks most.

    Raises:
        ValueError: shapes that do not fit, no law, negative rates, times that do not fall, or
            more than 1.5 MB.
    """
    at = as_times(times, "times", falling=True)
    laws, found, pull, push, top = _both_flows(graph, at, law, pull_rates, push_rates, pushed)
    leak, off = np.abs(push - pull), apart_by(laws, found)
    told = [
        f"t = {t:.2f}: {_leaks(graph, leak[f], pull[f], push[f], top)} The law that is pushed is "
        f"off by {off[f]:.3f}."
        for f, t in enumerate(at)
    ]
    scene = Scene(
        len(at),
        alt=f"{len(graph.at)} states. On every edge the flow of noising and that of the reversal "
        f"lie side by side. At the end the pushed law is off by {off[-1]:.3f}.",
        fps=8.0,
        times=at,
        notes=told,
        poster_frame=round(0.8 * (len(at) - 1)),
    )
    panel = _state_panel(scene, graph, laws, "flux balance", 2)
    out, back = (WIDEST * flow / top for flow in (pull, push))
    panel.ribbons(graph.halves, out, color=colors.PULL, dash=True)
    panel.ribbons(graph.halves[:, ::-1], back, color=colors.PUSH)
    _probabilities(panel, graph, laws, inside=True)
    worst = -np.sort(-leak, axis=1)[:, [min(_MARKED, leak.shape[1]) - 1]]
    leaking = (leak > _LEAK * top) & (leak >= worst)
    which = leaking.any(0)
    if which.any():  # a ring around each of the halves that leak most, in the frames where they do
        middles = graph.halves[which, graph.halves.shape[1] // 2]
        rings = circles(middles, 0.85 * graph.room)
        shown = np.where(leaking[:, which, None, None], rings, panel.nowhere)
        panel.lines(shown, color=colors.WRONG, width=2.0)
    law_panel(scene, graph, laws, found, ("exact", "pushed"), "law")
    return small(scene, _SMALLER)


def flux_scatter(
    graph: StateGraph,
    times: object,
    law: object,
    *,
    pull_rates: object,
    push_rates: object,
    pushed: object,
) -> Scene:
    """Show every jump of a small space as a dot: flow of the noise across, of the reversal upward.

    With exact ratios ``law(x) Q(x, y) = law(y) R(y, x)``, so that every dot lies on the diagonal.
    A dot below it is a jump that the reversal undoes too rarely. Beside it, the law that the
    reversal really arrives at.

    The arguments, and what is refused, are those of `flux_balance`.

    Returns:
        A scene of F frames, whose poster is the last but one; a red cross marks each jump that is
        off by more than a tenth of the largest flow.
    """
    at = as_times(times, "times", falling=True)
    laws, found, pull, push, top = _both_flows(graph, at, law, pull_rates, push_rates, pushed)
    off = apart_by(laws, found)
    wrong = np.abs(push - pull) > _SCATTERED * top
    told = [
        f"t = {t:.2f}: all of the reversal's jumps together carry {push[f].sum():.3f}, those of "
        f"the noise {pull[f].sum():.3f}; the law that is pushed is off by {off[f]:.3f}."
        for f, t in enumerate(at)
    ]
    scene = Scene(
        len(at),
        alt=f"{pull.shape[1]} jumps as dots: flow of the noise across, of the reversal upward, "
        f"beside a diagonal. At the end the pushed law is off by {off[-1]:.3f}.",
        fps=8.0,
        times=at,
        notes=told,
        poster_frame=max(0, len(at) - 2),  # at the end rates may be 0 or without a bound
    )
    panel = scene.panel(
        (0.0, 1.08 * top), (0.0, 1.08 * top), title="the flow of each jump",
        x_label="noise, x to y", y_label="reversal, y to x",
    )  # fmt: skip
    panel.lines([[[0.0, 0.0], [1.08 * top] * 2]], color=colors.NEUTRAL, dash=True)
    dots = np.stack([pull, push], -1)
    panel.points(np.where(wrong[..., None], panel.nowhere, dots), color=colors.PUSH, size=9)
    if wrong.any():
        arms = 0.016 * top * np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
        lines = np.where(wrong[..., None, None, None], dots[:, :, None, None] + arms, panel.nowhere)
        panel.lines(lines.reshape(len(at), -1, 2, 2), color=colors.WRONG, width=2.0)
    law_panel(scene, graph, laws, found, ("exact", "pushed"), "law")
    return small(scene, _SMALLER)


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

    Returns:
        A scene of at most 1.5 MB.

    Raises:
        ValueError: lanes that do not fit together, numbers of no state, marks of another shape,
            no law, or more than 1.5 MB.
    """
    lengths = [len(as_array(lane.times, f"times of lane {lane.name!r}", ("T",))) for lane in lanes]
    wheres = [_numbers(graph, one.states, n) for one, n in zip(lanes, lengths, strict=True)]
    marks = [
        None
        if lane.clamped is None
        else as_array(lane.clamped, f"marks of lane {lane.name!r}", where.shape) > 0
        for lane, where in zip(lanes, wheres, strict=True)
    ]
    runs = [
        Lane(lane.name, list(graph.scatter(where)), lane.times)
        for lane, where in zip(lanes, wheres, strict=True)
    ]
    clock = common(runs, frames)
    found = [as_array(law(float(t)), "the law", (len(graph.at),)) for t in clock.times]
    laws = as_law(found, "the law", ("F", "N"))
    told = []
    for f, t in enumerate(clock.times):
        parts = []
        for run, mark, held in zip(runs, marks, clock.held, strict=True):
            k = int(held[f])
            more = "" if mark is None else f", {int(mark[k].sum())} clamped"
            parts.append(f"{run.name}: {run.when(k)}{more}")
        told.append(f"t = {t:.2f}. {'; '.join(parts)}.")
    names = "; ".join(f"{run.name}: {run.steps} steps" for run in runs)
    scene = Scene(
        len(clock.times),
        alt=f"{wheres[0].shape[1]} particles jump from noise to data in {len(runs)} lanes: "
        f"{names}.",
        fps=8.0,
        times=clock.times,
        notes=told,
        smooth=False,
    )
    (left, _), (foot, head) = graph.ranges
    for lane, run, where, mark, held in zip(lanes, runs, wheres, marks, clock.held, strict=True):
        panel = _state_panel(scene, graph, laws, lane.name, len(runs))
        _particles(panel, graph, where[held], np.zeros(len(held), dtype=bool), 4.5, 0.3)
        if mark is not None and mark[held].any():
            _crosses(panel, graph, where[held], mark[held])
        panel.text(left + 0.05, head - 0.16, [run.when(k) for k in held], anchor="left")
        if lane.caption:
            panel.text(left + 0.05, foot + 0.16, lane.caption, anchor="left")
    return small(scene, _SMALLER)


def _numbers(graph: StateGraph, states: object, frames: int) -> np.ndarray:
    shape, high = (frames, "B"), len(graph.at) - 1
    return as_array(states, "numbers of states", shape, low=0, high=high, whole=True).astype(int)


def _flows(graph: StateGraph, law: np.ndarray, rates: object, into: bool) -> np.ndarray:
    """Return the flow on each half x to y of an edge, (F, 2 E): law of where it starts, times rate.

    Of the jumps that come in on the half, y to x, if ``into``; otherwise of those that leave.
    """
    picked = graph.directed(rates, len(law))
    starts = np.concatenate([graph.pairs[:, 0], graph.pairs[:, 1]])
    if into:  # half e of the other direction stands E further on
        half = len(graph.pairs)
        picked, starts = np.roll(picked, half, axis=-1), np.roll(starts, half)
    return law[:, starts] * picked


def _leaks(
    graph: StateGraph, leak: np.ndarray, pull: np.ndarray, push: np.ndarray, top: float
) -> str:
    worst = int(leak.argmax())
    if leak[worst] <= _LEAK * top:
        return "every edge is in balance."
    count = len(graph.pairs)
    x, y = graph.pairs[worst % count] if worst < count else graph.pairs[worst % count][::-1]
    return (
        f"the edge {graph.names[x]} to {graph.names[y]} leaks: noise takes {pull[worst]:.3f} out, "
        f"the reversal brings {push[worst]:.3f} back."
    )


def _state_panel(scene: Scene, graph: StateGraph, law: np.ndarray, title: str, share: int) -> Panel:
    """Add a panel of the states, grey by their law (F, N), one of ``share`` panels in a row."""
    x, y = graph.ranges
    across, up = graph.labels if graph.labels and share < 3 else ("", "")  # or they take the room
    panel = scene.panel(
        x, y, title=title, x_label=across, y_label=up, axes=graph.labels is not None
    )
    size = {1: 52.0, 2: 46.0}.get(share, 34.0) * 3.24 * graph.unit / (x[1] - x[0])
    draw_states(panel, graph, size, law)
    return panel


def _probabilities(panel: Panel, graph: StateGraph, law: np.ndarray, inside: bool = False) -> None:
    """Write each state's probability beside it, or inside where no particles lie."""
    words = [[f"{p:.2f}" for p in column] for column in law.T]
    if inside:
        write_beside(panel, graph, words, (0.0, 0.0), "center")
    else:
        write_beside(panel, graph, words, (0.75, 1.2), "left")


def _particles(
    panel: Panel,
    graph: StateGraph,
    states: np.ndarray,
    rising: np.ndarray,
    size: float = 5.0,
    alpha: float = 0.55,
    single: bool = False,
) -> None:
    """Draw particles (F, B), coloured by where they start, with a streak behind those that jump.

    The streak is that of a pull where the frame was reached by noising, ``rising`` (F,). If
    ``single``, a particle that jumped more than once since the last frame, so that no edge joins
    the two states, has none.
    """
    at = graph.scatter(states)
    streaks = np.stack([at[np.maximum(np.arange(len(at)) - 1, 0)], at], axis=2)  # (F, B, 2, 2)
    if single:
        joined = np.eye(len(graph.at), dtype=bool)
        joined[tuple(graph.pairs.T)] = joined[tuple(graph.pairs.T[::-1])] = True
        direct = joined[states[np.maximum(np.arange(len(at)) - 1, 0)], states]
        streaks = np.where(direct[:, :, None, None], streaks, panel.nowhere)
    for color, dash, chosen in ((colors.PULL, True, rising), (colors.PUSH, False, ~rising)):
        if chosen.any():
            shown = np.where(chosen[:, None, None, None], streaks, panel.nowhere)
            panel.lines(shown, color=color, width=1.5, dash=dash, alpha=alpha)
    panel.points(at, values=states[0] % 10, colormap="classes", size=size, alpha=0.85)


def _crosses(panel: Panel, graph: StateGraph, states: np.ndarray, crossed: np.ndarray) -> None:
    """Cross out the particles of some frames, (F, B)."""
    arms = 0.2 * graph.room * np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
    lines = graph.scatter(states)[:, :, None, None] + arms  # (F, B, 2, 2, 2)
    lines = np.where(crossed[:, :, None, None, None], lines, panel.nowhere)
    panel.lines(lines.reshape(len(lines), -1, 2, 2), color=colors.WRONG, width=2.0)

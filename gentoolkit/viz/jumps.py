"""Processes that jump: particles on a graph of states, flux balance, samplers side by side."""

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.jump_lanes import JumpLane, jump_lanes
from gentoolkit.viz.jump_panels import (
    WIDEST,
    checked_law,
    checked_states,
    flows,
    law_panel,
    particles,
    probabilities,
    shares,
    state_panel,
    variation,
)
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small
from gentoolkit.viz.state_graph import StateGraph, follow, numbers_of, run_law

__all__ = [
    "JumpLane",
    "StateGraph",
    "flux_balance",
    "follow",
    "jump_lanes",
    "jump_landscape",
    "numbers_of",
    "run_law",
]

_SMALLER = "the number of particles or frames"
_LEAK = 0.02
"""Share of the strongest flow from which on a difference counts as a leak."""


def jump_landscape(
    graph: StateGraph,
    states: object,
    times: object,
    law: object,
    *,
    pull_rates: object,
    push_rates: object,
    alt: str | None = None,
    title: str = "",
    time_label: str = "t",
    fps: float = 8.0,
    group: str | None = None,
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
        title: of the first panel.
        time_label: the name of the time.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of F frames and at most 1.5 MB.

    Raises:
        ValueError: shapes that do not fit, numbers of no state, no law, negative rates, or more
            than 1.5 MB.
    """
    at = as_array(times, "times", ("N",))
    where = checked_states(graph, states, len(at))
    laws = checked_law(graph, law, len(at), "the law")
    rising = np.diff(at, append=at[-1]) > 0
    arrived = np.diff(at, prepend=at[0]) > 0
    pull = flows(graph, laws, pull_rates, into=False)
    push = flows(graph, laws, push_rates, into=True)
    seen = shares(where, len(graph.at))
    jumped = np.concatenate([[0], (where[1:] != where[:-1]).sum(1)])
    way = ["pull" if up else "push" for up in rising]
    told = [
        f"{way[f]}, {time_label} = {t:.2f}: {jumped[f]} of {where.shape[1]} particles have just "
        f"jumped; most are at {graph.names[int(seen[f].argmax())]}, {seen[f].max():.2f} of them."
        for f, t in enumerate(at)
    ]
    scene = Scene(
        len(at),
        alt=_told(where, graph, at) if alt is None else alt,
        fps=fps,
        times=at,
        time_label=time_label,
        notes=told,
        group=group,
        smooth=False,
        poster_frame=round((0.08 if rising[0] else 0.8) * (len(at) - 1)),
    )
    panel = state_panel(scene, graph, laws, title or "states, flows and particles", 2)
    top = max(float(pull.max()), float(push.max()), 1e-300)
    lines = graph.halves
    if rising.any():
        widths = WIDEST * pull * rising[:, None] / top
        panel.ribbons(lines, widths, color=colors.PULL, dash=True, alpha=0.85)
    if not rising.all():
        widths = WIDEST * push * ~rising[:, None] / top
        panel.ribbons(lines[:, ::-1], widths, color=colors.PUSH, alpha=0.85)
    particles(panel, graph, where, arrived)
    probabilities(panel, graph, laws)
    off = [f"apart by {v:.3f}" for v in variation(laws, seen)]
    law_panel(scene, graph, laws, seen, off, "law and particles", ("exact law", "share"))
    return small(scene, _SMALLER)


def flux_balance(
    graph: StateGraph,
    times: object,
    law: object,
    *,
    pull_rates: object,
    push_rates: object,
    pushed: object,
    alt: str | None = None,
    title: str = "",
    time_label: str = "t",
    fps: float = 8.0,
    group: str | None = None,
) -> Scene:
    """Show both flows of every edge: what leaves a state as noise, and what comes back into it.

    On each half of an edge the dashed orange ribbon is the noising's flow out of the near state,
    ``law(x) Q(x, y)``, and the solid blue one beside it the reversal's flow back into it,
    ``law(y) R(y, x)``. With exact ratios the two mirror each other; where they do not the edge
    leaks, and is marked. Beside it, the law that the reversal really arrives at.

    Arguments:
        graph: N states.
        times: (F,) time of each frame, falling from noise to data.
        law: (F, N) the exact law at each frame.
        pull_rates: (F, N, N) or (N, N) rates of noising, from x to y at [x, y].
        push_rates: (F, N, N) rates of the reversal, exact or learned.
        pushed: (F, N) the law that the reversal gives, as ``run_law`` finds it.
        alt: the alternative text; composed if None.
        title: of the first panel.
        time_label: the name of the time.
        fps: frames a second at normal speed.
        group: the name under which players of one page move together.

    Returns:
        A scene of F frames and at most 1.5 MB; the notes name the edge that leaks most.

    Raises:
        ValueError: shapes that do not fit, no law, negative rates, times that do not fall, or
            more than 1.5 MB.
    """
    at = as_array(times, "times", ("N",))
    if len(at) < 2 or not (np.diff(at) < 0).all():
        raise ValueError(
            f"The times do not fall: got {len(at)} from {at[0]:g} to {at[-1]:g}. Pass two or more, "
            "from noise to data."
        )
    laws = checked_law(graph, law, len(at), "the law")
    found = checked_law(graph, pushed, len(at), "the law that is pushed")
    pull = flows(graph, laws, pull_rates, into=False)
    push = flows(graph, laws, push_rates, into=True)
    top = max(float(pull.max()), 1e-300)
    leak, off = np.abs(push - pull), variation(laws, found)
    told = [
        f"{time_label} = {t:.2f}: {_leaks(graph, leak[f], pull[f], push[f], top)} The law that is "
        f"pushed is off by {off[f]:.3f}."
        for f, t in enumerate(at)
    ]
    scene = Scene(
        len(at),
        alt=alt
        or f"{len(graph.at)} states. On every edge the flow of noising and that of the reversal "
        f"lie side by side. At the end the pushed law is off by {off[-1]:.3f}.",
        fps=fps,
        times=at,
        time_label=time_label,
        notes=told,
        group=group,
        poster_frame=round(0.8 * (len(at) - 1)),
    )
    panel = state_panel(scene, graph, laws, title or "flux balance", 2)
    lines = graph.halves
    panel.ribbons(lines, np.minimum(WIDEST * pull / top, 26), color=colors.PULL, dash=True)
    panel.ribbons(lines[:, ::-1], np.minimum(WIDEST * push / top, 26), color=colors.PUSH)
    probabilities(panel, graph, laws)
    _mark_leaks(panel, graph, lines, leak > _LEAK * top)
    words = [f"apart by {v:.3f}" for v in off]
    law_panel(scene, graph, laws, found, words, "law", ("exact", "pushed"))
    return small(scene, _SMALLER)


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


def _mark_leaks(panel: Panel, graph: StateGraph, lines: np.ndarray, leaking: np.ndarray) -> None:
    """Draw a ring around each half that leaks, in the frames where it does."""
    which = leaking.any(0)
    if not which.any():
        return
    turn = np.linspace(0, 2 * np.pi, 25)
    ring = 0.85 * graph.room * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rings = lines[which, lines.shape[1] // 2][:, None] + ring  # (P, 25, 2)
    shown = np.where(leaking[:, which, None, None], rings, 1e6)
    panel.lines(shown, color=colors.WRONG, width=2.0)


def _told(states: np.ndarray, graph: StateGraph, times: np.ndarray) -> str:
    way = "to noise" if times[-1] > times[0] else "from noise to data"
    way = "to noise and back to data" if times.argmax() not in (0, len(times) - 1) else way
    return f"{states.shape[1]} particles jump among {len(graph.at)} states, {way}."

"""The panels and words of ``jumps``: states, flows, particles, laws."""

from collections.abc import Sequence

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.state_graph import StateGraph

WIDEST = 13.0
"""Width of the strongest flow, in pixels."""
_DISC = {1: 52.0, 2: 46.0}
_INK = "#1F2933"


def checked_states(graph: StateGraph, states: object, frames: int) -> np.ndarray:
    """Return numbers of states as (F, B).

    Raises:
        ValueError: another number of frames, or numbers of no state.
    """
    array = as_array(states, "the states", ("N", "M"))
    whole = bool((array == array.round()).all())
    if len(array) != frames or not whole or array.min() < 0 or array.max() >= len(graph.at):
        raise ValueError(
            f"The states do not fit: got shape {array.shape} with {array.min():g} to "
            f"{array.max():g}. Pass (F, B) numbers of states below {len(graph.at)}, with F = "
            f"{frames}."
        )
    return array.astype(int)


def checked_law(graph: StateGraph, law: object, frames: int, name: str) -> np.ndarray:
    """Return a law at each frame, (F, N).

    Raises:
        ValueError: another shape, a negative entry, or rows that do not sum to 1.
    """
    array = as_array(law, name, ("N", "M"))
    fits = array.shape == (frames, len(graph.at)) and array.min() > -1e-9
    if not fits or abs(array.sum(1) - 1).max() > 1e-4:
        raise ValueError(
            f"{name} is no law at each frame: got shape {array.shape}, lowest {array.min():g}, "
            f"sums from {array.sum(1).min():g} to {array.sum(1).max():g}. Pass ({frames}, "
            f"{len(graph.at)}) probabilities whose rows sum to 1."
        )
    return array


def flows(graph: StateGraph, law: np.ndarray, rates: object, into: bool) -> np.ndarray:
    """Return the flow on each half of an edge, (F, 2 E): law of where it starts, times rate.

    Arguments:
        graph: the states.
        law: (F, N).
        rates: (F, N, N) or (N, N).
        into: of the jumps that come in on the half, y to x; otherwise of those that leave, x to y.

    Raises:
        ValueError: rates of another shape, or negative ones between neighbours.
    """
    matrices = as_array(rates, "the rates")
    matrices = np.swapaxes(matrices, -1, -2) if into else matrices
    picked = graph.directed(matrices)
    if picked.min() < 0 or (picked.ndim == 2 and len(picked) != len(law)):
        raise ValueError(
            f"The rates do not fit: got shape {matrices.shape}, lowest {picked.min():g} between "
            f"neighbours. Pass (N, N), or one for each of {len(law)} frames, of at least 0."
        )
    sides = graph.pairs if not into else graph.pairs[:, ::-1]
    starts = np.concatenate([sides[:, 0], sides[:, 1]])
    return law[:, starts] * picked


def state_panel(
    scene: Scene, graph: StateGraph, law: np.ndarray, title: str, share: int, weight: float = 1.0
) -> Panel:
    """Add a panel of the states, grey by their probability in each frame.

    Arguments:
        scene: of F frames.
        graph: the states.
        law: (F, N).
        title: shown above.
        share: how many panels share the row.
        weight: of the panel.
    """
    x, y = graph.ranges
    across, up = graph.labels if graph.labels and share < 3 else ("", "")  # or they take the room
    panel = scene.panel(
        x, y, title=title, x_label=across, y_label=up, axes=graph.labels is not None, weight=weight
    )
    size = _DISC.get(share, 34.0) * 3.24 * graph.room / 0.23 / (x[1] - x[0])
    panel.points(graph.at, size=size + 3, color="#A7AFB7", alpha=1.0)
    return panel.points(
        graph.at, size=size, values=law, limits=(0.0, 1.7 * float(law.max())), colormap="greys",
        alpha=1.0,
    )  # fmt: skip


def probabilities(panel: Panel, graph: StateGraph, law: np.ndarray) -> None:
    """Write each frame's probability beside every state; too many states are left bare."""
    if len(graph.at) > 16:
        return
    for k, (x, y) in enumerate(graph.at):
        words = [f"{p:.2f}" for p in law[:, k]]
        panel.text(x + 0.75 * graph.room, y + 1.2 * graph.room, words, anchor="left")


def particles(
    panel: Panel,
    graph: StateGraph,
    states: np.ndarray,
    rising: np.ndarray,
    size: float = 5.0,
    alpha: float = 0.55,
) -> None:
    """Draw particles, coloured by where they start, with a streak behind those that jump.

    Arguments:
        panel: of the states.
        graph: the states.
        states: (F, B).
        rising: (F,) whether the frame was reached by noising.
        size: diameter in pixels.
        alpha: opacity of the streaks.
    """
    at = graph.scatter(states)
    streaks = np.stack([at[np.maximum(np.arange(len(at)) - 1, 0)], at], axis=2)  # (F, B, 2, 2)
    nowhere = np.full(2, 1e6)
    for color, dash, chosen in ((colors.PULL, True, rising), (colors.PUSH, False, ~rising)):
        if chosen.any():
            shown = np.where(chosen[:, None, None, None], streaks, nowhere)
            panel.lines(shown, color=color, width=1.5, dash=dash, alpha=alpha)
    panel.points(at, values=states[0] % 10, colormap="classes", size=size, alpha=0.85)


def crosses(panel: Panel, graph: StateGraph, states: np.ndarray, crossed: np.ndarray) -> None:
    """Cross out the particles of some frames, (F, B)."""
    if not crossed.any():
        return
    arm = 0.2 * graph.room
    ends = arm * np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
    lines = graph.scatter(states)[:, :, None, None] + ends  # (F, B, 2, 2, 2)
    lines = np.where(crossed[:, :, None, None, None], lines, 1e6)
    panel.lines(lines.reshape(len(lines), -1, 2, 2), color=colors.WRONG, width=2.0)


def law_panel(
    scene: Scene,
    graph: StateGraph,
    law: np.ndarray,
    other: np.ndarray,
    words: Sequence[str],
    title: str,
    legend: tuple[str, str],
) -> None:
    """Add bars of a law, grey, and of another beside them, narrow and blue.

    Arguments:
        scene: of F frames.
        graph: the states.
        law: (F, N).
        other: (F, N).
        words: F short texts at the top.
        title: shown above.
        legend: names of the two.
    """
    count, top = law.shape[1], 1.42 * float(max(law.max(), other.max()))
    panel = scene.panel(
        (-0.7, count - 0.3), (0.0, top), title=title, x_label=f"state: {_numbering(graph)}",
        equal=False, weight=0.8,
    )  # fmt: skip
    panel.bars(law, positions=np.arange(count) - 0.16, width=0.5, color="#A7AFB7", alpha=1.0)
    panel.bars(other, positions=np.arange(count) + 0.22, width=0.28, color=colors.PUSH, alpha=1.0)
    for k, (name, color) in enumerate(zip(legend, (colors.NEUTRAL, colors.PUSH), strict=True)):
        mark = ("wide grey", "narrow blue")[k]
        panel.text(count - 0.5, (0.95 - 0.075 * k) * top, f"{mark}: {name}", color=color,
                   anchor="right")  # fmt: skip
    panel.text(count - 0.5, 0.80 * top, words, color=_INK, anchor="right")


def _numbering(graph: StateGraph) -> str:
    return f"0 is {graph.names[0]}, {len(graph.names) - 1} is {graph.names[-1]}"


def shares(states: np.ndarray, count: int) -> np.ndarray:
    """Return the share of particles in each state, (F, N)."""
    rows = np.arange(len(states))[:, None]
    flat = np.bincount((rows * count + states).ravel(), minlength=len(states) * count)
    return flat.reshape(len(states), count) / states.shape[1]


def variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the total variation of each row, (F,)."""
    return 0.5 * np.abs(p - q).sum(-1)

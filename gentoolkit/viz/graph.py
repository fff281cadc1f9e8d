"""A few states as a graph in the plane, and the panels that show who is where."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range, as_array, at_least
from gentoolkit.viz.panel import GREY, INK, Panel
from gentoolkit.viz.scene import Scene

ROOM = 0.23
"""Radius that a state keeps for its particles, as a share of the least distance of two states."""
WIDEST = 13.0
"""Width of the strongest flow, in pixels."""
_BENT, _VERTICES = 0.30, 9
_NAMED = 16  # states up to which each has words beside it


@dataclass(frozen=True, eq=False)
class StateGraph:
    """N states in the plane and the E pairs of them between which one can jump.

    Arguments:
        places: (N, 2) where the states lie.
        edges: (E, 2) numbers of neighbours, each pair once.
        names: N short words; the states' numbers if empty.
        labels: names of the two axes, where a place says what a state is.

    Raises:
        ValueError: wrong shapes, unknown states, a pair twice or of one state, states that lie on
            each other, or not one name per state.
    """

    places: object
    edges: object
    names: Sequence[str] = ()
    labels: tuple[str, str] | None = None
    at: np.ndarray = field(init=False, repr=False)
    """(N, 2) places."""
    pairs: np.ndarray = field(init=False, repr=False)
    """(E, 2) neighbours."""
    unit: float = field(init=False, repr=False)
    """The least distance of two states."""

    def __post_init__(self) -> None:
        at = as_array(self.places, "places of states", ("N", 2))
        pairs = as_array(
            self.edges, "edges between states", ("E", 2), low=0, high=len(at) - 1, whole=True
        ).astype(int)
        each = {tuple(sorted(pair)) for pair in pairs.tolist()}
        if len(each) != len(pairs) or (pairs[:, 0] == pairs[:, 1]).any():
            raise ValueError(
                f"edges must be pairs; got {len(pairs)} of them, {len(each)} different, or one of "
                "a state with itself; name each pair of different states once"
            )
        apart = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1))
        unit = float(apart[~np.eye(len(at), dtype=bool)].min())
        if unit == 0:
            raise ValueError("two states lie on each other; got distance 0; spread the places")
        if self.names and len(self.names) != len(at):
            raise ValueError(
                f"names must be one per state; got {len(self.names)} for {len(at)} states; pass "
                "one each, or none"
            )
        names = tuple(str(name) for name in self.names or range(len(at)))
        for name, value in (("at", at), ("pairs", pairs), ("names", names), ("unit", unit)):
            object.__setattr__(self, name, value)

    @classmethod
    def square(cls, size: int) -> "StateGraph":
        """Lay the states of two tokens out in a square; neighbours differ in one token.

        The first token runs to the right, the second upward. State (a, b) has number
        ``size * a + b``, as in a table of shape (size, size).

        Arguments:
            size: number of tokens C, at least 2.

        Raises:
            ValueError: `size` is below two.
        """
        at_least(size, "size", 2)
        states = [(a, b) for a in range(size) for b in range(size)]
        joined = [
            (i, j)
            for i, x in enumerate(states)
            for j, y in enumerate(states)
            if i < j and (x[0] == y[0]) != (x[1] == y[1])
        ]
        names = [f"({a}, {b})" for a, b in states]
        return cls(states, joined, names, ("first token", "second token"))

    @property
    def room(self) -> float:
        """Radius that a state keeps for its particles."""
        return ROOM * self.unit

    @property
    def ranges(self) -> tuple[Range, Range]:
        """Horizontal and vertical range with room for bent edges and for words."""
        (left, foot), (right, head) = self.at.min(0).tolist(), self.at.max(0).tolist()
        room, above = 0.62 * self.unit, 0.72 * self.unit
        return (left - room, right + room), (foot - room, head + above)

    @cached_property
    def halves(self) -> np.ndarray:
        """(2 E, V, 2) edges cut in the middle: e starts at ``pairs[e, 0]``, E + e at ``[e, 1]``.

        An edge that would pass a third state is bent around it, outward.
        """
        lines = np.stack([self._line(a, b) for a, b in self.pairs])
        middle = lines.shape[1] // 2
        return np.concatenate([lines[:, : middle + 1], lines[:, : middle - 1 : -1]])

    def directed(self, rates: object, frames: int | None = None) -> np.ndarray:
        """Pick the entries of matrices that belong to the halves.

        Arguments:
            rates: (N, N), or (frames, N, N): entry [x, y] for x to y.
            frames: how many matrices there may be.

        Returns:
            (2 E,) or (frames, 2 E): half e is x = ``pairs[e, 0]`` to y = ``pairs[e, 1]``, and half
            E + e is y to x.

        Raises:
            ValueError: matrices of another size or number, or a negative rate between neighbours.
        """
        count = len(self.at)
        matrices = as_array(rates, "rates between states", (count, count), frames=frames)
        from_, to = np.concatenate([self.pairs, self.pairs[:, ::-1]]).T
        return as_array(matrices[..., from_, to], "rates between neighbours", low=0)

    def scatter(self, states: np.ndarray) -> np.ndarray:
        """Place particles (..., B) around their states, each on its own seat: (..., B, 2)."""
        return self.at[states] + seats(states.shape[-1], 0.86 * self.room)

    def _line(self, a: int, b: int) -> np.ndarray:
        """The way from state a to state b, from rim to rim, bent where a third is in between."""
        here, there = self.at[a], self.at[b]
        run = there - here
        length = float(np.hypot(*run))
        along = (self.at - here) @ run / length**2
        off = np.hypot(*(self.at - here - along[:, None] * run).T)
        third = (along > 0.01) & (along < 0.99) & (off < 0.9 * self.room)
        aside = np.array([-run[1], run[0]]) / length
        if (0.5 * (here + there) - self.at.mean(0)) @ aside < 0:
            aside = -aside
        bend = _BENT * self.unit if third.any() else 0.0
        share = np.linspace(0, 1, 400)[:, None]
        fine = here + share * run + 4 * bend * share * (1 - share) * aside
        clear = 1.12 * self.room
        kept = fine[(np.hypot(*(fine - here).T) > clear) & (np.hypot(*(fine - there).T) > clear)]
        return kept[np.linspace(0, len(kept) - 1, 2 * _VERTICES - 1).round().astype(int)]


def seats(count: int, radius: float) -> np.ndarray:
    """Spread (count, 2) particles over a disc around the origin."""
    i = np.arange(count)
    turn, reach = i * np.pi * (3 - np.sqrt(5)), radius * np.sqrt((i + 0.5) / count)
    return np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=-1)


def circles(middles: np.ndarray, radius: float) -> np.ndarray:
    """Draw circles (..., 25, 2) around places (..., 2)."""
    turn = np.linspace(0, 2 * np.pi, 25)
    return middles[..., None, :] + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def draw_states(panel: Panel, graph: StateGraph, size: float, law: np.ndarray) -> None:
    """Draw discs with a rim, grey by a law (N,) or (F, N)."""
    shade_states(panel, graph, size, law, (0.0, 1.7 * float(law.max())), "greys")


def shade_states(
    panel: Panel, graph: StateGraph, size: float, values: np.ndarray, limits: Range, colormap: str
) -> None:
    """Draw discs with a rim, coloured by values (N,) or (F, N)."""
    panel.points(graph.at, size=size + 3, color=GREY, alpha=1.0)
    panel.points(graph.at, size=size, values=values, limits=limits, colormap=colormap, alpha=1.0)


def named(graph: StateGraph) -> bool:
    """Say whether the states are few enough to have words beside them."""
    return len(graph.at) <= _NAMED


def write_beside(
    panel: Panel,
    graph: StateGraph,
    words: Sequence[str | Sequence[str]],
    shift: tuple[float, float],
    anchor: str,
) -> None:
    """Write words beside each state, ``shift`` rooms away; too many states are left bare."""
    if named(graph):
        for (x, y), word in zip(graph.at + np.multiply(shift, graph.room), words, strict=True):
            panel.text(x, y, word, anchor=anchor)


def law_panel(
    scene: Scene,
    graph: StateGraph,
    law: np.ndarray,
    other: np.ndarray,
    legend: tuple[str, str],
    title: str,
) -> None:
    """Add bars of a law (N,) or (F, N), wide and grey, and narrow blue ones of another on them."""
    count, top = law.shape[-1], 1.36 * float(max(law.max(), other.max()))
    panel = scene.panel(
        (-0.8, count - 0.2), (0.0, top), title=title, equal=False, weight=0.85,
        x_label=f"state: 0 is {graph.names[0]}, {count - 1} is {graph.names[-1]}",
    )  # fmt: skip
    panel.bars(law, width=0.95, color=GREY, alpha=1.0)
    panel.bars(other, width=0.45, color=colors.PUSH, alpha=1.0)
    apart = np.atleast_1d(apart_by(law, other))
    words = [f"apart by {v:.3f}" for v in apart]
    lines = (
        (f"wide grey: {legend[0]}", colors.NEUTRAL),
        (f"narrow blue: {legend[1]}", colors.PUSH),
        (words if len(words) > 1 else words[0], INK),
    )
    for k, (line, color) in enumerate(lines):
        panel.text(count - 0.6, (0.95 - 0.07 * k) * top, line, color=color, anchor="right")


def apart_by(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the total variation between laws along the last axis."""
    return 0.5 * np.abs(p - q).sum(-1)

"""Pipes between the states of a small acyclic graph: where they lie, and who runs through them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gentoolkit.viz.arrays import Range, as_array
from gentoolkit.viz.graph import StateGraph, seats

_ASIDE = np.array([1.0, -1.0]) / np.sqrt(2)
"""Where the drops fall: to the lower right, which the pipes of a grid leave free."""
EACH = 4
"""Frames that a particle needs for one move."""
_NEAR, _FAR = 0.26, 0.56
"""Where a drop begins and ends, as a share of the least distance of two states."""


@dataclass(frozen=True, eq=False)
class Pipes:
    """S states in the plane and E pipes between them, laid out once for all their flows.

    Arguments:
        places: (S, 2) where the states lie.
        edges: (E, 2) numbers of the states that each pipe leaves and enters.
        names: S short words; the states' numbers if empty.
        ticks: words beside the picture, each with its place: (x, y, word).

    Raises:
        ValueError: wrong shapes, a pair twice, a cycle, or not exactly one state that no pipe
            enters.
    """

    places: object
    edges: object
    names: Sequence[str] = ()
    ticks: Sequence[tuple[float, float, str]] = ()
    graph: StateGraph = field(init=False, repr=False)
    """The same states and pipes without a direction."""
    depth: np.ndarray = field(init=False, repr=False)
    """(S,) longest distance of each state from the source."""
    ways: np.ndarray = field(init=False, repr=False)
    """(E, V, 2) vertices of each pipe, in the direction of its flow."""
    drops: np.ndarray = field(init=False, repr=False)
    """(S, 2, 2) ends of the drop into each state's cell."""
    exits: np.ndarray = field(init=False, repr=False)
    """(S, M) numbers of the pipes that leave each state, -1 where there are fewer."""

    def __post_init__(self) -> None:
        graph = StateGraph(self.places, self.edges, self.names)
        depth = _depths(graph.pairs, len(graph.at))
        sources = np.flatnonzero(np.bincount(graph.pairs[:, 1], minlength=len(graph.at)) == 0)
        if len(sources) != 1:
            raise ValueError(
                f"water needs one source; got {len(sources)} states that no pipe enters; pass "
                "edges that lead from one state to all others"
            )
        count = len(graph.pairs)
        ways = np.concatenate([graph.halves[:count], graph.halves[count:, -2::-1]], axis=1)
        drops = graph.at[:, None] + graph.unit * np.array([_NEAR, _FAR])[:, None] * _ASIDE
        exits = np.full((len(graph.at), int(np.bincount(graph.pairs[:, 0]).max())), -1)
        filled = np.zeros(len(graph.at), dtype=int)
        for e, start in enumerate(graph.pairs[:, 0]):
            exits[start, filled[start]] = e
            filled[start] += 1
        for name, value in (("graph", graph), ("depth", depth), ("ways", ways), ("drops", drops),
                            ("exits", exits)):  # fmt: skip
            object.__setattr__(self, name, value)

    @classmethod
    def grid(cls, rows: object, children: object) -> "Pipes":
        """Lay a grid of two coordinates out: the first runs to the right, the second downward.

        Arguments:
            rows: (S, 2) coordinates of the states, whole numbers.
            children: (S, M) number of the state after each move, -1 where there is none.

        Raises:
            ValueError: other shapes, or as for the class.
        """
        at = as_array(rows, "rows of the grid", ("S", 2))
        places = at * [1.0, -1.0]
        names = [f"({a:.0f}, {b:.0f})" for a, b in at]
        across = [(float(a), float(places[:, 1].max()) + 0.5, f"{a:.0f}") for a in set(at[:, 0])]
        down = [(float(at[:, 0].min()) - 0.47, -float(b), f"{b:.0f}") for b in set(at[:, 1])]
        return cls(places, joined(children), names, across + down)

    @classmethod
    def levels(cls, children: object, names: Sequence[str] = ()) -> "Pipes":
        """Lay any small acyclic graph out, one column for each distance from the source.

        Arguments:
            children: (S, M) number of the state after each move, -1 where there is none.
            names: S short words; the states' numbers if empty.

        Raises:
            ValueError: as for the class.
        """
        edges = joined(children)
        count = len(as_array(children, "children"))
        depth = _depths(edges, count)
        places = np.zeros((count, 2))
        for level in range(int(depth.max()) + 1):
            (here,) = np.nonzero(depth == level)
            places[here, 0] = 1.5 * level
            places[here, 1] = 0.5 * (len(here) - 1) - np.arange(len(here))
        return cls(places, edges, names)

    @property
    def ranges(self) -> tuple[Range, Range]:
        """Horizontal and vertical range, with room for drops and for words."""
        (x0, x1), (y0, y1) = self.graph.ranges
        return (x0, x1), (y0 - 0.5 * self.graph.unit, y1)

    @property
    def straight(self) -> bool:
        """Whether no pipe is bent."""
        chord = self.ways[:, -1] - self.ways[:, 0]
        off = self.ways[:, self.ways.shape[1] // 2] - self.ways[:, 0]
        return bool(abs(chord[:, 0] * off[:, 1] - chord[:, 1] * off[:, 0]).max() < 1e-9)

    @property
    def source(self) -> int:
        """Number of the state that no pipe enters."""
        return int(self.depth.argmin())


def joined(children: object) -> np.ndarray:
    """Return the edges (E, 2) of a table of children, row by row."""
    table = as_array(children, "children", ("S", "M"), whole=True).astype(int)
    at, move = np.nonzero(table >= 0)
    return np.stack([at, table[at, move]], axis=1)


def along(children: object, table: object) -> np.ndarray:
    """Pick the entries of a table of moves that belong to the pipes of ``grid`` or ``levels``.

    Arguments:
        children: (S, M) number of the state after each move, -1 where there is none.
        table: (..., S, M) or with more columns, such as the flow along every move and the stop.

    Returns:
        (..., E), in the order of the edges.

    Raises:
        ValueError: too few rows or columns.
    """
    ahead = as_array(children, "children", ("S", "M"))
    array = as_array(table, "the table of moves")
    if array.ndim < 2 or array.shape[-2] != len(ahead) or array.shape[-1] < ahead.shape[1]:
        raise ValueError(
            f"the table must have a row a state and a column for every move; got shape "
            f"{array.shape} for children {ahead.shape}; pass (..., S, M)"
        )
    return array[..., *np.nonzero(ahead >= 0)]


def _depths(edges: np.ndarray, count: int) -> np.ndarray:
    depth = np.zeros(count, dtype=int)
    for _ in range(count):
        deeper = depth.copy()
        np.maximum.at(deeper, edges[:, 1], depth[edges[:, 0]] + 1)
        if (deeper == depth).all():
            return depth
        depth = deeper
    raise ValueError(
        f"pipes must not run in a circle; got {len(edges)} edges with a cycle; leave one out"
    )


def run(
    pipes: Pipes, flow: np.ndarray, stop: np.ndarray, n: int, start: int | None = None
) -> np.ndarray:
    """Let particles run from the start until they drop, by each state's shares of what leaves it.

    Each particle has the same random numbers under every flow, so that most keep their way while
    a flow is changed a little.

    Arguments:
        pipes: S states, E pipes.
        flow: (E,) through the pipes.
        stop: (S,) into the drops.
        n: number of particles.
        start: number of the state where they start; the source if None.

    Returns:
        (T, n) number of the pipe that each takes, E + s for the drop of state s, -1 after it.
    """
    count = len(flow)
    leaving = np.concatenate([np.append(flow, 0.0)[pipes.exits], stop[:, None]], axis=1)
    goal = np.cumsum(leaving, axis=1)
    chance = np.random.default_rng(0).random((int(pipes.depth.max()) + 1, n))
    at = np.full(n, pipes.source if start is None else start)
    alive, taken = np.ones(n, dtype=bool), []
    for share in chance:
        # u < 1, and the last sum is the divisor itself: the columns end with the stop.
        column = (share[:, None] * goal[at, -1:] >= goal[at]).sum(1)
        dropped = column >= pipes.exits.shape[1]
        pipe = pipes.exits[at, np.minimum(column, pipes.exits.shape[1] - 1)]
        taken.append(np.where(alive, np.where(dropped, count + at, pipe), -1))
        alive &= ~dropped
        at = np.where(alive, pipes.graph.pairs[np.where(alive, pipe, 0), 1], at)
    return np.stack(taken)


def waypoints(pipes: Pipes, taken: np.ndarray) -> np.ndarray:
    """Place runners at their states, halfway through each pipe, and in the end in a cell.

    For ``taken`` (T, n), as ``run`` gives it: (2 T + 1, n, 2) places, two to a move.
    """
    at, count = pipes.graph.at, len(pipes.graph.pairs)
    middles = np.concatenate([pipes.ways[:, pipes.ways.shape[1] // 2], pipes.drops[:, 0]])
    ends = np.concatenate([at[pipes.graph.pairs[:, 1]], pipes.drops[:, 1]])
    starts = np.concatenate([pipes.graph.pairs[:, 0], np.arange(len(at))])
    found = [at[starts[taken[0]]]]
    for pipe in taken:
        rests, last = (pipe < 0)[:, None], found[-1]
        picked = np.clip(pipe, 0, count + len(at) - 1)
        found += [np.where(rests, last, middles[picked]), np.where(rests, last, ends[picked])]
    return np.stack(found)


def running(pipes: Pipes, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return places (F, n, 2) of particles that start one after another, and how many are down."""
    points, n = waypoints(pipes, taken), taken.shape[1]
    length = (taken >= 0).sum(0)
    wait = len(taken) * np.arange(n) / n
    clock = np.arange(EACH * (2 * len(taken)) + 1)[:, None] / EACH - wait
    where = 2 * np.clip(clock, 0, length)
    before = np.minimum(where.astype(int), len(points) - 2)
    share, one = (where - before)[..., None], np.arange(n)
    at = (1 - share) * points[before, one] + share * points[before + 1, one]
    return at + seats(n, 0.35 * pipes.graph.room), (clock >= length).sum(1)


def pipes_of(pipes: Pipes, path: object) -> np.ndarray:
    """Return the numbers of the pipes along a path (T,), ending with the drop."""
    states = as_array(path, "the path", ("T",), whole=True).astype(int)
    known = {tuple(pair): e for e, pair in enumerate(pipes.graph.pairs.tolist())}
    pairs = list(zip(states[:-1].tolist(), states[1:].tolist(), strict=True))
    lost = [pair for pair in pairs if pair not in known]
    if lost or states[0] != pipes.source or not 0 <= states[-1] < len(pipes.graph.at):
        raise ValueError(
            f"the path must follow the pipes; got a start at {states[0]} and steps {lost} without "
            f"a pipe; pass states from {pipes.source} on, each joined to the next, without padding"
        )
    return np.array([*(known[pair] for pair in pairs), len(known) + states[-1]])

"""A user's own directed acyclic graph as a state space."""

from collections.abc import Collection, Hashable, Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Any

import torch
from torch import Tensor

from gentoolkit.gflownet.environment import Environment

Edges = Iterable[tuple[Hashable, Hashable]]


class Graph(Environment):
    """A directed acyclic graph with one source; paths may have unequal lengths.

    Edges are numbered so that those out of a node differ, and those into a node differ: the same
    number then undoes a move. State `(i,)` is `nodes[i]`, in a topological order.

    Arguments:
        graph: pairs (from, to), or an object with such `edges`, as a networkx DiGraph.
        stops: nodes that may stop; those without children if left out.

    Raises:
        ValueError: there is no edge, a cycle, another number of sources than one, a node that can
            neither move nor stop, or a stop that is no node.
    """

    child: Tensor
    parent: Tensor
    may_stop: Tensor

    def __init__(self, graph: Edges | Any, *, stops: Collection[Hashable] | None = None) -> None:  # noqa: ANN401 - networkx is not a dependency
        super().__init__()
        pairs = list(dict.fromkeys((a, b) for a, b, *_ in getattr(graph, "edges", graph)))
        if not pairs:
            raise ValueError("a graph needs an edge; got none; pass pairs such as [('a', 'b')]")
        self.nodes = _topological(pairs)
        place = {node: i for i, node in enumerate(self.nodes)}
        ends = sorted((place[a], place[b]) for a, b in pairs)
        count = len(self.nodes)
        depth = [0] * count  # longest distances, settled in topological order
        for a, b in ends:
            depth[b] = max(depth[b], depth[a] + 1)
        self.longest = max(depth)
        colours = _colours(ends, count)
        self.moves, self.sizes, self.features = max(colours) + 1, (count,), count
        child, parent = (torch.full((count, self.moves), -1) for _ in range(2))
        for (a, b), m in zip(ends, colours, strict=True):
            child[a, m], parent[b, m] = b, a
        self.register_buffer("child", child, persistent=False)
        self.register_buffer("parent", parent, persistent=False)
        self.register_buffer("may_stop", self._marked(stops, place), persistent=False)

    def _marked(self, stops: Collection[Hashable] | None, place: dict[Hashable, int]) -> Tensor:
        leaves = (self.child < 0).all(1)
        if stops is None:
            return leaves
        strange = [s for s in stops if s not in place]
        if strange:
            raise ValueError(
                f"stops must be nodes of the graph; got {strange}; the nodes are {self.nodes}"
            )
        marked = torch.zeros(len(self.nodes), dtype=torch.bool)
        marked[[place[s] for s in stops]] = True
        if bool((leaves & ~marked).any()):
            stuck = [self.nodes[i] for i in (leaves & ~marked).nonzero()[:, 0].tolist()]
            raise ValueError(
                f"every node must have a child or may stop; got {stuck} with neither; "
                "add them to stops, or take them out of the graph"
            )
        return marked

    def allowed(self, states: Tensor) -> Tensor:
        """Return the numbers of the edges out of each node, and whether it may stop."""
        at = states[:, 0]
        return torch.cat([self.child[at] >= 0, self.may_stop[at, None]], 1)

    def undoable(self, states: Tensor) -> Tensor:
        """Return the numbers of the edges into each node."""
        return self.parent[states[:, 0]] >= 0

    def step(self, states: Tensor, move: Tensor) -> Tensor:
        """Follow an edge."""
        return self._follow(self.child, states, move)

    def undo(self, states: Tensor, move: Tensor) -> Tensor:
        """Follow an edge against its direction."""
        return self._follow(self.parent, states, move)

    def _follow(self, table: Tensor, states: Tensor, move: Tensor) -> Tensor:
        ahead = table[states[:, 0], move.clamp(0, self.moves - 1)]
        stays = (move < 0) | (move == self.moves)
        return torch.where(stays, states[:, 0], ahead)[:, None]


def _topological(pairs: list[tuple[Hashable, Hashable]]) -> list[Hashable]:
    """Return the nodes in a topological order, the source first."""
    nodes = dict.fromkeys(node for pair in pairs for node in pair)
    sorter = TopologicalSorter(dict.fromkeys(nodes, ()))
    for a, b in pairs:
        sorter.add(b, a)
    try:
        order = list(sorter.static_order())
    except CycleError as error:
        cycle = [node for node in nodes if node in error.args[1]]
        raise ValueError(
            f"the graph must have no cycle; got one among {cycle}; flows on a cycle can be "
            "infinite: remove an edge of it"
        ) from None
    below = {b for _, b in pairs}
    sources = [node for node in order if node not in below]
    if len(sources) != 1:
        raise ValueError(
            f"the graph must have one source; got {sources} without parents; add a node with an "
            "edge to each of them"
        )
    return order


def _colours(ends: list[tuple[int, int]], count: int) -> list[int]:
    """Number the edges so that no two at one end of a node have one number."""
    out: list[set[int]] = [set() for _ in range(count)]
    into: list[set[int]] = [set() for _ in range(count)]
    numbers = []
    for a, b in ends:
        m = next(m for m in range(len(ends)) if m not in out[a] and m not in into[b])
        out[a].add(m)
        into[b].add(m)
        numbers.append(m)
    return numbers

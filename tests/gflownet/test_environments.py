"""State spaces: masks, moves, their undoing, listed spaces. Each test names its bug."""

from math import comb, factorial

import networkx as nx
import pytest
import torch

from gentoolkit.gflownet import (
    Graph,
    Hypergrid,
    Space,
    Subsets,
    count_paths,
    masked_log_softmax,
)
from tests.gflownet.walks import paths_by_object
from tests.gflownet.worlds import EDGES, SPACES


@pytest.mark.parametrize("name", SPACES)
def test_every_move_is_undone_by_its_own_number(name):
    """Catches a mask of undoable moves that is off at a border, and an undo of another move."""
    environment = SPACES[name]()
    space = Space(environment)
    at, move = environment.allowed(space.rows)[:, :-1].nonzero(as_tuple=True)
    before = space.rows[at]
    after = environment.step(before, move)
    assert bool(environment.undoable(after)[torch.arange(len(at)), move].all())
    assert torch.equal(environment.undo(after, move), before)
    assert int(environment.undoable(space.rows).sum()) == len(at)
    assert not bool(environment.undoable(environment.start(1)).any())


@pytest.mark.parametrize("name", SPACES)
def test_the_stop_and_the_padding_stay(name):
    """Catches a step that reads -1 or the stop as a move."""
    environment = SPACES[name]()
    for walked in (environment, Space(environment)):
        rows = Space(environment).rows
        states = rows if walked is environment else torch.arange(len(rows))
        for still in (-1, environment.moves):
            move = torch.full((len(rows),), still)
            assert torch.equal(walked.step(states, move), states)
            assert torch.equal(walked.undo(states, move), states)


@pytest.mark.parametrize("name", SPACES)
def test_a_listed_space_is_the_same_environment(name):
    """Catches look-ups that mix up states: masks, features and moves must agree by rows."""
    environment = SPACES[name]()
    space = Space(environment)
    numbers = torch.arange(space.size)
    assert torch.equal(space.index(space.rows), numbers)
    assert torch.equal(space.allowed(numbers), environment.allowed(space.rows))
    assert torch.equal(space.undoable(numbers), environment.undoable(space.rows))
    assert torch.equal(space.encode(numbers), environment.encode(space.rows))
    assert len(space.rows.unique(dim=0)) == space.size
    at, move = space.allowed(numbers)[:, :-1].nonzero(as_tuple=True)
    ahead = space.objects(space.step(at, move))
    assert torch.equal(ahead, environment.step(space.rows[at], move))
    assert bool((space.step(at, move) > at).all()), "every edge leads to a later state"
    assert len(space.levels) == environment.longest + 1
    assert len(space.encode(numbers).unique(dim=0)) == space.size, "states look alike"


@pytest.mark.parametrize("name", SPACES)
def test_paths_are_counted(name):
    """Catches an edge that is missing or doubled: against a walk along every single path."""
    space = Space(SPACES[name]())
    counts = count_paths(space)
    for row, count in paths_by_object(space.environment).items():
        assert float(counts[int(space.index(torch.tensor([row])))]) == count


def test_sizes_and_counts_are_those_of_combinatorics():
    """Catches a space that stops short: binomials, factorials, powers."""
    assert Space(Hypergrid(8, 3)).size == 512
    assert float(count_paths(Space(Hypergrid(8, 2)))[-1]) == comb(14, 7)
    subsets = Space(Subsets(6, least=2, most=3))
    assert int(subsets.may_stop.sum()) == comb(6, 2) + comb(6, 3)
    orders = [float(factorial(int(n))) for n in subsets.rows.sum(1)]
    assert count_paths(subsets).tolist() == orders


def test_a_networkx_graph_is_read_as_its_edges():
    """Catches a graph that is only read from a list, and labels that are lost."""
    ours, theirs = Graph(EDGES), Graph(nx.DiGraph(EDGES))
    assert ours.nodes == theirs.nodes and ours.nodes[0] == "a"
    space = Space(theirs)
    truth = nx.DiGraph(EDGES)
    for i, row in enumerate(space.rows[:, 0].tolist()):
        ahead = {theirs.nodes[int(space.rows[c, 0])] for c in space.child[i] if c >= 0}
        assert ahead == set(truth.successors(theirs.nodes[row]))
    ends = {theirs.nodes[int(r)] for r in space.rows[space.may_stop, 0]}
    assert ends == {n for n in truth if truth.out_degree(n) == 0}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Graph([]), "needs an edge"),
        (lambda: Graph([("a", "b"), ("b", "c"), ("c", "b")]), "no cycle; got one among .'b', 'c'"),
        (lambda: Graph([("a", "b"), ("b", "a")]), "no cycle"),
        (lambda: Graph([("a", "a")]), "no cycle"),
        (lambda: Graph([("a", "c"), ("b", "c")]), "one source; got .'a', 'b'"),
        (lambda: Graph([("a", "b")], stops=["z"]), "must be nodes of the graph; got .'z'"),
        (lambda: Graph([("a", "b")], stops=["a"]), "neither"),
        (lambda: Hypergrid(1, 2), "side must be at least 2"),
        (lambda: Subsets(3, least=2, most=1), "sizes must satisfy"),
        (lambda: Space(Hypergrid(8, 4), limit=100), "at most 100 states"),
        (lambda: Space(Subsets(80)), "listed space needs few states"),
        (lambda: Space(Hypergrid(3, 2)).index(torch.tensor([[5, 0]])), "got .5, 0."),
    ],
)
def test_bad_spaces_are_refused(build, message):
    """Catches cycles, second sources, dead ends and spaces too large to list."""
    with pytest.raises(ValueError, match=message):
        build()


def test_tables_follow_the_model():
    """Catches a table that stays on its device: on meta, where every mistake is another device."""
    for make in SPACES.values():
        for environment in (make(), Space(make())):
            assert environment.state_dict() == {}, "listed anew, never stored"
            environment.to("meta")
            assert all(b.device.type == "meta" for b in environment.buffers())
            states = environment.start(3, "meta")
            move = torch.zeros(3, dtype=torch.long, device="meta")
            for out in (
                environment.encode(states),
                environment.allowed(states),
                environment.undoable(states),
                environment.step(states, move),
                environment.undo(states, move),
                environment.index(environment.objects(states)),
            ):
                assert out.device.type == "meta"
    space = Space(Hypergrid(3, 2))
    assert space.to(torch.float32).encode(space.start(2)).dtype == torch.float32
    assert space.child.dtype == torch.long


class Round(Hypergrid):
    """A grid whose first coordinate wraps round: a cycle."""

    def allowed(self, states):
        return torch.ones(len(states), self.moves + 1, dtype=torch.bool)

    def undoable(self, states):
        return torch.ones(len(states), self.moves, dtype=torch.bool)

    def step(self, states, move):
        return (states + self._at(states, move)) % self.side


class Stuck(Hypergrid):
    """A grid in which only the last corner may not stop."""

    def allowed(self, states):
        mask = super().allowed(states)
        mask[(states == self.side - 1).all(1)] = False
        return mask


class Liar(Hypergrid):
    """A grid that claims every move can be undone."""

    def undoable(self, states):
        return torch.ones(len(states), self.moves, dtype=torch.bool)


@pytest.mark.parametrize(
    ("environment", "message"),
    [(Round(3, 2), "no cycle"), (Stuck(3, 2), "all of them masked"), (Liar(3, 2), "undo")],
)
def test_environments_that_break_the_contract_are_refused(environment, message):
    """Catches a user's own environment with a cycle, a dead end, or masks that contradict."""
    with pytest.raises(ValueError, match=message):
        Space(environment)


def test_a_row_that_allows_nothing_is_refused():
    """Catches NaN from a softmax over nothing."""
    mask = torch.tensor([[True, False], [False, False]])
    with pytest.raises(ValueError, match="got row 1 of 2"):
        masked_log_softmax(torch.zeros(2, 2), mask)
    out = masked_log_softmax(torch.tensor([[0.3, torch.nan]]), torch.tensor([[True, False]]))
    assert out.tolist() == [[0.0, -torch.inf]], "the mask comes before the softmax"

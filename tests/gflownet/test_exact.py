"""Exact flows of small spaces, against closed forms and every single path."""

import math

import pytest
import torch

from gentoolkit.gflownet import (
    Corners,
    Graph,
    Hypergrid,
    Space,
    Subsets,
    cones,
    count_paths,
    entropy,
    flow_matching_residuals,
    free_energy,
    mutual_information,
    reach,
    restarted,
    soft_values,
    solve_flows,
    uniform_pull,
)
from tests.gflownet.walks import law_by_paths
from tests.gflownet.worlds import SPACES, random_pull


def grid(floor, side=8, dims=2):
    """The hypergrid of the paper with its reward."""
    space = Space(Hypergrid(side, dims))
    return space, Corners(side, floor)(space.rows)


@pytest.mark.parametrize(
    ("floor", "dims", "z"), [(0.1, 2, 22.4), (0.1, 3, 99.2), (0.001, 2, 16.064)]
)
def test_the_flow_of_the_grid(floor, dims, z):
    """Catches a missing mask or stop, a count of parents off by one, and pull at the wrong end."""
    space, reward = grid(floor, dims=dims)
    flows = solve_flows(space, reward)
    assert float(flows.z) == pytest.approx(z, abs=1e-12 * z)
    assert float((flows.law() - flows.target()).abs().max()) < 1e-12
    assert float((reach(space, flows.push) - flows.flow / flows.z).abs().max()) < 1e-12
    assert float((flows.push.sum(1) - 1).abs().max()) < 1e-12
    if floor == 0.001:
        assert float(flows.z.log()) == pytest.approx(2.776581, abs=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_any_pull_gives_the_target(name):
    """Catches a sweep that holds for a uniform pull or for graded spaces alone."""
    space = Space(SPACES[name]())
    reward = torch.rand(space.size) + 0.1
    for pull in (None, random_pull(space)):
        flows = solve_flows(space, reward, pull)
        target = torch.where(space.may_stop, reward, 0.0)
        assert torch.allclose(flows.law(), target / target.sum(), atol=1e-12)
        assert torch.allclose(law_by_paths(space, flows.push), target / target.sum(), atol=1e-12)
        residuals = flow_matching_residuals(space, flows.flow.log(), flows.push)
        assert float(residuals.abs().max()) < 1e-12


def test_residuals_see_a_flow_that_is_off():
    """The control: one flow changed by a tenth shows there and below, and nowhere else."""
    space, reward = grid(0.1)
    flows = solve_flows(space, reward)
    at = int(space.index(torch.tensor([[3, 4]])))
    log_flow = flows.flow.log()
    log_flow[at] += 0.1
    leak = flow_matching_residuals(space, log_flow, flows.push)
    below = space.child[at][space.child[at] >= 0].tolist()
    assert set((leak.abs() > 1e-12).nonzero()[:, 0].tolist()) == {at, *below}
    assert float(leak[at]) == pytest.approx(-0.1)


def test_the_law_of_any_push_is_the_sum_over_its_paths():
    """Catches a reach that leaves out paths: against every path, for random push tables."""
    for name in SPACES:
        space = Space(SPACES[name]())
        numbers = torch.arange(space.size)
        mask = space.allowed(numbers)
        push = torch.randn(mask.shape).masked_fill(~mask, -torch.inf).softmax(1)
        flows = solve_flows(space, torch.ones(space.size))
        other = type(flows)(space, flows.reward, flows.pull, flows.flow, push)
        assert torch.allclose(other.law(), law_by_paths(space, push), atol=1e-13)
        assert float(other.law().sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("dims", "distance"), [(2, 1.4850), (3, 1.8047)])
def test_soft_reinforcement_learning_counts_the_paths(dims, distance):
    """Catches soft RL mistaken for a GFlowNet: its law is n_paths R, far from R."""
    space, reward = grid(0.1, dims=dims)
    soft = soft_values(space, reward)
    counted = count_paths(space) * reward
    assert torch.allclose(soft.law(), counted / counted.sum(), atol=1e-12)
    assert float((soft.law() - soft.target()).abs().sum()) == pytest.approx(distance, abs=1e-4)
    tree = Space(Graph([(n, 2 * n + side) for n in range(1, 8) for side in (0, 1)]))
    values = torch.rand(tree.size) + 0.1
    soft = soft_values(tree, values)
    assert torch.allclose(soft.law(), solve_flows(tree, values).law(), atol=1e-12)


def test_the_reward_correction_turns_soft_reinforcement_learning_into_a_gflownet():
    """Catches the sign of the correction: log pull as a reward of each step mends the law."""
    space, reward = grid(0.1)
    flows = solve_flows(space, reward)
    moves = torch.arange(space.moves)
    bonus = uniform_pull(space)[space.child.clamp_min(0), moves].log()  # r(s -> s')
    value = torch.zeros(space.size)
    for i in reversed(range(space.size)):  # soft Bellman backup in logs, state by state
        there = space.child[i] >= 0
        ahead = value[space.child[i][there]] + bonus[i][there]
        value[i] = torch.cat([ahead, reward[i : i + 1].log()]).logsumexp(0)
    assert torch.allclose(value, flows.flow.log(), atol=1e-12)


def test_free_energy_is_the_sum_over_the_cone_and_not_the_flow():
    """Catches free energy = F(s): at (2, 2) the cone holds 4.036, and 1.062 flows through."""
    space, reward = grid(0.001)
    at = int(space.index(torch.tensor([[2, 2]])))
    assert float(solve_flows(space, reward).flow[at]) == pytest.approx(1.062027, abs=1e-6)
    again = restarted(space, reward, at)
    assert float(again.flow[at]) == pytest.approx(4.036, abs=1e-12)
    assert float(free_energy(space, reward, at)) == pytest.approx(-math.log(4.036), abs=1e-12)
    for start in range(space.size):
        above = (space.rows >= space.rows[start]).all(1)
        assert torch.equal(cones(space)[start], above)
        flow = restarted(space, reward, start).flow
        assert float(flow[start]) == pytest.approx(float(reward[above].sum()), rel=1e-12)
        assert float(flow[~above].abs().sum()) == 0.0
    assert not bool(torch.isnan(again.push).any())


def test_a_restarted_flow_has_its_own_source():
    """Catches z and the law read at state 0, where a restarted flow is dry."""
    space, reward = grid(0.001)
    for start in (0, 20, 63):
        again, above = restarted(space, reward, start), cones(space)[start]
        inside = torch.where(above, reward, 0.0)
        assert float(again.z) == pytest.approx(float(inside.sum()), rel=1e-12)
        assert torch.allclose(again.law(), inside / inside.sum(), atol=1e-12)
        assert torch.allclose(again.target(), again.law(), atol=1e-12)
        visits = reach(space, again.push, start)
        assert torch.allclose(visits, again.flow / again.z, atol=1e-12)
        assert float(visits[start]) == 1.0


def test_superset_marginals():
    """Catches a cone that misses supersets: P(S in X) by one restarted flow, for every S."""
    space = Space(Subsets(5, least=1, most=4))
    reward = torch.rand(space.size) + 0.1
    target = solve_flows(space, reward).target()
    for start in range(space.size):
        within = (space.rows >= space.rows[start]).all(1)
        share = restarted(space, reward, start).flow[start] / solve_flows(space, reward).z
        assert float(share) == pytest.approx(float(target[within].sum()), abs=1e-12)


def test_entropy_by_two_flows():
    """Catches a reward above one in the second flow, and the sign of its logarithm."""
    space, reward = grid(0.001)
    assert float(entropy(space, reward)) == pytest.approx(2.4850087707, abs=1e-10)
    p = reward / reward.sum()
    assert float(entropy(space, reward)) == pytest.approx(float(-(p * p.log()).sum()), abs=1e-10)
    assert float(entropy(space, 1e3 * reward)) == pytest.approx(2.4850087707, abs=1e-10)


def test_mutual_information_by_flows():
    """Catches a conditional entropy with the wrong weights: between the two coordinates."""
    plane, reward = grid(0.001)
    line = Space(Hypergrid(8, 1))
    table = torch.zeros(8, 8)
    table[plane.rows[:, 0], plane.rows[:, 1]] = reward
    table = table[line.rows[:, 0]]
    assert float(entropy(line, table.sum(1))) == pytest.approx(1.2706670583, abs=1e-10)
    assert float(mutual_information(line, table)) == pytest.approx(0.0563253459, abs=1e-10)
    independent = torch.rand(8, 1) * torch.rand(1, 8)
    assert float(mutual_information(line, independent)) == pytest.approx(0.0, abs=1e-12)


def test_the_corner_reward_is_symmetric_on_every_grid():
    """Catches the border at 0.3 in floating point: x = 3 and x = 12 of 16 must agree."""
    for side in range(4, 40):
        x = torch.arange(side)[:, None]
        reward = Corners(side, 0.1)(x)
        assert torch.equal(reward, reward.flip(0)), side
    assert Corners(16, 0.1)(torch.tensor([[2], [3], [12], [13]])).tolist() == [2.6, 0.6, 0.6, 2.6]
    inside = [x for x in range(101) if 30 < abs(x - 50) < 40]
    found = (Corners(101, 0.1)(torch.arange(101)[:, None]) > 2).nonzero()[:, 0].tolist()
    assert found == inside


def test_paths_of_unequal_length_share_a_target():
    """Catches levels by the shortest path: d is reached by one move and by two."""
    space = Space(Graph([("a", "d"), ("a", "b"), ("b", "d"), ("d", "e")], stops=["d", "e"]))
    assert [len(space.rows[level]) for level in space.levels] == [1, 1, 1, 1]
    flows = solve_flows(space, torch.tensor([9.0, 9.0, 1.0, 3.0]))
    assert flows.flow.tolist() == [4.0, 2.0, 4.0, 3.0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (0.0, "got 1 of 64 zeros, whose log is -inf; add a floor"),
        (-1.0, "must be positive and finite; got 1 of 64 negative"),
        (math.nan, "got 1 of 64 NaN"),
        (math.inf, "got 1 of 64 infinite"),
    ],
)
def test_bad_rewards_are_refused(bad, message):
    """Catches a reward whose logarithm is no number, before it spreads over the graph."""
    space, reward = grid(0.1)
    reward[5] = bad
    for use in (solve_flows, soft_values, entropy, lambda s, r: free_energy(s, r, 0)):
        with pytest.raises(ValueError, match=message):
            use(space, reward)


def test_a_reward_where_nothing_may_stop_is_not_read():
    """Catches a check of states that are no objects."""
    space = Space(Subsets(4, least=2))
    reward = torch.where(space.may_stop, 2.0, torch.nan)
    assert float(solve_flows(space, reward).z) == pytest.approx(22.0)


def test_bad_pulls_are_refused():
    """Catches a pull that loses flow, or gives it to a state that is no parent."""
    space, reward = grid(0.1)
    pull = uniform_pull(space)
    for bad in (0.5 * pull, pull - 1.0, pull[:3], torch.ones_like(pull)):
        with pytest.raises(ValueError, match="laws over the parents"):
            solve_flows(space, reward, bad)
    with pytest.raises(ValueError, match="64 rows"):
        solve_flows(space, reward[:5])

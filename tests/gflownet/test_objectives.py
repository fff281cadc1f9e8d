"""Conditions of balance on exact tables, on wrong ones, and against each other."""

import math

import pytest
import torch

from gentoolkit.core import Trajectory, log_variance, residuals, trajectory_balance
from gentoolkit.gflownet import (
    Corners,
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Graph,
    Hypergrid,
    LogOf,
    LogVariance,
    Paths,
    Policy,
    Space,
    Subsets,
    SubTrajectoryBalance,
    TablePolicy,
    TrajectoryBalance,
    reach,
    solve_flows,
)
from tests.flows.truth import perturbed
from tests.gflownet.worlds import EDGES, random_pull, reward_of

OBJECTIVES = {
    "flow matching": FlowMatching(),
    "flow matching, floored": FlowMatching(1e-3),
    "detailed balance": DetailedBalance(),
    "trajectory balance": TrajectoryBalance(),
    "short stretches": SubTrajectoryBalance(1e-6),
    "stretches": SubTrajectoryBalance(0.9),
    "long stretches": SubTrajectoryBalance(3.0),
    "log-variance": LogVariance(),
}


def exact_model(space, reward=reward_of, pull=None, objective=None):
    """A model that holds the exact flows in tables."""
    flows = solve_flows(space, reward(space.rows), pull)
    model = GFlowNet(space, LogOf(reward), TablePolicy(flows), objective=objective)
    torch.nn.init.constant_(model.log_z, float(flows.z.log()))
    return model


def spaces():
    return {
        "grid": Space(Hypergrid(8, 2)),
        "cube": Space(Hypergrid(8, 3)),
        "subsets": Space(Subsets(5, least=1, most=3)),
        "graph": Space(Graph(EDGES, stops=["b", "d", "e"])),
    }


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["grid", "cube", "subsets", "graph"])
def test_exact_flows_leave_nothing(name, objective):
    """Catches pull at the wrong end of an edge, a doubled terminal flow, a stop with a pull."""
    space = spaces()[name]
    for pull in (None, random_pull(space)):
        model = exact_model(space, pull=pull, objective=OBJECTIVES[objective])
        paths = model.paths(200, explore=0.5)  # from a law that is not the model's
        account = model.balance_terms(paths)
        assert float(account.residuals().detach().abs().max()) < 1e-12
        assert float((account.log_weight() - model.log_z).detach().abs().max()) < 1e-12
        assert float(model.loss(paths).detach()) < 1e-24


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_wrong_table_is_seen(objective):
    """The control: one push logit changed, or one pull, or log Z."""
    space = Space(Hypergrid(4, 2))
    for name in ("push_logits", "pull_logits"):
        model = exact_model(space, objective=OBJECTIVES[objective])
        table = getattr(model.policy, name)
        at = int(space.index(torch.tensor([[1, 1]])))
        table.data[at, 0] += 0.5
        paths = model.paths(200, explore=0.5)
        seen = float(model.loss(paths).detach()) > 1e-5
        matching = isinstance(model.objective, FlowMatching)
        assert seen != (matching and name == "pull_logits"), "flow matching reads no pull"


def test_all_objectives_read_one_account():
    """Catches an objective with its own idea of the path: each against the core, perturbed nets."""
    torch.manual_seed(3)
    space = Space(Hypergrid(5, 2))
    model = GFlowNet(space, LogOf(reward_of), perturbed(Policy(space, (16,), learn_pull=True), 0.5))
    model.log_z.data += 0.7
    paths = model.paths(40)
    account = model.balance_terms(paths)
    ratio = account.log_pull - account.log_push
    trajectory = Trajectory((*paths.states, paths.ends), ratio, torch.zeros(40))
    log_w = trajectory.log_weight(lambda states: model.log_reward(space.objects(states)))
    assert torch.allclose(log_w, account.log_weight(), atol=1e-12)
    imbalance = residuals(trajectory, account.log_flow)
    assert torch.allclose(imbalance, account.residuals(), atol=1e-12)
    assert torch.allclose(imbalance.sum(0), log_w - model.log_z, atol=1e-12), "it telescopes"
    balance = TrajectoryBalance()(model, paths)
    assert torch.allclose(balance, trajectory_balance(log_w, model.log_z))
    assert torch.allclose(LogVariance()(model, paths), log_variance(log_w))
    edges = imbalance.square().sum() / paths.visited()
    assert torch.allclose(DetailedBalance()(model, paths), edges)


def test_an_account_is_the_sum_over_the_path():
    """Catches an off-by-one between a move and the state that undoes it: step by step."""
    torch.manual_seed(4)
    space = Space(Subsets(4, least=1, most=3))
    model = GFlowNet(space, LogOf(reward_of), perturbed(Policy(space, (16,), learn_pull=True), 0.5))
    paths = model.paths(20)
    account = model.balance_terms(paths)
    for b in range(20):
        log_w = float(paths.log_reward[b])
        state = space.start(1)
        for move in paths.moves[:, b].tolist():
            log_w -= model.policy_output(state).log_push[0, move].item()
            if move == space.moves:
                break
            state = space.step(state, torch.tensor([move]))
            log_w += model.policy_output(state).log_pull[0, move].item()
        assert account.log_weight()[b].item() == pytest.approx(log_w, abs=1e-12)
        assert torch.equal(state[0], paths.ends[b])


def test_stretches_are_all_partial_sums():
    """Catches a stretch beyond the stop, and a doubled terminal flow: loops over i < j <= n."""
    residual, length = torch.randn(6, 4), [6, 1, 3, 5]
    alive = torch.arange(6)[:, None] < torch.tensor(length)
    residual = torch.where(alive, residual, 0.0)
    for decay in (0.3, 0.9, 1.0, 2.5):
        found = SubTrajectoryBalance(decay).per_path(residual, alive)
        for b, n in enumerate(length):
            top = bottom = 0.0
            for i in range(n):
                for j in range(i + 1, n + 1):
                    top += decay ** (j - i) * float(residual[i:j, b].sum()) ** 2
                    bottom += decay ** (j - i)
            assert float(found[b]) == pytest.approx(top / bottom, rel=1e-12)
    whole = SubTrajectoryBalance(1e9).per_path(residual, alive)
    assert torch.allclose(whole, residual.sum(0).square(), rtol=1e-6), "trajectory balance"
    single = SubTrajectoryBalance(1e-9).per_path(residual, alive)
    each = residual.square().sum(0) / torch.tensor(length)
    assert torch.allclose(single, each, rtol=1e-6), "detailed balance, path by path"


def test_padding_changes_nothing():
    """Catches padding that enters a sum or a mean: one path alone, and among longer ones."""
    torch.manual_seed(5)
    space = Space(Graph(EDGES, stops=["b", "d", "e"]))
    policy = perturbed(Policy(space, (16,), learn_pull=True), 0.5)
    model = GFlowNet(space, LogOf(reward_of), policy)
    paths = model.paths(30)
    lengths = paths.alive.sum(0)
    assert len(lengths.unique()) > 2, "paths of unequal length"
    together = model.balance_terms(paths)
    for b in range(30):
        n = int(lengths[b])
        alone = Paths(
            paths.states[:n, b : b + 1], paths.moves[:n, b : b + 1], paths.log_reward[b : b + 1]
        )
        account = model.balance_terms(alone)
        assert torch.allclose(account.log_weight()[0], together.log_weight()[b], atol=1e-12)
        assert torch.allclose(account.residuals()[:, 0], together.residuals()[:n, b], atol=1e-12)
        assert float(together.residuals()[n:, b].detach().abs().sum()) == 0.0
    for objective in (SubTrajectoryBalance(), TrajectoryBalance()):
        singles = [objective(model, paths.pick(torch.tensor([b]))) for b in range(30)]
        assert torch.allclose(torch.stack(singles).mean(), objective(model, paths), atol=1e-12)


def test_paths_that_are_not_padded_are_refused():
    """Catches rows of another length, which would pair moves with the wrong states."""
    model = exact_model(Space(Hypergrid(4, 2)))
    good = model.paths(5)
    for states, moves, log_reward in (
        (good.states[1:], good.moves, good.log_reward),
        (good.states, good.moves[:, :4], good.log_reward),
        (good.states, good.moves, good.log_reward[:, None]),
    ):
        with pytest.raises(ValueError, match="pad shorter paths"):
            Paths(states, moves, log_reward)


def test_flow_matching_is_the_leak_of_the_tables():
    """Catches an inflow that misses a parent: sums over all parents, state by state."""
    torch.manual_seed(6)
    space = Space(Hypergrid(4, 3))
    model = GFlowNet(space, LogOf(reward_of), perturbed(Policy(space, (16,)), 0.5))
    model.log_z.data += 1.3
    said = model.policy_output(torch.arange(space.size))
    flow, push = said.log_flow.exp(), said.log_push.exp()
    paths = model.paths(12)
    inflow = model.inflow(paths)
    for t in range(len(paths.moves)):
        for b in range(12):
            into = 0.0
            for m, p in enumerate(space.parent[paths.states[t, b]].tolist()):
                into += float(flow[p] * push[p, m]) if p >= 0 else 0.0
            expected = math.log(into) if into else -math.inf
            assert float(inflow[t, b]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("learn_pull", [False, True])
def test_the_gradient_of_trajectory_balance_is_that_of_the_reverse_divergence(learn_pull):
    """Catches a gradient through the sampling weights: all paths of a small grid, enumerated.

    For the push alone: the mean of (log w - c)^2 / 2 over its own paths, drawn from a frozen copy.
    """
    torch.manual_seed(7)
    space = Space(Hypergrid(3, 2))
    model = GFlowNet(space, LogOf(reward_of), Policy(space, (8,), learn_pull=learn_pull))
    paths = all_paths(model)
    account = model.balance_terms(paths)
    log_push, log_w = account.log_push.sum(0), account.log_weight()
    assert float(log_push.exp().sum()) == pytest.approx(1.0, abs=1e-12), "all paths are here"
    push = [p for n, p in model.policy.named_parameters() if n.startswith("net.0")]
    balance = (log_push.detach().exp() * (log_w - 1.7).square()).sum() / 2
    first = torch.autograd.grad(balance, push, retain_graph=True)
    if learn_pull:  # the shared trunk moves the pull too, which the divergence sees through E[w]
        frozen = account.log_pull.detach().sum(0)
        log_w = account.log_flow[-1] + frozen - log_push
        balance = (log_push.detach().exp() * (log_w - 1.7).square()).sum() / 2
        first = torch.autograd.grad(balance, push, retain_graph=True)
    divergence = -(log_push.exp() * log_w).sum()
    second = torch.autograd.grad(divergence, push)
    for a, b in zip(first, second, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
        assert float(a.abs().max()) > 1e-4


def all_paths(model):
    """Every path of a listed space that reaches far, one row each."""
    from tests.gflownet.walks import every_path

    space = model.environment
    found = every_path(space.environment)
    length = max(len(p) for p in found)
    states = torch.zeros(length, len(found), dtype=torch.long)
    moves = torch.full((length, len(found)), -1)
    for b, path in enumerate(found):
        numbers = space.index(torch.tensor([row for row, _ in path]))
        states[: len(path), b], states[len(path) :, b] = numbers, numbers[-1]
        moves[: len(path), b] = torch.tensor([m for _, m in path])
    return Paths(states, moves, model.log_reward(space.objects(states[-1])))


def test_weights_of_every_path_average_to_z():
    """Catches a weight with a lost term: E[w] = Z for any push and pull, over all paths."""
    torch.manual_seed(8)
    for space in (Space(Hypergrid(4, 2)), Space(Graph(EDGES, stops=["b", "d", "e"]))):
        policy = perturbed(Policy(space, (8,), learn_pull=True), 1.0)
        model = GFlowNet(space, LogOf(reward_of), policy)
        account = model.balance_terms(all_paths(model))
        mean = (account.log_push.sum(0).exp() * account.log_weight().exp()).sum()
        truth = reward_of(space.rows)[space.may_stop].sum()
        assert float(mean) == pytest.approx(float(truth), rel=1e-12)


def test_the_law_of_a_net_is_that_of_its_samples():
    """Catches a sampler that is not the policy: counts against the exact law, 4 s.e. a cell."""
    torch.manual_seed(9)
    space = Space(Hypergrid(3, 2))
    model = GFlowNet(space, LogOf(reward_of), perturbed(Policy(space, (8,)), 1.0))
    law, n = model.law(), 20_000
    counts = model.paths(n).ends.bincount(minlength=space.size) / n
    assert bool(((counts - law).abs() <= 4 * (law * (1 - law) / n).sqrt() + 1e-12).all())
    plain = GFlowNet(space.environment, LogOf(reward_of), model.policy)
    plain.policy.environment = space.environment  # the same net, without look-ups
    rows = plain.sample(n)
    counts = space.index(rows).bincount(minlength=space.size) / n
    assert bool(((counts - law).abs() <= 4 * (law * (1 - law) / n).sqrt() + 1e-12).all())
    plain.policy.environment = space
    push = model.policy_output(torch.arange(space.size)).log_push.exp()
    mixed = 0.6 * push + 0.4 * space.allowed(torch.arange(space.size)) / (
        space.allowed(torch.arange(space.size)).sum(1, keepdim=True)
    )
    visits = torch.zeros(space.size)
    paths = model.paths(n, explore=0.4)
    visits += paths.states[paths.alive].bincount(minlength=space.size) / n
    expected = reach(space, mixed)
    assert bool(((visits - expected).abs() <= 4 * (expected / n).sqrt()).all())


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_bad_settings_are_refused(bad):
    """Catches a decay of zero and a floor below it."""
    if bad != 0.0:
        with pytest.raises(ValueError, match="floor"):
            FlowMatching(bad)
    with pytest.raises(ValueError, match="decay"):
        SubTrajectoryBalance(bad)


def test_corners_by_tables():
    """Catches a reward that the model reads off another cell: the grid with R0 = 0.001."""
    space = Space(Hypergrid(8, 2))
    model = exact_model(space, Corners(8, 0.001))
    assert float(model.log_z) == pytest.approx(2.776581, abs=1e-6)
    target = Corners(8, 0.001)(space.rows)
    assert torch.allclose(model.law(), target / target.sum(), atol=1e-12)

"""Training, old paths, contexts, and what is refused. Each test names the bug it catches."""

import math
import pickle

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gentoolkit.core import Unsupported, log_z, log_z_error
from gentoolkit.gflownet import (
    DetailedBalance,
    FlowMatching,
    GFlowNet,
    Graph,
    Hypergrid,
    LogOf,
    Policy,
    ReplayBuffer,
    Space,
    Subsets,
    SubTrajectoryBalance,
    TrajectoryBalance,
    WeightedEnergies,
    join,
    law,
    rollouts,
    solve_flows,
)
from gentoolkit.train import fit
from tests.flows.truth import perturbed
from tests.gflownet.worlds import EDGES, reward_of


def small(objective=None, learn_pull=False, side=4):
    space = Space(Hypergrid(side, 2))
    return GFlowNet(
        space, LogOf(reward_of), Policy(space, (32,), learn_pull=learn_pull), objective=objective
    )


def distance(model):
    reward = torch.where(model.environment.may_stop, reward_of(model.environment.rows), 0.0)
    return float((model.law() - reward / reward.sum()).abs().sum())


def train(model, steps=200, batch=32, **how):
    optimizer = torch.optim.Adam(model.groups(1e-2, 0.1))
    for _ in fit(model, rollouts(model, batch, steps, **how), optimizer=optimizer, progress=False):
        pass
    return distance(model)


@pytest.mark.parametrize(
    "objective", [TrajectoryBalance(), DetailedBalance(), SubTrajectoryBalance(), FlowMatching()]
)
@pytest.mark.parametrize("learn_pull", [False, True])
def test_training_finds_the_law_and_z(objective, learn_pull):
    """Catches an objective whose gradient does not lead to R / Z."""
    model = small(objective, learn_pull)
    before = distance(model)
    assert train(model) < min(0.12, 0.3 * before)
    truth = float(reward_of(model.environment.rows).sum().log())
    assert model.log_z.item() == pytest.approx(truth, abs=0.1)


@pytest.mark.parametrize(
    "how",
    [
        {"explore": 0.5},
        {"buffer": ReplayBuffer(300)},
        {"buffer": ReplayBuffer(300, sharpness=1.0), "explore": 0.1},
    ],
    ids=["uniform moves", "replay", "prioritised replay"],
)
def test_training_off_policy_finds_the_same_law(how):
    """Catches an importance weight or a mean that assumes the paths are the model's own."""
    assert train(small(), **how) < 0.12


@pytest.mark.parametrize("objective", [TrajectoryBalance(), SubTrajectoryBalance(), FlowMatching()])
def test_a_gradient_reaches_every_parameter(objective):
    """Catches a head that no objective trains."""
    model = small(objective, learn_pull=True)
    model.loss(model.paths(64)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_listed_or_not_the_loss_is_one():
    """Catches look-ups that score another state: the same net and paths with and without."""
    torch.manual_seed(2)
    listed = small(FlowMatching(1e-3), learn_pull=True)
    perturbed(listed.policy, 0.5)
    environment = listed.environment.environment
    plain = GFlowNet(environment, LogOf(reward_of), listed.policy, objective=listed.objective)
    paths = listed.paths(64)  # 64 paths score every state once; 3 score their own
    for part in (paths, paths.pick(torch.arange(3))):
        listed.policy.environment = listed.environment
        losses = [o(listed, part) for o in (FlowMatching(1e-3), SubTrajectoryBalance())]
        listed.policy.environment = environment
        rows = type(part)(
            listed.environment.rows[part.states], part.moves, part.log_reward, part.context
        )
        others = [o(plain, rows) for o in (FlowMatching(1e-3), SubTrajectoryBalance())]
        assert torch.allclose(torch.stack(losses), torch.stack(others), atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_paths_pulled_to_an_object_give_its_probability(seed):
    """Catches a pull that is aligned wrongly: p(x) = E[push / pull], within 4 s.e."""
    torch.manual_seed(seed)
    space = Space(Graph(EDGES, stops=["b", "d", "e"]))
    policy = perturbed(Policy(space, (16,), learn_pull=True), 0.7)
    model = GFlowNet(space, LogOf(reward_of), policy)
    generator, n = torch.Generator().manual_seed(seed), 20_000
    for end in space.may_stop.nonzero()[:, 0].tolist():
        paths = model.paths_to(torch.full((n,), end), generator=generator)
        assert bool((paths.states[0] == 0).all()) and bool((paths.ends == end).all())
        objects = space.objects(paths.ends)
        with torch.no_grad():
            evidence = paths.log_reward - model.balance_terms(paths).log_weight()
            again = model.elbo(objects, generator=torch.Generator().manual_seed(3))
            same = model.paths_to(paths.ends, generator=torch.Generator().manual_seed(3))
            assert torch.allclose(again, same.log_reward - model.balance_terms(same).log_weight())
        truth = model.law()[end].log()
        assert abs(float(log_z(evidence) - truth)) <= 4 * float(log_z_error(evidence)) + 1e-9
        assert float(again.mean()) <= float(truth) + 1e-9, "a lower bound"


def test_pulled_paths_are_paths():
    """Catches moves that do not lead from one state to the next."""
    space = Space(Subsets(4, least=2, most=3))
    model = GFlowNet(space, LogOf(reward_of), Policy(space, (8,)))
    ends = space.may_stop.nonzero()[:, 0]
    paths = model.paths_to(ends)
    for t in range(len(paths.moves) - 1):
        ahead = space.step(paths.states[t], paths.moves[t])
        assert torch.equal(ahead, paths.states[t + 1])
    with pytest.raises(ValueError, match="which may not"):
        model.paths_to(torch.zeros(2, dtype=torch.long))


class Preferences:
    """Weights of two energies that sum to one."""

    def sample(self, n, generator=None):
        w = torch.rand(n, 1, generator=generator)
        return torch.cat([w, 1 - w], 1)


def test_one_net_samples_a_whole_front():
    """Catches a context that the policy or log Z does not see: exact law at three preferences."""
    torch.manual_seed(0)
    space = Space(Hypergrid(6, 2))
    energies = WeightedEnergies(
        [lambda x: x.sum(1) * 0.5, lambda x: (5 - x).square().sum(1) * 0.1], temperature=1.0
    )
    model = GFlowNet(space, energies, Policy(space, (32, 32), context=2))
    optimizer = torch.optim.Adam(model.groups(5e-3, 0.05))
    stream = rollouts(model, 32, 300, explore=0.05, contexts=Preferences())
    for _ in fit(model, stream, optimizer=optimizer, progress=False):
        pass
    numbers = torch.arange(space.size)
    for w in (0.1, 0.5, 0.9):
        context = torch.tensor([[w, 1 - w]]).expand(space.size, 2)
        reward = energies(space.rows, context).exp()
        with torch.no_grad():
            push = model.policy_output(numbers, context).log_push.exp()
            z = float(model.log_source_flow(1, context[:1]))
        exact = solve_flows(space, reward)
        assert torch.equal(model.law(context=context[0]), law(space, push))
        assert float((model.law(context=context[0]) - exact.target()).abs().sum()) < 0.2
        assert z == pytest.approx(float(exact.z.log()), abs=0.2)


def test_modules_are_switched_by_the_context():
    """Catches energies that do not add: modules on or off, against a product of rewards."""
    energies = [lambda x: x[:, 0] * 1.0, lambda x: x[:, 1] * 2.0, lambda x: x.sum(1) * 0.5]
    both = WeightedEnergies(energies)
    x = torch.randint(5, (6, 2))
    for on in ((1, 0, 0), (1, 1, 0), (1, 1, 1)):
        context = torch.tensor([on]).double().expand(6, 3)
        expected = torch.ones(6)
        for k, energy in enumerate(energies):
            expected = expected * torch.exp(-energy(x) * on[k])
        assert torch.allclose(both(x, context).exp(), expected)
    with pytest.raises(ValueError, match=r"\(B, 3\)"):
        both(x, torch.ones(6, 2))


def test_log_z_has_its_own_rate():
    """Catches a parameter that is in two groups or in none."""
    model = small()
    slow, fast = model.groups(1e-3, 0.1)
    assert fast["params"] == [model.log_z] and fast["lr"] == 0.1
    assert len(slow["params"]) == len(list(model.parameters())) - 1


def test_a_buffer_keeps_the_last_and_draws_the_best():
    """Catches a buffer that grows, that forgets the new, or that draws evenly when sharp."""
    model, n = small(), 20_000
    even, sharp = ReplayBuffer(50), ReplayBuffer(50, sharpness=2.0)
    with pytest.raises(ValueError, match="got none"):
        sharp.sample(3)
    batches = [model.paths(20) for _ in range(4)]
    batches.append(model.paths(70).pick(torch.arange(3)))
    for batch in batches:
        even.add(batch)
        sharp.add(batch)
    assert len(even) == len(sharp) == 50
    reward = torch.cat([b.log_reward for b in batches])[-50:]
    for buffer, weight in ((even, torch.full((50,), 0.02)), (sharp, reward.mul(2.0).softmax(0))):
        drawn = buffer.sample(n).log_reward
        mean = float((weight * reward).sum())
        assert float(drawn.mean()) == pytest.approx(mean, abs=4 * float(drawn.std()) / n**0.5)
    even.add(many := model.paths(300))
    assert len(even) == 50
    assert set(even.sample(500).log_reward.tolist()) <= set(many.log_reward[-50:].tolist())


def test_paths_out_of_a_buffer_are_whole():
    """Catches rows of two paths mixed, and old paths cut when longer ones come: account by account.

    The buffer meets paths of unequal lengths, with contexts, and is written round and round.
    """
    space = Space(Hypergrid(4, 2))
    steered = GFlowNet(
        space, WeightedEnergies([lambda x: x.sum(1) * 1.0]), Policy(space, (8,), context=1)
    )
    buffer, seen = ReplayBuffer(20), set()
    for n in (1, 5, 9, 30, 2):
        paths = steered.paths(n, context=torch.rand(n, 1))
        buffer.add(paths)
        seen |= {round(v, 9) for v in steered.balance_terms(paths).log_weight().tolist()}
    drawn = steered.balance_terms(buffer.sample(64)).log_weight().tolist()
    assert {round(v, 9) for v in drawn} <= seen and len(set(drawn)) > 10
    with pytest.raises(ValueError, match="a context or none"):
        buffer.add(small().paths(4))


def test_a_sample_costs_as_much_as_its_batch():
    """Catches a table of batch x capacity: 256 of 100,000 paths took 150 MB; now under 4."""
    model = small()
    buffer = ReplayBuffer(100_000, sharpness=1.0)
    buffer.add(model.paths(1000).pick(torch.randint(1000, (100_000,))))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        buffer.sample(256)
    largest = max(event.cpu_memory_usage for event in found.events())
    assert largest < 4_000_000


def test_a_model_with_a_lambda_can_be_pickled():
    """Catches a reward that must be a function at the top of a module: listed rewards need none."""
    space = Space(Hypergrid(4, 2))
    model = GFlowNet(space, lambda x: x.sum(1) * 0.5)
    again = pickle.loads(pickle.dumps(model))
    paths = model.paths(32)
    assert torch.equal(model.loss(paths), again.loss(paths)) and torch.equal(
        model.law(), again.law()
    )


def test_seeds_rule_everything():
    """Catches randomness drawn past the generator."""
    model, draws = small(), []
    for _ in range(2):
        generator = torch.Generator().manual_seed(1)
        torch.rand(3)
        paths = model.paths(8, explore=0.3, generator=generator)
        draws.append((paths.moves, model.paths_to(paths.ends, generator=generator).moves))
    for a, b in zip(*draws, strict=True):
        assert torch.equal(a, b)
    assert model.sample(5).shape == (5, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype):
    """Catches a constant that lifts float32 to float64."""
    torch.set_default_dtype(dtype)
    model = small(SubTrajectoryBalance(), learn_pull=True)
    assert model.loss(model.paths(8)).dtype == dtype and model.law().dtype == dtype


@pytest.mark.parametrize(
    ("log_reward", "message"),
    [
        (lambda x: torch.where(x.sum(1) == 2, -torch.inf, 0.0), "3 of -inf .a zero reward."),
        (lambda x: torch.where(x.sum(1) == 0, torch.nan, 0.0), "1 NaN"),
        (lambda x: torch.where(x.sum(1) == 0, torch.inf, 0.0), "1 of .inf"),
        (lambda x: torch.zeros(len(x), 1), "must have shape"),
        (LogOf(lambda x: x.sum(1) * 1.0), "got 1 of 16 zeros, whose log is -inf; add a floor"),
        (LogOf(lambda x: x.sum(1) - 1.0), "must be positive and finite; got 1 of 16 negative"),
        (LogOf(lambda x: torch.where(x.sum(1) == 0, torch.nan, 1.0)), "got 1 of 16 NaN"),
        (LogOf(lambda x: torch.where(x.sum(1) == 0, torch.inf, 1.0)), "got 1 of 16 infinite"),
    ],
)
def test_bad_rewards_are_refused(log_reward, message):
    """Catches zero, negative and NaN rewards, listed or met on the way."""
    space = Space(Hypergrid(4, 2))
    with pytest.raises(ValueError, match=message):
        GFlowNet(space, log_reward)
    plain = GFlowNet(space.environment, log_reward)
    with pytest.raises(ValueError, match="must"):
        for _ in range(50):
            plain.paths(64)


def test_bad_calls_are_refused():
    """Catches a context that does not fit, mixed batches, and a law without a list."""
    model = small()
    with pytest.raises(ValueError, match="explore must be in"):
        model.paths(4, explore=1.5)
    with pytest.raises(ValueError, match="takes no context"):
        model.policy_output(torch.zeros(3, dtype=torch.long), torch.zeros(3, 2))
    space = model.environment
    steered = GFlowNet(
        space, WeightedEnergies([lambda x: x.sum(1) * 1.0]), Policy(space, (8,), context=1)
    )
    with pytest.raises(ValueError, match=r"takes shape \(4, 1\); got None"):
        steered.paths(4)
    with pytest.raises(ValueError, match=rf"takes shape \({space.size}, 1\); got None"):
        steered.law()
    mixed = [model.paths(4), steered.paths(4, context=torch.ones(4, 1))]
    with pytest.raises(ValueError, match="1 of 2 batches"):
        join(mixed)
    with pytest.raises(ValueError, match="got none"):
        join([])
    with pytest.raises(Unsupported, match="needs a Space; got Hypergrid"):
        GFlowNet(Hypergrid(4), LogOf(reward_of)).law()
    with pytest.raises(ValueError, match="paths hold their own context"):
        steered.loss(mixed[1], context=torch.ones(4, 1))
    for call in (model.elbo, model.loss):
        with pytest.raises(ValueError, match="takes no context"):
            call(torch.zeros(3, 2, dtype=torch.long), context=torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"must have shape \(B, 2\)"):
        model.elbo(torch.zeros(3, dtype=torch.long))
    for capacity, sharpness in ((0, 0.0), (5, -1.0), (5, math.nan)):
        with pytest.raises(ValueError, match="capacity|sharpness"):
            ReplayBuffer(capacity, sharpness=sharpness)

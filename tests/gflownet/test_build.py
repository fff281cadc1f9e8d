"""The model as a chain of the core. Each test names the bug it catches."""

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.gflownet import (
    GFlowNet,
    Graph,
    Hypergrid,
    LogOf,
    Policy,
    Space,
    WeightedEnergies,
    chain,
)
from tests.flows.truth import perturbed
from tests.gflownet.test_environments import EDGES
from tests.gflownet.test_objectives import reward_of


def model_of(environment, context=0):
    torch.manual_seed(2)
    space = Space(environment)
    policy = perturbed(Policy(space, (8,), context, learn_pull=True), 0.5)
    reward = WeightedEnergies([lambda x: x.sum(1) * 1.0]) if context else LogOf(reward_of)
    return GFlowNet(space, reward, policy)


def test_the_chain_weighs_as_the_account_does():
    """Catches a stop with a pull, a rest that counts, and moves read from the wrong state."""
    model = model_of(Hypergrid(3, 2))
    space = model.environment
    trajectory = chain(model).push(200)
    log_w = trajectory.log_weight(lambda x: model.log_reward_of(x - space.size))
    rows = torch.stack(trajectory.states)
    moves = torch.full((len(rows) - 1, 200), -1)
    for t in range(len(moves)):
        for b in range(200):
            here, ahead = int(rows[t, b]), int(rows[t + 1, b])
            if here < space.size:
                stops = ahead >= space.size
                moves[t, b] = 2 if stops else space.children[here].tolist().index(ahead)
    numbers = rows[:-1] % space.size
    paths = type(model.paths(2))(numbers, moves, model.log_reward_of(numbers[-1]))
    assert torch.allclose(model.account(paths).log_weight(), log_w, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pushed_and_pulled_chains_tell_the_same_z(seed):
    """Catches a pull of another law than the one it scores: both ends of the bridge, 4 s.e."""
    model = model_of(Hypergrid(3, 2))
    space, generator = model.environment, torch.Generator().manual_seed(seed)

    def target(x):
        return model.log_reward_of(x - space.size)

    reward = reward_of(space.rows)
    ends = torch.multinomial(reward, 20_000, True, generator=generator) + space.size
    with torch.no_grad():
        pushed = chain(model).push(20_000, generator).log_weight(target)
        trajectory = chain(model).pull(ends, generator)
    assert bool((trajectory.states[0] == 0).all())
    pulled = trajectory.log_weight(target)
    truth = float(reward.sum().log())
    for result in (
        checks.mean_weight(pushed, truth),
        checks.mean_inverse_weight(pulled, truth),
        checks.bridge(pushed, pulled, truth),
    ):
        assert result, result
    assert not checks.mean_weight(pushed, truth + 0.3), "the control"


def test_what_is_no_chain_is_refused():
    """Catches paths of two lengths to one state, which a chain would pull wrongly."""
    with pytest.raises(ValueError, match="two lengths"):
        chain(model_of(Graph(EDGES)))
    with pytest.raises(ValueError, match="no context"):
        chain(model_of(Hypergrid(3, 2), context=1))
    with pytest.raises(TypeError, match="needs a Space"):
        chain(GFlowNet(Hypergrid(3, 2), LogOf(reward_of)))

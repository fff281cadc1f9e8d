"""The model as a chain of the core. Each test names the bug it catches."""

import pytest
import torch

from gentoolkit.core import Unsupported, checks, log_z, log_z_error
from gentoolkit.gflownet import (
    GFlowNet,
    Graph,
    Hypergrid,
    LogOf,
    Policy,
    Space,
    WeightedEnergies,
)
from tests.flows.truth import perturbed
from tests.gflownet.worlds import EDGES, reward_of


def model_of(environment, context=0):
    torch.manual_seed(2)
    space = Space(environment)
    policy = perturbed(Policy(space, (8,), context=context, learn_pull=True), 0.5)
    reward = WeightedEnergies([lambda x: x.sum(1) * 1.0]) if context else LogOf(reward_of)
    return GFlowNet(space, reward, policy)


def test_the_chain_weighs_as_the_account_does():
    """Catches a stop with a pull, a rest that counts, and moves read from the wrong state."""
    model = model_of(Hypergrid(3, 2))
    space = model.environment
    trajectory = model.chain().push(200)
    log_w = trajectory.log_weight(model.log_reward)
    assert trajectory.states[-1].shape == (200, *model.event_shape)
    rows = torch.stack(trajectory.states[:-1])
    moves = torch.full((len(rows) - 1, 200), -1)
    for t in range(len(moves)):
        for b in range(200):
            here, ahead = int(rows[t, b]), int(rows[t + 1, b])
            if here < space.size:
                stops = ahead >= space.size
                moves[t, b] = 2 if stops else space.child[here].tolist().index(ahead)
    numbers = rows[:-1] % space.size
    paths = type(model.paths(2))(numbers, moves, model.log_reward(space.rows[numbers[-1]]))
    assert torch.allclose(model.balance_terms(paths).log_weight(), log_w, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pushed_and_pulled_chains_tell_the_same_z(seed):
    """Catches a pull of another law than the one it scores: both ends of the bridge, 4 s.e."""
    model = model_of(Hypergrid(3, 2))
    space, generator = model.environment, torch.Generator().manual_seed(seed)
    reward = reward_of(space.rows)
    ends = space.rows[torch.multinomial(reward, 20_000, True, generator=generator)]
    with torch.no_grad():
        pushed = model.chain().push(20_000, generator).log_weight(model.log_reward)
        trajectory = model.chain().pull(ends, generator)
    assert bool((trajectory.states[0] == 0).all())
    pulled = trajectory.log_weight(model.log_reward)
    truth = float(reward.sum().log())
    for result in (
        checks.mean_weight(pushed, truth),
        checks.mean_inverse_weight(pulled, truth),
        checks.bridge(pushed, pulled, truth),
    ):
        assert result, result
    assert not checks.mean_weight(pushed, truth + 0.3), "the control"


def test_a_chain_under_contexts_weighs_as_the_account_does():
    """Catches a context that the chain drops, or gives to another row."""
    model, context = model_of(Hypergrid(3, 2), context=1), torch.rand(50, 1)
    paths = model.paths(50, context=context)
    objects = model.environment.objects(paths.ends)
    trajectory = model.chain(context).pull(objects)
    evidence = trajectory.log_evidence()
    probs = torch.stack(
        [
            model.law(context=w)[model.environment.index(x[None])][0]
            for w, x in zip(context, objects, strict=True)
        ]
    )
    draws = torch.stack([model.chain(context).pull(objects).log_evidence() for _ in range(400)])
    assert evidence.shape == (50,)
    off = (log_z(draws.detach()) - probs.log()).abs()
    assert bool((off <= 5 * log_z_error(draws.detach()) + 1e-9).all())
    shuffled = torch.stack(
        [model.chain(context.flip(0)).pull(objects).log_evidence() for _ in range(400)]
    )
    worse = (log_z(shuffled.detach()) - probs.log()).abs()
    assert bool((worse > 5 * log_z_error(shuffled.detach())).any()), "the control"


def test_what_is_no_chain_is_refused():
    """Catches paths of two lengths to one state, which a chain would pull wrongly."""
    with pytest.raises(Unsupported, match="two lengths"):
        model_of(Graph(EDGES)).chain()
    with pytest.raises(Unsupported, match="needs a Space"):
        GFlowNet(Hypergrid(3, 2), LogOf(reward_of)).chain()
    with pytest.raises(ValueError, match="takes shape"):
        model_of(Hypergrid(3, 2), context=1).chain().push(3)

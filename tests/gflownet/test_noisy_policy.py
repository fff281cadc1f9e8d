"""Slips that nobody can train away: the floor of the loss, and when there is none."""

import math

import pytest
import torch

from gentoolkit.gflownet import (
    GFlowNet,
    Graph,
    Hypergrid,
    LogOf,
    NoisyPolicy,
    Policy,
    Space,
    TablePolicy,
    rollouts,
    shortfall,
    solve_flows,
)
from gentoolkit.train import fit
from tests.gflownet.worlds import reward_of


def fork(slip):
    """Two leaves of reward 1 and 3 under one choice that is slippery."""
    space = Space(Graph([("s", "a"), ("s", "b")]))
    reward = torch.where(torch.arange(3) == 2, 3.0, 1.0)
    flows = solve_flows(space, reward)
    model = GFlowNet(space, lambda x: reward[x[:, 0]].log(), NoisyPolicy(TablePolicy(flows), slip))
    return flows, model


def trained(model, steps=300):
    optimizer = torch.optim.Adam(model.groups(0.05, 0.05))
    stream = rollouts(model, 512, steps)
    for record in fit(model, stream, optimizer=optimizer, progress=False):
        last = record.loss
    return last


def test_a_coin_toss_has_the_floor_of_its_closed_form():
    """Catches a kernel that is trained away: at slip 1 the leaves come one half each.

    The best log Z leaves the variance of log R, (log 3)^2 / 4, under every choice.
    """
    flows, model = fork(1.0)
    assert float(shortfall(flows, 1.0).max()) > 0.2
    assert trained(model) == pytest.approx(math.log(3) ** 2 / 4, rel=0.01)
    assert torch.allclose(model.law()[1:], torch.tensor([0.5, 0.5]))


def test_the_floor_of_a_partial_slip():
    """Catches the sign of the shortfall: at 0.8 the leaf of reward 1 gets 0.4 and should get 1/4.

    The loss that own paths minimise over c = p(b) <= 0.6 and log Z: at its border, by a fine grid.
    """
    flows, model = fork(0.8)
    short = shortfall(flows, 0.8)
    assert float(short[0].max()) == pytest.approx(0.15)
    flows_met, met = fork(0.4)
    assert not shortfall(flows_met, 0.4).any(), "the slip gives 0.2 and 1/4 is asked"
    assert trained(met) < 1e-3
    assert torch.allclose(met.law(), flows_met.target(), atol=0.02)
    assert trained(model) > 0.05
    assert float(model.law()[1:].min()) >= 0.4 - 1e-9


def test_no_slip_changes_nothing():
    """Catches a mixture that is off at its end, and a gradient that is not finite."""
    space = Space(Hypergrid(4, 2))
    policy = Policy(space, (8,))
    plain, slippery = GFlowNet(space, LogOf(reward_of), policy), None
    slippery = GFlowNet(space, LogOf(reward_of), NoisyPolicy(policy, 0.0))
    paths = plain.paths(32)
    assert torch.allclose(plain.loss(paths), slippery.loss(paths), atol=1e-12)
    mixed = GFlowNet(space, LogOf(reward_of), NoisyPolicy(policy, 0.3))
    assert torch.allclose(mixed.law().sum(), torch.ones(()))
    mixed.loss(mixed.paths(32)).backward()
    assert all(
        bool(torch.isfinite(p.grad).all()) for p in policy.parameters() if p.grad is not None
    )
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="slip must be in"):
            NoisyPolicy(policy, bad)

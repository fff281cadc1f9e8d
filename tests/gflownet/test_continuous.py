"""Continuous moves: densities in place of sums, against a path whose law is known."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from gentoolkit.core import Gaussian, Unsupported, log_z, log_z_error
from gentoolkit.gflownet import (
    DetailedBalance,
    FlowMatching,
    GaussianFlowNet,
    LogVariance,
    SubTrajectoryBalance,
    TrajectoryBalance,
)
from gentoolkit.gflownet.continuous import MixedMove
from gentoolkit.train import fit
from tests.flows.truth import perturbed

MEAN, STD, LOG_Z = 1.0, 0.5, 0.7
OBJECTIVES = [TrajectoryBalance(), DetailedBalance(), SubTrajectoryBalance(), LogVariance()]


def log_reward(x):
    law = Gaussian(torch.full((1, x.shape[1]), MEAN, dtype=x.dtype), STD)
    return law.log_prob(x) + LOG_Z


class Exact(GaussianFlowNet):
    """The reversal of the bridge under a Gaussian target of variance v = spread^2: a plain walk."""

    def _push(self, x, t):
        return Gaussian(x, self.spread / self.moves**0.5)


def test_a_plain_walk_reverses_the_bridge():
    """Catches the bridge's mean or variance: log w is log Z on every path, and DB is zero."""
    walk = Exact(
        lambda x: Gaussian(torch.zeros(1, 2), 1.5).log_prob(x) + LOG_Z, 2, moves=6, spread=1.5
    )
    states = walk.paths(200)
    log_w = walk.chain().replay(states).log_weight(walk.log_reward)
    assert float((log_w - LOG_Z).abs().max().detach()) < 1e-10

    def flow(x, t):
        """The law of x_t under the walk, times Z: N(0, spread^2 t / T)."""
        return Gaussian(torch.zeros(1, 2), 1.5 * (t / 6) ** 0.5).log_prob(x) + LOG_Z

    walk.log_z.data.fill_(LOG_Z)
    walk.flow_net = _Known(flow, 6)
    assert float(walk.balance_terms(states).residuals().detach().abs().max()) < 1e-10
    for objective in OBJECTIVES:
        assert float(objective(walk, states).detach()) < 1e-20


class _Known(torch.nn.Module):
    def __init__(self, flow, moves):
        super().__init__()
        self.flow, self.moves = flow, moves

    def forward(self, x):
        return self.flow(x[:, :-1], float(x[0, -1]) * self.moves)[:, None]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_average_to_z(seed):
    """Catches a lost move: E[w] = Z for an untrained net, within 4 s.e., and not for a wrong Z."""
    torch.manual_seed(1)
    model = GaussianFlowNet(log_reward, 1, moves=3, spread=1.6)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        log_w = model.chain().push(40_000, generator).log_weight(log_reward)
    off = float(log_z(log_w)) - LOG_Z
    error = float(log_z_error(log_w))
    assert abs(off) <= 4 * error
    assert abs(off + 0.5) > 4 * error, "the control"


def test_residuals_telescope():
    """Catches a flow at the wrong time: the residuals sum to log w - log Z on perturbed nets."""
    model = perturbed(GaussianFlowNet(log_reward, 2, moves=5, spread=1.5, hidden=(16,)), 0.3)
    model.log_z.data.fill_(0.3)
    states = model.paths(50) + 0.1
    log_w = model.chain().replay(states).log_weight(log_reward)
    account = model.balance_terms(states)
    assert torch.allclose(account.residuals().sum(0), log_w - 0.3, atol=1e-10)
    assert torch.allclose(account.log_weight() - account.log_flow[0], log_w - 0.3, atol=1e-10)
    assert torch.allclose(model.loss(states), (log_w - 0.3).square().mean())
    assert torch.allclose(LogVariance()(model, states), log_w.var(0))
    with pytest.raises(Unsupported, match="an integral"):
        FlowMatching()(model, states)


def test_points_are_scored_by_paths_pulled_to_them():
    """Catches a bound that is off log p, and a loss of points that scores other paths.

    Its law is N(0, spread^2 I), and the pull is its exact reversal: every path says log p.
    """
    walk = Exact(lambda x: Gaussian(torch.zeros(1, 2), 1.5).log_prob(x), 2, moves=6, spread=1.5)
    x = torch.randn(20, 2)
    assert torch.allclose(walk.elbo(x), Gaussian(torch.zeros(1, 2), 1.5).log_prob(x), atol=1e-10)
    assert float(walk.loss(x).detach()) < 1e-20
    with pytest.raises(ValueError, match="no context"):
        walk.elbo(x, context=x)


@pytest.mark.parametrize("objective", [TrajectoryBalance(), DetailedBalance()])
def test_training_finds_the_target(objective):
    """Catches a gradient that leads elsewhere: mean, deviation and log Z of a Gaussian."""
    torch.manual_seed(0)
    model = GaussianFlowNet(log_reward, 1, moves=4, spread=1.0, hidden=(32,), objective=objective)
    others = [p for n, p in model.named_parameters() if n != "log_z"]
    optimizer = torch.optim.Adam(
        [{"params": others, "lr": 1e-2}, {"params": [model.log_z], "lr": 0.1}]
    )
    stream = (model.paths(128) for _ in range(400))
    for _ in fit(model, stream, optimizer=optimizer, progress=False):
        pass
    x = model.sample(4000)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.1)
    assert float(x.std()) == pytest.approx(STD, abs=0.1)
    assert model.log_z.item() == pytest.approx(LOG_Z, abs=0.1)


def test_a_mixed_move_is_torchs_mixture():
    """Catches a share or a deviation of another component, with one row and with many."""
    for rows in (1, 5):
        share = torch.randn(rows, 3).log_softmax(1)
        mean, std = torch.randn(rows, 3, 2), torch.rand(rows, 3, 2) + 0.2
        law = MixedMove(share, mean, std)
        other = MixtureSameFamily(Categorical(logits=share), Independent(Normal(mean, std), 1))
        x = torch.randn(5, 2)
        assert torch.allclose(law.log_prob(x), other.log_prob(x), atol=1e-10)
        assert not torch.allclose(law.log_prob(x), other.log_prob(x.flip(1)), atol=1e-3)
    drawn = MixedMove(share[:1], mean[:1], std[:1]).sample(40_000)
    wanted = (share[:1].exp()[..., None] * mean[:1]).sum(1)[0]
    assert drawn.shape == (40_000, 2)
    assert float((drawn.mean(0) - wanted).abs().max()) < 5 * float(drawn.std(0).max()) / 200


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_of_mixed_moves_average_to_z(seed):
    """Catches a density that is not the sampler's: E[w] = Z, and not another Z."""
    torch.manual_seed(1)
    model = GaussianFlowNet(log_reward, 1, moves=3, spread=1.6, components=3)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        path = model.chain().push(40_000, generator)
        log_w = path.log_weight(log_reward)
    off, error = float(log_z(log_w)) - LOG_Z, float(log_z_error(log_w))
    assert abs(off) <= 4 * error
    assert abs(off + 0.5) > 4 * error, "the control"
    states = torch.stack(path.states)
    assert torch.allclose(model.balance_terms(states).residuals().sum(0), log_w - model.log_z)
    model.loss(states).backward()
    assert all(p.grad is not None for p in model.net.parameters())


def test_bad_sizes_are_refused():
    """Catches a chain of one move and a spread that is none."""
    with pytest.raises(ValueError, match="moves must be at least 2"):
        GaussianFlowNet(log_reward, 1, moves=1)
    for bad in (0.0, math.nan):
        with pytest.raises(ValueError, match="spread must be positive"):
            GaussianFlowNet(log_reward, 1, moves=3, spread=bad)

"""Critics and their losses against the best critic in closed form, and the pair of translators."""

import pytest
import torch
from torch import nn

from gentoolkit.adversarial import (
    Critic,
    CycleGAN,
    DomainCritics,
    LeastSquares,
    cycle_loss,
    domain_critics,
)
from gentoolkit.core.checks import dead_parameters
from gentoolkit.flows import align_flow
from gentoolkit.train import Player, fit
from tests.laws.kinds import perturbed

F64 = torch.float64
P = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=F64)
Q = torch.tensor([0.1, 0.3, 0.2, 0.4], dtype=F64)


class Table(nn.Module):
    """A critic of four states: one free number each."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return self.value[x.long()]


class Turn(nn.Module):
    """Translators that are exactly inverse to each other, or are not."""

    def __init__(self, back=0.5):
        super().__init__()
        self.back = back

    def to_b(self, a):
        return 2.0 * a

    def to_a(self, b):
        return self.back * b


def rows(law: torch.Tensor, n: int = 10) -> torch.Tensor:
    """States in exact proportion to a law whose entries are tenths."""
    return torch.repeat_interleave(torch.arange(4.0), (law * n).round().long())


def test_the_best_critic_is_the_share_of_the_real_law():
    """Catches exchanged targets, one mean over both parts: C = p / (p + q), loss = sum pq/(p+q)."""
    critic, game = Table(), LeastSquares()
    real, fake = rows(P), rows(Q)
    for _ in range(300):  # a quadratic in four numbers
        (slope,) = torch.autograd.grad(game.critic(critic(real), critic(fake)), critic.value)
        with torch.no_grad():
            critic.value -= slope
    best = P / (P + Q)
    torch.testing.assert_close(critic.value.detach(), best, rtol=0, atol=1e-6)
    loss = float(game.critic(critic(real), critic(fake)).detach())
    assert loss == pytest.approx(float((P * Q / (P + Q)).sum()), abs=1e-9)
    assert float((critic.value.detach() - Q / (P + Q)).abs().max()) > 0.5, "the control"


def test_losses_at_given_outputs():
    """Catches a factor one half, targets that are not used, a generator that repels."""
    real, fake = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.5, 1.0])
    game = LeastSquares(real=1.0, fake=-1.0)
    assert float(game.critic(real, fake)) == pytest.approx(0.125 + (1.0 + 2.25 + 4.0) / 3)
    assert float(game.generator(fake)) == pytest.approx((1.0 + 0.25 + 0.0) / 3)
    fake.requires_grad_()
    (slope,) = torch.autograd.grad(game.generator(fake), fake)
    assert bool((slope <= 0).all()), "outputs must rise towards the real target"


def test_a_critic_in_the_plane_finds_the_share():
    """Catches a Critic that cannot learn: two normals, whose share p/(p+q) is a sigmoid."""
    torch.manual_seed(0)
    real, fake = torch.randn(4000, 1) + 1.0, torch.randn(4000, 1) - 1.0
    critic = Critic(1, (16, 16))
    players = [
        Player(
            lambda batch: LeastSquares().critic(critic(batch[0]), critic(batch[1])),
            torch.optim.Adam(critic.parameters(), 0.02),
        )
    ]
    for _ in fit(critic, [(real, fake)] * 200, players=players, progress=False):
        pass
    x = torch.linspace(-2, 2, 9)[:, None]
    assert float((critic(x).detach() - (2 * x[:, 0]).sigmoid()).abs().max()) < 0.08


def test_each_critic_sees_its_own_domain():
    """Catches critics that are exchanged, and the fake rows of the other domain."""
    a, b = torch.full((3, 1), 1.0), torch.full((5, 1), 10.0)

    class Echo(nn.Module):
        def __init__(self, seen):
            super().__init__()
            self.seen = seen

        def forward(self, x):
            self.seen.append(float(x.mean()))
            return x.sum(1)

    seen_a, seen_b = [], []
    critics = DomainCritics(Echo(seen_a), Echo(seen_b))
    loss = critics.loss(Turn(), (a, b))
    assert (seen_a, seen_b) == ([1.0, 5.0], [10.0, 2.0])
    assert float(loss) == (1 - 1) ** 2 + 5.0**2 + (10 - 1) ** 2 + 2.0**2
    assert float(critics.fool(Turn(), (a, b))) == (5 - 1) ** 2 + (2 - 1) ** 2


@pytest.mark.parametrize("make", [lambda: CycleGAN(3, (8,)), lambda: align_flow(3, 2, (8,))])
def test_whose_gradients_go_where(make):
    """Catches a critic's loss that moves the translators, and a dead critic or translator."""
    pair, critics = perturbed(make()), perturbed(domain_critics(3, (8,)))
    batch = torch.randn(6, 3), torch.randn(4, 3)
    assert dead_parameters(lambda: critics.loss(pair, batch), critics) == []
    assert dead_parameters(lambda: critics.fool(pair, batch), pair) == []
    gradients = torch.autograd.grad(
        critics.loss(pair, batch), list(pair.parameters()), allow_unused=True
    )
    assert all(gradient is None for gradient in gradients)


def test_a_cycle_costs_what_does_not_come_back():
    """Catches a mean of squares, one domain left out, and a cycle through one map twice."""
    a, b = torch.tensor([[1.0, -2.0]]), torch.tensor([[4.0, 4.0], [-4.0, 4.0]])
    assert float(cycle_loss(Turn(), (a, b))) == 0.0
    assert float(cycle_loss(Turn(back=1.0), (a, b))) == pytest.approx(1.5 + 4.0)


def test_a_cycle_loss_leaves_two_flows_alone():
    """Catches a layer without an inverse: its gradient on flows is rounding error, exactly."""
    pair = perturbed(align_flow(4, 6, (16,)), 0.3)
    loss = 10.0 * cycle_loss(pair, (torch.randn(64, 4), torch.randn(64, 4)))
    gradients = torch.autograd.grad(loss, list(pair.parameters()))
    assert float(loss.detach()) < 1e-10
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-9
    other = perturbed(CycleGAN(4))
    loss = cycle_loss(other, (torch.randn(64, 4), torch.randn(64, 4)))
    gradients = torch.autograd.grad(loss, list(other.parameters()))
    assert max(float(gradient.abs().max()) for gradient in gradients) > 1e-3, "the control"


def test_players_take_turns_and_the_translator_moves_the_right_way():
    """Catches a sign: B is A shifted by 2, and the translation must learn the shift."""
    torch.manual_seed(0)
    pair, critics = CycleGAN(2, (16,), identity=True), domain_critics(2, (16,))
    a, b = torch.randn(400, 2), torch.randn(300, 2) + torch.tensor([2.0, 0.0])
    players = [
        Player(
            lambda batch: critics.loss(pair, batch),
            torch.optim.Adam(critics.parameters(), 2e-3, betas=(0.5, 0.99)),
        ),
        Player(
            lambda batch: critics.fool(pair, batch) + cycle_loss(pair, batch),
            torch.optim.Adam(pair.parameters(), 2e-3, betas=(0.5, 0.99)),
        ),
    ]
    both = nn.ModuleList([pair, critics])
    for _ in fit(both, [(a, b)] * 300, players=players, progress=False):
        pass
    there, back = (pair.to_b(a) - a).mean(0)[0], (pair.to_a(b) - b).mean(0)[0]
    assert 1.0 < float(there.detach()) < 3.0, "a wrong sign would drive it to minus"
    assert -3.0 < float(back.detach()) < -1.0


def test_the_start_is_the_identity():
    """Catches a residual network whose last layer starts at random."""
    x = torch.randn(5, 3)
    torch.testing.assert_close(CycleGAN(3, identity=True).to_b(x), x)
    assert 0.0 < float((CycleGAN(3).to_b(x) - x).detach().abs().max()) < 1.0


def test_bad_input_is_refused():
    """Catches unpaired batches of two widths, an empty domain, a critic's (N, 1)."""
    critics, pair, x = domain_critics(3), CycleGAN(3), torch.randn(4, 3)
    for call in (critics.loss, critics.fool, cycle_loss):
        args = (pair,)
        with pytest.raises(ValueError, match=r"one shape; got \(4, 3\) and \(4, 2\)"):
            call(*args, (x, x[:, :2]))
        with pytest.raises(ValueError, match="b is empty"):
            call(*args, (x, x[:0]))
        with pytest.raises(ValueError, match="a must be finite"):
            call(*args, (x / 0.0, x))
    column = DomainCritics(nn.Linear(3, 1), nn.Linear(3, 1))
    with pytest.raises(ValueError, match=r"shape \(N,\); got \(4, 1\)"):
        column.loss(pair, (x, x))
    with pytest.raises(ValueError, match=r"shape \(N,\); got \(4, 1\)"):
        column.fool(pair, (x, x))
    with pytest.raises(ValueError, match="different targets"):
        LeastSquares(1.0, 1.0)
    with pytest.raises(ValueError, match="features"):
        Critic(0)

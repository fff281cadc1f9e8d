"""The moves one by one: detailed balance, reversals, gradients, and what they refuse."""

import pytest
import torch

from gentoolkit import Chain, Gaussian, standard_normal
from gentoolkit.core import checks
from gentoolkit.stochastic import (
    HMC,
    MALA,
    Langevin,
    Metropolis,
    TrainedLangevin,
    value_and_score,
)
from gentoolkit.stochastic.metropolis import leapfrog
from gentoolkit.targets import DoubleWell, eight_gaussians
from tests.laws.examples import lopsided
from tests.stochastic.linear import MEAN, PRECISION, Bump

MOVES = {
    "metropolis": lambda g: Metropolis(g, 0.9),
    "mala": lambda g: MALA(g, 0.25),
    "hmc": lambda g: HMC(g, 0.3, 4),
    "three mala": lambda g: MALA(g, 0.15, moves=3),
}


@pytest.mark.parametrize("name", MOVES)
def test_detailed_balance(name):
    """Catches a proposal density that is left out: E_g[a(x) b(y)] = E_g[b(x) a(y)] for any a, b."""
    g = lopsided()
    x = g.sample(60_000, torch.Generator().manual_seed(0))
    y, _ = MOVES[name](g).push(x, torch.Generator().manual_seed(1))
    a, b = (lambda z: (z[:, 0] - z[:, 1]).tanh()), (lambda z: (z[:, 1] > 0.2).double() * z[:, 0])
    assert checks.mean_is(a(x) * b(y) - b(x) * a(y), 0.0)
    assert checks.mean_is(b(y) - b(x), 0.0)


def test_a_mala_without_its_proposal_density_fails():
    """The control of detailed balance: accept by g(y)/g(x) alone."""

    class Slip(MALA):
        def propose(self, here, generator):
            there, _ = super().propose(here, generator)
            return there, there.log_g - here.log_g

    g = lopsided()
    x = g.sample(60_000)
    y, _ = Slip(g, 0.25).push(x)
    f = lambda z: (z[:, 1] > 0.2).double() * z[:, 0]  # noqa: E731
    a = lambda z: (z[:, 0] - z[:, 1]).tanh()  # noqa: E731
    passed = [
        checks.mean_is(a(x) * f(y) - f(x) * a(y), 0.0),
        checks.mean_is(f(y) - f(x), 0.0),
        checks.mean_is(g.log_prob(y) - g.log_prob(x), 0.0),
    ]
    assert not all(passed)


@pytest.mark.parametrize("name", MOVES)
def test_a_rejection_changes_nothing(name):
    """Catches a log-ratio other than exactly zero where a proposal was not taken."""
    steep = Gaussian(torch.zeros(1, 2), 0.05)
    x = steep.sample(500)
    y, ratio = MOVES[name](steep).push(x)
    stayed = (y == x).all(1)
    assert 0 < int(stayed.sum())
    assert bool((ratio[stayed] == 0).all())


def test_several_moves_telescope():
    """Catches a ratio summed over moves that no longer is log g(first) - log g(last)."""
    g = eight_gaussians()
    x = torch.randn(50, 2)
    y, ratio = MALA(g, 0.01, moves=7).push(x)
    torch.testing.assert_close(ratio, g.log_prob(x) - g.log_prob(y), rtol=0, atol=1e-12)


def test_the_account_of_langevin_by_hand():
    """Catches grad at the wrong end, a sign, a factor of two: the sheet's eta and eta~."""
    g, e = DoubleWell(2, 2.0), 0.03
    x, y = torch.randn(9, 2), torch.randn(9, 2)

    def slope(z):
        return torch.stack([-8.0 * z[:, 0] * (z[:, 0] ** 2 - 1), -z[:, 1]], 1)

    there, back = (y - x - e * slope(x)), (x - y - e * slope(y))
    by_hand = (there.square().sum(1) - back.square().sum(1)) / (4 * e)
    torch.testing.assert_close(Langevin(g, e).log_ratio(x, y), by_hand, rtol=1e-12, atol=1e-12)


def test_scores_agree_with_the_closed_form():
    """Catches a score that is summed over the batch, and one cut off from outer gradients."""
    g, x = lopsided(), torch.randn(6, 2, requires_grad=True)
    value, score = value_and_score(g, x)
    torch.testing.assert_close(score, g.score(x))
    (outer,) = torch.autograd.grad(score.square().sum() + value.sum(), x)
    want = torch.autograd.grad(g.score(x).square().sum() + g.log_prob(x).sum(), x)[0]
    torch.testing.assert_close(outer, want)
    scale = torch.tensor(2.0, requires_grad=True)
    value, score = value_and_score(lambda z: scale * g.log_prob(z), x.detach())
    (outer,) = torch.autograd.grad(score.sum(), scale)
    torch.testing.assert_close(outer, g.score(x).sum().detach())
    assert not value_and_score(g, x.detach())[1].requires_grad
    with torch.no_grad():
        value, score = value_and_score(g, x)
    assert not score.requires_grad and not value.requires_grad
    torch.testing.assert_close(score, g.score(x.detach()))


def flown(g, x, p, step_size, steps):
    """Position and momentum after some leapfrogs."""
    return leapfrog(g, x, p, value_and_score(g, x)[1], step_size, steps)[:2]


def test_a_leapfrog_comes_back():
    """Catches half steps that are full ones, and a momentum that is undone in another order."""
    g, x, p = eight_gaussians(), torch.randn(5, 2), torch.randn(5, 2)
    there, q = flown(g, x, p, 0.05, 3)
    back, turned = flown(g, there, -q, 0.05, 3)
    torch.testing.assert_close((back, -turned), (x, p), rtol=0, atol=1e-11)
    x, p = torch.tensor([[0.3]]), torch.tensor([[-0.7]])
    half = -0.7 - 0.05 * 0.3
    end = 0.3 + 0.1 * half
    moved = torch.cat(flown(standard_normal(1), x, p, 0.1, 1))
    assert moved.flatten().tolist() == pytest.approx([end, half - 0.05 * end], abs=1e-14)


def test_hamiltonian_moves_hold_the_energy_to_second_order():
    """Catches Euler for leapfrog: halving the step divides the error by four."""
    g, x, p = Bump(MEAN, PRECISION), torch.randn(200, 2), torch.randn(200, 2)
    energy = lambda x, p: g.log_prob(x) - 0.5 * p.square().sum(1)  # noqa: E731
    errors = []
    for k in (1, 2, 4):
        gap = energy(*flown(g, x, p, 0.2 / k, 4 * k)) - energy(x, p)
        errors.append(float(gap.abs().mean()))
    assert 3.3 < errors[0] / errors[1] < 4.7 and 3.3 < errors[1] / errors[2] < 4.7


def test_accept_decisions_are_constants():
    """Catches a gradient through `accept`, and one lost where a proposal is taken."""
    x = torch.randn(400, 2, requires_grad=True)
    y, ratio = Metropolis(lopsided(), 0.5).push(x, torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    torch.testing.assert_close(slope, torch.ones_like(x))
    (slope,) = torch.autograd.grad(ratio.sum(), x)
    moved = (y != x).any(1, keepdim=True)
    want = torch.where(moved, lopsided().score(x) - lopsided().score(y), 0.0)
    torch.testing.assert_close(slope, want)


def test_a_trained_step_size_gets_the_gradient_of_finite_differences():
    """Catches a score cut from the graph: the gradient in the step size must be whole."""
    g = lopsided()
    step = TrainedLangevin(g, 0.08)
    chain = Chain(standard_normal(2), [step, step, step])

    def loss():
        paths = chain.push(50, torch.Generator().manual_seed(3))
        return -paths.log_weight(g).mean()

    (slope,) = torch.autograd.grad(loss(), [step.log_step])
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            step.log_step += sign * 1e-5
            values.append(float(loss()))
            step.log_step -= sign * 1e-5
    assert float(slope) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


BAD_SIZES = (0.0, -0.1, float("nan"), float("inf"))


@pytest.mark.parametrize("size", BAD_SIZES)
def test_sizes_must_be_positive(size):
    """Catches a step of no or negative length, which would run through to a silent number."""
    g = standard_normal(2)
    makers = [
        lambda: Langevin(g, size),
        lambda: TrainedLangevin(g, size),
        lambda: MALA(g, size),
        lambda: Metropolis(g, size),
        lambda: HMC(g, size),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="must be positive and finite; got"):
            make()


def test_other_bad_arguments_are_refused():
    """Catches counts of zero, and a trained accept step."""
    g = standard_normal(2)
    for make in (lambda: MALA(g, 0.1, moves=0), lambda: HMC(g, 0.1, leapfrogs=0)):
        with pytest.raises(ValueError, match="at least 1"):
            make()
    with pytest.raises(TypeError, match="cannot be trained"):
        MALA(g, torch.tensor(0.1))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_path_that_explodes_names_the_step_and_the_rule(verb):
    """Catches weights of -inf that run on: the chain stops, and says d L > 2."""
    steep = Gaussian(torch.zeros(1, 2), 0.1)  # L = 100
    chain = Chain(standard_normal(2), [Langevin(steep, 0.5)] * 200)
    pattern = rf"steps\[\d+\]\.{verb}, a Langevin; .*step_size \* L > 2"
    with pytest.raises(ValueError, match=pattern):
        chain.push(5) if verb == "push" else chain.pull(torch.randn(5, 2))


@pytest.mark.parametrize("name", [*MOVES, "langevin"])
def test_moves_run_in_inference_mode(name):
    """Catches a gradient asked of a tensor made in inference mode: same seed, same numbers."""
    step = {**MOVES, "langevin": lambda g: Langevin(g, 0.1)}[name](lopsided())
    x = torch.randn(20, 2)
    with torch.no_grad():
        expected = step.push(x, torch.Generator().manual_seed(0))
    for copied in (False, True):
        with torch.inference_mode():
            result = step.push(x.clone() if copied else x, torch.Generator().manual_seed(0))
        assert torch.equal(result[0], expected[0]) and torch.equal(result[1], expected[1])


@pytest.mark.parametrize("name", MOVES)
def test_states_may_be_numbers(name):
    """Catches a move that asks states (B,) for a second dimension."""
    x = torch.randn(20_000)
    y, ratio = MOVES[name](lambda x: -0.5 * x.square()).push(x)
    assert y.shape == ratio.shape == x.shape and not torch.equal(x, y)
    assert checks.mean_is(y.square(), 1.0)

"""Annealing: the weight of Neal, schedules, resampling with an unbiased Z."""

from math import exp, pi

import pytest
import torch

from gentoolkit import Gaussian, ess, log_z, residuals, standard_normal, variance_shares
from gentoolkit.core import checks
from gentoolkit.stochastic import (
    HMC,
    MALA,
    ConstantESS,
    GeometricPath,
    Langevin,
    Metropolis,
    Path,
    annealed,
    even_schedule,
    increments,
    smc,
    systematic,
)
from gentoolkit.stochastic.paths import checked_schedule
from tests.laws.examples import lopsided
from tests.stochastic.linear import annealing_path


def wide_path() -> GeometricPath:
    return GeometricPath(Gaussian(torch.zeros(1, 2), 2.5), lopsided())


def test_moves_in_balance_give_the_weight_of_neal():
    """Catches an index off by one: log w = sum_k log g_k(x_{k-1}) - log g_{k-1}(x_{k-1})."""
    path, betas = wide_path(), torch.tensor([0.0, 0.2, 0.5, 1.0])
    paths = annealed(path, betas, lambda g: Metropolis(g, 0.5)).push(50)
    by_hand = sum(
        path.log_prob(x, float(k)) - path.log_prob(x, float(j))
        for j, k, x in zip(betas[:-1], betas[1:], paths.states, strict=False)
    )
    torch.testing.assert_close(paths.log_weight(path.target), by_hand, rtol=0, atol=1e-11)


KINDS = {
    "metropolis": lambda g: Metropolis(g, 0.8),
    "mala": lambda g: MALA(g, 0.1),
    "hmc": lambda g: HMC(g, 0.2, 3),
    "langevin": lambda g: Langevin(g, 0.02),
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", KINDS)
def test_weights_average_to_z(name, seed):
    """Catches a move that is not in balance with the density that its log-ratio names."""
    path = wide_path()
    chain = annealed(path, even_schedule(8), KINDS[name])
    with torch.no_grad():
        log_w = chain.push(20_000, torch.Generator().manual_seed(seed)).log_weight(path.target)
    assert checks.mean_weight(log_w, path.target.log_z)


def test_a_last_move_at_the_target_changes_no_weight():
    """Catches a Metropolis term that does not telescope (truth D)."""
    path = wide_path()
    chain = annealed(path, even_schedule(5), lambda g: Langevin(g, 0.02))
    paths = chain.push(100)
    x, total = paths.states[-1], 0.0
    for move in (
        MALA(path.target, 0.1, moves=3),
        HMC(path.target, 0.2),
        Metropolis(path.target, 1),
    ):
        x, ratio = move.push(x)
        total = total + ratio
    after = path.target.log_prob(x) + total
    before = path.target.log_prob(paths.states[-1])
    torch.testing.assert_close(after, before, rtol=0, atol=1e-11)


def test_increments_sum_to_the_weight_and_shares_to_its_variance():
    """Catches a ledger with a lost or doubled entry."""
    path, betas = wide_path(), even_schedule(6)
    paths = annealed(path, betas, lambda g: Langevin(g, 0.02)).push(500)
    log_w = paths.log_weight(path.target)
    parts = increments(paths, [path.at(b) for b in betas[1:].tolist()])
    torch.testing.assert_close(parts.sum(0), log_w, rtol=0, atol=1e-11)
    shares = variance_shares(parts)
    assert float(shares.sum()) == pytest.approx(float(log_w.var()), rel=1e-10)
    want = torch.cov(torch.cat([parts, log_w[None]]))[-1, :-1]
    torch.testing.assert_close(shares, want)
    with pytest.raises(ValueError, match="one density for the state"):
        increments(paths, [path.at(1.0)])
    with pytest.raises(ValueError, match="B >= 2"):
        variance_shares(parts[:, :1])


def test_one_increment_is_what_residuals_say():
    """Catches increments of another sign than the core's residuals."""
    path = wide_path()
    paths = annealed(path, torch.tensor([0.0, 1.0]), lambda g: MALA(g, 0.1)).push(9)
    flow = torch.stack([paths.log_source, path.target.log_prob(paths.states[1])])
    torch.testing.assert_close(increments(paths, [path.target]), residuals(paths, flow))


BAD_SCHEDULES = {
    "0.1": torch.tensor([0.1, 1.0]),
    "0.0 to 0.75": torch.tensor([0.0, 0.75]),
    "must increase": torch.tensor([0.0, 0.7, 0.7, 1.0]),
    "row of two": torch.tensor([1.0]),
    "got 0.0 to nan": torch.tensor([0.0, float("nan")]),
}


@pytest.mark.parametrize("words", BAD_SCHEDULES)
def test_schedules_run_from_0_to_1(words):
    """Catches a path that starts or ends between the two densities."""
    for use in (
        lambda b: annealed(wide_path(), b, KINDS["mala"]),
        lambda b: next(smc(wide_path(), b, KINDS["mala"], 8)),
    ):
        with pytest.raises(ValueError, match=words):
            use(BAD_SCHEDULES[words])
    with pytest.raises(TypeError, match="floating-point"):
        checked_schedule(torch.tensor([0, 1]))


class Bent(Path):
    """A path of one's own, between the same ends."""

    source, target = Gaussian(torch.zeros(1, 2, dtype=torch.float64), 2.5), lopsided()

    def log_prob(self, x, beta):
        straight = GeometricPath(self.source, self.target).log_prob(x, beta)
        return straight - beta * (1 - beta) * x[:, 0] ** 2


def test_an_own_path_bends_in_the_middle_alone():
    """Catches an own path whose ends are taken for the source and the target."""
    with torch.no_grad():
        paths = annealed(Bent(), even_schedule(8), KINDS["mala"]).push(20_000)
    assert checks.mean_weight(paths.log_weight(Bent.target), Bent.target.log_z)


def test_a_learned_schedule_gets_a_gradient():
    """Catches betas that are turned into numbers on the way."""
    inner = torch.tensor([0.3, 0.6], requires_grad=True)
    betas = torch.cat([torch.zeros(1), inner, torch.ones(1)])
    path = annealing_path()
    paths = annealed(path, betas, lambda g: Langevin(g, 0.07)).push(50)
    (slope,) = torch.autograd.grad(paths.log_weight(path.target).mean(), [inner])
    assert bool((slope.abs() > 0).all())


@pytest.mark.parametrize("name", ["mala", "langevin"])
def test_smc_has_an_unbiased_z(name):
    """Catches a mean weight banked twice, lost, or taken after the weights were cleared."""
    path, betas = wide_path(), even_schedule(4)
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(400):
        *_, last = smc(path, betas, KINDS[name], 16, 0.7, generator=generator)
        values.append(last.log_z)
    assert checks.mean_weight(torch.tensor(values), path.target.log_z)


def test_smc_without_resampling_is_annealed_importance_sampling():
    """Catches another log-weight than the chain's, on the same random numbers."""
    path, betas = wide_path(), even_schedule(5)
    for name in ("langevin", "mala"):
        *_, last = smc(
            path, betas, KINDS[name], 64, 0.0, generator=torch.Generator().manual_seed(1)
        )
        paths = annealed(path, betas, KINDS[name]).push(64, torch.Generator().manual_seed(1))
        log_w = paths.log_weight(path.target).detach()
        torch.testing.assert_close(last.log_w, log_w, rtol=0, atol=1e-11)
        assert last.log_z == pytest.approx(float(log_z(log_w)), abs=1e-11)
        assert last.ess == pytest.approx(float(ess(log_w)), rel=1e-9)


def test_resampling_follows_the_weights():
    """Catches a search on the wrong side: floor or ceil of n W, and n W on average."""
    w = torch.tensor([0.05, 0.3, 0.0, 0.65])
    counts = torch.stack([torch.bincount(systematic(w.log()), minlength=4) for _ in range(4000)])
    low, high = (4 * w - 1e-9).floor(), (4 * w + 1e-9).ceil()
    assert bool(((counts >= low) & (counts <= high)).all())
    torch.testing.assert_close(counts.double().mean(0) / 4, w, rtol=0, atol=0.01)


def test_the_rule_keeps_the_share_it_promises():
    """Catches a bisection to the wrong side, and old weights that are forgotten."""
    path, rule = wide_path(), ConstantESS(0.8)
    run = list(smc(path, rule, KINDS["mala"], 500, 0.5, generator=torch.Generator().manual_seed(0)))
    assert run[0].beta == 0.0 and run[-1].beta == 1.0
    for here, there in zip(run[:-2], run[1:-1], strict=True):
        v = path.log_prob(here.x, there.beta) - path.log_prob(here.x, here.beta)
        w = here.log_w.softmax(0)
        share = (w * v.exp()).sum() ** 2 / (w * (2 * v).exp()).sum()
        assert float(share) == pytest.approx(0.8, abs=1e-3)
    assert abs(run[-1].log_z - path.target.log_z) < 0.5
    pilot = smc(path, ConstantESS(0.95), KINDS["mala"], 500)
    fine = torch.tensor([particles.beta for particles in pilot], dtype=torch.float64)
    assert len(fine) > len(run)
    assert torch.equal(checked_schedule(fine), fine)


def test_smc_says_what_it_cannot_do():
    """Catches a population of one, a share outside [0, 1], a rule that stands still."""
    path = wide_path()
    with pytest.raises(ValueError, match="two particles"):
        smc(path, even_schedule(3), KINDS["mala"], 1)
    with pytest.raises(ValueError, match="resample_below"):
        smc(path, even_schedule(3), KINDS["mala"], 8, 1.5)
    with pytest.raises(ValueError, match="share must lie"):
        ConstantESS(1.0)
    far = GeometricPath(standard_normal(2), Gaussian(torch.full((1, 2), 1e5), 0.01))
    with pytest.raises(ValueError, match="stuck at beta"):
        list(smc(far, ConstantESS(0.9), KINDS["mala"], 64))
    narrow = GeometricPath(standard_normal(2), Gaussian(torch.zeros(1, 2), 0.01))
    with pytest.raises(ValueError, match=r"Langevin; .*step_size \* L > 2"):
        list(smc(narrow, even_schedule(300), lambda g: Langevin(g, 0.5), 64))


def test_a_loop_may_stop_and_differentiate():
    """Catches gradients left switched off in the caller's code between two states."""
    for particles in smc(wide_path(), even_schedule(3), KINDS["mala"], 8):
        assert torch.is_grad_enabled() and not particles.x.requires_grad


def half_plane(x):
    """The standard normal without its constant, where the first coordinate is positive: Z = pi."""
    return torch.where(x[:, 0] > 0, -0.5 * x.square().sum(1), -torch.inf)


@pytest.mark.parametrize("kind", ["metropolis", "mala", "both"])
def test_dead_particles_weigh_nothing(kind):
    """Catches particles where the target is zero taken for runaways: log Z = log pi = 1.1447."""
    moves = {
        "metropolis": lambda g: Metropolis(g, 0.8, moves=3),
        "mala": lambda g: MALA(g, 0.3, moves=3),
        "both": lambda g: [Metropolis(g, 0.8), MALA(g, 0.3)],
    }
    path = GeometricPath(standard_normal(2), half_plane)
    for below in (0.0, 0.5, 1.0):
        z = []
        for seed in range(20):
            generator = torch.Generator().manual_seed(seed)
            run = smc(path, even_schedule(4), moves[kind], 1000, below, generator=generator)
            *_, last = run
            z.append(exp(last.log_z))
            weighs = last.log_w > -torch.inf
            assert bool((last.x[weighs, 0] > 0).all()), "a dead particle weighs something"
        assert checks.mean_is(torch.tensor(z), pi)


def test_a_density_of_zero_asks_for_detailed_balance():
    """Catches Langevin paths cut where they leave the support: log Z = 0.75 in silence, not 1.14.

    Their weight counts the paths that come back, and a population has none of them left.
    """
    path = GeometricPath(standard_normal(2), half_plane)
    with pytest.raises(ValueError, match=r"detailed balance; got .* after a Langevin"):
        list(smc(path, even_schedule(4), lambda g: Langevin(g, 0.1), 1000))


def test_the_dead_are_never_drawn():
    """Catches a search that takes a particle of no weight where the uniform number is zero."""
    log_w = torch.tensor([-torch.inf, -1.0, -torch.inf, 0.3, -torch.inf])
    for seed in range(200):
        kept = systematic(log_w, torch.Generator().manual_seed(seed))
        assert set(kept.tolist()) <= {1, 3}
    with pytest.raises(ValueError, match="not all zero"):
        nowhere = GeometricPath(standard_normal(2), lambda x: x[:, 0] * 0 - torch.inf)
        list(smc(nowhere, even_schedule(2), KINDS["mala"], 8))


@pytest.mark.parametrize("kind", ["metropolis", "mala", "hmc"])
def test_a_bounded_distribution_rejects_what_lies_outside(kind):
    """Catches torch's own check of the support, raised by the first proposal outside."""
    gamma = torch.distributions.Gamma(torch.tensor([3.0, 3.0]), torch.tensor([2.0, 2.0]))
    target = torch.distributions.Independent(gamma, 1)
    moves = {
        "metropolis": Metropolis(target, 0.8, moves=20),
        "mala": MALA(target, 0.2, moves=20),
        "hmc": HMC(target, 0.4, 3, moves=20),
    }
    x = target.sample((4000,))
    y, _ = moves[kind].push(x)
    assert bool((y > 0).all()) and not torch.equal(x, y)
    assert checks.mean_is(y[:, 0], 1.5) and checks.mean_is(y[:, 1].square(), 3.0)

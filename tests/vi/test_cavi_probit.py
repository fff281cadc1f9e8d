"""Probit regression: coordinate ascent and Gibbs against quadrature."""

from itertools import islice

import pytest
import torch
from scipy.special import log_ndtr

from gentoolkit.core.checks import mean_is
from gentoolkit.vi import cavi_probit, gibbs_probit, probit_data, probit_moments, probit_race
from gentoolkit.vi.probit import _one_sided

T2 = 10.0


@pytest.fixture(scope="module")
def data():
    return probit_data(60, torch.tensor([-0.5, 1.2]).double(), torch.Generator().manual_seed(0))


def test_quadrature_agrees_with_importance_sampling(data):
    """Catches a wrong likelihood, prior or grid weight: oracle samples the prior."""
    x, y = data[0][:12], data[1][:12]
    exact = probit_moments(x, y, T2)
    generator = torch.Generator().manual_seed(1)
    b = T2**0.5 * torch.randn(400_000, 2, dtype=torch.float64, generator=generator)
    normal = torch.distributions.Normal(0.0, 1.0)
    likelihood = normal.cdf(y * (b @ x.T)).prod(1)
    w = likelihood / exact.log_evidence.exp()
    assert mean_is(w, 1.0)
    for j in range(2):
        assert mean_is(w * (b[:, j] - exact.mean[j]), 0.0)
        off = w * ((b[:, j] - exact.mean[j]).square() - exact.covariance[j, j])
        assert mean_is(off, 0.0)
    cross = (b - exact.mean).prod(1) - exact.covariance[0, 1]
    assert mean_is(w * cross, 0.0)


def test_quadrature_has_converged(data):
    """Catches a grid that is too narrow or too coarse."""
    x, y = data
    fine, coarse = probit_moments(x, y, T2), probit_moments(x, y, T2, points=201)
    assert torch.allclose(fine.mean, coarse.mean, atol=1e-9)
    assert torch.allclose(fine.log_evidence, coarse.log_evidence, atol=1e-9)


def test_cavi_bound_rises_below_the_evidence_and_stops(data):
    """Catches a wrong E[u] (the bound would fall), a missing term (it would cross)."""
    x, y = data
    states = list(islice(cavi_probit(x, y, T2), 400))
    elbos = torch.stack([s.elbo for s in states])
    assert float(elbos.diff().min()) >= -1e-10
    assert float(elbos.max()) < float(probit_moments(x, y, T2).log_evidence)
    assert torch.allclose(states[-1].mean, states[-2].mean, atol=1e-10)


def test_cavi_bound_is_the_mean_log_weight(data):
    """Catches any wrong term of the bound: oracle draws b and u from q.

    The state's mean is that before its own update of u, so q(u) is built from the mean.
    """
    x, y = data
    state = list(islice(cavi_probit(x, y, T2), 3))[-1]
    n, generator = 20_000, torch.Generator().manual_seed(2)
    q = torch.distributions.MultivariateNormal(state.mean, state.covariance)
    noise = torch.randn(n, 2, dtype=torch.float64, generator=generator)
    b = state.mean + noise @ torch.linalg.cholesky(state.covariance).T
    normal = torch.distributions.Normal(0.0, 1.0)
    centre = x @ state.mean
    inside = normal.cdf(y * centre)
    uniform = torch.rand(n, len(y), dtype=torch.float64, generator=generator)
    u = centre + y * normal.icdf(1 - inside * uniform)
    log_p = normal.log_prob(u - b @ x.T).sum(1)
    log_p = log_p + torch.distributions.Normal(0.0, T2**0.5).log_prob(b).sum(1)
    log_q = q.log_prob(b) + (normal.log_prob(u - centre) - inside.log()).sum(1)
    assert bool((y * u > 0).all())
    assert mean_is(log_p - log_q, float(state.elbo))


def test_cavi_mean_is_a_stationary_point(data):
    """Catches a wrong sign or scale of phi/Phi: autograd of the bound in m alone is zero."""
    x, y = data
    *_, last = islice(cavi_probit(x, y, T2), 600)
    m = last.mean.clone().requires_grad_()
    bound = torch.distributions.Normal(0.0, 1.0).cdf(y * (x @ m)).log().sum()
    (gradient,) = torch.autograd.grad(bound - m.square().sum() / (2 * T2), m)
    assert float(gradient.abs().max()) < 1e-8


def test_cavi_survives_a_far_tail():
    """Catches phi/Phi = 0/0 for a point on the wrong side by many deviations."""
    x = torch.tensor([[1.0, 60.0], [1.0, -60.0], [1.0, 55.0]], dtype=torch.float64)
    y = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    for state in islice(cavi_probit(x, y, 1e4), 50):
        assert bool(torch.isfinite(state.mean).all()) and bool(torch.isfinite(state.elbo))
    for b in islice(gibbs_probit(x, y, 1e4, 50, torch.Generator().manual_seed(0)), 200):
        assert bool(torch.isfinite(b).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("centre", [0.0, -1.0, -2.9, -3.1, -20.0, -40.0, -1e4])
def test_a_truncated_normal_is_drawn_in_any_tail(centre, dtype):
    """Catches a probability that underflows: u = -7.05 at a centre of -20 in float32.

    Oracle: SciPy's log Phi, which knows the tails, at what was drawn.
    """
    p = torch.linspace(0.02, 0.98, 25, dtype=dtype)
    u = _one_sided(torch.full_like(p, centre), torch.ones_like(p), p)
    assert bool((u > 0).all())
    edge = -centre  # log Phi(-(edge + u)) must be log p + log Phi(-edge)
    lost = log_ndtr(-edge - u.double().numpy()) - log_ndtr(-edge)
    slack = (1e-5 if dtype == torch.float32 else 1e-9) * (1.0 + edge**2 * 1e-6)
    torch.testing.assert_close(
        torch.as_tensor(lost), p.double().log(), rtol=0, atol=slack if edge < 1e3 else 1e-2
    )
    mirrored = _one_sided(torch.full_like(p, -centre), -torch.ones_like(p), p)
    assert torch.equal(mirrored, -u)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gibbs_survives_an_outlier_on_the_wrong_side(dtype):
    """Catches tails that are cut: one row at x = 30 gave a slope of .4538, and exact is .4346."""
    inputs = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = torch.cat([inputs, inputs.new_tensor([30.0])])
    x = torch.stack([torch.ones_like(inputs), inputs], 1)
    y = torch.where(inputs > 0, 1.0, -1.0)
    y[-1] = -1.0
    exact = probit_moments(x, y, T2, points=101)
    assert float(exact.mean[1]) == pytest.approx(0.4346, abs=1e-4)
    generator = torch.Generator().manual_seed(1)
    draws = list(islice(gibbs_probit(x.to(dtype), y.to(dtype), T2, 40, generator), 150))
    means = torch.stack(draws[50:]).double().mean(0)  # of each chain
    assert mean_is(means[:, 1], float(exact.mean[1]))
    assert not mean_is(means[:, 1], 0.4538), "the control"


def test_gibbs_draws_the_posterior(data):
    """Catches a truncation to the wrong side or a wrong covariance: oracle is quadrature."""
    x, y = data
    exact = probit_moments(x, y, T2)
    generator = torch.Generator().manual_seed(3)
    chains = list(islice(gibbs_probit(x, y, T2, 2000, generator), 200))
    b = chains[-1]  # 2,000 independent chains, each long past its start
    for j in range(2):
        assert mean_is(b[:, j], float(exact.mean[j]))
        off = (b[:, j] - exact.mean[j]).square()
        assert mean_is(off, float(exact.covariance[j, j]))


def test_cavi_spread_is_too_small_and_mean_is_near(data):
    """Catches a V that is the posterior covariance: mean field loses spread."""
    x, y = data
    exact = probit_moments(x, y, T2)
    *_, last = islice(cavi_probit(x, y, T2), 300)
    ratio = (last.covariance.diagonal() / exact.covariance.diagonal()).sqrt()
    assert float(ratio.max()) < 0.95
    off = (last.mean - exact.mean).abs() / exact.covariance.diagonal().sqrt()
    assert float(off.max()) < 0.5


def test_race_counts_its_sweeps(data):
    """Catches an off-by-one in the budget: entry k is CAVI's state after exactly k sweeps."""
    x, y = data
    race = probit_race(x, y, T2, budgets=(1, 4, 10), chains=20, seed=1)
    exact = probit_moments(x, y, T2)
    sd = exact.covariance.diagonal().sqrt()
    for k, error in zip(race.budgets, race.cavi, strict=True):
        state = list(islice(cavi_probit(x, y, T2), k))[-1]
        expected = ((state.mean - exact.mean) / sd).square().mean().sqrt()
        assert error == pytest.approx(float(expected), abs=1e-12)
    draws = torch.stack(
        list(islice(gibbs_probit(x, y, T2, 20, torch.Generator().manual_seed(1)), 10))
    )
    second_half = draws[5:].mean(0)  # sweeps 6..10
    expected = ((second_half - exact.mean) / sd).square().mean().sqrt()
    assert race.gibbs[-1] == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype, data):
    """Catches a constant made in torch's default type."""
    x, y = data[0].to(dtype), data[1].to(dtype)
    state = next(cavi_probit(x, y, T2))
    assert state.mean.dtype == state.covariance.dtype == state.elbo.dtype == dtype
    assert next(gibbs_probit(x, y, T2, 3)).dtype == dtype


def test_bad_input_is_named(data):
    """Catches a missing check: labels 0/1 would give a wrong posterior in silence."""
    x, y = data
    for run in (cavi_probit, probit_moments):
        with pytest.raises(ValueError, match="-1 or [+]1"):
            run(x, (y + 1) / 2, T2)
        with pytest.raises(ValueError, match="prior_variance must be positive"):
            run(x, y, 0.0)
        with pytest.raises(ValueError, match="shape"):
            run(x, y[:-1], T2)
        with pytest.raises(ValueError, match="empty"):
            run(x[:0], y[:0], T2)
        with pytest.raises(ValueError, match="finite"):
            run(x * float("nan"), y, T2)
    with pytest.raises(ValueError, match="chains must be at least 1"):
        gibbs_probit(x, y, T2, 0)
    with pytest.raises(ValueError, match="two coefficients"):
        probit_moments(torch.cat([x, x], 1), y, T2)
    with pytest.raises(ValueError, match="n must be at least 1"):
        probit_data(0, torch.zeros(2))
    with pytest.raises(ValueError, match="budgets"):
        probit_race(x, y, T2, budgets=())
    with pytest.raises(ValueError, match="budget must be at least 1"):
        probit_race(x, y, T2, budgets=(0, 5))

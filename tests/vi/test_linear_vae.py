"""The linear VAE: likelihood, posterior and gap in closed form."""

from math import cos, log, pi, sin

import pytest
import torch

from gentoolkit.core import log_variance
from gentoolkit.core.checks import mean_is, same_ratio
from gentoolkit.vi import PPCA, gaussian_kl

ANGLE = 0.6
ROTATION = torch.tensor([[cos(ANGLE), -sin(ANGLE)], [sin(ANGLE), cos(ANGLE)]], dtype=torch.float64)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    like = {"dtype": torch.float64, "generator": generator}
    # Factors of unequal strength: turning them then costs a mean field much.
    strength = torch.tensor([[2.5], [0.4]], dtype=torch.float64)
    factors = torch.randn(500, 2, **like) @ (strength * torch.randn(2, 5, **like))
    return factors + 0.5 * torch.randn(500, 5, **like) + torch.arange(5.0).double()


def closed_form_elbo(model, x):
    """E_q log p(x|z) - KL(q || p), term by term, for q = N(posterior mean, diag 1 / P_jj)."""
    mean, precision = model.posterior(x)
    v = 1.0 / precision.diagonal()
    residual = x - model.mean - mean @ model.weight.T
    spread = (model.weight.square() * v).sum()
    d = x.shape[1]
    fit = -0.5 * (residual.square().sum(1) + spread) / model.variance
    fit = fit - 0.5 * d * (log(2 * pi) + log(model.variance))
    eye = torch.eye(len(v), dtype=x.dtype)
    zero = torch.zeros(len(v), dtype=x.dtype)
    kl = torch.stack([gaussian_kl(m, v.diag(), zero, eye) for m in mean])
    return fit - kl


def test_optimum_has_the_likelihood_of_the_eigenvalues(data):
    """Catches a 1/2, a missing constant, an n - 1 for n: the bound equals the closed form."""
    model = PPCA.fit(data, 2)
    values = torch.linalg.eigvalsh(torch.cov(data.T, correction=0)).flip(0)
    d, latent = 5, 2
    expected = -0.5 * (
        d * log(2 * pi)
        + float(values[:latent].log().sum())
        + (d - latent) * model.log_variance.item()
        + d
    )
    assert model.variance.item() == pytest.approx(float(values[latent:].mean()), abs=1e-12)
    assert float(model.log_prob(data).mean()) == pytest.approx(expected, abs=1e-10)
    assert float(closed_form_elbo(model, data).mean()) == pytest.approx(expected, abs=1e-10)


def test_log_prob_and_posterior_agree_with_torch(data):
    """Catches an error of the covariance or of Bayes' rule: oracle is MultivariateNormal."""
    model, x = PPCA.fit(data, 2).rotated(ROTATION), data[:20]
    covariance = model.weight @ model.weight.T + model.variance * torch.eye(5).double()
    marginal = torch.distributions.MultivariateNormal(model.mean, covariance)
    assert torch.allclose(model.log_prob(x), marginal.log_prob(x), atol=1e-10)
    mean, precision = model.posterior(x)
    gain = model.weight.T @ covariance.inverse()  # conditioning of the joint Gaussian
    assert torch.allclose(mean, (x - model.mean) @ gain.T, atol=1e-10)
    expected = torch.eye(2).double() - gain @ model.weight
    assert torch.allclose(precision.inverse(), expected, atol=1e-10)


def test_rotation_keeps_the_likelihood_and_costs_the_gap(data):
    """Catches a gap of the wrong sign, or zero (a full covariance in disguise)."""
    model = PPCA.fit(data, 2)
    turned = model.rotated(ROTATION)
    assert torch.allclose(turned.log_prob(data), model.log_prob(data), atol=1e-10)
    gap = float(turned.log_prob(data).mean() - closed_form_elbo(turned, data).mean())
    precision = turned.posterior(data)[1]
    formula = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    assert gap == pytest.approx(float(formula), abs=1e-10)
    assert float(turned.mean_field_gap()) == pytest.approx(gap, abs=1e-10)
    assert gap > 0.2
    assert float(model.mean_field_gap()) == pytest.approx(0.0, abs=1e-12)


def test_chain_at_the_optimum_has_one_evidence_for_all_paths(data):
    """Catches a deviation read as a variance in either law: every path must give log p(x)."""
    model = PPCA.fit(data, 2)
    evidence = model.chain().pull(data).log_evidence()
    assert torch.allclose(evidence, model.log_prob(data), atol=1e-10)
    log_w = model.chain().push(50).log_weight(model.log_prob)
    assert float(log_variance(log_w)) < 1e-20
    turned = model.rotated(ROTATION)
    x = data.repeat(40, 1)
    gap = model.log_prob(x) - turned.chain().pull(x).log_evidence()
    assert mean_is(gap, float(turned.mean_field_gap()))


def test_chain_pushes_what_it_scores(data):
    """Catches a step whose two directions disagree; and samples of another covariance."""
    model = PPCA.fit(data, 2).rotated(ROTATION)
    (step,) = model.chain().steps
    assert same_ratio(step, torch.randn(30, 2).double())
    x = model.sample(40_000, generator=torch.Generator().manual_seed(1))
    off = (x - model.mean)[:, 0] * (x - model.mean)[:, 1]
    assert mean_is(off, float((model.weight @ model.weight.T)[0, 1]))


def test_optimum_is_a_maximum(data):
    """Catches a scale such as sqrt(lam) for sqrt(lam - variance): the gradient must vanish."""
    model = PPCA.fit(data, 2)
    weight = model.weight.clone().requires_grad_()
    log_v = model.variance.log().requires_grad_()
    covariance = weight @ weight.T + log_v.exp() * torch.eye(5).double()
    loss = torch.distributions.MultivariateNormal(model.mean, covariance).log_prob(data).mean()
    gradients = torch.autograd.grad(loss, (weight, log_v))
    assert max(float(g.abs().max()) for g in gradients) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(data, dtype):
    """Catches a constant made in torch's default type."""
    x = data.to(dtype)
    model = PPCA.fit(x, 2)
    assert model.weight.dtype == model.log_prob(x).dtype == model.sample(3).dtype == dtype
    assert model.chain().pull(x).log_evidence().dtype == dtype


def test_bad_input_is_named(data):
    """Catches a missing check."""
    with pytest.raises(ValueError, match="latent must be below"):
        PPCA.fit(data, 5)
    with pytest.raises(ValueError, match="latent must be at least 1"):
        PPCA.fit(data, 0)
    with pytest.raises(ValueError, match="finite"):
        PPCA.fit(data * float("nan"), 2)
    with pytest.raises(ValueError, match="more rows"):
        PPCA.fit(data[:4], 2)
    model = PPCA.fit(data, 2)
    with pytest.raises(ValueError, match="shape"):
        model.log_prob(data[:, :3])
    with pytest.raises(ValueError, match="orthogonal"):
        model.rotated(2 * ROTATION)
    with pytest.raises(ValueError, match="variance must be positive"):
        PPCA(model.mean, model.weight, -1.0)
    with pytest.raises(ValueError, match="weight"):
        PPCA(model.mean, model.weight.T, 1.0)

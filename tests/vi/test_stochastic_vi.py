"""Stochastic variational inference: two gradients of one bound."""

from itertools import repeat
from math import log, pi

import pytest
import torch

from gentoolkit.core import elbo, log_z
from gentoolkit.core.checks import dead_parameters, mean_is, mean_weight
from gentoolkit.targets import GaussianMixture
from gentoolkit.train import fit
from gentoolkit.vi import MeanFieldGaussian, gaussian_kl, score_function_loss

MEAN = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[1.0, 0.6, 0.0], [0.6, 0.8, -0.2], [0.0, -0.2, 1.5]], dtype=torch.float64
)
LOG_Z = 1.7


def target(z):
    p = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)
    return p.log_prob(z) + LOG_Z


def mean_field(goal=target):
    q = MeanFieldGaussian(3, goal).double()
    with torch.no_grad():
        q.mean.copy_(torch.tensor([0.3, 0.1, -0.4]))
        q.log_std.copy_(torch.tensor([-0.3, 0.2, -0.2]))
    return q


def covariance(q):
    return (2 * q.log_std).exp().diag()


def exact_loss(q):
    """Minus the bound in closed form: KL(q || p) - log Z."""
    return gaussian_kl(q.mean, covariance(q), MEAN, COVARIANCE) - LOG_Z


def gradient(loss, q):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(q.parameters()))])


def test_loss_is_minus_the_bound():
    """Catches a wrong sign, a missing entropy, log_std read as a variance."""
    q = mean_field()
    log_w = q.chain().push(20_000, torch.Generator().manual_seed(0)).log_weight(target)
    bound = -exact_loss(q).item()
    assert mean_is(log_w.detach(), bound)
    wrong = bound - torch.logdet(covariance(q)).item() / 2
    assert not mean_is(log_w.detach(), wrong), "the control: half a log-determinant would be seen"
    loss = q.loss(20_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(loss, -elbo(log_w))


def test_mean_weight_is_the_normaliser():
    """Catches a density of q that is not normalised or not that of its samples."""
    q = mean_field()
    with torch.no_grad():
        q.mean.copy_(MEAN)
    log_w = q.chain().push(200_000, torch.Generator().manual_seed(1)).log_weight(target)
    assert mean_weight(log_w.detach(), LOG_Z)
    assert not mean_weight(log_w.detach() + 0.1, LOG_Z)
    assert bool(elbo(log_w) < log_z(log_w))


def test_both_gradients_are_unbiased_and_score_varies_more():
    """Catches a gradient that leaks through the samples, a biased baseline, a lost factor."""
    q = mean_field()
    expected = gradient(exact_loss(q), q)
    pathwise, score = [], []
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        pathwise.append(gradient(q.loss(16, generator=generator), q))
        score.append(gradient(q.score_loss(16, generator=generator), q))
    pathwise, score = torch.stack(pathwise), torch.stack(score)
    for draws in (pathwise, score):
        for j in range(len(expected)):
            assert mean_is(draws[:, j], float(expected[j])), j
    assert float(score.var(0).sum()) > 2 * float(pathwise.var(0).sum())


def test_score_gradient_is_exact_for_a_discrete_law():
    """Catches a wrong baseline: oracle enumerates every pair of draws of a three-state law."""
    logits = torch.tensor([0.2, -0.5, 0.9], dtype=torch.float64, requires_grad=True)
    log_p = torch.tensor([1.0, 0.3, -2.0], dtype=torch.float64)
    log_q = logits.log_softmax(0)
    exact = -(log_q.exp() * (log_p - log_q)).sum()
    (expected,) = torch.autograd.grad(exact, logits, retain_graph=True)
    total, value = torch.zeros(3, dtype=torch.float64), 0.0
    for i in range(3):
        for j in range(3):
            pair = torch.tensor([i, j])
            q = logits.log_softmax(0)
            loss = score_function_loss(log_p[pair] - q[pair], q[pair])
            probability = (q[i] + q[j]).exp().item()
            total += probability * torch.autograd.grad(loss, logits)[0]
            value += probability * loss.item()
    assert torch.allclose(total, expected, atol=1e-14)
    assert value == pytest.approx(exact.item(), abs=1e-14)


def test_baseline_lowers_the_variance():
    """Catches a baseline that does nothing: a constant in the target must not add variance."""
    q, with_baseline, plain = mean_field(), [], []
    for seed in range(300):
        law = q.law()
        z = law.sample(16, torch.Generator().manual_seed(seed)).detach()
        log_q = law.log_prob(z)
        log_w = target(z) + 100.0 - log_q
        with_baseline.append(gradient(score_function_loss(log_w, log_q), q))
        plain.append(gradient(-(log_w.detach() * q.law().log_prob(z)).mean(), q))
    better, worse = torch.stack(with_baseline).var(0).sum(), torch.stack(plain).var(0).sum()
    assert float(better) < 0.1 * float(worse)


def test_score_loss_needs_no_gradient_of_the_target():
    """Catches a surrogate that differentiates the target: a step function has no gradient."""
    q, generator = mean_field(lambda z: 5 * (z[:, 0] > 0.5).double()), torch.Generator()
    generator.manual_seed(0)
    assert dead_parameters(lambda: q.score_loss(64, generator=generator), q) == []
    grads = torch.stack([gradient(q.score_loss(64, generator=generator), q) for _ in range(200)])
    assert float(grads[:, 0].mean()) < -0.5, "more of z_1 is better, so the loss falls in mean_1"


def test_training_finds_the_optimum():
    """Catches a bound whose maximum is elsewhere: the reverse fit."""
    q = mean_field()
    generator = torch.Generator().manual_seed(4)
    steps = fit(
        q, repeat(512, 600), 0.03, loss=lambda n: q.loss(n, generator=generator), progress=False
    )
    *_, last = steps
    assert last.step == 600
    precision = COVARIANCE.inverse()
    expected = precision.diagonal().reciprocal().diag()
    assert torch.allclose(q.mean, MEAN, atol=0.15)
    assert torch.allclose(covariance(q), expected, atol=0.15)


def test_every_parameter_gets_a_gradient():
    """Catches a parameter that the loss does not reach."""
    q = mean_field()
    z = torch.randn(8, 3, dtype=torch.float64)
    for loss in (lambda: q.loss(32), lambda: q.score_loss(32), lambda: q.loss(z)):
        assert dead_parameters(loss, q) == []


def test_draws_of_the_target_give_the_other_divergence():
    """Catches a loss of data that is no cross-entropy: KL(p || q) + entropy of p."""
    q = mean_field()
    p = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)
    torch.manual_seed(0)
    z = p.sample(torch.Size([20_000]))
    expected = gaussian_kl(MEAN, COVARIANCE, q.mean, covariance(q)) + p.entropy()
    assert mean_is(-q.elbo(z).detach(), float(expected.detach()))
    assert torch.allclose(q.loss(z), -q.elbo(z).mean())
    untargeted = mean_field(None)
    assert torch.allclose(untargeted.loss(z), q.loss(z))
    for loss in (untargeted.loss, untargeted.score_loss):
        with pytest.raises(ValueError, match="got none; pass target"):
            loss(16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype):
    """Catches noise drawn in torch's default type."""
    q = mean_field(lambda z: -z.square().sum(1)).to(dtype)
    path = q.chain().push(4)
    assert path.states[0].dtype == path.log_source.dtype == q.sample(3).dtype == dtype
    assert q.loss(4).dtype == dtype


def test_starts_as_the_standard_normal():
    """Catches a start of another width: log_std = 0 is one deviation."""
    q = MeanFieldGaussian(2).double()
    value = float(q.law().log_prob(torch.zeros(1, 2, dtype=torch.float64))[0].detach())
    assert value == pytest.approx(-log(2 * pi), abs=1e-12)


def test_bad_input_is_named():
    """Catches a missing check."""
    q = mean_field()
    with pytest.raises(ValueError, match="features must be at least 1"):
        MeanFieldGaussian(0)
    with pytest.raises(ValueError, match="n must be at least 1"):
        q.loss(0)
    with pytest.raises(ValueError, match="two samples"):
        q.score_loss(1)
    with pytest.raises(ValueError, match="shape"):
        mean_field(lambda z: z).loss(4)
    with pytest.raises(ValueError, match="NaN"):
        mean_field(lambda z: z[:, 0] * float("nan")).score_loss(4)
    with pytest.raises(ValueError, match="no context"):
        q.sample(4, context=torch.zeros(4, 1))
    with pytest.raises(ValueError, match="must have shape"):
        score_function_loss(torch.zeros(4), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="gradient"):
        score_function_loss(torch.zeros(4), torch.zeros(4))


def test_a_target_follows_and_is_not_trained():
    """Catches a target left on its device, and one with parameters that moves towards q."""
    q = mean_field(eight := GaussianMixture(torch.zeros(1, 3), torch.ones(1), torch.ones(1)))
    q.to("meta")
    assert eight.means.device.type == "meta"

    class Learned(torch.nn.Linear):
        def log_prob(self, z):
            return self(z)[:, 0] - z.square().sum(1)

    q = mean_field(Learned(3, 1).double())
    assert [name for name, _ in q.named_parameters()] == ["mean", "log_std"]
    q.loss(8).backward()

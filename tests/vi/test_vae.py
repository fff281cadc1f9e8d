"""The variational auto-encoder against quadrature over its one latent number."""

from itertools import product
from math import log, pi

import pytest
import torch
from torch import nn

from gentoolkit.core import Bernoulli, Chain, FunctionKernel, Gaussian, log_z, standard_normal
from gentoolkit.core.checks import dead_parameters, mean_is, mean_weight, same_ratio
from gentoolkit.data import batches, digits
from gentoolkit.train import fit
from gentoolkit.vi import PPCA, VAE, GaussianNoise
from gentoolkit.vi.conditional import Likelihood

BITS = torch.tensor(list(product([0.0, 1.0], repeat=4)), dtype=torch.float64)
Z = torch.linspace(-12.0, 12.0, 4001, dtype=torch.float64)
STEP = float(Z[1] - Z[0])


def linear(module):
    assert isinstance(module, nn.Linear)
    return module


def tiny(law: Likelihood = Bernoulli, log_std=-0.15):
    """A perturbed model; at the default width both E[w^2], pushed and pulled, are finite."""
    generator = torch.Generator().manual_seed(0)
    model = VAE(4, 1, hidden=(6,), law=law).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, dtype=torch.float64, generator=generator))
        last = linear(model.encoder.net[-1])
        last.weight *= 0.15
        last.bias.copy_(torch.tensor([0.1, log_std]))
        linear(model.decoder[-1]).weight.mul_(0.4)
    return model


def log_joint(model, x):
    """log p(x|z) + log N(z; 0, 1) on the grid, written out for pixels, (grid, B)."""
    signed = (2 * x - 1) * model.decoder(Z[:, None])[:, None]  # log-odds of what was seen
    fit_ = -(1 + (-signed).exp()).log().sum(-1)
    return fit_ + (-0.5 * Z.square() - 0.5 * log(2 * pi))[:, None]


def encoder_log_density(model, x, spread_is_variance=False):
    mean, log_std = model.encoder.net(x).unbind(1)
    std = (log_std / 2 if spread_is_variance else log_std).exp()
    return torch.distributions.Normal(mean, std).log_prob(Z[:, None]), std


@pytest.fixture(scope="module")
def exact():
    with torch.no_grad():
        model = tiny()
        joint = log_joint(model, BITS)
        log_q, _ = encoder_log_density(model, BITS)
        return {
            "log_p": joint.logsumexp(0) + log(STEP),
            "elbo": (log_q.exp() * (joint - log_q)).sum(0) * STEP,
        }


def test_the_oracle_is_normalised(exact):
    """Catches a grid that is too narrow: the 16 pictures have probability one."""
    assert float(exact["log_p"].exp().sum()) == pytest.approx(1.0, abs=1e-10)


@torch.no_grad()
def test_evidences_average_to_p_of_x(exact):
    """Catches a wrong sign, a lost term, rows of K and B mixed up."""
    evidences = tiny().log_evidences(BITS, 40_000, generator=torch.Generator().manual_seed(0))
    assert evidences.shape == (40_000, 16)
    for i in range(16):
        assert mean_is((evidences[:, i] - exact["log_p"][i]).exp(), 1.0), i
        assert mean_is(evidences[:, i], float(exact["elbo"][i])), i
    rolled = exact["elbo"].roll(1)
    wrong = [bool(mean_is(evidences[:, i], float(rolled[i]))) for i in range(16)]
    assert not any(wrong), "the control: another picture's bound must not fit"


@torch.no_grad()
def test_elbo_is_the_quadrature_value():
    """Catches log_std read as a log-variance, and a wrong KL."""
    model = tiny(log_std=-1.2)
    log_q, _ = encoder_log_density(model, BITS)
    exact = (log_q.exp() * (log_joint(model, BITS) - log_q)).sum(0) * STEP
    x = BITS.repeat(2000, 1)
    value = model.elbo(x, generator=torch.Generator().manual_seed(1)).reshape(2000, 16)
    for i in range(16):
        assert mean_is(value[:, i], float(exact[i])), i
    log_q, _ = encoder_log_density(model, BITS, spread_is_variance=True)
    wrong = (log_q.exp() * (log_joint(model, BITS) - log_q)).sum(0) * STEP
    fooled = [bool(mean_is(value[:, i], float(wrong[i]))) for i in range(16)]
    assert sum(fooled) <= 4, "the control: the other reading of the output must be seen"


@torch.no_grad()
def test_bounds_are_in_order(exact):
    """Catches a bound above the evidence: ELBO < IWAE_5 < IWAE_50 < log p, rising in K."""
    model, generator = tiny(log_std=-0.9), torch.Generator().manual_seed(2)
    log_q, _ = encoder_log_density(model, BITS)
    elbos = (log_q.exp() * (log_joint(model, BITS) - log_q)).sum(0) * STEP
    for i in (0, 5, 11):
        x = BITS[i : i + 1].expand(4000, 4)
        values = [model.iwae(x, k, generator=generator) for k in (1, 5, 50)]
        means = [float(v.mean()) for v in values]
        errors = [float(v.std()) / 4000**0.5 for v in values]
        assert mean_is(values[0], float(elbos[i]))
        for low, high in ((0, 1), (1, 2)):
            assert means[high] - means[low] > 4 * (errors[low] ** 2 + errors[high] ** 2) ** 0.5
        assert means[2] < float(exact["log_p"][i]) + 4 * errors[2]
        assert means[2] == pytest.approx(float(exact["log_p"][i]), abs=0.2)


@torch.no_grad()
def test_pushed_paths_weigh_one(exact):
    """Catches a chain whose two directions differ: E[w] = Z = 1 for the model's own marginal."""
    model = tiny()
    index = torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)
    path = model.chain().push(60_000, torch.Generator().manual_seed(3))
    log_w = path.log_weight(lambda x: exact["log_p"][(x @ index).long()])
    assert mean_weight(log_w, 0.0)
    assert not mean_weight(log_w + log(2), 0.0)
    (step,) = model.chain().steps
    assert same_ratio(step, path.states[0])


def test_loss_is_minus_the_bound_with_its_gradient(exact):
    """Catches a mean over pixels, a sum over the batch, and a detached branch: by quadrature."""
    model = tiny()
    joint, (log_q, _) = log_joint(model, BITS), encoder_log_density(model, BITS)
    bound = ((log_q.exp() * (joint - log_q)).sum(0) * STEP).mean()
    expected = torch.autograd.grad(-bound, list(model.parameters()))
    x = BITS.repeat(20_000, 1)
    loss = model.loss(x, generator=torch.Generator().manual_seed(5))
    assert loss.item() == pytest.approx(-float(exact["elbo"].mean()), abs=0.03)
    for g, e in zip(torch.autograd.grad(loss, list(model.parameters())), expected, strict=True):
        assert torch.allclose(g, e, atol=0.06, rtol=0.05)


def test_multi_sample_loss_is_the_importance_weighted_bound():
    """Catches a K that averages bounds instead of weights."""
    model = tiny()
    loss = model.loss(BITS, samples=8, generator=torch.Generator().manual_seed(6))
    evidences = model.log_evidences(BITS, 8, generator=torch.Generator().manual_seed(6))
    assert torch.allclose(loss, -log_z(evidences).mean())
    assert bool(loss < -evidences.mean())
    assert dead_parameters(lambda: model.loss(BITS, samples=8), model) == []


@pytest.mark.parametrize("law", [Bernoulli, GaussianNoise()])
def test_every_parameter_gets_a_gradient(law):
    """Catches a parameter that the loss does not reach, the noise level included."""
    model = tiny(law)
    assert dead_parameters(lambda: model.loss(BITS), model) == []
    noise = sum(name.startswith("law.") for name, _ in model.named_parameters())
    assert noise == int(isinstance(law, nn.Module))


@torch.no_grad()
def test_linear_nets_give_the_exact_likelihood():
    """Catches a wrong Gaussian decoder: without hidden layers the optimum is known, path by path.

    The encoder is set to the posterior, so every evidence must equal log p(x).
    """
    torch.manual_seed(7)
    x = torch.randn(200, 3).double() @ torch.randn(3, 4).double() + 0.4 * torch.randn(200, 4)
    exact, model = PPCA.fit(x.double(), 2), VAE(4, 2, hidden=(), law=GaussianNoise()).double()
    mean, precision = exact.posterior(x)
    encoder, decoder = linear(model.encoder.net[0]), linear(model.decoder[0])
    decoder.weight.copy_(exact.weight)
    decoder.bias.copy_(exact.mean)
    assert isinstance(model.law, GaussianNoise)
    model.law.log_std.fill_(0.5 * log(float(exact.variance)))
    gain = torch.linalg.solve(precision, exact.weight.T) / exact.variance
    encoder.weight.copy_(torch.cat([gain, torch.zeros(2, 4)]))
    spread = -0.5 * precision.diagonal().log()
    encoder.bias.copy_(torch.cat([-gain @ exact.mean, spread]))
    assert torch.allclose(model.encode(x).mean, mean, atol=1e-10)
    assert torch.allclose(model.log_evidences(x, 3), exact.log_prob(x).expand(3, -1), atol=1e-9)


@torch.no_grad()
def test_pictures_are_probabilities_and_samples_are_pixels():
    """Catches logits shown as a picture, and a mean shown as a sample."""
    model = tiny()
    z = torch.linspace(-2, 2, 5).double()[:, None]
    assert torch.allclose(model.decode(z), model.decoder(z).sigmoid())
    assert torch.allclose(model.reconstruct(BITS), model.decode(model.encode(BITS).mean))
    x = model.sample(300, generator=torch.Generator().manual_seed(8))
    assert x.shape == (300, 4) and set(x.unique().tolist()) == {0.0, 1.0}
    noisy = tiny(GaussianNoise())
    assert torch.allclose(noisy.decode(z), noisy.decoder(z))


def test_any_law_will_do():
    """Catches a family that knows its likelihoods by name."""
    model = VAE(4, 1, hidden=(6,), law=lambda mean: Gaussian(mean, 0.3)).double()
    x = torch.randn(5, 4).double()
    prior = standard_normal(1, dtype=torch.float64)
    kernel = FunctionKernel(lambda z: Gaussian(model.decoder(z), 0.3), model.encode)
    expected = Chain(prior, [kernel]).pull(x, torch.Generator().manual_seed(9)).log_evidence()
    got = model.log_evidences(x, 1, generator=torch.Generator().manual_seed(9))[0]
    assert torch.allclose(got, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype):
    """Catches a prior or noise in torch's default type."""
    model, x = tiny().to(dtype), BITS.to(dtype)
    for value in (
        model.loss(x),
        model.log_evidences(x, 2),
        model.sample(2),
        model.decode(x[:, :1]),
    ):
        assert value.dtype == dtype


def test_digits_are_learned():
    """Catches a step that does not train: the bound gains more than ten nats in 80 steps."""
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    data, model = digits(), VAE(64, 2, hidden=(64,))
    before = float(model.elbo(data.test).mean().detach())
    for _ in fit(model, batches(data.train, 128, 80), lr=3e-3, progress=False):
        pass
    assert float(model.elbo(data.test).mean().detach()) > before + 10


@pytest.mark.parametrize("call", ["loss", "elbo", "encode", "reconstruct"])
def test_bad_batches_are_named(call):
    """Catches a missing check of what a learner hands in first."""
    method = getattr(tiny(), call)
    with pytest.raises(ValueError, match=r"shape \(B, 4\)"):
        method(BITS[:, :3])
    with pytest.raises(ValueError, match=r"shape \(B, 4\)"):
        method(BITS[0])
    with pytest.raises(ValueError, match="empty"):
        method(BITS[:0])
    with pytest.raises(ValueError, match="finite"):
        method(BITS * float("nan"))
    with pytest.raises(TypeError, match="dtype"):
        method(BITS.float())


def test_bad_input_is_named():
    """Catches grey pixels scored as coins, and counts below one."""
    model = tiny()
    for call in (model.loss, model.elbo, lambda x: model.log_evidences(x, 2), model.chain().pull):
        with pytest.raises(ValueError, match="zeros and ones"):
            call(0.5 * BITS)
    with pytest.raises(ValueError, match="k must be at least 1"):
        model.log_evidences(BITS, 0)
    with pytest.raises(ValueError, match="k must be at least 1"):
        model.iwae(BITS, 0)
    with pytest.raises(ValueError, match="samples must be at least 1"):
        model.loss(BITS, samples=0)
    with pytest.raises(ValueError, match="n must be at least 1"):
        model.sample(0)
    with pytest.raises(ValueError, match="must have 1 numbers in each row"):
        model.decode(BITS)
    with pytest.raises(ValueError, match="latent must be at least 1"):
        VAE(4, 0)
    with pytest.raises(ValueError, match="std must be positive"):
        GaussianNoise(0.0)

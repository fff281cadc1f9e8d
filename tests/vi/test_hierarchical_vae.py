"""The hierarchical VAE against quadrature over its two latent numbers."""

from itertools import product
from math import log

import pytest
import torch

from gentoolkit.core import log_z
from gentoolkit.core.checks import dead_parameters, mean_is, mean_weight, same_ratio
from gentoolkit.vi import VAE, GaussianMLP, GaussianNoise, HierarchicalVAE

BITS = torch.tensor(list(product([0.0, 1.0], repeat=3)), dtype=torch.float64)


def tiny():
    generator = torch.Generator().manual_seed(1)
    model = HierarchicalVAE(3, (1, 1), hidden=(5,)).double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            # Encoders near N(0, 1) keep E[w^2] finite, pushed and pulled.
            scale = 0.1 if name.startswith("encoders") else 0.5
            p.copy_(scale * torch.randn(p.shape, dtype=torch.float64, generator=generator))
        # The deviation of z1 given z2 stays between those a grid can hold.
        last = model.decoders[1].get_submodule("net.2")
        assert isinstance(last, torch.nn.Linear)
        last.weight[1] *= 0.3
    return model


@pytest.fixture(scope="module")
def log_p():
    """log p(x) of the eight pictures, summed over a grid of both latents."""
    model = tiny()
    z2 = torch.linspace(-8, 8, 401, dtype=torch.float64)
    z1 = torch.linspace(-30, 30, 3001, dtype=torch.float64)
    with torch.no_grad():
        top = model.decoders[1]
        assert isinstance(top, GaussianMLP)
        mean, log_std = top.net(z2[:, None]).unbind(1)
        between = torch.distributions.Normal(mean, log_std.exp()).log_prob(z1[:, None])
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z2)
        log_z1 = (between + prior).logsumexp(1) + log(16 / 400)
        signed = (2 * BITS - 1) * model.decoders[0](z1[:, None])[:, None]
        pixels = -(1 + (-signed).exp()).log().sum(-1)
        return (pixels + log_z1[:, None]).logsumexp(0) + log(60 / 3000)


@torch.no_grad()
def test_evidences_average_to_p_of_x(log_p):
    """Catches a lost or doubled level, levels in the wrong order, a wrong end of a kernel."""
    assert float(log_p.exp().sum()) == pytest.approx(1.0, abs=1e-6)
    evidences = tiny().log_evidences(BITS, 60_000, generator=torch.Generator().manual_seed(0))
    for i in range(8):
        assert mean_is((evidences[:, i] - log_p[i]).exp(), 1.0), i
        assert float(evidences[:, i].mean()) < float(log_p[i])
        assert not mean_is((evidences[:, i] - log_p[i] + 0.2).exp(), 1.0), i


@torch.no_grad()
def test_pushed_paths_weigh_one(log_p):
    """Catches a push that is not the inverse order of pull."""
    path = tiny().chain().push(40_000, torch.Generator().manual_seed(1))
    index = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    assert mean_weight(path.log_weight(lambda x: log_p[(x @ index).long()]), 0.0)
    for step, x in zip(tiny().chain().steps, path.states[:-1], strict=True):
        assert same_ratio(step, x)


@torch.no_grad()
def test_bounds_are_in_order(log_p):
    """Catches weights averaged after the logarithm."""
    model, x = tiny(), BITS[3:4].expand(4000, 3)
    one, ten = (model.iwae(x, k, generator=torch.Generator().manual_seed(k)) for k in (1, 10))
    error = float((one.var() + ten.var()).sqrt()) / 4000**0.5
    assert float(ten.mean() - one.mean()) > 4 * error
    assert float(ten.mean()) < float(log_p[3]) + 4 * error


@torch.no_grad()
def test_one_level_is_the_vae():
    """Catches a first level that is treated apart: with T = 1 the two models are one."""
    torch.manual_seed(2)
    vae, model = VAE(3, 2, hidden=(5,)).double(), HierarchicalVAE(3, (2,), hidden=(5,)).double()
    model.decoders[0].load_state_dict(vae.decoder.state_dict())
    model.encoders[0].load_state_dict(vae.encoder.state_dict())
    for k in (1, 4):
        ours = model.log_evidences(BITS, k, generator=torch.Generator().manual_seed(3))
        theirs = vae.log_evidences(BITS, k, generator=torch.Generator().manual_seed(3))
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_states_run_from_the_top_latent_to_the_data():
    """Catches a hierarchy that is upside down: widths tell the levels apart."""
    model = HierarchicalVAE(5, (4, 3, 2), hidden=(6,)).double()
    x = torch.randint(2, (7, 5)).double()
    path = model.chain().pull(x)
    assert [s.shape[1] for s in path.states] == [2, 3, 4, 5]
    assert path.log_ratio.shape == (3, 7)
    assert [s.shape[1] for s in model.chain().push(2).states] == [2, 3, 4, 5]
    assert model.sample(4).shape == (4, 5)
    assert [z.shape[1] for z in model.encode(x)] == [4, 3, 2]


def test_loss_is_minus_the_mean_evidence():
    """Catches a sum over the batch and a wrong sign."""
    model = tiny()
    loss = model.loss(BITS, generator=torch.Generator().manual_seed(4))
    path = model.chain().pull(BITS, torch.Generator().manual_seed(4))
    assert torch.allclose(loss, -path.log_evidence().mean())
    loss = model.loss(BITS, samples=6, generator=torch.Generator().manual_seed(4))
    evidences = model.log_evidences(BITS, 6, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(loss, -log_z(evidences).mean())


def test_every_parameter_gets_a_gradient():
    """Catches a level that the loss does not reach."""
    model = HierarchicalVAE(3, (3, 2, 1), hidden=(5,), law=GaussianNoise()).double()
    assert dead_parameters(lambda: model.loss(BITS), model) == []
    assert dead_parameters(lambda: model.loss(BITS, samples=3), model) == []


@torch.no_grad()
def test_pictures_are_probabilities():
    """Catches logits shown as a picture."""
    model = tiny()
    assert torch.allclose(model.decode(BITS[:, :1]), model.decoders[0](BITS[:, :1]).sigmoid())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype):
    """Catches a prior or noise in torch's default type."""
    model, x = tiny().to(dtype), BITS.to(dtype)
    for value in (model.loss(x), model.log_evidences(x, 2), model.sample(2)):
        assert value.dtype == dtype


def test_bad_input_is_named():
    """Catches a missing check."""
    model = tiny()
    with pytest.raises(ValueError, match="zeros and ones"):
        model.loss(0.5 * BITS)
    with pytest.raises(ValueError, match=r"shape \(B, 3\)"):
        model.loss(BITS[:, :2])
    with pytest.raises(ValueError, match="finite"):
        model.log_evidences(BITS * float("nan"), 2)
    with pytest.raises(ValueError, match="k must be at least 1"):
        model.log_evidences(BITS, 0)
    with pytest.raises(ValueError, match="samples must be at least 1"):
        model.loss(BITS, samples=0)
    with pytest.raises(ValueError, match="latents"):
        HierarchicalVAE(3, ())
    with pytest.raises(ValueError, match="latents"):
        HierarchicalVAE(3, (2, 0))

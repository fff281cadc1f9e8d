"""The plumbing of every layer: generators, contexts, sources, empty batches, precision."""

import pytest
import torch

from gentoolkit import Gaussian, standard_normal
from gentoolkit.flows import (
    ActNorm,
    AffineCoupling,
    ContinuousFlow,
    Flow,
    Hutchinson,
    Inverted,
    LipschitzMLP,
    Planar,
    Residual,
    Roulette,
    Split,
    Velocity,
    real_nvp,
    self_normalizing_flow,
)
from gentoolkit.numerics import FixedStep
from gentoolkit.train import fit
from tests.flows.truth import perturbed


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def estimated(context=0):
    """Layers whose log-determinant is drawn, bare and within every kind of wrapper."""
    torch.manual_seed(4)
    hutchinson = ContinuousFlow(Velocity(2, (8,), context), Hutchinson(), solver=FixedStep(steps=4))
    roulette = Residual(LipschitzMLP(2, (8,), context), Roulette())
    layers = [hutchinson, roulette, Inverted(roulette), reversed(hutchinson)]
    return [perturbed(layer, 0.3) for layer in layers] + [Split([roulette], 3, 2)]


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("which", range(5))
def test_estimates_are_drawn_by_the_generator_alone(which, context):
    """Catches a wrapper that drops the generator: one seed would give two evidences."""
    layer = estimated(context)[which]
    given = torch.randn(5, context) if context else None
    flow = Flow([layer, Planar(3 if which == 4 else 2)], 3 if which == 4 else 2)
    x = torch.randn(5, *flow.event_shape)
    before = torch.get_rng_state()
    one, two, other = (flow.elbo(x, context=given, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    pushed = [flow.chain(given).push(5, seeded(3)).log_ratio for _ in range(2)]
    assert torch.equal(*pushed)
    assert torch.equal(before, torch.get_rng_state())


def test_a_context_goes_to_those_who_ask_and_is_refused_by_all_others():
    """Catches a condition that a layer without one swallows."""
    x, context = torch.randn(5, 2), torch.randn(5, 3)
    with pytest.raises(ValueError, match="takes no context; got one of shape"):
        Planar(2).push(x, context=context)
    with pytest.raises(ValueError, match="takes no context; got one of shape"):
        Flow([Planar(2)], 2).log_prob(x, context=context)
    mixed = Flow([Planar(2), perturbed(AffineCoupling(2, context=3))], 2)
    assert mixed.log_prob(x, context=context).shape == (5,)
    with pytest.raises(ValueError, match="needs a context"):
        mixed.log_prob(x)


def test_a_conditional_flow_trains_under_fit():
    """Catches a loss that takes no context: y = c + noise, whose density is known."""
    torch.manual_seed(0)
    context = torch.randn(4000, 1)
    x = context + 0.3 * torch.randn(4000, 2)
    flow = real_nvp(2, 4, (32,), context=1)
    rows = [torch.randint(4000, (256,)) for _ in range(300)]
    for _ in fit(flow, [(x[i], context[i]) for i in rows], lr=5e-3, progress=False):
        pass
    exact = Gaussian(context.expand(-1, 2), 0.3).log_prob(x).mean()
    learned = flow.log_prob(x, context=context).mean()
    blind = flow.log_prob(x, context=context.flip(0)).mean()
    assert exact - 0.1 < learned < exact + 0.05
    assert blind < exact - 1.0, "the control: another row's context"


@pytest.mark.parametrize("source", [None, standard_normal(2), Gaussian(torch.ones(1, 2), 0.5)])
def test_the_source_follows_its_flow(source):
    """Catches a source that keeps the precision it was built with, or is not stored."""
    flow = Flow([perturbed(AffineCoupling(2))], 2, source).float()
    assert flow.sample(3).dtype == torch.float32
    assert flow.double().sample(3).dtype == torch.float64
    assert "source.mean" in flow.state_dict()
    assert all(t.is_meta for t in flow.to("meta").state_dict().values())


def test_layers_bear_an_empty_batch():
    """Catches a look at the first row of none."""
    empty = torch.empty(0, 2)
    for layer in (ActNorm(2), Residual(LipschitzMLP(2, (8,))), Planar(2)):
        for move in (layer.transform, layer.inverse):
            state, log_det = move(empty)
            assert state.shape == (0, 2) and log_det.shape == (0,)


def test_self_normalizing_flows_train_in_mixed_precision():
    """Catches a gradient that meets bfloat16 on one side and float32 on the other."""
    torch.set_default_dtype(torch.float32)
    flow, x = self_normalizing_flow(4, 2), torch.randn(64, 4)
    plain = torch.autograd.grad(flow.loss(x), list(flow.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        loss = flow.loss(x)
    mixed = torch.autograd.grad(loss, list(flow.parameters()))
    for a, b in zip(plain, mixed, strict=True):
        torch.testing.assert_close(a, b)


def test_sampling_keeps_no_gradient_and_the_chain_does():
    """Catches a graph behind every sample, and a chain that lost it."""
    flow = perturbed(real_nvp(2, 2, (8,)))
    assert not flow.sample(3).requires_grad
    assert flow.chain().push(3).states[-1].requires_grad

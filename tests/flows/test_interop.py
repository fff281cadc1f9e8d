"""Flows as torch distributions, and another library's flows as sources of our chains."""

import pytest
import torch

from gentoolkit.core import Chain
from gentoolkit.core.checks import mean_is
from gentoolkit.flows import (
    AffineCoupling,
    FlowDistribution,
    LULinear,
    Planar,
    real_nvp,
    spline_flow,
)
from tests.flows.truth import perturbed


def flow_of(context=0, build=real_nvp):
    torch.manual_seed(0)
    return perturbed(build(3, couplings=2, hidden=(8,), context=context), 0.3)


def test_a_flow_is_a_distribution():
    """Catches shapes and densities that differ between the two forms."""
    flow = flow_of()
    q = FlowDistribution(flow)
    assert isinstance(q, torch.distributions.Distribution)
    assert (q.batch_shape, q.event_shape, q.has_rsample) == ((), (3,), True)
    x = torch.randn(4, 5, 3)
    torch.testing.assert_close(q.log_prob(x).flatten(), flow.log_prob(x.reshape(-1, 3)))
    assert q.log_prob(x).shape == (4, 5) and q.log_prob(x[0, 0]).shape == ()
    assert q.sample().shape == (3,) and q.rsample((4, 5)).shape == (4, 5, 3)
    assert not q.sample((2,)).requires_grad


def test_contexts_are_bound():
    """Catches contexts repeated in the wrong order over samples."""
    flow, c = flow_of(context=2), torch.randn(6, 2)
    q = FlowDistribution(flow, c)
    assert q.batch_shape == (6,)
    x = torch.randn(4, 6, 3)
    for i in range(4):
        torch.testing.assert_close(q.log_prob(x)[i], flow.log_prob(x[i], context=c))
    torch.testing.assert_close(q.log_prob(x[0, 0]), flow.log_prob(x[0, :1].expand(6, 3), context=c))
    torch.manual_seed(5)
    draws = q.rsample((4,))
    torch.manual_seed(5)
    again = flow.sample(24, context=c.repeat(4, 1)).reshape(4, 6, 3)
    assert torch.equal(draws, again)
    grid = FlowDistribution(flow, c.reshape(2, 3, 2))
    assert grid.batch_shape == (2, 3) and grid.sample((5,)).shape == (5, 2, 3, 3)
    torch.testing.assert_close(grid.log_prob(x[0].reshape(2, 3, 3)).flatten(), q.log_prob(x[0]))
    one = FlowDistribution(flow, c[0])
    torch.testing.assert_close(one.log_prob(x[:, 0]), q.log_prob(x)[:, 0])


def test_expand_and_independent():
    """Catches what torch's own wrappers need: expand, and reinterpreted batch dimensions."""
    x = torch.randn(4, 3)
    for q in (FlowDistribution(flow_of()), FlowDistribution(flow_of(2), torch.randn(2))):
        wide = q.expand(torch.Size([4]))
        assert wide.batch_shape == (4,) and wide.sample((2,)).shape == (2, 4, 3)
        torch.testing.assert_close(wide.log_prob(x), q.log_prob(x))
        joint = torch.distributions.Independent(wide, 1)
        torch.testing.assert_close(joint.log_prob(x), q.log_prob(x).sum())


@pytest.mark.parametrize("build", [real_nvp, spline_flow])
def test_gradients_flow_through_samples(build):
    """Catches a detached sampler: d/dtheta E[x] by the samples, against finite differences."""
    flow = flow_of(build=build)
    q = FlowDistribution(flow)
    parameter = next(p for n, p in flow.named_parameters() if n.endswith("net.2.bias"))

    def mean() -> torch.Tensor:
        torch.manual_seed(1)
        return q.rsample((50,)).square().mean()

    (gradient,) = torch.autograd.grad(mean(), parameter)
    with torch.no_grad():
        h = 1e-5
        parameter[0] += h
        up = mean()
        parameter[0] -= 2 * h
        down = mean()
        parameter[0] += h
    assert float(gradient[0].abs()) > 1e-6
    assert float(gradient[0]) == pytest.approx(float((up - down) / (2 * h)), rel=1e-4)


def test_reverse_kl_through_torch():
    """Catches a log_prob and an rsample of different laws: E[p/q] = 1 under q."""
    with torch.no_grad():
        q = FlowDistribution(flow_of())
        p = torch.distributions.MultivariateNormal(torch.zeros(3), 0.5 * torch.eye(3))
        x = q.sample((20_000,))
        result = mean_is((p.log_prob(x) - q.log_prob(x)).exp(), 1.0)
    assert result, result


def test_bad_input_is_refused():
    """Catches layers in place of a flow, wrong widths, NaN, an empty context."""
    with pytest.raises(TypeError, match="got AffineCoupling"):
        FlowDistribution(AffineCoupling(2))  # pyright: ignore[reportArgumentType]
    q = FlowDistribution(flow_of(), validate_args=False)
    for bad in (torch.randn(4, 2), torch.tensor(1.0), torch.full((2, 3), torch.nan)):
        with pytest.raises(ValueError, match="got"):
            q.log_prob(bad)
        with pytest.raises(ValueError):
            FlowDistribution(flow_of()).log_prob(bad)
    for context in (torch.zeros(0, 2), torch.tensor([[torch.nan, 0.0]])):
        with pytest.raises(ValueError, match="context"):
            FlowDistribution(flow_of(2), context)


def zuko_flow():
    """A peer's trained-size flow; CI installs it, so that nothing is skipped there."""
    zuko = pytest.importorskip("zuko", reason="zuko is not installed: pip install zuko")
    torch.manual_seed(0)
    flow = zuko.flows.NSF(2, transforms=2, hidden_features=(8,))
    with torch.no_grad():
        for p in flow.parameters():
            p += 0.3 * torch.randn_like(p)
    return flow


def test_a_zuko_flow_stands_as_a_source():
    """Catches a chain that only takes our own densities, or loses their log-density."""
    peer = zuko_flow()()
    layer = perturbed(LULinear(2))
    chain = Chain(peer, [layer, perturbed(Planar(2))])
    pushed = chain.push(200, torch.Generator().manual_seed(3))
    again = chain.push(200, torch.Generator().manual_seed(3))
    assert torch.equal(pushed.states[-1], again.states[-1])
    torch.testing.assert_close(pushed.log_source, peer.log_prob(pushed.states[0]))
    pulled = chain.pull(pushed.states[-1])
    torch.testing.assert_close(pulled.log_evidence(), pushed.log_evidence(), rtol=0, atol=1e-8)
    x = torch.randn(50, 2)
    one = Chain(peer, [layer])
    dense = layer.weight()
    assert layer.bias is not None
    by_hand = peer.log_prob((x - layer.bias) @ torch.linalg.inv(dense).T)
    by_hand = by_hand - torch.linalg.slogdet(dense).logabsdet
    torch.testing.assert_close(one.log_prob(x), by_hand, rtol=0, atol=1e-9)


def test_gradients_reach_a_zuko_source():
    """Catches a source that is cut from the graph: both ways train the peer's parameters."""
    flow = zuko_flow()
    coupling = perturbed(AffineCoupling(2, hidden=(8,)))
    losses = [
        -Chain(flow(), [coupling]).log_prob(torch.randn(20, 2)).mean(),
        Chain(flow(), [coupling]).push(20).states[-1].square().mean(),
    ]
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(flow.parameters()), allow_unused=True)
        assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0

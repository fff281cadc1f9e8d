"""Autoregressive layers and the flows made of them."""

import pytest
import torch
from torch.distributions import Normal

from gentoolkit.core import checks
from gentoolkit.flows import (
    AffineAutoregressive,
    Flow,
    InverseAutoregressive,
    SplineAutoregressive,
    iaf,
    maf,
)


def trained(module, scale=0.5):
    """Give the last layers a trained size: their weights are moved by `scale`."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("packed"):
                net = module.get_submodule(name.rpartition(".")[0])
                size = sum(t.numel() for t in net.weights()[-1])
                parameter[-size:] += scale * torch.randn(size)
    return module


LAYERS = {
    "affine": lambda d, c: AffineAutoregressive(d, (16, 16), c),
    "affine, another order": lambda d, c: AffineAutoregressive(
        d, (16, 16), c, torch.randperm(d).tolist()
    ),
    "spline": lambda d, c: SplineAutoregressive(d, 8, 3.0, (16, 16), c),
    "inverse affine": lambda d, c: InverseAutoregressive(AffineAutoregressive(d, (16, 16), c)),
    "inverse spline": lambda d, c: InverseAutoregressive(
        SplineAutoregressive(d, 8, 3.0, (16, 16), c)
    ),
}


def step(name, features, context, scale=0.5):
    layer = trained(LAYERS[name](features, context), scale)
    return layer, layer.given(torch.randn(6, context) if context else None)


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_bijections_with_the_right_jacobian(name, features, context):
    """Catches a sign of the log-scale, a transposed mask, a sampler in another order."""
    layer, bound = step(name, features, context)
    x = 2.0 * torch.randn(6, features)
    for result in (checks.round_trip(bound, x), checks.log_det(bound, x)):
        assert result, result
    result = checks.same_ratio(bound, x)
    assert result, result
    for loss in (lambda: bound.inverse(x)[1].sum(), lambda: bound.transform(x)[1].sum()):
        assert checks.dead_parameters(loss, layer) == []


def test_the_jacobian_test_sees_a_wrong_sign_and_a_missing_mask():
    """The control: both errors must fail the checks above."""
    x = torch.randn(6, 2)
    layer = trained(AffineAutoregressive(2, (16,)))
    right = layer.draw
    layer.draw = lambda x, parameters: (right(x, parameters)[0], -right(x, parameters)[1])
    assert not checks.log_det(layer, x)
    layer = trained(AffineAutoregressive(2, (16,)))
    layer.net.mask.fill_(1.0)
    assert not checks.round_trip(layer, x)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_bear_large_inputs_and_float32(name):
    """Catches a scale that overflows, splines that lose their identity tails."""
    _, bound = step(name, 3, 0)
    x = torch.tensor([[1e3, -1e3, 1e3], [3.0, -3.0, 0.0], [-1e3, 0.1, 5.0]])
    y, log_det = bound.transform(x)
    assert torch.isfinite(y).all() and torch.isfinite(log_det).all()
    back = bound.inverse(y)[0]
    assert float(((back - x).abs() / (1 + x.abs())).max()) < 1e-7
    layer, _ = step(name, 3, 0, scale=0.1)
    x = torch.randn(50, 3)
    y, log_det = layer.transform(x)
    y32, log_det32 = layer.float().transform(x.float())
    assert y32.dtype == log_det32.dtype == torch.float32
    torch.testing.assert_close(y32.double(), y, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(log_det32.double(), log_det, rtol=1e-3, atol=1e-3)


def test_the_density_is_a_product_of_conditionals():
    """Catches a density that is no product of normals: oracle is torch, one feature at a time."""
    layer = trained(AffineAutoregressive(3, (16,), order=(2, 0, 1)))
    x = torch.randn(20, 3)
    shift, raw = layer.net(x).unbind(-1)
    scale = (3.0 * torch.tanh(raw / 3.0)).exp()
    expected = sum(Normal(shift[:, i], scale[:, i]).log_prob(x[:, i]) for i in (2, 0, 1))
    torch.testing.assert_close(Flow([layer], 3).log_prob(x), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("build", [maf, iaf])
def test_flows_integrate_to_one_and_fit_their_samples(build):
    """Catches a dropped or doubled term: the integral is over a grid, the fit over samples."""
    flow = trained(build(2, layers=3, hidden=(16, 16)), 0.2)
    axis = torch.linspace(-14, 14, 601)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        total = float(flow.log_prob(grid).exp().sum()) * float(axis[1] - axis[0]) ** 2
        assert total == pytest.approx(1.0, abs=5e-4)
        result = checks.fits(flow)
    assert result, result


@pytest.mark.parametrize("build", [maf, iaf])
def test_conditional_flows_fit_each_context(build):
    """Catches a context that scoring sees and sampling does not."""
    flow = trained(build(2, layers=2, hidden=(16,), context=1), 0.3)

    class At:
        def __init__(self, c):
            self.c = c

        def sample(self, n, generator=None):
            return flow.sample(n, context=torch.full((n, 1), self.c), generator=generator)

        def log_prob(self, x):
            return flow.log_prob(x, context=torch.full((len(x), 1), self.c))

    with torch.no_grad():
        for c in (-1.0, 2.0):
            result = checks.fits(At(c), 5_000)
            assert result, result
        x = torch.randn(10, 2)
        assert (At(-1.0).log_prob(x) - At(2.0).log_prob(x)).abs().max() > 0.1


def test_iaf_is_maf_turned_round():
    """Catches an inverse flow whose map or sign is not that of the layer inside."""
    layer = trained(AffineAutoregressive(4, (16,)))
    y = torch.randn(7, 4)
    x, log_det = layer.inverse(y)
    turned, minus = InverseAutoregressive(layer).transform(y)
    torch.testing.assert_close(turned, x, rtol=0, atol=0)
    torch.testing.assert_close(minus, -log_det, rtol=0, atol=0)


def test_who_pays_for_which_direction():
    """Catches D passes where one is enough: a pass is a call of the network."""
    x, calls = torch.randn(7, 6), []
    for flow, scoring, sampling in ((maf(6, 3), 3, 0), (iaf(6, 3), 0, 3)):
        for layer in flow.layers:
            net = getattr(layer, "layer", layer).net
            net.register_forward_hook(lambda *_: calls.append(1))
        calls.clear()
        flow.log_prob(x)
        assert len(calls) == scoring
        calls.clear()
        flow.sample(7)
        assert len(calls) == sampling


def test_orders_alternate():
    """Catches a stack in which the first feature is never changed by the others."""
    flow = trained(maf(3, layers=2))
    y = torch.randn(4, 3)
    jacobian = torch.autograd.functional.jacobian(
        lambda y: flow.chain().pull(y).states[0].sum(0), y
    ).sum(1)
    assert (jacobian.abs() > 0).all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: maf(0), ValueError, "features must be at least 1"),
        (lambda: maf(2, layers=0), ValueError, "layers must be at least 1"),
        (lambda: AffineAutoregressive(2, bound=0.0), ValueError, "bound must be positive"),
        (lambda: SplineAutoregressive(2, bins=1), ValueError, "bins"),
        (lambda: SplineAutoregressive(2, bound=-1.0), ValueError, "bound must be positive"),
        (lambda: AffineAutoregressive(2).inverse(torch.zeros(3, 4)), ValueError, r"\(B, 2\)"),
        (lambda: AffineAutoregressive(2).transform(torch.zeros(3, 4)), ValueError, r"\(B, 2\)"),
        (
            lambda: maf(2, context=2).log_prob(torch.zeros(3, 2), context=torch.zeros(3, 1)),
            ValueError,
            r"shape \(3, 2\)",
        ),
        (lambda: maf(2).log_prob(torch.full((3, 2), torch.nan)), ValueError, "finite"),
        (lambda: InverseAutoregressive(torch.nn.Linear(2, 2)), TypeError, "MaskedAutoregressive"),
    ],
)
def test_bad_input_is_refused(call, error, words):
    """Catches sizes and contexts that would broadcast, and NaN that would become a density."""
    with pytest.raises(error, match=words):
        call()

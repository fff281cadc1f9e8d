"""Residual layers: exact, cut and estimated log-determinants, and inverses by fixed points."""

import pytest
import torch

from gentoolkit.core import Chain, checks, standard_normal
from gentoolkit.flows import (
    ExactLogDet,
    Inverted,
    LipschitzMLP,
    PowerSeries,
    Residual,
    Roulette,
    residual_flow,
)
from gentoolkit.numerics import Stop, gaussian, jacobian, rademacher, truncation_bound


def trained(module, scale=0.5):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += scale * torch.randn_like(parameter)
    return module


def net(features, context=0, lipschitz=0.9):
    return trained(LipschitzMLP(features, (16, 16), context, lipschitz))


@pytest.mark.parametrize("lipschitz", [0.5, 0.9, 0.99])
def test_the_lipschitz_constant_is_kept_at_any_size_of_the_weights(lipschitz):
    """Catches a norm from too few power iterations, and one left over from before a change."""
    g = LipschitzMLP(5, (16, 16), lipschitz=lipschitz)
    x = 3.0 * torch.randn(200, 5)
    for size in (0.1, 1.0, 10.0):
        for mode in (True, False):
            trained(g, size).train(mode)
            norms = torch.linalg.matrix_norm(jacobian(g.at(x, None), x)[1].detach(), 2)
            assert float(norms.max()) < lipschitz
    straight = trained(LipschitzMLP(5, (), lipschitz=lipschitz), 10.0)
    norm = torch.linalg.matrix_norm(jacobian(straight.at(x, None), x)[1], 2).max()
    assert 0.99 * lipschitz < float(norm) <= lipschitz * (1 + 1e-12)  # it is used up, not only kept


def test_small_weights_are_left_alone():
    """Catches weights that are scaled up to the bound: then g could never be small."""
    g = LipschitzMLP(3, (8,))
    with torch.no_grad():
        for part in g.linears:
            part.weight *= 0.1
    x = torch.randn(6, 3)
    first, last = g.linears
    assert g.log_sharpness is not None
    sharpness = g.log_sharpness.exp()
    expected = last(torch.nn.functional.silu(sharpness * first(x)) / (1.1 * sharpness))
    torch.testing.assert_close(g.at(x, None)(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("turn", [lambda layer: layer, Inverted])
def test_layers_are_bijections_with_the_right_jacobian(turn, features, context):
    """Catches a fixed point that stops early, and implicit gradients without the inverse."""
    layer = turn(Residual(net(features, context)))
    bound = layer.given(torch.randn(6, context) if context else None)
    x = 2.0 * torch.randn(6, features)
    for result in (
        checks.round_trip(bound, x),
        checks.log_det(bound, x),
        checks.same_ratio(bound, x),
    ):
        assert result, result
    for loss in (
        lambda: sum(t.square().sum() for t in bound.inverse(x)),
        lambda: sum(t.square().sum() for t in bound.transform(x)),
    ):
        assert checks.dead_parameters(loss, layer) == []


def test_the_gradient_through_the_inverse_is_the_one_of_finite_differences():
    """Catches an inverse whose gradient misses (I + J')^-1: in y, in a weight and in a context."""
    layer, y, c = Residual(net(2, 1)), torch.randn(3, 2), torch.randn(3, 1)
    weight = layer.net.linears[0].weight

    def loss(y, c):
        x, log_det = layer.inverse(y, c)
        return (x.sin().sum(1) + log_det).sum()

    y.requires_grad_()
    c.requires_grad_()
    gradients = torch.autograd.grad(loss(y, c), (y, c, weight))
    for tensor, gradient in zip((y, c, weight), gradients, strict=True):
        with torch.no_grad():
            tensor[1, 0] += 1e-6
            above = loss(y, c)
            tensor[1, 0] -= 2e-6
            below = loss(y, c)
            tensor[1, 0] += 1e-6
        assert float(gradient[1, 0]) == pytest.approx(float(above - below) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("features", [2, 5])
def test_cut_series_fall_below_their_bound(features):
    """Catches a wrong sign or a missing 1/k, at the size of trained weights."""
    g, x = trained(LipschitzMLP(features, ()), 5.0), torch.randn(50, features)
    exact = Residual(g).transform(x)[1]
    errors = []
    for terms in (1, 5, 10, 20):
        way = PowerSeries(terms)
        error = (Residual(g, way).transform(x)[1] - exact).abs().max()
        assert way.bound(features, 0.9) == truncation_bound(features, 0.9, terms)
        assert float(error) < way.bound(features, 0.9)
        errors.append(float(error))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("noise", [rademacher, gaussian])
@pytest.mark.parametrize("direction", ["push", "pull"])
def test_the_roulette_has_no_bias(direction, noise):
    """Catches a weight off by one, and a trace of another point; the control is one term."""
    g, x = trained(LipschitzMLP(2, (8,)), 2.0), torch.randn(1, 2)
    exact = float(getattr(Residual(g), direction)(x)[1].detach())
    generator = torch.Generator().manual_seed(1)
    rows = x.expand(64, 2)

    def draws(way, n):
        layer = Residual(g, way)
        with torch.no_grad():
            means = [getattr(layer, direction)(rows, generator)[1].mean() for _ in range(n)]
        return torch.stack(means)

    result = checks.mean_is(draws(Roulette(noise=noise), 400), exact)
    assert result, result
    assert not checks.mean_is(draws(PowerSeries(1, noise), 400), exact)


def test_a_chain_refuses_estimates_and_takes_the_exact_layer():
    """Catches a random or cut number that is called log_prob."""
    g, x = net(2), torch.randn(5, 2)
    for way in (PowerSeries(5), PowerSeries(5, rademacher), Roulette()):
        layer = Residual(g, way)
        for step in (layer, Inverted(layer)):
            chain = Chain(standard_normal(2), [step])
            with pytest.raises(ValueError, match="exact log-determinants"):
                chain.log_prob(x)
            assert chain.pull(x).log_evidence().shape == (5,)
        exact = Chain(standard_normal(2), [layer.exact()]).log_prob(x)
        torch.testing.assert_close(exact, Chain(standard_normal(2), [Residual(g)]).log_prob(x))


def test_an_estimate_follows_its_generator():
    """Catches a draw past the generator that a chain hands in."""
    layer, x = Residual(net(3), Roulette()), torch.randn(5, 3)
    for verb in (layer.push, layer.pull):
        one, two, other = (verb(x, torch.Generator().manual_seed(s))[1] for s in (4, 4, 5))
        assert torch.equal(one, two) and not torch.equal(one, other)


@pytest.mark.parametrize("way", [ExactLogDet(), PowerSeries(8, rademacher), Roulette()])
def test_every_way_trains(way):
    """Catches an estimate whose gradient is cut: each parameter must be reached."""
    flow = trained(residual_flow(2, 2, (8,), log_det=way), 0.2)
    x = torch.randn(20, 2)
    loss = lambda: -flow.chain().pull(x).log_evidence().mean()  # noqa: E731
    assert checks.dead_parameters(loss, flow) == []


def test_the_flow_integrates_to_one_and_fits_its_samples():
    """Catches a dropped or doubled term."""
    flow = trained(residual_flow(2, 2, (16,)), 0.3)
    axis = torch.linspace(-12, 12, 201)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(axis, axis)).exp()
        assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=5e-4)
        result = checks.fits(flow, 5_000)
    assert result, result


def test_large_inputs_and_float32():
    """Catches a tolerance that rounding cannot reach."""
    layer = Residual(net(3))
    x = torch.tensor([[1e3, -1e3, 1e3], [0.0, 1e-8, -5.0]])
    result = checks.round_trip(layer, x, 1e-9)
    assert result, result
    y, log_det = layer.transform(x)
    single = layer.float()
    y32, log_det32 = single.transform(x.float())
    torch.testing.assert_close(y32.double(), y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(log_det32.double(), log_det, rtol=1e-4, atol=1e-4)
    back, _ = single.inverse(y32)
    torch.testing.assert_close(back, x.float(), rtol=1e-4, atol=1e-4)


def test_an_inverse_that_does_not_converge_says_so():
    """Catches a silent number: the error names the residual and the tolerance."""
    layer = Residual(net(2), tolerance=1e-12, iterations=2)
    with pytest.raises(ValueError, match=r"2 iterations: residual \d.*tolerance 1e-12"):
        layer.inverse(torch.randn(3, 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: LipschitzMLP(2, lipschitz=1.0), "between 0 and 1; got 1.0"),
        (lambda: LipschitzMLP(0), "at least 1"),
        (lambda: LipschitzMLP(2, context=-1), "context must be at least 1"),
        (lambda: residual_flow(2, layers=0), "layers must be at least 1"),
        (lambda: PowerSeries(0), "terms must be at least 1"),
        (lambda: Residual(net(2), tolerance=0.0), "tolerance must be positive"),
        (lambda: Residual(net(2), Roulette(Stop(keep=0.8))), "keep must be above.*0.81"),
        (lambda: Residual(net(2)).transform(torch.zeros(3, 4)), r"\(B, 2\)"),
        (lambda: Residual(net(2, 1)).inverse(torch.zeros(3, 2)), "needs a context"),
        (lambda: Residual(net(2)).inverse(torch.zeros(3, 2), torch.zeros(3, 1)), "context"),
        (lambda: residual_flow(2).log_prob(torch.full((2, 2), torch.nan)), "finite"),
    ],
)
def test_bad_input_is_refused(call, words):
    """Catches a map that need not be invertible, and shapes that would broadcast."""
    with pytest.raises(ValueError, match=words):
        call()

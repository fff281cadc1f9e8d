"""Jacobians and traces, exact and estimated, against matrices that are known."""

import pytest
import torch

from gentoolkit.core.checks import mean_is
from gentoolkit.nets import MLP
from gentoolkit.numerics import (
    Linearised,
    divergence,
    gaussian,
    hutchinson,
    jacobian,
    rademacher,
    value_and_gradient,
)

A = torch.tensor([[0.3, -1.2, 0.4], [0.5, -0.7, 0.9], [-0.2, 0.1, 1.1]], dtype=torch.float64)


def sharp(x):
    """A map of rows with a Jacobian worked out by hand."""
    return torch.stack([x[:, 0] ** 2 * x[:, 1], x[:, 1].sin(), x[:, 0] * x[:, 2]], 1)


def by_hand(x):
    zero = torch.zeros(len(x))
    rows = [
        torch.stack([2 * x[:, 0] * x[:, 1], x[:, 0] ** 2, zero], 1),
        torch.stack([zero, x[:, 1].cos(), zero], 1),
        torch.stack([x[:, 2], zero, x[:, 0]], 1),
    ]
    return torch.stack(rows, 1)


def test_jacobian_and_divergence_are_those_by_hand():
    """Catches a transposed Jacobian, and a trace that sums over rows."""
    x = torch.randn(5, 3)
    value, matrix = jacobian(sharp, x)
    torch.testing.assert_close(value, sharp(x))
    torch.testing.assert_close(matrix, by_hand(x), rtol=0, atol=1e-12)
    _, trace = divergence(sharp, x)
    expected = 2 * x[:, 0] * x[:, 1] + x[:, 1].cos() + x[:, 0]
    torch.testing.assert_close(trace, expected, rtol=0, atol=1e-12)
    v = torch.randn(5, 3)
    product = torch.einsum("bi,bij->bj", v, by_hand(x))
    torch.testing.assert_close(Linearised(sharp, x).pull(v), product, rtol=0, atol=1e-12)


def test_constant_maps_have_divergence_zero():
    """Catches a map without a graph, in part or as a whole."""
    x = torch.randn(4, 2)
    for f in (torch.ones_like, lambda x: torch.stack([torch.ones(4), x[:, 0]], 1)):
        for _, trace in (divergence(f, x), hutchinson(f, x, torch.ones_like(x) * 0 + 1)):
            assert trace.shape == (4,)
        assert float(divergence(f, x)[1].abs().max()) == 0.0


def test_the_gradient_of_a_divergence_is_right():
    """Catches a detached product: oracle is finite differences in x and in a weight."""
    net, x, e = MLP(2, 2, (5,)), torch.randn(3, 2), rademacher(torch.empty(3, 2))
    for way in (divergence, lambda f, x: hutchinson(f, x, e)):
        assert torch.autograd.gradcheck(lambda x, way=way: way(net, x), x.clone().requires_grad_())
        weight = net[0].weight
        (gradient,) = torch.autograd.grad(way(net, x)[1].sum(), weight)
        shift = torch.zeros_like(weight)
        shift[1, 0] = 1e-6
        with torch.no_grad():
            weight += shift
            above = way(net, x)[1].sum()
            weight -= 2 * shift
            below = way(net, x)[1].sum()
            weight += shift
        assert float(gradient[1, 0]) == pytest.approx(float(above - below) / 2e-6, abs=1e-6)


def test_nothing_is_recorded_without_grad():
    """Catches a graph that grows where none was asked for."""
    with torch.no_grad():
        value, trace = divergence(MLP(2, 2, (5,)), torch.randn(3, 2))
    assert not value.requires_grad and not trace.requires_grad


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("noise", [rademacher, gaussian])
def test_hutchinson_has_the_mean_and_the_variance_of_the_formula(noise, seed):
    """Catches a biased noise, A in place of its symmetric part, the other noise's variance."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(400_000, 3)
    _, estimate = hutchinson(lambda x: x @ A.T, x, noise(x, generator))
    result = mean_is(estimate, float(A.trace()), "tr A")
    assert result, result
    s = (A + A.T) / 2
    squares = 2 * s.square()
    signs, normal = float(squares.sum() - squares.trace()), float(squares.sum())
    variance, other = (signs, normal) if noise is rademacher else (normal, signs)
    spread = (estimate - A.trace()).square()
    assert mean_is(spread, variance), mean_is(spread, variance)
    assert not mean_is(spread, other)  # the control
    unsymmetric = 2 * A.square().sum() - (2 * A.square().trace() if noise is rademacher else 0)
    assert not mean_is(spread, float(unsymmetric))


def test_noise_keeps_dtype_and_follows_its_generator():
    """Catches signs of another dtype, and a draw past the generator."""
    like = torch.empty(50, 2, dtype=torch.float32)
    for noise in (rademacher, gaussian):
        first = noise(like, torch.Generator().manual_seed(3))
        torch.rand(5)
        assert torch.equal(first, noise(like, torch.Generator().manual_seed(3)))
        assert first.dtype == torch.float32
    assert set(rademacher(like).unique().tolist()) == {-1.0, 1.0}


def kinds_of_call(x):
    """The ways in which a result without a graph is asked for, by name, each a context."""
    with torch.inference_mode():
        born_there = x.clone()
    return {
        "no_grad": (torch.no_grad, x),
        "inference": (torch.inference_mode, x),
        "inference, born there": (torch.inference_mode, born_there),
        "grad, born there": (torch.enable_grad, born_there),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_mode_changes_a_trace(dtype):
    """Catches inference mode, where a missing graph was taken for a constant map: zeros."""
    x = torch.randn(5, 3, dtype=dtype)
    e = rademacher(x)
    expected = torch.einsum("bij,bj,bi->b", by_hand(x).to(dtype), e, e)
    for context, at in kinds_of_call(x).values():
        with context():
            torch.testing.assert_close(jacobian(sharp, at)[1], by_hand(x).to(dtype))
            torch.testing.assert_close(hutchinson(sharp, at, e)[1], expected)


def test_a_map_that_turns_gradients_off_is_no_constant():
    """Catches zeros for a velocity under `@torch.no_grad()`; inference mode leaves no trace."""
    x = torch.randn(5, 3)
    e = rademacher(x)
    frozen = torch.no_grad()(sharp)
    for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with context():
            assert torch.equal(divergence(frozen, x)[1], divergence(sharp, x)[1])
            torch.testing.assert_close(hutchinson(frozen, x, e)[1], hutchinson(sharp, x, e)[1])
            value, slope = value_and_gradient(lambda x: frozen(x).prod(1), x)
            truth = torch.einsum("bi,bij->bj", value[:, None] / sharp(x), by_hand(x))
            torch.testing.assert_close(slope, truth)
            with pytest.raises(ValueError, match="made in inference mode"):
                divergence(torch.inference_mode()(sharp), x)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_traces_and_their_gradients_are_right(backend):
    """Catches a graph lost on the way through aot_eager, which gave another number silently."""
    net, x = MLP(2, 2, (5,)), torch.randn(4, 2).requires_grad_()
    torch.compiler.reset()

    def trace(x):
        return divergence(net, x)[1]

    compiled = torch.compile(trace, backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(x), trace(x))
    wanted = (x, net[0].weight)
    for got, truth in zip(
        torch.autograd.grad(compiled(x).sum(), wanted),
        torch.autograd.grad(trace(x).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(got, truth)


def test_a_trace_can_be_transformed():
    """Catches vmap over rows and forward mode through a trace."""
    net, x, v = MLP(2, 2, (5,)), torch.randn(4, 2), torch.randn(4, 2)

    def trace(x):
        return divergence(net, x)[1]

    each = torch.func.vmap(lambda row: trace(row[None])[0])(x)
    torch.testing.assert_close(each, trace(x))
    slope = torch.func.jvp(trace, (x,), (v,))[1]
    torch.testing.assert_close(slope, (trace(x + 1e-6 * v) - trace(x - 1e-6 * v)) / 2e-6)


def test_value_and_gradient_in_every_mode():
    """Catches a mode whose gradient is missing, and one that loses the graph of a parameter."""
    x, scale = torch.randn(5, 2, 2), torch.tensor(1.5, requires_grad=True)

    def f(x):
        return (scale * x).sin().flatten(1).sum(1)

    truth = scale.detach() * (scale.detach() * x).cos()
    for context, at in kinds_of_call(x).values():
        with context():
            value, slope = value_and_gradient(f, at)
            torch.testing.assert_close((value, slope), (f(x), truth))
    for at in (x, x.clone().requires_grad_()):
        slope = value_and_gradient(f, at)[1]
        (change,) = torch.autograd.grad(slope.sum(), scale)
        torch.testing.assert_close(change, ((1.5 * x).cos() - 1.5 * x * (1.5 * x).sin()).sum())
    with torch.no_grad():
        assert not any(part.requires_grad for part in value_and_gradient(f, x))
    constant, slope = value_and_gradient(lambda x: torch.ones(len(x)), x)
    assert constant.tolist() == [1.0] * 5
    assert float(slope.abs().max()) == 0.0

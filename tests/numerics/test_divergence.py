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

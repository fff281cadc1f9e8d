"""Continuous flows: linear equations in closed form, traces, solvers and gradients."""

import sys

import pytest
import torch
from torch import nn

from gentoolkit.core import Chain, Gaussian, checks, standard_normal
from gentoolkit.flows import (
    Adaptive,
    ContinuousFlow,
    ExactTrace,
    Hutchinson,
    Velocity,
    continuous_flow,
)
from gentoolkit.numerics import FixedStep, euler, gaussian, rademacher, rk4

A = torch.tensor([[0.3, -1.2], [0.7, -1.6]], dtype=torch.float64)
FINE = Adaptive(1e-10, 1e-10)
ADJOINT = Adaptive(1e-10, 1e-10, adjoint=True)


class Linear(nn.Module):
    """dx/dt = A x."""

    def __init__(self, matrix=A):
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, x, t):
        return x @ self.matrix.T


class Power(nn.Module):
    """dx/dt = x^2, which leaves every bound at t = 1 / x(0)."""

    def forward(self, x, t):
        return x**2


def trained(features, context=0, scale=0.3):
    velocity = Velocity(features, (16, 16), context)
    with torch.no_grad():
        for parameter in velocity.parameters():
            parameter += scale * torch.randn_like(parameter)
    return velocity


@pytest.mark.parametrize("solver", [FixedStep(rk4, 100), FINE, ADJOINT])
def test_the_linear_flow_is_the_matrix_exponential(solver):
    """Catches a time that runs the wrong way and the sign of the trace, both ways."""
    layer, x = ContinuousFlow(Linear(), solver=solver), torch.randn(7, 2)
    y, log_det = layer.transform(x)
    torch.testing.assert_close(y, x @ torch.linalg.matrix_exp(A).T, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det, A.trace().expand(7), rtol=0, atol=1e-9)
    back, log_det = layer.inverse(y)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det, A.trace().expand(7), rtol=0, atol=1e-9)


def test_the_density_of_a_linear_flow_is_gaussian():
    """Catches a density that rises where volume grows: diag(1, -2) changes log p by +1."""
    layer = ContinuousFlow(Linear(torch.diag(torch.tensor([1.0, -2.0]))))
    x = torch.randn(5, 2)
    end, _ = layer.transform(x)
    change = Chain(standard_normal(2), [layer]).log_prob(end) - standard_normal(2).log_prob(x)
    torch.testing.assert_close(change, torch.ones(5), rtol=0, atol=1e-5)
    scales = torch.tensor([[1.0, -2.0]]).exp()
    oracle = Gaussian(torch.zeros(1, 2), scales).log_prob(end)
    got = Chain(standard_normal(2), [layer]).log_prob(end)
    torch.testing.assert_close(got, oracle, rtol=0, atol=1e-4)


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("features", [1, 2, 5])
def test_layers_are_bijections_with_the_right_jacobian(features, context):
    """Catches a divergence of another point, a lost time, a context that one way ignores."""
    layer = ContinuousFlow(trained(features, context), solver=FixedStep(rk4, 100))
    bound = layer.given(torch.randn(4, context) if context else None)
    x = torch.randn(4, features)
    for result in (
        checks.round_trip(bound, x, 1e-8),
        checks.log_det(bound, x, 1e-8),
        checks.same_ratio(bound, x, 1e-8),
    ):
        assert result, result
    loss = lambda: sum(t.square().sum() for t in bound.inverse(x))  # noqa: E731
    assert checks.dead_parameters(loss, layer) == []


def test_the_log_det_has_the_order_of_the_rule():
    """Catches a trace that rides along at another order: RK4's error falls by 16 a halving."""
    velocity, x = trained(2), torch.randn(6, 2)
    exact = ContinuousFlow(velocity, solver=Adaptive(1e-12, 1e-12)).transform(x)
    errors = []
    for steps in (10, 20, 40):
        got = ContinuousFlow(velocity, solver=FixedStep(rk4, steps)).transform(x)
        errors.append([float((a - b).abs().max()) for a, b in zip(got, exact, strict=True)])
    for part in (0, 1):
        ratio = (errors[0][part] / errors[2][part]) ** 0.5
        assert ratio == pytest.approx(16, rel=0.25)


def test_adaptive_and_fixed_steps_agree():
    """Catches a solver that ignores time, context or part of the state."""
    velocity, x, c = trained(3, 2), torch.randn(6, 3), torch.randn(6, 2)
    for verb in ("transform", "inverse"):
        fixed = getattr(ContinuousFlow(velocity, solver=FixedStep(rk4, 200)), verb)(x, c)
        adaptive = getattr(ContinuousFlow(velocity, solver=FINE), verb)(x, c)
        for a, b in zip(fixed, adaptive, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


def test_the_adjoint_has_the_gradient_of_the_solver():
    """Catches parameters or a context that the adjoint does not see."""
    velocity = trained(2, 1)
    x, c = torch.randn(4, 2, requires_grad=True), torch.randn(4, 1, requires_grad=True)
    for verb in ("transform", "inverse"):
        gradients = []
        for solver in (FixedStep(rk4, 200), FINE, ADJOINT):
            y, log_det = getattr(ContinuousFlow(velocity, solver=solver), verb)(x, c)
            loss = (y.square().sum(1) + log_det.sin()).sum()
            gradients.append(torch.autograd.grad(loss, [x, c, *velocity.parameters()]))
        for through in gradients[1:]:
            for a, b in zip(gradients[0], through, strict=True):
                torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-6)
                assert float(a.abs().max()) > 0


@pytest.mark.parametrize("noise", [rademacher, gaussian])
@pytest.mark.parametrize("solver", [FixedStep(rk4, 30), Adaptive(1e-9, 1e-9)])
def test_estimates_average_to_the_exact_trace(noise, solver):
    """Catches a biased estimate, in both directions, on a field that is not linear."""
    velocity, x = trained(3, scale=0.5), torch.randn(1, 3)
    rows = x.expand(4_000, 3)
    for verb in ("push", "pull"):
        with torch.no_grad():
            exact = getattr(ContinuousFlow(velocity, solver=solver), verb)(x)[1]
            layer = ContinuousFlow(velocity, Hutchinson(noise), solver)
            estimate = getattr(layer, verb)(rows, torch.Generator().manual_seed(2))[1]
        result = checks.mean_is(estimate, float(exact))
        assert result, result
        assert float(estimate.std()) > 0.01


def test_one_noise_follows_a_whole_trajectory():
    """Catches noise drawn anew at every stage: for dx/dt = A x the estimate is e'A e exactly."""
    layer = ContinuousFlow(Linear(), Hutchinson(rademacher), FixedStep(rk4, 7))
    with torch.no_grad():
        log_det = layer.transform(torch.randn(200, 2))[1]
    possible = A.trace() + torch.tensor([1.0, -1.0]) * (A[0, 1] + A[1, 0])
    gap = (log_det[:, None] - possible).abs()
    assert float(gap.min(1).values.max()) < 1e-12
    assert len({int(i) for i in gap.argmin(1)}) == 2


def test_a_chain_refuses_estimates_and_takes_the_exact_layer():
    """Catches a random number that is called log_prob."""
    x = torch.randn(5, 2)
    layer = ContinuousFlow(trained(2), Hutchinson())
    chain = Chain(standard_normal(2), [layer])
    with pytest.raises(ValueError, match="exact log-determinants"):
        chain.log_prob(x)
    assert chain.pull(x).log_evidence().shape == (5,)
    with pytest.raises(ValueError, match="exact log-determinants"):
        continuous_flow(2, trace=Hutchinson()).log_prob(x)
    with pytest.raises(ValueError, match="exact log-determinants"):
        continuous_flow(2, context=1, trace=Hutchinson()).log_prob(x, context=torch.zeros(5, 1))
    exact = Chain(standard_normal(2), [layer.exact()]).log_prob(x)
    same = ContinuousFlow(layer.velocity, ExactTrace())
    torch.testing.assert_close(exact, Chain(standard_normal(2), [same]).log_prob(x))


def test_an_estimate_follows_its_generator():
    """Catches a draw past the generator that a chain hands in."""
    layer, x = ContinuousFlow(trained(3), Hutchinson(gaussian)), torch.randn(5, 3)
    for verb in (layer.push, layer.pull):
        one, two, other = (verb(x, torch.Generator().manual_seed(s))[1] for s in (4, 4, 5))
        assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_path_ends_where_the_map_does():
    """Catches frames off by one, and a running log-determinant that starts anew."""
    layer, x = ContinuousFlow(trained(2), solver=FINE), torch.randn(4, 2)
    with torch.no_grad():
        frames = list(layer.path(x, 5))
        times = [t for t, _, _ in frames]
        assert times == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        torch.testing.assert_close(frames[0][1], x)
        for a, b in zip(frames[-1][1:], layer.transform(x), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
        half = ContinuousFlow(layer.velocity, solver=FINE, time=0.4).transform(x)
        for a, b in zip(frames[2][1:], half, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_the_flow_integrates_to_one_and_fits_its_samples():
    """Catches a dropped or doubled term."""
    flow = continuous_flow(2, (16,), solver=FixedStep(rk4, 10))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        axis = torch.linspace(-9, 9, 201)
        density = flow.log_prob(torch.cartesian_prod(axis, axis)).exp()
        assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=5e-4)
        result = checks.fits(flow, 5_000)
    assert result, result


def test_float32_stays_float32():
    """Catches times or noise that lift the dtype, under every solver and trace."""
    velocity, x = trained(2).float(), torch.randn(4, 2, dtype=torch.float32)
    for trace in (ExactTrace(), Hutchinson(), Hutchinson(gaussian)):
        for solver in (FixedStep(euler, 3), Adaptive(), Adaptive(adjoint=True)):
            y, log_det = ContinuousFlow(velocity, trace, solver).transform(x)
            assert y.dtype == log_det.dtype == torch.float32


@pytest.mark.parametrize("adjoint", [False, True])
def test_an_equation_that_does_not_converge_says_so(adjoint):
    """Catches a silent number: the error names the residual and the tolerance."""
    layer = ContinuousFlow(Power(), solver=Adaptive(1e-6, 1e-6, adjoint, 200), time=2.0)
    with pytest.raises(ValueError, match=r"not converged.*residual of .*tolerance is"):
        layer.transform(torch.ones(3, 2))
    few = ContinuousFlow(trained(2, scale=2.0), solver=Adaptive(1e-12, 1e-12, adjoint, 3))
    with pytest.raises(ValueError, match=r"4 tries.*residual of .*tolerance is"):
        few.inverse(torch.randn(3, 2))


def test_an_adjoint_that_does_not_converge_says_so():
    """Catches a gradient from an adjoint that gave up."""

    class Wild(nn.Module):
        """A field that turns too fast to be followed once `speed` is large."""

        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(-1.0))
            self.speed = 1.0

        def forward(self, x, t):
            return self.rate * x + self.speed * torch.sin(self.speed * t)

    velocity = Wild()
    solver = Adaptive(1e-8, 1e-8, adjoint=True, max_steps=100)
    y, log_det = ContinuousFlow(velocity, solver=solver).transform(torch.ones(2, 1))
    velocity.speed = 1e4
    with pytest.raises(ValueError, match="adjoint ODE has not converged"):
        torch.autograd.grad(y.sum() + log_det.sum(), velocity.rate)


def test_without_torchdiffeq_the_error_names_it(monkeypatch):
    """Catches an import at the top, and an error that does not say what to install."""
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(ImportError, match="pip install torchdiffeq, or use FixedStep"):
        ContinuousFlow(Linear(), solver=Adaptive()).transform(torch.ones(1, 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Velocity(0), "at least 1"),
        (lambda: Velocity(2, context=-1), "context must be at least 1"),
        (lambda: ContinuousFlow(Linear(), time=0.0), "time must be positive"),
        (lambda: Adaptive(rtol=0.0), "rtol must be positive"),
        (lambda: Adaptive(max_steps=0), "max_steps must be at least 1"),
        (lambda: continuous_flow(2).log_prob(torch.zeros(3, 4)), r"\(B, 2\)"),
        (lambda: ContinuousFlow(Velocity(2)).transform(torch.zeros(3, 4)), r"\(B, 2\)"),
        (lambda: ContinuousFlow(Velocity(2, context=1)).transform(torch.zeros(3, 2)), "context"),
        (lambda: continuous_flow(2).log_prob(torch.full((2, 2), torch.nan)), "finite"),
        (
            lambda: list(ContinuousFlow(Linear()).path(torch.ones(1, 2), 0)),
            "steps must be at least 1",
        ),
    ],
)
def test_bad_input_is_refused(call, words):
    """Catches shapes that would broadcast, and times that lead nowhere."""
    with pytest.raises(ValueError, match=words):
        call()

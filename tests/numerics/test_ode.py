"""Fixed steps: the order of each rule as a slope, and a solution that is known."""

from math import log

import pytest
import torch

from gentoolkit.numerics import FixedStep, euler, heun, path, rk4

A = torch.tensor([[0.3, -1.2], [0.9, -0.8]], dtype=torch.float64)
ORDERS = {euler: 1, heun: 2, rk4: 4}


def swinging(t, state):
    """A field that depends on time, with a known solution: x(t) = x(0) exp(sin 2t / 2)."""
    return tuple(torch.cos(2 * t) * x for x in state)


def braking(t, state):
    """A field that bends in time and state: 1 / x(t) = 1 / x(0) + t^2."""
    return tuple(-2 * t * x**2 for x in state)


def linear(t, state):
    x, log_det = state
    return x @ A.T, A.trace().expand_as(log_det)


def slope(errors, steps):
    """Return the least-squares slope of log error against log step size."""
    h = torch.tensor([-log(n) for n in steps])
    e = torch.tensor([log(error) for error in errors])
    return float(((h - h.mean()) * (e - e.mean())).sum() / (h - h.mean()).square().sum())


@pytest.mark.parametrize("rule", ORDERS)
def test_each_rule_has_its_order(rule):
    """Catches a wrong weight or a stage at the wrong time, in a field that depends on time."""
    x, steps = torch.tensor([1.0, 0.4]), (10, 20, 40, 80)
    errors = []
    for n in steps:
        (end,) = FixedStep(rule, n).solve(braking, (x,), 0.3, 1.3)
        exact = 1.0 / (1.0 / x + 1.3**2 - 0.3**2)
        errors.append(float((end - exact).abs().max()))
    assert slope(errors, steps) == pytest.approx(ORDERS[rule], abs=0.15)


def test_the_linear_equation_gives_expm_and_the_trace():
    """Catches a lost part of the state: oracle is the matrix exponential; the error falls by 16."""
    x = torch.randn(5, 2)
    exact = x @ torch.linalg.matrix_exp(A).T
    errors = []
    for n in (10, 20, 40):
        end, log_det = FixedStep(rk4, n).solve(linear, (x, torch.zeros(5)), 0.0, 1.0)
        errors.append(float((end - exact).abs().max()))
        torch.testing.assert_close(log_det, A.trace().expand(5), rtol=0, atol=1e-12)
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.1)
    slogdet = torch.linalg.slogdet(torch.linalg.matrix_exp(A)).logabsdet
    assert float(slogdet) == pytest.approx(float(A.trace()), abs=1e-12)


def test_time_runs_both_ways():
    """Catches a step whose sign is lost: there and back is where it started."""
    x = torch.randn(4)
    solver = FixedStep(rk4, 200)
    (end,) = solver.solve(swinging, (x,), 0.2, 1.5)
    (back,) = solver.solve(swinging, (end,), 1.5, 0.2)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    assert not torch.allclose(end, x, atol=0.01)


def test_a_path_has_every_moment():
    """Catches a path that lacks its start or its end, and times off by a step."""
    x = torch.ones(1)
    frames = list(path(swinging, (x,), 0.0, 1.0, 50))
    assert len(frames) == 51
    for i, (t, (at,)) in enumerate(frames):
        assert t == pytest.approx(i / 50)
        expected = torch.tensor(2 * t).sin().div(2).exp()
        torch.testing.assert_close(at[0], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(frames[-1][1], FixedStep(rk4, 50).solve(swinging, (x,), 0.0, 1.0))


def test_the_gradient_runs_through_the_steps():
    """Catches a detached state: d x(1) / d x(0) is expm(A)."""
    jacobian = torch.autograd.functional.jacobian(
        lambda x: FixedStep(rk4, 100).solve(linear, (x, torch.zeros(1)), 0.0, 1.0)[0][0],
        torch.randn(1, 2),
    )
    expected = torch.linalg.matrix_exp(A)
    torch.testing.assert_close(jacobian[:, 0], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: FixedStep(rk4, 0), "steps must be at least 1"),
        (lambda: list(path(swinging, (torch.ones(1),), 0.0, 1.0, 0)), "steps must be at least 1"),
    ],
)
def test_bad_settings_are_refused(call, words):
    """Catches a solver without steps."""
    with pytest.raises(ValueError, match=words):
        call()

"""Adaptive steps: a solution that is known, both ways, and its tolerance."""

import pytest
import torch

from gentoolkit.numerics import Adaptive, FixedStep, Solver, rk4


def braking(t, state):
    """A field that bends in time and state: 1 / x(t) = 1 / x(0) + t^2."""
    return tuple(-2 * t * x**2 for x in state)


def braked(x, t0, t1):
    return 1.0 / (1.0 / x + t1**2 - t0**2)


@pytest.mark.parametrize(("t0", "t1"), [(0.3, 1.3), (1.3, 0.3)])
def test_the_error_follows_the_tolerance_both_ways(t0, t1):
    """Catches a tolerance that is not handed on, a lost part, and a sign of time."""
    state = (torch.tensor([0.4, 0.3]), torch.tensor([[0.2]]))
    errors = []
    for tolerance in (1e-3, 1e-6, 1e-9):
        end = Adaptive(tolerance, tolerance).solve(braking, state, t0, t1)
        gaps = [(a - braked(x, t0, t1)).abs().max() for a, x in zip(end, state, strict=True)]
        errors.append(float(torch.stack(gaps).max()))
        assert errors[-1] < 10.0 * tolerance
    assert errors[0] > 10.0 * errors[1] > 100.0 * errors[2]


def test_solvers_are_interchangeable():
    """Catches a solver whose call differs from the protocol's."""
    x = torch.tensor([0.9, 0.4])
    solvers: list[Solver] = [Adaptive(1e-10, 1e-10), FixedStep(rk4, 200)]
    ends = [solver.solve(braking, (x,), 0.0, 1.0, (x,))[0] for solver in solvers]
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-8)


def test_a_field_is_asked_between_the_ends_alone():
    """Catches a probe for the first step's length beyond a time at which the field exists."""
    asked = []

    def field(t, state):
        asked.append(float(t))
        return (1e-3 * torch.ones_like(state[0]),)  # so slow that the guess is a long step

    (end,) = Adaptive().solve(field, (torch.ones(2),), 0.1, 0.0)
    torch.testing.assert_close(end, torch.ones(2) - 1e-4)
    assert max(asked) <= 0.1 and min(asked) >= 0.0


def test_a_solution_that_leaves_every_bound_is_refused():
    """Catches infinity handed on as a number: x(t) = 1 / (1 - t) at t = 2."""
    with pytest.raises(ValueError, match="the ODE has not converged"):
        Adaptive(max_steps=200).solve(lambda t, s: (s[0] ** 2,), (torch.ones(1),), 0.0, 2.0)


@pytest.mark.parametrize("solver", [Adaptive(), Adaptive(adjoint=True), FixedStep()])
def test_no_time_changes_nothing(solver):
    """Catches an assertion of the package below for equal end times."""
    x = torch.randn(3, 2, requires_grad=True)
    (end,) = solver.solve(lambda t, state: (-state[0],), (x,), 0.5, 0.5)
    assert torch.equal(end, x)
    (gradient,) = torch.autograd.grad(end.sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))

"""Roots of increasing functions and fixed points against closed forms."""

import pytest
import torch

from gentoolkit.numerics import fixed_point, implicit_fixed_point, increasing_root


def test_cube_root_where_newton_alone_crawls_or_leaves():
    """Catches a Newton step that leaves its bracket; the truth is the cube root."""
    c = torch.linspace(-50, 50, 41)
    a = increasing_root(
        lambda a: (a**3 - c, 3 * a**2), torch.full_like(c, -9.0), torch.full_like(c, 9.0), 1e-11
    )
    away = c.abs() > 1
    truth = c.sign() * c.abs() ** (1 / 3)
    torch.testing.assert_close(a[away], truth[away], rtol=0, atol=1e-10)


def test_arctan_where_newton_alone_diverges():
    """Catches the missing safeguard: Newton on arctan diverges from |a| > 1.39."""
    a = increasing_root(
        lambda a: (a.atan(), 1 / (1 + a * a)), torch.tensor([-1.0]), torch.tensor([2e4]), 1e-12
    )
    assert float(a.abs()) < 1e-11


def test_gradient_is_the_implicit_one():
    """Catches a root that is detached from what it depends on: a + exp(a) = c."""
    c = torch.tensor([0.3, 5.0, -2.0], requires_grad=True)
    a = increasing_root(lambda a: (a + a.exp() - c, 1 + a.exp()), c - 200.0, c + 5.0, 1e-12)
    (slope,) = torch.autograd.grad(a.sum(), c)
    torch.testing.assert_close(slope, 1 / (1 + a.exp()).detach(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_no_root_is_an_error_with_residual_and_tolerance(value):
    """Catches a silent number where there is no root."""
    with pytest.raises(ValueError, match=r"within 1e-08 of zero; got a residual of .* 100 steps"):
        increasing_root(
            lambda a: (torch.full_like(a, value), torch.ones_like(a)),
            torch.zeros(3),
            torch.ones(3),
            1e-8,
        )


def root_of(c):
    """Return the a with a + exp(a) = c."""
    return increasing_root(lambda a: (a + a.exp() - c, 1 + a.exp()), c - 200.0, c + 5.0, 1e-12)


def rotated(x, c):
    """A contraction of rows whose Jacobian is not symmetric."""
    return 0.4 * torch.stack([(x[:, 1] + c[:, 0]).sin(), (x[:, 0] * c[:, 1]).cos()], 1) + 0.1 * c


def fixed_of(c):
    return implicit_fixed_point(lambda x: rotated(x, c), c, 1e-14, 200)


@pytest.mark.parametrize("solve", [root_of, fixed_of])
def test_derivatives_up_to_the_third_are_right(solve):
    """Catches a slope taken as constant: right at first order, silently wrong from the second on.

    The oracle differentiates the finished solution by finite differences.
    """
    c = torch.tensor([[0.3, 1.2], [-0.7, 0.4]], requires_grad=True)
    assert torch.autograd.gradcheck(solve, c)
    assert torch.autograd.gradgradcheck(solve, c)

    def curvature(c):
        (slope,) = torch.autograd.grad(solve(c).sum(), c, create_graph=True)
        return torch.autograd.grad(slope[:, 0].sum(), c, create_graph=True)[0]

    assert torch.autograd.gradcheck(curvature, c)


@pytest.mark.parametrize("solve", [root_of, fixed_of])
def test_solutions_can_be_transformed(solve):
    """Catches an early stop that reads values inside vmap, and a gradient that only hooks see."""
    c, v = torch.tensor([[0.3, 1.2], [-0.7, 0.4]]), torch.tensor([[1.0, -0.5], [0.2, 2.0]])
    each = torch.func.vmap(lambda row: solve(row[None])[0])(c)
    torch.testing.assert_close(each, solve(c))
    slope = torch.func.jvp(solve, (c,), (v,))[1]
    torch.testing.assert_close(slope, (solve(c + 1e-6 * v) - solve(c - 1e-6 * v)) / 2e-6)
    with torch.inference_mode():
        torch.testing.assert_close(solve(c), each)


def test_what_does_not_converge_unseen_is_no_number():
    """Catches a silent wrong number where an error cannot be raised: it becomes NaN."""
    lost = torch.func.vmap(
        lambda c: increasing_root(
            lambda a: (a - a + c, torch.ones_like(a)), c - 1.0, c + 1.0, 1e-12
        )
    )(torch.ones(3))
    assert bool(lost.isnan().all())
    lost = torch.func.vmap(lambda x: fixed_point(lambda x: -2 * x, x, 1e-6, 50))(torch.ones(2, 1))
    assert bool(lost.isnan().all())


def test_the_fixed_point_is_found():
    """Catches an iteration that stops early: x = cos x at a known number."""
    x = fixed_point(torch.cos, torch.zeros(3), 1e-14, 200)
    torch.testing.assert_close(x, torch.full((3,), 0.7390851332151607), rtol=0, atol=1e-13)


def test_what_does_not_converge_says_so():
    """Catches a silent number: the error names the residual and the tolerance."""
    with pytest.raises(ValueError, match=r"residual \d.*tolerance 1e-14"):
        fixed_point(torch.cos, torch.zeros(3), 1e-14, 5)
    with pytest.raises(ValueError, match="has not converged"):
        fixed_point(lambda x: -2 * x, torch.ones(2), 1e-6, 50)
    with pytest.raises(ValueError, match="residual nan"):
        fixed_point(lambda x: x * torch.nan, torch.ones(2), 1e-6, 5)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        fixed_point(torch.cos, torch.zeros(1), 0.0, 5)
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        fixed_point(torch.cos, torch.zeros(1), 1e-3, 0)


def test_a_root_that_is_found_is_left_alone():
    """Catches arrived roots that rounding sends back into bisection until all arrive at once."""
    c, calls = torch.linspace(-30, 30, 5000, dtype=torch.float64), []

    def f(a):
        calls.append(1)
        return a + a.exp() - c, 1 + a.exp()

    increasing_root(f, c.clamp(max=0) - 2.0, c.clamp(min=0) + 2.0, 1e-12)
    assert len(calls) < 40

"""Roots of increasing functions against closed forms."""

import pytest
import torch

from gentoolkit.numerics import increasing_root


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

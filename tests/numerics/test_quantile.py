"""Tails and quantiles on the log scale, against scipy where it still has digits."""

from math import log

import pytest
import scipy.stats
import torch

from gentoolkit.numerics import lower_normal_quantile, lower_student_quantile, student_log_tail

FAR = torch.tensor([0.0, -1e-3, -0.3, -1.0, -5.0, -30.0, -1e3, -1e8], dtype=torch.float64)
DEGREES = (0.3, 1.0, 2.0, 2.5, 5.0, 30.0)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_tail_of_student_is_scipys(degrees):
    """Catches a quadrature with another weight, a lost normaliser, a tail that rounds to zero."""
    expected = torch.tensor(scipy.stats.t.logcdf(FAR.numpy(), degrees))
    torch.testing.assert_close(student_log_tail(FAR, degrees), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("degrees", (2.0, 100.0))
def test_a_power_tail_stays_a_power_where_floats_end(degrees):
    """Catches a tail made of probabilities: at 1e200 none is left, and its logarithm is."""
    x = torch.tensor([-1e200, -1e220], dtype=torch.float64)
    far, farther = student_log_tail(x, degrees)
    assert float(far - farther) == pytest.approx(degrees * 20 * log(10), rel=1e-12)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_quantile_undoes_the_tail(degrees):
    """Catches an angle subtracted from pi/2, which loses its digits far out."""
    back = lower_student_quantile(student_log_tail(FAR, degrees), degrees)
    torch.testing.assert_close(back, FAR, rtol=1e-11, atol=1e-11)


def test_the_normal_quantile_undoes_the_normal_tail():
    """Catches a start on the wrong side of the root, from which Newton runs away."""
    eps = -torch.cat([torch.zeros(1), torch.logspace(-4, 4, 60)]).double()
    back = lower_normal_quantile(torch.special.log_ndtr(eps))
    torch.testing.assert_close(back, eps, rtol=1e-13, atol=1e-13)


def test_derivatives_are_right_twice():
    """Catches a quantile without a graph, or right once and wrong twice: Langevin on a source."""
    log_p = torch.tensor([-0.8, -3.0, -40.0], requires_grad=True)
    x = torch.tensor([-0.0, -0.8, -30.0], requires_grad=True)
    for f, at in (
        (lower_normal_quantile, log_p),
        (lambda v: lower_student_quantile(v, 3.0), log_p),
        (lambda v: student_log_tail(v, 3.0), x),
    ):
        assert torch.autograd.gradcheck(f, at)
        assert torch.autograd.gradgradcheck(f, at)


@pytest.mark.parametrize("degrees", (0.0, -2.0, float("nan"), float("inf")))
def test_degrees_that_are_none_are_refused(degrees):
    """Catches NaN nodes that become NaN densities."""
    with pytest.raises(ValueError, match="degrees must be positive"):
        student_log_tail(FAR, degrees)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_default_precision_does_not_reach_the_tail(degrees):
    """Catches nodes that are made in float32 where that is the default: lessons, not tests."""
    torch.set_default_dtype(torch.float32)
    expected = torch.tensor(scipy.stats.t.logcdf(FAR.numpy(), degrees))
    tail = student_log_tail(FAR, degrees)
    torch.testing.assert_close(tail, expected, rtol=1e-12, atol=1e-12)
    back = lower_student_quantile(tail, degrees)
    torch.testing.assert_close(back, FAR, rtol=1e-11, atol=1e-11)

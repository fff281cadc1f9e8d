"""Objectives of log-weights against brute force."""

from math import log

import pytest
import torch

from gentoolkit import (
    Chain,
    elbo,
    ess,
    log_variance,
    log_z,
    log_z_error,
    residuals,
    standard_normal,
    trajectory_balance,
)
from tests.laws.examples import Metropolis, Sinh, linear_gaussian, lopsided


def test_means_of_weights():
    """Catches log-mean-exp without the count, and the mean of logs in its place."""
    w = torch.tensor([1.0, 2.0, 5.0])
    assert log_z(w.log()).item() == pytest.approx(log(8 / 3), abs=1e-14)
    assert elbo(w.log()).item() == pytest.approx(log(10) / 3, abs=1e-14)
    assert ess(w.log()).item() == pytest.approx(64 / 30, abs=1e-13)
    assert log_variance(w.log()).item() == pytest.approx(w.log().var().item(), abs=1e-14)
    exact = (w.log() - 0.5).square().mean().item()
    assert trajectory_balance(w.log(), 0.5).item() == pytest.approx(exact, abs=1e-14)


def test_log_z_does_not_overflow():
    """Catches an exponential taken before the maximum is removed."""
    log_w = torch.tensor([1000.0, 1000.0])
    assert log_z(log_w).item() == 1000.0
    assert ess(log_w).item() == pytest.approx(2.0)
    assert ess(-log_w).item() == pytest.approx(2.0)
    assert log_z_error(log_w).item() == 0.0


def test_the_standard_error_of_log_z_is_its_spread():
    """Catches a lost 1/sqrt(B) or a variance for a deviation: compared over 4,000 repeats."""
    log_w = 0.5 * torch.randn(4000, 200)
    errors = torch.stack([log_z_error(row) for row in log_w[:500]])
    spread = log_z(log_w, dim=1).std().item()
    assert errors.mean().item() == pytest.approx(spread, rel=0.05)
    w = log_w[0].exp()
    exact = (w.std() / (w.mean() * 200**0.5)).item()
    assert log_z_error(log_w[0]).item() == pytest.approx(exact, rel=1e-9)


def test_residuals_telescope_to_the_weight():
    """Catches a flow evaluated at the wrong state and the sign of log_ratio."""
    target = lopsided()
    steps = [Sinh(), Metropolis(target)]
    trajectory = Chain(standard_normal(2), steps).push(7)
    inner = torch.randn(1, 7)
    log_flow = torch.cat(
        [0.9 + trajectory.log_source[None], inner, target.log_prob(trajectory.states[-1])[None]]
    )
    total = residuals(trajectory, log_flow).sum(0)
    torch.testing.assert_close(total, trajectory.log_weight(target) - 0.9, rtol=0, atol=1e-12)


def test_residuals_vanish_in_detailed_balance():
    """Catches a residual that is not zero where the flows of both directions are equal."""
    target = lopsided()
    trajectory = Chain(standard_normal(2), [Metropolis(target)]).push(7)
    log_flow = torch.stack([target.log_prob(x) for x in trajectory.states])
    assert residuals(trajectory, log_flow).abs().max() < 1e-12
    assert residuals(trajectory, 1.1 * log_flow).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: elbo(torch.empty(0)), "at least one"),
        (lambda: log_z(torch.tensor([0.0, torch.nan])), "NaN"),
        (lambda: log_z_error(torch.zeros(1)), "two weights"),
        (lambda: log_variance(torch.zeros(1)), "two weights"),
        (lambda: ess(torch.full((3,), -torch.inf)), "weights must be finite and not all zero"),
        (
            lambda: residuals(
                Chain(standard_normal(2), [linear_gaussian(torch.float64)]).push(3),
                torch.zeros(3, 2),
            ),
            r"\(2, 3\)",
        ),
    ],
)
def test_bad_weights_are_refused(call, words):
    """Catches empty, NaN and misshapen weights."""
    with pytest.raises(ValueError, match=words):
        call()


def test_infinite_weights_have_the_right_values_or_are_refused():
    """Catches NaN for samples that are all impossible, and for a weight that is infinite."""
    log_w = torch.tensor([[0.0, -torch.inf], [1.0, -torch.inf]], requires_grad=True)
    value = log_z(log_w)
    assert float(value[0]) == pytest.approx(0.6201145, abs=1e-6) and value[1] == -torch.inf
    value[0].backward()
    assert log_w.grad is not None and bool(log_w.grad.isfinite().all())
    assert float(ess(torch.tensor([0.0, 0.0, -torch.inf]))) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="weights must be finite"):
        ess(torch.tensor([0.0, torch.inf]))

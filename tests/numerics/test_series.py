"""The series of a log-determinant: errors below the bound, and a random stop without bias."""

import pytest
import torch

from gentoolkit.core.checks import mean_is
from gentoolkit.numerics import (
    Stop,
    log_det_series,
    rademacher,
    stochastic_log_det,
    terms_needed,
    truncation_bound,
)


def contractions(n, features, norm):
    """Random matrices of a given spectral norm, (n, D, D)."""
    j = torch.randn(n, features, features)
    return norm * j / torch.linalg.matrix_norm(j, 2)[:, None, None]


def log_det(j):
    return torch.linalg.slogdet(torch.eye(j.shape[-1]) + j).logabsdet


@pytest.mark.parametrize("features", [2, 5])
def test_errors_fall_and_stay_below_the_bound(features):
    """Catches a sign of the series, a missing 1/k, and a bound that is none."""
    j = contractions(200, features, 0.9)
    errors = []
    for terms in (1, 5, 10, 20):
        error = (log_det_series(j, terms) - log_det(j)).abs()
        assert float(error.max()) < truncation_bound(features, 0.9, terms)
        errors.append(float(error.mean()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.02 * errors[0]


def test_the_bound_is_sharp_in_its_rate():
    """Catches a bound that holds because it is far too large: J = -L I is nearly the worst."""
    j = -0.9 * torch.eye(3)[None]
    for terms in (5, 20, 40):
        error = float((log_det_series(j, terms) - log_det(j)).abs())
        assert 0.3 * truncation_bound(3, 0.9, terms) < error < truncation_bound(3, 0.9, terms)


def test_the_terms_that_a_bound_needs():
    """Catches a bound without its 1/(n+1), which would ask for 93."""
    assert terms_needed(2, 0.9, 1e-3) == 55
    assert truncation_bound(2, 0.9, 55) < 1e-3 <= truncation_bound(2, 0.9, 54)


def test_one_column_is_exact():
    """Catches a series of another function: log(1 + a) for one number."""
    a = torch.linspace(-0.5, 0.5, 11)
    series = log_det_series(a[:, None, None], 60)
    torch.testing.assert_close(series, torch.log1p(a), rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_random_stop_has_no_bias(seed):
    """Catches a weight off by one term; the control leaves the weights out."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.tensor(0.4)
    j = -0.8 * torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    stop, like = Stop(keep=0.75, sure=2), torch.empty(4, 2)
    weighted, plain = [], []
    for _ in range(4_000):
        weights, noise = stop.weights(generator), rademacher(like, generator)
        ones = [1.0] * len(weights)
        weighted.append(stochastic_log_det(lambda v: v @ j, noise, weights).mean())
        plain.append(stochastic_log_det(lambda v: v @ j, noise, ones).mean())
    exact = float(log_det(j[None]))
    result = mean_is(torch.stack(weighted), exact)
    assert result, result
    assert not mean_is(torch.stack(plain), exact)


def test_the_stop_is_the_one_that_it_says():
    """Catches a geometric law shifted by one: P(N >= k) must be one over the weight of term k."""
    stop, generator = Stop(keep=0.6, sure=3), torch.Generator().manual_seed(0)
    draws = [stop.weights(generator) for _ in range(40_000)]
    longest = max(draws, key=len)
    assert longest[:4] == pytest.approx([1.0, 1.0, 1.0, 1 / 0.6])
    for k in range(4, 9):
        reached = torch.tensor([float(len(w) >= k) for w in draws])
        result = mean_is(reached, 1 / longest[k - 1])
        assert result, result
        assert not mean_is(reached, 0.6 / longest[k - 1])  # the control: one term further


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: truncation_bound(2, 1.0, 5), "between 0 and 1; got 1.0"),
        (lambda: truncation_bound(2, 0.0, 5), "between 0 and 1"),
        (lambda: truncation_bound(0, 0.5, 5), "features must be at least 1"),
        (lambda: truncation_bound(2, 0.5, 0), "terms must be at least 1"),
        (lambda: terms_needed(2, 0.5, 0.0), "tolerance must be positive"),
        (lambda: log_det_series(torch.zeros(1, 2, 2), 0), "terms must be at least 1"),
        (lambda: Stop(keep=1.0), "keep must lie between 0 and 1"),
        (lambda: Stop(sure=0), "sure must be at least 1"),
    ],
)
def test_bad_settings_are_refused(call, words):
    """Catches a series that does not converge, or a stop that never comes."""
    with pytest.raises(ValueError, match=words):
        call()

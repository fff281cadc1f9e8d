"""Mean field of a Gaussian: closed forms, coordinate ascent, Gibbs."""

from itertools import islice
from math import ceil, log

import pytest
import torch

from gentoolkit.core.checks import mean_is
from gentoolkit.vi import (
    cavi_error,
    cavi_gaussian,
    gaussian_kl,
    gibbs_error,
    gibbs_gaussian,
    reverse_fit,
)

R = 0.9
MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, R], [R, 1.0]], dtype=torch.float64)
PRECISION = COVARIANCE.inverse()


def sweeps(start, n, mean=MEAN, precision=PRECISION):
    return list(islice(cavi_gaussian(mean, precision, start), n))


def test_error_falls_by_r_squared_a_sweep():
    """Catches a wrong sign of the update, and a rate of r (see the next test)."""
    errors = [float(m[1] - MEAN[1]) for m in sweeps(MEAN + 5.0, 6)]
    ratios = [b / a for a, b in zip(errors[:-1], errors[1:], strict=True)]
    assert ratios == pytest.approx([R**2] * 5, abs=1e-12)


def test_simultaneous_updates_are_told_apart():
    """Negative control: updating all means from the old ones contracts by r, not r^2."""
    off = torch.tensor([5.0, 5.0], dtype=torch.float64)
    simultaneous = -(PRECISION - PRECISION.diagonal().diag()) @ off / PRECISION.diagonal()
    assert float(simultaneous[1] / off[1]) == pytest.approx(R, abs=1e-12)
    sequential = sweeps(MEAN + off, 1)[0] - MEAN
    assert not torch.allclose(sequential, simultaneous)


def test_sweep_is_gauss_seidel_in_many_dimensions():
    """Catches an index error that two dimensions hide: oracle is triangular substitution."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 8, dtype=torch.float64, generator=generator)
    precision, mean = a @ a.T, torch.randn(5, dtype=torch.float64, generator=generator)
    start = torch.randn(5, dtype=torch.float64, generator=generator)
    expected = start
    lower, upper = precision.tril(), precision.triu(1)
    for m in sweeps(start, 3, mean, precision):
        right = precision @ mean - upper @ expected
        expected = torch.linalg.solve_triangular(lower, right[:, None], upper=False)[:, 0]
        assert torch.allclose(m, expected, atol=1e-12)


def test_variances_and_divergences_have_the_printed_values():
    """Catches v = Sigma_jj, a missing 1/2 or a log of the wrong determinant."""
    q = reverse_fit(MEAN, PRECISION)
    v = torch.as_tensor(q.std)[0].square()
    assert v.tolist() == pytest.approx([1 - R**2] * 2, abs=1e-12)
    kl = gaussian_kl(q.mean[0], v.diag(), MEAN, COVARIANCE)
    assert float(kl) == pytest.approx(-0.5 * log(1 - R**2), abs=1e-12)
    assert float(kl) == pytest.approx(0.830366, abs=5e-7)


def test_marginal_variances_are_not_the_reverse_fit():
    """Negative control of v = Sigma_jj: it is the optimum of the other divergence only.

    The two divergences happen to be equal for two variables, so the widths tell them apart.
    """
    v = COVARIANCE.diagonal()
    assert v.tolist() == pytest.approx([1.0, 1.0], abs=1e-12)
    forward = gaussian_kl(MEAN, COVARIANCE, MEAN, v.diag())
    assert float(forward) == pytest.approx(-0.5 * log(1 - R**2), abs=1e-12)
    wrong = gaussian_kl(MEAN, v.diag(), MEAN, COVARIANCE)
    assert float(wrong) == pytest.approx(R**2 / (1 - R**2) + 0.5 * log(1 - R**2), abs=1e-12)
    assert float(wrong) > 4 * float(forward)


def test_kl_agrees_with_torch_and_is_directed():
    """Catches exchanged arguments and a missing quadratic term: oracle is torch.distributions."""
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 4, 6, dtype=torch.float64, generator=generator)
    means = torch.randn(2, 4, dtype=torch.float64, generator=generator)
    normal = torch.distributions.MultivariateNormal
    p, q = normal(means[0], a @ a.T), normal(means[1], b @ b.T)
    expected = torch.distributions.kl_divergence(p, q)
    assert torch.allclose(gaussian_kl(means[0], a @ a.T, means[1], b @ b.T), expected)


def test_the_fit_is_an_optimum():
    """Catches a fit that is not stationary for its divergence: gradients vanish at it."""
    law = reverse_fit(MEAN, PRECISION)
    m = law.mean[0].clone().requires_grad_()
    v = torch.as_tensor(law.std)[0].square().requires_grad_()
    gradients = torch.autograd.grad(gaussian_kl(m, v.diag(), MEAN, COVARIANCE), (m, v))
    assert max(float(g.abs().max()) for g in gradients) < 1e-10


def test_cavi_error_counts_the_sweeps_of_the_exercise():
    """Catches r for r^2 in the curve: 68 sweeps to 1e-3 at r = 0.95, not 135."""
    curve = cavi_error(0.95, torch.arange(1, 200, dtype=torch.float64))
    first = 1 + int((curve < 1e-3).nonzero()[0])
    assert first == ceil(log(1e-3) / log(0.95**2)) == 68
    measured = torch.stack([m[1] - MEAN[1] for m in sweeps(MEAN + 1.0, 6)])
    predicted = cavi_error(R, torch.arange(1, 7, dtype=torch.float64))
    assert torch.allclose(measured, predicted, atol=1e-12)


def gibbs_means(start, n, chains, seed):
    generator = torch.Generator().manual_seed(seed)
    states = torch.stack(list(islice(gibbs_gaussian(MEAN, PRECISION, start, generator), n)))
    return (states - MEAN).cumsum(0) / torch.arange(1, n + 1)[:, None, None]  # (n, chains, 2)


def test_gibbs_error_is_that_of_simulated_chains():
    """Catches r for r^2 in the autocorrelation and a lost finite-k term, at a fixed start."""
    chains, offset = 4000, 3.0
    means = gibbs_means((MEAN + offset).expand(chains, 2), 40, chains, 0)[..., 1]
    for k in (1, 5, 40):
        expected = float(gibbs_error(R, torch.tensor([float(k)]), start=offset)[0])
        assert mean_is(means[k - 1].square(), expected**2), k
        wrong = float(gibbs_error(R**0.5, torch.tensor([float(k)]), start=offset)[0])
        assert not mean_is(means[k - 1].square(), wrong**2), k


def test_gibbs_error_from_stationarity_matches_simulation():
    """Catches a start that leaks into the stationary curve."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    start = MEAN + noise @ torch.linalg.cholesky(COVARIANCE).T
    means = gibbs_means(start, 30, 4000, 4)[..., 1]
    for k in (1, 6, 30):
        expected = float(gibbs_error(R, torch.tensor([float(k)]))[0])
        assert mean_is(means[k - 1].square(), expected**2), k


def test_gibbs_error_tends_to_the_square_root_law():
    """Catches an integrated autocorrelation other than (1 + r^2)/(1 - r^2)."""
    k = torch.tensor([1e8], dtype=torch.float64)
    expected = ((1 + R**2) / (1 - R**2) / 1e8) ** 0.5
    assert float(gibbs_error(R, k)[0]) == pytest.approx(expected, rel=1e-6)
    assert float(gibbs_error(R, k, start=3.0)[0]) == pytest.approx(expected, rel=1e-6)


def test_gibbs_keeps_the_target():
    """Catches a conditional variance of Sigma_jj: started exact, the law must stay exact."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(20_000, 2, dtype=torch.float64, generator=generator)
    start = MEAN + noise @ torch.linalg.cholesky(COVARIANCE).T
    *_, last = islice(gibbs_gaussian(MEAN, PRECISION, start, generator), 5)
    off = last - MEAN
    assert mean_is(off[:, 0].square(), 1.0)
    assert mean_is(off[:, 1].square(), 1.0)
    assert mean_is(off[:, 0] * off[:, 1], R)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype):
    """Catches a constant made in torch's default type."""
    mean, precision = MEAN.to(dtype), PRECISION.to(dtype)
    assert sweeps(mean + 1, 1, mean, precision)[0].dtype == dtype
    assert next(gibbs_gaussian(mean, precision, mean)).dtype == dtype
    assert reverse_fit(mean, precision).mean.dtype == dtype


def test_states_are_not_overwritten():
    """Catches an in-place sweep that changes the states already handed out."""
    first, second = sweeps(MEAN + 1.0, 2)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("mean", "precision", "start", "word"),
    [
        (MEAN, torch.eye(3, dtype=torch.float64), MEAN, "shape"),
        (MEAN, -PRECISION, MEAN, "positive"),
        (MEAN, PRECISION.triu(), MEAN, "symmetric"),
        (MEAN * float("nan"), PRECISION, MEAN, "finite"),
        (MEAN, PRECISION, MEAN[:1], "start"),
    ],
)
def test_bad_input_is_named_at_the_call(mean, precision, start, word):
    """Catches a check that waits for the first state, or is missing."""
    with pytest.raises(ValueError, match=word):
        cavi_gaussian(mean, precision, start)
    with pytest.raises(ValueError, match=word):
        gibbs_gaussian(mean, precision, start)


@pytest.mark.parametrize("r", [1.0, -1.2, float("nan")])
def test_curves_refuse_a_correlation_outside_the_open_interval(r):
    """Catches a division by 1 - r^2 = 0."""
    with pytest.raises(ValueError, match="correlation"):
        gibbs_error(r, torch.ones(1))
    with pytest.raises(ValueError, match="correlation"):
        cavi_error(r, torch.ones(1))
    with pytest.raises(ValueError, match="sweeps"):
        gibbs_error(0.5, torch.zeros(1))


def test_the_error_curve_does_not_mind_the_sign_of_the_correlation():
    """Catches a negative number raised to a real exponent, which is NaN without a word."""
    sweeps = torch.logspace(0, 2, 7)
    assert torch.equal(cavi_error(-0.8, sweeps), cavi_error(0.8, sweeps))

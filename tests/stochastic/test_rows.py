"""The closed forms of learned annealing: the Langevin rows of the table of S17, at 1e-9."""

import pytest
import torch
from torch import Tensor

from gentoolkit import Chain, FunctionKernel, Gaussian
from gentoolkit.stochastic import (
    Langevin,
    annealed,
    even_schedule,
)
from tests.laws.quadratic import quadratic
from tests.stochastic.linear import (
    LOG_Z,
    MEAN,
    PRECISION,
    STEP,
    Full,
    K,
    affine_score,
    annealing_path,
    marginals,
)

BETAS = even_schedule(K)
WIDE = (K + 1) * 2


def moments(chain: Chain):
    return quadratic(lambda n: chain.push(n).log_weight(annealing_path().target), WIDE)


def plain() -> Chain:
    return annealed(annealing_path(), BETAS, lambda g: Langevin(g, STEP))


def kernels(reversal) -> Chain:
    """The Langevin way there, and any way back: `reversal(k, y) -> Law`."""
    path, steps = annealing_path(), []
    for k, beta in enumerate(BETAS.tolist()[1:], 1):
        law = Langevin(path.at(beta), STEP).push_law
        steps.append(FunctionKernel(law, lambda y, k=k: reversal(k, y)))
    return Chain(path.source, steps)


def score(k: int, x: Tensor) -> Tensor:
    curvature, pull = affine_score(annealing_path().at(BETAS[k]))
    return pull - x @ curvature


def score_of_marginal(k: int, x: Tensor) -> Tensor:
    mean, cov = marginals(BETAS)[k]
    return (mean - x) @ cov.inverse()


def corrected() -> Chain:
    number = {beta: k for k, beta in enumerate(BETAS.tolist())}

    def step(g):
        k = number[g.beta]
        return Langevin(g, STEP, lambda y: score_of_marginal(k, y) - score(k, y))

    return annealed(annealing_path(), BETAS, step)


def bayes() -> Chain:
    def reversal(k, y):
        curvature, pull = affine_score(annealing_path().at(BETAS[k]))
        gain = torch.eye(2) - STEP * curvature
        mean, cov = marginals(BETAS)[k - 1]
        total = gain @ cov @ gain.T + 2 * STEP * torch.eye(2)
        back = cov @ gain.T @ total.inverse()
        return Full(mean + (y - gain @ mean - STEP * pull) @ back.T, cov - back @ gain @ cov)

    return kernels(reversal)


ROWS = {
    "langevin, plain reversal": (lambda: moments(plain()), -2.995143285635, 35.547896),
    "langevin, exact score": (lambda: moments(corrected()), -0.907617758597, 9.057500),
    "langevin, exact reversal": (lambda: moments(bayes()), -0.852495102230, 8.898654),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_of_the_table(name):
    """Catches a wrong drift, gain or variance of a reversal: the mean sees what Z does not."""
    make, mean, variance = ROWS[name]
    exact = make()
    assert exact.mean == pytest.approx(mean, abs=1e-9)
    assert exact.variance == pytest.approx(variance, abs=1e-5)
    assert exact.log_mean_exp == pytest.approx(LOG_Z, abs=1e-9)


def test_the_best_reversal_leaves_the_gap_at_the_end():
    """ELBO* = log Z - KL(q_K || target), and plain < exact score < best."""
    mean, cov = marginals(BETAS)[-1]
    q = torch.distributions.MultivariateNormal(mean, cov)
    pi = torch.distributions.MultivariateNormal(MEAN, precision_matrix=PRECISION)
    best = LOG_Z - float(torch.distributions.kl_divergence(q, pi))
    assert moments(bayes()).mean == pytest.approx(best, abs=1e-10)
    assert moments(plain()).mean < moments(corrected()).mean < best


def _gaussian(mean: Tensor, variance: float) -> Gaussian:
    return Gaussian(mean, variance**0.5)


# Each is a slip of the hand in the reversal, with the mean that it gives; all keep E[w] = Z.
UNBIASED_SLIPS = {
    "the density before": lambda k, y: _gaussian(y + STEP * score(k - 1, y), 2 * STEP),
    "drift of the other sign": lambda k, y: _gaussian(
        y + STEP * score(k, y) + 2 * STEP * score_of_marginal(k, y), 2 * STEP
    ),
    "score times d, not 2 d": lambda k, y: _gaussian(
        y - STEP * score(k, y) + STEP * score_of_marginal(k, y), 2 * STEP
    ),
    "variance d, not 2 d": lambda k, y: _gaussian(y + STEP * score(k, y), STEP),
}


@pytest.mark.parametrize("name", UNBIASED_SLIPS)
def test_slips_that_leave_z_alone_show_in_the_mean(name):
    """The control: unbiasedness is not enough, and the table's rows tell each slip."""
    exact = moments(kernels(UNBIASED_SLIPS[name]))
    assert exact.log_mean_exp == pytest.approx(LOG_Z, abs=1e-8)
    for _, mean, _ in ROWS.values():
        assert abs(exact.mean - mean) > 1e-2


def test_the_means_of_the_slips():
    """The sheet's figures, so that a slip in this file's own algebra shows."""
    figures = {
        "drift of the other sign": -4.393,
        "score times d, not 2 d": -0.960,
        "variance d, not 2 d": -7.552,
    }
    for name, mean in figures.items():
        assert moments(kernels(UNBIASED_SLIPS[name])).mean == pytest.approx(mean, abs=1e-3)


def test_a_gradient_at_the_wrong_end_breaks_z():
    """Catches the drift of the reversal taken where the path came from: the sheet's 0.0141."""
    path = annealing_path()

    def log_w(n):
        paths = plain().push(n)
        total = path.target.log_prob(paths.states[-1]) - paths.log_source
        for k, (x, y) in enumerate(zip(paths.states[:-1], paths.states[1:], strict=True), 1):
            back = _gaussian(y + STEP * score(k, x), 2 * STEP).log_prob(x)
            total = total + back - _gaussian(x + STEP * score(k, x), 2 * STEP).log_prob(y)
        return total

    assert quadratic(log_w, WIDE).log_mean_exp == pytest.approx(0.0141, abs=1e-3)


def test_the_helper_refuses_what_is_not_quadratic():
    """The control of the trick itself: a quartic log-weight must not pass for a polynomial."""
    with pytest.raises(AssertionError):
        quadratic(lambda n: torch.randn(n, 3).pow(4).sum(1), 3)
    with pytest.raises(AssertionError, match="uses 2 numbers"):
        quadratic(lambda n: torch.randn(n, 2).sum(1), 3)

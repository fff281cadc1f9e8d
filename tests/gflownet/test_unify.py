"""The one map: other families as a pair of chains, against closed forms.

The identities of a chain of tables (path divergences, and both gradients of trajectory balance)
are in tests/vi/test_enumerated_hierarchy.py.
"""

import math
from itertools import product

import pytest
import torch

from gentoolkit.core import (
    Bijection,
    Categorical,
    Chain,
    FunctionKernel,
    Gaussian,
    log_z,
    residuals,
)
from gentoolkit.gflownet import consistency, penalised_loss
from tests.diffusion.exact import THREE

VARIANCE, BETAS = 0.3, torch.linspace(0.05, 0.4, 10, dtype=torch.float64)


def noising_chain(variance_of="posterior", prior=None):
    """Ten steps of noise on data N(0, 0.3), and their reversal by conjugacy."""
    steps, v = [], torch.tensor(VARIANCE)
    for beta in BETAS:
        after = (1 - beta) * v + beta
        gain = (1 - beta).sqrt() * v / after
        std = (beta * v / after).sqrt() if variance_of == "posterior" else beta.sqrt()
        steps.append(
            FunctionKernel(
                lambda x, gain=gain, std=std: Gaussian(gain * x, std),
                lambda y, beta=beta: Gaussian((1 - beta).sqrt() * y, beta.sqrt()),
            )
        )
        v = after
    return Chain(Gaussian(torch.zeros(1, 1), v.sqrt() if prior is None else prior), steps[::-1])


def data_log_prob(x):
    return -0.5 * x[:, 0].square() / VARIANCE - 0.5 * math.log(2 * math.pi * VARIANCE)


def test_every_path_of_an_exact_diffusion_tells_the_likelihood():
    """Catches one missing step, a doubled prior, and the noising variance in the reversal."""
    x = VARIANCE**0.5 * torch.randn(400, 1)
    off = noising_chain().pull(x).log_evidence() - data_log_prob(x)
    assert float(off.abs().max()) < 1e-10
    pushed = noising_chain().push(400)
    assert float(pushed.log_weight(data_log_prob).abs().max()) < 1e-10
    wrong = noising_chain("noising").pull(x).log_evidence() - data_log_prob(x)
    assert float(wrong.std()) > 0.2


def test_another_prior_spreads_the_evidence_and_lowers_its_mean():
    """Catches a source that is not scored: N(0, 1) is not the law of the last state."""
    x = VARIANCE**0.5 * torch.randn(4000, 1)
    off = noising_chain(prior=1.0).pull(x).log_evidence() - data_log_prob(x)
    assert float(off.std()) > 0.01
    v = VARIANCE
    for beta in BETAS.tolist():
        v = (1 - beta) * v + beta
    # KL of N(0, v) from N(0, 1), to first order in sampling noise.
    expected = -0.5 * (v - 1 - math.log(v))
    assert float(off.mean()) == pytest.approx(expected, abs=4 * float(off.std()) / 4000**0.5)
    assert expected < 0


def detailed_balance_error(h, wrong):
    """RMS of residual / sqrt(h) - noise (model - score) for one step of data to y = x + noise."""
    generator = torch.Generator().manual_seed(0)
    law = THREE.law()
    x = law.sample(2000, generator)
    noise = torch.randn(x.shape, generator=generator)
    y = x + h**0.5 * noise

    def model(z):
        return wrong * law.score(z)

    step = FunctionKernel(
        lambda y: Gaussian(y + h * model(y), h**0.5), lambda x: Gaussian(x, h**0.5)
    )
    pair = Chain(Gaussian(torch.zeros(1, 2), 1.0), [step]).replay([y, x])
    flows = torch.stack([law.noised(1.0, h**0.5).log_prob(y), law.log_prob(x)])
    found = residuals(pair, flows)[0] / h**0.5
    expected = (noise * (model(x) - law.score(x))).sum(1)
    return float((found - expected).square().mean().sqrt()), float(expected.square().mean().sqrt())


def test_detailed_balance_of_small_steps_is_score_matching():
    """Catches the time order of flow and noise: the residual is noise times the error of the score.

    The rest falls as sqrt(h), ten times for a hundredfold h.
    """
    errors, scale = zip(*(detailed_balance_error(h, 0.8) for h in (1e-4, 1e-6)), strict=True)
    assert errors[1] < 0.02 * scale[1]
    assert errors[0] / errors[1] == pytest.approx(10.0, rel=0.15)
    exact, nothing = zip(*(detailed_balance_error(h, 1.0) for h in (1e-4, 1e-6)), strict=True)
    assert nothing == (0.0, 0.0)  # the true score: all that is left is the rest
    assert exact[1] < 0.02 * scale[1]
    assert exact[0] / exact[1] == pytest.approx(10.0, rel=0.15)


class Line(Bijection):
    """y = slope z + shift."""

    def __init__(self, slope, shift):
        self.slope, self.shift = slope, shift

    def transform(self, x):
        return self.slope * x + self.shift, self._log_det(x)

    def inverse(self, y):
        return (y - self.shift) / self.slope, self._log_det(y)

    def _log_det(self, x):
        return torch.full((len(x),), math.log(abs(self.slope)))


def test_a_flow_weighs_by_the_jacobian():
    """Catches the sign of the log-determinant: for x = 2z + 1, N(0, 1) meets N(1, 4) exactly."""
    chain = Chain(Gaussian(torch.zeros(1, 1), 1.0), [Line(2.0, 1.0)])
    target = Gaussian(torch.ones(1, 1), 2.0)
    assert float(chain.push(50).log_weight(target).abs().max()) < 1e-10
    other = Chain(Gaussian(torch.zeros(1, 1), 1.0), [Line(-0.5, 0.3)]).push(50)
    x = other.states[-1][:, 0]
    pushed = torch.distributions.Normal(0.3, 0.5).log_prob(x)
    expected = torch.distributions.Normal(1.0, 2.0).log_prob(x) - pushed
    assert torch.allclose(other.log_weight(target), expected, atol=1e-10)


def test_consistency_is_the_mean_over_pairs():
    """Catches a mean that counts a path with itself, or pairs of different data."""
    evidences = torch.randn(4, 5) + 10 * torch.arange(5.0)
    pairs = [(j, k) for j in range(4) for k in range(4) if j != k]
    expected = sum((evidences[j] - evidences[k]).square().mean() for j, k in pairs) / len(pairs)
    assert float(consistency(evidences)) == pytest.approx(float(expected), abs=1e-12)
    two = evidences[:2]
    assert float(consistency(two)) == pytest.approx(float((two[0] - two[1]).square().mean()))


def test_consistency_averages_to_twice_the_variance():
    """Catches a factor: paths of one point of a table model, all pairs weighted by the pull."""
    f, b = torch.randn(4, 5), torch.randn(5, 4)
    chain = Chain(
        Categorical(torch.randn(1, 4)),
        [FunctionKernel(lambda z: Categorical(f[z]), lambda x: Categorical(b[x]))],
    )
    z, x = torch.arange(4), torch.full((4,), 2)
    ell = chain.replay([z, x]).log_evidence()
    q = b[2].softmax(0)
    grid = torch.stack([torch.stack([ell[i], ell[j]]) for i, j in product(range(4), repeat=2)], 1)
    weight = torch.stack([q[i] * q[j] for i, j in product(range(4), repeat=2)])
    each = torch.stack([consistency(grid[:, k : k + 1]) for k in range(16)])
    variance = (q * ell.square()).sum() - (q * ell).sum().square()
    assert float((weight * each).sum()) == pytest.approx(2 * float(variance), abs=1e-10)


def test_two_paths_of_importance_weighting_are_the_negative_sign():
    """Catches the constant -1/8 and its sign: the gap falls as the fourth power of l - l'."""
    mean, gaps = torch.randn(1, 30), []
    for size in (0.4, 0.2):
        half = 0.5 * size * torch.linspace(0.5, 1.0, 30)
        evidences = mean + torch.stack([half, -half])
        gaps.append(float(penalised_loss(evidences, -1 / 8) + log_z(evidences).mean()))
    assert gaps[0] / gaps[1] == pytest.approx(16.0, rel=0.05)
    assert abs(gaps[0]) < 2e-4
    other = penalised_loss(evidences, 1 / 8) + log_z(evidences).mean()
    assert abs(float(other)) > 50 * abs(gaps[1])


def test_bad_evidences_are_refused():
    """Catches a penalty of one path, and NaN that runs through."""
    for bad in (torch.zeros(1, 4), torch.zeros(4)):
        with pytest.raises(ValueError, match="two paths or more"):
            consistency(bad)
    with pytest.raises(ValueError, match="must be finite; got 1 "):
        penalised_loss(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]), 0.1)

"""Learned annealing: it starts at plain annealing, and regression is the gradient of the ELBO."""

import pytest
import torch
from torch import Tensor

from gentoolkit import Chain, Gaussian, elbo
from gentoolkit.core import checks
from gentoolkit.stochastic import (
    CorrectionMLP,
    GeometricPath,
    Langevin,
    MonteCarloDiffusion,
    annealed,
    even_schedule,
)
from gentoolkit.train import fit
from tests.flows.truth import perturbed
from tests.laws.examples import lopsided
from tests.stochastic.linear import STEP, K, affine_score, annealing_path, marginals

BETAS = even_schedule(K)


def langevin() -> MonteCarloDiffusion:
    return MonteCarloDiffusion(annealing_path(), BETAS, STEP, CorrectionMLP(2, 2, (16,)))


def seeded():
    return torch.Generator().manual_seed(4)


def plain():
    return annealed(annealing_path(), BETAS, lambda g: Langevin(g, STEP))


def bound(chain: Chain) -> Tensor:
    """The ELBO of 200 paths, with a gradient through each path as a whole."""
    return elbo(chain.push(200, seeded()).log_weight(annealing_path().target))


def test_training_starts_at_plain_annealing():
    """Catches a correction that is not zero at first, and a missing factor of two."""
    model, paths = langevin(), plain().push(100)
    ours = model.chain().replay(paths.states).log_weight(model.target)
    torch.testing.assert_close(ours, paths.log_weight(model.target), rtol=0, atol=1e-12)
    assert float(model.loss(model.pool(50)).detach()) == 0.0


def test_the_loss_is_the_gain_of_the_bound():
    """Catches a gain or a variance of another reversal: loss = ELBO(plain) - ELBO(model), exactly.

    On the same paths the two bounds differ by the stored pairs alone.
    """
    model = perturbed(langevin(), 0.3)
    before, after = bound(plain()), bound(model.chain())
    loss = model.loss(model.pool(200, generator=seeded()))
    assert loss.item() == pytest.approx((before - after).item(), rel=1e-9)
    ours = torch.autograd.grad(loss, list(model.parameters()))
    through = torch.autograd.grad(-after, list(model.parameters()))
    for a, b in zip(ours, through, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_a_gradient_reaches_every_parameter():
    """Catches a detached net."""
    model = perturbed(langevin(), 0.3)
    assert checks.dead_parameters(lambda: -bound(model.chain()), model) == []
    assert checks.dead_parameters(lambda: model.loss(model.pool(20)), model) == []


def test_any_correction_keeps_z():
    """Catches a reversal that is scored and sampled by different laws."""
    path = GeometricPath(Gaussian(torch.zeros(1, 2), 2.5), lopsided())
    net = CorrectionMLP(2, 2, (8,))
    model = perturbed(MonteCarloDiffusion(path, even_schedule(8), 0.05, net), 0.1)
    with torch.no_grad():
        log_w = model.chain().push(20_000).log_weight(model.target)
        pulled = model.chain().pull(path.target.sample(20_000)).log_weight(model.target)
    assert checks.bridge(log_w, pulled, path.target.log_z)
    assert not checks.bridge(log_w, pulled, path.target.log_z + 0.2)


def test_the_steps_keep_one_ratio():
    """Catches a learned reversal of another state in push than in pull."""
    model = perturbed(langevin(), 0.3)
    for step, x in zip(model.chain().steps, model.chain().push(7).states, strict=False):
        assert checks.same_ratio(step, x)


def test_regression_finds_the_score_of_the_marginal():
    """Catches a target of regression that is off by a factor: here the best c is known.

    The least squares over stored pairs give c = grad log q_k - grad log g_k, up to the order of the
    step size: the exact reversal's gain is compared, which is affine.
    """
    model, k = langevin(), 4
    pairs = model.pool(200_000, generator=torch.Generator().manual_seed(0))
    rows = pairs.beta == BETAS[k]
    y, miss = pairs.state[rows], pairs.miss[rows]
    design = torch.cat([y, torch.ones(len(y), 1)], 1)
    found = torch.linalg.lstsq(design, miss / (2 * STEP)).solution
    curvature, pull = affine_score(annealing_path().at(BETAS[k]))
    (mean, cov), gain = marginals(BETAS)[k - 1], torch.eye(2) - STEP * curvature
    total = gain @ cov @ gain.T + 2 * STEP * torch.eye(2)
    back = cov @ gain.T @ total.inverse()
    slope = (back - gain) / (2 * STEP)  # the exact reversal less the plain one
    shift = (mean - back @ (gain @ mean + STEP * pull) - STEP * pull) / (2 * STEP)
    torch.testing.assert_close(found[:2].T, slope, rtol=0, atol=0.02)
    torch.testing.assert_close(found[2], shift, rtol=0, atol=0.02)


def test_training_tightens_the_bound():
    """Catches a loss of the wrong sign: the bound must rise well above plain annealing's -2.995."""
    model = langevin()
    generator = torch.Generator().manual_seed(0)
    pairs = model.pool(2000, generator=generator)
    for _ in fit(model, pairs.batches(256, 300, generator), 1e-2, progress=False):
        pass
    with torch.no_grad():
        log_w = model.chain().push(4000, generator).log_weight(model.target)
    assert float(elbo(log_w)) > -1.5


def test_samples_have_the_shape_of_a_state():
    assert langevin().sample(5).shape == (5, 2)


def test_bad_arguments_are_refused():
    """Catches schedules and sizes that a chain would run with."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        MonteCarloDiffusion(annealing_path(), torch.tensor([0.0, 0.5]), STEP, CorrectionMLP(2, 2))
    with pytest.raises(ValueError, match="step_size must be positive"):
        MonteCarloDiffusion(annealing_path(), BETAS, 0.0, CorrectionMLP(2, 2))
    with pytest.raises(ValueError, match="at least 1"):
        langevin().pool(0)

"""Score-matching losses against integrals over one and two dimensions."""

from math import pi

import pytest
import torch
from torch import nn

from gentoolkit.core.checks import dead_parameters, mean_is
from gentoolkit.diffusion.matching import (
    denoising_matching,
    estimated_matching,
    explicit_matching,
    implicit_matching,
)
from gentoolkit.numerics import gaussian
from gentoolkit.targets import GaussianMixture

LINE = torch.linspace(-9, 9, 6001, dtype=torch.float64)[:, None]


def law(extra_var=0.0):
    """A mixture on the line, with added noise of variance `extra_var`."""
    stds = (torch.tensor([0.3, 0.5]).double() ** 2 + extra_var).sqrt()
    means = torch.tensor([[-1.0], [1.2]], dtype=torch.float64)
    return GaussianMixture(means, stds, torch.tensor([0.4, 0.6], dtype=torch.float64))


def mean_over(p, values):
    """Integral of p times values on the line; the trapezoid rule converges beyond all orders."""
    return float((p.log_prob(LINE).exp() * values.detach()).sum() * (LINE[1] - LINE[0]))


def guess(width=1):
    """A smooth wrong score."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, width)).double()


def test_implicit_is_explicit_less_a_constant():
    """Catches a lost 1/2, a trace of the wrong sign: Hyvärinen's identity, to 1e-9."""
    p, score = law(), guess()
    implicit = mean_over(p, implicit_matching(score, LINE))
    explicit = mean_over(p, explicit_matching(score, p.score, LINE))
    constant = mean_over(p, 0.5 * p.score(LINE).square().sum(1))
    assert implicit == pytest.approx(explicit - constant, abs=1e-9)
    # At the true score the loss is minus the constant, not zero.
    assert mean_over(p, implicit_matching(p.score, LINE)) == pytest.approx(-constant, abs=1e-9)
    wrong = mean_over(p, implicit_matching(score, LINE) + 0.5 * score(LINE).square().sum(1))
    assert wrong != pytest.approx(explicit - constant, abs=1e-3)


def test_denoising_learns_the_noisy_score():
    """Catches e for e / std, a plus for a minus: Vincent's identity, 4 standard errors."""
    p, std = law(), 0.4
    noisy, score = law(std**2), guess()
    constant = 0.5 / std**2 - mean_over(noisy, 0.5 * noisy.score(LINE).square().sum(1))
    x = p.sample(200_000)
    for s in (score, noisy.score):
        expected = mean_over(noisy, explicit_matching(s, noisy.score, LINE)) + constant
        result = mean_is(denoising_matching(s, x, std).detach(), expected, "denoising loss")
        assert result, result
    # The controls: the score of the clean law, and the opposite sign.
    clean = denoising_matching(p.score, x, std)
    assert not mean_is(clean, constant)
    assert not mean_is(denoising_matching(lambda at: -noisy.score(at), x, std), constant)


@pytest.mark.parametrize("loss", [estimated_matching])
@pytest.mark.parametrize("noise", ["signs", "normal"])
def test_slices_average_to_the_implicit_loss(loss, noise):
    """Catches a lost 1/2, e' J' e for another product, one e for a whole batch."""
    score = guess(3)
    x = torch.randn(1, 3).expand(100_000, 3)
    expected = float(implicit_matching(score, x[:1]))
    draws = loss(score, x, gaussian) if noise == "normal" else loss(score, x)
    result = mean_is(draws.detach(), expected)
    assert result, result
    assert not mean_is(draws.detach() + 0.5 * score(x).square().sum(1).detach(), expected)


def test_implicit_loss_in_the_plane_matches_the_hessian():
    """Catches a trace over the batch: for s = grad log p it is the Laplacian, in closed form."""
    p = GaussianMixture(torch.zeros(1, 2).double(), torch.tensor([0.7]), torch.ones(1))
    x = torch.randn(5, 2)
    expected = -2 / 0.49 + 0.5 * (x / 0.49).square().sum(1)
    assert torch.allclose(implicit_matching(p.score, x), expected, atol=1e-12)
    assert float(p.log_prob(torch.zeros(1, 2))) == pytest.approx(
        -float(torch.tensor(2 * pi * 0.49).log())
    )


@pytest.mark.parametrize("loss", [implicit_matching, estimated_matching])
def test_gradients_arrive(loss):
    """Catches a trace that is detached: the last bias alone has no part in the trace."""
    score = guess(2)
    x = torch.randn(6, 2)
    assert dead_parameters(lambda: loss(score, x).sum(), score) == []
    assert loss(guess(2).float(), x.float()).dtype == torch.float32
    assert dead_parameters(lambda: denoising_matching(score, x, 0.3).sum(), score) == []


def test_bad_arguments_say_what_is_wrong():
    """Catches integers, NaN, images where rows are needed, a net of another width."""
    score, x = guess(2), torch.randn(4, 2)
    with pytest.raises(TypeError, match="real numbers; got"):
        implicit_matching(score, torch.ones(4, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="finite; got"):
        estimated_matching(score, x * float("nan"))
    with pytest.raises(ValueError, match=r"\(B, D\); got"):
        estimated_matching(score, torch.randn(4, 1, 2))
    with pytest.raises(ValueError, match="shape of its input.*; got"):
        denoising_matching(lambda at: at[:, :1], x, 0.1)
    with pytest.raises(ValueError, match="std must be positive"):
        denoising_matching(score, x, 0.0)

"""The four coordinates of one unknown."""

import pytest
import torch

from gentoolkit.diffusion import (
    Denoiser,
    LinearBeta,
    LogSnrLinear,
    PredictsData,
    PredictsNoise,
    PredictsScore,
    PredictsVelocity,
    SubVP,
    VarianceExploding,
    tweedie,
)
from gentoolkit.targets import GaussianMixture

KINDS = [PredictsNoise(), PredictsData(), PredictsScore(), PredictsVelocity()]
SCHEDULES = [LogSnrLinear(), LinearBeta(), SubVP(), VarianceExploding(0.05, 10.0)]


@pytest.mark.parametrize("event", [(3,), (2, 4, 4)])
@pytest.mark.parametrize("p", KINDS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_right_output_gives_the_truth_in_every_coordinate(schedule, p, event):
    """Catches a lost sign of the score, a v of another schedule, levels spread over the batch."""
    x0, e = torch.randn(9, *event), torch.randn(9, *event)
    t = torch.linspace(0.05, 1.0, 9)
    a, s = (level.reshape(-1, *[1] * len(event)) for level in schedule.levels(t))
    x = a * x0 + s * e
    assert torch.allclose(schedule.add_noise(x0, e, t), x, atol=1e-14)
    output = p.target(x0, e, a, s)
    # At time 1 the data are divided by a signal of 0.0066: two digits go, no more.
    assert torch.allclose(p.to_data(x, output, a, s), x0, atol=1e-11)
    assert torch.allclose(p.to_noise(x, output, a, s), e, atol=1e-11)
    model = Denoiser(lambda x, t: output, schedule, p)
    assert torch.allclose(model.data(x, t), x0, atol=1e-11)
    assert torch.allclose(model.noise(x, t), e, atol=1e-11)
    assert torch.allclose(model.score(x, t), -e / s, atol=1e-10)
    # The control: the opposite sign is seen.
    assert not torch.allclose(p.to_data(x, -output, a, s), x0, atol=0.1)


@pytest.mark.parametrize("p", KINDS)
def test_one_time_serves_all_rows(p):
    """Catches a time of shape () that does not broadcast."""
    x, output = torch.randn(4, 2), torch.randn(4, 2)
    model, one = Denoiser(lambda x, t: output, LogSnrLinear(), p), torch.tensor(0.3)
    assert torch.equal(model.data(x, one), model.data(x, one.expand(4)))


MEANS = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def noisy_law(a, s, var=0.15):
    """The mixture's law at one level."""
    std = (a**2 * var + s**2).sqrt().expand(3)
    return GaussianMixture(a * MEANS, std, WEIGHTS)


@pytest.mark.parametrize("time", [0.02, 0.3, 0.6, 1.0])
def test_tweedie_is_the_posterior_mean(time):
    """Catches a deviation for a variance in Tweedie; oracles: autograd, and responsibilities."""
    schedule, var = LogSnrLinear(), 0.15
    t = torch.tensor(time)
    a, s = schedule.levels(t)
    law = noisy_law(a, s)
    x = law.sample(50).requires_grad_()
    (score,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    assert torch.allclose(law.score(x), score, rtol=0, atol=1e-12 * float(score.abs().max()))
    x = x.detach()
    gain = a * var / (a**2 * var + s**2)
    means = MEANS + gain * (x[:, None] - a * MEANS)  # (B, K, D)
    expected = (law.responsibilities(x)[..., None] * means).sum(1)
    assert torch.allclose(tweedie(x, score, a, s), expected, atol=1e-11)
    assert torch.allclose(PredictsScore().to_data(x, score, a, s), expected, atol=1e-11)
    assert not torch.allclose(tweedie(x, score, a, s.sqrt()), expected, atol=1e-2)


@pytest.mark.parametrize("p", KINDS)
def test_float32_stays_float32_and_near(p):
    """Catches a table in float64 that lifts the states, and a conversion that loses float32."""
    schedule = LogSnrLinear()
    x0, e = torch.randn(50, 2), torch.randn(50, 2)
    t = torch.linspace(0, 1, 50)
    low = [v.float() for v in (x0, e, t)]
    x = schedule.add_noise(*low)
    assert x.dtype == torch.float32
    a, s = (level[:, None] for level in schedule.levels(low[2]))
    data = p.to_data(x, p.target(*low[:2], a, s), a, s)
    assert data.dtype == torch.float32
    assert torch.allclose(data.double(), x0, atol=1e-4)


def test_bad_arguments_say_what_is_wrong():
    """Catches a division by no noise, and times of another number than rows."""
    schedule = LinearBeta()
    x = torch.randn(3, 2)
    zero = torch.zeros(3)
    for wrong in (
        lambda: Denoiser(lambda x, t: x, schedule, PredictsNoise()).score(x, zero),
        lambda: PredictsData().to_noise(x, x, 1.0, zero),
        lambda: PredictsScore().target(x, x, 1.0, 0.0),
    ):
        with pytest.raises(ValueError, match="needs noise; got"):
            wrong()
    with pytest.raises(ValueError, match="one for each row; got"):
        schedule.add_noise(x, x, torch.rand(2))
    with pytest.raises(ValueError, match=r"\[0, 1\].*; got"):
        schedule.add_noise(x, x, torch.tensor([0.1, 0.2, 1.2]))
    with pytest.raises(ValueError, match="must have the shape of x.*; got"):
        tweedie(x, x[:2], 1.0, 1.0)
    with pytest.raises(ValueError, match="signal must be positive"):
        tweedie(x, x, 0.0, 1.0)

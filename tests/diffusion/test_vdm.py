"""The continuous-time bound: an integral that does not see the schedule between its ends."""

from math import pi

import pytest
import torch

from gentoolkit.core.checks import dead_parameters, mean_is
from gentoolkit.diffusion import (
    VDM,
    Cosine,
    LearnedLogSnr,
    LinearBeta,
    LogSnrLinear,
    PredictsData,
    antithetic_times,
    moves_of,
    noisy_times,
)
from gentoolkit.nets import TimeMLP
from tests.diffusion.exact import Mixture, Normal, fixed

WIDE, NARROW = Mixture(((-1.0,), (1.5,)), (0.4, 0.6), 0.04), Normal()


def bent(high, low):
    """A learned schedule away from its start."""
    torch.manual_seed(3)
    schedule = LearnedLogSnr(high, low)
    with torch.no_grad():
        for parameter in schedule.parameters():
            parameter += 0.7 * torch.randn_like(parameter)
    return schedule


def information(schedule, time):
    """I(x_0; x_t) = h(x_t) - h(noise), by quadrature of the noisy law's entropy."""
    a, s = (float(level.detach()) for level in schedule.levels(torch.tensor(time)))
    return WIDE.entropy(a, s) - 0.5 * (1 + float((2 * torch.pi * torch.tensor(s**2)).log()))


@pytest.mark.parametrize("make", [LogSnrLinear, bent, Cosine], ids=["linear", "learned", "cosine"])
def test_the_integral_sees_the_ends_alone(make):
    """Catches a lost 1/2, d log SNR for d SNR: the truth is a difference of informations."""
    schedule = make(6.0, -8.0)
    truth = information(schedule, 0.0) - information(schedule, 1.0)
    model = VDM(WIDE.denoiser(schedule), (1,), schedule, PredictsData)
    x = WIDE.law().sample(40_000)
    # The times of one batch are not independent, so batches are the draws.
    losses = torch.stack([model.diffusion_loss(part).mean().detach() for part in x.chunk(200)])
    assert mean_is(losses, truth), mean_is(losses, truth)
    assert not mean_is(2 * losses, truth)
    assert not mean_is(losses, 1.02 * truth + 0.1)


def test_the_integral_of_another_mixture_is_known():
    """Catches an error that the test's own quadrature shares: Gaussian data, by hand.

    I(x_0; x_t) = log(1 + SNR var) / 2.
    """
    schedule = LogSnrLinear(6.0, -7.0)
    ends = torch.tensor([6.0, -7.0]).exp() * NARROW.var
    truth = float(0.5 * (ends[0].log1p() - ends[1].log1p()))
    model = VDM(NARROW.denoiser(schedule), (1,), schedule, PredictsData)
    x = NARROW.sample(40_000)
    losses = torch.stack([model.diffusion_loss(part).mean() for part in x.chunk(200)])
    assert mean_is(losses, truth), mean_is(losses, truth)


def test_the_bound_is_the_limit_of_many_steps():
    """Catches a missing decoder or source term: the grid's bound comes down to it as 1 / T."""
    schedule = LogSnrLinear()
    m = moves_of(schedule, noisy_times(schedule, 2))
    decoder = 0.5 * (NARROW.posterior_var(m)[0] / m.decoder_var + (2 * pi * m.decoder_var).log())
    ends = torch.tensor([6.0, -7.0]).exp() * NARROW.var
    middle = 0.5 * (ends[0].log1p() - ends[1].log1p())
    a2, s2 = m.signal[-1] ** 2, m.noise[-1] ** 2
    source = 0.5 * (a2 * (NARROW.var + NARROW.mean**2) + s2 - 1 - s2.log())
    limit = float(decoder + middle + source)
    gaps = []
    for steps in (500, 1000):
        m = moves_of(schedule, noisy_times(schedule, steps))
        gaps.append(NARROW.bound(m, fixed(m)) - limit)
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.02) and 0 < gaps[1] < 0.03
    model = VDM(NARROW.denoiser(schedule), (1,), schedule, PredictsData)
    x = NARROW.sample(100_000)
    bounds = torch.stack([model.bound(part).mean() for part in x.chunk(200)])
    assert mean_is(bounds, limit), mean_is(bounds, limit)
    assert not mean_is(bounds - decoder, limit)


def test_antithetic_times_are_uniform_and_even():
    """Catches times that leave out an end, or that all come from one part of [0, 1]."""
    like = torch.zeros(1)
    t = antithetic_times(8, like)
    assert torch.allclose(t.sort().values.diff(), torch.tensor(1 / 8), atol=1e-12)
    firsts = torch.stack([antithetic_times(3, like)[2] for _ in range(4000)])
    assert mean_is(firsts, 0.5) and mean_is(firsts.square(), 1 / 3)
    means = torch.stack([antithetic_times(64, like).square().mean() for _ in range(200)])
    assert float(means.std()) < 0.2 * float(torch.rand(64, 200).square().mean(0).std())


def test_training_reaches_the_schedule():
    """Catches a rate or a level detached from the learned curve; float32 stays float32."""
    model = VDM(TimeMLP(2, 2, (8,)), (2,), LearnedLogSnr())
    x = torch.randn(16, 2)
    assert dead_parameters(lambda: model.loss(x), model) == []
    small = VDM(TimeMLP(2, 2, (8,)), (2,), LearnedLogSnr()).float()
    assert small.bound(x.float()).dtype == torch.float32
    assert small.sample(3).dtype == torch.float32


def test_bad_arguments_say_what_is_wrong():
    """Catches an integral that diverges, integers, NaN, a net of another width."""
    net = TimeMLP(2, 2, (8,))
    with pytest.raises(ValueError, match="finite at both ends.*; got"):
        VDM(net, (2,), LinearBeta())
    with pytest.raises(ValueError, match="at least 1; got"):
        VDM(net, (2,), LogSnrLinear(), steps=0)
    model = VDM(net, (2,), LogSnrLinear())
    with pytest.raises(TypeError, match="dtype of the model.*; got"):
        model.loss(torch.ones(3, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="finite; got"):
        model.loss(torch.full((3, 2), torch.nan))
    with pytest.raises(ValueError, match=r"\(B, 2\); got"):
        model.loss(torch.randn(3, 3))
    with pytest.raises(ValueError, match="last layer"):
        VDM(TimeMLP(2, 1, (8,)), (2,), LogSnrLinear()).loss(torch.randn(3, 2))

"""Grids: the falling times of samplers and the rising ones of a discrete model are one grid."""

import pytest
import torch

from gentoolkit.diffusion import (
    DDPM,
    Ancestral,
    Betas,
    LogSnrLinear,
    PredictsNoise,
    even_times,
    noisy_times,
    prior,
    sub_grid,
)
from gentoolkit.diffusion.denoiser import Denoiser
from gentoolkit.diffusion.grids import thin
from gentoolkit.diffusion.samplers import last
from tests.diffusion.carried import PLANE, Exact


def test_both_directions_visit_the_same_times():
    """Catches a sub-grid off by one against the model's own: the oracle is counted by hand."""
    schedule = Betas.linear(12)
    rising = noisy_times(schedule, 12)
    whole = torch.cat([torch.zeros(1), rising]).flip(0)
    torch.testing.assert_close(whole, even_times(12), rtol=0, atol=1e-15)
    few = torch.tensor([2, 5, 7, 10, 12], dtype=torch.float64) / 12  # 2.4, 4.8, 7.2, 9.6, 12
    assert torch.equal(thin(rising, 5), few)
    assert torch.equal(sub_grid(5, 12), torch.cat([torch.zeros(1), few]).flip(0))
    for make in (lambda: thin(rising, 13), lambda: sub_grid(13, 12)):
        with pytest.raises(ValueError, match="at most the 12 of the whole grid; got 13"):
            make()


def test_a_sampler_walks_the_grid_of_a_discrete_model():
    """Catches a model and a sampler that read one grid differently: same noise, same datum.

    The schedule holds noise at time 0, so the sampler ends in x_1 and the datum is its estimate.
    """
    schedule = LogSnrLinear(6.0, -6.0)
    net, kind = Exact(PLANE, schedule), PredictsNoise(schedule)
    model = DDPM(net, (2,), schedule, 9)
    drawn = model.sample(5, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    noise = prior(schedule, 2).sample(5, generator)
    times = noisy_times(schedule, 9).flip(0)
    end = last(Ancestral()(net, schedule, kind, noise, times, generator))
    assert end.time == 0.0
    reader = Denoiser(net, schedule, kind)
    got = reader.data(end.x, reader.levels(torch.zeros(1))[0])
    torch.testing.assert_close(got, drawn, rtol=0, atol=1e-10)
    assert float((end.x - drawn).abs().max()) > 1e-3  # x_1 is not yet the datum

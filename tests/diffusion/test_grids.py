"""Grids: a discrete model and its samplers walk one grid."""

import pytest
import torch

from gentoolkit.diffusion import (
    DDPM,
    Betas,
    Denoiser,
    LogSnrLinear,
    PredictsNoise,
    ancestral,
    even_times,
    sub_grid,
)
from gentoolkit.nets import TimeMLP
from gentoolkit.processes.grids import noisy_times
from tests.diffusion.carried import PLANE, Exact


def test_models_and_samplers_visit_the_same_times():
    """Catches a sub-grid off by one against the model's own: the oracle is counted by hand."""
    schedule = Betas.linear(12)
    torch.testing.assert_close(noisy_times(schedule, 12), even_times(12)[:-1], rtol=0, atol=1e-15)
    model = DDPM(TimeMLP(2, 2, (4,)), (2,), schedule, 12)
    few = torch.tensor([12, 10, 7, 5, 2], dtype=torch.float64) / 12  # 12, 9.6, 7.2, 4.8, 2.4
    torch.testing.assert_close(model.coarser(5).times, few.flip(0), rtol=0, atol=1e-15)
    assert torch.equal(sub_grid(5, 12), torch.cat([few, torch.zeros(1)]))
    for make in (lambda: model.coarser(13), lambda: sub_grid(13, 12)):
        with pytest.raises(ValueError, match="at most the 12 of the whole grid; got 13"):
            make()


def test_a_sampler_walks_the_grid_of_a_discrete_model():
    """Catches a model and a sampler that read one grid differently: same noise, same data point.

    The schedule holds noise at time 0, so the sampler ends in x_1; the data point is estimated.
    """
    schedule = LogSnrLinear(6.0, -6.0)
    net = Exact(PLANE, schedule)
    drawn = DDPM(net, (2,), schedule, 9).sample(5, generator=torch.Generator().manual_seed(3))
    reader = Denoiser(net, schedule, PredictsNoise(), schedule.source((2,)))
    times, generator = noisy_times(schedule, 9), torch.Generator().manual_seed(3)
    *_, end = ancestral().walk(reader, 5, times, generator)
    assert end.time == 0.0
    got = reader.data(end.x, torch.tensor(0.0))
    torch.testing.assert_close(got, drawn, rtol=0, atol=1e-10)
    assert float((end.x - drawn).abs().max()) > 1e-3  # x_1 is not yet the data point

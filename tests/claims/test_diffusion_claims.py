"""The machinery of the claims about diffusion, and the short form of each."""

import pytest
import torch

from gentoolkit.core.checks import mean_is
from gentoolkit.diffusion import (
    DDIM,
    DDPM,
    DPMSolver2,
    GivenVariance,
    PredictsData,
    PredictsNoise,
    ProbabilityFlow,
    coefficients,
)
from gentoolkit.numerics import rk4
from gentoolkit.processes.grids import noisy_times
from tests.claims import s05_diffusion, s07_samplers, s09_ddim
from tests.diffusion.carried import Exact, slopes
from tests.diffusion.exact import TWO, gap_of_two


@pytest.mark.parametrize("levels", [1, 4, 16])
def test_gaps_are_those_of_the_bound(levels):
    """Catches a lost constant or prior, and a step's variance that is not the mean of its states'.

    Another quadrature for two rows, the library's own bound by sampling for the third.
    """
    schedule = s05_diffusion.SCHEDULE
    m = coefficients(schedule, noisy_times(schedule, levels))
    found = s05_diffusion.gaps(levels)
    assert found.fixed == pytest.approx(gap_of_two(m, False), abs=1e-6)
    assert found.state == pytest.approx(gap_of_two(m, True), abs=1e-6)
    assert found.state <= found.step <= found.fixed
    x = TWO.law().sample(50_000)
    noisy = (a * x + s * torch.randn_like(x) for a, s in zip(m.signal, m.noise, strict=True))
    spreads = [
        TWO.moments(y, a.expand(len(y)), s.expand(len(y)))[1].mean()
        for y, a, s in zip(noisy, m.signal, m.noise, strict=True)
    ]
    best = m.posterior_var + m.of_data**2 * torch.stack(spreads)
    given = GivenVariance(best)
    net, kind = TWO.denoiser(schedule), PredictsData()
    model = DDPM(net, (1,), schedule, levels, parametrisation=kind, variance=given)
    draws = model.terms(x[:20_000]).sum(0)
    result = mean_is(draws, found.step + TWO.entropy())
    assert result, result
    assert not mean_is(draws, found.step + TWO.entropy() + 0.1)


class Skewed(PredictsNoise):
    """A coordinate whose slope is off."""

    def to_data(self, x, output, signal, noise):
        return super().to_data(x, 1.01 * output, signal, noise)


def test_one_wrong_coordinate_is_seen(monkeypatch):
    """Catches a comparison of a coordinate with itself."""
    assert s05_diffusion.disagreement() < s05_diffusion.AGREE
    assert s05_diffusion.tweedie_error() < s05_diffusion.AGREE
    coordinates = (*s05_diffusion.COORDINATES[:-1], Skewed())
    monkeypatch.setattr(s05_diffusion, "COORDINATES", coordinates)
    assert s05_diffusion.disagreement() > 1e-3


def test_excess_is_zero_for_the_exact_net_alone(monkeypatch):
    """Catches a score on other noise than the exact net's, and a race that trains nothing."""
    monkeypatch.setattr(s05_diffusion, "POINTS", 300)
    assert s05_diffusion.excess(s05_diffusion.exact()).value == 0.0
    data, noise = (s05_diffusion.train(target, 0, 120) for target in ("data", "noise"))
    assert 5.0 * noise.error < noise.value < data.value
    torch.manual_seed(0)
    start = s05_diffusion.DDPM(
        s05_diffusion.TimeMLP(2, 2, (64, 64)), (2,), s05_diffusion.SCHEDULE, s05_diffusion.T
    )
    assert s05_diffusion.excess(start).value > 3.0 * noise.value


def test_the_slopes_are_the_solvers_orders(monkeypatch):
    """Catches errors against a reference from another start or another grid's end."""
    truth = s07_samplers.end(ProbabilityFlow(rk4), 80)
    monkeypatch.setattr(s07_samplers, "reference", lambda: truth)
    for sampler, order in ((DDIM(), 1), (DPMSolver2(), 2)):
        found = slopes(s07_samplers.errors(sampler, (20, 40)))
        assert found[0] == pytest.approx(order, abs=0.75)


def test_every_sampler_of_the_race_keeps_its_budget():
    """Catches two calls a step counted as one, and a sampler started from another law."""
    for name in s07_samplers.RACE:
        result = s07_samplers.contest(name, s07_samplers.WIDE, 40, 0, 500)
        assert result.calls == 40, name
        assert result.distance < 0.05, (name, "near the data with 40 calls")


def test_narrow_modes_are_missed_by_steps_even_in_time():
    """Catches a measure that does not see misses: the claim at 20 calls, one seed."""
    law = s07_samplers.NARROW
    plain = s07_samplers.contest(s07_samplers.PLAIN, law, 20, 0, 500)
    for name in s07_samplers.HIGHER:
        assert s07_samplers.contest(name, law, 20, 0, 500).off < 0.1 * plain.off, name
    assert s07_samplers.ideal(law, 0).off < 0.002
    far_off = law.means + torch.tensor([5.0, 0.0]) * law.stds[:, None]
    assert s07_samplers.far(torch.cat([law.means, far_off]), law) == 0.5


def test_the_exact_net_shows_consistency(monkeypatch):
    """Catches samplers that do not share their first noise, and a measure on other data."""
    monkeypatch.setattr(s09_ddim, "POINTS", 400)
    exact = Exact(s09_ddim.ring(0.25), s09_ddim.SCHEDULE)
    runs = s09_ddim.measure(exact, 0.25, 0, torch.float64)
    calm, noisy = runs.shift[s09_ddim.CALM], runs.shift[s09_ddim.NOISY]
    assert 10.0 * calm < noisy
    assert runs.off < 0.02
    assert abs(runs.distance[s09_ddim.CALM, s09_ddim.FINE]) < 0.03
    wrong = s09_ddim.measure(exact, 0.1, 0, torch.float64)
    assert wrong.off > 0.2, "the modes of another ring"


def test_a_study_counts_seeds():
    """Catches a comparison of means, which one bad seed decides."""

    def runs(calm: float, noisy: float, shift: float) -> s09_ddim.Runs:
        distance = {(s09_ddim.CALM, 5): calm, (s09_ddim.NOISY, 5): noisy}
        return s09_ddim.Runs(distance, {s09_ddim.CALM: 0.1, s09_ddim.NOISY: shift}, 0.0)

    seeds = [runs(0.1, 0.2, 3.0), runs(0.1, 0.2, 2.0), runs(9.0, 0.2, 4.0)]
    study = s09_ddim.Study(0.25, seeds, seeds[0])
    assert study.below(s09_ddim.CALM, s09_ddim.NOISY, 5) == 2
    assert study.factor() == pytest.approx(20.0)


def test_a_short_training_learns_the_ring(monkeypatch):
    """Catches a net trained on other times than the samplers ask for."""
    monkeypatch.setattr(s09_ddim, "POINTS", 500)
    law = s09_ddim.ring(0.25)
    fresh = law.sample(500)
    first, trained = (
        s09_ddim.draw(s09_ddim.train(0.25, 0, steps), DDIM(), 20, 0, torch.float32)
        for steps in (1, 150)
    )
    distance = [float(s09_ddim.energy_distance(x, fresh)) for x in (first, trained)]
    assert distance[1] < 0.3 * distance[0]

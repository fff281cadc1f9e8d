"""What every noising process promises, and the grids and the walk that all of them share."""

import pytest
import torch
from torch import Tensor

from gentoolkit.core.checks import mean_is
from gentoolkit.diffusion import Betas, LinearBeta, LogSnrLinear, VarianceExploding, coefficients
from gentoolkit.processes import (
    AbsorbingRates,
    Counted,
    JumpProcess,
    OrdinalRates,
    Process,
    UniformRates,
    even_times,
    falling_times,
    sub_grid,
    walk,
)

# A process, a datum, and two times s < t.
CASES = {
    "variance preserving": (LinearBeta(), [0.7, -1.2], 0.2, 0.5),
    "log-SNR": (LogSnrLinear(), [0.7, -1.2], 0.4, 0.9),
    "variance exploding": (VarianceExploding(0.1, 3.0), [0.7, -1.2], 0.3, 0.8),
    "betas": (Betas.linear(20, 1e-2, 0.3), [0.7, -1.2], 0.25, 0.6),
    "uniform jumps": (JumpProcess(UniformRates(3)), [0, 2], 0.3, 0.7),
    "jumps to neighbours": (JumpProcess(OrdinalRates(4), end=2.0), [0, 3], 0.4, 1.5),
    "masks": (JumpProcess(AbsorbingRates(3)), [0, 1], 0.4, 0.8),
}
EVERY = pytest.mark.parametrize("name", CASES)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def case(name, n=20_000):
    process, datum, s, t = CASES[name]
    return process, torch.tensor([datum]).expand(n, 2), s, t


def same_law(x: Tensor, y: Tensor) -> bool:
    """Whether two samples agree in means and mixed moments, within four standard errors."""
    features = [
        torch.cat([z, z.square(), z.prod(1, keepdim=True)], 1) for z in (x.double(), y.double())
    ]
    one, two = features
    error = ((one.var(0) + two.var(0)) / len(one)).sqrt().clamp_min(1e-12)
    return bool(((one.mean(0) - two.mean(0)).abs() <= 4.0 * error).all())


@EVERY
def test_the_posterior_undoes_the_noise(name):
    """Catches a posterior of other times or of another process than `sample`'s."""
    process, x_0, s, t = case(name)
    assert isinstance(process, Process)
    x_t = process.sample(x_0, t, seeded(1))
    x_s = process.posterior(x_t, x_0, s, t).sample(generator=seeded(2))
    assert x_s.shape == x_0.shape and x_s.dtype == x_0.dtype
    assert same_law(x_s, process.sample(x_0, s, seeded(3)))
    # The control: a step that leads half as far is seen.
    short = process.posterior(x_t, x_0, 0.5 * (s + t), t).sample(generator=seeded(2))
    assert not same_law(short, process.sample(x_0, s, seeded(3)))


@EVERY
def test_a_bridge_passes_where_the_process_does(name):
    """Catches a second end that is ignored: ends drawn from the process give its marginals."""
    process, x_0, _, t = case(name)
    x_end = process.sample(x_0, process.end, seeded(1))
    between = process.bridge(x_0, x_end, t).sample(generator=seeded(2))
    assert same_law(between, process.sample(x_0, t, seeded(3)))


@EVERY
def test_times_may_differ_from_row_to_row(name):
    """Catches a time that is used for all rows, and another law at equal times."""
    process, x_0, s, t = case(name, 4)
    early, late = torch.tensor([s, s, t, t]), torch.full((4,), process.end)
    rows = process.posterior(x_0, x_0, early, late)
    for i, time in enumerate((s, s, t, t)):
        one = process.posterior(x_0[i : i + 1], x_0[i : i + 1], time, process.end)
        torch.testing.assert_close(rows.log_prob(x_0)[i], one.log_prob(x_0[i : i + 1])[0])


@EVERY
def test_the_source_is_a_density_of_the_asked_shape(name):
    """Catches a source of another shape, or one that draws past its generator."""
    process = CASES[name][0]
    source = process.source((2,))
    x = source.sample(9, generator=seeded())
    assert x.shape == (9, 2) and torch.equal(x, source.sample(9, generator=seeded()))
    assert source.log_prob(x).shape == (9,)


@pytest.mark.parametrize("name", ["variance preserving", "log-SNR", "variance exploding", "betas"])
def test_gaussian_posteriors_are_the_coefficients_of_a_grid(name):
    """Catches r for 1 - r and a lost signal: the oracle is Bayes' rule on a grid, tested apart."""
    schedule = CASES[name][0]
    c = coefficients(schedule, torch.tensor([0.8, 0.55, 0.3]))
    x_t, x_0 = torch.randn(5, 2), torch.randn(5, 2)
    for i in (1, 2):
        law = schedule.posterior(x_t, x_0, float(c.times[i - 1]), float(c.times[i]))
        mean = c.of_state[i] * x_t + c.of_data[i] * x_0
        torch.testing.assert_close(law.mean, mean)
        torch.testing.assert_close(law.std, c.posterior_var[i].sqrt().expand(5, 2))
    x = schedule.sample(x_0[:1].expand(20_000, 2), 0.55, seeded())
    assert mean_is(x[:, 0], float(c.signal[1] * x_0[0, 0]))


def test_a_walk_yields_each_state_once_with_its_calls():
    """Catches states off by one, an estimate of another state, and a graph that is kept."""
    weight = torch.ones(2, requires_grad=True)
    net = Counted(lambda x: x * weight)

    def advance(x, i):
        estimate = net(x)
        return estimate + i, 2.0 * net(estimate)

    states = list(walk(advance, torch.ones(3, 2), [1.0, 0.6, 0.1], net))
    assert [s.time for s in states] == [1.0, 0.6, 0.1]
    assert [float(s.x[0, 0]) for s in states] == [1.0, 2.0, 4.0]
    assert [float(s.estimate[0, 0]) for s in states] == [1.0, 3.0, 3.0]
    assert [s.calls for s in states] == [0, 2, 4] and not states[-1].x.requires_grad
    uncounted = list(walk(lambda x, i: (x, x), torch.ones(3, 2), [1.0, 0.6, 0.1]))
    assert [s.calls for s in uncounted] == [0, 1, 2]
    with pytest.raises(ValueError, match="the last state must be finite"):
        list(walk(lambda x, i: (x, x * torch.nan), torch.ones(1, 2), [1.0, 0.0]))


def test_grids_fall_from_the_end_to_the_data():
    """Catches a grid that rises, leaves out an end, or belongs to another end."""
    assert falling_times(4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert falling_times(2, 5.0).tolist() == [5.0, 2.5, 0.0]
    assert even_times(2, 0.1, 0.9).tolist() == pytest.approx([0.9, 0.5, 0.1])
    given = torch.tensor([2.0, 1.0])
    assert torch.equal(falling_times(given, 2.0), given)
    assert sub_grid(4, 4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize(
    ("times", "error", "words"),
    [
        (0, ValueError, "at least 1"),
        ([1.0, 0.0], TypeError, "floating-point tensor; got list"),
        (torch.tensor([1, 0]), TypeError, "floating-point"),
        (torch.tensor([1.0]), ValueError, "one step or more"),
        (torch.tensor([0.0, 1.0]), ValueError, "turn them round"),
        (torch.tensor([1.5, 0.0]), ValueError, r"\[0, 1\]; got 0.0 to 1.5"),
        (torch.tensor([1.0, torch.nan]), ValueError, r"\[0, 1\]"),
    ],
)
def test_bad_grids_are_refused(times, error, words):
    """Catches a fault that shows only at the first state, or never."""
    with pytest.raises(error, match=words):
        falling_times(times)

"""Soft truncation: weights, importance sampled times, and the bound of the perturbed data."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from gentoolkit.diffusion import (
    Denoiser,
    LinearBeta,
    PaintedCut,
    PowerCut,
    PredictsNoise,
    VarianceExploding,
    bound_times,
    truncated_matching,
)
from tests.diffusion.carried import LINE, VP, law_at


def profile(t):
    """Any loss per time."""
    return 1 + 0.5 * np.sin(6 * t) + 0.3 * np.log(t) ** 2


def beta(t):
    return 0.1 + 19.9 * t


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.2, 2.0])
def test_cuts_have_the_law_they_state(power):
    """Catches the inverse of k = 1 used for other k, and a lost end of the range."""
    law = PowerCut(1e-3, 1.0, power)
    cuts = law.sample(20_000, torch.Generator().manual_seed(0), torch.float64)
    assert 1e-3 <= float(cuts.min()) and float(cuts.max()) <= 1.0
    for t in (2e-3, 0.03, 0.4):
        mass = quad(lambda c: c**-power, 1e-3, 1.0)[0]
        exact = quad(lambda c: c**-power, 1e-3, t)[0] / mass
        assert float(law.cdf(torch.tensor(t).double())) == pytest.approx(exact, abs=1e-9)
        error = (exact * (1 - exact) / len(cuts)) ** 0.5
        assert abs(float((cuts <= t).double().mean()) - exact) < 4 * error
    ends = torch.tensor([1e-4, 1e-3, 1.0, 2.0], dtype=torch.float64)
    assert torch.allclose(law.cdf(ends), torch.tensor([0.0, 0.0, 1.0, 1.0]).double())


def test_a_very_large_power_is_hard_truncation():
    """Catches an overflow of cut^(1 - k)."""
    law = PowerCut(1e-5, 1.0, 200.0)
    cuts = law.sample(100, torch.Generator().manual_seed(0))
    assert bool((cuts < 1.1e-5).all()) and float(law.cdf(torch.tensor(2e-5))) > 0.999


def test_a_random_cut_weighs_times_by_its_distribution():
    """Catches a weight P(cut >= t), and a mean over another law than that which is drawn."""
    law = PowerCut(1e-3, 1.0, 1.2)
    weight = lambda t: float(law.cdf(torch.tensor(t, dtype=torch.float64)))  # noqa: E731
    exact = quad(lambda t: profile(t) * weight(t), 1e-3, 1.0, limit=200)[0]
    assert exact == pytest.approx(1.319874, abs=1e-6)
    t = np.geomspace(1e-3, 1.0, 20_001)
    pieces = 0.5 * (profile(t)[1:] + profile(t)[:-1]) * np.diff(t)
    tails = np.append(np.cumsum(pieces[::-1])[::-1], 0.0)
    cuts = law.sample(200_000, torch.Generator().manual_seed(1), torch.float64).numpy()
    values = np.interp(np.log(cuts), np.log(t), tails)
    assert abs(values.mean() - exact) < 4 * values.std() / len(cuts) ** 0.5
    # Negative control: the weight turned round is far away.
    wrong = quad(lambda t: profile(t) * (1 - weight(t)), 1e-3, 1.0, limit=200)[0]
    assert abs(wrong - exact) > 100 * values.std() / len(cuts) ** 0.5


def test_a_painted_law_is_even_in_the_logarithm():
    """Catches shares of bins of t where bins of log t are meant."""
    edges = torch.logspace(-4, 0, 5, dtype=torch.float64)
    law = PaintedCut(edges, torch.ones(4, dtype=torch.float64))
    even = PowerCut(1e-4, 1.0, 1.0)
    t = torch.logspace(-4.5, 0.2, 50, dtype=torch.float64)
    assert torch.allclose(law.cdf(t), even.cdf(t), atol=1e-12)
    law = PaintedCut(edges, torch.tensor([0.0, 3.0, 0.0, 1.0]).double())
    cuts = law.sample(4000, torch.Generator().manual_seed(0))
    second = ((cuts > 1e-3) & (cuts < 1e-2)).double().mean()
    assert abs(float(second) - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5


@pytest.mark.parametrize(
    ("cut", "z", "median"),
    [(1e-5, 23.864472, 0.114421), (1e-3, 19.165387, 0.304631), (0.1, 12.206538, 0.626323)],
)
def test_times_follow_the_rate_over_the_variance(cut, z, median):
    """Catches g^2 without 1/v, and a Z of another range: `beta / v` is integrated by quadrature."""
    t, measured = bound_times(VP, 4001, cut, torch.Generator().manual_seed(0), like=LINE.means)
    density = lambda t: beta(t) / -np.expm1(-(0.1 * t + 9.95 * t * t))  # noqa: E731
    parts = [cut, *(p for p in (1e-4, 1e-3, 1e-2, 0.1) if p > cut), 1.0]
    area = sum(quad(density, a, b)[0] for a, b in zip(parts, parts[1:], strict=False))
    assert float(measured) == pytest.approx(area, abs=1e-7)
    assert float(measured) == pytest.approx(z, abs=1e-6)
    assert float(VP.time_of(VP.log_snr(torch.tensor(cut).double()) - measured / 2)) == (
        pytest.approx(median, abs=1e-6)
    )
    below = float((t <= median).double().mean())
    assert abs(below - 0.5) < 4 * 0.5 / 4001**0.5


def test_noise_that_explodes_is_drawn_evenly_in_its_logarithm():
    """Catches a law made for one schedule alone: far above `low`, log noise is uniform."""
    schedule = VarianceExploding(1e-3, 10.0)
    cut = schedule.time_of(torch.tensor(-2 * np.log(0.1)).double())
    t, z = bound_times(schedule, 20_000, cut, torch.Generator().manual_seed(0), like=LINE.means)
    assert float(z) == pytest.approx(2 * np.log(10 / 0.1), abs=1e-6)
    share = float((schedule.noise(t) < 1.0).double().mean())
    assert abs(share - 0.5) < 4 * 0.5 / 20_000**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_is_the_weighted_error_of_the_score(dtype):
    """Catches a lost 1/2 or Z: a linear net's error is known by quadrature."""
    cut, n = 0.02, 40_000
    denoiser = Denoiser(lambda x, t: 0.3 * x, VP, PredictsNoise())
    x = LINE.sample(n, torch.Generator().manual_seed(2)).to(dtype)
    loss = truncated_matching(denoiser, x, cut, torch.Generator().manual_seed(3))
    assert loss.shape == (n,) and loss.dtype == dtype

    second = float((LINE.weights * (LINE.means[:, 0] ** 2 + LINE.stds**2)).sum())

    def error(t):
        a2 = np.exp(-(0.1 * t + 9.95 * t * t))
        s2 = 1 - a2
        return 0.5 * beta(t) / s2 * (0.09 * a2 * second + (0.3 * s2**0.5 - 1) ** 2)

    exact = quad(error, cut, 1.0, limit=200)[0]
    assert abs(float(loss.mean()) - exact) < 4 * float(loss.std()) / n**0.5


@pytest.mark.parametrize(
    ("cut", "entropy"), [(1e-3, 0.726651), (0.01, 0.741120), (0.1, 1.186367), (0.5, 1.440949)]
)
def test_the_bound_of_the_cut_data_is_tight_for_the_exact_score(cut, entropy):
    """Catches a lost divergence of the noising or a lost 1/2: with the exact score the bound is
    the entropy of the data noised to the cut, but for what is left of the signal at the end."""

    def squared_score(t):
        law = law_at(LINE, VP, t)
        grid = torch.linspace(-7, 7, 4001, dtype=torch.float64)[:, None]
        p = law.log_prob(grid).exp()
        return float(torch.trapezoid(p * law.score(grid)[:, 0] ** 2, grid[:, 0]))

    spent = torch.linspace(0.0, 1.0, 1201, dtype=torch.float64)
    times = cut * (1.0 / cut) ** spent
    values = [0.5 * beta(t) * (1 - squared_score(t)) for t in times.tolist()]
    grid = torch.linspace(-7, 7, 4001, dtype=torch.float64)[:, None]
    last = law_at(LINE, VP, 1.0).log_prob(grid).exp()
    prior = float(
        torch.trapezoid(last * (0.5 * grid[:, 0] ** 2 + 0.5 * np.log(2 * np.pi)), grid[:, 0])
    )
    bound = prior + float(torch.trapezoid(torch.tensor(values).double() * times, times.log()))
    start = law_at(LINE, VP, cut).log_prob(grid)
    truth = -float(torch.trapezoid(start.exp() * start, grid[:, 0]))
    assert truth == pytest.approx(entropy, abs=2e-5)
    assert 0.0 < bound - truth < 3e-5


def test_one_generator_rules_cut_times_and_noise():
    """Catches a draw past the generator."""
    denoiser = Denoiser(lambda x, t: 0.5 * x, VP, PredictsNoise())
    x, before = LINE.sample(64, torch.Generator().manual_seed(0)), torch.get_rng_state()

    def once():
        g = torch.Generator().manual_seed(7)
        return truncated_matching(denoiser, x, PowerCut().sample(1, g), g)

    assert torch.equal(once(), once()) and torch.equal(before, torch.get_rng_state())


def test_bad_input_is_named():
    """Catches a silent number where the bound does not exist."""
    for arguments in ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (-1.0, 1.0)):
        with pytest.raises(ValueError, match="0 < smallest < largest"):
            PowerCut(*arguments)
    for power in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="power must be 0 or more"):
            PowerCut(power=power)
    with pytest.raises(ValueError, match="edges must rise"):
        PaintedCut(torch.tensor([0.0, 1.0]), torch.ones(1))
    for shares in (torch.zeros(2), torch.tensor([1.0, -1.0]), torch.ones(3)):
        with pytest.raises(ValueError, match="shares must hold"):
            PaintedCut(torch.tensor([0.1, 0.5, 1.0]), shares)
    denoiser, x = Denoiser(lambda x, t: x, VP, PredictsNoise()), torch.zeros(3, 1)
    for cut in (0.0, 1.0):
        with pytest.raises(ValueError, match="cut < last"):
            truncated_matching(denoiser, x, cut)
    with pytest.raises(ValueError, match="one cut"):
        truncated_matching(denoiser, x, torch.tensor([0.1, 0.2]))
    with pytest.raises(TypeError, match="real numbers"):
        truncated_matching(denoiser, torch.zeros(3, 1, dtype=torch.long), 0.1)
    with pytest.raises(ValueError, match=r"times must lie in \[0, 1\]"):
        bound_times(LinearBeta(), 3, 1.5)

"""Random samplers: exact laws on Gaussian data, marginals, coordinates, and what is refused."""

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.diffusion import (
    DDIM,
    EDM,
    AdaptiveFlow,
    Denoiser,
    DPMSolver2,
    DPMSolverPlusPlus2M,
    EulerMaruyama,
    PredictorCorrector,
    PredictsData,
    PredictsNoise,
    PredictsScore,
    PredictsVelocity,
    ProbabilityFlow,
    SubVP,
    VarianceExploding,
    ancestral,
    even_log_snr,
    even_times,
    karras_times,
)
from gentoolkit.targets import GaussianMixture
from tests.diffusion.carried import LINE, NORMAL, PLANE, VP, Exact, exact, law_at, run

ALL = [
    ancestral(),
    ancestral(wide=True),
    EulerMaruyama(),
    PredictorCorrector(),
    ProbabilityFlow(),
    EDM(),
    EDM(churn=10.0),
    DPMSolver2(),
    DPMSolverPlusPlus2M(),
    DDIM(),
    DDIM(0.5),
    AdaptiveFlow(),
]
IDS = [repr(s).replace("function ", "")[:28] for s in ALL]
NOISE = PredictsNoise()


def moments(law):
    """Mean and second moment of a mixture on the line."""
    mean, square = law.means[:, 0], law.means[:, 0].square() + law.stds.square()
    return float((law.weights * mean).sum()), float((law.weights * square).sum())


def test_euler_maruyama_has_its_exact_discrete_law():
    """Catches g for g^2, half of it, or noise of the wrong step: an affine recursion in beta(t)."""
    mu, v0, times = 1.3, 0.25, even_times(40, 0.02)
    mean, variance = 0.0, 1.0
    for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        beta, integral = 0.1 + 19.9 * t, torch.tensor(0.1 * t + 0.5 * 19.9 * t * t)
        a, spread = (-0.5 * integral).exp(), -torch.expm1(-integral)
        total = a**2 * v0 + spread  # score = -(x - a mu) / total
        gain = 1 + (t - s) * (0.5 * beta - beta / total)
        mean = float(gain * mean + (t - s) * beta * a * mu / total)
        variance = float(gain**2 * variance + beta * (t - s))
    y = run(EulerMaruyama(), NORMAL, VP, torch.randn(40_000, 1), times, seed=1)[:, 0]
    for value, truth in ((y, mean), ((y - mean).square(), variance)):
        result = checks.mean_is(value, truth)
        assert result, result
    # The control: the law in continuous time is another one at 40 steps.
    _, square = moments(law_at(NORMAL, VP, 0.02))
    assert not checks.mean_is(y.square(), square)


@pytest.mark.parametrize("sampler", ALL, ids=IDS)
@pytest.mark.parametrize(
    "schedule", [VP, VarianceExploding(0.02, 15.0), SubVP(0.1, 20.0)], ids=["vp", "ve", "sub-vp"]
)
def test_marginals_are_those_of_the_data(sampler, schedule):
    """Catches a wrong drift or noise on any schedule: two moments and each mode's share."""
    end, n = 0.02, 4_000
    x = law_at(LINE, schedule, 1.0).sample(n, torch.Generator().manual_seed(3))
    times = even_log_snr(schedule, 100, end)
    y = run(sampler, LINE, schedule, x, times, seed=4)[:, 0]
    law = law_at(LINE, schedule, end)
    mean, square = moments(law)
    share = float(law.weights[1])
    # A first-order sampler at 100 steps keeps a bias of a few hundredths of the spread.
    for values, truth, bias in ((y, mean, 0.03), (y.square(), square, 0.06)):
        error = float(values.std()) / n**0.5
        assert abs(float(values.mean()) - truth) < 4 * error + bias
    right = (y > 0.25).double()
    assert abs(float(right.mean()) - share) < 4 * float(right.std()) / n**0.5 + 0.01
    left = y[y < 0.25]
    width = float(law.stds[0])
    assert float(left.std()) == pytest.approx(width, rel=0.12)


def test_the_marginal_check_sees_a_wrong_net():
    """The control: a score off by a fifth, and noise of half the variance, are both seen."""
    times = even_log_snr(VP, 100, 0.02)
    x = law_at(LINE, VP, 1.0).sample(4_000)

    def weak(x, t):
        return 0.8 * net(x, t)

    net = Exact(LINE, VP)
    y = ancestral().sample(Denoiser(weak, VP, NOISE), x, times)[:, 0]
    law = law_at(LINE, VP, 0.02)
    assert abs(float(y[y < 0.25].std()) / float(law.stds[0]) - 1.0) > 0.2
    less = DDIM(1.0).sample(exact(LINE, VP), 0.5 * x, times)[:, 0]
    share = float((less > 0.25).double().mean())
    assert share == pytest.approx(0.6, abs=0.1)  # ancestral noise forgets the start
    kept = DDIM(0.0).sample(exact(LINE, VP), 0.5 * x, times)[:, 0]
    assert abs(float((kept > 0.25).double().mean()) - 0.6) > 0.04


def test_the_corrector_has_its_known_bias():
    """Catches a step off by a factor 2 or 4, and noise without its root.

    On N(0, V I) in many dimensions the rule's step is e = 2 r^2 V^2 / V', and the stationary
    variance V' solves V' (1 - e / (2 V)) = V: it is V (1 + r^2).
    """
    wide, r = 400, 0.3
    law = GaussianMixture(torch.zeros(1, wide), torch.tensor([0.5]), torch.ones(1))
    times = torch.tensor([0.5, 0.4999])
    x = law_at(law, VP, 0.5).sample(100, torch.Generator().manual_seed(1))
    y = run(PredictorCorrector(r, 300), law, VP, x, times, seed=2)
    ratio = float(y.square().mean()) / float(law_at(law, VP, 0.4999).stds[0]) ** 2
    assert ratio == pytest.approx(1 + r**2, abs=0.02)


@pytest.mark.parametrize("sampler", ALL, ids=IDS)
def test_every_parametrisation_gives_the_same_path(sampler):
    """Catches an output read in the wrong coordinate, and noise drawn past the generator."""
    x, times = torch.randn(6, 2), even_times(12)
    paths = []
    for kind, reading in (
        ("noise", PredictsNoise),
        ("data", PredictsData),
        ("score", PredictsScore),
        ("velocity", PredictsVelocity),
    ):
        model = exact(PLANE, VP, kind, reading())
        states = sampler.walk(model, x, times, torch.Generator().manual_seed(7))
        paths.append([s.x for s in states])
    for path in paths[1:]:
        for one, two in zip(paths[0], path, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sampler", ALL, ids=IDS)
def test_states_follow_the_times(sampler):
    """Catches frames off by one, a foreign estimate, a lost dtype and a kept graph."""
    x = torch.randn(5, 2, requires_grad=True)
    times = karras_times(VP, 7, 0.01)
    model = exact(PLANE, VP)
    states = list(sampler.walk(model, x, times, torch.Generator().manual_seed(1)))
    assert [s.time for s in states] == pytest.approx(times.tolist())
    assert torch.equal(states[0].x, x) and not any(s.x.requires_grad for s in states)
    if sampler != EDM(churn=10.0):
        for state in states[:-1]:
            a, s = VP.levels(torch.tensor(state.time))
            score = law_at(PLANE, VP, state.time).score(state.x)
            torch.testing.assert_close(state.estimate, (state.x + s**2 * score) / a)
    single = list(sampler.walk(model, x.detach().float(), times.float()))
    assert all(s.x.dtype == s.estimate.dtype == torch.float32 for s in single)


def test_images_and_single_rows_pass():
    """Catches a sampler that only knows the plane."""
    x = torch.randn(1, 1, 8, 8)
    for sampler in ALL:
        model = Denoiser(lambda x, t: 0.1 * x, VP, NOISE)
        assert sampler.sample(model, x, 4).shape == x.shape


def test_a_graph_is_not_kept_but_the_caller_keeps_his_mode():
    """Catches no_grad that leaks out of a generator between two states."""
    for sampler in ALL:
        states = sampler.walk(exact(PLANE, VP), torch.randn(2, 2), 3)
        next(states)
        assert torch.is_grad_enabled()
        next(states)
        assert torch.is_grad_enabled()


def call(**changed):
    """A call of DDIM with some arguments changed."""
    given = {"net": Exact(PLANE, VP), "x": torch.zeros(2, 2), "times": even_times(4), **changed}
    return DDIM().walk(Denoiser(given["net"], VP, NOISE), given["x"], given["times"])


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"times": torch.tensor([0.1, 0.5])}, ValueError, "must fall strictly.*turn them round"),
        ({"times": torch.tensor([0.5, 0.5])}, ValueError, "must fall strictly"),
        ({"times": torch.tensor([1.1, 0.5])}, ValueError, r"in \[0, 1\]; got 0.5 to 1.1"),
        ({"times": torch.tensor([0.5, -0.1])}, ValueError, r"in \[0, 1\]"),
        ({"times": torch.tensor([1.0, torch.nan])}, ValueError, r"in \[0, 1\]"),
        ({"times": torch.tensor([1.0])}, ValueError, "one step or more"),
        ({"times": torch.tensor([3, 2, 1])}, TypeError, "floating-point tensor"),
        ({"times": [1.0, 0.0]}, TypeError, "floating-point tensor; got list"),
        ({"x": torch.zeros(2, 2, dtype=torch.uint8)}, TypeError, "floating-point numbers"),
        ({"x": torch.full((2, 2), torch.nan)}, ValueError, "first states must be finite"),
        ({"x": torch.zeros(0, 2)}, ValueError, "first states is empty"),
        ({"x": 3}, ValueError, "no source to draw 3"),
    ],
)
def test_bad_input_is_refused_at_the_call(changed, error, words):
    """Catches a fault that shows only at the first state, or never."""
    with pytest.raises(error, match=words):
        call(**changed)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: even_times(0), "at least 1"),
        (lambda: PredictorCorrector(ratio=0.0), "ratio must be positive"),
        (lambda: PredictorCorrector(corrections=0), "corrections must be at least 1"),
        (lambda: list(call(net=lambda x, t: x[:, :1])), "shape of its input"),
        (lambda: list(call(net=lambda x, t: x * torch.nan)), "the last state must be finite"),
    ],
)
def test_bad_settings_and_bad_nets_are_refused(make, words):
    """Catches (B, 1) that would broadcast, and a NaN handed on as a sample."""
    with pytest.raises(ValueError, match=words):
        make()


def test_a_grid_does_not_round_with_the_default_dtype():
    """Catches float64 times that were computed in float32 on the way."""
    exact = karras_times(VP, 7, 0.01)
    torch.set_default_dtype(torch.float32)
    assert torch.equal(karras_times(VP, 7, 0.01), exact)

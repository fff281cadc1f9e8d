"""The bound of the discrete model, term by term, against closed forms and quadrature."""

from math import pi

import pytest
import torch

from gentoolkit.core.checks import dead_parameters, mean_is
from gentoolkit.diffusion import (
    DDPM,
    Betas,
    Coefficients,
    GivenVariance,
    LearnedVariance,
    LinearBeta,
    LogSnrLinear,
    NoisingVariance,
    PosteriorVariance,
    PredictsData,
    PredictsNoise,
    PredictsScore,
    PredictsVelocity,
    ReverseVariance,
    Schedule,
    SubVP,
    VarianceExploding,
    coefficients,
    exact_weights,
)
from gentoolkit.nets import TimeMLP
from gentoolkit.processes.grids import noisy_times
from tests.diffusion.exact import TWO, Matched, Normal, fixed, gap_of_two

SCHEDULE = LogSnrLinear()
DATA = Normal()


def grid(steps: int, schedule: Schedule = SCHEDULE) -> Coefficients:
    return coefficients(schedule, noisy_times(schedule, steps))


def normal_model(
    steps: int, variance: ReverseVariance | None = None, schedule: Schedule = SCHEDULE
) -> DDPM:
    return DDPM(
        DATA.denoiser(schedule),
        (1,),
        schedule,
        steps,
        parametrisation=PredictsData(),
        variance=variance,
    )


@pytest.mark.parametrize("schedule", [SCHEDULE, LinearBeta(), SubVP(), VarianceExploding(0.1, 9)])
def test_coefficients_are_the_conditional_laws(schedule):
    """Catches abar_t for abar_{t-1}: noising steps compose, and Bayes' rule gives the posterior."""
    m = grid(12, schedule)
    keep, var = torch.tensor(1.0), torch.tensor(0.0)
    for i in range(12):
        before = var
        var = m.keep[i] ** 2 * var + m.noising_var[i]
        if i:
            # Precisions add: N(x_i; keep x, noising) times N(x; signal x_0, before).
            precision = 1 / before + m.keep[i] ** 2 / m.noising_var[i]
            posterior = (1 / precision, m.keep[i] / m.noising_var[i], keep / before)
            assert torch.isclose(m.posterior_var[i], posterior[0], rtol=1e-9)
            assert torch.isclose(m.of_state[i], posterior[0] * posterior[1], rtol=1e-9)
            assert torch.isclose(m.of_data[i], posterior[0] * posterior[2], rtol=1e-9)
        keep = keep * m.keep[i]
        assert torch.isclose(keep, m.signal[i], rtol=1e-12)
        assert torch.isclose(var, m.noise[i] ** 2, rtol=1e-10)
    assert (float(m.posterior_var[0]), float(m.of_state[0]), float(m.of_data[0])) == (0, 0, 1)


@pytest.mark.parametrize(
    "kind", [PredictsNoise(), PredictsData(), PredictsScore(), PredictsVelocity()]
)
def test_four_coordinates_of_one_term(kind):
    """Catches a lost square, abar_t for abar_{t-1}, a wrong sign of the score: relative 1e-9.

    The oracle writes every form in alpha and abar, in which the coefficients are nowhere written.
    """
    steps, n = 30, 6
    output, draws = torch.randn(n, 2), torch.Generator()
    model = DDPM(lambda x, t: output, (2,), SCHEDULE, steps, parametrisation=kind)
    x0 = torch.randn(n, 2)
    rows = [
        model.terms(x0, generator=draws.manual_seed(1), coordinate=form)
        for form in (
            None,
            PredictsData(),
            PredictsNoise(),
            PredictsScore(),
            PredictsVelocity(),
        )
    ]
    for row in rows:
        assert row.shape == (steps + 1, n) and torch.allclose(row, rows[0], rtol=1e-9)
    assert torch.equal(model.elbo(x0, generator=draws.manual_seed(1)), -rows[0].sum(0))
    abar = torch.cat([torch.ones(1), model.coefficients().log_snr.sigmoid()])
    snr = abar / (1 - abar)
    draws.manual_seed(1)
    for t in range(1, steps + 1):
        e = torch.randn(n, 2, generator=draws)
        if t == 1:
            continue
        alpha = abar[t] / abar[t - 1]
        s2 = (1 - alpha) * (1 - abar[t - 1]) / (1 - abar[t])
        x = abar[t].sqrt() * x0 + (1 - abar[t]).sqrt() * e
        guess = kind.to_data(x, output, abar[t].sqrt(), (1 - abar[t]).sqrt())
        ehat = (x - abar[t].sqrt() * guess) / (1 - abar[t]).sqrt()
        gap = (ehat - e).square().sum(1)
        for expected in (
            (1 - alpha) ** 2
            * abar[t - 1]
            / (1 - abar[t]) ** 2
            * (guess - x0).square().sum(1)
            / (2 * s2),
            0.5 * (snr[t - 1] - snr[t]) * (guess - x0).square().sum(1),
            0.5 * (snr[t - 1] - snr[t]) * (1 - abar[t]) / abar[t] * gap,
            (1 - alpha) ** 2 / (2 * s2 * (1 - abar[t]) * alpha) * gap,
            (1 - alpha) ** 2 / (2 * s2 * alpha) * gap / (1 - abar[t]),
        ):
            # The variance is the posterior's, so the divergence is that of the means alone.
            assert torch.allclose(rows[0][t - 1], expected, rtol=1e-9, atol=1e-13), t
        off = 0.5 * (snr[t] - snr[t - 1]) * (guess - x0).square().sum(1)
        assert not torch.allclose(rows[0][t - 1], off, rtol=1e-2)


@pytest.mark.parametrize(
    ("steps", "value"), [(1, 4.419435), (4, 22.265928), (16, 1.895613), (64, 1.026185)]
)
def test_bound_of_normal_data(steps, value):
    """Catches a lost log 2 pi, a missing decoder, a divergence the wrong way round."""
    m = grid(steps)
    assert pytest.approx(0.816952, abs=1e-6) == DATA.entropy
    assert DATA.bound(m, fixed(m)) == pytest.approx(value, abs=1e-6)
    x = DATA.sample(20_000)
    draws = normal_model(steps).terms(x).sum(0)
    assert mean_is(draws, value), mean_is(draws, value)
    # Without the constants of the decoder it is another number.
    lost = 0.5 * float((2 * pi * m.decoder_var).log())
    assert not mean_is(draws - lost, value)
    # With the exact variances only the source's mismatch is left, whatever T is.
    exact = normal_model(steps, GivenVariance(DATA.second(m))).terms(x).sum(0)
    assert DATA.bound(m, DATA.second(m)) == pytest.approx(0.817175, abs=1e-6)
    assert mean_is(exact, 0.817175), mean_is(exact, 0.817175)


def test_gap_of_three_variances():
    """Catches the posterior's variance taken for the best one, and beta for abar."""
    schedule = Betas.linear(100, 1e-3, 0.2)
    m = grid(100, schedule)
    x = DATA.sample(4000)
    for variance, values, gap in (
        (NoisingVariance(), m.noising_var, 0.00813),
        (PosteriorVariance(), fixed(m), 1.26646),
        (GivenVariance(DATA.second(m)), DATA.second(m), 0.0),
    ):
        expected = DATA.bound(m, values)
        assert expected - DATA.entropy == pytest.approx(gap, abs=1e-5)
        draws = normal_model(100, variance, schedule).terms(x).sum(0)
        assert mean_is(draws, expected), mean_is(draws, expected)


FIXED_GAPS = {1: 3.135, 2: 472.15, 4: 24.37, 8: 4.162, 16: 1.359, 32: 0.568, 64: 0.261}
MATCHED_GAPS = {1: 0.5621, 2: 0.5566, 4: 0.2914, 8: 0.1236, 16: 0.0433, 32: 0.0136, 64: 0.0040}


@pytest.mark.parametrize("steps", [1, 4, 16])
@pytest.mark.parametrize("matched", [False, True])
def test_gap_of_a_mixture(steps, matched):
    """Catches a bound that is not one: more levels, a tighter bound, by quadrature to 1e-3."""
    table = MATCHED_GAPS if matched else FIXED_GAPS
    gap = gap_of_two(grid(steps), matched)
    assert gap == pytest.approx(table[steps], abs=1e-3 if table[steps] < 10 else 5e-3)
    variance = Matched(TWO) if matched else None
    model = DDPM(
        TWO.denoiser(SCHEDULE),
        (1,),
        SCHEDULE,
        steps,
        parametrisation=PredictsData(),
        variance=variance,
    )
    draws = model.terms(TWO.law().sample(20_000)).sum(0)
    result = mean_is(draws, gap + TWO.entropy())
    assert result, result
    assert not mean_is(draws, TWO.entropy() - 0.5 * gap - 0.05)


def test_gap_falls_in_the_number_of_steps():
    """Catches a grid whose first or last level moves with T."""
    gaps = [gap_of_two(grid(steps), True) for steps in (1, 2, 4, 8, 16, 32, 64)]
    assert gaps == pytest.approx(list(MATCHED_GAPS.values()), abs=1e-4)
    assert gaps == sorted(gaps, reverse=True)


def test_one_random_step_has_the_mean_of_all():
    """Catches a lost factor T, and weights of another step: all three estimate one bound."""
    model = normal_model(16)
    m = grid(16)
    x = DATA.sample(100_000)
    expected = DATA.bound(m, fixed(m))
    assert mean_is(-model.one_step_elbo(x), expected), mean_is(-model.one_step_elbo(x), expected)
    # The weighted loss leaves out what the net cannot change.
    losses = torch.stack([model.loss(part, weight=exact_weights) for part in x.chunk(200)])
    prior = DATA.bound(m, DATA.second(m)) - DATA.entropy
    constant = 0.5 * float((2 * pi * m.decoder_var).log()) + prior
    assert mean_is(losses, expected - constant), mean_is(losses, expected - constant)
    assert not mean_is(losses / 16, expected - constant)


def test_simple_loss_of_the_exact_net():
    """Catches a weight, or an error of the data: the mean is that of Var(e | x_t) over t."""
    m = grid(8)
    each = m.signal**2 / m.noise**2 * DATA.posterior_var(m)
    losses = torch.stack([normal_model(8).loss(p) for p in DATA.sample(40_000).chunk(100)])
    assert mean_is(losses, float(each.mean())), mean_is(losses, float(each.mean()))


def test_learned_variance_spans_the_two():
    """Catches ends exchanged, interpolation of variances for that of logarithms."""
    m = grid(9)
    i, x = torch.arange(9), torch.randn(9, 2)
    for u, expected in (
        (0.0, PosteriorVariance().of(m, i, x)),
        (1.0, NoisingVariance().of(m, i, x)),
        (0.5, (PosteriorVariance().of(m, i, x) * NoisingVariance().of(m, i, x)).sqrt()),
    ):
        learned = LearnedVariance(lambda x, t, u=u: torch.full_like(x, u))
        assert torch.allclose(learned.of(m, i, x), expected.expand(9, 2), rtol=1e-12)


def test_hybrid_training_reaches_the_variance_alone():
    """Catches a bound whose gradient drags the net, and a simple loss that moves the variance."""
    torch.manual_seed(0)
    model = DDPM(
        TimeMLP(2, 2, (8,)), (2,), SCHEDULE, 5, variance=LearnedVariance(TimeMLP(2, 2, (8,)))
    )
    x = torch.randn(64, 2)
    names = {name for name, _ in model.named_parameters()}
    net = {name for name in names if name.startswith("net.")}
    assert (
        set(dead_parameters(lambda: model.one_step_elbo(x, mean_fixed=True).mean(), model)) == net
    )
    assert set(dead_parameters(lambda: model.loss(x), model)) == names - net
    both = dead_parameters(
        lambda: model.loss(x) - model.one_step_elbo(x, mean_fixed=True).mean(), model
    )
    assert both == []
    assert dead_parameters(lambda: -model.elbo(x).mean(), model) == []


def test_learned_variance_finds_the_exact_one():
    """Catches a divergence with its arguments exchanged: its minimiser is another variance."""
    m = grid(6)
    low, high, second = fixed(m), m.noising_var, DATA.second(m)
    expected = ((second / low).log() / (high / low).log())[1:]
    place = torch.zeros(6, requires_grad=True)
    weight = LearnedVariance(lambda x, t: place[torch.searchsorted(m.times, t)][:, None])
    model = normal_model(6, weight)
    x = DATA.sample(20_000)
    model.terms(x)[1:6].mean(1).sum().backward()
    assert place.grad is not None and bool((place.grad[1:].abs() > 1e-2).any())
    with torch.no_grad():
        place[1:] = expected
    gradients = torch.stack(
        [torch.autograd.grad(model.terms(part)[1:6].mean(), place)[0] for part in x.chunk(40)]
    )
    for i in range(1, 6):
        assert mean_is(gradients[:, i], 0.0), mean_is(gradients[:, i], 0.0)

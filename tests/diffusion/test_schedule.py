"""Schedules against their differential equations, cumulative products and inverses."""

from math import exp, log

import pytest
import torch

from gentoolkit.diffusion import (
    Betas,
    Cosine,
    LearnedLogSnr,
    LinearBeta,
    LogSnrLinear,
    SubVP,
    VarianceExploding,
    VariancePreserving,
)


def bent():
    """A learned schedule away from its start."""
    torch.manual_seed(0)
    schedule = LearnedLogSnr()
    with torch.no_grad():
        for parameter in schedule.parameters():
            parameter += 0.7 * torch.randn_like(parameter)
    return schedule


SCHEDULES = {
    "linear beta": LinearBeta,
    "sub-VP": SubVP,
    "variance exploding": VarianceExploding,
    "cosine": Cosine,
    "log-SNR linear": LogSnrLinear,
    "betas": lambda: Betas.linear(50, 1e-3, 0.2),
    "learned": bent,
}
INSIDE = torch.linspace(0.001, 1.0, 200, dtype=torch.float64)


@pytest.mark.parametrize("name", SCHEDULES)
def test_levels_log_snr_and_inverse_agree(name):
    """Catches a log-SNR off by a factor 2, a variance for a deviation, an inverse of another."""
    schedule = SCHEDULES[name]()
    a, s = schedule.levels(INSIDE)
    log_snr = schedule.log_snr(INSIDE)
    assert torch.allclose(log_snr, 2 * (a / s).log(), rtol=0, atol=1e-11)
    assert bool((log_snr.diff() < 0).all())
    assert torch.allclose(schedule.time_of(log_snr), INSIDE, rtol=0, atol=1e-11)
    assert torch.equal(schedule.signal(INSIDE), a) and torch.equal(schedule.noise(INSIDE), s)
    if isinstance(schedule, VariancePreserving):
        assert torch.allclose(a**2 + s**2, torch.ones_like(a), atol=1e-14)


B0, B1 = 0.1, 20.0


def beta(t):
    return B0 + (B1 - B0) * t


def spent(t):
    return B0 * t + 0.5 * (B1 - B0) * t * t


EQUATIONS = {
    "vp": (LinearBeta(B0, B1), lambda t: -0.5 * beta(t), beta),
    "sub-vp": (
        SubVP(B0, B1),
        lambda t: -0.5 * beta(t),
        lambda t: beta(t) * (1 - exp(-2 * spent(t))),
    ),
    "ve": (
        VarianceExploding(0.1, 10.0),
        lambda t: 0.0,
        lambda t: 2 * log(100.0) * (0.1 * 100.0**t) ** 2,
    ),
}


def integrated(drift, square, steps=2000):
    """Mean factor and variance at time 1, by Runge-Kutta on m' = f m and v' = 2 f v + g^2."""
    m, v, h = 1.0, 0.0, 1.0 / steps
    for k in range(steps):
        t = k * h

        def rate(t, m, v):
            return drift(t) * m, 2 * drift(t) * v + square(t)

        a = rate(t, m, v)
        b = rate(t + h / 2, m + h / 2 * a[0], v + h / 2 * a[1])
        c = rate(t + h / 2, m + h / 2 * b[0], v + h / 2 * b[1])
        d = rate(t + h, m + h * c[0], v + h * c[1])
        m += h / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0])
        v += h / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])
    return m, v


@pytest.mark.parametrize("name", EQUATIONS)
def test_levels_solve_the_stochastic_equation(name):
    """Catches a sub-VP diffusion for a VP one, a lost square, a VE variance without its start."""
    schedule, drift, square = EQUATIONS[name]
    m, v = integrated(drift, square)
    a, s = (float(level) for level in schedule.levels(torch.tensor(1.0)))
    assert a == pytest.approx(m, rel=1e-6)
    assert s**2 == pytest.approx(v, rel=1e-6)
    # The control: half the diffusion is seen.
    assert s**2 != pytest.approx(integrated(drift, lambda t: 0.5 * square(t))[1], rel=0.1)


@pytest.mark.parametrize("name", EQUATIONS)
def test_rates_are_drift_and_diffusion(name):
    """Catches a rate of another quantity: the oracle is the equation's own coefficients."""
    schedule, drift, square = EQUATIONS[name]
    t = torch.tensor([0.1, 0.5, 0.9])
    log_signal, log_snr = schedule.rates(t)
    g2 = -(schedule.noise(t) ** 2) * log_snr
    for i, time in enumerate(t.tolist()):
        assert float(log_signal[i]) == pytest.approx(drift(time), abs=1e-10)
        assert float(g2[i]) == pytest.approx(square(time), rel=1e-10)


def test_little_noise_keeps_its_digits():
    """Catches 1 - exp(-I), which loses most digits near the data."""
    t = torch.tensor(1e-13)
    i = spent(1e-13)
    expected = (i - i * i / 2) ** 0.5
    assert float(LinearBeta(B0, B1).noise(t)) == pytest.approx(expected, rel=1e-12)
    naive = float((1 - torch.exp(torch.tensor(-i))).sqrt())
    assert naive != pytest.approx(expected, rel=1e-5)


def test_sources_have_the_deviation_of_the_noise():
    """Catches a variance-exploding source of deviation one."""
    for name, make in SCHEDULES.items():
        schedule = make()
        expected = 50.0 if name == "variance exploding" else 1.0
        assert schedule.prior_std == expected
        noise = float(schedule.noise(torch.tensor(1.0)).detach())
        assert noise == pytest.approx(expected, rel=2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_betas_give_the_cumulative_product(dtype):
    """Catches an index off by one, and a float32 time i/T read beside its knot."""
    schedule = Betas.linear(1000)
    t = torch.arange(1, 1001, dtype=dtype) / 1000
    expected = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    slack = 1e-14 if dtype == torch.float64 else 3e-7
    assert schedule.signal(t).dtype == dtype
    assert torch.allclose(schedule.signal(t).double() ** 2, expected, rtol=0, atol=slack)
    assert not torch.allclose(schedule.signal(t)[1:].double() ** 2, expected[:-1], atol=1e-5)
    assert bool((schedule.rates(t)[1] < 0).all())


def test_learned_schedule_is_differentiable_both_ways():
    """Catches an inverse that is detached from the parameters."""
    schedule = bent()
    aim = torch.tensor([3.0, -2.0])
    t = schedule.time_of(aim)
    (gradient,) = torch.autograd.grad(t.sum(), schedule.place)
    step = 1e-6
    with torch.no_grad():
        ends = []
        for sign in (1, -1):
            schedule.place[1] += sign * step
            ends.append(schedule.time_of(aim).sum())
            schedule.place[1] -= sign * step
    assert float(gradient[1]) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_learned_schedule_falls_whatever_its_parameters():
    """Catches a curve that may turn: a weight or a steepness below zero."""
    schedule = LearnedLogSnr(bends=3)
    t = torch.linspace(0, 1, 300)
    for seed in range(20):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in schedule.parameters():
                parameter.copy_(torch.randn_like(parameter))
        values = schedule.log_snr(t).detach()
        assert bool((values.diff() < 0).all())
        assert float(values[0]) == pytest.approx(6.0) and float(values[-1]) == pytest.approx(-7.0)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: LogSnrLinear(-7, 6), ValueError, "must fall"),
        (lambda: LogSnrLinear(float("inf"), 0), ValueError, "finite"),
        (lambda: Cosine(3, 3), ValueError, "must fall"),
        (lambda: LearnedLogSnr(0, 1), ValueError, "must fall"),
        (lambda: LearnedLogSnr(bends=0), ValueError, "at least 1"),
        (lambda: LinearBeta(0.0, 20.0), ValueError, "positive"),
        (lambda: SubVP(0.1, -1.0), ValueError, "positive"),
        (lambda: VarianceExploding(2.0, 1.0), ValueError, "exchange"),
        (lambda: Betas(torch.tensor([0.1, 1.0])), ValueError, "more steps"),
        (lambda: Betas(torch.tensor([0.1, 0.0])), ValueError, "strictly between"),
        (lambda: Betas(torch.tensor([0.1, float("nan")])), ValueError, "strictly between"),
        (lambda: Betas(torch.tensor([1, 2])), TypeError, "floating-point"),
        (lambda: Betas.linear(10, 0.01, 2.0), ValueError, "more steps"),
        (lambda: Betas.linear(0), ValueError, "at least 1"),
        (lambda: LinearBeta().signal(torch.tensor([0.5, 1.1])), ValueError, r"\[0, 1\]"),
        (lambda: LinearBeta().noise(torch.tensor(-0.1)), ValueError, r"\[0, 1\]"),
        (lambda: LinearBeta().log_snr(torch.tensor(float("nan"))), ValueError, r"\[0, 1\]"),
        (lambda: LinearBeta().levels(torch.tensor([3])), TypeError, "floating-point"),
        (lambda: LinearBeta().levels(torch.zeros(0)), ValueError, "empty"),
        (lambda: LogSnrLinear().time_of(torch.tensor([7.0])), ValueError, "clamp"),
        (lambda: LogSnrLinear().time_of(torch.tensor([float("nan")])), ValueError, "clamp"),
        (lambda: Cosine(10.0, -40.0), ValueError, "right in float32"),
        (lambda: LinearBeta(0.1, 500.0), ValueError, "right in float32"),
        (lambda: SubVP(0.1, 500.0), ValueError, "right in float32"),
        (lambda: LogSnrLinear(6.0, -300.0), ValueError, "right in float32"),
        (lambda: Betas(torch.full((400,), 0.5)), ValueError, "right in float32"),
    ],
)
def test_bad_schedules_say_what_is_wrong(wrong, error, words):
    """Catches a schedule that rises, reaches pure data or noise, or is read outside [0, 1]."""
    with pytest.raises(error, match=words) as caught:
        wrong()
    assert str(caught.value).count(";") >= 2  # wrong; got; mend

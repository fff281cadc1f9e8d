"""Solvers of the probability flow: orders against exact quantiles, calls of the net, churn."""

from dataclasses import dataclass, replace

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
    LinearBeta,
    LogSnrLinear,
    PredictsData,
    PredictsNoise,
    ProbabilityFlow,
    SubVP,
    VarianceExploding,
    even_log_snr,
    even_times,
    karras_times,
)
from gentoolkit.numerics import euler, heun, rk4
from tests.diffusion.carried import LINE, PLANE, VP, Exact, exact, flow_end, law_at, run, slopes

ORDERS = {
    "euler": (ProbabilityFlow(euler), 1),
    "ddim": (DDIM(), 1),
    "heun": (ProbabilityFlow(heun), 2),
    "edm": (EDM(), 2),
    "dpm-solver-2": (DPMSolver2(), 2),
    "dpm-solver++ 2m": (DPMSolverPlusPlus2M(), 2),
    "rk4": (ProbabilityFlow(rk4), 4),
}
X = torch.linspace(-2.2, 2.2, 23, dtype=torch.float64)[:, None]


def errors(sampler, schedule, grid, steps, end):
    truth = flow_end(schedule.prior_std * X, LINE, schedule, 1.0, end)
    there = [run(sampler, LINE, schedule, schedule.prior_std * X, grid(n)) for n in steps]
    return [float((y - truth).abs().mean()) for y in there]


@pytest.mark.parametrize("name", ORDERS)
def test_each_solver_has_its_order(name):
    """Catches a lost half of g^2, a missing average, a step of time in place of lambda."""
    sampler, order = ORDERS[name]
    found = errors(sampler, VP, lambda n: even_log_snr(VP, n, 0.01), (40, 80, 160), 0.01)
    assert slopes(found)[-1] == pytest.approx(order, abs=0.25)
    assert found[-1] < {1: 0.05, 2: 1e-3, 4: 1e-5}[order]


@pytest.mark.parametrize("name", ["ddim", "edm", "dpm-solver-2", "dpm-solver++ 2m", "heun"])
@pytest.mark.parametrize(
    "schedule",
    [VarianceExploding(0.01, 20.0), SubVP(0.1, 20.0), LogSnrLinear(8.0, -8.0)],
    ids=["ve", "sub-vp", "log-snr-linear"],
)
def test_orders_hold_on_other_schedules(name, schedule):
    """Catches signal^2 + noise^2 = 1 taken for granted."""
    sampler, order = ORDERS[name]
    found = errors(sampler, schedule, lambda n: even_log_snr(schedule, n, 0.05), (60, 120), 0.05)
    assert slopes(found)[-1] == pytest.approx(order, abs=0.3)
    assert found[-1] < {1: 0.1, 2: 5e-3}[order]


def test_the_order_check_sees_broken_solvers():
    """The control: Heun without its average falls to order 1, a doubled score does not converge."""

    def last_slope(f, t, h, state):
        (x,) = state
        (first,) = f(t, state)
        return (x + h * f(t + h, (x + h * first,))[0],)

    grid = lambda n: even_log_snr(VP, n, 0.01)  # noqa: E731
    found = errors(ProbabilityFlow(last_slope), VP, grid, (40, 80), 0.01)
    assert slopes(found)[-1] == pytest.approx(1.0, abs=0.25)

    @dataclass(frozen=True)
    class Doubled(Exact):
        def __call__(self, x, t):
            return 2.0 * super().__call__(x, t)

    truth, off = flow_end(X, LINE, VP, 1.0, 0.01), []
    for n in (40, 80):
        net = Doubled(LINE, VP)
        end = ProbabilityFlow(heun).sample(Denoiser(net, VP, PredictsNoise()), X, grid(n))
        off.append(float((end - truth).abs().mean()))
    assert min(off) > 1.0


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [
        (ProbabilityFlow(euler), 6),
        (ProbabilityFlow(heun), 11),
        (ProbabilityFlow(rk4), 21),
        (EDM(), 11),
        (EDM(churn=3.0), 11),
        (DPMSolver2(), 11),
        (DPMSolverPlusPlus2M(), 6),
        (DDIM(), 6),
    ],
)
def test_the_net_is_called_no_more_than_needed(sampler, calls):
    """Catches a slope computed twice, and a call at time 0, where no score is left."""
    net = Exact(PLANE, VP)
    states = list(sampler.walk(Denoiser(net, VP, PredictsNoise()), torch.randn(4, 2), 6))
    assert len(net.asked) == calls and min(net.asked) > 0.0
    assert len(states) == 7 and torch.isfinite(states[-1].x).all()
    counts = [state.calls for state in states]
    assert counts[0] == 0 and counts[-1] == calls and counts == sorted(set(counts))
    torch.testing.assert_close(states[-1].x, states[-1].estimate)


def test_the_midpoint_lies_in_log_snr():
    """Catches a midpoint in time, which the order does not show."""
    net, times = Exact(PLANE, VP), even_log_snr(VP, 3, 0.1)
    DPMSolver2().sample(Denoiser(net, VP, PredictsNoise()), torch.randn(4, 2), times)
    between = torch.tensor(net.asked[1::2])
    log_snr = VP.log_snr(times)
    torch.testing.assert_close(VP.log_snr(between), 0.5 * (log_snr[1:] + log_snr[:-1]))
    assert float((between - 0.5 * (times[1:] + times[:-1])).abs().max()) > 0.02


def test_the_two_step_rule_against_a_known_integral():
    """Catches a wrong weight of the two last estimates where steps are uneven.

    With data = c lambda the ODE in x / noise is d(x / noise) / d lambda = exp(lambda) c lambda.
    The rule takes the line's mean to first order in h, so the gap falls by 8 for a halved step.
    """
    schedule = LogSnrLinear(8.0, -8.0)

    def net(x, t):
        return 0.5 * schedule.log_snr(t)[:, None].expand_as(x)

    def gap(h):
        start = 0.3
        knots = torch.tensor([start - 0.7 * h, start, start + h])
        times = schedule.time_of(2.0 * knots)
        x = torch.zeros(1, 1)
        states = list(DPMSolverPlusPlus2M().walk(Denoiser(net, schedule, PredictsData()), x, times))
        s0, s1 = (float(schedule.noise(t)) for t in times[1:])
        # The integral of exp(l) l is exp(l) (l - 1).
        inner = lambda v: v.exp() * (v - 1.0)  # noqa: E731
        truth = s1 / s0 * states[1].x + s1 * (inner(knots[2]) - inner(knots[1]))
        return float((states[2].x - truth).abs().max())

    assert gap(0.1) / gap(0.05) == pytest.approx(8.0, rel=0.1)


def test_churn_keeps_the_marginal():
    """Catches fresh noise of the wrong variance: after churn the moments are still those at 0."""
    schedule = VarianceExploding(0.01, 20.0)
    x = law_at(LINE, schedule, 1.0).sample(20_000)
    times = karras_times(schedule, 60, 0.02)
    for churn in (0.0, 20.0):
        y = run(EDM(churn), LINE, schedule, x, times, seed=3)
        noise = float(schedule.noise(torch.tensor(0.02)))
        mean = 0.4 * -1.0 + 0.6 * 1.5
        square = 0.4 * (1.0 + 0.04) + 0.6 * (2.25 + 0.09) + noise**2
        for values, truth in ((y, mean), (y.square(), square)):
            result = checks.mean_is(values[:, 0], truth)
            assert result, result
    wide = run(replace(EDM(20.0), noise_scale=1.3), LINE, schedule, x, times, seed=3)
    assert not checks.mean_is(wide[:, 0].square(), square)


def test_churn_is_bounded_and_random():
    """Catches a level above the schedule's end, and churn outside its range."""
    x, times = torch.randn(5, 2), karras_times(VP, 5, 0.01)
    ends = [run(EDM(40.0), PLANE, VP, x, times, seed=s) for s in (1, 1, 2)]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])
    outside = run(EDM(40.0, low=1e6), PLANE, VP, x, times, seed=1)
    assert torch.equal(outside, run(EDM(), PLANE, VP, x, times))


def test_two_runs_of_one_sampler_do_not_meet():
    """Catches a memory of the last step that is kept by the sampler, not by the run."""
    sampler, times = DPMSolverPlusPlus2M(), even_times(5)
    x = torch.randn(4, 2)
    start = lambda: sampler.walk(exact(PLANE, VP), x, times)  # noqa: E731
    alone = [state.x for state in start()]
    for one, two, expected in zip(start(), start(), alone, strict=True):
        assert torch.equal(one.x, expected) and torch.equal(two.x, expected)


def test_adaptive_steps_find_the_quantile_to_their_tolerance():
    """Catches a lost half of g^2, and a tolerance that is not handed on: errors and calls."""
    ends = torch.tensor([1.0, 0.01])
    truth = flow_end(X, LINE, VP, 1.0, 0.01)
    fine = run(ProbabilityFlow(rk4), LINE, VP, X, even_log_snr(VP, 400, 0.01))
    errors, calls = [], []
    for tolerance in (1e-3, 1e-5, 1e-7):
        net = Exact(LINE, VP)
        model = Denoiser(net, VP, PredictsNoise())
        *_, end = AdaptiveFlow(tolerance, tolerance).walk(model, X, ends)
        errors.append(float((end.x - truth).abs().max()))
        calls.append(end.calls)
        assert end.calls == len(net.asked)
        assert float((end.x - fine).abs().max()) < 30.0 * tolerance + 1e-6
    # A hundredth of the tolerance: at least a tenth of the error, and 100^(1/5) = 2.5 times the
    # steps at order 5, once the tolerance rules them.
    assert errors[0] > 10.0 * errors[1] > 100.0 * errors[2]
    assert calls[0] < calls[1] and 1.6 < calls[2] / calls[1] < 3.5


def test_adaptive_states_lie_on_the_asked_times():
    """Catches states of the solver's own times, and a solution that depends on where one looks."""
    times = torch.tensor([1.0, 0.6, 0.25, 0.05])
    states = list(AdaptiveFlow(1e-8, 1e-8).walk(exact(LINE, VP), X, times))
    assert [state.time for state in states] == pytest.approx(times.tolist())
    for state in states:
        truth = flow_end(X, LINE, VP, 1.0, state.time)
        torch.testing.assert_close(state.x, truth, rtol=0, atol=1e-6)


def test_an_adaptive_solution_that_fails_says_so():
    """Catches a number returned without its tolerance: too few steps, and a net that jumps."""
    times = torch.tensor([1.0, 0.01])
    with pytest.raises(ValueError, match=r"not converged: after 4 tries.*raise rtol"):
        AdaptiveFlow(1e-9, 1e-9, 3).sample(exact(LINE, VP), X, times)
    with pytest.raises(ValueError, match="not converged"):
        jumpy = Denoiser(lambda x, t: torch.randn_like(x), VP, PredictsNoise())
        AdaptiveFlow().sample(jumpy, X, times)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: AdaptiveFlow(rtol=0.0), "rtol must be positive"),
        (lambda: AdaptiveFlow(max_steps=0), "max_steps must be at least 1"),
        (lambda: EDM(churn=-1.0), "churn must be >= 0"),
        (lambda: EDM(low=2.0, high=1.0), "0 <= low <= high"),
        (lambda: EDM(noise_scale=0.0), "noise_scale must be positive"),
        (lambda: even_log_snr(LinearBeta(0.1, 20.0), 0, 0.01), "at least 1"),
        (lambda: even_log_snr(VP, 5, 0.0), "finite at both ends"),
        (lambda: karras_times(VP, 5, rho=0.0), "rho must be positive"),
        (lambda: even_times(5, 1.0), "must fall to stop"),
    ],
)
def test_bad_input_is_refused(call, words):
    """Catches grids without steps and levels that make no sense."""
    with pytest.raises(ValueError, match=words):
        call()

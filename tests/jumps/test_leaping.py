"""Leaps against matrices over all states: their error, its order, and the weights of the chain."""

from itertools import pairwise

import pytest
import torch

from gentoolkit.core import elbo
from gentoolkit.core.checks import bridge, mean_inverse_weight, mean_is, mean_weight
from gentoolkit.jumps.leaping import Euler, TauLeaping, grid_chain
from gentoolkit.jumps.table import Table
from gentoolkit.processes import (
    ConstantRate,
    DenseRates,
    JumpProcess,
    LinearRate,
    UniformRates,
    falling_times,
)
from tests.jumps.exact import GENERATORS, chi_square, data, joint_kernel, table
from tests.jumps.spaces import every_state, output_law, step_matrix, tv

STATES = every_state(3, 2)
DENSE = DenseRates(torch.tensor([[-1.1, 0.8, 0.3], [0.2, -0.7, 0.5], [1.2, 0.6, -1.8]]))
"""Asymmetric, and every jump has a rate."""


def laws(exact):
    """The three leaps with exact rates."""
    return {
        "euler": Euler(exact.rates),
        "tau": TauLeaping(exact.rates),
        "analytic": exact.transition,
    }


def one_step_error(exact, law, s, t):
    """Mean total variation of one step from the true law of x_s given x_t."""
    truth = exact.law(s).flatten()[:, None] * joint_kernel(exact.process, s, t, exact.dims)
    truth = (truth / truth.sum(0)).T
    states = every_state(3, exact.dims)
    found = step_matrix(law(states, s, t), states)
    return float(exact.law(t).flatten() @ (0.5 * (found - truth).abs().sum(1)))


@pytest.mark.parametrize("name", ["uniform", "lopsided", "absorbing"])
def test_one_step_is_off_by_the_square_of_its_length(name):
    """Catches a frozen rate of another time, which is off by the length itself."""
    exact = table(name, "linear")
    for kind, law in laws(exact).items():
        errors = [one_step_error(exact, law, 0.7 - e, 0.7) for e in (0.02, 0.01, 0.005)]
        for long, short in pairwise(errors):
            assert 3.5 < long / short < 4.5, (kind, errors)
    wrong = Euler(lambda x, t: exact.rates(x, t + 0.2))
    errors = [one_step_error(exact, wrong, 0.7 - e, 0.7) for e in (0.02, 0.01)]
    assert errors[0] / errors[1] < 2.5


@pytest.mark.parametrize("name", GENERATORS)
def test_one_token_makes_the_analytic_step_exact(name):
    """Catches q_{t|0} in place of q_{s|0}: exact for any length, down to the data."""
    exact = table(name, "linear", dims=1)
    states = every_state(3, 1)
    truth = exact.probs[:, None] * joint_kernel(exact.process, 0.0, 1.0, 1)
    truth = (truth / truth.sum(0)).T
    found = exact.transition(states, 0.0, 1.0)[:, 0]
    possible = exact.law(1.0) > 0
    torch.testing.assert_close(found[possible], truth[possible], rtol=0, atol=1e-12)
    assert one_step_error(exact, Euler(exact.rates), 0.1, 1.0) > 1e-3


def test_analytic_beats_euler_beats_tau_at_every_count():
    """The sheet's claim with exact conditionals, C = 3, D = 4: exact laws of 81 states."""
    exact = Table(JumpProcess(UniformRates(3), ConstantRate(), 4.0), data(3, 4))
    states, source = every_state(3, 4), torch.full((81,), 1 / 81)
    before = {kind: 1.0 for kind in laws(exact)}
    for steps in (4, 8, 16, 32, 64):
        times = falling_times(steps, 4.0)
        off = {
            kind: tv(output_law(law, times, states, source), exact.probs.flatten())
            for kind, law in laws(exact).items()
        }
        assert off["analytic"] < off["euler"] < off["tau"]
        assert all(off[kind] < before[kind] for kind in off)
        before = off
    assert before["analytic"] < 0.06


def test_euler_clamps_where_a_step_is_too_long():
    """Catches probabilities above one, and a token that may still stay."""
    rates = torch.tensor([[[0.0, 3.0, 1.0], [0.5, 0.0, 0.5]]])
    law = Euler(lambda x, t: rates)
    x = torch.tensor([[0, 1]])
    probs = law(x, 0.0, 0.5)
    truth = torch.tensor([[0.0, 0.75, 0.25], [0.25, 0.5, 0.25]])
    torch.testing.assert_close(probs[0], truth)
    assert law.clamped(x, 0.0, 0.5).tolist() == [[True, False]]
    stay = torch.tensor([-2.0, -0.5]).exp()
    tau = TauLeaping(lambda x, t: rates)(x, 0.0, 0.5)[0]
    torch.testing.assert_close(tau[0], torch.stack([stay[0], *(1 - stay[0]) * truth[0, 1:]]))
    still = TauLeaping(lambda x, t: 0.0 * rates)(x, 0.0, 0.5)
    assert still[0].tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize("kind", ["euler", "tau", "analytic"])
@pytest.mark.parametrize("generator", [UniformRates(3), DENSE], ids=["uniform", "dense"])
def test_the_weights_of_a_biased_chain_tell_the_exact_z(generator, kind):
    """Catches a kernel scored by another law; the bias shows in the law and the bound, not in Z."""
    # A mild law, so that no step of Euler is clamped.
    exact = Table(
        JumpProcess(generator, LinearRate(0.2, 3.0)), data().pow(0.3) / data().pow(0.3).sum()
    )
    law = laws(exact)[kind]
    times = falling_times(8, 1.0)
    chain = grid_chain(exact.process, law, times, 2)
    n = 20_000
    trajectory = chain.push(n)
    pushed = trajectory.log_weight(lambda x: exact.log_prob(x) + 0.9)
    x = exact.sample(n)
    pulled = chain.pull(x)
    back = pulled.log_weight(lambda x: exact.log_prob(x) + 0.9)
    assert mean_weight(pushed, 0.9) and mean_inverse_weight(back, 0.9)
    assert bridge(pushed, back, 0.9) and not bridge(pushed, back, 1.0)
    # The bias: what comes out follows the product of the steps, and not the data.
    noise = exact.process.rate_matrix.stationary()
    out = output_law(law, times, STATES, torch.outer(noise, noise).flatten())
    assert chi_square(trajectory.states[-1], out) < 4
    assert chi_square(trajectory.states[-1], exact.probs) > 4
    # And the bound falls short by the sum of the steps' divergences, by enumeration.
    gap = torch.outer(noise, noise).flatten()
    end = exact.law(1.0).flatten()
    total = float((end * (end / gap).log()).sum())
    for t, s in pairwise(times.tolist()):
        joint = exact.law(s).flatten()[:, None] * joint_kernel(exact.process, s, t, 2)
        truth = (joint / joint.sum(0)).T
        each = (joint.T * (truth / step_matrix(law(STATES, s, t), STATES)).log()).sum()
        total += float(each)
    drop = exact.log_prob(x) - pulled.log_evidence()
    assert mean_is(drop, total), mean_is(drop, total)
    assert float(elbo(pulled.log_evidence())) < float(exact.log_prob(x).mean())


@pytest.mark.parametrize("kind", ["euler", "tau"])
def test_leaps_that_cannot_undo_the_noise_say_so(kind):
    """Catches a finite evidence for a path that the leap never takes: two jumps in one step."""
    exact = table("lopsided", "linear")
    x = exact.sample(4000)
    for law, whole in ((laws(exact)[kind], False), (laws(exact)["analytic"], True)):
        told = grid_chain(exact.process, law, falling_times(8, 1.0), 2).pull(x).log_evidence()
        assert bool(torch.isfinite(told).all()) == whole
        assert bool((told < torch.inf).all())


def test_the_bias_goes_with_the_steps():
    """Catches a chain that tends to another law than the data."""
    exact = table("lopsided", "linear", end=2.0)
    noise = exact.process.rate_matrix.stationary()
    source = torch.outer(noise, noise).flatten()
    truth = exact.probs.flatten()
    off = [
        tv(output_law(TauLeaping(exact.rates), falling_times(k, 2.0), STATES, source), truth)
        for k in (20, 40, 80)
    ]
    assert off[0] > 1.7 * off[1] > 2.5 * off[2]


def test_masked_states_go_to_data_and_stay():
    """Catches a mask that survives the last analytic step, and tokens that turn again."""
    exact = table("absorbing", "masking")
    law = exact.transition
    states = grid_chain(exact.process, law, falling_times(8, 1.0), 2).push(4000).states
    assert bool((states[0] == 2).all()) and bool((states[-1] < 2).all())
    for now, then in pairwise(states):
        known = now < 2
        assert torch.equal(now[known], then[known])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rates_of_either_precision_make_a_chain(dtype):
    """Catches float32 rates judged by float64's rounding, under either default."""
    exact = table("lopsided", "linear")
    single = exact.rates(STATES, 0.7).float()
    torch.set_default_dtype(dtype)
    for law in (Euler, TauLeaping):
        chain = grid_chain(exact.process, law(lambda x, t: single[3 * x[:, 0] + x[:, 1]]), 20, 2)
        assert chain.push(50).log_ratio.dtype == dtype


EXACT = table("uniform")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Euler(EXACT.rates)(STATES, 0.5, 0.5), "go down"),
        (lambda: TauLeaping(EXACT.rates)(STATES, -0.1, 0.5), "go down"),
        (
            lambda: grid_chain(EXACT.process, Euler(EXACT.rates), torch.tensor([0.0, 1.0]), 2),
            "fall strictly",
        ),
        (
            lambda: grid_chain(EXACT.process, Euler(EXACT.rates), torch.tensor([1.0, 0.0]), 0),
            "at least 1",
        ),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, words):
    """Catches steps that go up in time."""
    with pytest.raises(ValueError, match=words) as caught:
        wrong()
    assert str(caught.value).count(";") >= 2

"""The reversal against matrices over all states, and against answers by hand."""

import pytest
import torch

from gentoolkit.jumps.table import Table
from gentoolkit.processes import AbsorbingRates, DenseRates, JumpProcess, LinearRate, UniformRates
from tests.jumps.exact import (
    BETAS,
    GENERATORS,
    LOPSIDED,
    chi_square,
    data,
    joint_kernel,
    joint_reverse,
    table,
)
from tests.jumps.spaces import every_state, rate_matrix

NAMES = pytest.mark.parametrize("name", GENERATORS)
STATES = every_state(3, 2)


@NAMES
def test_the_law_in_time_is_the_joint_kernel_applied(name):
    """Catches a kernel applied to the wrong axis, or from the wrong side."""
    exact = table(name, "linear")
    truth = exact.probs.flatten() @ joint_kernel(exact.process, 0.0, 0.7, 2)
    torch.testing.assert_close(exact.law(0.7).flatten(), truth, rtol=0, atol=1e-13)
    many = exact.law(torch.tensor([0.0, 0.7]))
    torch.testing.assert_close(many[0], exact.probs)
    torch.testing.assert_close(many[1].flatten(), truth, rtol=0, atol=1e-13)
    same = exact.law(torch.tensor([0.7, 0.7]))  # one time for all is worked out once
    torch.testing.assert_close(same.flatten(1), truth.expand(2, -1), rtol=0, atol=1e-13)


def test_three_tokens_find_their_axes():
    """Catches axes that are exchanged, which two tokens may hide."""
    exact = Table(JumpProcess(DenseRates(LOPSIDED)), data(3, 3))
    truth = exact.probs.flatten() @ joint_kernel(exact.process, 0.0, 0.4, 3)
    law = truth.reshape(3, 3, 3)
    torch.testing.assert_close(exact.law(0.4), law, rtol=0, atol=1e-13)
    x = torch.tensor([[0, 2, 1]])
    found = exact.conditionals(x, 0.4)[0]
    for d, line in enumerate((law[:, 2, 1], law[0, :, 1], law[0, 2, :])):
        torch.testing.assert_close(found[d], line / line.sum(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("beta", BETAS)
@NAMES
def test_rates_from_singletons_are_those_of_the_joint(name, beta):
    """Catches an inverted ratio, Q not transposed, beta left out or its integral in its place."""
    exact = table(name, beta)
    law = exact.law(0.7).flatten()
    truth = joint_reverse(exact.process, law, 0.7, 2)
    found = rate_matrix(exact.rates(STATES, 0.7), STATES)
    torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-12)
    # Detailed balance of the fluxes of each edge.
    q = rate_matrix(exact.process.rates(STATES, 0.7), STATES)
    flux = (law[:, None] * q).fill_diagonal_(0.0)
    torch.testing.assert_close((law[:, None] * found).fill_diagonal_(0.0), flux.T)


@NAMES
def test_the_reversed_master_equation_returns_to_the_data(name):
    """Catches any rate that is wrong at some time: RK4 of dp/ds = p R, in even steps of log t."""
    exact, stop, steps = table(name, "linear"), 0.02, 120
    times = torch.linspace(0.0, float(torch.tensor(stop).log()), 2 * steps + 1).exp()
    slopes = [float(t) * rate_matrix(exact.rates(STATES, float(t)), STATES) for t in times]
    h = -float(torch.tensor(stop).log()) / steps
    p = exact.law(1.0).flatten()
    for now, middle, then in zip(slopes[:-2:2], slopes[1::2], slopes[2::2], strict=True):
        a = p @ now
        b = (p + 0.5 * h * a) @ middle
        c = (p + 0.5 * h * b) @ middle
        d = (p + h * c) @ then
        p = p + h / 6 * (a + 2 * b + 2 * c + d)
    assert (p - exact.law(stop).flatten()).abs().max() < 1e-6
    assert (p - exact.probs.flatten()).abs().max() > 1e-3


def test_the_reversed_master_equation_reaches_time_zero():
    """Catches an error that only shows at the data: q_3 back to 0 in 1500 steps of RK4, to 1e-9."""
    mild = data().sqrt() / data().sqrt().sum()  # rare states make the rates steep near 0
    exact, steps = Table(JumpProcess(UniformRates(3), end=3.0), mild), 1500
    times = torch.linspace(3.0, 0.0, 2 * steps + 1)
    rates = exact.rates(STATES.repeat(len(times), 1), times.repeat_interleave(len(STATES)))
    slopes = [rate_matrix(each, STATES) for each in rates.reshape(len(times), 9, 2, 3)]
    h, p = 3.0 / steps, exact.law(3.0).flatten()
    for now, middle, then in zip(slopes[:-2:2], slopes[1::2], slopes[2::2], strict=True):
        a = p @ now
        b = (p + 0.5 * h * a) @ middle
        c = (p + 0.5 * h * b) @ middle
        d = (p + h * c) @ then
        p = p + h / 6 * (a + 2 * b + 2 * c + d)
    assert (p - exact.probs.flatten()).abs().max() < 1e-9


@NAMES
def test_guesses_of_the_data_are_bayes_rule(name):
    """Catches a guess that has seen its own token, or has not where it should."""
    exact, t = table(name, "linear"), 0.7
    one = joint_kernel(exact.process, 0.0, t, 1)
    # joint[a, b, x, y] = p(x_0 = (a, b), x_t = (x, y))
    joint = torch.einsum("ab,ax,by->abxy", exact.probs, one, one)
    seen, unseen = exact.data_seen(STATES, t), exact.data_unseen(STATES, t)
    for i, (x, y) in enumerate(STATES.tolist()):
        for d, line in enumerate((joint.sum(1)[:, x, y], joint.sum(0)[:, x, y])):
            torch.testing.assert_close(seen[i, d], line / line.sum(), rtol=0, atol=1e-12)
        for d, line in enumerate((joint.sum((1, 2))[:, y], joint.sum((0, 3))[:, x])):
            torch.testing.assert_close(unseen[i, d], line / line.sum(), rtol=0, atol=1e-12)


def test_each_row_has_its_own_time():
    """Catches one time used for the whole batch."""
    exact = table("lopsided", "linear")
    t = torch.linspace(0.1, 1.0, 9)
    rates = exact.rates(STATES, t)
    for i in range(9):
        alone = exact.rates(STATES[i : i + 1], float(t[i]))
        torch.testing.assert_close(rates[i], alone[0], rtol=1e-12, atol=1e-12)


def test_answers_by_hand():
    """Catches a forgotten transpose (1 for 3), and an inverted ratio (.859 for .291)."""
    q = torch.tensor([[-1.0, 1.0], [3.0, -3.0]])
    x, even = torch.tensor([[0]]), torch.ones(1, 1, 2)
    assert float(JumpProcess(DenseRates(q)).reverse_rates(x, even, 0.5)[0, 0, 1]) == 3.0
    # A mask turns into a c of p_0 = 0.5 at the rate beta e^-B / (1 - e^-B) p_0(c).
    absorbing = Table(JumpProcess(AbsorbingRates(3)), torch.tensor([0.5, 0.5, 0.0]))
    rates = absorbing.rates(torch.tensor([[2], [0]]), 1.0)
    assert float(rates[0, 0, 0]) == pytest.approx(0.290988, abs=1e-6)
    assert rates[1].abs().max() == 0.0


def test_the_conditionals_reach_the_entropy_and_no_table_goes_below():
    """Catches conditionals that see their own token: their loss lies below the entropy."""
    exact = table("uniform", dims=2)
    law, found = exact.law(0.7), exact.conditionals(STATES, 0.7)
    joint = -(law * law.log()).sum()
    entropy = sum(joint + (law.sum(d) * law.sum(d).log()).sum() for d in range(2))
    own = found.gather(-1, STATES[..., None])[..., 0]
    assert float(-(law.flatten() * own.log().sum(1)).sum()) == pytest.approx(float(entropy))
    for _ in range(5):
        other = (found.log() + 0.3 * torch.randn_like(found)).log_softmax(-1)
        # A table of conditionals may depend on the other tokens only.
        other = torch.stack([other[STATES[:, 1], 0], other[STATES[:, 0], 1]], 1)
        loss = -(law.flatten() * other.gather(-1, STATES[..., None])[..., 0].sum(1)).sum()
        assert float(loss) > float(entropy)


def test_samples_and_prior_gap():
    """Catches states read in another order than the table's, and a gap of the wrong law."""
    exact = Table(JumpProcess(UniformRates(3), end=4.0), data(3, 4))
    x = exact.sample(20_000)
    assert chi_square(x, exact.probs) < 4 and chi_square(x, exact.probs.mT) > 4
    torch.testing.assert_close(exact.log_prob(x), exact.probs[tuple(x.T)].log())
    law = exact.probs.flatten() @ joint_kernel(exact.process, 0.0, 4.0, 4)
    assert exact.prior_gap() == pytest.approx(float(0.5 * (law - 1 / 81).abs().sum()))
    with pytest.warns(UserWarning, match="forgotten"):
        assert Table(JumpProcess(UniformRates(3)), data(3, 4)).prior_gap() > 0.05


def test_bounds_hold_and_say_where_they_cannot():
    """Catches bounds of another state or piece, and the infinite rates at time 0."""
    exact, times = table("lopsided", "linear"), torch.tensor([1.0, 0.5, 0.1])
    bound = exact.bounds(times)
    for piece, t in ((0, 1.0), (0, 0.77), (0, 0.52), (1, 0.48), (1, 0.31), (1, 0.11)):
        totals = exact.rates(STATES, t).sum((1, 2))
        found = bound(STATES)[:, piece]
        assert bool((totals < found).all()) and bool((found < 20 * totals).all())
    with pytest.raises(ValueError, match="stop above 0"):
        table("absorbing").bounds(torch.tensor([1.0, 0.0]))


EXACT = Table(JumpProcess(UniformRates(3), LinearRate()), data(3, 2))
X = torch.zeros(4, 2, dtype=torch.long)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Table(EXACT.process, torch.full((3, 2), 1 / 6)), "one axis of 3"),
        (lambda: Table(EXACT.process, torch.full((3, 3), 0.5)), "sum to 1"),
        (lambda: EXACT.rates(torch.zeros(4, 3, dtype=torch.long), 0.5), r"\(B, 2\)"),
        (lambda: EXACT.rates(X + 3, 0.5), "0..2"),
        (lambda: EXACT.rates(X, 1.5), "0, 1.0"),
        (lambda: EXACT.sample(0), "at least 1"),
        (lambda: EXACT.bounds(torch.tensor([0.1, 1.0])), "fall strictly"),
        (lambda: EXACT.process.reverse_rates(X, torch.ones(4, 3), 0.5), "ratios must"),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, words):
    """Catches tables of other sizes and states of other lengths."""
    with pytest.raises(ValueError, match=words) as caught:
        wrong()
    assert str(caught.value).count(";") >= 2

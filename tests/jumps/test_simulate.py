"""Exact simulation against matrix exponentials, and the paths themselves."""

import pytest
import torch

from gentoolkit.core.checks import mean_is
from gentoolkit.jumps.path import JumpPath
from gentoolkit.jumps.simulate import (
    gillespie,
    noising_bounds,
    pick,
    thinning,
    uniformization,
)
from gentoolkit.processes import DenseRates, JumpProcess, LinearRate, UniformRates
from tests.jumps.exact import GENERATORS, chi_square, joint_kernel, table

N = 10_000
PIECES = torch.linspace(0.0, 1.0, 5)


def thinned(process, x, generator=None):
    """The noising by thinning."""
    bounds = noising_bounds(process, PIECES, x.shape[1])
    return thinning(process.rates, x, PIECES, bounds, generator=generator)


def thinned_apart(process, x, generator=None):
    """The noising by thinning, each token by itself, under bounds of its own."""
    beta = process.schedule.bound(PIECES[:-1], PIECES[1:])
    exits = process.rate_matrix.matrix().diagonal().abs()

    def own(x):
        return beta * exits[x]

    return thinning(process.rates, x, PIECES, own, independent=True, generator=generator)


SIMULATORS = {
    "gillespie": gillespie,
    "uniformization": uniformization,
    "thinning": thinned,
    "thinning, tokens apart": thinned_apart,
}
WAYS = pytest.mark.parametrize("way", SIMULATORS)
NAMES = pytest.mark.parametrize("name", GENERATORS)


@NAMES
@WAYS
def test_states_on_the_way_follow_the_joint_kernel(way, name):
    """Catches a clock at the wrong rate, jumps by columns, a time change left out."""
    process = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0))
    path = SIMULATORS[way](process, torch.tensor([[1, 0]]).expand(N, 2))
    for t in (0.4, 1.0):
        law = joint_kernel(process, 0.0, t, 2)[3]
        assert chi_square(path.state_at(t), law) < 4
    assert chi_square(path.state_at(0.6), joint_kernel(process, 0.0, 0.4, 2)[3]) > 4
    assert torch.equal(path.state_at(0.0), path.initial)
    assert torch.equal(path.final, path.state_at(1.0))


@WAYS
def test_two_times_of_one_path_are_joint(way):
    """Catches paths that are right at each time and wrong as paths."""
    process = JumpProcess(GENERATORS["lopsided"], LinearRate(0.2, 3.0))
    path = SIMULATORS[way](process, torch.ones(N, 1, dtype=torch.long))
    both = torch.cat([path.state_at(0.4), path.state_at(0.9)], 1)
    early, late = joint_kernel(process, 0, 0.4, 1)[1], joint_kernel(process, 0.4, 0.9, 1)
    assert chi_square(both, early[:, None] * late) < 4


@WAYS
def test_the_number_of_jumps_and_the_first_wait(way):
    """Catches rings without a jump that are counted, and lost or doubled jumps."""
    process = JumpProcess(UniformRates(4), LinearRate(0.2, 3.0))
    path = SIMULATORS[way](process, torch.zeros(N, 3, dtype=torch.long))
    spent = float(process.noise(0.0, 1.0))
    # Each of 3 tokens leaves at the rate 3/4, whatever it is.
    assert mean_is(path.counts.double(), 3 * 0.75 * spent)
    quiet = (path.counts == 0).double()
    assert mean_is(quiet, float(torch.tensor(-3 * 0.75 * spent).exp()))
    jumped = path.jumped
    assert bool((path.before() != path.tokens)[jumped].all())
    assert torch.equal(jumped.sum(1), path.counts)
    early = process.noise(0.0, path.times[jumped])
    uniform = early / spent  # jumps of a constant total rate fall evenly in B_t
    assert mean_is(uniform, 0.5) and mean_is(uniform.square(), 1 / 3)


@WAYS
def test_every_jump_moves(way):
    """Catches rings that stay, kept as jumps: where exit rates differ, a bell rings in vain."""
    process = JumpProcess(GENERATORS["lopsided"], LinearRate(0.2, 3.0))
    path = SIMULATORS[way](process, torch.zeros(2000, 2, dtype=torch.long))
    assert bool((path.before() != path.tokens)[path.jumped].all())


@NAMES
def test_pushed_paths_return_to_the_data(name):
    """Catches time run the wrong way and rates of another time; half the rate must fail."""
    exact = table(name, "linear")
    stop = 0.05
    times = torch.linspace(1.0, stop, 9)
    weights = exact.law(1.0).flatten()
    start = torch.multinomial(weights, N, replacement=True)
    x = torch.stack([start // 3, start % 3], 1)
    path = thinning(exact.rates, x, times, exact.bounds(times))
    assert path.start == 1.0 and path.end == pytest.approx(stop)
    for t in (0.5, stop):
        assert chi_square(path.state_at(t), exact.law(t)) < 4
    slow = thinning(lambda x, t: 0.5 * exact.rates(x, t), x, times, exact.bounds(times))
    assert chi_square(slow.final, exact.law(stop)) > 4


def test_a_broken_bound_is_raised_at_the_event():
    """Catches acceptance probabilities above 1, cut off in silence."""
    process, x = (
        JumpProcess(UniformRates(3), LinearRate(0.2, 3.0)),
        torch.zeros(50, 2, dtype=torch.long),
    )
    bounds = noising_bounds(process, PIECES, 2)
    with pytest.raises(ValueError, match="broken, so") as e:
        thinning(process.rates, x, PIECES, 0.7 * bounds)
    assert "at time" in str(e.value)
    with pytest.raises(ValueError, match="broken, so"):
        thinning(process.rates, x, PIECES, 0.7 * noising_bounds(process, PIECES), independent=True)
    with pytest.raises(ValueError, match="broken"):
        thinning(lambda x, t: process.rates(x, t) * torch.nan, x, PIECES, bounds)


@WAYS
def test_seeds_rule_everything(way):
    """Catches randomness drawn past the generator that was handed in."""
    process, x = JumpProcess(GENERATORS["lopsided"]), torch.zeros(40, 3, dtype=torch.long)

    def run():
        torch.rand(7)
        return SIMULATORS[way](process, x, generator=torch.Generator().manual_seed(5))

    one, two = run(), run()
    assert torch.equal(one.times, two.times) and torch.equal(one.tokens, two.tokens)
    assert bool((x == 0).all()), "the caller's states are left alone"


@WAYS
def test_a_state_that_cannot_be_left_stays(way):
    """Catches 0 / 0 where the total rate is 0, and -0.0 taken for a rate."""
    process = JumpProcess(GENERATORS["absorbing"], LinearRate(0.2, 3.0))
    path = SIMULATORS[way](process, torch.full((50, 3), 2))
    assert path.times.shape == (50, 0) and bool((path.final == 2).all())
    still = JumpProcess(DenseRates(torch.zeros(3, 3)), LinearRate(0.2, 3.0))
    if way != "thinning":  # one bound for all states cannot be 0
        assert int(SIMULATORS[way](still, torch.ones(50, 3).long()).counts.sum()) == 0


def test_no_noise_no_jumps():
    """Catches an empty table of jumps that breaks what reads it."""
    process, x = JumpProcess(UniformRates(3)), torch.tensor([[0, 2], [1, 1]])
    for path in (gillespie(process, x, 0.0), uniformization(process, x, 0.0)):
        assert path.times.shape == (2, 0) and path.counts.tolist() == [0, 0]
        assert torch.equal(path.final, x) and torch.equal(path.reversed().final, x)
        assert path.states().shape == (2, 1, 2)


def hand_made():
    """Two paths up to time 3; the second stands still after its one jump."""
    return JumpPath(
        initial=torch.tensor([[0, 1], [2, 2]]),
        times=torch.tensor([[0.5, 2.0], [1.0, 3.0]]),
        dims=torch.tensor([[1, 1], [0, 0]]),
        tokens=torch.tensor([[2, 0], [1, 0]]),
        counts=torch.tensor([2, 1]),
        start=0.0,
        end=3.0,
    )


def test_a_path_reads_the_same_from_both_ends():
    """Catches a reversal that keeps the tokens after a jump, and padding taken for jumps."""
    path = hand_made()
    assert path.final.tolist() == [[0, 0], [1, 2]]
    assert path.states().tolist() == [[[0, 1], [0, 2], [0, 0]], [[2, 2], [1, 2], [1, 2]]]
    assert path.before()[path.jumped].tolist() == [1, 2, 2]
    back = path.reversed()
    assert back.start == 3.0 and back.initial.tolist() == [[0, 0], [1, 2]]
    assert back.times.tolist() == [[2.0, 0.5], [1.0, 0.0]]
    assert back.tokens[back.jumped].tolist() == [2, 1, 2]
    assert torch.equal(back.final, path.initial)
    for t in (0.1, 0.7, 1.5, 2.5):
        assert torch.equal(back.state_at(t), path.state_at(t))
    each = path.state_at(torch.tensor([0.5, 0.5]))
    assert each.tolist() == [[0, 2], [2, 2]]
    again = back.reversed()
    assert torch.equal(again.times, path.times)
    assert torch.equal(again.tokens[again.jumped], path.tokens[path.jumped])


def test_picking_follows_the_rates():
    """Catches an entry without rate that rounding picks, in either way of picking."""
    for width in (3, 12):
        rates = torch.zeros(N, width)
        rates[:, 0], rates[:, -2] = 1.0, 3.0
        index = pick(rates)
        assert set(index.tolist()) == {0, width - 2}
        assert mean_is((index == 0).double(), 0.25)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype):
    """Catches float32 times that leave [0, end] by rounding."""
    torch.set_default_dtype(dtype)
    process = JumpProcess(GENERATORS["ordinal"], LinearRate(0.2, 3.0), 0.7)
    x = torch.zeros(300, 2, dtype=torch.long)
    for way in (gillespie, uniformization):
        path = way(process, x)
        assert path.times.dtype == dtype and path.final.dtype == torch.long
        assert torch.equal(path.reversed().final, x)
    times = torch.linspace(0.7, 0.1, 4)
    path = thinning(process.rates, x, times, noising_bounds(process, times, 2))
    assert path.times.dtype == dtype


PROCESS, X = JumpProcess(UniformRates(3)), torch.zeros(4, 2, dtype=torch.long)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: gillespie(PROCESS, X + 3), "0..2"),
        (lambda: uniformization(PROCESS, X, 2.0), "0, 1.0"),
        (lambda: thinning(PROCESS.rates, X, torch.tensor([0.0, 1, 0.5]), torch.ones(2)), "rises"),
        (lambda: thinning(PROCESS.rates, X, torch.tensor([0.0, 0.0]), torch.ones(1)), "rises"),
        (lambda: thinning(PROCESS.rates, X, torch.tensor([0.0, 1]), torch.ones(2)), "each piece"),
        (lambda: thinning(PROCESS.rates, X, torch.tensor([0.0, 1]), torch.zeros(1)), "positive"),
        (
            lambda: thinning(
                PROCESS.rates,
                X,
                torch.tensor([0.0, 1]),
                lambda x: torch.full((len(x), 1), torch.nan),
            ),
            "positive",
        ),
        (
            lambda: thinning(PROCESS.rates, X, torch.tensor([0.0, 1]), lambda x: torch.ones(4)),
            "each state and piece",
        ),
        (lambda: thinning(PROCESS.rates, X[:0], torch.tensor([0.0, 1]), torch.ones(1)), "empty"),
        (lambda: hand_made().state_at(3.5), "the time of the paths"),
        (
            lambda: JumpPath(X, torch.rand(4, 2), X[:, :1], X[:, :1], X[:, 0], 0.0, 1.0),
            "pad the rows",
        ),
        (
            lambda: JumpPath(
                X, torch.tensor([[0.5, 0.2]] * 4), X, X, torch.full((4,), 2), 0.0, 1.0
            ),
            "without turning",
        ),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, words):
    """Catches grids that turn round, bounds of another length, and paths out of order."""
    with pytest.raises(ValueError, match=words) as caught:
        wrong()
    assert str(caught.value).count(";") >= 2

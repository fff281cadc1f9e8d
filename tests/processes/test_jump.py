"""The process against Bayes' rule on all states, and its schedules against their derivatives."""

import copy

import pytest
import torch
from torch.nn.functional import one_hot

from gentoolkit.processes import (
    ConstantRate,
    DenseRates,
    JumpProcess,
    LinearRate,
    LogLinearRate,
    UniformRates,
)
from tests.jumps.exact import BETAS, GENERATORS, LOPSIDED, chi_square, joint_kernel, table
from tests.jumps.spaces import every_state

NAMES = pytest.mark.parametrize("name", GENERATORS)


@pytest.mark.parametrize("name", BETAS)
def test_the_integral_is_that_of_the_rate(name):
    """Catches a rate that is not the derivative, an integral that does not start at 0."""
    beta, t = BETAS[name], torch.tensor([0.01, 0.3, 0.97], requires_grad=True)
    (slope,) = torch.autograd.grad(beta.integral(t).sum(), t)
    torch.testing.assert_close(beta.rate(t).detach(), slope)
    assert float(beta.integral(torch.zeros(()))) == 0.0
    torch.testing.assert_close(beta.time_of(beta.integral(t)), t)
    fine = torch.linspace(0.2, 0.9, 50)
    assert bool((beta.rate(fine) <= beta.bound(fine[0], fine[-1])).all())
    assert float(beta.bound(fine[0], fine[-1])) <= float(beta.rate(fine).max()) + 1e-12


def test_masking_loses_tokens_evenly():
    """Catches a share of 1 - e^-B that is not a straight line in time."""
    t = torch.tensor([0.0, 0.25, 0.5, 1.0])
    left = (-LogLinearRate(0.02).integral(t)).exp()
    torch.testing.assert_close(left, 1.0 - 0.98 * t)


@NAMES
def test_kernels_compose_in_time(name):
    """Catches beta(t) in place of its integral, which no constant rate shows."""
    process = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0), 1.5)
    whole = process.kernel(0.1, 1.3)
    torch.testing.assert_close(process.kernel(0.1, 0.6) @ process.kernel(0.6, 1.3), whole)
    truth = joint_kernel(process, 0.1, 1.3, 1)
    torch.testing.assert_close(whole, truth, rtol=0, atol=1e-13)


@NAMES
def test_each_row_has_its_own_time(name):
    """Catches times that are spread over tokens in place of rows."""
    process, x = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0)), torch.randint(3, (5, 5))
    t = torch.linspace(0.0, 1.0, 5)
    together = process.marginal(x, t)
    for i in range(5):
        alone = process.marginal(x[i : i + 1], float(t[i]))
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-14)
    assert torch.equal(process.sample(x, t)[0], x[0])


@NAMES
def test_noisy_states_follow_the_joint_kernel(name):
    """Catches a draw from columns, or noise of another time."""
    process = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0))
    x0 = torch.tensor([[1, 0]])
    noisy = process.sample(x0.expand(20_000, 2), 0.6)
    law = joint_kernel(process, 0.0, 0.6, 2)[3]
    assert chi_square(noisy, law) < 4
    assert chi_square(noisy, joint_kernel(process, 0.0, 0.8, 2)[3]) > 4


@NAMES
def test_the_posterior_of_one_token_is_bayes_rule(name):
    """Catches q_{t|0} in place of q_{s|0}, a transposed kernel, a lost normaliser."""
    process, s, t = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0)), 0.3, 0.8
    prior = table(name, dims=1).probs
    joint = torch.einsum(
        "a,ab,bc->bc", prior, joint_kernel(process, 0, s, 1), joint_kernel(process, s, t, 1)
    )
    truth = (joint / joint.sum(0)).T[:, None]
    x = every_state(3, 1)
    found = process.posterior(x, prior.expand(3, 1, 3), s, t).probs
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-13)
    # At time 0 it is the law of the data itself.
    data = prior[:, None] * joint_kernel(process, 0, t, 1)
    found = process.posterior(x, prior.expand(3, 1, 3), 0.0, t).probs
    torch.testing.assert_close(found, (data / data.sum(0)).T[:, None], rtol=0, atol=1e-13)


@NAMES
def test_known_data_are_sure_probabilities(name):
    """Catches tokens that are read as anything but a law that is sure of them."""
    process, x_0 = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0)), every_state(3, 2)
    x = process.sample(x_0, 0.8)
    told = process.posterior(x, x_0, 0.3, 0.8)
    sure = process.posterior(x, one_hot(x_0, 3).double(), 0.3, 0.8)
    torch.testing.assert_close(told.probs, sure.probs)


@NAMES
def test_noise_and_posterior_agree(name):
    """Catches a posterior of other noise: x_s given x_t, and a bridge, have the law of x_s."""
    process = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0))
    x_0 = torch.tensor([[1, 0]]).expand(20_000, 2)
    law = joint_kernel(process, 0.0, 0.3, 2)[3]
    x_s = process.posterior(process.sample(x_0, 0.8), x_0, 0.3, 0.8).sample()
    assert chi_square(x_s, law) < 4
    pinned = process.bridge(x_0, process.sample(x_0, process.end), 0.3).sample()
    assert chi_square(pinned, law) < 4 < chi_square(process.sample(x_0, 0.5), law)


@NAMES
def test_seeing_the_token_multiplies_by_its_likelihood(name):
    """Catches a likelihood counted twice, or read along rows; unseen must undo seen."""
    process, t, x = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0)), 0.8, every_state(3, 2)
    prior = torch.rand(9, 2, 3)
    if name == "absorbing":
        prior[..., 2] = 0.0
        x = torch.tensor([[2, 2]]).expand(9, 2)
    prior = prior / prior.sum(-1, keepdim=True)
    kernel = joint_kernel(process, 0, t, 1)
    truth = prior * kernel.T[x]
    seen = process.seen(x, prior, t)
    torch.testing.assert_close(seen, truth / truth.sum(-1, keepdim=True))
    torch.testing.assert_close(process.unseen(x, seen, t), prior)


def test_a_guess_that_the_state_excludes_is_put_right():
    """Catches 0 / 0 where a net puts nothing on the one token that is possible."""
    process = JumpProcess(GENERATORS["absorbing"], LogLinearRate())
    x, wrong = torch.tensor([[0, 2]]), torch.tensor([[[0.0, 1.0, 0.0], [0.3, 0.7, 0.0]]])
    found = process.posterior(x, process.unseen(x, wrong, 0.5), 0.2, 0.5).probs
    torch.testing.assert_close(found[0, 0], torch.tensor([1.0, 0.0, 0.0]))
    assert torch.isfinite(found).all()
    # A mask stays with probability (mask share at s) / (mask share at t).
    assert float(found[0, 1, 2]) == pytest.approx(0.4)


def test_rates_are_the_derivative_of_the_kernel():
    """Catches a rate without beta, or with its integral."""
    process = JumpProcess(DenseRates(LOPSIDED), LinearRate(0.2, 3.0))
    x, small = every_state(3, 1), 1e-6
    slope = (process.moved(x, 0.5, 0.5 + small) - process.moved(x, 0.5, 0.5)) / small
    slope = slope.scatter(-1, x[..., None], 0.0)
    torch.testing.assert_close(process.rates(x, 0.5), slope, rtol=1e-4, atol=1e-5)
    per_row = process.rates(x, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(per_row[1], process.rates(x, 0.5)[1])


@NAMES
def test_the_source_is_the_stationary_law_of_each_token(name):
    """Catches a source over one token, and a mask that is not sure."""
    process = JumpProcess(GENERATORS[name])
    x = process.source(2).sample(20_000)
    law = process.rate_matrix.stationary()
    assert x.shape == (20_000, 2) and chi_square(x, torch.outer(law, law)) < 4


@NAMES
def test_no_data_have_a_larger_gap_than_the_worst(name):
    """Catches a mean over tokens for the largest: the worst data are all of one token."""
    process = JumpProcess(GENERATORS[name], LinearRate(0.2, 3.0))

    def gap(law):
        end = law @ joint_kernel(process, 0.0, 1.0, 1)
        return float(0.5 * (end - process.rate_matrix.stationary()).abs().sum(-1).max())

    assert process.worst_gap() == pytest.approx(gap(torch.eye(3)), abs=1e-13)
    assert gap(torch.rand(50, 3).softmax(-1)) < process.worst_gap()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_times(dtype):
    """Catches tables in torch's default type."""
    torch.set_default_dtype(torch.float64 if dtype == torch.float32 else torch.float32)
    for generator in GENERATORS.values():
        process, x = JumpProcess(generator, LinearRate(0.2, 3.0)), torch.randint(2, (4, 2))
        t = torch.full((4,), 0.5, dtype=dtype)
        probs = process.marginal(x, t)
        assert probs.dtype == process.rates(x, t).dtype == dtype
        assert process.likelihood(x, t, t).dtype == dtype
        found = process.posterior(x, process.unseen(x, probs, t), 0.2 * t, t).probs
        assert found.dtype == process.source(2, probs).log_prob(x).dtype == dtype


@NAMES
def test_no_table_stays_behind(name):
    """Catches a matrix on another device than the times: all runs on the meta device."""
    process = JumpProcess(copy.deepcopy(GENERATORS[name]), LinearRate(0.2, 3.0)).to("meta")
    x, t = torch.zeros(4, 2, dtype=torch.long, device="meta"), torch.rand(4, device="meta")
    told = [process.marginal(x, t), process.likelihood(x, 0.1, 0.5), process.rates(x, 0.5)]
    told += [process.posterior(x, x, 0.1, 0.5).probs, process.source(2, t).probs]
    told += [process.sample(x, 0.5), process.unseen(x, told[0], t)]
    assert {v.device.type for v in told} == {"meta"}


def test_a_rate_matrix_survives_half_precision():
    """Catches rows that no longer sum to 0 once they are rounded."""
    process = JumpProcess(DenseRates(LOPSIDED), LinearRate(0.2, 3.0))
    exact = process.kernel(0.0, torch.tensor(0.7))
    for dtype in (torch.float16, torch.bfloat16):
        rounded = JumpProcess(DenseRates(LOPSIDED).to(dtype), LinearRate(0.2, 3.0))
        kernel = rounded.kernel(0.0, torch.tensor(0.7, dtype=dtype))
        assert kernel.dtype == torch.float32
        torch.testing.assert_close(kernel.sum(-1), torch.ones(3, dtype=torch.float32))
        torch.testing.assert_close(kernel, exact.float(), rtol=0, atol=0.01)


PROCESS = JumpProcess(UniformRates(3), ConstantRate(), 2.0)
X = torch.zeros(4, 2, dtype=torch.long)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: PROCESS.marginal(X, 2.5), ValueError, "0, 2.0"),
        (lambda: PROCESS.marginal(X, torch.tensor([0.1, torch.nan, 1, 1])), ValueError, "number"),
        (lambda: PROCESS.marginal(X, torch.rand(3)), ValueError, "one for each of 4"),
        (lambda: PROCESS.marginal(X, torch.rand(4, 1)), ValueError, "row"),
        (lambda: PROCESS.marginal(X + 3, 0.5), ValueError, "0..2"),
        (lambda: PROCESS.marginal(X.double(), 0.5), TypeError, "int64"),
        (lambda: PROCESS.kernel(1.0, 0.5), ValueError, "before"),
        (lambda: PROCESS.posterior(X, torch.rand(4, 2, 2), 0.1, 0.5), ValueError, "x_0 must"),
        (lambda: PROCESS.source(0), ValueError, "at least 1"),
        (lambda: JumpProcess(UniformRates(3), end=0.0), ValueError, "positive"),
        (lambda: JumpProcess(UniformRates(3), LogLinearRate(), 1.5), ValueError, "finite"),
        (lambda: ConstantRate(0.0), ValueError, "positive"),
        (lambda: LinearRate(0.1, -1.0), ValueError, "positive"),
        (lambda: LogLinearRate(0.0), ValueError, "0, 1"),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, error, words):
    """Catches rising grids, times past the end, and tokens out of range."""
    with pytest.raises(error, match=words) as caught:
        wrong()
    assert str(caught.value).count(";") >= 2

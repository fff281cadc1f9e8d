"""Categorical ratio matching: its least value, its rates and its steps."""

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.jumps import HollowMLP, RatioMatching, Table, cross_entropy
from gentoolkit.processes import (
    AbsorbingRates,
    ConstantRate,
    DenseRates,
    JumpProcess,
    LinearRate,
    UniformRates,
)
from tests.jumps.spaces import every_state, output_law, some_law, step_matrix, tv

SKEW = DenseRates(
    torch.tensor([[-4, 3, 1], [1, -4, 3], [5, 2, -7]], dtype=torch.float64) / 4  # exact sums
)
UNIFORM = JumpProcess(UniformRates(3), ConstantRate(1.0), 4.0)
PROCESSES = [UNIFORM, JumpProcess(SKEW, LinearRate(0.3, 0.8), 3.0)]
IDS = ["uniform", "skew"]
STATES = every_state(3, 2)


def table(process, dims=2):
    return Table(process, some_law(3, dims))


def told(process, dims=2, start=1e-2):
    """The data's exact law given the other tokens, as a net."""
    exact = table(process, dims)
    return RatioMatching(lambda x, t: exact.data_unseen(x, t).log(), process, dims, start=start)


def noisy_law(process, t):
    """q_t over 9 states by one big matrix exponential: (S,)."""
    q, eye = process.rate_matrix.matrix().double(), torch.eye(3).double()
    joint = torch.kron(q, eye) + torch.kron(eye, q)
    b = process.schedule.integral(torch.tensor(t).double())
    return some_law(3, 2).flatten() @ torch.linalg.matrix_exp(b * joint)


def entropies(q):
    """H(X^1 | X^2) + H(X^2 | X^1) = 2 H(X) - H(X^1) - H(X^2) of a law over 9 states."""
    both = q.reshape(3, 3)

    def entropy(p):
        return -float(torch.xlogy(p, p).sum())

    return 2 * entropy(q) - entropy(both.sum(0)) - entropy(both.sum(1))


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_the_loss_at_the_truth_is_the_conditional_entropy(process):
    """Catches a law of another time, or a kernel used the wrong way round."""
    model, q = told(process), noisy_law(process, 0.7)
    law = model.conditionals(STATES, 0.7, 0.7)
    assert float(q @ cross_entropy(law, STATES)) == pytest.approx(entropies(q), abs=1e-10)
    for seed in range(3):
        # Another table, but hollow too: what it says of a token follows the other token alone.
        tables = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(seed))
        noise = torch.stack([tables[0][STATES[:, 1]], tables[1][STATES[:, 0]]], 1)
        other = (law.log() + 0.1 * noise).softmax(-1)
        assert float(q @ cross_entropy(other, STATES)) > entropies(q) + 1e-4


def test_a_net_that_sees_its_token_falls_below_the_entropy():
    """The sign of a leak: the same loss, fed with what the token itself tells."""
    exact, q = table(UNIFORM), noisy_law(UNIFORM, 0.7)
    leaky = RatioMatching(lambda x, t: exact.data_seen(x, t).log(), UNIFORM, 2)
    law = leaky.conditionals(STATES, 0.7, 0.7)
    assert float(q @ cross_entropy(law, STATES)) < entropies(q) - 0.05


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_the_drawn_loss_averages_the_entropy_over_time(process):
    """Catches times outside [start, end], a sum over the wrong axis, a mean over tokens."""
    model, exact = told(process, start=0.5), table(process)
    generator = torch.Generator().manual_seed(0)
    losses = torch.stack(
        [model.loss(exact.sample(64, generator), generator=generator) for _ in range(200)]
    )
    nodes = torch.linspace(0.5, process.end, 2001).double()
    values = torch.tensor([entropies(noisy_law(process, float(t))) for t in nodes[::50]])
    average = float(torch.trapezoid(values, nodes[::50])) / (process.end - 0.5)
    result = checks.mean_is(losses, average)
    assert result, result
    assert not checks.mean_is(losses, average / 2)


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_rates_run_the_noise_backwards(process):
    """Catches Q not transposed, a ratio inverted, B_t for beta(t): the flux of each edge."""
    t = 0.7
    rates, q = told(process).rates(STATES, t), noisy_law(process, t)
    beta = float(process.schedule.rate(torch.tensor(t)))
    matrix = process.rate_matrix.matrix().double()
    for i, x in enumerate(STATES.tolist()):
        for d in range(2):
            for c in range(3):
                y = x.copy()
                y[d] = c
                j = 3 * y[0] + y[1]
                flux = 0.0 if c == x[d] else float(q[j] * beta * matrix[c, x[d]])
                assert float(q[i] * rates[i, d, c]) == pytest.approx(flux, abs=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_one_token_is_stepped_exactly(process):
    """Catches q_{t|0} for q_{s|0}, and evidence of the wrong end: Bayes on three states."""
    model, line = told(process, 1), every_state(3, 1)
    kernels = [
        torch.linalg.matrix_exp(b * process.rate_matrix.matrix().double())
        for b in (
            process.schedule.integral(torch.tensor(0.4).double()),
            process.schedule.integral(torch.tensor(1.5).double())
            - process.schedule.integral(torch.tensor(0.4).double()),
        )
    ]
    joint = (some_law(3, 1) @ kernels[0])[:, None] * kernels[1]  # (x_s, x_t)
    law = model.transition(line, 0.4, 1.5)[:, 0]
    assert torch.allclose(law, (joint / joint.sum(0)).T, atol=1e-12)


def test_a_step_of_two_tokens_is_off_by_its_square():
    """Catches a step that is wrong in first order: halving it must quarter the error."""
    model, t, errors = told(UNIFORM), 0.7, []
    q = noisy_law(UNIFORM, t)
    for e in (0.1, 0.05, 0.025):
        kernel = step_matrix(UNIFORM.moved(STATES, t - e, t), STATES)  # (x_s, x_t)
        truth = (noisy_law(UNIFORM, t - e)[:, None] * kernel).T / q[:, None]
        step = step_matrix(model.transition(STATES, t - e, t), STATES)
        errors.append(float(q @ (step - truth).abs().sum(1)) / 2)
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.5)
    assert errors[1] / errors[2] == pytest.approx(4.0, abs=0.3)


def test_the_steps_land_on_the_data():
    """Catches a last step that stays at `start`: the exact law after 64 steps down to 0."""
    times = torch.linspace(4.0, 0.0, 65)
    source = torch.full((9,), 1 / 9)
    law = output_law(told(UNIFORM).transition, times, STATES, source)
    assert tv(law, some_law(3, 2).flatten()) < 0.03


def test_a_trained_model_samples_its_data():
    """Catches a gradient that misses a parameter, and a model that does not learn."""
    process = JumpProcess(UniformRates(3), ConstantRate(1.0), 3.0)
    model = RatioMatching(HollowMLP(3, 2, (32,)), process, 2)
    both = 0.25 * torch.eye(3) + 0.25 / 6 * (1 - torch.eye(3))  # mostly two of a kind
    generator, exact = torch.Generator().manual_seed(0), Table(process, both)
    model.loss(exact.sample(8, generator), generator=generator).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(250):
        optimizer.zero_grad()
        model.loss(exact.sample(256, generator), generator=generator).backward()
        optimizer.step()
    even = torch.full((9,), 1 / 9)  # the right frequencies, but independent tokens
    law = output_law(model.transition, torch.linspace(3.0, 0.0, 33), STATES, even)
    assert tv(law, both.flatten()) < 0.13 < tv(even, both.flatten()) - 0.2


def test_a_mask_is_never_told_as_data():
    """Catches a net's weight on the mask that leaks into the data."""
    process = JumpProcess(AbsorbingRates(3), end=2.0)
    model = RatioMatching(lambda x, t: torch.zeros(*x.shape, 3), process, 2)
    law = model.conditionals(torch.full((1, 2), 2), 2.0, 0.0)
    assert law[0, 0].tolist() == pytest.approx([0.5, 0.5, 0.0])


def test_bad_input_is_refused():
    """Catches silent broadcasts of a wrong net, and times at which no ratio is finite."""
    net = HollowMLP(3, 2)
    model = RatioMatching(net, UNIFORM, 2)
    with pytest.raises(ValueError, match="start"):
        RatioMatching(net, UNIFORM, 2, start=0.0)
    with pytest.raises(ValueError, match="start"):
        RatioMatching(net, UNIFORM, 2, start=4.0)
    with pytest.raises(ValueError, match="dims"):
        RatioMatching(net, UNIFORM, 0)
    with pytest.raises(TypeError, match="int64"):
        model.loss(torch.rand(3, 2))
    with pytest.raises(ValueError, match="0..2"):
        model.loss(torch.full((3, 2), 3))
    with pytest.raises(ValueError, match=r"\(B, 2\)"):
        model.loss(torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="logits"):
        RatioMatching(lambda x, t: torch.zeros(len(x), 3), UNIFORM, 2).loss(STATES)
    with pytest.raises(ValueError, match="mask"):
        RatioMatching(net, JumpProcess(AbsorbingRates(3), end=2.0), 2).loss(STATES)

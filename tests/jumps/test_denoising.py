"""Denoising: rates from data prediction, and the bound in continuous time."""

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.jumps import (
    D3PM,
    Denoising,
    RatioMatching,
    Table,
    TokenMLP,
    cross_entropy,
    data_rates,
)
from gentoolkit.processes import (
    AbsorbingRates,
    ConstantRate,
    DenseRates,
    JumpProcess,
    LinearRate,
    OrdinalRates,
    UniformRates,
)
from tests.flows.truth import perturbed
from tests.jumps.spaces import every_state, rate_matrix, some_law

SKEW = DenseRates(torch.tensor([[-4, 3, 1], [1, -4, 3], [5, 2, -7]], dtype=torch.float64) / 4)
PROCESSES = [
    JumpProcess(UniformRates(3), ConstantRate(2.0), 4.0),
    JumpProcess(SKEW, LinearRate(0.5, 2.0), 3.0),
    JumpProcess(OrdinalRates(3), ConstantRate(3.0), 3.0),
]
IDS = ["uniform", "skew", "ordinal"]
STATES = every_state(3, 2)


def exact(process, dims=2, start=1e-3):
    """The data's law given the whole noisy state, as a net."""
    table = Table(process, some_law(3, dims, sharpness=1.0))
    return Denoising(lambda x, t: table.data_seen(x, t).log(), process, dims, start=start)


def seen(process, t):
    """p(x_0, x_t) over 9 x 9 states by one big exponential, (x_0, x_t)."""
    q, eye = process.rate_matrix.matrix().double(), torch.eye(3).double()
    joint = torch.kron(q, eye) + torch.kron(eye, q)
    b = process.schedule.integral(torch.tensor(t).double())
    law = some_law(3, 2, sharpness=1.0).flatten()
    return law[:, None] * torch.linalg.matrix_exp(b * joint)


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_rates_are_those_of_the_reversal(process):
    """Catches evidence counted twice: rates from x0 against the whole generator's Bayes rule."""
    t = 0.6
    q = seen(process, t).sum(0)
    beta = float(process.schedule.rate(torch.tensor(t).double()))
    every = torch.eye(9, dtype=torch.bool)
    eye = torch.eye(3).double()
    matrix = process.rate_matrix.matrix().double()
    whole = beta * (torch.kron(matrix, eye) + torch.kron(eye, matrix))
    truth = (whole.T * q[None, :] / q[:, None]).masked_fill(every, 0.0)
    rates = rate_matrix(exact(process).rates(STATES, t), STATES).masked_fill(every, 0.0)
    assert torch.allclose(rates, truth, atol=1e-10)


def test_rates_are_the_mean_of_those_that_know_the_data():
    """Catches a sum over x0 in the wrong place: the reference's formula by plain loops."""
    process, t, net = PROCESSES[1], 0.6, perturbed(TokenMLP(3, 2, (8,)))
    told = net(STATES, torch.tensor(t)).softmax(-1).detach()
    rates = Denoising(net, process, 2).rates(STATES, t).detach()
    kernel = torch.linalg.matrix_exp((0.5 * t + t * t) * SKEW.matrix())
    for b, x in enumerate(STATES.tolist()):
        for d in range(2):
            for c in range(3):
                ratios = (told[b, d] * kernel[:, c] / kernel[:, x[d]]).tolist()
                known = 0.0 if c == x[d] else (0.5 + 2 * t) * float(SKEW.matrix()[c, x[d]])
                assert float(rates[b, d, c]) == pytest.approx(known * sum(ratios), abs=1e-12)


def test_rates_that_know_the_data_make_its_noise():
    """Catches a conditional reversal of the wrong law: the master equation of q(. | x_0)."""
    process, t, h = PROCESSES[1], 0.6, 1e-5
    for x0 in range(3):
        data = torch.full((3, 1), x0)
        line = torch.arange(3)[:, None]
        rates = data_rates(process, data, line, torch.full((3,), t))[:, 0]
        q = rates - rates.sum(1).diag()
        law = process.marginal(data[:1], t)[0, 0]
        slope = process.marginal(data[:1], t + h) - process.marginal(data[:1], t - h)
        assert torch.allclose(law @ q, -slope[0, 0] / (2 * h), atol=1e-8)


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_the_loss_at_the_truth_is_the_entropy_of_the_data(process):
    """Catches the noise taken for the data, and a mean where a sum belongs."""
    model, generator = exact(process, start=0.3), torch.Generator().manual_seed(0)
    table = Table(process, some_law(3, 2, sharpness=1.0))
    values, nodes = [], torch.linspace(0.3, process.end, 41)
    for t in nodes.tolist():
        joint, q = seen(process, t).reshape(3, 3, 9), seen(process, t).sum(0)
        parts = [joint.sum(1), joint.sum(0)]  # (x_0^d, x_t)
        values.append(-sum(float(torch.xlogy(p, p / q).sum()) for p in parts))
    average = float(torch.trapezoid(torch.tensor(values), nodes)) / (process.end - 0.3)
    losses = [model.loss(table.sample(64, generator), generator=generator) for _ in range(200)]
    result = checks.mean_is(torch.stack(losses), average)
    assert result, result


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_the_bound_is_tight_at_the_truth(process):
    """Catches beta dropped, a missing term, a sign: with exact rates the bound is log p(x)."""
    model, generator = exact(process), torch.Generator().manual_seed(0)
    for x in ([0, 0], [1, 2], [2, 1]):
        state = torch.tensor([x]).expand(1000, 2)
        draws = torch.stack([model.elbo(state, generator=generator).mean() for _ in range(30)])
        truth = float(some_law(3, 2, sharpness=1.0)[tuple(x)].log())
        result = checks.mean_is(draws, truth)
        assert result, result
        assert float(draws.std()) < 0.4, "a bound with so much noise would check nothing"


def test_ratio_models_have_the_same_bound():
    """Catches a bound that only reads data predictions: a hollow net at the truth."""
    process = PROCESSES[0]
    table = Table(process, some_law(3, 2, sharpness=1.0))
    model = RatioMatching(lambda x, t: table.data_unseen(x, t).log(), process, 2, start=5e-3)
    x, generator = torch.tensor([[1, 0]]).expand(1000, 2), torch.Generator().manual_seed(0)
    draws = torch.stack([model.elbo(x, generator=generator).mean() for _ in range(30)])
    result = checks.mean_is(draws, float(some_law(3, 2, sharpness=1.0)[1, 0].log()))
    assert result, result
    assert float(draws.std()) < 0.4


@pytest.mark.parametrize("process", PROCESSES[:2], ids=IDS[:2])
def test_the_bound_of_a_wrong_net_is_the_limit_of_the_grid(process):
    """Catches a bound that is right at the truth alone: T kernels against continuous time."""
    model = Denoising(perturbed(TokenMLP(3, 2, (8,))), process, 2, start=0.02)
    generator, gaps = torch.Generator().manual_seed(0), []
    x = torch.tensor([[0, 1]]).expand(1000, 2)
    with torch.no_grad():
        ours = torch.stack([model.elbo(x, generator=generator).mean() for _ in range(60)])
        for steps in (50, 200):
            # The last step covers [0, start], as in the model; the others crowd near it.
            grid = torch.linspace(process.end**0.5, 0.02**0.5, steps).square()
            grid = torch.cat([grid, torch.zeros(1)])
            gaps.append(
                float((D3PM(model, grid).elbo(x[:300], generator=generator) - ours.mean()).mean())
            )
    assert float(ours.std()) / 60**0.5 < 0.01
    assert 0.02 < gaps[1] < 0.3 * gaps[0] + 0.02 < 0.12, "first order, from above"
    truth = float(some_law(3, 2, sharpness=1.0)[0, 1].log())
    assert float(ours.mean()) < truth - 0.3, "a wrong net, far from a tight bound"


def test_the_bound_reaches_every_parameter():
    """Catches a detached term: the bound can be trained on."""
    model = Denoising(perturbed(TokenMLP(3, 2, (8,))), PROCESSES[0], 2)
    for loss in (model.loss(STATES), -model.elbo(STATES).mean()):
        model.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name


def test_training_on_the_bound_makes_it_tight():
    """Catches a gradient of the wrong sign or weight; the plain loss improves the bound too."""
    process = PROCESSES[0]
    table = Table(process, some_law(3, 2, sharpness=1.0))
    entropy = -float(torch.xlogy(table.probs, table.probs).sum())
    ends = []
    for on_bound in (True, False):
        torch.manual_seed(0)
        model = Denoising(TokenMLP(3, 2, (24,)), process, 2)
        generator = torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(150):
            x = table.sample(256, generator)
            loss = (
                -model.elbo(x, generator=generator).mean()
                if on_bound
                else model.loss(x, generator=generator)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            ends.append(
                -float(model.elbo(table.sample(20_000, generator), generator=generator).mean())
            )
    assert entropy - 0.1 < ends[0] < entropy + 0.3
    assert ends[0] < ends[1] < 4.0, "it starts near 7"


def test_a_bound_of_minus_infinity_is_refused():
    """Catches an absorbing process whose end still holds data that the source cannot."""
    process = JumpProcess(AbsorbingRates(3), end=2.0)
    model = Denoising(TokenMLP(3, 2), process, 2)
    with pytest.raises(ValueError, match="absorbs"):
        model.elbo(torch.tensor([[0, 1]]))


def test_single_precision_survives():
    """Catches a float64 kernel that meets a float32 net."""
    model = Denoising(TokenMLP(3, 2).float(), PROCESSES[1], 2)
    assert model.loss(STATES).dtype == torch.float32
    assert model.elbo(STATES).dtype == torch.float32
    assert model.rates(STATES, 0.5).dtype == torch.float32
    assert model.sample(3, steps=4).shape == (3, 2)


def test_cross_entropy_is_a_sum_over_tokens():
    """Catches a mean over tokens: two even coins cost 2 log 2."""
    law = torch.full((3, 2, 2), 0.5)
    x = torch.tensor([[0, 1], [1, 1], [0, 0]])
    assert cross_entropy(law, x).tolist() == pytest.approx([2 * 0.6931471805599453] * 3)

"""D3PM: the chain, its bound term by term, and what it samples."""

import copy

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.jumps import (
    D3PM,
    Denoising,
    MaskedDiffusion,
    RatioMatching,
    Table,
    TokenMLP,
)
from gentoolkit.processes import (
    AbsorbingRates,
    ConstantRate,
    DenseRates,
    JumpProcess,
    LinearRate,
    LogLinearRate,
    OrdinalRates,
    UniformRates,
)
from tests.flows.truth import perturbed
from tests.jumps.spaces import every_state, some_law, step_matrix

SKEW = DenseRates(torch.tensor([[-4, 3, 1], [1, -4, 3], [5, 2, -7]], dtype=torch.float64) / 4)
PROCESSES = [
    JumpProcess(UniformRates(3), ConstantRate(2.0), 2.0),
    JumpProcess(SKEW, LinearRate(0.5, 2.0), 2.0),
    JumpProcess(OrdinalRates(3), ConstantRate(1.0), 2.0),
    JumpProcess(AbsorbingRates(3), LogLinearRate(), 1.0),
]
IDS = ["uniform", "skew", "ordinal", "absorbing"]
STATES = every_state(3, 2)


def model_of(process, steps=5):
    """Any net: two tokens of three, the last of them a mask if there is one."""
    torch.manual_seed(3)
    return D3PM(Denoising(perturbed(TokenMLP(3, 2, (8,))), process, 2), steps)


def output(model):
    """The exact law of the chain's data over all 9 states, (S,)."""
    source = model.reversal.process.source(2).log_prob(STATES).exp()
    with torch.no_grad():
        for i in range(model.steps, 0, -1):
            step = torch.full((9,), i)
            source = source @ step_matrix(model.push_law(STATES, step), STATES)
    return source


def data_of(process):
    """States that are data: no mask."""
    return STATES[(STATES < 2).all(1)] if process is PROCESSES[3] else STATES


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_the_account_of_pulled_paths_is_the_bound(process):
    """Catches a term left out or counted twice: the chain's evidence against the closed sums."""
    model, generator = model_of(process), torch.Generator().manual_seed(0)
    x = torch.tensor([[0, 1]]).expand(8000, 2)
    with torch.no_grad():
        drawn = model.chain().pull(x, generator).log_evidence()
        closed = model.elbo(x, generator=generator)
        error = ((float(drawn.var()) + float(closed.var())) / 8000) ** 0.5
        assert abs(float(drawn.mean() - closed.mean())) < 4 * error
        truth = float(output(model)[1].log())
        assert float(closed.mean()) < truth, "a bound"


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_the_evidence_averages_to_the_exact_law(process):
    """Catches f and b of different grids: E[exp(evidence)] = p(x) by a product of matrices."""
    model, generator = model_of(process, 3), torch.Generator().manual_seed(0)
    law = output(model)
    assert float(law.sum()) == pytest.approx(1.0, abs=1e-10)
    with torch.no_grad():
        for row in data_of(process)[::3]:
            x = row.expand(6000, 2)
            evidence = model.chain().pull(x, generator).log_evidence().exp()
            result = checks.mean_is(evidence, float(law[3 * row[0] + row[1]]))
            assert result, result
            assert not checks.mean_is(1.2 * evidence, float(law[3 * row[0] + row[1]]))


@pytest.mark.parametrize("process", PROCESSES[:3], ids=IDS[:3])
def test_one_token_with_the_exact_net_has_no_gap(process):
    """Catches q_{t|0} for q_{s|0} and a wrong last step: at the truth each path says log p(x)."""
    table, line = Table(process, some_law(3, 1)), every_state(3, 1)
    exact = Denoising(lambda x, t: table.data_seen(x, t).log(), process, 1)
    for steps in (1, 4):
        for _ in range(3):
            evidence = D3PM(exact, steps).chain().pull(line).log_evidence()
            assert torch.allclose(evidence, some_law(3, 1).log(), atol=1e-8)


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_samples_have_the_law_of_the_chain(process):
    """Catches a sampler with other steps than the chain's: frequencies of the exact law."""
    model, n = model_of(process), 6000
    law = output(model)
    x = model.sample(n, generator=torch.Generator().manual_seed(1))
    pushed = model.chain().push(n, torch.Generator().manual_seed(2)).states[-1]
    for draws in (x, pushed):
        for index in (0, 1, 3, 4):
            hits = (3 * draws[:, 0] + draws[:, 1] == index).double()
            result = checks.mean_is(hits, float(law[index]))
            assert result, result


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_the_loss_is_one_term_of_the_bound(process):
    """Catches steps drawn from 0 or up to T - 1, and a mean for a sum; gradients reach the net."""
    model, generator = model_of(process), torch.Generator().manual_seed(0)
    x = data_of(process)
    with torch.no_grad():
        many = x.repeat(40, 1)
        losses = torch.stack([model.loss(many, generator=generator) for _ in range(60)])
        bound = torch.stack([-model.elbo(many, generator=generator).mean() for _ in range(20)])
    error = (float(losses.var()) / 60 + float(bound.var()) / 20) ** 0.5
    assert abs(float(losses.mean() - bound.mean())) < 4 * error
    assert abs(float(0.8 * losses.mean() - bound.mean())) > 4 * error, "the control: 4 of 5 steps"
    model.loss(x.repeat(20, 1), generator=generator).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_any_precision_makes_a_chain(process, dtype):
    """Catches a tolerance of float64 in every precision: laws of a half net are float32's."""
    x, process = data_of(process), copy.deepcopy(process)
    model = D3PM(Denoising(perturbed(TokenMLP(3, 2, (8,))), process, 2), 4).to(dtype)
    told = model.chain().pull(x, torch.Generator().manual_seed(0)).log_evidence()
    assert told.dtype == torch.promote_types(dtype, torch.float32) == model.elbo(x).dtype
    assert bool(torch.isfinite(told).all()) and model.chain().push(3).states[-1].shape == (3, 2)
    assert bool(torch.isfinite(model.loss(x)))


@pytest.mark.parametrize("process", PROCESSES, ids=IDS)
def test_everything_follows_the_model(process):
    """Catches a table or a time that stays on the first device: a chain on the meta device."""
    model = D3PM(Denoising(TokenMLP(3, 2, (8,)), copy.deepcopy(process), 2), 4).to("meta")
    pushed = model.chain().push(3)
    assert {v.device.type for v in (pushed.log_ratio, pushed.log_source, model.sample(2))} == {
        "meta"
    }
    assert model.loss(pushed.states[-1]).device.type == "meta"


def test_terms_are_divergences():
    """Catches a divergence turned round: none is negative, and they sum to the bound."""
    model = model_of(PROCESSES[1], 6)
    with torch.no_grad():
        terms = model.terms(STATES, generator=torch.Generator().manual_seed(0))
        again = model.elbo(STATES, generator=torch.Generator().manual_seed(0))
    assert terms.shape == (6, 9)
    assert float(terms.min()) >= -1e-12
    assert torch.equal(-terms.sum(0), again)


def test_any_reversal_makes_a_chain():
    """Catches a chain that knows data prediction only: ratios and masks have laws too."""
    table = Table(PROCESSES[0], some_law(3, 2))
    ratios = RatioMatching(lambda x, t: table.data_unseen(x, t).log(), PROCESSES[0], 2)
    masks = MaskedDiffusion(perturbed(TokenMLP(3, 2, (8,))), PROCESSES[3], 2)
    for reversal in (ratios, masks):
        law = output(D3PM(reversal, 8))
        assert float(law.sum()) == pytest.approx(1.0, abs=1e-10)
    assert float(law[(STATES == 2).any(1)].sum()) < 1e-12, "no mask is left"


def test_bad_input_is_refused():
    """Catches grids that end elsewhere than the noise, and data that is none."""
    reversal = Denoising(TokenMLP(3, 2), PROCESSES[0], 2)
    with pytest.raises(ValueError, match="steps"):
        D3PM(reversal, 0)
    with pytest.raises(ValueError, match="from the end"):
        D3PM(reversal, torch.tensor([1.0, 0.5, 0.0]))
    with pytest.raises(ValueError, match="from the end"):
        D3PM(reversal, torch.tensor([2.0, 0.5]))
    with pytest.raises(ValueError, match="fall strictly"):
        D3PM(reversal, torch.tensor([0.0, 2.0]))
    with pytest.raises(TypeError, match="int64"):
        D3PM(reversal, 3).loss(torch.rand(2, 2))
    with pytest.raises(ValueError, match="mask"):
        D3PM(Denoising(TokenMLP(3, 2), PROCESSES[3], 2), 3).elbo(torch.tensor([[0, 2]]))

"""Masked diffusion: its cross-entropy is the bound, in three independent readings."""

from itertools import permutations
from math import log

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.jumps import (
    D3PM,
    Corrector,
    Denoising,
    MaskedDiffusion,
    Table,
    TauLeaping,
    TokenMLP,
    data_rates,
)
from gentoolkit.processes import (
    AbsorbingRates,
    ConstantRate,
    JumpProcess,
    LinearRate,
    LogLinearRate,
    UniformRates,
    falling_times,
)
from tests.flows.truth import perturbed
from tests.jumps.spaces import every_state, output_law, tv

MASKS = JumpProcess(AbsorbingRates(3), LogLinearRate(), 1.0)
DIMS = 3


class Timeless(torch.nn.Module):
    """A net that ignores the time: its bound is then an average over orders of filling in."""

    def __init__(self):
        super().__init__()
        self.net = perturbed(TokenMLP(3, DIMS, (8,)))

    def forward(self, x, t):
        return self.net(x, torch.tensor(0.5))


def over_orders(net, x, known=()):
    """Mean over all orders of sum log p(x_d | those before), the tokens filled in one by one."""
    total, orders = 0.0, list(permutations(d for d in range(DIMS) if d not in known))
    for order in orders:
        state = torch.full((1, DIMS), 2)
        for d in known:
            state[0, d] = x[d]
        for d in order:
            logits = net(state, torch.tensor(0.5))[0, d, :2]
            total += float(logits.log_softmax(-1)[x[d]])
            state[0, d] = x[d]
    return total / len(orders)


def test_the_bound_is_the_mean_over_orders():
    """Catches a weight off by (1 - u), by D or by the schedule: autoregression in any order."""
    torch.manual_seed(1)
    net = Timeless()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for process in (MASKS, JumpProcess(AbsorbingRates(3), ConstantRate(3.0), 2.0)):
            model = MaskedDiffusion(net, process, DIMS)
            for x in ([0, 1, 1], [1, 1, 0]):
                state = torch.tensor([x]).expand(500, DIMS)
                draws = torch.stack(
                    [model.elbo(state, generator=generator).mean() for _ in range(60)]
                )
                result = checks.mean_is(draws, over_orders(net, x))
                assert result, result
                assert not checks.mean_is(1.1 * draws, over_orders(net, x))


@pytest.mark.parametrize("known", [(1,), (0, 2)])
def test_given_tokens_make_the_bound_conditional(known):
    """Catches a known token that is masked or counted: orders of the others, those in place."""
    torch.manual_seed(1)
    net, generator = Timeless(), torch.Generator().manual_seed(0)
    model, x = MaskedDiffusion(net, MASKS, DIMS), [0, 1, 1]
    given = torch.tensor([d in known for d in range(DIMS)])
    state = torch.tensor([x]).expand(500, DIMS)
    with torch.no_grad():
        context = torch.where(given, state, model.mask)
        draws = [model.elbo(state, context=context, generator=generator) for _ in range(40)]
        result = checks.mean_is(torch.stack([d.mean() for d in draws]), over_orders(net, x, known))
        assert result, result
        filled = model.sample(500, context=context, steps=6, generator=generator)
        assert torch.equal(filled[:, given], state[:, given]), "what is known stays"
        free = torch.stack([model.elbo(state, generator=generator).mean() for _ in range(40)])
        assert not checks.mean_is(free, over_orders(net, x, known)), "the control: none is given"
        assert float(model.loss(state, context=state, generator=generator)) == 0.0


@pytest.mark.parametrize("beta", [LogLinearRate(), ConstantRate(3.0)], ids=["masking", "constant"])
def test_it_is_the_bound_of_jumps_at_every_state(beta):
    """Catches a rate out of the mask that is wrong: the path bound's sum, without any draw.

    sum over jumps [r log(r / R) - r + R] = beta / (e^B - 1) sum over masked of - log p(x_0^d)
    """
    process, net = JumpProcess(AbsorbingRates(3), beta, 0.9), perturbed(TokenMLP(3, DIMS, (8,)))
    model = MaskedDiffusion(net, process, DIMS)
    x0 = torch.tensor([[0, 1, 0]])
    for t in (0.1, 0.5, 0.8):
        b = float(beta.integral(torch.tensor(t)))
        weight = float(beta.rate(torch.tensor(t))) / (torch.tensor(b).expm1())
        for hidden in every_state(2, DIMS).bool():
            x = torch.where(hidden, 2, x0)
            with torch.no_grad():
                told = model.rates(x, t)
                known = data_rates(process, x0, x, torch.tensor([t]))
                logits = net(x, torch.tensor(t))[0, :, :2].log_softmax(-1)
            jumps = torch.xlogy(known, known) - torch.xlogy(known, told) - known + told
            costs = [-float(logits[d, x0[0, d]]) for d in range(DIMS) if bool(hidden[d])]
            assert float(jumps.sum()) == pytest.approx(float(weight) * sum(costs), abs=1e-9)


def test_it_is_the_limit_of_the_chain():
    """Catches a bound of another model than the sampler's: D3PM on 64 steps, and not on 1."""
    model = MaskedDiffusion(perturbed(TokenMLP(3, DIMS, (8,))), MASKS, DIMS)
    generator, x = torch.Generator().manual_seed(0), torch.tensor([[0, 1, 1]])
    with torch.no_grad():
        ours = torch.stack(
            [model.elbo(x.expand(4000, 3), generator=generator).mean() for _ in range(60)]
        )
        gaps = []
        for steps in (1, 64):
            chain = D3PM(model, steps).elbo(x.expand(2000, 3), generator=generator)
            gaps.append(abs(float(chain.mean() - ours.mean())))
    assert gaps[1] < 0.05 < 0.1 < gaps[0]


def test_at_the_truth_every_bound_is_exact():
    """Catches a time that the net is told wrongly: exact conditionals leave log p(x) alone."""
    law = torch.zeros(3, 3, 3)
    law[:2, :2, :2] = torch.randn(2, 2, 2).mul(1.5).flatten().softmax(0).reshape(2, 2, 2)
    table = Table(MASKS, law)

    def net(x, t):
        return table.data_seen(x, t.clamp_min(1e-3)).log()

    model = MaskedDiffusion(net, MASKS, DIMS)
    generator = torch.Generator().manual_seed(0)
    for x in ([0, 0, 1], [1, 0, 1]):
        state = torch.tensor([x]).expand(300, DIMS)
        draws = torch.stack([model.elbo(state, generator=generator).mean() for _ in range(60)])
        result = checks.mean_is(draws, float(law[tuple(x)].log()))
        assert result, result
    # And it samples: one token in a step at most if the steps are many.
    states = every_state(3, DIMS)
    source = (states == 2).all(1).double()
    times = falling_times(60, 1.0)
    truth = law.flatten()
    plain = tv(output_law(model.transition, times, states, source), truth)
    leaps = tv(output_law(TauLeaping(model.rates), times, states, source), truth)
    mended = tv(output_law(TauLeaping(model.rates), times, states, source, Corrector(model)), truth)
    assert plain < 0.02 and plain < leaps < 0.1
    assert mended < 0.1, "tokens are masked anew and filled in again"


def test_rates_out_of_the_mask():
    """Catches a ratio inverted: beta e^-B / (1 - e^-B) p = 0.290988 at B = 1 and p = 1/2."""
    process = JumpProcess(AbsorbingRates(3), ConstantRate(1.0), 2.0)
    model = MaskedDiffusion(lambda x, t: torch.zeros(*x.shape, 3), process, 1)
    rates = model.rates(torch.tensor([[2], [0]]), 1.0)
    assert rates[0, 0].tolist() == pytest.approx([0.290988, 0.290988, 0.0], abs=1e-6)
    assert rates[1, 0].tolist() == [0.0, 0.0, 0.0], "what is known stays"


def test_it_is_denoising_for_all_that_is_drawn():
    """Catches known tokens that change: the general reversal gives the same rates and steps."""
    net = perturbed(TokenMLP(3, DIMS, (8,)))
    states = every_state(3, DIMS)
    ours, general = MaskedDiffusion(net, MASKS, DIMS), Denoising(net, MASKS, DIMS)
    with torch.no_grad():
        assert torch.allclose(ours.rates(states, 0.4), general.rates(states, 0.4), atol=1e-10)
        step = ours.transition(states, 0.2, 0.4)
        assert torch.allclose(step, general.transition(states, 0.2, 0.4), atol=1e-10)
        kept = step.gather(-1, states[..., None])[..., 0][states != 2]
    assert torch.allclose(kept, torch.ones_like(kept)), "a token once filled in is kept"
    x = ours.sample(200, steps=10, generator=torch.Generator().manual_seed(0))
    assert x.shape == (200, DIMS) and int(x.max()) == 1, "no mask is left at time 0"


def test_training_reaches_the_data():
    """Catches a gradient of the wrong sign: the bound comes down to the entropy of the data."""
    law = torch.zeros(3, 3)
    law[:2, :2] = torch.tensor([[0.45, 0.05], [0.1, 0.4]])
    table, entropy = Table(MASKS, law), -float(torch.xlogy(law, law).sum())
    model = MaskedDiffusion(TokenMLP(3, 2, (16,)), MASKS, 2)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    model.loss(table.sample(8, generator), generator=generator).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(table.sample(256, generator), generator=generator).backward()
        optimizer.step()
    with torch.no_grad():
        value = float(model.loss(table.sample(40_000, generator), generator=generator))
    assert entropy - 0.03 < value < entropy + 0.06


def test_bad_input_is_refused():
    """Catches masks among the data, and a process that masks nothing."""
    net = TokenMLP(3, DIMS)
    model = MaskedDiffusion(net, MASKS, DIMS)
    with pytest.raises(TypeError, match="Absorbing"):
        MaskedDiffusion(net, JumpProcess(UniformRates(3)), DIMS)
    with pytest.raises(ValueError, match="mask"):
        model.loss(torch.tensor([[0, 2, 1]]))
    with pytest.raises(ValueError, match=r"\(B, 3\)"):
        model.elbo(torch.tensor([[0, 1]]))
    x = torch.tensor([[0, 1, 1]])
    with pytest.raises(ValueError, match="other tokens"):
        model.elbo(x, context=torch.tensor([[1, 2, 2]]))
    with pytest.raises(ValueError, match=r"\(B, 3\)"):
        model.loss(x, context=torch.tensor([[0, 2]]))
    with pytest.raises(ValueError, match="one row for each of 4"):
        model.sample(4, context=x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "schedule", [LinearRate(0.1, 5.0), ConstantRate(3.0), LogLinearRate()], ids=lambda s: type(s)
)
def test_a_share_of_exactly_one_is_told_the_end(schedule, dtype, monkeypatch):
    """Catches infinity over infinity: no noise is told where every token is masked."""
    seen = []

    def net(x, t):
        seen.append(t)
        return torch.zeros(*x.shape, 3, dtype=dtype)

    torch.set_default_dtype(dtype)
    model = MaskedDiffusion(net, JumpProcess(AbsorbingRates(3), schedule), DIMS)
    monkeypatch.setattr(model, "shares", lambda x, generator: torch.tensor([0.0, 0.5]))
    told = model.elbo(torch.tensor([[0, 1, 1], [0, 0, 1]]))
    assert bool(torch.isfinite(told).all()) and float(told[0]) == pytest.approx(-3 * log(2))
    assert float(seen[0][0]) == 1.0 > float(seen[0][1])

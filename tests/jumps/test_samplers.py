"""Samplers: their exact laws on small spaces, the corrector, and what they yield."""

import warnings

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.jumps import (
    Corrector,
    Denoising,
    Euler,
    HollowTransformer,
    MaskedDiffusion,
    RatioMatching,
    Table,
    TauLeaping,
    TokenMixer,
    TokenMLP,
    walk_back,
)
from gentoolkit.processes import (
    AbsorbingRates,
    ConstantRate,
    DenseRates,
    JumpProcess,
    LinearRate,
    LogLinearRate,
    UniformRates,
    even_times,
    falling_times,
)
from tests.flows.truth import perturbed
from tests.jumps.spaces import every_state, output_law, rate_matrix, some_law, step_matrix, tv

UNIFORM = JumpProcess(UniformRates(3), ConstantRate(1.0), 4.0)
SKEW = JumpProcess(
    DenseRates(torch.tensor([[-4, 3, 1], [1, -4, 3], [5, 2, -7]], dtype=torch.float64) / 4),
    LinearRate(0.3, 0.8),
    3.0,
)
STATES = every_state(3, 2)
EVEN = torch.full((9,), 1 / 9, dtype=torch.float64)


def last(states):
    """The state at the end of a walk."""
    *_, end = states
    return end


def told(process, dims=2):
    """Ratios at the truth."""
    exact = Table(process, some_law(3, dims))
    return RatioMatching(lambda x, t: exact.data_unseen(x, t).log(), process, dims)


def test_analytic_lands_before_euler_before_tau():
    """Catches laws that are mixed up: 81 states, the exact law, and the known figures."""
    numbers = torch.randn(81, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    law = (2 * numbers.double()).softmax(0).reshape(3, 3, 3, 3)
    exact, states = Table(UNIFORM, law), every_state(3, 4)
    ratios = RatioMatching(lambda x, t: exact.data_unseen(x, t).log(), UNIFORM, 4)
    seen = Denoising(lambda x, t: exact.data_seen(x, t).log(), UNIFORM, 4)
    laws = {
        "analytic": ratios.transition,
        "euler": Euler(ratios.rates),
        "tau": TauLeaping(ratios.rates),
        "x0, tau": TauLeaping(seen.rates),
    }
    source = torch.full((81,), 1 / 81)
    found = {
        name: [
            tv(output_law(step, falling_times(n, 4.0), states, source), law.flatten())
            for n in (4, 8, 16)
        ]
        for name, step in laws.items()
    }
    assert found["analytic"] == pytest.approx([0.402, 0.264, 0.151], abs=6e-4)
    assert found["euler"] == pytest.approx([0.656, 0.417, 0.217], abs=6e-4)
    assert found["tau"] == pytest.approx([0.706, 0.556, 0.360], abs=6e-4)
    assert found["x0, tau"] == pytest.approx(found["tau"], abs=1e-10), "one set of rates"


@pytest.mark.parametrize("process", [UNIFORM, SKEW], ids=["uniform", "skew"])
def test_the_learned_step_is_the_analytic_step(process):
    """Catches two analytic steps that differ: through the model, and from the table itself."""
    exact, model = Table(process, some_law(3, 2)), told(process)
    plain = exact.transition
    assert torch.allclose(model.transition(STATES, 0.3, 0.9), plain(STATES, 0.3, 0.9), atol=1e-12)
    assert torch.allclose(model.rates(STATES, 0.9), exact.rates(STATES, 0.9), atol=1e-10)


@pytest.mark.parametrize("process", [UNIFORM, SKEW], ids=["uniform", "skew"])
def test_one_analytic_step_is_exact_for_one_token(process):
    """Catches a bias of the step itself: from the end to 0 at once, by Bayes."""
    line, law = every_state(3, 1), some_law(3, 1)
    kernel = process.kernel(0.0, process.end).double()
    end = law @ kernel
    out = output_law(told(process, 1).transition, torch.tensor([process.end, 0.0]), line, end)
    assert torch.allclose(out, law, atol=1e-10)
    off = output_law(TauLeaping(told(process, 1).rates), falling_times(1, process.end), line, end)
    assert tv(off, law) > 0.1, "the control"


@pytest.mark.parametrize("process", [UNIFORM, SKEW], ids=["uniform", "skew"])
def test_a_correction_keeps_the_law_of_its_time(process):
    """Catches Q of another time, its transpose, or one of the two rates left out."""
    model, s = told(process), 0.5
    q = Table(process, some_law(3, 2)).law(s).flatten()
    balanced = rate_matrix(Corrector(model).rates(STATES, torch.tensor(s)), STATES)
    assert float((q @ balanced).abs().max()) < 1e-10
    alone = rate_matrix(model.rates(STATES, s), STATES)
    assert float((q @ alone).abs().max()) > 1e-2, "the control: no balance by itself"
    # A leap has an error of second order in its length, and mends a wrong law in first order.
    drift = []
    for share in (0.2, 0.1):
        leap = step_matrix(Corrector(model, share=share)(STATES, s, s + 0.5), STATES)
        drift.append(tv(q @ leap, q))
        assert tv(EVEN @ leap, q) < tv(EVEN, q)
    assert drift[0] / drift[1] == pytest.approx(4.0, abs=0.6)


def test_corrections_mend_the_predictor():
    """Catches corrections that do nothing or harm: the exact law with and without them."""
    model, truth, times = told(UNIFORM), some_law(3, 2).flatten(), falling_times(16, 4.0)
    # Early times, where corrections by the same length are short against the rates.
    for stop in (1.0, 0.5):
        grid = even_times(16, stop, 4.0)
        law = Table(UNIFORM, some_law(3, 2)).law(stop).flatten()
        found = [
            tv(output_law(TauLeaping(model.rates), grid, STATES, EVEN, corrector), law)
            for corrector in (None, Corrector(model, 1, 0.5), Corrector(model, 3, 0.5))
        ]
        assert found[2] < found[1] < found[0]
    late = output_law(TauLeaping(model.rates), times, STATES, EVEN, Corrector(model))
    assert float(late.sum()) == pytest.approx(1.0) and tv(late, truth) < 0.5


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("name", ["euler", "tau", "analytic"])
def test_walks_have_their_exact_law(name, corrected):
    """Catches a draw from another row, or corrections left out of the walk: frequencies."""
    model = told(SKEW)
    step = {
        "euler": Euler(model.rates),
        "tau": TauLeaping(model.rates),
        "analytic": model.transition,
    }[name]
    corrector = Corrector(model, 2, 0.5) if corrected else None
    times = even_times(6, 0.2, 3.0)
    start = SKEW.source(2).log_prob(STATES).exp()
    generator, n = torch.Generator().manual_seed(0), 4000
    x = SKEW.source(2).sample(n, generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        law = output_law(step, times, STATES, start, corrector)
        end = last(walk_back(SKEW, step, x, times, corrector=corrector, generator=generator)).x
    for index in range(9):
        result = checks.mean_is((3 * end[:, 0] + end[:, 1] == index).double(), float(law[index]))
        assert result, result


def test_states_of_a_walk():
    """Catches a state too few, probabilities of another state, a graph that is kept."""
    model = RatioMatching(perturbed(HollowTransformer(3, 2, 8, 2, 1)), UNIFORM, 2)
    x, times = UNIFORM.source(2).sample(7), falling_times(5, 4.0)
    walks = [
        list(
            walk_back(
                UNIFORM, model.transition, x, times, generator=torch.Generator().manual_seed(s)
            )
        )
        for s in (0, 0, 1)
    ]
    assert [s.time for s in walks[0]] == pytest.approx([4.0, 3.2, 2.4, 1.6, 0.8, 0.0])
    assert torch.equal(walks[0][0].x, x) and [s.calls for s in walks[0]] == [0, 1, 2, 3, 4, 5]
    for before, state in zip(walks[0][:-1], walks[0][1:], strict=True):
        told = before.estimate
        assert not told.requires_grad and state.x.dtype == torch.int64
        assert torch.allclose(told, model.transition(before.x, state.time, before.time))
    assert walks[0][-1].estimate is walks[0][-2].estimate
    assert all(torch.equal(a.x, b.x) for a, b in zip(walks[0], walks[1], strict=True))
    assert any(not torch.equal(a.x, b.x) for a, b in zip(walks[0], walks[2], strict=True))


def test_euler_warns_where_it_is_clamped():
    """Catches steps that are too long and silent, and a warning without a cause."""
    model = told(UNIFORM)
    x = UNIFORM.source(2).sample(200, torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="clamped"):
        last(walk_back(UNIFORM, Euler(model.rates), x, falling_times(4, 4.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        last(walk_back(UNIFORM, Euler(model.rates), x, even_times(30, 2.0, 4.0)))
        last(walk_back(UNIFORM, TauLeaping(model.rates), x, falling_times(4, 4.0)))
        last(walk_back(UNIFORM, model.transition, x, falling_times(4, 4.0)))


def test_an_end_that_comes_too_soon_warns_where_it_matters():
    """Catches samples from a source that the noise never reaches, in silence, and false alarms."""
    with pytest.warns(UserWarning, match="0.245 in total"):  # 2/3 e^-1
        told(JumpProcess(UniformRates(3), ConstantRate(1.0), 1.0)).sample(3, steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told(UNIFORM).sample(3, steps=2)
        masks = JumpProcess(AbsorbingRates(3), LogLinearRate(), 1.0)
        MaskedDiffusion(perturbed(TokenMLP(3, 2, (8,))), masks, 2).sample(3, steps=2)


def test_masks_are_filled_in_and_masked_anew():
    """Catches corrections that leave masks behind: the step to 0 is the predictor's alone."""
    process = JumpProcess(AbsorbingRates(4), LogLinearRate(), 1.0)
    model = MaskedDiffusion(perturbed(TokenMixer(4, 5, 8, 9, 1)), process, 5)
    x = process.source(5).sample(50, torch.Generator().manual_seed(0))
    states = list(walk_back(process, model.transition, x, 8, corrector=Corrector(model, 1, 0.5)))
    left = [int((s.x == 3).sum()) for s in states]
    assert left[0] == 250 and left[-1] == 0
    remasked = [
        bool(((a.x != 3) & (b.x == 3)).any()) for a, b in zip(states[:-1], states[1:], strict=True)
    ]
    assert any(remasked), "a filled token can be lost again"


def test_bad_input_is_refused():
    """Catches rising grids, states that are no tokens, corrections of no length."""
    model, x = told(UNIFORM), STATES
    for times in (torch.tensor([0.0, 4.0]), torch.tensor([4.0, 4.0, 0.0]), torch.tensor([4.0])):
        with pytest.raises(ValueError, match="fall strictly|two|T"):
            walk_back(UNIFORM, model.transition, x, times)
    with pytest.raises(ValueError, match="in \\[0, 4"):
        walk_back(UNIFORM, model.transition, x, torch.tensor([5.0, 0.0]))
    with pytest.raises(TypeError, match="int64"):
        walk_back(UNIFORM, model.transition, x.double(), falling_times(3, 4.0))
    with pytest.raises(ValueError, match=r"\(B, D\)"):
        walk_back(UNIFORM, model.transition, x[0], falling_times(3, 4.0))
    with pytest.raises(ValueError, match="share"):
        Corrector(model, 1, 0.0)
    with pytest.raises(ValueError, match="corrections"):
        Corrector(model, 0)
    with pytest.raises(ValueError, match="one for each of 9"):
        Denoising(TokenMLP(3, 2), UNIFORM, 2).rates(x, torch.rand(4) + 0.5)

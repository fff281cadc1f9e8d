"""Inputs that once gave wrong numbers or raw errors: precision, no signal, modes of torch."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch

from gentoolkit.core.checks import dead_parameters
from gentoolkit.diffusion import (
    DDIM,
    DDPM,
    EDM,
    AdaptiveFlow,
    Betas,
    ClassifierGuided,
    Cosine,
    Denoiser,
    DPMSolver2,
    DPMSolverPlusPlus2M,
    EulerMaruyama,
    LearnedLogSnr,
    LinearBeta,
    LogSnrLinear,
    PredictorCorrector,
    PredictsData,
    PredictsNoise,
    PredictsScore,
    PredictsVelocity,
    ProbabilityFlow,
    ProbabilityFlowMap,
    Schedule,
    VarianceExploding,
    encode,
    even_log_snr,
    even_times,
)
from gentoolkit.nets import TimeMLP
from tests.diffusion.carried import LINE, VP, exact, flow_end, law_at

DIFFERENTIATING = [
    EulerMaruyama(),
    PredictorCorrector(),
    ProbabilityFlow(),
    AdaptiveFlow(),
]
EVERY = [
    *DIFFERENTIATING,
    DDIM(),
    DDIM(0.5),
    DDIM(1.0),
    DDIM(1.0, wide=True),
    EDM(),
    EDM(churn=5.0),
    DPMSolver2(),
    DPMSolverPlusPlus2M(),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class StraightPath(Schedule):
    """The linear path of flow matching: `signal = 1 - t`, `noise = t`; no signal at time 1."""

    def _log_signal(self, t):
        return (-t).log1p()

    def _log_snr(self, t):
        return 2.0 * ((-t).log1p() - t.log())

    def _time_of(self, log_snr):
        return (-0.5 * log_snr).sigmoid()


# Precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "schedule",
    [Cosine(), LinearBeta(), VarianceExploding(), Betas.linear(1000), LogSnrLinear()],
    ids=lambda s: type(s).__name__,
)
def test_half_precision_gives_what_single_gives(schedule, dtype):
    """Catches noise^2 and weights that leave half precision: NaN in loss, bound and samples."""
    torch.manual_seed(0)
    single = DDPM(TimeMLP(2, 2, (16,)).float(), (2,), schedule, 20)
    net = TimeMLP(2, 2, (16,)).float()
    net.load_state_dict(single.net.state_dict())
    half = DDPM(net, (2,), schedule, 20).to(dtype)
    x = torch.randn(4000, 2, generator=seeded()).to(dtype)
    for method in ("loss", "elbo", "one_step_elbo"):
        low = getattr(half, method)(x, generator=seeded(1)).mean()
        high = getattr(single, method)(x.float(), generator=seeded(1)).mean()
        assert low.dtype == torch.float32
        torch.testing.assert_close(low, high, rtol=0.15, atol=0.1)
    drawn = half.sample(50, generator=seeded())
    assert drawn.dtype == dtype and bool(drawn.isfinite().all())
    path = half.chain().pull(x[:50], seeded())
    assert bool(path.log_evidence().isfinite().all())
    a, s = schedule.levels(torch.linspace(0, 1, 9).to(dtype))
    want = schedule.levels(torch.linspace(0, 1, 9).to(dtype).float())
    assert a.dtype == s.dtype == dtype
    torch.testing.assert_close((a, s), tuple(v.to(dtype) for v in want))


def test_coefficients_are_those_of_float64_after_a_cast():
    """Catches tables that a cast of the model rounds, and that a second one cannot restore."""
    model = DDPM(TimeMLP(2, 2, (4,)), (2,), Betas.linear(1000), 1000)
    before = model.coefficients()
    after = model.half().double().coefficients()
    assert torch.equal(before.log_snr, after.log_snr) and after.log_snr.dtype == torch.float64


# What a loss reaches, and the modes of torch


def test_a_loss_leaves_the_schedule_alone():
    """Catches a schedule that training pulls towards pure noise, where errors are small."""
    torch.manual_seed(0)
    schedule = LearnedLogSnr()
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), schedule, 6)
    names = {name for name, _ in model.named_parameters() if name.startswith("schedule.")}
    x = torch.randn(64, 2)
    assert names and set(dead_parameters(lambda: model.loss(x), model)) == names
    assert dead_parameters(lambda: -model.elbo(x).mean(), model) == []
    # It still reads the schedule as it is now, not as it was built.
    before = model.loss(x, generator=seeded())
    with torch.no_grad():
        schedule.weight[0] += 3.0
    assert not torch.equal(before, model.loss(x, generator=seeded()))


@pytest.mark.parametrize("kind", [PredictsNoise(), PredictsVelocity()])
@pytest.mark.parametrize("schedule", [LinearBeta(), Betas.linear(100), LearnedLogSnr()])
def test_a_loss_compiles_into_one_graph(schedule, kind):
    """Catches a check of values, a look at the global state, a table built on the way."""
    torch.manual_seed(0)
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), schedule, 10, parametrisation=kind).float()
    x = torch.randn(16, 2).float()
    torch._dynamo.reset()
    compiled = torch.compile(model.loss, backend="eager", fullgraph=True)
    torch.manual_seed(1)
    value = compiled(x)
    torch.manual_seed(1)
    torch.testing.assert_close(value, model.loss(x))
    value.backward()
    assert all(p.grad is not None for p in model.net.parameters())


def test_gradients_of_each_sample_by_vmap():
    """Catches `.item()` under vmap: the gradients of single rows average to the batch's."""
    torch.manual_seed(0)
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), LinearBeta(), 10)
    x = torch.randn(6, 2)

    def loss(parameters, row):
        return torch.func.functional_call(model, parameters, (row[None],))

    model.forward = partial(model.loss)
    each = torch.func.vmap(torch.func.grad(loss), (None, 0), randomness="different")(
        dict(model.named_parameters()), x
    )
    assert all(g.shape[0] == 6 and bool(g.abs().sum() > 0) for g in each.values())


@pytest.mark.parametrize("sampler", DIFFERENTIATING, ids=lambda s: type(s).__name__)
def test_samplers_run_in_inference_mode(sampler):
    """Catches a derivative of the schedule that torch refuses there: the same path as without."""
    model, times = exact(LINE, VP), even_times(6, 0.05)
    x = torch.randn(8, 1, generator=seeded(), dtype=torch.float64)
    plain = sampler.sample(model, x, times, seeded(1))
    with torch.inference_mode():
        inside = sampler.sample(model, x.clone(), times.clone(), seeded(1))
    assert torch.equal(plain, inside)


def test_guidance_and_densities_run_in_inference_mode():
    """Catches a classifier's gradient, and a divergence, that are refused or silently zero."""

    def log_class(x, t):
        return -0.5 * (x - 1.0).square().sum(1)

    model = exact(LINE, VP)
    guided = Denoiser(ClassifierGuided(model, log_class, 2.0), VP, PredictsNoise())
    flow = ProbabilityFlowMap(model, even_log_snr(VP, 20, 0.05))
    x = torch.randn(8, 1, generator=seeded(), dtype=torch.float64)
    plain = DDIM().sample(guided, x, 5), flow.inverse(x)[1]
    assert float(plain[1].abs().min()) > 0.1
    with torch.inference_mode():
        inside = DDIM().sample(guided, x.clone(), 5), flow.inverse(x.clone())[1]
    torch.testing.assert_close(inside, plain, rtol=0, atol=1e-12)


# Scores of zero, and no signal


@pytest.mark.parametrize("kind", [PredictsNoise(), PredictsScore()])
def test_a_corrector_without_a_score_does_nothing(kind):
    """Catches a division by the norm of a zero score, as that of a zero-initialised last layer."""
    net = TimeMLP(2, 2, (8,))
    with torch.no_grad():
        for parameter in list(net.parameters())[-2:]:
            parameter.zero_()
    x, times = torch.randn(5, 2), even_times(6, 0.05)
    model = Denoiser(net, VP, kind)
    corrected = PredictorCorrector().sample(model, x, times, seeded())
    assert bool(corrected.isfinite().all())
    # The score being zero, a step of the predictor is x <- (1 - h f) x + g sqrt(h) z.
    one = PredictorCorrector().sample(model, x, times[:2], seeded())
    torch.testing.assert_close(one, EulerMaruyama().sample(model, x, times[:2], seeded()))


@pytest.mark.parametrize("sampler", EVERY, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(
    ("name", "kind"), [("data", PredictsData()), ("velocity", PredictsVelocity())]
)
def test_samplers_start_where_no_signal_is_left(sampler, name, kind):
    """Catches a log of zero, 0 / 0 and NaN at time 1: the ends have the law of the data."""
    schedule, n = StraightPath(), 4000

    def net(x, t):
        a, s = schedule.levels(t[0])
        total = a**2 * LINE.stds**2 + s**2
        noisy = type(LINE)(a * LINE.means, total.sqrt(), LINE.weights)
        gain = (a * LINE.stds**2 / total)[:, None]
        each = LINE.means + gain * (x[:, None] - a * LINE.means)
        data = (noisy.responsibilities(x)[..., None] * each).sum(1)
        e = (x - a * data) / s
        return kind.target(data, e, a, s)

    model = Denoiser(net, schedule, kind, schedule.source((1,), torch.empty(0).double()))
    y = sampler.sample(model, n, even_times(60, 0.02), seeded())
    law = law_at(LINE, schedule, 0.02)
    assert bool(y.isfinite().all())
    assert float((y > 0.25).double().mean()) == pytest.approx(0.6, abs=0.04)
    assert float(y[y > 0.25].std()) == pytest.approx(float(law.stds[1]), rel=0.25)
    if not isinstance(sampler, AdaptiveFlow):  # to the very end as well
        assert bool(sampler.sample(model, 5, 10, seeded()).isfinite().all())


def test_the_first_step_without_signal_is_ddims():
    """Catches a first step that forgets the noise, or takes another share of the data."""
    schedule = StraightPath()
    assert [float(v) for v in schedule.levels(torch.tensor(1.0))] == [0.0, 1.0]
    model = Denoiser(lambda x, t: 2.0 + 0.0 * x, schedule, PredictsData())
    x = torch.randn(4, 1)
    for sampler in EVERY:
        y = sampler.sample(model, x, torch.tensor([1.0, 0.75]), seeded())
        if isinstance(sampler, DDIM | PredictorCorrector):
            continue
        torch.testing.assert_close(y, 0.25 * 2.0 + 0.75 * x)


@pytest.mark.parametrize("kind", [PredictsNoise(), PredictsScore()])
def test_a_noise_that_cannot_be_read_is_refused(kind):
    """Catches a division by no signal: a sampler, a discrete model, and a code without data."""
    schedule = StraightPath()
    model = Denoiser(lambda x, t: x, schedule, kind)
    with pytest.raises(ValueError, match="no signal is left.*start below it"):
        DDIM().walk(model, torch.randn(3, 1), 5)
    with pytest.raises(ValueError, match="no signal is left"):
        DDPM(TimeMLP(2, 2, (4,)), (2,), schedule, 5, parametrisation=kind)
    assert bool(DDIM().sample(model, torch.randn(3, 1), even_times(5, 0.0, 0.999)).isfinite().all())
    data = Denoiser(lambda x, t: x, schedule, PredictsData())
    with pytest.raises(ValueError, match="keep some signal"):
        encode(data, torch.randn(3, 1), even_times(5, 0.1))
    with pytest.raises(ValueError, match="the first some signal"):
        ProbabilityFlowMap(data, even_times(5, 0.1))


def test_a_discrete_model_may_end_without_signal():
    """Catches 0 / 0 in the last posterior: its bound is the chain's, and nothing is left of x_0."""
    schedule = StraightPath()
    kind = PredictsVelocity()
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), schedule, 5, parametrisation=kind)
    c = model.coefficients()
    assert float(c.log_snr[-1]) == -torch.inf and float(c.keep[-1]) == 0.0
    assert float(c.of_state[-1]) == 0.0 and float(c.of_data[-1]) == float(c.signal[-2])
    x = torch.randn(1, 2).expand(20_000, 2)
    terms = model.terms(x)
    assert bool(terms.isfinite().all()) and bool((terms[-1] == 0).all())
    evidence, bound = model.chain().pull(x).log_evidence(), -terms.sum(0)
    error = ((evidence.var() + bound.var()) / len(x)).sqrt()
    assert float((evidence.mean() - bound.mean()).abs()) < 4 * float(error)
    assert bool(model.sample(50).isfinite().all()) and bool(model.loss(x).isfinite())


def test_rates_are_the_same_in_every_mode():
    """Catches derivatives of a learned schedule that no_grad or inference mode turn off."""
    for schedule in (LearnedLogSnr(), LinearBeta(), Betas.linear(50, 1e-3, 0.2)):
        t = torch.tensor([0.2, 0.7], dtype=torch.float64)
        plain = schedule.rates(t)
        with torch.no_grad():
            torch.testing.assert_close(schedule.rates(t), plain)
        with torch.inference_mode():
            torch.testing.assert_close(schedule.rates(t.clone()), plain)
    learned = LearnedLogSnr()
    (gradient,) = torch.autograd.grad(learned.rates(t)[1].sum(), learned.place)
    assert bool((gradient != 0).any())


def test_the_flow_of_a_straight_path_is_exact_from_below_time_one():
    """Catches levels of the straight path that are not 1 - t and t: quantiles are kept."""
    schedule = StraightPath()
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    times = even_times(200, 0.02, 0.98)
    y = ProbabilityFlow().sample(exact(LINE, schedule), x, times)
    torch.testing.assert_close(y, flow_end(x, LINE, schedule, 0.98, 0.02), rtol=0, atol=2e-3)

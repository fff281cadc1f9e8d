"""The discrete model as a chain, against exact data."""

import copy
from typing import cast

import pytest
import torch

from gentoolkit.core import Chain, FunctionKernel, Gaussian, Kernel
from gentoolkit.core.checks import bridge, dead_parameters, mean_is, mean_weight, same_ratio
from gentoolkit.diffusion import (
    DDPM,
    Betas,
    GivenVariance,
    LearnedLogSnr,
    LinearBeta,
    LogSnrLinear,
    NoisingVariance,
    PredictsData,
    VarianceExploding,
    coefficients,
)
from gentoolkit.nets import TimeMLP
from gentoolkit.processes.grids import noisy_times
from tests.diffusion.exact import THREE, Normal

SCHEDULE = LogSnrLinear()
DATA = Normal()


def mixture_model(steps=16, data=THREE, variance=None):
    schedule = LogSnrLinear(4.0, -6.0)
    net = data.denoiser(schedule)
    return DDPM(net, (2,), schedule, steps, parametrisation=PredictsData(), variance=variance)


def test_chain_steps_keep_one_ratio():
    """Catches a kernel whose push and pull are scored with other coefficients."""
    model = mixture_model(5)
    chain = model.chain()
    states = chain.pull(THREE.law().sample(20)).states
    for step, x in zip(chain.steps, states[:-1], strict=True):
        assert same_ratio(step, x), same_ratio(step, x)
    assert [s.shape for s in states] == [(20, 2)] * 6


def test_pull_adds_exactly_the_noise_of_the_schedule():
    """Catches noise added in the wrong order of steps: every state has its closed-form moments."""
    m = mixture_model().coefficients()
    x = torch.tensor([[1.0, -2.0]]).expand(40_000, 2)
    states = mixture_model().chain().pull(x).states[::-1]
    for i, state in enumerate(states[1:]):
        for j in (0, 1):
            mean, var = float(m.signal[i] * x[0, j]), float(m.noise[i] ** 2)
            assert mean_is(state[:, j], mean) and mean_is((state[:, j] - mean).square(), var)
    assert not mean_is(states[1][:, 0], float(m.signal[-1]))


def test_mean_evidence_is_the_bound():
    """Catches an account of the chain that differs from the sum of the terms."""
    model = mixture_model()
    x = torch.tensor([[1.8, 0.3]]).expand(40_000, 2)
    evidence = model.chain().pull(x).log_evidence()
    draws = model.elbo(x)
    error = (evidence.var() / len(x) + draws.var() / len(x)).sqrt()
    assert abs(float(evidence.mean() - draws.mean())) < 4 * float(error)
    # The bound lies below log p, and the mean of the exponential hits it.
    truth = float(THREE.law().log_prob(x[:1]))
    assert float(draws.mean()) < truth


def test_push_and_pull_tell_the_normaliser():
    """Catches a law that is drawn and another that is scored; the target carries log Z = 0.9."""
    model = mixture_model(12, variance=NoisingVariance())
    target = THREE.law()
    pushed = model.chain().push(20_000).log_weight(lambda x: target.log_prob(x) + 0.9)
    pulled = model.chain().pull(target.sample(20_000))
    back = pulled.log_weight(lambda x: target.log_prob(x) + 0.9)
    assert mean_weight(pushed, 0.9), mean_weight(pushed, 0.9)
    assert bridge(pushed, back, 0.9), bridge(pushed, back, 0.9)
    assert not mean_weight(pushed, 1.0) and not bridge(pushed, back, 1.0)

    # The control: a step that draws with a variance for a deviation, and scores with the latter.
    class Careless(Gaussian):
        def sample(self, n=None, generator=None):
            return Gaussian(self.mean, torch.as_tensor(self.std).square()).sample(n, generator)

    def wrong(f):
        def law(x):
            right = f(x)
            return Careless(right.mean, right.std)

        return law

    chain = model.chain()
    kernels = [
        FunctionKernel(wrong(k.push_law), k.pull_law) for k in chain.steps if isinstance(k, Kernel)
    ]
    bad = Chain(chain.source, kernels).push(20_000).log_weight(lambda x: target.log_prob(x) + 0.9)
    assert len(kernels) == 12 and not bridge(bad, back, 0.9)


def test_a_variance_exploding_chain_starts_wide():
    """Catches a source of deviation one under a schedule whose noise ends at 9."""
    schedule = VarianceExploding(0.1, 9.0)
    model = DDPM(THREE.denoiser(schedule), (2,), schedule, 20, parametrisation=PredictsData())
    trajectory = model.chain().push(20_000)
    assert float(trajectory.states[0].std()) == pytest.approx(9.0, rel=0.03)
    x = THREE.law().sample(10_000)
    evidence = model.chain().pull(x).log_evidence()
    draws = model.elbo(x)
    error = (evidence - draws).std() / 100
    assert abs(float((evidence - draws).mean())) < 4 * float(error)


def test_samples_of_the_exact_net_follow_the_data():
    """Catches noise at the last step, and steps taken in the wrong order."""
    schedule = LogSnrLinear(1.0, -9.0)  # much noise is left for the last step
    m = coefficients(schedule, noisy_times(schedule, 40))
    exact = GivenVariance(DATA.second(m))
    model = DDPM(
        DATA.denoiser(schedule), (1,), schedule, 40, parametrisation=PredictsData(), variance=exact
    )
    x, pushed = model.sample(40_000)[:, 0], model.chain().push(40_000).states[-1][:, 0]
    # The last step takes the mean, so exactly its variance is missing.
    lost = float(DATA.second(m)[0])
    assert lost > 0.4 * DATA.var
    for draws, var in ((x, DATA.var - lost), (pushed, DATA.var)):
        assert mean_is(draws, DATA.mean), mean_is(draws, DATA.mean)
        squares = (draws - DATA.mean).square()
        assert mean_is(squares, var), mean_is(squares, var)
    again = [model.sample(3, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*again)


def test_a_coarser_model_shares_its_net_and_keeps_the_ends():
    """Catches a sub-grid that leaves out the noisiest state, or repeats one."""
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), LinearBeta(), 1000)
    for steps in (1, 7, 500, 1000):
        sub = model.coarser(steps)
        assert sub.net is model.net and sub.steps == steps == len(set(sub.times.tolist()))
        assert float(sub.times[-1]) == 1.0
    assert torch.equal(model.coarser(1000).times, model.times)
    assert torch.equal(model.coarser(10).times, model.times[99::100])
    for wrong in (0, 1001):
        with pytest.raises(ValueError, match="; got"):
            model.coarser(wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype):
    """Catches the float64 tables of coefficients lifting the states."""
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), Betas.linear(10, 0.01, 0.5), 10).to(dtype)
    x = torch.randn(4, 2, dtype=dtype)
    assert model.loss(x).dtype == model.elbo(x).dtype == model.sample(2).dtype == dtype
    trajectory = model.chain().push(3)
    assert trajectory.log_evidence().dtype == dtype
    assert model.chain().pull(x).log_evidence().dtype == dtype


def test_images_and_labels_pass_through():
    """Catches events flattened, and labels lost on the way to the net."""

    def net(x, t, label):
        return x * label.reshape(-1, 1, 1, 1)

    model = DDPM(net, (1, 4, 4), SCHEDULE, 3)
    x, label = torch.randn(5, 1, 4, 4), torch.arange(5)

    def seeded(what):
        return what(torch.Generator().manual_seed(2))

    for what in (
        lambda y: seeded(lambda g: model.terms(x, generator=g, context=y)).sum(0),
        lambda y: seeded(lambda g: model.one_step_elbo(x, generator=g, context=y)),
        lambda y: seeded(lambda g: model.sample(5, generator=g, context=y)).flatten(1).sum(1),
        lambda y: seeded(lambda g: model.chain(y).pull(x, g)).log_evidence(),
    ):
        same = what(label) == what(torch.zeros(5, dtype=torch.long))
        assert same.tolist() == [True, False, False, False, False]
    assert model.terms(x, context=label).shape == (4, 5)
    assert model.sample(5, context=label).shape == (5, 1, 4, 4)
    losses = [
        float(seeded(lambda g, y=y: model.loss(x, generator=g, context=y)))
        for y in (label, label, 0 * label)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_copy_has_its_own_learned_schedule():
    """Catches a reading of the net that still looks at the schedule of the original."""
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), LearnedLogSnr(), 4)
    twin = copy.deepcopy(model)
    assert twin.schedule is not model.schedule
    assert any(name.startswith("schedule.") for name in model.state_dict())
    x = torch.randn(8, 2)
    assert dead_parameters(lambda: -model.elbo(x).mean(), model) == []


class Rising(LogSnrLinear):
    """A schedule turned round."""

    def _log_snr(self, t):
        return self.low + (self.high - self.low) * t


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda net: DDPM(net, (2,), SCHEDULE, 0), ValueError, "at least 1"),
        (lambda net: DDPM(net, (2,), SCHEDULE, cast(int, 2.5)), TypeError, "whole number"),
        (lambda net: DDPM(net, cast(tuple, (2.5,)), SCHEDULE, 5), TypeError, "whole number"),
        (lambda net: DDPM(net, (0,), SCHEDULE, 5), ValueError, "at least 1"),
        (lambda net: DDPM(net, (2,), Rising(), 5), ValueError, "fall strictly"),
        (
            lambda net: DDPM(net, (2,), LinearBeta(), torch.tensor([1.0, 0.5, 0.0])),
            ValueError,
            "leave out the time",
        ),
        (lambda net: DDPM(net, (2,), SCHEDULE, torch.tensor([0.2, 0.5])), ValueError, "falls"),
        (lambda net: DDPM(net, (2,), SCHEDULE, torch.tensor([1.2, 0.5])), ValueError, "0, 1"),
        (lambda net: DDPM(net, (2,), SCHEDULE, torch.tensor([1, 2])), TypeError, "floating"),
        (lambda net: DDPM(net, (2,), SCHEDULE, 5).sample(0), ValueError, "at least 1"),
        (
            lambda net: DDPM(net, (2,), SCHEDULE, 5).loss(torch.ones(3, 2, dtype=torch.long)),
            TypeError,
            "pixels",
        ),
        (
            lambda net: DDPM(net, (2,), SCHEDULE, 5).elbo(torch.randn(3, 3)),
            ValueError,
            "one row for each",
        ),
        (lambda net: DDPM(net, (2,), SCHEDULE, 5).elbo(torch.randn(0, 2)), ValueError, "empty"),
        (
            lambda net: DDPM(net, (2,), SCHEDULE, 5).loss(torch.full((3, 2), torch.nan)),
            ValueError,
            "finite",
        ),
        (
            lambda net: DDPM(TimeMLP(2, 1, (8,)), (2,), SCHEDULE, 5).loss(torch.randn(3, 2)),
            ValueError,
            "last layer",
        ),
        (
            lambda net: DDPM(net, (2,), SCHEDULE, 5, variance=GivenVariance(torch.ones(4))).sample(
                2
            ),
            ValueError,
            "one variance for each step",
        ),
        (lambda net: GivenVariance(torch.tensor([1.0, 0.0])), ValueError, "positive"),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, error, words):
    """Catches a step count of zero, a rising schedule, integer pixels, NaN, wrong widths."""
    with pytest.raises(error, match=words) as caught:
        wrong(TimeMLP(2, 2, (8,)))
    assert str(caught.value).count(";") >= 2

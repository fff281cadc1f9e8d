"""The probability flow as a bijection: exact densities, traces, refusals."""

import pytest
import torch

from gentoolkit.core import Chain, checks
from gentoolkit.diffusion import (
    Denoiser,
    LinearBeta,
    PredictsVelocity,
    ProbabilityFlowMap,
    SubVP,
    VarianceExploding,
    even_log_snr,
    even_times,
)
from gentoolkit.numerics import Hutchinson, gaussian, heun, rademacher, rk4
from gentoolkit.targets import GaussianMixture
from tests.diffusion.carried import LINE, PLANE, VP, exact, flow_end, law_at, slopes


def flow(law, schedule, times, **changed):
    return ProbabilityFlowMap(exact(law, schedule), times, **changed)


class Smooth(torch.nn.Module):
    """A small untrained net: nothing about it is exact."""

    def __init__(self, event=(2,)):
        super().__init__()
        wide = torch.Size(event).numel()
        self.event, self.weight = event, torch.nn.Parameter(0.5 * torch.randn(wide, wide))

    def forward(self, x, t):
        rows = x.flatten(1) @ self.weight.T
        return (rows.tanh() + t[:, None]).reshape(x.shape)


def rough(event=(2,), steps=20, **changed):
    model = Denoiser(Smooth(event), VP, PredictsVelocity())
    return ProbabilityFlowMap(model, even_log_snr(VP, steps, 0.05), **changed)


@pytest.mark.parametrize(
    "schedule",
    [VP, SubVP(0.1, 20.0), VarianceExploding(0.01, 20.0)],
    ids=["vp", "sub-vp", "ve"],
)
def test_the_density_of_exact_scores_is_the_mixtures(schedule):
    """Catches g^2 for half of it and a wrong sign of the divergence: log p at the last time."""
    end = 1e-2
    chain = Chain(
        law_at(PLANE, schedule, 1.0), [flow(PLANE, schedule, even_log_snr(schedule, 300, end))]
    )
    law = law_at(PLANE, schedule, end)
    x = law.sample(20)
    with torch.no_grad():
        got = chain.log_prob(x)
        torch.testing.assert_close(got, law.log_prob(x), rtol=0, atol=2e-5)
        wrong = chain.pull(x)
    # The control: a divergence of the other sign is seen at every point.
    off = wrong.log_source + wrong.log_ratio[0] - law.log_prob(x)
    assert float(off.abs().min()) > 0.1 and float(off.abs().mean()) > 1.0


def test_the_density_has_the_order_of_the_rule():
    """Catches a trace at another place than the state's, which lowers the order."""
    x = law_at(LINE, VP, 0.02).sample(15)
    truth = law_at(LINE, VP, 0.02).log_prob(x)
    for rule, order in ((heun, 2), (rk4, 4)):
        errors = []
        for steps in (40, 80, 160):
            chain = Chain(
                law_at(LINE, VP, 1.0),
                [flow(LINE, VP, even_log_snr(VP, steps, 0.02), rule=rule)],
            )
            with torch.no_grad():
                errors.append(float((chain.log_prob(x) - truth).abs().mean()))
        assert slopes(errors)[-1] == pytest.approx(order, abs=0.35)


def test_the_map_keeps_quantiles():
    """Catches transform and inverse exchanged."""
    x = torch.linspace(-2, 2, 9)[:, None]
    step = flow(LINE, VP, even_log_snr(VP, 150, 0.02))
    with torch.no_grad():
        y, _ = step.transform(x)
        truth = flow_end(x, LINE, VP, 1.0, 0.02)
        torch.testing.assert_close(y, truth, rtol=0, atol=1e-5)
        torch.testing.assert_close(step.inverse(truth)[0], x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("event", [(2,), (1, 2, 2)])
def test_it_is_a_bijection_with_the_right_jacobian(event):
    """Catches a lost part of the trace, for points and for images."""
    step, x = rough(event, 50), torch.randn(3, *event)
    for result in (
        checks.round_trip(step, x, 1e-6),
        checks.same_ratio(step, x, 1e-6),
        checks.log_det(step, x, 1e-6),
    ):
        assert result, result


@pytest.mark.parametrize("noise", [rademacher, gaussian])
def test_estimates_average_to_the_exact_trace(noise):
    """Catches a biased estimate, and one that ignores its generator."""
    step = rough(trace=Hutchinson(noise))
    x = torch.randn(1, 2)
    rows = x.expand(3_000, 2)
    with torch.no_grad():
        for verb in ("push", "pull"):
            exact = getattr(step.exact(), verb)(x)[1]
            values = getattr(step, verb)(rows, torch.Generator().manual_seed(1))[1]
            result = checks.mean_is(values, float(exact))
            assert result, result
            again = getattr(step, verb)(rows, torch.Generator().manual_seed(1))[1]
            assert torch.equal(values, again) and float(values.std()) > 0.01


def test_a_chain_refuses_the_estimate():
    """Catches a random number called log_prob."""
    step, x = rough(trace=Hutchinson(rademacher)), torch.randn(4, 2)
    chain = Chain(VP.source((2,)), [step])
    with pytest.raises(ValueError, match="exact log-determinants"):
        chain.log_prob(x)
    assert chain.pull(x).log_evidence().shape == (4,)
    assert Chain(VP.source((2,)), [step.exact()]).log_prob(x).shape == (4,)


def test_the_density_integrates_to_one():
    """Catches a dropped term of an untrained model: the plane's mass by a grid."""
    line = torch.linspace(-7, 7, 81)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        density = Chain(VP.source((2,)), [rough(steps=30)]).log_prob(grid).exp()
    assert float(density.sum() * (line[1] - line[0]) ** 2) == pytest.approx(1.0, abs=2e-3)


def test_gradients_reach_the_net_and_single_stays_single():
    """Catches a detached net, and times that lift the dtype."""
    step = rough(steps=3)
    loss = Chain(VP.source((2,)), [step]).log_prob(torch.randn(4, 2)).sum()
    loss.backward()
    assert isinstance(step.denoiser.net, Smooth) and step.denoiser.net.weight.grad is not None
    assert float(step.denoiser.net.weight.grad.abs().min()) > 0
    for steps in range(3, 9):  # rounded steps would lead beyond time 1
        times = even_times(steps, 0.05)
        single = ProbabilityFlowMap(Denoiser(Smooth().float(), VP, PredictsVelocity()), times)
        for carry in (single.transform, single.inverse):
            y, log_det = carry(torch.randn(4, 2, dtype=torch.float32))
            assert y.dtype == log_det.dtype == torch.float32


def test_the_prior_is_as_wide_as_the_noise():
    """Catches a unit source where the variance explodes."""
    for schedule, std in ((VP, 1.0), (VarianceExploding(0.01, 20.0), 20.0)):
        law = law_at(GaussianMixture(torch.zeros(1, 3), torch.ones(1), torch.ones(1)), schedule, 1)
        x = std * torch.randn(50, 3)
        source = schedule.source((3,))
        assert float((source.log_prob(x) - law.log_prob(x)).abs().max()) < 0.02
        assert source.std == std


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: flow(PLANE, VP, torch.tensor([1.0, 0.0])), ValueError, "must keep some noise"),
        (lambda: flow(PLANE, VP, torch.tensor([0.1, 1.0])), ValueError, "must fall strictly"),
        (lambda: flow(PLANE, VP, torch.tensor([3, 1])), TypeError, "floating-point"),
        (
            lambda: flow(PLANE, LinearBeta(0.1, 5.0), torch.tensor([1.0, 0.1])).inverse(
                torch.full((2, 2), torch.nan)
            ),
            ValueError,
            "finite",
        ),
        (lambda: rough().push(torch.ones(2, 2, dtype=torch.int64)), TypeError, "floating-point"),
        (lambda: VP.source((0,)), ValueError, "at least 1"),
    ],
)
def test_bad_input_is_refused(call, error, words):
    """Catches a score asked for where there is no noise, and data with holes."""
    with pytest.raises(error, match=words):
        call()

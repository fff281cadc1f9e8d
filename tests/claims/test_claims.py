"""The claims' machinery, and the short form of each claim."""

import math

import pytest
import torch

from gentoolkit.core.checks import log_det, round_trip
from tests.claims import s19_layers, s22_self_normalizing, s25_clamp
from tests.claims.claim import Claim
from tests.claims.s13_cavi_gibbs import race


def test_verdict_follows_from_the_numbers():
    """Catches a verdict that is written rather than computed."""
    common = ("S0", "statement", "setting", ["a"], [["1"]])
    assert Claim(*common, conditions=[("x", True), ("y", True)]).shown
    failed = Claim(*common, conditions=[("x", True), ("y", False)])
    assert not failed.shown and "NOT shown" in str(failed) and "FAILS  y" in str(failed)
    assert not Claim(*common, conditions=[]).shown, "nothing measured, nothing shown"


def test_cavi_is_nearer_early_and_its_spread_is_wrong():
    """Catches a race run on the wrong posterior: the claim on one data set, and its price."""
    result = race(0, (10, 30, 100, 2000))
    assert all(result.nearer()[:3])
    assert not result.nearer()[3], "in the end Gibbs wins"
    assert max(result.cavi_sd) < 0.9
    assert min(result.gibbs_sd[-1]) > 0.9


def test_splines_beat_affine_maps_early():
    """Catches a race on another density than the ring: one seed, half the steps."""
    affine, spline = (
        s19_layers.train(name, 0, 125)
        for name in ("affine coupling x6", "spline coupling x4, 8 bins")
    )
    assert spline.kl + 3 * (spline.error + affine.error) < affine.kl
    assert spline.parameters < affine.parameters
    assert spline.kl > -3 * spline.error, "a KL divergence is not negative"


def test_kl_of_the_ring_is_zero_at_the_truth():
    """Catches a metric whose zero is elsewhere: the ring scored by itself, and by one mode less."""
    ring = s19_layers.ring()
    x = ring.sample(2000, torch.Generator().manual_seed(0))
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(ring.weights),
        torch.distributions.MultivariateNormal(ring.means, 0.09 * torch.eye(2).expand(8, 2, 2)),
    )
    assert torch.allclose(ring.log_prob(x) - ring.log_z, law.log_prob(x), atol=1e-4)


def test_the_three_gradients_start_from_one_model():
    """Catches baselines that differ in more than the gradient, and an unconstrained baseline."""
    x = torch.randn(5, s22_self_normalizing.SIZE)
    losses = {
        kind: float(-s22_self_normalizing.model(kind, 0, 1.0).log_prob(x).mean().detach())
        for kind in ("exact", "self-normal", "triangular")
    }
    assert losses["exact"] == losses["self-normal"]
    assert losses["triangular"] == pytest.approx(losses["exact"], abs=0.5)
    for upper in (False, True):
        start = torch.eye(4).double() + 0.3 * torch.randn(4, 4).double()
        layer = s22_self_normalizing.Triangular(start, upper)
        y = torch.randn(6, 4).double()
        assert log_det(layer, y) and round_trip(layer, y)


def test_a_short_run_learns_and_shows_the_bias():
    """Catches a surrogate gradient that is the exact one in disguise, or that does not learn."""
    start = s22_self_normalizing.train("self-normal", 0, steps=1)
    exact = s22_self_normalizing.train("exact", 0, steps=150)
    ours = s22_self_normalizing.train("self-normal", 0, steps=150)
    weak = s22_self_normalizing.train("self-normal", 0, 1.0, steps=150)
    assert exact.loss < ours.loss < start.loss - 5.0
    assert 0.0 < ours.error < 0.1 < weak.error


def test_the_fitted_exponent_is_read_off_powers():
    """Catches a slope of time over log-width, or of the wrong logs."""
    widths = s22_self_normalizing.WIDTHS
    assert s22_self_normalizing.slope([3.0 * w**2.5 for w in widths]) == pytest.approx(2.5)


def test_a_batch_of_flows_scores_like_each_flow():
    """Catches parameters that mix between the seeds of a clamp, and a wrong sign of the loss."""
    torch.manual_seed(0)
    stacks = [s25_clamp.Account(1.0, 3) for _ in range(3)]
    with torch.no_grad():
        for parameter in (p for stack in stacks for p in stack.parameters()):
            parameter.add_(0.2 * torch.randn_like(parameter))
    x = s25_clamp.sheet(20, 0.1, torch.Generator().manual_seed(0))
    parameters, buffers = torch.func.stack_module_state(stacks)
    fixed = {name: buffer[0] for name, buffer in buffers.items()}

    def score(parameters):
        return torch.func.functional_call(stacks[0], (parameters, fixed), (x,))

    together = torch.func.vmap(score)(parameters)[1]
    for stack, loss in zip(stacks, together, strict=True):
        assert torch.allclose(loss, -stack.flow.log_prob(x), atol=1e-4)


def test_lost_and_spiking_runs_stay_in_the_account():
    """Catches a median over the survivors, and a spike before the start counted as one."""
    nan, settled = math.nan, s25_clamp.SETTLED
    losses = torch.ones(settled + 4, 5)
    losses[settled - 1, 0] = 1e9
    losses[settled, 1] = 1e9
    losses[settled + 1 :, 2] = nan
    test = torch.tensor([1.0, 2.0, nan, nan, nan])
    runs = s25_clamp.Runs(1.0, losses, test, torch.zeros(5), torch.ones(5))
    assert (runs.lost, runs.spikes, runs.failed, runs.median) == (3, 2, 4, math.inf)


def test_a_clamp_saves_seeds_from_the_start_of_training():
    """Catches one seed's NaN that reaches another: shallow and short, no run is lost."""
    setting = s25_clamp.Setting(layers=2, rate=5e-3, start=0.05, noise=0.1, steps=60)
    runs = s25_clamp.train(0.3, setting)
    assert (runs.lost, runs.spikes) == (0, 0)
    assert bool((runs.losses[-1] < runs.losses[0]).all())
    assert float(runs.inverse_error.max()) < 1e-4
    assert len(set(runs.test.tolist())) == s25_clamp.SEEDS, "the seeds differ"

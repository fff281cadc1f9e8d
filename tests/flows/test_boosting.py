"""Boosting on the line, where every step has a closed form or a quadrature."""

from itertools import pairwise

import pytest
import torch

from gentoolkit import Chain
from gentoolkit.core.laws import Gaussian
from gentoolkit.flows import (
    Flow,
    FlowMixture,
    best_weight,
    boosted_loss,
    boosting_weights,
    mixed,
    real_nvp,
    weighted_loss,
)
from tests.flows.truth import perturbed

GRID = torch.linspace(-14, 14, 14001, dtype=torch.float64)
STEP = 28 / 14000


def normal(mean, variance):
    return torch.distributions.Normal(torch.tensor(mean).double(), torch.tensor(variance**0.5))


def bell(mean, variance):
    """A Gaussian as a flow without layers."""
    return Flow([], 1, Gaussian(torch.tensor([[mean]]), variance**0.5))


def two_modes(share, left, right, variance):
    a, b = normal(left, variance), normal(right, variance)
    return share * a.log_prob(GRID).exp() + (1 - share) * b.log_prob(GRID).exp()


def kl(p, log_g):
    return float((p * (p.log() - log_g)).sum() * STEP)


def product(p_modes, log_g):
    """The normalised p/G on the grid: what the weighted likelihood fits."""
    q = p_modes / log_g.exp()
    z = q.sum() * STEP
    mean = (q * GRID).sum() * STEP / z
    return float(z), float(mean), float((q * (GRID - mean).square()).sum() * STEP / z)


LOPSIDED = two_modes(0.7, -2.0, 3.0, 0.5)
FIRST = normal(-0.5, 5.75).log_prob(GRID)
SYMMETRIC = two_modes(0.5, -3.0, 3.0, 1.0)
WIDE = normal(0.0, 10.0).log_prob(GRID)


def slope_at_zero(p, log_g, log_new):
    return float((p * (log_new - log_g).exp()).sum() * STEP) - 1.0


def test_the_first_step_of_the_lopsided_pair():
    """Catches weights p/G that are not normalised, and a share of the rare mode that stays .3."""
    assert kl(LOPSIDED, FIRST) == pytest.approx(0.610850, abs=1e-6)
    z, mean, variance = product(LOPSIDED, FIRST)
    assert (z, mean, variance) == pytest.approx((11.515610, 0.738970, 8.024126), abs=1e-5)
    rare = (LOPSIDED / FIRST.exp())[GRID > 0.5].sum() * STEP / z
    assert float(rare) == pytest.approx(0.52625, abs=1e-4)
    new = normal(mean, variance).log_prob(GRID)
    assert slope_at_zero(LOPSIDED, FIRST, new) == pytest.approx(0.015585, abs=1e-6)
    r = best_weight(FIRST, new, LOPSIDED * STEP)
    assert r == pytest.approx(0.044080, abs=1e-5)
    assert kl(LOPSIDED, mixed(FIRST, new, r)) == pytest.approx(0.610511, abs=1e-5)


def test_the_steepest_direction_of_a_grid_of_bells():
    """Catches a search along minus the gradient: the best bell sits on the rare mode."""
    new = normal(3.3, 0.25).log_prob(GRID)
    assert slope_at_zero(LOPSIDED, FIRST, new) == pytest.approx(1.705117, abs=1e-5)
    for mean in torch.arange(-4, 4.01, 0.1).tolist():
        for variance in (0.25, 0.5, 2.0):
            other = normal(mean, variance).log_prob(GRID)
            assert slope_at_zero(LOPSIDED, FIRST, other) <= 1.705117 + 1e-5
    r = best_weight(FIRST, new, LOPSIDED * STEP)
    assert r == pytest.approx(0.156408, abs=1e-5)
    assert kl(LOPSIDED, mixed(FIRST, new, r)) == pytest.approx(0.520571, abs=1e-5)


def test_the_slope_at_zero_is_the_derivative():
    """Catches the sign of the weight's update: ascent on r, not descent."""
    new, h = normal(2.0, 1.0).log_prob(GRID), 1e-6
    difference = (kl(LOPSIDED, FIRST) - kl(LOPSIDED, mixed(FIRST, new, h))) / h
    assert difference == pytest.approx(slope_at_zero(LOPSIDED, FIRST, new), abs=1e-5)


def test_the_surrogate_is_trapped_between_two_equal_modes():
    """Catches an "improvement" where there is none: the wide bump is refused, and a mode is not."""
    z, mean, variance = product(SYMMETRIC, WIDE)
    assert (mean, variance) == pytest.approx((0.0, 12.2222), abs=1e-4)
    wide = normal(0.0, variance).log_prob(GRID)
    assert slope_at_zero(SYMMETRIC, WIDE, wide) == pytest.approx(-0.0078, abs=1e-4)
    assert best_weight(WIDE, wide, SYMMETRIC * STEP) == 0.0
    assert kl(SYMMETRIC, WIDE) == pytest.approx(0.461995, abs=1e-6)
    mode = normal(3.0, 1.0).log_prob(GRID)
    assert best_weight(WIDE, mode, SYMMETRIC * STEP) > 0.1


def test_a_component_that_wins_everywhere_takes_all():
    """Catches a bisection that never reaches an end."""
    p = normal(0.0, 1.0).log_prob(GRID)
    assert best_weight(WIDE, p, p.exp() * STEP) == pytest.approx(1.0, abs=1e-6)
    assert best_weight(p, WIDE, p.exp() * STEP) == 0.0


def test_the_weight_is_right_where_a_ratio_overflows():
    """Catches exp(800): a point that the mixture hardly knows and the component does."""
    log_g, log_p = torch.tensor([-1.0, -900.0]), torch.tensor([-1000.0, -1.0])
    assert best_weight(log_g, log_p) == pytest.approx(0.5, abs=1e-6)


def test_the_recursion_is_the_mixture_of_the_final_weights():
    """Catches earlier weights that are not multiplied by 1 - r, and lost mass."""
    flows = [bell(-2.0, 0.5), bell(3.0, 1.0), bell(0.0, 4.0), bell(1.0, 0.3)]
    mixture = FlowMixture(flows[:1])
    x, log_g = GRID[:, None], None
    log_g = flows[0].log_prob(x)
    for flow, r in zip(flows[1:], (0.3, 0.0, 0.6), strict=True):
        mixture = mixture.extended(flow, r)
        log_g = mixed(log_g, flow.log_prob(x), r)
    torch.testing.assert_close(mixture.log_prob(x), log_g, rtol=0, atol=1e-12)
    assert float(mixture.weights.sum()) == pytest.approx(1.0, abs=1e-12)
    expected = torch.tensor([0.7 * 0.4, 0.3 * 0.4, 0.0, 0.6])
    torch.testing.assert_close(mixture.weights, expected, rtol=0, atol=1e-12)
    assert float(mixture.log_prob(x).detach().exp().sum()) * STEP == pytest.approx(1.0, abs=1e-6)


def test_weights_are_one_over_g_and_capped():
    """Catches exp(+log G), a mean that is not one, and a cap that does nothing."""
    log_g = torch.tensor([0.0, -1.0, -2.0])
    omega = boosting_weights(log_g, cap=100.0)
    torch.testing.assert_close(omega / omega[0], (-log_g).exp())
    assert float(omega.mean()) == pytest.approx(1.0)
    outlier = torch.cat([torch.zeros(99), torch.tensor([-50.0])])
    assert float(boosting_weights(outlier, 10.0).max()) < 100.0 * 10 / 10 + 1e-9
    assert float(boosting_weights(outlier, 10.0).max()) == pytest.approx(100.0, rel=0.01)


@pytest.mark.parametrize("make", [weighted_loss, lambda new, old: boosted_loss(new, old, 0.3)])
def test_only_the_new_component_learns(make):
    """Catches a gradient that retrains the old mixture."""
    old, new = FlowMixture([perturbed(real_nvp(2, 2, (8,)))]), perturbed(real_nvp(2, 2, (8,)))
    make(new, old)(torch.randn(20, 2)).backward()
    assert all(p.grad is None for p in old.parameters())
    assert all(p.grad is not None for p in new.parameters())


def test_the_direct_loss_is_the_loss_of_the_grown_mixture():
    """Catches r and 1 - r exchanged."""
    old, new = FlowMixture([bell(-2.0, 0.5)]), bell(3.0, 0.5)
    x = 3 * torch.randn(50, 1)
    grown = old.extended(new, 0.2)
    assert float(boosted_loss(new, old, 0.2)(x)) == pytest.approx(float(grown.loss(x)), abs=1e-9)


def test_the_loss_never_rises_under_the_best_weight():
    """Catches a blind r = 1/k; the control takes it, and its loss rises."""
    torch.manual_seed(0)
    x = torch.cat([torch.randn(300, 1) - 3, torch.randn(100, 1) + 3])
    mixture = control = FlowMixture([bell(-2.0, 4.0)])
    losses, blind = [float(mixture.loss(x))], [float(control.loss(x))]
    for k, place in enumerate((9.0, 3.0, 0.0, -3.0, 8.0), 2):
        new = bell(place, 1.0)
        r = best_weight(mixture.log_prob(x), new.log_prob(x))
        mixture, control = mixture.extended(new, r), control.extended(new, 1 / k)
        losses.append(float(mixture.loss(x)))
        blind.append(float(control.loss(x)))
    assert all(b <= a + 1e-9 for a, b in pairwise(losses))
    assert any(b > a for a, b in pairwise(blind))


def test_draws_follow_the_weights_and_the_density():
    """Catches a component drawn with another weight, or rows that are never filled."""
    mixture = FlowMixture([bell(-3.0, 0.1), bell(3.0, 0.1)], torch.tensor([0.2, 0.8]))
    x = mixture.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert float((x > 0).double().mean()) == pytest.approx(0.8, abs=0.012)
    assert float(x[x > 0].var()) == pytest.approx(0.1, abs=0.01)


def test_the_exact_pull_has_no_spread_and_a_uniform_one_has():
    """Catches responsibilities that are not Bayes': log w must not depend on the component."""
    mixture = FlowMixture([bell(-1.0, 2.0), bell(1.0, 1.0)], torch.tensor([0.3, 0.7]))
    x = torch.randn(30, 1)
    joint, pull = mixture.log_joint(x), mixture.responsibilities(x).log()
    each = joint - pull  # log evidence of the path (component, x)
    torch.testing.assert_close(each[:, 0], each[:, 1], rtol=0, atol=1e-12)
    torch.testing.assert_close(each[:, 0], mixture.log_prob(x), rtol=0, atol=1e-12)
    uniform = (joint + torch.tensor(2.0).log()).mean(1)  # a bound, and a strict one
    assert bool((uniform < mixture.log_prob(x)).all())


def test_a_mixture_serves_as_a_proposal():
    """Catches a chain that does not end where the mixture draws."""
    mixture = FlowMixture([bell(-1.0, 2.0), bell(1.0, 1.0)])
    paths = Chain(mixture).push(4000, torch.Generator().manual_seed(0))
    log_w = paths.log_weight(lambda x: mixture.log_prob(x) + 1.5)
    torch.testing.assert_close(log_w, torch.full_like(log_w, 1.5))
    assert torch.equal(
        mixture.chain().log_prob(GRID[::500, None]), mixture.log_prob(GRID[::500, None])
    )


one = bell(0.0, 1.0)
log_p = torch.zeros(3)
BAD = {
    "no component": (lambda: FlowMixture([]), ValueError, "a component or more"),
    "no flow": (lambda: FlowMixture([torch.nn.Identity()]), TypeError, "must be a Flow"),
    "two widths": (lambda: FlowMixture([real_nvp(2), real_nvp(3)]), ValueError, "one event shape"),
    "short weights": (lambda: FlowMixture([one], torch.ones(2) / 2), ValueError, "sum to 1"),
    "heavy weights": (lambda: FlowMixture([one, one], torch.ones(2)), ValueError, "sum to 1"),
    "negative": (
        lambda: FlowMixture([one, one], torch.tensor([1.5, -0.5])),
        ValueError,
        "be >= 0",
    ),
    "r above one": (lambda: FlowMixture([one]).extended(one, 1.2), ValueError, "r must be in"),
    "r below zero": (lambda: mixed(log_p, log_p, -0.1), ValueError, "r must be in"),
    "direct r": (lambda: boosted_loss(one, FlowMixture([one]), 2.0), ValueError, "r must be in"),
    "density zero": (
        lambda: boosting_weights(torch.tensor([-torch.inf, 0.0])),
        ValueError,
        "log_g must be finite",
    ),
    "no point": (lambda: boosting_weights(torch.zeros(0)), ValueError, "empty"),
    "cap": (lambda: boosting_weights(log_p, 0.5), ValueError, "cap must be 1 or more"),
    "old is zero": (
        lambda: best_weight(torch.tensor([-torch.inf]), torch.zeros(1)),
        ValueError,
        "log_g must be finite",
    ),
    "new is NaN": (
        lambda: best_weight(log_p, torch.full((3,), torch.nan)),
        ValueError,
        "log_p must hold",
    ),
    "lengths": (lambda: best_weight(log_p, torch.zeros(2)), ValueError, "one log-density"),
    "mass": (lambda: best_weight(log_p, log_p, torch.ones(2)), ValueError, "one mass"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    """Catches a mixture that is none, and a weight that runs through to a NaN."""
    make, kind, told = BAD[name]
    with pytest.raises(kind, match=told) as error:
        make()
    assert "got" in str(error.value) and ";" in str(error.value)

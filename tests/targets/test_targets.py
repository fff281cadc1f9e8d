"""Targets: their normalisers by quadrature, their scores by autograd."""

from math import log

import pytest
import torch
from scipy.integrate import quad

from gentoolkit.targets import DoubleWell, GaussianMixture, eight_gaussians
from tests.laws.examples import lopsided


def _grid_log_z(target, half, n=801):
    line = torch.linspace(-half, half, n)
    x = torch.cartesian_prod(line, line)
    return float(target.log_prob(x).logsumexp(0)) + 2 * log(2 * half / (n - 1))


@pytest.mark.parametrize("make", [eight_gaussians, lopsided, DoubleWell])
def test_log_z_by_quadrature_in_the_plane(make):
    """Catches a missing 2 pi, a missing weight, a Bessel function of the wrong order."""
    target = make()
    assert _grid_log_z(target, 8.0) == pytest.approx(target.log_z, abs=1e-6)


@pytest.mark.parametrize("depth", [0.5, 4.0, 200.0])
def test_double_well_line_by_quadrature(depth):
    """Catches the factor 1/2 and the exponent of the closed form, also for deep wells."""
    target = DoubleWell(1, depth)
    exact = quad(
        lambda x: float(target.log_prob(torch.tensor([[x]])).exp()),
        -4,
        4,
        points=[-1, 1],
        epsabs=1e-13,
        limit=200,
    )[0]
    assert target.log_z == pytest.approx(log(exact), abs=1e-9)


def test_mixture_score_is_the_gradient():
    """Catches a deviation in place of a variance, and responsibilities of the wrong points."""
    target = lopsided()
    x = torch.randn(20, 2, requires_grad=True)
    gradient = torch.autograd.grad(target.log_prob(x).sum(), x)[0]
    torch.testing.assert_close(target.score(x.detach()), gradient, rtol=0, atol=1e-12)
    torch.testing.assert_close(target.responsibilities(x).sum(1), torch.ones(20))


def test_eight_bumps_of_height_one():
    """Catches hidden normalisation: the shared target is unnormalised on purpose."""
    target = eight_gaussians()
    heights = target.log_prob(target.means).exp()
    torch.testing.assert_close(heights, torch.ones(8), rtol=0, atol=1e-6)
    assert target.log_z == pytest.approx(log(16 * torch.pi * 0.04), abs=1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianMixture(torch.zeros(2), torch.ones(2), torch.ones(2) / 2), r"\(K, D\)"),
        (lambda: GaussianMixture(torch.zeros(2, 2), torch.ones(3), torch.ones(2) / 2), "stds"),
        (lambda: GaussianMixture(torch.zeros(2, 2), -torch.ones(2), torch.ones(2) / 2), "stds"),
        (lambda: GaussianMixture(torch.zeros(2, 2), torch.ones(2), torch.ones(2)), "sum to 1"),
        (lambda: eight_gaussians(std=0.0), "std"),
        (lambda: eight_gaussians().log_prob(torch.zeros(3, 3)), r"\(B, 2\)"),
        (lambda: eight_gaussians().log_prob(torch.zeros(2)), r"\(B, 2\)"),
        (lambda: DoubleWell(0), "at least 1"),
        (lambda: DoubleWell().log_prob(torch.zeros(3)), r"\(B, 2\)"),
        (lambda: DoubleWell(depth=0.0), "depth"),
        (lambda: DoubleWell().sample(0), "at least 1"),
    ],
)
def test_bad_targets_are_refused(make, words):
    """Catches parameters that would give a silent wrong density."""
    with pytest.raises(ValueError, match=words):
        make()


def test_noised_mixture_is_the_law_of_signal_x_plus_noise():
    """Catches a deviation added to a deviation, and a mean that is not scaled."""
    target = lopsided().noised(0.6, 0.8)
    source = lopsided()
    generator = torch.Generator().manual_seed(0)
    x = source.sample(400_000, generator)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    y = 0.6 * x + 0.8 * noise
    exact = target.sample(400_000, generator)
    for power in (1, 2, 3):
        ours, theirs = exact.pow(power), y.pow(power)
        error = ((ours.var(0) + theirs.var(0)) / len(y)).sqrt()
        assert bool(((ours.mean(0) - theirs.mean(0)).abs() < 4.5 * error).all())
    assert target.log_z == source.log_z


def test_denoised_is_tweedies_formula():
    """Catches responsibilities of the clean law, a lost signal, a level of another row."""
    source = lopsided()
    x = torch.randn(30, 2)
    t = torch.rand(30)
    signal, noise = 1 - 0.9 * t, 0.1 + t
    got = source.denoised(x, signal, noise)
    for i in range(30):
        a, s = float(signal[i]), float(noise[i])
        score = source.noised(a, s).score(x[i : i + 1])
        torch.testing.assert_close(got[i : i + 1], (x[i : i + 1] + s**2 * score) / a)


def test_denoised_knows_clean_points_and_pure_noise():
    """Catches a division by zero at either end."""
    source = lopsided()
    x = source.sample(10)
    torch.testing.assert_close(source.denoised(x, 1.0, 0.0), x)
    mean = (source.weights[:, None] * source.means).sum(0)
    torch.testing.assert_close(source.denoised(x, 0.0, 1.0), mean.expand(10, 2))


@pytest.mark.parametrize("levels", [(-0.1, 1.0), (0.0, 0.0), (float("nan"), 1.0)])
def test_levels_out_of_range_raise(levels):
    """Catches a square that hides a sign, and a law without width."""
    with pytest.raises(ValueError, match="use schedule.levels"):
        lopsided().noised(*levels)
    with pytest.raises(ValueError, match="use schedule.levels"):
        lopsided().denoised(torch.zeros(1, 2), *levels)


TARGETS = [eight_gaussians, lopsided, lambda: DoubleWell(2, 3.0)]


@pytest.mark.parametrize("make", TARGETS)
def test_targets_follow_the_model_that_holds_them(make):
    """Catches a target left behind: its dtype, its device (meta, where both differ), its state."""
    target = make()
    generator = torch.Generator().manual_seed(0)
    x = target.sample(50, generator)
    assert x.shape[1:] == target.event_shape
    holder = torch.nn.ModuleDict({"target": target}).float()
    single = target.log_prob(x.float())
    assert single.dtype == target.sample(3).dtype == torch.float32
    torch.testing.assert_close(single.double(), make().log_prob(x), rtol=2e-5, atol=2e-5)
    double = holder.double()["target"]
    assert double.log_prob(x).dtype == double.sample(3).dtype == torch.float64
    again = make()
    again.load_state_dict(make().state_dict())
    assert torch.equal(again.log_prob(x), make().log_prob(x))
    target.to("meta")
    assert target.log_prob(x.to("meta")).device.type == "meta"


def test_a_loaded_mixture_is_the_one_that_was_saved():
    """Catches coefficients that stay those of the old weights."""
    ours, theirs = eight_gaussians(), eight_gaussians(radius=1.0, std=0.5)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(9, 2)
    assert torch.equal(ours.log_prob(x), theirs.log_prob(x))
    assert torch.equal(ours.score(x), theirs.score(x))

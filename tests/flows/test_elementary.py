"""Planar, radial and elementwise layers against slogdet, round trips and hard corners."""

import pytest
import torch
from torch import nn

from gentoolkit.core.checks import fits, log_det, round_trip
from gentoolkit.flows import Flow, Inverted, LeakySoftplus, LULinear, Planar, Radial
from tests.flows.truth import assert_exact, integral, perturbed

KINDS = {"planar": Planar, "radial": Radial, "softplus": LeakySoftplus}


@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_exact(kind, features):
    """Catches a wrong derivative, a radius for a squared radius, a lost factor D - 1."""
    for seed in range(5):
        torch.manual_seed(seed)
        layer = perturbed(KINDS[kind](features), 1.5)
        assert_exact(layer, 2 * torch.randn(9, features))
        assert_exact(Inverted(layer), 2 * torch.randn(9, features))


@pytest.mark.parametrize("kind", KINDS)
def test_far_out_and_float32(kind):
    """Catches saturated tanh, cancelling roots and tolerances that float32 cannot meet."""
    torch.manual_seed(0)
    layer = perturbed(KINDS[kind](2), 1.5)
    x = torch.cat([1e3 * torch.randn(200, 2), 1e-3 * torch.randn(200, 2), torch.zeros(1, 2)])
    assert round_trip(layer, x, 1e-9), round_trip(layer, x, 1e-9)
    x = x.float()
    result = round_trip(layer.float(), x, 5e-3)
    assert result, result
    near = round_trip(layer, x[200:], 1e-4)
    assert near, near


@pytest.mark.parametrize("along", [-40.0, -8.0, 0.0, 8.0, 40.0])
def test_planar_stays_invertible_at_any_parameters(along):
    """Catches u used as it is: at w.u < -1 the map folds over."""
    layer = Planar(2)
    with torch.no_grad():
        layer.w.copy_(torch.tensor([1.5, -0.5]))
        layer.u.copy_(along * layer.w / layer.w.square().sum())
    x = torch.linspace(-4, 4, 801)[:, None] * torch.tensor([0.6, -0.2])
    y, log_slope = layer.transform(x)
    assert bool(((y @ layer.w).diff() > -1e-12).all())
    assert bool(log_slope.isfinite().all())
    if along > -30:  # beyond, w.v is -1 to the last digit and the map is flat
        back, again = layer.inverse(y)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
        torch.testing.assert_close(again, log_slope, rtol=0, atol=1e-6)


def test_planar_by_hand():
    """Catches v in the wrong direction: w = e1, u = (0, 3) leaves w.v = softplus(0) - 1."""
    layer = Planar(2)
    with torch.no_grad():
        layer.w.copy_(torch.tensor([1.0, 0.0]))
        layer.u.copy_(torch.tensor([0.0, 3.0]))
    y, log_slope = layer.transform(torch.tensor([[0.5, 0.5]]))
    gain, bent = torch.tensor(2.0).log() - 1, torch.tensor(0.5).tanh()
    torch.testing.assert_close(y, torch.stack([0.5 + gain * bent, 0.5 + 3 * bent])[None])
    torch.testing.assert_close(log_slope, (1 + gain * (1 - bent**2)).log()[None])


def test_radial_at_its_centre():
    """Catches 0 / 0 where x is the centre, values and gradients."""
    layer = perturbed(Radial(3))
    x = layer.centre.detach()[None].clone().requires_grad_()
    for move in (layer.transform, layer.inverse):
        y, log_slope = move(x)
        torch.testing.assert_close(y, x)
        (gradient,) = torch.autograd.grad(y.sum() + log_slope.sum(), x)
        assert bool(gradient.isfinite().all())


class Back(nn.Module):
    """The pull of a layer as a module that can be called."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, y):
        return self.layer.inverse(y)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_inverse(kind):
    """Catches a root that is cut from the graph: the parameters' gradients by differences."""
    torch.manual_seed(0)
    layer = perturbed(KINDS[kind](2))
    y = torch.randn(4, 2, requires_grad=True)
    module = Back(layer)
    names = [name for name, _ in module.named_parameters()]

    def inverse(y, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (y,))

    assert torch.autograd.gradcheck(inverse, (y, *module.parameters()))


def test_softplus_slopes():
    """Catches the two slopes exchanged: a on the far left, 1 on the far right."""
    layer = LeakySoftplus(1, 0.2)
    x = torch.tensor([[-500.0], [500.0], [0.0]])
    y, log_slope = layer.transform(x)
    torch.testing.assert_close(y[:2, 0], torch.tensor([-100.0, 500.0]))
    torch.testing.assert_close(log_slope.exp(), torch.tensor([0.2, 1.0, 0.6]))


def test_a_flow_of_elementary_layers():
    """Catches a density that is not normalised, or not the sampler's: inverses by root search."""
    torch.manual_seed(0)
    layers = [Planar(2), Radial(2), LULinear(2), LeakySoftplus(2), Planar(2)]
    flow = Flow([perturbed(layer, 0.3) for layer in layers], 2)
    assert integral(flow, 12.0, 401) == pytest.approx(1.0, abs=5e-4)
    result = fits(flow, generator=torch.Generator().manual_seed(0))
    assert result, result


class UnboundedPlanar(Planar):
    """The control: u used as it is, folded where w.u < -1."""

    def _direction(self):
        return self.u, 1.0 + self.w.dot(self.u)


def test_the_checks_see_a_fold():
    """The control: a planar layer that folds has no inverse, and says so or fails the check."""
    layer = UnboundedPlanar(2)
    with torch.no_grad():
        layer.w.copy_(torch.tensor([1.0, 0.0]))
        layer.u.copy_(torch.tensor([-3.0, 0.0]))
    x = torch.linspace(-1, 1, 21)[:, None] * torch.tensor([[1.0, 1.0]])
    try:
        passed = bool(round_trip(layer, x))
    except ValueError as error:
        passed = False
        assert "residual" in str(error)
    assert not passed
    assert not log_det(layer, x[10:11] + 0.0), "log of a negative determinant is no number"


@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_widths_are_refused(kind):
    """Catches a NaN that ends a root search as if it were a root, and widths that broadcast."""
    layer = KINDS[kind](2)
    with pytest.raises(ValueError, match="finite"):
        Flow([layer], 2).log_prob(torch.tensor([[torch.nan, 0.0]]))
    if kind != "radial":
        with pytest.raises(ValueError, match="residual of .*; raise the tolerance"):
            layer.inverse(torch.tensor([[torch.nan, 0.0], [1.0, 1.0]]))
    for bad in (torch.randn(3, 1), torch.randn(3, 3), torch.randn(2)):
        for move in (layer.transform, layer.inverse):
            with pytest.raises(ValueError, match="got .*;"):
                move(bad)
    with pytest.raises(ValueError, match="at least 1"):
        KINDS[kind](0)


@pytest.mark.parametrize("slope", [0.0, 1.0, -0.1, float("nan")])
def test_slopes_that_do_not_bend_are_refused(slope):
    """Catches a flat side, which has no inverse."""
    with pytest.raises(ValueError, match="between 0 and 1; got"):
        LeakySoftplus(2, slope)

"""Coupling layers against slogdet, round trips, integrals, and what they must refuse."""

import pytest
import torch
from torch import nn

from gentoolkit.core import Chain, standard_normal
from gentoolkit.core.checks import dead_parameters, fits, log_det, round_trip, same_ratio
from gentoolkit.flows import (
    AffineCoupling,
    Flow,
    Inverted,
    Layer,
    SplineCoupling,
    alternating_mask,
    real_nvp,
    spline_flow,
)
from tests.flows.truth import assert_exact, integral, perturbed

KINDS = {"affine": AffineCoupling, "spline": SplineCoupling}
SPLITS = {2: [None, [1]], 5: [None, [2, 3, 4], [0, 2, 4], [4, 1], [3]]}


def make(kind, features, mask=None, context=0):
    torch.manual_seed(1)
    return perturbed(KINDS[kind](features, mask=mask, hidden=(16,), context=context))


@pytest.mark.parametrize(
    "features, keep", [(features, keep) for features in SPLITS for keep in SPLITS[features]]
)
@pytest.mark.parametrize("kind", KINDS)
def test_exact(kind, features, keep):
    """Catches a wrong sign, a split joined in the wrong order, a slope of the wrong bin."""
    layer = make(kind, features, keep)
    assert_exact(layer, torch.randn(9, features))
    assert_exact(Inverted(layer), torch.randn(9, features))


@pytest.mark.parametrize("kind", KINDS)
def test_the_kept_part_is_kept(kind):
    """Catches kept and moved coordinates that change places."""
    x = torch.randn(20, 5)
    for keep in ([0, 1], [3, 4], [1, 4], [2]):
        y, _ = make(kind, 5, keep).transform(x)
        unchanged = (y == x).all(0)
        assert unchanged.nonzero().flatten().tolist() == sorted(keep)


@pytest.mark.parametrize("kind", KINDS)
def test_contexts(kind):
    """Catches a context that is not used, or used by another row."""
    layer, x, c = make(kind, 3, context=2), torch.randn(7, 3), torch.randn(7, 2)
    assert_exact(layer, x, c)
    y, _ = layer.transform(x, c)
    alone, _ = layer.transform(x[3:4], c[3:4])
    torch.testing.assert_close(y[3:4], alone)
    other, _ = layer.transform(x, c.roll(1, 0))
    assert float((other - y).abs().max()) > 1e-3
    assert same_ratio(layer.given(c), x)


def test_affine_by_hand():
    """Catches an unbounded or misplaced scale: y = x exp(3 tanh(r / 3)) + t, t first."""
    layer = AffineCoupling(2, hidden=(4,))
    last = layer.net[-1]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias[:1], 0.7)
    nn.init.constant_(last.bias[1:], 6.0)
    y, log_det_ = layer.transform(torch.tensor([[5.0, -2.0]]))
    s = 3 * torch.tensor(2.0).tanh()
    torch.testing.assert_close(y, torch.stack([torch.tensor(5.0), -2 * s.exp() + 0.7])[None])
    torch.testing.assert_close(log_det_, s[None])


@pytest.mark.parametrize("kind", KINDS)
def test_starts_as_the_identity(kind):
    """Catches a start that is far from the source: the last layer is zero."""
    x = 4 * torch.randn(30, 4)
    y, log_slope = KINDS[kind](4).transform(x)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-12)
    assert float(log_slope.abs().max()) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_far_out(kind):
    """Catches overflow, and tails that are not what the docstring says."""
    layer = make(kind, 2)
    x = torch.tensor([[1e3, -1e3], [-1e3, 1e3], [0.2, 1e3], [5.0, 5.0], [-5.0, -5.0], [5.1, -5.1]])
    y, _ = layer.transform(x)
    assert bool(y.isfinite().all())
    assert round_trip(layer, x, 1e-9), round_trip(layer, x, 1e-9)
    if kind == "spline":
        assert torch.equal(y[[0, 1, 2, 5]], x[[0, 1, 2, 5]])


@pytest.mark.parametrize("kind", KINDS)
def test_float32(kind):
    """Catches parameters that need float64: exp of an unbounded scale, a quadratic that cancels."""
    layer = make(kind, 4).float()
    x = 2 * torch.randn(500, 4, dtype=torch.float32)
    result = round_trip(layer, x, 2e-4)
    assert result, result
    assert layer.transform(x)[1].dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("context", [0, 2])
def test_three_couplings_integrate_to_one(kind, context):
    """Catches a lost or doubled term of the density."""
    torch.manual_seed(0)
    layers = [
        KINDS[kind](2, mask=alternating_mask(2, t), hidden=(16,), context=context) for t in range(3)
    ]
    # Any larger, and mass leaves the square or falls between its points.
    flow = Flow([perturbed(layer, 0.12) for layer in layers], 2)
    c = torch.randn(1, context) if context else None
    assert integral(flow, 9.0, 601, c) == pytest.approx(1.0, abs=5e-4)


@pytest.mark.parametrize("build", [real_nvp, spline_flow])
def test_samples_fit_the_density(build):
    """Catches a sampler that is not the inverse of the scorer."""
    torch.manual_seed(0)
    flow = perturbed(build(2, couplings=3, hidden=(16,)), 0.3)
    result = fits(flow, generator=torch.Generator().manual_seed(0))
    assert result, result


@pytest.mark.parametrize("build", [real_nvp, spline_flow])
def test_builders(build):
    """Catches halves that do not take turns, a width that is ignored, a parameter without use."""
    flow = perturbed(build(5, couplings=4, hidden=(8, 8), context=3))
    x, c = torch.randn(6, 5), torch.randn(6, 3)
    assert dead_parameters(lambda: -flow.log_prob(x, context=c).mean(), flow) == []
    assert [layer.order[: layer.kept].tolist() for layer in flow.layers] == [
        [0, 1],
        [2, 3, 4],
        [0, 1],
        [2, 3, 4],
    ]
    assert flow.sample(6, context=c).shape == (6, 5)
    changed = torch.autograd.functional.jacobian(lambda z: _pushed(flow, z, c), x)
    assert isinstance(changed, torch.Tensor)
    assert float(changed[0, :, 0].abs().min()) > 0, "every output must hang on every input"


def _pushed(flow, z, c):
    for layer in flow.layers:
        z, _ = layer.transform(z, c)
    return z


def test_a_training_step_learns():
    """Catches a loss of the wrong sign: a few steps must lower it by a margin."""
    torch.manual_seed(0)
    x = torch.randn(512, 2) * torch.tensor([1.0, 0.2]) + torch.tensor([0.0, 1.0])
    x = torch.stack([x[:, 0], x[:, 1] + 0.5 * x[:, 0] ** 2], 1)
    for build in (real_nvp, spline_flow):
        flow = build(2, couplings=4, hidden=(16, 16))
        optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
        first = float(flow.loss(x))
        for _ in range(60):
            optimizer.zero_grad()
            flow.loss(x).backward()
            optimizer.step()
        assert float(flow.loss(x)) < first - 0.8


class WrongSign(AffineCoupling):
    """The control: its log-determinant has the wrong sign on both sides, so round trips pass."""

    def push_each(self, moved, parameters):
        moved, log_slope = super().push_each(moved, parameters)
        return moved, -log_slope

    def pull_each(self, moved, parameters):
        moved, log_slope = super().pull_each(moved, parameters)
        return moved, -log_slope


def test_the_checks_see_a_wrong_sign():
    """The control: a wrong sign passes the round trip but neither slogdet nor the integral."""
    torch.manual_seed(0)
    layer = perturbed(WrongSign(2, hidden=(16,)))
    x = torch.randn(9, 2)
    assert round_trip(layer, x)
    assert not log_det(layer, x)
    assert abs(integral(Flow([layer], 2), 9.0, 301) - 1.0) > 0.05


@pytest.mark.parametrize(
    "build",
    [
        lambda: AffineCoupling(1),
        lambda: SplineCoupling(0),
        lambda: AffineCoupling(-2),
        lambda: AffineCoupling(4, mask=[]),
        lambda: AffineCoupling(4, mask=[0, 1, 2, 3]),
        lambda: AffineCoupling(4, mask=[0, 0]),
        lambda: AffineCoupling(4, mask=[4]),
        lambda: AffineCoupling(4, mask=[-1]),
        lambda: AffineCoupling(4, context=-1),
        lambda: AffineCoupling(4, largest=0.0),
        lambda: SplineCoupling(4, bins=1),
        lambda: SplineCoupling(4, bound=-1.0),
        lambda: real_nvp(1),
        lambda: real_nvp(2, couplings=0),
        lambda: spline_flow(2, hidden=(0,)),
        lambda: alternating_mask(1),
    ],
)
def test_bad_building_is_refused(build):
    """Catches an empty split, zero features, one bin, an empty box."""
    with pytest.raises(ValueError, match="got .*;"):
        build()


@pytest.mark.parametrize("kind", KINDS)
def test_bad_batches_are_refused(kind):
    """Catches a wrong width that broadcasts, a context that is missing, too wide or unused."""
    plain, conditional = make(kind, 2), make(kind, 2, context=3)
    x = torch.randn(4, 2)
    for layer, y, c in [
        (plain, torch.randn(4, 5), None),
        (plain, torch.randn(4), None),
        (plain, x, torch.randn(4, 3)),
        (conditional, x, None),
        (conditional, x, torch.randn(4, 2)),
        (conditional, x, torch.randn(1, 3)),
    ]:
        assert isinstance(layer, Layer)
        for move in (layer.transform, layer.inverse):
            with pytest.raises(ValueError, match="got .*;"):
                move(y, c)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_is_refused_by_the_chain(kind):
    """Catches NaN that falls into a bin and comes out as a number."""
    layer, x = make(kind, 2), torch.tensor([[0.1, torch.nan], [0.0, 1.0]])
    assert bool(layer.transform(x)[0][0].isnan().any())
    with pytest.raises(ValueError, match="finite"):
        Flow([layer], 2).log_prob(x)
    with pytest.raises(ValueError, match="finite"):
        Chain(standard_normal(2), [layer]).pull(x)

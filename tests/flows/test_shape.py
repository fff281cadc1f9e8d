"""Multi-scale flows and squeezing against slogdet and pixels counted by hand."""

import pytest
import torch

from gentoolkit.core import Bijection
from gentoolkit.core.checks import dead_parameters, fits, log_det, round_trip
from gentoolkit.flows import (
    ActNorm,
    AffineCoupling,
    Flow,
    InvertibleConv1x1,
    SplineCoupling,
    Split,
    Squeeze,
    alternating_mask,
    multi_scale,
)
from tests.flows.truth import assert_exact, perturbed


def coupling(features, context=0, turn=0):
    layer = AffineCoupling(features, alternating_mask(features, turn), hidden=(8,), context=context)
    return perturbed(layer, 0.3)


def test_part_is_exact():
    """Catches layers run in one order both ways, and a log-determinant of the last one alone."""
    part = Split([coupling(3), perturbed(ActNorm(3)), coupling(3, turn=1)], 5, 3)
    x = torch.randn(6, 5)
    assert_exact(part, x)
    y, _ = part.transform(x)
    assert torch.equal(y[:, 3:], x[:, 3:])
    assert bool((y[:, :3] != x[:, :3]).all())


def test_part_passes_the_context_on():
    """Catches a context that is dropped on the way in."""
    part = Split([coupling(2, 3), coupling(2, 3, 1)], 4, 2)
    x, c = torch.randn(6, 4), torch.randn(6, 3)
    assert_exact(part, x, c)
    assert float((part.transform(x, c)[0] - part.transform(x, -c)[0]).abs().max()) > 1e-3


def test_part_says_when_a_layer_estimates():
    """Catches an estimated log-determinant that a density would take for exact."""
    inner = coupling(2)
    assert not Split([inner], 4, 2).estimated
    inner.estimated = True
    assert Split([inner], 4, 2).estimated
    with pytest.raises(ValueError, match="estimates"):
        Flow([Split([inner], 4, 2)], 4).log_prob(torch.randn(3, 4))


def test_multi_scale():
    """Catches scales in the wrong order, and coordinates that leave the account."""
    torch.manual_seed(0)
    deep = [coupling(2), coupling(2, turn=1)]
    middle = [coupling(4), coupling(4, turn=1)]
    outer = [
        perturbed(SplineCoupling(8, mask=alternating_mask(8, t), hidden=(8,)), 0.3)
        for t in range(2)
    ]
    flow = Flow(multi_scale([deep, middle, outer], 8), 8)
    x = torch.randn(5, 8)
    trajectory = flow.chain().pull(x)
    met = [
        (a != b).any(0).nonzero().flatten().max().item() + 1
        for a, b in zip(trajectory.states[:-1], trajectory.states[1:], strict=True)
    ]
    assert met == [2, 4, 8, 4], "deep moves 2, middle 4; outer moves one half at a time"
    assert dead_parameters(lambda: -flow.log_prob(x).mean(), flow) == []
    jacobian = torch.autograd.functional.jacobian(lambda x: flow.chain().pull(x).states[0], x)
    assert isinstance(jacobian, torch.Tensor)
    own = jacobian[torch.arange(5), :, torch.arange(5), :]
    z = trajectory.states[0]
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    expected = normal + torch.linalg.slogdet(own).logabsdet
    torch.testing.assert_close(flow.log_prob(x), expected, rtol=0, atol=1e-10)


def test_samples_of_a_multi_scale_flow_fit():
    """Catches a part that is not its own inverse in the whole."""
    torch.manual_seed(0)
    flow = Flow(multi_scale([[coupling(2)], [coupling(4), coupling(4, turn=1)]], 4), 4)
    result = fits(flow, generator=torch.Generator().manual_seed(0))
    assert result, result


def test_squeeze_by_hand():
    """Catches rows and columns exchanged, and the order of an inverse: 2 x 4 pixels."""
    picture = torch.tensor([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]])
    x, log_slope = Squeeze(1, 2, 4).inverse(picture.reshape(1, 8))
    channels = x.reshape(4, 1, 2)
    expected = [[[0.0, 2.0]], [[1.0, 3.0]], [[4.0, 6.0]], [[5.0, 7.0]]]
    assert channels.tolist() == expected
    assert torch.equal(log_slope, torch.zeros(1))


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 4, 6), (2, 8, 2)])
def test_squeeze_is_torchs(shape):
    """Catches channels that are interleaved otherwise: torch's pixel_unshuffle is the oracle."""
    picture = torch.randn(3, *shape)
    layer = Squeeze(*shape)
    x, _ = layer.inverse(picture.flatten(1))
    assert torch.equal(x, torch.pixel_unshuffle(picture, 2).flatten(1))
    assert round_trip(layer, x) and log_det(layer, x)


def test_an_image_flow():
    """Catches layouts that do not fit together: squeeze, act-norm, 1x1 convolution, split."""
    torch.manual_seed(0)
    inner = [perturbed(InvertibleConv1x1(2, 4)), perturbed(ActNorm(2, 4)), coupling(8)]
    outer = [coupling(16), perturbed(InvertibleConv1x1(4, 4)), Squeeze(1, 4, 4)]
    flow = Flow(multi_scale([inner, outer], 16), 16)
    x = torch.randn(4, 16)
    trajectory = flow.chain().pull(x)
    for step, state in zip(flow.chain().steps, trajectory.states, strict=False):
        assert isinstance(step, Bijection)
        assert log_det(step, state.detach()) and round_trip(step, state.detach())
    assert flow.sample(3).shape == (3, 16)


class OutOfOrder(Split):
    """The control: the inner layers' log-determinants are taken, but in the pushing order."""

    def inverse(self, y, context=None, generator=None):
        stay, leave = y.tensor_split([self.width], 1)
        total = y.new_zeros(y.shape[0])
        for layer in self.layers:
            stay, more = layer.pull(stay)
            total = total + more
        return torch.cat([stay, leave], 1), total


def test_the_check_sees_layers_out_of_order():
    """The control: one order both ways does not come back."""
    layers = [coupling(3), perturbed(ActNorm(3)), coupling(3, turn=1)]
    assert not round_trip(OutOfOrder(layers, 5, 3), torch.randn(6, 5))


@pytest.mark.parametrize(
    "build",
    [
        lambda: multi_scale([[coupling(2)], [coupling(3)]], 3),
        lambda: multi_scale([[], [], []], 6),
        lambda: multi_scale([], 4),
        lambda: multi_scale([[coupling(2)]], 0),
        lambda: Split([], 4, 4),
        lambda: Split([], 4, 0),
        lambda: Split([], 0, 1),
        lambda: Split([], 4, 2).transform(torch.randn(3, 5)),
        lambda: Squeeze(1, 3, 4),
        lambda: Squeeze(1, 4, 5),
        lambda: Squeeze(1, 0, 4),
        lambda: Squeeze(0, 2, 2),
        lambda: Squeeze(1, 2, 2).inverse(torch.randn(2, 8)),
    ],
)
def test_odd_splits_and_other_bad_input_are_refused(build):
    """Catches an odd width that is halved by rounding, and images with odd sides."""
    with pytest.raises(ValueError, match="got .*;"):
        build()

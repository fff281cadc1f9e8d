"""Linear layers against slogdet, dense algebra and data statistics."""

import pytest
import torch

from gentoolkit.core.checks import dead_parameters, log_det, round_trip
from gentoolkit.flows import (
    ActNorm,
    AffineCoupling,
    Flow,
    InvertibleConv1x1,
    LULinear,
    Permute,
    initialise,
    real_nvp,
)
from tests.flows.truth import assert_exact, perturbed


@pytest.mark.parametrize("features", [1, 2, 5])
def test_lu_is_exact(features):
    """Catches a transposed factor, a pivot's sign, the wrong triangle."""
    layer = perturbed(LULinear(features))
    if features > 1:  # a 1 x 1 matrix has no triangles for a gradient to reach
        assert_exact(layer, 3 * torch.randn(8, features))
    dense = layer.weight()
    assert layer.bias is not None
    x = torch.randn(8, features)
    y, log_slope = layer.transform(x)
    torch.testing.assert_close(y, (dense @ x.T).T + layer.bias)
    torch.testing.assert_close(log_slope, torch.linalg.slogdet(dense).logabsdet.expand(8))


def test_lu_starts_where_it_is_told():
    """Catches factors that do not multiply to the matrix handed in, pivoting and signs included."""
    torch.manual_seed(3)
    for start in (torch.randn(4, 4), torch.eye(4).flip(0), -torch.eye(4), 1e-6 * torch.eye(4)):
        torch.testing.assert_close(LULinear(4, start).weight(), start)
    rotation = LULinear(6).weight()
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(6))


@pytest.mark.parametrize(
    "start",
    [
        torch.zeros(2, 2),
        torch.ones(3, 3),
        torch.tensor([[1.0, 2.0], [0.5, 1.0]], dtype=torch.float64),
        torch.randn(3, 2),
        torch.tensor([[1.0, torch.nan], [0.0, 1.0]]),
        torch.zeros(0, 0),
    ],
)
def test_singular_starts_are_refused(start):
    """Catches log 0 at the start: the inverse would not exist."""
    for build in (lambda: LULinear(len(start), start), lambda: InvertibleConv1x1(2, 4, start)):
        with pytest.raises(ValueError, match="got .*;"):
            build()


def image(channels, shape, n=5):
    return torch.randn(n, channels, *shape)


@pytest.mark.parametrize("make", [InvertibleConv1x1, ActNorm])
def test_image_layers_count_every_pixel(make):
    """Catches a log-determinant without the factor height times width, and pixels mixed up."""
    torch.manual_seed(0)
    layer, x = perturbed(make(3, 4)), image(3, (2, 2))
    assert_exact(layer, x)
    assert_exact(layer, x.flatten(1))
    y, log_slope = layer.transform(x)
    flat, again = layer.transform(x.flatten(1))
    assert y.shape == x.shape and torch.equal(y.flatten(1), flat)
    torch.testing.assert_close(log_slope, again)
    # Every pixel is treated as a pixel alone would be.
    alone = perturbed(make(3, 1))
    alone.load_state_dict(layer.state_dict())
    one, quarter = alone.transform(x[:, :, 1, 0])
    torch.testing.assert_close(one, y[:, :, 1, 0])
    torch.testing.assert_close(4 * quarter, log_slope)


def test_convolution_is_torchs():
    """Catches a transposed channel matrix: torch's own 1x1 convolution is the oracle."""
    layer, x = perturbed(InvertibleConv1x1(3, 20)), image(3, (4, 5))
    kernel = layer.linear.weight()[:, :, None, None]
    torch.testing.assert_close(layer.transform(x)[0], torch.nn.functional.conv2d(x, kernel))


def test_permutations():
    """Catches an order applied in place of its inverse, and an unseeded shuffle."""
    x = torch.arange(10.0).reshape(2, 5)
    y, log_slope = Permute([2, 0, 1, 4, 3]).transform(x)
    assert y[0].tolist() == [2.0, 0.0, 1.0, 4.0, 3.0]
    assert torch.equal(log_slope, torch.zeros(2))
    assert torch.equal(Permute.reverse(5).transform(x)[0], x.flip(1))
    for layer in (Permute([2, 0, 1, 4, 3]), Permute.shuffle(5, 1), Permute.reverse(1)):
        z = torch.randn(4, layer.features)
        assert round_trip(layer, z) and log_det(layer, z)
    orders = [Permute.shuffle(20, seed).order.tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_act_norm_starts_from_data_only_when_asked():
    """Catches a silent start on first use, and statistics of the wrong side or the wrong axis."""
    layer = ActNorm(3)
    y = torch.randn(200, 3) * torch.tensor([0.1, 2.0, 30.0]) + torch.tensor([5.0, -3.0, 0.0])
    x, log_slope = layer.inverse(y)
    assert torch.equal(x, y) and torch.equal(log_slope, torch.zeros(200))
    layer.initialise(y)
    x, log_slope = layer.inverse(y)
    torch.testing.assert_close(x.mean(0), torch.zeros(3), rtol=0, atol=1e-12)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(3))
    torch.testing.assert_close(log_slope, y.std(0, correction=0).log().sum().expand(200))
    # The next batch is scaled by the first one.
    again, _ = layer.inverse(2 * y)
    assert float(again.detach().std(0).min()) > 1.9
    assert dead_parameters(lambda: (layer.inverse(y)[0] ** 3).sum(), layer) == []
    pictures = 3 * image(2, (2, 2), 50) + 1
    channels = ActNorm(2, 4)
    channels.initialise(pictures)
    x, _ = channels.inverse(pictures)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-12)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(2))


def test_a_flow_is_initialised_from_the_data_side():
    """Catches an order from the source side, where inner layers see the wrong batch."""
    coupling = perturbed(AffineCoupling(2, hidden=(8,)))
    inner, outer = ActNorm(2), ActNorm(2)
    flow = Flow([inner, coupling, outer], 2)
    data = torch.randn(300, 2) @ torch.tensor([[2.0, 1.0], [0.0, 0.3]]) + 4
    initialise(flow, data)
    trajectory = flow.chain().pull(data)
    for normed in (trajectory.states[0], trajectory.states[2]):
        torch.testing.assert_close(normed.mean(0), torch.zeros(2), rtol=0, atol=1e-10)
        torch.testing.assert_close(normed.std(0, correction=0), torch.ones(2))
    before = real_nvp(2, couplings=2).state_dict()
    flow = real_nvp(2, couplings=2)
    flow.load_state_dict(before)
    initialise(flow, data)
    assert all(torch.equal(flow.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize(
    "act",
    [
        lambda: ActNorm(0),
        lambda: ActNorm(2).initialise(torch.randn(1, 2)),
        lambda: ActNorm(2).initialise(torch.tensor([[1.0, 7.1], [2.0, 7.1], [3.0, 7.1]])),
        lambda: ActNorm(2).initialise(torch.tensor([[1.0, torch.nan], [2.0, 3.0]])),
        lambda: ActNorm(2).initialise(torch.randn(4, 3)),
        lambda: ActNorm(2).transform(torch.randn(4, 4)),
        lambda: ActNorm(2, 4).transform(torch.randn(4, 2, 5)),
        lambda: InvertibleConv1x1(2, 0),
        lambda: InvertibleConv1x1(0, 2),
        lambda: InvertibleConv1x1(2, 4).inverse(torch.randn(4, 4, 2)),
        lambda: LULinear(0),
        lambda: LULinear(2).transform(torch.randn(4, 3)),
        lambda: LULinear(2).inverse(torch.randn(4, 1)),
        lambda: Permute([]),
        lambda: Permute([0, 0]),
        lambda: Permute([1, 2]),
        lambda: Permute([1, 0]).transform(torch.randn(3, 3)),
        lambda: Permute.shuffle(0),
    ],
)
def test_bad_input_is_refused(act):
    """Catches shapes that broadcast, constant features, repeated indices, zero sizes."""
    with pytest.raises(ValueError, match="got .*;"):
        act()


def test_float32():
    """Catches a cast to float64 and an inverse that loses the digits of float32."""
    layer = perturbed(LULinear(5)).float()
    x = torch.randn(50, 5, dtype=torch.float32)
    assert round_trip(layer, x, 1e-3)
    assert layer.transform(x)[1].dtype == torch.float32


class ForgetsPixels(InvertibleConv1x1):
    """The control: without the factor of the pixels, on both sides."""

    def _log_det(self, x):
        return self.linear.log_s.sum().expand(x.shape[0])


def test_the_check_sees_a_lost_factor():
    """The control: the round trip passes and slogdet does not."""
    layer, x = perturbed(ForgetsPixels(3, 4)), image(3, (2, 2))
    assert round_trip(layer, x) and not log_det(layer, x)

"""Networks: shapes, and times that can be told apart."""

import pytest
import torch

from gentoolkit.core.checks import dead_parameters
from gentoolkit.nets import MLP, ParallelMLP, TimeEmbedding, TimeMLP


def test_mlp_is_the_composition_it_says():
    """Catches an activation after the last layer, or none between."""
    net = MLP(3, 2, hidden=(5,))
    x = torch.randn(4, 3)
    first, last = net[0], net[2]
    by_hand = torch.nn.functional.silu(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(net(x), by_hand)
    assert len(MLP(3, 2, hidden=())) == 1


def test_time_reaches_the_output():
    """Catches a time that is embedded and then dropped."""
    net = TimeMLP(2, 2, hidden=(16,))
    x, t = torch.randn(4, 2), torch.rand(4)
    assert not torch.allclose(net(x, t), net(x, t + 0.01), atol=1e-4)
    torch.testing.assert_close(net(x, torch.tensor(0.3)), net(x, torch.full((4,), 0.3)))
    assert dead_parameters(lambda: net(x, t).square().sum(), net) == []


def test_embedding_tells_near_times_apart():
    """Catches frequencies too low for a fine grid, and ones that alias on [0, 1]."""
    t = torch.linspace(0, 1, 401)
    e = TimeEmbedding(32)(t)
    assert e.shape == (401, 32) and e.dtype == torch.float64
    distance = torch.cdist(e, e) + 10 * torch.eye(401)
    assert distance.min() > 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_the_time(dtype):
    """Catches angles rounded in half precision: at w t = 1000 a bfloat16 is off by two radians.

    The times are handed over in float32, as schedules keep them.
    """
    net = TimeMLP(2, 2, hidden=(16,)).float()
    x, t = torch.randn(9, 2), torch.linspace(0, 1, 9, dtype=torch.float32)
    full = net(x.float(), t)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(net(x.float(), t).float(), full, atol=0.02)
    half = net.to(dtype)
    exact = torch.cat(
        [f(t[:, None] * half.embed.frequencies.float()) for f in (torch.cos, torch.sin)], 1
    )
    assert torch.allclose(half.embed(t).float(), exact, atol=0.01)
    assert half(x.to(dtype), t).dtype == dtype


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MLP(0, 2), "at least 1"),
        (lambda: MLP(3, 2, hidden=(0,)), "at least 1"),
        (lambda: MLP(3, 2)(torch.zeros(4, 2)), r"3 numbers in each row; got shape \(4, 2\)"),
        (lambda: TimeEmbedding(5), "even"),
        (lambda: TimeEmbedding()(torch.zeros(3, 1)), r"shape \(B,\)"),
        (lambda: TimeMLP(2, 2)(torch.zeros(3), torch.zeros(3)), r"shape \(B, D\)"),
    ],
)
def test_bad_sizes_are_refused(call, words):
    """Catches widths and times that would broadcast to something else."""
    with pytest.raises(ValueError, match=words):
        call()


def test_parallel_nets_are_separate_ones():
    """Catches networks that mix, share their start, or read another row's weights."""
    nets = ParallelMLP(3, 2, 4, (5,))
    x = torch.randn(3, 6, 2)
    out = nets(x)
    single = MLP(2, 4, (5,))
    for row in range(3):
        for layer, at in ((single[0], 0), (single[2], 1)):
            layer.weight.data = nets.weights[at][row].T
            layer.bias.data = nets.biases[at][row, 0]
        torch.testing.assert_close(out[row], single(x[row]))
        torch.testing.assert_close(nets(x[row : row + 1], slice(row, row + 1))[0], out[row])
    assert not torch.allclose(nets(x[:1].expand(3, -1, -1))[0], nets(x[:1].expand(3, -1, -1))[1])
    assert dead_parameters(lambda: nets(x).square().sum(), nets) == []
    with pytest.raises(ValueError, match="a row for each network"):
        nets(x[:2])

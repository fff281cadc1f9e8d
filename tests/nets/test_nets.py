"""Networks: shapes, and times that can be told apart."""

import pytest
import torch

from gentoolkit.core.checks import dead_parameters
from gentoolkit.nets import MLP, TimeEmbedding, TimeMLP


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


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MLP(0, 2), "at least 1"),
        (lambda: MLP(3, 2, hidden=(0,)), "at least 1"),
        (lambda: TimeEmbedding(5), "even"),
        (lambda: TimeEmbedding()(torch.zeros(3, 1)), r"shape \(B,\)"),
        (lambda: TimeMLP(2, 2)(torch.zeros(3), torch.zeros(3)), r"shape \(B, D\)"),
    ],
)
def test_bad_sizes_are_refused(call, words):
    """Catches widths and times that would broadcast to something else."""
    with pytest.raises(ValueError, match=words):
        call()

"""Flows on images against slogdet, torch's layout of channels, and counts by hand."""

import pytest
import torch

from gentoolkit.core.checks import log_det, round_trip
from gentoolkit.flows import ConvCoupling, glow, initialise
from tests.flows.truth import assert_exact, perturbed


@pytest.mark.parametrize("turn", [0, 1])
def test_a_convolutional_coupling_is_exact_and_keeps_whole_channels(turn):
    """Catches a split across channels, and a net whose outputs are laid out pixel by pixel."""
    torch.manual_seed(0)
    layer, x = perturbed(ConvCoupling(4, 2, 3, turn=turn, hidden=5), 0.3), torch.randn(3, 24)
    assert_exact(layer, x)
    same = (layer.transform(x)[0] == x).reshape(3, 4, 6).all(2)
    kept = slice(2, 4) if turn else slice(0, 2)
    assert bool(same[:, kept].all()) and int(same.sum()) == 6


def test_the_net_is_convolutional():
    """Catches a net that mixes far pixels: one kept pixel may move its neighbours alone."""
    layer = perturbed(ConvCoupling(2, 1, 9, hidden=4), 0.5)
    x = torch.randn(1, 18)
    bumped = x.clone()
    bumped[0, 4] += 1.0
    moved = (layer.transform(bumped)[0] - layer.transform(x)[0]).abs()[0, 9:] > 1e-9
    assert moved[2:7].all() and not moved[:2].any() and not moved[7:].any()


def test_glow_starts_white_and_is_exact():
    """Catches scales in the wrong order, and normalisations that are not set from the data."""
    torch.manual_seed(1)
    flow, x = glow(4, 8, scales=2, steps=2, hidden=4), 3.0 + 0.1 * torch.randn(200, 32)
    assert [type(layer).__name__ for layer in flow.layers].count("Split") == 1
    initialise(flow, x)
    z = flow.chain().pull(x).states[0].detach()
    assert float((z.mean(0).abs()).max()) < 0.5 and abs(float(z.std()) - 1) < 0.05
    perturbed(flow, 0.1)
    y, path = x[:2], flow.chain().pull(x[:2])
    for step, state in zip(flow.chain().steps, path.states, strict=False):
        assert log_det(step, state.detach()) and round_trip(step, state.detach())
    assert torch.isfinite(flow.log_prob(y)).all() and flow.sample(3).shape == (3, 32)


def test_what_is_refused():
    """Catches an odd number of channels and a side that cannot be halved."""
    with pytest.raises(ValueError, match="channels must be even"):
        ConvCoupling(3, 2, 2)
    with pytest.raises(ValueError, match="even sides"):
        glow(6, 6, scales=2)

"""The shipped flows: fitting, good, no copies of their data; and the script that makes them."""

import pytest
import torch

from gentoolkit.data import mnist
from gentoolkit.flows import spline_flow
from gentoolkit.targets import eight_gaussians
from gentoolkit.teach import load_weights
from tools.train_flows import EIGHT, NAME, bits, dequantised, net, reduced, train


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def data():
    torch.set_default_dtype(torch.float32)
    return mnist()


def loaded():
    flow = net().float()
    load_weights(flow, NAME)
    return flow


def independent(level, test):
    """Bits a pixel of the exact histogram of each pixel, one count added in half."""
    counts = torch.stack([(level == k).double().sum(0) for k in range(16)]) + 0.5
    return float(-(counts / counts.sum(0)).log2()[test.long(), torch.arange(144)].mean())


def test_the_digits_flow_beats_pixels_alone(data):
    """Catches weights of another layout, and a constant of bits that is off."""
    level, test, generator = reduced(data.train), reduced(data.test), torch.Generator()
    with torch.no_grad():
        generator.manual_seed(0)
        told = float(bits(loaded().log_prob(dequantised(test, generator))).mean())
        mixed = dequantised(test[:, torch.randperm(144, generator=generator)], generator)
        wrong = float(bits(loaded().log_prob(mixed)).mean())
    assert told < independent(level, test) - 0.1
    assert wrong > 4.0  # the control: pixels in another order


def test_bits_of_a_uniform_density():
    """Catches the constant: a density of one on the unit cube is four bits a pixel."""
    assert float(bits(torch.zeros(3)).mean()) == pytest.approx(4.0)


def test_reduced_pixels_are_levels():
    """Catches rows cut off at the wrong side, and means that are rounded up to a 17th level."""
    ink = torch.zeros(1, 28, 28)
    ink[0, 2:4, 2:4] = 1.0
    ink[0, 0, 0] = 1.0
    level = reduced(ink.reshape(1, 784)).reshape(12, 12)
    assert level[0, 0] == 15 and level.sum() == 15
    ink[0, 2, 2] = 0.0
    assert reduced(ink.reshape(1, 784)).max() == 11


def test_draws_are_no_copies(data):
    """Catches a flow that has learnt its data by heart: draws lie as far off as fresh digits."""
    torch.manual_seed(2)
    seen = reduced(data.train) / 16
    drawn = loaded().sample(200) + 0.5
    near, fresh = (
        torch.cdist(v, seen).min(1).values.median() for v in (drawn, reduced(data.test) / 16)
    )
    assert near > 0.9 * fresh


def test_the_spline_flow_fits_the_eight_gaussians():
    """Measured: 0.017 nats; a flow that lost one bump of eight would lose much more."""
    flow, target = spline_flow(2, couplings=4), eight_gaussians(radius=2.5, std=0.3)
    load_weights(flow, EIGHT)
    x = target.sample(5000, torch.Generator().manual_seed(3))
    with torch.no_grad():
        gap = (target.log_prob(x) - target.log_z - flow.log_prob(x)).mean()
    assert -0.01 < float(gap) < 0.05


def test_training_repeats_itself(data):
    """Catches randomness that no seed rules."""
    rows = reduced(data.train)[:200]
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append(train(net(4), rows, 2).state_dict())
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])

"""The shipped translators: fitting, good, honest about their accuracies; and their script."""

import json

import pytest
import torch

from gentoolkit.adversarial import CycleGAN, cycle_loss
from gentoolkit.data import bent, blobs, digits, small_mnist
from gentoolkit.flows import AlignFlow, Translation, Unpaired
from gentoolkit.teach import load_weights
from tools.train_domains import (
    DIGITS,
    LAMBDAS,
    NAME,
    Arm,
    adapted,
    both,
    digit_flows,
    plane,
    train_digits,
    train_plane,
)


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)


def test_the_plane_is_translated_and_comes_back():
    """Catches weights of another layout, and names that are exchanged."""
    nets = plane()
    about = load_weights(nets, NAME)
    assert about["lambdas"] == ", ".join(map(str, LAMBDAS))
    drawn = blobs(1000, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        for name, net in nets.items():
            if isinstance(net, CycleGAN):
                assert float(cycle_loss(net, (drawn.x, bent(drawn.x)))) > 1e-4
                continue
            assert isinstance(net, Translation)
            y, _ = net.transform(drawn.x)
            assert float((net.inverse(y)[0] - drawn.x).abs().mean()) < 1e-5
            error = float((y - bent(drawn.x)).square().sum(1).mean())
            assert error > 1.0 if name == "likelihood" else error < 1.0, (name, error)


def test_the_digits_classify_as_the_file_says():
    """Catches accuracies of another run, or pixels in another order."""
    nets = both()
    about = load_weights(nets, DIGITS)
    seen = json.loads(about["accuracies"])
    assert set(seen) == set(nets) and all(len(runs) == 3 for runs in seen.values())
    flows = digit_flows()
    flows.translation.load_state_dict(nets["flows"].state_dict())
    assert adapted(flows) == pytest.approx(seen["flows"][0], abs=0.02)


def test_the_script_trains_a_little():
    """Catches a script that has drifted from the library."""
    trained = train_plane(2, 0)
    assert set(trained) == set(plane())
    (pair,) = train_digits(Arm(digit_flows, 1.0, 1e-3), 2, [0])
    assert isinstance(pair, AlignFlow)
    batch = Unpaired(digits(binary=False).train[:5], small_mnist().train[:7])
    assert float(pair.loss(batch).detach()) < 1e4

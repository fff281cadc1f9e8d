"""The ledger: tiles, each particle's account of log w, and a histogram that stands still."""

import numpy as np
import pytest
import torch

from gentoolkit import Chain, standard_normal
from gentoolkit.flows import AffineCoupling
from gentoolkit.stochastic import Langevin, Metropolis
from gentoolkit.targets import eight_gaussians
from gentoolkit.viz.weighed import ledger, stopped
from tests.viz.kinds import unpack
from tests.viz.refused import refused

ALT = "A cloud of points moves through five layers while its log-weights are kept."
KINDS = ["flow", "langevin", "metropolis"]


@pytest.fixture
def shown():
    target = eight_gaussians(radius=2.0, std=0.5)
    torch.manual_seed(0)
    steps = [AffineCoupling(2), Langevin(target, 0.05), Metropolis(target, 0.5, moves=5)]
    with torch.no_grad():
        for p in steps[0].parameters():
            p.add_(0.2 * torch.randn_like(p))
        path = Chain(standard_normal(2), steps).push(200)
    return target, path, ledger(path, KINDS, target, log_z=target.log_z, alt=ALT)


def read(scene, panel, kind, key):
    (layer,) = [x for x in scene.spec["panels"][panel]["layers"] if x["kind"] == kind]
    return unpack(scene.spec["arrays"], scene.buffer, layer[key])


def test_the_account_ends_at_the_log_weight_of_the_path(shown):
    """Bug: a log-ratio with the other sign, or the source counted twice."""
    target, path, scene = shown
    log_w = path.log_weight(target)
    torch.testing.assert_close(stopped(path, target)[-1], log_w, rtol=0, atol=1e-12)
    account = read(scene, 1, "accounts", "y")  # (B, T+1)
    np.testing.assert_allclose(account[:, -1], log_w, rtol=1e-5, atol=1e-4)
    first = target.log_prob(path.states[0]) - path.log_source
    np.testing.assert_allclose(account[:, 0], first, rtol=1e-5, atol=1e-4)


def test_a_metropolis_tile_moves_particles_and_no_weight(shown):
    """Truth D, seen. Bug: the sign of the Metropolis term; a Langevin tile is the control."""
    target, path, scene = shown
    change = stopped(path, target).diff(dim=0).abs().amax(1)
    assert change[2] < 1e-12 and change[1] > 0.01 and change[0] > 0.01
    assert float((path.states[3] - path.states[2]).abs().max()) > 0.1
    bars = read(scene, 2, "bars", "heights")
    np.testing.assert_array_equal(bars[3], bars[2])
    assert (bars[2] != bars[1]).any()
    assert "no log-weight changes" in scene.spec["notes"][3]
    assert "change by up to" in scene.spec["notes"][2]


def test_each_frame_names_its_layer_in_words_and_on_the_strip(shown):
    """Bug: tiles one layer off."""
    scene = shown[2]
    texts = [x["texts"] for x in scene.spec["panels"][1]["layers"] if x["kind"] == "text"]
    assert [tile[k + 1] for k, tile in enumerate(texts)] == ["[F]", "[L]", "[M]"]
    assert texts[0][0] == "F"
    # Bug: the axis ends with the last tile, whose bracketed letter the frame then cuts.
    assert scene.spec["panels"][1]["x"][1] > 1.05 * len(KINDS)
    (names,) = [x for x in scene.spec["panels"][0]["layers"] if x["kind"] == "text"]
    assert names["texts"] == ["source", "1: flow", "2: langevin", "3: metropolis"]


def test_bad_input_is_refused(shown):
    """Bug: a strip with a tile too few, silently shifted."""
    target, path, _ = shown

    def call(path=path, kinds=KINDS, target=target, span=12.0):
        return lambda: ledger(path, kinds, target, log_z=0.0, alt=ALT, span=span)

    refused(call(kinds=KINDS[:2]), "each layer needs a kind")
    refused(call(kinds=["flow", "langevin", "hmm"]), "each layer needs a kind")
    refused(call(span=0.0), "span must be positive")
    wide = Chain(standard_normal(3), [Metropolis(lambda x: -x.square().sum(1), 0.5)]).push(4)
    refused(call(path=wide, kinds=["metropolis"]), "in the plane")
    refused(call(target=lambda x: x.sum(1) * -torch.inf), "log-weights must be finite")

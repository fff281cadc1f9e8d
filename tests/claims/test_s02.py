"""The short form of the GFlowNet's claim: one seed, a quarter of the steps."""

import pytest
import torch

from gentoolkit.gflownet import SubTrajectoryBalance
from tests.claims import s02_gflownet


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)


def test_a_short_run_is_ahead_of_the_walks():
    """Catches a net that does not train, and a distance to another law."""
    run = s02_gflownet.train(SubTrajectoryBalance(0.9), 0, steps=400)
    assert run.distances[-1] < 0.35 < run.distances[0], "an untrained net is at 1 and more"
    assert run.log_z == pytest.approx(2.7766, abs=0.15)


def test_a_long_walk_finds_the_target(monkeypatch):
    """Catches a walk that is not reversible: on a grid without barriers it reaches R / Z."""
    monkeypatch.setattr(s02_gflownet, "REWARD", s02_gflownet.Corners(8, 2.0))
    assert s02_gflownet.walk(0, 60_000) < 0.08

"""The short form of the penalty's claim: one seed, two arms, fewer steps."""

import pytest
import torch

from tests.claims import s01_unify


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)


def test_the_penalty_lowers_the_variance(monkeypatch):
    """Catches a penalty of the wrong sign, and paths paired across data."""
    monkeypatch.setattr(s01_unify, "PATHS", 32)
    plain, firm = (s01_unify.train(arm, 0, 200) for arm in ("ELBO", "penalty 0.1"))
    assert firm.variance < plain.variance
    for score in (plain, firm):
        assert score.nll < score.loss, "128 paths are a tighter bound than one"
        assert score.nll < 3.75, "an untrained net is between 3.92 and 3.97"

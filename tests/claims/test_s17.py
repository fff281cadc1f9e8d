"""The short form of the claim of S17: one seed, a shorter training, fewer paths."""

import pytest
import torch

from tests.claims import s17_mcd as s17


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)


def test_a_short_training_beats_plain_annealing():
    """Catches a net that does not train, and a bound that exceeds log Z."""
    plain = s17.anneal(s17.K, 0, n=1000)
    ours = s17.learn(0, steps=150, n=1000)
    assert 0.0 < ours.gap < 0.6 * plain.gap
    assert plain.gap == pytest.approx(10.5, abs=1.0), "the sheet has 10.93, 10.89, 10.74"
    assert float(ours.log_w.std()) < float(plain.log_w.std())

"""The short form of the jumps' claim: one seed, fewer steps, two numbers of sampler steps."""

import pytest
import torch

from gentoolkit.jumps import Denoising, RatioMatching, TauLeaping
from tests.claims import s20_jumps


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)


def test_the_data_are_those_of_the_table():
    """Catches another draw of the data, on which the figures would not compare."""
    table = s20_jumps.data()
    assert s20_jumps.exact(table.probs) == pytest.approx(1.644, abs=1e-3)
    assert table.prior_gap() == pytest.approx(0.014, abs=1e-3)


def test_a_short_run_orders_the_samplers(monkeypatch):
    """Catches a model that does not train, and distances that mix up the samplers."""
    monkeypatch.setattr(s20_jumps, "COUNTS", (8, 16))
    ratios = s20_jumps.train(RatioMatching, 0, 250).model
    denoising = s20_jumps.train(Denoising, 0, 250).model
    analytic = s20_jumps.distances(ratios.transition)
    tau = s20_jumps.distances(TauLeaping(ratios.rates))
    x0 = s20_jumps.distances(TauLeaping(denoising.rates))
    for ours, leaps, other in zip(analytic, tau, x0, strict=True):
        assert ours < leaps and ours < other
        assert ours < 0.45, "far from the 0.6 and more of an untrained net"

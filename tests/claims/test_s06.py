"""The short form of the claim of S06: exact figures of the target, and one short training."""

import pytest
import torch

from gentoolkit.core import checks
from tests.claims import s06_stochastic as s06


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)


def test_the_metrics_of_exact_samples():
    """Catches a metric that finds fault with the truth: bridge exp(-8) = 0.0003, no distance."""
    target = s06.ring()
    x = target.sample(200_000, torch.Generator().manual_seed(0))
    exact = s06.Measured(x, torch.zeros(len(x)) + s06.LOG_Z, target)
    assert exact.bridge == pytest.approx(0.000335, abs=2e-4)
    assert exact.tv < 0.005 and abs(exact.distance) < 0.01
    assert exact.share == pytest.approx(1.0) and exact.rmse == pytest.approx(0.0, abs=1e-5)


def test_the_flow_has_more_parameters():
    """Catches a comparison that favours the stochastic flow."""
    sizes = [
        sum(p.numel() for p in make(s06.ring()).parameters()) for make in (s06.flow, s06.stochastic)
    ]
    assert sizes == [15_276, 10_186]


def test_a_short_training_helps_and_keeps_z():
    """Catches a stochastic flow that does not train, and weights that lose Z."""
    target = s06.ring()
    torch.manual_seed(0)
    model = s06.stochastic(target)
    before = s06.weigh(model.chain(), target, 0, 2000)
    s06.train(model, target, 25, 0)
    after = s06.weigh(model.chain(), target, 0, 2000)
    assert after.log_w.mean() > before.log_w.mean() + 3.0
    pulled = model.chain().pull(target.sample(2000)).log_weight(target).detach()
    assert checks.bridge(after.log_w.double(), pulled.double(), s06.LOG_Z)

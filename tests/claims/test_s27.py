"""The short form of the claim on gauge flows."""

import torch

from gentoolkit.flows import GaugeCoupling, PlainCoupling, gauge_flow
from gentoolkit.targets import GaugeAction
from tests.claims import s27_gauge


def test_an_untrained_flow_is_haar():
    """Catches a measurement with a wrong sign: uniform links have ELBO 0 and plaquette 0."""
    target = GaugeAction(4, 2, 0.5)
    run = s27_gauge.measure(gauge_flow(4), target, 0.0)
    assert abs(run.elbo) < 0.1
    assert abs(run.plaquette - target.plaquette) < 4 * run.error
    assert abs(run.log_z - target.log_z) < 0.1
    assert run.share > 0.3


def test_squares_learn_and_links_do_not():
    """Catches a rival that is the equivariant flow in disguise: 25 quick steps of each."""
    target = GaugeAction(4, 2, 1.8)
    shares = []
    for coupling in (GaugeCoupling, PlainCoupling):
        torch.manual_seed(0)
        flow = gauge_flow(4, coupling=coupling)
        s27_gauge.train(flow, target, 0, 25, 1e-2)
        shares.append(s27_gauge.measure(flow, target, 0.0).share)
    assert shares[0] > 0.2 > 0.05 > shares[1]

"""Short forms of the claims on sources and on boosting."""

import torch

from gentoolkit.core.checks import log_det, round_trip
from tests.claims import s21_boosting, s23_copula
from tests.claims.s21_boosting import Design, Race


def test_the_papers_layer_is_a_bijection():
    """Catches a scale whose logarithm has the sign of the other direction."""
    torch.manual_seed(0)
    layer = s23_copula.SoftplusAutoregressive(2, (4,), (1, 0)).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(5, 2, dtype=torch.float64)
    assert log_det(layer, x) and round_trip(layer, x)


def test_a_batch_of_networks_is_each_network():
    """Catches seeds that share parameters, or a source that is not each flow's own."""
    points = s23_copula.data(200, 300)
    untrained = s23_copula.gaps("heavier tails", points, steps=0, seeds=(3, 5))
    for seed, gap in zip((3, 5), untrained, strict=True):
        flow = s23_copula.flow("heavier tails", seed)
        assert abs(float(flow.loss(points.test)) - points.floor - float(gap)) < 1e-4
    assert not torch.allclose(untrained[0], untrained[1])


def test_the_exact_marginals_win_early():
    """Catches a race on other data: two seeds, a tenth of the steps."""
    points = s23_copula.data(2000, 2000)
    normal, exact = (
        s23_copula.gaps(name, points, steps=150, seeds=(0, 1))
        for name in ("normal", "exact marginals")
    )
    assert bool((exact < normal).all())
    assert bool((exact > -0.05).all()), "below the floor only by sampling"


def test_boosting_keeps_what_it_has():
    """Catches a share that is not searched: no component may make the mixture much worse."""
    race = Race(Design(0, 3, 40), 0)
    path = race.run("direct boosting")
    assert len(path) == 3 and path[2] <= path[0] + 0.02
    assert set(s21_boosting.ROUTES) >= {"single, all steps", "joint mixture"}

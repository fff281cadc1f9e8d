"""The sandwich chart holds the numbers of its bounds."""

import pytest
import torch

from gentoolkit import Sandwich
from gentoolkit.viz.sandwich import sandwich_chart


def made(lower: float, upper: float) -> Sandwich:
    return Sandwich(lower, 0.1, upper, 0.2, torch.zeros(2), torch.zeros(2))


def test_the_ends_stand_at_the_bounds():
    """Catches bounds exchanged, and errors drawn as one standard error instead of four."""
    chart = sandwich_chart({"flow": made(0.5, 2.0), "annealed": made(-3.0, 4.0)}, 1.7)
    lower, upper = chart.figure.data[-2:]
    assert lower.x == (0.5, -3.0) and upper.x == (2.0, 4.0)
    assert lower.error_x.array == (0.4, 0.4) and upper.error_x.array == (0.8, 0.8)
    assert lower.y == ("flow", "annealed")
    assert chart.figure.layout.shapes[0].x0 == 1.7
    assert "flow: ELBO 0.500 ± 0.100 <= log Z <= EUBO 2.000" in chart.alt and "1.700" in chart.alt


def test_one_chain_and_none():
    """Catches a chart without a row, and one chain that must be wrapped by hand."""
    assert len(sandwich_chart(made(0.0, 1.0)).figure.data) == 3
    with pytest.raises(ValueError, match="at least one chain"):
        sandwich_chart({})

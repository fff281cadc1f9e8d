"""The tree's claim: its floor, its rivals, and the weights that repair the vote."""

from math import cos, sin

import pytest
import torch

from gentoolkit.flows import FlowTree, LULinear
from tests.claims import s15_tree
from tests.claims.s15_tree import DESIGNS, Rows, fill_by_weights, linear, made, nearest, quadrants


def test_nothing_beats_the_conditional_mean():
    """Catches a floor of another law, and a rival that sees what it should guess."""
    rows = made(DESIGNS[2], 0, tests=300)
    assert rows.seen.shape == (300, 6) and bool((rows.seen.sum(1) == 3).all())
    errors = [rows.error(fill) for fill in (nearest(rows), linear(rows))]
    assert 0.0 < rows.best < min(errors) < rows.error(rows.train.mean(0).expand_as(rows.test))
    for fill in (nearest(rows), linear(rows)):
        assert torch.equal(fill[rows.seen], rows.test[rows.seen])


def test_weights_reach_the_conditional_mean():
    """Catches a weight without the prior, or with the hidden leaf: 0.9856 of a closed form."""
    maps = [
        c * torch.tensor([[cos(a), -sin(a)], [sin(a), cos(a)]])
        for c, a in zip((0.7, 1.0, 1.3), (0.0, 0.5, 1.0), strict=True)
    ]
    tree = FlowTree([None, 0, 0, 0], {j + 1: [LULinear(2, a)] for j, a in enumerate(maps)}, 2)
    generator = torch.Generator().manual_seed(0)
    x = tree.sample(40_000, generator=generator)
    seen = torch.tensor([[True, True, False]]).expand(len(x), 3)
    rows = Rows(x[:2], x, seen)
    weighted = 2 * rows.error(fill_by_weights(tree, rows, 100, 0))
    plain = 2 * rows.error(tree.impute(x, seen[0]).detach())
    assert weighted == pytest.approx(0.9856, abs=0.03)
    assert plain == pytest.approx(1.1424, abs=0.03)


def test_quadrants_have_one_scale_and_no_constant_pixel():
    """Catches a corner without ink, whose density would be infinite."""
    rows = quadrants(0)
    assert rows.train.shape == (1500, 4, 16) and float(rows.train.std(0).min()) > 0.01
    assert 0.5 < float(rows.train.std()) < 1.0  # the scale is that of all pixels, means included


def test_a_short_run_compares_all_methods():
    """Catches a method left out, and a training that does not learn."""
    rows = made(DESIGNS[0], 0, tests=100)
    outcome = s15_tree.compare(rows, 60, 0, 2, hiding=True, draws=10)
    assert outcome.errors["tree"] < outcome.errors["mean"]
    assert {"VAE", "tree, weighted", "tree, some hidden", "floor"} < set(outcome.errors)

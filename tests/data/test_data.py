"""Data: shapes, seeds, and the real digits."""

import pytest
import torch
from sklearn.datasets import load_digits

from gentoolkit.data import TOYS, batches, checkerboard, digits


@pytest.mark.parametrize("name", TOYS)
def test_toys_are_seeded_and_in_view(name):
    """Catches a toy that ignores its generator, or leaves the window of the plots."""
    one = TOYS[name](500, generator=torch.Generator().manual_seed(3))
    two = TOYS[name](500, generator=torch.Generator().manual_seed(3))
    other = TOYS[name](500, generator=torch.Generator().manual_seed(4))
    assert one.shape == (500, 2) and one.dtype == torch.float64
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert one.abs().max() < 5 and one.std(0).min() > 0.5
    with pytest.raises(ValueError, match="at least 1"):
        TOYS[name](0)


def test_checkerboard_fills_its_eight_dark_squares():
    """Catches light squares being hit: 8 of 16, evenly, within 4 standard errors."""
    x = checkerboard(16_000)
    cell = (x + 2).floor().long()
    assert bool(((cell[:, 0] + cell[:, 1]) % 2 == 0).all())
    counts = torch.bincount(4 * cell[:, 0] + cell[:, 1], minlength=16)
    dark = counts[counts > 0].double()
    assert len(dark) == 8 and bool(((dark - 2000).abs() < 4 * (2000 * 7 / 8) ** 0.5).all())


def test_digits_are_the_real_ones():
    """Catches a threshold on the wrong side and labels shuffled apart from their images."""
    images, labels = load_digits(return_X_y=True)
    d = digits()
    assert d.train.shape == (1500, 64) and d.test.shape == (297, 64)
    known = {(tuple(row >= 8), label) for row, label in zip(images, labels, strict=True)}
    for x, y in ((d.train, d.train_labels), (d.test, d.test_labels)):
        for row, label in zip(x.bool().tolist(), y.tolist(), strict=True):
            assert (tuple(row), label) in known
    grey = digits(binary=False).train
    assert 0 < float(grey[grey > 0].min()) and float(grey.max()) == 1.0
    assert torch.equal(digits(seed=1).train, digits(seed=1).train)
    assert not torch.equal(digits(seed=1).train, d.train)


def test_batches_visit_everything_once_an_epoch():
    """Catches sampling with replacement and a dropped first batch."""
    x = torch.arange(12.0)[:, None]
    got = list(batches(x, 4, 7))
    assert len(got) == 7
    for epoch in (got[:3], got[3:6]):
        assert sorted(torch.cat(epoch).flatten().tolist()) == list(range(12))
    assert not torch.equal(torch.cat(got[:3]), torch.cat(got[3:6]))


def test_batches_keep_each_row_with_its_context():
    """Catches two shuffles."""
    x = torch.arange(12.0)[:, None]
    for rows, context in batches(x, 4, 7, context=10 * x):
        assert torch.equal(context, 10 * rows)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: batches(torch.zeros(4, 1), 2, 1, context=torch.zeros(3)), "each of the 4 data"),
        (lambda: batches(torch.zeros(4, 1), 5, 1), "size 5 of 4"),
        (lambda: batches(torch.zeros(0, 1), 1, 1), "empty"),
        (lambda: batches(torch.full((4, 1), torch.nan), 2, 1), "finite"),
        (lambda: batches(torch.zeros(4, 1), 2, 0), "at least 1"),
    ],
)
def test_bad_batches_are_refused_at_once(call, words):
    """Catches a generator that would only complain at its first step, or never."""
    with pytest.raises(ValueError, match=words):
        call()

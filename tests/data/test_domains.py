"""Two domains: moments in closed form, a map that can be undone, digits in one format."""

import pytest
import torch

from gentoolkit.data import bent, blobs, digits, mnist, small_mnist


def test_blobs_have_their_weights_and_moments():
    """Catches weights or spreads in another order."""
    drawn = blobs(20_000, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(drawn.blob, minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.5, 0.3, 0.2]), rtol=0, atol=0.015)
    first = drawn.x[drawn.blob == 0]
    torch.testing.assert_close(first.mean(0), torch.tensor([-2.0, 0.0]), rtol=0, atol=0.02)
    torch.testing.assert_close(first.std(0), torch.tensor([0.35, 0.25]), rtol=0, atol=0.01)


def test_the_bend_can_be_undone():
    """Catches a turn to the other side, or a bend before the stretch."""
    x = torch.randn(100, 2)
    y = bent(x)
    second = y[:, 1]
    first = y[:, 0] - 0.25 * (1.5 * second).sin()
    u = torch.stack([(first - 0.5) / 1.3, (second + 0.3) / 0.8], 1)
    c, s = torch.tensor(0.5).cos(), torch.tensor(0.5).sin()
    torch.testing.assert_close(u @ torch.tensor([[c, -s], [s, c]]), x)
    with pytest.raises(ValueError, match="shape"):
        bent(torch.randn(4, 3))


def test_both_collections_have_one_format():
    """Catches images of another side, scale or order than scikit-learn's, and lost labels."""
    small, whole, ours = small_mnist(), mnist(), digits(binary=False)
    assert small.train.shape == (4000, 64) and small.test.shape[1:] == ours.test.shape[1:]
    assert torch.equal(small.test_labels, whole.test_labels)
    levels = 16 * small.train
    assert torch.equal(levels, levels.round()) and float(levels.max()) <= 16
    box = whole.test[0].reshape(28, 28)[4:24, 4:24]
    assert float(small.test[0].mean()) == pytest.approx(float(box.mean()), abs=0.03)
    assert float(small.test[0].reshape(8, 8)[:4].mean()) == pytest.approx(
        float(box[:10].mean()), abs=0.03
    )

"""The judge of digits: it sees real ones, and notices what is wrong with others."""

import pytest
import torch

from gentoolkit.data import mnist
from gentoolkit.nets import DigitNet
from gentoolkit.teach import DigitJudge, load_weights
from gentoolkit.teach.weights import FOLDER
from tools import train_mnist
from tools.training import write


@pytest.fixture(scope="module")
def judge():
    """The shipped one: it sees 97.8 % of the 1,000 test images as their class."""
    return DigitJudge()


def test_it_sees_real_digits(judge):
    """Catches weights of another net, pixels on another scale, and classes in another order."""
    d = mnist()
    assert judge.share(d.test, d.test_labels) > 0.97
    assert judge.share(d.test.reshape(-1, 1, 28, 28), (d.test_labels + 1) % 10) < 0.02
    assert judge.features(d.test[:7]).shape == (7, 64) and judge.logits(d.test[:7]).shape == (7, 10)
    assert judge.variety(d.test, d.test_labels) == pytest.approx(1.0)
    sevens = d.test_labels == 7
    assert judge.variety(d.test[sevens], d.test_labels[sevens]) == pytest.approx(1.0)


def test_the_distance_is_least_for_real_digits(judge):
    """Catches a distance that does not see noise, blur, lost classes or lost variety."""
    d = mnist()
    real = judge.distance(d.test)
    noisy = (d.test + 0.1 * torch.randn(1000, 784)).clamp(0, 1)
    blurred = torch.nn.functional.avg_pool2d(d.test.reshape(-1, 1, 28, 28), 3, 1, 1)
    lost = d.test[d.test_labels < 8]
    narrow = d.test[:100].repeat(10, 1)
    for worse in (noisy, blurred, lost, narrow):
        assert judge.distance(worse) > 1.3 * real
    assert judge.variety(d.test[:50].repeat(20, 1), d.test_labels[:50].repeat(20)) < 0.9


def test_the_file_is_small_and_of_this_data():
    """Catches a file that grew, and digits that were changed since."""
    assert (FOLDER / "mnist_classifier.safetensors").stat().st_size <= 300_000
    about = load_weights(DigitNet().float(), "mnist_classifier")
    assert about["data"] == train_mnist.mark(mnist())


def test_the_script_writes_the_same_judge_again(tmp_path):
    """Catches a draw past the seed."""
    data, files = mnist(), []
    for seed in (1, 1, 2):
        net = train_mnist.train_judge(data, steps=3, seed=seed)
        path = tmp_path / "judge.safetensors"
        write(net, path, train_mnist.made_judge(3, seed, data))
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]


def test_images_are_moved_whole():
    """Catches ink that comes back in on the other side, and images that do not move."""
    x = torch.zeros(40, 1, 28, 28)
    x[:, :, 0, 14] = 1.0
    moved = train_mnist.shifted(x, 2, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape and set(moved.flatten(1).sum(1).tolist()) == {0.0, 1.0}
    assert moved[:, 0, 3:].sum() == 0 and len({tuple(m.flatten().tolist()) for m in moved}) > 8

"""The diffusion model of 28 x 28 digits: fitting, good, no copier; and the script that makes it."""

import pytest
import torch

from gentoolkit.data import mnist
from gentoolkit.diffusion import UNet
from gentoolkit.teach import DigitJudge, load_weights
from gentoolkit.teach.weights import FOLDER
from tools.train_mnist import drawn, made, mark, train
from tools.training import write

NAME = "mnist_diffusion"
LABEL = torch.arange(50) % 10


def unet(width=32):
    return UNet(1, width, classes=10, patch=2).float()


@pytest.fixture(scope="module")
def net():
    net = unet()
    load_weights(net, NAME)
    return net


@pytest.fixture(scope="module")
def samples(net):
    """Fifty digits at guidance 2, five of each class."""
    return drawn(net, LABEL, 2.0, 10, torch.Generator().manual_seed(2))


def test_samples_are_seen_as_their_label(net, samples):
    """Catches weights of another schedule, output, pixel scale or order of classes."""
    judge = DigitJudge()
    assert judge.share(samples, LABEL) >= 0.9
    plain = drawn(net, LABEL, 0.0, 10, torch.Generator().manual_seed(2))
    assert judge.share(plain, LABEL) <= 0.3  # no label is asked for: a tenth by chance


def test_samples_are_no_copies(samples):
    """Catches a model that learnt the images by heart: samples are as far from them as new ones."""
    data = mnist()
    ink, fresh, known = samples.float(), data.test[:200].float(), data.train.float()
    near, usual = (torch.cdist(v, known).min(1).values.median() for v in (ink, fresh))
    assert float(near) > 0.8 * float(usual)


def test_the_file_is_small_and_of_this_data():
    """Catches a file that grew, and digits that were changed since."""
    assert (FOLDER / f"{NAME}.safetensors").stat().st_size <= 1_500_000
    about = load_weights(unet(), NAME)
    assert about["data"] == mark(mnist())
    assert about["net"] == "UNet(1, width=32, classes=10, patch=2)"
    assert about["schedule"] == "Cosine()" and about["reads"] == "PredictsVelocity"


def test_the_script_writes_the_same_file_again(tmp_path):
    """Catches a draw past the seed; another seed differs, and the mean is kept on the way."""
    data, files, kept = mnist(), [], []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        mean = train(unet(8), data, 4, seed, every=2, keep=lambda _, step: kept.append(step))
        path = tmp_path / "net.safetensors"
        write(mean, path, made(4, 8, seed, data))
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]
    assert kept == [2, 4] * 3

"""MNIST: 5,000 handwritten digits of 28 x 28 pixels, balanced over the classes."""

import lzma

import torch

from gentoolkit.data.digits import Digits
from gentoolkit.data.real import FOLDER

LEVELS = 16  # of ink: 4 bits a pixel


def mnist(*, binary: bool = False) -> Digits:
    """Load 4,000 digits to learn from and 1,000 to test on; nothing is downloaded.

    Each part holds equally many digits of each class. The classes take turns, so the first ten rows
    of either part are 0, 1, ..., 9.

    Arguments:
        binary: black and white, pixel = 1 where the ink is at least half; otherwise the ink in
            [0, 1], one of the sixteen levels k / 15.

    Returns:
        `Digits`: images as rows of 784 pixels in torch's default dtype, (4000, 784) and
        (1000, 784), with their classes, (4000,) and (1000,). `image.reshape(28, 28)` has its first
        row on top.

    Reference: LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document
    recognition, Proceedings of the IEEE.
    """
    whole = lzma.decompress((FOLDER / "mnist.xz").read_bytes())
    data = torch.frombuffer(bytearray(whole), dtype=torch.uint8)
    label, packed = data[:5000].long(), data[5000:].reshape(5000, 392)
    level = torch.stack((packed >> 4, packed & 15), -1).reshape(5000, 784)
    # Stored class after class, 500 each: let the classes take turns.
    turns = torch.arange(5000).reshape(10, 500).T.reshape(-1)
    level, label = level[turns], label[turns]
    dtype = torch.get_default_dtype()
    x = (level >= LEVELS // 2).to(dtype) if binary else level.to(dtype) / (LEVELS - 1)
    return Digits(x[:4000], x[4000:], label[:4000], label[4000:])

"""Two domains that show the same things: blobs and their bent copies, digits of two collections."""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gentoolkit.core import validate
from gentoolkit.data.digits import Digits
from gentoolkit.data.mnist import mnist

WEIGHTS = (0.5, 0.3, 0.2)
CENTRES = ((-2.0, 0.0), (1.5, 1.5), (1.0, -1.8))
SPREAD = (0.35, 0.25)


@dataclass(frozen=True)
class Blobs:
    """Points of the plane, and the blob that each was drawn from.

    Arguments:
        x: (N, 2) points.
        blob: (N,) numbers 0, 1, 2.
    """

    x: Tensor
    blob: Tensor


def blobs(n: int, *, generator: Generator | None = None) -> Blobs:
    """Draw three Gaussian blobs of weights 1/2, 3/10, 1/5.

    Arguments:
        n: number of points.
        generator: source of randomness.
    """
    validate.positive_count("n", n)
    blob = torch.multinomial(torch.tensor(WEIGHTS), n, replacement=True, generator=generator)
    noise = torch.randn(n, 2, generator=generator) * torch.tensor(SPREAD)
    return Blobs(torch.tensor(CENTRES)[blob] + noise, blob)


def bent(x: Tensor) -> Tensor:
    """Return the partner of each point in a second domain: turned, stretched, shifted, bent.

        u = (1.3, 0.8) * (x turned by 1/2) + (1/2, -3/10),   y = (u_1 + sin(1.5 u_2) / 4, u_2)

    Arguments:
        x: (N, 2) points.

    Raises:
        ValueError: they are not points of the plane.
    """
    x = validate.batch("x", x, torch.Size([2]))
    c, s = torch.tensor(0.5, dtype=x.dtype).cos(), torch.tensor(0.5, dtype=x.dtype).sin()
    first = 1.3 * (c * x[:, 0] - s * x[:, 1]) + 0.5
    second = 0.8 * (s * x[:, 0] + c * x[:, 1]) - 0.3
    return torch.stack([first + 0.25 * (1.5 * second).sin(), second], 1)


def small_mnist() -> Digits:
    """Load MNIST's digits in the format of scikit-learn's: 8 x 8 pixels, ink in sixteenths.

    The box of 20 x 20 pixels that holds a digit is averaged down to 8 x 8.

    Returns:
        `Digits` as of `digits(binary=False)`: images (4000, 64) and (1000, 64) of ink k / 16.
    """
    data = mnist()

    def shrunk(ink: Tensor) -> Tensor:
        box = ink.reshape(-1, 1, 28, 28)[:, :, 4:24, 4:24]
        return (16 * adaptive_avg_pool2d(box, 8)).round().flatten(1) / 16

    return replace(data, train=shrunk(data.train), test=shrunk(data.test))

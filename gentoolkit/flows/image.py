"""Flows on images: a coupling whose net is convolutional, and the multi-scale flow built of it."""

from itertools import count

from torch import nn
from torch.nn.init import zeros_

from gentoolkit.core import validate
from gentoolkit.flows.coupling import AffineCoupling, alternating_mask
from gentoolkit.flows.layer import Flow, Layer
from gentoolkit.flows.linear import ActNorm, InvertibleConv1x1
from gentoolkit.flows.shape import Squeeze, multi_scale


class ConvCoupling(AffineCoupling):
    """Moves half of the channels of an image; a convolutional net reads the other half.

        y_moved = x_moved exp(s) + t,   s = c tanh(r / c),   t, r = net(x_kept)

    Starts as the identity. Events are (channels, height, width), flattened to one row.

    Arguments:
        channels: of an event, an even number.
        height: of an event.
        width: of an event.
        turn: even numbers keep the first half of the channels, odd ones the second.
        hidden: channels of the net.
        largest: c, the bound of |s|.

    Raises:
        ValueError: the number of channels is odd, or c is not positive.

    Reference: Dinh, Sohl-Dickstein, Bengio 2016 (arXiv 1605.08803).
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        turn: int = 0,
        hidden: int = 32,
        largest: float = 2.0,
    ) -> None:
        half, odd = divmod(validate.positive_count("channels", channels), 2)
        if odd:
            raise ValueError(
                f"channels must be even, one half moves; got {channels}; put a Squeeze before it"
            )
        features = channels * height * width
        super().__init__(features, alternating_mask(features, turn), hidden=(), largest=largest)
        last = nn.Conv2d(hidden, channels, 3, padding=1)
        self.net = nn.Sequential(
            nn.Unflatten(1, (half, height, width)),
            nn.Conv2d(half, hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.SiLU(),
            last,
            nn.Flatten(1),
        )
        zeros_(last.weight)
        assert last.bias is not None
        zeros_(last.bias)


def glow(
    height: int, width: int, scales: int = 2, steps: int = 4, hidden: int = 32, channels: int = 1
) -> Flow:
    """Return a multi-scale flow on images (channels, height, width), flattened to one row.

    Seen from the data, each scale squeezes 2 x 2 pixels into channels and takes `steps` steps, of
    which each is a coupling, a 1x1 convolution and a normalisation; then half of the channels
    leave. A normalisation of every pixel stands next to the data. Call `initialise` on a batch
    before training.

    Arguments:
        height: a multiple of 2^scales.
        width: a multiple of 2^scales.
        scales: how often the image is squeezed.
        steps: of each scale.
        hidden: channels of each coupling's net.
        channels: of a data point.

    Raises:
        ValueError: a side cannot be halved so often.

    Reference: Kingma and Dhariwal 2018 (arXiv 1807.03039).
    """
    features = channels * height * width
    turns, parts = count(), []
    for _ in range(validate.positive_count("scales", scales)):
        squeeze = Squeeze(channels, height, width)
        channels, height, width = 4 * channels, height // 2, width // 2
        layers: list[Layer] = []
        for _ in range(validate.positive_count("steps", steps)):
            layers += [
                ConvCoupling(channels, height, width, next(turns), hidden),
                InvertibleConv1x1(channels, height * width),
                ActNorm(channels, height * width),
            ]
        parts.insert(0, [*layers, squeeze])
        channels //= 2
    return Flow([*multi_scale(parts, features), ActNorm(features)], features)

"""Layers that change which coordinates are met, or their layout: multi-scale flows, squeezing."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Composite, validate
from gentoolkit.flows.condition import at_least_two, rows
from gentoolkit.flows.layer import Layer, bind
from gentoolkit.flows.linear import Permute


class Split(Layer):
    """Layers that see the first `width` coordinates only; the others pass unchanged.

    Seen from the data, the others leave early: they are Gaussian noise from here on.

    Arguments:
        layers: for events of `width` numbers, from the source side to the target side.
        features: width of the whole event.
        width: how many coordinates stay.

    Raises:
        ValueError: no coordinate stays, or none leaves.
    """

    def __init__(self, layers: Sequence[Layer], features: int, width: int) -> None:
        super().__init__()
        validate.positive_count("width", width)
        if width >= validate.positive_count("features", features):
            raise ValueError(
                f"some coordinates must leave; got width {width} of {features} features; "
                "pass a smaller width, or use the layers as they are"
            )
        if not layers:
            raise ValueError("a split needs a layer or more; got none; leave it out instead")
        self.features, self.width = features, width
        self.layers = nn.ModuleList(layers)
        self.context = max(layer.context for layer in layers)
        self.estimated = any(layer.estimated for layer in layers)

    def transform(
        self, x: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return y and the log-determinant of the part that stays, (B,)."""
        stay, leave = rows(x, self.features).tensor_split([self.width], 1)
        stay, log_det = Composite(bind(self.layers, context)).push(stay, generator)
        return torch.cat([stay, leave], 1), log_det

    def inverse(
        self, y: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x and the same log-determinant, (B,)."""
        stay, leave = rows(y, self.features).tensor_split([self.width], 1)
        stay, log_det = Composite(bind(self.layers, context)).pull(stay, generator)
        return torch.cat([stay, leave], 1), log_det


def scale_widths(features: int, scales: int) -> list[int]:
    """Return the widths of `scales` scales, the deepest first: each is half of the next.

    Raises:
        ValueError: some width is odd and cannot be halved.
    """
    validate.positive_count("scales", scales)
    if validate.positive_count("features", features) % 2 ** (scales - 1):
        raise ValueError(
            f"{scales} scales halve the features {scales - 1} times; got {features}, not a "
            f"multiple of {2 ** (scales - 1)}; use fewer scales or pad the data"
        )
    return [features >> k for k in range(scales - 1, -1, -1)]


def multi_scale(scales: Sequence[Sequence[Layer]], features: int) -> list[Layer]:
    """Return the layers of a multi-scale flow: at each scale half of the coordinates leave.

        Flow(multi_scale([deep, middle, outer], 8), 8)

    Here `deep` moves 2 coordinates, `middle` 4, `outer` all 8; a draw starts at `deep`.

    Arguments:
        scales: the layers of each scale, the deepest (next to the source) first.
        features: width of a data point, a multiple of 2^(scales - 1).

    Raises:
        ValueError: some width is odd and cannot be halved, or there are no scales.

    Reference: Dinh, Sohl-Dickstein, Bengio 2016 (arXiv 1605.08803), section 3.6.
    """
    widths = scale_widths(features, len(scales))
    parts = [
        Split(layers, features, width)
        for layers, width in zip(scales[:-1], widths[:-1], strict=True)
    ]
    return [*parts, *scales[-1]]


class Squeeze(Permute):
    """Trades space for channels, seen from the data: 2 x 2 pixels become 4 channels.

    The source side is (4C, H/2, W/2) and the target side (C, H, W), each flattened to one row, so
    it is a permutation: `log |det| = 0`.

    Arguments:
        channels: C, of the target side.
        height: H, even.
        width: W, even.

    Raises:
        ValueError: the height or the width is odd.

    Reference: Dinh, Sohl-Dickstein, Bengio 2016 (arXiv 1605.08803), section 3.6.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        validate.positive_count("channels", channels)
        if height < 2 or width < 2 or height % 2 or width % 2:
            raise ValueError(
                f"an image to squeeze must have even sides; got {height} x {width}; "
                "pad it by one row or column"
            )
        places = torch.arange(at_least_two(channels * height * width))
        corners = places.reshape(channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3)
        # `corners` lists, for each source coordinate, the target coordinate that it becomes.
        super().__init__(corners.flatten().argsort().tolist())

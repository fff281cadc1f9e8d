"""A compact U-Net for small images: two resolutions, with a time and perhaps a class."""

import torch
from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.nets import MLP, TimeEmbedding


class _Block(nn.Module):
    """Two convolutions around a condition, beside a shortcut."""

    def __init__(self, entering: int, leaving: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(min(8, entering), entering),
            nn.SiLU(),
            nn.Conv2d(entering, leaving, 3, padding=1),
        )
        self.shift = nn.Linear(condition, 2 * leaving)
        self.norm = nn.GroupNorm(min(8, leaving), leaving)
        self.second = nn.Sequential(nn.SiLU(), nn.Conv2d(leaving, leaving, 3, padding=1))
        self.shortcut = nn.Conv2d(entering, leaving, 1) if entering != leaving else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.shift(condition)[:, :, None, None].chunk(2, 1)
        inner = self.norm(self.first(x)) * (1.0 + scale) + shift
        return self.shortcut(x) + self.second(inner)


class UNet(nn.Module):
    """A denoiser of images, (B, channels, H, W), (B,) and perhaps labels (B,) -> the same shape.

    One block at full and two at half resolution, and one back at full that also sees the first.
    With classes, number `classes` is the null class: call it, or leave the label out, for a net
    that does not know the class.

    Arguments:
        channels: of an image.
        width: channels inside, a multiple of 8; twice as many at half resolution.
        classes: number of classes, 0 for a net without labels.
        time_features: width of the embedding of time.

    Raises:
        ValueError: a count is below one, or `width` no multiple of 8.

    Reference: Ronneberger et al. 2015 (arXiv 1505.04597); Ho, Jain, Abbeel 2020
        (arXiv 2006.11239).
    """

    def __init__(
        self, channels: int = 1, width: int = 32, classes: int = 0, time_features: int = 32
    ) -> None:
        super().__init__()
        self.channels = validate.positive_count("channels", channels)
        if validate.positive_count("width", width) % 8:
            raise ValueError(f"width must be a multiple of 8; got {width}; use 32")
        self.classes = validate.positive_count("classes", classes) if classes else 0
        condition = 2 * width
        self.time = nn.Sequential(
            TimeEmbedding(time_features), MLP(time_features, condition, (condition,))
        )
        self.label = nn.Embedding(classes + 1, condition) if classes else None
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.fine = _Block(width, width, condition)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList([_Block(2 * width, 2 * width, condition) for _ in range(2)])
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.back = _Block(2 * width, width, condition)
        self.leave = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1)
        )

    @property
    def null(self) -> int | None:
        """The number of the null class, or None for a net without labels."""
        return self.classes or None

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the output at images `x`, times `t` (B,) or () and labels (B,) int64.

        Raises:
            ValueError: `x` is not of shape (B, channels, H, W) with even sides, a label is given
                to a net without classes, or one is outside 0..classes.
        """
        if x.ndim != 4 or x.shape[1] != self.channels or x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(
                f"x must have shape (B, {self.channels}, H, W) with even H and W; got "
                f"{tuple(x.shape)}; pad or reshape the images"
            )
        condition = self.time(t.expand(x.shape[0]))
        if self.label is not None:
            condition = condition + self.label(self._labels(x, label))
        elif label is not None:
            raise ValueError(
                f"this net knows no classes; got labels of shape {tuple(label.shape)}; build it "
                "with classes=10, or leave the label out"
            )
        fine = self.fine(self.enter(x), condition)
        coarse = self.down(fine)
        for block in self.coarse:
            coarse = block(coarse, condition)
        return self.leave(self.back(torch.cat([self.up(coarse), fine], 1), condition))

    def _labels(self, x: Tensor, label: Tensor | None) -> Tensor:
        if label is None:
            return torch.full((x.shape[0],), self.classes, device=x.device)
        if label.shape != x.shape[:1] or label.dtype != torch.int64:
            raise ValueError(
                f"label must have shape ({x.shape[0]},) and dtype int64; got "
                f"{tuple(label.shape)}, {label.dtype}; use label.long().expand(B)"
            )
        if bool((label < 0).any()) or bool((label > self.classes).any()):
            raise ValueError(
                f"labels must lie in 0..{self.classes}, the last for none; got "
                f"{int(label.min())} to {int(label.max())}; check the number of classes"
            )
        return label


def hide(
    label: Tensor, null: int, share: float = 0.1, generator: torch.Generator | None = None
) -> Tensor:
    """Return the labels with a random share replaced by the null class, for training, (B,).

    Arguments:
        label: (B,) int64.
        null: number of the null class.
        share: chance that a label is hidden, in [0, 1].
        generator: source of randomness.

    Raises:
        ValueError: `share` is outside [0, 1].

    Reference: Ho and Salimans 2022 (arXiv 2207.12598).
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must lie in [0, 1]; got {share}; for example 0.1")
    hidden = torch.rand(label.shape, generator=generator, device=label.device) < share
    return torch.where(hidden, null, label)

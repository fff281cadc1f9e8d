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
    """A denoiser of images, (B, channels, H, W), (B,) and perhaps a context, classes (B,).

    One block at full and two at half resolution, and one back at full that also sees the first.
    With classes, number `classes` is the null class: call it, or leave the context out, for a net
    that does not know the class.

    Arguments:
        channels: of an image.
        width: channels inside, a multiple of 8; twice as many at half resolution.
        classes: number of classes, 0 for a net without a context.
        time_features: width of the embedding of time.
        patch: side of the squares of pixels that become channels: 2 makes half of each side, and
            so a quarter of the work, and every block sees twice as far.

    Raises:
        ValueError: a count is below one, or `width` no multiple of 8.

    Reference: Ronneberger et al. 2015 (arXiv 1505.04597); Ho, Jain, Abbeel 2020
        (arXiv 2006.11239).
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        classes: int = 0,
        time_features: int = 32,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.channels = validate.positive_count("channels", channels)
        if validate.positive_count("width", width) % 8:
            raise ValueError(f"width must be a multiple of 8; got {width}; use 32")
        self.patch = validate.positive_count("patch", patch)
        inner = channels * patch**2
        self.classes = validate.positive_count("classes", classes) if classes else 0
        condition = 2 * width
        self.time = nn.Sequential(
            TimeEmbedding(time_features), MLP(time_features, condition, (condition,))
        )
        self.label = nn.Embedding(classes + 1, condition) if classes else None
        self.enter = nn.Conv2d(inner, width, 3, padding=1)
        self.fine = _Block(width, width, condition)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList([_Block(2 * width, 2 * width, condition) for _ in range(2)])
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.back = _Block(2 * width, width, condition)
        self.leave = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, inner, 3, padding=1)
        )

    @property
    def null(self) -> int | None:
        """The number of the null class, or None for a net without a context."""
        return self.classes or None

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the output at images `x`, times `t` (B,) or () and classes (B,) int64.

        Raises:
            ValueError: `x` is not of shape (B, channels, H, W) with sides that halve into
                whole patches, a context is given to a net without classes, or one is outside
                0..classes.
        """
        step = 2 * self.patch
        if x.ndim != 4 or x.shape[1] != self.channels or x.shape[2] % step or x.shape[3] % step:
            sides = "even H and W" if step == 2 else f"H and W multiples of {step}"
            raise ValueError(
                f"x must have shape (B, {self.channels}, H, W) with {sides}; got "
                f"{tuple(x.shape)}; pad or reshape the images"
            )
        condition = self.time(t.expand(x.shape[0]))
        if self.label is not None:
            condition = condition + self.label(self._classes(x, context))
        else:
            validate.no_context(context, "a UNet without classes")
        fine = self.fine(self.enter(nn.functional.pixel_unshuffle(x, self.patch)), condition)
        coarse = self.down(fine)
        for block in self.coarse:
            coarse = block(coarse, condition)
        out = self.leave(self.back(torch.cat([self.up(coarse), fine], 1), condition))
        return nn.functional.pixel_shuffle(out, self.patch)

    def _classes(self, x: Tensor, context: Tensor | None) -> Tensor:
        if context is None:
            return torch.full((x.shape[0],), self.classes, device=x.device)
        if context.shape != x.shape[:1] or context.dtype != torch.int64:
            raise ValueError(
                f"context must have shape ({x.shape[0]},) and dtype int64; got "
                f"{tuple(context.shape)}, {context.dtype}; use context.long().expand(B)"
            )
        if validate.readable(context):
            low, high = (int(v) for v in torch.aminmax(context))
            if low < 0 or high > self.classes:
                raise ValueError(
                    f"classes must lie in 0..{self.classes}, the last for none; got {low} to "
                    f"{high}; check the number of classes"
                )
        return context

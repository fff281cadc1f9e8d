"""Guidance: wrappers that turn a net into a net pulled towards a class.

The guided score is no score of a noised density: what comes out is *not* the tilted density
`p(x) p(y|x)^scale`, except at `scale` 0 and 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from gentoolkit.diffusion.coordinates import Parametrisation
from gentoolkit.diffusion.denoiser import Net

ConditionalNet = Callable[[Tensor, Tensor, Tensor], Tensor]
LogClass = Callable[[Tensor, Tensor], Tensor]


def _scale(scale: float) -> None:
    if not isfinite(scale):
        raise ValueError(f"scale must be finite; got {scale}; 1 is the plain conditional model")


def _labels(label: Tensor) -> None:
    if not isinstance(label, Tensor) or label.is_floating_point() or label.ndim > 1:
        got = f"{label.dtype}, {tuple(label.shape)}" if isinstance(label, Tensor) else repr(label)
        raise TypeError(
            f"label must hold class numbers, one () or a row (B,); got {got}; use "
            "torch.tensor(3), or label.long()"
        )


@dataclass(frozen=True)
class ClassifierFree:
    """A class-conditional net as a denoiser of one class, sharpened.

        output = scale net(x, t, label) + (1 - scale) net(x, t, null)

    `scale` 1 is the plain conditional model and 0 the unconditional one, each at one call's price;
    others ask the net once with a batch of 2 B. It holds for every parametrisation: each is linear
    and the weights sum to one. Elsewhere `scale - 1` is called the guidance weight.

    Arguments:
        net: from states (B, *event), times (B,) and labels (B,) int64 to (B, *event).
        label: the class wanted, () or (B,), integers.
        null: the class that the net was trained on in place of a hidden label.
        scale: strength.

    Raises:
        TypeError: `label` does not hold integers.
        ValueError: there is no null class, it is among the labels, or `scale` is not finite.

    Reference: Ho and Salimans 2022 (arXiv 2207.12598).
    """

    net: ConditionalNet
    label: Tensor
    null: int | None
    scale: float = 1.0

    def __post_init__(self) -> None:
        _scale(self.scale)
        _labels(self.label)
        if self.null is None:
            raise ValueError(
                "classifier-free guidance needs the net's null class; got null=None; train the "
                "net with some labels hidden behind a class of their own, and pass its number"
            )
        if bool((self.label == self.null).any()):
            raise ValueError(
                f"label must differ from the null class; got {self.null} for both; ask for a "
                "real class, or use scale=0 for the unconditional model"
            )

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the guided output at states `x` (B, *event) and times `t` (B,)."""
        label = self.label.to(x.device).expand(x.shape[0])
        null = torch.full_like(label, self.null or 0)
        if self.scale == 1.0:
            return self.net(x, t, label)
        if self.scale == 0.0:
            return self.net(x, t, null)
        both = self.net(torch.cat([x, x]), torch.cat([t, t]), torch.cat([label, null]))
        wanted, plain = both.chunk(2)
        return self.scale * wanted + (1.0 - self.scale) * plain


@dataclass(frozen=True)
class ClassifierGuided:
    """An unconditional denoiser pulled along the gradient of a classifier of noised states.

        score = score of net + scale grad_x log p_t(label|x)

    `scale` 1 with exact parts is the exact conditional model, 0 the unconditional one.

    Arguments:
        net: from states (B, *event) and times (B,) to (B, *event).
        parametrisation: what the net's output means; the guided output means the same.
        log_class: log p_t(label|x) of each row from states (B, *event) and times (B,), (B,).
        scale: strength.

    Raises:
        ValueError: `scale` is not finite.

    Reference: Dhariwal and Nichol 2021 (arXiv 2105.05233).
    """

    net: Net
    parametrisation: Parametrisation
    log_class: LogClass
    scale: float = 1.0

    def __post_init__(self) -> None:
        _scale(self.scale)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the guided output at states `x` (B, *event) and times `t` (B,).

        Raises:
            ValueError: the classifier does not give one number per row.
        """
        output = self.net(x, t)
        if self.scale == 0.0:
            return output
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            value = self.log_class(at, t)
            if value.shape != (x.shape[0],):
                raise ValueError(
                    f"log_class must give one number per row, ({x.shape[0]},); got "
                    f"{tuple(value.shape)}; pick the wanted class out of the logits"
                )
            (gradient,) = torch.autograd.grad(value.sum(), at)
        # Tweedie: a score that grows by d moves the noise by -noise d and the data by
        # noise^2 / signal d.
        signal, noise = self.parametrisation.levels(x, t)
        push = self.scale * gradient
        data = self.parametrisation.to_data(x, t, output) + noise.square() / signal * push
        error = self.parametrisation.to_noise(x, t, output) - noise * push
        return self.parametrisation.target(data, error, t)

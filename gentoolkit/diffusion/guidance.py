"""Guidance: wrappers that turn a net into a net pulled towards a class.

The guided score is no score of a noised density: what comes out is *not* the tilted density
`p(x) p(y|x)^scale`, except at `scale` 0 and 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from gentoolkit.diffusion.denoiser import Denoiser
from gentoolkit.processes.gaussian import spread

ConditionalNet = Callable[[Tensor, Tensor, Tensor], Tensor]
LogClass = Callable[[Tensor, Tensor], Tensor]


def _scale(scale: float) -> None:
    if not isfinite(scale):
        raise ValueError(f"scale must be finite; got {scale}; 1 is the plain conditional model")


def _classes(context: Tensor) -> None:
    if not isinstance(context, Tensor) or context.is_floating_point() or context.ndim > 1:
        known = isinstance(context, Tensor)
        got = f"{context.dtype}, {tuple(context.shape)}" if known else repr(context)
        raise TypeError(
            f"context must hold class numbers, one () or a row (B,); got {got}; use "
            "torch.tensor(3), or context.long()"
        )


@dataclass(frozen=True)
class ClassifierFree:
    """A class-conditional net as a denoiser of one class, sharpened.

        output = scale net(x, t, context) + (1 - scale) net(x, t, null)

    `scale` 1 is the plain conditional model and 0 the unconditional one, each at one call's price;
    others ask the net once with a batch of 2 B. It holds for every parametrisation: each is linear
    and the weights sum to one. Elsewhere `scale - 1` is called the guidance weight.

    Arguments:
        net: from states (B, *event), times (B,) and classes (B,) int64 to (B, *event).
        context: the class wanted, () or (B,), integers.
        null: the class that the net was trained on in place of a dropped one.
        scale: strength.

    Raises:
        TypeError: `context` does not hold integers.
        ValueError: there is no null class, it is the class wanted, or `scale` is not finite.

    Reference: Ho and Salimans 2022 (arXiv 2207.12598).
    """

    net: ConditionalNet
    context: Tensor
    null: int | None
    scale: float = 1.0

    def __post_init__(self) -> None:
        _scale(self.scale)
        _classes(self.context)
        if self.null is None:
            raise ValueError(
                "classifier-free guidance needs the net's null class; got null=None; train the "
                "net with some labels hidden behind a class of their own, and pass its number"
            )
        if bool((self.context == self.null).any()):
            raise ValueError(
                f"context must differ from the null class; got {self.null} for both; ask for a "
                "real class, or use scale=0 for the unconditional model"
            )

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the guided output at states `x` (B, *event) and times `t` (B,)."""
        wanted = self.context.to(x.device).expand(x.shape[0])
        null = torch.full_like(wanted, self.null or 0)
        if self.scale == 1.0:
            return self.net(x, t, wanted)
        if self.scale == 0.0:
            return self.net(x, t, null)
        both = self.net(torch.cat([x, x]), torch.cat([t, t]), torch.cat([wanted, null]))
        sharp, plain = both.chunk(2)
        return self.scale * sharp + (1.0 - self.scale) * plain


@dataclass(frozen=True)
class ClassifierGuided:
    """The net of a denoiser, pulled along the gradient of a classifier of noised states.

        score = score of the denoiser + scale grad_x log p_t(label|x)

    `scale` 1 with exact parts is the exact conditional model, 0 the unconditional one. It is a net
    whose output means what the denoiser's does: `replace(denoiser, net=ClassifierGuided(...))`.

    Arguments:
        denoiser: unconditional.
        log_class: log p_t(label|x) of each row from states (B, *event) and times (B,), (B,).
        scale: strength.

    Raises:
        ValueError: `scale` is not finite.

    Reference: Dhariwal and Nichol 2021 (arXiv 2105.05233).
    """

    denoiser: Denoiser
    log_class: LogClass
    scale: float = 1.0

    def __post_init__(self) -> None:
        _scale(self.scale)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the guided output at states `x` (B, *event) and times `t` (B,).

        Raises:
            ValueError: the classifier does not give one number per row.
        """
        output = self.denoiser.output(x, t)
        if self.scale == 0.0:
            return output
        # A clone made outside inference mode can be differentiated even where x cannot.
        with torch.inference_mode(False), torch.enable_grad():
            at = x.detach().clone().requires_grad_()
            value = self.log_class(at, t.clone())
            if value.shape != (x.shape[0],):
                raise ValueError(
                    f"log_class must give one number per row, ({x.shape[0]},); got "
                    f"{tuple(value.shape)}; pick the wanted class out of the logits"
                )
            (gradient,) = torch.autograd.grad(value.sum(), at)
        # Tweedie: a score that grows by d moves the noise by -noise d and the data by
        # noise^2 / signal d.
        reading = self.denoiser.parametrisation
        a, s = (spread(level, x) for level in self.denoiser.schedule.levels(t))
        push = self.scale * gradient
        data = reading.to_data(x, output, a, s) + s.square() / a * push
        noise = reading.to_noise(x, output, a, s) - s * push
        return reading.target(data, noise, a, s)


def drop_context(
    context: Tensor, null: int, share: float = 0.1, generator: torch.Generator | None = None
) -> Tensor:
    """Return the classes with a random share replaced by the null class, for training, (B,).

    Arguments:
        context: classes, (B,) int64.
        null: number of the null class.
        share: chance that a class is dropped, in [0, 1].
        generator: source of randomness.

    Raises:
        ValueError: `share` is outside [0, 1].

    Reference: Ho and Salimans 2022 (arXiv 2207.12598).
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must lie in [0, 1]; got {share}; for example 0.1")
    dropped = torch.rand(context.shape, generator=generator, device=context.device) < share
    return torch.where(dropped, null, context)

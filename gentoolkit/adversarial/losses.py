"""What a critic minimises, and what a generator minimises against it.

There is no chain here: a critic sees samples alone, so these are plain losses of its outputs.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class GanLoss(Protocol):
    """A pair of losses: both take a critic's outputs, one number a row."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return what the critic minimises, shape (), from its outputs (N,) and (M,)."""
        ...

    def generator(self, fake: Tensor) -> Tensor:
        """Return what the generator minimises, shape (), from the outputs at its samples (M,)."""
        ...


def outputs(name: str, value: Tensor) -> Tensor:
    """Return a critic's outputs if there is one number a row, and one row or more.

    Raises:
        ValueError: the shape is another, such as (N, 1), or there are no rows.
    """
    if value.ndim != 1 or len(value) == 0:
        raise ValueError(
            f"{name} must hold one output of the critic for each row, shape (N,); got "
            f"{tuple(value.shape)}; end the critic in squeeze(1), and pass a row or more"
        )
    return value


@dataclass(frozen=True)
class LeastSquares:
    """The least-squares losses: real rows are drawn to `real`, fake ones to `fake`.

        critic:     mean (C(x_real) - real)^2 + mean (C(x_fake) - fake)^2
        generator:  mean (C(x_fake) - real)^2

    With targets 1 and 0 the best critic of densities p (real) and q (fake) is p / (p + q), and its
    loss is the integral of p q / (p + q): 1/2 where the laws agree, 0 where they do not overlap.

    >>> import torch
    >>> float(LeastSquares().critic(torch.tensor([1.0, 1.0]), torch.tensor([0.5])))
    0.25

    Arguments:
        real: the target at real rows.
        fake: the target at fake rows; another number than `real`.

    Raises:
        ValueError: the two targets are one.

    Reference: Mao et al. 2017, Least squares generative adversarial networks (arXiv 1611.04076).
    """

    real: float = 1.0
    fake: float = 0.0

    def __post_init__(self) -> None:
        if self.real == self.fake:
            raise ValueError(
                f"real and fake rows need different targets; got {self.real} for both; use 1 and 0"
            )

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the critic's loss, shape ()."""
        real, fake = outputs("real", real), outputs("fake", fake)
        return (real - self.real).square().mean() + (fake - self.fake).square().mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Return the generator's loss, shape ()."""
        return (outputs("fake", fake) - self.real).square().mean()

"""Two unnormalised landscapes that are hard to sample, with exact normalisers."""

from dataclasses import dataclass, field
from math import log, pi, sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate


def _points(x: Tensor, dimensions: int) -> Tensor:
    if x.ndim != 2 or x.shape[1] != dimensions:
        raise ValueError(
            f"x must have shape (B, {dimensions}); got {tuple(x.shape)}; use x.reshape(-1, "
            f"{dimensions})"
        )
    return x


@dataclass(frozen=True)
class Funnel:
    """Neal's funnel, without its constants: a neck whose width changes over many scales.

        x_1 ~ N(0, scale^2),   x_j | x_1 ~ N(0, exp(x_1)),  j = 2..D
        log_prob(x) = -x_1^2 / (2 scale^2) - sum_j [x_j^2 exp(-x_1) + x_1] / 2
        log_z       = log scale + D log(2 pi) / 2

    Arguments:
        dimensions: D >= 2.
        scale: standard deviation of the first coordinate.

    Raises:
        ValueError: fewer than two dimensions, or a scale that is not positive.

    Reference: Neal 2003, Slice sampling.
    """

    dimensions: int = 2
    scale: float = 3.0

    def __post_init__(self) -> None:
        if validate.positive_count("dimensions", self.dimensions) < 2:
            raise ValueError("a funnel needs at least 2 dimensions; got 1; use dimensions=2")
        validate.positive("scale", self.scale)

    @property
    def log_z(self) -> float:
        """Log of the integral of `exp(log_prob)`."""
        return log(self.scale) + 0.5 * self.dimensions * log(2.0 * pi)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density of `x` (B, D), shape (B,)."""
        neck, rest = _points(x, self.dimensions)[:, 0], x[:, 1:]
        inside = rest.square().sum(1) * (-neck).exp() + (self.dimensions - 1) * neck
        return -0.5 * (neck / self.scale).square() - 0.5 * inside

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` exact samples, (n, D), in torch's default dtype."""
        x = torch.randn(validate.positive_count("n", n), self.dimensions, generator=generator)
        neck = self.scale * x[:, :1]
        return torch.cat([neck, (neck / 2).exp() * x[:, 1:]], 1)


@dataclass(frozen=True)
class DoubleWell:
    """Two wells along the first coordinate, a Gaussian along the others.

        log_prob(x) = -depth (x_1^2 - 1)^2 - |x_rest|^2 / 2
        Z = (pi/2) exp(-depth/2) [I_{-1/4}(depth/2) + I_{1/4}(depth/2)] (2 pi)^{(D-1)/2}

    with I the modified Bessel function. The barrier between the wells is `depth` high.

    Arguments:
        dimensions: D >= 1.
        depth: height of the barrier, in units of log-density.

    Raises:
        ValueError: no dimension, or a depth that is not positive.
    """

    dimensions: int = 2
    depth: float = 4.0
    log_z: float = field(init=False)

    def __post_init__(self) -> None:
        validate.positive_count("dimensions", self.dimensions)
        validate.positive("depth", self.depth)
        from scipy.special import ive  # loaded with the first double well

        # ive is I scaled by exp(-|argument|): it does not overflow for deep wells.
        bessel = ive(-0.25, self.depth / 2) + ive(0.25, self.depth / 2)
        line = log(pi / 2) + log(bessel)
        object.__setattr__(self, "log_z", line + 0.5 * (self.dimensions - 1) * log(2 * pi))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density of `x` (B, D), shape (B,)."""
        well = _points(x, self.dimensions)[:, 0].square() - 1.0
        return -self.depth * well.square() - 0.5 * x[:, 1:].square().sum(1)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` exact samples, (n, D), by rejection from two Gaussians on the wells."""
        first = torch.empty(0)
        validate.positive_count("n", n)
        # (x^2-1)^2 >= (|x|-1)^2, so a bump of variance 1/(2 depth) on each well, with weight one,
        # lies above the density everywhere: rejection is exact.
        std = sqrt(0.5 / self.depth)
        while first.shape[0] < n:
            side = 2.0 * torch.randint(2, (2 * n,), generator=generator) - 1.0
            x = side + std * torch.randn(2 * n, generator=generator)
            bumps = torch.logaddexp(-self.depth * (x - 1).square(), -self.depth * (x + 1).square())
            log_accept = -self.depth * (x.square() - 1).square() - bumps
            keep = torch.rand(2 * n, generator=generator).log() < log_accept
            first = torch.cat([first, x[keep]])
        rest = torch.randn(n, self.dimensions - 1, generator=generator)
        return torch.cat([first[:n, None], rest], 1)

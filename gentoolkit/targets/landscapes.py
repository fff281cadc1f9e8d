"""Two unnormalised landscapes that are hard to sample, with exact normalisers."""

from math import log, pi, sqrt

import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import validate


class _Landscape(nn.Module):
    """A density over D numbers given by a formula: it follows the model for what it draws."""

    _like: Tensor
    log_z: float

    def __init__(self, features: int) -> None:
        super().__init__()
        self.event_shape = Size((validate.positive_count("features", features),))
        self.register_buffer("_like", torch.empty(0), persistent=False)

    def _points(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape[1:] != self.event_shape:
            raise ValueError(
                f"x must have shape (B, {self.event_shape[0]}); got {tuple(x.shape)}; use "
                f"x.reshape(-1, {self.event_shape[0]})"
            )
        return x

    def _normal(self, *size: int, generator: Generator | None) -> Tensor:
        like = {"dtype": self._like.dtype, "device": self._like.device}
        return torch.randn(*size, generator=generator, **like)


class Funnel(_Landscape):
    """Neal's funnel, without its constants: a neck whose width changes over many scales.

        x_1 ~ N(0, scale^2),   x_j | x_1 ~ N(0, exp(x_1)),  j = 2..D
        log_prob(x) = -x_1^2 / (2 scale^2) - sum_j [x_j^2 exp(-x_1) + x_1] / 2
        log_z       = log scale + D log(2 pi) / 2

    Arguments:
        features: D >= 2.
        scale: standard deviation of the first coordinate.

    Raises:
        ValueError: fewer than two dimensions, or a scale that is not positive.

    Reference: Neal 2003, Slice sampling.

    >>> target = Funnel(2)
    >>> target.log_prob(target.sample(5)).shape
    torch.Size([5])
    """

    def __init__(self, features: int = 2, scale: float = 3.0) -> None:
        super().__init__(features)
        if features < 2:
            raise ValueError("a funnel needs at least 2 dimensions; got 1; use features=2")
        validate.positive("scale", scale)
        self.scale, self.log_z = scale, log(scale) + 0.5 * features * log(2.0 * pi)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density of `x` (B, D), shape (B,)."""
        neck, rest = self._points(x)[:, 0], x[:, 1:]
        inside = rest.square().sum(1) * (-neck).exp() + rest.shape[1] * neck
        return -0.5 * (neck / self.scale).square() - 0.5 * inside

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` exact samples, (n, D)."""
        size = (validate.positive_count("n", n), *self.event_shape)
        x = self._normal(*size, generator=generator)
        neck = self.scale * x[:, :1]
        return torch.cat([neck, (neck / 2).exp() * x[:, 1:]], 1)


class DoubleWell(_Landscape):
    """Two wells along the first coordinate, a Gaussian along the others.

        log_prob(x) = -depth (x_1^2 - 1)^2 - |x_rest|^2 / 2
        Z = (pi/2) exp(-depth/2) [I_{-1/4}(depth/2) + I_{1/4}(depth/2)] (2 pi)^{(D-1)/2}

    with I the modified Bessel function. The barrier between the wells is `depth` high.

    Arguments:
        features: D >= 1.
        depth: height of the barrier, in units of log-density.

    Raises:
        ValueError: no dimension, or a depth that is not positive.

    >>> DoubleWell(1).log_prob(torch.tensor([[-1.0], [0.0], [1.0]]))
    tensor([-0., -4., -0.])
    """

    def __init__(self, features: int = 2, depth: float = 4.0) -> None:
        super().__init__(features)
        validate.positive("depth", depth)
        from scipy.special import ive  # loaded with the first double well

        # ive is I scaled by exp(-|argument|): it does not overflow for deep wells.
        bessel = ive(-0.25, depth / 2) + ive(0.25, depth / 2)
        line = log(pi / 2) + log(bessel)
        self.depth, self.log_z = depth, line + 0.5 * (features - 1) * log(2 * pi)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density of `x` (B, D), shape (B,)."""
        well = self._points(x)[:, 0].square() - 1.0
        return -self.depth * well.square() - 0.5 * x[:, 1:].square().sum(1)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` exact samples, (n, D), by rejection from two Gaussians on the wells."""
        first = self._like
        validate.positive_count("n", n)
        # (x^2-1)^2 >= (|x|-1)^2, so a bump of variance 1/(2 depth) on each well, with weight one,
        # lies above the density everywhere: rejection is exact.
        std = sqrt(0.5 / self.depth)
        while first.shape[0] < n:
            like = {"dtype": first.dtype, "device": first.device}
            side, uniform = torch.rand(2, 2 * n, generator=generator, **like)
            well = 2 * (side < 0.5).to(side) - 1
            x = well + std * self._normal(2 * n, generator=generator)
            bumps = torch.logaddexp(-self.depth * (x - 1).square(), -self.depth * (x + 1).square())
            log_accept = -self.depth * (x.square() - 1).square() - bumps
            first = torch.cat([first, x[uniform.log() < log_accept]])
        rest = self._normal(n, self.event_shape[0] - 1, generator=generator)
        return torch.cat([first[:n, None], rest], 1)

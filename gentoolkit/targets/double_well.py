"""A double well: two modes that a chain must cross a barrier to join, with its normaliser."""

from math import log, pi, sqrt

import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import validate


class DoubleWell(nn.Module):
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

    _like: Tensor

    def __init__(self, features: int = 2, depth: float = 4.0) -> None:
        super().__init__()
        self.event_shape = Size((validate.positive_count("features", features),))
        validate.positive("depth", depth)
        # Samples follow the dtype and the device of a model that holds the target.
        self.register_buffer("_like", torch.empty(0), persistent=False)
        from scipy.special import ive  # loaded with the first double well

        # ive is I scaled by exp(-|argument|): it does not overflow for deep wells.
        bessel = ive(-0.25, depth / 2) + ive(0.25, depth / 2)
        line = log(pi / 2) + log(bessel)
        self.depth, self.log_z = depth, line + 0.5 * (features - 1) * log(2 * pi)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density of `x` (B, D), shape (B,)."""
        if x.ndim != 2 or x.shape[1:] != self.event_shape:
            raise ValueError(
                f"x must have shape (B, {self.event_shape[0]}); got {tuple(x.shape)}; use "
                f"x.reshape(-1, {self.event_shape[0]})"
            )
        well = x[:, 0].square() - 1.0
        return -self.depth * well.square() - 0.5 * x[:, 1:].square().sum(1)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` exact samples, (n, D), by rejection from two Gaussians on the wells."""
        validate.positive_count("n", n)
        first = self._like
        like = {"dtype": first.dtype, "device": first.device}
        # (x^2-1)^2 >= (|x|-1)^2, so a bump of variance 1/(2 depth) on each well, with weight one,
        # lies above the density everywhere: rejection is exact.
        std = sqrt(0.5 / self.depth)
        while first.shape[0] < n:
            side, uniform = torch.rand(2, 2 * n, generator=generator, **like)
            well = 2 * (side < 0.5).to(side) - 1
            x = well + std * torch.randn(2 * n, generator=generator, **like)
            bumps = torch.logaddexp(-self.depth * (x - 1).square(), -self.depth * (x + 1).square())
            log_accept = -self.depth * (x.square() - 1).square() - bumps
            first = torch.cat([first, x[uniform.log() < log_accept]])
        rest = torch.randn(n, self.event_shape[0] - 1, generator=generator, **like)
        return torch.cat([first[:n, None], rest], 1)

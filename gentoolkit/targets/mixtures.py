"""Gaussian mixtures: the course's shared target, with an exact normaliser, score and sampler."""

from math import log, pi

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import validate


class GaussianMixture(nn.Module):
    """An unnormalised mixture of isotropic Gaussians, a module whose buffers are its tensors.

        log_prob(x) = log_z + log sum_k weights_k N(x; means_k, stds_k^2 I)

    Arguments:
        means: (K, D).
        stds: standard deviations, (K,).
        weights: probabilities of the components, (K,).
        log_z: log of the normaliser that `log_prob` carries.

    Raises:
        ValueError: shapes do not match, a deviation is not positive, or the weights are not
            probabilities.

    >>> target = GaussianMixture(torch.zeros(1, 2), torch.ones(1), torch.ones(1), log_z=1.0)
    >>> target.log_prob(torch.zeros(3, 2)), target.score(torch.ones(1, 2))
    (tensor([-0.8379, -0.8379, -0.8379]), tensor([[-1., -1.]]))
    """

    means: Tensor
    stds: Tensor
    weights: Tensor
    _log_coefficients: Tensor

    def __init__(self, means: Tensor, stds: Tensor, weights: Tensor, log_z: float = 0.0) -> None:
        super().__init__()
        if validate.batch("means", means).ndim != 2:
            raise ValueError(f"means must have shape (K, D); got {tuple(means.shape)}")
        components, dimensions = means.shape
        for name, value in (("stds", stds), ("weights", weights)):
            if value.shape != (components,):
                raise ValueError(
                    f"{name} must have shape ({components},), one per row of means; got "
                    f"{tuple(value.shape)}; use torch.full(({components},), value)"
                )
        validate.positive("stds", stds)
        total = float(weights.sum())
        if bool((weights < 0).any()) or not abs(total - 1.0) < 1e-5:
            raise ValueError(
                f"weights must be >= 0 and sum to 1; got sum {total}; divide by the sum"
            )
        self.log_z, self.event_shape = log_z, means.shape[1:]
        coefficients = weights.log() - dimensions * (stds.log() + 0.5 * log(2.0 * pi)) + log_z
        self.register_buffer("means", means)
        self.register_buffer("stds", stds)
        self.register_buffer("weights", weights)
        self.register_buffer("_log_coefficients", coefficients)

    def _log_joint(self, x: Tensor) -> Tensor:
        """Return `log_z + log weights_k N(x; ...)` for each component, (B, K)."""
        if x.ndim != 2 or x.shape[1:] != self.event_shape:
            raise ValueError(
                f"x must have shape (B, {self.means.shape[1]}); got {tuple(x.shape)}; "
                "add a batch dimension with x[None]"
            )
        squares = (x[:, None, :] - self.means).square().sum(-1)  # (B, K)
        return self._log_coefficients - 0.5 * squares / self.stds.square()

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density of `x` (B, D), shape (B,)."""
        return self._log_joint(x).logsumexp(-1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """Return the posterior probability of each component, (B, K)."""
        return self._log_joint(x).softmax(-1)

    def score(self, x: Tensor) -> Tensor:
        """Return `grad_x log_prob = sum_k r_k(x) (means_k - x) / stds_k^2`, (B, D)."""
        pull = (self.means - x[:, None, :]) / self.stds.square()[:, None]  # (B, K, D)
        return (self.responsibilities(x)[..., None] * pull).sum(1)

    def noised(self, signal: float, noise: float) -> "GaussianMixture":
        """Return the law of `signal x + noise e`, e standard normal: again a mixture.

        Arguments:
            signal: factor of the sample, at least 0.
            noise: deviation of the noise, at least 0.

        Raises:
            ValueError: one is negative or not finite, or both are 0.
        """
        _levels(signal, noise)
        stds = (signal**2 * self.stds.square() + noise**2).sqrt()
        return GaussianMixture(signal * self.means, stds, self.weights, self.log_z)

    def denoised(self, x: Tensor, signal: Tensor | float, noise: Tensor | float) -> Tensor:
        """Return the posterior mean `E[x_0 | signal x_0 + noise e = x]`, (B, D).

            sum_k r_k(x) [means_k + signal stds_k^2 / v_k (x - signal means_k)]
            v_k = signal^2 stds_k^2 + noise^2,   r_k = posterior probability of component k

        Arguments:
            x: noisy states, (B, D).
            signal: factor of the sample, a number or (B,), at least 0.
            noise: deviation of the noise, a number or (B,), at least 0.

        Raises:
            ValueError: wrong shapes, or a level is negative or not finite, or both are 0.
        """
        _levels(signal, noise)
        a, s = (torch.as_tensor(v).to(x).reshape(-1, 1) for v in (signal, noise))
        v = a.square() * self.stds.square() + s.square()  # (B, K)
        off = x[:, None, :] - a[..., None] * self.means  # (B, K, D)
        log_joint = -0.5 * off.square().sum(-1) / v - 0.5 * x.shape[1] * v.log()
        r = (log_joint + self.weights.log()).softmax(-1)
        each = self.means + (a * self.stds.square() / v)[..., None] * off
        return (r[..., None] * each).sum(1)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` exact samples, (n, D)."""
        validate.positive_count("n", n)
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        like = {"dtype": self.means.dtype, "device": self.means.device}
        noise = torch.randn(n, *self.event_shape, generator=generator, **like)
        return self.means[k] + self.stds[k, None] * noise


def _levels(signal: Tensor | float, noise: Tensor | float) -> None:
    a, s = torch.as_tensor(signal), torch.as_tensor(noise)
    if not (validate.readable(a) and validate.readable(s)):
        return
    levels = torch.stack([a.min(), s.min(), a.max() + s.max()])
    if not bool(levels.isfinite().all() and (levels[:2] >= 0).all() and ((a + s) > 0).all()):
        raise ValueError(
            f"signal and noise must be finite, at least 0 and not both 0; got {a.flatten()[:3]} "
            f"and {s.flatten()[:3]}; use schedule.levels(t)"
        )


def eight_gaussians(
    radius: float = 2.0,
    std: float = 0.2,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> GaussianMixture:
    """Return eight equal Gaussian bumps of height one on a circle: the course's shared target.

        log_prob(x) = log sum_k exp(-|x - m_k|^2 / (2 std^2)),   log_z = log(8 * 2 pi std^2)

    Arguments:
        radius: distance of the bumps from the origin.
        std: standard deviation of each bump.
        dtype: floating-point type.
        device: where the target lives.
    """
    validate.positive("radius", radius)
    validate.positive("std", std)
    angles = torch.arange(8, dtype=dtype or torch.get_default_dtype(), device=device) * (pi / 4)
    means = radius * torch.stack([angles.cos(), angles.sin()], -1)
    equal = torch.ones_like(angles)
    return GaussianMixture(means, std * equal, equal / 8, log(8 * 2 * pi * std**2))

"""Data in closed form for the tests of diffusion: exact denoisers, and bounds by quadrature."""

from dataclasses import dataclass
from math import e, log, pi

import torch
from torch import Tensor

from gentoolkit.diffusion import Coefficients, ReverseVariance, Schedule
from gentoolkit.targets import GaussianMixture


@dataclass(frozen=True)
class Normal:
    """Data N(mean, var) on the line."""

    mean: float = 0.7
    var: float = 0.3

    @property
    def entropy(self) -> float:
        """In nats."""
        return 0.5 * log(2 * pi * e * self.var)

    def sample(self, n: int) -> Tensor:
        """Draw (n, 1)."""
        return self.mean + self.var**0.5 * torch.randn(n, 1)

    def denoiser(self, schedule: Schedule):
        """E[x_0 | x_t] as a net that predicts the data."""

        def net(x: Tensor, t: Tensor) -> Tensor:
            a, s = (level[:, None] for level in schedule.levels(t))
            return (s**2 * self.mean + self.var * a * x) / (self.var * a**2 + s**2)

        return net

    def posterior_var(self, m: Coefficients) -> Tensor:
        """Var(x_0 | x_i), (T,)."""
        return self.var * m.noise**2 / (self.var * m.signal**2 + m.noise**2)

    def second(self, m: Coefficients) -> Tensor:
        """Var(x_{i-1} | x_i), (T,): the exact variance of the reversal."""
        return m.posterior_var + m.of_data**2 * self.posterior_var(m)

    def bound(self, m: Coefficients, var: Tensor) -> float:
        """Mean negative bound under the exact denoiser and step variances `var` (T,)."""
        second = self.second(m)
        each = 0.5 * (second / var - 1 - (m.posterior_var / var).log())
        each[0] = 0.5 * (second[0] / var[0] + (2 * pi * var[0]).log())
        a2, s2 = m.signal[-1] ** 2, m.noise[-1] ** 2
        prior = 0.5 * (a2 * (self.var + self.mean**2) + s2 - 1 - s2.log())
        return float(each.sum() + prior)


def fixed(m: Coefficients) -> Tensor:
    """The posterior's variances, the decoder's first."""
    return torch.cat([m.decoder_var[None], m.posterior_var[1:]])


@dataclass(frozen=True)
class Mixture:
    """Components of one variance, in any number of dimensions."""

    means: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    var: float

    def law(self, a: Tensor | float = 1.0, s: Tensor | float = 0.0) -> GaussianMixture:
        """The law of a x_0 + s e."""
        std = torch.tensor(self.var * float(a) ** 2 + float(s) ** 2).sqrt()
        means = torch.tensor(self.means)
        return GaussianMixture(float(a) * means, std.expand(len(means)), torch.tensor(self.weights))

    def moments(self, x: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_0 | x] (B, D) and, on the line, Var(x_0 | x) (B, D), for levels (B,)."""
        a, s = a[:, None], s[:, None]
        total = self.var * a**2 + s**2
        means, log_w = torch.tensor(self.means), torch.tensor(self.weights).log()
        squares = (x[:, None] - a[..., None] * means).square().sum(-1)
        r = (log_w - 0.5 * squares / total).softmax(-1)[..., None]
        each = means + (a * self.var / total)[..., None] * (x[:, None] - a[..., None] * means)
        mean = (r * each).sum(1)
        spread = (r * (each - mean[:, None]).square()).sum(1)
        return mean, spread + self.var * s**2 / total

    def denoiser(self, schedule: Schedule):
        """E[x_0 | x_t] as a net that predicts the data."""
        return lambda x, t: self.moments(x, *schedule.levels(t))[0]

    def line(self, a: float = 1.0, s: float = 0.0) -> tuple[Tensor, Tensor]:
        """Points of the line and their probabilities at a level: the trapezoid rule."""
        y = torch.linspace(-12, 12, 12001)[:, None]
        return y, self.law(a, s).log_prob(y).exp() * (y[1] - y[0])

    def entropy(self, a: float = 1.0, s: float = 0.0) -> float:
        """In nats, on the line."""
        y, p = self.line(a, s)
        return -float((p * self.law(a, s).log_prob(y)).sum())


TWO = Mixture(((-1.5,), (1.5,)), (0.4, 0.6), 0.2)
THREE = Mixture(((2.0, 0.0), (-1.0, 1.7), (-1.0, -1.7)), (0.5, 0.3, 0.2), 0.15)


@dataclass(frozen=True)
class Matched(ReverseVariance):
    """Each state's own variance, of x_{i-1} given x_i: the moments of the true reversal."""

    data: Mixture

    def of(self, c: Coefficients, i: Tensor, x: Tensor) -> Tensor:
        """posterior_var + of_data^2 Var(x_0 | x)."""
        _, var = self.data.moments(x, c.signal[i], c.noise[i])
        return c.posterior_var[i][:, None] + c.of_data[i][:, None] ** 2 * var


def gap_of_two(m: Coefficients, matched: bool) -> float:
    """Mean negative bound less the entropy, for TWO and its exact denoiser, by quadrature."""
    total = -TWO.entropy()
    for i in range(len(m.times)):
        a, s = m.signal[i], m.noise[i]
        y, p = TWO.line(float(a), float(s))
        _, var = TWO.moments(y, a.expand(len(y)), s.expand(len(y)))
        second = (m.posterior_var[i] + m.of_data[i] ** 2 * var)[:, 0]
        fixed = m.posterior_var[i] if i else (s / a) ** 2
        used = second if matched else fixed
        if i == 0:
            each = 0.5 * (second / used + (2 * pi * used).log())
        else:
            each = 0.5 * (second / used - 1 - (m.posterior_var[i] / used).log())
        total += float((p * each).sum())
    a, s = float(m.signal[-1]), float(m.noise[-1])
    square = sum(
        w * (mean[0] ** 2 + TWO.var) for w, mean in zip(TWO.weights, TWO.means, strict=True)
    )
    return total + 0.5 * (a**2 * square + s**2 - 1 - 2 * log(s))

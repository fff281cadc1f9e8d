"""Marginals: symmetric laws of one number whose tails are known on the log scale.

A marginal law P meets a copula through its *normal coordinate*, the eps with `Phi(eps) = P(x)`.
"""

from abc import abstractmethod
from math import lgamma, log, pi

import torch
from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.numerics import (
    lower_normal_quantile,
    lower_student_quantile,
    student_log_tail,
)


class Marginal(nn.Module):
    """A symmetric law of one number, with a place and a scale.

    Obligations of a subclass, all for the standard law (place 0, scale 1): `log_density`;
    `log_tail(x)`, `log P(X < x)` for x <= 0; `lower_quantile(log_p)`, its inverse. All are
    differentiable.

    Arguments:
        loc: the place, the law's median.
        scale: the scale, above zero; of a heavy tail it is not a standard deviation.

    Raises:
        ValueError: the place is not finite, or the scale not positive and finite.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, loc: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        validate.positive("scale", scale)
        validate.batch("loc", torch.tensor([float(loc)]))
        self.register_buffer("loc", torch.tensor(float(loc)))
        self.register_buffer("scale", torch.tensor(float(scale)))

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """Return the log-density of the standard law, the shape of `x`."""

    @abstractmethod
    def log_tail(self, x: Tensor) -> Tensor:
        """Return `log P(X < x)` of the standard law for x <= 0, float64."""

    @abstractmethod
    def lower_quantile(self, log_p: Tensor) -> Tensor:
        """Return the x <= 0 with `log_tail(x) = log_p`, float64."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density at each entry of `x`, any shape."""
        return self.log_density((x - self.loc) / self.scale) - self.scale.log()

    def log_survival(self, r: Tensor) -> Tensor:
        """Return `log P(|X - loc| > r)` for r >= 0, float64: the line of a tail plot."""
        return self.log_tail(-r.double() / self.scale.double()) + log(2.0)

    def to_normal(self, x: Tensor) -> Tensor:
        """Return the eps with `Phi(eps) = P(x)` at each entry, float64, any shape."""
        y = (x.double() - self.loc.double()) / self.scale.double()
        sign = torch.where(y < 0, 1.0, -1.0).to(y)  # never 0, so that the slope at 0 is right
        return sign * lower_normal_quantile(self.log_tail(sign * y))

    def from_normal(self, eps: Tensor) -> Tensor:
        """Return the x with `P(x) = Phi(eps)` at each entry, float64, any shape."""
        eps = eps.double()
        sign = torch.where(eps < 0, 1.0, -1.0).to(eps)
        y = sign * self.lower_quantile(torch.special.log_ndtr(sign * eps))
        return self.loc.double() + self.scale.double() * y


class NormalMarginal(Marginal):
    """The normal law: `-log p` grows like x^2 / 2.

    >>> from gentoolkit.flows import NormalMarginal
    >>> NormalMarginal(scale=2.0).to_normal(torch.tensor([2.0, -4.0])).round(decimals=9)
    tensor([ 1., -2.], dtype=torch.float64)
    """

    def log_density(self, x: Tensor) -> Tensor:
        """Return `-(x^2 + log 2 pi) / 2`."""
        return -0.5 * x.square() - 0.5 * log(2.0 * pi)

    def log_tail(self, x: Tensor) -> Tensor:
        """Return `log Phi(x)`."""
        return torch.special.log_ndtr(x)

    def lower_quantile(self, log_p: Tensor) -> Tensor:
        """Return the inverse of `log Phi`."""
        return lower_normal_quantile(log_p)


class LaplaceMarginal(Marginal):
    """The double exponential law: `-log p` grows like |x|.

    >>> from gentoolkit.flows import LaplaceMarginal
    >>> round(float(LaplaceMarginal().log_survival(torch.tensor(3.0))), 6)
    -3.0
    """

    def log_density(self, x: Tensor) -> Tensor:
        """Return `-|x| - log 2`."""
        return -x.abs() - log(2.0)

    def log_tail(self, x: Tensor) -> Tensor:
        """Return `x - log 2`."""
        return x - log(2.0)

    def lower_quantile(self, log_p: Tensor) -> Tensor:
        """Return `log_p + log 2`."""
        return log_p + log(2.0)


class StudentMarginal(Marginal):
    """Student's t law: a power tail, `P(|X| > r) ~ r^-nu`; `-log p` grows like (nu + 1) log |x|.

    >>> from gentoolkit.flows import StudentMarginal
    >>> law = StudentMarginal(2.0)
    >>> round(float(law.log_survival(torch.tensor(30.0)).exp()), 7)
    0.0011093

    Arguments:
        degrees: degrees of freedom nu, the tail index: moments below nu exist.
        loc: the place.
        scale: the scale, above zero.

    Raises:
        ValueError: `degrees` or `scale` is not positive and finite.
    """

    def __init__(self, degrees: float, loc: float = 0.0, scale: float = 1.0) -> None:
        super().__init__(loc, scale)
        validate.positive("degrees", degrees)
        self.degrees = float(degrees)

    def log_density(self, x: Tensor) -> Tensor:
        """Return `-(nu + 1)/2 log(1 + x^2 / nu)` less the log of its normaliser."""
        nu = self.degrees
        constant = lgamma((nu + 1) / 2) - lgamma(nu / 2) - 0.5 * log(nu * pi)
        return constant - 0.5 * (nu + 1) * (x.square() / nu).log1p()

    def log_tail(self, x: Tensor) -> Tensor:
        """Return the log tail probability, by quadrature exact to rounding."""
        return student_log_tail(x, self.degrees)

    def lower_quantile(self, log_p: Tensor) -> Tensor:
        """Return the quantile, by Newton's method."""
        return lower_student_quantile(log_p, self.degrees)

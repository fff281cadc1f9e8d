"""Copulas, and sources made of one: marginals with the right tails, joined.

    log p(x) = log c(eps) + sum_i log p_i(x_i),   Phi(eps_i) = P_i(x_i)      (Sklar 1959)

A copula is written as a function of *normal coordinates* eps and not of uniforms u = Phi(eps):
near u = 1 a uniform has no digits left, and a normal coordinate has all of them.
"""

from abc import abstractmethod
from collections.abc import Sequence
from math import lgamma, log, pi

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Chi2

from gentoolkit.core import validate
from gentoolkit.core.laws import seeded
from gentoolkit.flows.marginals import Marginal, StudentMarginal
from gentoolkit.numerics import lower_normal_quantile


class Copula(nn.Module):
    """The joint law of numbers whose marginals are uniform, seen through normal coordinates.

    Obligations: `log_density(eps)` returns `log c(Phi(eps_1), ..., Phi(eps_D))`, (B,), float64,
    for normal coordinates (B, D); `draw(n)` draws normal coordinates, (n, D), float64, each of
    which alone is N(0, 1).

    Arguments:
        features: D.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = validate.positive_count("features", features)

    @abstractmethod
    def log_density(self, eps: Tensor) -> Tensor:
        """Return the log-density of the uniforms `Phi(eps)`, (B,)."""

    @abstractmethod
    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` rows of normal coordinates, (n, D)."""


def _correlation(matrix: Tensor) -> Tensor:
    """Return a correlation matrix in float64.

    Raises:
        ValueError: it is not square and symmetric with a unit diagonal, or not positive definite.
    """
    R = validate.batch("correlation", matrix).detach().double()
    if R.ndim != 2 or R.shape[0] != R.shape[1]:
        raise ValueError(
            f"correlation must be a square matrix; got shape {tuple(R.shape)}; pass (D, D)"
        )
    if not (torch.allclose(R, R.T, atol=1e-6) and torch.allclose(R.diagonal(), R.new_ones(()))):
        raise ValueError(
            "correlation must be symmetric with ones on its diagonal; got a diagonal from "
            f"{float(R.diagonal().min()):.3g} to {float(R.diagonal().max()):.3g}; divide a "
            "covariance by the products of its deviations (torch.corrcoef)"
        )
    smallest = float(torch.linalg.eigvalsh(R).min())
    if smallest <= 1e-12:
        raise ValueError(
            f"correlation must be positive definite; got a smallest eigenvalue of {smallest:.3g}; "
            "make the correlations weaker, or drop a coordinate that the others determine"
        )
    return (R + R.T) / 2


class _Elliptical(Copula):
    """What the Gaussian and Student's copula share: a correlation matrix R, kept as its factor."""

    factor: Tensor

    def __init__(self, correlation: Tensor) -> None:
        R = _correlation(correlation)
        super().__init__(R.shape[0])
        self.register_buffer("factor", torch.linalg.cholesky(R))

    def _half(self) -> Tensor:
        return self.factor.double()

    def _squared(self, v: Tensor) -> Tensor:
        """Return `v' R^-1 v` of each row, (B,)."""
        return torch.linalg.solve_triangular(self._half(), v.mT, upper=False).square().sum(0)

    def _log_det(self) -> Tensor:
        return 2.0 * self._half().diagonal().log().sum()

    def _normals(self, n: int, generator: Generator | None) -> Tensor:
        half = self._half()
        noise = torch.randn(
            n, self.features, generator=generator, dtype=half.dtype, device=half.device
        )
        return noise @ half.mT


class GaussianCopula(_Elliptical):
    """The dependence of a correlated normal law, without its marginals.

        log c = -1/2 log det R - 1/2 eps' (R^-1 - I) eps

    Extremes of different coordinates become independent far out.

    >>> from gentoolkit.flows import GaussianCopula
    >>> GaussianCopula(torch.eye(3)).log_density(torch.randn(2, 3)).abs().max() < 1e-12
    tensor(True)

    Arguments:
        correlation: R, (D, D), positive definite with a unit diagonal.

    Raises:
        ValueError: R is not a correlation matrix, or not positive definite.
    """

    def log_density(self, eps: Tensor) -> Tensor:
        """Return log c at normal coordinates (B, D), shape (B,)."""
        eps = eps.double()
        return -0.5 * (self._log_det() + self._squared(eps) - eps.square().sum(1))

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `eps ~ N(0, R)`."""
        return self._normals(n, generator)


class StudentCopula(_Elliptical):
    """The dependence of a multivariate t law: extremes come together.

        v_i the t quantile of Phi(eps_i);   log c = log t_R(v) - sum_i log t(v_i)

    Arguments:
        correlation: R, (D, D), positive definite with a unit diagonal.
        degrees: degrees of freedom nu; the smaller, the more extremes are shared.

    Raises:
        ValueError: R is not a correlation matrix or not positive definite, or nu is not positive.
    """

    def __init__(self, correlation: Tensor, degrees: float) -> None:
        super().__init__(correlation)
        validate.positive("degrees", degrees)
        self.degrees, self._each = float(degrees), StudentMarginal(degrees)

    def log_density(self, eps: Tensor) -> Tensor:
        """Return log c at normal coordinates (B, D), shape (B,)."""
        nu, D = self.degrees, self.features
        v = self._each.from_normal(eps)
        joint = lgamma((nu + D) / 2) - lgamma(nu / 2) - 0.5 * D * log(nu * pi)
        joint = joint - 0.5 * self._log_det() - 0.5 * (nu + D) * (self._squared(v) / nu).log1p()
        return joint - self._each.log_density(v).sum(1)

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw a normal vector over the root of one chi-square, and take its normal coordinates."""
        normals = self._normals(n, generator)
        degrees = normals.new_tensor(self.degrees)
        shared = seeded(Chi2(degrees), (n, 1), generator) / self.degrees
        return self._each.to_normal(normals / shared.sqrt())


class GumbelCopula(Copula):
    """Two numbers whose *large* values come together (an Archimedean copula).

        C(u, v) = exp(-((-log u)^theta + (-log v)^theta)^(1/theta)),   theta >= 1

    Kendall's tau is `1 - 1/theta`; given that one is extremely large, so is the other with
    probability `2 - 2^(1/theta)`.

    Arguments:
        theta: strength, 1 (independence) or more.

    Raises:
        ValueError: theta is below 1 or not finite.

    Reference: Nelsen 2006, An Introduction to Copulas, chapter 4.
    """

    def __init__(self, theta: float) -> None:
        super().__init__(2)
        if not 1.0 <= theta < float("inf"):
            raise ValueError(
                f"theta must be 1 or more, and finite; got {theta}; 1 is independence, 2.5 strong"
            )
        self.theta = float(theta)

    def log_density(self, eps: Tensor) -> Tensor:
        """Return log c at normal coordinates (B, 2), shape (B,).

        x = -log u, y = -log v, A = x^theta + y^theta, B = A^(1/theta)
        log c = -B + x + y + (theta - 1)(log x + log y) + (2/theta - 2) log A
                + log(1 + (theta - 1)/B)
        """
        x = (-torch.special.log_ndtr(eps.double())).clamp_min(1e-300)
        log_x = x.log()
        log_A = torch.logsumexp(self.theta * log_x, 1)
        B = (log_A / self.theta).exp()
        first = -B + x.sum(1) + (self.theta - 1.0) * log_x.sum(1)
        return first + (2.0 / self.theta - 2.0) * log_A + ((self.theta - 1.0) / B).log1p()

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw by a shared positive stable number S: `u_i = exp(-(E_i / S)^(1/theta))`.

        Reference: Marshall and Olkin 1988; S after Chambers, Mallows, Stuck 1976.
        """
        a = 1.0 / self.theta
        device = None if generator is None else generator.device
        uniform = torch.rand(n, 4, generator=generator, dtype=torch.float64, device=device)
        uniform = uniform.clamp_min(1e-300)
        angle, (eps, first, second) = pi * uniform[:, 0], -uniform[:, 1:].log().T
        S = (a * angle).sin() / angle.sin().pow(1.0 / a)
        if a < 1.0:
            S = S * (((1.0 - a) * angle).sin() / eps).pow((1.0 - a) / a)
        x = (torch.stack([first, second], 1) / S[:, None]).pow(a)  # -log u
        upper = x < log(2.0)
        lower = lower_normal_quantile(torch.where(upper, -log(2.0), -x))
        higher = lower_normal_quantile(torch.where(upper, (-(-x).expm1()).log(), -log(2.0)))
        return torch.where(upper, -higher, lower)


class CopulaSource(nn.Module):
    """A density made of marginals and a copula: a source for a flow, or a target.

        log p(x) = log c(eps) + sum_i log p_i(x_i),   Phi(eps_i) = P_i(x_i)

    >>> from gentoolkit.flows import CopulaSource, GaussianCopula, StudentMarginal, maf
    >>> copula = GaussianCopula(torch.tensor([[1.0, 0.7], [0.7, 1.0]]))
    >>> source = CopulaSource([StudentMarginal(2.0), StudentMarginal(5.0)], copula)
    >>> flow = maf(2, layers=3)
    >>> flow.source = source
    >>> flow.log_prob(flow.sample(4)).shape
    torch.Size([4])

    Arguments:
        marginals: one for each coordinate.
        copula: how they depend; independent if left out.

    Raises:
        TypeError: something among the marginals is not a Marginal, or the copula no Copula.
        ValueError: there is no marginal, or their number is not the copula's.

    Reference: Sklar 1959; as a base of flows Laszkiewicz, Lederer, Fischer 2021.
    """

    def __init__(self, marginals: Sequence[Marginal], copula: Copula | None = None) -> None:
        super().__init__()
        if not marginals:
            raise ValueError(
                "a source needs a marginal or more; got none; pass for example [StudentMarginal(2)]"
            )
        for i, marginal in enumerate(marginals):
            if not isinstance(marginal, Marginal):
                raise TypeError(
                    f"marginals[{i}] must be a Marginal; got {type(marginal).__name__}; "
                    "use NormalMarginal, LaplaceMarginal or StudentMarginal"
                )
        if copula is not None and not isinstance(copula, Copula):
            raise TypeError(
                f"copula must be a Copula; got {type(copula).__name__}; "
                "use GaussianCopula(correlation), or leave it out for independence"
            )
        if copula is not None and copula.features != len(marginals):
            raise ValueError(
                f"a copula of {copula.features} coordinates joins as many marginals; got "
                f"{len(marginals)}; pass one marginal for each coordinate"
            )
        self.marginals, self.copula = nn.ModuleList(marginals), copula
        self.event_shape = torch.Size([len(marginals)])

    def _each(self) -> list[Marginal]:
        return [m for m in self.marginals if isinstance(m, Marginal)]

    def to_normal(self, x: Tensor) -> Tensor:
        """Return the normal coordinates of rows (B, D), float64: `Phi(eps_i) = P_i(x_i)`."""
        columns = zip(self._each(), x.unbind(1), strict=True)
        return torch.stack([law.to_normal(column) for law, column in columns], 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of rows (B, D), shape (B,)."""
        x = validate.batch("x", x, self.event_shape)
        columns = zip(self._each(), x.unbind(1), strict=True)
        value = torch.stack([law.log_prob(column) for law, column in columns]).sum(0)
        if self.copula is None:
            return value
        return value + self.copula.log_density(self.to_normal(x)).to(value)

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` rows, (n, D)."""
        validate.positive_count("n", n)
        laws = self._each()
        like = laws[0].scale
        if self.copula is None:
            eps = torch.randn(
                n, len(laws), generator=generator, dtype=torch.float64, device=like.device
            )
        else:
            eps = self.copula.draw(n, generator)
        columns = [law.from_normal(column) for law, column in zip(laws, eps.unbind(1), strict=True)]
        return torch.stack(columns, 1).to(like)

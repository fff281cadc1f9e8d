"""Densities on SU(N) against Haar measure: class functions, and the action of a gauge field.

A class function `f(U) = prod_j g(theta_j)` of the eigenangles has exact integrals. With the
Fourier coefficients `g_m` of g, and for each non-increasing list of whole numbers `r_1 >= ... >=
r_N = 0` (an irreducible representation r of SU(N), with character chi_r and dimension d_r),

    f_r = int f(U) chi_r(U) dU = sum_k det[ g_{r_i - i + j + k} ]_{i,j}

The trivial representation, r = 0, gives the normaliser. On a periodic square lattice of V
plaquettes the sum over r of `(f_r / d_r)^V` does.

Reference: Migdal 1975; Gross and Witten 1980; Bump and Diaconis 2002 (the determinants).
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from math import pi, prod

import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import validate
from gentoolkit.numerics import su_n
from gentoolkit.numerics.lattice import links, plaquettes

_POINTS = 512
"""Points of the circle for Fourier coefficients: exact to rounding for smooth densities."""


class ClassFunction(nn.Module):
    """A density of one matrix of SU(N) that depends on its eigenvalues alone.

        log_prob(U) = (beta / N) Re tr sum_m c_m U^m

    One coefficient, `(1,)`, is the law of a single plaquette.

    >>> target = ClassFunction(2, beta=2.2)
    >>> round(target.log_z, 6), round(target.mean_trace, 6)
    (0.553935, 0.464479)

    Arguments:
        n: size of the matrices, two or more.
        coefficients: c_1, c_2, ...
        beta: strength, at least 0.

    Raises:
        ValueError: `n` is below two, there is no coefficient, or a number is not finite or `beta`
            negative.
    """

    def __init__(
        self, n: int = 2, coefficients: Sequence[float] = (1.0,), beta: float = 1.0
    ) -> None:
        super().__init__()
        self.n, self.beta = su_n.at_least_two(n), _strength(beta)
        numbers = torch.tensor(list(coefficients), dtype=torch.float64)
        validate.batch("coefficients", numbers)
        self.coefficients = tuple(numbers.tolist())
        self.event_shape, self.base_measure = Size([n, n]), su_n.haar_measure(n)
        # Samples follow the dtype and the device of a model that holds the target.
        self.register_buffer("_like", torch.empty(0), persistent=False)

    _like: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density of `x` (B, N, N), shape (B,).

        Raises:
            TypeError: `x` is not complex.
            ValueError: `x` has another shape, or holds matrices that are not special unitary.
        """
        power = u = su_n.special_unitary("x", x, self.event_shape)
        total = torch.zeros(u.shape[0], dtype=u.real.dtype, device=u.device)
        for m, c in enumerate(self.coefficients):
            power = power @ u if m else u
            total = total + c * su_n.trace(power).real
        return self.beta / self.n * total

    def log_density_of_angles(self, theta: Tensor) -> Tensor:
        """Return `log_prob` as a function of the eigenangles, (..., N) -> (...)."""
        m = torch.arange(1, len(self.coefficients) + 1, dtype=theta.dtype, device=theta.device)
        c = torch.tensor(self.coefficients, dtype=theta.dtype, device=theta.device)
        return self.beta / self.n * ((theta[..., None] * m).cos() @ c).sum(-1)

    @cached_property
    def log_z(self) -> float:
        """The exact log of the integral of the density."""
        return float(self._log_z(torch.tensor(self.coefficients, dtype=torch.float64)))

    @cached_property
    def mean_trace(self) -> float:
        """The exact mean of `Re tr U / N`: the derivative of log Z along c_1, over beta."""
        if self.beta == 0.0:
            return 0.0
        with torch.enable_grad():
            c = torch.tensor(self.coefficients, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(self._log_z(c), c)
        return float(slope[0]) / self.beta

    def _log_z(self, coefficients: Tensor) -> Tensor:
        g, top = _fourier(self.beta / self.n, coefficients)
        return _integral(g, (0,) * self.n).log() + self.n * top

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` exact samples, (n, N, N): eigenangles by rejection, frames by Haar measure.

        Raises:
            ValueError: N is above 3, where rejection is too slow.
        """
        validate.positive_count("n", n)
        if self.n > 3:
            raise ValueError(
                f"exact samples are for SU(2) and SU(3); got SU({self.n}); train a flow, or run "
                "Metropolis"
            )
        like = {"dtype": self._like.dtype, "device": self._like.device}
        kept = torch.empty(0, self.n, **like)
        while kept.shape[0] < n:
            # Uniform gaps: the spacings of N - 1 uniform numbers.
            sticks = torch.rand(8 * n, self.n - 1, generator=generator, **like).sort(-1).values
            ends = torch.zeros(8 * n, 1, **like)
            gap = 2 * pi * torch.cat([ends, sticks, ends + 1], -1).diff(dim=-1)
            theta = su_n.from_gaps(gap)
            height = self.log_density_of_angles(theta) + su_n.log_vandermonde(theta)
            uniform = torch.rand(8 * n, generator=generator, **like)
            kept = torch.cat([kept, theta[uniform.log() < height - self._ceiling]])
        theta = kept[:n]
        frame = su_n.haar(self.n, n, generator=generator, **like)
        z = torch.complex(theta.cos(), theta.sin())
        return (frame * z[..., None, :]) @ frame.mH

    @cached_property
    def _ceiling(self) -> float:
        """A bound of the log-density of the angles: the largest value on a grid, and a margin."""
        share = torch.linspace(0, 1, 1001 if self.n == 2 else 301, dtype=torch.float64)
        sticks = torch.cartesian_prod(*[share] * (self.n - 1)).reshape(-1, self.n - 1).sort(-1)[0]
        ends = torch.zeros(len(sticks), 1, dtype=torch.float64)
        gap = 2 * pi * torch.cat([ends, sticks, ends + 1], -1).diff(dim=-1)
        theta = su_n.from_gaps(gap)
        height = self.log_density_of_angles(theta) + su_n.log_vandermonde(theta)
        return float(height.max()) + 0.05


class GaugeAction(nn.Module):
    """Matrices of SU(N) on the links of a periodic square lattice: Wilson's action.

        log_prob(U) = (beta / N) sum_x Re tr P(x),   P(x) the plaquette at x

    against Haar measure of each link. Its normaliser is exact in two dimensions.

    >>> target = GaugeAction(4, 2, beta=2.2)
    >>> round(target.log_z, 6), round(target.plaquette, 7)
    (8.862958, 0.4644805)

    Arguments:
        side: L, sites along each direction, two or more.
        n: size of the matrices, two or more.
        beta: strength of the coupling, at least 0.

    Raises:
        ValueError: the side or `n` is below two, or `beta` is negative.

    Reference: Wilson 1974; Migdal 1975.
    """

    def __init__(self, side: int, n: int = 2, beta: float = 1.0) -> None:
        super().__init__()
        if validate.positive_count("side", side) < 2:
            raise ValueError(f"a periodic lattice needs a side of 2 or more; got {side}; try 4")
        self.side, self.n, self.beta = side, su_n.at_least_two(n), _strength(beta)
        self.event_shape = Size([2, side, side, n, n])
        self.base_measure = su_n.haar_measure(n)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density of links (B, 2, L, L, N, N), shape (B,).

        Raises:
            TypeError: `x` is not complex.
            ValueError: `x` has another shape, or holds matrices that are not special unitary.
        """
        u = su_n.special_unitary("x", x, self.event_shape)
        return self.beta * self.side**2 * mean_plaquette(u)

    @cached_property
    def log_z(self) -> float:
        """The exact log of the integral of the density, by the expansion in characters."""
        return float(self._log_z(torch.tensor(self.beta, dtype=torch.float64)))

    @cached_property
    def plaquette(self) -> float:
        """The exact mean of `Re tr P / N`: the derivative of log Z along beta, over L^2."""
        with torch.enable_grad():
            beta = torch.tensor(self.beta, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(self._log_z(beta), beta)
        return float(slope) / self.side**2

    def _log_z(self, beta: Tensor) -> Tensor:
        g, top = _fourier(1.0 / self.n, beta[None])
        area, terms = self.side**2, []
        for r in representations(self.n, _largest(self.beta)):
            share = _integral(g, r) / dimension(r)
            # A share below rounding, whose power is zero, has no logarithm to differentiate.
            if float(share.detach()) > 1e-14:
                terms.append(area * share.log())
        return torch.stack(terms).logsumexp(0) + area * self.n * top


def mean_plaquette(u: Tensor) -> Tensor:
    """Return the mean over the lattice of `Re tr P / N`, (B, 2, L, M, N, N) -> (B,)."""
    return su_n.trace(plaquettes(links(u))).real.mean((1, 2)) / u.shape[-1]


def representations(n: int, largest: int) -> list[tuple[int, ...]]:
    """Return the representations of SU(n) by their lists r, up to `r_1 = largest`.

    >>> representations(2, 2)
    [(0, 0), (1, 0), (2, 0)]
    """
    lists = product(range(largest + 1), repeat=n - 1)
    return [(*r, 0) for r in lists if all(a >= b for a, b in zip(r, r[1:], strict=False))]


def dimension(r: Sequence[int]) -> int:
    """Return the dimension of a representation, `prod_{i<j} (r_i - r_j + j - i) / (j - i)`.

    >>> dimension((2, 0)), dimension((2, 1, 0))
    (3, 8)
    """
    pairs = [(i, j) for j in range(len(r)) for i in range(j)]
    return prod(r[i] - r[j] + j - i for i, j in pairs) // prod(j - i for i, j in pairs)


def _strength(beta: float) -> float:
    if not 0.0 <= beta < float("inf"):
        raise ValueError(
            f"beta must be at least 0 and finite; got {beta}; with a negative one the density "
            "prefers plaquettes far from 1: turn the sign of the coefficients if you mean that"
        )
    return float(beta)


def _largest(beta: float) -> int:
    """Return the longest row of a representation that a sum needs: terms fall as I_r(beta)."""
    return 12 + int(2.0 * beta)


def _fourier(scale: float, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Fourier coefficients of g over its largest value, and the log of that value.

    log g(theta) = scale sum_m c_m cos(m theta)
    """
    theta = 2.0 * pi * torch.arange(_POINTS, dtype=torch.float64) / _POINTS
    m = torch.arange(1, len(coefficients) + 1, dtype=torch.float64)
    log_g = scale * ((theta[:, None] * m).cos() @ coefficients)
    top = log_g.detach().max()
    return torch.fft.fft((log_g - top).exp()).real / _POINTS, top


def _integral(g: Tensor, r: Sequence[int]) -> Tensor:
    """Return `sum_k det[ g_{r_i - i + j + k} ]`, the integral of f times the character of r."""
    n, reach = len(r), _POINTS // 4
    rows = torch.tensor(r) - torch.arange(n)
    index = rows[:, None] + torch.arange(n)
    shift = torch.arange(-reach, reach + 1)[:, None, None]
    return torch.linalg.det(g[(index + shift) % _POINTS]).sum()

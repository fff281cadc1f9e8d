"""Rate matrices: at which rate one token turns into another.

    Q[x, y] = rate x -> y >= 0 for y != x,   every row of Q sums to 0,   kernel(b) = expm(b Q)

Rows are where a jump starts, columns where it ends. A rate matrix speaks of one token; the
dimensions of a state jump independently of each other.
"""

from abc import ABC, abstractmethod
from math import pi

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, one_hot

from gentoolkit.core import validate
from gentoolkit.processes.tokens import shaped


class RateMatrix(nn.Module, ABC):
    """The rates (infinitesimal generator) of one token's jumps, in units of its schedule's rate.

    Obligations: `matrix`, `kernel` and `stationary`, which agree. The amount of noise `b` is a
    floating-point tensor and gives the results their dtype and device.

    Arguments:
        size: number of tokens C.

    Raises:
        ValueError: `size` is below two.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if validate.positive_count("size", size) < 2:
            raise ValueError(f"size must be at least 2; got {size}; one token cannot jump anywhere")
        self.size = size

    @abstractmethod
    def matrix(self, like: Tensor | None = None) -> Tensor:
        """Return Q, (C, C), in the dtype and on the device of `like` (default: torch's)."""

    @abstractmethod
    def kernel(self, b: Tensor) -> Tensor:
        """Return `expm(b Q)`, (..., C, C) for b (...)."""

    @abstractmethod
    def stationary(self, like: Tensor | None = None) -> Tensor:
        """Return the law that stays, and to which every other tends, (C,)."""

    def rows(self, x: Tensor, b: Tensor) -> Tensor:
        """Return `kernel(b)[x, :]`, where a token `x` goes: (..., C) for b that broadcasts to x."""
        return _pick(self.kernel(b), x)

    def columns(self, y: Tensor, b: Tensor) -> Tensor:
        """Return `kernel(b)[:, y]`, whence a token `y` may come: (..., C)."""
        return _pick(self.kernel(b).mT, y)

    def rates(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """Return the rates out of `x`, (..., C), with 0 in place of the diagonal."""
        return embedding(x, _no_diagonal(self.matrix(like)))  # copies rows: faster than indexing

    def into(self, y: Tensor, like: Tensor | None = None) -> Tensor:
        """Return the rates into `y`, (..., C): `Q[c, y]` at c, with 0 in place of the diagonal."""
        return embedding(y, _no_diagonal(self.matrix(like)).T)

    def exit(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """Return the total rate out of `x`, (...)."""
        return self.matrix(like).diagonal().abs()[x]  # not minus: that leaves a rate of -0.0


def _empty(like: Tensor | None) -> Tensor:
    return torch.empty(0) if like is None else like


def _no_diagonal(matrix: Tensor) -> Tensor:
    return matrix - matrix.diagonal().diag()


def _pick(kernel: Tensor, x: Tensor) -> Tensor:
    """Return `kernel[..., x, :]` for kernels (*b, C, C) whose batch broadcasts to that of x."""
    if kernel.ndim == 2:
        return embedding(x, kernel)
    batch = torch.broadcast_shapes(kernel.shape[:-2], x.shape)
    which = torch.arange(kernel.shape[:-2].numel(), device=x.device).reshape(kernel.shape[:-2])
    return kernel.flatten(0, -3)[which.expand(batch), x.expand(batch)]


class _Refreshing(RateMatrix):
    """At rate 1 the token is drawn anew: `Q = 1 p^T - I`, `expm(b Q) = e^-b I + (1 - e^-b) 1 p^T`.

    `p` is the stationary law.
    """

    def matrix(self, like: Tensor | None = None) -> Tensor:
        """Return `1 p^T - I`."""
        p = self.stationary(like)
        return p.expand(self.size, -1) - torch.eye(self.size, dtype=p.dtype, device=p.device)

    def kernel(self, b: Tensor) -> Tensor:
        """Return `e^-b I + (1 - e^-b) 1 p^T`."""
        return self.rows(torch.arange(self.size, device=b.device), b[..., None])

    def rows(self, x: Tensor, b: Tensor) -> Tensor:
        """Return `e^-b 1[c = x] + (1 - e^-b) p(c)`."""
        return self._mixed(x, b, self.stationary(b))

    def columns(self, y: Tensor, b: Tensor) -> Tensor:
        """Return `e^-b 1[c = y] + (1 - e^-b) p(y)`."""
        return self._mixed(y, b, self.stationary(b)[y][..., None])

    def _mixed(self, x: Tensor, b: Tensor, fresh: Tensor) -> Tensor:
        b = b.expand(torch.broadcast_shapes(b.shape, x.shape))[..., None]
        return (-b).exp() * one_hot(x, self.size).to(b) - torch.expm1(-b) * fresh


class UniformRates(_Refreshing):
    """Every token is drawn anew, uniformly, at rate 1: `Q = 1 1^T / C - I`.

    Reference: Austin et al. 2021 (arXiv 2107.03006).
    """

    def stationary(self, like: Tensor | None = None) -> Tensor:
        """Return 1 / C, (C,)."""
        return _empty(like).new_full((self.size,), 1.0 / self.size)


class AbsorbingRates(_Refreshing):
    """Every token turns into the mask, the last of the `size` tokens, at rate 1 and stays there.

    Reference: Austin et al. 2021 (arXiv 2107.03006).
    """

    @property
    def mask(self) -> int:
        """Which token is the mask."""
        return self.size - 1

    def stationary(self, like: Tensor | None = None) -> Tensor:
        """Return 1 at the mask, 0 elsewhere, (C,)."""
        law = _empty(like).new_zeros(self.size)
        law[self.mask] = 1.0
        return law


class OrdinalRates(RateMatrix):
    """Tokens in a row: each jumps to each of its neighbours at rate 1.

        expm(b Q) = V diag(exp(-b l)) V^T,   l_k = 2 - 2 cos(pi k / C)
        V[i, k] ~ cos(pi k (i + 1/2) / C)        (the cosine transform)

    It forgets slowly: in `b` of about `C^2 / 4`.
    """

    def matrix(self, like: Tensor | None = None) -> Tensor:
        """Return 1 beside the diagonal, and minus the row's sum on it."""
        beside = _empty(like).new_ones(self.size - 1)
        rates = beside.diag(1) + beside.diag(-1)
        return rates - rates.sum(1).diag()

    def kernel(self, b: Tensor) -> Tensor:
        """Return the kernel by the cosine transform, in float64 inside."""
        k = torch.arange(self.size, dtype=torch.float64, device=b.device)
        waves = (pi * k * (k[:, None] + 0.5) / self.size).cos()
        waves = waves / waves.square().sum(0).sqrt()
        decay = (-b.double()[..., None] * (2.0 - 2.0 * (pi * k / self.size).cos())).exp()
        return _stochastic((waves * decay[..., None, :]) @ waves.T).to(b.dtype)

    def stationary(self, like: Tensor | None = None) -> Tensor:
        """Return 1 / C, (C,)."""
        return _empty(like).new_full((self.size,), 1.0 / self.size)


def _stochastic(kernel: Tensor) -> Tensor:
    """Remove what rounding leaves: entries a little below 0, rows a little off 1."""
    kernel = kernel.clamp_min(0.0)
    return kernel / kernel.sum(-1, keepdim=True)


class DenseRates(RateMatrix):
    """A given matrix, which is a buffer; its kernel is a matrix exponential.

    >>> DenseRates(torch.tensor([[-1.0, 1.0], [3.0, -3.0]])).stationary().round(decimals=4)
    tensor([0.7500, 0.2500])

    Arguments:
        rates: Q, (C, C), floating point.

    Raises:
        TypeError: Q is not a floating-point tensor.
        ValueError: Q is not square with C >= 2 or not finite, an entry off the diagonal is
            negative, or a row does not sum to 0.
    """

    off_diagonal: Tensor
    law: Tensor

    def __init__(self, rates: Tensor) -> None:
        q = validate.batch("rates", rates)
        if not q.is_floating_point():
            raise TypeError(f"rates must be a floating-point tensor; got {q.dtype}; use q.double()")
        super().__init__(len(q))
        shaped("rates", q, (len(q), len(q)), "a square: a row and a column for each token")
        off_diagonal = _no_diagonal(q)
        if validate.readable(q) and not bool((off_diagonal >= 0).all()):
            least = float(off_diagonal.min())
            raise ValueError(f"rates off the diagonal must be >= 0; got {least}; clamp them at 0")
        slack = 100 * torch.finfo(q.dtype).eps * q.abs().max().clamp_min(1.0)
        if validate.readable(q) and not bool((q.sum(1).abs() <= slack).all()):
            raise ValueError(
                f"rows of the rates must sum to 0; got a sum off by {float(q.sum(1).abs().max())}; "
                "set the diagonal to minus the sum of the rest of its row (rows, not columns)"
            )
        # Without its diagonal, it stays a rate matrix when it is rounded to another type.
        self.register_buffer("off_diagonal", off_diagonal)
        # It is worked out once, in float64, and NaN if there are several.
        self.register_buffer("law", self._solved().to(q))

    def matrix(self, like: Tensor | None = None) -> Tensor:
        """Return Q."""
        rates = self.off_diagonal.to(_empty(like))
        return rates - rates.sum(1).diag()

    def kernel(self, b: Tensor) -> Tensor:
        """Return the matrix exponential, in float64 inside."""
        q = self.matrix(b.double())
        return _stochastic(torch.linalg.matrix_exp(b.double()[..., None, None] * q)).to(b.dtype)

    def stationary(self, like: Tensor | None = None) -> Tensor:
        """Return the solution of `p Q = 0`, `sum p = 1`; a ValueError tells of several."""
        if validate.readable(self.law) and bool(self.law.isnan().any()):
            raise ValueError(
                "there must be one stationary law; got a rate matrix with parts that never meet; "
                "add rates between them"
            )
        return _stochastic(self.law.to(_empty(like)))

    def _solved(self) -> Tensor:
        q = self.matrix(self.off_diagonal.double())
        if int(torch.linalg.matrix_rank(q)) < self.size - 1:
            return q.new_full((self.size,), torch.nan)
        # The columns of Q sum to 0: one equation more fixes the sum of p.
        equations = torch.cat([q.T, q.new_ones(1, self.size)])
        right = torch.cat([q.new_zeros(self.size), q.new_ones(1)])
        return _stochastic(torch.linalg.lstsq(equations, right[:, None]).solution[:, 0])

"""Exact moments of a log-weight that is a quadratic polynomial of the noise.

Where every law is Gaussian with an affine mean, a path is affine in the noise z that drew it, so

    log_w(z) = c + b.z + z^T H z / 2,   z ~ N(0, I)
    E[log w] = c + tr H / 2,   Var[log w] = |b|^2 + tr H^2 / 2
    log E[w] = c - log det(I - H) / 2 + b^T (I - H)^-1 b / 2

The coefficients are read off the library's own samplers, which are fed the noise.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor


@contextmanager
def fed(noise: Tensor) -> Iterator[Callable[[], int]]:
    """Let `torch.randn` hand out the columns of `noise` (n, numbers); gives how many were used."""
    used = 0

    def randn(*size, **options) -> Tensor:
        nonlocal used
        shape = torch.Size(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
        assert shape[0] == len(noise), "one row of noise for each path"
        count = shape[1:].numel()
        assert used + count <= noise.shape[1], "the path asks for more noise than there is"
        used += count
        return noise[:, used - count : used].reshape(shape)

    with patch("torch.randn", randn):
        yield lambda: used


@dataclass(frozen=True)
class Quadratic:
    """`c + b.z + z^T H z / 2`."""

    c: float
    b: Tensor
    h: Tensor

    @property
    def mean(self) -> float:
        return self.c + float(self.h.trace()) / 2

    @property
    def variance(self) -> float:
        return float(self.b.square().sum() + self.h.square().sum() / 2)

    @property
    def log_mean_exp(self) -> float:
        rest = torch.eye(len(self.b)) - self.h
        assert float(torch.linalg.eigvalsh(rest).min()) > 0, "E[w] is infinite"
        tilt = self.b @ torch.linalg.solve(rest, self.b)
        return self.c + float(tilt - torch.linalg.slogdet(rest).logabsdet) / 2

    def at(self, z: Tensor) -> Tensor:
        return self.c + z @ self.b + ((z @ self.h) * z).sum(1) / 2


def quadratic(log_weights: Callable[[int], Tensor], numbers: int) -> Quadratic:
    """Return the polynomial, from its values at 0, e_i, -e_i and e_i + e_j; exact but for rounding.

    Arguments:
        log_weights: draws n paths and returns their log-weights, (n,).
        numbers: how many normal numbers a path uses up; another number fails.
    """

    def values(z: Tensor) -> Tensor:
        with torch.no_grad(), fed(z) as used:
            log_w = log_weights(len(z))
        assert used() == numbers, f"a path uses {used()} numbers, not {numbers}"
        return log_w

    eye = torch.eye(numbers)
    sums = (eye[:, None] + eye).reshape(-1, numbers)
    c = values(torch.zeros(1, numbers))[0]
    up, down = values(eye), values(-eye)
    h = values(sums).reshape(numbers, numbers) - up[:, None] - up + c
    h.diagonal().copy_(up + down - 2 * c)
    result = Quadratic(float(c), (up - down) / 2, h)
    z = torch.randn(16, numbers)
    torch.testing.assert_close(values(z), result.at(z), rtol=1e-8, atol=1e-8)
    return result

"""Jacobians of maps between rows, and traces of them, exact or estimated.

The maps take (B, D) to (B, D) and treat every row alone. All results follow the gradient: they
can be differentiated in the inputs and in the map's parameters.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

RowMap = Callable[[Tensor], Tensor]
Noise = Callable[[Tensor, Generator | None], Tensor]


def rademacher(like: Tensor, generator: Generator | None = None) -> Tensor:
    """Return independent signs, +1 or -1 with equal chance, shaped as `like`."""
    bits = torch.randint(2, like.shape, generator=generator, device=like.device)
    return (2 * bits - 1).to(like.dtype)


def gaussian(like: Tensor, generator: Generator | None = None) -> Tensor:
    """Return independent standard normal numbers, shaped as `like`."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


class Linearised:
    """A map at given rows: its value, and products with its Jacobian there.

    Reverse mode throughout: the map is evaluated once, and each product is one sweep back.

    Arguments:
        f: takes rows (B, D) to rows (B, D), each alone.
        x: where, (B, D).
    """

    def __init__(self, f: RowMap, x: Tensor) -> None:
        self._differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            # A history is kept only where it is wanted. Either way the rows get a node of their
            # own: products must meet neither hooks on x nor a view that was made without grad.
            keep = self._differentiable and x.requires_grad
            self._x = x.view_as(x) if keep else x.detach().requires_grad_()
            self._value = f(self._x)
        self.value = self._value if self._differentiable else self._value.detach()

    def pull(self, v: Tensor) -> Tensor:
        """Return `v' J` for each row: (B, D) -> (B, D)."""
        if not self._value.requires_grad:  # a constant map
            return torch.zeros_like(v)
        (product,) = torch.autograd.grad(
            self._value,
            self._x,
            v,
            retain_graph=True,
            create_graph=self._differentiable,
            materialize_grads=True,
        )
        return product

    def jacobian(self) -> Tensor:
        """Return the Jacobian of each row, (B, D, D), by D products."""
        units = torch.eye(self.value.shape[-1], dtype=self.value.dtype, device=self.value.device)
        return torch.stack([self.pull(unit.expand_as(self.value)) for unit in units], 1)


def jacobian(f: RowMap, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `f(x)` (B, D) and its Jacobian for each row, (B, D, D)."""
    at = Linearised(f, x)
    return at.value, at.jacobian()


def divergence(f: RowMap, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `f(x)` (B, D) and the exact trace of its Jacobian, (B,), by D products."""
    value, matrix = jacobian(f, x)
    return value, matrix.diagonal(dim1=-2, dim2=-1).sum(-1)


def hutchinson(f: RowMap, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return `f(x)` (B, D) and an unbiased estimate of the trace, (B,), by one product.

        E[e' J e] = tr J   for   E[e e'] = I,      S = (J + J') / 2
        variance   2 sum of S_ij^2 over i != j   (signs),   2 sum of all S_ij^2   (normal)

    Arguments:
        f: takes rows (B, D) to rows (B, D), each alone.
        x: where, (B, D).
        noise: e, (B, D), from `rademacher` or `gaussian`.

    Reference: Hutchinson 1989; Grathwohl et al. 2018 (arXiv 1810.01367).
    """
    at = Linearised(f, x)
    return at.value, (at.pull(noise) * noise).sum(-1)

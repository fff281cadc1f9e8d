"""Gradients, Jacobians and their traces, exact or estimated, of functions of rows.

The maps take (B, D) to (B, D) and treat every row alone. All results follow the gradient: they
can be differentiated in the inputs and in the map's parameters. The numbers are the same under
`torch.no_grad()` and `torch.inference_mode()`, in `torch.func` transforms and when compiled.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor
from torch.func import jvp, vjp, vmap

from gentoolkit.core import validate

RowMap = Callable[[Tensor], Tensor]
Noise = Callable[[Tensor, Generator | None], Tensor]
Divergence = Callable[[RowMap, Tensor], tuple[Tensor, Tensor]]

_NO_TRACE = (
    "the map must be differentiable; got an output made in inference mode, which keeps no trace of "
    "its input; drop @torch.inference_mode() from the map (under @torch.no_grad() it would be "
    "differentiated all the same), or clone a constant output"
)


def wide(x: Tensor) -> Tensor:
    """Return `x` in float32 if it is in half precision, else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def rademacher(like: Tensor, generator: Generator | None = None) -> Tensor:
    """Return independent signs, +1 or -1 with equal chance, shaped as `like`."""
    bits = torch.randint(2, like.shape, generator=generator, device=like.device)
    return (2 * bits - 1).to(like.dtype)


def gaussian(like: Tensor, generator: Generator | None = None) -> Tensor:
    """Return independent standard normal numbers, shaped as `like`."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


class Linearised:
    """A map at given rows: its value, and products with its Jacobian there.

    Reverse mode: the map is evaluated once, and each product is one sweep back. A map that turns
    gradients off, as one under `@torch.no_grad()` does, is differentiated forwards, in D passes;
    a *part* of a map under `no_grad`, and what is detached, counts as constant.

    Arguments:
        f: takes rows (B, D) to rows (B, K), each alone.
        x: where, (B, D).

    Raises:
        ValueError: the map's output was made in inference mode, where no derivative is left.
    """

    def __init__(self, f: RowMap, x: Tensor) -> None:
        self._matrix = None
        if torch.compiler.is_compiling():  # the looks taken below would break the graph
            self.value, self._back = vjp(f, x)  # pyright: ignore[reportAssignmentType]
            return
        # Tensors made in inference mode cannot be differentiated outside of it; their copies can.
        at = x.clone() if x.is_inference() else x
        graph: list[bool] = []

        def seen(rows: Tensor) -> Tensor:
            value = f(rows)
            graph.append(value.requires_grad)
            return value

        try:
            self.value, self._back = vjp(seen, at)  # pyright: ignore[reportAssignmentType]
        except RuntimeError as error:
            if "inference" in str(error).lower():
                raise ValueError(_NO_TRACE) from error
            raise
        if not graph[0]:
            self._matrix = _forwards(f, at, self.value)

    def pull(self, v: Tensor) -> Tensor:
        """Return `v' J` for each row: (B, K) -> (B, D)."""
        if self._matrix is not None:
            return (v.unsqueeze(-2) @ self._matrix).squeeze(-2)
        return self._back(v)[0]

    def jacobian(self) -> Tensor:
        """Return the Jacobian of each row, (B, K, D), by K products."""
        if self._matrix is not None:
            return self._matrix
        return vmap(self.pull, out_dims=1)(_units(self.value))


def _units(like: Tensor) -> Tensor:
    """Return the D unit vectors, each for every row, (D, B, D)."""
    rows, size = like.shape
    unit = torch.eye(size, dtype=like.dtype, device=like.device)
    return unit[:, None].expand(size, rows, size)


def _forwards(f: RowMap, x: Tensor, value: Tensor) -> Tensor:
    """Return the Jacobian (B, K, D) by forward mode, which `torch.no_grad` does not stop."""
    if value.is_inference():
        raise ValueError(_NO_TRACE)
    return torch.stack([jvp(f, (x,), (unit,))[1] for unit in _units(x)], -1)


def value_and_gradient(f: RowMap, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `f(x)` (B,) and its gradient, (B, *event), for one number a row.

    Where gradients are recorded, both stay differentiable in `x` and in the parameters of f, so a
    loss may reach through a whole path; under `torch.no_grad()` nothing is kept. What is said of
    `Linearised` holds here too.

    Arguments:
        f: takes states (B, *event) to numbers (B,), each row alone.
        x: where, (B, *event).
    """
    plain = not (validate.traced() or torch.is_inference_mode_enabled())
    if plain and (x.requires_grad or not torch.is_grad_enabled()):
        # Twice as fast as what follows, which alone keeps a graph for parameters of f that ask
        # for gradients where x does not.
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            at = x if keep else x.detach().requires_grad_()
            value = f(at)
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(
                    value.sum(), at, create_graph=keep, materialize_grads=True
                )
                return value if keep else value.detach(), gradient
    rows = Linearised(lambda rows: f(rows.reshape(x.shape))[:, None], x.reshape(x.shape[0], -1))
    gradient = rows.pull(torch.ones_like(rows.value))
    return rows.value[:, 0], gradient.reshape(x.shape)


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


class Trace(ABC):
    """A way to follow the divergence of a velocity along trajectories.

    Obligations: `draw` is called once for a batch of trajectories and returns what gives value and
    divergence at every point of them; `estimated` is False only for an exact one.
    """

    estimated: bool = True

    @abstractmethod
    def draw(self, x: Tensor, generator: Generator | None = None) -> Divergence:
        """Return a function of (map, rows) -> (value, divergence) for trajectories from `x`.

        Arguments:
            x: rows (B, D); only their shape, dtype and device count.
            generator: source of randomness.
        """


@dataclass(frozen=True)
class ExactTrace(Trace):
    """The exact trace by D products with the Jacobian: for small D."""

    estimated: bool = field(default=False, init=False)

    def draw(self, x: Tensor, generator: Generator | None = None) -> Divergence:
        """Return `divergence`; nothing is drawn."""
        return divergence


@dataclass(frozen=True)
class Hutchinson(Trace):
    """An unbiased estimate by one product, with one noise for each whole trajectory.

    With new noise at every stage a solver would follow a field that jumps: its error estimate, and
    its order, would be lost.

    Arguments:
        noise: `rademacher` or `gaussian`.

    Reference: Grathwohl et al. 2018 (arXiv 1810.01367).
    """

    noise: Noise = rademacher

    def draw(self, x: Tensor, generator: Generator | None = None) -> Divergence:
        """Draw one noise for each trajectory and return the estimate that uses it."""
        e = self.noise(x.detach(), generator)
        return lambda f, at: hutchinson(f, at, e)

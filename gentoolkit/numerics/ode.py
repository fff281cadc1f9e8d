"""Ordinary differential equations by fixed steps: dx/dt = f(t, x).

A state is a tuple of tensors, so that a density can ride along with a point.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gentoolkit.core import validate

State = tuple[Tensor, ...]
Field = Callable[[Tensor, State], State]
Rule = Callable[[Field, Tensor, Tensor, State], State]


def _add(state: State, h: Tensor | float, slope: State) -> State:
    return tuple(x + h * dx for x, dx in zip(state, slope, strict=True))


def euler(f: Field, t: Tensor, h: Tensor, state: State) -> State:
    """Take one step of Euler's rule, order 1: `x + h f(t, x)`."""
    return _add(state, h, f(t, state))


def heun(f: Field, t: Tensor, h: Tensor, state: State) -> State:
    """Take one step of Heun's rule, order 2: the mean of the slopes at both ends."""
    first = f(t, state)
    second = f(t + h, _add(state, h, first))
    return tuple(x + h / 2 * (a + b) for x, a, b in zip(state, first, second, strict=True))


def rk4(f: Field, t: Tensor, h: Tensor, state: State) -> State:
    """Take one step of the classical Runge-Kutta rule, order 4.

    Reference: Kutta 1901.
    """
    a = f(t, state)
    b = f(t + h / 2, _add(state, h / 2, a))
    c = f(t + h / 2, _add(state, h / 2, b))
    d = f(t + h, _add(state, h, c))
    return tuple(
        x + h / 6 * (ka + 2 * (kb + kc) + kd)
        for x, ka, kb, kc, kd in zip(state, a, b, c, d, strict=True)
    )


class Solver(Protocol):
    """What a continuous model asks of a solver; `FixedStep` and `Adaptive` offer it."""

    def solve(
        self, f: Field, state: State, t0: float, t1: float, parameters: Sequence[Tensor] = ()
    ) -> State:
        """Return the state at `t1` of `dx/dt = f(t, x)`.

        Arguments:
            f: the slopes of all parts of the state at a time () and a state.
            state: at `t0`.
            t0: where to start; may lie after `t1`.
            t1: where to end.
            parameters: all that the field depends on, for solvers that keep no graph.
        """
        ...


@dataclass(frozen=True)
class FixedStep:
    """A solver of equal steps; autograd runs through them all.

    Arguments:
        rule: one step: `euler`, `heun`, `rk4`, or a function of (field, t, h, state).
        steps: how many between the two times.

    Raises:
        ValueError: no steps.
    """

    rule: Rule = rk4
    steps: int = 20

    def __post_init__(self) -> None:
        validate.positive_count("steps", self.steps)

    def solve(
        self, f: Field, state: State, t0: float, t1: float, parameters: Sequence[Tensor] = ()
    ) -> State:
        """Return the state at `t1`; `parameters` are not needed here."""
        *_, (_, last) = path(f, state, t0, t1, self.steps, self.rule)
        return last


def path(
    f: Field, state: State, t0: float, t1: float, steps: int, rule: Rule = rk4
) -> Iterator[tuple[float, State]]:
    """Yield the time and the state at the start and after each of `steps` equal steps.

    Arguments: those of `Solver.solve` and `FixedStep`.
    """
    like = state[0]
    h = (t1 - t0) / validate.positive_count("steps", steps)
    step = torch.as_tensor(h, dtype=like.dtype, device=like.device)
    yield t0, state
    for i in range(steps):
        t = torch.as_tensor(t0 + i * h, dtype=like.dtype, device=like.device)
        state = rule(f, t, step, state)
        yield t0 + (i + 1) * h, state

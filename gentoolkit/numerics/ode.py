"""Ordinary differential equations by fixed steps: dx/dt = f(t, x).

A state is a tuple of tensors, so that a density can ride along with a point.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class FixedStep:
    """A solver of equal steps; autograd runs through them all.

    Arguments:
        rule: one step: `euler`, `heun`, `rk4`, or a function of (field, t, h, state).
        steps: how many between the two times.
        tolerance: if given, every solution is computed with twice as many steps too; the finer
            one is returned, and the two may differ by this much, relative to 1 + |x|, at most.

    Raises:
        ValueError: no steps, or a tolerance that is not positive.
    """

    rule: Rule = rk4
    steps: int = 20
    tolerance: float | None = None

    def __post_init__(self) -> None:
        validate.positive_count("steps", self.steps)
        if self.tolerance is not None:
            validate.positive("tolerance", self.tolerance)

    def solve(
        self, f: Field, state: State, t0: float, t1: float, parameters: Sequence[Tensor] = ()
    ) -> State:
        """Return the state at `t1`.

        Arguments:
            f: the slopes of all parts of the state at a time () and a state.
            state: at `t0`.
            t0: where to start; may lie after `t1`.
            t1: where to end.
            parameters: what the field depends on; used by solvers without a graph, not here.

        Raises:
            ValueError: with a `tolerance`, the steps are too coarse for it.
        """
        if self.tolerance is None:
            return _last(path(f, state, t0, t1, self.steps, self.rule))[1]
        with torch.no_grad():
            coarse = _last(path(f, state, t0, t1, self.steps, self.rule))[1]
        fine = _last(path(f, state, t0, t1, 2 * self.steps, self.rule))[1]
        residual = max(
            float(((a - b).abs() / (1.0 + b.abs())).max())
            for a, b in zip(coarse, (x.detach() for x in fine), strict=True)
        )
        if not residual <= self.tolerance:
            raise ValueError(
                f"the ODE has not converged in {2 * self.steps} steps: halving the step moves the "
                f"end by a residual of {residual:.3g}, above the tolerance {self.tolerance:.3g}; "
                "take more steps, or a smoother velocity"
            )
        return fine


def path(
    f: Field, state: State, t0: float, t1: float, steps: int, rule: Rule = rk4
) -> Iterator[tuple[float, State]]:
    """Yield the time and the state at the start and after each of `steps` equal steps.

    Arguments:
        f: the slopes of all parts of the state at a time () and a state.
        state: at `t0`.
        t0: where to start; may lie after `t1`.
        t1: where to end.
        steps: how many.
        rule: one step.
    """
    like = state[0]
    h = (t1 - t0) / validate.positive_count("steps", steps)
    step = torch.as_tensor(h, dtype=like.dtype, device=like.device)
    yield t0, state
    for i in range(steps):
        t = torch.as_tensor(t0 + i * h, dtype=like.dtype, device=like.device)
        state = rule(f, t, step, state)
        yield t0 + (i + 1) * h, state


def _last(states: Iterator[tuple[float, State]]) -> tuple[float, State]:
    *_, last = states
    return last

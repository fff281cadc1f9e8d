"""An adaptive solver: steps chosen by their error, through torchdiffeq.

The package is loaded with the first solution: it brings scipy, which no import should.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.numerics.ode import Field, State, rk4


def _torchdiffeq() -> ModuleType:
    try:
        import torchdiffeq
    except ImportError as error:
        raise ImportError(
            "the adaptive solver needs the package torchdiffeq; got no such module; run "
            "pip install torchdiffeq, or use FixedStep"
        ) from error
    return torchdiffeq


@dataclass(frozen=True)
class Adaptive:
    """The Dormand-Prince rule of order 5 with error control, for every entry of the state.

    Arguments:
        rtol: tolerance of a step's error, relative to the state.
        atol: absolute tolerance of a step's error.
        adjoint: compute gradients by a second ODE solved back in time: memory does not grow with
            the number of steps, and the gradient is right to the tolerance, not to rounding.
        max_steps: how many steps may be tried.

    Raises:
        ValueError: a tolerance that is not positive, or no steps.

    Reference: Dormand and Prince 1980; Chen et al. 2018 (arXiv 1806.07366) for the adjoint.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    adjoint: bool = False
    max_steps: int = 1000

    def __post_init__(self) -> None:
        validate.positive("rtol", self.rtol)
        validate.positive("atol", self.atol)
        validate.positive_count("max_steps", self.max_steps)

    def solve(
        self, f: Field, state: State, t0: float, t1: float, parameters: Sequence[Tensor] = ()
    ) -> State:
        """Return the state at `t1`; the adjoint's gradient reaches `parameters` alone.

        Raises:
            ImportError: torchdiffeq is not installed.
            ValueError: no step is small enough, or there are too many; the error names the
                residual and the tolerance.
        """
        if t0 == t1:
            return state
        like = state[0]
        times = torch.tensor([t0, t1], dtype=like.dtype, device=like.device)
        watched = _Watched(f, self, t0, t1)
        # Steps that end on both times, whichever way: an end read off an interpolation is less
        # exact than the steps themselves.
        options = {"norm": _largest, "step_t": times}
        settings = {"rtol": self.rtol, "atol": self.atol, "method": "dopri5", "options": options}
        if self.adjoint:
            wanted = tuple(p for p in parameters if p.requires_grad)
            solution = _torchdiffeq().odeint_adjoint(
                watched, state, times, adjoint_params=wanted, **settings
            )
        else:
            solution = _torchdiffeq().odeint(watched, state, times, **settings)
        return tuple(part[-1] for part in solution)


def _largest(state: State) -> Tensor:
    """Return the largest entry: a mean would hide one bad row in a good batch."""
    return torch.stack([part.abs().max() for part in state]).max()


class _Watched:
    """The field, with a look at every step before it is tried."""

    def __init__(self, f: Field, solver: Adaptive, t0: float, t1: float) -> None:
        self.f = f
        self.solver = solver
        self.end = t1
        self.low, self.high = min(t0, t1), max(t0, t1)
        self.direction = 1.0 if t1 > t0 else -1.0
        self.tried = 0
        self.tried_adjoint = 0

    def __call__(self, t: Tensor, state: State) -> State:
        # The first step's length is guessed from a probe that may lie past the end, where a field
        # need not exist.
        return self.f(t.clamp(self.low, self.high), state)

    def callback_step(self, t: Tensor, state: State, dt: Tensor) -> None:
        self.tried += 1
        if self._bad(t, state, dt, self.tried):
            residual, tolerance = self._residual(t, state, dt)
            raise ValueError(
                f"the ODE has not converged: after {self.tried} tries, at t = {t.item():.4g}, a "
                f"step of {dt.item():.3g} leaves a residual of {residual:.3g} where the tolerance "
                f"is {tolerance:.3g}; raise rtol, atol or max_steps, or make the velocity smoother"
            )

    def callback_step_adjoint(self, t: Tensor, state: State, dt: Tensor) -> None:
        # The adjoint starts at the end, and once more for every gradient that is asked for.
        self.tried_adjoint = 1 if bool(t == self.end) else self.tried_adjoint + 1
        if self._bad(t, state, dt, self.tried_adjoint):
            raise ValueError(
                f"the adjoint ODE has not converged: after {self.tried_adjoint} tries, at t = "
                f"{t.item():.4g}, a step of {dt.item():.3g} still exceeds the tolerance "
                f"{self.solver.rtol:.3g}; raise rtol, atol or max_steps, or use adjoint=False"
            )

    def _bad(self, t: Tensor, state: State, dt: Tensor, tried: int) -> bool:
        finite = all(bool(torch.isfinite(part).all()) for part in state)
        return not finite or tried > self.solver.max_steps or bool(t + dt == t)

    def _residual(self, t: Tensor, state: State, dt: Tensor) -> tuple[float, float]:
        """Return how far one step and two halves of it are apart, and what is allowed."""
        h = (self.direction * dt).to(state[0].dtype)
        at = t.to(state[0].dtype)
        whole = rk4(self.f, at, h, state)
        halves = rk4(self.f, at + h / 2, h / 2, rk4(self.f, at, h / 2, state))
        gaps = tuple(a - b for a, b in zip(whole, halves, strict=True))
        scale = float(_largest(state).detach())
        return float(_largest(gaps).detach()), self.solver.atol + self.solver.rtol * scale

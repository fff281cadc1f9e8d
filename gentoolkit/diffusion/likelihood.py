"""The exact density of the probability-flow ODE: a diffusion model read as one bijection."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.core.step import Bijection
from gentoolkit.diffusion.denoiser import Denoiser
from gentoolkit.numerics import ExactTrace, Trace, rk4
from gentoolkit.numerics.ode import Rule
from gentoolkit.processes import falling_times


@dataclass(frozen=True)
class ProbabilityFlowMap(Bijection):
    """The map from noise to data along the probability-flow ODE, with its log-determinant.

        dx/dt = v = f x - g^2 score / 2,   log |det dx(last)/dx(first)| = integral of tr dv/dx dt

    `Chain(schedule.source((D,)), [flow]).log_prob(x)` is the model's density at the last time, up
    to the solver's error. The trace is exact, by D products with the Jacobian, or an unbiased
    estimate by one product with a random vector for each trajectory: then `estimated` is True and
    a chain refuses to call it a density. Gradients flow through.

    Arguments:
        denoiser: tells the data, each row alone.
        times: falling, (T+1,): the solver's steps. The first must keep some signal, the last some
            noise.
        rule: one step: `rk4` (order 4), `heun`, `euler`.
        trace: `ExactTrace()`, or `Hutchinson()` for the estimate.

    Raises:
        TypeError: `times` holds integers.
        ValueError: `times` leaves [0, 1], does not fall, ends without noise or begins without
            signal.

    Reference: Song et al. 2021 (arXiv 2011.13456); Grathwohl et al. 2018 (arXiv 1810.01367).
    """

    denoiser: Denoiser
    times: Tensor
    rule: Rule = rk4
    trace: Trace = ExactTrace()

    def __post_init__(self) -> None:
        first, *_, last = self.denoiser.levels(falling_times(self.times))
        if last.noise == 0.0 or first.signal == 0.0:
            raise ValueError(
                "the last time must keep some noise, and the first some signal; got noise "
                f"{last.noise:g} at {last.time:g} and signal {first.signal:g} at {first.time:g}; "
                "stop a little inside, for example at 1e-4 or 0.9999"
            )

    @property
    def estimated(self) -> bool:
        """Whether the trace is an estimate."""
        return self.trace.estimated

    def exact(self) -> "ProbabilityFlowMap":
        """Return the same map with an exact trace."""
        return replace(self, trace=ExactTrace())

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Return dx/dt at states `x` (B, *event) and one time `t` ()."""
        return self._field(t)(x)

    def _field(self, t: Tensor) -> Callable[[Tensor], Tensor]:
        drift, fall = self.denoiser.schedule.rates(t)
        signal = self.denoiser.schedule.signal(t)

        def velocity(x: Tensor) -> Tensor:
            data = self.denoiser.data(x, t.to(x))
            # g^2 = -noise^2 fall and score = (signal data - x) / noise^2.
            return (drift - 0.5 * fall).to(x) * x + (0.5 * fall * signal).to(x) * data

        return velocity

    def transform(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Carry noise `x` (B, *event) to data; the log-determinant (B,) is the trace's integral."""
        return self._carry(x, self.times, generator)

    def inverse(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Carry data `y` to noise; the log-determinant is that of `transform`, no sign flip."""
        x, log_det = self._carry(y, self.times.flip(0), generator)
        return x, -log_det

    def _carry(
        self, x: Tensor, times: Tensor, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return where `x` ends along `times`, and the log-determinant of the way (B,)."""
        if not validate.batch("x", x).is_floating_point():
            raise TypeError(f"x must hold floating-point states; got {x.dtype}; use x.float()")
        shape, divergence = x.shape, self.trace.draw(x.flatten(1), generator)

        def slope(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            velocity = self._field(t)  # outside of what is differentiated
            return divergence(lambda at: velocity(at.reshape(shape)).flatten(1), state[0])

        state = (x.flatten(1), x.new_zeros(shape[0]))
        for t, end in pairwise(times.to(torch.float64)):
            # In float64, so that t + h ends at `end` and never beyond time 1.
            state = self.rule(slope, t, end - t, state)
        return state[0].reshape(shape), state[1]

"""The exact density of the probability-flow ODE: a diffusion model read as one bijection."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.core.laws import Gaussian
from gentoolkit.core.step import Bijection
from gentoolkit.diffusion.coordinates import Parametrisation
from gentoolkit.diffusion.denoiser import Denoiser, Net, checked_path
from gentoolkit.diffusion.schedule import Schedule
from gentoolkit.numerics import Noise, divergence, hutchinson, rk4
from gentoolkit.numerics.ode import Rule

Trace = Callable[[Callable[[Tensor], Tensor], Tensor], tuple[Tensor, Tensor]]


def prior(schedule: Schedule, *event: int, dtype: torch.dtype | None = None) -> Gaussian:
    """Return the source of a diffusion model: N(0, prior_std^2 I) over tensors of shape `event`.

    Arguments:
        schedule: says how wide: about 1, or the greatest noise where the variance explodes.
        event: the event shape.
        dtype: floating-point type; torch's default if left out.
    """
    for size in event:
        validate.positive_count("event size", size)
    return Gaussian(torch.zeros(1, *event, dtype=dtype), schedule.prior_std)


@dataclass(frozen=True)
class ProbabilityFlowMap(Bijection):
    """The map from noise to data along the probability-flow ODE, with its log-determinant.

        dx/dt = v = f x - g^2 score / 2,   log |det dx(last)/dx(first)| = integral of tr dv/dx dt

    `Chain(prior(schedule, D), [flow]).log_prob(x)` is the model's density at the last time, up to
    the solver's error. The trace is exact, by D products with the Jacobian, or an unbiased
    estimate by one product with a random vector for each trajectory: then `estimated` is True and
    a chain refuses to call it a density. Gradients flow through.

    Arguments:
        net: a denoiser, from states (B, *event) and times (B,) to (B, *event), each row alone.
        schedule: signal and noise.
        parametrisation: what the net's output means.
        times: falling, (T+1,): the solver's steps. The last must keep some noise.
        rule: one step: `rk4` (order 4), `heun`, `euler`.
        noise: None for the exact trace, or `rademacher` or `gaussian` for the estimate.

    Raises:
        TypeError: `times` holds integers.
        ValueError: `times` leaves [0, 1], does not fall, or ends without noise.

    Reference: Song et al. 2021 (arXiv 2011.13456); Grathwohl et al. 2018 (arXiv 1810.01367).
    """

    net: Net
    schedule: Schedule
    parametrisation: Parametrisation
    times: Tensor
    rule: Rule = rk4
    noise: Noise | None = None
    estimated: bool = field(init=False)

    def __post_init__(self) -> None:
        model = Denoiser(self.net, self.schedule, self.parametrisation)
        end = model.levels(checked_path(self.times, falling=True))[-1]
        if end.noise == 0.0:
            raise ValueError(
                f"the last time must keep some noise; got none at {end.time}, where the score is "
                "that of the bare data; stop a little above, for example at 1e-4"
            )
        object.__setattr__(self, "estimated", self.noise is not None)

    def exact(self) -> "ProbabilityFlowMap":
        """Return the same map with an exact trace."""
        return ProbabilityFlowMap(
            self.net, self.schedule, self.parametrisation, self.times, self.rule
        )

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Return dx/dt at states `x` (B, *event) and one time `t` ()."""
        drift, fall = (rate.to(x.dtype) for rate in self.schedule.rates(t))
        signal = self.schedule.signal(t).to(x.dtype)
        rows = t.to(x).expand(x.shape[0])
        data = self.parametrisation.to_data(x, rows, self.net(x, rows))
        # g^2 = -noise^2 fall and score = (signal data - x) / noise^2.
        return (drift - 0.5 * fall) * x + 0.5 * fall * signal * data

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return `transform(x)`; an estimated trace is drawn by the generator."""
        return _last(self._carry(x, self.times, generator))

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return `inverse(y)`; an estimated trace is drawn by the generator."""
        x, log_det = _last(self._carry(y, self.times.flip(0), generator))
        return x, -log_det

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Carry noise `x` (B, *event) to data; the log-determinant (B,) is the trace's integral."""
        return self.push(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Carry data `y` to noise; the log-determinant is that of `transform`, no sign flip."""
        return self.pull(y)

    def _carry(
        self, x: Tensor, times: Tensor, generator: Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield states and running log-determinants (B,) at each of `times`."""
        if not validate.batch("x", x).is_floating_point():
            raise TypeError(f"x must hold floating-point states; got {x.dtype}; use x.float()")
        shape, trace = x.shape, self._trace(x, generator)

        def slope(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            def rows(at: Tensor) -> Tensor:
                return self.velocity(at.reshape(shape), t).flatten(1)

            return trace(rows, state[0])

        state = (x.flatten(1), x.new_zeros(shape[0]))
        yield x, state[1]
        for t, end in pairwise(times.to(torch.float64)):
            # In float64, so that t + h ends at `end` and never beyond time 1.
            state = self.rule(slope, t, end - t, state)
            yield state[0].reshape(shape), state[1]

    def _trace(self, x: Tensor, generator: Generator | None) -> Trace:
        if self.noise is None:
            return divergence
        e = self.noise(x.detach().flatten(1), generator)  # one for the whole trajectory
        return lambda f, at: hutchinson(f, at, e)


def _last(states: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    *_, end = states
    return end

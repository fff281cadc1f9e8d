"""Continuous flows: points carried by a velocity, densities by its divergence.

dx/dt = v(x, t),   log |det dx(1)/dx(0)| = integral of tr dv/dx along the path
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import validate
from gentoolkit.flows.condition import beside, context_width, rows
from gentoolkit.flows.layer import Flow, Layer
from gentoolkit.nets import MLP
from gentoolkit.numerics import ExactTrace, FixedStep, Solver, Trace
from gentoolkit.numerics.ode import Field


class Velocity(nn.Module):
    """A smooth perceptron of a state, a time and perhaps a context, (B, D) -> (B, D).

    Arguments:
        features: width D.
        hidden: widths of the hidden layers.
        context: width of the context, 0 if there is none.
    """

    def __init__(self, features: int, hidden: Sequence[int] = (64, 64), context: int = 0) -> None:
        super().__init__()
        self.context = context_width(context)
        self.features = validate.positive_count("features", features)
        self.net = MLP(features + 1 + self.context, features, hidden, nn.Tanh)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the velocity at states `x` (B, D), one time () and a context (B, context).

        Raises:
            ValueError: `x` is of another width, or the context does not fit.
        """
        seen = beside(rows(x, self.features), context, self.context)
        return self.net(torch.cat([seen, t.expand(x.shape[0], 1)], -1))


class ContinuousFlow(Layer):
    """The layer that carries points along a velocity from time 0 to `time`.

    The round trip closes, and the log-determinant is that of the map, to the solver's error.

    Arguments:
        velocity: from states (B, *event) and a time () to (B, *event); with a context, (B, C)
            comes third.
        trace: `ExactTrace` or `Hutchinson`; exact if left out.
        solver: `FixedStep`, `Adaptive`, or anything with their `solve`.
        time: how long the points travel.
        context: width of the context that `velocity` takes; a `Velocity` knows its own.

    Reference: Chen et al. 2018 (arXiv 1806.07366); Grathwohl et al. 2018 (arXiv 1810.01367).
    """

    def __init__(
        self,
        velocity: nn.Module,
        trace: Trace | None = None,
        solver: Solver | None = None,
        time: float = 1.0,
        context: int = 0,
    ) -> None:
        super().__init__()
        validate.positive("time", time)
        self.velocity = velocity
        self.context = velocity.context if isinstance(velocity, Velocity) else context
        self.trace = ExactTrace() if trace is None else trace
        self.estimated = self.trace.estimated
        self.solver = FixedStep() if solver is None else solver
        self.time = time

    def exact(self) -> "ContinuousFlow":
        """Return the same map, with the same parameters, whose trace is exact."""
        return type(self)(self.velocity, ExactTrace(), self.solver, self.time, self.context)

    def transform(
        self, x: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Carry `x` from time 0 to the end; the log-determinant is the integral of the trace."""
        return self._carry(x, context, generator, 0.0, self.time)

    def inverse(
        self, y: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Carry `y` back to time 0; the log-determinant is that of `transform`, no sign flip."""
        return self._carry(y, context, generator, self.time, 0.0)

    def path(
        self,
        x: Tensor,
        steps: int = 20,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Yield time, states (B, *event) and running log-determinants (B,) at `steps` + 1 times.

        Between two of these times the layer's own solver works.

        Arguments:
            x: states at time 0, (B, *event).
            steps: into how many parts the time is cut.
            context: (B, context), or None.
            generator: source of randomness of an estimated trace.
        """
        f = self._field(x, context, generator)
        event, state = x.shape, (x.flatten(1), x.new_zeros(x.shape[0]))
        times = torch.linspace(0.0, self.time, validate.positive_count("steps", steps) + 1).tolist()
        yield times[0], x, state[1]
        for start, end in zip(times[:-1], times[1:], strict=True):
            state = self.solver.solve(f, state, start, end, self._depends(context))
            yield end, state[0].reshape(event), state[1]

    def _field(self, x: Tensor, context: Tensor | None, generator: Generator | None) -> Field:
        rate = self.trace.draw(x.flatten(1), generator)
        extra, event = () if context is None else (context,), x.shape

        def velocity(t: Tensor, rows: Tensor) -> Tensor:
            return self.velocity(rows.reshape(event), t, *extra).flatten(1)

        return lambda t, state: rate(lambda rows: velocity(t, rows), state[0])

    def _depends(self, context: Tensor | None) -> list[Tensor]:
        """Return all that an adjoint must differentiate in: it sees nothing else."""
        return [*self.velocity.parameters(), *([] if context is None else [context])]

    def _carry(
        self,
        x: Tensor,
        context: Tensor | None,
        generator: Generator | None,
        t0: float,
        t1: float,
    ) -> tuple[Tensor, Tensor]:
        f = self._field(x, context, generator)
        start = (x.flatten(1), x.new_zeros(x.shape[0]))
        end, change = self.solver.solve(f, start, t0, t1, self._depends(context))
        return end.reshape(x.shape), change if t1 > t0 else -change


def continuous_flow(
    features: int,
    hidden: Sequence[int] = (64, 64),
    context: int = 0,
    trace: Trace | None = None,
    solver: Solver | None = None,
) -> Flow:
    """Return a flow of one continuous layer with a perceptron as its velocity.

    Arguments:
        features: width D of the data.
        hidden: widths of the velocity's hidden layers.
        context: width of the context, 0 if there is none.
        trace: how the divergence is followed; exact if left out.
        solver: how the ODE is solved; 20 steps of the classical Runge-Kutta rule if left out.
    """
    return Flow([ContinuousFlow(Velocity(features, hidden, context), trace, solver)], features)

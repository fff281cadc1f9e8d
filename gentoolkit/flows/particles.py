"""Flows of particles: densities that no shift, rotation, mirror or renumbering changes.

    log p(x, h) = log p_Z(z_x, z_h) - integral of tr J dt,   z carried along dx/dt, dh/dt

The base is symmetric and the velocity equivariant, so the density is symmetric by construction.
Positions have mean zero: the density is one on that subspace.
"""

from collections.abc import Sequence
from math import log, pi

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import validate
from gentoolkit.flows.continuous import ContinuousFlow
from gentoolkit.flows.layer import Flow, Layer
from gentoolkit.nets import EGNN
from gentoolkit.numerics import ZERO_MEAN, Solver, Trace, checked_zero_mean, without_mean


class ZeroMeanGaussian(nn.Module):
    """The standard normal on particles with mean position zero, and on their features.

        log p(x, h) = -(|x|^2 + |h|^2) / 2 - ((M - 1) n + M f) / 2 log 2 pi

    Its base measure is that of the subspace: with M n in the place of (M - 1) n, it would not
    integrate to one.

    Arguments:
        particles: M >= 2.
        dimensions: n, of the space.
        features: f, numbers beside the position of each particle; they have no constraint.

    Raises:
        ValueError: fewer than two particles.

    Reference: Köhler, Klein, Noé 2020 (arXiv 2006.02425).

    >>> ZeroMeanGaussian(4, 2).log_prob(torch.zeros(1, 4, 2))  # - 3 log 2 pi
    tensor([-5.5136])
    """

    base_measure = ZERO_MEAN
    _like: Tensor

    def __init__(self, particles: int, dimensions: int, features: int = 0) -> None:
        super().__init__()
        self.event_shape = particle_shape(particles, dimensions, features)
        self.dimensions = dimensions
        self.free = (particles - 1) * dimensions + particles * features
        # Samples follow the dtype and the device of a model that holds the density.
        self.register_buffer("_like", torch.empty(0), persistent=False)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of `x` (B, M, n + f) on the subspace, (B,).

        Raises:
            ValueError: `x` has another shape, or a mean position that is not zero.
        """
        validate.batch("x", x, self.event_shape)
        checked_zero_mean("x", x, self.dimensions)
        return -0.5 * x.square().sum((1, 2)) - 0.5 * self.free * log(2 * pi)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` samples, (n, M, n + f): a Gaussian of all positions, minus their mean."""
        like = {"dtype": self._like.dtype, "device": self._like.device}
        count = validate.positive_count("n", n)
        noise = torch.randn(count, *self.event_shape, generator=generator, **like)
        return without_mean(noise, self.dimensions)


def particle_shape(particles: int, dimensions: int, features: int) -> torch.Size:
    """Return the event shape (M, n + f) of particles.

    Raises:
        ValueError: fewer than two particles, no dimension, or a negative number of features.
    """
    if validate.positive_count("particles", particles) < 2:
        raise ValueError(
            f"particles must be two or more; got {particles}; one particle at its own centre of "
            "mass has nowhere to go"
        )
    width = validate.positive_count("dimensions", dimensions)
    if features:
        width += validate.positive_count("features", features)
    return torch.Size([particles, width])


class ParticleVelocity(nn.Module):
    """The velocity that a graph network gives to particles, without its mean.

        dx/dt = x' - x - mean of (x' - x),   dh/dt = h',   (x', h') = net(x, (h, t))

    Arguments:
        net: takes positions (B, M, n) and features (B, M, f + 1), the last of them the time, and
            returns moved positions and features (B, M, f): an `EGNN`, which makes the velocity
            equivariant, or a `VectorGNN`, which does not.
        dimensions: n, of the space.
    """

    def __init__(self, net: nn.Module, dimensions: int) -> None:
        super().__init__()
        self.net = net
        self.dimensions = validate.positive_count("dimensions", dimensions)

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        """Return the velocity at states (B, M, n + f) and one time ()."""
        x, h = state[..., : self.dimensions], state[..., self.dimensions :]
        moved, rate = self.net(x, torch.cat([h, t.expand(*x.shape[:2], 1)], -1))
        return without_mean(torch.cat([moved - x, rate], -1), self.dimensions)


class ParticleLayer(ContinuousFlow):
    """The layer that carries particles, with mean position zero, along a velocity.

    A velocity that has mean zero and that no shift changes has the same trace over all M n
    coordinates as on the subspace, since its Jacobian has a zero row and a zero column for each
    coordinate of the mean.

    Arguments: those of `ContinuousFlow`; the velocity is a `ParticleVelocity`.

    Reference: Garcia Satorras et al. 2021 (arXiv 2105.09016).
    """

    def transform(
        self, x: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Carry `x` (B, M, n + f) from noise to data.

        Raises:
            ValueError: a mean position is not zero.
        """
        return super().transform(self._centred("x", x), context, generator)

    def inverse(
        self, y: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Carry `y` (B, M, n + f) from data to noise; the same log-determinant, no sign flip.

        Raises:
            ValueError: a mean position is not zero.
        """
        return super().inverse(self._centred("y", y), context, generator)

    def _centred(self, name: str, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ValueError(
                f"{name} must have shape (B, M, n + f); got {tuple(x.shape)}; one row of numbers "
                "for each particle"
            )
        dimensions = self.velocity.dimensions
        assert isinstance(dimensions, int)
        return checked_zero_mean(name, x, dimensions)


class ParticleFlow(Flow):
    """A flow of M particles from `ZeroMeanGaussian` to data on the same subspace.

    >>> flow = particle_flow(4, 2)
    >>> x = flow.sample(3, generator=torch.Generator().manual_seed(0))
    >>> turned = x.flip(1) @ torch.tensor([[0.6, -0.8], [0.8, 0.6]])  # renumbered and rotated
    >>> bool((flow.log_prob(turned) - flow.log_prob(x)).abs().max() < 1e-4)
    True

    Arguments:
        layers: `ParticleLayer`s, from the source side to the target side.
        particles: M >= 2.
        dimensions: n, of the space.
        features: f, numbers beside each position.

    Reference: Garcia Satorras et al. 2021 (arXiv 2105.09016).
    """

    def __init__(
        self, layers: Sequence[Layer], particles: int, dimensions: int, features: int = 0
    ) -> None:
        source = ZeroMeanGaussian(particles, dimensions, features)
        super().__init__(layers, source.event_shape, source)
        self.dimensions, self.features = dimensions, features

    def sized(self, particles: int) -> "ParticleFlow":
        """Return a flow of another number of particles that shares all parameters.

        A graph network does not know how many particles there are.
        """
        layers = [layer for layer in self.layers if isinstance(layer, Layer)]
        other = ParticleFlow(layers, particles, self.dimensions, self.features)
        parameter = next(self.parameters(), None)
        return other if parameter is None else other.to(parameter)

    def exact(self) -> "ParticleFlow":
        """Return the same flow, with the same parameters, whose traces are exact."""
        layers = [
            layer.exact() if isinstance(layer, ContinuousFlow) else layer
            for layer in self.layers
            if isinstance(layer, Layer)
        ]
        other = ParticleFlow(layers, self.event_shape[0], self.dimensions, self.features)
        return other.to(next(self.parameters()))


def particle_flow(
    particles: int,
    dimensions: int,
    features: int = 0,
    width: int = 32,
    layers: int = 2,
    trace: Trace | None = None,
    solver: Solver | None = None,
) -> ParticleFlow:
    """Return an E(n)-equivariant flow: one continuous layer with an `EGNN` as its velocity.

    Arguments:
        particles: M >= 2.
        dimensions: n, of the space.
        features: f, numbers beside each position.
        width: of the network's hidden layers.
        layers: how often the network sends messages.
        trace: how the divergence is followed; exact if left out.
        solver: how the ODE is solved; 20 steps of the classical Runge-Kutta rule if left out.

    Raises:
        ValueError: fewer than two particles.

    Reference: Garcia Satorras et al. 2021 (arXiv 2105.09016).
    """
    particle_shape(particles, dimensions, features)
    velocity = ParticleVelocity(EGNN(features + 1, features, width, layers), dimensions)
    return ParticleFlow([ParticleLayer(velocity, trace, solver)], particles, dimensions, features)

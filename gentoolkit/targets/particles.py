"""Particles that act on each other in pairs: the double well and the Lennard-Jones potential.

    log_prob(x) = -u(x),   x in R^(M n) with mean position zero

The densities live on that subspace of (M - 1) n dimensions; over all of R^(M n) they would have no
normaliser, since no shift changes the energy.
"""

from abc import abstractmethod
from functools import cached_property
from math import gamma, log, pi, sqrt

import numpy as np
import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import Unsupported, validate
from gentoolkit.numerics import ZERO_MEAN, checked_zero_mean, distances, without_mean


class ParticleSystem(nn.Module):
    """M particles in R^n, whose energy no shift, rotation, mirror or renumbering changes.

    Obligations: a subclass writes `energy(x)` for `x` (B, M, n) with mean position zero; it may
    assume that no two particles are in one place.

    Arguments:
        particles: M >= 2.
        dimensions: n >= 1.

    Raises:
        ValueError: fewer than two particles, or no dimension.
    """

    base_measure = ZERO_MEAN
    _like: Tensor

    def __init__(self, particles: int, dimensions: int) -> None:
        super().__init__()
        if validate.positive_count("particles", particles) < 2:
            raise ValueError(
                f"particles must be two or more; got {particles}; a pair energy needs a pair"
            )
        validate.positive_count("dimensions", dimensions)
        self.event_shape = Size((particles, dimensions))
        # Samples follow the dtype and the device of a model that holds the target.
        self.register_buffer("_like", torch.empty(0), persistent=False)

    @abstractmethod
    def energy(self, x: Tensor) -> Tensor:
        """Return u of each row of `x` (B, M, n), (B,)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the unnormalised log-density -u of `x` (B, M, n), (B,).

        Raises:
            ValueError: another shape, a mean position that is not zero, or two particles of a row
                in one place.
        """
        validate.batch("x", x, self.event_shape)
        checked_zero_mean("x", x)
        if validate.readable(x):
            nearest = float(distances(x.detach()).min())
            if nearest == 0.0:
                raise ValueError(
                    "two particles must not be in one place, where forces have no direction; got "
                    "a distance of 0; move one of them"
                )
        return -self.energy(x)

    @torch.no_grad()
    def walk(
        self,
        n: int,
        steps: int = 2000,
        *,
        near: float = 0.3,
        far: float = 3.0,
        start: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Draw `n` nearly independent samples, (n, M, n), by as many Metropolis walks.

        Each step moves one particle of each walk by a Gaussian, narrow or wide by turns, and takes
        the mean off again: a symmetric proposal on the subspace. The first half of the steps cools
        from four times the temperature, so that walks cross barriers before they settle.

        Arguments:
            n: how many walks; the last state of each is kept.
            steps: how many moves of each walk.
            near: deviation of the narrow moves.
            far: deviation of the wide moves.
            start: where to go on, (n, M, dimensions); nothing is cooled then.
            generator: source of randomness.
        """
        count, size = validate.positive_count("n", n), self.event_shape[0]
        validate.positive_count("steps", steps)
        validate.positive("near", near)
        validate.positive("far", far)
        like = {"dtype": self._like.dtype, "device": self._like.device}
        drawn = {"generator": generator, **like}
        if start is None:
            x = without_mean(1.5 * torch.randn(count, *self.event_shape, **drawn))
        else:
            x = validate.batch("start", start, self.event_shape)
        u, rows = self.energy(x), torch.arange(count, device=x.device)
        for k in range(steps):
            cold = 1.0 if start is not None else min(1.0, 0.25 + 1.5 * k / steps)
            who = torch.randint(size, (count,), generator=generator, device=x.device)
            moved = x.clone()
            width = far if k % 4 == 0 else near
            moved[rows, who] += width * torch.randn(count, self.event_shape[1], **drawn)
            moved = without_mean(moved)
            there = self.energy(moved)
            take = torch.rand(count, **drawn).log() < cold * (u - there)
            x, u = torch.where(take[:, None, None], moved, x), torch.where(take, there, u)
        return x


class DoubleWellParticles(ParticleSystem):
    """Particles whose pairs like two distances, 4 - 1.49 and 4 + 1.49: DW4 by default, DW2.

        u(x) = sum over i < j of 0.9 (d_ij - 4)^4 - 4 (d_ij - 4)^2

    For two particles the normaliser is an integral over their distance, and `sample` is exact.

    Arguments:
        particles: M >= 2.
        dimensions: n >= 1.

    Reference: Köhler, Klein, Noé 2020 (arXiv 2006.02425).

    >>> round(DoubleWellParticles(2).log_z, 6)
    7.260393
    """

    def __init__(self, particles: int = 4, dimensions: int = 2) -> None:
        super().__init__(particles, dimensions)

    def energy(self, x: Tensor) -> Tensor:
        """Return the sum of the pairs' energies, (B,)."""
        return self.pair(distances(x)).sum(-1)

    @staticmethod
    def pair(distance: Tensor) -> Tensor:
        """Return the energy of a pair at a distance, of the shape of `distance`."""
        square = (distance - 4.0).square()
        return 0.9 * square.square() - 4.0 * square

    @property
    def log_z(self) -> float:
        """The log of the normaliser on the zero-mean subspace, for two particles.

        With s = d / sqrt 2 the subspace is R^n and s the radius in it, so

            Z = integral of |sphere| s^(n - 1) exp(-u(sqrt 2 s)) ds

        Raises:
            Unsupported: there are more than two particles.
        """
        s, log_mass = self._radial
        return float(np.logaddexp.reduce(log_mass))

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` exact samples of two particles, (n, 2, dimensions).

        Raises:
            Unsupported: there are more than two particles.
        """
        s, log_mass = self._radial
        validate.positive_count("n", n)
        like = {"dtype": self._like.dtype, "device": self._like.device}
        chance = torch.as_tensor(np.exp(log_mass - self.log_z))
        # A node is drawn by its mass, then moved within its cell: exact to the width of a cell.
        node = torch.multinomial(
            chance.to(self._like.device), n, replacement=True, generator=generator
        )
        within = torch.rand(n, generator=generator, **like) - 0.5
        radius = torch.as_tensor(s).to(**like)[node] + within * float(s[1] - s[0])
        way = torch.randn(n, self.event_shape[1], generator=generator, **like)
        y = radius[:, None] * way / way.norm(dim=1, keepdim=True)
        # x_1 = y / sqrt 2 and x_2 = -y / sqrt 2 keep lengths: |x|^2 = |y|^2.
        return torch.stack([y, -y], 1) / sqrt(2)

    @cached_property
    def _radial(self) -> tuple[np.ndarray, np.ndarray]:
        """Midpoints of cells of the radius s, and the log of the mass in each."""
        particles, n = self.event_shape
        if particles > 2:
            raise Unsupported(
                f"only two particles have a known normaliser and exact samples; got {particles}; "
                "use walk(n) for samples, and importance sampling for log Z"
            )
        cells = 40_000
        width = 10.0 / cells
        s = (np.arange(cells) + 0.5) * width
        sphere = log(2) + 0.5 * n * log(pi) - log(gamma(0.5 * n))
        well = (sqrt(2) * s - 4.0) ** 2
        return s, sphere + (n - 1) * np.log(s) - (0.9 * well**2 - 4.0 * well) + log(width)


class LennardJones(ParticleSystem):
    """Atoms that attract each other from afar and repel each other near: LJ13 by default.

        u(x) = depth sum over i < j of [d_ij^-12 - 2 d_ij^-6] + |x|^2 / 2

    The energy of a pair is least, -depth, at d = 1. The papers' code sums over ordered pairs, each
    pair twice, and does not halve: depth 2. With depth 1 the particles form a gas, not a cluster.
    The last term keeps them together: without it they would evaporate, and there would be no
    normaliser.

    Arguments:
        particles: M >= 2.
        dimensions: n >= 1.
        depth: of a pair's well, in units of the temperature.

    Reference: Köhler, Klein, Noé 2020 (arXiv 2006.02425).

    >>> x = torch.tensor([[[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]])
    >>> LennardJones(2).log_prob(x)  # 2 - 1/4
    tensor([1.7500])
    """

    def __init__(self, particles: int = 13, dimensions: int = 3, depth: float = 2.0) -> None:
        super().__init__(particles, dimensions)
        validate.positive("depth", depth)
        self.depth = depth

    def energy(self, x: Tensor) -> Tensor:
        """Return the sum of the pairs' energies and the trap's, (B,)."""
        inverse = distances(x).square().reciprocal() ** 3
        pairs = (inverse.square() - 2.0 * inverse).sum(-1)
        return self.depth * pairs + 0.5 * x.square().sum((1, 2))

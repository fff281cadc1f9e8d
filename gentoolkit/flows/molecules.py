"""Atom types beside positions: a continuous flow of both, closed by an argmax.

f: y = one_hot(argmax h)          certain
b: h ~ q(. | y), argmax h = y     learned, with a density
"""

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid, one_hot, softplus

from gentoolkit.core import Chain, Step, Unsupported, validate
from gentoolkit.flows.particles import ParticleFlow
from gentoolkit.numerics import checked_zero_mean


class ArgmaxTypes(nn.Module, Step):
    """The step between continuous features and the type of each particle.

    Towards the data the largest of K features names the type. Back, features are drawn whose
    largest is the right one: with u normal, its mean and deviation learned for each type,

        h_y = u_y,   h_j = u_y - softplus(u_y - u_j) < u_y        for j != y
        log q(h | y) = log N(u; mean_y, std_y) - sum over j != y of log sigmoid(u_y - u_j)

    so `log_ratio = log q(h | y)`, as the push is certain. Positions pass unchanged.

    Arguments:
        dimensions: n, the columns of positions in front.
        types: K >= 2.

    Raises:
        ValueError: fewer than two types.

    Reference: Hoogeboom et al. 2021, argmax flows (arXiv 2102.05379).
    """

    advice = "lower the learning rate: the features of a type have run away"

    def __init__(self, dimensions: int, types: int) -> None:
        super().__init__()
        self.dimensions = validate.positive_count("dimensions", dimensions)
        if validate.positive_count("types", types) < 2:
            raise ValueError(f"types must be two or more; got {types}; one type needs no features")
        self.types = types
        self.mean = nn.Parameter(2.0 * torch.eye(types))
        self.log_std = nn.Parameter(torch.full((types, types), -0.5))

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Name the types: `x` (B, M, n + K) with features becomes positions and one-hot rows."""
        place, h = self._parts(x)
        kind = one_hot(h.argmax(-1), self.types).to(h.dtype)
        return torch.cat([place, kind], -1), self._log_q(h, kind)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw features of the types in `y` (B, M, n + K).

        Raises:
            ValueError: a row of types is not one-hot, or a mean position is not zero.
        """
        place, kind = self._parts(self._typed(y))
        noise = torch.randn(kind.shape, generator=generator, dtype=y.dtype, device=y.device)
        u = kind @ self.mean + noise * (kind @ self.log_std).exp()
        top = (u * kind).sum(-1, keepdim=True)
        h = torch.where(kind > 0, u, top - softplus(top - u))
        return torch.cat([place, h], -1), self._log_q_of(u, kind)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log q(h | y)`, (B,).

        Raises:
            ValueError: `y` does not name the largest features of `x`, or has other positions.
        """
        named, ratio = self.push(x)
        if validate.readable(named) and not torch.allclose(named, y, rtol=1e-5, atol=1e-5):
            raise ValueError(
                "y must name the largest feature of each particle of x; got another type or "
                "position; replay only states that this step produced"
            )
        return ratio

    def _log_q(self, h: Tensor, kind: Tensor) -> Tensor:
        """Return the density of features, by way of the u that they came from."""
        top = (h * kind).sum(-1, keepdim=True)
        gap = (top - h).masked_fill(kind > 0, 1.0)
        # softplus(top - u) = gap, so top - u = log(e^gap - 1), in a form that does not overflow.
        u = torch.where(kind > 0, h, top - (gap + (-(-gap).expm1()).log()))
        return self._log_q_of(u, kind)

    def _log_q_of(self, u: Tensor, kind: Tensor) -> Tensor:
        log_std = kind @ self.log_std
        z = (u - kind @ self.mean) * (-log_std).exp()
        normal = -0.5 * z.square() - log_std - 0.5 * torch.log(torch.tensor(2 * torch.pi)).to(u)
        top = (u * kind).sum(-1, keepdim=True)
        slope = logsigmoid(top - u) * (1 - kind)
        return (normal - slope).sum((1, 2))

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim != 3 or x.shape[2] != self.dimensions + self.types:
            raise ValueError(
                f"x must have shape (B, M, {self.dimensions + self.types}), positions and then "
                f"types; got {tuple(x.shape)}; append one_hot(types, {self.types})"
            )
        return x[..., : self.dimensions], x[..., self.dimensions :]

    def _typed(self, y: Tensor) -> Tensor:
        kind = self._parts(y)[1]
        if validate.readable(kind):
            if not bool(((kind == 0) | (kind == 1)).all() & (kind.sum(-1) == 1).all()):
                raise ValueError(
                    "the types of y must be one-hot rows; got a row with other numbers; use "
                    f"one_hot(types, {self.types}) behind the positions"
                )
            checked_zero_mean("y", y, self.dimensions)
        return y


class MoleculeFlow(nn.Module):
    """Positions and atom types together: an equivariant flow, then an argmax.

        ELBO = log p(x, h) - log q(h | types),   h ~ q

    Molecules of one batch have one size; all sizes share the parameters. A size for a sample is
    drawn from `sizes` if several are wanted; `sample` draws molecules of `event_shape`.

    Arguments:
        flow: of positions and K features for each atom.

    Raises:
        ValueError: the flow has fewer than two features.

    Reference: Garcia Satorras et al. 2021 (arXiv 2105.09016), section 4.
    """

    def __init__(self, flow: ParticleFlow) -> None:
        super().__init__()
        self.flow = flow
        self.types = ArgmaxTypes(flow.dimensions, flow.features)

    @property
    def event_shape(self) -> torch.Size:
        """The shape of a molecule, (M, n + K)."""
        return self.flow.event_shape

    def chain(self, context: Tensor | None = None, atoms: int | None = None) -> Chain:
        """Return the chain noise -> features -> types, for molecules of `atoms` atoms."""
        validate.no_context(context, "a MoleculeFlow")
        flow = self.flow if atoms in (None, self.event_shape[0]) else self.flow.sized(atoms)
        return Chain(flow.source, [*flow.chain().steps, self.types])

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return a lower bound of log p of each molecule, (B,).

        Arguments:
            batch: positions and one-hot types, (B, M, n + K), all of one size M.

        Raises:
            ValueError: a mean position is not zero, or a row of types is not one-hot.
        """
        validate.batch("batch", batch)
        self.types._parts(batch)
        return self.chain(context, batch.shape[1]).pull(batch, generator).log_evidence()

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return minus the mean bound of a batch, shape ()."""
        return -self.elbo(batch, context=context, generator=generator).mean()

    def log_prob(self, x: Tensor) -> Tensor:
        """Refuse: the density of types is an integral over their features.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            "log p of types is an integral over the features that name them; use elbo, or log_z of "
            "several pulled paths' log_evidence"
        )

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        atoms: int | None = None,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Draw `n` molecules of `atoms` atoms, (n, atoms, n + K), types as one-hot rows."""
        return self.chain(context, atoms).push(n, generator).states[-1]

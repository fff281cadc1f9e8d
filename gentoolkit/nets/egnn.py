"""Graph networks of particles: one that respects rotations, and one that does not.

Both see the particles through their differences only, and treat all of them alike: shifts drop
out and renumbering commutes. `EGNN` commutes with rotations and reflections too.
"""

import torch
from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.nets.mlp import MLP


class _Messages(nn.Module):
    """`m_ij = phi_e(h_i, h_j, r_ij)` for all ordered pairs at once, (B, M, M, width).

    The first layer of phi_e is a sum of three products. Two of them need no pair: they are
    computed once a particle.
    """

    def __init__(self, relations: int, width: int) -> None:
        super().__init__()
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.relation = nn.Linear(relations, width, bias=False)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, h: Tensor, relation: Tensor) -> Tensor:
        pairs = self.receiver(h)[:, :, None] + self.sender(h)[:, None]
        return self.rest(pairs + self.relation(relation))


class _Update(nn.Module):
    """`h_i' = h_i + phi_h(h_i, sum over j != i of e_ij m_ij)`, `e_ij = phi_inf(m_ij)` in (0, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())
        self.net = MLP(2 * width, width, (width,))

    def forward(self, h: Tensor, m: Tensor, others: Tensor) -> Tensor:
        heard = (self.gate(m) * others * m).sum(2)
        return h + self.net(torch.cat([h, heard], -1))


def _others(x: Tensor) -> Tensor:
    """Return 1 for each pair of two particles and 0 on the diagonal, (M, M, 1)."""
    size = x.shape[1]
    return (1 - torch.eye(size, dtype=x.dtype, device=x.device))[..., None]


class _ParticleNet(nn.Module):
    """What both nets share: features are lifted to `width`, and read off at the end."""

    def __init__(self, features: int, outputs: int, width: int, layers: int) -> None:
        super().__init__()
        validate.positive_count("width", width)
        validate.positive_count("layers", layers)
        self.features = validate.positive_count("features", features)
        self.outputs = outputs if outputs == 0 else validate.positive_count("outputs", outputs)
        self.lift = nn.Linear(features, width)
        self.read = nn.Linear(width, outputs) if outputs else None
        # The last features are asked for only by who reads them.
        updates = layers if outputs else layers - 1
        self.updates = nn.ModuleList(_Update(width) for _ in range(updates))

    def _lifted(self, x: Tensor, h: Tensor) -> Tensor:
        if x.ndim != 3 or h.shape != (*x.shape[:2], self.features):
            raise ValueError(
                f"x must have shape (B, M, n), and h ({', '.join(map(str, x.shape[:2]))}, "
                f"{self.features}); got {tuple(x.shape)} and {tuple(h.shape)}; one row of "
                "features for each particle"
            )
        return self.lift(h)

    def _read(self, h: Tensor) -> Tensor:
        return h[..., :0] if self.read is None else self.read(h)


class EGNN(_ParticleNet):
    """An E(n)-equivariant graph network of M particles.

        m_ij = phi_e(h_i, h_j, log(1 + |x_i - x_j|^2))
        x_i' = x_i + sum over j != i of (x_i - x_j) / (|x_i - x_j| + 1) phi_x(m_ij)
        h_i' = h_i + phi_h(h_i, sum over j != i of e_ij m_ij),   e_ij = phi_inf(m_ij) in (0, 1)

    Positions enter by their distances alone, and leave along their differences: if all particles
    are turned, mirrored or moved, so is x'; if they are renumbered, so are x' and h'. A factor
    (x_i - x_j) / (d + 1) is shorter than 1, so that no pair can throw a particle far.

    Arguments:
        features: width of the features h that come in.
        outputs: width of the features that come out; 0 for none.
        width: of the hidden layers.
        layers: how often messages are sent.

    Reference: Garcia Satorras, Hoogeboom, Welling 2021 (arXiv 2102.09844).

    >>> net = EGNN(features=1)
    >>> x, h = torch.randn(5, 4, 2), torch.zeros(5, 4, 1)
    >>> moved, _ = net(x, h)
    >>> mirrored, _ = net(x * torch.tensor([1.0, -1.0]), h)
    >>> bool((mirrored - moved * torch.tensor([1.0, -1.0])).abs().max() < 1e-5)
    True
    """

    def __init__(self, features: int, outputs: int = 0, width: int = 32, layers: int = 2) -> None:
        super().__init__(features, outputs, width, layers)
        self.messages = nn.ModuleList(_Messages(1, width) for _ in range(layers))
        self.pulls = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1, bias=False))
            for _ in range(layers)
        )

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moved positions (B, M, n) and the features read off, (B, M, outputs).

        Arguments:
            x: positions, (B, M, n).
            h: features, (B, M, features).

        Raises:
            ValueError: the shapes do not fit.
        """
        hidden, others = self._lifted(x, h), _others(x)
        for k, (messages, pulls) in enumerate(zip(self.messages, self.pulls, strict=True)):
            square = (x[:, :, None] - x[:, None]).square().sum(-1, keepdim=True)
            m = messages(hidden, square.log1p())
            # On the diagonal, and where two particles meet, the root of 0 has no slope.
            weight = (others * pulls(m) / ((square + 1e-8).sqrt() + 1))[..., 0]
            x = x + weight.sum(2, keepdim=True) * x - weight @ x
            if k < len(self.updates):
                hidden = self.updates[k](hidden, m, others)
        return x, self._read(hidden)


class VectorGNN(_ParticleNet):
    """A graph network that sees difference vectors as they stand: no symmetry under rotation.

        m_ij = phi_e(h_i, h_j, x_i - x_j),   x_i' = x_i + sum over j != i of phi_x(m_ij) in R^n

    The plain rival of `EGNN`, of the same depth and width.

    Arguments:
        dimensions: n, of the space.
        features: width of the features h that come in.
        outputs: width of the features that come out; 0 for none.
        width: of the hidden layers.
        layers: how often messages are sent.
    """

    def __init__(
        self, dimensions: int, features: int, outputs: int = 0, width: int = 32, layers: int = 2
    ) -> None:
        super().__init__(features, outputs, width, layers)
        self.messages = nn.ModuleList(_Messages(dimensions, width) for _ in range(layers))
        self.pulls = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width), nn.SiLU(), nn.Linear(width, dimensions, bias=False)
            )
            for _ in range(layers)
        )

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moved positions (B, M, n) and the features read off, (B, M, outputs)."""
        hidden, others = self._lifted(x, h), _others(x)
        for k, (messages, pulls) in enumerate(zip(self.messages, self.pulls, strict=True)):
            m = messages(hidden, x[:, :, None] - x[:, None])
            x = x + (others * pulls(m)).sum(2)
            if k < len(self.updates):
                hidden = self.updates[k](hidden, m, others)
        return x, self._read(hidden)

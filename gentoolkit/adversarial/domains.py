"""Two critics for two domains, and CycleGAN, the pair of translators without an inverse."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from gentoolkit.adversarial.critic import Critic
from gentoolkit.adversarial.losses import GanLoss, LeastSquares
from gentoolkit.core import validate
from gentoolkit.nets import MLP

Rows = tuple[Tensor, Tensor]
"""Unpaired rows of A and of B: (N, D) and (M, D)."""


class Translators(Protocol):
    """Two maps between two domains: what the critics judge."""

    def to_b(self, a: Tensor, /) -> Tensor:
        """Translate rows of A, (N, D), into B."""
        ...

    def to_a(self, b: Tensor, /) -> Tensor:
        """Translate rows of B, (M, D), into A."""
        ...


def _rows(batch: Rows) -> Rows:
    """Return the rows of two domains if both are tables of one width.

    Raises:
        ValueError: a domain is empty or not finite, or the widths differ.
    """
    a, b = validate.batch("a", batch[0]), validate.batch("b", batch[1])
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"both domains must have rows of one shape; got {tuple(a.shape)} and "
            f"{tuple(b.shape)}; bring them to one width, such as by resizing the images"
        )
    return a, b


class DomainCritics(nn.Module):
    """A critic for each domain: each sees real rows, and rows translated from the other domain.

        loss = critic loss of A at (a, G_BA(b)) + critic loss of B at (b, G_AB(a))
        fool = generator loss of A at G_BA(b)   + generator loss of B at G_AB(a)

    The two are minimised in turn: `loss` over the critics, `fool` over the translators.

    Arguments:
        a: the critic of domain A, (N, D) -> (N,).
        b: the critic of domain B.
        game: the two losses; least squares if left out.

    Reference: Zhu et al. 2017 (arXiv 1703.10593); Grover et al. 2019 (arXiv 1905.12892).
    """

    def __init__(self, a: nn.Module, b: nn.Module, game: GanLoss | None = None) -> None:
        super().__init__()
        self.a, self.b = a, b
        self.game: GanLoss = LeastSquares() if game is None else game

    def loss(self, translators: Translators, batch: Rows) -> Tensor:
        """Return what the critics minimise, shape (); no gradient reaches the translators.

        Arguments:
            translators: the two maps.
            batch: unpaired rows of A and B; their numbers may differ.

        Raises:
            ValueError: a domain is empty or not finite, the widths differ, or a critic gives
                another shape than one number a row.
        """
        a, b = _rows(batch)
        with torch.no_grad():
            fake_a, fake_b = translators.to_a(b), translators.to_b(a)
        game = self.game
        return game.critic(self.a(a), self.a(fake_a)) + game.critic(self.b(b), self.b(fake_b))

    def fool(self, translators: Translators, batch: Rows) -> Tensor:
        """Return what the translators minimise, shape (): that their rows seem real.

        Arguments and errors are those of `loss`.
        """
        a, b = _rows(batch)
        fake_a, fake_b = translators.to_a(b), translators.to_b(a)
        return self.game.generator(self.a(fake_a)) + self.game.generator(self.b(fake_b))


def domain_critics(features: int, hidden: Sequence[int] = (64, 64)) -> DomainCritics:
    """Return two critics of rows of `features` numbers, with least squares."""
    return DomainCritics(Critic(features, hidden), Critic(features, hidden))


class ResidualMLP(nn.Module):
    """A map `x + net(x)`, (N, features) -> (N, features).

    Arguments:
        features: width of a row.
        hidden: widths of the hidden layers.
        identity: start exactly at the identity; otherwise near it, which trains faster.
    """

    def __init__(
        self, features: int, hidden: Sequence[int] = (64, 64), *, identity: bool = False
    ) -> None:
        super().__init__()
        self.net = MLP(features, features, hidden)
        if identity:
            last = self.net[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows, moved."""
        return x + self.net(x)


class CycleGAN(nn.Module):
    """Two networks that translate between two domains; neither knows the other's inverse.

    It has no source and no density, so it is not a model of the contract: it is judged by
    `DomainCritics`, and `cycle_loss` asks that there and back be the identity.

    >>> import torch
    >>> pair = CycleGAN(2)
    >>> pair.to_b(torch.zeros(5, 2)).shape
    torch.Size([5, 2])

    Arguments:
        features: width of a row of either domain.
        hidden: widths of the hidden layers of each network.
        identity: start both exactly at the identity; otherwise near it, which trains faster.

    Reference: Zhu et al. 2017 (arXiv 1703.10593).
    """

    def __init__(
        self, features: int, hidden: Sequence[int] = (64, 64), *, identity: bool = False
    ) -> None:
        super().__init__()
        self.there, self.back = (ResidualMLP(features, hidden, identity=identity) for _ in range(2))

    def to_b(self, a: Tensor) -> Tensor:
        """Translate rows of A, (N, D), into B."""
        return self.there(a)

    def to_a(self, b: Tensor) -> Tensor:
        """Translate rows of B, (M, D), into A."""
        return self.back(b)


def cycle_loss(translators: Translators, batch: Rows) -> Tensor:
    """Return how far there and back is from the identity, shape ().

        mean |G_BA(G_AB(a)) - a| + mean |G_AB(G_BA(b)) - b|

    Each mean runs over all entries. For maps that are inverse to each other it is rounding error.

    Arguments:
        translators: the two maps.
        batch: unpaired rows of A and B; their numbers may differ.

    Raises:
        ValueError: a domain is empty or not finite, or the widths differ.

    Reference: Zhu et al. 2017 (arXiv 1703.10593).
    """
    a, b = _rows(batch)
    there, back = translators.to_a(translators.to_b(a)), translators.to_b(translators.to_a(b))
    return (there - a).abs().mean() + (back - b).abs().mean()

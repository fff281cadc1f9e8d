"""Two domains with one latent space: translation by two flows, without a cycle loss.

translation: a -> z = pull of flow A -> b = push of flow B
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, Composite, Frozen, Law, Unsupported, standard_normal, validate
from gentoolkit.core.chain import Source
from gentoolkit.flows.coupling import AffineCoupling, alternating_mask
from gentoolkit.flows.layer import Flow, Inverted, Layer, bind


class Unpaired(NamedTuple):
    """Rows of two domains that have nothing to do with one another.

    Arguments:
        a: rows of domain A, (N, *event).
        b: rows of domain B, (M, *event); M may differ from N.
    """

    a: Tensor
    b: Tensor


class Translation(Layer):
    """A map from domain A to domain B through a latent space that both flows share.

        y = h_B(z),   z = h_A^-1(x),   log |det dy/dx| = log |det dh_B/dz| - log |det dh_A/dz|

    `reversed(translation)` leads from B to A, and undoes it: there is no cycle to be learned.

    >>> from gentoolkit.flows import AffineCoupling, Translation
    >>> there = Translation([AffineCoupling(2)], [AffineCoupling(2)])
    >>> a = torch.randn(5, 2)
    >>> b, log_det = there.transform(a)
    >>> torch.allclose(reversed(there).transform(b)[0], a, atol=1e-5)
    True

    Arguments:
        a: layers from the latent space to domain A, one or more.
        b: layers from the latent space to domain B, one or more.

    Raises:
        ValueError: one of the flows has no layer.

    Reference: Grover et al. 2019 (arXiv 1905.12892).
    """

    def __init__(self, a: Sequence[Layer], b: Sequence[Layer]) -> None:
        super().__init__()
        if not a or not b:
            raise ValueError(
                f"both domains need layers; got {len(a)} for A and {len(b)} for B; "
                "give a domain that is the latent space itself a Permute of its features"
            )
        self.a, self.b = nn.ModuleList(a), nn.ModuleList(b)
        self.estimated = any(layer.estimated for layer in (*a, *b))

    @property
    def steps(self) -> list[Layer]:
        """The layers from A to the latent space, each turned round, and from there to B."""
        a, b = ([layer for layer in side if isinstance(layer, Layer)] for side in (self.a, self.b))
        return [*(Inverted(layer) for layer in reversed(a)), *b]

    def transform(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Translate rows of A; return rows of B and the log-determinant, (B,)."""
        return Composite(self.steps).push(x, generator)

    def inverse(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Translate rows of B back; return rows of A and the same log-determinant, (B,)."""
        return Composite(self.steps).pull(y, generator)


class AlignFlow(nn.Module):
    """Two flows from one latent law: two densities, and an exact translation between them.

        log p_A(a) = log source(z) - log |det dh_A/dz|,   z = h_A^-1(a);   the same for B
        loss = -mean log p_A(a) - mean log p_B(b)

    Its chain is the translation: domain A's law is the source, domain B's the target, and
    log p_B(b) - log_evidence = 0 on every path. The likelihoods fix the two laws, not which
    point is translated into which: an adversarial loss beside this one can (see
    `gentoolkit.adversarial.DomainCritics`).

    Arguments:
        a: layers from the latent space to domain A.
        b: layers from the latent space to domain B.
        event_shape: shape of a row of either domain; a number stands for a vector.
        source: the latent law, held once; the standard normal if left out.

    Raises:
        ValueError: a domain has no layers.

    Reference: Grover et al. 2019 (arXiv 1905.12892).
    """

    def __init__(
        self,
        a: Sequence[Layer],
        b: Sequence[Layer],
        event_shape: int | Sequence[int],
        source: Source | None = None,
    ) -> None:
        super().__init__()
        law = standard_normal(*validate.event_shape(event_shape)) if source is None else source
        shared = Frozen(law) if isinstance(law, Law) else law
        self.a, self.b = Flow(a, event_shape, shared), Flow(b, event_shape, shared)
        self.event_shape = self.a.event_shape
        Translation(a, b)  # refuses a domain without layers

    @property
    def translation(self) -> Translation:
        """The map from A to B; `reversed` leads from B to A."""
        return Translation(list(self.a.layers), list(self.b.layers))  # pyright: ignore

    def to_b(self, a: Tensor) -> Tensor:
        """Translate rows of A, (N, *event), into B."""
        z, _ = Composite(bind(self.a.layers, None)).pull(self._rows("a", a))
        return Composite(bind(self.b.layers, None)).push(z)[0]

    def to_a(self, b: Tensor) -> Tensor:
        """Translate rows of B, (M, *event), into A."""
        z, _ = Composite(bind(self.b.layers, None)).pull(self._rows("b", b))
        return Composite(bind(self.a.layers, None)).push(z)[0]

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain from A through the latent space to B, layer by layer."""
        validate.no_context(context, "an AlignFlow")
        # A flow is a density whose options are keywords, as the chain hands them.
        return Chain(self.a, self.translation.steps)  # pyright: ignore[reportArgumentType]

    def loss(
        self,
        batch: Unpaired,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return minus the sum of the two mean log-likelihoods, in nats, shape ().

        Arguments:
            batch: rows of A and rows of B; their numbers may differ.
            context: none is taken.
            generator: for layers that estimate their log-determinant.

        Raises:
            ValueError: a domain is empty, not finite, or of another width than the model.
        """
        validate.no_context(context, "an AlignFlow")
        a, b = self._rows("a", batch[0]), self._rows("b", batch[1])
        return self.a.loss(a, generator=generator) + self.b.loss(b, generator=generator)

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Refuse: there are two likelihoods.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            "two domains have two likelihoods, of different rows; "
            "use model.a.log_prob(a) and model.b.log_prob(b), which are exact"
        )

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` rows of B, (n, *event): draws of A's flow, translated.

        `model.a.sample(n)` draws rows of A; the same generator draws their translations here.
        """
        return self.chain(context).push(n, generator).states[-1]

    def _rows(self, name: str, x: Tensor) -> Tensor:
        return validate.batch(name, x, self.event_shape)


def align_flow(
    features: int,
    couplings: int = 6,
    hidden: Sequence[int] = (32, 32),
    largest: float = 1.5,
) -> AlignFlow:
    """Return two stacks of affine couplings over one standard normal; both start as the identity.

    So does the translation: it begins by leaving every point where it is.

    Arguments:
        features: width of a row of either domain, two or more.
        couplings: how many layers each domain has.
        hidden: widths of each net's hidden layers.
        largest: bound of a layer's log-scale; a large one makes the inverse lose digits.

    Raises:
        ValueError: fewer than two features, no layer, or a bound that is not positive.
    """
    turns = range(validate.positive_count("couplings", couplings))

    def stack() -> list[Layer]:
        return [
            AffineCoupling(features, alternating_mask(features, t), hidden, largest=largest)
            for t in turns
        ]

    return AlignFlow(stack(), stack(), features)

"""The hierarchical VAE: a chain of kernels z_T -> ... -> z_1 -> x."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Generator, Tensor, nn

from gentoolkit.core import Bernoulli, Chain, FunctionKernel, Law, validate
from gentoolkit.nets import MLP
from gentoolkit.vi.conditional import GaussianMLP, LatentModel, Likelihood


class HierarchicalVAE(LatentModel):
    """A VAE with several latents, each seen from the next only; the source is N(0, I).

        push: f(z_{t-1} | z_t) down to f(x | z_1),   pull: b(z_1 | x) up to b(z_T | z_{T-1})

    Arguments:
        features: width of a data point.
        latents: widths of z_1, ..., z_T, from the one next to the data to the top.
        law: turns the last decoder's output (B, features) into the law of the data.

    Raises:
        ValueError: there is no latent, or a width is below one.

    Reference: Sønderby et al. 2016 (arXiv 1602.02282); Luo 2022 (arXiv 2208.11970), section 3.

    >>> _ = torch.manual_seed(0)
    >>> model = HierarchicalVAE(64, (8, 2), hidden=(16,))
    >>> model.loss(torch.ones(8, 64)).backward()
    >>> [tuple(z.shape) for z in model.encode(torch.ones(8, 64))]
    [(8, 8), (8, 2)]
    """

    def __init__(
        self,
        features: int,
        latents: Sequence[int] = (8, 2),
        *,
        hidden: Sequence[int] = (256,),
        law: Likelihood = Bernoulli,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__(features, law)
        if not latents or min(latents) < 1:
            raise ValueError(
                f"latents must be widths of at least 1; got {tuple(latents)}; for example (8, 2)"
            )
        self.latents = tuple(latents)
        pairs = list(pairwise((features, *latents)))  # what lies under each latent, and its width
        self.encoders = nn.ModuleList(GaussianMLP(*pair, hidden, activation) for pair in pairs)
        # The lowest decoder touches the data, and leaves its law to `law`.
        nets = [MLP, *[GaussianMLP] * (len(latents) - 1)]
        self.decoders = nn.ModuleList(
            net(high, low, hidden[::-1], activation)
            for net, (low, high) in zip(nets, pairs, strict=True)
        )

    def observe(self, z: Tensor) -> Law:
        """Return the law of the data given z_1 (B, latents[0])."""
        return self.law(self.decoders[0](z))

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain z_T -> ... -> z_1 -> x."""
        validate.no_context(context, "HierarchicalVAE")
        pushes = [self.observe, *list(self.decoders)[1:]]
        steps = [FunctionKernel(f, b) for f, b in zip(pushes, self.encoders, strict=True)]
        return Chain(self._prior(self.latents[-1]), steps[::-1])

    def encode(self, x: Tensor, *, generator: Generator | None = None) -> tuple[Tensor, ...]:
        """Draw the latents of each row of `x`: z_1 (B, latents[0]), ..., z_T."""
        return self.chain().pull(self._rows(x), generator).states[-2::-1]

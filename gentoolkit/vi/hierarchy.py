"""The hierarchical VAE: a chain of kernels z_T -> ... -> z_1 -> x.

source N(0, I)
push: f(z_{t-1} | z_t) down to f(x | z_1)
pull: b(z_1 | x) up to b(z_T | z_{T-1})
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import (
    Bernoulli,
    Chain,
    FunctionKernel,
    Gaussian,
    Law,
    log_z,
    standard_normal,
    validate,
)
from gentoolkit.nets import MLP
from gentoolkit.vi.conditional import GaussianMLP, Likelihood, mean_of, rows_like


class HierarchicalVAE(nn.Module):
    """A VAE with several latents, each seen from the next only.

    Arguments:
        features: width of a datum.
        latents: widths of z_1, ..., z_T, from the one next to the data to the top.
        hidden: widths of the hidden layers of every network.
        law: turns the last decoder's output (B, features) into the law of the data.
        activation: makes the nonlinearity between layers.

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
        super().__init__()
        self.event_shape = Size((validate.positive_count("features", features),))
        if not latents or min(latents) < 1:
            raise ValueError(
                f"latents must be widths of at least 1; got {tuple(latents)}; for example (8, 2)"
            )
        self.latents = tuple(latents)
        widths = (features, *latents)
        below, above = widths[:-1], widths[1:]
        # Index t is the level between z_t and what lies under it: 0 touches the data.
        self.encoders = nn.ModuleList(
            GaussianMLP(low, high, hidden, activation)
            for low, high in zip(below, above, strict=True)
        )
        self.decoders = nn.ModuleList(
            GaussianMLP(high, low, hidden[::-1], activation)
            if t
            else MLP(high, low, hidden[::-1], activation)
            for t, (low, high) in enumerate(zip(below, above, strict=True))
        )
        self.law = law

    def _prior(self) -> Gaussian:
        like = next(self.parameters())
        return standard_normal(self.latents[-1], dtype=like.dtype, device=like.device)

    def observe(self, z: Tensor) -> Law:
        """Return the law of the data given z_1 (B, latents[0])."""
        return self.law(self.decoders[0](z))

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain z_T -> ... -> z_1 -> x."""
        validate.no_context(context, "HierarchicalVAE")
        pushes = [self.observe, *list(self.decoders)[1:]]
        steps = [FunctionKernel(f, b) for f, b in zip(pushes, self.encoders, strict=True)]
        return Chain(self._prior(), steps[::-1])

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` data, (n, features)."""
        validate.no_context(context, "HierarchicalVAE")
        z = self._prior().sample(validate.positive_count("n", n), generator=generator)
        for decoder in list(self.decoders)[:0:-1]:
            z = decoder(z).sample(generator=generator)
        return self.observe(z).sample(generator=generator)

    def encode(self, x: Tensor, *, generator: Generator | None = None) -> tuple[Tensor, ...]:
        """Draw the latents of each row of `x`: z_1 (B, latents[0]), ..., z_T."""
        rows_like(self, "x", x, *self.event_shape)
        return self.chain().pull(x, generator).states[-2::-1]

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of the data given z_1 (B, latents[0]): for pixels, probabilities."""
        return mean_of(self.observe(rows_like(self, "z", z, self.latents[0])))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return `decode` of the first encoder's mean, (B, features)."""
        return self.decode(self.encoders[0](rows_like(self, "x", x, *self.event_shape)).mean)

    def log_evidences(self, x: Tensor, k: int, *, generator: Generator | None = None) -> Tensor:
        """Return the log-evidence of `k` pulled paths for each row of `x`, (K, B).

        Arguments:
            x: data, (B, features).
            k: paths a datum.
            generator: source of randomness.

        Raises:
            TypeError: `x` is not of the model's dtype.
            ValueError: `x` has another shape, is empty or not finite, or is not in the support of
                the law.
        """
        validate.positive_count("k", k)
        rows = rows_like(self, "x", x, *self.event_shape).repeat(k, 1)
        return self.chain().pull(rows, generator).log_evidence().reshape(k, len(x))

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the lower bound of log p(x) for each row, (B,)."""
        validate.no_context(context, "HierarchicalVAE")
        return self.log_evidences(batch, 1, generator=generator)[0]

    def iwae(self, x: Tensor, k: int, *, generator: Generator | None = None) -> Tensor:
        """Return the importance-weighted bound of log p(x) for each row, (B,)."""
        return log_z(self.log_evidences(x, k, generator=generator))

    def loss(
        self,
        batch: Tensor,
        *,
        samples: int = 1,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return minus the mean bound of a batch, shape ().

        Arguments:
            batch: data, (B, features).
            samples: paths a datum: 1 for the ELBO, more for the importance-weighted bound.
            context: None; this model has none.
            generator: source of randomness.
        """
        validate.no_context(context, "HierarchicalVAE")
        validate.positive_count("samples", samples)
        return -self.iwae(batch, samples, generator=generator).mean()

"""The variational auto-encoder: one kernel between a latent point and a datum.

source N(0, I_latent),   push: decoder f(x|z),   pull: encoder b(z|x)
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


class VAE(nn.Module):
    """A variational auto-encoder with multilayer perceptrons either way.

    Arguments:
        features: width of a datum.
        latent: width of z.
        hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
        law: turns the decoder's output (B, features) into the law of the data: `Bernoulli` for
            black and white pixels, `GaussianNoise()` for real numbers, or any other. A module is
            trained along.
        activation: makes the nonlinearity between layers.

    Reference: Kingma and Welling 2013 (arXiv 1312.6114); Rezende, Mohamed, Wierstra 2014
        (arXiv 1401.4082).

    >>> _ = torch.manual_seed(0)
    >>> model = VAE(64, 2, hidden=(16,))
    >>> model.loss(torch.ones(8, 64)).backward()
    >>> model.sample(5).shape, model.elbo(torch.ones(8, 64)).shape
    (torch.Size([5, 64]), torch.Size([8]))
    """

    def __init__(
        self,
        features: int,
        latent: int = 2,
        *,
        hidden: Sequence[int] = (256,),
        law: Likelihood = Bernoulli,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.event_shape = Size((validate.positive_count("features", features),))
        self.latent = validate.positive_count("latent", latent)
        self.encoder = GaussianMLP(features, latent, hidden, activation)
        self.decoder = MLP(latent, features, hidden[::-1], activation)
        self.law = law

    def _prior(self) -> Gaussian:
        like = next(self.parameters())
        return standard_normal(self.latent, dtype=like.dtype, device=like.device)

    def observe(self, z: Tensor) -> Law:
        """Return the law of the data given `z` (B, latent)."""
        return self.law(self.decoder(z))

    def encode(self, x: Tensor) -> Gaussian:
        """Return the encoder's law of z given `x` (B, features).

        Raises:
            TypeError: `x` is not of the model's dtype.
            ValueError: `x` has another shape, is empty or not finite.
        """
        return self.encoder(rows_like(self, "x", x, *self.event_shape))

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of the data given `z` (B, latent): for pixels, probabilities of ink."""
        return mean_of(self.observe(rows_like(self, "z", z, self.latent)))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return `decode` of the encoder's mean, (B, features)."""
        return self.decode(self.encode(x).mean)

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain z -> x."""
        validate.no_context(context, "VAE")
        return Chain(self._prior(), [FunctionKernel(self.observe, self.encode)])

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` data, (n, features): for pixels, zeros and ones."""
        validate.no_context(context, "VAE")
        z = self._prior().sample(validate.positive_count("n", n), generator=generator)
        return self.observe(z).sample(generator=generator)

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the lower bound of log p(x) for each row, (B,).

            log f(x|z) - KL(b(z|x) || N(0, I)),   z ~ b(z|x)

        One draw of z, and the divergence in closed form.

        Arguments:
            batch: data, (B, features).
            context: None; this model has none.
            generator: source of randomness.

        Raises:
            TypeError: `batch` is not of the model's dtype.
            ValueError: `batch` has another shape, is empty or not finite, or is not in the support
                of the law (grey pixels for `Bernoulli`).
        """
        validate.no_context(context, "VAE")
        q = self.encode(batch)
        z = q.sample(generator=generator)
        return self.observe(z).log_prob(batch) - q.kl_from_standard()

    def log_evidences(self, x: Tensor, k: int, *, generator: Generator | None = None) -> Tensor:
        """Return the log-evidence of `k` pulled paths for each row of `x`, (K, B).

            log N(z; 0, I) + log f(x|z) - log b(z|x),   z ~ b(z|x)

        The encoder runs once for all k.

        Arguments:
            x: data, (B, features).
            k: paths a datum.
            generator: source of randomness.
        """
        validate.positive_count("k", k)
        q = self.encode(x)
        pulled = Gaussian(q.mean.repeat(k, 1), torch.as_tensor(q.std).repeat(k, 1))
        chain = Chain(self._prior(), [FunctionKernel(self.observe, lambda _: pulled)])
        return chain.pull(x.repeat(k, 1), generator).log_evidence().reshape(k, len(x))

    def iwae(self, x: Tensor, k: int, *, generator: Generator | None = None) -> Tensor:
        """Return the importance-weighted bound of log p(x) for each row, (B,); it rises with `k`.

        Reference: Burda, Grosse, Salakhutdinov 2015 (arXiv 1509.00519).
        """
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
        if validate.positive_count("samples", samples) == 1:
            return -self.elbo(batch, context=context, generator=generator).mean()
        validate.no_context(context, "VAE")
        return -self.iwae(batch, samples, generator=generator).mean()

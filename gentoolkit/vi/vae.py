"""The variational auto-encoder: one kernel between a latent point and a data point."""

from collections.abc import Callable, Sequence

from torch import Generator, Tensor, nn

from gentoolkit.core import Bernoulli, Chain, FunctionKernel, Gaussian, Law, validate
from gentoolkit.nets import MLP
from gentoolkit.vi.conditional import GaussianMLP, LatentModel, Likelihood


class VAE(LatentModel):
    """A variational auto-encoder with multilayer perceptrons either way.

        source N(0, I_latent),   push: decoder f(x|z),   pull: encoder b(z|x)

    Arguments:
        features, latent: widths of x and z.
        hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
        law: turns the decoder's output (B, features) into the law of the data: `Bernoulli` for
            black and white pixels, `GaussianNoise()` for real numbers, or any other. A module is
            trained along.

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
        super().__init__(features, law)
        self.latent = validate.positive_count("latent", latent)
        self.encoder = GaussianMLP(features, latent, hidden, activation)
        self.decoder = MLP(latent, features, hidden[::-1], activation)

    def observe(self, z: Tensor) -> Law:
        """Return the law of the data given `z` (B, latent)."""
        return self.law(self.decoder(z))

    def encode(self, x: Tensor) -> Gaussian:
        """Return the encoder's law of z given `x` (B, features)."""
        return self.encoder(self._rows(x))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return `decode` of the encoder's mean, (B, features)."""
        return self.decode(self.encode(x).mean)

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain z -> x."""
        validate.no_context(context, "VAE")
        return Chain(self._prior(self.latent), [FunctionKernel(self.observe, self.encoder)])

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the lower bound of log p(x) for each row, (B,).

            log f(x|z) - KL(b(z|x) || N(0, I)),   z ~ b(z|x)

        One draw of z, and the divergence in closed form.
        """
        validate.no_context(context, "VAE")
        q = self.encode(batch)
        z = q.sample(generator=generator)
        return self.observe(z).log_prob(batch) - q.kl_from_standard()

"""Networks that give a law, and what models made of them share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import log

import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import Bernoulli, Chain, Gaussian, Law, log_z, standard_normal, validate
from gentoolkit.nets import MLP

Likelihood = Callable[[Tensor], Law]
"""What turns the output of a decoder (B, features) into the law of the data."""


class GaussianMLP(nn.Module):
    """An `MLP` from a state to a Gaussian law, (B, in_features) -> law over (out_features,).

        mean, log_std = net(x),   std = exp(log_std)     (a deviation, not a variance)

    Arguments are those of `MLP`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.net = MLP(in_features, 2 * out_features, hidden, activation)

    def forward(self, x: Tensor) -> Gaussian:
        """Return the law of each row of `x`."""
        mean, log_std = self.net(x).chunk(2, -1)
        return Gaussian(mean, log_std.exp())


class GaussianNoise(nn.Module):
    """A likelihood for real data: one learned noise level, which starts at `std`.

    x ~ N(mean, exp(log_std)^2 I)
    """

    def __init__(self, std: float = 1.0) -> None:
        super().__init__()
        validate.positive("std", std)
        self.log_std = nn.Parameter(torch.tensor(log(std)))

    def forward(self, mean: Tensor) -> Gaussian:
        """Return the law of the data around `mean` (B, features)."""
        return Gaussian(mean, self.log_std.exp())


class LatentModel(nn.Module, ABC):
    """What autoencoders share: bounds from the log-evidence of pulled paths, and samples.

    A subclass writes `chain`, whose last step is from z_1 to the data, and `observe`.
    """

    def __init__(self, features: int, law: Likelihood) -> None:
        super().__init__()
        self.event_shape = Size((validate.positive_count("features", features),))
        self.law = law

    @abstractmethod
    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain from the prior to the data."""

    @abstractmethod
    def observe(self, z: Tensor) -> Law:
        """Return the law of the data given z_1 (B, width of z_1)."""

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of the data given z_1: for pixels, probabilities of ink.

        Raises:
            TypeError: the law is neither Gaussian nor Bernoulli.
        """
        law = self.observe(z)
        if isinstance(law, Gaussian):
            return law.mean
        if isinstance(law, Bernoulli):
            return law.probs
        raise TypeError(
            f"a picture needs a Gaussian or Bernoulli law; got {type(law).__name__}; "
            "sample it instead"
        )

    def log_evidences(self, x: Tensor, k: int, *, generator: Generator | None = None) -> Tensor:
        """Return the log-evidence of `k` pulled paths for each row of `x` (B, features), (K, B).

        Raises:
            TypeError: `x` is not of the model's dtype.
            ValueError: `x` has another shape, is not finite, or is not in the support of the law.
        """
        rows = self._rows(x).repeat(validate.positive_count("k", k), 1)
        return self.chain().pull(rows, generator).log_evidence().reshape(k, len(x))

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the lower bound of log p(x) for each row, (B,)."""
        return self.chain(context).pull(self._rows(batch), generator).log_evidence()

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
        """Return minus the mean bound of a batch (B, features), shape ().

        One path a data point gives the ELBO, more `samples` the importance-weighted bound.
        """
        if validate.positive_count("samples", samples) == 1:
            return -self.elbo(batch, context=context, generator=generator).mean()
        validate.no_context(context, type(self).__name__)
        return -self.iwae(batch, samples, generator=generator).mean()

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` data, (n, features): for pixels, zeros and ones."""
        return self.chain(context).push(n, generator).states[-1]

    def _prior(self, width: int) -> Gaussian:
        like = next(self.parameters())
        return standard_normal(width, dtype=like.dtype, device=like.device)

    def _rows(self, x: Tensor) -> Tensor:
        """Return `x` if it is finite, of shape (B, features) and of the dtype of the model."""
        validate.batch("x", x, self.event_shape)
        dtype = next(self.parameters()).dtype
        if x.dtype != dtype:
            raise TypeError(
                f"x must have the dtype of the model, {dtype}; got {x.dtype}; use x.to(dtype)"
            )
        return x

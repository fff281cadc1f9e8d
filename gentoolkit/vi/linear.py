"""The linear VAE, probabilistic PCA: the VAE whose likelihood and posterior are known."""

from math import log, pi
from typing import Self

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, FunctionKernel, Gaussian, standard_normal, validate


class PPCA(nn.Module):
    """A linear Gaussian model with d latent and D observed numbers, with everything in closed form.

        z ~ N(0, I_d),   x = mean + weight z + noise,   noise ~ N(0, variance I_D)
        z | x ~ N(P^-1 weight' (x - mean) / variance, P^-1),   P = I + weight' weight / variance

    `PPCA.fit` finds the optimum at once; gradients of `loss` lead there too.

    Arguments:
        mean: (D,).
        weight: (D, d).
        variance: of the noise.

    Raises:
        ValueError: shapes do not match or the variance is not positive.

    Reference: Tipping and Bishop 1999.

    >>> x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    >>> model = PPCA.fit(x, latent=2)
    >>> model.elbo(x).shape, model.sample(5).shape
    (torch.Size([100]), torch.Size([5, 4]))
    """

    def __init__(self, mean: Tensor, weight: Tensor, variance: float | Tensor) -> None:
        super().__init__()
        validate.batch("mean", mean)
        validate.batch("weight", weight)
        validate.shapes("transpose the weight?", mean=(mean, "D"), weight=(weight, "D d"))
        validate.positive("variance", variance)
        self.event_shape = mean.shape
        self.mean, self.weight = nn.Parameter(mean.detach()), nn.Parameter(weight.detach())
        self.log_variance = nn.Parameter(torch.as_tensor(variance).detach().to(mean).log())

    @property
    def variance(self) -> Tensor:
        """Variance of the noise, shape ()."""
        return self.log_variance.exp()

    @classmethod
    def fit(cls, x: Tensor, latent: int) -> Self:
        """Return the maximum-likelihood model of the data (n, D), n > D, for `latent` d < D.

            weight = U (diag(lam) - variance I)^(1/2),   variance = mean of the discarded lam

        with lam, U the largest eigenvalues and their vectors of the covariance (divided by n).

        Raises:
            ValueError: bad data, too few rows, or `latent` out of range.
        """
        validate.positive_count("latent", latent)
        if validate.batch("x", x).ndim != 2 or x.shape[0] <= x.shape[1]:
            raise ValueError(
                f"x must have shape (n, D) with more rows than columns; got {tuple(x.shape)}; "
                "with fewer the likelihood has no maximum"
            )
        if latent >= x.shape[1]:
            raise ValueError(
                f"latent must be below the {x.shape[1]} columns; got {latent}; some direction "
                "must be left for the noise"
            )
        values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))  # ascending
        variance = values[:-latent].mean()
        scale = (values[-latent:] - variance).clamp(min=0.0).sqrt()
        return cls(x.mean(0), (vectors[:, -latent:] * scale).flip(1), variance)

    def rotated(self, rotation: Tensor) -> Self:
        """Return the same likelihood with the latent space turned: `weight @ rotation`.

        Raises:
            ValueError: `rotation` (d, d) is not orthogonal.
        """
        eye = torch.eye(self.weight.shape[1], dtype=rotation.dtype, device=rotation.device)
        if rotation.shape != eye.shape or not torch.allclose(rotation.T @ rotation, eye, atol=1e-5):
            raise ValueError(
                f"rotation must be orthogonal, of shape {tuple(eye.shape)}; got "
                f"{tuple(rotation.shape)}; use torch.linalg.qr to make one"
            )
        return type(self)(self.mean, self.weight @ rotation, self.variance)

    def _centred(self, x: Tensor) -> Tensor:
        return validate.batch("x", x, self.event_shape) - self.mean

    def _precision(self) -> Tensor:
        gain = self.weight.T @ self.weight / self.variance
        return gain + torch.eye(len(gain), dtype=gain.dtype, device=gain.device)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means (B, d) of z given each row of `x` (B, D), and the precision P (d, d)."""
        precision = self._precision()
        projected = self._centred(x) @ self.weight / self.variance  # (B, d)
        return torch.linalg.solve(precision, projected.T).T, precision

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the exact log-likelihood of each row of `x` (B, D), shape (B,)."""
        means, precision = self.posterior(x)
        residual = self._centred(x)
        # Woodbury: the explained part of the square is z' P z.
        squares = residual.square().sum(1) / self.variance - ((means @ precision) * means).sum(1)
        size = self.mean.shape[0]
        log_det = size * (log(2 * pi) + self.log_variance) + torch.logdet(precision)
        return -0.5 * (squares + log_det)

    def mean_field_gap(self) -> Tensor:
        """Return what the best diagonal q loses, log p(x) - ELBO, the same for every x; shape ().

        (sum_j log P_jj - log det P) / 2
        """
        precision = self._precision()
        return 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the model with the best diagonal posterior as its pull.

        At the optimum of `fit` the posterior is diagonal: every pulled path has the evidence
        log p(x) and no other.
        """
        validate.no_context(context, "PPCA")
        like = {"dtype": self.weight.dtype, "device": self.weight.device}
        spread = self._precision().diagonal().rsqrt()
        decode = FunctionKernel(
            lambda z: Gaussian(self.mean + z @ self.weight.T, (0.5 * self.log_variance).exp()),
            lambda x: Gaussian(self.posterior(x)[0], spread),
        )
        return Chain(standard_normal(self.weight.shape[1], **like), [decode])

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return `log_prob` of each row of `batch` (B, D), the exact log-likelihood, (B,)."""
        validate.no_context(context, "PPCA")
        return self.log_prob(batch)

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return minus the mean log-likelihood, shape (): what `PPCA.fit` makes least."""
        return -self.elbo(batch, context=context).mean()

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` data, (n, D)."""
        return self.chain(context).push(n, generator).states[-1]

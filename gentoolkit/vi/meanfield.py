"""Stochastic variational inference: a Gaussian fitted by gradients of its log-weights.

The chain has no steps: its source is q, so a path is one draw z with

    log_weight = log p(x, z) - log q(z),   E_q[log_weight] = ELBO <= log p(x)
"""

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, Gaussian, elbo, validate
from gentoolkit.core.chain import Target


def score_function_loss(log_w: Tensor, log_q: Tensor) -> Tensor:
    """Return a surrogate whose value is minus the ELBO and whose gradient is unbiased, shape ().

        gradient = -mean_i [log_w_i - mean_{j != i} log_w_j] grad log q(z_i)

    It asks for no gradient of the target or of the draws, so z may be discrete. The other draws
    serve each as a baseline, which lowers the variance and biases nothing.

    Arguments:
        log_w: log-weights of draws from q, (n,), n >= 2; their own graph is not used.
        log_q: log q of the same draws held fixed, (n,), with its graph.

    Raises:
        ValueError: fewer than two draws, shapes that differ, NaN, or a `log_q` without a graph.

    Reference: Williams 1992; Mnih and Rezende 2016 (arXiv 1602.06725) for the baseline.
    """
    if log_w.shape != log_q.shape or log_w.ndim != 1:
        raise ValueError(
            "log_w and log_q must have the same shape (n,); got "
            f"{tuple(log_w.shape)} and {tuple(log_q.shape)}; one number per draw"
        )
    n = log_w.shape[0]
    if n < 2:
        raise ValueError(f"the baseline needs two samples or more; got {n}; draw more")
    if not log_q.requires_grad:
        raise ValueError(
            "log_q must carry a gradient; got a tensor without a graph; score the detached draws "
            "under a q with parameters"
        )
    value = elbo(log_w.detach())
    # log_w_i minus the mean of the others is n / (n - 1) times the deviation from the mean of all.
    advantage = (log_w.detach() - value) * (n / (n - 1))
    surrogate = -(advantage * log_q).mean()
    return surrogate - surrogate.detach() - value


@dataclass(frozen=True)
class CholeskyGaussian:
    """The density N(mean, lower lower').

    Arguments:
        mean: (D,).
        lower: lower triangular with a positive diagonal, (D, D).
    """

    mean: Tensor
    lower: Tensor

    def __post_init__(self) -> None:
        validate.positive("diagonal of lower", self.lower.diagonal())

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `mean + lower noise`, (n, D): the gradient flows through."""
        size = (validate.positive_count("n", n), self.mean.shape[0])
        noise = torch.randn(
            size, dtype=self.mean.dtype, device=self.mean.device, generator=generator
        )
        return self.mean + noise @ self.lower.T

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of `x` (B, D), shape (B,)."""
        noise = torch.linalg.solve_triangular(self.lower, (x - self.mean).T, upper=False)
        log_det = self.lower.diagonal().log().sum()
        return -0.5 * noise.square().sum(0) - log_det - 0.5 * len(self.mean) * log(2 * pi)


class MeanFieldGaussian(nn.Module):
    """The mean-field family `q(z) = N(mean, diag exp(log_std)^2)`, started at N(0, I).

    Arguments:
        dimensions: D.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        validate.positive_count("dimensions", dimensions)
        self.mean = nn.Parameter(torch.zeros(dimensions))
        self.log_std = nn.Parameter(torch.zeros(dimensions))

    def law(self) -> Gaussian:
        """Return q as a law of one row, event (D,)."""
        return Gaussian(self.mean[None], self.log_std.exp()[None])

    def chain(self) -> Chain:
        """Return the chain without steps whose source is q."""
        return Chain(self.law())

    def loss(self, target: Target, n: int = 64, generator: Generator | None = None) -> Tensor:
        """Return minus the ELBO of `n` draws, with the gradient through the draws; shape ().

        Arguments:
            target: `log p(x, z)` as a function of z (n, D) -> (n,), differentiable in z.
            n: number of draws.
            generator: source of randomness.

        Reference: Kingma and Welling 2013 (arXiv 1312.6114).
        """
        return _pathwise(self.chain(), target, n, generator)

    def score_loss(self, target: Target, n: int = 64, generator: Generator | None = None) -> Tensor:
        """Return minus the ELBO of `n` draws, with the score-function gradient; shape ().

        Arguments:
            target: `log p(x, z)` as a function of z (n, D) -> (n,); need not be differentiable.
            n: number of draws, at least two.
            generator: source of randomness.
        """
        return _score(self.chain(), target, n, generator)


class FullGaussian(nn.Module):
    """The Gaussian family with correlations, `q(z) = N(mean, lower lower')`, started at N(0, I).

        lower = factor below its diagonal, exp(factor) on it, 0 above

    Arguments:
        dimensions: D.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        validate.positive_count("dimensions", dimensions)
        self.mean = nn.Parameter(torch.zeros(dimensions))
        self.factor = nn.Parameter(torch.zeros(dimensions, dimensions))

    def law(self) -> CholeskyGaussian:
        """Return q as a density over (D,)."""
        lower = self.factor.tril(-1) + self.factor.diagonal().exp().diag()
        return CholeskyGaussian(self.mean, lower)

    def chain(self) -> Chain:
        """Return the chain without steps whose source is q."""
        return Chain(self.law())

    def loss(self, target: Target, n: int = 64, generator: Generator | None = None) -> Tensor:
        """Return minus the ELBO of `n` draws, with the gradient through the draws; shape ()."""
        return _pathwise(self.chain(), target, n, generator)

    def score_loss(self, target: Target, n: int = 64, generator: Generator | None = None) -> Tensor:
        """Return minus the ELBO of `n` draws, with the score-function gradient; shape ()."""
        return _score(self.chain(), target, n, generator)


def _pathwise(chain: Chain, target: Target, n: int, generator: Generator | None) -> Tensor:
    return -elbo(chain.push(n, generator).log_weight(target))


def _score(chain: Chain, target: Target, n: int, generator: Generator | None) -> Tensor:
    # Drawn without a graph, then scored: the gradient may only pass through log q's parameters.
    with torch.no_grad():
        draws = chain.push(n, generator).states
    path = chain.replay(draws)
    return score_function_loss(path.log_weight(target), path.log_source)

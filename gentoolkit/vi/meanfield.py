"""Stochastic variational inference: a Gaussian fitted by gradients of its log-weights.

The chain has no steps: its source is q, so a path is one draw z with

    log_weight = log p(x, z) - log q(z),   E_q[log_weight] = ELBO <= log p(x)
"""

import torch
from torch import Generator, Size, Tensor, nn

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
    validate.shapes("one number per draw", log_w=(log_w, "n"), log_q=(log_q, "n"))
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


class MeanFieldGaussian(nn.Module):
    """The mean-field family `q(z) = N(mean, diag exp(log_std)^2)`, started at N(0, I).

    Arguments:
        features: D.
        target: `log p(x, z)` as a function of z (n, D) -> (n,), or an object with `log_prob`.

    >>> _ = torch.manual_seed(0)
    >>> q = MeanFieldGaussian(2, lambda z: -(z - 1.0).square().sum(1))
    >>> q.loss(64).backward()
    >>> q.sample(5).shape
    torch.Size([5, 2])
    """

    def __init__(self, features: int, target: Target | None = None) -> None:
        super().__init__()
        self.event_shape = Size((validate.positive_count("features", features),))
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_std = nn.Parameter(torch.zeros(features))
        # What has parameters must not be trained towards q: in a tuple it is no submodule.
        trainable = isinstance(target, nn.Module) and any(True for _ in target.parameters())
        self._kept = (target,) if trainable else ()
        self._target = None if trainable else target

    def law(self) -> Gaussian:
        """Return q as a law of one row, event (D,)."""
        return Gaussian(self.mean[None], self.log_std.exp()[None])

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain without steps whose source is q."""
        validate.no_context(context, "MeanFieldGaussian")
        return Chain(self.law())

    def loss(
        self,
        batch: int | Tensor,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return minus the ELBO of draws, with the gradient through the draws; shape ().

            loss(n) = -mean [log target(z) - log q(z)],   z ~ q        KL(q || target) - log Z
            loss(z) = -mean log q(z),   z ~ target                     KL(target || q) + entropy

        The batch is how many draws of q to weigh by the target, or exact draws (B, D) of it.

        Raises:
            ValueError: draws of q are to be weighed, and there is no target.
        """
        if isinstance(batch, Tensor):
            return -self.elbo(batch, context=context).mean()
        return -elbo(self.chain(context).push(batch, generator).log_weight(self._known()))

    def score_loss(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Return minus the ELBO of `n` draws, n >= 2, with the score-function gradient; shape ().

        The target need not be differentiable.
        """
        # Drawn without a graph, then scored: the gradient may only pass through log q's parameters.
        path = self.chain().replay([self.sample(n, generator=generator)])
        return score_function_loss(path.log_weight(self._known()), path.log_source)

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` points of q, (n, D)."""
        return self.chain(context).push(n, generator).states[-1]

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return log q of each row of `batch` (B, D), exact, (B,)."""
        return self.chain(context).log_prob(validate.batch("batch", batch, self.event_shape))

    def _known(self) -> Target:
        target = self._kept[0] if self._kept else self._target
        if target is None:
            raise ValueError(
                "draws of q are weighed by a target; got none; pass target=log_prob when q is "
                "made, or train on draws of the target"
            )
        return target

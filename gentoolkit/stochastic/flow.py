"""Stochastic normalizing flows: bijections and random layers in one chain."""

from collections.abc import Sequence

import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import Chain, Step, elbo, validate
from gentoolkit.core.chain import Source, Target, draw
from gentoolkit.stochastic.held import Held


class StochasticFlow(nn.Module):
    """A chain of any layers from a source to a target: flows, Langevin, MCMC, kernels of two laws.

        log_w = log target(x_T) - log source(x_0) + sum_t log_ratio_t

    The pushed loss is the reverse KL of the paths less log Z, the pulled one the forward KL up to
    the entropy of the data. Layers that are modules are trained; the light ones (`MALA`,
    `Langevin`), the source and the target are taken as they are.

    >>> from gentoolkit import standard_normal
    >>> from gentoolkit.stochastic import MALA
    >>> from gentoolkit.targets import eight_gaussians
    >>> target = eight_gaussians()
    >>> model = StochasticFlow(standard_normal(2), [MALA(target, 0.1, moves=5)], target)
    >>> model.sample(3).shape
    torch.Size([3, 2])

    Arguments:
        source: a density that samples. Parameters of source and target are not trained.
        layers: steps from the source side to the target side; one may stand several times.
        target: an unnormalised log-density, for losses that push.
        pushed: share of the pushed loss in `loss`, from 0 (data alone) to 1 (target alone).

    Raises:
        TypeError: a layer is not a Step.
        ValueError: `pushed` is outside [0, 1] or asks for a missing target, or the shapes of
            neighbouring layers do not meet.

    Reference: Wu, Köhler, Noé 2020 (arXiv 2002.06707); Hagemann, Hertrich, Steidl 2021
        (arXiv 2111.12506).
    """

    def __init__(
        self,
        source: Source,
        layers: Sequence[Step],
        target: Target | None = None,
        pushed: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0.0 <= pushed <= 1.0:
            raise ValueError(f"pushed must lie in [0, 1]; got {pushed}; 0.5 mixes both losses")
        self.event_shape = _meeting_shapes(Chain(source, layers))[-1]
        self.source, self.target = Held(source), Held(target)
        self.layers = nn.ModuleList(x if isinstance(x, nn.Module) else Held(x) for x in layers)
        self.pushed = 0.0 if target is None else pushed

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain source -> target.

        Raises:
            ValueError: there is a context.
        """
        validate.no_context(context, "a StochasticFlow")
        steps = [x.thing if isinstance(x, Held) else x for x in self.layers]
        return Chain(self.source.thing, steps)  # pyright: ignore[reportArgumentType]

    def pushed_loss(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Return `-E_push[log w]` of `n` paths, shape (): the reverse KL.

        Raises:
            ValueError: there is no target.
        """
        if self.target.thing is None:
            raise ValueError(
                "a pushed loss needs a target; got none; pass target=log_prob, or train on data"
            )
        return -elbo(self.chain().push(n, generator).log_weight(self.target.thing))

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the mixture of both losses, with as many pushed paths as data, shape ().

        -pushed E_push[log w] - (1 - pushed) E_pull[log evidence]
        """
        validate.no_context(context, "a StochasticFlow")
        n = validate.batch("batch", batch).shape[0]
        if self.pushed == 1.0:
            return self.pushed_loss(n, generator=generator)
        pulled = -elbo(self.elbo(batch, generator=generator))
        if self.pushed == 0.0:
            return pulled
        pushed = self.pushed_loss(n, generator=generator)
        return self.pushed * pushed + (1.0 - self.pushed) * pulled

    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` last states, unweighted, (n, *event); no gradient is kept."""
        with torch.no_grad():
            return self.chain(context).push(n, generator).states[-1]

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the log-evidence of one path pulled from each row, (B,): on average a bound."""
        return self.chain(context).pull(batch, generator).log_evidence()


def _meeting_shapes(chain: Chain) -> tuple[Size, ...]:
    """Return the event shape of every state of a chain, found by moving two paths there and back.

    No randomness of the caller is used up.

    Raises:
        ValueError: a layer refuses what its neighbour gives, or pulls to another shape; both shapes
            are named.
    """
    with torch.no_grad(), torch.random.fork_rng():
        x = draw(chain.source, 2)
        shapes = [x.shape[1:]]
        for t, step in enumerate(chain.steps):
            left = "the source" if t == 0 else f"layers[{t - 1}]"
            kind = f"layers[{t}], a {type(step).__name__},"
            what = "neighbouring layers must meet in shape; got states of shape "
            what += f"{('B', *shapes[-1])} from {left}, "
            try:
                y, _ = step.push(x)
                back, _ = step.pull(y)
            except (RuntimeError, ValueError, IndexError) as error:
                raise ValueError(
                    f"{what}which {kind} refuses: {error}; give both one width, or put a Kernel "
                    "that changes it between them"
                ) from error
            if back.shape != x.shape:
                raise ValueError(
                    f"{what}and {('B', *back.shape[1:])} where {kind} pulls to; let both laws of a "
                    "layer speak of the same state"
                )
            x = y
            shapes.append(x.shape[1:])
    return tuple(shapes)

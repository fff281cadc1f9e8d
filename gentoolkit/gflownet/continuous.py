"""Continuous moves: sums become densities, and the same balance holds along the path."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import Chain, FunctionKernel, Gaussian, Unsupported, validate
from gentoolkit.core.laws import Law
from gentoolkit.gflownet.objectives import BalanceTerms, Objective, TrajectoryBalance
from gentoolkit.gflownet.paths import choose
from gentoolkit.nets import MLP


@dataclass(frozen=True)
class MixedMove(Law):
    """A mixture of K Gaussians with independent coordinates, one mixture a row.

        log_prob(y) = log sum_k exp(log_share_k) N(y; mean_k, std_k^2)

    Arguments:
        log_share: (B, K) logarithms that sum to one.
        mean: (B, K, D).
        std: (B, K, D), positive.
    """

    log_share: Tensor
    mean: Tensor
    std: Tensor

    def sample(self, n: int | None = None, generator: Generator | None = None) -> Tensor:
        """Draw a component, then a point of it, (B, D); nothing flows through the choice."""
        rows = len(self.mean) if n is None else n
        share = self.log_share.detach().exp().expand(rows, -1)
        at = choose(share, generator)[:, None, None].expand(-1, 1, self.mean.shape[2])
        mean = self.mean.expand(rows, -1, -1).gather(1, at)[:, 0]
        std = self.std.expand(rows, -1, -1).gather(1, at)[:, 0]
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        return mean + std * noise

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of each row of `x` (B, D), shape (B,)."""
        batch, components, features = self.mean.shape
        rows = (batch * components, features)
        each = Gaussian(self.mean.reshape(rows), self.std.reshape(rows))
        if batch == 1:
            each = Gaussian(self.mean[0].repeat(len(x), 1), self.std[0].repeat(len(x), 1))
        log_prob = each.log_prob(x.repeat_interleave(components, 0))
        return (self.log_share + log_prob.reshape(len(x), components)).logsumexp(1)


class GaussianFlowNet(nn.Module):
    """A GFlowNet of T moves in D dimensions, each Gaussian or a mixture of K Gaussians.

        push:  x_0 = 0,   x_{t+1} ~ sum_k share_k N(x_t + drift_k, std_k^2), all read at (x_t, t)
        pull:  x_t ~ N(x_{t+1} t / (t+1), spread^2 t / (T (t+1)))      a bridge to the origin

        log_weight = log R(x_T) + sum_t log pull - sum_t log push

    The first move is the source of the chain: every path comes back to the origin by itself.
    Where the target has separate modes, the reversal of a bridge of few moves has several modes
    itself: one Gaussian a move blurs them, and a mixture does not.

    Arguments:
        log_reward: log R of points (B, D), shape (B,).
        features: number D of dimensions.
        moves: number T of moves, two or more.
        spread: deviation of the uncontrolled walk after all moves.
        components: number K of Gaussians in the push of a move.
        objective: trajectory balance if left out.

    Reference: Lahlou et al. 2023 (arXiv 2301.12594).

    >>> _ = torch.manual_seed(0)
    >>> model = GaussianFlowNet(lambda x: -x.square().sum(1), 2)
    >>> model.loss(model.paths(16)).backward()
    >>> model.sample(5).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        log_reward: Callable[[Tensor], Tensor],
        features: int,
        *,
        moves: int = 8,
        spread: float = 2.0,
        components: int = 1,
        hidden: Sequence[int] = (64, 64),
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        if validate.positive_count("moves", moves) < 2:
            raise ValueError(f"moves must be at least 2; got {moves}; one move is its own source")
        validate.positive("spread", spread)
        self.log_reward, self.moves, self.spread = log_reward, moves, spread
        self.event_shape = Size((validate.positive_count("features", features),))
        self.components = validate.positive_count("components", components)
        outputs = 2 * features if components == 1 else (2 * features + 1) * components
        self.net = MLP(features + 1, outputs, hidden)
        self.flow_net = MLP(features + 1, 1, hidden)
        self.log_z = nn.Parameter(torch.zeros(()))
        self.objective = TrajectoryBalance() if objective is None else objective

    def _with_time(self, x: Tensor, t: int) -> Tensor:
        return torch.cat([x, torch.full_like(x[:, :1], t / self.moves)], 1)

    def _push(self, x: Tensor, t: int) -> Gaussian | MixedMove:
        said = self.net(self._with_time(x, t))
        width = self.components * self.event_shape[0]
        drift, log_scale, logits = said.split([width, width, said.shape[1] - 2 * width], 1)
        std = self.spread / self.moves**0.5 * (2.0 * log_scale.tanh()).exp()
        if self.components == 1:
            return Gaussian(x + drift, std)
        shape = (len(x), self.components, self.event_shape[0])
        mean = x[:, None] + drift.reshape(shape)
        return MixedMove(logits.log_softmax(1), mean, std.reshape(shape))

    def _pull(self, y: Tensor, t: int) -> Gaussian:
        return Gaussian(y * (t / (t + 1)), self.spread * (t / (self.moves * (t + 1))) ** 0.5)

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain from the first move on: T - 1 kernels."""
        validate.no_context(context, "GaussianFlowNet")
        origin = self.log_z.new_zeros(1, *self.event_shape)
        steps = [
            FunctionKernel(lambda x, t=t: self._push(x, t), lambda y, t=t: self._pull(y, t))
            for t in range(1, self.moves)
        ]
        return Chain(self._push(origin, 0), steps)

    @torch.no_grad()
    def paths(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Draw the states of `n` paths, (T, n, D); nothing is differentiated."""
        return torch.stack(self.chain().push(n, generator).states)

    def balance_terms(self, paths: Tensor) -> BalanceTerms:
        """Return the terms of balance at the states x_1, ..., x_T of paths (T, B, D).

        The source and its first move count as one step without a pull.
        """
        trajectory = self.chain().replay(paths.unbind())
        ratio, source = trajectory.log_ratio, trajectory.log_source[None]
        between = [self.flow_net(self._with_time(x, t))[:, 0] for t, x in enumerate(paths[1:-1], 2)]
        start = self.log_z.expand_as(source)
        end = validate.per_sample("log_reward", self.log_reward(paths[-1]), len(paths[-1]))
        flow = torch.cat([start, start + source, torch.stack([*between, end])])
        log_push = torch.cat([source, -ratio])  # only the difference of push and pull is asked for
        alive = torch.ones_like(log_push, dtype=torch.bool)
        return BalanceTerms(log_push, torch.zeros_like(log_push), flow, alive)

    def inflow(self, paths: Tensor) -> Tensor:
        """Raise Unsupported: the flow into a point is an integral over all that may come before."""
        raise Unsupported(
            "the flow into a point is an integral; got FlowMatching on continuous moves; use "
            "DetailedBalance, SubTrajectoryBalance, TrajectoryBalance or LogVariance"
        )

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the log-evidence of one pulled path to each point (B, D), shape (B,)."""
        validate.batch("batch", batch, self.event_shape)
        return self.chain(context).pull(batch, generator).log_evidence()

    def loss(
        self,
        batch: Tensor,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return the objective on a batch, shape ().

        The batch is the states of paths (T, B, D), however drawn; or points (B, D), to each of
        which a path is drawn from the pull.
        """
        validate.no_context(context, "GaussianFlowNet")
        if batch.ndim == 2:
            validate.batch("batch", batch, self.event_shape)
            with torch.no_grad():
                batch = torch.stack(self.chain().pull(batch, generator).states)
        return self.objective(self, batch)

    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` points, (n, D)."""
        validate.no_context(context, "GaussianFlowNet")
        return self.paths(n, generator=generator)[-1]

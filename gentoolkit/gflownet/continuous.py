"""Continuous moves: sums become densities, and the same balance holds along the path.

    log_weight = log R(x_T) + sum_t log b(x_{t-1} | x_t) - sum_t log f(x_t | x_{t-1}) - log source

A path is a chain of Gaussian kernels from a fixed point; the pull is a Brownian bridge to it.
"""

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import (
    Chain,
    FunctionKernel,
    Gaussian,
    Trajectory,
    log_variance,
    residuals,
    trajectory_balance,
    validate,
)
from gentoolkit.nets import MLP


class GaussianFlowNet(nn.Module):
    """A GFlowNet of T Gaussian moves in D dimensions.

        push:  x_0 = 0,   x_{t+1} ~ N(x_t + drift_t(x_t), std_t(x_t)^2)
        pull:  x_t ~ N(x_{t+1} t / (t+1), spread^2 t / (T (t+1)))      a bridge to the origin

    The first move is the source of the chain: every path comes back to the origin by itself.

    Arguments:
        log_reward: log R of points (B, D), shape (B,).
        dims: number D of dimensions.
        moves: number T of moves, two or more.
        spread: deviation of the uncontrolled walk after all moves.
        hidden: widths of the hidden layers.

    Raises:
        ValueError: a size is out of range.

    Reference: Lahlou et al. 2023 (arXiv 2301.12594).
    """

    def __init__(
        self,
        log_reward: Callable[[Tensor], Tensor],
        dims: int,
        moves: int = 8,
        spread: float = 2.0,
        hidden: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        if validate.positive_count("moves", moves) < 2:
            raise ValueError(f"moves must be at least 2; got {moves}; one move is its own source")
        if not (isfinite(spread) and spread > 0):
            raise ValueError(f"spread must be positive; got {spread}; pass a deviation")
        self.log_reward, self.moves, self.spread = log_reward, moves, spread
        self.dims = validate.positive_count("dims", dims)
        self.net = MLP(dims + 1, 2 * dims, hidden)
        self.flow_net = MLP(dims + 1, 1, hidden)
        self.log_z = nn.Parameter(torch.zeros(()))

    def _with_time(self, x: Tensor, t: int) -> Tensor:
        return torch.cat([x, torch.full_like(x[:, :1], t / self.moves)], 1)

    def _push(self, x: Tensor, t: int) -> Gaussian:
        drift, log_scale = self.net(self._with_time(x, t)).chunk(2, 1)
        std = self.spread / self.moves**0.5 * (2.0 * log_scale.tanh()).exp()
        return Gaussian(x + drift, std)

    def _pull(self, y: Tensor, t: int) -> Gaussian:
        return Gaussian(y * (t / (t + 1)), self.spread * (t / (self.moves * (t + 1))) ** 0.5)

    def chain(self) -> Chain:
        """Return the chain from the first move on: T - 1 kernels."""
        like = self.log_z
        origin = torch.zeros(1, self.dims, dtype=like.dtype, device=like.device)
        steps = [
            FunctionKernel(lambda x, t=t: self._push(x, t), lambda y, t=t: self._pull(y, t))
            for t in range(1, self.moves)
        ]
        return Chain(self._push(origin, 0), steps)

    @torch.no_grad()
    def paths(self, n: int, generator: Generator | None = None) -> tuple[Tensor, ...]:
        """Draw the states of `n` paths, T tensors (n, D); nothing is differentiated."""
        return self.chain().push(n, generator).states

    def log_flow(self, trajectory: Trajectory) -> Tensor:
        """Return log F at the states, (T, B): log Z at the source, log R at the end."""
        source = self.log_z + trajectory.log_source
        between = [
            self.flow_net(self._with_time(x, t))[:, 0]
            for t, x in enumerate(trajectory.states[1:-1], 2)
        ]
        return torch.stack([source, *between, self.log_reward(trajectory.states[-1])])

    def residuals(self, states: Sequence[Tensor]) -> Tensor:
        """Return the imbalance of every kernel along given states, (T - 1, B)."""
        trajectory = self.chain().replay(states)
        return residuals(trajectory, self.log_flow(trajectory))

    def trajectory_balance(self, states: Sequence[Tensor]) -> Tensor:
        """Return the mean square of `log w - log Z` on given states, shape ()."""
        log_w = self.chain().replay(states).log_weight(self.log_reward)
        return trajectory_balance(log_w, self.log_z)

    def detailed_balance(self, states: Sequence[Tensor]) -> Tensor:
        """Return the mean square of the imbalance of the kernels on given states, shape ()."""
        return self.residuals(states).square().mean()

    def log_variance(self, states: Sequence[Tensor]) -> Tensor:
        """Return the variance of log w on given states, shape ()."""
        return log_variance(self.chain().replay(states).log_weight(self.log_reward))

    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Return trajectory balance on the states of paths, however drawn, shape ()."""
        return self.trajectory_balance(batch)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` points, (n, D)."""
        return self.paths(n, generator)[-1]

"""A GFlowNet: a policy that builds objects, trained so that they come in proportion to a reward."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import validate
from gentoolkit.gflownet import exact
from gentoolkit.gflownet.environment import Environment
from gentoolkit.gflownet.objectives import Account, Objective, TrajectoryBalance
from gentoolkit.gflownet.paths import Chooser, Paths, join, pull_paths, push_paths
from gentoolkit.gflownet.policy import Heads, Policy, TablePolicy
from gentoolkit.gflownet.replay import ReplayBuffer
from gentoolkit.gflownet.rewards import checked_log_reward
from gentoolkit.gflownet.space import Space
from gentoolkit.gflownet.stochastic import Slippery
from gentoolkit.nets import MLP

LogReward = Callable[..., Tensor]
"""From objects (B, D), and contexts (B, K) if there are any, to log R (B,)."""


class Contexts(Protocol):
    """A law of contexts."""

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` contexts, (n, K)."""
        ...


class GFlowNet(nn.Module):
    """A policy, a log-reward and a condition of balance.

        log_weight = log R(x) + sum log pull - sum log push        log Z on every path if balanced

    The flow through the source is `log_z`, one number for all objectives, so that trajectory
    balance is the sum of the residuals of detailed balance. On a `Space` every state is scored
    once wherever that is less work than to score those of the paths.

    Arguments:
        environment: where objects are built; a `Space` makes it fast and gives the exact law.
        log_reward: log R of objects (B, D), with a second argument (B, K) if there are contexts.
        policy: heads for the states; two layers of 64 if left out.
        objective: trajectory balance if left out.

    Raises:
        ValueError: on a `Space`, some log-reward is not finite.

    Reference: Bengio et al. 2021 (arXiv 2111.09266).
    """

    _rewards: Tensor | None

    def __init__(
        self,
        environment: Environment,
        log_reward: LogReward,
        policy: Policy | TablePolicy | Slippery | None = None,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.environment, self.log_reward = environment, log_reward
        self.policy = Policy(environment) if policy is None else policy
        self.objective = TrajectoryBalance() if objective is None else objective
        self.log_z = nn.Parameter(torch.zeros(()))
        width = self.policy.context
        self.log_z_net = MLP(width, 1) if width else None
        self.register_buffer("_rewards", self._listed_rewards(), persistent=False)

    def _listed_rewards(self) -> Tensor | None:
        if not isinstance(self.environment, Space) or self.policy.context:
            return None
        stops = self.environment.may_stop
        value = self.log_reward(self.environment.rows[stops])
        checked_log_reward(validate.per_sample("log_reward", value, int(stops.sum())))
        out = value.new_full((self.environment.size,), -torch.inf)
        out[stops] = value
        return out

    def log_reward_of(self, states: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log R of finished states (B, ...), shape (B,).

        Raises:
            ValueError: one is not finite, or their shape is wrong.
        """
        if self._rewards is not None:
            return self._rewards[states]
        x = self.environment.objects(states)
        value = self.log_reward(x) if context is None else self.log_reward(x, context)
        return checked_log_reward(validate.per_sample("log_reward", value, len(states)))

    def log_source_flow(self, n: int, context: Tensor | None = None) -> Tensor:
        """Return log Z, or log Z(context), for `n` paths, (n,)."""
        if self.log_z_net is None or context is None:
            return self.log_z.expand(n)
        return self.log_z + self.log_z_net(context)[:, 0]

    def heads(self, states: Tensor, context: Tensor | None = None) -> Heads:
        """Return the heads at states (B, ...); the flow of the source is `log_z`."""
        space = self.environment
        if isinstance(space, Space) and context is None and space.size < len(states):
            every = torch.arange(space.size, device=states.device)
            return self.heads(every).rows(states)
        said = self.policy(states, context)
        source = (states == space.start(1, states.device)).reshape(len(states), -1).all(1)
        flow = torch.where(source, self.log_source_flow(len(states), context), said.log_flow)
        return Heads(said.log_push, said.log_pull, flow)

    def account(self, paths: Paths) -> Account:
        """Score a batch of paths, whoever drew it."""
        count, n = paths.moves.shape
        said = self.heads(paths.states.flatten(0, 1), _spread(paths.context, count))
        stop, alive = self.environment.moves, paths.alive
        made = paths.moves.clamp_min(0)
        log_push = said.log_push.unflatten(0, (count, n)).gather(2, made[..., None])[..., 0]
        # A move is undone from the state it led to, one row further down.
        built = alive[:-1] & (paths.moves[:-1] != stop)
        undone = made[:-1].clamp_max(stop - 1)[..., None]
        log_pull = said.log_pull.unflatten(0, (count, n))[1:].gather(2, undone)[..., 0]
        log_flow = torch.where(alive, said.log_flow.unflatten(0, (count, n)), paths.log_reward)
        return Account(
            torch.where(alive, log_push, 0.0),
            torch.cat([torch.where(built, log_pull, 0.0), torch.zeros_like(log_push[:1])]),
            torch.cat([log_flow, paths.log_reward[None]]),
            alive,
        )

    def inflow(self, paths: Paths) -> Tensor:
        """Return log of the flow into every state of the paths, (T, B); `-inf` at the source."""
        count, n = paths.moves.shape
        states, context = paths.states.flatten(0, 1), _spread(paths.context, count)
        mask = self.environment.undoable(states)
        at, move = mask.nonzero(as_tuple=True)
        parents = self.environment.undo(states[at], move)
        said = self.heads(parents, None if context is None else context[at])
        edge = said.log_flow + said.log_push.gather(1, move[:, None])[:, 0]
        # The source has no parent: a finite number there keeps the gradient of its sum finite.
        table = torch.where(mask.any(1, keepdim=True), -torch.inf, 0.0).to(edge)
        table = table.expand(mask.shape).index_put((at, move), edge)
        total = torch.where(mask.any(1), table.logsumexp(1), -torch.inf)
        return total.unflatten(0, (count, n))

    def loss(self, batch: Paths) -> Tensor:
        """Return the objective on a batch of paths, shape ()."""
        return self.objective(self, batch)

    @torch.no_grad()
    def paths(
        self,
        n: int,
        explore: float = 0.0,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Paths:
        """Draw `n` paths from the push.

        Arguments:
            n: number of paths.
            explore: share of uniform moves among the allowed ones mixed into every choice.
            context: (n, K), or None if the policy takes none.
            generator: source of randomness.

        Raises:
            ValueError: `explore` is not in [0, 1].
        """
        if not 0.0 <= explore <= 1.0:
            raise ValueError(f"explore must be in [0, 1]; got {explore}; it is a probability")
        device = self.log_z.device
        states, moves = push_paths(
            self.environment, self._chooser(n, explore, context), n, generator, device
        )
        return Paths(states, moves, self.log_reward_of(states[-1], context), context)

    @torch.no_grad()
    def paths_to(
        self, ends: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> Paths:
        """Draw one path to each of the finished states (B, ...) from the pull."""
        states, moves = pull_paths(
            self.environment,
            lambda s: self.heads(s, context).log_pull.exp(),
            ends,
            generator,
        )
        return Paths(states, moves, self.log_reward_of(ends, context), context)

    def _chooser(self, n: int, explore: float, context: Tensor | None) -> Chooser:
        space = self.environment
        every = isinstance(space, Space) and not self.policy.context
        every = every and space.sizes[0] <= n * space.longest

        def probs(states: Tensor) -> Tensor:
            push = self.policy(states, context).log_push.exp()
            if explore:
                mask = space.allowed(states)
                push = (1.0 - explore) * push + explore * mask / mask.sum(1, keepdim=True)
            return push

        if not every:
            return probs
        table = probs(torch.arange(space.sizes[0], device=self.log_z.device))
        return lambda states: table[states]

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` objects, (n, D)."""
        return self.environment.objects(self.paths(n, generator=generator).ends)

    def groups(self, lr: float = 1e-3, log_z_lr: float = 0.1) -> list[dict]:
        """Return parameter groups for an optimizer: log Z moves faster than the networks."""
        others = [p for name, p in self.named_parameters() if name != "log_z"]
        return [{"params": others, "lr": lr}, {"params": [self.log_z], "lr": log_z_lr}]

    @torch.no_grad()
    def law(self, context: Tensor | None = None) -> Tensor:
        """Return the exact law of the objects over the states of a `Space`, (S,).

        Arguments:
            context: (K,), one for all states, or None if the policy takes none.

        Raises:
            TypeError: the environment is not a `Space`.
            ValueError: the context does not fit.
        """
        if not isinstance(self.environment, Space):
            raise TypeError(
                f"the exact law needs a Space; got {type(self.environment).__name__}; "
                "build the model on Space(environment)"
            )
        every = torch.arange(self.environment.size, device=self.log_z.device)
        spread = None if context is None else context.expand(len(every), -1)
        said = self.heads(every, spread)
        return exact.law(self.environment, said.log_push.exp())


def rollouts(
    model: GFlowNet,
    batch: int,
    steps: int,
    explore: float = 0.0,
    buffer: ReplayBuffer | None = None,
    contexts: Contexts | None = None,
    generator: Generator | None = None,
) -> Iterator[Paths]:
    """Yield `steps` batches of paths for `fit`, each drawn when it is asked for.

    So that every batch comes from the policy as it is then, and all of it is a loop.

    Arguments:
        model: draws the paths.
        batch: paths in each.
        steps: number of batches.
        explore: share of uniform moves.
        buffer: keeps what was drawn; as many old paths are then added to each new batch.
        contexts: law of the contexts, if the policy takes any.
        generator: source of randomness.
    """
    for _ in range(steps):
        context = None if contexts is None else contexts.sample(batch, generator)
        fresh = model.paths(batch, explore, context, generator)
        if buffer is None:
            yield fresh
            continue
        old = buffer.sample(batch, generator) if len(buffer) else None
        buffer.add(fresh)
        yield fresh if old is None else join([fresh, old])


def _spread(context: Tensor | None, count: int) -> Tensor | None:
    return None if context is None else context.repeat(count, 1)

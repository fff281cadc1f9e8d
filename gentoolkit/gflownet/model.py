"""A GFlowNet: a policy that builds objects, trained so that they come in proportion to a reward."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Generator, Size, Tensor, nn

from gentoolkit.core import Categorical, Chain, Unsupported, validate
from gentoolkit.gflownet import exact
from gentoolkit.gflownet.build import Build, Finish
from gentoolkit.gflownet.environment import Environment
from gentoolkit.gflownet.objectives import BalanceTerms, Objective, TrajectoryBalance
from gentoolkit.gflownet.paths import Chooser, Paths, join, pull_paths, push_paths
from gentoolkit.gflownet.policy import (
    NoisyPolicy,
    Policy,
    PolicyOutput,
    TablePolicy,
    mixed_with_uniform,
)
from gentoolkit.gflownet.replay import ReplayBuffer
from gentoolkit.gflownet.rewards import checked_log_reward
from gentoolkit.gflownet.space import Space
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
    once wherever that is less work than to score those of the paths, and the rewards are listed
    once, so that the model can be pickled whatever function they came from.

    A `context` is (B, K), one row for each path or object, and None if the policy takes none.

    Arguments:
        environment: where objects are built; a `Space` makes it fast and gives the exact law.
        log_reward: log R of objects (B, D), with a second argument (B, K) if there are contexts.
        policy: what is said of the states; two layers of 64 if left out.
        objective: trajectory balance if left out.

    Raises:
        ValueError: on a `Space`, some log-reward is not finite.

    >>> from gentoolkit.gflownet import Corners, Hypergrid, LogOf
    >>> _ = torch.manual_seed(0)
    >>> model = GFlowNet(Space(Hypergrid(8, 2)), LogOf(Corners(8)))
    >>> model.loss(model.paths(16)).backward()
    >>> model.sample(5).shape, model.law().shape
    (torch.Size([5, 2]), torch.Size([64]))
    """

    _rewards: Tensor | None

    def __init__(
        self,
        environment: Environment,
        log_reward: LogReward,
        policy: Policy | TablePolicy | NoisyPolicy | None = None,
        *,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.environment = environment
        self.policy = Policy(environment) if policy is None else policy
        self.objective = TrajectoryBalance() if objective is None else objective
        self.log_z = nn.Parameter(torch.zeros(()))
        width = self.policy.context
        self.log_z_net = MLP(width, 1) if width else None
        listed = environment if isinstance(environment, Space) and not width else None
        rewards = None if listed is None else _listed(listed, log_reward)
        self.register_buffer("_rewards", rewards, persistent=False)
        self._log_reward = log_reward if listed is None else None

    @property
    def event_shape(self) -> Size:
        """Shape of an object, (D,)."""
        return self.environment.event_shape

    def log_reward(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Return log R of objects (B, D), shape (B,).

        Raises:
            ValueError: one is not finite, or their shape is wrong.
        """
        return self._log_reward_at(self.environment.index(x), context)

    def _log_reward_at(self, states: Tensor, context: Tensor | None) -> Tensor:
        if self._rewards is not None:
            return self._rewards[states]
        assert self._log_reward is not None
        x = self.environment.objects(states)
        value = self._log_reward(x) if context is None else self._log_reward(x, context)
        return checked_log_reward(value, len(states))

    def log_source_flow(self, n: int, context: Tensor | None = None) -> Tensor:
        """Return log Z, or log Z(context), for `n` paths, (n,)."""
        if self.log_z_net is None or context is None:
            return self.log_z.expand(n)
        return self.log_z + self.log_z_net(context)[:, 0]

    def policy_output(self, states: Tensor, context: Tensor | None = None) -> PolicyOutput:
        """Return what the policy says of states (B, ...); the flow of the source is `log_z`."""
        space = self.environment
        if isinstance(space, Space) and context is None and space.size < len(states):
            every = torch.arange(space.size, device=states.device)
            return self.policy_output(every).rows(states)
        said = self.policy(states, context)
        source = (states == space.start(1, states.device)).reshape(len(states), -1).all(1)
        flow = torch.where(source, self.log_source_flow(len(states), context), said.log_flow)
        return PolicyOutput(said.log_push, said.log_pull, flow)

    def balance_terms(self, paths: Paths) -> BalanceTerms:
        """Return the terms of balance along a batch of paths, whoever drew it."""
        shape, stop, alive = paths.moves.shape, self.environment.moves, paths.alive
        said = self.policy_output(paths.states.flatten(0, 1), _spread(paths.context, shape[0]))
        made = paths.moves.clamp_min(0)
        log_push = said.log_push.unflatten(0, shape).gather(2, made[..., None])[..., 0]
        # A move is undone from the state it led to, one row further down.
        built = alive[:-1] & (paths.moves[:-1] != stop)
        undone = made[:-1].clamp_max(stop - 1)[..., None]
        log_pull = said.log_pull.unflatten(0, shape)[1:].gather(2, undone)[..., 0]
        log_flow = torch.where(alive, said.log_flow.unflatten(0, shape), paths.log_reward)
        return BalanceTerms(
            torch.where(alive, log_push, 0.0),
            torch.cat([torch.where(built, log_pull, 0.0), torch.zeros_like(log_push[:1])]),
            torch.cat([log_flow, paths.log_reward[None]]),
            alive,
        )

    def inflow(self, paths: Paths) -> Tensor:
        """Return log of the flow into every state of the paths, (T, B); `-inf` at the source."""
        states = paths.states.flatten(0, 1)
        context = _spread(paths.context, len(paths.moves))
        mask = self.environment.undoable(states)
        at, move = mask.nonzero(as_tuple=True)
        parents = self.environment.undo(states[at], move)
        said = self.policy_output(parents, None if context is None else context[at])
        edge = said.log_flow + said.log_push.gather(1, move[:, None])[:, 0]
        # The source has no parent: a finite number there keeps the gradient of its sum finite.
        table = torch.where(mask.any(1, keepdim=True), -torch.inf, 0.0).to(edge)
        table = table.expand(mask.shape).index_put((at, move), edge)
        total = torch.where(mask.any(1), table.logsumexp(1), -torch.inf)
        return total.unflatten(0, paths.moves.shape)

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the model as a chain of the core, from the source to the objects (B, D).

        Raises:
            Unsupported: the environment is not a `Space`, or paths of two lengths lead to one
                state, so that a pulled path cannot know how many moves came before it.
        """
        space = self._space("a chain")
        if not self.policy.context:
            validate.no_context(context, "GFlowNet")
        ahead = space.depth[space.child.clamp_min(0)]
        uneven = (space.child >= 0) & (ahead != space.depth[:, None] + 1)
        if validate.readable(uneven) and bool(uneven.any()):
            raise Unsupported(
                "a chain needs all paths to a state to have one length; got a state reached by "
                "paths of two lengths; use paths(n) and balance_terms, which pad"
            )
        like = self.log_z.detach()
        moves = [Build(self.policy_output, space, t, context) for t in range(space.longest + 1)]
        start = Categorical(like.new_zeros(1, 1))  # state 0, with probability one
        return Chain(start, [*moves, Finish(space, like)])

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return `sum log push - sum log pull` of one pulled path to each object (B, D), (B,).

        Its mean is at most the log-probability of the object, and the mean of its exponential is
        the probability; a `Space` has it exactly, see `law`.
        """
        terms = self.balance_terms(self._paths_of(batch, context, generator))
        return (terms.log_push - terms.log_pull).sum(0)

    def loss(
        self,
        batch: Paths | Tensor,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return the objective on a batch of paths, whoever drew them, shape ().

        Arguments:
            batch: paths, which hold their own contexts; or finished objects (B, D), to each of
                which a path is drawn from the pull.
            context: (B, K) of objects, or None if the policy takes none.

        Raises:
            ValueError: a context beside that of the paths.
        """
        if isinstance(batch, Tensor):
            batch = self._paths_of(batch, context, generator)
        elif context is not None:
            raise ValueError(
                "paths hold their own context; got another beside it; draw them with "
                "paths(n, context=...) and leave it out here"
            )
        return self.objective(self, batch)

    def _paths_of(self, x: Tensor, context: Tensor | None, generator: Generator | None) -> Paths:
        ends = self.environment.index(validate.batch("batch", x, self.event_shape))
        return self.paths_to(ends, context=context, generator=generator)

    @torch.no_grad()
    def paths(
        self,
        n: int,
        *,
        explore: float = 0.0,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Paths:
        """Draw `n` paths from the push, with a share `explore` in [0, 1] of uniform moves."""
        validate.probability("explore", explore)
        space, device = self.environment, self.log_z.device

        def probs(states: Tensor) -> Tensor:
            push = self.policy(states, context).log_push.exp()
            return mixed_with_uniform(push, space.allowed(states), explore) if explore else push

        chooser: Chooser = probs
        if isinstance(space, Space) and not self.policy.context and space.size <= n * space.longest:
            chooser = probs(torch.arange(space.size, device=device)).__getitem__
        states, moves = push_paths(space, chooser, n, generator, device)
        return Paths(states, moves, self._log_reward_at(states[-1], context), context)

    @torch.no_grad()
    def paths_to(
        self, ends: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Paths:
        """Draw one path to each of the finished states (B, ...) from the pull."""
        states, moves = pull_paths(
            self.environment,
            lambda s: self.policy_output(s, context).log_pull.exp(),
            ends,
            generator,
        )
        return Paths(states, moves, self._log_reward_at(ends, context), context)

    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` objects, (n, D), under contexts (n, K) if the policy takes any."""
        return self.environment.objects(self.paths(n, context=context, generator=generator).ends)

    def groups(self, lr: float = 1e-3, log_z_lr: float = 0.1) -> list[dict]:
        """Return parameter groups for an optimizer: log Z moves faster than the networks."""
        others = [p for name, p in self.named_parameters() if name != "log_z"]
        return [{"params": others, "lr": lr}, {"params": [self.log_z], "lr": log_z_lr}]

    @torch.no_grad()
    def law(self, *, context: Tensor | None = None) -> Tensor:
        """Return the exact law of the objects over the states of a `Space`, (S,).

        The context, if there is one, is (K,): one for all states.

        Raises:
            Unsupported: the environment is not a `Space`.
        """
        space = self._space("the exact law")
        spread = None if context is None else context.expand(space.size, -1)
        every = torch.arange(space.size, device=self.log_z.device)
        return exact.law(space, self.policy_output(every, spread).log_push.exp())

    def _space(self, what: str) -> Space:
        if not isinstance(self.environment, Space):
            raise Unsupported(
                f"{what} needs a Space; got {type(self.environment).__name__}; build the model on "
                "Space(environment)"
            )
        return self.environment


def _listed(space: Space, log_reward: LogReward) -> Tensor:
    """Return log R of every state, (S,), `-inf` where none may stop."""
    stops = space.may_stop
    value = checked_log_reward(log_reward(space.rows[stops]), int(stops.sum()))
    return value.new_full((space.size,), -torch.inf).masked_scatter(stops, value)


def rollouts(
    model: GFlowNet,
    batch: int,
    steps: int,
    *,
    explore: float = 0.0,
    buffer: ReplayBuffer | None = None,
    contexts: Contexts | None = None,
    generator: Generator | None = None,
) -> Iterator[Paths]:
    """Yield `steps` batches of `batch` paths for `fit`, each from the policy as it then is.

    Arguments:
        explore: share of uniform moves.
        buffer: keeps what was drawn; as many old paths are then added to each new batch.
        contexts: law of the contexts, if the policy takes any.
    """
    for _ in range(steps):
        context = None if contexts is None else contexts.sample(batch, generator=generator)
        fresh = model.paths(batch, explore=explore, context=context, generator=generator)
        old = buffer.sample(batch, generator=generator) if buffer else None  # none while empty
        if buffer is not None:
            buffer.add(fresh)
        yield fresh if old is None else join([fresh, old])


def _spread(context: Tensor | None, count: int) -> Tensor | None:
    return None if context is None else context.repeat(count, 1)

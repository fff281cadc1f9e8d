"""Exact tables by dynamic programming: flows, reach, and the law of the objects.

One sweep visits the levels of a listed space from the last to the first,

    F(s) = R(s) + sum_m F(s_m) pull(s | s_m)

and a second one, from the first to the last, carries the probability of a visit,

    reach(s) = sum over parents p of reach(p) push(s | p)

Tables have one row a state; column m belongs to build move m of that row, and the last column of a
`push` to the stop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gentoolkit.gflownet.rewards import checked_reward
from gentoolkit.gflownet.space import Space


def uniform_pull(space: Space) -> Tensor:
    """Return the pull that picks one of the parents at random, (S, moves)."""
    mask = (space.parent >= 0).to(torch.get_default_dtype())
    return mask / mask.sum(1, keepdim=True).clamp_min(1.0)


def flow_sweep(space: Space, reward: Tensor, pull: Tensor) -> Tensor:
    """Return the flow through every state, in the shape of `reward`, in one sweep.

    Arguments:
        reward: (S,) or (S, C) for C rewards at once; zero where a state may not stop.
        pull: (S, moves), share of a state's flow that came by each move; any non-negative numbers.
    """
    share = _share(space, pull)
    share = share.reshape(*share.shape, *[1] * (reward.ndim - 1))
    # The extra row is the flow of the missing child -1.
    flow = torch.cat([reward, torch.zeros_like(reward[:1])])
    for level in reversed(space.levels[:-1]):
        flow[level] += (flow[space.child[level]] * share[level]).sum(1)
    return flow[:-1]


def reach(space: Space, push: Tensor, start: int = 0) -> Tensor:
    """Return the probability that a path from state number `start` visits each state, (S,).

    The probabilities `push` (S, moves + 1) are those of the moves and the stop.
    """
    moves = torch.arange(space.moves, device=space.child.device)
    toll = torch.where(space.parent >= 0, push[space.parent.clamp_min(0), moves], 0.0)
    visits = push.new_zeros(space.size)
    visits[start] = 1.0
    for level in space.levels[1:]:
        visits[level] += (visits[space.parent[level].clamp_min(0)] * toll[level]).sum(1)
    return visits


def law(space: Space, push: Tensor, start: int = 0) -> Tensor:
    """Return the probability that a path ends in each state, (S,): the law of the objects."""
    return reach(space, push, start) * push[:, -1]


def count_paths(space: Space) -> Tensor:
    """Return how many paths lead from the source to each state, (S,)."""
    return reach(space, torch.ones(space.size, space.moves + 1, device=space.child.device))


@dataclass(frozen=True)
class Flows:
    """A flow on a listed space, with the two chains read off it.

    Arguments:
        reward: (S,), zero where a state may not stop.
        pull, flow, push: (S, moves), (S,) and (S, moves + 1).
        start: number of the state where paths begin.
    """

    space: Space
    reward: Tensor
    pull: Tensor
    flow: Tensor
    push: Tensor
    start: int = 0

    @property
    def z(self) -> Tensor:
        """Flow through the start, shape ()."""
        return self.flow[self.start]

    def edges(self) -> Tensor:
        """Return the flow along every move and into the stop, (S, moves + 1)."""
        return self.flow[:, None] * self.push

    def law(self) -> Tensor:
        """Return the probability that a path ends in each state, (S,)."""
        return law(self.space, self.push, self.start)

    def target(self) -> Tensor:
        """Return `R / sum R`, (S,)."""
        return self.reward / self.reward.sum()


def solve_flows(space: Space, reward: Tensor, pull: Tensor | None = None) -> Flows:
    """Return the flow that carries `reward` and splits upwards as `pull` says.

        F(s) = R(s) + sum_m F(s_m) pull(s | s_m),   push(s_m | s) = F(s_m) pull(s | s_m) / F(s)

    Arguments:
        reward: (S,), positive where a state may stop; other entries are not read.
        pull: (S, moves), one probability a parent; uniform over the parents if left out.

    Raises:
        ValueError: a reward is not positive and finite, or `pull` is no law over the parents.

    >>> from gentoolkit.gflownet import Hypergrid
    >>> flows = solve_flows(Space(Hypergrid(2, 2)), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    >>> flows.z, flows.law()
    (tensor(10.), tensor([0.1000, 0.2000, 0.3000, 0.4000]))
    """
    reward = stopping_reward(space, reward)
    pull = uniform_pull(space) if pull is None else _checked_pull(space, pull)
    return carried(space, reward, pull)


def soft_values(space: Space, reward: Tensor) -> Flows:
    """Return the values and the policy of soft reinforcement learning: the pull is forgotten.

        V(s) = R(s) + sum_m V(s_m)

    Every path counts the reward in full, so objects come out in proportion to
    `count_paths(x) R(x)`: right on a tree alone.
    """
    pull = (space.parent >= 0).to(reward.dtype)
    return carried(space, stopping_reward(space, reward), pull)


def carried(space: Space, reward: Tensor, pull: Tensor) -> Flows:
    """Return the flow for any non-negative `reward` (S,) and `pull` (S, moves), unchecked."""
    flow = flow_sweep(space, reward, pull)
    ahead = torch.cat([flow, flow.new_zeros(1)])[space.child] * _share(space, pull)
    push = torch.cat([ahead, reward[:, None]], 1) / flow[:, None]
    return Flows(space, reward, pull, flow, push)


def _share(space: Space, pull: Tensor) -> Tensor:
    """Return the pull of each edge at its upper end, (S, moves)."""
    moves = torch.arange(space.moves, device=space.child.device)
    return torch.where(space.child >= 0, pull[space.child.clamp_min(0), moves], 0.0)


def stopping_reward(space: Space, reward: Tensor) -> Tensor:
    """Return `reward` (S, ...), checked where a state may stop and zero elsewhere."""
    if reward.shape[:1] != (space.size,):
        raise ValueError(
            f"reward must have {space.size} rows, one a state; got {tuple(reward.shape)}; "
            "evaluate it on space.rows"
        )
    checked_reward(reward[space.may_stop])
    stops = space.may_stop.reshape(-1, *[1] * (reward.ndim - 1))
    return torch.where(stops, reward, 0.0)


def _checked_pull(space: Space, pull: Tensor) -> Tensor:
    total = pull[1:].sum(1)
    allowed = space.parent >= 0
    if (
        pull.shape != allowed.shape
        or bool((pull < 0).any())
        or bool((pull[~allowed] != 0).any())
        or not bool(((total - 1).abs() <= 1e-6).all())
    ):
        raise ValueError(
            f"pull must have shape {tuple(allowed.shape)} with rows that are laws over the "
            f"parents; got {tuple(pull.shape)}, least entry {float(pull.min())}; start from "
            "uniform_pull(space)"
        )
    return pull


def flow_matching_residuals(space: Space, log_flow: Tensor, push: Tensor) -> Tensor:
    """Return `log inflow - log F(s)` of every state, (S,), zero at the source.

    The inflow is `sum over parents p of F(p) push(s | p)`; what leaves is F(s), since the moves
    and the stop share it. The stop has its own balance.
    """
    edges = log_flow[:, None] + push[:, :-1].log()
    moves = torch.arange(space.moves, device=space.child.device)
    come = edges[space.parent.clamp_min(0), moves].masked_fill(space.parent < 0, -torch.inf)
    gap = come[1:].logsumexp(1) - log_flow[1:]
    return torch.cat([torch.zeros_like(gap[:1]), gap])

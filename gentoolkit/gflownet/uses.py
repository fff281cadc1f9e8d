"""What flows are good for beside sampling: free energies, entropies, mutual information."""

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.gflownet.exact import Flows, carried, flow_sweep, stopping_reward, uniform_pull
from gentoolkit.gflownet.space import Space


def cones(space: Space) -> Tensor:
    """Return which state can reach which, bool (S, S): row s is the cone of s."""
    reached = torch.eye(space.size + 1, dtype=torch.bool, device=space.child.device)
    reached[-1, -1] = False  # the missing child reaches nothing
    for level in reversed(space.levels[:-1]):
        reached[level] |= reached[space.child[level]].any(1)
    return reached[:-1, :-1]


def restarted(space: Space, reward: Tensor, start: int) -> Flows:
    """Return the flow of a GFlowNet whose source is state number `start`: paths from there alone.

        F(start | start) = sum of R(x) over every x that can be reached from start

    It is not the flow through `start` of the whole GFlowNet: parents outside the cone give nothing
    back, so the pull is uniform over those inside. Rows outside the cone hold zeros. The reward
    (S,) is positive where a state may stop.
    """
    inside = cones(space)[start]
    known = (space.parent >= 0) & inside[space.parent.clamp_min(0)] & inside[:, None]
    known[start] = False
    pull = known.to(reward.dtype) / known.sum(1, keepdim=True).clamp_min(1)
    flows = carried(space, torch.where(inside, stopping_reward(space, reward), 0.0), pull)
    # States above the cone have a flow of zero: 0 / 0 there is no probability.
    push = torch.where(inside[:, None], flows.push, 0.0)
    flow = torch.where(inside, flows.flow, 0.0)
    return Flows(space, flows.reward, pull, flow, push, start)


def free_energy(space: Space, reward: Tensor, start: int) -> Tensor:
    """Return `-log sum of R(x)` over every x that can be reached from `start`, shape ()."""
    return -restarted(space, reward, start).z.log()


def entropy(space: Space, reward: Tensor) -> Tensor:
    """Return the entropy of `R / Z` in nats, from the source flows of two GFlowNets; () or (C,).

        R' = -r log r,   r = R / c < 1,   H = F'(s_0) / F(s_0) + log F(s_0)

    The reward (S,) or (S, C) is positive where a state may stop; a column is one context.
    """
    reward = stopping_reward(space, reward)
    scaled = reward / (2.0 * reward.max())  # below one, so that the second reward is positive
    both = torch.stack([scaled, -torch.xlogy(scaled, scaled)], -1)
    first, second = flow_sweep(space, both, uniform_pull(space))[0].unbind(-1)
    return second / first + first.log()


def mutual_information(space: Space, reward: Tensor) -> Tensor:
    """Return `H(X) - H(X | Y)` in nats, shape (), all from flows over X.

    Column y is the GFlowNet conditioned on y: its source flow is the unnormalised law of y, and
    two flows give its entropy.

    Arguments:
        space: listed states of X, every one of which may stop or has reward in no column.
        reward: (S, Y), the joint reward of x and y, positive where x may stop.
    """
    validate.shapes("pass a column for each y", reward=(reward, "S Y"))
    z = flow_sweep(space, stopping_reward(space, reward), uniform_pull(space))[0]
    within = (z / z.sum() * entropy(space, reward)).sum()
    return entropy(space, reward.sum(1)) - within

"""Policies: what a state says of its moves, of those that led to it, and of its flow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.gflownet.environment import Environment, masked_log_softmax
from gentoolkit.gflownet.exact import Flows
from gentoolkit.nets import MLP


@dataclass(frozen=True)
class PolicyOutput:
    """What a policy says of B states.

    Arguments:
        log_push: (B, moves + 1), `-inf` where a move or the stop is not allowed.
        log_pull: (B, moves), `-inf` where a move is not undoable; without meaning at the source.
        log_flow: (B,).
    """

    log_push: Tensor
    log_pull: Tensor
    log_flow: Tensor

    def rows(self, at: Tensor) -> "PolicyOutput":
        """Return the rows of the given numbers."""
        return PolicyOutput(self.log_push[at], self.log_pull[at], self.log_flow[at])


class Policy(nn.Module):
    """One network with three heads: moves to make, moves to undo, and the log-flow.

        log_push = log softmax over allowed moves,   log_pull = log softmax over undoable moves

    Arguments:
        environment: its masks, and what it shows of a state.
        context: width of the context, 0 if there is none.
        learn_pull: whether the pull is learned; uniform over the undoable moves if not.
    """

    def __init__(
        self,
        environment: Environment,
        hidden: Sequence[int] = (64, 64),
        *,
        context: int = 0,
        learn_pull: bool = False,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.environment, self.context, self.learn_pull = environment, context, learn_pull
        moves = environment.moves
        self.widths = [moves + 1, moves if learn_pull else 0, 1]
        self.net = MLP(environment.features + context, sum(self.widths), hidden, activation)

    def forward(self, states: Tensor, context: Tensor | None = None) -> PolicyOutput:
        """Return the output at states (B, ...), under contexts (B, K) if the policy takes any.

        Raises:
            ValueError: the context does not fit, or a state allows nothing.
        """
        x = self.environment.encode(states).to(next(self.net.parameters()).dtype)
        if self.context or context is not None:
            x = torch.cat([x, validate.context("this policy", context, len(x), self.context)], 1)
        push, pull, flow = self.net(x).split(self.widths, 1)
        log_push = masked_log_softmax(push, self.environment.allowed(states))
        undoable = self.environment.undoable(states)
        if self.learn_pull:
            log_pull = _learned_pull(undoable, pull)
        else:
            count = undoable.sum(1, keepdim=True).to(pull.dtype)
            log_pull = torch.where(undoable, -count.log(), -torch.inf)
        return PolicyOutput(log_push, log_pull, flow[:, 0])


def _learned_pull(undoable: Tensor, logits: Tensor) -> Tensor:
    # The source can undo nothing: a full row there keeps the softmax and its gradient finite.
    mask = undoable | ~undoable.any(1, keepdim=True)
    return logits.masked_fill(~mask, -torch.inf).log_softmax(1)


class TablePolicy(nn.Module):
    """A policy that looks everything up: exact flows, or one logit for each edge to be learned.

    It starts at `flows`; its tables are `push_logits`, `pull_logits` and `log_flow`.
    """

    def __init__(self, flows: Flows) -> None:
        super().__init__()
        self.environment, self.context = flows.space, 0
        floor = torch.finfo(flows.flow.dtype).tiny  # masked entries need a finite logit
        self.push_logits = nn.Parameter(flows.push.clamp_min(floor).log())
        self.pull_logits = nn.Parameter(flows.pull.clamp_min(floor).log())
        self.log_flow = nn.Parameter(flows.flow.log())

    def forward(self, states: Tensor, context: Tensor | None = None) -> PolicyOutput:
        """Return the output at states (B,)."""
        log_push = masked_log_softmax(self.push_logits[states], self.environment.allowed(states))
        log_pull = _learned_pull(self.environment.undoable(states), self.pull_logits[states])
        return PolicyOutput(log_push, log_pull, self.log_flow[states])


class NoisyPolicy(nn.Module):
    """A policy whose choice is kept with probability `1 - slip`, else replaced at random.

        push(m | s) = (1 - slip) choice(m | s) + slip / (number of allowed moves and stops at s)

    The second part is a stochastic environment's, and nobody can train it away: where R / Z asks
    for less than its share, no choice balances and the loss has a floor.

    Arguments:
        policy: makes the choices.
        slip: probability in [0, 1].
    """

    def __init__(self, policy: Policy | TablePolicy, slip: float) -> None:
        super().__init__()
        self.policy, self.slip = policy, validate.probability("slip", slip)
        self.environment, self.context = policy.environment, policy.context

    def forward(self, states: Tensor, context: Tensor | None = None) -> PolicyOutput:
        """Return the output at states (B, ...), with the push that comes of choice and slip."""
        chosen = self.policy(states, context)
        mask = self.environment.allowed(states)
        push = mixed_with_uniform(chosen.log_push.exp(), mask, self.slip)
        # Masked entries are zero: the log of a one in their place keeps the gradient finite.
        log_push = torch.where(mask, torch.where(mask, push, 1.0).log(), -torch.inf)
        return PolicyOutput(log_push, chosen.log_pull, chosen.log_flow)


def mixed_with_uniform(push: Tensor, mask: Tensor, share: float) -> Tensor:
    """Return `(1 - share) push + share / (allowed entries of the row)`, in the shape of both."""
    return (1.0 - share) * push + share * (mask / mask.sum(1, keepdim=True)).to(push)


def shortfall(flows: Flows, slip: float) -> Tensor:
    """Return by how much the slip alone exceeds the push that `flows` asks for, (S, moves + 1).

    Where it is zero throughout, some choice of a `NoisyPolicy` gives the flow.
    """
    mask = flows.space.allowed(torch.arange(flows.space.size, device=flows.push.device))
    return (slip * mask / mask.sum(1, keepdim=True) - flows.push).clamp_min(0.0)

"""Policies: what a state says of its moves, of those that led to it, and of its flow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gentoolkit.gflownet.environment import Environment, masked_log_softmax
from gentoolkit.gflownet.exact import Flows
from gentoolkit.nets import MLP


@dataclass(frozen=True)
class Heads:
    """What a policy says of B states.

    Arguments:
        log_push: (B, moves + 1), `-inf` where a move or the stop is not allowed.
        log_pull: (B, moves), `-inf` where a move is not undoable; at the source, where nothing
            can be undone, the numbers have no meaning.
        log_flow: (B,).
    """

    log_push: Tensor
    log_pull: Tensor
    log_flow: Tensor

    def rows(self, at: Tensor) -> "Heads":
        """Return the rows of the given numbers."""
        return Heads(self.log_push[at], self.log_pull[at], self.log_flow[at])


class Policy(nn.Module):
    """One network with three heads: moves to make, moves to undo, and the log-flow.

        log_push = log softmax over allowed moves,   log_pull = log softmax over undoable moves

    Arguments:
        environment: its masks, and what it shows of a state.
        hidden: widths of the shared trunk.
        context: width of the context, 0 if there is none.
        learn_pull: whether the pull is learned; uniform over the undoable moves if not.
        activation: makes the nonlinearity between layers.

    Reference: Bengio et al. 2021 (arXiv 2111.09266).
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

    def forward(self, states: Tensor, context: Tensor | None = None) -> Heads:
        """Return the heads at states (B, ...), under contexts (B, K) if the policy takes any.

        Raises:
            ValueError: the context does not fit, or a state allows nothing.
        """
        x = self.environment.encode(states).to(next(self.net.parameters()).dtype)
        if self.context or context is not None:
            x = torch.cat([x, _fitting(context, len(x), self.context)], 1)
        push, pull, flow = self.net(x).split(self.widths, 1)
        log_push = masked_log_softmax(push, self.environment.allowed(states))
        undoable = self.environment.undoable(states)
        return Heads(log_push, log_pull(undoable, pull, self.learn_pull), flow[:, 0])


def log_pull(undoable: Tensor, logits: Tensor, learned: bool) -> Tensor:
    """Return the log-probabilities of undoing, from logits or uniform, (B, moves)."""
    if not learned:
        count = undoable.sum(1, keepdim=True).to(logits.dtype)
        return torch.where(undoable, -count.log(), -torch.inf)
    # The source can undo nothing: a full row there keeps the softmax and its gradient finite.
    mask = undoable | ~undoable.any(1, keepdim=True)
    return logits.masked_fill(~mask, -torch.inf).log_softmax(1)


def _fitting(context: Tensor | None, n: int, width: int) -> Tensor:
    if context is None or context.shape != (n, width):
        got = None if context is None else tuple(context.shape)
        wants = f"shape ({n}, {width})" if width else "no context"
        raise ValueError(
            f"this policy takes {wants}; got {got}; pass one row of context for each path, or "
            "build the policy with context=the width of yours"
        )
    return context


class TablePolicy(nn.Module):
    """A policy that looks everything up: exact flows, or one logit for each edge to be learned.

    Arguments:
        flows: where it starts.

    Attributes:
        push_logits: (S, moves + 1).
        pull_logits: (S, moves).
        log_flow: (S,).
    """

    def __init__(self, flows: Flows) -> None:
        super().__init__()
        self.environment, self.context = flows.space, 0
        floor = torch.finfo(flows.flow.dtype).tiny  # masked entries need a finite logit
        self.push_logits = nn.Parameter(flows.push.clamp_min(floor).log())
        self.pull_logits = nn.Parameter(flows.pull.clamp_min(floor).log())
        self.log_flow = nn.Parameter(flows.flow.log())

    def forward(self, states: Tensor, context: Tensor | None = None) -> Heads:
        """Return the heads at states (B,)."""
        log_push = masked_log_softmax(self.push_logits[states], self.environment.allowed(states))
        pull = log_pull(self.environment.undoable(states), self.pull_logits[states], True)
        return Heads(log_push, pull, self.log_flow[states])

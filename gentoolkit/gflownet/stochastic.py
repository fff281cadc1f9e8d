"""An environment with a will of its own: a chosen move may slip into another one."""

import torch
from torch import Tensor, nn

from gentoolkit.gflownet.exact import Flows
from gentoolkit.gflownet.policy import Heads, Policy, TablePolicy


class Slippery(nn.Module):
    """A policy whose choice is kept with probability `1 - slip`, else replaced at random.

        push(m | s) = (1 - slip) choice(m | s) + slip / (number of allowed moves and stops at s)

    The kernel of the environment is the second part and nobody can train it away: where R / Z asks
    for less than its share, no choice balances and the loss has a floor.

    Arguments:
        policy: makes the choices.
        slip: probability in [0, 1].

    Raises:
        ValueError: `slip` is not a probability.

    Reference: Bengio et al. 2021 (arXiv 2111.09266), stochastic environments.
    """

    def __init__(self, policy: Policy | TablePolicy, slip: float) -> None:
        super().__init__()
        if not 0.0 <= slip <= 1.0:
            raise ValueError(f"slip must be in [0, 1]; got {slip}; it is a probability")
        self.policy, self.slip = policy, slip
        self.environment, self.context = policy.environment, policy.context

    def forward(self, states: Tensor, context: Tensor | None = None) -> Heads:
        """Return the heads at states (B, ...), with the push that comes of choice and slip."""
        said = self.policy(states, context)
        mask = self.environment.allowed(states)
        random = mask / mask.sum(1, keepdim=True)
        push = (1.0 - self.slip) * said.log_push.exp() + self.slip * random.to(said.log_push)
        # Masked entries are zero: the log of a one in their place keeps the gradient finite.
        log_push = torch.where(mask, torch.where(mask, push, 1.0).log(), -torch.inf)
        return Heads(log_push, said.log_pull, said.log_flow)


def shortfall(flows: Flows, slip: float) -> Tensor:
    """Return by how much the slip alone exceeds the push that `flows` asks for, (S, moves + 1).

    Where it is zero throughout, some choice gives the flow.

    Arguments:
        flows: the flow to be met.
        slip: probability in [0, 1].
    """
    mask = flows.space.allowed(torch.arange(flows.space.size, device=flows.push.device))
    random = slip * mask / mask.sum(1, keepdim=True)
    return (random - flows.push).clamp_min(0.0)

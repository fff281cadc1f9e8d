"""What the shared laws run on: moves of GFlowNets."""

import torch

from gentoolkit.gflownet import Build, GFlowNet, Hypergrid, Policy, Space
from tests.laws.kinds import Steps, perturbed


def build(dtype: torch.dtype) -> Build:
    """The third move on a small grid: moves, stops, and rests of paths that have stopped."""
    torch.manual_seed(10)
    space = Space(Hypergrid(3, 2))
    policy = perturbed(Policy(space, (8,), learn_pull=True), 0.3).to(dtype)
    return Build(GFlowNet(space, lambda x: x.sum(1).to(dtype), policy).to(dtype), 2)


STEPS: Steps = {
    "gflownet move": lambda d: (build(d), torch.tensor([3, 4, 5, 3 + 9, 9, 10, 4, 5])),
}

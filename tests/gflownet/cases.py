"""What the shared laws run on: moves of GFlowNets, and GFlowNets themselves."""

import torch

from gentoolkit import Gaussian
from gentoolkit.gflownet import (
    Build,
    DetailedBalance,
    Finish,
    GaussianFlowNet,
    GFlowNet,
    Hypergrid,
    Policy,
    Space,
    SubTrajectoryBalance,
    WeightedEnergies,
)
from tests.laws.kinds import Conditionals, Models, Steps, perturbed


def grid_net(dtype: torch.dtype) -> GFlowNet:
    """A small grid under a reward that grows with both coordinates."""
    torch.manual_seed(10)
    space = Space(Hypergrid(3, 2))
    policy = perturbed(Policy(space, (8,), learn_pull=True), 0.3)
    objective = SubTrajectoryBalance()
    return GFlowNet(space, lambda x: x.sum(1).to(dtype), policy, objective=objective).to(dtype)


def build(dtype: torch.dtype) -> Build:
    """The third move on a small grid: moves, stops, and rests of paths that have stopped."""
    model = grid_net(dtype)
    return Build(model.policy_output, model.environment, 2)


def gaussian_net() -> GaussianFlowNet:
    """Real moves towards one Gaussian bump."""
    return GaussianFlowNet(
        lambda x: Gaussian(torch.ones_like(x[:1]), 0.7).log_prob(x),
        2,
        moves=3,
        hidden=(8,),
        objective=DetailedBalance(),
    )


def steered_net() -> GFlowNet:
    """A grid whose two energies are weighed by a context."""
    space = Space(Hypergrid(3, 2))
    energies = WeightedEnergies([lambda x: x[:, 0] * 1.0, lambda x: x[:, 1] * 2.0])
    policy = Policy(space, (8,), context=2, learn_pull=True)
    return GFlowNet(space, energies, policy, objective=SubTrajectoryBalance())


STEPS: Steps = {
    # Two moves from the source of nine states, or stopped there, or stopped earlier.
    "gflownet move": lambda d: (build(d), torch.tensor([3, 4, 5, 3 + 9, 9, 10, 4, 5])),
    "gflownet finish": lambda d: (
        Finish(Space(Hypergrid(3, 2)), torch.empty(0, dtype=d)),
        torch.arange(9, 18),
    ),
}
MODELS: Models = {
    "gflownet": lambda: (grid_net(torch.get_default_dtype()), torch.randint(3, (7, 2))),
    "gaussian gflownet": lambda: (perturbed(gaussian_net()), torch.randn(7, 2)),
}
CONDITIONALS: Conditionals = {
    "steered gflownet": lambda: (
        perturbed(steered_net()),
        torch.randint(3, (7, 2)),
        torch.rand(7, 2),
    ),
}

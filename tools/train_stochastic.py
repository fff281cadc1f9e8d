"""Train the flows and stochastic flows of two crescents that lesson 14 compares.

Flows of four affine couplings at three lengths of training, and the same couplings with five
Langevin layers among them, each with three seeds. One file holds them all.
"""

import torch
from torch import nn

from gentoolkit import standard_normal
from gentoolkit.flows import AffineCoupling, alternating_mask
from gentoolkit.stochastic import GeometricPath, StochasticFlow, TrainedLangevin
from gentoolkit.targets import GaussianMixture
from gentoolkit.train import fit
from tools.training import options, write

NAME = "crescents"
BUDGETS, STEPS, WIDTH, BATCH, LR = (100, 300, 1000), 300, 48, 128, 5e-3
SEEDS = (0, 1, 2)


def crescents() -> GaussianMixture:
    """Return two arcs of a circle as bumps in a row, the right one with two thirds of the mass."""
    arc = torch.deg2rad(torch.linspace(-60.0, 60.0, 9))
    angle = torch.cat([arc, arc + torch.pi])
    means = 3.0 * torch.stack([angle.cos(), angle.sin()], 1)
    weights = torch.tensor([2.0, 1.0]).repeat_interleave(9) / 27
    return GaussianMixture(means, torch.full((18,), 0.25), weights, 2.5)


def model(target: GaussianMixture, random: bool, width: int = WIDTH) -> StochasticFlow:
    """Return four couplings, with five Langevin layers among them if `random`."""
    source = standard_normal(2, dtype=torch.float32)
    couplings = [
        AffineCoupling(2, alternating_mask(2, t), (width, width), activation=nn.Tanh)
        for t in range(4)
    ]
    if not random:
        return StochasticFlow(source, couplings, target)
    soft = GeometricPath(source, target).at(0.2)
    midway = [TrainedLangevin(soft, 0.1) for _ in range(2)]
    last = [TrainedLangevin(target, 0.02) for _ in range(3)]
    layers = [*couplings[:2], *midway, *couplings[2:], *last]
    return StochasticFlow(source, layers, target)


def trained(target: GaussianMixture, random: bool, steps: int, seed: int) -> StochasticFlow:
    """Train one model, half on paths from the source and half on paths from data."""
    torch.manual_seed(seed)
    made = model(target, random)
    optimizer = torch.optim.Adam(made.parameters(), LR)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    stream = (target.sample(BATCH) for _ in range(steps))
    for _ in fit(made, stream, optimizer=optimizer, schedule=rate, clip=10.0, progress=False):
        pass
    return made


def main(arguments: list[str] | None = None) -> None:
    """Train all models and write them."""
    asked = options("train_stochastic", __doc__, NAME, STEPS, WIDTH, 0, arguments)
    target, zoo = crescents(), nn.ModuleDict()
    for seed in SEEDS:
        for budget in BUDGETS:
            zoo[f"flow_{budget}_{seed}"] = trained(target, False, budget, seed)
        zoo[f"mixed_{asked.steps}_{seed}"] = trained(target, True, asked.steps, seed)
    write(zoo, asked.out, {"target": "two crescents", "batch": str(BATCH), "lr": str(LR)})


if __name__ == "__main__":
    main()

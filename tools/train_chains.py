"""Train the deep chains on two bumps that a lesson loads; `make weights` runs it.

The same seed on the same machine and version of torch writes the same file again.
"""

import torch
from torch import Tensor, nn

from gentoolkit.targets import GaussianMixture
from gentoolkit.train import fit
from gentoolkit.vi import ParallelHierarchies
from tools.training import options, write

NAME = "two_bumps_chains"
RUNS, WIDTH, STEPS, BATCH, LR, SEED = 3, 32, 2000, 128, 5e-3, 0
DEPTHS = (1, 2, 4)
KINDS = ("fixed", "learned", "from_noise")


def two_bumps() -> GaussianMixture:
    """Return the law of the data: 0.4 N(-1.5, 0.2) + 0.6 N(1.5, 0.2)."""
    return GaussianMixture(
        torch.tensor([[-1.5], [1.5]]), torch.tensor([0.2, 0.2]).sqrt(), torch.tensor([0.4, 0.6])
    )


def keep(levels: int) -> Tensor:
    """Return the share of the signal that each level leaves.

    The log of signal over noise power falls evenly from 6 at the first level to -7 at the last.
    """
    fall = torch.linspace(6.0 if levels > 1 else -7.0, -7.0, levels)
    signal = torch.cat([torch.ones(1), fall.sigmoid().sqrt()])
    return signal[1:] / signal[:-1]


def empty(width: int = WIDTH) -> nn.ModuleDict:
    """Return the chains of all kinds and depths, untrained, under names such as "fixed_4"."""
    chains = nn.ModuleDict()
    for levels in DEPTHS:
        for kind in KINDS:
            noise = None if kind == "learned" else keep(levels)
            chains[f"{kind}_{levels}"] = ParallelHierarchies(
                RUNS, 1, levels, keep=noise, learn=kind != "fixed", hidden=(width, width)
            )
    return chains


def train(model: ParallelHierarchies, steps: int) -> None:
    """Train the runs of a model on fresh data in every step."""
    data = two_bumps()
    batches = (data.sample(RUNS * BATCH).view(RUNS, BATCH, 1) for _ in range(steps))
    optimizer = torch.optim.Adam(model.parameters(), LR)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in fit(model, batches, optimizer=optimizer, schedule=rate, progress=False):
        pass


def main(arguments: list[str] | None = None) -> None:
    """Train, write the file, and print by how many nats each bound misses the floor."""
    asked = options("train_chains", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    data, chains = two_bumps(), empty(asked.width)
    x = data.sample(RUNS * 20_000).view(RUNS, 20_000, 1)
    floor = -data.log_prob(x.flatten(0, 1)).view(RUNS, -1)
    for name, model in chains.items():
        assert isinstance(model, ParallelHierarchies)
        torch.manual_seed(asked.seed)
        train(model, asked.steps)
        with torch.no_grad():
            gaps = (-floor - model.elbo(x)).mean(1)
        print(f"{name:14}", *(f"{gap:.3f}" for gap in gaps), flush=True)
    about = {
        "net": f"empty(width={asked.width})",
        "steps": str(asked.steps),
        "batch": str(BATCH),
        "seed": str(asked.seed),
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_chains",
    }
    write(chains, asked.out, about)
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

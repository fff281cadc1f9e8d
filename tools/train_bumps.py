"""Train three small networks for nine bumps that lesson 18 compares; `make weights` runs it.

The same seed on the same machine and version of torch writes the same file again.
"""

import torch
from torch import nn

from gentoolkit.data import batches
from gentoolkit.diffusion import DDPM, Betas
from gentoolkit.nets import TimeMLP
from gentoolkit.targets import GaussianMixture
from tools.training import averaged, options, write

NAME = "nine_bumps"
WIDTH, STEPS, BATCH, LR, SEED, DECAY = 96, 6000, 512, 4e-3, 0, 0.998
SEEDS = 3


def bumps() -> GaussianMixture:
    """Return nine bumps in a square, in the order of lesson 18."""
    side = torch.tensor([-1.2, 0.0, 1.2])
    places = torch.cartesian_prod(side, side).flip(-1)
    return GaussianMixture(places, torch.full((9,), 0.2), torch.full((9,), 1 / 9))


def networks(width: int = WIDTH) -> nn.ModuleList:
    """Return untrained networks, one a seed."""
    return nn.ModuleList(
        TimeMLP(2, 2, (width, width, width), time_features=16) for _ in range(SEEDS)
    )


def train(net: TimeMLP, steps: int, seed: int) -> TimeMLP:
    """Train `net` on the noise of DDPM's thousand levels and return the mean of its weights."""
    generator = torch.Generator().manual_seed(seed)
    schedule = Betas(torch.linspace(1e-4, 0.02, 1000))
    model = DDPM(net, (2,), schedule, 1000)
    data = bumps().sample(20_000, generator).to(next(net.parameters()))
    optimizer = torch.optim.Adam(net.parameters(), LR)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 1e-5)
    rows = batches(data, BATCH, steps, generator=generator)
    return averaged(net, rows, lambda x: model.loss(x, generator=generator), rate, DECAY)


def main(arguments: list[str] | None = None) -> None:
    """Train and write the file."""
    asked = options("train_bumps", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    nets = networks(asked.width).float()
    mean = nn.ModuleList(
        train(net, asked.steps, asked.seed + i)
        for i, net in enumerate(nets)
        if isinstance(net, TimeMLP)
    )
    about = {
        "net": f"three TimeMLP(2, 2, ({asked.width},) * 3, time_features=16)",
        "reads": "PredictsNoise",
        "schedule": "Betas(linspace(1e-4, 0.02, 1000))",
        "steps": str(asked.steps),
        "batch": str(BATCH),
        "seeds": f"{asked.seed} to {asked.seed + SEEDS - 1}",
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_bumps",
    }
    write(mean, asked.out, about)
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

"""Train the two flows that the lessons load; `make weights` runs it.

One draws digits: MNIST's, reduced to 12 x 12 pixels of 16 levels, with the noise that makes levels
into densities. The other draws the eight Gaussians with spline couplings. The same seed on the same
machine and version of torch writes the same files.
"""

from collections.abc import Iterator
from hashlib import sha256
from math import log
from pathlib import Path

import torch
from torch import Generator, Tensor

from gentoolkit.data import batches, mnist
from gentoolkit.flows import Flow, glow, initialise, spline_flow
from gentoolkit.targets import eight_gaussians
from tools.training import averaged, options, write

NAME, EIGHT = "mnist_flow", "eight_spline"
SIDE, LEVELS = 12, 16
PIXELS = SIDE * SIDE
WIDTH, DEPTH, STEPS, BATCH, LR = 48, 6, 4000, 64, 3e-3
EIGHT_STEPS, EIGHT_BATCH = 2000, 256
SEED, DECAY = 0, 0.998


def reduced(ink: Tensor) -> Tensor:
    """Return MNIST's rows (B, 784) of ink k / 15 as levels 0, ..., 15 of (B, 144) pixels.

    Two empty rows and columns are cut off at each side, and 2 x 2 pixels make one.
    """
    level = (15 * ink.reshape(-1, 28, 28)[:, 2:26, 2:26]).round()
    return level.reshape(-1, SIDE, 2, SIDE, 2).mean((2, 4)).floor().flatten(1)


def dequantised(level: Tensor, generator: Generator | None = None) -> Tensor:
    """Add uniform noise to levels 0, ..., 15 and scale them to [-1/2, 1/2]."""
    noise = torch.rand(level.shape, generator=generator, dtype=level.dtype)
    return (level + noise) / LEVELS - 0.5


def bits(log_density: Tensor) -> Tensor:
    """Return bits a pixel of the levels, from log-densities of the dequantised pixels."""
    return log(LEVELS) / log(2) - log_density / (PIXELS * log(2))


def net(width: int = WIDTH) -> Flow:
    """Return the flow of digits, untrained."""
    return glow(SIDE, SIDE, scales=2, steps=DEPTH, hidden=width)


def train(flow: Flow, level: Tensor, steps: int, seed: int = SEED) -> Flow:
    """Train `flow` by maximum likelihood and return it with the running mean of its weights.

    Arguments:
        flow: of rows of 144 pixels.
        level: the digits, (N, 144).
        steps: how many batches.
        seed: of the batches and the noise.
    """
    generator = Generator().manual_seed(seed)
    initialise(flow, dequantised(level, generator))

    def noisy() -> Iterator[Tensor]:
        for rows in batches(level, BATCH, steps, generator=generator):
            yield dequantised(rows, generator)

    optimizer = torch.optim.Adam(flow.parameters(), LR)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps, pct_start=0.1)
    return averaged(flow, noisy(), flow.loss, rate, DECAY, clip=50.0)


def train_eight(steps: int, seed: int = SEED) -> Flow:
    """Train four spline couplings on samples of the eight Gaussians."""
    generator = Generator().manual_seed(seed)
    flow, target = spline_flow(2, couplings=4), eight_gaussians(radius=2.5, std=0.3)
    data = target.sample(50_000, generator)
    optimizer = torch.optim.Adam(flow.parameters(), 5e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    chosen = batches(data, EIGHT_BATCH, steps, generator=generator)
    return averaged(flow, chosen, flow.loss, rate, DECAY, clip=5.0)


def made(steps: int, width: int, seed: int, level: Tensor) -> dict[str, str]:
    """Return what the file says about itself."""
    return {
        "flow": f"glow({SIDE}, {SIDE}, scales=2, steps={DEPTH}, hidden={width})",
        "pixels": "mnist(), cut to 24 x 24, means of 2 x 2 pixels rounded down to 16 levels",
        "density": "(level + uniform noise) / 16 - 1/2",
        "weights": f"mean with decay {DECAY}",
        "steps": str(steps),
        "batch": str(BATCH),
        "seed": str(seed),
        "data": sha256(level.float().numpy().tobytes()).hexdigest()[:16],
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_flows",
    }


def made_eight(steps: int, seed: int) -> dict[str, str]:
    """Return what the file of the eight Gaussians says about itself."""
    return {
        "flow": "spline_flow(2, couplings=4)",
        "data": "eight_gaussians(radius=2.5, std=0.3)",
        "weights": f"mean with decay {DECAY}",
        "steps": str(steps),
        "batch": str(EIGHT_BATCH),
        "seed": str(seed),
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_flows",
    }


def main(arguments: list[str] | None = None) -> None:
    """Train, write the files, and print how good they are on data that they have not seen."""
    asked = options("train_flows", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    eight = train_eight(min(EIGHT_STEPS, asked.steps), asked.seed)
    path = Path(asked.out).with_name(f"{EIGHT}.safetensors")
    write(eight, path, made_eight(min(EIGHT_STEPS, asked.steps), asked.seed))
    target = eight_gaussians(radius=2.5, std=0.3)
    x = target.sample(20_000, Generator().manual_seed(1))
    with torch.no_grad():
        gap = target.log_prob(x) - target.log_z - eight.log_prob(x)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, KL {float(gap.mean()):.3f} nats")
    data = mnist()
    level = reduced(data.train)
    flow = train(net(asked.width), level, asked.steps, asked.seed)
    write(flow, asked.out, made(asked.steps, asked.width, asked.seed, level))
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")
    for name, rows in (("training", level), ("test", reduced(data.test))):
        with torch.no_grad():
            told = bits(flow.log_prob(dequantised(rows, Generator().manual_seed(1))).mean())
        print(f"{name}: at most {float(told):.3f} bits a pixel")


if __name__ == "__main__":
    main()

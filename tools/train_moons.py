"""Train the two flows on two moons that lesson 07 loads; `make weights` runs it.

The same seed on the same machine and version of torch writes the same files again.
"""

from pathlib import Path

import torch
from torch import Tensor

from gentoolkit.data import batches, two_moons
from gentoolkit.flows import ContinuousFlow, Flow, Velocity, residual_flow
from gentoolkit.numerics import FixedStep, rk4
from tools.training import averaged, options, write

NAME = "moons"
HIDDEN, STEPS, BATCH, LR, SEED, DECAY = 64, 1500, 256, 5e-3, 0, 0.99
LAYERS, LIPSCHITZ, SOLVER_STEPS = 12, 0.9, 5


def flows(hidden: int = HIDDEN) -> dict[str, Flow]:
    """Return the untrained flows: one in time, one residual."""
    velocity = Velocity(2, (hidden, hidden))
    return {
        "moons_continuous": Flow([ContinuousFlow(velocity, None, FixedStep(rk4, SOLVER_STEPS))], 2),
        "moons_residual": residual_flow(2, LAYERS, (hidden,), lipschitz=LIPSCHITZ),
    }


def train(flow: Flow, x: Tensor, steps: int, seed: int) -> Flow:
    """Train by maximum likelihood and return the flow with the running mean of its weights."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(flow.parameters(), LR)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    chosen = batches(x, BATCH, steps, generator=generator)
    return averaged(flow, chosen, flow.loss, rate, DECAY, clip=5.0)


def main(arguments: list[str] | None = None) -> None:
    """Train both, write the files, and print the loss on points that were not seen."""
    asked = options("train_moons", __doc__, NAME, STEPS, HIDDEN, SEED, arguments)
    generator = torch.Generator().manual_seed(asked.seed)
    x, unseen = (two_moons(n, generator=generator) for n in (50_000, 10_000))
    for name, flow in flows(asked.width).items():
        path = Path(asked.out).with_name(f"{name}.safetensors")
        flow = train(flow, x, asked.steps, asked.seed)
        about = {
            "flow": f"tools.train_moons.flows({asked.width})[{name!r}]",
            "weights": f"mean with decay {DECAY}",
            "steps": str(asked.steps),
            "batch": str(BATCH),
            "seed": str(asked.seed),
            "torch": torch.__version__.split("+")[0],
            "script": "python -m tools.train_moons",
        }
        write(flow, path, about)
        with torch.no_grad():
            loss = -float(flow.log_prob(unseen).mean())
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB, loss {loss:.3f} nats", flush=True)


if __name__ == "__main__":
    main()

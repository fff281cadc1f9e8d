"""Train the flows on two moons that lesson 07 loads; `make weights` runs it.

    moons_continuous    a flow in time: a start by flow matching, then maximum likelihood
    moons_residual      a residual flow, by maximum likelihood
    moons_coarse        a flow in time by maximum likelihood alone with a coarse solver, which
                        learns to exploit the solver's error: its reported loss is too low

The same seed on the same machine and version of torch writes the same files again.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from gentoolkit.data import batches, two_moons
from gentoolkit.flows import ContinuousFlow, Flow, Velocity, residual_flow
from gentoolkit.numerics import FixedStep, rk4
from tools.training import averaged, options, write

NAME = "moons"
HIDDEN, STEPS, BATCH, SEED, DECAY = 64, 1500, 256, 0, 0.99
LAYERS, NARROW, LIPSCHITZ = 10, 16, 0.9


def in_time(hidden: int, solver_steps: int) -> Flow:
    """Return an untrained flow in time."""
    velocity = Velocity(2, (hidden, hidden))
    return Flow([ContinuousFlow(velocity, None, FixedStep(rk4, solver_steps))], 2)


def likely(flow: Flow, x: Tensor, steps: int, seed: int, lr: float) -> Flow:
    """Train by maximum likelihood and return the flow with the running mean of its weights."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(flow.parameters(), lr)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    chosen = batches(x, BATCH, steps, generator=generator)
    return averaged(flow, chosen, flow.loss, rate, DECAY, clip=5.0)


def matched(flow: Flow, x: Tensor, steps: int, seed: int) -> Flow:
    """Regress the velocity on the slopes of straight lines from noise to data.

    Reference: Lipman et al. 2022 (arXiv 2210.02747).
    """
    generator, velocity = torch.Generator().manual_seed(seed), flow.layers[0].velocity
    assert isinstance(velocity, nn.Module)
    net = velocity.net
    assert isinstance(net, nn.Module)
    optimizer = torch.optim.Adam(flow.parameters(), 5e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for y in batches(x, BATCH, steps, generator=generator):
        z, t = torch.randn(y.shape, generator=generator), torch.rand(len(y), 1, generator=generator)
        found = net(torch.cat([(1.0 - t) * z + t * y, t], -1))
        optimizer.zero_grad()
        (found - (y - z)).square().sum(1).mean().backward()
        optimizer.step()
        rate.step()
    return flow


def main(arguments: list[str] | None = None) -> None:
    """Train all, write the files, and print the loss on points that were not seen."""
    asked = options("train_moons", __doc__, NAME, STEPS, HIDDEN, SEED, arguments)
    steps, seed = asked.steps, asked.seed
    generator = torch.Generator().manual_seed(seed)
    x, unseen = (two_moons(n, generator=generator) for n in (50_000, 10_000))

    def keep(name: str, flow: Flow, made: str) -> None:
        path = Path(asked.out).with_name(f"{name}.safetensors")
        about = {
            "flow": made,
            "weights": f"mean with decay {DECAY}",
            "steps": str(steps),
            "batch": str(BATCH),
            "seed": str(seed),
            "torch": torch.__version__.split("+")[0],
            "script": "python -m tools.train_moons",
        }
        write(flow, path, about)
        with torch.no_grad():
            loss = -float(flow.log_prob(unseen).mean())
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB, loss {loss:.3f} nats", flush=True)

    torch.manual_seed(seed)
    flow = matched(in_time(asked.width, 8), x, 2 * steps, seed)
    flow = likely(flow, x, steps // 2, seed, 2e-3)
    keep("moons_continuous", flow, f"in_time({asked.width}, 8)")
    torch.manual_seed(seed)
    flow = residual_flow(2, LAYERS, (NARROW, NARROW), lipschitz=LIPSCHITZ)
    flow = likely(flow, x, steps, seed, 1e-2)
    keep("moons_residual", flow, f"residual_flow(2, {LAYERS}, ({NARROW}, {NARROW}))")
    torch.manual_seed(seed)
    flow = likely(in_time(asked.width, 5), x, steps, seed, 5e-3)
    keep("moons_coarse", flow, f"in_time({asked.width}, 5)")


if __name__ == "__main__":
    main()

"""Train the flows of particles that lesson 12 loads; `make weights` runs it.

Three files: flows of four double-well particles, with and without symmetry, at several times of
their training; a flow of the Lennard-Jones cluster of 13 atoms; a flow of small molecules, with
their atom types. All start by flow matching, which needs no solver: the velocity is regressed on
the straight lines from noise to data. The molecules' flow is then trained by its bound. The same
seed on the same machine and version of torch writes the same files.
"""

import argparse
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import torch
from scipy.optimize import linear_sum_assignment
from torch import Generator, Tensor, nn

from gentoolkit.core import ess
from gentoolkit.data import molecules_by_size
from gentoolkit.data.molecules import plausible
from gentoolkit.flows import (
    Hutchinson,
    MoleculeFlow,
    ParticleFlow,
    ParticleLayer,
    ParticleVelocity,
    particle_flow,
)
from gentoolkit.nets import EGNN, VectorGNN
from gentoolkit.numerics import ExactTrace, FixedStep, without_mean
from gentoolkit.targets import DoubleWellParticles, LennardJones
from gentoolkit.teach.weights import FOLDER
from gentoolkit.train import ema, fit
from tools.training import write

SEED = 0
ARMS = ("egnn", "vector", "turned")
STAGES = (30, 100, 300, 1000)
WELL_POINTS = 500
LJ_STEPS, LJ_BATCH, LJ_WIDTH, LJ_LAYERS = 4000, 48, 32, 3
ELEMENTS, SIZES = (1, 6, 7, 8), range(3, 11)
MOL_STEPS, MOL_FINE, MOL_BATCH, MOL_WIDTH, MOL_LAYERS = 2200, 40, 32, 48, 3
HELD_OUT = 6


def turned(x: Tensor, generator: Generator) -> Tensor:
    """Turn, and perhaps mirror, each configuration (B, M, n) by a random orthogonal matrix."""
    noise = torch.randn(x.shape[0], x.shape[2], x.shape[2], generator=generator, dtype=x.dtype)
    q, r = torch.linalg.qr(noise)
    return x @ (q * r.diagonal(dim1=1, dim2=2).sign()[:, None])


def renumbered(z: Tensor, x: Tensor) -> Tensor:
    """Renumber the particles of `z` so that the lines to those of `x` are short in all."""
    cost = torch.cdist(x, z).square()
    order = torch.stack([torch.as_tensor(linear_sum_assignment(c)[1]) for c in cost.numpy()])
    return z.gather(1, order[..., None].expand_as(z))


def aligned(z: Tensor, x: Tensor, dimensions: int) -> Tensor:
    """Renumber, turn and mirror `z` towards `x`, two rounds; the base does not feel it.

    Reference: Klein, Krämer, Noé 2023 (arXiv 2306.15030).
    """
    n = dimensions
    for _ in range(2):
        z = renumbered(z, x)
        u, _, v = torch.linalg.svd(z[..., :n].mT @ x[..., :n])
        z = torch.cat([z[..., :n] @ (u @ v), z[..., n:]], -1)
    return z


def matching(velocity: nn.Module, z: Tensor, x: Tensor, generator: Generator) -> Tensor:
    """Return the flow-matching loss of lines from noise `z` to data `x`, both (B, M, n + f).

    Reference: Lipman et al. 2022 (arXiv 2210.02747).
    """
    t = torch.rand(x.shape[0], 1, 1, generator=generator)
    return (velocity((1 - t) * z + t * x, t) - (x - z)).square().sum(2).mean()


def matched(
    velocity: nn.Module,
    draw: Callable[[], tuple[Tensor, Tensor]],
    steps: int,
    generator: Generator,
    lr: float,
    decay: float = 0.998,
) -> Iterator[tuple[int, nn.Module]]:
    """Train a velocity by flow matching; yield the step and the mean of the weights so far."""
    mean = ema(velocity, decay)
    optimizer = torch.optim.Adam(velocity.parameters(), lr)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.05)
    pairs = (draw() for _ in range(steps))
    training = fit(
        velocity, pairs, loss=lambda pair: matching(velocity, pair[0], pair[1], generator),
        optimizer=optimizer, schedule=rate, clip=5.0, average=mean, progress=False,
    )  # fmt: skip
    for record in training:
        if record.step % 100 == 0:
            print(record.step, f"{record.loss:.4f}", flush=True)
        yield record.step, mean.module


def well_velocity(arm: str) -> ParticleVelocity:
    """Return the untrained velocity of an arm of the double-well flows."""
    return ParticleVelocity(EGNN(1) if arm == "egnn" else VectorGNN(2, 1), 2)


def wells() -> nn.ModuleDict:
    """Return the untrained velocities of all arms and stages, as the file holds them."""
    return nn.ModuleDict({f"{arm}_{k}": well_velocity(arm) for arm in ARMS for k in STAGES})


def train_wells(seed: int = SEED) -> nn.ModuleDict:
    """Train three flows of DW4 on the same points, and keep them at the stages."""
    kept = {}
    for arm in ARMS:
        generator = Generator().manual_seed(seed)
        data = DoubleWellParticles().walk(WELL_POINTS, 4000, generator=generator)
        torch.manual_seed(seed)
        velocity = well_velocity(arm)

        def draw(arm: str = arm, data: Tensor = data, generator: Generator = generator) -> tuple:
            x = data[torch.randint(len(data), (128,), generator=generator)]
            x = turned(x, generator) if arm == "turned" else x
            z = without_mean(torch.randn(x.shape, generator=generator))
            return renumbered(z, x), x

        for step, mean in matched(velocity, draw, STAGES[-1], generator, 3e-3, 0.98):
            if step in STAGES:
                kept[f"{arm}_{step}"] = deepcopy(mean)
    return nn.ModuleDict(kept)


def cluster_flow() -> ParticleFlow:
    """Return the untrained flow of LJ13."""
    return particle_flow(13, 3, 0, LJ_WIDTH, LJ_LAYERS, solver=FixedStep(steps=10))


def cluster_data(generator: Generator, walks: int = 500, keep: int = 10) -> Tensor:
    """Return states of LJ13, `keep` of each walk, 200 moves apart."""
    target = LennardJones()
    x = target.walk(walks, 3000, near=0.1, far=0.6, generator=generator)
    states = [x]
    for _ in range(keep - 1):
        x = target.walk(walks, 200, near=0.1, far=0.6, start=x, generator=generator)
        states.append(x)
    return torch.cat(states)


def train_cluster(steps: int = LJ_STEPS, seed: int = SEED) -> ParticleFlow:
    """Train the flow of LJ13 by flow matching."""
    generator = Generator().manual_seed(seed)
    data = cluster_data(generator)
    torch.manual_seed(seed)
    flow = cluster_flow()

    def draw() -> tuple[Tensor, Tensor]:
        x = data[torch.randint(len(data), (LJ_BATCH,), generator=generator)]
        z = without_mean(torch.randn(x.shape, generator=generator))
        return aligned(z, x, 3), x

    layer = flow.layers[0]
    assert isinstance(layer, ParticleLayer)
    for _, mean in matched(layer.velocity, draw, steps, generator, 2e-3):
        layer.velocity = mean
    return flow


def groups() -> dict[int, Tensor]:
    """Return the molecules of H, C, N, O with 3 to 10 atoms, by size: positions, one-hot types."""
    return molecules_by_size(ELEMENTS, SIZES)


def split(everything: dict[int, Tensor]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Hold out the first molecule of the sizes 4, 6, 7, 9, 10 and 8: six in all."""
    held = {size: rows[:1] for size, rows in everything.items() if size in (4, 6, 7, 8, 9, 10)}
    kept = {size: rows[1 if size in held else 0 :] for size, rows in everything.items()}
    return kept, held


def molecule_flow() -> MoleculeFlow:
    """Return the untrained flow of molecules of up to ten atoms."""
    solver = FixedStep(steps=10)
    flow = particle_flow(10, 3, len(ELEMENTS), MOL_WIDTH, MOL_LAYERS, solver=solver)
    return MoleculeFlow(flow)


def train_molecules(steps: int = MOL_STEPS, fine: int = MOL_FINE, seed: int = SEED) -> MoleculeFlow:
    """Train the flow of molecules: flow matching, then a while by the bound itself."""
    generator = Generator().manual_seed(seed)
    kept, _ = split(groups())
    sizes, counts = list(kept), torch.tensor([float(len(rows)) for rows in kept.values()])
    torch.manual_seed(seed)
    model = molecule_flow()

    def chosen(count: int) -> Tensor:
        rows = kept[sizes[int(torch.multinomial(counts, 1, generator=generator))]]
        x = rows[torch.randint(len(rows), (count,), generator=generator)]
        return torch.cat([turned(x[..., :3], generator), x[..., 3:]], -1)

    def draw() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            x, _ = model.types.pull(chosen(MOL_BATCH), generator)
        z = without_mean(torch.randn(x.shape, generator=generator), 3)
        return aligned(z, x, 3), x

    layer = model.flow.layers[0]
    assert isinstance(layer, ParticleLayer)
    last: nn.Module = layer.velocity
    for _, mean in matched(last, draw, steps, generator, 2e-3):
        layer.velocity = mean
    last = layer.velocity
    rough = MoleculeFlow(
        ParticleFlow([ParticleLayer(last, Hutchinson(), FixedStep(steps=3))], 10, 3, len(ELEMENTS))
    )
    rough.types = model.types
    average = ema(rough, 0.98)
    rows = (chosen(16) for _ in range(fine))
    options = {"average": average, "generator": generator, "progress": False}
    finer = fit(rough, rows, 3e-4, clip=5.0, **options)
    for record in finer:
        if record.step % 25 == 0:
            print("fine", record.step, f"{record.loss:.2f}", flush=True)
    if fine:
        smooth = average.module
        assert isinstance(smooth, MoleculeFlow)
        finest = smooth.flow.layers[0]
        assert isinstance(finest, ParticleLayer)
        layer.velocity, model.types = finest.velocity, smooth.types
    return model


def about(seed: int, **facts: object) -> dict[str, str]:
    """Return what a file says about itself."""
    told = {name: str(value) for name, value in facts.items()}
    end = {"torch": torch.__version__.split("+")[0], "script": "python -m tools.train_particles"}
    return told | {"seed": str(seed)} | end


def main(arguments: list[str] | None = None) -> None:
    """Train, write the files, and print how good they are."""
    parser = argparse.ArgumentParser(prog="python -m tools.train_particles", description=__doc__)
    parser.add_argument("--only", choices=("wells", "cluster", "molecules"))
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    generator = Generator().manual_seed(1)
    if asked.only in (None, "wells"):
        kept = train_wells(asked.seed)
        facts = about(asked.seed, arms=ARMS, stages=STAGES, points=WELL_POINTS, width=32, layers=2)
        write(kept, asked.out / "wells_flows.safetensors", facts)
        test = turned(DoubleWellParticles().walk(300, 4000, generator=generator), generator)
        for name, velocity in kept.items():
            flow = ParticleFlow([ParticleLayer(velocity, ExactTrace(), FixedStep(steps=10))], 4, 2)
            with torch.no_grad():
                print(name, f"test NLL {-float(flow.log_prob(test).mean()):.3f}", flush=True)
    if asked.only in (None, "cluster"):
        flow = train_cluster(seed=asked.seed)
        facts = about(asked.seed, steps=LJ_STEPS, width=LJ_WIDTH, layers=LJ_LAYERS)
        write(flow, asked.out / "cluster_flow.safetensors", facts)
        with torch.no_grad():
            path = torch.cat([_weights(flow, 25, generator) for _ in range(8)])
        print(f"LJ13: ESS {float(ess(path)):.3f} of 200, log-weights {path.std():.2f}", flush=True)
    if asked.only in (None, "molecules"):
        model = train_molecules(seed=asked.seed)
        facts = about(asked.seed, steps=MOL_STEPS, fine=MOL_FINE, width=MOL_WIDTH)
        write(model, asked.out / "molecules_flow.safetensors", facts)
        kept, held = split(groups())
        for name, part in (("training", kept), ("held out", held)):
            with torch.no_grad():
                bounds = [model.elbo(rows, generator=generator) for rows in part.values()]
            print(f"{name}: ELBO {float(torch.cat(bounds).mean()):.2f}", flush=True)
        for atoms in SIZES:
            x = model.sample(100, atoms=atoms, generator=generator)
            kind = torch.tensor(ELEMENTS)[x[..., 3:].argmax(-1)]
            found = {k: float(v.double().mean()) for k, v in plausible(kind, x[..., :3]).items()}
            print(atoms, found, flush=True)


def _weights(flow: ParticleFlow, n: int, generator: Generator) -> Tensor:
    return flow.chain().push(n, generator).log_weight(LennardJones())


if __name__ == "__main__":
    main()

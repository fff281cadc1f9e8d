"""Wu et al. 2020, Hagemann et al. 2021: random layers lift the topological limit of flows.

Eight bumps on a ring, of unequal weight. The flow gets more steps and more parameters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi
from time import process_time

import torch
from torch import Tensor

from gentoolkit import elbo, ess, log_z, standard_normal
from gentoolkit.core.chain import Chain, Target
from gentoolkit.flows import AffineCoupling, alternating_mask
from gentoolkit.metrics import energy_distance
from gentoolkit.stochastic import (
    GeometricPath,
    Langevin,
    Metropolis,
    StochasticFlow,
    TrainedLangevin,
    annealed,
    even_schedule,
)
from gentoolkit.targets import GaussianMixture
from gentoolkit.train import fit
from tests.claims.claim import Claim

SEEDS, LOG_Z, STD = range(3), 2.5, 0.3
FLOW_STEPS, STOCHASTIC_STEPS, BATCH, RATE = 450, 200, 256, 3e-3
N, EXACT, SMALL = 20_000, 4_000, 1_000
HIDDEN = (48, 48)


def ring() -> GaussianMixture:
    """Eight bumps on a circle of radius 4, weights 1, 2, 1, 2, ..., log Z = 2.5."""
    angles = torch.arange(8, dtype=torch.float32) * (pi / 4)
    centres = 4.0 * torch.stack([angles.cos(), angles.sin()], 1)
    weights = torch.tensor([1.0, 2.0], dtype=torch.float32).repeat(4)
    return GaussianMixture(centres, torch.full_like(angles, STD), weights / 12.0, LOG_Z)


def coupling(turn: int) -> AffineCoupling:
    """An affine coupling of 2,546 parameters."""
    return AffineCoupling(2, alternating_mask(2, turn), HIDDEN, activation=torch.nn.Tanh).float()


def flow(target: GaussianMixture) -> StochasticFlow:
    """Six couplings, no random layer."""
    source = standard_normal(2, dtype=torch.float32)
    return StochasticFlow(source, [coupling(t) for t in range(6)], target)


def stochastic(target: Target) -> StochasticFlow:
    """Four couplings, with four Langevin steps a fifth of the way and six at the end."""
    source = standard_normal(2, dtype=torch.float32)
    midway = TrainedLangevin(GeometricPath(source, target).at(0.2), 0.1).float()
    end = TrainedLangevin(target, 0.02).float()
    layers = [coupling(0), coupling(1), *[midway] * 4, coupling(2), coupling(3), *[end] * 6]
    return StochasticFlow(source, layers, target)


def train(model: StochasticFlow, target: GaussianMixture, steps: int, seed: int) -> float:
    """Minimise half the pulled and half the pushed KL; return the CPU seconds."""
    generator, begun = torch.Generator().manual_seed(seed), process_time()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, RATE / 20)
    batches = (target.sample(BATCH, generator) for _ in range(steps))
    for _ in fit(
        model,
        batches,
        optimizer=optimizer,
        schedule=schedule,
        clip=10.0,
        generator=generator,
        progress=False,
    ):
        pass
    return process_time() - begun


@dataclass(frozen=True)
class Measured:
    """Samples with their log-weights."""

    x: Tensor
    log_w: Tensor
    target: GaussianMixture

    @property
    def bridge(self) -> float:
        """Share of samples farther than four deviations from every centre."""
        nearest = torch.cdist(self.x, self.target.means).min(1).values
        return float((nearest > 4 * STD).float().mean())

    @property
    def tv(self) -> float:
        """Total variation of the masses of the modes."""
        mode = torch.cdist(self.x, self.target.means).argmin(1)
        masses = torch.bincount(mode, minlength=8) / len(self.x)
        return float((masses - self.target.weights).abs().sum() / 2)

    @property
    def distance(self) -> float:
        """Energy distance of the first samples to exact ones."""
        exact = self.target.sample(EXACT, torch.Generator().manual_seed(99))
        return float(energy_distance(self.x[:EXACT], exact))

    @property
    def share(self) -> float:
        """Effective sample size over n."""
        return float(ess(self.log_w)) / len(self.log_w)

    @property
    def rmse(self) -> float:
        """Root mean square error of log Z from groups of a thousand."""
        estimates = log_z(self.log_w.reshape(-1, SMALL), dim=1)
        return float((estimates - LOG_Z).square().mean().sqrt())

    def cells(self) -> list[str]:
        first = [f"{self.bridge:.4f}", f"{self.tv:.3f}", f"{self.distance:.3f}"]
        error = float(log_z(self.log_w)) - LOG_Z
        gap = LOG_Z - float(elbo(self.log_w))
        return [*first, f"{self.share:.4f}", f"{error:+.3f}", f"{self.rmse:.3f}", f"{gap:.1f}"]


def weigh(chain: Chain, target: GaussianMixture, seed: int, n: int = N) -> Measured:
    """Push n paths through a chain."""
    with torch.no_grad():
        paths = chain.push(n, torch.Generator().manual_seed(1000 + seed))
        return Measured(paths.states[-1], paths.log_weight(target), target)


def contestants(seed: int) -> Iterator[tuple[str, Measured, float]]:
    """Yield the four samplers of one seed with their training's CPU seconds."""
    target = ring()
    torch.manual_seed(seed)
    plain = flow(target)
    seconds = train(plain, target, FLOW_STEPS, seed)
    yield "flow", weigh(plain.chain(), target, seed), seconds
    torch.manual_seed(seed)
    mixed = stochastic(target)
    yield "stochastic flow", *_after(mixed, target, seed)
    source = standard_normal(2, dtype=torch.float32)
    path = GeometricPath(source, target)
    chain = annealed(path, even_schedule(10), lambda g: Langevin(g, 0.05))
    yield "10 Langevin steps", weigh(chain, target, seed), 0.0
    moved = [*plain.chain().steps, Metropolis(target, STD, moves=30)]
    finished = StochasticFlow(source, moved, target)
    yield "flow + 30 Metropolis", weigh(finished.chain(), target, seed), seconds


def _after(model: StochasticFlow, target: GaussianMixture, seed: int) -> tuple[Measured, float]:
    seconds = train(model, target, STOCHASTIC_STEPS, seed)
    return weigh(model.chain(), target, seed), seconds


def run() -> Claim:
    """Compare a flow with a stochastic one, with moves alone, and with moves after the flow."""
    rows, bridge, distance, shares, errors, masses = [], [], [], [], [], []
    spent: dict[str, list[float]] = {}
    for seed in SEEDS:
        by = {}
        for name, measured, seconds in contestants(seed):
            by[name] = measured
            spent.setdefault(name, []).append(seconds)
            rows.append([name, str(seed), *measured.cells(), f"{seconds:.1f}"])
        plain, ours, moves, after = by.values()
        bridge.append(ours.bridge < plain.bridge)
        distance.append(ours.distance < plain.distance)
        shares.append(ours.share / plain.share)
        errors.append(ours.rmse < plain.rmse)
        masses.append((after.tv > 0.8 * plain.tv, after.bridge < 0.1 * plain.bridge))
    sizes = [sum(p.numel() for p in m(ring()).parameters()) for m in (flow, stochastic)]
    return Claim(
        system="S06",
        statement="Random layers between bijections fit separated modes without bridges.",
        setting=(
            f"eight bumps of deviation {STD} on a ring, log Z = {LOG_Z}; half pulled, half pushed "
            f"KL, batch {BATCH} + {BATCH}, Adam {RATE:g} to 5 %, clip 10; flow {FLOW_STEPS} steps, "
            f"{sizes[0]} parameters, stochastic {STOCHASTIC_STEPS} steps, {sizes[1]}; {N} samples; "
            f"seeds {SEEDS[0]}..{SEEDS[-1]}"
        ),
        header=[
            *("model", "seed", "bridge", "TV", "energy", "ESS/n", "log Z error"),
            *("RMSE", "path KL", "training s"),
        ],
        rows=rows,
        conditions=[
            (f"bridge stochastic < flow in {sum(bridge)} of {len(bridge)}", all(bridge)),
            (f"energy distance stochastic < flow in {sum(distance)} of 3", all(distance)),
        ],
        costs=[
            f"a stochastic step costs more: training took {sum(spent['stochastic flow']) / 3:.0f} "
            f"CPU s against {sum(spent['flow']) / 3:.0f}",
            "ESS of the stochastic flow over the flow's: "
            + ", ".join(f"{share:.2f}" for share in shares),
            f"RMSE of log Z at n = {SMALL} below the flow's in {sum(errors)} of {len(errors)}",
            f"Metropolis after the flow takes nine tenths of the bridge in "
            f"{sum(b for _, b in masses)} of 3 and leaves the wrong masses in "
            f"{sum(a for a, _ in masses)} of 3",
        ],
    )

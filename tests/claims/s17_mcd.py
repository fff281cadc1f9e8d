"""Doucet et al. 2022: learning the way back tightens the bound of annealed importance sampling.

The way there is the same Langevin chain; four bumps in ten dimensions, whose normaliser is known.
"""

from dataclasses import dataclass
from time import process_time

import torch
from torch import Tensor

from gentoolkit import Gaussian, elbo, ess, log_z
from gentoolkit.stochastic import (
    CorrectionMLP,
    GeometricPath,
    Langevin,
    MonteCarloDiffusion,
    annealed,
    even_schedule,
)
from gentoolkit.targets import GaussianMixture
from gentoolkit.train import fit
from tests.claims.claim import Claim

SEEDS, K, LONGER = range(3), 32, (128, 512)
D, LOG_Z, STEP = 10, 1.5, 0.2
PATHS, STEPS, BATCH, RATE, FRESH, GROUP = 3000, 800, 1024, 3e-3, 4000, 200


def path() -> GeometricPath:
    """From N(0, 9 I) to four bumps of deviation 0.7, with centres N(0, 1.5^2 I) of seed 0."""
    centres = torch.randn(4, D, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float32)
    target = GaussianMixture(1.5 * centres, torch.full_like(weights, 0.7), weights, LOG_Z)
    return GeometricPath(Gaussian(torch.zeros(1, D, dtype=torch.float32), 3.0), target)


@dataclass(frozen=True)
class Measured:
    """What a sampler's log-weights say, and its CPU seconds."""

    log_w: Tensor
    seconds: float
    training: float = 0.0

    @property
    def gap(self) -> float:
        """Nats between the bound and the truth."""
        return LOG_Z - float(elbo(self.log_w))

    @property
    def rmse(self) -> float:
        """Root mean square error of log Z from groups of 200 paths."""
        estimates = log_z(self.log_w.reshape(-1, GROUP), dim=1)
        return float((estimates - LOG_Z).square().mean().sqrt())

    def cells(self) -> list[str]:
        share = float(ess(self.log_w)) / len(self.log_w)
        cells = [f"{self.gap:.2f}", f"{float(self.log_w.std()):.2f}", f"{share:.3f}"]
        return [*cells, f"{self.rmse:.2f}", f"{self.seconds:.1f}", f"{self.training:.1f}"]


def anneal(steps: int, seed: int, step: float = STEP, n: int = FRESH) -> Measured:
    """Annealed importance sampling by Langevin steps and their own kernels back."""
    p, begun = path(), process_time()
    chain = annealed(p, even_schedule(steps), lambda g: Langevin(g, step))
    with torch.no_grad():
        paths = chain.push(n, torch.Generator().manual_seed(1000 + seed))
        log_w = paths.log_weight(p.target)
    return Measured(log_w, process_time() - begun)


def learn(seed: int, step: float = STEP, steps: int = STEPS, n: int = FRESH) -> Measured:
    """Train the way back on stored pairs and weigh fresh paths."""
    torch.manual_seed(seed)
    generator, begun = torch.Generator().manual_seed(seed), process_time()
    net = CorrectionMLP(D, D).float()
    model = MonteCarloDiffusion(path(), even_schedule(K), step, net)
    pairs = model.pool(PATHS, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, RATE / 20)
    batches = pairs.batches(BATCH, steps, generator)
    for _ in fit(model, batches, optimizer=optimizer, schedule=schedule, progress=False):
        pass
    training, begun = process_time() - begun, process_time()
    with torch.no_grad():
        paths = model.chain().push(n, torch.Generator().manual_seed(1000 + seed))
        log_w = paths.log_weight(model.target)
    return Measured(log_w, process_time() - begun, training)


def run() -> Claim:
    """Compare the learned way back with the plain one, at equal and at more steps."""
    rows, equal, quarter, cost, spread, sizes = [], [], [], [], [], []
    for seed in SEEDS:
        by = {f"AIS, K = {k}": anneal(k, seed) for k in (K, *LONGER)}
        ours = learn(seed)
        rows += [[name, str(seed), *m.cells()] for name, m in by.items()]
        rows += [[f"learned, K = {K}", str(seed), *ours.cells()]]
        plain, longer, longest = by.values()
        equal.append(ours.gap < plain.gap)
        quarter.append(ours.gap < longer.gap)
        cost.append(ours.gap < longest.gap)
        spread.append(float(ours.log_w.std()) < float(plain.log_w.std()))
        sizes.append(ours.training / longest.seconds)
    return Claim(
        system="S17",
        statement="Learning the way back tightens the bound of annealed importance sampling.",
        setting=(
            f"four bumps in {D} dimensions, log Z = {LOG_Z}, Langevin steps of {STEP}; {PATHS} "
            f"stored paths, {STEPS} steps of batch {BATCH}, Adam {RATE:g} to 5 %, 2 x 64 SiLU; "
            f"{FRESH} fresh paths, RMSE of log Z from {GROUP}; CPU seconds; seeds "
            f"{SEEDS[0]}..{SEEDS[-1]}"
        ),
        header=["sampler", "seed", "ELBO gap", "sd log w", "ESS/n", "RMSE", "CPU s", "training s"],
        rows=rows,
        conditions=[
            (f"gap learned < AIS at K = {K} in {sum(equal)} of {len(equal)}", all(equal)),
            (f"sd log w learned < AIS at K = {K} in {sum(spread)} of {len(spread)}", all(spread)),
            (f"gap learned < AIS at K = {LONGER[0]} in {sum(quarter)} of 3", all(quarter)),
        ],
        costs=[
            f"gap learned < AIS at K = {LONGER[1]} in {sum(cost)} of {len(cost)}",
            f"training takes the CPU of {sum(sizes) / len(sizes):.1f} runs of AIS at "
            f"K = {LONGER[1]}: it pays where the sampler is used again",
        ],
    )


def run_step_sizes() -> Claim:
    """Repeat at other step sizes, one seed: a badly tuned step flatters the learned way back."""
    rows, won = [], []
    for step in (0.04, 0.08, 0.12, 0.2, 0.3):
        by = [anneal(k, 0, step) for k in (K, LONGER[1])]
        ours = learn(0, step)
        rows.append([f"{step:g}", *(f"{m.gap:.2f}" for m in (*by, ours))])
        won.append((ours.gap < by[0].gap, ours.gap < by[1].gap))
    return Claim(
        system="S17-steps",
        statement="The learned way back wins at every step size.",
        setting="as S17, seed 0; ELBO gap in nats",
        header=["step size", f"AIS, K = {K}", f"AIS, K = {LONGER[1]}", f"learned, K = {K}"],
        rows=rows,
        conditions=[
            (f"below AIS at K = {K} in {sum(a for a, _ in won)} of 5", all(a for a, _ in won))
        ],
        costs=[f"below AIS at K = {LONGER[1]} in {sum(b for _, b in won)} of 5"],
    )

"""Kobyzev, Prince, Brubaker 2020: richer scalar maps fit better than affine ones.

A ring of eight Gaussians, whose density is known: the metric is KL(p || q) itself. Couplings with
splines against couplings with affine maps and against an affine autoregressive flow, at equal
steps and no more parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin

import torch
from torch import Tensor

from gentoolkit.flows import Flow, maf, real_nvp, spline_flow
from gentoolkit.targets import GaussianMixture
from gentoolkit.train import fit
from tests.claims.claim import Claim

SEEDS, STEPS, BATCH, RATE, CLIP, POINTS = range(3), 250, 256, 5e-3, 5.0, 5000
RADIUS, SPREAD, MODES = 2.5, 0.3, 8

FLOWS: dict[str, Callable[[], Flow]] = {
    "affine coupling x6": lambda: real_nvp(2, 6, (28, 28)),
    "affine autoregressive x6": lambda: maf(2, 6, (28, 28)),
    "spline coupling x4, 8 bins": lambda: spline_flow(2, 4, 8, 5.0, (24, 24)),
}


def ring() -> GaussianMixture:
    """Eight equal modes on a circle."""
    angles = [2 * pi * k / MODES for k in range(MODES)]
    places = torch.tensor([[RADIUS * cos(a), RADIUS * sin(a)] for a in angles])
    each = torch.full((MODES,), 1.0 / MODES)
    return GaussianMixture(places, torch.full((MODES,), SPREAD), each)


@dataclass(frozen=True)
class Trained:
    """KL(p || q) in nats, and its standard error over the test points."""

    kl: float
    error: float
    parameters: int


def train(name: str, seed: int, steps: int = STEPS) -> Trained:
    """Train one flow, on batches that depend on the seed alone."""
    target, generator = ring(), torch.Generator().manual_seed(1000 + seed)
    torch.manual_seed(seed)
    flow = FLOWS[name]()
    optimizer = torch.optim.Adam(flow.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    data = (target.sample(BATCH, generator) for _ in range(steps))
    for _ in fit(flow, data, optimizer=optimizer, clip=CLIP, progress=False):
        schedule.step()
    x = target.sample(POINTS, torch.Generator().manual_seed(7))
    with torch.no_grad():
        gap: Tensor = target.log_prob(x) - target.log_z - flow.log_prob(x)
    return Trained(
        float(gap.mean()),
        float(gap.std()) / POINTS**0.5,
        sum(p.numel() for p in flow.parameters()),
    )


def run() -> Claim:
    """Train every flow with every seed, and the affine coupling for twice the steps."""
    runs = {name: [train(name, seed) for seed in SEEDS] for name in FLOWS}
    affine, autoregressive, spline = runs.values()
    longer = [train("affine coupling x6", seed, 2 * STEPS) for seed in SEEDS]
    spread = _spread(spline)
    n = len(SEEDS)

    def wins(others: list[Trained]) -> int:
        reach = 3.0 * max(spread, _spread(others))
        return sum(a.kl + reach < b.kl for a, b in zip(spline, others, strict=True))

    most = max(runs[name][0].parameters for name in list(FLOWS)[:2])
    return Claim(
        system="S19",
        statement="Spline couplings fit better than affine couplings and affine autoregression.",
        setting=(
            f"ring of {MODES} Gaussians, radius {RADIUS}, deviation {SPREAD}; {STEPS} steps of "
            f"batch {BATCH}, Adam {RATE:g} with cosine decay, clip {CLIP:g}, seeds "
            f"{SEEDS[0]}..{SEEDS[-1]}; KL(p || q) in nats on {POINTS} points"
        ),
        header=["flow", "parameters", *(f"seed {seed}" for seed in SEEDS), "standard error"],
        rows=[
            [name, str(rs[0].parameters), *(f"{r.kl:.3f}" for r in rs)]
            + [f"{max(r.error for r in rs):.3f}"]
            for name, rs in [*runs.items(), (f"affine coupling, {2 * STEPS} steps", longer)]
        ],
        conditions=[
            (
                f"below affine coupling by three spreads in {wins(affine)} of {n} seeds",
                wins(affine) == n,
            ),
            (
                f"below affine autoregression by three spreads in {wins(autoregressive)} of {n}",
                wins(autoregressive) == n,
            ),
            (
                f"with {spline[0].parameters} parameters of at most {most}",
                all(spline[0].parameters <= rs[0].parameters for rs in (affine, autoregressive)),
            ),
        ],
        costs=[
            f"affine coupling with twice the steps: below it in {wins(longer)} of {n}",
        ],
    )


def _spread(runs: list[Trained]) -> float:
    """Standard deviation over the seeds."""
    return float(torch.tensor([r.kl for r in runs]).std())

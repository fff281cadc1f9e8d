"""Grover et al. 2019: two flows translate between domains exactly; what the critics add.

Three blobs in the plane, and an unpaired second set that a curved map has moved. The true map is
used to score alone. Four ways to learn the translation, from one start, with the same critics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import process_time

import torch
from torch import Generator

from gentoolkit.adversarial import CycleGAN, domain_critics
from gentoolkit.data import bent, blobs
from gentoolkit.data.domains import CENTRES
from gentoolkit.flows import AlignFlow
from gentoolkit.metrics import energy_distance
from gentoolkit.train import fit
from tests.claims.claim import Claim
from tools.train_domains import (
    BATCH,
    BETAS,
    CYCLE,
    RATE,
    ROWS,
    STEPS,
    Arm,
    Race,
    flows,
    plane_data,
    side_by_side,
)

SEEDS, LONG, FEW, LAMBDA = range(3), 1750, 60, 0.1
FLOWS = {
    "MLE": Arm(flows, 0.0, 1.0),
    "adversarial": Arm(flows, 1.0, 0.0),
    "hybrid": Arm(flows, 1.0, LAMBDA),
}
RIVAL = Arm(lambda: CycleGAN(2), 1.0, CYCLE)
STILL = Arm(lambda: CycleGAN(2, identity=True), 1.0, CYCLE)


@dataclass(frozen=True)
class Scored:
    """How well one training translates rows that it has not seen."""

    error: float
    distance: float
    cycle: float
    right: float
    nll: float | None


def race(
    arms: Sequence[Arm],
    at: Sequence[int] = (STEPS,),
    rows: int = ROWS,
    seeds: Sequence[int] = SEEDS,
) -> list[list[list[Scored]]]:
    """Train every arm from every seed, and score all after each number of steps in `at`.

    Returns:
        The scores by number of steps, by arm, and by seed.
    """
    runs = [(arm, seed) for arm in arms for seed in seeds]
    run = Race([arm for arm, _ in runs], [seed for _, seed in runs], lambda: domain_critics(2))
    data = side_by_side([plane_data(seed, rows, at[-1]) for _, seed in runs])
    told = []
    for record in fit(run, data, players=run.players(), progress=False):
        if record.step in at:
            scores = [score(pair, seed) for pair, (_, seed) in zip(run.pairs(), runs, strict=True)]
            told.append([scores[k : k + len(seeds)] for k in range(0, len(runs), len(seeds))])
    return told


def seconds(arm: Arm, steps: int = 20) -> float:
    """CPU time of one step of one training alone."""
    run = Race([arm], [0], lambda: domain_critics(2))
    data = side_by_side([plane_data(0, ROWS, steps + 1)])
    begun = 0.0
    for record in fit(run, data, players=run.players(), progress=False):
        begun = process_time() if record.step == 1 else begun  # the first one warms up
    return (process_time() - begun) / steps


@torch.no_grad()
def score(pair: AlignFlow | CycleGAN, seed: int) -> Scored:
    """Score a pair of translators on rows of its own seed."""
    generator = Generator().manual_seed(1000 + seed)
    test, other = blobs(2000, generator=generator), bent(blobs(2000, generator=generator).x)
    moved, truth = pair.to_b(test.x), bent(test.x)
    centres = bent(torch.tensor(CENTRES))
    right = torch.cdist(moved, centres).argmin(1) == test.blob
    return Scored(
        float((moved - truth).square().sum(1).mean()),
        float(energy_distance(moved, other)),
        float((pair.to_a(moved) - test.x).abs().mean()),
        float(right.double().mean()),
        float(-pair.b.log_prob(other).mean()) if isinstance(pair, AlignFlow) else None,
    )


def row(name: str, runs: list[Scored]) -> list[str]:
    """Return one line of the table."""
    likely = [f"{r.nll:.2f}" for r in runs if r.nll is not None]
    return [
        name,
        " ".join(f"{r.error:.3f}" for r in runs),
        " ".join(f"{r.distance:.3f}" for r in runs),
        f"{max(r.cycle for r in runs):.0e}",
        " ".join(f"{r.right:.2f}" for r in runs),
        " ".join(likely) or "none",
    ]


def run() -> Claim:
    """Train every arm at equal steps, CycleGAN at about equal time, and both on few rows."""
    (scores,) = race([*FLOWS.values()])
    (rival,), (longer,) = race([RIVAL], (STEPS, LONG))
    ((still,),) = race([STILL])
    arms = {**dict(zip(FLOWS, scores, strict=True)), "CycleGAN": rival}
    arms["CycleGAN from the identity"] = still
    ((few_flows,),) = race([FLOWS["adversarial"]], rows=FEW)
    ((few_rival,),) = race([RIVAL], rows=FEW)
    few = {"adversarial": few_flows, "CycleGAN": few_rival}
    ratio = seconds(FLOWS["adversarial"]) / seconds(RIVAL)
    rows = [row(f"{name}, {STEPS} steps", runs) for name, runs in arms.items()]
    rows.append(row(f"CycleGAN, {LONG} steps", longer))
    rows += [row(f"{name}, {FEW} rows", runs) for name, runs in few.items()]

    def wins(ours: list[Scored], theirs: list[Scored]) -> int:
        return sum(x.error < y.error for x, y in zip(ours, theirs, strict=True))

    exact = [r for name in FLOWS for r in arms[name]]
    cycles = max(r.cycle for r in exact), min(r.cycle for r in rival)
    alone, both = wins(arms["adversarial"], rival), wins(arms["hybrid"], rival)
    gaps = [
        h.nll - m.nll for h, m in zip(arms["hybrid"], arms["MLE"], strict=True) if h.nll and m.nll
    ]
    return Claim(
        system="S26",
        statement="Two flows translate between domains without a cycle loss, better than CycleGAN.",
        setting=(
            f"three blobs and a bent copy, {ROWS} unpaired rows each; 6 couplings of 2 x 32 a "
            f"domain against two residual nets of 2 x 64, critics of 2 x 64, least squares, batch "
            f"{BATCH}, Adam {RATE:g} betas {BETAS}, hybrid weight {LAMBDA}, cycle weight "
            f"{CYCLE:g}, seeds {SEEDS[0]}..{SEEDS[-1]}; 2,000 test rows with their true partners"
        ),
        header=["arm", "squared error", "energy distance", "cycle", "right blob", "NLL of B"],
        rows=rows,
        conditions=[
            (
                f"there and back: at most {cycles[0]:.0e} for flows, at least {cycles[1]:.0e} for "
                "CycleGAN",
                cycles[0] < 1e-5 < cycles[1],
            ),
            (
                f"adversarial below CycleGAN in {alone} of {len(SEEDS)} seeds, hybrid in {both}: "
                "one of them in all",
                max(alone, both) == len(SEEDS),
            ),
        ],
        costs=[
            f"a step of the adversarial flows costs {ratio:.1f} of CycleGAN's; CycleGAN at {LONG} "
            f"steps is below the adversarial flows at {STEPS} in "
            f"{wins(longer, arms['adversarial'])} of {len(SEEDS)}",
            f"with {FEW} rows the adversarial flows are below CycleGAN in "
            f"{wins(few['adversarial'], few['CycleGAN'])} of {len(SEEDS)}",
            "likelihood alone pairs worst: right blob "
            + ", ".join(f"{r.right:.2f}" for r in arms["MLE"]),
            "the hybrid's NLL is above the MLE's by "
            + ", ".join(f"{gap:.2f}" for gap in gaps)
            + " nats",
        ],
    )

"""Bengio et al. 2021: conditions of balance give a sampler of R / Z, and Z, where a walk is stuck.

The 8 x 8 grid with four modes divided by cells of a 2,500 times lower reward. The law of a trained
net is exact, by dynamic programming; the walks are judged by all cells they visit.
"""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from gentoolkit.gflownet import (
    Corners,
    DetailedBalance,
    GFlowNet,
    Hypergrid,
    LogOf,
    Objective,
    Space,
    SubTrajectoryBalance,
    TrajectoryBalance,
    rollouts,
)
from gentoolkit.train import fit
from tests.claims.claim import Claim

SEEDS, STEPS, BATCH, RATE, LOG_Z_RATE = range(3), 800, 16, 3e-3, 0.1
SIDE, FLOOR, CHAINS = 8, 0.001, 16
EXPLORE = 0.05
OBJECTIVES: dict[str, Objective] = {
    "TB": TrajectoryBalance(),
    "DB": DetailedBalance(),
    "SubTB(0.9)": SubTrajectoryBalance(0.9),
}
SPACE, REWARD = Space(Hypergrid(SIDE, 2)), Corners(SIDE, FLOOR)


def target() -> Tensor:
    """R / Z over the states of the space, (S,)."""
    reward = REWARD(SPACE.rows)
    return reward / reward.sum()


@dataclass(frozen=True)
class Run:
    """Distance from R / Z and visited states after each quarter, and log Z at the end."""

    distances: list[float]
    visited: list[int]
    log_z: float


def distance(law: Tensor) -> float:
    """The L1 distance from R / Z."""
    return float((law - target()).abs().sum())


def train(objective: Objective, seed: int, steps: int = STEPS, explore: float = 0.0) -> Run:
    """Train one net from its own paths, in float32."""
    torch.manual_seed(seed)
    model = GFlowNet(SPACE, LogOf(REWARD), objective=objective)
    optimizer = torch.optim.Adam(model.groups(RATE, LOG_Z_RATE))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    total, distances, visited = 0, [], []

    def batches():
        nonlocal total
        for paths in rollouts(model, BATCH, steps, explore=explore):
            total += paths.visited()
            yield paths

    for record in fit(model, batches(), optimizer=optimizer, progress=False):
        schedule.step()
        if record.step % (steps // 4) == 0:
            distances.append(distance(model.law()))
            visited.append(total)
    return Run(distances, visited, model.log_z.item())


def walk(seed: int, visits: int) -> float:
    """Run Metropolis chains of one-coordinate steps from uniform starts; judge all their visits."""
    generator = torch.Generator().manual_seed(seed)
    reward = torch.zeros(SIDE, SIDE)
    reward[SPACE.rows[:, 0], SPACE.rows[:, 1]] = REWARD(SPACE.rows)
    x = torch.randint(SIDE, (CHAINS, 2), generator=generator)
    counts = torch.zeros(SIDE, SIDE)
    moves = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])
    for _ in range(visits // CHAINS):
        counts.index_put_((x[:, 0], x[:, 1]), torch.ones(CHAINS), accumulate=True)
        y = x + moves[torch.randint(4, (CHAINS,), generator=generator)]
        inside = ((y >= 0) & (y < SIDE)).all(1)
        y = torch.where(inside[:, None], y, x)
        ratio = reward[y[:, 0], y[:, 1]] / reward[x[:, 0], x[:, 1]]
        accept = inside & (torch.rand(CHAINS, generator=generator) < ratio)
        x = torch.where(accept[:, None], y, x)
    return distance((counts / counts.sum())[SPACE.rows[:, 0], SPACE.rows[:, 1]])


def run() -> Claim:
    """Train every objective on every seed, then walk for as many visits as the last one made."""
    runs = {(n, s): train(o, s) for n, o in OBJECTIVES.items() for s in SEEDS}
    mixed = {("TB, 5 % uniform", s): train(TrajectoryBalance(), s, explore=EXPLORE) for s in SEEDS}
    visits = list(runs.values())[-1].visited[-1]
    walks = [walk(seed, visits) for seed in SEEDS]
    rows = [
        [name, str(seed), *(f"{d:.3f}" for d in r.distances), f"{r.log_z:.3f}"]
        + [f"{r.visited[-1]:,}"]
        for (name, seed), r in {**runs, **mixed}.items()
    ]
    rows += [
        ["Metropolis", str(s), "", "", "", f"{d:.3f}", "", f"{visits:,}"]
        for s, d in zip(SEEDS, walks, strict=True)
    ]
    best, truth = min(walks), log(float(REWARD(SPACE.rows).sum()))
    ends = {key: r.distances[-1] for key, r in {**runs, **mixed}.items()}
    conditions = []
    for name in OBJECTIVES:
        below = sum(ends[name, s] < best for s in SEEDS)
        conditions.append((f"{name} below every walk in {below} of {len(SEEDS)} seeds", below == 3))
    near = sum(abs(r.log_z - truth) < 0.05 for r in runs.values())
    early = [
        next((v for d, v in zip(r.distances, r.visited, strict=True) if d < best), None)
        for r in runs.values()
    ]
    reached = [v for v in early if v is not None]
    freed = sum(ends["TB, 5 % uniform", s] < best for s in SEEDS)
    return Claim(
        system="S02",
        statement="Balance gives a sampler of R / Z, and log Z, where local walks do not mix.",
        setting=(
            f"{SIDE} x {SIDE} grid, R0 = {FLOOR:g}, log Z = {truth:.4f}; 2 x 64 ReLU, "
            f"uniform pull, batch {BATCH} of own paths, Adam {RATE:g} (log Z {LOG_Z_RATE:g}), "
            f"cosine, {STEPS} iterations; {CHAINS} Metropolis chains; L1 from R / Z at each quarter"
        ),
        header=["", "seed", *(str(STEPS * q // 4) for q in (1, 2, 3, 4)), "log Z", "states"],
        rows=rows,
        conditions=conditions,
        costs=[
            f"log Z within 0.05 in {near} of {len(runs)} runs without exploration",
            f"first seen below every walk after {min(reached):,} to {max(reached):,} states"
            if reached
            else "never below every walk",
            f"with {100 * EXPLORE:g} % uniform moves TB is below every walk in {freed} of "
            f"{len(SEEDS)} seeds",
            "per second a walk is cheaper, and may be run longer; it does not tell Z",
        ],
    )

"""GFlowNets against torchgfn: states visited in training a second, and L1 against wall time.

Equal grids (8 x 8, 16 x 16, 8^4, R0 = 0.1), equal nets (coordinates one-hot, two layers of 64 ReLU
units, one trunk for all heads), equal batch of 16 own paths, uniform pull, Adam at 1e-3 (log Z at
0.1). torchgfn keeps the log-probabilities of its sampling for the loss, which is its faster way;
its log F of the source is a head like any other, so SubTB has no log Z to move faster.

torchgfn asks for numpy < 2: install it in an environment of its own, and run this suite there by
itself, `python -m tests.benchmarks.gflownet`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter

import torch

from gentoolkit.gflownet import (
    Corners,
    GFlowNet,
    Hypergrid,
    LogOf,
    Objective,
    Space,
    SubTrajectoryBalance,
    TrajectoryBalance,
    law,
    rollouts,
)
from tests.claims.claim import table

BATCH, RATE, LOG_Z_RATE, DECAY, FLOOR = 16, 1e-3, 0.1, 0.9, 0.1
GRIDS = ((8, 2), (16, 2), (8, 4))
OBJECTIVES: dict[str, Objective] = {
    "TB": TrajectoryBalance(),
    "SubTB": SubTrajectoryBalance(DECAY),
}
WARM, SECONDS, ROUNDS = 5, 2.0, 3
RACE_SECONDS, CUTS = 12.0, 4


@dataclass
class Contestant:
    """One library on one grid under one objective: a training step, and its distance from R / Z."""

    name: str
    step: Callable[[], int]
    distance: Callable[[], float]
    spent: float = 0.0
    visited: int = 0

    def train(self, seconds: float) -> None:
        """Take steps until the time is over."""
        start = perf_counter()
        while perf_counter() - start < seconds:
            self.visited += self.step()
        self.spent += perf_counter() - start


def ours(side: int, dims: int, objective: str, seed: int = 0) -> Contestant:
    """Our model on the listed grid."""
    torch.manual_seed(seed)
    space, reward = Space(Hypergrid(side, dims)), Corners(side, FLOOR)
    model = GFlowNet(space, LogOf(reward), objective=OBJECTIVES[objective])
    optimizer = torch.optim.Adam(model.groups(RATE, LOG_Z_RATE))
    target = reward(space.rows)
    target = target / target.sum()

    def step() -> int:
        (paths,) = rollouts(model, BATCH, 1)
        optimizer.zero_grad()
        model.loss(paths).backward()
        optimizer.step()
        return paths.visited()

    return Contestant("gentoolkit", step, lambda: float((model.law() - target).abs().sum()))


def torchgfn(side: int, dims: int, objective: str, seed: int = 0) -> Contestant | None:
    """The peer on the same grid, or None where it is not installed."""
    try:
        grids, flows = import_module("gfn.gym.hypergrid"), import_module("gfn.gflownet")
        estimators = import_module("gfn.estimators")
        modules, seen = import_module("gfn.utils.modules"), import_module("gfn.preprocessors")
    except ImportError:
        return None
    torch.manual_seed(seed)
    kwargs = {"R0": FLOOR, "R1": 0.5, "R2": 2.0}
    env = grids.HyperGrid(dims, side, reward_fn_kwargs=kwargs, validate_modes=False)
    shown = seen.KHotPreprocessor(side, dims)
    net = modules.MLP(side * dims, env.n_actions, 64, 2)
    push = estimators.DiscretePolicyEstimator(net, env.n_actions, shown)
    pull = estimators.DiscretePolicyEstimator(
        modules.DiscreteUniform(env.n_actions - 1), env.n_actions, shown, is_backward=True
    )
    if objective == "TB":
        model = flows.TBGFlowNet(push, pull, init_logZ=0.0)
        last = [model.logZ]
    else:
        flow = modules.MLP(side * dims, 1, 64, 2, trunk=net.trunk)
        model = flows.SubTBGFlowNet(
            push, pull, estimators.ScalarEstimator(flow, shown), "geometric_within", DECAY
        )
        last = []
    fast = {id(p) for p in last}
    # A trunk that two heads share is listed once.
    rest = list({id(p): p for p in model.parameters() if id(p) not in fast}.values())
    groups = [{"params": rest, "lr": RATE}, {"params": last, "lr": LOG_Z_RATE}]
    optimizer = torch.optim.Adam(groups[: 1 + bool(last)])

    def step() -> int:
        paths = model.sample_trajectories(env, BATCH, save_logprobs=True)
        optimizer.zero_grad()
        model.loss(env, paths, recalculate_all_logprobs=False).backward()
        optimizer.step()
        return int(paths.terminating_idx.sum())

    space = Space(Hypergrid(side, dims))
    target = env.reward_fn(space.rows)
    target = target / target.sum()

    def distance() -> float:
        with torch.no_grad():
            logits = net(shown(env.States(space.rows)))
        mask = space.allowed(torch.arange(space.size))
        table = logits.masked_fill(~mask, -torch.inf).softmax(1)
        return float((law(space, table) - target).abs().sum())

    return Contestant("torchgfn", step, distance)


def _pair(side: int, dims: int, objective: str, seed: int = 0) -> list[Contestant]:
    found = [ours(side, dims, objective, seed), torchgfn(side, dims, objective, seed)]
    return [c for c in found if c is not None]


def speeds() -> list[list[str]]:
    """Rows: states a second in training, by turns, and how many times the peer's."""
    rows = []
    for side, dims in GRIDS:
        for objective in OBJECTIVES:
            pair = _pair(side, dims, objective)
            for contestant in pair:
                for _ in range(WARM):
                    contestant.step()
            for _ in range(ROUNDS):
                for contestant in pair:
                    contestant.train(SECONDS / ROUNDS)
            rates = [c.visited / c.spent for c in pair]
            for contestant, rate in zip(pair, rates, strict=True):
                times = f"{rates[0] / rate:.1f}"
                rows.append(
                    [f"{side}^{dims} {objective}: {contestant.name}", f"{rate:,.0f}", times]
                )
    return rows


def accuracy() -> list[list[str]]:
    """Rows: L1 from R / Z as training time passes, both by turns on one machine."""
    rows = []
    for side, dims in GRIDS:
        for objective in OBJECTIVES:
            pair = _pair(side, dims, objective)
            cells: list[list[str]] = [[] for _ in pair]
            for _ in range(CUTS):
                for row, contestant in zip(cells, pair, strict=True):
                    contestant.train(RACE_SECONDS / CUTS)
                    row.append(f"{contestant.distance():.3f}")
            for row, contestant in zip(cells, pair, strict=True):
                name = f"{side}^{dims} {objective}: {contestant.name}"
                rows.append([name, *row, f"{contestant.visited:,}"])
    return rows


def header() -> list[str]:
    """The head of the table of `accuracy`."""
    return ["", *(f"{RACE_SECONDS * (k + 1) / CUTS:g} s" for k in range(CUTS)), "states"]


def tables() -> list[str]:
    """All lines to print."""
    missing = [] if torchgfn(8, 2, "TB") else ["", "torchgfn is not here and is left out", ""]
    return [
        *missing,
        "GFlowNets: states visited in training a second; times ours",
        *table(["grid, objective", "states / s", "ours / it"], speeds()),
        "",
        "L1 from R / Z after seconds of training",
        *table(header(), accuracy()),
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(tables()))

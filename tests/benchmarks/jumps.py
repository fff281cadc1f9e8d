"""Jumps a second against a plain loop, steps against flow_matching's discrete solver, and growth.

The peer is optional and in no extra: `pip install --no-deps flow_matching` beside torch.
"""

import random
from bisect import bisect
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import accumulate
from math import log
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from gentoolkit.jumps import (
    JumpPath,
    MaskedDiffusion,
    TauLeaping,
    gillespie,
    noising_bounds,
    thinning,
    uniformization,
    walk_back,
)
from gentoolkit.processes import (
    AbsorbingRates,
    DenseRates,
    JumpProcess,
    LinearRate,
    LogLinearRate,
    RateMatrix,
    State,
    UniformRates,
    even_times,
)
from tests.benchmarks.timing import Race

SIZE, DIMS, PATHS, LOOPED = 16, 64, 2000, 20
STEPS, ROWS, LEFT = 32, 64, 1e-6
ROUNDS = 5


@cache
def flow_matching() -> ModuleType | None:
    """The peer's solvers, or None where it is not installed."""
    try:
        return import_module("flow_matching.solver")
    except ImportError:
        return None


def custom(size: int) -> DenseRates:
    """Random rates between any two of `size` tokens, about 1 out of each."""
    q = torch.rand(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = 2.0 * q.fill_diagonal_(0.0) / size
    return DenseRates(q - q.sum(1).diag())


def noising(rates: RateMatrix) -> JumpProcess:
    """Rates that change with time, over [0, 1]: 1.7 in all."""
    return JumpProcess(rates, LinearRate(0.2, 3.0))


def plain(process: JumpProcess, start: list[list[int]]) -> int:
    """Gillespie's loop in plain Python, one path after the other; returns the number of jumps."""
    q = process.rate_matrix.matrix(torch.empty(0, dtype=torch.float64))
    exits = [-float(v) for v in q.diagonal()]
    heights = [list(accumulate(max(float(v), 0.0) for v in row)) for row in q]
    total, jumps = float(process.noise(0.0, process.end)), 0
    for row in start:
        x, clock = list(row), 0.0
        while True:
            leaving = list(accumulate(exits[v] for v in x))
            clock += random.expovariate(leaving[-1])
            if clock >= total:
                break
            d = bisect(leaving, random.random() * leaving[-1])
            x[d] = bisect(heights[x[d]], random.random() * heights[x[d]][-1])
            jumps += 1
    return jumps


def thinned(process: JumpProcess, x: Tensor) -> JumpPath:
    """The same noising by thinning, with the bounds of eight pieces."""
    pieces = torch.linspace(0.0, process.end, 9)
    bounds = noising_bounds(process, pieces)
    return thinning(process.rates, x, pieces, bounds, independent=True)


def thinned_together(process: JumpProcess, x: Tensor) -> JumpPath:
    """The same by one clock for all tokens of a path, as rates that couple them need it."""
    pieces = torch.linspace(0.0, process.end, 9)
    return thinning(process.rates, x, pieces, noising_bounds(process, pieces, x.shape[1]))


def speeds() -> list[list[str]]:
    """Rows: simulator, paths at once, jumps a second (median, least, most), over the loop's."""
    torch.manual_seed(0)
    random.seed(0)
    process, x = noising(custom(SIZE)), torch.randint(SIZE, (PATHS, DIMS))
    ways: dict[str, tuple[int, Callable[[], int]]] = {
        "plain Python loop": (LOOPED, lambda: plain(process, x[:LOOPED].tolist()))
    }
    for name, way in (
        ("gillespie", gillespie), ("uniformization", uniformization), ("thinning", thinned),
        ("thinning, tokens together", thinned_together)
    ):  # fmt: skip
        for n in (LOOPED, PATHS):
            ways[f"{name}, {n} paths"] = (
                n,
                lambda way=way, n=n: int(way(process, x[:n]).counts.sum()),
            )
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _, way in ways.values():
        way()
    for _ in range(ROUNDS):
        for name, (_, way) in ways.items():
            begun = perf_counter()
            jumps = way()
            found[name].append(jumps / (perf_counter() - begun))
    loop = median(found["plain Python loop"])
    return [
        [name, *(f"{v:,.0f}" for v in (median(f), min(f), max(f))), f"{median(f) / loop:.1f}"]
        for name, f in found.items()
    ]


def last(states: Iterator[State]) -> State:
    """The state at the end of a walk."""
    *_, end = states
    return end


def masked_model() -> MaskedDiffusion:
    """Masked tokens under a net that costs nothing, so that the sampler alone is timed."""
    table = torch.randn(DIMS, SIZE + 1, generator=torch.Generator().manual_seed(1))
    process = JumpProcess(AbsorbingRates(SIZE + 1), LogLinearRate(LEFT))
    return MaskedDiffusion(lambda x, t: table.expand(len(x), -1, -1), process, DIMS)


def peer_sampler(model: MaskedDiffusion) -> Callable[[Tensor], Tensor] | None:
    """The peer on the same process: from a grid of its time (0 noise, 1 data) to tokens."""
    solver = flow_matching()
    if solver is None:
        return None
    path = import_module("flow_matching.path")
    scheduler = import_module("flow_matching.path.scheduler").PolynomialConvexScheduler(n=1.0)
    wrapper: Any = import_module("flow_matching.utils").ModelWrapper

    class Probabilities(wrapper):
        """The net of the model as probabilities of data, in the peer's time."""

        def forward(self, x: Tensor, t: Tensor, **extras: object) -> Tensor:
            return model.data_logits(x, 1.0 - t).exp()

    made = solver.MixtureDiscreteEulerSolver(
        Probabilities(None), path.MixtureDiscreteProbPath(scheduler), SIZE + 1
    )
    start = torch.full((ROWS, DIMS), SIZE)
    return lambda grid: made.sample(start, step_size=None, time_grid=grid)


def races() -> list[Race]:
    """The same masked tokens, steps and net for each sampler."""
    model = masked_model()
    x, times = torch.full((ROWS, DIMS), SIZE), even_times(STEPS)
    contestants: list[tuple[str, Callable[[], object]]] = [
        (
            "gentoolkit, analytic",
            lambda: last(walk_back(model.process, model.transition, x, times)),
        ),
        (
            "gentoolkit, tau-leaping",
            lambda: last(walk_back(model.process, TauLeaping(model.rates), x, times)),
        ),
    ]
    peer = peer_sampler(model)
    if peer is not None:
        contestants.append(("flow_matching", lambda: peer(torch.linspace(0.0, 1.0, STEPS + 1))))
    title = f"{STEPS} steps of {ROWS} x {DIMS} masked tokens of {SIZE}"
    return [Race(title, contestants, rounds=15, seconds_a_turn=0.1)]


def agreement(repeats: int = 40) -> list[list[str]]:
    """Rows: sampler, share of tokens still masked half-way, and its standard error.

    Half the mask is left at half the time in truth; leaps with rates held still leave
    `exp(- sum h / t)` over 16 steps, more of it.
    """
    model = masked_model()
    x, times = torch.full((ROWS, DIMS), SIZE), even_times(STEPS // 2, 0.5)
    laws: dict[str, Callable[[], Tensor]] = {
        "gentoolkit, analytic": lambda: (
            last(walk_back(model.process, model.transition, x, times)).x
        ),
        "gentoolkit, tau-leaping": lambda: (
            last(walk_back(model.process, TauLeaping(model.rates), x, times)).x
        ),
    }
    peer = peer_sampler(model)
    if peer is not None:
        # Its last step fills in every mask, however short: so the state before it is looked at.
        laws["flow_matching"] = lambda: _seen_before_the_end(model)
    leaps = -sum(1.0 / (STEPS - k) for k in range(STEPS // 2))
    rows = [["truth", "0.5000", ""], ["leaps in truth", f"{torch.tensor(leaps).exp():.4f}", ""]]
    torch.manual_seed(2)
    for name, draw in laws.items():
        shares = torch.stack([(draw() == SIZE).double().mean() for _ in range(repeats)])
        error = float(shares.std()) / repeats**0.5
        rows.append([name, f"{float(shares.mean()):.4f}", f"{error:.4f}"])
    return rows


def _seen_before_the_end(model: MaskedDiffusion) -> Tensor:
    """The peer's state half-way: the last that its net is asked about."""
    seen: list[Tensor] = []
    inner = MaskedDiffusion(_Watching(model, seen), model.process, model.dims)
    peer = peer_sampler(inner)
    assert peer is not None
    grid = torch.linspace(0.0, 1.0, STEPS + 1)
    peer(grid[: STEPS // 2 + 2])
    return seen[-1]


class _Watching(torch.nn.Module):
    """A net that notes the states it is asked about."""

    def __init__(self, model: MaskedDiffusion, seen: list[Tensor]) -> None:
        super().__init__()
        self.model, self.seen = model, seen

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return self.model.data_logits(x, t)


def slopes() -> list[list[str]]:
    """Rows: what is timed, seconds at each size, and the fitted power of the size."""
    torch.manual_seed(0)
    sizes, dims = (4, 16, 64, 256), (4, 16, 64, 256)
    tasks: dict[str, tuple[tuple[int, ...], Callable[[int], Callable[[], float]]]] = {
        "gillespie, a jump, tokens C (D = 16)": (sizes, lambda c: _a_jump(c, 16)),
        "gillespie, a jump, dimensions D (C = 16)": (dims, lambda d: _a_jump(16, d)),
        "uniform noise drawn, C (D = 16)": (sizes, lambda c: _noise(UniformRates(c), 16)),
        "uniform noise drawn, D (C = 16)": (dims, lambda d: _noise(UniformRates(16), d)),
        "user's matrix, noise drawn, C (D = 16)": (sizes, lambda c: _noise(custom(c), 16)),
        "analytic step, C (D = 16)": (sizes, lambda c: _step(c, 16)),
        "analytic step, D (C = 16)": (dims, lambda d: _step(16, d)),
    }
    rows = []
    for name, (counts, make) in tasks.items():
        calls = [make(n) for n in counts]
        for call in calls:
            call()
        spent = [median(call() for _ in range(ROUNDS)) for call in calls]
        fitted = _slope([log(n) for n in counts[1:]], [log(s) for s in spent[1:]])
        rows.append([name, *(f"{1e6 * s:,.2f}" for s in spent), f"{fitted:.2f}"])
    return rows


def _a_jump(size: int, dims: int) -> Callable[[], float]:
    process, x = noising(custom(size)), torch.randint(size, (500, dims))

    def call() -> float:
        begun = perf_counter()
        jumps = int(gillespie(process, x).counts.sum())
        return (perf_counter() - begun) / jumps

    return call


def _noise(rates: RateMatrix, dims: int) -> Callable[[], float]:
    process = noising(rates)
    x, t = torch.randint(rates.size, (64, dims)), torch.rand(64)
    return _timed(lambda: process.sample(x, t))


def _step(size: int, dims: int) -> Callable[[], float]:
    process = JumpProcess(AbsorbingRates(size + 1), LogLinearRate(LEFT))
    model = MaskedDiffusion(lambda x, t: torch.zeros(*x.shape, size + 1), process, dims)
    x = process.source(dims).sample(64)
    return _timed(lambda: model.transition(x, 0.4, 0.5))


def _timed(call: Callable[[], object], calls: int = 5) -> Callable[[], float]:
    def timed() -> float:
        begun = perf_counter()
        for _ in range(calls):
            call()
        return (perf_counter() - begun) / calls

    return timed


def _slope(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)

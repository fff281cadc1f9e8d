"""The second design of S06: a double well at equal CPU time, with the free energy of its sides.

log target(x, y) = -(x^4 - 6 x^2 + x) - y^2 / 2,   dF = log Z(x < 0) - log Z(x > 0)
"""

from collections.abc import Iterator
from itertools import count
from math import log, pi
from time import process_time

import torch
from torch import Generator, Tensor

from gentoolkit import Chain, ess, log_z, standard_normal
from gentoolkit.core import Gaussian
from gentoolkit.flows import AffineCoupling, alternating_mask
from gentoolkit.stochastic import (
    GeometricPath,
    Metropolis,
    StochasticFlow,
    TrainedLangevin,
    annealed,
    even_schedule,
)
from gentoolkit.train import fit
from tests.claims.claim import Claim

SEEDS, SECONDS, BATCH, RATE, N, SMALL = range(3), 6.0, 256, 3e-3, 50_000, 1_000


class Well:
    """The target, with exact samples and integrals from a fine grid."""

    def __init__(self) -> None:
        self.grid = torch.linspace(-4.0, 4.0, 200_001, dtype=torch.float64)
        line = self._line(self.grid).exp() * (self.grid[1] - self.grid[0])
        self.cdf = line.cumsum(0) / line.sum()
        self.log_z = float(line.sum().log()) + 0.5 * log(2 * pi)
        left = line[self.grid < 0].sum()
        self.free_energy = float((left / (line.sum() - left)).log())

    @staticmethod
    def _line(x: Tensor) -> Tensor:
        return -(x**4 - 6 * x**2 + x)

    def log_prob(self, x: Tensor) -> Tensor:
        return self._line(x[:, 0]) - 0.5 * x[:, 1].square()

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        u = torch.rand(n, generator=generator, dtype=torch.float64)
        i = torch.searchsorted(self.cdf, u).clamp_max(len(self.grid) - 1)
        y = torch.randn(n, generator=generator, dtype=torch.float32)
        return torch.stack([self.grid[i].float(), y], 1)


def couplings(n: int) -> list[AffineCoupling]:
    return [
        AffineCoupling(2, alternating_mask(2, t), (48, 48), activation=torch.nn.Tanh).float()
        for t in range(n)
    ]


def models(well: Well) -> dict[str, StochasticFlow]:
    """Four couplings with Langevin steps between and after; four, and eight, without."""
    source = standard_normal(2, dtype=torch.float32)
    one, two, three, four = couplings(4)
    midway = TrainedLangevin(GeometricPath(source, well).at(0.3), 0.02).float()
    end = TrainedLangevin(well, 0.01).float()
    mixed = [one, two, *[midway] * 4, three, four, *[end] * 6]
    return {
        "stochastic flow": StochasticFlow(source, mixed, well),
        "4 couplings": StochasticFlow(source, couplings(4), well),
        "8 couplings": StochasticFlow(source, couplings(8), well),
    }


def train(model: StochasticFlow, well: Well, seed: int) -> int:
    """Train by the mixed loss for a time; return the number of steps."""
    generator, begun = torch.Generator().manual_seed(seed), process_time()
    batches = (well.sample(BATCH, generator) for _ in count())
    steps = 0
    for record in fit(model, batches, RATE, clip=10.0, generator=generator, progress=False):
        steps = record.step
        if process_time() - begun > SECONDS:
            break
    return steps


def free_energy(x: Tensor, log_w: Tensor) -> float:
    """The weighted difference of the sides."""
    left = x[:, 0] < 0
    return float(log_w[left].logsumexp(0) - log_w[~left].logsumexp(0))


def measure(chain: Chain, well: Well, seed: int) -> tuple[float, list[str]]:
    """The weighted error of dF on all paths, and the row of the table."""
    with torch.no_grad():
        paths = chain.push(N, torch.Generator().manual_seed(1000 + seed))
    x, log_w = paths.states[-1], paths.log_weight(well).detach()
    error = free_energy(x, log_w) - well.free_energy
    groups = torch.tensor(
        [free_energy(a, b) for a, b in zip(x.split(SMALL), log_w.split(SMALL), strict=True)]
    )
    groups = groups[groups.isfinite()] - well.free_energy
    cells = [f"{error:+.2f}", f"{float(groups.mean()):+.2f}", f"{float(groups.std()):.2f}"]
    share = float(ess(log_w)) / N
    return abs(error), [*cells, f"{float(log_z(log_w)) - well.log_z:+.3f}", f"{share:.4f}"]


def contestants(well: Well, seed: int) -> Iterator[tuple[str, Chain, int]]:
    """Yield each sampler, with its training steps."""
    torch.manual_seed(seed)
    for name, model in models(well).items():
        steps = train(model, well, seed)
        yield name, model.chain(), steps
    wide = Gaussian(torch.zeros(1, 2, dtype=torch.float32), 1.5)
    path = GeometricPath(wide, well)
    chain = annealed(path, even_schedule(30), lambda g: Metropolis(g, 0.5, 3))
    yield "annealed Metropolis", chain, 0


def run() -> Claim:
    """Ask which sampler knows the free energy best after six seconds."""
    well, rows, best = Well(), [], []
    for seed in SEEDS:
        errors = {}
        for name, chain, steps in contestants(well, seed):
            errors[name], cells = measure(chain, well, seed)
            rows.append([name, str(seed), *cells, str(steps)])
        ours = errors["stochastic flow"]
        best.append((ours < errors["4 couplings"], ours < errors["8 couplings"], errors))
    moves = [e["annealed Metropolis"] == min(e.values()) for _, _, e in best]
    return Claim(
        system="S06-well",
        statement="A stochastic flow knows the free energy of a double well better than a flow.",
        setting=(
            f"x^4 - 6 x^2 + x, log Z = {well.log_z:.4f}, dF = {well.free_energy:.3f}; {SECONDS:g} "
            f"CPU s of training each; {N} weighted paths, groups of {SMALL}; seeds "
            f"{SEEDS[0]}..{SEEDS[-1]}"
        ),
        header=["sampler", "seed", "dF error", "bias", "sd", "log Z error", "ESS/n", "steps"],
        rows=rows,
        conditions=[
            (
                f"error < 4 couplings in {sum(a for a, _, _ in best)} of 3",
                all(a for a, _, _ in best),
            ),
            (
                f"error < 8 couplings in {sum(b for _, b, _ in best)} of 3",
                all(b for _, b, _ in best),
            ),
        ],
        costs=[f"untrained annealed Metropolis has the least error in {sum(moves)} of 3"],
    )

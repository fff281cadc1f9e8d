"""Song, Meng, Ermon 2021: with few steps DDIM samples better than DDPM, from the same net.

Eight Gaussians on a ring. One net for each data set and seed serves every sampler, so the budgets
are equal by construction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin
from typing import NamedTuple

import torch
from torch import Tensor

from gentoolkit.diffusion import (
    DDIM,
    DDPM,
    Betas,
    Denoiser,
    PredictsNoise,
    Sampler,
    ancestral,
    sub_grid,
)
from gentoolkit.metrics import energy_distance
from gentoolkit.nets import TimeMLP
from gentoolkit.targets import GaussianMixture
from gentoolkit.train import fit
from tests.claims.claim import Claim
from tests.diffusion.carried import Exact, mixture

SEEDS, POINTS, FAR = range(3), 2000, 4.0
T, BATCH, RATE, FLOOR, HIDDEN, FEATURES = 1000, 512, 3e-3, 0.03, (96, 96), 16
FEW, MORE, COARSE, FINE = (5, 10, 20), 50, 20, 100
RADIUS, MODES = 1.5, 8
TRAINING = {0.25: 1500, 0.1: 1200}  # steps, by the modes' deviation
SCHEDULE = Betas.linear(T)
SAMPLERS: dict[str, Sampler] = {
    "eta = 0 (DDIM)": DDIM(0.0),
    "eta = 1 (DDPM)": DDIM(1.0),
    "eta = 1, noising variance": ancestral(wide=True),
}
CALM, NOISY, WIDE = SAMPLERS
Net = Callable[[Tensor, Tensor], Tensor]


def ring(std: float) -> GaussianMixture:
    """Eight equal modes on a circle, float64."""
    angles = [2 * pi * k / MODES for k in range(MODES)]
    places = [[RADIUS * cos(a), RADIUS * sin(a)] for a in angles]
    return mixture(places, [std**2] * MODES, [1.0 / MODES] * MODES)


def train(std: float, seed: int, steps: int) -> TimeMLP:
    """Train one net to predict the noise, all steps of the chain alike."""
    law, generator = ring(std), torch.Generator().manual_seed(1000 + seed)
    torch.manual_seed(seed)
    net = TimeMLP(2, 2, HIDDEN, FEATURES).float()
    model = DDPM(net, (2,), SCHEDULE, T)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, RATE * FLOOR)
    data = (law.sample(BATCH, generator).float() for _ in range(steps))

    def loss(x: Tensor) -> Tensor:
        return model.loss(x, generator=generator)

    for _ in fit(model, data, loss=loss, optimizer=optimizer, progress=False):
        decay.step()
    return net


def draw(net: Net, sampler: Sampler, steps: int, seed: int, dtype: torch.dtype) -> Tensor:
    """Sample from noise that depends on the seed alone, (POINTS, 2) float64."""
    x = torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(seed)).to(dtype)
    generator = torch.Generator().manual_seed(500 + seed)
    model = Denoiser(net, SCHEDULE, PredictsNoise())
    return sampler.sample(model, x, sub_grid(steps, T), generator).double()


class Runs(NamedTuple):
    """Of one net: energy distance by sampler and steps, median shift of the ends, misses."""

    distance: dict[tuple[str, int], float]
    shift: dict[str, float]
    off: float


def measure(net: Net, std: float, seed: int, dtype: torch.dtype = torch.float32) -> Runs:
    """Run every sampler with every number of steps."""
    law = ring(std)
    fresh = law.sample(POINTS, torch.Generator().manual_seed(2000 + seed))
    ends = {
        (name, steps): draw(net, sampler, steps, seed, dtype)
        for name, sampler in SAMPLERS.items()
        for steps in (*FEW, MORE, FINE)
    }
    shift = {
        name: float((ends[name, COARSE] - ends[name, FINE]).norm(dim=1).median())
        for name in (CALM, NOISY)
    }
    z = torch.cdist(ends[CALM, FINE], law.means) / law.stds
    distance = {key: float(energy_distance(x, fresh)) for key, x in ends.items()}
    return Runs(distance, shift, float((z > FAR).all(1).double().mean()))


@dataclass(frozen=True)
class Study:
    """One data set: a run a seed, and one with the exact net."""

    std: float
    runs: list[Runs]
    oracle: Runs

    def below(self, first: str, second: str, steps: int) -> int:
        """In how many seeds the first sampler is the better one."""
        return sum(r.distance[first, steps] < r.distance[second, steps] for r in self.runs)

    def factor(self) -> float:
        """By how much DDPM moves the ends more than DDIM, in the seed where it is least."""
        return min(r.shift[NOISY] / r.shift[CALM] for r in self.runs)

    def rows(self) -> list[list[str]]:
        """A row a sampler, for the trained nets and the exact one."""
        found = []
        for who, runs in (("trained", self.runs), ("exact", [self.oracle])):
            for name in SAMPLERS:
                cells = [
                    " ".join(f"{r.distance[name, steps]:.4f}" for r in runs)
                    for steps in (*FEW, MORE)
                ]
                found.append([f"deviation {self.std:g}, {who}, {name}", *cells])
        return found


def study(std: float) -> Study:
    """Train and measure every seed of one data set."""
    runs = [measure(train(std, seed, TRAINING[std]), std, seed) for seed in SEEDS]
    exact = Exact(ring(std), SCHEDULE)
    return Study(std, runs, measure(exact, std, 0, torch.float64))


def run() -> Claim:
    """Measure both data sets."""
    studies, n = [study(std) for std in TRAINING], len(SEEDS)

    def count(s: Study, first: str, second: str) -> str:
        return ", ".join(f"{s.below(first, second, k)} at {k} steps" for k in FEW)

    def shifts(s: Study, name: str) -> str:
        return " ".join(f"{r.shift[name]:.3f}" for r in s.runs)

    return Claim(
        system="S09",
        statement="With few steps DDIM samples better than DDPM, and its ends stay in place.",
        setting=(
            f"ring of {MODES} Gaussians, T = {T}, MLP {HIDDEN}, Adam {RATE:g} to "
            f"{RATE * FLOOR:g}, batch {BATCH}, steps "
            + ", ".join(f"{v} at deviation {k:g}" for k, v in TRAINING.items())
            + f"; energy distance, {POINTS} samples, seeds {SEEDS[0]}..{SEEDS[-1]}"
        ),
        header=["data, net, sampler", *(f"{steps} steps" for steps in (*FEW, MORE))],
        rows=[row for s in studies for row in s.rows()],
        conditions=[
            *(
                (
                    f"deviation {s.std:g}: eta = 0 below eta = 1, seeds of {n}: "
                    + count(s, CALM, NOISY),
                    all(s.below(CALM, NOISY, steps) == n for steps in FEW),
                )
                for s in studies
            ),
            *(
                (
                    f"deviation {s.std:g}: from {COARSE} to {FINE} steps the same noise ends "
                    f"{s.factor():.0f} times nearer at the least: eta = 0 {shifts(s, CALM)}, "
                    f"eta = 1 {shifts(s, NOISY)}",
                    s.factor() >= 10.0,
                )
                for s in studies
            ),
        ],
        costs=[
            *(
                f"deviation {s.std:g}: eta = 0 below the noising variance, seeds of {n}: "
                + count(s, CALM, WIDE)
                for s in studies
            ),
            *(
                f"deviation {s.std:g}: more than {FAR:g} deviations from every mode with {FINE} "
                "steps of DDIM: "
                + " ".join(f"{r.off:.2f}" for r in s.runs)
                + f"; exact net {s.oracle.off:.2f}"
                for s in studies
            ),
        ],
    )

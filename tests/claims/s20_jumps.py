"""Sun et al. 2022: ratios of neighbours suffice, and the analytic step lands sooner.

Three tokens in four places, 81 states, so the law of every sampler is a product of matrices: no
sampling noise is in the table.
"""

from dataclasses import dataclass
from time import process_time

import torch
from torch import Tensor

from gentoolkit.jumps import (
    Corrector,
    Denoising,
    Euler,
    HollowMLP,
    RatioMatching,
    Table,
    TauLeaping,
    TokenMLP,
)
from gentoolkit.processes import (
    ConstantRate,
    JumpProcess,
    UniformRates,
    falling_times,
)
from gentoolkit.train import fit
from tests.claims.claim import Claim
from tests.jumps.spaces import every_state, output_law, tv

SEEDS, STEPS, BATCH, RATE = range(3), 600, 256, 2e-3
SIZE, DIMS, END, COUNTS = 3, 4, 4.0, (4, 8, 16, 32, 64)
PROCESS = JumpProcess(UniformRates(SIZE), ConstantRate(1.0), END)
STATES = every_state(SIZE, DIMS)


def data() -> Table:
    """The one law of the data: softmax of twice normal numbers, seed 0."""
    numbers = torch.randn(
        SIZE**DIMS, generator=torch.Generator().manual_seed(0), dtype=torch.float32
    ).double()
    return Table(PROCESS, (2.0 * numbers).softmax(0).reshape([SIZE] * DIMS))


@dataclass(frozen=True)
class Trained:
    """A model and the CPU seconds of its training."""

    model: RatioMatching | Denoising
    seconds: float


def train(kind: type[RatioMatching] | type[Denoising], seed: int, steps: int = STEPS) -> Trained:
    """Train one model in float32: the hollow net for ratios, the one that sees all for data."""
    torch.manual_seed(seed)
    net = HollowMLP if kind is RatioMatching else TokenMLP
    model = kind(net(SIZE, DIMS).float(), PROCESS, DIMS)
    generator, table = torch.Generator().manual_seed(seed), data()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = (table.sample(BATCH, generator) for _ in range(steps))
    begun = process_time()
    for _ in fit(
        model,
        batches,
        loss=lambda x: model.loss(x, generator=generator),
        optimizer=optimizer,
        progress=False,
    ):
        schedule.step()
    return Trained(model, process_time() - begun)


def distances(law, corrector: Corrector | None = None) -> list[float]:
    """Total variation of the sampler's law from the data's, at each number of steps."""
    source = torch.full((len(STATES),), 1.0 / len(STATES), dtype=torch.float64)
    truth = data().probs.flatten()
    return [
        tv(output_law(law, falling_times(n, END), STATES, source, corrector), truth) for n in COUNTS
    ]


def exact(law: Tensor) -> float:
    """Entropy of a table in nats."""
    return float(-torch.xlogy(law, law).sum())


def run() -> Claim:
    """Train both models on every seed, and give each sampler's exact law."""
    table = data()
    truth = {
        "analytic": distances(table.transition),
        "Euler": distances(Euler(table.rates)),
        "tau": distances(TauLeaping(table.rates)),
    }
    rows = [[f"exact ratios, {name}", "", *_cells(d)] for name, d in truth.items()]
    ordered, nearer, corrected, steps_alone = [], [], [], []
    seconds = ([], [])
    for seed in SEEDS:
        ratios, denoising = train(RatioMatching, seed), train(Denoising, seed)
        for account, trained in zip(seconds, (ratios, denoising), strict=True):
            account.append(trained.seconds)
        ours, model = ratios.model, denoising.model
        by = {
            "ratios, analytic": distances(ours.transition),
            "ratios, Euler": distances(Euler(ours.rates)),
            "ratios, tau": distances(TauLeaping(ours.rates)),
            "x0, tau": distances(TauLeaping(model.rates)),
            "x0, tau and a corrector": distances(TauLeaping(model.rates), Corrector(model)),
            "x0, analytic": distances(model.transition),
        }
        rows += [[name, str(seed), *_cells(d)] for name, d in by.items()]
        analytic, euler, tau, x0, both, x0_analytic = by.values()
        ordered += [a < e < u for a, e, u in zip(analytic, euler, tau, strict=True)]
        nearer += [a < x for a, x in zip(analytic, x0, strict=True)]
        steps_alone += [a < b for a, b in zip(analytic, x0_analytic, strict=True)]
        # A corrected step calls the net twice: compare n of them with 2n analytic ones.
        corrected += [a < b for a, b in zip(analytic[1:], both[:-1], strict=True)]
    return Claim(
        system="S20",
        statement="Ratios of neighbours and the analytic step beat data prediction by tau-leaping.",
        setting=(
            f"{SIZE} tokens in {DIMS} places, entropy {exact(table.probs):.3f}, uniform noise to "
            f"t = {END:g}, {STEPS} steps of batch {BATCH}, Adam {RATE:g} with cosine decay, "
            f"2 x 64 SiLU, seeds {SEEDS[0]}..{SEEDS[-1]}; total variation of the exact law of "
            "the sampler from the data's, at each number of steps"
        ),
        header=["model, sampler", "seed", *(str(n) for n in COUNTS)],
        rows=rows,
        conditions=[
            (
                f"analytic < Euler < tau in {sum(ordered)} of {len(ordered)} (seed, steps)",
                all(ordered),
            ),
            (
                f"ratios with analytic steps < x0 with tau in {sum(nearer)} of {len(nearer)}",
                all(nearer),
            ),
        ],
        costs=[
            f"a hollow pass is {DIMS} passes: training took "
            f"{sum(seconds[0]) / len(SEEDS):.1f} CPU s against {sum(seconds[1]) / len(SEEDS):.1f}",
            f"at equal calls, ratios with analytic steps < x0 with tau and a corrector in "
            f"{sum(corrected)} of {len(corrected)}",
            "it is the step more than the ratios: with analytic steps for both, ratios < x0 in "
            f"{sum(steps_alone)} of {len(steps_alone)}",
            "the x0 net is trained by plain cross-entropy, not by its bound",
        ],
    )


def _cells(values: list[float]) -> list[str]:
    return [f"{v:.3f}" for v in values]

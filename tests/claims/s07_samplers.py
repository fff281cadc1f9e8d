"""Yang et al. 2022, the survey: better solvers need fewer calls of the net.

Mixtures of three Gaussians in the plane, whose score is known at every time, so that only the
samplers differ. First the order of each solver, as a slope; then a race at equal calls of the net,
on wide modes and on narrow ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import log

import torch
from torch import Tensor

from gentoolkit.diffusion import (
    DDIM,
    EDM,
    Denoiser,
    DPMSolver2,
    DPMSolverPlusPlus2M,
    EulerMaruyama,
    LinearBeta,
    PredictorCorrector,
    PredictsNoise,
    ProbabilityFlow,
    Sampler,
    Schedule,
    VarianceExploding,
    ancestral,
    even_log_snr,
    even_times,
    karras_times,
)
from gentoolkit.metrics import energy_distance
from gentoolkit.numerics import euler, heun, rk4
from gentoolkit.targets import GaussianMixture
from tests.claims.claim import Claim
from tests.diffusion.carried import Exact, exact, law_at, mixture, slopes

VP, VE = LinearBeta(0.1, 20.0), VarianceExploding(0.002, 80.0)
MEANS, WEIGHTS = [[1.0, 1.0], [-1.5, 0.5], [0.5, -1.5]], [0.5, 0.3, 0.2]
WIDE = mixture(MEANS, [0.09, 0.16, 0.04], WEIGHTS)
NARROW = mixture(MEANS, [0.0025] * 3, WEIGHTS)
END, SEEDS, CALLS, POINTS, FAR = 1e-3, range(3), (10, 20, 40, 80), 2000, 4.0

ORDERS: dict[str, tuple[Sampler, int]] = {
    "Euler in t": (ProbabilityFlow(euler), 1),
    "DDIM": (DDIM(), 1),
    "Heun in t": (ProbabilityFlow(heun), 2),
    "EDM's Heun": (EDM(), 2),
    "DPM-Solver-2": (DPMSolver2(), 2),
    "DPM-Solver++(2M)": (DPMSolverPlusPlus2M(), 2),
    "RK4 in t": (ProbabilityFlow(rk4), 4),
}
STEPS, REFERENCE, ORDERS_END, ORDERS_POINTS = (20, 40, 80, 160), 640, 0.01, 200


def end(sampler: Sampler, steps: int) -> Tensor:
    """Where a solver carries the same points with this many steps."""
    seed = torch.Generator().manual_seed(0)
    x = torch.randn(ORDERS_POINTS, 2, dtype=torch.float64, generator=seed)
    times = even_log_snr(VP, steps, ORDERS_END)
    return sampler.sample(exact(WIDE, VP), x, times)


@cache
def reference() -> Tensor:
    """The end of RK4 with many steps."""
    return end(ProbabilityFlow(rk4), REFERENCE)


def errors(sampler: Sampler, steps: Sequence[int]) -> list[float]:
    """Root mean squared distance of each run's end from the reference."""
    squares = [(end(sampler, n) - reference()).square().sum(1).mean() for n in steps]
    return [float(s.sqrt()) for s in squares]


def run_orders() -> Claim:
    """Measure every solver's order between the two finest grids."""
    found = {name: errors(sampler, STEPS) for name, (sampler, _) in ORDERS.items()}
    rates = {name: slopes(e)[-1] for name, e in found.items()}
    return Claim(
        system="S07",
        statement="Each solver of the probability flow converges with its order.",
        setting=(
            f"three Gaussians in the plane, exact score, variance preserving, even log-SNR from "
            f"t = 1 to {ORDERS_END:g}; root mean squared error of {ORDERS_POINTS} ends against "
            f"RK4 with {REFERENCE} steps"
        ),
        header=["solver", "order", *(f"{n} steps" for n in STEPS), "slope"],
        rows=[
            [name, str(ORDERS[name][1]), *(f"{e:.2e}" for e in found[name]), f"{rate:.2f}"]
            for name, rate in rates.items()
        ],
        conditions=[
            (
                f"{name}: slope {rate:.2f} in [{order - 0.2:g}, {order + 0.3:g}]",
                order - 0.2 <= rate <= order + 0.3,
            )
            for (name, rate), (_, order) in zip(rates.items(), ORDERS.values(), strict=True)
        ],
    )


@dataclass(frozen=True)
class Entry:
    """A sampler, its schedule, and the times that spend a number of calls."""

    sampler: Sampler
    times: Callable[[int], Tensor]
    schedule: Schedule = VP


def _karras(calls: int) -> Tensor:
    """Noise from 80 down to 0.002, two calls a step."""
    end = VE.time_of(torch.tensor([-2.0 * log(VE.low)], dtype=torch.float64))
    return karras_times(VE, calls // 2, float(end))


RACE: dict[str, Entry] = {
    "Euler-Maruyama, even t": Entry(EulerMaruyama(), lambda n: even_times(n, END)),
    "ancestral, noising variance, even t": Entry(ancestral(True), lambda n: even_times(n, END)),
    "ancestral, noising variance, even log-SNR": Entry(
        ancestral(True), lambda n: even_log_snr(VP, n, END)
    ),
    "ancestral, even t": Entry(ancestral(), lambda n: even_times(n, END)),
    "ancestral, even log-SNR": Entry(ancestral(), lambda n: even_log_snr(VP, n, END)),
    "predictor-corrector, even t": Entry(PredictorCorrector(), lambda n: even_times(n // 2, END)),
    "DDIM, even log-SNR": Entry(DDIM(), lambda n: even_log_snr(VP, n, END)),
    "DPM-Solver-2, even log-SNR": Entry(DPMSolver2(), lambda n: even_log_snr(VP, n // 2, END)),
    "DPM-Solver++(2M), even log-SNR": Entry(
        DPMSolverPlusPlus2M(), lambda n: even_log_snr(VP, n, END)
    ),
    "EDM's Heun, Karras's grid": Entry(EDM(), _karras, VE),
}
PLAIN, WIDE_EVEN, WIDE_LOG, EVEN, LOG, _, FIRST, *HIGHER = RACE


@dataclass(frozen=True)
class Result:
    """Of one run: energy distance, share of samples far from every mode, calls of the net."""

    distance: float
    off: float
    calls: int


def far(x: Tensor, law: GaussianMixture) -> float:
    """The share of samples more than four deviations from every mode."""
    z = torch.cdist(x, law.means) / law.stds
    return float((z > FAR).all(1).double().mean())


def contest(name: str, law: GaussianMixture, calls: int, seed: int, n: int = POINTS) -> Result:
    """Run one sampler from exact noise; all samplers of a seed are held against one sample."""
    entry, generator = RACE[name], torch.Generator().manual_seed(seed)
    fresh = law.sample(n, torch.Generator().manual_seed(1000 + seed))
    x = law_at(law, entry.schedule, 1.0).sample(n, generator)
    net = Exact(law, entry.schedule)
    model = Denoiser(net, entry.schedule, PredictsNoise())
    y = entry.sampler.sample(model, x, entry.times(calls), generator)
    return Result(float(energy_distance(y, fresh)), far(y, law), len(net.asked))


def ideal(law: GaussianMixture, seed: int) -> Result:
    """What exact samples would score."""
    x, fresh = law.sample(2 * POINTS, torch.Generator().manual_seed(2000 + seed)).chunk(2)
    return Result(float(energy_distance(x, fresh)), far(x, law), 0)


def run_wide() -> Claim:
    """The race where the modes are wide, by the energy distance."""
    return _race(WIDE, "wide modes", lambda r: r.distance, "energy distance", "{:.4f}")


def run_narrow() -> Claim:
    """The race where the modes are narrow, by the samples that miss them."""
    measure = f"share of samples more than {FAR:g} deviations from every mode"
    return _race(NARROW, "narrow modes, variance 0.0025", lambda r: r.off, measure, "{:.3f}")


def _race(
    law: GaussianMixture, which: str, read: Callable[[Result], float], measure: str, form: str
) -> Claim:
    runs = {
        (name, calls): [contest(name, law, calls, seed) for seed in SEEDS]
        for name in RACE
        for calls in CALLS
    }
    values = {key: [read(r) for r in results] for key, results in runs.items()}
    floor = [read(ideal(law, seed)) for seed in SEEDS]

    def below(name: str, other: str, calls: int) -> int:
        pairs = zip(values[name, calls], values[other, calls], strict=True)
        return sum(a < b for a, b in pairs)

    def count(name: str, other: str, calls: int) -> str:
        return f"{name.split(',')[0]} in {below(name, other, calls)}"

    n = len(SEEDS)
    return Claim(
        system="S07",
        statement=f"At equal calls of the net, solvers of higher order win: {which}.",
        setting=(
            f"three Gaussians, exact score, t from 1 to {END:g}; {measure}, {POINTS} samples, "
            f"seeds {SEEDS[0]}..{SEEDS[-1]}"
        ),
        header=["sampler", *(f"{calls} calls" for calls in CALLS)],
        rows=[
            [name, *(" ".join(form.format(v) for v in values[name, c]) for c in CALLS)]
            for name in RACE
        ],
        conditions=[
            *(
                (
                    f"{calls} calls, below Euler-Maruyama, seeds of {n}: "
                    + ", ".join(count(name, PLAIN, calls) for name in HIGHER),
                    all(below(name, PLAIN, calls) == n for name in HIGHER),
                )
                for calls in CALLS
            ),
            (
                "no sampler called the net more often than it may",
                all(r.calls <= calls for (_, calls), rs in runs.items() for r in rs),
            ),
        ],
        costs=[
            "exact samples in a sampler's place: " + " ".join(form.format(v) for v in floor),
            *(
                f"{calls} calls, ancestral: {_mean(values[WIDE_EVEN, calls]):.3f} with the noising "
                f"variance at even t, {_mean(values[WIDE_LOG, calls]):.3f} by the grid alone, "
                f"{_mean(values[EVEN, calls]):.3f} by the posterior's variance alone, "
                f"{_mean(values[LOG, calls]):.3f} by both; below DDIM, seeds of {n}: "
                + ", ".join(count(name, FIRST, calls) for name in HIGHER)
                for calls in CALLS[:2]
            ),
        ],
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

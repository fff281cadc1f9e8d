"""Ganguly and Earp 2021: variational inference converges faster than sampling.

Probit regression with an intercept and a slope, the same matrix products a sweep for both.
"""

import torch

from gentoolkit.vi import ProbitRace, probit_data, probit_race
from tests.claims.claim import Claim

SEEDS = range(5)
BUDGETS = (10, 30, 100, 300, 1000, 3000)
HORIZON = 100
CHAINS = 20
COEFFICIENTS = (-0.5, 1.2)
ROWS, PRIOR_VARIANCE = 60, 10.0


def race(seed: int, budgets: tuple[int, ...] = BUDGETS) -> ProbitRace:
    """Run one data set."""
    b = torch.tensor(COEFFICIENTS, dtype=torch.float64)
    x, y = probit_data(ROWS, b, torch.Generator().manual_seed(seed))
    return probit_race(x, y, PRIOR_VARIANCE, budgets, CHAINS, seed)


def run() -> Claim:
    """Run every data set at every budget."""
    races = [race(seed) for seed in SEEDS]
    # CAVI has converged by its last budget, so the budgets between add nothing to the table.
    early = sum(k <= HORIZON for k in BUDGETS)
    header = ["data seed", f"CAVI {BUDGETS[0]}", *map(str, (*BUDGETS[1:early], BUDGETS[-1]))]
    header += [f"Gibbs {BUDGETS[0]}", *(str(k) for k in BUDGETS[1:])]
    header += ["CAVI sd ratio", f"Gibbs sd {BUDGETS[-2]}"]
    rows = [
        [str(seed), *(f"{e:.3f}" for e in (*r.cavi[:early], r.cavi[-1], *r.gibbs))]
        + [_pair(r.cavi_sd), _pair(r.gibbs_sd[-2])]
        for seed, r in zip(SEEDS, races, strict=True)
    ]
    wins = {k: sum(r.nearer()[i] for r in races) for i, k in enumerate(BUDGETS)}
    n = len(races)
    spreads = [s for r in races for s in r.cavi_sd]
    later = [r.gibbs[-1] / r.cavi[-1] for r in races]
    return Claim(
        system="S13",
        statement="Coordinate ascent is nearer to the posterior mean than Gibbs at equal sweeps.",
        setting=(
            f"probit, n={ROWS}, b={COEFFICIENTS}, prior variance {PRIOR_VARIANCE:g}; data seeds "
            f"{SEEDS[0]}..{SEEDS[-1]}; {CHAINS} Gibbs chains, second half of the draws; "
            "rms error of the mean in exact posterior deviations (401 x 401 quadrature)"
        ),
        header=header,
        rows=rows,
        conditions=[
            (f"nearer at {k} sweeps in {wins[k]} of {n} data sets", wins[k] == n)
            for k in BUDGETS
            if k <= HORIZON
        ],
        costs=[
            *(f"at {k} sweeps nearer in {wins[k]} of {n}" for k in BUDGETS if k > HORIZON),
            f"its limit is wrong: deviations {min(spreads):.2f} to {max(spreads):.2f} of the truth",
            f"at {BUDGETS[-1]} sweeps Gibbs's error is {_geometric_mean(later):.2f} of CAVI's",
        ],
    )


def _pair(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:.2f}" for v in values)


def _geometric_mean(values: list[float]) -> float:
    return float(torch.tensor(values).log().mean().exp())

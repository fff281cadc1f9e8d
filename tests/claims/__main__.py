"""Run every claim, print one table, keep the verdicts: `python -m tests.claims [system ...]`.

A new claim is one module with `run() -> Claim` and one entry in CLAIMS. What was measured is
written to docs/claims.md as each claim ends; a claim that did not run keeps its section.
"""

import argparse
import platform
from collections.abc import Callable
from time import perf_counter

import torch

from tests.claims import (
    s01_unify,
    s02_gflownet,
    s05_diffusion,
    s06_stochastic,
    s06_well,
    s07_samplers,
    s08_truncation,
    s09_ddim,
    s13_cavi_gibbs,
    s14_high_order,
    s15_tree,
    s17_mcd,
    s19_layers,
    s20_jumps,
    s21_boosting,
    s22_self_normalizing,
    s23_copula,
    s24_symmetry,
    s25_clamp,
    s26_alignflow,
    s27_gauge,
)
from tests.claims.claim import Claim, table
from tests.page import DOCS, renew

CLAIMS: dict[str, Callable[[], Claim]] = {
    "S01": s01_unify.run,
    "S02": s02_gflownet.run,
    "S05": s05_diffusion.run_bound,
    "S05-targets": s05_diffusion.run_targets,
    "S06": s06_stochastic.run,
    "S06-well": s06_well.run,
    "S07": s07_samplers.run_orders,
    "S07-wide": s07_samplers.run_wide,
    "S07-narrow": s07_samplers.run_narrow,
    "S08": s08_truncation.run,
    "S09": s09_ddim.run,
    "S13": s13_cavi_gibbs.run,
    "S14": s14_high_order.run,
    "S15": s15_tree.run,
    "S17": s17_mcd.run,
    "S17-steps": s17_mcd.run_step_sizes,
    "S19": s19_layers.run,
    "S20": s20_jumps.run,
    "S21": s21_boosting.run,
    "S22": s22_self_normalizing.run,
    "S23": s23_copula.run,
    "S24": s24_symmetry.run,
    "S25": s25_clamp.run,
    "S26": s26_alignflow.run,
    "S27": s27_gauge.run,
    "S27-betas": s27_gauge.run_betas,
    "S27-su3": s27_gauge.run_su3,
}

PAGE = DOCS / "claims.md"
HEAD = """\
# Claims

What the papers claim, repeated at small scale with seeds and equal budgets, as it came out.
Written by `make claims`; the code of a claim is in `tests/claims/`. A verdict follows from the
conditions alone: all of them must hold. Each section is from the last run of its claim."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.claims", description=__doc__)
    parser.add_argument("systems", nargs="*", help=f"some of {', '.join(CLAIMS)}; all if left out")
    wanted = parser.parse_args().systems or list(CLAIMS)
    unknown = sorted(set(wanted) - set(CLAIMS))
    if unknown:
        parser.error(f"unknown claims {unknown}; there are {list(CLAIMS)}")
    torch.set_num_threads(1)
    summary = []
    for system in wanted:
        start = perf_counter()
        claim = CLAIMS[system]()
        seconds = perf_counter() - start
        print(claim, end="\n\n")
        verdict = "shown" if claim.shown else "NOT shown"
        place = f"torch {torch.__version__}, python {platform.python_version()}, one thread"
        section = (f"({verdict}) {claim.statement}", f"{claim}\n     {place}")
        renew(PAGE, HEAD, {system: section}, CLAIMS)
        held = sum(h for _, h in claim.conditions)
        summary.append(
            [f"{system}  {claim.statement}", verdict]
            + [f"{held} of {len(claim.conditions)}", f"{seconds:.1f} s"]
        )
    print("\n".join(table(["claim", "verdict", "conditions", "time"], summary)))


if __name__ == "__main__":
    main()

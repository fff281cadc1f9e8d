"""Time the library against its peers: `python -m tests.benchmarks [suite ...]`."""

import argparse
import platform
from collections.abc import Callable

import torch

from tests.benchmarks import diffusion, flows, gflownet, jumps, laws, stochastic, vae
from tests.benchmarks.timing import Race, report, time_race
from tests.claims.claim import table

SUITES: dict[str, Callable[[], list[Race]]] = {
    "laws": laws.races,
    "vae": vae.races,
    "flows": flows.races,
    "diffusion": diffusion.races,
    "jumps": jumps.races,
    "stochastic": stochastic.races,
    "gflownet": list,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"some of {', '.join(SUITES)}; all if left out")
    wanted = parser.parse_args().suites or list(SUITES)
    unknown = sorted(set(wanted) - set(SUITES))
    if unknown:
        parser.error(f"unknown suites {unknown}; there are {list(SUITES)}")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, python {platform.python_version()}, one thread")
    print("microseconds a call over interleaved rounds; ratio to gentoolkit: median (quartiles)\n")
    header = ["", "min", "median", "25 %", "75 %", "time / ours"]
    races = [race for suite in wanted for race in SUITES[suite]()]
    rows = [row for race in races for row in report(race, time_race(race))]
    print("\n".join(table(header, rows)))
    if "flows" in wanted:
        print(f"\nheld-out log-likelihood after {flows.SECONDS:.0f} s of training, nats a point\n")
        print("\n".join(flows.likelihoods()))
    if "diffusion" in wanted:
        if diffusion.smalldiffusion() is None:
            print("\nsmalldiffusion does not load here and is left out: pip install smalldiffusion")
        print("\ndistance from diffusers on the same noise, relative to the largest end\n")
        print("\n".join(table(["sampler", "steps", "float64", "float32"], diffusion.agreement())))
    if "jumps" in wanted:
        if jumps.flow_matching() is None:
            print(
                "\nflow_matching is not installed here and is left out: "
                "pip install --no-deps flow_matching"
            )
        print("\ntokens still masked half-way, on one grid of times\n")
        print("\n".join(table(["sampler", "share", "standard error"], jumps.agreement())))
        title = f"jumps a second, {jumps.DIMS} tokens of {jumps.SIZE}, rates that change with time"
        print(f"\n{title}\n")
        print("\n".join(table(["", "median", "least", "most", "over the loop"], jumps.speeds())))
        print("\nmicroseconds at sizes 4, 16, 64, 256, and the power fitted to the last three\n")
        print("\n".join(table(["", "4", "16", "64", "256", "power"], jumps.slopes())))
    if "stochastic" in wanted:
        print("\n" + "\n".join(stochastic.missing()))
        print(f"\nlog Z of {stochastic.RUNS} runs of {stochastic.N} particles\n")
        header = ["sampler", "evaluations", "bias", "RMSE", "compile s"]
        print("\n".join(table(header, stochastic.errors())))
        print("\nlog Z of 1000 paths, trained briefly\n")
        header = ["sampler", "evaluations", "sd log w", "RMSE", "1000 evaluations x RMSE^2"]
        print("\n".join(table(header, stochastic.variances())))
    if "gflownet" in wanted:
        print("\n".join(gflownet.tables()))


if __name__ == "__main__":
    main()

"""Time the library against its peers: `python -m tests.benchmarks [suite ...]`.

What is printed is written to docs/benchmarks.md too; a suite that did not run keeps its section.
"""

import argparse
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from tests.benchmarks import (
    diffusion,
    flows,
    gauge,
    gflownet,
    jumps,
    laws,
    particles,
    stochastic,
    vae,
)
from tests.benchmarks.timing import Race, report, time_race
from tests.claims.claim import table
from tests.page import DOCS, renew

PAGE = DOCS / "benchmarks.md"
HEAD = """\
# Benchmarks

Our calls and the peers' in the same run, by turns, on one thread of one machine: compare the
ratios, not the times. Written by `make bench`; the code is in `tests/benchmarks/`. Each section is
from the last run of its suite."""


def _no_races() -> list[Race]:
    return []


def _no_tables() -> Iterator[str]:
    return iter(())


@dataclass(frozen=True)
class Suite:
    """What is timed in races, and what is measured otherwise: lines, as they come."""

    races: Callable[[], list[Race]] = _no_races
    tables: Callable[[], Iterator[str]] = _no_tables


def flow_tables() -> Iterator[str]:
    yield f"\nheld-out log-likelihood after {flows.SECONDS:.0f} s of training, nats a point\n"
    yield from flows.likelihoods()


def diffusion_tables() -> Iterator[str]:
    if diffusion.smalldiffusion() is None:
        yield "\nsmalldiffusion does not load here and is left out: pip install smalldiffusion"
    yield "\ndistance from diffusers on the same noise, relative to the largest end\n"
    yield from table(["sampler", "steps", "float64", "float32"], diffusion.agreement())


def jump_tables() -> Iterator[str]:
    if jumps.flow_matching() is None:
        yield (
            "\nflow_matching is not installed here and is left out: "
            "pip install --no-deps flow_matching"
        )
    yield "\ntokens still masked half-way, on one grid of times\n"
    yield from table(["sampler", "share", "standard error"], jumps.agreement())
    yield f"\njumps a second, {jumps.DIMS} tokens of {jumps.SIZE}, rates that change with time\n"
    yield from table(["", "median", "least", "most", "over the loop"], jumps.speeds())
    yield "\nmicroseconds at sizes 4, 16, 64, 256, and the power fitted to the last three\n"
    yield from table(["", "4", "16", "64", "256", "power"], jumps.slopes())


def stochastic_tables() -> Iterator[str]:
    yield from ("", *stochastic.missing())
    yield f"\nlog Z of {stochastic.RUNS} runs of {stochastic.N} particles\n"
    header = ["sampler", "evaluations", "bias", "RMSE", "compile s"]
    yield from table(header, stochastic.errors())
    yield "\nlog Z of 1000 paths, trained briefly\n"
    header = ["sampler", "evaluations", "sd log w", "RMSE", "1000 evaluations x RMSE^2"]
    yield from table(header, stochastic.variances())


def gflownet_tables() -> Iterator[str]:
    yield from gflownet.tables()


SUITES = {
    "laws": Suite(laws.races),
    "vae": Suite(vae.races),
    "flows": Suite(flows.races, flow_tables),
    "gauge": Suite(gauge.races),
    "particles": Suite(particles.races),
    "diffusion": Suite(diffusion.races, diffusion_tables),
    "jumps": Suite(jumps.races, jump_tables),
    "stochastic": Suite(stochastic.races, stochastic_tables),
    "gflownet": Suite(tables=gflownet_tables),
}


def lines(suite: Suite) -> Iterator[str]:
    """Everything that a suite has to say."""
    races = suite.races()
    if races:
        yield "microseconds a call over interleaved rounds; ratio to ours: median (quartiles)\n"
        rows = [row for race in races for row in report(race, time_race(race))]
        yield from table(["", "min", "median", "25 %", "75 %", "time / ours"], rows)
    yield from suite.tables()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"some of {', '.join(SUITES)}; all if left out")
    wanted = parser.parse_args().suites or list(SUITES)
    unknown = sorted(set(wanted) - set(SUITES))
    if unknown:
        parser.error(f"unknown suites {unknown}; there are {list(SUITES)}")
    torch.set_num_threads(1)
    place = f"torch {torch.__version__}, python {platform.python_version()}, one thread"
    for name in wanted:
        print(f"== {name}: {place}\n")
        said = []
        for line in lines(SUITES[name]):
            print(line, flush=True)
            said.append(line)
        print()
        renew(PAGE, HEAD, {name: (f"({place})", "\n".join(said))}, SUITES)


if __name__ == "__main__":
    main()

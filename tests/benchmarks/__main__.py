"""Time the library against its peers: `python -m tests.benchmarks`."""

import platform

import torch

from tests.benchmarks import flows, laws, vae
from tests.benchmarks.timing import report, time_race
from tests.claims.claim import table

SUITES = (laws.races, vae.races, flows.races)


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, python {platform.python_version()}, one thread")
    print("microseconds a call over interleaved rounds; ratio to gentoolkit: median (quartiles)\n")
    header = ["", "min", "median", "25 %", "75 %", "time / ours"]
    rows = [row for suite in SUITES for race in suite() for row in report(race, time_race(race))]
    print("\n".join(table(header, rows)))
    print(f"\nheld-out log-likelihood after {flows.SECONDS:.0f} s of training, nats a point\n")
    print("\n".join(flows.likelihoods()))


if __name__ == "__main__":
    main()

"""Boyda et al. 2020: gauge-equivariant flows learn where plain ones fail.

SU(2) links on a periodic 4 x 4 lattice, beta = 1.8. The rival has the same splines, nets, batches
and steps, but moves the links themselves and reads their entries. Then the equivariant flow alone,
of SU(2) on 8 x 8 and of SU(3) on 4 x 4, at the paper's betas.
"""

from dataclasses import dataclass
from time import process_time

import torch
from torch import Tensor

from gentoolkit import elbo, ess, log_z
from gentoolkit.flows import Flow, GaugeCoupling, PlainCoupling, gauge_flow
from gentoolkit.targets import GaugeAction, mean_plaquette
from gentoolkit.train import fit
from tests.claims.claim import Claim

SEEDS, STEPS, BATCH, RATE, DRAWS = range(3), 80, 64, 2e-3, 4000
SIDE, BETA, BINS, CHANNELS = 4, 1.8, 6, (12, 12)
SWEEPS, FASTER, ENOUGH = 2, 1e-2, 100


@dataclass(frozen=True)
class Trained:
    """What weighted draws of a trained flow say; `share` is the ESS over the draws."""

    share: float
    plaquette: float
    error: float
    log_z: float
    elbo: float
    seconds: float
    parameters: int


def train(flow: Flow, target: GaugeAction, seed: int, steps: int, rate: float) -> float:
    """Train by the reverse KL, and return the processor's seconds."""
    generator = torch.Generator().manual_seed(1000 + seed)
    optimizer = torch.optim.Adam(flow.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def loss(n: int) -> Tensor:
        return -elbo(flow.chain().push(n, generator).log_weight(target))

    start = process_time()
    for _ in fit(
        flow, [BATCH] * steps, loss=loss, optimizer=optimizer, schedule=schedule, progress=False
    ):
        pass
    return process_time() - start


def measure(flow: Flow, target: GaugeAction, seconds: float) -> Trained:
    """Weigh fresh draws."""
    generator = torch.Generator().manual_seed(7)
    log_w, seen = [], []
    with torch.no_grad():
        for _ in range(DRAWS // 500):
            paths = flow.chain().push(500, generator)
            log_w.append(paths.log_weight(target).double())
            seen.append(mean_plaquette(paths.states[-1]).double())
    weights, values = torch.cat(log_w), torch.cat(seen)
    share = weights.softmax(0)
    mean = (share * values).sum()
    error = (share * (values - mean)).square().sum().sqrt()
    return Trained(
        float(ess(weights)) / DRAWS,
        float(mean),
        float(error),
        float(log_z(weights)),
        float(elbo(weights)),
        seconds,
        sum(p.numel() for p in flow.parameters()),
    )


def one(
    coupling: type[GaugeCoupling] | type[PlainCoupling],
    seed: int,
    target: GaugeAction,
    sweeps: int = 1,
    steps: int = STEPS,
    rate: float = RATE,
) -> Trained:
    """Train and measure one flow."""
    torch.manual_seed(seed)
    flow = gauge_flow(target.side, target.n, sweeps, BINS, CHANNELS, coupling)
    return measure(flow, target, train(flow, target, seed, steps, rate))


def _row(name: str, run: Trained) -> list[str]:
    return [
        name,
        f"{run.share:.4f}",
        f"{run.plaquette:.4f} ({run.error:.4f})",
        f"{run.log_z:.3f}",
        f"{run.elbo:.3f}",
        str(run.parameters),
        f"{run.seconds:.1f}",
    ]


HEADER = ["flow", "ESS / draws", "plaquette (error)", "log Z", "ELBO", "parameters", "CPU s"]


def run() -> Claim:
    """Train both couplings with every seed on 4 x 4."""
    target = GaugeAction(SIDE, 2, BETA)
    gauge = [one(GaugeCoupling, seed, target) for seed in SEEDS]
    plain = [one(PlainCoupling, seed, target) for seed in SEEDS]
    inside = sum(abs(r.plaquette - target.plaquette) < 3 * r.error for r in gauge)
    worst, best = min(r.share for r in gauge), max(r.share for r in plain)
    off = sum(abs(r.plaquette - target.plaquette) < 3 * r.error for r in plain)
    return Claim(
        system="S27",
        statement="Gauge-equivariant couplings sample where plain ones of equal size do not.",
        setting=(
            f"SU(2), {SIDE} x {SIDE}, beta {BETA}; 8 layers, {BINS} bins, channels {CHANNELS}; "
            f"{STEPS} steps of {BATCH} draws, Adam {RATE:g} with cosine decay, reverse KL; "
            f"{DRAWS} draws; exact plaquette {target.plaquette:.7f}, log Z {target.log_z:.6f}"
        ),
        header=HEADER,
        rows=[
            _row(f"{name}, seed {seed}", r)
            for name, rs in (("equivariant", gauge), ("plain", plain))
            for seed, r in zip(SEEDS, rs, strict=True)
        ],
        conditions=[
            (
                f"every equivariant ESS is above every plain one: {worst:.3f} against {best:.4f}",
                worst > best,
            ),
            (
                f"the equivariant plaquette is within 3 standard errors in {inside} of "
                f"{len(SEEDS)}",
                inside == len(SEEDS),
            ),
        ],
        costs=[f"the plain plaquette is within 3 of its own standard errors in {off}"],
    )


def run_betas() -> Claim:
    """Train the equivariant coupling of SU(2) on 8 x 8 at the paper's three betas, one seed."""
    return _at_betas("S27-betas", 2, 8, (1.8, 2.2, 2.7), 200)


def run_su3() -> Claim:
    """Train the equivariant coupling of SU(3) on 4 x 4 at the paper's three betas, one seed."""
    return _at_betas("S27-su3", 3, 4, (4.0, 5.0, 6.0), 100)


def _at_betas(system: str, n: int, side: int, betas: tuple[float, ...], steps: int) -> Claim:
    targets = [GaugeAction(side, n, beta) for beta in betas]
    runs = [one(GaugeCoupling, 0, t, SWEEPS, steps, FASTER) for t in targets]
    inside = sum(
        abs(r.plaquette - t.plaquette) < 3 * r.error for r, t in zip(runs, targets, strict=True)
    )
    least = min(r.share for r in runs)
    return Claim(
        system=system,
        statement=f"Equivariant couplings sample SU({n}) at the paper's betas, {side} x {side}.",
        setting=(
            f"{8 * SWEEPS} layers, {BINS} bins, channels {CHANNELS}; {steps} steps of {BATCH} "
            f"draws, Adam {FASTER:g} with cosine decay; seed 0; {DRAWS} draws. The paper has "
            "16 x 16 and far longer training, so its effective sizes are not comparable"
        ),
        header=["beta", *HEADER[1:], "exact plaquette", "exact log Z"],
        rows=[
            [*_row(f"{t.beta}", r), f"{t.plaquette:.7f}", f"{t.log_z:.4f}"]
            for r, t in zip(runs, targets, strict=True)
        ],
        conditions=[
            (
                f"the ESS is {ENOUGH} or more, so that errors can be trusted; least "
                f"{least * DRAWS:.0f}",
                least * DRAWS >= ENOUGH,
            ),
            (
                f"the plaquette is within 3 standard errors in {inside} of {len(betas)}",
                inside == len(betas),
            ),
        ],
    )

"""Lu et al. 2022: matching the derivatives of the score gives the ODE a better likelihood.

A mixture on the line; the density of the ODE and the error of the score are computed on grids from
the exact law, not from samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import pi

import torch
from torch import Tensor, nn

from gentoolkit.core import Chain
from gentoolkit.diffusion import (
    Denoiser,
    LinearBeta,
    PredictsNoise,
    ProbabilityFlowMap,
    bound_times,
    high_order_matching,
)
from gentoolkit.nets import ParallelMLP
from gentoolkit.numerics import rk4
from gentoolkit.targets import GaussianMixture
from tests.claims.claim import Claim

SEEDS, BATCH, RATE, CUT = range(3), 256, 4e-3, 1e-3
VP = LinearBeta(0.1, 20.0)
LAW = GaussianMixture(
    torch.tensor([[-1.2], [0.3], [1.5]]), torch.full((3,), 0.25), torch.tensor([0.5, 0.3, 0.2])
)


@dataclass(frozen=True)
class Arm:
    """Weights of the second and third order, and the steps of about equal CPU time."""

    second: float
    third: float
    steps: int


ARMS = {
    "order 1": Arm(0.0, 0.0, 1520),
    "orders 1, 2": Arm(0.5, 0.0, 800),
    "orders 1, 2, 3": Arm(0.5, 0.1, 800),
}


class Nets(nn.Module):
    """A network for each seed; rows (n B, 1) hold the states of net 0 first, then those of 1."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.nets = ParallelMLP(n, 9, 1, (48, 48), nn.Tanh)

    def features(self, x: Tensor, t: Tensor) -> Tensor:
        half = 0.1 * VP.log_snr(t)[:, None].expand_as(x)
        columns = [
            x, (2 * x).sin(), (2 * x).cos(), (4 * x).sin(), (4 * x).cos(), half,
            (pi * half).sin(), (pi * half).cos(), t[:, None].expand_as(x),
        ]  # fmt: skip
        return torch.cat(columns, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        rows = self.features(x, t).unflatten(0, (self.nets.n, -1))
        return self.nets(rows).flatten(0, 1)

    def only(self, i: int, x: Tensor, t: Tensor) -> Tensor:
        """Network `i` alone at rows (B, 1)."""
        return self.nets(self.features(x, t)[None], slice(i, i + 1))[0]


def train(arm: Arm) -> Nets:
    """Train all seeds of an arm side by side."""
    torch.manual_seed(0)
    model = Nets(len(SEEDS))
    denoiser = Denoiser(model, VP, PredictsNoise())
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    rows = BATCH * len(SEEDS)
    for step in range(arm.steps):
        optimizer.param_groups[0]["lr"] = RATE * 0.03 ** (step / arm.steps)
        x = LAW.sample(rows, generator)
        t, _ = bound_times(VP, rows, CUT, generator)
        loss = high_order_matching(denoiser, x, t, generator, second=arm.second, third=arm.third)
        optimizer.zero_grad()
        (loss.sum() / BATCH).backward()
        optimizer.step()
    return model


@torch.no_grad()
def measure(
    only: Callable[[Tensor, Tensor], Tensor], steps: int = 150
) -> tuple[float, float, float]:
    """KL of the ODE's density, its mass on the grid, and the weighted error of the score."""
    net = lambda x, t: only(x, t.to(x)).to(x)  # noqa: E731
    grid = torch.linspace(-3.2, 3.2, 1201)[:, None]
    u = torch.linspace(1.0, CUT**0.5, steps + 1, dtype=torch.float64)
    flow = ProbabilityFlowMap(Denoiser(net, VP, PredictsNoise()), u**2, rk4)
    density = Chain(VP.source((1,)), [flow]).log_prob(grid)
    a, s = (float(v) for v in VP.levels(torch.tensor(CUT).double()))
    truth = LAW.noised(a, s).log_prob(grid)
    kl = torch.trapezoid(truth.exp() * (truth - density), grid[:, 0])
    mass = torch.trapezoid(density.exp(), grid[:, 0])
    ends = VP.log_snr(torch.tensor([CUT, 1.0]).double()).tolist()
    log_snr = torch.linspace(*ends, 121, dtype=torch.float64)
    errors = []
    wide = torch.linspace(-6, 6, 1201)[:, None]
    for t in VP.time_of(log_snr).tolist():
        a, s = (float(v) for v in VP.levels(torch.tensor(t).double()))
        law = LAW.noised(a, s)
        off = net(wide, torch.full((len(wide),), t)) + s * law.score(wide)
        errors.append(float(torch.trapezoid(law.log_prob(wide).exp() * off[:, 0] ** 2, wide[:, 0])))
    score = 0.5 * float(torch.trapezoid(torch.tensor(errors).double(), -log_snr))
    return float(kl), float(mass), score


def run() -> Claim:
    """Train the arms and measure each seed."""
    found = {}
    for name, arm in ARMS.items():
        model = train(arm)
        found[name] = [measure(partial(model.only, i)) for i in SEEDS]
    first, second, third = found.values()
    better = sum(b[0] < a[0] for a, b in zip(first, second, strict=True))
    best = sum(c[0] < a[0] for a, c in zip(first, third, strict=True))
    again = sum(c[0] < b[0] for b, c in zip(second, third, strict=True))
    worse = sum(b[2] > a[2] for a, b in zip(first, second, strict=True))
    inside = min(row[1] for rows in found.values() for row in rows)
    return Claim(
        system="S14",
        statement="Matching derivatives of the score improves the likelihood of the ODE.",
        setting=(
            f"three Gaussians on the line, 9-48-48-1 tanh, batches of {BATCH}, rate {RATE:g} to "
            f"3 %; weights 0.5 and 0.1 of orders 2 and 3; seeds 0..{len(SEEDS) - 1}; KL of the "
            "ODE's density on a grid, error of the score integrated over time"
        ),
        header=["arm", "steps", "seed", "KL of ODE", "mass", "error of score"],
        rows=[
            [name, str(ARMS[name].steps), str(i), f"{kl:.4f}", f"{mass:.3f}", f"{error:.4f}"]
            for name, rows in found.items()
            for i, (kl, mass, error) in enumerate(rows)
        ],
        conditions=[
            (f"orders 1, 2 have a lower KL than order 1 in {better} of 3 seeds", better == 3),
            (f"orders 1, 2, 3 have a lower KL than order 1 in {best} of 3 seeds", best == 3),
            (f"the mass on the grid is at least {inside:.3f}, above 0.95", inside > 0.95),
        ],
        costs=[
            f"the error of the score is larger with orders 1, 2 in {worse} of 3 seeds",
            f"order 3 on top lowers the KL in {again} of 3 seeds",
        ],
    )

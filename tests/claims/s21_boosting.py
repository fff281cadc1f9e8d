"""Giaquinto and Banerjee 2020: a mixture of flows, grown one at a time, beats one flow.

A ring of eight Gaussians, whose density is known: the metric is KL(p || G) itself. Boosting gets
the same number of layer-steps as its rivals: one component trained for all the steps, a deeper
flow, and a mixture trained jointly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gentoolkit.flows import (
    ActNorm,
    AffineCoupling,
    Flow,
    FlowMixture,
    alternating_mask,
    best_weight,
    boosted_loss,
    weighted_loss,
)
from gentoolkit.train import fit
from tests.claims.claim import Claim
from tests.claims.s19_layers import ring

SEEDS, BATCH, RATE, CLIP, HIDDEN, POINTS, SEARCH = range(3), 256, 5e-3, 5.0, 32, 4000, 4000


@dataclass(frozen=True)
class Design:
    """Couplings of a component, number of components, and steps for each."""

    couplings: int
    components: int
    steps: int


DESIGNS = {"A": Design(2, 4, 150), "B": Design(4, 4, 200), "C": Design(0, 8, 150)}
ROUTES = ("single, all steps", "deep", "weighted boosting", "direct boosting", "joint mixture")


def component(couplings: int, place: Tensor) -> Flow:
    """Couplings and a diagonal affine layer that starts at a data point."""
    last = ActNorm(2)
    with torch.no_grad():
        last.shift.copy_(place)
    layers = [AffineCoupling(2, alternating_mask(2, k), (HIDDEN, HIDDEN)) for k in range(couplings)]
    return Flow([*layers, last], 2)


@dataclass
class Race:
    """One seed: its data, and what each route makes of them."""

    design: Design
    seed: int

    def __post_init__(self) -> None:
        self.target = ring()
        self.generator = torch.Generator().manual_seed(1000 + self.seed)
        self.test = self.target.sample(POINTS, torch.Generator().manual_seed(7))
        torch.manual_seed(self.seed)

    def new(self, couplings: int | None = None) -> Flow:
        """Make a component at a random data point."""
        place = self.target.sample(1, self.generator)[0]
        return component(self.design.couplings if couplings is None else couplings, place)

    def train(
        self, model: nn.Module, steps: int, loss: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """Train for some steps on fresh batches."""
        optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        data = (self.target.sample(BATCH, self.generator) for _ in range(steps))
        for _ in fit(
            model, data, loss=loss, optimizer=optimizer, schedule=schedule, clip=CLIP,
            progress=False,
        ):  # fmt: skip
            pass

    def kl(self, model: Flow | FlowMixture) -> float:
        """Return KL(p || model) on fresh points."""
        with torch.no_grad():
            gap = self.target.log_prob(self.test) - self.target.log_z - model.log_prob(self.test)
        return float(gap.mean())

    def boosted(self, direct: bool) -> list[float]:
        """Grow a mixture, and return KL after each component."""
        flow = self.new()
        self.train(flow, self.design.steps)
        mixture = FlowMixture([flow])
        path = [self.kl(mixture)]
        for count in range(2, self.design.components + 1):
            flow = self.new()
            loss = (
                boosted_loss(flow, mixture, 1.0 / count) if direct else weighted_loss(flow, mixture)
            )
            self.train(flow, self.design.steps, loss)
            x = self.target.sample(SEARCH, self.generator)  # r is not fitted to the batches of g
            with torch.no_grad():
                r = best_weight(mixture.log_prob(x), flow.log_prob(x))
            mixture = mixture.extended(flow, r)
            path.append(self.kl(mixture))
        return path

    def run(self, route: str) -> list[float]:
        """Return KL at the end of a route; of boosting, after each component."""
        design = self.design
        if "boosting" in route:
            return self.boosted(route.startswith("direct"))
        if route.startswith("joint"):
            mixture = FlowMixture([self.new() for _ in range(design.components)])
            self.train(mixture, design.steps)
            return [self.kl(mixture)]
        deep = route == "deep"
        flow = self.new(design.couplings * design.components if deep else None)
        self.train(flow, design.steps if deep else design.steps * design.components)
        return [self.kl(flow)]


def run() -> Claim:
    """Run every route of every design with every seed."""
    rows, paths = [], {}
    for name, design in DESIGNS.items():
        for route in ROUTES:
            if route == "deep" and not design.couplings:
                continue
            runs = [Race(design, seed).run(route) for seed in SEEDS]
            paths[name, route] = runs
            first = [f"{p[0]:.3f}" if len(p) > 1 else "" for p in runs]
            rows.append([f"{name}  {route}", *(f"{p[-1]:.3f}" for p in runs), " ".join(first)])
    total = len(DESIGNS) * len(SEEDS)

    def wins(route: str, rival: str) -> int:
        pairs = (zip(paths[n, route], paths[n, rival], strict=True) for n in DESIGNS)
        return sum(a[-1] < b[-1] for pair in pairs for a, b in pair)

    weighted = wins("weighted boosting", "single, all steps")
    direct = wins("direct boosting", "single, all steps")
    boosts = [p for (_, route), runs in paths.items() if "boosting" in route for p in runs]
    grown = sum(p[-1] < p[0] + 1e-9 for p in boosts)
    best = wins("joint mixture", "direct boosting")
    return Claim(
        system="S21",
        statement="A mixture of flows grown by boosting beats one flow of equal budget.",
        setting=(
            "ring of 8 Gaussians, radius 2.5, deviation 0.3; couplings a component, components, "
            f"steps each: {', '.join(f'{k} {d.couplings}, {d.components}, {d.steps}' for k, d in DESIGNS.items())}; "  # noqa: E501
            f"batch {BATCH}, Adam {RATE:g} with cosine decay, seeds {SEEDS[0]}..{SEEDS[-1]}; "
            f"KL(p || G) in nats on {POINTS} points; last column: after the first component"
        ),
        header=["design and route", *(f"seed {seed}" for seed in SEEDS), "first component"],
        rows=rows,
        conditions=[
            (f"weighted boosting below the single flow in {weighted} of {total}", weighted == total)
        ],
        costs=[
            f"direct boosting below the single flow in {direct} of {total}",
            f"the joint mixture below direct boosting in {best} of {total}",
            f"boosting ends no higher than its own first component in {grown} of {len(boosts)}",
        ],
    )

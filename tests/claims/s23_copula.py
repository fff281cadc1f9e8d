"""Laszkiewicz, Lederer, Fischer 2021: a source with the right tails trains better and steadier.

Two numbers with t_2 marginals under a Gumbel copula, and one small autoregressive flow from four
sources. All seeds of a source train at once, as one batch of networks that share nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import e, log

import torch
from torch import Tensor

from gentoolkit.flows import (
    CopulaSource,
    Flow,
    GumbelCopula,
    LaplaceMarginal,
    MaskedAutoregressive,
    NormalMarginal,
    StudentMarginal,
)
from gentoolkit.nets import MADE
from tests.claims.claim import Claim

SEEDS, STEPS, BATCH, RATE, HIDDEN, LAYERS = range(8), 1500, 128, 2e-3, 4, 3
TRAIN, TEST, THETA, DEGREES, FLOOR = 10_000, 20_000, 2.5, 2.0, 3.358575

SOURCES: dict[str, Callable[[], CopulaSource]] = {
    "normal": lambda: CopulaSource([NormalMarginal(), NormalMarginal()]),
    "heavier tails": lambda: CopulaSource(
        [LaplaceMarginal(scale=4.0), StudentMarginal(5.0, scale=2.0)]
    ),
    "correct family": lambda: CopulaSource([StudentMarginal(5.0), StudentMarginal(5.0)]),
    "exact marginals": lambda: CopulaSource([StudentMarginal(2.0), StudentMarginal(2.0)]),
}


class SoftplusAutoregressive(MaskedAutoregressive):
    """The paper's layer: `x_i = y_i s(y_<i) + m(y_<i)`, s = softplus(raw + log(e - 1)) + 0.001."""

    def __init__(self, features: int, hidden: Sequence[int], order: Sequence[int]) -> None:
        super().__init__(MADE(features, 2, hidden, order=order))

    def _shift_and_scale(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = parameters.unbind(-1)
        return shift, torch.nn.functional.softplus(raw + log(e - 1.0)) + 1e-3

    def score(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return `y s + m` and `-log s`."""
        shift, scale = self._shift_and_scale(parameters)
        return y * scale + shift, -scale.log()

    def draw(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(x - m) / s` and `-log s`."""
        shift, scale = self._shift_and_scale(parameters)
        return (x - shift) / scale, -scale.log()


def target() -> CopulaSource:
    """Heavy tails whose large values come together."""
    return CopulaSource([StudentMarginal(DEGREES)] * 2, GumbelCopula(THETA))


def flow(source: str, seed: int) -> Flow:
    """One small flow, its start a function of the seed alone."""
    torch.manual_seed(seed)
    orders = [(0, 1) if k % 2 == 0 else (1, 0) for k in range(LAYERS)]
    layers = [SoftplusAutoregressive(2, (HIDDEN,), order) for order in orders]
    return Flow(layers, 2, SOURCES[source]())


@dataclass(frozen=True)
class Data:
    """Training points, test points and the true loss on the latter."""

    train: Tensor
    test: Tensor
    floor: float


def data(train: int = TRAIN, test: int = TEST) -> Data:
    """Return one data set for every source and seed."""
    law = target()
    points = law.sample(train, torch.Generator().manual_seed(100))
    held_out = law.sample(test, torch.Generator().manual_seed(200))
    return Data(points, held_out, float(-law.log_prob(held_out).mean()))


def gaps(source: str, points: Data, steps: int = STEPS, seeds: Sequence[int] = SEEDS) -> Tensor:
    """Train a flow for each seed, and return test loss minus the true loss, (seeds,)."""
    flows = [flow(source, seed) for seed in seeds]
    parameters, buffers = torch.func.stack_module_state(flows)
    fixed = {name: buffer[0] for name, buffer in buffers.items()}
    state = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}

    def loss(parameters: dict[str, Tensor], batch: Tensor) -> Tensor:
        held = (parameters, fixed)
        return torch.func.functional_call(_Loss(flows[0]), _prefixed(held), (batch,))

    each = torch.func.vmap(loss)
    whole = torch.func.vmap(loss, in_dims=(0, None))
    optimizer = torch.optim.Adam(list(state.values()), RATE, fused=True)
    generators = [torch.Generator().manual_seed(1000 + seed) for seed in seeds]
    for _ in range(steps):
        drawn = [torch.randint(len(points.train), (BATCH,), generator=g) for g in generators]
        optimizer.zero_grad(set_to_none=True)
        each(
            state, points.train[torch.stack(drawn)]
        ).sum().backward()  # Adam moves each network by itself
        optimizer.step()
    with torch.no_grad():
        return whole(state, points.test) - points.floor


class _Loss(torch.nn.Module):
    """A flow's loss behind `forward`, where `functional_call` looks for it."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, batch: Tensor) -> Tensor:
        return -self.flow.log_prob(batch).mean()


def _prefixed(held: tuple[dict[str, Tensor], ...]) -> dict[str, Tensor]:
    return {f"flow.{name}": value for part in held for name, value in part.items()}


def run() -> Claim:
    """Train every source with every seed."""
    points = data()
    results = {name: gaps(name, points).double() for name in SOURCES}
    normal, heavier, family, exact = (g.nan_to_num(nan=torch.inf) for g in results.values())
    middle = [float(g.quantile(0.5)) for g in (normal, heavier, family, exact)]
    worse = int((normal > heavier).sum())
    n = len(SEEDS)
    wide = [float(g.quantile(0.75) - g.quantile(0.25)) for g in (normal, heavier)]
    return Claim(
        system="S23",
        statement="A source with the right tails fits a heavy-tailed target better and steadier.",
        setting=(
            f"t_{DEGREES:g} marginals, Gumbel copula {THETA}; {LAYERS} affine autoregressive "
            f"layers of width {HIDDEN}, {STEPS} steps of batch {BATCH} from {TRAIN} points, Adam "
            f"{RATE:g}, seeds {SEEDS[0]}..{SEEDS[-1]}; test loss on {TEST} shared points less the "
            f"true loss there ({points.floor:.4f}; expected {FLOOR:.4f}), nats"
        ),
        header=["source", *(f"seed {seed}" for seed in SEEDS), "median", "above 1"],
        rows=[
            [name, *(f"{v:.3g}" for v in g.tolist()), f"{float(g.quantile(0.5)):.3g}"]
            + [str(int((~(g <= 1.0)).sum()))]
            for name, g in results.items()
        ],
        conditions=[
            (
                f"medians fall: exact {middle[3]:.3g} < family {middle[2]:.3g} < normal "
                f"{middle[0]:.3g}",
                middle[3] < middle[2] < middle[0],
            ),
            (f"heavier tails {middle[1]:.3g} below normal", middle[1] < middle[0]),
            (
                f"the spread of normal (interquartile {wide[0]:.3g}) is ten times that of heavier "
                f"tails ({wide[1]:.3g})",
                wide[0] > 10 * wide[1],
            ),
        ],
        costs=[f"normal is worse than heavier tails in {worse} of {n} seeds"],
    )

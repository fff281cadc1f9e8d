"""Liao and He 2021: bounding a coupling's scale keeps deep flows stable in training.

A thin spiral sheet in four dimensions forces a large condition number on any flow that fits it.
The seeds of one clamp train together as a batch of networks; a seed that diverges stays so.
"""

from dataclasses import dataclass
from math import inf, pi

import torch
from torch import Tensor, nn

from gentoolkit.core import Composite
from gentoolkit.flows import AffineCoupling, Flow, alternating_mask
from tests.claims.claim import Claim

CLAMPS = (inf, 3.0, 1.0, 0.3)
SEEDS, FEATURES, HIDDEN, BATCH = 8, 4, (32, 32), 128
SPIKE, SETTLED = 100.0, 50


@dataclass(frozen=True)
class Setting:
    """Depth, step size, deviation of all weights at the start, noise of the data."""

    layers: int = 16
    rate: float = 2e-2
    start: float = 0.02
    noise: float = 0.003
    steps: int = 250


DEEP = Setting()
SHALLOW = Setting(layers=6, rate=5e-3, noise=0.03, steps=200)


def sheet(n: int, noise: float, generator: torch.Generator) -> Tensor:
    """A rolled sheet (a spiral times a line) in three of four dimensions, turned, with noise."""
    turn = 1.0 + 3.0 * torch.rand(n, generator=generator)  # half turns
    wide = 2.0 * torch.rand(n, generator=generator) - 1.0
    angle = pi * turn
    flat = torch.stack([turn * angle.cos() / 2, turn * angle.sin() / 2, wide, torch.zeros(n)], 1)
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(77))).Q
    return flat @ basis.T + noise * torch.randn(n, 4, generator=generator)


class Account(nn.Module):
    """A flow of couplings as a function of its parameters and rows, for `torch.func`."""

    def __init__(self, clamp: float, layers: int) -> None:
        super().__init__()
        # c tanh(r / c) is r itself, to float32's precision, at so large a c.
        largest = clamp if clamp < inf else 1e6
        self.flow = Flow(
            [
                AffineCoupling(FEATURES, alternating_mask(FEATURES, k), HIDDEN, largest=largest)
                for k in range(layers)
            ],
            FEATURES,
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states at the source, and minus the log-likelihood of each row."""
        path = self.flow.chain().pull(x)
        return path.states[0], -path.log_evidence()


@dataclass(frozen=True)
class Runs:
    """The seeds of one clamp: NaN where a run was lost."""

    clamp: float
    losses: Tensor  # (steps, seeds)
    test: Tensor  # (seeds,)
    inverse_error: Tensor  # (seeds,), float32
    condition: Tensor  # (seeds,), median over test points

    @property
    def lost(self) -> int:
        return int((~self.test.isfinite()).sum())

    @property
    def spikes(self) -> int:
        return int((~(self.losses[SETTLED:] < SPIKE)).any(0).sum())

    @property
    def failed(self) -> int:
        return int((~self.test.isfinite() | ~(self.losses[SETTLED:] < SPIKE).all(0)).sum())

    @property
    def median(self) -> float:
        """Of all seeds, a lost run counting as infinite: lost seeds stay in the account."""
        return float(self.test.nan_to_num(inf, inf).median())


def train(clamp: float, setting: Setting = DEEP) -> Runs:
    """Train all seeds of one clamp; the start, the batches and the steps are those of any clamp."""
    torch.manual_seed(0)
    stacks = [Account(clamp, setting.layers) for _ in range(SEEDS)]
    for stack in stacks:
        for layer in stack.flow.layers:
            assert isinstance(layer, AffineCoupling)
            for part in layer.net:
                if isinstance(part, nn.Linear):
                    nn.init.normal_(part.weight, std=setting.start)
                    nn.init.zeros_(part.bias)
    state, buffers = torch.func.stack_module_state(stacks)  # pyright: ignore[reportArgumentType]
    shape, fixed = stacks[0], {name: buffer[0] for name, buffer in buffers.items()}

    def score(parameters: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.functional_call(shape, (parameters, fixed), (x,))

    together = torch.func.vmap(score)
    optimizer = torch.optim.Adam(state.values(), setting.rate)
    generator, losses = torch.Generator().manual_seed(1), []
    for _ in range(setting.steps):
        x = sheet(SEEDS * BATCH, setting.noise, generator).reshape(SEEDS, BATCH, FEATURES)
        each = together(state, x)[1].mean(1)
        optimizer.zero_grad()
        # Each network's gradient is its own: the NaN of one does not reach another.
        each.sum().backward()
        optimizer.step()
        losses.append(each.detach())
    shown = sheet(1000, setting.noise, torch.Generator().manual_seed(2))
    return _measure(clamp, shape, state, torch.stack(losses), shown)


def _measure(
    clamp: float, shape: Account, state: dict[str, Tensor], losses: Tensor, x: Tensor
) -> Runs:
    test, errors, conditions = [], [], []

    def there_and_back(x: Tensor) -> tuple[Tensor, Tensor]:
        z, loss = shape(x)
        return Composite(shape.flow.chain().steps).push(z)[0], loss

    for seed in range(SEEDS):
        with torch.no_grad():
            for name, parameter in shape.named_parameters():
                parameter.copy_(state[name][seed])
            # Inside vmap nothing is read, so that a lost run gives NaN and no error.
            back, loss = torch.func.vmap(there_and_back)(x[None])
            errors.append((back[0] - x).abs().max())
            test.append(loss.mean())
        jacobian = torch.func.vmap(torch.func.jacrev(lambda row: shape(row[None])[0][0]))(x[:100])
        conditions.append(_condition(jacobian.detach()))
    return Runs(clamp, losses, torch.stack(test), torch.stack(errors), torch.stack(conditions))


def _condition(jacobians: Tensor) -> Tensor:
    if not bool(jacobians.isfinite().all()):
        return torch.tensor(float("nan"))
    singular = torch.linalg.svdvals(jacobians.double())
    return (singular[:, 0] / singular[:, -1]).median().float()


def run() -> Claim:
    """Train every clamp in the deep setting, and two in a shallow one where nothing happens."""
    runs = [train(clamp) for clamp in CLAMPS]
    shallow = [train(clamp, SHALLOW) for clamp in (inf, 0.3)]
    free, *clamped = runs
    finite = free.test[free.test.isfinite()]
    reached = f"{float(finite.median()):.2f}" if len(finite) else "none"
    return Claim(
        system="S25",
        statement="Bounding the couplings' log-scale keeps deep flows stable, at no cost in loss.",
        setting=(
            f"spiral sheet in R^4; {DEEP}; controls {SHALLOW}; hidden {HIDDEN}, batch {BATCH}, "
            f"Adam, no gradient clipping, {SEEDS} seeds; a spike is a loss above {SPIKE:g} or NaN "
            f"after step {SETTLED}; medians count lost runs as infinite"
        ),
        header=[
            "layers, clamp",
            "lost",
            "spikes",
            "test loss: median",
            "least",
            "greatest finite",
            "worst inverse error",
            "median condition",
        ],
        rows=[
            [f"{layers}, c = {r.clamp:g}", *_row(r)]
            for layers, rs in ((DEEP.layers, runs), (SHALLOW.layers, shallow))
            for r in rs
        ],
        conditions=[
            condition
            for r in clamped
            for condition in (
                (
                    f"c = {r.clamp:g} loses {r.lost} of {SEEDS} runs, unclamped {free.lost}",
                    r.lost < free.lost,
                ),
                (
                    f"c = {r.clamp:g} has {r.failed} of {SEEDS} runs lost or spiked, unclamped "
                    f"{free.failed}",
                    r.failed < free.failed,
                ),
                (
                    f"c = {r.clamp:g} has median loss {r.median:.3g}, unclamped {free.median:.3g}",
                    r.median <= free.median,
                ),
            )
        ],
        costs=[
            f"the {len(finite)} finite unclamped runs have median loss {reached}",
            f"at {SHALLOW.layers} layers nothing happens: lost {[r.lost for r in shallow]}, "
            f"medians {shallow[0].median:.2f} unclamped and {shallow[1].median:.2f} at c = 0.3",
            "no run is near convergence: this compares stability, not final likelihood",
        ],
    )


def _row(r: Runs) -> list[str]:
    finite = r.test[r.test.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (inf, inf)
    return [
        str(r.lost),
        str(r.spikes),
        f"{r.median:.3g}",
        f"{low:.3g}",
        f"{high:.3g}",
        f"{float(r.inverse_error.max()):.1g}",
        f"{float(r.condition.nanmedian()):.0f}",
    ]

"""Flows against zuko, normflows and nflows: training step, density, sampling, likelihood.

Equal architecture everywhere: affine couplings (8 layers, D = 2), spline couplings (4 layers, 8
bins, box [-5, 5], D = 8) and masked affine autoregression (5 layers, D = 8), every net with two
hidden layers of 64 ReLU units, batch 256, Adam. Each library builds its own nets, so the masks and
the parametrisation of scales are its own.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import nflows.distributions
import nflows.flows
import nflows.transforms
import normflows as nf
import torch
import zuko
from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform
from torch import Tensor, nn

from gentoolkit.data import batches, pinwheel, two_moons
from gentoolkit.flows import maf, real_nvp, spline_flow
from gentoolkit.nets import MLP
from gentoolkit.targets import eight_gaussians
from tests.benchmarks.timing import Race
from tests.claims.claim import table

HIDDEN, BATCH, BINS, BOUND = 64, 256, 8, 5.0
SECONDS, TEST = 4.0, 4000


class Contestant(Protocol):
    """One flow of one library."""

    name: str
    module: nn.Module

    def log_prob(self, x: Tensor) -> Tensor: ...

    def sample(self, n: int) -> Tensor: ...


class Peer:
    """A contestant made of two functions and the module that holds the parameters."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        log_prob: Callable[[Tensor], Tensor],
        sample: Callable[[int], Tensor],
    ) -> None:
        self.name, self.module = name, module
        self.log_prob, self.sample = log_prob, sample


def _zuko(flow: nn.Module) -> Peer:
    return Peer("zuko", flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def _normflows(layers: list[nn.Module], features: int) -> Peer:
    model = nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), layers)
    return Peer("normflows", model, model.log_prob, lambda n: model.sample(n)[0])


def _nflows(layers: list[nn.Module], features: int) -> Peer:
    transform = nflows.transforms.CompositeTransform(layers)
    base = nflows.distributions.StandardNormal([features])
    model = nflows.flows.Flow(transform, base)
    return Peer("nflows", model, model.log_prob, model.sample)


class Net(nn.Module):
    """The couplings' net; takes and ignores a context, as normflows and nflows call it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.net = MLP(inputs, outputs, (HIDDEN, HIDDEN), nn.ReLU)
        self.hidden_features = HIDDEN  # read by both libraries to scale the first splines

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)


def _halves(features: int, layers: int) -> list[Tensor]:
    first = torch.arange(features) < features // 2
    return [first if i % 2 else ~first for i in range(layers)]


def couplings(features: int, layers: int = 8) -> list[Contestant]:
    """Affine couplings."""
    half = features // 2
    blocks: list[nn.Module] = []
    for _ in range(layers):
        net = nf.nets.MLP([half, HIDDEN, HIDDEN, 2 * (features - half)], init_zeros=True)
        blocks += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(features, mode="swap")]
    coupled = [
        nflows.transforms.AffineCouplingTransform(mask, Net) for mask in _halves(features, layers)
    ]
    own = real_nvp(features, layers, (HIDDEN, HIDDEN), activation=nn.ReLU)
    return [
        Peer("gentoolkit", own, own.log_prob, own.sample),
        _zuko(zuko.flows.RealNVP(features, transforms=layers, hidden_features=(HIDDEN, HIDDEN))),
        _normflows(blocks, features),
        _nflows(coupled, features),
    ]


def splines(features: int, layers: int = 4) -> list[Contestant]:
    """Rational-quadratic spline couplings."""
    kinds = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
    theirs = nf.flows.neural_spline.coupling.PiecewiseRationalQuadraticCoupling
    blocks = [theirs(mask, Net, **kinds) for mask in _halves(features, layers)]
    coupled = [
        nflows.transforms.PiecewiseRationalQuadraticCouplingTransform(mask, Net, **kinds)
        for mask in _halves(features, layers)
    ]
    own = spline_flow(features, layers, BINS, BOUND, (HIDDEN, HIDDEN), activation=nn.ReLU)
    peer = zuko.flows.NSF(
        features, transforms=layers, bins=BINS, passes=2, hidden_features=(HIDDEN, HIDDEN)
    )
    return [
        Peer("gentoolkit", own, own.log_prob, own.sample),
        _zuko(peer),
        _normflows([_Wrapped(block) for block in blocks], features),
        _nflows(coupled, features),
    ]


class _Wrapped(nf.flows.Flow):
    """Turns normflows's own spline coupling into its own flow, as its wrapper class does."""

    def __init__(self, coupling: nn.Module) -> None:
        super().__init__()
        self.coupling = coupling

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.coupling.inverse(z)
        return z, log_det.view(-1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.coupling(z)
        return z, log_det.view(-1)


def autoregressive(features: int, layers: int = 5) -> list[Contestant]:
    """Masked affine autoregression, orders turned round from layer to layer."""
    blocks: list[nn.Module] = []
    composed: list[nn.Module] = []
    for _ in range(layers):
        masked = nf.flows.MaskedAffineAutoregressive(
            features, HIDDEN, num_blocks=1, use_residual_blocks=False
        )
        # normflows samples in one pass and scores in D; turned round it is the same MAF as ours.
        blocks += [nf.flows.Reverse(masked), nf.flows.Permute(features, mode="swap")]
        composed += [
            MaskedAffineAutoregressiveTransform(
                features, HIDDEN, num_blocks=1, use_residual_blocks=False
            ),
            nflows.transforms.ReversePermutation(features),
        ]
    own = maf(features, layers, (HIDDEN, HIDDEN))
    return [
        Peer("gentoolkit", own, own.log_prob, own.sample),
        _zuko(zuko.flows.MAF(features, transforms=layers, hidden_features=(HIDDEN, HIDDEN))),
        _normflows(blocks, features),
        _nflows(composed, features),
    ]


FAMILIES: dict[str, tuple[Callable[[int], list[Contestant]], int]] = {
    "RealNVP, D=2": (couplings, 2),
    "spline coupling, D=8": (splines, 8),
    "MAF, D=8": (autoregressive, 8),
}


def _step(c: Contestant, lr: float = 1e-3) -> Callable[[Tensor], Tensor]:
    optimizer = torch.optim.Adam(c.module.parameters(), lr)

    def step(x: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = -c.log_prob(x).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def _quietly(call: Callable[[], object]) -> Callable[[], object]:
    def run():
        with torch.no_grad():
            return call()

    return run


def races() -> list[Race]:
    """Three families, three jobs each, on one batch."""
    found = []
    for title, (build, features) in FAMILIES.items():
        torch.manual_seed(0)
        x = torch.randn(BATCH, features)
        jobs: dict[str, list[tuple[str, Callable[[], object]]]] = {
            "training step": [],
            "density": [],
            "sampling": [],
        }
        for c in build(features):
            step = _step(c)
            jobs["training step"].append((c.name, lambda step=step, x=x: step(x)))
            jobs["density"].append((c.name, _quietly(lambda c=c, x=x: c.log_prob(x))))
            jobs["sampling"].append((c.name, _quietly(lambda c=c: c.sample(BATCH))))
        found += [
            Race(f"{title}, {job}", row, rounds=15, seconds_a_turn=0.05)
            for job, row in jobs.items()
        ]
    return found


TOYS: dict[str, Callable[[int], Tensor]] = {
    "eight Gaussians": lambda n: eight_gaussians().sample(n),
    "two moons": two_moons,
    "pinwheel": pinwheel,
}


def likelihoods(seconds: float = SECONDS) -> list[str]:
    """Held-out log-likelihood after equal wall time, nats a point; each library by itself."""
    rows = []
    for title, (build, _) in FAMILIES.items():
        for toy, draw in TOYS.items():
            torch.manual_seed(0)
            train, test = draw(20_000), draw(TEST)
            row = [f"{title.split(',')[0]}, D=2", toy]
            for c in build(2):
                row.append(_trained(c, train, test, seconds))
            rows.append(row)
    header = ["flow", "toy", "gentoolkit", "zuko", "normflows", "nflows"]
    return table(header, rows)


def _trained(c: Contestant, train: Tensor, test: Tensor, seconds: float) -> str:
    torch.manual_seed(1)
    step, steps = _step(c, lr=3e-3), 0
    begin = perf_counter()
    for x in batches(train, BATCH, 1_000_000):
        step(x)
        steps += 1
        if perf_counter() - begin > seconds:
            break
    with torch.no_grad():
        return f"{float(c.log_prob(test).mean()):.3f} ({steps} steps)"

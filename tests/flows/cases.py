"""What the shared laws run on: layers and flows."""

from collections.abc import Callable

import torch

from gentoolkit.flows import (
    ActNorm,
    AffineAutoregressive,
    AffineCoupling,
    Aggregation,
    ArgmaxTypes,
    ContinuousFlow,
    ConvCoupling,
    CopulaSource,
    Flow,
    FlowMixture,
    GaugeCoupling,
    GaussianCopula,
    GaussianTwist,
    GumbelCopula,
    InverseAutoregressive,
    Inverted,
    InvertibleConv1x1,
    LaplaceMarginal,
    Layer,
    LeakySoftplus,
    LipschitzMLP,
    LULinear,
    MoleculeFlow,
    NormalMarginal,
    Permute,
    PlainCoupling,
    Planar,
    Radial,
    Residual,
    SelfNormal,
    SpectralFlow,
    SplineAutoregressive,
    SplineCoupling,
    Split,
    Squeeze,
    StudentCopula,
    StudentMarginal,
    Translation,
    Unpaired,
    Velocity,
    ZeroMeanGaussian,
    align_flow,
    flow_tree,
    gauge_flow,
    glow,
    iaf,
    maf,
    particle_flow,
    real_nvp,
    residual_flow,
    self_normalizing_flow,
    spline_flow,
)
from gentoolkit.numerics import FixedStep, haar, rk4, without_mean
from tests.flows.subspace import InCoordinates
from tests.laws.kinds import Bijections, Densities, Models, Steps, perturbed


def self_normal(dtype: torch.dtype) -> SelfNormal:
    """A dense layer whose R is far from the inverse: the exact account must not feel it."""
    torch.manual_seed(5)
    weight = torch.eye(3, dtype=dtype) + 0.3 * torch.randn(3, 3, dtype=dtype)
    return SelfNormal(weight, torch.eye(3, dtype=dtype))


def _level(dtype: torch.dtype) -> Aggregation:
    """The lower level of a tree with two inner nodes, of three leaves and of one."""
    torch.manual_seed(7)
    tree = flow_tree([None, 0, 0, 1, 2, 1, 1], 2, 2, (8,))
    perturbed(tree, 0.3).to(dtype)
    step = tree.chain().steps[1]
    assert isinstance(step, Aggregation)
    return step


def particles(steps: int = 3, features: int = 0, scale: float = 0.2) -> torch.nn.Module:
    """A flow of three particles in the plane."""
    torch.manual_seed(6)
    solver = FixedStep(rk4, steps)
    return perturbed(particle_flow(3, 2, features, 6, solver=solver), scale)


def centred(n: int, features: int = 0, dtype: torch.dtype | None = None) -> torch.Tensor:
    """States of three particles in the plane, with mean position zero."""
    return without_mean(2 * torch.randn(n, 3, 2 + features, dtype=dtype), 2)


def typed(n: int) -> torch.Tensor:
    """Three particles of two types."""
    kind = torch.nn.functional.one_hot(torch.randint(2, (n, 3)), 2)
    return torch.cat([centred(n), kind.to(torch.get_default_dtype())], -1)


STEPS: Steps = {
    "particle layer": lambda d: (particles(40).layers[0].to(d), centred(16, dtype=d)),
    "argmax types": lambda d: (perturbed(ArgmaxTypes(2, 2)).to(d), centred(16, 2, d)),
    "level of a tree": lambda d: (_level(d), torch.randn(16, 2, 2, dtype=d)),
    "self-normal layer": lambda d: (self_normal(d), torch.randn(16, 3, dtype=d)),
    "gaussian twist": lambda d: (GaussianTwist(4.0), torch.randn(16, 3, dtype=d)),
}

GROUP: dict[str, tuple[Callable[[], Layer], int, tuple[int, ...]]] = {
    "spectral flow of SU(2)": (lambda: SpectralFlow(2), 2, ()),
    "spectral flow of SU(3)": (lambda: SpectralFlow(3), 3, ()),
    "gauge coupling of SU(2)": (lambda: GaugeCoupling(4, 2, 1, 2, channels=(4,)), 2, (2, 4, 4)),
    "gauge coupling of SU(3)": (lambda: GaugeCoupling(4, 3, 0, 1, channels=(4,)), 3, (2, 4, 4)),
    "plain coupling of SU(2)": (lambda: PlainCoupling(4, 2, 0, 3, channels=(4,)), 2, (2, 4, 4)),
}
"""Layers of matrices: their Jacobian is one in the tangent space, in tests/flows/test_gauge.py."""
for _name, (_make, _n, _places) in GROUP.items():
    STEPS[_name] = lambda d, make=_make, n=_n, places=_places: (
        _layer(make, d, 0.1),
        haar(n, 16, *places, dtype=d),
    )

BIJECTIONS: Bijections = {
    "particle layer": lambda: (particles(100, scale=0.1).layers[0], centred(3)),
    "self-normal layer": lambda: (self_normal(torch.float64), torch.randn(6, 3)),
    "gaussian twist": lambda: (GaussianTwist(4.0), torch.randn(6, 3)),
}


def _layer(make: Callable[[], Layer], dtype: torch.dtype, scale: float = 0.3) -> Layer:
    torch.manual_seed(6)
    return perturbed(make(), scale).to(dtype)


def _translation(features: int) -> Translation:
    """Two domains whose flows differ in depth."""
    a, b = ([AffineCoupling(features, hidden=(8,)) for _ in range(n)] for n in (2, 1))
    return Translation([*a, Permute.shuffle(features)], [LULinear(features), *b])


LAYERS: dict[str, tuple[Callable[[], Layer], int]] = {
    "permutation": (lambda: Permute.shuffle(5), 5),
    "lu linear": (lambda: LULinear(3), 3),
    "1x1 convolution": (lambda: InvertibleConv1x1(2, 3), 6),
    "act-norm": (lambda: ActNorm(3), 3),
    "planar": (lambda: Planar(3), 3),
    "radial": (lambda: Radial(3), 3),
    "leaky softplus": (lambda: LeakySoftplus(3), 3),
    "affine coupling": (lambda: AffineCoupling(3, hidden=(8,)), 3),
    "spline coupling": (lambda: SplineCoupling(3, hidden=(8,)), 3),
    "scattered coupling": (lambda: AffineCoupling(4, mask=[0, 2], hidden=(8,)), 4),
    "convolutional coupling": (lambda: ConvCoupling(2, 2, 3, turn=1, hidden=4), 12),
    "split": (lambda: Split([AffineCoupling(2, hidden=(8,)), LULinear(2)], 4, 2), 4),
    "squeeze": (lambda: Squeeze(1, 2, 4), 8),
    "affine autoregressive": (lambda: AffineAutoregressive(3, (8,), order=(2, 0, 1)), 3),
    "spline autoregressive": (lambda: SplineAutoregressive(3, hidden=(8,)), 3),
    "inverse autoregressive": (lambda: InverseAutoregressive(AffineAutoregressive(3, (8,))), 3),
    "residual": (lambda: Residual(LipschitzMLP(3, (8,))), 3),
    "residual turned round": (lambda: Inverted(Residual(LipschitzMLP(3, (8,)))), 3),
    "translation": (lambda: _translation(4), 4),
    "continuous": (lambda: ContinuousFlow(Velocity(2, (8,)), solver=FixedStep(steps=100)), 2),
}
for _name, (_make, _width) in LAYERS.items():
    STEPS[_name] = lambda d, make=_make, n=_width: (_layer(make, d), torch.randn(16, n, dtype=d))
    BIJECTIONS[_name] = lambda make=_make, n=_width: (
        _layer(make, torch.float64),
        torch.randn(6, n),
    )

CORRELATED = torch.tensor([[1.0, 0.7], [0.7, 1.0]])


def _source(name: str) -> CopulaSource:
    copula = {
        "independent": None,
        "gaussian": GaussianCopula(CORRELATED),
        "student": StudentCopula(CORRELATED, 3.0),
        "gumbel": GumbelCopula(2.5),
    }[name]
    return CopulaSource([StudentMarginal(2.0, 0.3), LaplaceMarginal(scale=2.0)], copula)


def _mixture() -> FlowMixture:
    flows = [perturbed(real_nvp(2, 2, (8,)), 0.3) for _ in range(3)]
    assert all(isinstance(flow, Flow) for flow in flows)
    return FlowMixture(flows, torch.tensor([0.5, 0.3, 0.2]))  # pyright: ignore


def _maf_on_copula() -> Flow:
    layers = [AffineAutoregressive(2, (8,), order=(1, 0))]
    source = CopulaSource([StudentMarginal(2.0), NormalMarginal()], GaussianCopula(CORRELATED))
    return Flow(layers, 2, source.to(torch.get_default_dtype()))


DENSITIES: Densities = {
    "zero-mean gaussian": lambda: InCoordinates(ZeroMeanGaussian(3, 2)),
    "independent source": lambda: _source("independent"),
    "gaussian copula": lambda: _source("gaussian"),
    "student copula": lambda: _source("student"),
    "gumbel copula": lambda: _source("gumbel"),
    "mixture of flows": _mixture,
}

MODELS: Models = {
    "particle flow": lambda: (particles(20, 1, 0.1), centred(7, 1)),
    "molecule flow": lambda: (MoleculeFlow(particles(20, 2, 0.1)), typed(7)),
    "mixture of flows": lambda: (_mixture(), torch.randn(7, 2)),
    "maf on a copula": lambda: (perturbed(_maf_on_copula()), torch.randn(7, 2)),
    "align flow": lambda: (
        perturbed(align_flow(3, 2, (8,)), 0.3),
        Unpaired(torch.randn(7, 3), torch.randn(5, 3)),
    ),
    "maf": lambda: (perturbed(maf(3, 2, (8,))), torch.randn(7, 3)),
    "iaf": lambda: (perturbed(iaf(3, 2, (8,))), torch.randn(7, 3)),
    "residual flow": lambda: (perturbed(residual_flow(3, 2, (8,))), torch.randn(7, 3)),
    "self-normalizing flow": lambda: (perturbed(self_normalizing_flow(4, 2)), torch.randn(7, 4)),
    "gauge flow": lambda: (perturbed(gauge_flow(4, channels=(4,))), haar(2, 5, 2, 4, 4)),
    "tree of flows": lambda: (
        perturbed(flow_tree([None, 0, 0, 1, 1, 2], 2, 2, (8,), hide=0.3)),
        torch.randn(7, 3, 2),
    ),
    "real nvp": (lambda: (perturbed(real_nvp(3, 2, (8,)), 0.3), torch.randn(7, 3))),
    "glow": (lambda: (perturbed(glow(4, 4, 2, 1, 4), 0.3), torch.randn(7, 16))),
    "spline flow": (lambda: (perturbed(spline_flow(3, 2, hidden=(8,)), 0.3), torch.randn(7, 3))),
}

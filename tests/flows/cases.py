"""What the shared laws run on: layers and flows."""

from collections.abc import Callable

import torch

from gentoolkit.flows import (
    ActNorm,
    AffineAutoregressive,
    AffineCoupling,
    ArgmaxTypes,
    ContinuousFlow,
    ConvCoupling,
    GaussianTwist,
    InverseAutoregressive,
    Inverted,
    InvertibleConv1x1,
    Layer,
    LeakySoftplus,
    LipschitzMLP,
    LULinear,
    MoleculeFlow,
    Permute,
    Planar,
    Radial,
    Residual,
    SelfNormal,
    SplineAutoregressive,
    SplineCoupling,
    Split,
    Squeeze,
    Velocity,
    ZeroMeanGaussian,
    glow,
    iaf,
    maf,
    particle_flow,
    real_nvp,
    residual_flow,
    self_normalizing_flow,
    spline_flow,
)
from gentoolkit.numerics import FixedStep, rk4, without_mean
from tests.flows.subspace import InCoordinates
from tests.laws.kinds import Bijections, Densities, Models, Steps, perturbed


def self_normal(dtype: torch.dtype) -> SelfNormal:
    """A dense layer whose R is far from the inverse: the exact account must not feel it."""
    torch.manual_seed(5)
    weight = torch.eye(3, dtype=dtype) + 0.3 * torch.randn(3, 3, dtype=dtype)
    return SelfNormal(weight, torch.eye(3, dtype=dtype))


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
    "self-normal layer": lambda d: (self_normal(d), torch.randn(16, 3, dtype=d)),
    "gaussian twist": lambda d: (GaussianTwist(4.0), torch.randn(16, 3, dtype=d)),
}

BIJECTIONS: Bijections = {
    "particle layer": lambda: (particles(100, scale=0.1).layers[0], centred(3)),
    "self-normal layer": lambda: (self_normal(torch.float64), torch.randn(6, 3)),
    "gaussian twist": lambda: (GaussianTwist(4.0), torch.randn(6, 3)),
}


def _layer(make: Callable[[], Layer], dtype: torch.dtype) -> Layer:
    torch.manual_seed(6)
    return perturbed(make(), 0.3).to(dtype)


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
    "continuous": (lambda: ContinuousFlow(Velocity(2, (8,)), solver=FixedStep(steps=100)), 2),
}
for _name, (_make, _width) in LAYERS.items():
    STEPS[_name] = lambda d, make=_make, n=_width: (_layer(make, d), torch.randn(16, n, dtype=d))
    BIJECTIONS[_name] = lambda make=_make, n=_width: (
        _layer(make, torch.float64),
        torch.randn(6, n),
    )

DENSITIES: Densities = {
    "zero-mean gaussian": lambda: InCoordinates(ZeroMeanGaussian(3, 2)),
}

MODELS: Models = {
    "particle flow": lambda: (particles(20, 1, 0.1), centred(7, 1)),
    "molecule flow": lambda: (MoleculeFlow(particles(20, 2, 0.1)), typed(7)),
    "maf": lambda: (perturbed(maf(3, 2, (8,))), torch.randn(7, 3)),
    "iaf": lambda: (perturbed(iaf(3, 2, (8,))), torch.randn(7, 3)),
    "residual flow": lambda: (perturbed(residual_flow(3, 2, (8,))), torch.randn(7, 3)),
    "self-normalizing flow": lambda: (perturbed(self_normalizing_flow(4, 2)), torch.randn(7, 4)),
    "real nvp": (lambda: (perturbed(real_nvp(3, 2, (8,)), 0.3), torch.randn(7, 3))),
    "glow": (lambda: (perturbed(glow(4, 4, 2, 1, 4), 0.3), torch.randn(7, 16))),
    "spline flow": (lambda: (perturbed(spline_flow(3, 2, hidden=(8,)), 0.3), torch.randn(7, 3))),
}

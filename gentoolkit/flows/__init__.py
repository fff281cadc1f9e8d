"""Normalizing flows: bijections with parameters, and the flow that stacks them."""

from gentoolkit.flows.autoregressive import (
    AffineAutoregressive,
    InverseAutoregressive,
    MaskedAutoregressive,
    SplineAutoregressive,
    iaf,
    maf,
)
from gentoolkit.flows.builders import real_nvp, spline_flow
from gentoolkit.flows.continuous import (
    ContinuousFlow,
    ExactTrace,
    Hutchinson,
    Trace,
    Velocity,
    continuous_flow,
)
from gentoolkit.flows.coupling import AffineCoupling, Coupling, SplineCoupling, half
from gentoolkit.flows.elementary import LeakySoftplus, Planar, Radial
from gentoolkit.flows.interop import FlowDistribution
from gentoolkit.flows.layer import Flow, Given, Inverted, Layer
from gentoolkit.flows.linear import ActNorm, InvertibleConv1x1, LULinear, Permute, initialise
from gentoolkit.flows.residual import (
    ExactLogDet,
    LipschitzMLP,
    LogDet,
    PowerSeries,
    Residual,
    Roulette,
    residual_flow,
)
from gentoolkit.flows.self_normalizing import (
    SelfNormal,
    SelfNormalizingFlow,
    self_normalizing_flow,
)
from gentoolkit.flows.shape import Part, Squeeze, multi_scale
from gentoolkit.flows.twist import GaussianTwist
from gentoolkit.flows.volume import (
    GaussianOptimum,
    Volume,
    cholesky_whitening,
    depth_for,
    gaussian_optimum,
    isolated_entropy,
    linear_loss,
    measure_volume,
    whitening,
)
from gentoolkit.numerics import Adaptive, Solver

__all__ = [
    "ActNorm",
    "Adaptive",
    "AffineAutoregressive",
    "AffineCoupling",
    "ContinuousFlow",
    "Coupling",
    "ExactLogDet",
    "ExactTrace",
    "Flow",
    "FlowDistribution",
    "GaussianOptimum",
    "GaussianTwist",
    "Given",
    "Hutchinson",
    "InverseAutoregressive",
    "Inverted",
    "InvertibleConv1x1",
    "LULinear",
    "Layer",
    "LeakySoftplus",
    "LipschitzMLP",
    "LogDet",
    "MaskedAutoregressive",
    "Part",
    "Permute",
    "Planar",
    "PowerSeries",
    "Radial",
    "Residual",
    "Roulette",
    "SelfNormal",
    "SelfNormalizingFlow",
    "Solver",
    "SplineAutoregressive",
    "SplineCoupling",
    "Squeeze",
    "Trace",
    "Velocity",
    "Volume",
    "cholesky_whitening",
    "continuous_flow",
    "depth_for",
    "gaussian_optimum",
    "half",
    "iaf",
    "initialise",
    "isolated_entropy",
    "linear_loss",
    "maf",
    "measure_volume",
    "multi_scale",
    "real_nvp",
    "residual_flow",
    "self_normalizing_flow",
    "spline_flow",
    "whitening",
]

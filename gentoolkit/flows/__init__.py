"""Normalizing flows: bijections with parameters, and the flow that stacks them."""

from gentoolkit.flows.autoregressive import (
    AffineAutoregressive,
    InverseAutoregressive,
    MaskedAutoregressive,
    SplineAutoregressive,
    iaf,
    maf,
)
from gentoolkit.flows.boosting import (
    best_weight,
    boosted_loss,
    boosting_weights,
    mixed,
    weighted_loss,
)
from gentoolkit.flows.builders import real_nvp, spline_flow
from gentoolkit.flows.continuous import ContinuousFlow, Velocity, continuous_flow
from gentoolkit.flows.copula import (
    Copula,
    CopulaSource,
    GaussianCopula,
    GumbelCopula,
    StudentCopula,
)
from gentoolkit.flows.coupling import AffineCoupling, Coupling, SplineCoupling, alternating_mask
from gentoolkit.flows.domains import AlignFlow, Translation, Unpaired, align_flow
from gentoolkit.flows.elementary import LeakySoftplus, Planar, Radial
from gentoolkit.flows.gauge import GaugeCoupling, LinkCoupling, PlainCoupling, gauge_flow
from gentoolkit.flows.image import ConvCoupling, glow
from gentoolkit.flows.interop import FlowDistribution
from gentoolkit.flows.layer import Flow, Inverted, Layer
from gentoolkit.flows.linear import ActNorm, InvertibleConv1x1, LULinear, Permute, initialise
from gentoolkit.flows.marginals import (
    LaplaceMarginal,
    Marginal,
    NormalMarginal,
    StudentMarginal,
)
from gentoolkit.flows.mixture import FlowMixture
from gentoolkit.flows.molecules import ArgmaxTypes, MoleculeFlow
from gentoolkit.flows.particles import (
    ParticleFlow,
    ParticleLayer,
    ParticleVelocity,
    ZeroMeanGaussian,
    particle_flow,
)
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
from gentoolkit.flows.shape import Split, Squeeze, multi_scale
from gentoolkit.flows.spectral import EigenangleSpline, Haar, SpectralFlow
from gentoolkit.flows.tree import Aggregation, FlowTree, Reading, flow_tree
from gentoolkit.flows.twist import GaussianTwist
from gentoolkit.flows.volume import (
    GaussianOptimum,
    gaussian_optimum,
    linear_loss,
    whitening,
)
from gentoolkit.numerics import Adaptive, ExactTrace, Hutchinson, Solver, Trace

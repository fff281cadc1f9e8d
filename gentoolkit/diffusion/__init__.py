"""Diffusion: noise goes in along a schedule, and a network takes it out."""

from gentoolkit.diffusion.coefficients import (
    Coefficients,
    GivenVariance,
    LearnedVariance,
    NoisingVariance,
    PosteriorVariance,
    ReverseVariance,
    coefficients,
)
from gentoolkit.diffusion.ddim import encode, slerp
from gentoolkit.diffusion.ddpm import DDPM, exact_weights
from gentoolkit.diffusion.denoiser import Denoiser, NoiseLevel
from gentoolkit.diffusion.guidance import ClassifierFree, ClassifierGuided, drop_context
from gentoolkit.diffusion.high_order import derivatives, high_order_matching
from gentoolkit.diffusion.likelihood import ProbabilityFlowMap
from gentoolkit.diffusion.matching import (
    denoising_matching,
    estimated_matching,
    explicit_matching,
    implicit_matching,
    tweedie,
)
from gentoolkit.diffusion.parametrisations import (
    Parametrisation,
    PredictsData,
    PredictsNoise,
    PredictsScore,
    PredictsVelocity,
)
from gentoolkit.diffusion.samplers import (
    DDIM,
    EulerMaruyama,
    PredictorCorrector,
    Sampler,
    ancestral,
)
from gentoolkit.diffusion.schedules import (
    Betas,
    Cosine,
    LearnedLogSnr,
    LinearBeta,
    LogSnrLinear,
    SubVP,
    VarianceExploding,
)
from gentoolkit.diffusion.solvers import (
    EDM,
    AdaptiveFlow,
    DPMSolver2,
    DPMSolverPlusPlus2M,
    ProbabilityFlow,
)
from gentoolkit.diffusion.truncation import (
    CutLaw,
    PaintedCut,
    PowerCut,
    bound_times,
    truncated_matching,
)
from gentoolkit.diffusion.unet import UNet
from gentoolkit.processes import (
    Schedule,
    State,
    VariancePreserving,
    even_log_snr,
    even_times,
    karras_times,
    sub_grid,
)

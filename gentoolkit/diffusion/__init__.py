"""Diffusion: noise goes in along a schedule, and a network takes it out."""

from gentoolkit.diffusion.coordinates import (
    Parametrisation,
    PredictsData,
    PredictsNoise,
    PredictsScore,
    PredictsVelocity,
    perturb,
)
from gentoolkit.diffusion.ddim import DDIM, encode, slerp
from gentoolkit.diffusion.ddpm import DDPM, exact_weights, simple
from gentoolkit.diffusion.denoiser import Denoiser
from gentoolkit.diffusion.grids import (
    even_log_snr,
    even_times,
    karras_times,
    noisy_times,
    sub_grid,
)
from gentoolkit.diffusion.guidance import ClassifierFree, ClassifierGuided
from gentoolkit.diffusion.learned import Betas, LearnedLogSnr
from gentoolkit.diffusion.likelihood import ProbabilityFlowMap, prior
from gentoolkit.diffusion.matching import (
    denoising_matching,
    estimated_matching,
    explicit_matching,
    implicit_matching,
    sliced_matching,
    tweedie,
)
from gentoolkit.diffusion.moves import (
    GivenVariance,
    LearnedVariance,
    Moves,
    NoisingVariance,
    PosteriorVariance,
    ReverseVariance,
    moves_of,
)
from gentoolkit.diffusion.samplers import (
    Ancestral,
    EulerMaruyama,
    PredictorCorrector,
    Sampler,
    State,
)
from gentoolkit.diffusion.schedule import (
    Cosine,
    LinearBeta,
    LogSnrLinear,
    Schedule,
    SubVP,
    VarianceExploding,
    VariancePreserving,
)
from gentoolkit.diffusion.solvers import (
    EDM,
    AdaptiveFlow,
    DPMSolver2,
    DPMSolverPlusPlus2M,
    ProbabilityFlow,
)
from gentoolkit.diffusion.unet import UNet, hide
from gentoolkit.diffusion.vdm import VDM, antithetic_times

__all__ = [
    "AdaptiveFlow",
    "Ancestral",
    "Betas",
    "ClassifierFree",
    "ClassifierGuided",
    "Cosine",
    "DDIM",
    "DDPM",
    "DPMSolver2",
    "DPMSolverPlusPlus2M",
    "Denoiser",
    "EDM",
    "EulerMaruyama",
    "GivenVariance",
    "LearnedLogSnr",
    "LearnedVariance",
    "LinearBeta",
    "LogSnrLinear",
    "Moves",
    "NoisingVariance",
    "Parametrisation",
    "PosteriorVariance",
    "PredictorCorrector",
    "PredictsData",
    "PredictsNoise",
    "PredictsScore",
    "PredictsVelocity",
    "ProbabilityFlow",
    "ProbabilityFlowMap",
    "ReverseVariance",
    "Sampler",
    "Schedule",
    "State",
    "SubVP",
    "UNet",
    "VDM",
    "VarianceExploding",
    "VariancePreserving",
    "antithetic_times",
    "denoising_matching",
    "encode",
    "estimated_matching",
    "even_log_snr",
    "even_times",
    "exact_weights",
    "explicit_matching",
    "hide",
    "implicit_matching",
    "karras_times",
    "moves_of",
    "noisy_times",
    "perturb",
    "prior",
    "simple",
    "slerp",
    "sliced_matching",
    "sub_grid",
    "tweedie",
]

"""Jumps: continuous-time Markov chains on tokens, their reversal, and discrete diffusion."""

from gentoolkit.jumps.accounting import account, log_density, noising_log_density
from gentoolkit.jumps.d3pm import D3PM
from gentoolkit.jumps.denoising import Denoising, data_rates, path_elbo
from gentoolkit.jumps.generators import Absorbing, Custom, Generator, Ordinal, Uniform
from gentoolkit.jumps.hollow import HollowMLP, HollowTransformer, own_jacobian
from gentoolkit.jumps.leaping import Analytic, Euler, Rates, StepLaw, TauLeaping, grid_chain
from gentoolkit.jumps.masked import MaskedDiffusion
from gentoolkit.jumps.networks import TokenMixer, TokenMLP, TokenNet, TokenTransformer
from gentoolkit.jumps.path import JumpPath
from gentoolkit.jumps.process import Process, Time, falling_times
from gentoolkit.jumps.rates import Beta, Constant, Geometric, Linear, Masking
from gentoolkit.jumps.ratio_matching import ExplicitRatioMatching, RatioMatching, cross_entropy
from gentoolkit.jumps.ratios import Table, data_ratios, ratios_of, reverse_rates
from gentoolkit.jumps.reversal import Reversal
from gentoolkit.jumps.samplers import Corrector, State, walk
from gentoolkit.jumps.simulate import (
    Bounds,
    gillespie,
    noising_bounds,
    thinning,
    uniformization,
    uniformized,
)

__all__ = [
    "Absorbing",
    "Analytic",
    "Beta",
    "Bounds",
    "Constant",
    "Corrector",
    "Custom",
    "D3PM",
    "Denoising",
    "Euler",
    "ExplicitRatioMatching",
    "Generator",
    "Geometric",
    "HollowMLP",
    "HollowTransformer",
    "JumpPath",
    "Linear",
    "MaskedDiffusion",
    "Masking",
    "Ordinal",
    "Process",
    "Rates",
    "RatioMatching",
    "Reversal",
    "State",
    "StepLaw",
    "Table",
    "TauLeaping",
    "Time",
    "TokenMLP",
    "TokenMixer",
    "TokenNet",
    "TokenTransformer",
    "Uniform",
    "account",
    "cross_entropy",
    "data_rates",
    "data_ratios",
    "falling_times",
    "gillespie",
    "grid_chain",
    "log_density",
    "noising_bounds",
    "noising_log_density",
    "own_jacobian",
    "path_elbo",
    "ratios_of",
    "reverse_rates",
    "thinning",
    "uniformization",
    "uniformized",
    "walk",
]

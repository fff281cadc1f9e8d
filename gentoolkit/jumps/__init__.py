"""Jumps: continuous-time Markov chains on tokens, their reversal, and discrete diffusion."""

from gentoolkit.jumps.accounting import account, noising_log_density, path_log_density
from gentoolkit.jumps.d3pm import D3PM
from gentoolkit.jumps.hollow import HollowMLP, HollowTransformer, own_jacobian
from gentoolkit.jumps.leaping import Corrector, Euler, Rates, TauLeaping, grid_chain, walk_back
from gentoolkit.jumps.masked import MaskedDiffusion
from gentoolkit.jumps.networks import TokenMixer, TokenMLP, TokenNet
from gentoolkit.jumps.path import JumpPath
from gentoolkit.jumps.prediction import Denoising, RatioMatching
from gentoolkit.jumps.reversal import Reversal, cross_entropy, data_rates
from gentoolkit.jumps.simulate import (
    gillespie,
    noising_bounds,
    thinning,
    uniformization,
    uniformized,
)
from gentoolkit.jumps.table import Table

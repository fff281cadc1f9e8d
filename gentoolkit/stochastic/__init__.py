"""Chains towards a density: Langevin and Metropolis moves, annealing, stochastic flows."""

from gentoolkit.stochastic.annealing import Transition, annealed, increments
from gentoolkit.stochastic.flow import StochasticFlow
from gentoolkit.stochastic.gradient import value_and_score
from gentoolkit.stochastic.langevin import Langevin, TrainedLangevin
from gentoolkit.stochastic.learned import CorrectionMLP, MonteCarloDiffusion, Pairs
from gentoolkit.stochastic.metropolis import HMC, MALA, Metropolis, Metropolised
from gentoolkit.stochastic.paths import GeometricPath, Path, Tempered, even_schedule
from gentoolkit.stochastic.smc import ConstantESS, NextBeta, Particles, smc, systematic

__all__ = [
    "HMC",
    "MALA",
    "ConstantESS",
    "CorrectionMLP",
    "GeometricPath",
    "Langevin",
    "Metropolis",
    "Metropolised",
    "MonteCarloDiffusion",
    "NextBeta",
    "Pairs",
    "Particles",
    "Path",
    "StochasticFlow",
    "Tempered",
    "TrainedLangevin",
    "Transition",
    "annealed",
    "even_schedule",
    "increments",
    "smc",
    "systematic",
    "value_and_score",
]

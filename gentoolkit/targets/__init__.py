"""Unnormalised densities with an exact `log_z`, and exact samples to compare with."""

from gentoolkit.targets.double_well import DoubleWell
from gentoolkit.targets.lattice import ClassFunction, GaugeAction, mean_plaquette
from gentoolkit.targets.mixtures import GaussianMixture, eight_gaussians
from gentoolkit.targets.particles import DoubleWellParticles, LennardJones, ParticleSystem

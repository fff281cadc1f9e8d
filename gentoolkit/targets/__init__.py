"""Unnormalised densities with an exact `log_z`, and exact samples to compare with."""

from gentoolkit.targets.landscapes import DoubleWell, Funnel
from gentoolkit.targets.mixtures import GaussianMixture, eight_gaussians

"""The core: steps, chains, laws, objectives, checks. Everything else rests on this."""

from gentoolkit.core.chain import Chain, Density, Trajectory
from gentoolkit.core.laws import Bernoulli, Categorical, Gaussian, Law, standard_normal
from gentoolkit.core.objectives import (
    elbo,
    ess,
    log_variance,
    log_z,
    log_z_error,
    residuals,
    trajectory_balance,
    variance_shares,
)
from gentoolkit.core.sandwich import Sandwich, sandwich
from gentoolkit.core.step import Bijection, Kernel, Reversible, Step

__all__ = [
    "Bernoulli",
    "Bijection",
    "Categorical",
    "Chain",
    "Density",
    "Gaussian",
    "Kernel",
    "Law",
    "Reversible",
    "Sandwich",
    "Step",
    "Trajectory",
    "elbo",
    "ess",
    "log_variance",
    "log_z",
    "log_z_error",
    "residuals",
    "sandwich",
    "standard_normal",
    "trajectory_balance",
    "variance_shares",
]

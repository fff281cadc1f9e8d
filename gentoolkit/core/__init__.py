"""The core: steps, chains, laws, objectives, checks. Everything else rests on this."""

from gentoolkit.core.chain import Chain, Density, Trajectory, base_measure
from gentoolkit.core.laws import Bernoulli, Categorical, Frozen, Gaussian, Law, standard_normal
from gentoolkit.core.model import Model
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
from gentoolkit.core.step import (
    Bijection,
    Composite,
    FunctionKernel,
    Kernel,
    Reversed,
    Reversible,
    Step,
    Unsupported,
)

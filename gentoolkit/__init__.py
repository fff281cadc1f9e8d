"""Deep generative models as pairs of Markov chains: the library under the course.

`gentoolkit.core` holds the chain and its weight; the families, targets, nets and pictures are
subpackages, imported by name. Importing `gentoolkit` itself has no side effect.
"""

from gentoolkit.core import (
    Bernoulli,
    Bijection,
    Categorical,
    Chain,
    Composite,
    Density,
    Frozen,
    FunctionKernel,
    Gaussian,
    Kernel,
    Law,
    Model,
    Reversed,
    Reversible,
    Sandwich,
    Step,
    Trajectory,
    Unsupported,
    elbo,
    ess,
    log_variance,
    log_z,
    log_z_error,
    residuals,
    sandwich,
    standard_normal,
    trajectory_balance,
    variance_shares,
)

__version__ = "0.1.0"

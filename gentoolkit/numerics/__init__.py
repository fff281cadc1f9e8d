"""Numerical methods: tensors in, tensors out, no knowledge of chains."""

from gentoolkit.numerics.adaptive import Adaptive, Solver
from gentoolkit.numerics.contraction import fixed_point, spectral_bound
from gentoolkit.numerics.divergence import (
    Linearised,
    Noise,
    divergence,
    gaussian,
    hutchinson,
    jacobian,
    rademacher,
)
from gentoolkit.numerics.ode import FixedStep, euler, heun, path, rk4
from gentoolkit.numerics.roots import increasing_root
from gentoolkit.numerics.series import (
    Stop,
    contracting,
    log_det_series,
    stochastic_log_det,
    terms_needed,
    truncation_bound,
)
from gentoolkit.numerics.spline import spline, spline_inverse, spline_knots

__all__ = [
    "Adaptive",
    "FixedStep",
    "Linearised",
    "Noise",
    "Solver",
    "Stop",
    "contracting",
    "divergence",
    "euler",
    "fixed_point",
    "gaussian",
    "heun",
    "hutchinson",
    "increasing_root",
    "jacobian",
    "log_det_series",
    "path",
    "rademacher",
    "rk4",
    "spectral_bound",
    "spline",
    "spline_inverse",
    "spline_knots",
    "stochastic_log_det",
    "terms_needed",
    "truncation_bound",
]

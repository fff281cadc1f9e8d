"""Numerical methods: tensors in, tensors out, no knowledge of chains."""

from gentoolkit.numerics.adaptive import Adaptive
from gentoolkit.numerics.contraction import spectral_bound
from gentoolkit.numerics.divergence import (
    Divergence,
    ExactTrace,
    Hutchinson,
    Linearised,
    Noise,
    Trace,
    divergence,
    gaussian,
    hutchinson,
    jacobian,
    rademacher,
    value_and_gradient,
    wide,
)
from gentoolkit.numerics.lattice import gauge_transform, loops, plaquettes
from gentoolkit.numerics.ode import FixedStep, Solver, euler, heun, path, rk4
from gentoolkit.numerics.particles import (
    ZERO_MEAN,
    checked_zero_mean,
    distances,
    without_mean,
)
from gentoolkit.numerics.quantile import (
    lower_normal_quantile,
    lower_student_quantile,
    student_log_tail,
)
from gentoolkit.numerics.roots import fixed_point, implicit_fixed_point, increasing_root
from gentoolkit.numerics.series import (
    Stop,
    contracting,
    log_det_series,
    stochastic_log_det,
    terms_needed,
    truncation_bound,
)
from gentoolkit.numerics.spline import spline, spline_inverse, spline_knots
from gentoolkit.numerics.su_n import haar, nearest, quaternion, special_unitary, to_quaternion

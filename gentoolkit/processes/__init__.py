"""Noising processes on any space, grids of times, and the walk back."""

from gentoolkit.processes.gaussian import Schedule, VariancePreserving
from gentoolkit.processes.grids import (
    even_log_snr,
    even_times,
    falling_times,
    karras_times,
    sub_grid,
)
from gentoolkit.processes.jump import JumpProcess
from gentoolkit.processes.process import Process, Time
from gentoolkit.processes.rate_matrix import (
    AbsorbingRates,
    DenseRates,
    OrdinalRates,
    RateMatrix,
    UniformRates,
)
from gentoolkit.processes.rate_schedule import (
    ConstantRate,
    LinearRate,
    LogLinearRate,
    RateSchedule,
)
from gentoolkit.processes.walk import Advance, Counted, State, walk

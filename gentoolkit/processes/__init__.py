"""Noising processes on any space, grids of times, and the walk back."""

from gentoolkit.processes.gaussian import Schedule, VariancePreserving
from gentoolkit.processes.grids import (
    even_log_snr,
    even_times,
    falling_times,
    karras_times,
    sub_grid,
)
from gentoolkit.processes.process import Process, Time
from gentoolkit.processes.walk import Advance, Counted, State, walk

__all__ = [
    "Advance",
    "Counted",
    "Process",
    "Schedule",
    "State",
    "Time",
    "VariancePreserving",
    "even_log_snr",
    "even_times",
    "falling_times",
    "karras_times",
    "sub_grid",
    "walk",
]

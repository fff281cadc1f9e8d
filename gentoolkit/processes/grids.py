"""Grids of times. There is one kind: float64, falling from the noise towards the data.

Where the steps are put matters as much as the solver.
"""

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.processes.gaussian import Schedule


def even_times(steps: int, stop: float = 0.0, start: float = 1.0) -> Tensor:
    """Return `steps` + 1 times from `start` down to `stop`, equally far apart.

    >>> even_times(4)
    tensor([1.0000, 0.7500, 0.5000, 0.2500, 0.0000], dtype=torch.float64)

    Raises:
        TypeError: `steps` is not an int.
        ValueError: `steps` is below one, or not `0 <= stop < start`.
    """
    count = validate.positive_count("steps", steps) + 1
    if not 0.0 <= stop < start < float("inf"):
        raise ValueError(
            f"times must fall to stop >= 0; got start={start}, stop={stop}; data is at 0, stop "
            "for example at 1e-3"
        )
    return torch.linspace(start, stop, count, dtype=torch.float64)


def falling_times(times: int | Tensor, end: float = 1.0) -> Tensor:
    """Return a grid within [0, `end`], (T+1,): `times` even steps from `end` to 0, or as given.

    Raises:
        TypeError: it is neither an int nor a floating-point tensor.
        ValueError: fewer than two times, outside [0, end], or they do not fall.
    """
    if isinstance(times, int):
        return even_times(times, start=end)
    if not isinstance(times, Tensor) or not times.is_floating_point():
        raise TypeError(
            "times must be a number of steps or a floating-point tensor; got "
            f"{getattr(times, 'dtype', type(times).__name__)}; use even_times(steps)"
        )
    if times.ndim != 1 or times.shape[0] < 2:
        raise ValueError(
            f"times must have shape (T+1,) with one step or more; got {tuple(times.shape)}; "
            "use even_times(steps) with steps >= 1"
        )
    low, high = (float(v) for v in torch.aminmax(times))
    if not (low >= 0.0 and high <= end * (1.0 + 1e-6)):
        raise ValueError(
            f"times must lie in [0, {end:g}]; got {low} to {high}; divide the number of a step by "
            "the number of steps"
        )
    if not bool((times.diff() < 0).all()):
        raise ValueError(
            f"times must fall strictly, noise first; got {times.tolist()[:5]}...; turn them round "
            "with times.flip(0), and drop repeated ones"
        )
    return times


def sub_grid(steps: int, of: int) -> Tensor:
    """Return the times `round(i of / steps) / of` from 1 to 0: part of a grid of `of` steps.

    >>> sub_grid(3, of=10)
    tensor([1.0000, 0.7000, 0.3000, 0.0000], dtype=torch.float64)

    Arguments:
        steps: how many steps to take.
        of: how many steps the model was trained on.

    Returns:
        (steps + 1,).

    Raises:
        TypeError: `steps` or `of` is not an int.
        ValueError: `steps` is below one, or above `of`.
    """
    return torch.tensor([*chosen(steps, of), 0], dtype=torch.float64) / of


def chosen(steps: int, of: int) -> list[int]:
    """Return the numbers in 1, ..., `of` of the states that `steps` even steps visit, falling."""
    if validate.positive_count("steps", steps) > validate.positive_count("of", of):
        raise ValueError(
            f"steps must be at most the {of} of the whole grid; got {steps}; take fewer, or use "
            "a finer grid: even_times for a model of continuous time"
        )
    return [round(i * of / steps) for i in range(steps, 0, -1)]


def noisy_times(schedule: Schedule, steps: int) -> Tensor:
    """Return the times of the `steps` noisy states x_T, ..., x_1 of a discrete model, (T,).

    They are those of an even grid without the data's own time 0; a schedule that starts with some
    noise is read from time 0 on.

    Raises:
        ValueError: `steps` is below one.
    """
    start = torch.zeros(1, dtype=torch.float64, device=schedule.device)
    bare = bool(schedule.log_snr(start) == torch.inf)
    if bare or validate.positive_count("steps", steps) == 1:
        return even_times(steps)[:-1]
    return even_times(steps - 1)


def even_log_snr(schedule: Schedule, steps: int, stop: float = 1e-3) -> Tensor:
    """Return `steps` + 1 times from 1 down to `stop`, with equal steps of the log-SNR.

    Raises:
        TypeError: `steps` is not an int.
        ValueError: `steps` is below one, or noise or signal are missing at an end.
    """
    low, high = _finite_ends(schedule, stop)
    count = validate.positive_count("steps", steps) + 1
    return _times_of(schedule, torch.linspace(low, high, count, dtype=torch.float64), stop)


def karras_times(schedule: Schedule, steps: int, stop: float = 1e-3, rho: float = 7.0) -> Tensor:
    """Return `steps` + 1 times from 1 down to `stop`, crowded where the noise is small.

        noise / signal = (first^(1/rho) + i / steps (last^(1/rho) - first^(1/rho)))^rho

    Raises:
        TypeError: `steps` is not an int.
        ValueError: `steps` is below one, `rho` not positive, or noise or signal are missing at an
            end.

    Reference: Karras et al. 2022 (arXiv 2206.00364).
    """
    validate.positive("rho", rho)
    ends = torch.tensor(_finite_ends(schedule, stop), dtype=torch.float64)
    first, last = (-0.5 * ends / rho).exp()
    count = validate.positive_count("steps", steps) + 1
    roots = first + torch.linspace(0.0, 1.0, count, dtype=torch.float64) * (last - first)
    return _times_of(schedule, -2.0 * rho * roots.log(), stop)


def _finite_ends(schedule: Schedule, stop: float) -> list[float]:
    times = even_times(1, stop)
    ends = schedule.log_snr(times.to(schedule.device)).detach()
    if not bool(torch.isfinite(ends).all()):
        raise ValueError(
            f"the log-SNR must be finite at both ends; got {ends.tolist()} at times "
            f"{times.tolist()}; stop a little above 0, for example at 1e-3, and append a 0 if the "
            "noise is to go; where no signal is left at 1, use even_times"
        )
    return ends.tolist()


@torch.no_grad()
def _times_of(schedule: Schedule, log_snr: Tensor, stop: float) -> Tensor:
    times = schedule.time_of(log_snr.to(schedule.device)).to(log_snr.device)
    times[0], times[-1] = 1.0, stop  # exact ends: the inverse has rounding
    return times

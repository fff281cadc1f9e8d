"""Grids of times, in float64: where the steps are put matters as much as the solver.

A sampler takes falling times, from the noise to the data: all grids here but one. `noisy_times`
are the places x_1, ..., x_T of a discrete model's states and rise with that index: turned round
by `flip(0)` they are a sampler's way to x_1, the data's own time left out.
"""

import torch
from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.diffusion.schedule import Schedule


def _end(end: float) -> float:
    if not 0.0 <= end < 1.0:
        raise ValueError(f"end must lie in [0, 1); got {end}; 0 is data, use for example 1e-3")
    return end


def even_times(steps: int, end: float = 0.0) -> Tensor:
    """Return `steps` + 1 times from 1 down to `end`, equally far apart, float64.

    Raises:
        TypeError: `steps` is not an int.
        ValueError: `steps` is below one, or `end` outside [0, 1).
    """
    return torch.linspace(
        1.0, _end(end), validate.positive_count("steps", steps) + 1, dtype=torch.float64
    )


def _finite_ends(schedule: Schedule, end: float) -> tuple[float, float]:
    ends = schedule.log_snr(torch.tensor([1.0, _end(end)], dtype=torch.float64))
    low, high = (float(v) for v in ends.detach())
    if not high < float("inf"):
        raise ValueError(
            f"the log-SNR must be finite at the last time; got no noise at end={end}; stop a "
            "little above, for example at 1e-3, and append a 0 if the noise is to go"
        )
    return low, high


def even_log_snr(schedule: Schedule, steps: int, end: float = 1e-3) -> Tensor:
    """Return `steps` + 1 times from 1 down to `end`, with equal steps of the log-SNR, float64.

    Raises:
        TypeError: `steps` is not an int.
        ValueError: `steps` is below one, or there is no noise at `end`.
    """
    low, high = _finite_ends(schedule, end)
    values = torch.linspace(
        low, high, validate.positive_count("steps", steps) + 1, dtype=torch.float64
    )
    return _pinned(schedule, values, end)


def karras_times(schedule: Schedule, steps: int, end: float = 1e-3, rho: float = 7.0) -> Tensor:
    """Return `steps` + 1 times from 1 down to `end`, crowded where the noise is small, float64.

        noise / signal = (first^(1/rho) + i / steps (last^(1/rho) - first^(1/rho)))^rho

    Raises:
        TypeError: `steps` is not an int.
        ValueError: `steps` is below one, `rho` not positive, or there is no noise at `end`.

    Reference: Karras et al. 2022 (arXiv 2206.00364).
    """
    validate.positive("rho", rho)
    low, high = _finite_ends(schedule, end)
    count = validate.positive_count("steps", steps) + 1
    roots = torch.linspace(0.0, 1.0, count, dtype=torch.float64)
    first, last = (torch.tensor(-0.5 * v / rho, dtype=torch.float64).exp() for v in (low, high))
    values = -2.0 * rho * (first + roots * (last - first)).log()
    return _pinned(schedule, values, end)


def _pinned(schedule: Schedule, log_snr: Tensor, end: float) -> Tensor:
    with torch.no_grad():
        times = schedule.time_of(log_snr)
    times[0], times[-1] = 1.0, end  # exact ends: the inverse has rounding
    return times


def sub_grid(steps: int, of: int) -> Tensor:
    """Return the falling times `round(i of / steps) / of`: part of a grid of `of` steps.

    Arguments:
        steps: how many steps to take.
        of: how many steps the model was trained on.

    Returns:
        times from 1 to 0, (steps + 1,), float64.

    Raises:
        TypeError: `steps` or `of` is not an int.
        ValueError: `steps` is below one, or above `of`.
    """
    chosen = [*reversed(_chosen(steps, validate.positive_count("of", of))), 0]
    return torch.tensor(chosen, dtype=torch.float64) / of


def _chosen(steps: int, of: int) -> list[int]:
    """Return the numbers in 1, ..., `of` of the states that `steps` even steps visit, rising."""
    if validate.positive_count("steps", steps) > of:
        raise ValueError(
            f"steps must be at most the {of} of the whole grid; got {steps}; take fewer, or use "
            "a finer grid: even_times for a model of continuous time"
        )
    return [round(i * of / steps) for i in range(1, steps + 1)]


def noisy_times(schedule: Schedule, steps: int) -> Tensor:
    """Return the rising times of the `steps` noisy states x_1, ..., x_T, evenly up to 1, (T,).

    A schedule without noise at time 0 is read at i / T: `even_times(T)` turned round, without its
    0. One that starts with some noise is read from time 0 on.

    Raises:
        ValueError: `steps` is below one.
    """
    validate.positive_count("steps", steps)
    start = torch.zeros(1, dtype=torch.float64)
    parameters = schedule.parameters() if isinstance(schedule, nn.Module) else iter(())
    device = next((p.device for p in parameters), start.device)
    if steps == 1 or float(schedule.log_snr(start.to(device)).detach()) == torch.inf:
        return torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return torch.linspace(0.0, 1.0, steps, dtype=torch.float64)


def thin(times: Tensor, steps: int) -> Tensor:
    """Return `steps` of the rising `times`, evenly, the last among them.

    Of i / T for i = 1, ..., T they are `sub_grid(steps, T)` turned round, without its 0.

    Raises:
        ValueError: `steps` is below one, or above the number of times.
    """
    return times[[i - 1 for i in _chosen(steps, len(times))]]

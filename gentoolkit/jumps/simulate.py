"""Exact simulation of jump processes, all paths of a batch at once.

Gillespie waits for the next jump: `wait ~ Exp(R_tot)`, then a jump by rate. Uniformization rings
a bell at a constant rate above every exit rate, and at each ring jumps by `I + Q / bell` (which
may stay). Thinning does so for rates that change with time: it rings at a bound of the total
rate, and accepts with `R_tot / bound`.
"""

from collections.abc import Callable
from math import isfinite

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.jumps.generators import Generator
from gentoolkit.jumps.leaping import Rates
from gentoolkit.jumps.path import JumpPath, collect
from gentoolkit.jumps.process import Process
from gentoolkit.jumps.tokens import checked_tokens, draw

Bounds = Tensor | Callable[[Tensor, Tensor], Tensor]
"""One bound for each piece of time, (T,); or from states (B, D) and numbers of pieces (B,)."""


def gillespie(
    process: Process, x: Tensor, end: float | None = None, generator: torch.Generator | None = None
) -> JumpPath:
    """Run the noising from data `x`, exactly, jump by jump.

    The clock runs in noise B_t, in which the rates are constant; the times follow from it.

    Arguments:
        process: the noising.
        x: data, (B, D).
        end: time to stop at; that of the process if left out.
        generator: source of randomness.

    Returns:
        paths that run up from time 0.

    Reference: Gillespie 1977.
    """
    x, end = checked_tokens("x", x, process.size).clone(), _end(process, end)
    first = x.clone()
    q = process.generator.matrix(_place(x))
    off, exits = q - q.diagonal().diag(), -q.diagonal()
    total = process.noise(0.0, end, x)
    clock, rows, events = q.new_zeros(len(x)), torch.arange(len(x), device=x.device), []
    while len(rows):
        leaving = exits[x[rows]]  # (N, D)
        clock = clock + _exponential(clock, generator) / leaving.sum(1)
        on = clock < total
        rows, clock, leaving = rows[on], clock[on], leaving[on]
        if len(rows) == 0:
            break
        d = pick(leaving, generator)
        token = pick(off[x[rows, d]], generator)
        x[rows, d] = token
        when = process.beta.time_of(clock).clamp(0.0, end)
        events.append((rows, when, d, token))
    return collect(first, events, 0.0, end, process.size)


def uniformization(
    process: Process, x: Tensor, end: float | None = None, generator: torch.Generator | None = None
) -> JumpPath:
    """Run the noising from data `x`, exactly, at the rings of a bell.

    The number of rings is Poisson with mean `bell D B_end`; one token is rung at each.

    Arguments:
        process: the noising.
        x: data, (B, D).
        end: time to stop at; that of the process if left out.
        generator: source of randomness.

    Returns:
        paths that run up from time 0; rings without a jump are left out.

    Reference: Jensen 1953; Grassmann 1977.
    """
    x, end = checked_tokens("x", x, process.size).clone(), _end(process, end)
    first = x.clone()
    q = process.generator.matrix(_place(x))
    bell, total = -float(q.diagonal().min()), process.noise(0.0, end, x)
    jump = _skeleton(q, bell)
    rings = torch.poisson((bell * x.shape[1] * total).expand(len(x)), generator=generator).long()
    # Uniform times, sorted; those past a row's number of rings come last.
    clocks = total * torch.rand(
        len(x), int(rings.max()), dtype=q.dtype, device=q.device, generator=generator
    )
    late = torch.arange(clocks.shape[1], device=q.device) >= rings[:, None]
    clocks = clocks.masked_fill(late, torch.inf).sort(1).values
    which = torch.randint(x.shape[1], clocks.shape, device=q.device, generator=generator)
    events = []
    for k in range(clocks.shape[1]):
        rows = (rings > k).nonzero()[:, 0]
        d = which[rows, k]
        token = pick(jump[x[rows, d]], generator)
        moved = token != x[rows, d]
        rows, d, token = rows[moved], d[moved], token[moved]
        x[rows, d] = token
        events.append((rows, process.beta.time_of(clocks[rows, k]).clamp(0.0, end), d, token))
    return collect(first, events, 0.0, end, process.size)


def uniformized(generator: Generator, b: float, terms: int = 60) -> Tensor:
    """Return `sum_k Poisson(k; bell b) (I + Q / bell)^k`, the first terms, (C, C).

    Every term is positive, so it is as exact as it is long: the oracle of a kernel.

    Raises:
        ValueError: `b` is negative, or `terms` below one.
    """
    if not (b >= 0 and isfinite(b)):
        raise ValueError(f"b must be an amount of noise >= 0; got {b}; use B_t - B_s with s <= t")
    q = generator.matrix()
    bell = -float(q.diagonal().min())
    jump, power = _skeleton(q, bell), torch.eye(len(q), dtype=q.dtype)
    weight = torch.tensor(-bell * b, dtype=q.dtype).exp()
    total = weight * power
    for k in range(1, validate.positive_count("terms", terms)):
        power, weight = power @ jump, weight * bell * b / k
        total = total + weight * power
    return total


def thinning(
    rates: Rates, x: Tensor, times: Tensor, bounds: Bounds, generator: torch.Generator | None = None
) -> JumpPath:
    """Run a process whose rates change with time, exactly, under bounds on its total rate.

    Arguments:
        rates: (B, D) states and (B,) times -> (B, D, C), with 0 at the token itself.
        x: states at the first time, (B, D).
        times: pieces of time, rising (noising) or falling (its reversal), (T+1,).
        bounds: for each piece, a number that the total rate never exceeds in it, (T,); or a
            function of states and pieces, for bounds of each state by itself: the closer they
            are, the fewer rings are in vain.
        generator: source of randomness.

    Returns:
        paths that run from the first time to the last.

    Raises:
        ValueError: the times turn round, a bound is not positive, or one is broken: this is
            seen at the event where it happens.

    Reference: Lewis and Shedler 1979.
    """
    times, bound_of = _pieces(times.to(x.device), bounds)
    x = validate.batch("x", x).clone()
    first, sign = x.clone(), 1.0 if float(times[1]) > float(times[0]) else -1.0
    rows = torch.arange(len(x), device=x.device)
    piece = torch.zeros_like(rows)
    clock, events, size = times[0].expand(len(x)), [], 0
    while len(rows):
        bound = bound_of(x[rows], piece)
        step = _exponential(clock, generator) / bound
        ring, stop = clock + sign * step, times[piece + 1]
        rung = sign * (ring - stop) < 0
        bound = bound[rung]
        # The clock has no memory: past the end of a piece it starts anew, under the next bound.
        clock, piece = torch.where(rung, ring, stop), piece + (~rung).long()
        who, when = rows[rung], clock[rung]
        if len(who):
            rate = rates(x[who], when)
            size, total = rate.shape[-1], rate.flatten(1).sum(1)
            _within(total, bound, when)
            lucky = torch.rand(
                len(who), dtype=total.dtype, device=total.device, generator=generator
            )
            took = lucky * bound < total
            who, when = who[took], when[took]
            at = pick(rate[took].flatten(1), generator) if len(who) else who
            x[who, at // size] = at % size
            events.append((who, when, at // size, at % size))
        alive = piece < len(times) - 1
        rows, clock, piece = rows[alive], clock[alive], piece[alive]
    highest = size if size else int(x.max()) + 1
    return collect(first, events, float(times[0]), float(times[-1]), highest)


def noising_bounds(process: Process, times: Tensor, dims: int) -> Tensor:
    """Return the largest total rate of the noising of `dims` tokens in each piece, (T,)."""
    times = process.time(times)
    fastest = -process.generator.matrix(times).diagonal().min()
    return dims * fastest * process.beta.bound(times[:-1], times[1:])


def pick(rates: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw an index of each row in proportion to `rates` (N, K), (N,).

    With more than a few entries, one number searched in the running sum is cheaper than a race.
    """
    if rates.shape[-1] <= 4:
        return draw(rates, generator)
    heights = rates.cumsum(-1)
    top = heights[:, -1:]
    u = torch.rand(len(rates), 1, dtype=rates.dtype, generator=generator, device=rates.device)
    # Strictly below the top, or rounding could choose an entry past the last positive rate.
    level = torch.minimum(u * top, torch.nextafter(top, torch.zeros_like(top)))
    return torch.searchsorted(heights, level, right=True)[:, 0]


def _exponential(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.empty_like(like).exponential_(generator=generator)


def _place(x: Tensor) -> Tensor:
    return torch.empty(0, device=x.device)


def _skeleton(q: Tensor, bell: float) -> Tensor:
    # Rounding may leave the entry that should be 0 on the diagonal a little below it.
    return (torch.eye(len(q), dtype=q.dtype, device=q.device) + q / bell).clamp_min(0.0)


def _end(process: Process, end: float | None) -> float:
    return process.end if end is None else float(process.time(end))


def _pieces(times: Tensor, bounds: Bounds) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
    steps = times.diff()
    if times.ndim != 1 or len(times) < 2 or not bool((steps > 0).all() | (steps < 0).all()):
        raise ValueError(
            f"times must be a row that rises or falls strictly; got shape {tuple(times.shape)}, "
            f"{times.flatten().tolist()[:4]}; give the ends of the pieces in order"
        )
    if not isinstance(bounds, Tensor):
        return times, lambda x, piece: _positive(bounds(x, piece))
    if bounds.shape != steps.shape:
        raise ValueError(
            f"bounds must have shape {tuple(steps.shape)}, one for each piece; got "
            f"{tuple(bounds.shape)}; repeat the bound"
        )
    validate.positive("bounds", bounds)
    table = bounds.to(times)
    return times, lambda x, piece: table[piece]


def _positive(bound: Tensor) -> Tensor:
    validate.positive("bounds", bound)
    return bound


def _within(total: Tensor, bound: Tensor, when: Tensor) -> None:
    broken = ~(total <= bound * (1.0 + 1e-9))
    if bool(broken.any()):
        i = int(broken.nonzero()[0])
        raise ValueError(
            "a bound of the thinning is broken, so the paths would be wrong; got a total rate of "
            f"{float(total[i])} over the bound {float(bound[i])} at time {float(when[i])}; raise "
            "the bound, or cut time into shorter pieces"
        )

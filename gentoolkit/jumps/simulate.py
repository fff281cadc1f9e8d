"""Exact simulation of jump processes, all paths of a batch at once.

Gillespie waits for the next jump: `wait ~ Exp(R_tot)`, then a jump by rate. Uniformization rings
a bell at a constant rate above every exit rate, and at each ring jumps by `I + Q / bell` (which
may stay). Thinning does so for rates that change with time: it rings at a bound of the total
rate, and accepts with `R_tot / bound`.

Under the noising the tokens jump independently of each other. So each token is a path of its own,
all tokens of all paths take their next jump in one round, and the jumps are sorted at the end.
"""

from collections.abc import Callable
from math import isfinite

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from gentoolkit.core import validate
from gentoolkit.jumps.leaping import Rates
from gentoolkit.jumps.path import JumpPath, collect
from gentoolkit.processes import JumpProcess, RateMatrix
from gentoolkit.processes.tokens import checked_tokens, draw, shaped

Bounds = Tensor | Callable[[Tensor], Tensor]
"""One bound for each piece of time, (T,); or from states (N, D) those of each state, (N, T)."""


def gillespie(
    process: JumpProcess, x: Tensor, end: float | None = None, *, generator: Generator | None = None
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
    q = process.rate_matrix.matrix(torch.empty(0, device=x.device))
    exits = q.diagonal().abs()  # not minus: a rate of -0.0 would be left at once
    return _noised(process, x, end, exits, q + exits.diag(), generator)


def uniformization(
    process: JumpProcess, x: Tensor, end: float | None = None, *, generator: Generator | None = None
) -> JumpPath:
    """Run the noising from data `x` as `gillespie` does, exactly, at the rings of a bell.

    The number of rings of a token is Poisson with mean `bell B_end`; those without a jump are
    left out of the paths.

    Reference: Jensen 1953; Grassmann 1977.
    """
    q = process.rate_matrix.matrix(torch.empty(0, device=x.device))
    bell = q.diagonal().abs().max()
    return _noised(process, x, end, bell.expand(len(q)), _skeleton(q, float(bell)), generator)


def uniformized(rates: RateMatrix, b: float, terms: int = 60) -> Tensor:
    """Return `sum_k Poisson(k; bell b) (I + Q / bell)^k`, the first terms, (C, C).

    Every term is positive, so it is as exact as it is long: the oracle of a kernel.
    """
    if not (b >= 0 and isfinite(b)):
        raise ValueError(f"b must be an amount of noise >= 0; got {b}; use B_t - B_s with s <= t")
    q = rates.matrix()
    bell = -float(q.diagonal().min())
    k = torch.arange(validate.positive_count("terms", terms), dtype=q.dtype)
    weights = (torch.xlogy(k, torch.full_like(k, bell * b)) - bell * b - (k + 1.0).lgamma()).exp()
    jump, power = _skeleton(q, bell), torch.eye(len(q), dtype=q.dtype)
    total = torch.zeros_like(power)
    for weight in weights:
        total, power = total + weight * power, power @ jump
    return total


def _skeleton(q: Tensor, bell: float) -> Tensor:
    # Rounding may leave the entry that should be 0 on the diagonal a little below it. Without any
    # jump there is no bell, and every token stays.
    return (torch.eye(len(q), dtype=q.dtype, device=q.device) + q / (bell or 1.0)).clamp_min(0.0)


def _noised(
    process: JumpProcess,
    first: Tensor,
    end: float | None,
    speeds: Tensor,
    jump: Tensor,
    generator: Generator | None,
) -> JumpPath:
    """Run every token by itself: rung at `speeds` (C,) in noise, it goes by `jump` (C, C)."""
    first = checked_tokens("x", first, process.size)
    end = process.end if end is None else float(process.time(end))
    total, dims = process.noise(0.0, end, first), first[0].numel()
    # One search serves all tokens: row c of the table lies in [c, c + 1].
    top = jump.double().sum(1, keepdim=True)
    base = torch.arange(len(jump), device=first.device)[:, None]
    table = (jump.double().cumsum(1) / torch.where(top > 0, top, 1.0)).clamp_max(1.0) + base
    table = torch.where(top > 0, table, base.double()).flatten()
    token, which = first.flatten(), torch.arange(first.numel(), device=first.device)
    clock, events = speeds.new_zeros(len(token)), []
    while len(which):
        clock = clock + _exponential(clock, generator) / speeds[token]
        on = (clock < total).nonzero()[:, 0]
        which, clock, before = which[on], clock[on], token[on]
        u = torch.rand(len(on), dtype=table.dtype, device=table.device, generator=generator)
        row = before.double()
        level = torch.minimum(row + u, torch.nextafter(row + 1.0, row))
        token = torch.searchsorted(table, level, right=True) - before * len(jump)
        moved = (token != before).nonzero()[:, 0]
        events.append((which[moved], clock[moved], token[moved]))
    who, clock, token = (torch.cat(v) for v in zip(*events, strict=True))
    when = process.schedule.time_of(clock).clamp(0.0, end)
    return collect(first, who // dims, when, who % dims, token, 0.0, end)


def thinning(
    rates: Rates,
    x: Tensor,
    times: Tensor,
    bounds: Bounds,
    *,
    independent: bool = False,
    generator: Generator | None = None,
) -> JumpPath:
    """Run a process from the first time to the last, exactly, under bounds on its total rate.

    The rates may change with time. A bell rings at the bound: the wait to the next ring is
    `Exp(1)` of the bound's integral.

    Arguments:
        rates: (N, D) states and (N,) times -> (N, D, C), with 0 at the token itself.
        x: states at the first time, (B, D).
        times: pieces of time, rising (noising) or falling (its reversal), (T+1,).
        bounds: for each piece, a number that the total rate never exceeds in it, (T,); or a
            function from states to bounds of each by itself, (N, T): the closer they are, the
            fewer rings are in vain.
        independent: whether the tokens jump independently, as under a noising. Then `rates` and
            `bounds` are asked about single tokens, (N, 1), all of them at once: much faster.
        generator: source of randomness.

    Raises:
        ValueError: the times turn round, a bound is not positive, or a rate breaks it.

    Reference: Lewis and Shedler 1979.
    """
    first = validate.batch("x", x)
    x = first.reshape(-1, 1) if independent else first
    bell = _Bell(times.to(x.device), bounds, x)
    x, rows = x.clone(), torch.arange(len(x), device=x.device)
    none = rows[:0]
    events = [(none, times[:0], none, none)]
    while True:
        rows, when, bound = bell.ring(rows, generator)
        if len(rows) == 0:
            break
        rate = rates(x[rows], when)
        leaving = rate.sum(-1)  # (N, D)
        total = leaving.sum(1)
        _within(total, bound, when)
        lucky = torch.rand(len(rows), dtype=total.dtype, device=x.device, generator=generator)
        took = (lucky * bound < total).nonzero()[:, 0]
        if len(took):
            who, d = rows[took], pick(leaving[took], generator)
            token = pick(rate[took, d], generator)
            x[who, d] = token
            bell.restart(took, x[who])
            events.append((who, when[took], d, token))
    who, when, d, token = (torch.cat(v) for v in zip(*events, strict=True))
    if independent:
        who, d = who // first.shape[1], who % first.shape[1]
    return collect(first, who, when, d, token, float(times[0]), float(times[-1]))


class _Bell:
    """A bell for each row: it rings at a bound that is constant in each piece of time.

    `level` is the integral of the bound from the first time; `spent` holds it at the ends of the
    pieces. Rings are a Poisson process of rate 1 in `level`.
    """

    def __init__(self, times: Tensor, bounds: Bounds, x: Tensor) -> None:
        steps = times.diff()
        if times.ndim != 1 or len(times) < 2 or not bool((steps > 0).all() | (steps < 0).all()):
            raise ValueError(
                "times must be a row that rises or falls strictly; got shape "
                f"{tuple(times.shape)}, {times.flatten().tolist()[:4]}; give the ends of the "
                "pieces in order"
            )
        self.times, self.lengths, self.bounds = times, steps.abs(), bounds
        if isinstance(bounds, Tensor):
            shaped("bounds", bounds, steps.shape, "one for each piece: repeat the bound")
            validate.positive("bounds", bounds)
            self.height = bounds.to(times)[None]  # (1, T): one line for all rows
        else:
            self.height = self._of(bounds, x)  # (N, T): each row its own
        self.spent = self._spent(self.height)
        self.level = times.new_zeros(len(x))

    def ring(self, rows: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return which of `rows` are rung once more before the end, when, and at which bound."""
        own, level = not isinstance(self.bounds, Tensor), self.level
        level = level + _exponential(level, generator)
        on = level < self.spent[:, -1]
        rows, self.level = rows[on], level[on]
        if own:
            self.height, self.spent = self.height[on], self.spent[on]
        at = self.level[:, None] if own else self.level[None]
        self.piece = piece = torch.searchsorted(self.spent, at, right=True).flatten() - 1
        before, bound = _entry(self.spent, piece), _entry(self.height, piece)
        self.part = (self.level - before) / (bound * self.lengths[piece])  # of the piece, in [0, 1)
        return rows, torch.lerp(self.times[piece], self.times[piece + 1], self.part), bound

    def restart(self, took: Tensor, x: Tensor) -> None:
        """Go on from the last ring under the bounds of the new states `x` of the rows `took`."""
        if not isinstance(self.bounds, Tensor):
            height, piece = self._of(self.bounds, x), self.piece[took]
            spent = self._spent(height)
            low, high = _entry(spent, piece), _entry(spent, piece + 1)
            self.height[took], self.spent[took] = height, spent
            self.level[took] = torch.lerp(low, high, self.part[took])

    def _spent(self, height: Tensor) -> Tensor:
        return pad((height * self.lengths).cumsum(-1), (1, 0))

    def _of(self, bounds: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        shape = (len(x), len(self.lengths))
        height = shaped("bounds", bounds(x), shape, "one for each state and piece").to(self.times)
        if not bool((height >= 0).all() & height.isfinite().all()):
            raise ValueError(
                f"bounds must be finite and positive, or 0 for a state that cannot be left; got "
                f"{float(height.min())} to {float(height.max())}; check the rates"
            )
        return height


def _entry(lines: Tensor, i: Tensor) -> Tensor:
    """Return entry `i` (N,) of each line, (N, T), or of the one line of all, (1, T)."""
    return lines.expand(len(i), -1).gather(1, i[:, None])[:, 0]


def _within(total: Tensor, bound: Tensor, when: Tensor) -> None:
    slack = 64 * max(torch.finfo(v.dtype).eps for v in (total, bound))
    broken = ~(total <= bound * (1.0 + slack))
    if bool(broken.any()):
        i = int(broken.nonzero()[0])
        raise ValueError(
            "a bound of the thinning is broken, so the paths would be wrong; got a total rate of "
            f"{float(total[i])} over the bound {float(bound[i])} at time {float(when[i])}; raise "
            "the bound, or cut time into shorter pieces"
        )


def noising_bounds(process: JumpProcess, times: Tensor, dims: int = 1) -> Tensor:
    """Return the largest total rate of the noising of `dims` tokens in each piece, (T,)."""
    times = process.time(times)
    fastest = -process.rate_matrix.matrix(times).diagonal().min()
    return dims * fastest * process.schedule.bound(times[:-1], times[1:])


def pick(rates: Tensor, generator: Generator | None = None) -> Tensor:
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


def _exponential(like: Tensor, generator: Generator | None) -> Tensor:
    return torch.empty_like(like).exponential_(generator=generator)

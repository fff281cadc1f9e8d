"""A batch of jump paths: where each begins, and which token turned into what, when."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class JumpPath:
    """A batch of paths in the order they were run; the rows are padded to the longest.

    A pulled path runs up from time 0 (data) to the end (noise), a pushed one down. Either may be
    read from its other end with `reversed`.

    Arguments:
        initial: states at `start`, (B, D).
        times: of the jumps, running from `start` to `end`, (B, J); `end` in the padding.
        dims: which token jumps, (B, J).
        tokens: what it turns into, (B, J).
        counts: number of jumps, (B,).
        start: time where the paths begin.
        end: time where they end.

    Raises:
        ValueError: shapes differ, or the times leave the interval or turn round.
    """

    initial: Tensor
    times: Tensor
    dims: Tensor
    tokens: Tensor
    counts: Tensor
    start: float
    end: float

    def __post_init__(self) -> None:
        shapes = [tuple(v.shape) for v in (self.initial, self.times, self.dims, self.tokens)]
        same, n = shapes[1] == shapes[2] == shapes[3], shapes[0][:1]
        counted = tuple(self.counts.shape) == n == shapes[1][:1]
        if not (same and counted and len(shapes[0]) == len(shapes[1]) == 2):
            raise ValueError(
                "a path needs initial (B, D), times, dims and tokens (B, J), counts (B,); got "
                f"{shapes} and {tuple(self.counts.shape)}; pad the rows to the longest"
            )
        starts, ends = self.pieces()
        steps = ends - starts if self.end >= self.start else starts - ends
        if not bool((steps >= 0).all()):
            raise ValueError(
                f"times must run from {self.start} to {self.end} without turning; got a step of "
                f"{float(steps.min())}; sort each row and pad with the end"
            )

    @property
    def jumped(self) -> Tensor:
        """Which entries are jumps and not padding, bool (B, J)."""
        return torch.arange(self.times.shape[1], device=self.times.device) < self.counts[:, None]

    @property
    def final(self) -> Tensor:
        """States at `end`, (B, D)."""
        return self._after(self.jumped)

    def state_at(self, t: float | Tensor) -> Tensor:
        """Return the states at time `t`, a number or (B,): (B, D). At a jump, the state after it.

        Raises:
            ValueError: `t` is outside the paths' time.
        """
        low, high = sorted((self.start, self.end))
        t = torch.as_tensor(t, dtype=self.times.dtype, device=self.times.device)
        if not bool(((t >= low) & (t <= high)).all()):
            raise ValueError(
                f"t must lie in [{low}, {high}], the time of the paths; got {t.flatten()[:4]}; "
                "run the paths for longer"
            )
        t = t.expand(len(self.counts))[:, None]
        done = self.times <= t if self.end >= self.start else self.times >= t
        return self._after(done & self.jumped)

    def pieces(self) -> tuple[Tensor, Tensor]:
        """Return where the waits before, between and after the jumps begin and end, (B, J+1)."""
        first, last = (self.times.new_full((len(self.times), 1), t) for t in (self.start, self.end))
        return torch.cat([first, self.times], 1), torch.cat([self.times, last], 1)

    def states(self) -> Tensor:
        """Return the state before the first jump and after each, (B, J+1, D)."""
        after, rows = [self.initial], torch.arange(len(self.counts), device=self.dims.device)
        for d, token, jumped in zip(self.dims.T, self.tokens.T, self.jumped.T, strict=True):
            x = after[-1].clone()
            x[rows, d] = torch.where(jumped, token, x[rows, d])
            after.append(x)
        return torch.stack(after, 1)

    def before(self) -> Tensor:
        """Return what each jump replaced, (B, J): what the last jump of its token left there."""
        order = self.dims.argsort(stable=True, dim=1)  # the padding stands last among its equals
        dims, tokens = self.dims.gather(1, order), self.tokens.gather(1, order)
        old = self.initial.gather(1, dims)
        old[:, 1:] = torch.where(dims[:, 1:] == dims[:, :-1], tokens[:, :-1], old[:, 1:])
        return torch.empty_like(old).scatter_(1, order, old)

    def reversed(self) -> "JumpPath":
        """Return the same paths read from their other end."""
        jumped, j = self.jumped, torch.arange(self.times.shape[1], device=self.times.device)
        order = torch.where(jumped, self.counts[:, None] - 1 - j, j)  # the padding stays
        return JumpPath(
            initial=self.final,
            times=self.times.gather(1, order).masked_fill(~jumped, self.start),
            dims=self.dims.gather(1, order),
            tokens=self.before().gather(1, order),
            counts=self.counts,
            start=self.end,
            end=self.start,
        )

    def _after(self, done: Tensor) -> Tensor:
        """Return the states after the jumps marked in `done`, (B, D)."""
        if self.times.shape[1] == 0:
            return self.initial
        order = torch.arange(self.times.shape[1], device=self.dims.device)
        last = torch.full_like(self.initial, -1).scatter_reduce(
            1, self.dims, torch.where(done, order, -1), "amax"
        )
        turned = self.tokens.gather(1, last.clamp_min(0))
        return torch.where(last >= 0, turned, self.initial)


def collect(
    initial: Tensor,
    rows: Tensor,
    times: Tensor,
    dims: Tensor,
    tokens: Tensor,
    start: float,
    end: float,
) -> JumpPath:
    """Return the paths of recorded jumps: rows, times, dims and tokens (E,), in any order.

    Jumps of one row at the same time stay in the order in which they are given.
    """
    order = (times if end >= start else -times).argsort(stable=True)
    order = order[rows[order].argsort(stable=True)]
    rows, counts = rows[order], torch.bincount(rows, minlength=len(initial))
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    shape = (len(initial), int(counts.max()))

    def padded(values: Tensor, padding: float) -> Tensor:
        return values.new_full(shape, padding).index_put_((rows, place), values[order])

    which, what = padded(dims, 0), padded(tokens, 0)
    return JumpPath(initial, padded(times, end), which, what, counts, start, end)

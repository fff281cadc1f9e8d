"""Data whose law is a table of all states: everything about its noising is exact.

    R_t(x, y) = Q_t(y, x) q_t(y) / q_t(x)          for y that differs from x in one token

With y = x but for token d, q_t(y) / q_t(x) = q_t(y^d | rest) / q_t(x^d | rest).
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Categorical, validate
from gentoolkit.processes import JumpProcess, Time, falling_times
from gentoolkit.processes.jump import warn_of_gap
from gentoolkit.processes.tokens import checked_tokens, draw


class Table(nn.Module):
    """Data whose law is a table of all states, and its exact noising and reversal.

    For small spaces only: it holds C^D numbers (never C^D x C^D). As a density it is the law of
    the data.

    Arguments:
        process: the noising.
        probs: the data's law, one axis of C for each of D tokens, floating point.

    Raises:
        ValueError: an axis is not C, or the entries are not probabilities.
    """

    probs: Tensor

    def __init__(self, process: JumpProcess, probs: Tensor) -> None:
        super().__init__()
        if probs.ndim < 1 or any(n != process.size for n in probs.shape):
            raise ValueError(
                f"probs must have one axis of {process.size} for each token; got "
                f"{tuple(probs.shape)}; reshape the table to (C,) * D"
            )
        Categorical.from_probs(probs.reshape(1, 1, -1))
        self.process = process
        self.register_buffer("probs", probs)

    @property
    def dims(self) -> int:
        """Number of tokens D."""
        return self.probs.ndim

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` states of data, (n, D)."""
        flat = self.probs.reshape(1, -1).expand(validate.positive_count("n", n), -1)
        return torch.stack(torch.unravel_index(draw(flat, generator), self.probs.shape), -1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the data's log-probability of each state, (B,)."""
        return self.probs[tuple(self._checked(x).T)].log()

    def law(self, t: Time) -> Tensor:
        """Return the law q_t, (C, ..., C), or (B, C, ..., C) for times (B,)."""
        time = self.process.time(t, self.probs)
        law = self._noised(time, range(self.dims))
        return law.expand(len(time), *law.shape[1:]) if time.ndim else law[0]

    def conditionals(self, x: Tensor, t: Time) -> Tensor:
        """Return `q_t(x^d = c | rest)`, (B, D, C)."""
        x = self._checked(x)
        law = self._noised(self.process.time(t, x), range(self.dims))
        return _normalised([_line(law, x, d) for d in range(self.dims)])

    def data_unseen(self, x: Tensor, t: Time) -> Tensor:
        """Return `p(x_0^d = c | x_t without d)`, (B, D, C): what a hollow net learns."""
        x, time, every = self._checked(x), self.process.time(t, x), range(self.dims)
        others = [[e for e in every if e != d] for d in every]
        return _normalised([_line(self._noised(time, others[d]), x, d) for d in every])

    def data_seen(self, x: Tensor, t: Time) -> Tensor:
        """Return `p(x_0^d = c | x_t)`, (B, D, C): what a net that sees all learns."""
        return self.process.seen(x, self.data_unseen(x, t), t)

    def rates(self, x: Tensor, t: Time) -> Tensor:
        """Return the exact rates of the reversal, (B, D, C), with 0 at the token itself."""
        law = self.conditionals(x, t)
        return self.process.reverse_rates(x, law / law.gather(-1, x[..., None]), t)

    def transition(self, x: Tensor, s: Time, t: Time) -> Tensor:
        """Return the exact law of each token at `s` given the state at `t`, (B, D, C).

            p(x_s | x_t) ~ [sum_c p(x_0 = c | rest) q_{s|0}(x_s | c)] q_{t|s}(x_t | x_s)

        Exact but for the other tokens, which are held still: the analytic step.

        Reference: Sun et al. 2022 (arXiv 2211.16750).
        """
        return self.process.seen(x, self.process.spread(self.data_unseen(x, t), s), t, s)

    def prior_gap(self) -> float:
        """Return the total variation of the law at the end from the source; warns above 0.05."""
        stationary = self.process.rate_matrix.stationary(self.probs)
        product = stationary
        for _ in range(self.dims - 1):
            product = product[..., None] * stationary
        gap = float(0.5 * (self.law(self.process.end) - product).abs().sum())
        warn_of_gap(gap, self.process.end)
        return gap

    def bounds(
        self, times: int | Tensor, probes: int = 9, slack: float = 1.3
    ) -> Callable[[Tensor], Tensor]:
        """Return bounds for thinning: from states (N, D) to total rates in each piece, (N, T).

        The largest rate of the state at `probes` times of the piece, times `slack`; thinning
        checks it at every event.

        Raises:
            ValueError: the times do not fall within [0, end], or a rate is infinite.
        """
        every = torch.cartesian_prod(*[torch.arange(self.process.size)] * self.dims)
        every = every.reshape(-1, self.dims).to(self.probs.device)
        pieces = []
        for t, s in pairwise(falling_times(times, self.process.end).tolist()):
            near = torch.linspace(t, s, probes).tolist()
            rates = torch.stack([self.rates(every, u).sum((1, 2)) for u in near])
            if not bool(torch.isfinite(rates).all()):
                raise ValueError(
                    f"the rates must be finite; got {float(rates.max())} between t={t} and {s}; "
                    "stop above 0: states without data have infinite rates there"
                )
            pieces.append(slack * rates.max(0).values)
        # A state that looks as if it cannot be left still has a bell, however slow.
        table = torch.stack(pieces, -1).clamp_min(1e-9).reshape(*self.probs.shape, -1)
        return lambda x: table[tuple(x.T)]

    def _noised(self, t: Tensor, dims: Iterable[int]) -> Tensor:
        """Return the joint law of x_t in `dims` and of x_0 elsewhere, (B or 1, C, ..., C)."""
        b = self.process.noise(0.0, t).to(self.probs).reshape(-1)
        if not validate.traced(b) and bool((b == b[:1]).all()):
            b = b[:1]  # a step of a grid: one time for all
        kernel, law = (
            self.process.rate_matrix.kernel(b),
            self.probs.expand(len(b), *self.probs.shape),
        )
        for d in dims:
            law = torch.einsum("b...x,bxy->b...y", law.movedim(d + 1, -1), kernel).movedim(
                -1, d + 1
            )
        return law

    def _checked(self, x: Tensor) -> Tensor:
        return checked_tokens("x", x, self.process.size, self.dims)


def _normalised(lines: list[Tensor]) -> Tensor:
    laws = torch.stack(lines, 1)
    return laws / laws.sum(-1, keepdim=True)


def _line(law: Tensor, x: Tensor, d: int) -> Tensor:
    """Return `law[b, x_0, ..., :, ..., x_{D-1}]` with `:` in place of token d, (B, C)."""
    law = law.expand(len(x), *law.shape[1:]).movedim(d + 1, -1)
    rest = [x[:, e] for e in range(x.shape[1]) if e != d]
    return law[(torch.arange(len(x), device=x.device), *rest)]

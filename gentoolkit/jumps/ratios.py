"""The reversal: a jump process whose rates need only ratios of probabilities of neighbours.

    R_t(x, y) = Q_t(y, x) q_t(y) / q_t(x)          for y that differs from x in one token

Note the transpose: a jump x -> y of the reversal undoes a jump y -> x of the noising. With
y = x but for token d, q_t(y) / q_t(x) = q_t(y^d | rest) / q_t(x^d | rest).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.core.laws import Categorical
from gentoolkit.jumps.process import Process, Time, warn_of_gap
from gentoolkit.jumps.tokens import checked_tokens, draw


def ratios_of(x: Tensor, log_conditionals: Tensor) -> Tensor:
    """Return `q(x^d := c) / q(x)` from log q(x^d = c | rest), (B, D, C); 1 at the token itself.

    Arguments:
        x: states, (B, D).
        log_conditionals: up to a constant in each place, (B, D, C): logits will do.
    """
    here = log_conditionals.gather(-1, x[..., None])
    return (log_conditionals - here).exp()


def data_ratios(process: Process, x: Tensor, x0_probs: Tensor, t: Time) -> Tensor:
    """Return the ratios by a guess of the data that has seen the whole state, (B, D, C).

        q_t(y) / q_t(x) = sum_c p(x_0^d = c | x) q_{t|0}(y^d | c) / q_{t|0}(x^d | c)

    Arguments:
        process: the noising.
        x: states at time `t`, (B, D).
        x0_probs: `p(x_0^d = c | x)`, (B, D, C).
        t: above 0.

    Reference: Campbell et al. 2022 (arXiv 2205.14987).
    """
    spread = process.spread(process.unseen(x, x0_probs, t), t)
    return spread / spread.gather(-1, x[..., None])


def reverse_rates(process: Process, x: Tensor, ratios: Tensor, t: Time) -> Tensor:
    """Return `R_t(x, y) = beta(t) Q(y^d, x^d) ratio`, (B, D, C), with 0 at the token itself.

    Arguments:
        process: the noising.
        x: states at time `t`, (B, D).
        ratios: `q_t(x^d := c) / q_t(x)`, (B, D, C).
        t: a number, or (B,).

    Raises:
        ValueError: `ratios` has another shape.
    """
    x, time = checked_tokens("x", x, process.size), process.time(t, x)
    if ratios.shape != (*x.shape, process.size):
        raise ValueError(
            f"ratios must have shape {(*x.shape, process.size)}; got {tuple(ratios.shape)}; give "
            "one for each token in each place"
        )
    into = process.generator.into(x, ratios)
    beta = process.beta.rate(time).to(ratios).reshape(-1, *[1] * x.ndim)
    # An infinite ratio towards a state that the noising cannot come from counts for nothing.
    return beta * torch.where(into > 0, into * ratios, 0.0)


@dataclass(frozen=True, eq=False)
class Table:
    """Data whose law is a table of all states: everything about its noising is exact.

    For small spaces only: it holds C^D numbers (never C^D x C^D).

    Arguments:
        process: the noising.
        probs: the data's law, one axis of C for each of D tokens, floating point.

    Raises:
        ValueError: an axis is not C, or the entries are not probabilities.
    """

    process: Process
    probs: Tensor

    def __post_init__(self) -> None:
        c = self.process.size
        if self.probs.ndim < 1 or any(n != c for n in self.probs.shape):
            raise ValueError(
                f"probs must have one axis of {c} for each token; got {tuple(self.probs.shape)}; "
                "reshape the table to (C,) * D"
            )
        Categorical.from_probs(self.probs.reshape(1, 1, -1))

    @property
    def dims(self) -> int:
        """Number of tokens D."""
        return self.probs.ndim

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` states of data, (n, D)."""
        flat = self.probs.reshape(1, -1).expand(validate.positive_count("n", n), -1)
        return torch.stack(torch.unravel_index(draw(flat, generator), self.probs.shape), -1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the data's log-probability of each state, (B,)."""
        x = self._checked(x)
        return self.probs[tuple(x.T)].log()

    def law(self, t: Time) -> Tensor:
        """Return the law q_t, (C, ..., C), or (B, C, ..., C) for times (B,)."""
        time = self.process.time(t)
        law = self._noised(time, range(self.dims))
        return law.expand(len(time), *law.shape[1:]) if time.ndim else law[0]

    def log_law(self, x: Tensor, t: Time) -> Tensor:
        """Return log q_t(x), (B,)."""
        x = self._checked(x)
        law = self._noised(self.process.time(t, x), range(self.dims))
        law = law.expand(len(x), *law.shape[1:])
        return law[(torch.arange(len(x), device=x.device), *x.T)].log()

    def conditionals(self, x: Tensor, t: Time) -> Tensor:
        """Return `q_t(x^d = c | rest)`, (B, D, C)."""
        x = self._checked(x)
        law = self._noised(self.process.time(t, x), range(self.dims))
        lines = torch.stack([_line(law, x, d) for d in range(self.dims)], 1)
        return lines / lines.sum(-1, keepdim=True)

    def data_unseen(self, x: Tensor, t: Time) -> Tensor:
        """Return `p(x_0^d = c | x_t without d)`, (B, D, C): what a hollow net learns."""
        x, time = self._checked(x), self.process.time(t, x)
        lines = [
            _line(self._noised(time, [e for e in range(self.dims) if e != d]), x, d)
            for d in range(self.dims)
        ]
        joint = torch.stack(lines, 1)
        return joint / joint.sum(-1, keepdim=True)

    def data_seen(self, x: Tensor, t: Time) -> Tensor:
        """Return `p(x_0^d = c | x_t)`, (B, D, C): what a net that sees all learns."""
        return self.process.seen(x, self.data_unseen(x, t), t)

    def rates(self, x: Tensor, t: Time) -> Tensor:
        """Return the exact rates of the reversal, (B, D, C), with 0 at the token itself."""
        return reverse_rates(self.process, x, ratios_of(x, self.conditionals(x, t).log()), t)

    def prior_gap(self) -> float:
        """Return the total variation of the law at the end from the source; warns above 0.05."""
        stationary = self.process.generator.stationary(self.probs)
        product = stationary
        for _ in range(self.dims - 1):
            product = product[..., None] * stationary
        gap = float(0.5 * (self.law(self.process.end) - product).abs().sum())
        warn_of_gap(gap, self.process.end)
        return gap

    def bounds(
        self, times: Tensor, probes: int = 9, slack: float = 1.3
    ) -> Callable[[Tensor], Tensor]:
        """Return a bound on the total rate of each state in each piece of a grid, for thinning.

        The largest rate of the state at `probes` times of the piece, times `slack`; thinning
        checks it at every event.

        Returns:
            a function of states (N, D) that gives bounds (N, T).

        Raises:
            ValueError: the times do not fall within [0, end], or a rate is infinite.
        """
        every = torch.cartesian_prod(*[torch.arange(self.process.size)] * self.dims)
        every = every.reshape(-1, self.dims).to(self.probs.device)
        pieces = []
        for t, s in pairwise(self.process.grid(times).tolist()):
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

    def _noised(self, t: Tensor, dims: range | list[int]) -> Tensor:
        """Return the joint law of x_t in `dims` and of x_0 elsewhere, (B or 1, C, ..., C)."""
        b = self.process.noise(0.0, t).to(self.probs).reshape(-1)
        b = b[:1] if bool((b == b[:1]).all()) else b  # a step of a grid: one time for all
        kernel, c, n = self.process.generator.kernel(b), self.process.size, self.dims
        law = self.probs.expand(len(b), *self.probs.shape)
        for d in dims:
            folded = law.reshape(len(b), c**d, c, c ** (n - 1 - d))
            law = torch.einsum("bixj,bxy->biyj", folded, kernel).reshape(law.shape)
        return law

    def _checked(self, x: Tensor) -> Tensor:
        checked_tokens("x", x, self.process.size)
        if x.ndim != 2 or x.shape[1] != self.dims:
            raise ValueError(
                f"x must have shape (B, {self.dims}), one token for each axis of the table; got "
                f"{tuple(x.shape)}; reshape x"
            )
        return x


def _line(law: Tensor, x: Tensor, d: int) -> Tensor:
    """Return `law[b, x_0, ..., :, ..., x_{D-1}]` with `:` in place of token d, (B, C)."""
    law = law.expand(len(x), *law.shape[1:]).movedim(d + 1, -1)
    rest = [x[:, e] for e in range(x.shape[1]) if e != d]
    return law[(torch.arange(len(x), device=x.device), *rest)]

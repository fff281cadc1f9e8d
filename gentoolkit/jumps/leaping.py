"""Leaping: the reversal on a grid of times, as a chain of categorical kernels.

A *step law* says where a state goes in one step of the grid, each token by itself:

    law(x, s, t) -> probabilities of each token at time s given the state x at t, (B, D, C)

Euler and tau-leaping hold the rates still over a step, and the tokens leap all at once: two
errors, both of which vanish with the step. The chain pairs each leap with the exact noising
kernel, so that its weights still tell the exact normaliser.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gentoolkit.core.chain import Chain, Source
from gentoolkit.core.laws import Categorical
from gentoolkit.core.step import FunctionKernel
from gentoolkit.jumps.process import Process

Rates = Callable[[Tensor, Tensor], Tensor]
"""States (B, D) and their times (B,) -> rates (B, D, C), with 0 at the token itself."""


class StepLaw(ABC):
    """Where the tokens go in one step of a grid.

    Obligation: `probs` gives rows that sum to 1.
    """

    def __call__(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return the law of each token at `s` given the state `x` at `t`, (B, D, C).

        Raises:
            ValueError: not `0 <= s < t`.
        """
        if not 0.0 <= s < t:
            raise ValueError(f"a step must go down in time; got from t={t} to s={s}; swap them")
        return self.probs(x, s, t)

    @abstractmethod
    def probs(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return the law of each token at `s` given the state `x` at `t`, (B, D, C)."""


@dataclass(frozen=True)
class Euler(StepLaw):
    """`p(x^d -> c) = (t - s) R_t(x, c)`, clamped where the sum of a token exceeds 1.

    Arguments:
        rates: of the reversal.
    """

    rates: Rates

    def probs(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return the law of one step, (B, D, C)."""
        leave = (t - s) * self.rates(x, _times(x, t))
        total = leave.sum(-1, keepdim=True)
        leave = leave / total.clamp_min(1.0)
        return leave.scatter_add(-1, x[..., None], (1.0 - total).clamp_min(0.0))

    def clamped(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return which tokens the step is too long for, (B, D)."""
        return (t - s) * self.rates(x, _times(x, t)).sum(-1) > 1.0


@dataclass(frozen=True)
class TauLeaping(StepLaw):
    """Stay with `exp(-(t - s) R_tot)`, else go to c by rate: at most one jump of each token.

    Without an order among tokens, a sum of two jumps has no meaning.

    Arguments:
        rates: of the reversal.

    Reference: Gillespie 2001; Campbell et al. 2022 (arXiv 2205.14987).
    """

    rates: Rates

    def probs(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return the law of one step, (B, D, C)."""
        rates = self.rates(x, _times(x, t))
        total = rates.sum(-1, keepdim=True)
        tiny = torch.finfo(rates.dtype).tiny
        leave = -torch.expm1(-(t - s) * total) * rates / total.clamp_min(tiny)
        return leave.scatter_add(-1, x[..., None], (-(t - s) * total).exp())


@dataclass(frozen=True)
class Analytic(StepLaw):
    """The exact law of each token given the others, who are held still over the step.

        p(x_s | x_t) ~ [sum_c p(x_0 = c | rest) q_{s|0}(x_s | c)] q_{t|s}(x_t | x_s)

    Arguments:
        process: the noising.
        data_unseen: states (B, D) and times (B,) -> `p(x_0^d = c | x_t without d)`, (B, D, C).

    Reference: Sun et al. 2022 (arXiv 2211.16750).
    """

    process: Process
    data_unseen: Rates

    def probs(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return the law of one step, (B, D, C)."""
        return self.process.posterior(x, self.data_unseen(x, _times(x, t)), s, t)


def grid_chain(
    process: Process,
    law: StepLaw,
    times: Tensor,
    dims: int,
    source: Source | None = None,
    dtype: torch.dtype | None = None,
) -> Chain:
    """Return the chain that leaps down a grid of times: push builds, pull destroys.

    Its steps are Kernels: f is the step law, b the exact noising kernel q_{t|s}. `E[w] = Z` needs
    an f that reaches whatever b may have left. Euler and tau-leaping take one jump of a token at a
    time, so where some jump has no rate (as in `Ordinal`) they do not, and neither does a token
    that Euler's clamp forces to leave: the pulled evidence is then -inf. `Analytic` always does.

    Arguments:
        process: the noising.
        law: where the tokens go in one step.
        times: falling, from the end to 0 for data, (T+1,).
        dims: number of tokens D.
        source: density of the first state; the stationary law if left out.
        dtype: of the log-probabilities; torch's default if left out.

    Raises:
        ValueError: the times do not fall within [0, end].
    """

    def kernel(t: Tensor, s: Tensor) -> FunctionKernel:
        here, there = float(t), float(s)
        return FunctionKernel(
            lambda x: Categorical.from_probs(law(x, there, here).to(dtype)),
            lambda y: Categorical.from_probs(process.moved(y, s, t).to(dtype)),
        )

    dtype = torch.get_default_dtype() if dtype is None else dtype
    steps = [kernel(t, s) for t, s in pairwise(process.grid(times).double())]
    return Chain(_noise(process, dims, dtype) if source is None else source, steps)


def _noise(process: Process, dims: int, dtype: torch.dtype) -> Categorical:
    return process.source(dims, torch.empty(0, dtype=dtype))


def _times(x: Tensor, t: float) -> Tensor:
    return torch.full((len(x),), t, device=x.device)

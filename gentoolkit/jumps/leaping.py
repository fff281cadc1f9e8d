"""Leaping: the reversal on a grid of times, each token by itself in each step.

A *step law* says where a state goes in one step of the grid:

    law(x, s, t) -> probabilities of each token at time s given the state x at t, (B, D, C)

    Euler(model.rates)          rates held still, clamped
    TauLeaping(model.rates)     rates held still, at most one jump
    model.transition            the analytic step: exact but for what the others do meanwhile

Tokens that leap together do not look at each other. The chain pairs each leap with the exact
noising kernel, so that its weights still tell the exact normaliser.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from gentoolkit.core import Categorical, Chain, FunctionKernel, validate
from gentoolkit.processes import JumpProcess, State, falling_times, walk
from gentoolkit.processes.tokens import checked_tokens, draw

if TYPE_CHECKING:
    from gentoolkit.jumps.reversal import Reversal
    from gentoolkit.jumps.table import Table

Rates = Callable[[Tensor, Tensor], Tensor]
"""States (B, D) and their times (B,) -> rates (B, D, C), with 0 at the token itself."""

StepLaw = Callable[[Tensor, float, float], Tensor]
"""`law(x, s, t)`: the law of each token at s given the state x at t, (B, D, C)."""


@dataclass(frozen=True)
class _HeldStill(ABC):
    """A step law that holds the rates of the reversal still over the step: off by its square."""

    rates: Rates

    def __call__(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return the law of each token at `s` given the state `x` at `t` > `s`, (B, D, C)."""
        if not 0.0 <= s < t:
            raise ValueError(f"a step must go down in time; got from t={t} to s={s}; swap them")
        return self._of((t - s) * self.rates(x, torch.full((len(x),), t, device=x.device)), x)

    @abstractmethod
    def _of(self, spent: Tensor, x: Tensor) -> Tensor:
        """Return the law of a step by the rates times its length, (B, D, C)."""


class Euler(_HeldStill):
    """`p(x^d -> c) = (t - s) R_t(x, c)`, clamped where the sum of a token exceeds 1."""

    def _of(self, spent: Tensor, x: Tensor) -> Tensor:
        total = spent.sum(-1, keepdim=True)
        leave = spent / total.clamp_min(1.0)
        return leave.scatter_add(-1, x[..., None], (1.0 - total).clamp_min(0.0))

    def clamped(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return which tokens the step is too long for, (B, D)."""
        return _left(self(x, s, t), x)


class TauLeaping(_HeldStill):
    """Stay with `exp(-(t - s) R_tot)`, else go to c by rate: at most one jump of each token.

    Without an order among tokens, a sum of two jumps has no meaning.

    Reference: Gillespie 2001; Campbell et al. 2022 (arXiv 2205.14987).
    """

    def _of(self, spent: Tensor, x: Tensor) -> Tensor:
        total = spent.sum(-1, keepdim=True)
        leave = -torch.expm1(-total) * spent / total.clamp_min(torch.finfo(spent.dtype).tiny)
        return leave.scatter_add(-1, x[..., None], (-total).exp())


@dataclass(frozen=True)
class Corrector:
    """Leaps at one time that keep the law of that time, and repair what earlier steps left wrong.

        rates = R_s + Q_s

    Jumps towards data and jumps of noise at once: together they leave q_s as it is.

    Arguments:
        model: a reversal, or the table of the data.
        corrections: leaps after each step, each one call of the net.
        share: length of a leap over that of the step.

    Raises:
        ValueError: `corrections` is below one, or `share` not positive.

    Reference: Campbell et al. 2022 (arXiv 2205.14987).
    """

    model: "Reversal | Table"
    corrections: int = 1
    share: float = 1.0

    def __post_init__(self) -> None:
        validate.positive_count("corrections", self.corrections)
        validate.positive("share", self.share)

    def rates(self, x: Tensor, s: Tensor) -> Tensor:
        """Return `R_s + Q_s`, (B, D, C), with 0 at the token itself."""
        told = self.model.rates(x, s)
        return told + self.model.process.rates(x, s).to(told)

    def __call__(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return the law of one leap at `s`, after a step from `t`, (B, D, C)."""
        at = torch.full((len(x),), s, device=x.device)
        return TauLeaping(self.rates)._of(self.share * (t - s) * self.rates(x, at), x)


def walk_back(
    process: JumpProcess,
    law: StepLaw,
    x: Tensor,
    times: int | Tensor,
    *,
    corrector: Corrector | None = None,
    generator: Generator | None = None,
) -> Iterator[State]:
    """Yield the states at falling times, from `x` at the first of them. No gradient is kept.

    It warns where a step of `Euler` is too long for its rates and is clamped.

    Arguments:
        process: the noise that is undone.
        law: of one step: `Euler(model.rates)`, `TauLeaping(model.rates)` or `model.transition`.
        x: states at the first time, (B, D): at the end of the process, noise of its source.
        times: falling, (T+1,); or how many even steps from the end to 0.
        corrector: leaps after each step but the one to 0, where there is no noise.
        generator: source of randomness.

    Returns:
        states whose `estimate` is the law from which the next one was drawn, (B, D, C).

    Raises:
        TypeError: `x` does not hold int64 tokens, or `times` are integers.
        ValueError: `x` is no (B, D), or the times do not fall or leave [0, end].
    """
    grid = falling_times(times, process.end).tolist()
    if checked_tokens("x", x, process.size).ndim != 2:
        raise ValueError(
            f"x must have shape (B, D); got {tuple(x.shape)}; draw it from "
            "process.source((dims,)).sample(n)"
        )

    def advance(x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        t, s = grid[i], grid[i + 1]
        probs = law(x, s, t)
        if isinstance(law, Euler):
            _warn_of_clamp(probs, x, t - s)
        x = draw(probs, generator)
        if corrector is not None and s > 0.0:
            for _ in range(corrector.corrections):
                probs = corrector(x, s, t)
                x = draw(probs, generator)
        return probs, x

    return walk(advance, x, grid)


def grid_chain(
    process: JumpProcess,
    law: StepLaw,
    times: int | Tensor,
    dims: int,
    *,
    dtype: torch.dtype | None = None,
) -> Chain:
    """Return the chain that leaps down a grid of times: push builds, pull destroys.

    The source is the stationary law, and each step a Kernel: f is the step law, b the exact
    noising kernel q_{t|s}. `E[w] = Z` needs an f that reaches whatever b may have left. Euler and
    tau-leaping take one jump of a token at a time, so where some jump has no rate (as in
    `OrdinalRates`) they do not, and neither does a token that Euler's clamp forces to leave: the
    pulled evidence is then -inf. The analytic step always does.

    Arguments:
        process, law, times: as in `walk_back`.
        dims: number of tokens D.
        dtype: of the log-probabilities; torch's default if left out.

    Raises:
        ValueError: the times do not fall within [0, end].
    """
    dtype = torch.get_default_dtype() if dtype is None else dtype

    def step(t: float, s: float) -> FunctionKernel:
        return kernel(lambda x: law(x, s, t), lambda y: process.moved(y, s, t), dtype)

    source = process.source((dims,), torch.empty(0, dtype=dtype))
    grid = falling_times(times, process.end).tolist()
    return Chain(source, [step(t, s) for t, s in pairwise(grid)])


def kernel(
    push: Callable[[Tensor], Tensor], pull: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> FunctionKernel:
    """Return the step of two functions from states (B, D) to probabilities (B, D, C)."""

    def law(probs: Tensor) -> Categorical:
        # Judged in the type in which they were made, then told in `dtype`.
        return Categorical(Categorical.from_probs(probs).logits.to(dtype))

    return FunctionKernel(lambda x: law(push(x)), lambda y: law(pull(y)))


def _left(probs: Tensor, x: Tensor) -> Tensor:
    """Return which tokens cannot stay, (B, D): Euler clamps where the others sum to 1 or more."""
    return probs.gather(-1, x[..., None])[..., 0] <= 0.0


def _warn_of_clamp(probs: Tensor, x: Tensor, length: float) -> None:
    clamped = int(_left(probs, x).sum())
    if clamped:
        warnings.warn(
            f"steps of {length:.3g} are too long for Euler: {clamped} of {x.numel()} tokens were "
            "clamped; take more steps, or use TauLeaping or model.transition",
            stacklevel=5,
        )

"""Samplers: from noise to data along falling times, one state after another.

    walk(process, Euler(model.rates), x, times)          rates held still, clamped
    walk(process, TauLeaping(model.rates), x, times)     rates held still, at most one jump
    walk(process, model.transition, x, times)            the analytic step

`walk` yields T+1 states for T+1 times. Every draw is from a law in which the tokens are
independent given the state, so on a small space the law of the result is a product of matrices.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from gentoolkit.core import validate
from gentoolkit.jumps.leaping import Euler, TauLeaping
from gentoolkit.jumps.process import Process
from gentoolkit.jumps.reversal import Reversal
from gentoolkit.jumps.tokens import checked_tokens, draw

Law = Callable[[Tensor, float, float], Tensor]
"""`law(x, s, t)`: the law of each token at s given the state x at t, (B, D, C)."""


@dataclass(frozen=True)
class State:
    """What a sampler yields at each time.

    Arguments:
        time: 0 is data.
        x: tokens, (B, D).
        probs: the law from which each token of `x` was drawn, (B, D, C); at the first time the
            tokens are given, and it is one-hot.
    """

    time: float
    x: Tensor
    probs: Tensor


@dataclass(frozen=True)
class Corrector:
    """Leaps at one time that keep the law of that time, and mend what earlier steps left wrong.

        rates = R_s + Q_s

    Jumps towards data and jumps of noise at once: together they leave q_s as it is.

    Arguments:
        model: a reversal.
        corrections: leaps after each step, each one call of the net.
        share: length of a leap over that of the step.

    Raises:
        ValueError: `corrections` is below one, or `share` not positive.

    Reference: Campbell et al. 2022 (arXiv 2205.14987).
    """

    model: Reversal
    corrections: int = 1
    share: float = 1.0

    def __post_init__(self) -> None:
        validate.positive_count("corrections", self.corrections)
        validate.positive("share", self.share)

    def rates(self, x: Tensor, s: Tensor) -> Tensor:
        """Return `R_s + Q_s`, (B, D, C), with 0 at the token itself."""
        told, process = self.model.rates(x, s), self.model.process
        speed = process.beta.rate(process.time(s, x)).to(told).reshape(-1, 1, 1)
        return told + speed * process.generator.rates(x, told)

    def __call__(self, x: Tensor, s: float, t: float) -> Tensor:
        """Return the law of one leap at `s`, after a step from `t`, (B, D, C)."""
        return TauLeaping(self.rates).probs(x, s - self.share * (t - s), s)


def walk(
    process: Process,
    law: Law,
    x: Tensor,
    times: Tensor,
    generator: Generator | None = None,
    corrector: Corrector | None = None,
) -> Iterator[State]:
    """Yield the states at `times`, from `x` at the first of them. No gradient is kept.

    It warns where a step of `Euler` is too long for its rates and is clamped.

    Arguments:
        process: the noise that is undone.
        law: of one step: `Euler(model.rates)`, `TauLeaping(model.rates)` or `model.transition`.
        x: states at the first time, (B, D): at the end of the process, noise of its source.
        times: falling, (T+1,), as `falling_times` gives them.
        generator: source of randomness.
        corrector: leaps after each step but the one to 0, where there is no noise.

    Raises:
        TypeError: `x` does not hold int64 tokens, or `times` are integers.
        ValueError: `x` is no (B, D), or the times do not fall or leave [0, end].
    """
    grid = process.grid(times).tolist()
    if checked_tokens("x", x, process.size).ndim != 2:
        raise ValueError(
            f"x must have shape (B, D); got {tuple(x.shape)}; draw it from "
            "process.source(dims).sample(n)"
        )
    return _walk(law, x, grid, generator, corrector, process.size)


def _walk(
    law: Law,
    x: Tensor,
    grid: list[float],
    generator: Generator | None,
    corrector: Corrector | None,
    size: int,
) -> Iterator[State]:
    yield State(grid[0], x, one_hot(x, size).to(torch.get_default_dtype()))
    for t, s in pairwise(grid):
        with torch.no_grad():
            probs = law(x, s, t)
            if isinstance(law, Euler):
                _warn_of_clamp(probs, x, t - s)
            x = draw(probs, generator)
            if corrector is not None and s > 0.0:
                for _ in range(corrector.corrections):
                    probs = corrector(x, s, t)
                    x = draw(probs, generator)
        yield State(s, x, probs)


def _warn_of_clamp(probs: Tensor, x: Tensor, length: float) -> None:
    # Euler leaves nothing on staying only where the probabilities to leave sum to 1 or more.
    clamped = int((probs.gather(-1, x[..., None]) <= 0.0).sum())
    if clamped:
        warnings.warn(
            f"steps of {length:.3g} are too long for Euler: {clamped} of {x.numel()} tokens were "
            "clamped; take more steps, or use TauLeaping or model.transition",
            stacklevel=4,
        )


def last(states: Iterator[State]) -> State:
    """Run a sampler to its end and return the last state."""
    *_, end = states
    return end

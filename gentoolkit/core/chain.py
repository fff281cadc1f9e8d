"""A chain from a source to a target, and the trajectories it draws.

    log_evidence(tau) = log source(x_0) - sum_t log_ratio_t
    log_weight(tau)   = log target(x_T) - log_evidence(tau)

The first is the account of the two chains alone; the second asks the target as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.core.step import Bijection, Step


class Density(Protocol):
    """What a source must offer: `n` samples, and the log-density of given points."""

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` samples, shape (n, *event)."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density, shape (B,)."""
        ...


class Scored(Protocol):
    """What a target must offer, if it is not a plain function: the log-density of given points."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """Return the log-density, shape (B,)."""
        ...


Source = Density | torch.distributions.Distribution
Target = Callable[[Tensor], Tensor] | Scored | torch.distributions.Distribution


def draw(source: Source, n: int, generator: Generator | None = None) -> Tensor:
    """Draw `n` samples from a density or a `torch.distributions.Distribution`, (n, *event).

    A torch distribution knows no generator of its own: it is run under a seed drawn from
    `generator`, and the global random state is put back afterwards.
    """
    if not isinstance(source, torch.distributions.Distribution):
        return source.sample(n, generator=generator)
    sampler = source.rsample if source.has_rsample else source.sample
    if generator is None:
        return sampler(torch.Size([n]))
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    with torch.random.fork_rng():
        torch.manual_seed(int(seed))
        return sampler(torch.Size([n]))


def score(density: Target, x: Tensor) -> Tensor:
    """Return the log-density of each row of `x` under a density or a plain function, (B,).

    Raises:
        TypeError: `density` is neither a function nor an object with `log_prob`.
        ValueError: it does not return one number per sample.
    """
    log_prob: Callable[[Tensor], Tensor] = getattr(density, "log_prob", density)  # type: ignore
    if not callable(log_prob):
        raise TypeError(
            f"a density must be a function or offer log_prob; got {type(density).__name__}; "
            "pass lambda x: ... of shape (B,), or an object with log_prob"
        )
    name = getattr(log_prob, "__qualname__", type(density).__name__)
    return validate.per_sample(name, log_prob(x), x.shape[0])


@dataclass(frozen=True)
class Trajectory:
    """A batch of paths `x_0, ..., x_T` with their account; `x_0` is on the source side.

    Arguments:
        states: T+1 tensors (B, *event); event shapes may differ from state to state.
        log_ratio: (T, B), `log b(x_{t-1}|x_t) - log f(x_t|x_{t-1})` of each step.
        log_source: (B,), log-density of `x_0` under the source.
    """

    states: tuple[Tensor, ...]
    log_ratio: Tensor
    log_source: Tensor

    def log_evidence(self) -> Tensor:
        """Return `log source(x_0) - sum_t log_ratio_t`, shape (B,).

        Averaged over paths pulled from data x: `E[exp] = p(x)` and `E = ELBO(x)`.
        """
        return self.log_source - self.log_ratio.sum(0)

    def log_weight(self, target: Target) -> Tensor:
        """Return `log target(x_T) - log_evidence`, shape (B,).

        Averaged over paths pushed from the source: `E[exp] = Z` and `E <= log Z`.

        Arguments:
            target: an unnormalised log-density of the last state: a function (B, *event) -> (B,)
                or an object with `log_prob`.
        """
        return score(target, self.states[-1]) - self.log_evidence()

    def ledger(self) -> Tensor:
        """Return the running log-evidence after each step, (T+1, B): row 0 is `log_source`."""
        return torch.cat([self.log_source[None], self.log_source - self.log_ratio.cumsum(0)])


@dataclass(frozen=True)
class Chain:
    """A source and the steps that lead from it to the target.

    Light: it is built for one call, and the parameters live in the model that builds it.

    Arguments:
        source: a density, or a `torch.distributions.Distribution`.
        steps: from the source side to the target side; may be empty.

    Raises:
        TypeError: something among `steps` is not a Step.
    """

    source: Source
    steps: Sequence[Step] = ()

    def __post_init__(self) -> None:
        for t, step in enumerate(self.steps):
            if not isinstance(step, Step):
                raise TypeError(
                    f"steps[{t}] must be a Step; got {type(step).__name__}; "
                    "wrap two laws in Kernel(f, b), or a map in a Bijection"
                )

    def push(self, n: int, generator: Generator | None = None) -> Trajectory:
        """Draw `n` paths from the source to the target.

        Raises:
            ValueError: `n` is below one, a state is not finite, or a ratio has a wrong shape.
        """
        x = draw(self.source, validate.positive_count("n", n), generator)
        states, ratios, log_source = [x], [], score(self.source, x)
        for t, step in enumerate(self.steps):
            x, ratio = step.push(x, generator)
            states.append(x)
            ratios.append(self._checked(t, "push", x, ratio, n))
        return _trajectory(states, ratios, log_source)

    def pull(self, x: Tensor, generator: Generator | None = None) -> Trajectory:
        """Draw one path from each row of `x`, on the target side, back to the source.

        Arguments:
            x: data, (B, *event).

        Raises:
            ValueError: `x` is empty or not finite, or a ratio has a wrong shape.
        """
        n = validate.batch("x", x).shape[0]
        states, ratios = [x], []
        for t, step in reversed(list(enumerate(self.steps))):
            x, ratio = step.pull(x, generator)
            states.append(x)
            ratios.append(self._checked(t, "pull", x, ratio, n))
        return _trajectory(states[::-1], ratios[::-1], score(self.source, x))

    def replay(self, states: Sequence[Tensor]) -> Trajectory:
        """Score given states `x_0, ..., x_T` under this chain: buffers, off-policy data.

        Raises:
            ValueError: there are not T+1 states, one is empty or not finite, or their batch
                sizes differ.
        """
        if len(states) != len(self.steps) + 1:
            raise ValueError(
                f"a chain of {len(self.steps)} steps has {len(self.steps) + 1} states; got "
                f"{len(states)}; pass every state from x_0 to x_T"
            )
        sizes = [validate.batch(f"states[{t}]", x).shape[0] for t, x in enumerate(states)]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"all states must have one batch size; got {sizes}; pass rows of the same paths"
            )
        ratios = [
            self._checked(t, "log_ratio", y, step.log_ratio(x, y), sizes[0])
            for t, (step, x, y) in enumerate(zip(self.steps, states[:-1], states[1:], strict=True))
        ]
        return _trajectory(list(states), ratios, score(self.source, states[0]))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the exact log-density of `x`, (B,): only for a chain of Bijections.

        Raises:
            ValueError: some step is random, so the density is a sum over paths, or a step only
                estimates its log-determinant; the error names the step. `objectives.log_z` over
                several pulled paths gives an estimate.
        """
        for t, step in enumerate(self.steps):
            if not isinstance(step, Bijection):
                raise ValueError(
                    f"log_prob needs every step to be a Bijection; got steps[{t}], a "
                    f"{type(step).__name__}, whose density is a sum over paths; estimate it with "
                    "log_z of the log_evidence of several pulled paths"
                )
            if step.estimated:
                raise ValueError(
                    f"log_prob needs exact log-determinants; got steps[{t}], a "
                    f"{type(step).__name__}, which estimates its own at random; make it exact, or "
                    "use pull(x).log_evidence(), an estimate whose mean is log p(x)"
                )
        return self.pull(x).log_evidence()

    def _checked(self, t: int, verb: str, x: Tensor, ratio: Tensor, n: int) -> Tensor:
        """Name the step whose ratio has a wrong shape or whose state left the real numbers."""
        validate.per_sample(f"log_ratio of steps[{t}].{verb}", ratio, n)
        remedy, kind = self.steps[t].remedy, type(self.steps[t]).__name__
        if remedy is not None and not isfinite(float(ratio.detach().sum() + x.detach().sum())):
            raise ValueError(
                f"a path must stay finite; got NaN or infinity from steps[{t}].{verb}, a {kind}; "
                f"{remedy}"
            )
        validate.batch(f"the state after steps[{t}].{verb}", x)
        return ratio


def _trajectory(states: list[Tensor], ratios: list[Tensor], log_source: Tensor) -> Trajectory:
    # An empty chain has a (0, B) account that still follows the dtype and device of the source.
    log_ratio = torch.stack(ratios) if ratios else log_source.new_zeros(0, log_source.shape[0])
    return Trajectory(tuple(states), log_ratio, log_source)

"""Steps: one move of both chains.

A step holds a law that builds, `f(y|x)`, and one that takes apart, `b(x|y)`. Its one number is

    log_ratio = log b(x|y) - log f(y|x)        (B,)

the same quantity, with the same sign, whichever way the step was taken.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gentoolkit.core.laws import AnyLaw, draw_rows


class Unsupported(NotImplementedError):
    """What a model or a step cannot offer: the message says why, and what to use instead."""


class Step(ABC):
    """A move of both chains.

    Obligations: `push` draws `y ~ f(.|x)`, `pull` draws `x ~ b(.|y)`, and both return the number
    that `log_ratio(x, y)` gives for the pair they end with. The batch dimension comes first and
    the ratio has shape (B,); the event shape may change from `x` to `y`. All randomness comes from
    the generator, if one is given.

    A step that can run away, such as a discretised differential equation, says in `advice` what
    tames it, and promises a finite ratio: a chain that meets another number stops and says so.

    `reversed(step)` exchanges source and target.
    """

    advice: str | None = None

    @abstractmethod
    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Move one step towards the target: `y ~ f(.|x)` and `log_ratio(x, y)`."""

    @abstractmethod
    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Move one step towards the source: `x ~ b(.|y)` and `log_ratio(x, y)`."""

    @abstractmethod
    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Score a given pair: `log b(x|y) - log f(y|x)`, shape (B,)."""

    def why_no_density(self) -> str | None:
        """Say why a chain through this step has no exact density; None if it has one."""
        return (
            f"a {type(self).__name__}, whose density is a sum over paths; estimate it with log_z "
            "of the log_evidence of several pulled paths"
        )

    def __reversed__(self) -> "Step":
        return Reversed(self)


class Kernel(Step):
    """A step made of two conditional laws: an encoder and a decoder, noise and its removal.

        log_ratio = log pull_law(y).log_prob(x) - log push_law(x).log_prob(y)

    A subclass writes the two laws; the rest is derived. Gradients flow through a draw where its
    law is reparameterised.

    Reference: Sohl-Dickstein et al. 2015 (arXiv 1503.03585) for the pair of chains.
    """

    @abstractmethod
    def push_law(self, x: Tensor) -> AnyLaw:
        """Return f(.|x), the law of `y`, one row for each row of `x` (B, *event)."""

    @abstractmethod
    def pull_law(self, y: Tensor) -> AnyLaw:
        """Return b(.|y), the law of `x`, one row for each row of `y`."""

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `y ~ f(.|x)`."""
        f = self.push_law(x)
        y = draw_rows(f, generator)
        return y, self.pull_law(y).log_prob(x) - f.log_prob(y)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `x ~ b(.|y)`."""
        b = self.pull_law(y)
        x = draw_rows(b, generator)
        return x, b.log_prob(x) - self.push_law(x).log_prob(y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log b(x|y) - log f(y|x)`, shape (B,)."""
        return self.pull_law(y).log_prob(x) - self.push_law(x).log_prob(y)


@dataclass(frozen=True)
class FunctionKernel(Kernel):
    """A kernel whose two laws are functions.

    >>> from gentoolkit import FunctionKernel, Gaussian
    >>> step = FunctionKernel(f=lambda x: Gaussian(2 * x, 0.5), b=lambda y: Gaussian(0.4 * y, 0.3))
    >>> y, log_ratio = step.push(torch.zeros(3, 2))
    >>> y.shape, log_ratio.shape
    (torch.Size([3, 2]), torch.Size([3]))

    Arguments:
        f: maps `x` (B, *event) to the law of `y`.
        b: maps `y` to the law of `x`.
    """

    f: Callable[[Tensor], AnyLaw]
    b: Callable[[Tensor], AnyLaw]

    def push_law(self, x: Tensor) -> AnyLaw:
        """Return `f(x)`."""
        return self.f(x)

    def pull_law(self, y: Tensor) -> AnyLaw:
        """Return `b(y)`."""
        return self.b(y)


class Bijection(Step):
    """An invertible map `y = T(x)`: both laws are Diracs, and their ratio is the Jacobian's.

        log_ratio = log |det dT/dx| at x          in both directions

    A subclass writes `transform(x)` and `inverse(y)`; the rest is derived. One whose
    log-determinant is a random estimate says so by `estimated = True`: its two methods then take
    a `generator` beside, and a chain refuses to call it a density.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770).
    """

    estimated: bool = False

    @abstractmethod
    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `y = T(x)` and `log |det dT/dx|` at `x`, shape (B,)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x = T^-1(y)` and `log |det dT/dx|` at that `x`, shape (B,): no sign flip."""

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return `transform(x)`; the generator draws what is estimated, if anything is."""
        if self.estimated:
            return self.transform(x, generator=generator)  # pyright: ignore[reportCallIssue]
        return self.transform(x)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return `inverse(y)`; the generator draws what is estimated, if anything is."""
        if self.estimated:
            return self.inverse(y, generator=generator)  # pyright: ignore[reportCallIssue]
        return self.inverse(y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log |det dT/dx|` at `x`, if `y` is indeed `T(x)`.

        Raises:
            ValueError: `y` is not the image of `x`: under a map such a pair has no density.
        """
        image, log_det = self.push(x)
        slack = 1e-3 if image.dtype in (torch.float32, torch.float16, torch.bfloat16) else 1e-7
        if image.shape != y.shape or not torch.allclose(image, y, rtol=slack, atol=slack):
            raise ValueError(
                f"y must be the image of x under {type(self).__name__}; got a pair that is off "
                "the map; replay only states that this step produced"
            )
        return log_det

    def why_no_density(self) -> str | None:
        """Say that the log-determinant is an estimate; None if it is exact."""
        if not self.estimated:
            return None
        return (
            f"a {type(self).__name__}, which estimates its own log-determinant at random; make it "
            "exact, or use pull(x).log_evidence(), an estimate whose mean is log p(x)"
        )


class Reversible(Step):
    """A Markov step in detailed balance with an unnormalised density g, such as an MCMC move.

    Detailed balance `g(x) f(y|x) = g(y) f(x|y)` makes the step its own reversal, `b = f`, so

        log_ratio = log f(x|y) - log f(y|x) = log g(x) - log g(y)

    and no transition density is needed. A subclass writes `log_g` and `move`.

    Reference: Neal 2001 (annealed importance sampling); Wu, Köhler, Noé 2020 (arXiv 2002.06707).
    """

    @abstractmethod
    def log_g(self, x: Tensor) -> Tensor:
        """Return the log of the unnormalised density that the move leaves invariant, (B,)."""

    @abstractmethod
    def move(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw the next state, in detailed balance with `log_g`."""

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `y` by one move from `x`."""
        y = self.move(x, generator)
        return y, self.log_ratio(x, y)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `x` by one move from `y`: the same move, since the step is its own reversal."""
        x = self.move(y, generator)
        return x, self.log_ratio(x, y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log g(x) - log g(y)`, shape (B,)."""
        return self.log_g(x) - self.log_g(y)


@dataclass(frozen=True)
class Composite(Step):
    """Several steps as one: what a chain does between its ends.

        log_ratio = sum of the steps' ratios along the path that was drawn

    Arguments:
        steps: from the source side to the target side, one or more.

    Raises:
        ValueError: there are none.
    """

    steps: Sequence[Step]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a composite needs a step or more; got none; leave it out instead")

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Push through every step in turn."""
        x, total = self.steps[0].push(x, generator)
        for step in self.steps[1:]:
            x, ratio = step.push(x, generator)
            total = total + ratio
        return x, total

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Pull through every step in turn, the last one first."""
        y, total = self.steps[-1].pull(y, generator)
        for step in self.steps[-2::-1]:
            y, ratio = step.pull(y, generator)
            total = total + ratio
        return y, total

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the ratio of a pair, if every step but the last one is a map.

        Raises:
            Unsupported: the states between cannot be known from the two ends.
        """
        total = x.new_zeros(x.shape[0])
        for step in self.steps[:-1]:
            if not (isinstance(step, Bijection) or step.why_no_density() is None):
                raise Unsupported(
                    f"the ratio of a composite through a {type(step).__name__} depends on the "
                    "states between its ends; keep the steps apart in a Chain and replay them"
                )
            x, ratio = step.push(x)
            total = total + ratio
        return total + self.steps[-1].log_ratio(x, y)

    def why_no_density(self) -> str | None:
        """Return the reason of the first step that has one."""
        return next(filter(None, (step.why_no_density() for step in self.steps)), None)

    def __reversed__(self) -> "Composite":
        return Composite([step.__reversed__() for step in self.steps[::-1]])


@dataclass(frozen=True)
class Reversed(Step):
    """A step with source and target exchanged: `f' = b`, `b' = f`, and `log_ratio' = -log_ratio`.

    Arguments:
        step: the step to turn round; `reversed(step)` makes the same.
    """

    step: Step

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Pull the step."""
        y, ratio = self.step.pull(x, generator)
        return y, -ratio

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Push the step."""
        x, ratio = self.step.push(y, generator)
        return x, -ratio

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `-step.log_ratio(y, x)`, shape (B,)."""
        return -self.step.log_ratio(y, x)

    def why_no_density(self) -> str | None:
        """Return the reason of the step itself."""
        return self.step.why_no_density()

    def __reversed__(self) -> Step:
        return self.step

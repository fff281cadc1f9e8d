"""Steps: one move of both chains.

A step holds a law that builds, `f(y|x)`, and one that takes apart, `b(x|y)`. Its one number is

    log_ratio = log b(x|y) - log f(y|x)        (B,)

the same quantity, with the same sign, whichever way the step was taken.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gentoolkit.core.laws import Law


class Step(ABC):
    """A move of both chains.

    Obligations: `push` draws `y ~ f(.|x)`, `pull` draws `x ~ b(.|y)`, and both return the number
    that `log_ratio(x, y)` gives for the pair they end with. The batch dimension comes first and
    the ratio has shape (B,); the event shape may change from `x` to `y`.

    A step that can run away, such as a discretised differential equation, says in `remedy` what
    tames it, and promises a finite ratio: a chain that meets another number stops and says so.
    """

    remedy: str | None = None

    @abstractmethod
    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Move one step towards the target: `y ~ f(.|x)` and `log_ratio(x, y)`."""

    @abstractmethod
    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Move one step towards the source: `x ~ b(.|y)` and `log_ratio(x, y)`."""

    @abstractmethod
    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Score a given pair: `log b(x|y) - log f(y|x)`, shape (B,)."""


@dataclass(frozen=True)
class Kernel(Step):
    """A step made of two conditional laws: an encoder and a decoder, noise and its removal.

    Arguments:
        f: maps `x` (B, *event) to the law of `y`.
        b: maps `y` to the law of `x`.

    Reference: Sohl-Dickstein et al. 2015 (arXiv 1503.03585) for the pair of chains.
    """

    f: Callable[[Tensor], Law]
    b: Callable[[Tensor], Law]

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `y ~ f(.|x)`; the gradient flows through where the law is reparameterised."""
        f = self.f(x)
        y = f.sample(generator=generator)
        return y, self.b(y).log_prob(x) - f.log_prob(y)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `x ~ b(.|y)`; the gradient flows through where the law is reparameterised."""
        b = self.b(y)
        x = b.sample(generator=generator)
        return x, b.log_prob(x) - self.f(x).log_prob(y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log b(x|y) - log f(y|x)`, shape (B,)."""
        return self.b(y).log_prob(x) - self.f(x).log_prob(y)


class Bijection(Step):
    """An invertible map `y = T(x)`: both laws are Diracs, and their ratio is the Jacobian's.

        log_ratio = log |det dT/dx| at x          in both directions

    A subclass writes `transform` and `inverse`; the rest is derived. One whose log-determinant is
    a random estimate says so by `estimated = True`: a chain then refuses to call it a density.

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
        """Return `transform(x)`; nothing is drawn."""
        return self.transform(x)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return `inverse(y)`; nothing is drawn."""
        return self.inverse(y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log |det dT/dx|` at `x`, if `y` is indeed `T(x)`.

        Raises:
            ValueError: `y` is not the image of `x`: under a map such a pair has no density.
        """
        image, log_det = self.transform(x)
        slack = 1e-3 if image.dtype in (torch.float32, torch.float16, torch.bfloat16) else 1e-7
        if image.shape != y.shape or not torch.allclose(image, y, rtol=slack, atol=slack):
            raise ValueError(
                f"y must be the image of x under {type(self).__name__}; got a pair that is off "
                "the map; replay only states that this step produced"
            )
        return log_det


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

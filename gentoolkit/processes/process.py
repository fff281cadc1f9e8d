"""Noising processes on any space: what destroys data, and what a reversal needs to know of it.

Time 0 is data and time `end` is noise. A model of any family tells the data from a noisy state;
the process turns that into a step back.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Generator, Tensor

from gentoolkit.core.chain import Density
from gentoolkit.core.laws import Law

Time = float | Tensor
"""One time for all, or one for each row of a batch, (B,)."""


class Process(ABC):
    """A noising process: its noisy states given the data, from whichever space they are.

    Obligations: the three methods, which agree. Drawing x_t from `sample` and then x_s from
    `posterior` gives x_s the law that `sample` gives it. Where the noise has forgotten the data,
    at `end`, states follow `source`.

    Reference: Sohl-Dickstein et al. 2015 (arXiv 1503.03585); Benton et al. 2022
        (arXiv 2211.03595).
    """

    end: float = 1.0
    """The time of noise."""

    @abstractmethod
    def sample(self, x_0: Tensor, t: Time, generator: Generator | None = None) -> Tensor:
        """Draw the noisy states `x_t ~ q(x_t | x_0)`, (B, *event)."""

    @abstractmethod
    def posterior(self, x_t: Tensor, x_0: Tensor, s: Time, t: Time) -> Law:
        """Return the law `q(x_s | x_t, x_0)` of earlier states, for s < t.

        Arguments:
            x_t: states at time `t`, (B, *event).
            x_0: data, (B, *event).
            s: the earlier time.
            t: the time of `x_t`.
        """

    @abstractmethod
    def source(self, event_shape: Sequence[int], like: Tensor | None = None) -> Density:
        """Return the law of noise, a density over states of shape `event_shape`.

        Arguments:
            event_shape: the shape of one state.
            like: gives dtype and device; torch's defaults if left out.
        """

    def bridge(self, x_0: Tensor, x_end: Tensor, t: Time) -> Law:
        """Return the law `q(x_t | x_0, x_end)` of the process pinned at both its ends.

        It is the posterior of the state at `t` given the one at `end`: to pin the second end
        needs nothing new. Steps back from x_t still follow `posterior`, for a Markov process
        that knows x_t asks no more for what came later.

        Arguments:
            x_0: data, (B, *event).
            x_end: states at time `end`, (B, *event): noise, or other data.
            t: between 0 and `end`.
        """
        return self.posterior(x_end, x_0, t, self.end)

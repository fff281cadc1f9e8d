"""A learned reversal of a noising process: one law, from which rates and steps follow.

    conditionals(x, t, s) = p(x_s^d | x_t without d),   s <= t

    rate of the jump x^d -> c     beta(t) Q[c, x^d] p_t(c) / p_t(x^d)         p_t at s = t
    law of a step from t to s     ~ p_s(c) q_{t|s}(x^d | c)

Q stands transposed: a jump towards the data undoes one of the noise.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gentoolkit.core import validate
from gentoolkit.jumps.generators import Absorbing
from gentoolkit.jumps.process import Process, Time, falling_times, warn_of_gap
from gentoolkit.jumps.ratios import reverse_rates
from gentoolkit.jumps.tokens import checked_tokens, draw

Net = Callable[[Tensor, Tensor], Tensor]
"""From tokens (B, D) and times (B,) to logits (B, D, C)."""


class Reversal(nn.Module, ABC):
    """What pushes noise back to data: rates of jumps, and laws of steps.

    Obligation: `conditionals`. Its rows are probabilities.

    Arguments:
        net: from tokens (B, D) and times (B,) to logits (B, D, C).
        process: the noise to be undone.
        dims: number D of tokens.
        start: the earliest time at which the net is trained: below it ratios explode.

    Raises:
        TypeError: `dims` is not an int.
        ValueError: `dims` is below one, or `start` not within (0, end).
    """

    def __init__(self, net: Net, process: Process, dims: int, start: float = 1e-2) -> None:
        super().__init__()
        if not 0.0 < start < process.end:
            raise ValueError(
                f"start must lie between 0 and the end {process.end}; got {start}; "
                "use for example 0.01 of the end"
            )
        self.net = net
        self.process = process
        self.dims = validate.positive_count("dims", dims)
        self.start = start

    @abstractmethod
    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p(x_s^d | x_t without d)` for the state `x` at time `t`, (B, D, C)."""

    def rates(self, x: Tensor, t: Time) -> Tensor:
        """Return the rate of each jump of one token towards data, (B, D, C).

        Entry [b, d, c] is the rate at which token d of row b turns into c; 0 where it is c.

        Arguments:
            x: states, (B, D).
            t: time, a number or (B,), above 0.
        """
        law = self.conditionals(x, t, t)
        # A law that forbids the token at hand makes 0 / 0 of the jumps that it forbids too.
        own = law.gather(-1, x[..., None]).clamp_min(torch.finfo(law.dtype).tiny)
        return reverse_rates(self.process, x, law / own, t)

    def transition(self, x: Tensor, s: Time, t: Time) -> Tensor:
        """Return the law of each token at time `s` given the state `x` at `t`, (B, D, C).

        It is the law of an analytic step, in the form that `walk` and `grid_chain` take. The
        tokens are taken as independent given `x`: exact for one token, and off by the square
        of `t - s` for more. It goes to `s` = 0 without a limit.
        """
        law = self.conditionals(x, t, s)
        return weigh(law, self.process.likelihood(x, s, t).to(law))

    @torch.no_grad()
    def sample(self, n: int, steps: int = 100, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` data by `steps` analytic steps of equal length, (n, D).

        It starts from the source, and warns if the noise may still know the data by more than
        0.05 in total variation: see `Process.worst_gap`.

        Arguments:
            n: how many.
            steps: number of steps, each one call of the net.
            generator: source of randomness.
        """
        like = self.like()
        warn_of_gap(self.process.worst_gap(), self.process.end)
        times = falling_times(steps, self.process.end)
        x = self.process.source(self.dims, like).sample(validate.positive_count("n", n), generator)
        for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            x = draw(self.transition(x, s, t), generator)
        return x

    def like(self) -> Tensor:
        """Return a tensor of the net's type and place: torch's defaults without parameters."""
        return next(self.parameters(), torch.empty(0))

    def output(self, x: Tensor, t: Time) -> Tensor:
        """Return the net's logits, (B, D, C).

        Raises:
            ValueError: the net returns another shape, or there are neither one time nor B.
        """
        at = self.process.time(t, x).to(self.like().dtype)
        if at.ndim and len(at) not in (1, len(x)):
            raise ValueError(
                f"times must be one number or one for each of {len(x)} rows; got {len(at)}; use "
                "t.expand(len(x))"
            )
        logits = self.net(x, at.expand(len(x)))
        if logits.shape != (*x.shape, self.process.size):
            raise ValueError(
                f"the net must return logits {(*x.shape, self.process.size)}; got "
                f"{tuple(logits.shape)}; mend its last layer, or the size of the process"
            )
        return logits

    def data_logits(self, x: Tensor, t: Time) -> Tensor:
        """Return the net's log-probabilities of data tokens, (B, D, C): none on a mask."""
        logits = self.output(x, t)
        if isinstance(self.process.generator, Absorbing):
            mask = one_hot(torch.tensor(self.process.generator.mask), self.process.size)
            logits = logits.masked_fill(mask.bool().to(logits.device), -torch.inf)
        return logits.log_softmax(-1)

    def times(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a time for each row of data, uniform between `start` and the end, (B,)."""
        return self.start + (self.process.end - self.start) * self.shares(x, generator)

    def shares(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a number in [0, 1) for each row, (B,): each uniform, all evenly apart.

        They share one random start, so that a mean over a batch varies less.
        """
        dtype = self.like().dtype
        start = torch.rand((), generator=generator, dtype=dtype, device=x.device)
        return (start + torch.arange(len(x), dtype=dtype, device=x.device) / len(x)) % 1.0

    def checked(self, x: Tensor) -> Tensor:
        """Return `x` if it is data of this model.

        Raises:
            TypeError: `x` does not hold int64 tokens.
            ValueError: it is no (B, D), or holds tokens out of range, or a mask.
        """
        checked_tokens("x", x, self.process.size)
        if x.shape[1:] != (self.dims,):
            raise ValueError(
                f"x must have shape (B, {self.dims}); got {tuple(x.shape)}; use x.flatten(1), or "
                "build the model for this number of tokens"
            )
        generator = self.process.generator
        if isinstance(generator, Absorbing) and bool((x == generator.mask).any()):
            raise ValueError(
                f"data must hold no mask; got the token {generator.mask} among it; count the mask "
                "as one more token than the data has"
            )
        return x


def weigh(law: Tensor, likelihood: Tensor) -> Tensor:
    """Return probabilities in proportion to `law * likelihood`, (B, D, C)."""
    weights = law * likelihood
    # A net may put nothing on what the state allows: then all of that is as likely.
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, likelihood)
    return weights / weights.sum(-1, keepdim=True)


def relative(known: Tensor, told: Tensor) -> Tensor:
    """Return `known log(known / told)`, 0 where `known` is 0, elementwise."""
    # Where known is 0 told may be too, and its gradient 0 / 0: both are set aside there.
    inside = known > 0
    return known * (torch.where(inside, known, 1.0).log() - torch.where(inside, told, 1.0).log())

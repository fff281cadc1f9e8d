"""A learned reversal of a noising process: one law, from which rates and steps follow.

    conditionals(x, t, s) = p(x_s^d | x_t without d),   s <= t

    rate of the jump x^d -> c     beta(t) Q[c, x^d] p_t(c) / p_t(x^d)         p_t at s = t
    law of a step from t to s     ~ p_s(c) q_{t|s}(x^d | c)

Q stands transposed: a jump towards the data undoes one of the noise. The bound in continuous time:

    elbo(x_0) = E log p(x_0 | x_start) - KL(q_end(. | x_0) || source)
                - int E sum over jumps [r log(r / R) - r + R] dt

with `r` the rates of the reversal given x_0, which are known, and `R` those of the model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Unsupported, validate
from gentoolkit.jumps.leaping import Corrector, StepLaw, walk_back
from gentoolkit.processes import AbsorbingRates, JumpProcess, Time
from gentoolkit.processes.jump import warn_of_gap
from gentoolkit.processes.tokens import checked_tokens, per_row, shaped

Net = Callable[[Tensor, Tensor], Tensor]
"""From tokens (B, D) and times (B,) to logits (B, D, C)."""


class Reversal(nn.Module, ABC):
    """What pushes noise back to data: rates of jumps, and laws of steps.

    Obligations: `conditionals`, whose rows are probabilities, and `loss`. Laws are in float32 at
    least, whatever the net computes in.

    Arguments:
        net: from tokens (B, D) and times (B,) to logits (B, D, C).
        process: the noise to be undone.
        dims: number D of tokens.
        start: the earliest time at which the net is trained: below it ratios explode.

    Raises:
        TypeError: `dims` is not an int.
        ValueError: `dims` is below one, or `start` not within (0, end).
    """

    mask: int

    def __init__(self, net: Net, process: JumpProcess, dims: int, *, start: float = 1e-2) -> None:
        super().__init__()
        if not 0.0 < start < process.end:
            raise ValueError(
                f"start must lie between 0 and the end {process.end}; got {start}; "
                "use for example 0.01 of the end"
            )
        self.net, self.process, self.start = net, process, start
        self.dims = validate.positive_count("dims", dims)
        rates = process.rate_matrix
        self.mask = rates.mask if isinstance(rates, AbsorbingRates) else -1  # no token at all

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one data point, (D,)."""
        return torch.Size([self.dims])

    @abstractmethod
    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p(x_s^d | x_t without d)` for the state `x` at time `t`, (B, D, C)."""

    @abstractmethod
    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return what training minimises, shape ()."""

    def chain(self, context: Tensor | None = None) -> NoReturn:
        """Raise Unsupported: in continuous time there is no finite chain."""
        raise Unsupported(
            f"{type(self).__name__} jumps in continuous time, with as many steps as jumps; use "
            "D3PM(model, steps).chain() on a grid of times, or account() for exact paths"
        )

    def rates(self, x: Tensor, t: Time) -> Tensor:
        """Return the rate at which each token of `x` (B, D) turns into c, (B, D, C), at `t` > 0.

        It is 0 where the token is c.
        """
        law = self.conditionals(x, t, t)
        # A law that forbids the token at hand makes 0 / 0 of the jumps that it forbids too.
        own = law.gather(-1, x[..., None]).clamp_min(torch.finfo(law.dtype).tiny)
        return self.process.reverse_rates(x, law / own, t)

    def transition(self, x: Tensor, s: Time, t: Time) -> Tensor:
        """Return the law of each token at time `s` given the state `x` at `t`, (B, D, C).

        The analytic step: tokens are taken as independent given `x`, so it is exact for one, and
        off by the square of `t - s` for more. It goes to `s` = 0 without a limit.

        Reference: Sun et al. 2022 (arXiv 2211.16750).
        """
        return self.process.seen(x, self.conditionals(x, t, s), t, s)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        context: Tensor | None = None,
        steps: int | Tensor = 100,
        law: StepLaw | None = None,
        corrector: Corrector | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Draw `n` data by steps back from the source, (n, D).

        It warns if `JumpProcess.worst_gap` is above 0.05: the noise may still know the data.

        Arguments:
            steps: how many even steps, each one call of the net; or falling times.
            law: of one step; the analytic one, `transition`, if left out.
            corrector: leaps after each step.
        """
        warn_of_gap(self.process.worst_gap(), self.process.end)
        x = self.begin(validate.positive_count("n", n), context, generator).to(self.like().device)
        law = self.transition if law is None else law
        *_, state = walk_back(self.process, law, x, steps, corrector=corrector, generator=generator)
        return state.x

    def begin(self, n: int, context: Tensor | None, generator: Generator | None) -> Tensor:
        """Draw the first states of `sample`, (n, D)."""
        validate.no_context(context, type(self).__name__)
        return self.process.source(self.event_shape, self.like()).sample(n, generator)

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the bound of log p(x), (B,).

        The model jumps at its rates from `end` to `start`, then takes one step to 0. Rates are
        like 1 / t with a probability like t, so random times, one a data point, with a density like
        t^(-1/2) have the least variance.

        Raises:
            ValueError: the process absorbs; `MaskedDiffusion` and `D3PM` have bounds of their own.

        Reference: Campbell et al. 2022 (arXiv 2205.14987), with the jump summed out.
        """
        validate.no_context(context, type(self).__name__)
        x, process = self.checked(batch), self.process
        low, high = self.start**0.5, process.end**0.5
        root = low + (high - low) * self.shares(x, generator)
        t = root.square().clamp_max(process.end)
        stationary = process.rate_matrix.stationary(t)
        last = process.marginal(x, t.new_tensor(process.end))
        if validate.readable(x) and bool(((last > 0) & (stationary == 0)).any()):
            raise ValueError(
                "the source must hold every token that the end may hold; got a process that "
                "absorbs, so the bound is minus infinity; use MaskedDiffusion or D3PM"
            )
        prior = relative(last, stationary).sum((1, 2))
        noisy = process.sample(x, t, generator)
        known, told = data_rates(process, x, noisy, t), self.rates(noisy, t)
        jumps = relative(known, told) - known + told
        first = t.new_tensor(self.start)
        decoded = self.transition(process.sample(x, first, generator), 0.0, first)
        path = 2.0 * root * (high - low) * jumps.sum((1, 2))
        return -cross_entropy(decoded, x) - prior - path

    def like(self) -> Tensor:
        """Return an empty tensor of the laws' type and place: the net's, in float32 at least."""
        like = next(self.parameters(), torch.empty(0))
        return like.new_empty(0, dtype=torch.promote_types(like.dtype, torch.float32))

    def data_logits(self, x: Tensor, t: Time) -> Tensor:
        """Return the net's log-probabilities of data tokens, (B, D, C): none on a mask.

        Raises:
            ValueError: the net returns another shape, or there are neither one time nor B.
        """
        at = self.process.time(t, x).to(next(self.parameters(), torch.empty(0)).dtype)
        logits = self.net(x, per_row(at, x).flatten().expand(len(x)))
        shape, advice = (*x.shape, self.process.size), "fix its last layer, or the process's size"
        logits = shaped("the net's logits", logits, shape, advice)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        tokens = torch.arange(self.process.size, device=logits.device)
        return logits.masked_fill(tokens == self.mask, -torch.inf).log_softmax(-1)

    def times(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw a time for each row of data, uniform between `start` and the end, (B,)."""
        return self.start + (self.process.end - self.start) * self.shares(x, generator)

    def noised(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw noisy states of data `x`, (B, D), and the times at which they are so, (B,)."""
        t = self.times(self.checked(x), generator)
        return self.process.sample(x, t, generator), t

    def shares(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw a number in [0, 1) for each row, (B,): each uniform, all evenly apart.

        They share one random start, so that a mean over a batch varies less.
        """
        dtype = self.like().dtype
        start = torch.rand((), generator=generator, dtype=dtype, device=x.device)
        return (start + torch.arange(len(x), dtype=dtype, device=x.device) / len(x)) % 1.0

    def checked(self, x: Tensor) -> Tensor:
        """Return `x` if it is data of this model: tokens (B, D), none of them a mask."""
        checked_tokens("the batch", x, self.process.size, self.dims)
        if validate.readable(x) and bool((x == self.mask).any()):
            raise ValueError(
                f"data must hold no mask; got the token {self.mask} among it; count the mask as "
                "one more token than the data has"
            )
        return x


def data_rates(process: JumpProcess, x_0: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Return the rates of the reversal given the data, (B, D, C), 0 at the token itself.

        r(x^d -> c) = beta(t) Q[c, x^d] q_{t|0}(c | x_0^d) / q_{t|0}(x^d | x_0^d)

    The states `x` (B, D) at times `t` (B,) must be such as the noise makes of the data `x_0`.
    """
    law = process.marginal(x_0, t)
    return process.reverse_rates(x, law / law.gather(-1, x[..., None]), t)


def cross_entropy(law: Tensor, x: Tensor) -> Tensor:
    """Return `- sum_d log law[d, x^d]`, (B,), for laws (B, D, C) and tokens (B, D)."""
    return -law.gather(-1, x[..., None])[..., 0].log().sum(-1)


def relative(known: Tensor, told: Tensor) -> Tensor:
    """Return `known log(known / told)`, 0 where `known` is 0, elementwise."""
    # Where known is 0 told may be too, and its gradient 0 / 0: both are set aside there.
    inside = known > 0
    return known * (torch.where(inside, known, 1.0).log() - torch.where(inside, told, 1.0).log())

"""Noising by jumps: a rate matrix, run at a rate that changes with time.

    Q_t = beta(t) Q,   q_{t|s} = expm((B_t - B_s) Q),   B_t = int_0^t beta

Time 0 is data and time `end` is noise. The dimensions of a state jump independently, so every
kernel is one of C x C, applied to each.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import validate
from gentoolkit.core.laws import Categorical
from gentoolkit.processes.process import Process, Time
from gentoolkit.processes.rate_matrix import RateMatrix
from gentoolkit.processes.rate_schedule import ConstantRate, RateSchedule
from gentoolkit.processes.tokens import checked_tokens, draw, per_row, shaped, weigh

_TINY = 1e-30


class JumpProcess(nn.Module, Process):
    """A continuous-time Markov chain on D tokens as a noising process.

    Shapes: states x (B, D) int64; probabilities (B, D, C); times a number or (B,).

    >>> from gentoolkit.processes import AbsorbingRates, JumpProcess, LogLinearRate
    >>> process = JumpProcess(AbsorbingRates(3), LogLinearRate(1e-3))
    >>> x_0 = torch.tensor([[0, 1, 1, 0]])
    >>> process.sample(x_0, 1e-9), process.source((4,)).sample(1)
    (tensor([[0, 1, 1, 0]]), tensor([[2, 2, 2, 2]]))

    Arguments:
        rate_matrix: the rates of one token's jumps.
        schedule: rate of noising in time; constant if left out.
        end: the time of noise, above 0.

    Raises:
        ValueError: `end` is not positive, or the schedule is not finite there.

    Reference: Campbell et al. 2022 (arXiv 2205.14987).
    """

    def __init__(
        self, rate_matrix: RateMatrix, schedule: RateSchedule | None = None, end: float = 1.0
    ) -> None:
        super().__init__()
        validate.positive("end", end)
        self.rate_matrix = rate_matrix
        self.schedule = ConstantRate() if schedule is None else schedule
        self.end = end
        spent = float(self.schedule.integral(torch.tensor(end, dtype=torch.float64)))
        if not 0.0 < spent < float("inf"):
            raise ValueError(
                f"the noise up to the end must be finite; got {spent} at end={end}; end earlier, "
                "at 1.0 for a schedule of masks"
            )

    @property
    def size(self) -> int:
        """Number of tokens C."""
        return self.rate_matrix.size

    def time(self, t: Time, like: Tensor | None = None) -> Tensor:
        """Return `t` in float32 or float64, () or (B,), on the device of `like`.

        Raises:
            TypeError: `t` is a tensor of integers.
            ValueError: a time is outside [0, end], or `t` has more than one dimension.
        """
        device = None if like is None else like.device
        if isinstance(t, Tensor) and not t.is_floating_point():
            raise TypeError(f"times must be floating point; got {t.dtype}; use t.double()")
        t = t.to(device) if isinstance(t, Tensor) else torch.tensor(float(t), device=device)
        outside = validate.readable(t) and not bool(
            ((t >= 0.0) & (t <= self.end * (1.0 + 1e-6))).all()
        )
        if t.ndim > 1 or t.numel() == 0 or outside:
            raise ValueError(
                f"times must be a number or a row (B,) in [0, {self.end}]; got shape "
                f"{tuple(t.shape)}, {t.flatten()[:4].tolist()}; 0 is data, {self.end} is noise"
            )
        return t.float() if t.itemsize < 4 else t

    def noise(self, s: Time, t: Time, like: Tensor | None = None) -> Tensor:
        """Return `B_t - B_s`, () or (B,), for `t` not before `s`."""
        # A plain number takes the type of the other time, and not torch's default.
        if isinstance(t, Tensor) and not isinstance(s, Tensor):
            s = t.new_tensor(s)
        elif isinstance(s, Tensor) and not isinstance(t, Tensor):
            t = s.new_tensor(t)
        s, t = self.time(s, like), self.time(t, like)
        if validate.readable(t) and bool((t < s).any()):
            raise ValueError(f"t must not be before s; got s={s.tolist()}, t={t.tolist()}; swap")
        return (self.schedule.integral(t) - self.schedule.integral(s)).clamp_min(0.0)

    def kernel(self, s: Time, t: Time) -> Tensor:
        """Return `q_{t|s}` of one token, (C, C), or (B, C, C) for times (B,)."""
        return self.rate_matrix.kernel(self.noise(s, t))

    def marginal(self, x_0: Tensor, t: Time) -> Tensor:
        """Return `q_{t|0}(. | x_0)` of each token, (B, D, C)."""
        return self.moved(x_0, 0.0, t)

    def moved(self, x: Tensor, s: Time, t: Time) -> Tensor:
        """Return `q_{t|s}(. | x)` of each token, (B, D, C)."""
        x = checked_tokens("x", x, self.size)
        return self.rate_matrix.rows(x, per_row(self.noise(s, t, x), x))

    def likelihood(self, x: Tensor, s: Time, t: Time) -> Tensor:
        """Return `q_{t|s}(x | c)` at each c: whence the tokens `x` may come, (B, D, C)."""
        x = checked_tokens("x", x, self.size)
        return self.rate_matrix.columns(x, per_row(self.noise(s, t, x), x))

    def sample(self, x_0: Tensor, t: Time, generator: Generator | None = None) -> Tensor:
        """Draw the noisy states `x_t ~ q_{t|0}(. | x_0)` of data `x_0`, (B, D)."""
        return draw(self.marginal(x_0, t), generator)

    def rates(self, x: Tensor, t: Time) -> Tensor:
        """Return the rates of noising at time `t`, (B, D, C), with 0 at the token itself."""
        x, t = checked_tokens("x", x, self.size), self.time(t, x)
        return per_row(self.schedule.rate(t), x)[..., None] * self.rate_matrix.rates(x, t)

    def reverse_rates(self, x: Tensor, ratios: Tensor, t: Time) -> Tensor:
        """Return the rates of the reversal, (B, D, C), with 0 at the token itself.

            R_t(x, y) = beta(t) Q(y^d, x^d) q_t(y) / q_t(x)      for y that differs from x in d

        Q stands transposed: a jump x -> y of the reversal undoes one y -> x of the noising. The
        `ratios` (B, D, C) are `q_t(x^d := c) / q_t(x)`.
        """
        x, time = checked_tokens("x", x, self.size), self.time(t, x)
        into = self.rate_matrix.into(x, self._laws("ratios", x, ratios))
        beta = per_row(self.schedule.rate(time), x)[..., None].to(ratios)
        # An infinite ratio towards a state that the noising cannot come from counts for nothing.
        return beta * torch.where(into > 0, into * ratios, 0.0)

    def posterior(self, x_t: Tensor, x_0: Tensor, s: Time, t: Time) -> Categorical:
        """Return the law of each token at time `s`, from the state at `t` and the data.

            q(x_s | x_t, x_0) ~ [sum_c x_0(c) q_{s|0}(x_s | c)] q_{t|s}(x_t | x_s)

        Data (B, D) may be known in part, by probabilities (B, D, C). These must not have seen the
        token itself, whose likelihood comes in here: use `unseen` first.
        """
        if not x_0.is_floating_point():
            known = self.marginal(x_0, s)
        else:
            known = self.spread(self._laws("x_0", x_t, x_0), s)
        return Categorical(self.seen(x_t, known, t, s).log())

    def spread(self, x_0: Tensor, t: Time) -> Tensor:
        """Return `sum_c x_0(c) q_{t|0}(. | c)`, (B, D, C): one product by a C x C kernel."""
        return x_0 @ self.rate_matrix.kernel(self.noise(0.0, t, x_0)).to(x_0)

    def unseen(self, x: Tensor, x_0: Tensor, t: Time) -> Tensor:
        """Take the token itself out of the evidence: `~ x_0(c) / q_{t|0}(x | c)`, (B, D, C).

        Where the token excludes a c, that c is left out: `posterior` never asks.
        """
        likelihood = self.likelihood(x, 0.0, t).to(self._laws("x_0", x, x_0))
        allowed = likelihood > 0
        return weigh(torch.where(allowed, x_0 / likelihood.clamp_min(_TINY), 0.0), allowed.to(x_0))

    def seen(self, x: Tensor, x_s: Tensor, t: Time, s: Time = 0.0) -> Tensor:
        """Add the token itself to the evidence: `~ x_s(c) q_{t|s}(x | c)`, (B, D, C)."""
        return weigh(x_s, self.likelihood(x, s, t).to(self._laws("x_s", x, x_s)))

    def source(self, event_shape: int | Sequence[int], like: Tensor | None = None) -> Categorical:
        """Return the law of noise over states of D tokens: a density that draws any number."""
        law = self.rate_matrix.stationary(like)
        return Categorical(law.log().expand(1, *validate.event_shape(event_shape), -1))

    def worst_gap(self) -> float:
        """Return how far in total variation a token at the end may be from the source.

        max_x 1/2 sum_c |q_{end|0}(c | x) - stationary(c)|
        """
        kernel = self.kernel(0.0, self.end)
        gaps = 0.5 * (kernel - self.rate_matrix.stationary(kernel)).abs().sum(-1)
        return float(gaps.max())

    def _laws(self, name: str, x: Tensor, probs: Tensor) -> Tensor:
        return shaped(name, probs, (*x.shape, self.size), "one number for each token in each place")


def warn_of_gap(gap: float, end: float) -> None:
    """Warn if the law at the end is more than 0.05 in total variation from the source."""
    if gap > 0.05:
        warnings.warn(
            f"the noise has not forgotten the data: the law at end={end} may be {gap:.3f} in total "
            "variation from the source; raise the end or the rate",
            stacklevel=3,
        )

"""The noising process: a generator, run at a rate that changes with time.

    Q_t = beta(t) Q,   q_{t|s} = expm((B_t - B_s) Q),   B_t = int_0^t beta

Time 0 is data and time `end` is noise. Pull destroys, towards `end`; push builds, towards 0. The
dimensions of a state jump independently, so every kernel is one of C x C, applied to each.
"""

import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.core.laws import Categorical
from gentoolkit.jumps.generators import Generator
from gentoolkit.jumps.rates import Beta, Constant
from gentoolkit.jumps.tokens import checked_tokens, draw

Time = float | Tensor
"""One time for all, or one for each row of a batch, (B,)."""


def falling_times(steps: int, start: float, stop: float = 0.0) -> Tensor:
    """Return `steps` + 1 times from `start` down to `stop`, equally far apart, float64.

    Raises:
        TypeError: `steps` is not an int.
        ValueError: `steps` is below one, or not `0 <= stop < start`.
    """
    count = validate.positive_count("steps", steps) + 1
    if not 0.0 <= stop < start:
        raise ValueError(f"times must fall to stop >= 0; got start {start}, stop {stop}; swap them")
    return torch.linspace(start, stop, count, dtype=torch.float64)


@dataclass(frozen=True)
class Process:
    """A noising process on states of D tokens.

    Shapes: states x (B, D) int64; probabilities (B, D, C); times a number or (B,).

    Arguments:
        generator: the generator of one token's jumps.
        beta: rate of noising in time.
        end: the time of noise, above 0.

    Raises:
        ValueError: `end` is not positive, or the schedule is not finite there.
    """

    generator: Generator
    beta: Beta = field(default_factory=Constant)
    end: float = 1.0

    def __post_init__(self) -> None:
        validate.positive("end", self.end)
        spent = float(self.beta.integral(torch.tensor(self.end, dtype=torch.float64)))
        if not 0.0 < spent < float("inf"):
            raise ValueError(
                f"the noise up to the end must be finite; got {spent} at end={self.end}; end "
                "earlier, at 1.0 for a masking schedule"
            )

    @property
    def size(self) -> int:
        """Number of tokens C."""
        return self.generator.size

    def time(self, t: Time, like: Tensor | None = None) -> Tensor:
        """Return `t` as a floating-point tensor, () or (B,), on the device of `like`.

        Raises:
            TypeError: `t` is a tensor of integers.
            ValueError: a time is outside [0, end], or NaN, or `t` has more than one dimension.
        """
        device = None if like is None else like.device
        if isinstance(t, Tensor) and not t.is_floating_point():
            raise TypeError(f"times must be floating point; got {t.dtype}; use t.double()")
        t = t.to(device) if isinstance(t, Tensor) else torch.tensor(float(t), device=device)
        inside = (t >= 0.0) & (t <= self.end * (1.0 + 1e-6))
        if t.ndim > 1 or t.numel() == 0 or not bool(inside.all()):
            raise ValueError(
                f"times must be a number or a row (B,) in [0, {self.end}]; got shape "
                f"{tuple(t.shape)}, {t.flatten().tolist()[:4]}; 0 is data, {self.end} is noise"
            )
        return t

    def grid(self, times: Tensor) -> Tensor:
        """Return `times` if they fall strictly within [0, end], (T+1,).

        Raises:
            TypeError: they are integers.
            ValueError: they do not fall, leave [0, end], or are fewer than two.
        """
        if not isinstance(times, Tensor):
            raise TypeError(
                f"times must be a tensor; got {type(times).__name__}; use falling_times(steps, end)"
            )
        times = self.time(times)
        if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
            raise ValueError(
                f"times must be a row of two or more that falls strictly; got shape "
                f"{tuple(times.shape)}, {times.flatten().tolist()[:4]}; use falling_times"
            )
        return times

    def noise(self, s: Time, t: Time, like: Tensor | None = None) -> Tensor:
        """Return `B_t - B_s`, () or (B,).

        Raises:
            ValueError: some `t` is before `s`.
        """
        s, t = self.time(s, like), self.time(t, like)
        if bool((t < s).any()):
            raise ValueError(f"t must not be before s; got s={s.tolist()}, t={t.tolist()}; swap")
        return (self.beta.integral(t) - self.beta.integral(s)).clamp_min(0.0)

    def kernel(self, s: Time, t: Time) -> Tensor:
        """Return `q_{t|s}` of one token, (C, C), or (B, C, C) for times (B,)."""
        return self.generator.kernel(self.noise(s, t))

    def marginal(self, x0: Tensor, t: Time) -> Tensor:
        """Return `q_{t|0}(. | x0)` of each token, (B, D, C)."""
        return self.moved(x0, 0.0, t)

    def moved(self, x: Tensor, s: Time, t: Time) -> Tensor:
        """Return `q_{t|s}(. | x)` of each token, (B, D, C)."""
        x = checked_tokens("x", x, self.size)
        return self.generator.rows(x, _against(self.noise(s, t, x), x))

    def likelihood(self, x: Tensor, s: Time, t: Time) -> Tensor:
        """Return `q_{t|s}(x | c)` at each c: whence the tokens `x` may come, (B, D, C)."""
        x = checked_tokens("x", x, self.size)
        return self.generator.columns(x, _against(self.noise(s, t, x), x))

    def pull(self, x: Tensor, t: Time, generator: torch.Generator | None = None) -> Tensor:
        """Draw `x_t ~ q_{t|0}(. | x)` for data `x` (B, D): the noisy state, (B, D)."""
        return draw(self.marginal(x, t), generator)

    def rates(self, x: Tensor, t: Time) -> Tensor:
        """Return the rates of noising at time `t`, (B, D, C), with 0 at the token itself."""
        x, t = checked_tokens("x", x, self.size), self.time(t, x)
        return _against(self.beta.rate(t), x)[..., None] * self.generator.rates(x, t)

    def posterior(self, x: Tensor, x0_probs: Tensor, s: Time, t: Time) -> Tensor:
        """Return the law of each token at time `s`, from the state `x` at `t`, (B, D, C).

            p(x_s | x_t) ~ [sum_c x0_probs(c) q_{s|0}(x_s | c)] q_{t|s}(x_t | x_s)

        Exact in one dimension. `x0_probs` must not have seen the token itself: the likelihood
        of it comes in here. For probabilities that have, use `unseen` first.

        Arguments:
            x: the state at time `t`, (B, D).
            x0_probs: `p(x_0^d = c | x_t without d)`, (B, D, C).
            s: time to go to.
            t: time of `x`, not before `s`.
        """
        likelihood = self.likelihood(x, s, t).to(self._checked(x, x0_probs))
        return _normalised(self.spread(x0_probs, s) * likelihood, likelihood)

    def spread(self, x0_probs: Tensor, t: Time) -> Tensor:
        """Return `sum_c x0_probs(c) q_{t|0}(. | c)`, (B, D, C): one product by a C x C kernel."""
        kernel = self.generator.kernel(self.noise(0.0, self.time(t, x0_probs))).to(x0_probs)
        return x0_probs @ kernel

    def unseen(self, x: Tensor, x0_probs: Tensor, t: Time) -> Tensor:
        """Take the token itself out of the evidence: `~ x0_probs(c) / q_{t|0}(x | c)`, (B, D, C).

        From `p(x_0^d | x_t)` to `p(x_0^d | x_t without d)`. Where the token excludes a c, that c
        is left out: nothing is known of it, and `posterior` never asks.
        """
        likelihood = self.likelihood(x, 0.0, t).to(self._checked(x, x0_probs))
        weights = torch.where(likelihood > 0, x0_probs / likelihood.clamp_min(_TINY), 0.0)
        return _normalised(weights, (likelihood > 0).to(weights))

    def seen(self, x: Tensor, x0_probs: Tensor, t: Time) -> Tensor:
        """Add the token itself to the evidence: `~ x0_probs(c) q_{t|0}(x | c)`, (B, D, C)."""
        likelihood = self.likelihood(x, 0.0, t).to(self._checked(x, x0_probs))
        return _normalised(x0_probs * likelihood, likelihood)

    def source(self, dims: int, like: Tensor | None = None) -> Categorical:
        """Return the law of noise over states of `dims` tokens: a density that draws any number."""
        law = self.generator.stationary(like)
        return Categorical.from_probs(law.expand(1, validate.positive_count("dims", dims), -1))

    def prior_gap(self, probs: Tensor) -> Tensor:
        """Return how far the noise at the end is from the source, as a total variation, (...).

            1/2 sum_c |(probs q_{end|0})(c) - stationary(c)|

        It warns above 0.05: a sampler that starts from the source is off by so much.

        Arguments:
            probs: law of a token of the data, (..., C): (D, C) for D tokens.

        Raises:
            ValueError: these are not probabilities of C tokens.
        """
        if probs.ndim < 1 or probs.shape[-1] != self.size:
            raise ValueError(
                f"probs must have shape (..., {self.size}); got {tuple(probs.shape)}; give the "
                "frequencies of the tokens in each dimension"
            )
        law = Categorical.from_probs(probs[None]).probs[0]
        gap = 0.5 * (self.spread(law, self.end) - self.generator.stationary(law)).abs().sum(-1)
        warn_of_gap(float(gap.max()), self.end)
        return gap

    def worst_gap(self) -> float:
        """Return the largest `prior_gap` of one token that any data can have; it does not warn.

            max_x 1/2 sum_c |q_{end|0}(c | x) - stationary(c)|

        It is reached by a token that is the same in all data. Several tokens may be off by more.
        """
        kernel = self.kernel(0.0, self.end)
        gaps = 0.5 * (kernel - self.generator.stationary(kernel)).abs().sum(-1)
        return float(gaps.max())

    def _checked(self, x: Tensor, probs: Tensor) -> Tensor:
        if probs.shape != (*x.shape, self.size):
            raise ValueError(
                f"x0_probs must have shape {(*x.shape, self.size)}; got {tuple(probs.shape)}; "
                "give one probability for each token in each place"
            )
        return probs


_TINY = 1e-30


def warn_of_gap(gap: float, end: float) -> None:
    """Warn if the law at the end is more than 0.05 in total variation from the source."""
    if gap > 0.05:
        warnings.warn(
            f"the noise has not forgotten the data: the law at end={end} may be {gap:.3f} in total "
            "variation from the source; raise the end or the rate",
            stacklevel=3,
        )


def _normalised(weights: Tensor, allowed: Tensor) -> Tensor:
    # A network may put nothing at all on what the state allows: then all of that is as likely.
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, allowed)
    return weights / weights.sum(-1, keepdim=True)


def _against(b: Tensor, x: Tensor) -> Tensor:
    """Return `b`, () or (B,), shaped to broadcast to states x (B, ...)."""
    if b.ndim and b.shape[0] not in (1, x.shape[0]):
        raise ValueError(
            f"times must be one number or one for each of {x.shape[0]} rows; got {b.shape[0]}; "
            "use t.expand(len(x))"
        )
    return b.reshape(-1, *[1] * (x.ndim - 1)) if b.ndim else b

"""Conditional laws: light, frozen, one row of parameters per sample.

A *law* is a batch of distributions, `f(y|x)` for each `x` of a batch: its parameters have shape
`(B, *event)`. With a batch of one it is also a *density* that draws as many samples as asked.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from math import log, pi
from typing import Self

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid, one_hot

from gentoolkit.core import validate

_HALF_LOG_2PI = 0.5 * log(2.0 * pi)


def _sum_event(x: Tensor) -> Tensor:
    """Sum over every dimension but the first: (B, *event) -> (B,)."""
    return x.flatten(1).sum(1) if x.ndim > 1 else x


def _rows(parameter: Tensor, n: int | None) -> Tensor:
    """Repeat a batch of one `n` times; leave a batch of `n` alone."""
    if n is None or parameter.shape[0] == n:
        return parameter
    validate.positive_count("n", n)
    if parameter.shape[0] != 1:
        raise ValueError(
            f"a law of {parameter.shape[0]} rows draws one sample per row; got n={n}; "
            "leave n out, or build the law with a batch of one"
        )
    return parameter.expand(n, *parameter.shape[1:])


class Law(ABC):
    """A batch of distributions that can be sampled and scored.

    Obligations: `sample` gives `(B, *event)`, reparameterised where the distribution allows it;
    `log_prob` sums over the event and gives `(B,)`.
    """

    @abstractmethod
    def sample(self, n: int | None = None, generator: Generator | None = None) -> Tensor:
        """Draw one sample per row, or `n` samples from a law of one row."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of each row of `x`, natural logarithm, shape (B,)."""


AnyLaw = Law | Distribution


def seeded(
    distribution: Distribution, shape: tuple[int, ...] = (), generator: Generator | None = None
) -> Tensor:
    """Draw from a torch distribution, reparameterised where it can, under a generator.

    A torch distribution knows no generator of its own: it is run under a seed drawn from
    `generator`, and the global random state is put back afterwards.
    """
    sampler = distribution.rsample if distribution.has_rsample else distribution.sample
    if generator is None:
        return sampler(torch.Size(shape))
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    with torch.random.fork_rng():
        torch.manual_seed(int(seed))
        return sampler(torch.Size(shape))


def draw_rows(law: AnyLaw, generator: Generator | None = None) -> Tensor:
    """Draw one sample for each row of a law, ours or torch's, (B, *event)."""
    if isinstance(law, Law):
        return law.sample(generator=generator)
    return seeded(law, (), generator)


def _same_event(x: Tensor, event: torch.Size, rows: int) -> None:
    if x.shape[1:] != event or (rows != 1 and x.shape[0] != rows):
        raise ValueError(
            f"x must have shape ({'B' if rows == 1 else rows}, {', '.join(map(str, event))}) "
            f"to match this law; got {tuple(x.shape)}; reshape x or rebuild the law"
        )


@dataclass(frozen=True)
class Gaussian(Law):
    """The normal law with independent coordinates.

    >>> Gaussian(torch.zeros(1, 2), 1.0).log_prob(torch.zeros(3, 2)).round(decimals=3)
    tensor([-1.8380, -1.8380, -1.8380])

    `log N(x; mean, std^2) = -sum_j [(x_j - mean_j)^2 / (2 std_j^2) + log std_j + log(2 pi)/2]`

    Arguments:
        mean: (B, *event).
        std: standard deviation (not variance), a number or a tensor that broadcasts to `mean`.

    Raises:
        TypeError: `mean` is not a floating-point tensor.
        ValueError: `std` is not positive and finite, or does not broadcast to `mean`.
    """

    mean: Tensor
    std: Tensor | float

    def __post_init__(self) -> None:
        if not isinstance(self.mean, Tensor) or not self.mean.is_floating_point():
            raise TypeError(
                "mean must be a floating-point tensor; got "
                f"{getattr(self.mean, 'dtype', type(self.mean).__name__)}; use mean.float()"
            )
        if self.mean.ndim < 1:
            raise ValueError("mean needs a batch dimension; got a scalar; use mean[None]")
        validate.positive("std", self.std)
        if isinstance(self.std, Tensor) and self.std.shape != self.mean.shape:
            try:
                std = self.std.expand(self.mean.shape)
            except RuntimeError as error:
                raise ValueError(
                    f"std must broadcast to mean {tuple(self.mean.shape)}; got "
                    f"{tuple(self.std.shape)}; give std the shape of mean, or of its last part"
                ) from error
            object.__setattr__(self, "std", std)

    def sample(self, n: int | None = None, generator: Generator | None = None) -> Tensor:
        """Draw `mean + std * noise`: the gradient flows through (reparameterisation)."""
        mean = _rows(self.mean, n)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        std = self.std if isinstance(self.std, float | int) else _rows(self.std, n)
        return mean + std * noise

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log N(x; mean, std^2) summed over the event, shape (B,)."""
        _same_event(x, self.mean.shape[1:], self.mean.shape[0])
        standardised = (x - self.mean) / self.std
        if isinstance(self.std, Tensor):
            return _sum_event(-0.5 * standardised.square() - self.std.log() - _HALF_LOG_2PI)
        return _sum_event(-0.5 * standardised.square() - (log(self.std) + _HALF_LOG_2PI))

    def entropy(self) -> Tensor:
        """Return `sum_j [log std_j + (1 + log 2 pi)/2]`, shape (B,)."""
        std = torch.as_tensor(self.std, dtype=self.mean.dtype, device=self.mean.device)
        return _sum_event(std.log().expand_as(self.mean) + 0.5 + _HALF_LOG_2PI)

    def kl_from_standard(self) -> Tensor:
        """Return KL(self || N(0, I)) `= sum_j (std_j^2 + mean_j^2 - 1 - 2 log std_j)/2`, (B,)."""
        std = torch.as_tensor(self.std, dtype=self.mean.dtype, device=self.mean.device)
        std = std.expand_as(self.mean)
        return _sum_event(0.5 * (std.square() + self.mean.square() - 1.0) - std.log())


@dataclass(frozen=True)
class Bernoulli(Law):
    """Independent coin flips, `p(x=1) = sigmoid(logits)`.

    Arguments:
        logits: log-odds, (B, *event).

    Raises:
        TypeError: `logits` is not a floating-point tensor.
    """

    logits: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.logits, Tensor) or not self.logits.is_floating_point():
            raise TypeError(
                "logits must be a floating-point tensor; got "
                f"{getattr(self.logits, 'dtype', type(self.logits).__name__)}; "
                "use log(p) - log(1-p) of your probabilities p"
            )
        if self.logits.ndim < 1:
            raise ValueError("logits need a batch dimension; got a scalar; use logits[None]")

    @property
    def probs(self) -> Tensor:
        """Probability of a one, (B, *event)."""
        return self.logits.sigmoid()

    def sample(self, n: int | None = None, generator: Generator | None = None) -> Tensor:
        """Draw zeros and ones in the dtype of the logits; no gradient flows through."""
        probs = _rows(self.probs.detach(), n)
        return torch.bernoulli(probs, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return `sum_j [x_j log p_j + (1 - x_j) log(1 - p_j)]`, shape (B,).

        Raises:
            ValueError: `x` has another event shape, or values other than 0 and 1.
        """
        _same_event(x, self.logits.shape[1:], self.logits.shape[0])
        if validate.readable(x) and not bool((x * (1 - x) == 0).all()):
            raise ValueError(
                f"x must hold zeros and ones only; got values from {float(x.min()):.3g} to "
                f"{float(x.max()):.3g}; binarise first, for example (x > 0.5).float()"
            )
        # log sigmoid(+-logits): right for infinite logits too, where x log p + (1 - x) log(1 - p)
        # would multiply 0 by infinity.
        return _sum_event(logsigmoid((2 * x.to(self.logits.dtype) - 1) * self.logits))

    def entropy(self) -> Tensor:
        """Return `-sum_j [p_j log p_j + (1 - p_j) log(1 - p_j)]`, shape (B,)."""
        p, q = self.logits.sigmoid(), (-self.logits).sigmoid()
        return _sum_event(torch.special.entr(p) + torch.special.entr(q))


@dataclass(frozen=True)
class Categorical(Law):
    """Independent choices among C classes, `p(x=c) = softmax(logits)_c`.

    Arguments:
        logits: unnormalised log-probabilities, (B, *event, C); `-inf` forbids a class.

    Raises:
        TypeError: `logits` is not a floating-point tensor.
        ValueError: there is no class dimension, a NaN, or a row with every class forbidden.
    """

    logits: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.logits, Tensor) or not self.logits.is_floating_point():
            raise TypeError(
                "logits must be a floating-point tensor; got "
                f"{getattr(self.logits, 'dtype', type(self.logits).__name__)}; use logits.float()"
            )
        if self.logits.ndim < 2 or self.logits.shape[-1] < 1:
            raise ValueError(
                "logits need shape (B, *event, C) with C >= 1; got "
                f"{tuple(self.logits.shape)}; add a batch dimension with logits[None]"
            )
        log_probs = self.logits.log_softmax(-1)
        if validate.readable(log_probs) and bool(log_probs.isnan().any()):
            raise ValueError(
                "logits must hold no NaN and allow at least one class in each row; got a row "
                "without a valid probability; check the mask that set classes to -inf"
            )
        object.__setattr__(self, "logits", log_probs)

    @classmethod
    def from_probs(cls, probs: Tensor) -> Self:
        """Build the law from probabilities (B, *event, C).

        Raises:
            ValueError: a probability is negative, or a row does not sum to one.
        """
        total = probs.to(torch.promote_types(probs.dtype, torch.float32)).sum(-1)
        # Rounded entries sum to one within the rounding of their own precision.
        slack = {torch.float64: 1e-9, torch.float32: 1e-5}.get(
            probs.dtype, 2 * torch.finfo(probs.dtype).eps
        )
        if validate.readable(probs) and not bool(
            (probs >= 0).all() & ((total - 1).abs() <= slack).all()
        ):
            raise ValueError(
                f"probabilities must be >= 0 and sum to 1; got a least value {float(probs.min())} "
                f"and sums from {float(total.min())} to {float(total.max())}; divide by the sum"
            )
        return cls(probs.log())

    @property
    def probs(self) -> Tensor:
        """Probabilities, (B, *event, C)."""
        return self.logits.exp()

    def sample(self, n: int | None = None, generator: Generator | None = None) -> Tensor:
        """Draw class numbers, int64 (B, *event); no gradient flows through."""
        probs = _rows(self.probs.detach(), n)
        flat = probs.reshape(-1, probs.shape[-1])
        return torch.multinomial(flat, 1, generator=generator).reshape(probs.shape[:-1])

    def log_prob(self, x: Tensor) -> Tensor:
        """Return `sum_j log p_j(x_j)`, shape (B,).

        Raises:
            TypeError: `x` does not hold integers.
            ValueError: `x` has another event shape, or classes outside 0..C-1.
        """
        _same_event(x, self.logits.shape[1:-1], self.logits.shape[0])
        if x.is_floating_point():
            raise TypeError(f"x must hold class numbers; got {x.dtype}; use x.long()")
        classes = self.logits.shape[-1]
        if validate.readable(x) and x.numel() and not 0 <= int(x.min()) <= int(x.max()) < classes:
            raise ValueError(
                f"classes must lie in 0..{classes - 1}; got {int(x.min())} to {int(x.max())}; "
                "check the vocabulary size"
            )
        logits = self.logits.expand(*x.shape, classes)
        return _sum_event(logits.gather(-1, x[..., None]).squeeze(-1))

    def one_hot(self, x: Tensor) -> Tensor:
        """Return `x` as one-hot rows (B, *event, C) in the dtype of the logits."""
        return one_hot(x, self.logits.shape[-1]).to(self.logits.dtype)


class Frozen(nn.Module):
    """A law of one row held by a model: its tensors are buffers and follow the model.

    >>> source = Frozen(standard_normal(2)).double()
    >>> source.sample(3).dtype
    torch.float64

    Arguments:
        law: one of the laws of this module, such as a `Gaussian`; a batch of one.

    Raises:
        TypeError: `law` is not a law.
    """

    def __init__(self, law: Law) -> None:
        super().__init__()
        if not isinstance(law, Law):
            raise TypeError(f"law must be a Law; got {type(law).__name__}; pass a Gaussian")
        self._kind = type(law)
        self._numbers: dict[str, float] = {}
        for field in fields(law):  # pyright: ignore[reportArgumentType] - every law is a dataclass
            value = getattr(law, field.name)
            if isinstance(value, Tensor):
                self.register_buffer(field.name, value.detach().clone())
            else:
                self._numbers[field.name] = value

    @property
    def law(self) -> Law:
        """The law in the dtype and on the device where the model is now."""
        return self._kind(**dict(self.named_buffers(recurse=False)), **self._numbers)

    @property
    def base_measure(self) -> str | None:
        """The measure that the law names, if it names one; see `gentoolkit.core.base_measure`."""
        return getattr(self._kind, "base_measure", None)

    def sample(self, n: int | None = None, generator: Generator | None = None) -> Tensor:
        """Draw `n` samples, (n, *event)."""
        return self.law.sample(n, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of each row of `x`, (B,)."""
        return self.law.log_prob(x)


def standard_normal(
    *event: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Gaussian:
    """Return N(0, I) over tensors of shape `event`, as a density that draws any number of samples.

    Arguments:
        event: the event shape, for example `2` for points of the plane.
        dtype: floating-point type; torch's default if left out.
        device: where samples live.
    """
    for size in event:
        validate.positive_count("event size", size)
    return Gaussian(torch.zeros(1, *event, dtype=dtype, device=device), 1.0)

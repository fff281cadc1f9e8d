"""Soft truncation: where a diffusion's likelihood bound begins, drawn anew for each batch.

The bound of a diffusion that starts at time `cut` is, up to a constant,

    L(cut) = 1/2 integral over [cut, last] of g^2 E|score(x_t) - grad log p(x_t|x_0)|^2 dt
           = 1/2 integral of E|noise - e|^2 d(-log_snr),   since g^2 = -noise^2 d log_snr / dt

so times whose log-SNR is uniform need no weight: `L = Z/2 E|noise - e|^2` with
`Z = log_snr(cut) - log_snr(last)`. Averaged over random cuts it is the loss with the weight

    E L(cut) = 1/2 integral of g^2 P(cut <= t) E|...|^2 dt
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.denoiser import Denoiser
from gentoolkit.processes import Schedule
from gentoolkit.processes.gaussian import checked_times, spread


class CutLaw(ABC):
    """A law of the time at which a bound begins.

    Obligations: `sample(n) -> (n,)`, and `cdf(t)`, the probability that the cut lies at or below
    t, which is the weight that a random cut puts on time t.
    """

    @abstractmethod
    def sample(
        self, n: int, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Draw `n` cuts, (n,)."""

    @abstractmethod
    def cdf(self, t: Tensor) -> Tensor:
        """Return P(cut <= t), in the shape of `t`."""


@dataclass(frozen=True)
class PowerCut(CutLaw):
    """Cuts with a density proportional to `cut^-power` on [smallest, largest].

        power = 1: log(cut) is uniform;   power -> infinity: always `smallest`;   0: uniform

    Arguments:
        smallest: where the bound begins at the earliest, above 0.
        largest: where it begins at the latest.
        power: k, at least 0.

    Raises:
        ValueError: not `0 < smallest < largest`, or `power` is negative or not finite.

    Reference: Kim, Shin, Song, Kang, Moon 2022 (arXiv 2106.05527).
    """

    smallest: float = 1e-5
    largest: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.smallest < self.largest:
            raise ValueError(
                f"cuts must lie between 0 < smallest < largest; got {self.smallest} and "
                f"{self.largest}; for example smallest=1e-5, largest=1.0"
            )
        if not 0.0 <= self.power < float("inf"):
            raise ValueError(
                f"power must be 0 or more, and finite; got {self.power}; for a cut that never "
                "moves pass the number `smallest` itself as the cut"
            )

    @property
    def _range(self) -> float:
        """log(largest / smallest)."""
        return float(torch.tensor(self.largest / self.smallest, dtype=torch.float64).log())

    def sample(
        self, n: int, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Draw `n` cuts by the inverse of `cdf`, (n,)."""
        u = torch.rand(validate.positive_count("n", n), generator=generator, dtype=torch.float64)
        # With r = (1 - k) log(largest / smallest): log(1 + u (e^r - 1)) / (1 - k), and its limit.
        slope = 1.0 - self.power
        rise = slope * self._range
        if abs(rise) < 1e-8:
            grown = u * self._range
        elif rise > 0:  # from the large end, so that e^rise cannot overflow
            grown = (
                self._range + torch.log1p((1 - u) * torch.tensor(-rise).double().expm1()) / slope
            )
        else:
            grown = torch.log1p(u * torch.tensor(rise).double().expm1()) / slope
        cut = (self.smallest * grown.exp()).clamp(self.smallest, self.largest)
        return cut.to(dtype or torch.get_default_dtype())

    def cdf(self, t: Tensor) -> Tensor:
        """Return P(cut <= t), in the shape of `t`."""
        grown = (t / self.smallest).clamp_min(1.0).log().clamp_max(self._range)
        slope = 1.0 - self.power
        if abs(slope * self._range) < 1e-8:
            return grown / self._range
        whole = torch.tensor(slope * self._range, dtype=t.dtype)
        if slope > 0:  # e^(slope (grown - range)) (1 - e^(-slope grown)) / (1 - e^(-whole))
            return (slope * grown - whole).exp() * torch.expm1(-slope * grown) / torch.expm1(-whole)
        return torch.expm1(slope * grown) / torch.expm1(whole)


@dataclass(frozen=True)
class PaintedCut(CutLaw):
    """Cuts with a share in each of K bins, and even in log(cut) inside a bin.

    Arguments:
        edges: (K + 1,) rising times above 0.
        shares: (K,) shares of the bins, not negative, of sum 1 after division.

    Raises:
        ValueError: the edges do not rise from above 0, or the shares are negative, all zero or of
            another number.
    """

    edges: Tensor
    shares: Tensor

    def __post_init__(self) -> None:
        edges, shares = self.edges, self.shares
        if edges.ndim != 1 or len(edges) < 2 or not bool((edges[0] > 0) & (edges.diff() > 0).all()):
            raise ValueError(
                f"edges must rise from above 0; got {edges.tolist()}; for example "
                "torch.logspace(-5, 0, 6)"
            )
        good = shares.shape == (len(edges) - 1,) and bool((shares >= 0).all() & (shares.sum() > 0))
        if not good:
            raise ValueError(
                f"shares must hold {len(edges) - 1} numbers, none negative and not all 0; got "
                f"{shares.tolist()}; one for each bin"
            )
        object.__setattr__(self, "shares", shares / shares.sum())

    def sample(
        self, n: int, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Draw a bin by its share, then log(cut) evenly inside it, (n,)."""
        bins = torch.multinomial(self.shares, n, replacement=True, generator=generator)
        u = torch.rand(n, generator=generator, dtype=self.edges.dtype)
        logs = self.edges.log()
        cut = (logs[bins] + u * logs.diff()[bins]).exp()
        return cut.to(dtype or torch.get_default_dtype())

    def cdf(self, t: Tensor) -> Tensor:
        """Return P(cut <= t), in the shape of `t`."""
        logs = self.edges.to(t).log()
        done = (t.log()[..., None] - logs[:-1]) / logs.diff()
        return (done.clamp(0.0, 1.0) * self.shares.to(t)).sum(-1)


def bound_times(
    schedule: Schedule,
    n: int,
    cut: Tensor | float,
    generator: Generator | None = None,
    *,
    last: float = 1.0,
    like: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw `n` times in [cut, last] whose log-SNR is uniform, (n,), and return its range Z, ().

        log_snr(t) = log_snr(cut) - u Z,   u ~ U(0, 1),   Z = log_snr(cut) - log_snr(last)

    Arguments:
        schedule: signal and noise.
        n: how many times.
        cut: one time, above 0 where the schedule has no noise at 0.
        generator: source of randomness.
        last: the latest time.
        like: a tensor whose dtype and device the times take.

    Raises:
        ValueError: not `cut < last`, or the log-SNR is infinite at one of them.

    Reference: Song, Durkan, Murray, Ermon 2021 (arXiv 2101.09258).
    """
    like = torch.empty(0) if like is None else like
    ends = torch.tensor([float(cut), last], dtype=torch.float64, device=like.device)
    first, final = schedule.log_snr(checked_times(ends))
    if not bool(ends[0] < ends[1]) or not bool(torch.isfinite(first - final)):
        raise ValueError(
            f"the bound needs cut < last with some noise at the cut and some signal at the last "
            f"time; got cut {float(cut):g} and last {last:g}; for example cut=1e-5, last=1.0"
        )
    u = torch.rand(n, generator=generator, dtype=torch.float64, device=like.device)
    t = schedule.time_of(first - u * (first - final))
    return t.clamp(ends[0], ends[1]).to(like), (first - final).to(like)


def truncated_matching(
    denoiser: Denoiser,
    x: Tensor,
    cut: Tensor | float,
    generator: Generator | None = None,
    *,
    last: float = 1.0,
) -> Tensor:
    """Return an unbiased estimate of L(cut) from one random time a data point, (B,).

        Z/2 |noise(x_t, t) - e|^2,   x_t = signal x + noise e,   log_snr(t) uniform

    With a constant `cut` this is the likelihood bound of x_cut up to a constant (hard truncation);
    with one draw of a `CutLaw` for each batch it is soft truncation.

        >>> from gentoolkit.diffusion import LinearBeta, PredictsNoise
        >>> denoiser = Denoiser(lambda x, t: x, LinearBeta(), PredictsNoise())
        >>> cut = PowerCut(smallest=1e-4).sample(1)
        >>> truncated_matching(denoiser, torch.randn(8, 2), cut).shape
        torch.Size([8])

    Arguments:
        denoiser: the estimate, read as the noise e.
        x: data, (B, *event).
        cut: one time for the whole batch, () or (1,) or a number.
        generator: source of randomness.
        last: the latest time.

    Raises:
        TypeError: `x` holds integers.
        ValueError: there are several cuts, `cut` is not below `last`, or `x` is empty.

    Reference: Kim, Shin, Song, Kang, Moon 2022 (arXiv 2106.05527).
    """
    if isinstance(cut, Tensor) and cut.numel() != 1:
        raise ValueError(
            f"a batch has one cut, so that its loss is one bound; got shape {tuple(cut.shape)}; "
            "draw law.sample(1)"
        )
    if not validate.batch("x", x).is_floating_point():
        raise TypeError(f"x must hold real numbers; got {x.dtype}; use x.float()")
    t, z = bound_times(denoiser.schedule, len(x), cut, generator, last=last, like=x)
    e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    a, s = (spread(level, x) for level in denoiser.schedule.levels(t))
    off = denoiser.noise(a * x + s * e, t) - e
    return 0.5 * z * off.square().flatten(1).sum(1)

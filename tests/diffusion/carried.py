"""Exact nets for the samplers' tests: the estimates that Gaussian-mixture data has in closed form.

x_t of a mixture is a mixture: means a m_k, variances a^2 s_k^2 + noise^2, and Tweedie's formula
gives the mean of the data. On the line the probability flow keeps each point's quantile, so its
end is known without any solver.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gentoolkit.diffusion import (
    Denoiser,
    LinearBeta,
    Parametrisation,
    PredictsNoise,
    Sampler,
    Schedule,
)
from gentoolkit.targets import GaussianMixture

VP = LinearBeta(0.1, 20.0)


def mixture(means: list, variances: list[float], weights: list[float]) -> GaussianMixture:
    """A mixture from plain lists; means that are numbers are points of the line."""
    m = torch.tensor(means, dtype=torch.float64)
    return GaussianMixture(
        m if m.ndim == 2 else m[:, None],
        torch.tensor(variances, dtype=torch.float64).sqrt(),
        torch.tensor(weights, dtype=torch.float64),
    )


PLANE = mixture([[1, 1], [-1.5, 0.5], [0.5, -1.5]], [0.09, 0.16, 0.04], [0.5, 0.3, 0.2])
LINE = mixture([-1.0, 1.5], [0.04, 0.09], [0.4, 0.6])
NORMAL = mixture([1.3], [0.25], [1.0])


def law_at(law: GaussianMixture, schedule: Schedule, time: float) -> GaussianMixture:
    """The law of x_t."""
    a, s = schedule.levels(torch.tensor(time, dtype=torch.float64))
    return GaussianMixture(
        a * law.means, (a**2 * law.stds**2 + s**2).sqrt(), law.weights, law.log_z
    )


@dataclass(frozen=True)
class Exact:
    """The exact noise, score, data or velocity of a mixture, at one time for the whole batch."""

    law: GaussianMixture
    schedule: Schedule
    kind: str = "noise"
    asked: list[float] = field(default_factory=list)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the exact output and note the time."""
        assert t.shape == (x.shape[0],) and bool((t == t[0]).all())
        self.asked.append(float(t[0]))
        a, s = (float(v) for v in self.schedule.levels(t[:1].double()))
        score = law_at(self.law, self.schedule, float(t[0])).score(x).to(x.dtype)
        noise, data = -s * score, (x + s**2 * score) / a
        return {
            "noise": noise,
            "score": score,
            "data": data,
            "velocity": a * noise - s * data,
        }[self.kind]


def cdf(law: GaussianMixture, x: Tensor) -> Tensor:
    """The distribution function of a mixture on the line at x (B, 1), (B, 1)."""
    z = (x - law.means[:, 0]) / law.stds
    return (torch.special.ndtr(z) * law.weights).sum(-1, keepdim=True)


def quantile(law: GaussianMixture, u: Tensor) -> Tensor:
    """The inverse of `cdf` by bisection."""
    low, high = torch.full_like(u, -300.0), torch.full_like(u, 300.0)
    for _ in range(70):
        middle = 0.5 * (low + high)
        below = cdf(law, middle) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def flow_end(x: Tensor, law: GaussianMixture, schedule: Schedule, t0: float, t1: float) -> Tensor:
    """Where the probability flow carries points of the line: to the same quantile."""
    return quantile(law_at(law, schedule, t1), cdf(law_at(law, schedule, t0), x))


def slopes(errors: list[float]) -> list[float]:
    """The observed orders between runs of doubled steps."""
    e = torch.tensor(errors).log2()
    return (e[:-1] - e[1:]).tolist()


def exact(
    law: GaussianMixture,
    schedule: Schedule,
    kind: str = "noise",
    parametrisation: Parametrisation | None = None,
) -> Denoiser:
    """The exact denoiser of a mixture."""
    return Denoiser(Exact(law, schedule, kind), schedule, parametrisation or PredictsNoise())


def run(
    sampler: Sampler,
    law: GaussianMixture,
    schedule: Schedule,
    x: Tensor,
    times: Tensor,
    seed: int = 0,
) -> Tensor:
    """Where a sampler with the exact net ends."""
    generator = torch.Generator().manual_seed(seed)
    return sampler.sample(exact(law, schedule), x, times, generator)

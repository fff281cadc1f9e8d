"""Luo 2022: a diffusion model is a hierarchical VAE, and its three targets are one objective.

First the bound itself, by quadrature: how much of log p(x) is lost with T levels, and whether the
data, the noise and the score measure one error. Then training: the same net, data, steps and
weights of the bound, its output read as each of the three.
"""

from dataclasses import dataclass
from functools import cache
from math import log, pi

import torch
from torch import Tensor, nn

from gentoolkit.diffusion import (
    DDPM,
    LogSnrLinear,
    Parametrisation,
    PredictsData,
    PredictsNoise,
    PredictsScore,
    PredictsVelocity,
    coefficients,
    exact_weights,
    tweedie,
)
from gentoolkit.nets import TimeMLP
from gentoolkit.processes.grids import noisy_times
from gentoolkit.targets import GaussianMixture
from gentoolkit.train import fit
from tests.claims.claim import Claim
from tests.diffusion.carried import law_at, mixture

SCHEDULE = LogSnrLinear(6.0, -7.0)
LEVELS, AGREE = (1, 2, 4, 8, 16, 32, 64), 1e-10
LINE = mixture([-1.5, 1.5], [0.2, 0.2], [0.4, 0.6])

PLANE = mixture([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]], [0.15] * 3, [0.5, 0.3, 0.2])
T, HIDDEN, BATCH, RATE, POINTS = 40, (64, 64), 128, 2e-3, 2000
SEEDS, STEPS = range(3), (600, 1200)
TARGETS: dict[str, Parametrisation] = {
    "data": PredictsData(),
    "noise": PredictsNoise(),
    "score": PredictsScore(),
}


def posterior(law: GaussianMixture, x: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, D) and total variance (B,) of x_0 given x = a x_0 + s e, from responsibilities."""
    total = a**2 * law.stds**2 + s**2
    noisy = GaussianMixture(a * law.means, total.sqrt(), law.weights)
    r = noisy.responsibilities(x)[..., None]
    gain = (a * law.stds**2 / total)[:, None]
    each = law.means + gain * (x[:, None] - a * law.means)
    mean = (r * each).sum(1)
    inner = r[..., 0] @ (law.stds.square() * s**2 / total) * x.shape[1]
    return mean, inner + (r * (each - mean[:, None]).square()).sum((1, 2))


@dataclass(frozen=True)
class Gaps:
    """What the bound loses in nats, by the variance of the denoising steps."""

    fixed: float
    step: float
    state: float


def gaps(levels: int) -> Gaps:
    """Take the mean bound of LINE under its exact denoiser by the trapezoid rule.

    The variances: that of the posterior given the data; the best one for each step; the true
    variance of each state's reversal.
    """
    m = coefficients(SCHEDULE, noisy_times(SCHEDULE, levels))
    y = torch.linspace(-12.0, 12.0, 12001, dtype=torch.float64)[:, None]

    def weights(a: Tensor, s: Tensor) -> tuple[GaussianMixture, Tensor]:
        law = GaussianMixture(a * LINE.means, (a**2 * LINE.stds**2 + s**2).sqrt(), LINE.weights)
        return law, law.log_prob(y).exp() * (y[1] - y[0])

    one, none = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    law, p = weights(one, none)
    entropy = -(p * law.log_prob(y)).sum()
    square = (LINE.weights * (LINE.means[:, 0].square() + LINE.stds.square())).sum()
    prior = 0.5 * (m.signal[-1] ** 2 * square + m.noise[-1] ** 2 - 1) - m.noise[-1].log()
    totals = (prior - entropy) * torch.ones(3, dtype=torch.float64)
    for i in range(levels):
        _, p = weights(m.signal[i], m.noise[i])
        data_var = posterior(LINE, y, m.signal[i], m.noise[i])[1]
        true = m.posterior_var[i] + m.of_data[i] ** 2 * data_var
        fixed = m.posterior_var[i] if i else m.decoder_var
        # Entry 0 is a likelihood, whose constant is log 2 pi; the others compare normal laws.
        constant = log(2 * pi) if i == 0 else -1.0 - float(m.posterior_var[i].log())
        for k, var in enumerate((fixed.expand_as(true), (p * true).sum().expand_as(true), true)):
            totals[k] += 0.5 * (p * (true / var + var.log() + constant)).sum()
    return Gaps(*totals.tolist())


COORDINATES: tuple[Parametrisation, ...] = (*TARGETS.values(), PredictsVelocity())


def disagreement() -> float:
    """Largest relative difference between one wrong guess in four coordinates, over all steps."""
    generator = torch.Generator().manual_seed(0)
    output = nn.Parameter(torch.randn(50, 2, generator=generator, dtype=torch.float64))
    net = nn.Module()
    net.output = output
    net.forward = lambda x, t: output
    model, x0 = DDPM(net, (2,), SCHEDULE, T), PLANE.sample(50, generator)
    with torch.no_grad():
        first, *rest = (
            model.terms(x0, generator=generator.manual_seed(1), coordinate=c)[1:T]
            for c in COORDINATES
        )
    return max(float((v / first - 1).abs().max()) for v in rest)


def tweedie_error() -> float:
    """Largest distance between Tweedie's mean of the data and that by responsibilities."""
    worst, generator = 0.0, torch.Generator().manual_seed(0)
    for time in torch.linspace(0.0, 1.0, 21, dtype=torch.float64):
        a, s = SCHEDULE.levels(time)
        noisy = law_at(PLANE, SCHEDULE, float(time))
        x = noisy.sample(50, generator)
        known = posterior(PLANE, x, a, s)[0]
        worst = max(worst, float((tweedie(x, noisy.score(x), a, s) - known).abs().max()))
    return worst


def run_bound() -> Claim:
    """Measure the gap for every number of levels, and the identities."""
    found = {levels: gaps(levels) for levels in LEVELS}
    states, fixed = ([getattr(g, k) for g in found.values()] for k in ("state", "fixed"))
    off, mean_off = disagreement(), tweedie_error()
    rise = [n for n, a, b in zip(LEVELS[1:], fixed, fixed[1:], strict=False) if b > a]
    kinds = {
        "posterior's variance": "fixed",
        "best one for each step": "step",
        "true one of each state": "state",
    }
    return Claim(
        system="S05",
        statement="More levels tighten the bound, and data, noise and score measure one error.",
        setting=(
            "E[log p(x) - ELBO] in nats by quadrature, two Gaussians on the line, exact denoiser, "
            "log-SNR from 6 to -7; rows: variance of the denoising steps; no training"
        ),
        header=["variance", *(f"T={n}" for n in LEVELS)],
        rows=[
            [name, *(f"{getattr(g, key):.4f}" for g in found.values())]
            for name, key in kinds.items()
        ],
        conditions=[
            (
                f"four coordinates of each step's error agree to {AGREE:g}: worst {off:.1e}",
                off < AGREE,
            ),
            (
                f"Tweedie's mean is the posterior's mean to {AGREE:g}: worst {mean_off:.1e}",
                mean_off < AGREE,
            ),
            (
                "with the true variance of each state the gap falls at every doubling",
                all(b < a for a, b in zip(states, states[1:], strict=False)),
            ),
        ],
        costs=[
            "with the posterior's variance the gap rises on the way to T = "
            + ", ".join(map(str, rise))
            + f"; from {LEVELS[-2]} to {LEVELS[-1]} it falls {fixed[-2] / fixed[-1]:.2f} times",
        ],
    )


@dataclass(frozen=True)
class Excess:
    """Negative bound of a trained net less that of the exact one, nats, and its error."""

    value: float
    error: float


def train(target: str, seed: int, steps: int) -> Excess:
    """Train one net, on batches and noise that depend on the seed alone, and score it."""
    generator = torch.Generator().manual_seed(1000 + seed)
    torch.manual_seed(seed)
    model = DDPM(TimeMLP(2, 2, HIDDEN), (2,), SCHEDULE, T, parametrisation=TARGETS[target])
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    data = (PLANE.sample(BATCH, generator).to(torch.get_default_dtype()) for _ in range(steps))

    def loss(x: Tensor) -> Tensor:
        return model.loss(x, generator=generator, weight=exact_weights)

    for _ in fit(model, data, loss=loss, optimizer=optimizer, progress=False):
        decay.step()
    return excess(model)


def excess(model: DDPM) -> Excess:
    """Hold a model against the exact denoiser, on the same points and the same noise."""
    gap = (cost(model, POINTS) - exact_cost(POINTS)).double()
    return Excess(float(gap.mean()), float(gap.std()) / POINTS**0.5)


def cost(model: DDPM, points: int) -> Tensor:
    """Estimate the negative bound of each test point, (points,)."""
    x = PLANE.sample(points, torch.Generator().manual_seed(7)).to(torch.get_default_dtype())
    with torch.no_grad():
        return -model.elbo(x, generator=torch.Generator().manual_seed(8))


@cache
def exact_cost(points: int) -> Tensor:
    """The cost of the exact net."""
    return cost(exact(), points)


def exact() -> DDPM:
    """The model whose net is the posterior mean of the data."""

    def net(x: Tensor, t: Tensor) -> Tensor:
        levels = SCHEDULE.levels(t[0].double())
        return posterior(PLANE, x.double(), *levels)[0].to(x.dtype)

    return DDPM(net, (2,), SCHEDULE, T, parametrisation=PredictsData())


def run_targets() -> Claim:
    """Train each target with every seed and both numbers of steps."""
    runs = {
        (steps, target): [train(target, seed, steps) for seed in SEEDS]
        for steps in STEPS
        for target in TARGETS
    }

    def equal(steps: int) -> bool:
        means, spreads = zip(*(_moments(runs[steps, target]) for target in TARGETS), strict=True)
        return max(means) - min(means) <= 3.0 * max(spreads)

    def last(target: str) -> int:
        return sum(
            runs[steps, target][i].value == max(runs[steps, other][i].value for other in TARGETS)
            for steps in STEPS
            for i in range(len(SEEDS))
        )

    n = len(SEEDS) * len(STEPS)
    return Claim(
        system="S05",
        statement="One objective in three targets is one learning problem.",
        setting=(
            f"three Gaussians in the plane, T = {T}, the weights of the bound, MLP of {HIDDEN}, "
            f"batch {BATCH}, Adam {RATE:g} with cosine decay, seeds {SEEDS[0]}..{SEEDS[-1]}; "
            f"negative bound less that of the exact net, nats on {POINTS} points"
        ),
        header=["steps, target", *(f"seed {seed}" for seed in SEEDS), "standard error"],
        rows=[
            [f"{steps}, {target}", *(f"{r.value:.3f}" for r in rs)]
            + [f"{max(r.error for r in rs):.3f}"]
            for (steps, target), rs in runs.items()
        ],
        conditions=[
            (f"after {steps} steps the three lie within three spreads", equal(steps))
            for steps in STEPS
        ],
        costs=[f"worst in {n}: " + ", ".join(f"{target} {last(target)}" for target in TARGETS)],
    )


def _moments(runs: list[Excess]) -> tuple[float, float]:
    values = torch.tensor([r.value for r in runs])
    return float(values.mean()), float(values.std())

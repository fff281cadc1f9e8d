"""Lesson 03: the log-evidence of a path, how a chain forgets, a posterior, a gap by levels."""

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from gentoolkit.teach.exercise import Exercise, Like, Open

KEEP, SPARE, SCALE, NOISE = 0.8, 0.36, 2.0, 1.0  # z1|z2 and x|z1: factors and variances
UP, UP_VARIANCE, TOP, TOP_VARIANCE = 0.3, 0.3, 0.7, 0.4  # the pull: z1|x and z2|z1
STEPS, FACTOR = 10, 0.9


def log_evidence(x: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Add the push's three log-laws, subtract the pull's two: (B,) each -> (B,)."""

    def log_normal(y: Tensor, mean: Tensor | float, variance: float) -> Tensor:
        return -0.5 * ((y - mean) ** 2 / variance + math.log(2 * math.pi * variance))

    pushed = log_normal(z2, 0.0, 1.0) + log_normal(z1, 0.8 * z2, 0.36) + log_normal(x, 2 * z1, 1.0)
    return pushed - log_normal(z1, 0.3 * x, 0.3) - log_normal(z2, 0.7 * z1, 0.4)


def _grid() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give paths from the pull at x = 1 on a grid, and their shares of probability."""
    unit = torch.linspace(-9.0, 9.0, 181)
    share = (-0.5 * unit**2).softmax(0)
    z1 = (UP + math.sqrt(UP_VARIANCE) * unit).repeat_interleave(181)
    z2 = TOP * z1 + math.sqrt(TOP_VARIANCE) * unit.repeat(181)
    return torch.ones_like(z1), z1, z2, (share[:, None] * share).flatten()


def _by_matrices(x: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Draw both laws of a whole path as one normal each."""
    push = torch.tensor([[1, 0, 0], [KEEP, 1, 0], [SCALE * KEEP, SCALE, 1]])
    pull = torch.tensor([[1.0, TOP], [0.0, 1.0]])  # of (z2, z1)
    joint = push @ torch.tensor([1.0, SPARE, NOISE]).diag() @ push.T
    inferred = pull @ torch.tensor([TOP_VARIANCE, UP_VARIANCE]).diag() @ pull.T
    path, mean = torch.stack([z2, z1, x], dim=1), torch.stack([TOP * UP * x, UP * x], dim=1)
    pushed = MultivariateNormal(torch.zeros(3), joint).log_prob(path)
    return pushed - MultivariateNormal(mean, inferred).log_prob(path[:, :2])


def _mean_weight(_: Tensor, on_grid: Tensor) -> str:
    mean, p = (_grid()[3] * on_grid.exp()).sum(), math.exp(-0.1) / math.sqrt(10 * math.pi)
    return f"E[exp(log-evidence)] under the pull at x = 1 is {mean:.4g}, should be p(x) = {p:.4f}: "


ex03_1 = Exercise(
    log_evidence,
    "The push has three laws and the pull two.",
    "log_evidence = the log of what the push makes, minus the log of what the pull draws.",
    "torch.distributions.Normal(mean, deviation).log_prob: mind the root of the variance.",
    why="exp of it, averaged over the pull, is p(x), here N(0, 5), however poor the pull. One "
    "law forgotten, and that average is another number.",
    cases=lambda: [tuple(1.5 * torch.randn(3, 7)), _grid()[:3]],
    oracle=_by_matrices,
    atol=1e-5,
    right="E[exp(log-evidence)] under the pull at x = 1 is p(x) = 0.1614; every path is right too.",
    start=_mean_weight,
    wrong={
        "log_normal(z2, 0.0, 1.0) + ->": "the law of the source z2 is missing.",
        "- log_normal(z2, 0.7 * z1, 0.4) ->": "the upper pull, z2 given z1, is missing.",
        "- log_normal( -> + log_normal(": "the pull's log-laws are added; they are subtracted.",
        (lambda *path: -log_evidence(*path)): "the sign is turned: push minus pull.",
        "+ log_normal(x, 2 * z1, 1.0) ->": "the data point's own law, x given z1, is missing.",
        "pi * variance -> pi * variance**2; / variance -> / variance**2": "you read the variances "
        "as deviations; Normal takes the root.",
        Like(
            "2 * math.pi * variance -> variance",
            lambda _, on_grid: (on_grid - log_evidence(*_grid()[:3])).std() < 1e-6,
        ): "all paths are off by one number; count the factors log(2 pi v) / 2.",
    },
    otherwise="three log-laws of the push minus two of the pull.",
)


def _shared_noise() -> float:
    """Write each state in its ten independent noises and the start, and multiply rows."""
    start = torch.eye(STEPS + 1)
    row = start[0]
    for noise in start[1:]:
        row = FACTOR * row + math.sqrt(1 - FACTOR**2) * noise
    return float(row @ start[0] / row.norm())


ex03_2 = Exercise(
    "0.9**10",
    "What is the variance after one step?",
    "The noise of a step is independent of z_0: what happens to the covariance with z_0?",
    "The same happens in each step, and the variance never changes.",
    why="Each step multiplies the covariance with the start, and leaves the variance 1: the "
    "ends forget each other at a geometric rate.",
    oracle=_shared_noise,
    atol=5e-4,
    right="{truth:.4f}: written in eleven independent noises, the two ends share one of them.",
    wrong={
        FACTOR: "That is the correlation of neighbours; there are ten steps.",
        0.1216: "That is the share of the variance, the correlation squared.",
        0.6513: "That is what is forgotten, in a way; the correlation is what is kept.",
        0.8784: "That is the noise's variance at the end.",
        0.3874: "One step is missing: T steps join T + 1 states.",
        0.0: "Losses do not add up; factors multiply.",
    },
    otherwise="The variance stays 1. How does the covariance with z_0 change in one step?",
)


def posterior(x: Tensor) -> tuple[Tensor, float]:
    """Give mean (B,) and variance of z2 given x, from their covariance."""
    z1_variance = KEEP**2 + SPARE
    x_variance = SCALE**2 * z1_variance + NOISE
    covariance = SCALE * KEEP
    return covariance / x_variance * x, 1.0 - covariance**2 / x_variance


def _on_a_grid(x: Tensor) -> tuple[Tensor, float]:
    """Sum the joint of z1 and z2 over a grid, data point by data point."""
    grid = torch.linspace(-8.0, 8.0, 401)
    z1, z2 = grid[:, None], grid[None, :]
    pushed = Normal(0.0, 1.0).log_prob(z2) + Normal(KEEP * z2, SPARE**0.5).log_prob(z1)
    joint = (pushed + Normal(SCALE * z1, NOISE).log_prob(x[:, None, None])).exp()
    share = joint.sum(1) / joint.sum((1, 2))[:, None]
    mean = share @ grid
    return mean, float((share[0] * (grid - mean[0]) ** 2).sum())


PLACES = (-3.0, 0.5, 2.0)

ex03_3 = Exercise(
    posterior,
    "z2 and x are jointly normal: three numbers decide, two variances and a covariance.",
    "x = 2 z1 + noise and z1 = 0.8 z2 + noise: write x in z2 and two noises.",
    "The mean is x times covariance / Var(x); the variance loses covariance**2 / Var(x).",
    why="Only half of z2's variance is explained by x: the noise of z1 lies between. The "
    "pull's two normal laws believe something else, and that is what its bound loses.",
    cases=lambda: [(torch.tensor(PLACES),)],
    oracle=_on_a_grid,
    parts="mean, variance",
    atol=1e-4,
    right="summing the joint over a grid of z1 and z2 gives the same at three x.",
    wrong={
        (lambda x: ((TOP * UP * x, TOP_VARIANCE + TOP**2 * UP_VARIANCE))): "that is what the pull "
        "believes; the posterior is the push's.",
        (lambda x: (0.32 * x, 0.488**0.5)): "the second is the deviation; the variance is asked "
        "for.",
        (lambda x: (1.6 * x / 3.56, 1 / 3.56)): "z1 is not 0.8 z2: its own noise also reaches x.",
        Like(
            lambda x: (x / 1.6, 0.488),
            lambda pair: torch.allclose(1.6 * pair[0], torch.tensor(PLACES), atol=1e-4),
        ): "turning x = 1.6 z2 round forgets the law of z2 and the noise.",
    },
    otherwise="What are the covariance of z2 and x, and the variance of x?",
)


def gap_and_upper() -> tuple[float, float]:
    """Add the two divergences of the chain rule at x = 1."""
    # z1 | x: precision 1 + 2**2, mean 2 / 5.   z2 | z1: precision 1 + 0.64 / 0.36, mean 0.8 z1.
    lower = 0.5 * (math.log(0.2 / 0.3) + (0.3 + (0.3 - 0.4) ** 2) / 0.2 - 1.0)
    square = 0.3 + 0.3**2  # of z1 under the pull
    upper = 0.5 * (math.log(0.36 / 0.4) + (0.4 + (0.7 - 0.8) ** 2 * square) / 0.36 - 1.0)
    return lower + upper, upper


def _by_sums() -> tuple[float, float]:
    """Average the log-evidence over a grid, and the upper level's ratio from the joint normal."""
    x, z1, z2, share = _grid()
    p_x = Normal(0.0, math.sqrt(SCALE**2 + NOISE)).log_prob(x[0])
    gap = p_x - share @ _by_matrices(x, z1, z2)
    pair = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, KEEP], [KEEP, KEEP**2 + SPARE]]))
    true = pair.log_prob(torch.stack([z2, z1], dim=1)) - Normal(0.0, 1.0).log_prob(z1)
    pulled = Normal(TOP * z1, math.sqrt(TOP_VARIANCE)).log_prob(z2)
    return float(gap), float(share @ (pulled - true))


ex03_4 = Exercise(
    gap_and_upper,
    "The chain rule of section 4 has two terms: what are the push's own laws of z1 given x and of "
    "z2 given z1?",
    "Both are normal: precisions add up. The divergence of two normals with variances v and V and "
    "means m and M is half of log(V / v) + (v + (m - M)**2) / V - 1.",
    "In the upper term the means differ by a multiple of z1: average its square over the pull.",
    why="The lower pull is too wide and a little off; the upper one is nearly right, and costs "
    "almost nothing. The gap is the sum, whatever the levels are.",
    oracle=_by_sums,
    parts="gap, upper",
    atol=1e-4,
    right="summing over a grid of paths gives a gap of 0.0806 nats, 0.0083 of them on top.",
    wrong={
        (0.0723, 0.0083): "The first is the lower level alone: the gap is the sum of both.",
        (0.0764, 0.0041): "In the upper term you put the mean of z1 for z1: its square has the "
        "variance in it too.",
        (0.0603, 0.0076): "Is it the divergence from the pull to the push's law, averaged under "
        "the pull?",
        (0.1611, 0.0166): "A factor of one half is missing.",
        (0.0806, 0.0723): "The second is the lower level; which of the two laws is on top?",
    },
    otherwise="Write both of the push's conditional laws first, then one divergence each.",
)


ex03_5 = Open(
    "Copy the two cells of section 6 and change T; the loss of each run stands apart in `measure`.",
    "Compare each run's gap with the baseline of section 2, to three digits.",
    "What must the pull do, and what the push, when a gap is exactly that of one Gaussian? Which "
    "of the parts of working systems in section 11 prevents it?",
    answer="From noise, eight levels end near 0.05 nats after 1,000 steps, a little below the 0.07 "
    "of four: the exact gap of fixed noise falls from 0.29 to 0.12, and the learned pulls "
    "improve on both. With the usual start two of three runs end near 0.12 and one at 0.56. "
    "That number is the gap of a single Gaussian, so all eight latents of this run are "
    "unused: the pull ignores the data, the push draws one Gaussian, and neither gains by "
    "moving alone. Good attempts are the start from noise, a price of the codes that rises "
    "from 0 to 1 in the first few hundred steps, a pull that sees the data at every level, or "
    "simply another seed, chosen by the loss in training. Counting only the runs that arrived "
    "would be a mistake in a report.",
)

"""Lesson 03: the log-evidence of a path, how a chain forgets, an exact posterior, laws to add."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_number,
    as_tensor,
    close,
    not_yet,
    passed,
)

KEEP, SPARE, SCALE, NOISE = 0.8, 0.36, 2.0, 1.0  # z1|z2 and x|z1: factors and variances
UP, UP_VARIANCE, TOP, TOP_VARIANCE = 0.3, 0.3, 0.7, 0.4  # the pull: z1|x and z2|z1
STEPS, FACTOR = 10, 0.9
LATENTS = 6


def log_evidence(x: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Add the push's three log-laws, subtract the pull's two: (B,) each -> (B,)."""

    def log_normal(y: Tensor, mean: Tensor | float, variance: float) -> Tensor:
        return -0.5 * ((y - mean) ** 2 / variance + math.log(2 * math.pi * variance))

    pushed = log_normal(z2, 0.0, 1.0) + log_normal(z1, 0.8 * z2, 0.36) + log_normal(x, 2 * z1, 1.0)
    return pushed - log_normal(z1, 0.3 * x, 0.3) - log_normal(z2, 0.7 * z1, 0.4)


def _pieces(x: Tensor, z1: Tensor, z2: Tensor, as_std: bool = False) -> list[Tensor]:
    def law(mean: Tensor, variance: float) -> Normal:
        return Normal(mean, variance if as_std else math.sqrt(variance))

    return [
        Normal(0.0, 1.0).log_prob(z2),
        law(KEEP * z2, SPARE).log_prob(z1),
        law(SCALE * z1, NOISE).log_prob(x),
        law(UP * x, UP_VARIANCE).log_prob(z1),
        law(TOP * z1, TOP_VARIANCE).log_prob(z2),
    ]


def _weighed(*factors: float, as_std: bool = False) -> Callable[..., Tensor]:
    def evidence(x: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        pieces = _pieces(x, z1, z2, as_std)
        return torch.stack([f * p for f, p in zip(factors, pieces, strict=True)]).sum(0)

    return evidence


def _judge_evidence(answer: Callable[..., object]) -> Verdict:
    # Draw both laws of a whole path as one normal each, by their matrices.
    push = torch.tensor([[1, 0, 0], [KEEP, 1, 0], [SCALE * KEEP, SCALE, 1]], dtype=torch.float64)
    joint = push @ torch.diag(torch.tensor([1.0, SPARE, NOISE]).double()) @ push.T
    pull = torch.tensor([[1.0, TOP], [0.0, 1.0]], dtype=torch.float64)  # of (z2, z1)
    inferred = pull @ torch.diag(torch.tensor([TOP_VARIANCE, UP_VARIANCE]).double()) @ pull.T
    generator = torch.Generator().manual_seed(2)
    x, z1, z2 = 1.5 * torch.randn(3, 7, generator=generator, dtype=torch.float64)
    given = as_tensor(answer(x, z1, z2), (7,))
    path = torch.stack([z2, z1, x], dim=1)
    mean = torch.stack([TOP * UP * x, UP * x], dim=1)
    truth = MultivariateNormal(torch.zeros(3).double(), joint).log_prob(path)
    truth = truth - MultivariateNormal(mean, inferred).log_prob(path[:, :2])
    # E[exp] under the pull, by quadrature, at x = 1.
    unit = torch.linspace(-9.0, 9.0, 181, dtype=torch.float64)
    share = (-0.5 * unit**2).softmax(0)
    at_one = torch.ones(181 * 181, dtype=torch.float64)
    low = (UP + math.sqrt(UP_VARIANCE) * unit).repeat_interleave(181)
    high = TOP * low + math.sqrt(TOP_VARIANCE) * unit.repeat(181)
    path_share = (share[:, None] * share).flatten()
    mean_weight = float(
        (path_share * as_tensor(answer(at_one, low, high), (len(low),)).exp()).sum()
    )
    p = math.exp(float(Normal(0.0, math.sqrt(5.0)).log_prob(torch.tensor(1.0))))
    told = f"E[exp(log-evidence)] under the pull at x = 1 is {mean_weight:.4g}"
    if torch.allclose(given, truth, atol=1e-5):
        return passed(f"{told}, and p(x) = {p:.4f}; every path is right too.")
    start = f"{told}, and should be p(x) = {p:.4f}: "
    z = (x, z1, z2)
    for factors, said in (
        ((0, 1, 1, -1, -1), "the law of the source z2 is missing."),
        ((1, 1, 1, -1, 0), "the upper pull, z2 given z1, is missing."),
        ((1, 1, 1, 1, 1), "the pull's log-laws are added; they are subtracted."),
        ((-1, -1, -1, 1, 1), "the sign is turned: push minus pull."),
        ((1, 1, 0, -1, -1), "the datum's own law, x given z1, is missing."),
    ):
        if torch.allclose(given, _weighed(*factors)(*z), atol=1e-5):
            return not_yet(start + said)
    if torch.allclose(given, _weighed(1, 1, 1, -1, -1, as_std=True)(*z), atol=1e-5):
        return not_yet(start + "you read the variances as deviations; Normal takes the root.")
    if float((given - truth).std()) < 1e-6:
        return not_yet(
            start + "all paths are off by one number; count the factors log(2 pi v) / 2."
        )
    return not_yet(start + "three log-laws of the push minus two of the pull.")


def end_to_end() -> float:
    """Multiply the factors of the steps; every state has variance 1."""
    return FACTOR**STEPS


def _judge_chain(answer: object) -> Verdict:
    # Write each state in its ten independent noises and the start, and multiply rows.
    row = torch.zeros(STEPS + 1, dtype=torch.float64)
    row[0] = 1.0
    start = row.clone()
    for i in range(STEPS):
        row = FACTOR * row
        row[i + 1] = math.sqrt(1 - FACTOR**2)
    truth = float(row @ start / (row.norm() * start.norm()))
    return close(
        answer,
        truth=truth,
        atol=5e-4,
        right=f"{truth:.4f}: written in eleven independent noises, the two ends share one of them.",
        wrong={
            FACTOR: "That is the correlation of neighbours; there are ten steps.",
            truth**2: "That is the share of the variance, the correlation squared.",
            1 - truth: "That is what is forgotten, in a way; the correlation is what is kept.",
            1 - truth**2: "That is the noise's variance at the end.",
            FACTOR ** (STEPS - 1): "One step is missing: T steps join T + 1 states.",
            1 - STEPS * (1 - FACTOR): "Losses do not add up; factors multiply.",
        },
        otherwise="The variance stays 1. How does the covariance with z_0 change in one step?",
    )


def posterior(x: Tensor) -> tuple[Tensor, float]:
    """Give mean (B,) and variance of z2 given x, from their covariance."""
    z1_variance = KEEP**2 + SPARE
    x_variance = SCALE**2 * z1_variance + NOISE
    covariance = SCALE * KEEP
    return covariance / x_variance * x, 1.0 - covariance**2 / x_variance


def _pulled(x: Tensor) -> tuple[Tensor, float]:
    return TOP * UP * x, TOP_VARIANCE + TOP**2 * UP_VARIANCE


def _without_spare(x: Tensor) -> tuple[Tensor, float]:
    k = SCALE * KEEP
    return k / (k * k + NOISE) * x, NOISE / (k * k + NOISE)


def _judge_posterior(answer: Callable[..., object]) -> Verdict:
    x = torch.tensor([-3.0, 0.5, 2.0], dtype=torch.float64)
    pair = answer(x)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return not_yet("two things are asked for: return mean, variance.")
    mean, variance = as_tensor(pair[0], (3,)), as_number(pair[1])
    grid = torch.linspace(-8.0, 8.0, 401, dtype=torch.float64)
    z1, z2 = grid[:, None], grid[None, :]
    truths = []
    for datum in x:
        log_joint = torch.stack(
            [piece.expand(401, 401) for piece in _pieces(datum, z1, z2)[:3]]
        ).sum(0)
        share = log_joint.flatten().softmax(0).reshape(401, 401).sum(0)
        centre = float((share * grid).sum())
        truths.append((centre, float((share * (grid - centre) ** 2).sum())))
    means, truth = torch.tensor([m for m, _ in truths]).double(), truths[0][1]

    def near(m: Tensor, v: float) -> bool:
        return torch.allclose(mean, m, atol=1e-4) and abs(variance - v) < 1e-4

    if near(means, truth):
        return passed("summing the joint over a grid of z1 and z2 gives the same at three x.")
    start = f"at x = 2 mean and variance are {float(means[2]):.3f} and {truth:.3f}, and yours "
    start += f"{float(mean[2]):.3f} and {variance:.3f}: "
    if near(*_pulled(x)):
        return not_yet(start + "that is what the pull believes; the posterior is the push's.")
    if near(means, math.sqrt(truth)):
        return not_yet(start + "the second is the deviation; the variance is asked for.")
    if near(*_without_spare(x)):
        return not_yet(start + "z1 is not 0.8 z2: its own noise also reaches x.")
    if near(x / (SCALE * KEEP), variance):
        return not_yet(start + "turning x = 1.6 z2 round forgets the law of z2 and the noise.")
    return not_yet(start + "what are the covariance of z2 and x, and the variance of x?")


def laws() -> int:
    """Count the source, a law up and a law down for each latent."""
    return 2 * LATENTS + 1


def _judge_laws(answer: object) -> Verdict:
    # Name them: the push draws z_T, ..., z_1, x in turn, the pull z_1, ..., z_T.
    nodes = ["x", *(f"z{i}" for i in range(1, LATENTS + 1))]
    named = [f"push {n}" for n in nodes] + [f"pull {n}" for n in nodes[1:]]
    return close(
        answer,
        truth=len(named),
        atol=0.4,
        right=f"{len(named)}: {len(nodes)} pushed variables and {LATENTS} pulled ones.",
        wrong={
            2 * LATENTS: "The source has a law too: what does the top latent come from?",
            LATENTS + 1: "Those are the push's laws; each latent is also pulled.",
            LATENTS: "Those are the pull's laws, or the steps; each step has two laws.",
            2 * LATENTS + 2: "The datum is given: the pull has no law for it.",
        },
        otherwise="For each variable: is it pushed, is it pulled, or both?",
    )


EXERCISES = (
    Exercise(
        name="ex03_1",
        ask="The push: z2 ~ N(0, 1), z1|z2 ~ N(0.8 z2, 0.36), x|z1 ~ N(2 z1, 1). The pull: z1|x ~ "
        "N(0.3 x, 0.3), z2|z1 ~ N(0.7 z1, 0.4). Second numbers are variances. Write log_evidence"
        "(x, z1, z2), all of shape (B,), in nats with all constants; it returns shape (B,).",
        judge=_judge_evidence,
        hints=(
            "The push has three laws and the pull two.",
            "log_evidence = the log of what the push makes, minus the log of what the pull draws.",
            "torch.distributions.Normal(mean, deviation).log_prob: mind the root of the variance.",
        ),
        solution=log_evidence,
        why="exp of it, averaged over the pull, is p(x), here N(0, 5), however poor the pull. One "
        "law forgotten, and that average is another number.",
        wrong=(
            (_weighed(0, 1, 1, -1, -1), "source z2 is missing"),
            (_weighed(1, 1, 1, -1, 0), "upper pull"),
            (_weighed(1, 1, 1, 1, 1), "are added"),
            (_weighed(-1, -1, -1, 1, 1), "push minus pull"),
            (_weighed(1, 1, 1, -1, -1, as_std=True), "as deviations"),
            (lambda x, z1, z2: log_evidence(x, z1, z2) + 0.9, "off by one number"),
        ),
        code=True,
    ),
    Exercise(
        name="ex03_2",
        ask=f"A chain starts at z_0 ~ N(0, 1) and takes T = {STEPS} steps z -> N({FACTOR} z, 1 - "
        f"{FACTOR**2:g}) (a variance). What is the correlation of its two ends? Three digits.",
        judge=_judge_chain,
        hints=(
            "What is the variance after one step?",
            "The noise of a step is independent of z_0: what happens to the covariance with z_0?",
            "The same happens in each step, and the variance never changes.",
        ),
        solution=end_to_end,
        why="Each step multiplies the covariance with the start, and leaves the variance 1: the "
        "ends forget each other at a geometric rate.",
        wrong=(
            (0.9, "of neighbours"),
            (0.1216, "correlation squared"),
            (0.6513, "is forgotten"),
            (0.3874, "One step is missing"),
            (0.0, "factors multiply"),
        ),
    ),
    Exercise(
        name="ex03_3",
        ask="For the push of exercise 1 write posterior(x): the exact mean, shape (B,), and the "
        "variance, one number, of z2 given x of shape (B,).",
        judge=_judge_posterior,
        hints=(
            "z2 and x are jointly normal: three numbers decide, two variances and a covariance.",
            "x = 2 z1 + noise and z1 = 0.8 z2 + noise: write x in z2 and two noises.",
            "The mean is x times covariance / Var(x); the variance loses covariance**2 / Var(x).",
        ),
        solution=posterior,
        why="Only half of z2's variance is explained by x: the noise of z1 lies between. The "
        "pull's two normal laws believe something else, and that is what its bound loses.",
        wrong=(
            (_pulled, "the pull believes"),
            (lambda x: (0.32 * x, math.sqrt(0.488)), "second is the deviation"),
            (_without_spare, "its own noise"),
            (lambda x: (x / 1.6, 0.488), "turning x"),
        ),
        code=True,
    ),
    Exercise(
        name="ex03_4",
        ask=f"A hierarchical VAE has {LATENTS} latents in a row above the datum. The log-evidence "
        "of one path adds up (with a sign each) the logs of how many laws?",
        judge=_judge_laws,
        hints=(
            "Draw the row of variables and put an arrow to each from what it is drawn from.",
            "The push draws all of them, the top one from the source.",
            "The pull draws each latent once, and never the datum.",
        ),
        solution=laws,
        why="One source, then a push and a pull for each step: 2 T + 1. Diffusion has the same "
        "sum with T in the hundreds, and makes it cheap.",
        wrong=((12, "source has a law"), (7, "the push's laws"), (6, "two laws"), (14, "is given")),
    ),
)

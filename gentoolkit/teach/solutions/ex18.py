"""Lesson 18: the noise of a long step, a step in velocities, one step alone, a log-determinant."""

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like, Open

GRID, LOW, HIGH, HERE, THERE = 1000, 1e-4, 0.02, 500, 400
ONE = (0.6, 0.8)
MEAN, VARIANCE = 1.3, 0.25

Level = tuple[float, float]


def long_step_deviation() -> float:
    """Give the posterior's deviation from products of 1 - beta."""
    kept = (1 - torch.linspace(LOW, HIGH, GRID, dtype=torch.float64)).cumprod(0)
    here, there = float(kept[HERE - 1]), float(kept[THERE - 1])  # beta_1 is entry 0
    return math.sqrt((1 - there) / (1 - here) * (1 - here / there))


def _step_by_step() -> float:
    """Noise in single steps to 400, and from there to 500; then Bayes' rule by precisions."""
    betas = [LOW + (HIGH - LOW) * i / (GRID - 1) for i in range(HERE)]
    before, added, keep = 0.0, 0.0, 1.0
    for beta in betas[:THERE]:
        before = (1 - beta) * before + beta
    for beta in betas[THERE:]:
        added, keep = (1 - beta) * added + beta, keep * math.sqrt(1 - beta)
    return (1 / before + keep**2 / added) ** -0.5


ex18_1 = Exercise(
    long_step_deviation,
    "At eta = 1 it is the deviation of x_400 given x_500 and x_0.",
    "Only a_t**2 at both ends enters; the betas enter through their products.",
    "Its square is (1 - A_400) / (1 - A_500) times (1 - A_500 / A_400), where A = a**2.",
    why="The posterior of a long step has the formula of a short one, with the products of "
    "1 - beta at its two ends. beta_500 belongs to the step from 500 to 499.",
    oracle=_step_by_step,
    atol=3e-4,
    right="{truth:.4f}: noising in single steps and Bayes' rule give the same.",
    wrong={
        0.5217: "That is the variance; z is multiplied by a deviation.",
        0.1002: "You take the beta of one step; this step is 100 times as long.",
        0.01004: "You take the beta of one step, and not its root; this step is 100 times as long.",
        0.7728: "That is the deviation of the pull from 400 to 500; to know x_0 as well leaves "
        "less.",
        0.8971: "That is all the noise at 400: nothing of x_500 would be kept.",
    },
    otherwise="With SNR = a**2 / s**2 it is s_400 sqrt(1 - SNR_500 / SNR_400).",
)


def ddim_step(x: Tensor, v: Tensor, here: Level, there: Level, eta: float, z: Tensor) -> Tensor:
    """Go from `here` to `there`, each (signal, noise deviation): (B, D) -> (B, D)."""
    (a, s), (a_next, s_next) = here, there
    data, e = a * x - s * v, s * x + a * v
    ratio = (a * s_next / (a_next * s)) ** 2  # SNR here over SNR there
    std = eta * s_next * math.sqrt(max(0.0, 1 - ratio))
    return a_next * data + math.sqrt(max(0.0, s_next**2 - std**2)) * e + std * z


LEVELS = (((0.6, 0.8), (0.8, 0.6)), ((0.28, 0.96), (0.96, 0.28)))
ASKED = [(*levels, eta) for levels, eta in product(LEVELS, (0.0, 1.0, 0.5))]


def _ddim_cases() -> list[tuple]:
    """Three rows, x_0 alone, the old noise alone, the new noise alone; and a last step."""
    x0, e, z = torch.eye(3)[:, :, None]
    cases = [
        (h[0] * x0 + h[1] * e, h[0] * e - h[1] * x0, h, there, eta, z) for h, there, eta in ASKED
    ]
    x, v, z = torch.randn(3, 4, 2)
    return [*cases, (x, v, (0.8, 0.6), (1.0, 0.0), 1.0, z)]


def _bayes(x: Tensor, v: Tensor, here: Level, there: Level, eta: float, z: Tensor) -> Tensor:
    """Take x there given x here and x_0; what of its noise is not drawn anew stays."""
    (a, s), (a_next, s_next) = here, there
    e = (v + s / a * x) * a / (s * s + a * a)
    added = s * s - (a / a_next * s_next) ** 2
    spread = (1 / s_next**2 + (a / a_next) ** 2 / added) ** -0.5 if s_next else 0.0
    kept = (s_next**2 - (eta * spread) ** 2) ** 0.5
    return a_next / a * (x - s * e) + kept * e + eta * spread * z


def _somewhere(test: Callable[..., bool]) -> Callable[..., bool]:
    """Whether some case's coefficients of x_0, old and new noise, and its levels, pass the test."""
    return lambda *out: any(
        test(*o[:, 0].tolist(), *asked) for o, asked in zip(out, ASKED, strict=False)
    )


ex18_2 = Exercise(
    ddim_step,
    "Solve x = a x_0 + s e and v = a e - s x_0 for x_0 and for e; the matrix is a rotation.",
    "Then put x_0 to the level `there`: a x_0 plus noise of variance s**2, part old, part fresh.",
    "Fresh: eta s_there sqrt(1 - SNR_here / SNR_there). Old: what is left of the variance.",
    why="Given x_0, old and new noise together have the variance s_there**2: so every eta "
    "keeps the marginals, and one trained net serves all.",
    cases=_ddim_cases,
    oracle=_bayes,
    right="every eta keeps the marginal; eta = 1 is the posterior; eta = 0 draws nothing.",
    wrong={
        "a * x - s * v -> (x - s * v) / a": "you read v as the noise; it is a e - s x_0.",
        "a * x - s * v, s * x + a * v -> a * x + s * v, s * x - a * v": "the sign of v: it is "
        "a e - s x_0, so x_0 = a x - s v.",
        Like(
            "return a_next -> return a",
            _somewhere(lambda data, _, __, here, there, eta: abs(data - there[0]) > 1e-6),
        ): "x_0 should count as much as the signal `there`.",
        Like(
            "eta * s -> s", _somewhere(lambda _, old, new, h, t, eta: eta == 0 and abs(new) > 1e-6)
        ): "eta = 0 should draw nothing, and z counts.",
        Like(
            "math.sqrt(max(0.0, s_next**2 - std**2)) -> s_next",
            _somewhere(lambda _, old, new, h, t, eta: abs(old**2 + new**2 - t[1] ** 2) > 1e-6),
        ): "about a x_0 the noise should have the variance s_there**2: share it between e and z.",
        Like("data + -> data -", _somewhere(lambda _, old, *__: old < 0)): "the old noise turns "
        "its sign.",
        "a_next * data -> (a_next + 0.1 * (s_next == 0)) * data": "all is right but the last step, "
        "to (1, 0), which should give x_0 itself.",
        Like("eta * s_next * math.sqrt -> eta * s_next *", lambda *_: True): "z should count eta "
        "times the posterior's deviation.",
    },
)


def _one_step() -> float:
    """Sum over a grid of states at the level: the variance of where one step leads."""
    a, s = ONE
    spread = math.sqrt(a * a * VARIANCE + s * s)
    x = a * MEAN + spread * torch.linspace(-8, 8, 4001, dtype=torch.float64)
    clean = MEAN + math.sqrt(VARIANCE) * torch.linspace(-8, 8, 801, dtype=torch.float64)
    log_p = -((x[:, None] - a * clean) ** 2) / (2 * s * s) - (clean - MEAN) ** 2 / (2 * VARIANCE)
    end = (log_p.softmax(1) * clean).sum(1)  # the estimate of the data, where there is no noise
    weight = (-((x - a * MEAN) ** 2) / (2 * spread**2)).softmax(0)
    return float((weight * end**2).sum() - (weight * end).sum() ** 2)


ex18_3 = Exercise(
    "(0.6 * 0.25) ** 2 / (0.6**2 * 0.25 + 0.8**2)",
    "The last step goes to a = 1 and s = 0. What of formula (1) is left there?",
    "One step returns the estimate of the data, the mean of x_0 given the state.",
    "For two Gaussian numbers the mean of one given the other is linear: its slope is their "
    "covariance over the variance of the state. The state has variance a**2 0.25 + s**2.",
    why="One step gives E[x_0|x], of variance (a 0.25)**2 / (a**2 0.25 + s**2). By the law of "
    "total variance it lacks E[Var(x_0|x)]: one step from much noise blurs the data to their mean.",
    oracle=_one_step,
    atol=4e-4,
    right="a sum over a grid gives {truth:.4f}: an eighth of the data's 0.25 is left.",
    wrong={
        0.25: "That is the limit of many steps; one step returns a mean, which varies less.",
        0.2192: "That is what the step leaves out: the variance of x_0 given the state.",
        0.2055: "That is the slope of the estimate; square it and multiply by the state's "
        "variance.",
        0.0422: "That takes the states to have variance 1; here they have a**2 0.25 + s**2.",
        0.1755: "That is a deviation; the variance is asked for.",
        0.0: "One step from pure noise would give the mean alone; here a = 0.6 of the signal is "
        "left.",
    },
    otherwise="The result is E[x_0|x], linear in x. Multiply its squared slope by the variance "
    "of x.",
)


def _log_det(steps: int = 4000) -> float:
    """Add up the logarithms of the steps' slopes; on Gaussian data each step is a line in x."""
    width, total = (math.pi / 2 - 1e-3) / steps, 0.0
    for i in range(steps, 0, -1):
        here, there = i * width, (i - 1) * width
        a, s = math.cos(here), math.sin(here)
        k = a * VARIANCE / (a * a * VARIANCE + s * s)
        total += math.log(math.cos(there) * k + math.sin(there) * (1 - a * k) / s)
    return 3 * total


ex18_4 = Exercise(
    "3 * math.log(0.5)",
    "What does the limit of many steps do to a code on the line? Section 4 says it in words.",
    "Standardise, then scale by the deviation of the data: what is the slope of that map?",
    "The three coordinates move by themselves, so the log-determinants add up.",
    why="Each coordinate goes from deviation 1 to deviation 0.5 by a line of slope 0.5; the "
    "log-determinant is 3 log 0.5. It is what the log-weight of this flow needs.",
    oracle=_log_det,
    atol=1.5e-2,
    right="the slopes of 4000 steps multiply to {truth:.3f}: the map shrinks volumes to an eighth.",
    wrong={
        -0.693: "That is one coordinate; there are three.",
        2.079: "The sign: the data are narrower than the noise, so volumes shrink.",
        -4.159: "The slope is the ratio of deviations, not of variances.",
        -1.386: "The slope is the ratio of deviations; and there are three coordinates.",
        0.0: "Formula (1) keeps the law of each level, and the laws at both ends differ in width.",
    },
    otherwise="In the limit the map is x_0 = 1.3 + 0.5 z in each coordinate.",
)


ex18_5 = Open(
    "`encode(digit_denoiser(label), x, steps)` yields the states upwards; the last one is the "
    "code. Images are 2 ink - 1 of shape (B, 1, 28, 28).",
    "The middle of a mixture of images shows both strokes at half the ink. What does the decoded "
    "middle of two codes show?",
    "Compare the largest probability of judge.logits(...).softmax(1) in the middle of both walks, "
    "and look at the images.",
    answer="Ten pairs, one of each class, 50 steps each way. The round trip alone misses a pixel "
    "by 0.014 on average. The decoded middle of two codes is a digit with sharp strokes: 6 % of "
    "its pixels are grey (ink between 0.2 and 0.8), as for the digits at the ends (6 %), and "
    "the classifier gives its class 0.95 on average. The mean of the two images shows both "
    "strokes at half the ink: 16 % grey pixels, and 0.86 for the class. So a code is good for "
    "moving between data points through data points. A surprise: codes of real digits have a "
    "length of about 17, not 28 as noise has, so encoding does not lead to typical noise. Whether "
    "the strides or the network are to blame is a question for another experiment.",
)

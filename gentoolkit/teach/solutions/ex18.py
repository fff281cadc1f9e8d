"""Lesson 18: the noise of a long step, DDIM's step, a round trip, and what eta keeps."""

import math
from collections.abc import Callable
from itertools import pairwise, product

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like

GRID, LOW, HIGH, HERE, THERE = 1000, 1e-4, 0.02, 500, 400
FEW, MANY, ERROR = 100, 400, 0.012
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


def ddim_step(x: Tensor, e: Tensor, here: Level, there: Level, eta: float, z: Tensor) -> Tensor:
    """Go from `here` to `there`, each (signal, noise deviation): (B, D) -> (B, D)."""
    (a, s), (a_next, s_next) = here, there
    data = (x - s * e) / a
    ratio = (a * s_next / (a_next * s)) ** 2  # SNR here over SNR there
    std = eta * s_next * math.sqrt(max(0.0, 1 - ratio))
    return a_next * data + math.sqrt(max(0.0, s_next**2 - std**2)) * e + std * z


LEVELS = (((0.6, 0.8), (0.8, 0.6)), ((0.28, 0.96), (0.96, 0.28)))
ASKED = [(*levels, eta) for levels, eta in product(LEVELS, (0.0, 1.0, 0.5))]


def _ddim_cases() -> list[tuple]:
    """Three rows, x_0 alone, the old noise alone, the new noise alone; and a last step."""
    x0, e, z = torch.eye(3)[:, :, None]
    cases = [(h[0] * x0 + h[1] * e, e, h, there, eta, z) for h, there, eta in ASKED]
    x, e, z = torch.randn(3, 4, 2)
    return [*cases, (x, e, (0.8, 0.6), (1.0, 0.0), 1.0, z)]


def _bayes(x: Tensor, e: Tensor, here: Level, there: Level, eta: float, z: Tensor) -> Tensor:
    """Take x there given x here and x_0; what of its noise is not drawn anew stays."""
    (a, s), (a_next, s_next) = here, there
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
    "First the guess of the datum, from x = a x_0 + s e.",
    "Then put it to the level `there`: a x_0 plus noise of variance s**2, part old, part new.",
    "New: eta s_there sqrt(1 - SNR_here / SNR_there). Old: what is left of the variance.",
    why="Given x_0, old and new noise together have the variance s_there**2: so every eta "
    "keeps the marginals, and one trained net serves all.",
    cases=_ddim_cases,
    oracle=_bayes,
    right="every eta keeps the marginal; eta = 1 is the posterior; eta = 0 draws nothing.",
    wrong={
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


def _round_trip(steps: int) -> float:
    """Encode and decode a point of Gaussian data under its exact noise, in angles."""
    x = 2.0
    for i, j in pairwise([*range(steps + 1), *range(steps - 1, -1, -1)]):
        here, to = i * 1.5 / steps, j * 1.5 / steps
        a, s = math.cos(here), math.sin(here)
        e = s * (x - a * MEAN) / (a * a * VARIANCE + s * s)
        x = math.cos(to) * (x - s * e) / a + math.sin(to) * e
    return abs(x - 2.0)


ex18_3 = Exercise(
    "0.012 * 100 / 400",
    "At eta = 0 a step reads the noise once, at its start.",
    "A method with one slope a step is of first order.",
    "Which factor do four times as many steps make, at first order?",
    why="One step misses by a multiple of its length squared; there are 1 / length of them. "
    "Encode and decode read the noise at opposite ends of a step, so nothing cancels.",
    oracle=lambda: ERROR * _round_trip(MANY) / _round_trip(FEW),
    atol=1.5e-4,
    right="on Gaussian data 100 and 400 steps stand in the ratio 4: first order.",
    wrong={
        0.00075: "That is second order, the error of one step; the steps add up.",
        0.006: "A root is for random errors; these all have one side.",
        0.012: "Shorter steps follow the flow better: the error falls.",
        0.048: "The error falls with more steps.",
    },
    otherwise="DDIM is an Euler method. How does the error of such a method go with steps?",
)


def _sampled(steps: int = 4000) -> tuple[float, float]:
    """Carry the variance from noise to data; on Gaussian data each step is a line in x."""
    width, found = 1.5 / steps, []
    for eta in (0.0, 1.0):
        v = math.cos(1.5) ** 2 * VARIANCE + math.sin(1.5) ** 2
        for i in range(steps, 0, -1):
            here, there = i * width, (i - 1) * width
            a, s, a_next, s_next = math.cos(here), math.sin(here), math.cos(there), math.sin(there)
            slope = s / (a * a * VARIANCE + s * s)  # of the exact noise
            std = eta * s_next * math.sqrt(1 - (a * s_next / (a_next * s)) ** 2)
            old = math.sqrt(s_next**2 - std**2)
            v = (a_next * (1 - s * slope) / a + old * slope) ** 2 * v + std**2
        found.append(v)
    return found[0], found[1]


ex18_4 = Exercise(
    "0.25, 0.25",
    "What is random at eta = 0, if no step draws anything?",
    "The step was built so that a law stays the same for every eta. Which one?",
    "With an exact net and fine steps the samples have the law of the data.",
    why="eta chooses how much of the noise is drawn anew, not how much there is. With few "
    "steps the two differ; with many both reach the data.",
    oracle=_sampled,
    parts="eta = 0, eta = 1",
    atol=4e-3,
    right="4000 steps give {truth[0]:.4f} and {truth[1]:.4f}: both keep the law.",
    wrong={
        (0.0, 0.25): "eta = 0 draws nothing on the way, but its start is random.",
        Like(
            (0.25, 1.0), lambda pair: abs(pair[0] - VARIANCE) < 4e-3 and pair[1] > VARIANCE
        ): "eta = 1 adds noise, and takes as much of the old noise away.",
        (0.5, 0.5): "That is the deviation; the variance is asked for.",
        (1.0, 1.0): "That is the variance of the start; the data is narrower.",
    },
    otherwise="Which marginals does a step keep, for every eta?",
)

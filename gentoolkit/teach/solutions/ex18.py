"""Lesson 18: the noise of a long step, DDIM's step, a round trip, and what eta keeps."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_number,
    as_tensor,
    close,
    not_yet,
    passed,
)

GRID, LOW, HIGH, HERE, THERE = 1000, 1e-4, 0.02, 500, 400
FEW, MANY, ERROR = 100, 400, 0.012
MEAN, VARIANCE = 1.3, 0.25

Level = tuple[float, float]


def long_step_deviation() -> float:
    """Give the posterior's deviation from products of 1 - beta."""
    kept = (1 - torch.linspace(LOW, HIGH, GRID, dtype=torch.float64)).cumprod(0)
    here, there = float(kept[HERE - 1]), float(kept[THERE - 1])  # beta_1 is entry 0
    return math.sqrt((1 - there) / (1 - here) * (1 - here / there))


def _betas() -> list[float]:
    return [LOW + (HIGH - LOW) * i / (GRID - 1) for i in range(GRID)]


def _judge_deviation(answer: object) -> Verdict:
    # Noise step by step, once to t = 400 and once from there to 500; then Bayes by precisions.
    betas = _betas()
    before, added, keep = 0.0, 0.0, 1.0
    for beta in betas[:THERE]:
        before = (1 - beta) * before + beta
    for beta in betas[THERE:HERE]:
        added, keep = (1 - beta) * added + beta, keep * math.sqrt(1 - beta)
    truth = (1 / before + keep**2 / added) ** -0.5
    last = betas[HERE - 1]
    return close(
        answer,
        truth=truth,
        atol=3e-4,
        right=f"{truth:.4f}: noising in single steps and Bayes' rule give the same.",
        wrong={
            truth**2: "That is the variance; z is multiplied by a deviation.",
            math.sqrt(last): "You take the beta of one step; this step is 100 times as long.",
            last: "You take the beta of one step; this step is 100 times as long.",
            math.sqrt(added): "That is the deviation of the pull from 400 to 500; to know x_0 as "
            "well leaves less.",
            math.sqrt(before): "That is all the noise at 400: nothing of x_500 would be kept.",
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


def _variant(
    std: Callable[[float, float], float] = lambda eta, exact: eta * exact,
    rest: Callable[[float, float], float] = lambda s, std: math.sqrt(s * s - std * std),
    signal: Callable[[float, float], float] = lambda a, a_next: a_next,
    drawn: float = 1.0,
) -> Callable[..., Tensor]:
    def step(x: Tensor, e: Tensor, here: Level, there: Level, eta: float, z: Tensor) -> Tensor:
        data = (x - here[1] * e) / here[0]
        exact = there[1] * math.sqrt(1 - (here[0] * there[1] / (there[0] * here[1])) ** 2)
        used = std(eta, exact)
        return signal(here[0], there[0]) * data + rest(there[1], used) * e + drawn * used * z

    return step


def _judge_step(answer: Callable[..., object]) -> Verdict:
    x0, e, z = torch.eye(3, dtype=torch.float64)[:, :, None]
    for here, there in (((0.6, 0.8), (0.8, 0.6)), ((0.28, 0.96), (0.96, 0.28))):
        (a, s), (a_next, s_next) = here, there
        keep = a / a_next
        added = s * s - keep * keep * s_next * s_next
        exact = (1 / s_next**2 + keep**2 / added) ** -0.5  # x there, given x here and x_0
        start = f"from (a, s) = {here} to {there}, "
        for eta in (0.0, 1.0, 0.5):
            # Three rows: x_0 alone, the old noise alone, the new noise alone.
            given = answer(a * x0 + s * e, e, here, there, eta, z)
            data, old, new = as_tensor(given, (3, 1))[:, 0].tolist()
            if abs(data - a_next) > 1e-6:
                return not_yet(start + f"x_0 should count {a_next}, and counts {data:.3f}.")
            if eta == 0.0 and abs(new) > 1e-6:
                return not_yet(start + "eta = 0 should draw nothing, and z counts.")
            variance = old**2 + new**2
            if abs(variance - s_next**2) > 1e-6:
                return not_yet(
                    start + f"eta = {eta:g} leaves a noise of variance {variance:.4f} about "
                    f"a x_0; it should be {s_next**2:.4f}: share it between e and z."
                )
            if abs(abs(new) - eta * exact) > 1e-6:
                return not_yet(
                    start + f"z counts {abs(new):.4f} at eta = {eta:g}, and the posterior's "
                    f"deviation is {exact:.4f}."
                )
            if old < 0.0:
                return not_yet(start + "the old noise turns its sign.")
    generator = torch.Generator().manual_seed(3)
    x, e, z = (torch.randn(4, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    last = as_tensor(answer(x, e, (0.8, 0.6), (1.0, 0.0), 1.0, z), (4, 2))
    if not torch.allclose(0.8 * last + 0.6 * e, x, atol=1e-8):
        return not_yet("all is right but the last step, to (1, 0), which should give x_0 itself.")
    return passed("every eta keeps the marginal; eta = 1 is the posterior; eta = 0 draws nothing.")


def error_after_more_steps() -> float:
    """Divide by how many times shorter the steps are: a method of first order."""
    return ERROR * FEW / MANY


def _round_trip(steps: int) -> float:
    """Encode and decode a point of Gaussian data under its exact noise, in angles."""
    width = 1.5 / steps

    def noise(x: float, angle: float) -> float:
        a, s = math.cos(angle), math.sin(angle)
        return s * (x - a * MEAN) / (a * a * VARIANCE + s * s)

    def move(x: float, angle: float, to: float) -> float:
        e = noise(x, angle)
        return math.cos(to) * (x - math.sin(angle) * e) / math.cos(angle) + math.sin(to) * e

    x = start = 2.0
    for i in range(steps):
        x = move(x, i * width, (i + 1) * width)
    for i in range(steps, 0, -1):
        x = move(x, i * width, (i - 1) * width)
    return abs(x - start)


def _judge_round_trip(answer: object) -> Verdict:
    # Measure both numbers of steps on Gaussian data; what is asked for is their ratio.
    truth = ERROR * _round_trip(MANY) / _round_trip(FEW)
    return close(
        answer,
        truth=truth,
        atol=1.5e-4,
        right=f"on Gaussian data {FEW} and {MANY} steps stand in the ratio "
        f"{_round_trip(FEW) / _round_trip(MANY):.2f}: first order.",
        wrong={
            ERROR * (FEW / MANY) ** 2: "That is second order, the error of one step; the steps "
            "add up.",
            ERROR * (FEW / MANY) ** 0.5: "A root is for random errors; these all have one side.",
            ERROR: "Shorter steps follow the flow better: the error falls.",
            ERROR * MANY / FEW: "The error falls with more steps.",
        },
        otherwise="DDIM is an Euler method. How does the error of such a method go with steps?",
    )


def variances() -> tuple[float, float]:
    """Give the data's variance for both: every eta keeps the marginals."""
    return VARIANCE, VARIANCE


def _sampled_variance(eta: float, steps: int) -> float:
    """Carry the variance from noise to data; on Gaussian data each step is a line in x."""
    width = 1.5 / steps
    v = math.cos(1.5) ** 2 * VARIANCE + math.sin(1.5) ** 2
    for i in range(steps, 0, -1):
        here, there = i * width, (i - 1) * width
        a, s, a_next, s_next = math.cos(here), math.sin(here), math.cos(there), math.sin(there)
        slope = s / (a * a * VARIANCE + s * s)  # of the exact noise
        std = eta * s_next * math.sqrt(max(0.0, 1 - (a * s_next / (a_next * s)) ** 2))
        old = math.sqrt(max(0.0, s_next**2 - std**2))
        v = (a_next * (1 - s * slope) / a + old * slope) ** 2 * v + std**2
    return v


def _judge_variances(answer: object) -> Verdict:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return not_yet("two numbers are asked for: (eta = 0, eta = 1).")
    given = as_number(answer[0]), as_number(answer[1])
    truth = _sampled_variance(0.0, 4000), _sampled_variance(1.0, 4000)
    near = [abs(g - t) < 4e-3 for g, t in zip(given, truth, strict=True)]
    if all(near):
        return passed(f"4000 steps give {truth[0]:.4f} and {truth[1]:.4f}: both keep the law.")
    if near[1] and given[0] == 0.0:
        return not_yet("eta = 0 draws nothing on the way, but its start is random.")
    if near[0] and given[1] > truth[1]:
        return not_yet("eta = 1 adds noise, and takes as much of the old noise away.")
    if max(abs(g - math.sqrt(VARIANCE)) for g in given) < 4e-3:
        return not_yet("that is the deviation; the variance is asked for.")
    if given == (1.0, 1.0):
        return not_yet("that is the variance of the start; the data is narrower.")
    right = "one is right; " * any(near)
    return not_yet(right + "which marginals does a step keep, for every eta?")


EXERCISES = (
    Exercise(
        name="ex18_1",
        ask=f"T = {GRID}, beta_1 to beta_T even from {LOW:g} to {HIGH:g}, a_t**2 = product of "
        f"1 - beta up to t. DDIM goes in one step from t = {HERE} to t = {THERE} with eta = 1. "
        "What is the deviation of the noise that it draws? Three digits.",
        judge=_judge_deviation,
        hints=(
            "At eta = 1 it is the deviation of x_400 given x_500 and x_0.",
            "Only a_t**2 at both ends enters; the betas enter through their products.",
            "Its square is (1 - A_400) / (1 - A_500) times (1 - A_500 / A_400), where A = a**2.",
        ),
        solution=long_step_deviation,
        why="The posterior of a long step has the formula of a short one, with the products of "
        "1 - beta at its two ends. beta_500 belongs to the step from 500 to 499.",
        wrong=(
            (0.1003, "100 times as long"),
            (0.5217, "That is the variance"),
            (0.9, "sqrt(1 - SNR_500"),
        ),
    ),
    Exercise(
        name="ex18_2",
        ask="Write ddim_step(x, e, here, there, eta, z): one step from here = (a, s) to there = "
        "(a, s), two pairs of numbers with a**2 + s**2 = 1, s a deviation. x is the state, e the "
        "net's noise and z fresh normal noise, all (B, D). It returns the next state, (B, D).",
        judge=_judge_step,
        hints=(
            "First the guess of the datum, from x = a x_0 + s e.",
            "Then put it to the level `there`: a x_0 plus noise of variance s**2, part old, part "
            "new.",
            "New: eta s_there sqrt(1 - SNR_here / SNR_there). Old: what is left of the variance.",
        ),
        solution=ddim_step,
        why="Given x_0, old and new noise together have the variance s_there**2: so every eta "
        "keeps the marginals, and one trained net serves all.",
        wrong=(
            (_variant(rest=lambda s, std: s), "share it between"),
            (_variant(signal=lambda a, a_next: a), "x_0 should count"),
            (_variant(std=lambda eta, exact: exact), "draw nothing"),
            (_variant(std=lambda eta, exact: eta * exact**2), "the posterior's deviation"),
            (_variant(rest=lambda s, std: -math.sqrt(s * s - std * std)), "turns its sign"),
        ),
        code=True,
    ),
    Exercise(
        name="ex18_3",
        ask=f"You encode images into noise by DDIM and decode them again. With {FEW} steps each "
        f"way the round trip misses by {ERROR}. What do you expect with {MANY} steps?",
        judge=_judge_round_trip,
        hints=(
            "At eta = 0 a step reads the noise once, at its start.",
            "A method with one slope a step is of first order.",
            "Which factor do four times as many steps make, at first order?",
        ),
        solution=error_after_more_steps,
        why="One step misses by a multiple of its length squared; there are 1 / length of them. "
        "Encode and decode read the noise at opposite ends of a step, so nothing cancels.",
        wrong=(
            (0.00075, "second order"),
            (0.006, "random errors"),
            (0.012, "follow the flow better"),
            (0.048, "falls with more steps"),
        ),
    ),
    Exercise(
        name="ex18_4",
        ask=f"Data N({MEAN}, {VARIANCE}) ({VARIANCE} is the variance), exact net, very many steps. "
        "What is the variance of DDIM's samples at eta = 0, and at eta = 1? Answer (eta 0, eta 1).",
        judge=_judge_variances,
        hints=(
            "What is random at eta = 0, if no step draws anything?",
            "The step was built so that a law stays the same for every eta. Which one?",
            "With an exact net and fine steps the samples have the law of the data.",
        ),
        solution=variances,
        why="eta chooses how much of the noise is drawn anew, not how much there is. With few "
        "steps the two differ; with many both reach the data.",
        wrong=(
            ((0.0, 0.25), "its start is random"),
            ((0.25, 1.0), "takes as much"),
            ((0.5, 0.5), "that is the deviation"),
            ((1.0, 1.0), "variance of the start"),
        ),
    ),
)

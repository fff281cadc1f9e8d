"""Oracles and typical wrong answers of lesson 15's exercises."""

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.distributions import Normal

from gentoolkit.teach.exercise import (
    Verdict,
    as_tensor,
    close,
    not_yet,
    passed,
)

MEAN, STEP = 1.0, 0.1  # target N(MEAN, 1); a step's noise has the variance 2 STEP
SLIPS = "ABCD"

Score = Callable[[Tensor], Tensor]
LogDensity = Callable[[Tensor], Tensor]


def _normal(x: Tensor, mean: Tensor | float, variance: float) -> Tensor:
    return Normal(mean, math.sqrt(variance)).log_prob(x)


def _by_quadrature(at: float = MEAN, push: float = 2 * STEP) -> tuple[float, float]:
    """Average end points and log-ratio by Gauss's three points, exact for squares.

    The pull's score is that of N(at, 1), and the noise of both chains has the variance `push`.
    """
    points = [(-math.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (math.sqrt(3.0), 1 / 6)]
    ends = ratio = 0.0
    for (u, weight_u), (e, weight_e) in product(points, points):
        x = torch.tensor(u, dtype=torch.float64)
        mean = x + STEP * (MEAN - x)
        y = mean + math.sqrt(push) * e
        weight = weight_u * weight_e
        ends += weight * float(_normal(y, MEAN, 1.0) - _normal(x, 0.0, 1.0))
        back = _normal(x, y + STEP * (at - y), push)
        ratio += weight * float(back - _normal(y, mean, push))
    return ends, ratio


def judge_mean(answer: object) -> Verdict:
    """Judge ex15_1 by three Gauss points for x and for the noise."""
    ends, ratio = _by_quadrature()
    truth = ends + ratio
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"{truth:.4f} nats: three Gauss points for x and for the noise give the same. "
        "log Z is 0, so that is what one step loses.",
        wrong={
            sum(_by_quadrature(at=0.0)): "Your pull follows the source's score; push and pull of "
            "one step use the same density, here the target.",
            ends - ratio: "The log-ratio has the wrong sign: the pull's density is divided by the "
            "push's.",
            sum(_by_quadrature(push=STEP)): "Your noise has the variance d; it is 2 d.",
            ends: "Those are the end points only; the log-ratio of the step is missing.",
            ratio: "That is the log-ratio of the step; the end points are missing.",
            -truth: "The sign is wrong: by Jensen the average cannot lie above log Z = 0.",
        },
        otherwise="Four squares: y and x at the end points, the pull's and the push's residuals. "
        "x and the noise are independent, with variances 1 and 2 d.",
    )


def _ratio_like(pull_of: Callable[..., Tensor], scale: float = 1.0) -> Callable[..., Tensor]:
    """Build a wrong answer from the pull's mean, given x, y, score, step and correction."""

    def answer(x: Tensor, y: Tensor, score: Score, step: float, correction: Score) -> Tensor:
        pull = x - pull_of(x, y, score, step, correction)
        push = y - x - step * score(x)
        return scale * (push.square() - pull.square()).sum(1) / (4 * step)

    return answer


def _right_mean(x: Tensor, y: Tensor, score: Score, step: float, correction: Score) -> Tensor:
    return y - step * score(y) + 2 * step * correction(y)


MINUS = _ratio_like(_right_mean, scale=-1.0)
NARROW = _ratio_like(_right_mean, scale=2.0)
AT_X = _ratio_like(lambda x, y, s, d, c: y - d * s(x) + 2 * d * c(x))
ONE = _ratio_like(lambda x, y, s, d, c: y - d * s(y) + d * c(y))
PLAIN = _ratio_like(lambda x, y, s, d, c: y + d * s(y))
TURNED = _ratio_like(lambda x, y, s, d, c: y + d * s(y) + 2 * d * c(y))


def judge_ratio(answer: Callable[..., object]) -> Verdict:
    """Judge ex15_2 by the two normal densities."""
    generator = torch.Generator().manual_seed(6)
    x, y = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    step = 0.15

    def score(z: Tensor) -> Tensor:
        return -z - z.sin()

    def correction(z: Tensor) -> Tensor:
        return 0.3 - z.tanh()

    asked = (x, y, score, step, correction)
    given = as_tensor(answer(*asked), (5,))
    pull = _normal(x, y - step * score(y) + 2 * step * correction(y), 2 * step)
    truth = (pull - _normal(y, x + step * score(x), 2 * step)).sum(1)
    if torch.allclose(given, truth, atol=1e-9):
        return passed("the two normal densities differ by the same at five pairs.")
    start = f"one log-ratio is {float(truth[0]):.3f}, and yours {float(given[0]):.3f}: "
    meanings = (
        (MINUS, "the sign is wrong; it is the pull's density over the push's."),
        (NARROW, "your variance is the step; it is twice the step."),
        (AT_X, "the pull starts at y, so its score and its correction are taken at y."),
        (ONE, "a 2 is missing: the correction is multiplied by twice the step."),
        (PLAIN, "that is plain annealing; the correction does not enter."),
        (TURNED, "the pull goes against the score: its drift has a minus sign."),
    )
    for wrong, meaning in meanings:
        if torch.allclose(given, wrong(*asked), atol=1e-9):
            return not_yet(start + meaning)
    if torch.allclose(3 * given, truth, atol=1e-9):
        return not_yet(start + "you average over the coordinates; their logs add up.")
    return not_yet(start + "each density is a squared residual over four steps; take both means.")


def _mean_weights() -> dict[str, float]:
    """Integrate source times push times weight, that is target times pull, on a grid."""
    axis = torch.linspace(-9.0, 11.0, 501, dtype=torch.float64)
    x, y = axis[:, None], axis[None, :]
    learned = -(y - STEP * MEAN) / ((1 - STEP) ** 2 + 2 * STEP)  # score of the law of y
    score, noise = MEAN - y, 2 * STEP
    pulls = {
        "A": _normal(x, y + STEP * score + 2 * STEP * learned, noise),
        "B": _normal(x, y - STEP * score + STEP * learned, noise),
        "C": _normal(x, y - STEP * score + 2 * STEP * learned, STEP),
        "D": _normal(x, y - STEP * (MEAN - x) + 2 * STEP * learned, noise),
    }
    area = float(axis[1] - axis[0]) ** 2
    return {
        slip: float((_normal(y, MEAN, 1.0) + p).exp().sum()) * area for slip, p in pulls.items()
    }


def _letters(answer: object) -> set[str] | None:
    """Read the slips that are named, or None if that is no selection of them."""
    if not isinstance(answer, str | set | frozenset | list | tuple):
        return None
    words = [] if answer == "none" else list(answer)
    named = {word.upper() for word in words if isinstance(word, str)}
    return named if named <= set(SLIPS) and len(named) == len(words) else None


def judge_slips(answer: object) -> Verdict:
    """Judge ex15_3 by an integral on a grid for each slip."""
    named = _letters(answer)
    if named is None:
        return not_yet('letters out of A to D are asked for, such as "AD", or "none".')
    means = _mean_weights()
    truth = {slip for slip, mean in means.items() if abs(mean - 1) < 1e-6}
    if named == truth:
        return passed(
            f"on a grid, with Z = 1, the weights average to {means['A']:.3f}, {means['B']:.3f}, "
            f"{means['C']:.3f} and {means['D']:.3f}. Only E[log w] betrays the others."
        )
    if not named:
        return not_yet("a worse pull is still a pull; not every slip biases the weight.")
    if named == set(SLIPS):
        return not_yet("one of them is no density in x any more; which one does not integrate?")
    if named == set(SLIPS) - truth:
        return not_yet("those are the slips that bias; name the ones that do not.")
    if "D" in named:
        return not_yet("D: as a function of x, at fixed y, what does it integrate to?")
    if named == truth - {"C"}:
        return not_yet("C: a narrower normal density is normalised too.")
    return not_yet("more slips than that are harmless: does the pull integrate to 1 over x?")


def _weights_like(rule: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Build a wrong answer from log-source and log-target of all states, and the changes."""

    def answer(states: Tensor, betas: Tensor, source: LogDensity, target: LogDensity) -> Tensor:
        logs = [torch.stack([law(x) for x in states]) for law in (source, target)]
        return rule(logs[0], logs[1], betas.diff()[:, None])

    return answer


AFTER = _weights_like(lambda s, t, d: (d * (t - s)[1:]).sum(0))
ENDS = _weights_like(lambda s, t, d: t[-1] - s[0])
LATE = _weights_like(lambda s, t, d: (d * (t - s)[:-1])[1:].sum(0))
BACK = _weights_like(lambda s, t, d: (d * (s - t)[:-1]).sum(0))
EVEN = _weights_like(lambda s, t, d: (t - s)[:-1].mean(0))


def judge_weights(answer: Callable[..., object]) -> Verdict:
    """Judge ex15_4 by the matrices of Metropolis moves among five places."""
    generator = torch.Generator().manual_seed(9)
    places, steps, batch = 5, 4, 6
    tables = 2 * torch.randn(2, places, generator=generator, dtype=torch.float64)
    betas = torch.tensor([0.0, 0.1, 0.25, 0.6, 1.0], dtype=torch.float64)
    at = torch.randint(places, (steps + 1, batch), generator=generator)

    def log_source(z: Tensor) -> Tensor:
        return tables[0][z[..., 0].long()]

    def log_target(z: Tensor) -> Tensor:
        return tables[1][z[..., 0].long()]

    asked = (at[..., None].double(), betas, log_source, log_target)
    given = as_tensor(answer(*asked), (batch,))
    # Push and pull are one Metropolis matrix a step, of proposals uniform over the places.
    truth = tables[1][at[-1]] - tables[0][at[0]]
    for k in range(1, steps + 1):
        log_g = (1 - betas[k]) * tables[0] + betas[k] * tables[1]
        move = (log_g[None, :] - log_g[:, None]).exp().clamp(max=1) / places
        move = move + (1 - move.sum(1)).diag()
        truth = truth + (move[at[k], at[k - 1]] / move[at[k - 1], at[k]]).log()
    if torch.allclose(given, truth, atol=1e-9):
        return passed("pull over push, read from the Metropolis matrices, gives the same weights.")
    start = f"one log-weight is {float(truth[0]):.3f}, and yours {float(given[0]):.3f}: "
    meanings = (
        (AFTER, "you take x_k; the density changes before the move, at x_{k-1}."),
        (ENDS, "those are the end points only; the moves have a log-ratio too."),
        (LATE, "the term k = 1, at x_0, is missing."),
        (BACK, "the sign is wrong; the new density is divided by the old one."),
        (EVEN, "your changes of beta are all equal; take them from betas."),
    )
    for wrong, meaning in meanings:
        if torch.allclose(given, wrong(*asked), atol=1e-9):
            return not_yet(start + meaning)
    return not_yet(start + "add, for k = 1 to K, log g_k - log g_{k-1}, both at x_{k-1}.")

"""Lesson 14: one path's account, an exact reversal, the ESS after Metropolis, a Langevin step."""

from collections.abc import Callable

from torch import Tensor

from gentoolkit.teach.exercise import Exercise
from gentoolkit.teach.solutions.ex14_oracles import (
    END,
    ESS,
    MOVES,
    PATHS,
    START,
    STEP,
    judge_ess,
    judge_ratio,
    judge_reversal,
    judge_weight,
)

LogLaw = Callable[[Tensor], Tensor]
Account = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def log_weight(
    x0: Tensor,
    x1: Tensor,
    x2: Tensor,
    x3: Tensor,
    log_source: LogLaw,
    log_target: LogLaw,
    log_det: Tensor,
    score: Callable[[Tensor], Tensor],
    step: float,
    log_g: LogLaw,
) -> Tensor:
    """Give log w of the paths: states (B, D), log_det (B,), score at (B, D) -> (B,)."""
    push_noise = x2 - x1 - step * score(x1)
    pull_noise = x1 - x2 - step * score(x2)
    langevin = (push_noise.square() - pull_noise.square()).sum(1) / (4 * step)
    metropolis = log_g(x2) - log_g(x3)
    return log_target(x3) - log_source(x0) + log_det + langevin + metropolis


def _account(rule: Account, pull_at_end: bool = True) -> Callable[..., Tensor]:
    """Build a wrong answer from the ends, the log-determinant, Langevin's and Metropolis' part."""

    def answer(
        x0: Tensor,
        x1: Tensor,
        x2: Tensor,
        x3: Tensor,
        log_source: LogLaw,
        log_target: LogLaw,
        log_det: Tensor,
        score: Callable[[Tensor], Tensor],
        step: float,
        log_g: LogLaw,
    ) -> Tensor:
        push = (x2 - x1 - step * score(x1)).square().sum(1)
        pull = (x1 - x2 - step * score(x2 if pull_at_end else x1)).square().sum(1)
        langevin = (push - pull) / (4 * step)
        return rule(log_target(x3) - log_source(x0), log_det, langevin, log_g(x2) - log_g(x3))

    return answer


def reversal(
    y: Tensor, slope: float, mean: float, var: float, noise: float
) -> tuple[Tensor, float]:
    """Give the exact pull's mean and variance: y (B,), slope to noise numbers -> (B,), number."""
    variance = 1 / (1 / var + slope**2 / noise)
    return variance * (mean / var + slope * y / noise), variance


def _flat(y: Tensor, slope: float, mean: float, var: float, noise: float) -> tuple[Tensor, float]:
    return y / slope, noise / slope**2


def _with_variance(rule: Callable[[float, float, float], float]) -> Callable[..., object]:
    """Build a wrong answer: the right mean, and a variance from the right one, var and noise."""

    def answer(y: Tensor, slope: float, mean: float, var: float, noise: float) -> object:
        right, variance = reversal(y, slope, mean, var, noise)
        return right, rule(variance, var, noise)

    return answer


def ess_after_moves() -> int:
    """Give the ESS before the moves: no log w has changed."""
    return ESS


def log_ratio() -> float:
    """Give half of the push's squared noise less the pull's."""
    push_noise = END - START + STEP * START
    pull_noise = START - END + STEP * END
    return (push_noise**2 - pull_noise**2) / (4 * STEP)


EXERCISES = (
    Exercise(
        name="ex14_1",
        ask="Write log_weight(x0, x1, x2, x3, log_source, log_target, log_det, score, step, "
        "log_g): log w of the paths of a flow x0 to x1 with log|det| log_det of shape (B,), a "
        "Langevin step x1 to x2, y = x + step score(x) + sqrt(2 step) noise, whose pull is the "
        "same kernel started at y, and a Metropolis move x2 to x3 that is reversible for g. "
        "States have shape (B, D); it returns shape (B,).",
        judge=judge_weight,
        hints=(
            "Start with log_target at x3 minus log_source at x0; each layer adds log pull - push.",
            "Langevin: both kernels are normal with variance 2 step, so half the difference of "
            "two squared noises is left. The pull's score is taken where the pull starts.",
            "Reversible: g(x2) push(x3 | x2) = g(x3) pull(x2 | x3). Solve for the log-ratio.",
        ),
        solution=log_weight,
        why="Each layer makes one entry: the flow its log-determinant, Langevin half a difference "
        "of squares, Metropolis what log_g has lost.",
        wrong=(
            (_account(lambda ends, det, lan, mh: ends - det + lan + mh), "with a plus"),
            (_account(lambda ends, det, lan, mh: ends + det + lan + mh, False), "taken there"),
            (_account(lambda ends, det, lan, mh: ends + det + lan - mh), "log_g has gained"),
            (_account(lambda ends, det, lan, mh: ends + det + lan), "mean that it adds 0"),
            (_account(lambda ends, det, lan, mh: ends + lan + mh), "flow is missing"),
            (_account(lambda ends, det, lan, mh: ends + det - lan + mh), "pull over push"),
            (_account(lambda a, d, lan, m: a + d + lan + (-m).clamp(max=0)), "no ratio"),
        ),
        code=True,
    ),
    Exercise(
        name="ex14_2",
        ask="Write reversal(y, slope, mean, var, noise): x ~ N(mean, var) and y = slope x + "
        "sqrt(noise) e; var and noise are variances. Return the mean, shape (B,), and the "
        "variance, a number, of the pull of x given y for which log w is the same on every path, "
        "with the law of y as the target.",
        judge=judge_reversal,
        hints=(
            "log w is constant if source times push is target times pull: Bayes' rule.",
            "In x, log source plus log push is a quadratic. Read off its curvature.",
            "The precision is 1 / var + slope**2 / noise; the mean weighs `mean` and y by theirs.",
        ),
        solution=reversal,
        why="The pull is the posterior. Precisions add, and the mean is weighted by them.",
        wrong=(
            (_flat, "law of x counts"),
            (_with_variance(lambda right, var, noise: right**0.5), "return the deviation"),
            (_with_variance(lambda right, var, noise: noise), "variance of the push"),
            (_with_variance(lambda right, var, noise: var), "before y was seen"),
            (_with_variance(lambda right, var, noise: 1 / right), "the precision;"),
        ),
        code=True,
    ),
    Exercise(
        name="ex14_3",
        ask=f"The {PATHS} paths of a flow have an effective sample size of {ESS}. You append "
        f"{MOVES} Metropolis moves, each reversible for the target. What is the effective sample "
        "size now?",
        judge=judge_ess,
        hints=(
            "The effective sample size depends on the weights only. Which entries do moves make?",
            "A move from x to y adds log g(x) - log g(y), and here g is the target.",
            "Add the entries of all moves, and log target at the last state: what is left?",
        ),
        solution=ess_after_moves,
        why="The entries telescope, and the target at the last state cancels against them: log w "
        "stays as it was, path by path, though the particles have moved.",
        wrong=(
            (370, "it pays back"),
            (PATHS, "do not know"),
            (0, "No path is lost"),
            (160, "reversible for the target"),
        ),
    ),
    Exercise(
        name="ex14_4",
        ask=f"A Langevin step for the target N(0, 1) with e = {STEP} went from x = {START:g} to "
        f"y = {END}; its pull is the same kernel started at y. What does it add to log w, in nats?",
        judge=judge_ratio,
        hints=(
            "The score of N(0, 1) is -x. Where do the push from x and the pull from y aim?",
            "The push aims at 0.9 x, the pull at 0.9 y; both have variance 2 e.",
            "Half of the push's squared miss minus the pull's, over the variance.",
        ),
        solution=log_ratio,
        why="The push misses its mean 0.9 by 0.4, the pull its mean 0.45 by 0.55; half of the "
        "difference of the squares, over the variance 0.2.",
        wrong=(
            (0.35625, "log pull minus log push"),
            (-0.5, "not at x"),
            (-0.7125, "variance 2 e"),
            (-0.375, "a Metropolis move's"),
        ),
    ),
)

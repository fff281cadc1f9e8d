"""Lesson 15: the bound of one step, the weight of a step, slips that stay unbiased, annealing."""

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise
from gentoolkit.teach.solutions.ex15_oracles import (
    AFTER,
    AT_X,
    BACK,
    ENDS,
    EVEN,
    LATE,
    MEAN,
    MINUS,
    NARROW,
    ONE,
    PLAIN,
    SLIPS,
    STEP,
    TURNED,
    LogDensity,
    Score,
    judge_mean,
    judge_ratio,
    judge_slips,
    judge_weights,
)


def mean_log_w() -> float:
    """Average four squares, each linear in x and the noise, of variances 1 and 2 STEP."""
    keep, noise = 1 - STEP, 2 * STEP
    target = keep**2 * (1 + MEAN**2) + noise  # of y - MEAN = keep (x - MEAN) + noise
    back = (1 - keep**2) ** 2 * (1 + MEAN**2) + keep**2 * noise  # of x - the pull's mean
    return 0.5 * (1 - target) + 0.5 * (1 - back / noise)


def log_ratio(x: Tensor, y: Tensor, score: Score, step: float, correction: Score) -> Tensor:
    """Give log b(x | y) - log f(y | x): x and y (B, D) -> (B,)."""
    push = y - x - step * score(x)
    pull = x - y + step * score(y) - 2 * step * correction(y)
    return (push.square() - pull.square()).sum(1) / (4 * step)


def unbiased() -> str:
    """Name the slips whose pull still integrates to one over x."""
    return SLIPS[:3]


def log_weights(
    states: Tensor, betas: Tensor, log_source: LogDensity, log_target: LogDensity
) -> Tensor:
    """Add up what each change of density gains: states (K + 1, B, D), betas (K + 1,) -> (B,)."""
    gains = torch.stack([log_target(x) - log_source(x) for x in states[:-1]])
    return (betas.diff()[:, None] * gains).sum(0)


EXERCISES = (
    Exercise(
        name="ex15_1",
        ask="One dimension, source N(0, 1), target N(1, 1) and normalised, one step. The push is "
        f"y = x + d score(x) + sqrt(2 d) e with the target's score and d = {STEP}; the pull is the "
        "same kernel, started at y. What is E[log w] in nats? Give three digits.",
        judge=judge_mean,
        hints=(
            "log w = log target(y) - log source(x) + log pull(x | y) - log push(y | x).",
            "Both normal laws of the step have the same constant, so four squares are left. Write "
            "each through x and e.",
            "With m = 1 - d, y - 1 is m (x - 1) plus noise, and x minus the pull's mean is "
            "(1 - m^2) (x - 1) minus m times the noise.",
        ),
        solution=mean_log_w,
        why="The average of a square is a squared mean plus variances. The end points give -0.41 "
        "and the log-ratio -0.0855: particles lag, and the pull is not the push's reversal.",
        wrong=(
            (-0.4255, "source's score"),
            (-0.3245, "log-ratio has the wrong sign"),
            (-0.626, "it is 2 d"),
            (-0.41, "end points only"),
            (-0.0855, "end points are missing"),
            (0.4955, "Jensen"),
        ),
    ),
    Exercise(
        name="ex15_2",
        ask="Write log_ratio(x, y, score, step, correction): log b(x | y) - log f(y | x) for the "
        "push f = N(x + step score(x), 2 step I) and the pull b = N(y - step score(y) + 2 step "
        "correction(y), 2 step I); 2 step is a variance. x and y have shape (B, D), score and "
        "correction are functions from (B, D) to (B, D); it returns (B,).",
        judge=judge_ratio,
        hints=(
            "Both laws have the same variance, so the constants cancel.",
            "What is left are two squared residuals: y minus the push's mean, x minus the pull's.",
            "A squared residual is divided by twice the variance; sum over coordinates.",
        ),
        solution=log_ratio,
        why="With correction = score the pull is the push's own kernel started at y, which is "
        "plain annealing; any other correction changes the pull alone.",
        wrong=(
            (AT_X, "taken at y"),
            (ONE, "a 2 is missing"),
            (MINUS, "sign is wrong"),
            (NARROW, "twice the step."),
            (PLAIN, "plain annealing"),
            (TURNED, "against the score"),
            (lambda *asked: log_ratio(*asked) / 3, "average over"),
        ),
        code=True,
    ),
    Exercise(
        name="ex15_3",
        ask="Four slips in a program with a learned pull. A: the pull's drift has the wrong sign. "
        "B: the correction is multiplied by step, not by 2 step. C: the pull has the variance "
        "step, not 2 step, with its constant. D: the pull's score is taken at x, not at y. Which "
        'leave E[w] = Z true? Answer with letters, such as "AD".',
        judge=judge_slips,
        hints=(
            "Write E[w] as an integral over x and y; the push cancels.",
            "What is left is the target at y times the pull of x, given y. Integrate over x first.",
            "Ask of each slip: at fixed y, is it still a normalised density of x?",
        ),
        solution=unbiased,
        why="Any normalised pull leaves the weight unbiased, a bad one too, so an average of "
        "weights does not find A, B and C; a known E[log w] does.",
        wrong=(
            ("none", "is still a pull"),
            ("ABCD", "one of them is no density"),
            ("D", "slips that bias;"),
            ("AB", "narrower normal density"),
            ("ABD", "integrate to?"),
            ({"A"}, "more slips"),
        ),
    ),
    Exercise(
        name="ex15_4",
        ask="Write log_weights(states, betas, log_source, log_target) for annealing with "
        "Metropolis moves: the move to x_k leaves g_k = source^(1 - beta_k) target^beta_k "
        "invariant. states has shape (K + 1, B, D), betas shape (K + 1,), from 0 to 1; the two "
        "functions take (B, D) to (B,). It returns the log-weights, shape (B,).",
        judge=judge_weights,
        hints=(
            "Detailed balance: pull over push of the move to x_k is g_k(x_{k-1}) / g_k(x_k).",
            "Multiply these, with target(x_K) / source(x_0) in front: at each state two g's stay.",
            "log g_k - log g_{k-1} is the change of beta times log target - log source.",
        ),
        solution=log_weights,
        why="The products telescope: at x_{k-1} the new density is divided by the old one, and "
        "the moves themselves need no density.",
        wrong=(
            (AFTER, "you take x_k"),
            (ENDS, "end points only"),
            (LATE, "at x_0, is missing"),
            (BACK, "sign is wrong"),
            (EVEN, "changes of beta"),
        ),
        code=True,
    ),
)

"""Lesson 15: the bound of one step, the weight of a step, slips that stay unbiased, annealing."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from gentoolkit.teach.exercise import Exercise, Like

MEAN, STEP = 1.0, 0.1  # target N(MEAN, 1); a step's noise has the variance 2 STEP
SLIPS = "ABCD"

Score = Callable[[Tensor], Tensor]
LogDensity = Callable[[Tensor], Tensor]


def _normal(x: Tensor, mean: Tensor | float, variance: float) -> Tensor:
    return Normal(mean, math.sqrt(variance)).log_prob(x)


def mean_log_w() -> float:
    """Average four squares, each linear in x and the noise, of variances 1 and 2 STEP."""
    keep, noise = 1 - STEP, 2 * STEP
    target = keep**2 * (1 + MEAN**2) + noise  # of y - MEAN = keep (x - MEAN) + noise
    back = (1 - keep**2) ** 2 * (1 + MEAN**2) + keep**2 * noise  # of x - the pull's mean
    return 0.5 * (1 - target) + 0.5 * (1 - back / noise)


def _by_gauss_points() -> float:
    """Average by three points for x and for the noise, exact for squares."""
    nodes, share = torch.tensor([(-(3**0.5), 1 / 6), (0.0, 2 / 3), (3**0.5, 1 / 6)]).T
    x = nodes[:, None]
    mean = x + STEP * (MEAN - x)
    y = mean + math.sqrt(2 * STEP) * nodes
    ratio = _normal(x, y + STEP * (MEAN - y), 2 * STEP) - _normal(y, mean, 2 * STEP)
    log_w = _normal(y, MEAN, 1.0) - _normal(x, 0.0, 1.0) + ratio
    return float((share[:, None] * share * log_w).sum())


ex15_1 = Exercise(
    mean_log_w,
    "log w = log target(y) - log source(x) + log pull(x | y) - log push(y | x).",
    "Both normal laws of the step have the same constant, so four squares are left. Write "
    "each through x and e.",
    "With m = 1 - d, y - 1 is m (x - 1) plus noise, and x minus the pull's mean is "
    "(1 - m^2) (x - 1) minus m times the noise.",
    why="The average of a square is a squared mean plus variances. The end points give -0.41 "
    "and the log-ratio -0.0855: particles lag, and the pull is not the push's reversal.",
    oracle=_by_gauss_points,
    right="{truth:.4f} nats: three Gauss points for x and for the noise give the same. log Z is 0, "
    "so that is what one step loses.",
    wrong={
        -0.4255: "Your pull follows the source's score; push and pull of one step use the same "
        "density, here the target.",
        -0.3245: "The log-ratio has the wrong sign: the pull's density is divided by the push's.",
        -0.626: "Your noise has the variance d; it is 2 d.",
        -0.41: "Those are the end points only; the log-ratio of the step is missing.",
        -0.0855: "That is the log-ratio of the step; the end points are missing.",
        0.4955: "The sign is wrong: by Jensen the average cannot lie above log Z = 0.",
    },
    otherwise="Four squares: y and x at the end points, the pull's and the push's residuals. x and "
    "the noise are independent, with variances 1 and 2 d.",
)


def log_ratio(x: Tensor, y: Tensor, score: Score, step: float, correction: Score) -> Tensor:
    """Give log b(x | y) - log f(y | x): x and y (B, D) -> (B,)."""
    push = y - x - step * score(x)
    pull = x - y + step * score(y) - 2 * step * correction(y)
    return (push.square() - pull.square()).sum(1) / (4 * step)


def _two_normals(x: Tensor, y: Tensor, score: Score, step: float, correction: Score) -> Tensor:
    pull = _normal(x, y - step * score(y) + 2 * step * correction(y), 2 * step)
    return (pull - _normal(y, x + step * score(x), 2 * step)).sum(1)


ex15_2 = Exercise(
    log_ratio,
    "Both laws have the same variance, so the constants cancel.",
    "What is left are two squared residuals: y minus the push's mean, x minus the pull's.",
    "A squared residual is divided by twice the variance; sum over coordinates.",
    why="With correction = score the pull is the push's own kernel started at y, which is "
    "plain annealing; any other correction changes the pull alone.",
    cases=lambda: [(*torch.randn(2, 5, 3), lambda z: -z - z.sin(), 0.15, lambda z: 0.3 - z.tanh())],
    oracle=_two_normals,
    right="the two normal densities differ by the same at five pairs.",
    wrong={
        "return ( -> return -(": "the sign is wrong; it is the pull's density over the push's.",
        "4 * -> 2 *": "your variance is the step; it is twice the step.",
        "e(y) -> e(x); n(y) -> n(x)": "the pull starts at y, so its score and its correction are "
        "taken at y.",
        "- 2 * step -> - step": "a 2 is missing: the correction is multiplied by twice the step.",
        "y + s -> y - s; - 2 * step * correction(y) ->": "that is plain annealing; the correction "
        "does not enter.",
        "y + step -> y - step": "the pull goes against the score: its drift has a minus sign.",
        "sum( -> mean(": "you average over the coordinates; their logs add up.",
    },
    otherwise="each density is a squared residual over four steps; take both means.",
)


def _unbiased_on_a_grid() -> frozenset[str]:
    """Integrate source times push times weight, that is target times pull, for each slip."""
    axis = torch.linspace(-9.0, 11.0, 501)
    x, y = axis[:, None], axis[None, :]
    learned = -(y - STEP * MEAN) / ((1 - STEP) ** 2 + 2 * STEP)  # score of the law of y
    score, noise = MEAN - y, 2 * STEP
    pulls = {
        "A": _normal(x, y + STEP * score + 2 * STEP * learned, noise),
        "B": _normal(x, y - STEP * score + STEP * learned, noise),
        "C": _normal(x, y - STEP * score + 2 * STEP * learned, STEP),
        "D": _normal(x, y - STEP * (MEAN - x) + 2 * STEP * learned, noise),
    }
    mass = {slip: (_normal(y, MEAN, 1.0) + pull).exp().sum() for slip, pull in pulls.items()}
    area = (axis[1] - axis[0]) ** 2
    return frozenset(slip for slip in SLIPS if abs(mass[slip] * area - 1) < 1e-6)


ex15_3 = Exercise(
    '"ABC"',
    "Write E[w] as an integral over x and y; the push cancels.",
    "What is left is the target at y times the pull of x, given y. Integrate over x first.",
    "Ask of each slip: at fixed y, is it still a normalised density of x?",
    why="Any normalised pull leaves the weight unbiased, a bad one too, so an average of "
    "weights does not find A, B and C; a known E[log w] does.",
    oracle=_unbiased_on_a_grid,
    letters=SLIPS,
    right="on a grid, with Z = 1, the weights average to 1.000, 1.000, 1.000 and 1.111. Only "
    "E[log w] betrays the others.",
    wrong={
        "none": "A worse pull is still a pull; not every slip biases the weight.",
        "ABCD": "One of them is no density in x any more; which one does not integrate?",
        "D": "Those are the slips that bias; name the ones that do not.",
        Like("ABD", lambda named: "D" in named): "D: as a function of x, at fixed y, what does it "
        "integrate to?",
        "AB": "C: a narrower normal density is normalised too.",
        Like("A", lambda _: True): "More slips than that are harmless: does the pull integrate "
        "to 1 over x?",
    },
)


def log_weights(
    states: Tensor, betas: Tensor, log_source: LogDensity, log_target: LogDensity
) -> Tensor:
    """Add up what each change of density gains: states (K + 1, B, D), betas (K + 1,) -> (B,)."""
    gains = torch.stack([log_target(x) - log_source(x) for x in states[:-1]])
    return (betas.diff()[:, None] * gains).sum(0)


def _five_places() -> list[tuple]:
    tables, places = 2 * torch.randn(2, 5), torch.randint(5, (5, 6, 1)).double()
    betas = torch.tensor([0.0, 0.1, 0.25, 0.6, 1.0])
    return [(places, betas, *(lambda z, t=table: t[z[..., 0].long()] for table in tables))]


def _metropolis(states: Tensor, betas: Tensor, source: LogDensity, target: LogDensity) -> Tensor:
    """Push and pull are one Metropolis matrix a step, of proposals uniform over five places."""
    at, (log_source, log_target) = (
        states[..., 0].long(),
        (law(torch.arange(5.0)[:, None]) for law in (source, target)),
    )
    truth = log_target[at[-1]] - log_source[at[0]]
    for k in range(1, len(betas)):
        log_g = (1 - betas[k]) * log_source + betas[k] * log_target
        move = (log_g[None, :] - log_g[:, None]).exp().clamp(max=1) / 5
        move = move + (1 - move.sum(1)).diag()
        truth = truth + (move[at[k], at[k - 1]] / move[at[k - 1], at[k]]).log()
    return truth


ex15_4 = Exercise(
    log_weights,
    "Detailed balance: pull over push of the move to x_k is g_k(x_{k-1}) / g_k(x_k).",
    "Multiply these, with target(x_K) / source(x_0) in front: at each state two g's stay.",
    "log g_k - log g_{k-1} is the change of beta times log target - log source.",
    why="The products telescope: at x_{k-1} the new density is divided by the old one, and "
    "the moves themselves need no density.",
    cases=_five_places,
    oracle=_metropolis,
    right="pull over push, read from the Metropolis matrices, gives the same weights.",
    wrong={
        "s[:-1] -> s[1:]": "you take x_k; the density changes before the move, at x_{k-1}.",
        (lambda x, _, source, target: target(x[-1]) - source(x[0])): "those are the end points "
        "only; the moves have a log-ratio too.",
        "gains).sum -> gains)[1:].sum": "the term k = 1, at x_0, is missing.",
        "return ( -> return -(": "the sign is wrong; the new density is divided by the old one.",
        "betas.diff()[:, None] -> 0.25": "your changes of beta are all equal; take them from "
        "betas.",
    },
    otherwise="add, for k = 1 to K, log g_k - log g_{k-1}, both at x_{k-1}.",
)

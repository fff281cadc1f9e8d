"""Lesson 14: the weight of a path, an exact reversal, accept rules, a Langevin move."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from gentoolkit.teach.exercise import Exercise, Like, Open

LogLaw = Callable[[Tensor], Tensor]
RULES = "ABCDE"
START, END, STEP = 1.0, 0.5, 0.1


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


def _three_layers() -> list[tuple]:
    # The flow scales by a factor that depends on the path, so its log-determinant does too.
    scale, step = torch.linspace(0.4, 1.7, 6)[:, None], 0.15
    x0, e, jump = torch.randn(3, 6, 2)
    jump[0] = 0.0  # a rejected move
    x1 = scale * x0 + 0.3
    x2 = x1 + step * (1 - 2 * x1) + (2 * step) ** 0.5 * e
    source, target = (Normal(m, s) for m, s in ((0.0, 1.0), (0.2, 0.8)))
    laws = (lambda x: source.log_prob(x).sum(1), lambda x: 0.7 + target.log_prob(x).sum(1))
    moves = 2 * scale[:, 0].log(), lambda x: 1 - 2 * x, step
    return [(x0, x1, x2, x2 + jump, *laws, *moves, lambda x: -0.25 * (x + 0.5).pow(4).sum(1))]


def _layer_by_layer(*asked: Any) -> Tensor:  # noqa: ANN401 - five states and numbers, five functions
    """Take the law of x1, the two Gaussian kernels, and both acceptance probabilities."""
    _, x1, x2, x3, _, log_target, log_det, score, step, log_g = asked
    spread = step * 2 * torch.eye(2)
    there = MultivariateNormal(x1 + step * score(x1), spread).log_prob(x2)
    back = MultivariateNormal(x2 + step * score(x2), spread).log_prob(x1)
    log_x1 = Normal(0.3, (log_det / 2).exp()[:, None]).log_prob(x1).sum(1)
    ratio = (log_g(x3) - log_g(x2)).exp()
    accept, accept_back = ratio.clamp(max=1.0).log(), (1 / ratio).clamp(max=1.0).log()
    return log_target(x3) + accept_back - accept + back - there - log_x1


ex14_1 = Exercise(
    log_weight,
    "Start with log_target at x3 minus log_source at x0; each layer adds log pull - push.",
    "Langevin: both kernels are normal with variance 2 step, so half the difference of "
    "two squared noises is left. The pull's score is taken where the pull starts.",
    "Reversible: g(x2) push(x3 | x2) = g(x3) pull(x2 | x3). Solve for the log-ratio.",
    why="Each layer adds one term: the flow its log-determinant, Langevin half a difference "
    "of squares, Metropolis what log_g has lost.",
    cases=_three_layers,
    oracle=_layer_by_layer,
    right="both kernels' densities of each layer, added up, give the same six log w.",
    wrong={
        "+ log -> - log": "the log-determinant counts with a plus; stretching thins the push out.",
        "+ log_det ->": "the log-determinant of the flow is missing.",
        "e(x2) -> e(x1)": "the pull is the kernel started at x2, so its score is taken there.",
        "+ langevin -> - langevin": "Langevin's part has the wrong sign; it is pull over push.",
        "+ metropolis -> - metropolis": "Metropolis' part has the wrong sign; it cancels what "
        "log_g has gained.",
        "+ metropolis ->": "Metropolis' part is missing; reversible does not mean that it adds 0.",
        "+ metropolis -> + (-metropolis).clamp(max=0)": "an acceptance probability is no ratio of "
        "pull and push.",
    },
    otherwise="target minus source, plus log pull minus log push of each layer.",
)


def reversal(
    y: Tensor, slope: float, mean: float, var: float, noise: float
) -> tuple[Tensor, float]:
    """Give the exact pull's mean and variance: y (B,), slope to noise numbers -> (B,), number."""
    variance = 1 / (1 / var + slope**2 / noise)
    return variance * (mean / var + slope * y / noise), variance


def _regression(y: Tensor, slope: float, mean: float, var: float, noise: float) -> object:
    """Invert the joint covariance of x and y: its first row tells x from y."""
    covariance = torch.tensor([[var, slope * var], [slope * var, slope**2 * var + noise]])
    precision = torch.linalg.inv(covariance)
    return mean - precision[0, 1] / precision[0, 0] * (y - slope * mean), 1 / precision[0, 0]


ex14_2 = Exercise(
    reversal,
    "log w is constant if source times push is target times pull: Bayes' rule.",
    "In x, log source plus log push is a quadratic. Read off its curvature.",
    "The precision is 1 / var + slope**2 / noise; the mean weighs `mean` and y by theirs.",
    why="The pull is the posterior. Precisions add, and the mean is weighted by them.",
    cases=lambda: [(0.8 + 1.5 * torch.randn(400), 1.6, 0.5, 0.8, 0.3)],
    oracle=_regression,
    parts="the mean, the variance",
    right="the joint covariance of x and y says the same: log w of each path is 0.",
    wrong={
        (lambda y, slope, m, v, noise: ((y / slope, noise / slope**2))): "you undo the push, but "
        "the law of x counts as well.",
        Like("), variance -> ), -1.0", lambda pair: pair[1] <= 0): "a variance is positive.",
        "), variance -> ), variance**0.5": "you return the deviation; the variance is its square.",
        "), variance -> ), noise": "that is the variance of the push; the pull's is another one.",
        "), variance -> ), var": "that is the variance of x before y was seen; y has told "
        "something.",
        "), variance -> ), 1 / variance": "that is the precision; the variance is its inverse.",
    },
    otherwise="Add the precisions 1 / var and slope**2 / noise.",
)


def _in_balance() -> frozenset[str]:
    """Try each rule on six states with uniform proposals: is the flow of probability symmetric?"""
    g = torch.tensor([0.3, 1.0, 2.5, 0.7, 4.0, 1.0])
    r = g[None, :] / g[:, None]
    rules = {
        "A": r.clamp(max=1),
        "B": r / (1 + r),
        "C": r.square().clamp(max=1),
        "D": 0.5 * r.clamp(max=1),
        "E": (r >= 1).to(r),
    }
    flow = {rule: g[:, None] * accept / 6 for rule, accept in rules.items()}
    return frozenset(rule for rule in RULES if torch.allclose(flow[rule], flow[rule].T))


ex14_3 = Exercise(
    '"ABD"',
    "Write detailed balance for x and y different: g(x) times acceptance there equals g(y) times "
    "acceptance back.",
    "The way back has the ratio 1/r. So the question is whether accept(r) / accept(1/r) is r.",
    "Take r below 1 and divide: for C the quotient is r squared; for E it is zero.",
    why="accept(r) = r accept(1/r) holds for A, B and D. B is Barker's rule; D is Metropolis' rule "
    "that does nothing half of the time. C keeps g squared; E only climbs and keeps nothing.",
    oracle=_in_balance,
    letters=RULES,
    right="on six states the flow of probability between any two is symmetric for these three.",
    wrong={
        "A": "Metropolis' rule is not the only one; divide accept(r) by accept(1/r) for B, D.",
        "AB": "D: what changes in detailed balance if both directions are accepted half as often?",
        "AD": "B: r/(1 + r) on the way there is 1/(1 + r) on the way back.",
        Like("ABCD", lambda named: "C" in named): "C: divide accept(r) by accept(1/r). For which "
        "density would that be right?",
        Like("ABDE", lambda named: "E" in named): "E: from y back to a lower x the particle never "
        "returns.",
        Like("none", lambda _: True): "at least Metropolis' rule, A, is in detailed balance.",
    },
    otherwise="does accept(r) = r accept(1/r) hold?",
)


def _two_densities() -> float:
    """Take two normal densities, with the score from autograd."""

    def kernel(start: float) -> Normal:
        x = torch.tensor(start, requires_grad=True)
        (score,) = torch.autograd.grad(Normal(0.0, 1.0).log_prob(x), x)
        return Normal(start + STEP * score, (2 * STEP) ** 0.5)

    there, back = torch.tensor(END), torch.tensor(START)
    return float(kernel(END).log_prob(back) - kernel(START).log_prob(there))


ex14_4 = Exercise(
    "((0.5 - 0.9 * 1.0) ** 2 - (1.0 - 0.9 * 0.5) ** 2) / (4 * 0.1)",
    "The score of N(0, 1) is -x. Where do the push from x and the pull from y aim?",
    "The push aims at 0.9 x, the pull at 0.9 y; both have variance 2 delta.",
    "Half of the push's squared miss minus the pull's, over the variance.",
    why="The push misses its mean 0.9 by 0.4, the pull its mean 0.45 by 0.55; half of the "
    "difference of the squares, over the variance 0.2.",
    oracle=_two_densities,
    atol=6e-4,
    right="{truth:.5f} nats: the two normal densities differ by that. A step that were reversible "
    "for the target would give -0.375.",
    wrong={
        0.35625: "The sign: it is log pull minus log push.",
        -0.5: "The pull starts at y, so its score is taken at y and not at x.",
        -0.7125: "Its noise has variance 2 delta, and not delta.",
        -0.375: "That is a Metropolis move's; this step accepts everything.",
    },
    otherwise="Find the noise that the push needs from x to y, and the pull from y to x.",
)

ex14_5 = Open(
    "`mixed.chain().steps` is the list of layers, and `step.log_step.exp()` the learned step of a "
    "Langevin layer.",
    "Build `Chain(source, [*first, *[Langevin(target, delta / k) for _ in range(k)], ...])` with "
    "the first layers kept, push 10,000 paths, and print both numbers for k = 1, 2, 4, 8.",
    "For Metropolis moves at the end, compare the effective share with that of the chain that "
    "stops before the last three layers.",
    answer="With steps eight times shorter and eight times as many, the mass off the crescents "
    "falls from 0.12, 0.17 and 0.13 per cent (three seeds) to 0.06, 0.05 and 0.07. The effective "
    "share goes from 0.31, 0.24, 0.25 to 0.36, 0.22, 0.24. It tends to the share of the chain "
    "without these layers (0.37, 0.21, 0.23): an infinitely short step is in detailed balance, and "
    "such moves change no weight. Thirty Metropolis moves in their place leave 0.01 to 0.03 per "
    "cent off the crescents, and the share is exactly that of the chain without them. So after "
    "Metropolis moves only the first number can still change. Neither is enough alone: the share "
    "off the crescents sees no wrong masses; the effective share judges paths, not samples, and "
    "cannot see a mode that no path has reached.",
)

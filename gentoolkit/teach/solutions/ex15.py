"""Lesson 15: the bound of one step, both directions combined, the best ladder and its length."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from gentoolkit.teach.exercise import Exercise, Like, Open

MEAN, STEP = 1.0, 0.1  # target N(MEAN, 1); a step's noise has the variance 2 STEP
WIDE, DIMS, LEAST = 3.0, 100, 0.5  # source N(0, WIDE^2) in DIMS dimensions, least share


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


def bar(pushed: Tensor, pulled: Tensor) -> float:
    """Combine log-weights of both directions: (n,) and (m,) -> log Z."""
    more = math.log(len(pulled) / len(pushed))
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        taken = (pushed - middle + more).sigmoid().sum()  # pushed paths that look pulled
        missed = (middle - pulled - more).sigmoid().sum()  # pulled paths that look pushed
        low, high = (middle, high) if taken > missed else (low, middle)
    return (low + high) / 2


def _two_directions() -> list[tuple]:
    # Normal log-weights obey Crooks' theorem if their means are log Z -+ half their variance.
    cases = []
    for n, m, log_z in ((300, 300, 1.2), (500, 100, -0.7)):
        spread, noise = 1.5, torch.randn(n + m)
        pushed = log_z - 0.5 * spread**2 + spread * noise[:n]
        cases.append((pushed, log_z + 0.5 * spread**2 + spread * noise[n:]))
    return cases


def _most_likely(pushed: Tensor, pulled: Tensor) -> float:
    """Maximise the likelihood of the directions by Newton steps, with derivatives from autograd."""
    log_odds = math.log(len(pulled)) - math.log(len(pushed))
    at = torch.tensor(0.5 * float(pushed.mean() + pulled.mean()), requires_grad=True)
    for _ in range(50):
        score = torch.cat([pulled - at + log_odds, at - pushed - log_odds])
        (slope,) = torch.autograd.grad(-torch.log1p((-score).exp()).sum(), at, create_graph=True)
        (bend,) = torch.autograd.grad(slope, at)
        at = (at - slope / bend).detach().requires_grad_()
    return float(at.detach())


ex15_2 = Exercise(
    bar,
    "By Bayes' rule the odds of pulled against pushed at log w = l are "
    "m rho_pull(l) / (n rho_push(l)).",
    "Crooks gives the ratio of the two densities: the log-odds are l - log Z + log(m / n).",
    "Set the derivative of the log-likelihood in log Z to zero: the sum over pushed paths of "
    "P(pulled | l) equals the sum over pulled paths of P(pushed | l).",
    why="This is Bennett's acceptance ratio of 1976. Every path counts, and those between the two "
    "histograms count most, where both directions have paths.",
    cases=_two_directions,
    oracle=_most_likely,
    atol=1e-5,
    right="Newton's method on the likelihood finds the same log Z in two cases.",
    wrong={
        "math.log(len(pulled) / len(pushed)) -> 0.0": "the numbers of paths differ, and so do the "
        "prior odds of the two directions.",
        "(len(pulled) / len(pushed)) -> (len(pushed) / len(pulled))": "the prior odds are upside "
        "down: pulled over pushed is m / n.",
        (lambda pushed, pulled: pushed.logsumexp(0) - math.log(len(pushed))): "that is Jarzynski's "
        "estimate; the pulled paths are not used.",
        (lambda pushed, pulled: math.log(len(pulled)) - (-pulled).logsumexp(0)): "that is "
        "Jarzynski's estimate from the pulled paths alone.",
        (lambda pushed, pulled: (pushed.mean() + pulled.mean()) / 2): "the middle of the two "
        "bounds is no estimate: it is right only if both gaps are equal.",
        "> missed else (low, middle) -> < missed else (low, middle)": "your bisection runs away "
        "from the solution; which way does each sum change when log Z grows?",
    },
    otherwise="balance the two sums of logistic functions.",
)


def ladder(sigma0: float, sigma1: float, T: int) -> Tensor:  # noqa: N803
    """Give exponents whose rungs have precisions in a geometric row: numbers -> (T + 1,)."""
    first, last = sigma0**-2, sigma1**-2
    precision = first * (last / first) ** (torch.arange(T + 1) / T)
    return (precision - first) / (last - first)


def _share(before: float, after: float) -> float:
    """Integrate one increment between zero-mean Gaussians of two precisions on a grid."""
    x = torch.linspace(-9.0, 9.0, 1201) / math.sqrt(min(before, 2 * after - before))
    density = (-0.5 * before * x.square()).exp()
    w = (-0.5 * (after - before) * x.square()).exp()
    return float((density * w).sum() ** 2 / (density.sum() * (density * w.square()).sum()))


def _equal_shares(sigma0: float, sigma1: float, T: int) -> Tensor:  # noqa: N803
    """Shoot: find the share for which T rungs of that share end at the target."""
    first, last = sigma0**-2, sigma1**-2

    def rungs(share: float) -> list[float]:
        found = [first]
        for _ in range(T):
            low, high = found[-1], 4 * last
            for _ in range(45):
                middle = (low + high) / 2
                enough = _share(found[-1], middle) >= share
                low, high = (middle, high) if enough else (low, middle)
            found.append(low)
        return found

    low, high = 0.05, 1.0
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if rungs(middle)[-1] >= last else (low, middle)
    return (torch.tensor(rungs(low)) - first) / (last - first)


ex15_3 = Exercise(
    ladder,
    "Each rung is a Gaussian too. What is its precision, as a function of alpha?",
    "The precision is linear in alpha: (1 - alpha) / sigma0^2 + alpha / sigma1^2. Stretching the "
    "axis changes no share, so the share of an increment depends on the precisions how?",
    "Only the ratio of neighbouring precisions can matter, so all ratios are equal. Solve the "
    "linear relation for alpha.",
    why="A change of units turns any two neighbours into N(0, 1) and N(0, 1/r), r the ratio of "
    "their precisions. Equal shares are equal ratios: a geometric row of precisions.",
    cases=lambda: [(3.0, 1.0, 4), (5.0, 0.5, 6)],
    oracle=_equal_shares,
    right="the rung-by-rung shares, integrated on a grid, are all equal.",
    wrong={
        (lambda sigma0, sigma1, T: torch.arange(T + 1) / T): "those are even rungs; the first of "
        "them costs most.",
        "** (torch.arange(T + 1) / T) -> ** (torch.arange(T + 1) / T) * 0.0 + first + (last - "
        "first) * (torch.arange(T + 1) / T) ** 2": "a quadratic row is not it; which quantity must "
        "keep its ratio?",
        "(precision - first) / (last - first) -> precision": "you return precisions; exponents "
        "run from 0 to 1.",
        "sigma0**-2, sigma1**-2 -> 1 / sigma0, 1 / sigma1": "your row is geometric in the "
        "deviations and linear in the wrong quantity: log g is linear in the precision.",
        "(last / first) ** (torch.arange(T + 1) / T) -> (last / first) ** (1 - torch.arange(T + 1) "
        "/ T)": "your ladder runs from 1 to 0.",
    },
    otherwise="precisions in a geometric row, then solve for alpha.",
)


def _least_rungs() -> float:
    """Count rungs with the share of one increment from quadrature."""
    rungs = 2
    while DIMS * rungs * math.log(_share(1.0, WIDE ** (2 / rungs))) < math.log(LEAST):
        rungs += 1
    return float(rungs)


ex15_4 = Exercise(
    "347",
    "Under perfect moves the increments are independent, so the shares of all rungs and all "
    "coordinates multiply.",
    "The share of one increment in one dimension is E[w]^2 / E[w^2] for N(0, 1) against N(0, 1/r), "
    "both Gaussian integrals, with r = 9^(1/T).",
    "That share is sqrt(2 r - 1) / r. Raise it to the power 100 T, and find the least T for which "
    "the result is 1/2 or more.",
    why="100 T log(sqrt(2 r - 1) / r) with r = 9^(1/T) passes log(1/2) between 346 and 347. For "
    "large T this is about -(D/2) (log 9)^2 / T: the number of rungs grows like the dimension.",
    oracle=_least_rungs,
    atol=0.4,
    right="{truth:.0f} rungs: at 346 the share is 0.4999, at 347 it is 0.5009.",
    wrong={
        Like(349, lambda rungs: rungs in (348, 349)): "close: that is e^(-Var), which is "
        "approximate; use the exact share of each rung.",
        346: "the share is just below one half there.",
        Like(5, lambda rungs: rungs <= 10): "that is enough in one dimension; the shares of 100 "
        "coordinates multiply.",
        Like(697, lambda rungs: 600 < rungs < 800): "a factor of two: the variance of a squared "
        "normal number is 2, so one rung costs half the square of its log-ratio.",
        Like(512, lambda rungs: 500 < rungs < 520): "those are even rungs; the best ladder is "
        "shorter.",
    },
    otherwise="multiply the shares of T rungs and 100 coordinates.",
)

ex15_5 = Open(
    "Take `mean_log_w` of exercise 1 apart: which of its four squares depends on the pull?",
    "The pull's mean is y - delta y for the source's score. Let x minus that mean be linear in x "
    "and the noise, as before.",
    "Simulate first: T steps, 100,000 paths, log Z = 0. Compare the slip with the usual pull for "
    "target means 0.5, 1 and 2, and for T from 1 to 16 at a fixed step.",
    answer="With one step of 0.1 and the target's mean 1, E[log w] rises from -0.496 to -0.426: "
    "the slip pays. The particles lag behind, so after the move they are nearer to the law of the "
    "density before it, and its score describes them better. The gain grows with the square of the "
    "distance: 0.017, 0.070 and 0.280 nats for the means 0.5, 1 and 2; at mean 0 both pulls are "
    "the same. With 1, 2, 4 and 16 steps of this size it is 0.070, 0.057, 0.047 and 0.031 nats at "
    "mean 1: neighbouring densities come closer, and the two scores differ by 1/T of the distance, "
    "but there are more of them. A learned correction finds the particles' own score, which is "
    "better than either of the two, and does not depend on luck.",
)

"""Lesson 31: the price of a wrong source, the pull that fits, the dial, and single paths."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from gentoolkit.teach.exercise import Exercise, Like, Open


def price(v: float) -> float:
    """Return KL(N(0, v) || N(0, 1)) in nats, v a variance."""
    return 0.5 * (v - 1.0 - math.log(v))


def _mean_difference(v: float) -> float:
    """Average the difference of two log-densities over N(0, v), on a fine grid."""
    x = torch.linspace(-14, 14, 40_001) * v**0.5
    ours, unit = (Normal(0.0, std).log_prob(x) for std in (v**0.5, 1.0))
    return float(torch.trapezoid(ours.exp() * (ours - unit), x))


ex31_1 = Exercise(
    price,
    "With the right source, e = log p(x) on every path. Which term of e changes?",
    "e loses log N(x_0; 0, v) - log N(x_0; 0, 1), and pulled data arrive at N(0, v).",
    "The mean of that difference is a divergence of two normal laws of mean zero.",
    why="The mean over N(0, v) of log N(0, v) - log N(0, 1) is KL(N(0, v) || N(0, 1)). The "
    "number of steps does not enter: the price is paid once, at the source.",
    cases=lambda: [(0.4,), (0.9,), (2.5,)],
    oracle=_mean_difference,
    atol=1e-4,
    right="for v = 0.4 it costs 0.1581 nats, for v = 2.5 0.2919, by an integral on a grid. It is "
    "KL(N(0, v) || N(0, 1)), whatever the data are.",
    wrong={
        "v - 1.0 - -> 1 / v - 1.0 +": "that divergence is the wrong way round; who draws x_0?",
        "0.5 * ->": "twice too much; log-densities of normal laws hold a half.",
        "- math.log(v) ->": "the constants of the two normal laws differ; a log is missing.",
        (lambda v: price(v**2)): "v is a variance; you treat it as a deviation.",
        "0.5 -> -0.5": "the bound falls by a positive number; your sign says it rises.",
    },
    otherwise="only log source(x_0) changes in e; average that change over N(0, v).",
)


def best_pull(s: Tensor, f: Tensor) -> Tensor:
    """Return the reversal of the push by Bayes' rule, (X, S)."""
    joint = s[:, None] * f
    return (joint / joint.sum(0)).T


def _highest_elbo(s: Tensor, f: Tensor) -> Tensor:
    """Climb each ELBO in the logs of the pull: where it is tight it is highest."""
    log_b = torch.zeros(f.T.shape)
    for _ in range(100):
        log_b = (log_b + 0.5 * ((s[:, None] * f).log().T - log_b)).log_softmax(1)
    return log_b.exp()


ex31_2 = Exercise(
    best_pull,
    "e = log s + log f - log b. It must not depend on the source state.",
    "So b is proportional to s f, and each row sums to one over the source states.",
    "joint = s[:, None] * f has shape (S, X); divide by its sum over S, then transpose.",
    why="That is Bayes' rule. With the posterior as pull, e = log p(x) on every path, and the "
    "ELBO is the likelihood.",
    cases=lambda: [(torch.rand(3).softmax(0), torch.randn(3, 4).softmax(1))],
    oracle=_highest_elbo,
    atol=1e-5,
    right="over all 12 paths e = log p(x): the ELBO is tight for every x.",
    wrong={
        ").T -> )": "the shape is (S, X), that of the push; a pull has one row for each x.",
        Like("joint / joint.sum(0) -> joint", lambda b: (b.sum(1) - 1).abs().max() > 1e-5): "that "
        "is a joint law. Divide each row by its sum, which is p(x).",
        Like(
            lambda s, f: torch.eye(3)[(s[:, None] * f).argmax(0)], lambda b: (b <= 0).any()
        ): "every path has push probability, and your pull forbids some.",
        "joint / joint -> f / f": "you normalise the push alone; a rare source state is rare.",
    },
    otherwise="ask Bayes' rule for the law of the source state, given x.",
)


def dial_loss(e: Tensor, weight: float) -> Tensor:
    """Return the loss at one place of the dial, (2, B) -> ()."""
    elbo = e.mean()
    if weight < 0:
        two = (e.logsumexp(0) - math.log(2)).mean()
        return -(1 + 8 * weight) * elbo + 8 * weight * two
    return -elbo + weight * (e[0] - e[1]).square().mean()


def _datum_by_datum(e: Tensor, weight: float) -> float:
    """Work in plain floats: no logsumexp, and no mean over a tensor."""
    total = 0.0
    for a, b in e.T.tolist():
        plain, top = -(a + b) / 2, max(a, b)
        two = -top - math.log((math.exp(a - top) + math.exp(b - top)) / 2)
        mixed = (1 + 8 * weight) * plain - 8 * weight * two
        total += mixed if weight < 0 else plain + weight * (a - b) ** 2
    return total / e.shape[1]


E = ((-1.0, -2.5, 0.3), (-2.0, -2.0, -3.1))
DIAL = ((-1 / 8, 0), (-1 / 16, 0), (0.0, 0), (0.4, 0), (-1 / 8, -1000))  # and a shift of e

ex31_3 = Exercise(
    dial_loss,
    "The bound of two paths is logsumexp over the paths, minus log 2.",
    "At -1/16 half of each bound is wanted: the shares are 1 + 8 weight and -8 weight.",
    "loss = -(1 + 8 weight) elbo + 8 weight two, for weight < 0.",
    why="log cosh grows like a line where the square runs away, so the negative end of the "
    "dial is the true bound, and not its second order.",
    cases=lambda: [(torch.tensor(E) + shift, weight) for weight, shift in DIAL],
    oracle=_datum_by_datum,
    atol=1e-5,
    right="at 0.4, 0, -1/16 and -1/8, on three data worked out one by one.",
    wrong={
        "(e.logsumexp(0) - math.log(2)) -> e.exp().mean(0).log()": "right for e near 0, and not "
        "finite near -1000: use logsumexp.",
        "-elbo + -> -elbo -": "A positive weight punishes disagreement; yours rewards it.",
        "weight < 0 -> False": "Below 0 the bare square is only the second order of the bound.",
        (lambda e, w: dial_loss(e, w) * e.shape[1]): "Average over the data; you add them up.",
        "- math.log(2) ->": "The bound takes the mean of two exponentials: a log 2 is missing.",
    },
    otherwise="Write the plain bound, then the bound of two paths, then mix them.",
)


# How many paths lead to one end point: a map has one, a law on all latents infinitely many.
PATHS = {"A": 1.0, "B": math.inf, "C": 1.0, "D": float(math.factorial(4)), "E": math.inf}

ex31_4 = Exercise(
    '"AC"',
    "How many paths lead to one end point?",
    "A map leads to each point from one point only; so does a tree to each leaf.",
    "Where there are many paths, they agree only if the pull is the push's reversal.",
    why="With one path there is nothing over which e could vary. With many, equality is what "
    "training asks for, and only a perfect pair has it.",
    oracle=lambda: frozenset(letter for letter, count in PATHS.items() if count == 1),
    letters="ABCDE",
    right="both have one path to each end point, so there is nothing to average.",
    wrong={
        Like("ACE", lambda named: "E" in named): "E: the score is exact, and twenty Gaussian steps "
        "are not the reversal.",
        Like("ACD", lambda named: "D" in named): "D: 24 orders lead to a string of four, and a "
        "push may like some of them.",
        Like("ABC", lambda named: "B" in named): "B: only with the posterior as encoder; the "
        "question is for any parameters.",
        "none": "Some pairs have one path only to each end point, whatever is learned.",
        Like("A", lambda named: len(named) == 1): "That one is right, and another pair too has a "
        "single path to each end point.",
    },
)


ex31_5 = Open(
    "Wrap each pull: the mean of `noise(y)`, and its standard deviation times a factor.",
    "A path has twenty steps in two dimensions. How often does the factor enter log w?",
    "Repeat with seeds 7, 8 and 9: the ELBO hardly moves between seeds; watch the other number.",
    answer="With seeds 7, 8 and 9 the ELBO is 0.18 for the original pull, -0.07 for a factor of "
    "1.05, -0.45 for 1.1 and -1.5 for 1.2, each time within 0.05 between seeds. The effective "
    "sample size is 175 to 514, then 58 to 370, 29 to 240 and 14 to 67: it falls too, but one "
    "heavy path changes it by a factor of three or more, so one run says little. Forty "
    "coordinates share the error, so a few percent in each add up to half a nat. The factor "
    "0.95 improves both (ELBO 0.26, 560 to 760): the noising law is not the exact reversal of "
    "twenty discrete denoising steps, and a slightly narrower pull is nearer to it. A learned "
    "pull would find that.",
)

"""Lesson 27: a free energy, a superset, a mean by two flows, a preference, and a floor."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like, Open

FLOOR, SIDE, START = 0.1, 8, (2, 2)
SETS = {"": 1.0, "a": 2.0, "b": 1.0, "c": 3.0, "ab": 4.0, "ac": 1.0, "bc": 2.0, "abc": 6.0}
DESIGNS, TEMPERATURE, TIMES = ((1.0, 4.0), (3.0, 1.0)), 0.5, 2.0
PAYS, CHANCE = (1.0, 4.0), 0.3

OfObjects = Callable[[Tensor], Tensor]
SourceFlow = Callable[[OfObjects], Tensor]


def _walk() -> float:
    """Walk over all that can be reached."""
    seen, waiting, total = set(), [START], 0.0
    while waiting:
        x, y = waiting.pop()
        if (x, y) not in seen and max(x, y) < SIDE:
            seen.add((x, y))
            waiting += [(x + 1, y), (x, y + 1)]
            away = [abs(v / (SIDE - 1) - 0.5) for v in (x, y)]
            total += FLOOR + 0.5 * (min(away) > 0.25) + 2.0 * all(0.3 < a < 0.4 for a in away)
    return -math.log(total)


ex27_1 = Exercise(
    "-math.log(36 * 0.1 + 4 * 0.5 + 2.0)",
    "Which states can be reached from (2, 2), itself among them, and how many are they?",
    "Both coordinates are 2 or more: 36 states, and one corner block is among them.",
    "Every one of them has the floor; which have a plateau, and which a peak? A free energy is "
    "minus the logarithm of the sum.",
    why="36 floors of 0.1, four plateaus of 0.5 and one peak of 2 are 7.6; minus its log.",
    oracle=_walk,
    atol=2e-3,
    right="{truth:.4f} nats: the 36 states that can be reached hold 7.600.",
    wrong={
        -0.6841: "That is -log F of the old GFlowNet, whose water enters this cone by its sides as "
        "well; restart at (2, 2).",
        2.0281: "Mind the sign: much reward above means a low free energy.",
        -3.1091: "That is the free energy of the source: you sum over the whole grid.",
        7.6: "That is the sum itself; the free energy is minus its logarithm.",
        -2.0149: "A path may stop at once: (2, 2) itself counts.",
        -1.3953: "That is the lesson's grid, with a floor of 0.001; here it is 0.1.",
    },
    otherwise="Sum the rewards of all states whose two coordinates are at least 2.",
)


ex27_2 = Exercise(
    "(4 + 6) / (1 + 2 + 1 + 3 + 4 + 1 + 2 + 6)",
    "Which sets can still be reached from {a, b}?",
    "Restart there: the source flow is the reward of {a, b} and of {a, b, c}.",
    "A probability compares that flow with the one through the empty set.",
    why="Two of the eight sets contain both; their reward 10 is half of all reward, 20.",
    oracle=lambda: sum(r for s, r in SETS.items() if {"a", "b"} <= set(s)) / sum(SETS.values()),
    right="{truth:.3f}: so much of all reward lies on sets with both.",
    wrong={
        0.2: "That is the probability of exactly {a, b}; larger sets contain it too.",
        0.8: "That is a or b; both are asked for.",
        0.3: "That is {a, b, c} alone: both are in, and c is in as well.",
        10.0: "That is the source flow of the restart; divide by the sum of all.",
        0.4225: "You multiply two marginals, but a and b are not independent.",
    },
    otherwise="Which of the eight sets contain both a and b? Their reward over that of all.",
)


def mean_of(source_flow: SourceFlow, reward: OfObjects, quantity: OfObjects, low: float) -> Tensor:
    """Give the mean of a quantity under R / Z, from two source flows."""

    def shifted(x: Tensor) -> Tensor:
        return reward(x) * (quantity(x) - low + 1.0)

    return source_flow(shifted) / source_flow(reward) + low - 1.0


_OBJECTS = torch.cartesian_prod(*[torch.arange(2)] * 4)
"""What the learner's rewards are asked about, and what is not handed over."""


def _gflownet(reward: OfObjects) -> Tensor:
    """The source flow of a GFlowNet: its refusals and its sum."""
    value = reward(_OBJECTS)
    if bool((value < -1e-12).any()):
        raise ValueError(
            f"rewards must be positive; got one of {float(value.min()):.3f}: add a number before "
            "you multiply, so that the quantity is positive everywhere"
        )
    if bool((value <= 1e-12).any()):
        raise ValueError(
            "rewards must be positive; got one of exactly 0, where the quantity equals its lower "
            "bound: add a little more, and take it off again in the end"
        )
    return value.sum()


def _paid(x: Tensor) -> Tensor:
    return 0.2 + ((x * torch.tensor([3.0, 1.0, 4.0, 2.0])).sum(1) % 3.7)


def _cost(x: Tensor) -> Tensor:
    return (x * torch.tensor([1.0, -2.0, 0.5, -1.0])).sum(1)  # from -3 to 1.5


def _tilted(_: SourceFlow, reward: OfObjects, quantity: OfObjects, low: float) -> float:
    """Differentiate log sum R exp(h q) by h at 0: no mean is taken."""
    tilt = torch.zeros((), requires_grad=True)
    log_z = (reward(_OBJECTS).log() + tilt * (quantity(_OBJECTS) - low)).logsumexp(0)
    return float(torch.autograd.grad(log_z, tilt)[0]) + low


ex27_3 = Exercise(
    mean_of,
    "The mean is a sum of R times the quantity, over Z. When is such a term a reward?",
    "The mean of the quantity plus a number is the mean plus that number, so you may shift it.",
    "One flow for the shifted terms, one for Z. The shift must leave no term at zero, and it has "
    "to be taken off the quotient.",
    why="sum R (q - low + 1) / sum R is the mean of q, minus low, plus 1; and q - low + 1 is at "
    "least 1, so the first reward is positive.",
    cases=lambda: [(_gflownet, _paid, _cost, -3.0)],
    oracle=_tilted,
    right="{truth:.4f}: how log Z moves when the reward is tilted says the same.",
    wrong={
        Like("(quantity(x) - low + 1.0) -> quantity(x)", lambda _: False): "add a number before",
        Like("- low + 1.0) -> - low)", lambda _: False): "exactly 0, where the quantity equals",
        "+ low - 1.0 ->": "the shift is still in: take it off the mean.",
        "+ low - 1.0 -> - low + 1.0": "the shift is taken off with the wrong sign.",
        "+ low - 1.0 -> + low": "the 1 that you added is still in.",
        "/ source_flow(reward) ->": "divide by Z, the source flow of the reward itself.",
        "reward(x) * ->": "each object counts by its reward: R times the quantity is the term.",
    },
    otherwise="Which two sums give the mean, and how are their terms made positive?",
)


def _search() -> float:
    """Search along the dial, by the two probabilities."""
    low, high = 0.0, 1.0
    for _ in range(60):
        w = (low + high) / 2
        cheap, other = (math.exp(-(w * a + (1 - w) * b) / TEMPERATURE) for a, b in DESIGNS)
        low, high = (w, high) if cheap / other < TIMES else (low, w)
    return low


ex27_4 = Exercise(
    "(0.5 * math.log(2) + 3) / 5",
    "Z(w) cancels in the ratio of two probabilities.",
    "The weighted energies must differ by T times the log of 2.",
    "Write both energies as functions of the preference; the cheap one's must be the lower.",
    why="(1 + 2w) - (4 - 3w) = 5w - 3 must be 0.5 log 2 = 0.3466, with w for the preference.",
    oracle=_search,
    right="at {truth:.4f} the cheap design comes 2.00 times as often.",
    wrong={
        0.6: "There both come equally often; twice is asked for.",
        0.5307: "There the dear one comes twice as often.",
        0.7386: "You forgot the temperature of 0.5: it divides the energies.",
        0.3307: "That is the weight of the other goal, 1 - w.",
    },
    otherwise="The energies must differ by T log 2, in favour of the cheap design.",
)


def _least_imbalance() -> float:
    """Search over log Z for the least mean squared imbalance."""
    log_z, mean = torch.linspace(-1.0, 3.0, 40_001), 0.0
    for pay, chance in zip(PAYS, (CHANCE, 1 - CHANCE), strict=True):
        mean = mean + chance * (math.log(pay / chance) - log_z).square()
    return float(torch.as_tensor(mean).min())


ex27_5 = Exercise(
    "0.3 * 0.7 * (math.log(1 / 0.3) - math.log(4 / 0.7)) ** 2",
    "The log-weight of a path is log R - log push: two numbers, one for each leaf.",
    "The best log Z is the mean of log w, and a variance is left.",
    "Which two values does log w take, and how often? The variance of such a coin is in section 7.",
    why="log w is log(1 / 0.3) or log(4 / 0.7); they differ by 0.539, and 0.3 times 0.7 times "
    "its square is left. Rewards of 3 and 7 would leave nothing.",
    oracle=_least_imbalance,
    atol=6e-4,
    right="{truth:.4f}: no log Z on a fine grid gives less.",
    wrong={
        0.0: "The two leaves come as the world likes, 0.3 and 0.7, not as 1 to 4, and nobody can "
        "train that away.",
        0.4036: "That is the variance of log R: log push is missing in log w.",
        0.2905: "That is the difference squared; how often does each leaf come?",
        0.0726: "You weigh both leaves alike; they come with 0.3 and 0.7.",
        0.247: "That is the deviation of log w; the loss is its square.",
    },
    otherwise="The variance of log R - log push over the world's own coin.",
)

ex27_6 = Open(
    "Write each wanted number as a function of sums over objects, and make each term positive.",
    "A variance is two means. A set of objects may be part of the reward: what if it counts twice?",
    "For (c), split the logarithm of the quotient, and shift what may be negative by a bound.",
    answer="The source is the empty set throughout. (a) Three rewards: R, R (price + 1) and "
    "R (price + 1)^2, since a price may be 0. With flows Z, A and B the variance is "
    "B / Z - (A / Z)^2; the shift by 1 does not change a variance. (b) The indicator itself is "
    "zero for most sets, so double its objects: the reward R (1 + indicator) has the flow "
    "Z + Z P, and P is that flow over Z, minus 1. (c) KL = mean under p1 of log(R1 / R2), plus "
    "log Z2 - log Z1. The mean is exercise 3 with the quantity log(R1 / R2) and a lower bound of "
    "it: the rewards R1 (log(R1 / R2) - low + 1), R1 and R2 are enough. In each case a small "
    "difference of large flows is learned badly, so report the error of each flow.",
)

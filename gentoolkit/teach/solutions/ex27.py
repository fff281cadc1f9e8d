"""Lesson 27: a free energy, a superset marginal, an entropy, a preference, and a floor."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like

FLOOR, SIDE, START = 0.1, 8, (2, 2)
SETS = {"": 1.0, "a": 2.0, "b": 1.0, "c": 3.0, "ab": 4.0, "ac": 1.0, "bc": 2.0, "abc": 6.0}
DESIGNS, TEMPERATURE, TIMES = ((1.0, 4.0), (3.0, 1.0)), 0.5, 2.0
PAYS, CHANCE = (1.0, 4.0), 0.3

SourceFlow = Callable[[Tensor], Tensor]


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
    "Add 36 floors, the plateaus of that block and its one peak; then minus the logarithm.",
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
    "Divide by the sum of all eight rewards.",
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


def entropy_of(source_flow: SourceFlow, reward: Tensor) -> Tensor:
    """Give the entropy of R / Z in nats, reward (S,) -> (), from two source flows."""
    below = reward / (2 * reward.max())
    first = source_flow(below)
    return source_flow(-below * below.log()) / first + first.log()


def _gflownet(reward: Tensor) -> Tensor:
    """The source flow of a GFlowNet: its refusals and its sum."""
    if not bool((reward > 0).all()):
        raise ValueError(
            f"rewards must be positive; got {reward.min() + 0.0:.3f}; -R log R is positive only "
            "for R below 1, so first divide R by more than the largest"
        )
    return reward.sum()


def _tempered(_: SourceFlow, reward: Tensor) -> float:
    """H = log Z - d log Z(beta) / d beta at beta = 1: no logarithm of a probability."""
    beta = torch.ones((), requires_grad=True)
    log_z = (reward**beta).sum().log()
    return float(log_z.detach() - torch.autograd.grad(log_z, beta)[0])


def _listing_fault(answer: Callable[..., object], flow: SourceFlow, reward: Tensor) -> str | None:
    asked = []
    answer(lambda r: asked.append(r) or flow(r), reward)
    if len(asked) < 2:
        return (
            "the number is right, but you sum over the objects yourself: a GFlowNet is there "
            "because they are too many to list. Ask source_flow for both sums."
        )


ex27_3 = Exercise(
    entropy_of,
    "The second reward is -R log R. For which R is it positive?",
    "R / k gives the same law for any k: let k be above the largest reward.",
    "With r = R / k: source_flow(-r log r) / source_flow(r) + log source_flow(r).",
    why="-sum p log p with p = r / z is the second flow over the first, plus log z; dividing R "
    "by a number changes neither p nor the entropy.",
    cases=lambda: [(_gflownet, 3.0 * torch.rand(9) + 0.05)],
    oracle=_tempered,
    fault=_listing_fault,
    right="{truth:.4f} nats: how log Z changes with the temperature says the same.",
    wrong={
        Like("(2 * reward.max()) -> 1", lambda _: False): "first divide R",
        Like("2 * reward -> reward", lambda _: False): "got 0.000; -R log R is positive only",
        Like(_tempered, lambda _: False): "you sum over the objects yourself",
        "+ first.log() ->": "add the log of the first source flow: p is r / z, not r.",
        "+ first -> - first": "the sign of log Z: -log p = log Z - log r.",
        "/ first + -> +": "the second flow must be divided by the first.",
        (lambda *asked: entropy_of(*asked) / math.log(2.0)): "that is in bits; nats are asked for.",
        "first.log() -> source_flow(reward).log()": "both flows must be of the same scaled reward.",
    },
    otherwise="Z' / Z + log Z, of rewards below 1.",
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
    "They are 4 - 3 w and 1 + 2 w, and the cheap one's is the lower.",
    why="(1 + 2w) - (4 - 3w) = 5w - 3 must be 0.5 log 2 = 0.3466.",
    oracle=_search,
    right="at w = {truth:.4f} the cheap design comes 2.00 times as often.",
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
    "A coin with probability p has the variance p (1 - p) times the difference squared.",
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

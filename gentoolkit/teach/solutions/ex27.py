"""Lesson 27: a free energy, a superset marginal, an entropy, a preference, and a floor."""

import math
from collections.abc import Callable

from torch import Tensor

from gentoolkit.teach.exercise import Exercise
from gentoolkit.teach.solutions.ex27_oracles import (
    CHANCE,
    DESIGNS,
    FLOOR,
    PAYS,
    SETS,
    TEMPERATURE,
    TIMES,
    judge_energy,
    judge_entropy,
    judge_floor,
    judge_preference,
    judge_superset,
)

SourceFlow = Callable[[Tensor], Tensor]


def free_energy() -> float:
    """Give minus log of the cone's reward: 36 floors, 4 plateaus, 1 peak."""
    return -math.log(36 * FLOOR + 4 * 0.5 + 2.0)


def contains() -> float:
    """Give the reward of the sets with both a and b over that of all."""
    return (SETS["ab"] + SETS["abc"]) / sum(SETS.values())


def entropy_of(source_flow: SourceFlow, reward: Tensor) -> Tensor:
    """Give the entropy of R / Z in nats, reward (S,) -> (), from two source flows."""
    below = reward / (2 * reward.max())
    first = source_flow(below)
    return source_flow(-below * below.log()) / first + first.log()


def _unscaled(source_flow: SourceFlow, reward: Tensor) -> Tensor:
    first = source_flow(reward)
    return source_flow(-reward * reward.log()) / first + first.log()


def _two_flows(rule: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Build a wrong answer from the two source flows of a scaled reward."""

    def answer(source_flow: SourceFlow, reward: Tensor) -> Tensor:
        below = reward / (2 * reward.max())
        return rule(source_flow(below), source_flow(-below * below.log()))

    return answer


def _mixed(source_flow: SourceFlow, reward: Tensor) -> Tensor:
    below = reward / (2 * reward.max())
    return source_flow(-below * below.log()) / source_flow(below) + source_flow(reward).log()


def preference() -> float:
    """Give w at which the energies differ by T log of the ratio."""
    (cheap, blind), (dear, seeing) = DESIGNS
    gap = TEMPERATURE * math.log(TIMES)  # E of the other design minus E of the cheap one
    return (gap + blind - seeing) / (dear - cheap + blind - seeing)


def loss_floor() -> float:
    """Give the variance of log R - log push over a coin that falls by chance."""
    first, second = (math.log(r / p) for r, p in zip(PAYS, (CHANCE, 1 - CHANCE), strict=True))
    return CHANCE * (1 - CHANCE) * (first - second) ** 2


EXERCISES = (
    Exercise(
        name="ex27_1",
        ask="The 8 by 8 grid with a floor of 0.1: Corners(8, floor=0.1), a plateau of 0.5 where "
        "both coordinates are in {0, 1, 6, 7}, a peak of 2 where both are in {1, 6}. What is the "
        "free energy of (2, 2), in nats?",
        judge=judge_energy,
        hints=(
            "Which states can be reached from (2, 2), itself among them, and how many are they?",
            "Both coordinates are 2 or more: 36 states, and one corner block is among them.",
            "Add 36 floors, the plateaus of that block and its one peak; then minus the logarithm.",
        ),
        solution=free_energy,
        why="36 floors of 0.1, four plateaus of 0.5 and one peak of 2 are 7.6; minus its log.",
        wrong=(
            (-0.6841, "old GFlowNet"),
            (2.0281, "the sign"),
            (-3.1091, "whole grid"),
            (7.6, "the sum itself"),
            (-2.0149, "(2, 2) itself"),
            (-1.3953, "floor of 0.001"),
        ),
    ),
    Exercise(
        name="ex27_2",
        ask="Three things, any set of them may stop. The rewards: none 1, a 2, b 1, c 3, ab 4, "
        "ac 1, bc 2, abc 6. With which probability does a random set contain both a and b?",
        judge=judge_superset,
        hints=(
            "Which sets can still be reached from {a, b}?",
            "Restart there: the source flow is the reward of {a, b} and of {a, b, c}.",
            "Divide by the sum of all eight rewards.",
        ),
        solution=contains,
        why="Two of the eight sets contain both; their reward 10 is half of all reward, 20.",
        wrong=(
            (0.2, "exactly {a, b}"),
            (0.8, "a or b"),
            (0.3, "and c is in as well"),
            (10.0, "divide by the sum"),
            (0.4225, "not independent"),
        ),
    ),
    Exercise(
        name="ex27_3",
        ask="Write entropy_of(source_flow, reward): the entropy of R / Z in nats. reward (S,) is "
        "positive, and may be above 1. source_flow(r) is the source flow of a GFlowNet with "
        "reward r, a number; it refuses rewards that are not positive. Return one number.",
        judge=judge_entropy,
        hints=(
            "The second reward is -R log R. For which R is it positive?",
            "R / k gives the same law for any k: let k be above the largest reward.",
            "With r = R / k: source_flow(-r log r) / source_flow(r) + log source_flow(r).",
        ),
        solution=entropy_of,
        why="-sum p log p with p = r / z is the second flow over the first, plus log z; dividing R "
        "by a number changes neither p nor the entropy.",
        wrong=(
            (_unscaled, "first divide R"),
            (_two_flows(lambda z, second: second / z), "log of the first source flow"),
            (_two_flows(lambda z, second: second / z - z.log()), "the sign of log Z"),
            (_two_flows(lambda z, second: second + z.log()), "divided by the first"),
            (_two_flows(lambda z, second: (second / z + z.log()) / math.log(2)), "in bits"),
            (_mixed, "the same scaled reward"),
        ),
        code=True,
    ),
    Exercise(
        name="ex27_4",
        ask="Two designs, with prices 1 and 3 and with 4 and 1 places unseen. R(x | w) = "
        "exp(-(w E_1 + (1 - w) E_2) / T), T = 0.5. At which w, the weight of the price, does the "
        "cheap design come twice as often as the other?",
        judge=judge_preference,
        hints=(
            "Z(w) cancels in the ratio of two probabilities.",
            "The weighted energies must differ by T times the log of 2.",
            "They are 4 - 3 w and 1 + 2 w, and the cheap one's is the lower.",
        ),
        solution=preference,
        why="(1 + 2w) - (4 - 3w) = 5w - 3 must be 0.5 log 2 = 0.3466.",
        wrong=(
            (0.6, "equally often"),
            (0.5307, "dear one comes twice"),
            (0.7386, "temperature"),
            (0.3307, "weight of the other goal"),
        ),
    ),
    Exercise(
        name="ex27_5",
        ask="A state leads to two leaves with rewards 1 and 4. Nobody chooses: the world takes the "
        "first leaf with probability 0.3. What is the least loss of trajectory balance, over all "
        "log Z, on paths of this world?",
        judge=judge_floor,
        hints=(
            "The log-weight of a path is log R - log push: two numbers, one for each leaf.",
            "The best log Z is the mean of log w, and a variance is left.",
            "A coin with probability p has the variance p (1 - p) times the difference squared.",
        ),
        solution=loss_floor,
        why="log w is log(1 / 0.3) or log(4 / 0.7); they differ by 0.539, and 0.3 times 0.7 times "
        "its square is left. Rewards of 3 and 7 would leave nothing.",
        wrong=(
            (0.0, "nobody can train"),
            (0.4036, "log push is missing"),
            (0.2905, "the difference squared"),
            (0.0726, "0.3 and 0.7"),
            (0.247, "deviation"),
        ),
    ),
)

"""The oracles of lesson 27: walks over all states, all sets, drawn paths and a fine search."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Verdict, as_number, as_tensor, close, not_yet, passed

FLOOR, SIDE, START = 0.1, 8, (2, 2)
SETS = {"": 1.0, "a": 2.0, "b": 1.0, "c": 3.0, "ab": 4.0, "ac": 1.0, "bc": 2.0, "abc": 6.0}
DESIGNS, TEMPERATURE, TIMES = ((1.0, 4.0), (3.0, 1.0)), 0.5, 2.0
PAYS, CHANCE = (1.0, 4.0), 0.3


def _corner_reward(x: int, y: int, floor: float = FLOOR) -> float:
    away = [abs(v / (SIDE - 1) - 0.5) for v in (x, y)]
    plateau = all(a > 0.25 for a in away)
    peak = all(0.3 < a < 0.4 for a in away)
    return floor + 0.5 * plateau + 2.0 * peak


def _through(x: int, y: int) -> float:
    """Water through a state of the whole grid, each state fed evenly by its parents."""
    total = _corner_reward(x, y)
    for a, b in ((x + 1, y), (x, y + 1)):
        if max(a, b) < SIDE:
            total += _through(a, b) / ((a > 0) + (b > 0))
    return total


def judge_energy(answer: object) -> Verdict:
    """Judge a free energy by a walk over all that can be reached."""
    seen: set[tuple[int, int]] = set()
    waiting = [START]
    while waiting:
        x, y = waiting.pop()
        if (x, y) not in seen and max(x, y) < SIDE:
            seen.add((x, y))
            waiting += [(x + 1, y), (x, y + 1)]
    above = sum(_corner_reward(x, y) for x, y in seen)
    whole = sum(_corner_reward(x, y) for x in range(SIDE) for y in range(SIDE))
    truth = -math.log(above)
    return close(
        answer,
        truth=truth,
        atol=2e-3,
        right=f"{truth:.4f} nats: the {len(seen)} states that can be reached hold {above:.3f}.",
        wrong={
            -math.log(_through(*START)): "That is -log F of the old GFlowNet, whose water enters "
            "this cone by its sides as well; restart at (2, 2).",
            -truth: "Mind the sign: much reward above means a low free energy.",
            -math.log(whole): "That is the free energy of the source: you sum over the whole grid.",
            above: "That is the sum itself; the free energy is minus its logarithm.",
            -math.log(above - _corner_reward(*START)): "A path may stop at once: (2, 2) itself "
            "counts.",
            -math.log(
                sum(_corner_reward(x, y, 0.001) for x, y in seen)
            ): "That is the lesson's grid, with a floor of 0.001; here it is 0.1.",
        },
        otherwise="Sum the rewards of all states whose two coordinates are at least 2.",
    )


def judge_superset(answer: object) -> Verdict:
    """Judge a marginal by a sum over every set."""
    total = sum(SETS.values())

    def share(rule: Callable[[str], bool]) -> float:
        return sum(r for s, r in SETS.items() if rule(s)) / total

    truth = share(lambda s: {"a", "b"} <= set(s))
    singly = share(lambda s: "a" in s) * share(lambda s: "b" in s)
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"{truth:.3f}: so much of all reward lies on sets with both.",
        wrong={
            SETS["ab"] / total: "That is the probability of exactly {a, b}; larger sets contain "
            "it too.",
            share(lambda s: "a" in s or "b" in s): "That is a or b; both are asked for.",
            SETS["abc"] / total: "That is {a, b, c} alone: both are in, and c is in as well.",
            truth * total: "That is the source flow of the restart; divide by the sum of all.",
            singly: "You multiply two marginals, but a and b are not independent.",
        },
        otherwise="Which of the eight sets contain both a and b? Their reward over that of all.",
    )


def _source_flow(reward: Tensor) -> Tensor:
    """The source flow of a GFlowNet: its refusals and its sum."""
    if not bool((reward > 0).all()):
        raise ValueError(
            f"rewards must be positive; got {float(reward.min()):.3f}; -R log R is positive only "
            "for R below 1, so first divide R"
        )
    return reward.sum()


def judge_entropy(answer: Callable[..., object]) -> Verdict:
    """Judge an entropy by the rate of growth of a tempered log Z, without a logarithm of p."""
    generator = torch.Generator().manual_seed(27)
    reward = 3.0 * torch.rand(9, generator=generator, dtype=torch.float64) + 0.05

    def handed(r: object) -> Tensor:
        return _source_flow(as_tensor(r, (9,)))

    given = float(as_tensor(answer(handed, reward), ()))

    def log_z(power: float) -> float:
        return math.log(sum(float(r) ** power for r in reward))

    # H = log Z - d log Z(beta) / d beta at beta = 1.
    small = 1e-5
    truth = log_z(1.0) - (log_z(1.0 + small) - log_z(1.0 - small)) / (2 * small)
    if abs(given - truth) < 1e-6:
        return passed(f"{truth:.4f} nats: how log Z changes with the temperature says the same.")
    below = reward / (2 * reward.max())
    first, second = float(below.sum()), float(-(below * below.log()).sum())
    meanings = {
        second / first: "add the log of the first source flow: p is r / z, not r.",
        second / first - math.log(first): "the sign of log Z: -log p = log Z - log r.",
        second + math.log(first): "the second flow must be divided by the first.",
        truth / math.log(2.0): "that is in bits; nats are asked for.",
        second / first + log_z(1.0): "both flows must be of the same scaled reward.",
    }
    for number, meaning in meanings.items():
        if abs(given - number) < 1e-6:
            return not_yet(f"{given:.4f} instead of {truth:.4f}: {meaning}")
    return not_yet(f"{given:.4f} instead of {truth:.4f}: Z' / Z + log Z, of rewards below 1.")


def judge_preference(answer: object) -> Verdict:
    """Judge a preference by the two probabilities at it, and by a search along the dial."""

    def ratio(w: float, temperature: float = TEMPERATURE) -> float:
        cheap, other = (math.exp(-(w * a + (1 - w) * b) / temperature) for a, b in DESIGNS)
        return cheap / other

    def search(times: float, temperature: float = TEMPERATURE) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if ratio(middle, temperature) < times else (low, middle)
        return low

    truth = search(TIMES)
    number = as_number(answer)
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"at w = {truth:.4f} the cheap design comes {ratio(number):.2f} times as often.",
        wrong={
            search(1.0): "There both come equally often; twice is asked for.",
            search(1 / TIMES): "There the dear one comes twice as often.",
            search(TIMES, 1.0): "You forgot the temperature of 0.5: it divides the energies.",
            1 - truth: "That is the weight of the other goal, 1 - w.",
        },
        otherwise="The energies must differ by T log 2, in favour of the cheap design.",
    )


def judge_floor(answer: object) -> Verdict:
    """Judge a floor by a search over log Z of the mean squared imbalance."""
    chances = (CHANCE, 1 - CHANCE)

    def least(values: list[float], weights: tuple[float, float]) -> float:
        grid = torch.linspace(-1.0, 3.0, 40_001, dtype=torch.float64)
        pairs = zip(values, weights, strict=True)
        return float(torch.stack([p * (v - grid).square() for v, p in pairs]).sum(0).min())

    log_w = [math.log(r) - math.log(p) for r, p in zip(PAYS, chances, strict=True)]
    truth = least(log_w, chances)
    return close(
        answer,
        truth=truth,
        atol=6e-4,
        right=f"{truth:.4f}: no log Z on a fine grid gives less.",
        wrong={
            0.0: "The two leaves come as the world likes, 0.3 and 0.7, not as 1 to 4, and nobody "
            "can train that away.",
            least([math.log(r) for r in PAYS], chances): "That is the variance of log R: log push "
            "is missing in log w.",
            (log_w[0] - log_w[1]) ** 2: "That is the difference squared; how often does each "
            "leaf come?",
            least(log_w, (0.5, 0.5)): "You weigh both leaves alike; they come with 0.3 and 0.7.",
            truth**0.5: "That is the deviation of log w; the loss is its square.",
        },
        otherwise="The variance of log R - log push over the world's own coin.",
    )

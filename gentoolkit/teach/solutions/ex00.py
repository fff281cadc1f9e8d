"""Lesson 00: the weight of a path, the Jacobian inside it, and how many paths there are."""

import math
from collections.abc import Callable
from itertools import permutations, product

import torch
from torch import Tensor

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_number,
    as_tensor,
    close,
    not_yet,
    passed,
)


def log_weight_of_a_flow() -> float:
    """Work out log w of x = 2z + 1 by hand."""
    # log target(x) = -log 2 - z**2 / 2 - c     because (x - 1) / 2 = z
    # log source(z) =         - z**2 / 2 - c
    # log_ratio     = log|dx/dz| = log 2
    # log w = log target(x) - log source(z) + log_ratio = -log 2 + log 2
    return 0.0


def _mass(low: float, high: float, mean: float, deviation: float) -> float:
    def cdf(x: float) -> float:
        return 0.5 * (1.0 + math.erf((x - mean) / (deviation * math.sqrt(2.0))))

    return cdf(high) - cdf(low)


def _judge_flow(answer: object) -> Verdict:
    # Densities as masses of a short interval: no Jacobian is ever written down here.
    z, half = 0.7, 1e-3
    pushed = _mass(z - half, z + half, 0.0, 1.0)
    wanted = _mass(2 * (z - half) + 1, 2 * (z + half) + 1, 1.0, 2.0)
    return close(
        answer,
        truth=math.log(wanted / pushed),
        atol=1e-3,
        right="log w = 0 for every z: this flow reaches its target exactly, and Z = 1.",
        wrong={
            -math.log(2): "That is -log 2: the log-Jacobian of x = 2z + 1 is missing.",
            -2 * math.log(2): "That is -2 log 2: the log-Jacobian has the wrong sign.",
            math.log(2): "That is log 2: N(1, 4) has variance 4, so its density holds 1/2.",
        },
        otherwise="Write log target(x), log source(z) and log_ratio in z; the squares cancel.",
    )


def number_of_paths() -> tuple[int, int]:
    """Count the pull's paths of a string of four tokens."""
    from_the_right = 1  # the last token is the only one that may go
    any_slot = math.factorial(4)  # 4 choices, then 3, then 2, then 1
    return from_the_right, any_slot


def _judge_paths(answer: object) -> Verdict:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return not_yet("two numbers are asked for: (built left to right, built by random slots).")
    first, second = as_number(answer[0]), as_number(answer[1])
    # Every order in which four tokens can go, kept if it is allowed.
    orders = list(permutations(range(4)))
    any_slot = len(orders)
    from_the_right = sum(order == (3, 2, 1, 0) for order in orders)
    if (first, second) == (from_the_right, any_slot):
        return passed(
            "1 path with pull probability 1, against 24 paths with pull probability 1/24 each."
        )
    if first != from_the_right:
        return not_yet(
            f"left to right you count {first:g} paths. Which tokens may the pull remove from "
            "a string that was built left to right?"
        )
    if second == 16:
        return not_yet("16 counts the states, the subsets of filled slots; a path is an order.")
    if second == 4:
        return not_yet("4 counts the first removal only; three more removals follow.")
    return not_yet(
        f"by random slots you count {second:g} paths. How many choices has each removal in turn?"
    )


def log_weight(log_source: Tensor, log_ratios: Tensor, log_target: Tensor) -> Tensor:
    """Weigh a batch of paths: (B,), (T, B), (B,) -> (B,)."""
    return log_target - log_source + log_ratios.sum(dim=0)


def _without_source(log_source: Tensor, log_ratios: Tensor, log_target: Tensor) -> Tensor:
    return log_target + log_ratios.sum(dim=0)


def _wrong_sign(log_source: Tensor, log_ratios: Tensor, log_target: Tensor) -> Tensor:
    return log_target - log_source - log_ratios.sum(dim=0)


def _mean_over_steps(log_source: Tensor, log_ratios: Tensor, log_target: Tensor) -> Tensor:
    return log_target - log_source + log_ratios.mean(dim=0)


def _upside_down(log_source: Tensor, log_ratios: Tensor, log_target: Tensor) -> Tensor:
    return log_source - log_target - log_ratios.sum(dim=0)


def _source_added(log_source: Tensor, log_ratios: Tensor, log_target: Tensor) -> Tensor:
    return log_target + log_source + log_ratios.sum(dim=0)


def _without_target(log_source: Tensor, log_ratios: Tensor, log_target: Tensor) -> Tensor:
    return log_ratios.sum(dim=0) - log_source


def _judge_log_weight(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(3)

    def table(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1

    def rows(*shape: int) -> Tensor:
        weights = table(*shape)
        return weights / weights.sum(-1, keepdim=True)

    # Two moves over three states: all 27 paths, and their probabilities multiplied out.
    source, push, pull, target = rows(3), rows(2, 3, 3), rows(2, 3, 3), table(3)
    paths = list(product(range(3), repeat=3))
    weights, pushed = [], []
    for a, b, c in paths:
        made = float(source[a] * push[0, a, b] * push[1, b, c])
        unmade = float(target[c] * pull[1, c, b] * pull[0, b, a])
        pushed.append(made)
        weights.append(unmade / made)
    ratios = torch.tensor(
        [
            [math.log(pull[0, b, a] / push[0, a, b]) for a, b, _ in paths],
            [math.log(pull[1, c, b] / push[1, b, c]) for _, b, c in paths],
        ],
        dtype=torch.float64,
    )
    log_source = torch.stack([source[a] for a, _, _ in paths]).log()
    log_target = torch.stack([target[c] for _, _, c in paths]).log()
    given = as_tensor(answer(log_source, ratios, log_target), (len(paths),))
    truth = torch.tensor(weights, dtype=torch.float64).log()
    z = float(target.sum())
    mean = float((given.exp() * torch.tensor(pushed, dtype=torch.float64)).sum())
    # An answer may sum in float32: five digits tell every wrong formula from the right one.
    if torch.allclose(given, truth, atol=1e-5, rtol=0.0):
        return passed(f"over all 27 paths E[w] = {mean:.3f} = Z, by enumeration.")
    start = f"over all 27 paths E[w] = {mean:.3f}, should be Z = {z:.3f}: "
    if torch.allclose(given, truth + log_source, atol=1e-5):
        return not_yet(start + "log source is missing.")
    if torch.allclose(given, -truth, atol=1e-5):
        return not_yet(start + "the whole is upside down, log of 1 / w.")
    half = truth - log_target + log_source
    if torch.allclose(given, truth - 2 * half, atol=1e-5):
        return not_yet(start + "the log_ratios have the wrong sign; they are log pull - log push.")
    if torch.allclose(given, truth - 0.5 * half, atol=1e-5):
        return not_yet(start + "the log_ratios are averaged over the steps; a path adds them up.")
    if torch.allclose(given, truth + 2 * log_source, atol=1e-5):
        return not_yet(start + "log source is added; what the push gives is subtracted.")
    if torch.allclose(given, truth - log_target, atol=1e-5):
        return not_yet(start + "log target is missing.")
    return not_yet(start + "is every log_ratio counted once, and summed over steps (T) only?")


EXERCISES = (
    Exercise(
        name="ex00_1",
        ask="The flow x = 2z + 1 pushes z ~ N(0, 1) towards the target N(1, 4), where 4 is the "
        "variance. What is log w of the path from z to x?",
        judge=_judge_flow,
        hints=(
            "log w = log target(x) - log source(z) + log_ratio; the first two depend on z.",
            "For a bijection log_ratio is the log of the absolute slope dx/dz.",
            "Put x = 2z + 1 into log target(x): which terms of the two normal densities cancel?",
        ),
        solution=log_weight_of_a_flow,
        why="The target's deviation 2 costs -log 2, and the slope 2 gives it back. A weight that "
        "is the same on every path means that the push samples the target exactly.",
        wrong=(
            (-math.log(2), "is missing"),
            (-2 * math.log(2), "wrong sign"),
            (math.log(2), "variance 4"),
        ),
    ),
    Exercise(
        name="ex00_2",
        ask="A string of 4 tokens is built left to right, or by filling random slots. How many "
        "paths can the pull take from the string to the empty one? Answer (left to right, slots).",
        judge=_judge_paths,
        hints=(
            "A path of the pull is an order in which the tokens are removed.",
            "Built left to right, the token put last is the only one that can be taken away.",
            "By slots: write the number of choices of each removal, and multiply them.",
        ),
        solution=number_of_paths,
        why="Left to right, each string has one parent: the states form a tree and every "
        "log pull is 0. By slots, every order is a path, and the pull spreads its probability.",
        wrong=(((1, 16), "states"), ((1, 4), "first removal"), ((24, 24), "left to right")),
    ),
    Exercise(
        name="ex00_3",
        ask="Write log_weight(log_source, log_ratios, log_target) for shapes (B,), (T, B), (B,). "
        "It returns the log_weight of each path, shape (B,).",
        judge=_judge_log_weight,
        hints=(
            "The log_weight is what the target asks for minus what the push gives.",
            "log_evidence = log_source minus the sum of the log_ratios over the steps.",
            "Sum the log_ratios over their first dimension; then only plus and minus are left.",
        ),
        solution=log_weight,
        why="log_ratio is log pull - log push of one step. Adding it for every step turns "
        "log target - log source into the weight of the whole path.",
        wrong=(
            (_without_source, "log source is missing"),
            (_wrong_sign, "wrong sign"),
            (_mean_over_steps, "averaged over the steps"),
            (_upside_down, "upside down"),
            (_source_added, "log source is added"),
            (_without_target, "log target is missing"),
        ),
        code=True,
    ),
)

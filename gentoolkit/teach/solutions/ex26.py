"""Lesson 26: Z by a sweep, water through a cell, the residual of a path, the law of soft RL."""

import math
from fractions import Fraction

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like

SIDE = 8


def prize(i: int, j: int) -> Fraction:
    """Give the reward of a cell of the lesson's grid."""
    block = all(x in (0, 1, 6, 7) for x in (i, j))
    top = all(x in (1, 6) for x in (i, j))
    return Fraction(1, 10) + Fraction(1, 2) * block + 2 * top


def _parents(i: int, j: int) -> list[tuple[int, int]]:
    return [cell for cell in ((i - 1, j), (i, j - 1)) if min(cell) >= 0]


def source_flow() -> float:
    """Give F(0, 0) of the 8 x 8 grid by one sweep, each cell split among its parents."""
    flow = {(i, j): float(prize(i, j)) for i in range(SIDE) for j in range(SIDE)}
    for i, j in sorted(flow, key=sum, reverse=True):
        parents = [cell for cell in ((i - 1, j), (i, j - 1)) if min(cell) >= 0]
        for cell in parents:
            flow[cell] += flow[i, j] / len(parents)
    return flow[0, 0]


ex26_1 = Exercise(
    source_flow,
    "Start with the flow of each cell at its reward; 16 cells lie in the four blocks.",
    "Visit the cells by falling sum of their coordinates; hand each flow to its parents.",
    "Two parents get half each; on the upper and left border the one parent gets it all.",
    why="Shares that sum to 1 lose nothing, so the sweep ends with the sum of all rewards: 64 "
    "times 0.1, 16 times 0.5 and 4 times 2.",
    oracle=lambda: sum(prize(i, j) for i in range(SIDE) for j in range(SIDE)),
    right="{truth:.1f}, which is also the sum of the 64 rewards: the water is conserved.",
    wrong={
        Like(7080.4, lambda z: abs(z - 7080.4) <= 1.0): "That counts every path: split the flow of "
        "a cell among its parents.",
        6.4: "That is the floor alone, 64 times 0.1; the blocks have more.",
        16.0: "The floor is missing: every cell has it, blocks too.",
        14.4: "The peaks are missing: 2 more in one cell of each block.",
        3.1091: "That is log Z; the flow itself is asked for.",
    },
    otherwise="Whatever the pull, the sum of the rewards is what must come out at the source. "
    "Border cells have one parent and hand it all they have.",
)


def _paths_pulled() -> float:
    """Pull a path from each of the nine cells: how much of its reward comes through (1, 1)?"""

    def through(i: int, j: int) -> Fraction:
        parents = _parents(i, j)
        share = sum((through(*cell) for cell in parents), Fraction(0)) / max(len(parents), 1)
        return Fraction(1) if (i, j) == (1, 1) else share

    return float(sum(through(i, j) for i in range(3) for j in range(3)))


ex26_2 = Exercise(
    "1.0 + (1.0 + 1.0 / 2) / 2 + (1.0 + 1.0 / 2) / 2",
    "F(s) = R(s) + what each child has got from s.",
    "The lower right cell has two parents, so each of them gets half of its flow.",
    "The middle: 1 of its own, and half of what is in either child.",
    why="F = 1 in the corner, 1 + 1/2 in the two cells before it, and 1 + 2 (3/2)/2 in the middle.",
    oracle=_paths_pulled,
    right="{truth:g}: of all nine rewards so much comes through the middle, when a path is pulled "
    "from each.",
    wrong={
        4.0: "That is the reward of all cells that can be reached from the middle; a part of "
        "theirs comes in along the border.",
        5.0: "Each cell hands its full flow to both parents: the pull is forgotten.",
        1.5: "The middle also has a reward of its own, 1, beside what its children send.",
        5 / 18: "That is the probability of a visit, F(s)/Z; the flow is asked for.",
    },
    otherwise="Begin at the lower right, whose flow is 1: who gets how much of it? Then go up.",
)


def path_residual(states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> Tensor:
    """Give log R + sum log b - sum log f - log Z, with b = 1 over the number of parents."""
    parents = (states[1:] > 0).sum(-1).to(log_push.dtype)
    return log_reward - parents.log().sum() - log_push.sum() - log_z


def _four_paths() -> list[tuple]:
    cases = []
    for path in ((0, 2, 2, 0, 1, 2), (1, 1, 0), (2,), ()):
        steps = torch.eye(3, dtype=torch.long)[list(path)]
        states = torch.cat([torch.zeros(1, 3, dtype=torch.long), steps.cumsum(0)])
        cases.append((states, -torch.randn(len(states)).abs(), *torch.randn(2)))
    return cases


def _edge_by_edge(states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> float:
    """Sum residuals of detailed balance; the flows between are drawn at random, and cancel."""
    log_flow = [float(log_z), *torch.randn(len(states) - 1).tolist()]
    total = float(log_reward - log_push[-1]) - log_flow[-1]
    for t, reached in enumerate(states[1:].tolist()):
        choices = sum(x > 0 for x in reached)
        total += log_flow[t + 1] - math.log(choices) - log_flow[t] - float(log_push[t])
    return total


ex26_3 = Exercise(
    path_residual,
    "log w = log R + sum log b - sum log f; the stop is in f and not in b.",
    "A point has as many parents as it has coordinates above zero.",
    "Leave the source out: count (states[1:] > 0).sum(-1), minus the sum of its logs.",
    why="b is 1 over the number of parents of the state that a move leads to. The residuals "
    "of detailed balance sum to the same, since every flow between stands once with either "
    "sign.",
    cases=_four_paths,
    oracle=_edge_by_edge,
    right="the residuals of detailed balance along four paths sum to the same numbers, with flows "
    "drawn at random between: they cancel.",
    wrong={
        "states[1:] > 0).sum(-1) -> states[:-1] > 0).sum(-1).clamp_min(1)": "the pull is read at "
        "the wrong end: count parents of the state a move leads to.",
        "> 0 -> > -1": "a coordinate that is 0 cannot be undone: the border has fewer parents.",
        "- parents.log().sum() ->": "the pull is missing: one of several parents is drawn at every "
        "state.",
        "log_push.sum() -> log_push[:-1].sum()": "the stop is a choice too: its log-probability is "
        "the last of log_push.",
        "- log_z ->": "that is log w; log Z is still to be taken off.",
        (lambda *path: -path_residual(*path)): "the sign: log w stands first, log Z is taken off.",
        (lambda *path: path_residual(*path) ** 2): "that is the square, the loss; the residual "
        "itself is asked for.",
    },
    otherwise="log R, minus the logs of the numbers of parents after the source, all "
    "of log_push, minus log Z.",
)


def soft_law(reward: Tensor) -> Tensor:
    """Give paths R over its sum: (i + j)! / (i! j!) paths lead to cell (i, j)."""
    down = torch.arange(reward.shape[0]).to(reward.dtype)[:, None]
    right = torch.arange(reward.shape[1]).to(reward.dtype)
    log_paths = torch.lgamma(down + right + 1) - torch.lgamma(down + 1) - torch.lgamma(right + 1)
    weight = log_paths.exp() * reward
    return weight / weight.sum()


def _rewards() -> list[tuple]:
    torch.manual_seed(27)
    return [(torch.rand(4, 6) + 0.05,)]


def _run_down(reward: Tensor) -> Tensor:
    """Sweep the values up, then run the policy down, cell by cell."""
    cells = torch.cartesian_prod(*(torch.arange(n) for n in reward.shape)).tolist()
    value, chance = reward.clone(), torch.zeros_like(reward)
    for i, j in reversed(cells):
        for cell in _parents(i, j):
            value[cell] += value[i, j]
    chance[0, 0] = 1.0
    for i, j in cells:
        for cell in _parents(i, j):
            chance[i, j] += chance[cell] * value[i, j] / value[cell]
    return chance * reward / value


ex26_4 = Exercise(
    soft_law,
    "Every path to a cell counts its reward in full.",
    "A path to [i, j] is an order of i moves down and j to the right.",
    "Binomial coefficients (i + j over i), times reward, over the sum.",
    why="With V(s) = R(s) + sum V(s') the policy V(s')/V(s) telescopes along a path to "
    "R(x)/V(s_0): the same for every path to x, so x gets as many shares as it has paths.",
    cases=_rewards,
    oracle=_run_down,
    right="values swept up and the policy run down give the same law.",
    wrong={
        "log_paths.exp() -> 1": "that is R/Z, the law with the pull in place; here it is "
        "forgotten.",
        "* reward ->": "that counts the paths and leaves the reward out.",
        "log_paths.exp() -> (-log_paths).exp()": "you divide by the number of paths, which is what "
        "the pull would do.",
        "- torch.lgamma(down + 1) - torch.lgamma(right + 1) ->": "(i + j)! is too many: moves of "
        "one direction are alike.",
        (lambda reward: soft_law(reward).flip(0, 1)): "the grid is upside down: paths begin at [0, "
        "0].",
        Like(
            "/ weight.sum() ->",
            lambda given: torch.allclose(given / given.sum(), soft_law(*_rewards()[0])),
        ): "right up to a factor: a law sums to 1.",
    },
    otherwise="How many paths lead to each cell?",
)

"""Lesson 26: water through two cells, the residual of a path, and an even pull."""

import math
from fractions import Fraction
from itertools import permutations

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Open

SIDE = 8


def prize(i: int, j: int) -> Fraction:
    """Give the reward of a cell of the lesson's grid."""
    block = all(x in (0, 1, 6, 7) for x in (i, j))
    top = all(x in (1, 6) for x in (i, j))
    return Fraction(1, 10) + Fraction(1, 2) * block + 2 * top


def _parents(i: int, j: int) -> list[tuple[int, int]]:
    return [cell for cell in ((i - 1, j), (i, j - 1)) if min(cell) >= 0]


def _run_left() -> float:
    """Pull a path from every cell, leftward as long as it goes: how much runs through (0, 6)?"""
    total = Fraction(0)
    for i in range(SIDE):
        for j in range(SIDE):
            at, seen = (i, j), {(i, j)}
            while at != (0, 0):
                at = (at[0] - 1, at[1]) if at[0] else (0, at[1] - 1)
                seen.add(at)
            total += prize(i, j) * ((0, 6) in seen)
    return float(total)


ex26_1 = Exercise(
    "(8 * 0.1 + 4 * 0.5 + 2 * 2) + (8 * 0.1 + 4 * 0.5)",
    "Follow the water of one cell upstream: which way does it take, and where does it turn?",
    "It runs left to the first column and then up. From which cells does it pass (0, 6)?",
    "Those of two rows of the grid. Add up the floors, plateaus and peaks of either.",
    why="Upstream all water runs left, then up the first column. What passes (0, 6) comes from the "
    "rows 6 and 7: 0.8 + 2 + 4 = 6.8, with two peaks, and 0.8 + 2 = 2.8.",
    oracle=_run_left,
    right="{truth:.1f}: all water of the last two rows, and none of the others.",
    wrong={
        6.8: "That is row 6 alone; the water of row 7 comes through (0, 6) as well.",
        2.8: "That is row 7 alone; the row of the cell itself counts too.",
        0.6: "That is the cell's own reward; the cells after it send their water through it.",
        22.4: "That is all the water: it runs through (0, 0), but most of it turns off before.",
        9.0: "The cell has a reward of its own, which also runs through it.",
        5.6: "The peaks are missing: two cells of row 6 have 2 more.",
    },
    otherwise="Pull a path from a cell at the lower right: it goes left until it cannot, then up. "
    "Which cells are drained through (0, 6)?",
)


def _paths_pulled() -> float:
    """Pull a path from each cell but the middle one: how often does it come through (1, 1)?"""

    def through(i: int, j: int) -> Fraction:
        parents = _parents(i, j)
        share = sum((through(*cell) for cell in parents), Fraction(0)) / max(len(parents), 1)
        return Fraction(1) if (i, j) == (1, 1) else share

    cells = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return float(sum(through(*cell) for cell in cells) / 9)


ex26_2 = Exercise(
    "2 * ((1.0 + 1.0 / 2) / 2) / 9",
    "A path visits a state with probability F over Z. What does it do next?",
    "What goes on from the middle is what its two children have got from it.",
    "Sweep from the lower right corner, whose flow goes half and half to its two parents; each of "
    "these has two parents in turn.",
    why="The corner has 1, the two cells before it 1 + 1/2 each, and half of either comes from the "
    "middle: 3/2 of all 9 goes on from there.",
    oracle=_paths_pulled,
    right="{truth:.4f}: one path in six.",
    wrong={
        5 / 18: "Some of the paths that visit the middle stop there; the others are asked for.",
        1 / 9: "With this probability a path stops in the middle; how often does it go on?",
        1.5: "That is the flow that goes on; a probability is asked for.",
        2.5: "That is the flow through the middle; the probability to go on is asked for.",
        0.6: "That is the probability to go on for a path that is in the middle already.",
        1 / 3: "Each child has two parents: not all of its water comes from the middle.",
        4 / 9: "Each cell seems to hand its full flow to both parents: split it.",
    },
    otherwise="Find the flows by a sweep, and ask how much of all water leaves the middle by a "
    "move.",
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
    "The source is undone by nothing: read the parents from the second state on, and let the stop "
    "count in f alone.",
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


def even_pull(rows: int, columns: int) -> Tensor:
    """Give the share of the paths to each cell whose last move went right."""
    down, right = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return right / (down + right).clamp_min(1)


def _counted(rows: int, columns: int) -> Tensor:
    """List every path to every cell, and count those that come from the left."""
    share = torch.zeros(rows, columns)
    for i in range(rows):
        for j in range(columns):
            orders = set(permutations("d" * i + "r" * j))
            share[i, j] = sum(order[-1:] == ("r",) for order in orders) / len(orders)
    return share


ex26_4 = Exercise(
    even_pull,
    "Let n be the number of paths to a cell. How many of them come from the left?",
    "Each path to a cell must carry the same flow, so the water divides as the paths do.",
    "The paths that come from the left are those whose last move goes right: among i moves down "
    "and j to the right in any order, how often is the last one of the second kind?",
    why="Of the orders of i moves down and j right, a share j / (i + j) ends with a move right, "
    "and each order carries the same flow.",
    cases=lambda: [(3, 5), (4, 2)],
    oracle=_counted,
    right="counting all paths gives the same shares.",
    wrong={
        "right / -> down /": "that is the share from above, or rows and columns are exchanged.",
        "right / (down + right).clamp_min(1) -> 0.5 * ((down > 0) & (right > 0)) "
        "+ 1.0 * ((down == 0) & (right > 0))": "that is the uniform pull. It divides the water "
        "between the two neighbours, but more paths lead to one than to the other.",
        "(down + right).clamp_min(1) -> (down + right + 1)": "cells of the first row get all their "
        "water from the left.",
        "right / (down + right).clamp_min(1) -> (down + right) / (down + right).clamp_min(1)": "a "
        "cell that has a neighbour above gets water from there too.",
    },
    otherwise="Which share of the orders of i moves down and j moves right ends with a move right?",
)

ex26_5 = Open(
    "Section 4 says what a wrong log Z does to the mean gradient on own paths.",
    "Look at the shares of the four quarters in each run, and at the paths that no batch contains.",
    "For the second part, ask what paths_to needs before the first good path has ever been drawn.",
    answer="No. On own paths log Z is a baseline: it changes the noise of the gradient and not its "
    "mean. With log Z at 2.777 seed 1 even ended with one mode of four in our run (total variation "
    "0.75; log Z itself fell to 1.39, the log of a quarter of the reward), while seeds 0 and 3 "
    "found all four, as without it. Sixteen paths pulled from the four peaks in each batch repair "
    "seed 1: total variation 0.03 and log Z 2.76. But to pull a path one must know where the peaks "
    "are; then the hard part of the problem is already solved, as in the list of words. A memory "
    "knows only what was found once. It cannot find a mode, but it keeps one from being forgotten, "
    "so it needs exploration beside it.",
)

"""The oracles of lesson 26: sums in fractions, pulled paths, edge by edge, a policy run down."""

import math
from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Verdict, as_number, as_tensor, close, not_yet, passed

SIDE = 8
FLOOR, PLATEAU, PEAK = Fraction(1, 10), Fraction(1, 2), Fraction(2)
Cell = tuple[int, int]


def prize(i: int, j: int) -> Fraction:
    """Give the reward of a cell of the lesson's grid."""
    block = all(x in (0, 1, 6, 7) for x in (i, j))
    top = all(x in (1, 6) for x in (i, j))
    return FLOOR + block * PLATEAU + top * PEAK


def soft_source() -> float:
    """Give the value of the source if every path counts: what comes out without the split."""
    cells = [(i, j) for i in range(SIDE) for j in range(SIDE)]
    return float(sum(math.comb(i + j, i) * prize(i, j) for i, j in cells))


def judge_source(answer: object) -> Verdict:
    """Judge Z of the grid by the sum of the 64 rewards, no sweep."""
    truth = float(sum(prize(i, j) for i in range(SIDE) for j in range(SIDE)))
    if abs(as_number(answer) - soft_source()) <= 1.0:
        return not_yet(
            f"you give {as_number(answer):.6g}. That counts every path: split the flow of a cell "
            "among its parents before you hand it up."
        )
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"{truth:.1f}, which is also the sum of the 64 rewards: the water is conserved.",
        wrong={
            SIDE**2 * float(FLOOR): "That is the floor alone, 64 times 0.1; the blocks have more.",
            truth - SIDE**2 * float(FLOOR): "The floor is missing: every cell has it, blocks too.",
            truth - 4 * float(PEAK): "The peaks are missing: 2 more in one cell of each block.",
            math.log(truth): "That is log Z; the flow itself is asked for.",
        },
        otherwise="Whatever the pull, the sum of the rewards is what must come out at the source. "
        "Border cells have one parent and hand it all they have.",
    )


def _parents(i: int, j: int) -> list[Cell]:
    return [cell for cell in ((i - 1, j), (i, j - 1)) if min(cell) >= 0]


def judge_middle(answer: object) -> Verdict:
    """Judge the flow through the middle by pulling a path from every cell."""

    def through(i: int, j: int) -> Fraction:
        if (i, j) == (1, 1):
            return Fraction(1)
        parents = _parents(i, j)
        return sum((through(*cell) for cell in parents), Fraction(0)) / max(len(parents), 1)

    truth = float(sum(through(i, j) for i in range(3) for j in range(3)))
    return close(
        answer,
        truth=truth,
        atol=1e-6,
        right=f"{truth:g}: of all nine rewards so much comes through the middle, when a path is "
        "pulled from each.",
        wrong={
            4.0: "That is the reward of all cells that can be reached from the middle; a part of "
            "theirs comes in along the border.",
            5.0: "Each cell hands its full flow to both parents: the pull is forgotten.",
            1.5: "The middle also has a reward of its own, 1, beside what its children send.",
            truth / 9: "That is the probability of a visit, F(s)/Z; the flow is asked for.",
        },
        otherwise="Begin at the lower right: its flow is 1. The two cells before it get half of "
        "that each, beside their own 1; the middle gets half of either.",
    )


def _pulled(parents: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> Tensor:
    return log_reward - parents.to(log_push.dtype).log().sum() - log_push.sum() - log_z


def wrong_end(states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> Tensor:
    """Count the parents of the state that a move leaves."""
    return _pulled((states[:-1] > 0).sum(-1).clamp_min(1), log_push, log_reward, log_z)


def always_all(states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> Tensor:
    """Take every coordinate for one that can be undone."""
    return _pulled(torch.full_like(states[1:, 0], states.shape[1]), log_push, log_reward, log_z)


def no_pull(states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> Tensor:
    """Leave the pull out."""
    return _pulled(torch.ones_like(states[1:, 0]), log_push, log_reward, log_z)


def no_stop(states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> Tensor:
    """Leave the stop out."""
    return _pulled((states[1:] > 0).sum(-1), log_push[:-1], log_reward, log_z)


def no_z(states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> Tensor:
    """Leave log Z out."""
    return _pulled((states[1:] > 0).sum(-1), log_push, log_reward, torch.zeros_like(log_z))


_SLIPS = (
    (wrong_end, "the pull is read at the wrong end: count parents of the state a move leads to."),
    (always_all, "a coordinate that is 0 cannot be undone: the border has fewer parents."),
    (no_pull, "the pull is missing: one of several parents is drawn at every state."),
    (no_stop, "the stop is a choice too: its log-probability is the last of log_push."),
    (no_z, "that is log w; log Z is still to be taken off."),
)


def _edge_by_edge(
    states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor, flow: Tensor
) -> float:
    """Sum residuals of detailed balance; the flows between are arbitrary, and must cancel."""
    log_flow = [float(log_z), *flow.tolist()]
    total = float(log_reward) - log_flow[-1] - float(log_push[-1])
    for t in range(len(states) - 1):
        choices = [d for d in range(states.shape[1]) if int(states[t + 1, d]) > 0]
        total += log_flow[t + 1] - math.log(len(choices)) - log_flow[t] - float(log_push[t])
    return total


def judge_path(answer: Callable[..., object]) -> Verdict:
    """Judge the residual of four paths by the sum of those of their moves."""
    draw = torch.Generator().manual_seed(26)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    for path in ((0, 2, 2, 0, 1, 2), (1, 1, 0), (2,), ()):
        steps = torch.eye(3, dtype=torch.long)[list(path)]
        states = torch.cat([torch.zeros(1, 3, dtype=torch.long), steps.cumsum(0)])
        handed = (states, -normal(len(states)).abs(), normal(), normal())
        truth = _edge_by_edge(*handed, normal(len(path)))
        given = float(as_tensor(answer(*handed), ()))
        if abs(given - truth) < 1e-8:
            continue
        for slip, words in _SLIPS:
            if abs(given - float(slip(*handed))) < 1e-8:
                return not_yet(words)
        if abs(given + truth) < 1e-8:
            return not_yet("the sign: log w stands first, log Z is taken off.")
        if abs(given - truth**2) < 1e-8:
            return not_yet("that is the square, the loss; the residual itself is asked for.")
        return not_yet(
            f"a path of {len(path)} moves should give {truth:.4f}, yours gives {given:.4f}: "
            "log R, minus the log of the number of parents at every state after the source, minus "
            "all of log_push, minus log Z."
        )
    return passed(
        "the residuals of detailed balance along four paths sum to the same numbers, with flows "
        "drawn at random between: they cancel."
    )


def _law(weight: Tensor) -> Tensor:
    return weight / weight.sum()


def paths_alone(reward: Tensor) -> Tensor:
    """Give the law that is proportional to the number of paths."""
    count = torch.ones_like(reward)
    for i in range(1, reward.shape[0]):
        for j in range(1, reward.shape[1]):
            count[i, j] = count[i - 1, j] + count[i, j - 1]
    return _law(count)


def shared_out(reward: Tensor) -> Tensor:
    """Divide by the number of paths where one should multiply."""
    return _law(reward / paths_alone(reward))


def all_orders(reward: Tensor) -> Tensor:
    """Tell moves of one direction apart: (i + j)! paths."""
    return _law(
        torch.tensor(
            [[float(math.factorial(i + j)) for j in range(reward.shape[1])]
             for i in range(reward.shape[0])],
            dtype=reward.dtype,
        ) * reward
    )  # fmt: skip


def _run_down(reward: Tensor) -> Tensor:
    """Sweep the values up, then run the policy down, cell by cell."""
    height, width = reward.shape
    cells = [(i, j) for i in range(height) for j in range(width)]
    value, chance = reward.clone(), torch.zeros_like(reward)
    for i, j in reversed(cells):
        for cell in _parents(i, j):
            value[cell] += value[i, j]
    chance[0, 0] = 1.0
    for i, j in cells:
        for cell in _parents(i, j):
            chance[i, j] += chance[cell] * value[i, j] / value[cell]
    return chance * reward / value


def judge_soft(answer: Callable[..., object]) -> Verdict:
    """Judge the law of soft reinforcement learning by its values and its policy."""
    draw = torch.Generator().manual_seed(27)
    reward = torch.rand(4, 6, generator=draw, dtype=torch.float64) + 0.05
    exact = _run_down(reward)
    given = as_tensor(answer(reward), tuple(reward.shape))
    slips = (
        (_law(reward), "that is R/Z, the law with the pull in place; here it is forgotten."),
        (paths_alone(reward), "that counts the paths and leaves the reward out."),
        (shared_out(reward), "you divide by the number of paths, which is what the pull would do."),
        (all_orders(reward), "(i + j)! is too many: moves of one direction are alike."),
        (exact.flip(0, 1), "the grid is upside down: paths begin at [0, 0]."),
    )
    if torch.allclose(given, exact, atol=1e-8):
        return passed("values swept up and the policy run down give the same law.")
    if torch.allclose(given, exact * given.sum(), atol=1e-8):
        return not_yet("right up to a factor: a law sums to 1.")
    for slip, words in slips:
        if torch.allclose(given, slip, atol=1e-8):
            return not_yet(words)
    return not_yet(
        f"cell [1, 1], with two paths, should have {float(exact[1, 1]):.4f}, yours has "
        f"{float(given[1, 1]):.4f}. How many paths lead to each cell?"
    )

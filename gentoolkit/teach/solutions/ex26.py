"""Lesson 26: Z by a sweep, water through a cell, the residual of a path, the law of soft RL."""

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise
from gentoolkit.teach.solutions.ex26_oracles import (
    SIDE,
    all_orders,
    always_all,
    judge_middle,
    judge_path,
    judge_soft,
    judge_source,
    no_pull,
    no_stop,
    no_z,
    paths_alone,
    prize,
    shared_out,
    soft_source,
    wrong_end,
)


def source_flow() -> float:
    """Give F(0, 0) of the 8 x 8 grid by one sweep, each cell split among its parents."""
    flow = {(i, j): float(prize(i, j)) for i in range(SIDE) for j in range(SIDE)}
    for i, j in sorted(flow, key=sum, reverse=True):
        parents = [cell for cell in ((i - 1, j), (i, j - 1)) if min(cell) >= 0]
        for cell in parents:
            flow[cell] += flow[i, j] / len(parents)
    return flow[0, 0]


def middle_flow() -> float:
    """Give F(1, 1) = 1 + F(1, 2) / 2 + F(2, 1) / 2, with F(1, 2) = 1 + F(2, 2) / 2."""
    corner = 1.0
    edge = 1.0 + corner / 2
    return 1.0 + edge / 2 + edge / 2


def path_residual(states: Tensor, log_push: Tensor, log_reward: Tensor, log_z: Tensor) -> Tensor:
    """Give log R + sum log b - sum log f - log Z, with b = 1 over the number of parents."""
    parents = (states[1:] > 0).sum(-1).to(log_push.dtype)
    return log_reward - parents.log().sum() - log_push.sum() - log_z


def soft_law(reward: Tensor) -> Tensor:
    """Give paths R over its sum: (i + j)! / (i! j!) paths lead to cell (i, j)."""
    down = torch.arange(reward.shape[0]).to(reward.dtype)[:, None]
    right = torch.arange(reward.shape[1]).to(reward.dtype)
    log_paths = torch.lgamma(down + right + 1) - torch.lgamma(down + 1) - torch.lgamma(right + 1)
    weight = log_paths.exp() * reward
    return weight / weight.sum()


EXERCISES = (
    Exercise(
        name="ex26_1",
        ask="The 8 x 8 grid of section 1, floor 0.1. Compute Z by one sweep of your own over the "
        "cells, from the lower right to the upper left, with the uniform pull. What is F(s_0)?",
        judge=judge_source,
        hints=(
            "Start with the flow of each cell at its reward; 16 cells lie in the four blocks.",
            "Visit the cells by falling sum of their coordinates; hand each flow to its parents.",
            "Two parents get half each; on the upper and left border the one parent gets it all.",
        ),
        solution=source_flow,
        why="Shares that sum to 1 lose nothing, so the sweep ends with the sum of all rewards: 64 "
        "times 0.1, 16 times 0.5 and 4 times 2.",
        wrong=(
            (6.4, "the floor alone"),
            (16.0, "floor is missing"),
            (3.109, "log Z"),
            (soft_source(), "counts every path"),
        ),
    ),
    Exercise(
        name="ex26_2",
        ask="A 3 x 3 grid, reward 1 in each of its nine cells, and the uniform pull. How much "
        "water runs through the middle cell?",
        judge=judge_middle,
        hints=(
            "F(s) = R(s) + what each child has got from s.",
            "The lower right cell has two parents, so each of them gets half of its flow.",
            "The middle: 1 of its own, and half of what is in either child.",
        ),
        solution=middle_flow,
        why="F = 1 in the corner, 1 + 1/2 in the two cells before it, and 1 + 2 (3/2)/2 in the "
        "middle.",
        wrong=(
            (4.0, "reached from the middle"),
            (5.0, "the pull is forgotten"),
            (1.5, "reward of its own"),
            (5 / 18, "probability of a visit"),
        ),
    ),
    Exercise(
        name="ex26_3",
        ask="Write path_residual(states, log_push, log_reward, log_z): log w - log Z of one path "
        "on a grid of any dimension, under the uniform pull. states (n + 1, D) are the points from "
        "the source to the object, log_push (n + 1,) the log-probabilities of the n moves and of "
        "the stop.",
        judge=judge_path,
        hints=(
            "log w = log R + sum log b - sum log f; the stop is in f and not in b.",
            "A point has as many parents as it has coordinates above zero.",
            "Leave the source out: count (states[1:] > 0).sum(-1), minus the sum of its logs.",
        ),
        solution=path_residual,
        why="b is 1 over the number of parents of the state that a move leads to. The residuals "
        "of detailed balance sum to the same, since every flow between stands once with either "
        "sign.",
        wrong=(
            (wrong_end, "wrong end"),
            (always_all, "cannot be undone"),
            (no_pull, "pull is missing"),
            (no_stop, "the stop is a choice"),
            (no_z, "still to be taken off"),
            (lambda s, f, r, z: -path_residual(s, f, r, z), "the sign"),
            (lambda s, f, r, z: path_residual(s, f, r, z) ** 2, "the square"),
        ),
        code=True,
    ),
    Exercise(
        name="ex26_4",
        ask="Write soft_law(reward): the law of where paths end on a grid when the pull is "
        "forgotten. reward (H, W) holds the reward of each cell; moves go one row down or one "
        "column to the right, from [0, 0]. Return (H, W).",
        judge=judge_soft,
        hints=(
            "Every path to a cell counts its reward in full.",
            "A path to [i, j] is an order of i moves down and j to the right.",
            "Binomial coefficients (i + j over i), times reward, over the sum.",
        ),
        solution=soft_law,
        why="With V(s) = R(s) + sum V(s') the policy V(s')/V(s) telescopes along a path to "
        "R(x)/V(s_0): the same for every path to x, so x gets as many shares as it has paths.",
        wrong=(
            (lambda reward: reward / reward.sum(), "the law with the pull in place"),
            (paths_alone, "leaves the reward out"),
            (shared_out, "divide by the number"),
            (all_orders, "too many"),
            (lambda reward: 3 * soft_law(reward), "sums to 1"),
        ),
        code=True,
    ),
)

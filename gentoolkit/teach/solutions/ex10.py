"""Lesson 10: what an equal vote loses, the weighted vote, a level, one child, a design."""

from collections.abc import Sequence
from math import log, pi

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Open

SCALES, NOISE = (0.5, 2.0), 0.25


def _bound_below_entropy() -> float:
    """Average the bound and the log-density over the data, by their quadratic forms."""
    w = torch.tensor(SCALES)[:, None]
    c = w @ w.T + NOISE * torch.eye(2)
    vote = 0.5 / w.T  # the equal vote as a matrix (1, 2)
    spread = 1.0 / (1.0 + float(w.square().sum()) / NOISE)
    off = torch.eye(2) - w @ vote
    fit = (torch.trace(off @ c @ off.T) + spread * torch.trace(w @ w.T)) / (2 * NOISE)
    kl = 0.5 * (spread + torch.trace(vote @ c @ vote.T) - 1 - log(spread))
    bound = -log(2 * pi * NOISE) - fit - kl
    log_p = -0.5 * torch.logdet(2 * pi * c) - 1.0
    return float(log_p - bound)


ex10_1 = Exercise(
    "0.5 * 18 * ((1 / 18) ** 2 + (8 / 18) ** 2 * 1.0 + (7 / 18) ** 2 / 16)",
    "With the best s the two variances agree, and the divergence is half of P times the mean "
    "square of the difference of the two centres.",
    "P = 1 + (0.25 + 4) / 0.25. Write both centres as sums of the two messages, and subtract.",
    "Put u_j = z + sigma eps_j / kappa_j: the difference is a sum of three independent normals. "
    "Add their variances.",
    why="P = 18, and the centres differ by (8 u_1 - 7 u_2) / 18. Its variance is (1 + 64 * 1 + "
    "49 / 16) / 324, since u_1 has noise of variance 1 and u_2 of 1/16. Half of 18 times that.",
    oracle=_bound_below_entropy,
    right="{truth:.3f} nats a data point: the blurred leaf has half of the votes and deserves 1 "
    "part in 17.",
    wrong={
        3.781: "The divergence has a factor of one half in front of the square.",
        1.861: "The exact centre is also drawn towards 0: the prior has a precision of 1.",
        1.863: "The root itself does not cancel: 8/18 - 7/18 is left of it.",
        0.105: "P is missing: a difference counts in units of the posterior's deviation.",
        0.0: "Zero belongs to the exact posterior; the pull uses the plain average.",
    },
    otherwise="Which variances have the messages around the root? Divide by kappa_j squared.",
)


def weighted_vote(
    messages: Tensor, scales: Tensor, variance: float, seen: Tensor
) -> tuple[Tensor, float]:
    """Return the centres (B, D) and the variance of the exact posterior of the root."""
    weight = scales.square() / variance * seen  # the precision of each message
    precision = 1.0 + weight.sum()
    centre = (weight[:, None] * messages).sum(1) / precision
    return centre, float(1.0 / precision)


def _votes() -> list[tuple]:
    scales = torch.tensor([0.7, 1.0, 1.3, 2.0])
    some = torch.tensor([True, False, True, False])
    return [
        (torch.randn(5, 4, 2), scales, 0.25, torch.ones(4, dtype=torch.bool)),
        (torch.randn(6, 4, 3), 0.5 * scales, 0.4, some),
    ]


def _by_conditioning(
    messages: Tensor, scales: Tensor, variance: float, seen: Tensor
) -> tuple[Tensor, float]:
    """Condition the joint normal law of root and seen leaves, coordinate by coordinate."""
    w = scales[seen]
    y = messages[:, seen] * w[:, None]
    c = w[:, None] * w[None, :] + variance * torch.eye(len(w))
    gain = torch.linalg.solve(c, w)
    return torch.einsum("j,bjd->bd", gain, y), float(1.0 - gain @ w)


ex10_2 = Exercise(
    weighted_vote,
    "A message has the noise of its leaf, divided by the scale of its edge.",
    "Precisions add up: those of the seen messages, and that of the prior, which says 0.",
    "The precision of message j is scales[j]**2 / variance. A hidden leaf has precision 0.",
    why="The log-posterior is a sum of squares around the messages and around 0. Its curvature is "
    "the sum of their precisions, and its top is the average weighted by them.",
    cases=_votes,
    oracle=_by_conditioning,
    right="centres and variances agree with the conditional law of the joint normal, also with two "
    "leaves hidden.",
    wrong={
        "1.0 + weight.sum() -> weight.sum()": "the prior votes too: for 0, with precision 1.",
        "scales.square() -> scales": "a scale stretches a deviation; take its square.",
        "scales.square() -> 1 / scales.square()": "a leaf with a large scale is the *sharper* "
        "witness: its noise shrinks on the way up.",
        " * seen -> ": "a hidden leaf has no vote.",
        "(weight[:, None] * messages).sum(1) / precision -> messages.mean(1)": "that is the equal "
        "vote of the lesson.",
        "/ variance * seen -> / variance**0.5 * seen": "a precision is one over a variance, not "
        "over a deviation.",
    },
    otherwise="write the exponent as a sum of squares in the root, and find its top and its width.",
)


def one_level(messages: Tensor, seen: Tensor, parents: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Average what the seen children of each parent send: (B, n, D), and who heard anything."""
    count, width = max(parents) + 1, messages.shape[2]
    at, weight = torch.tensor(parents), seen.to(messages.dtype)
    total = torch.zeros(len(messages), count, width, dtype=messages.dtype)
    total.index_add_(1, at, messages * weight[..., None])
    heard = torch.zeros(len(messages), count, dtype=messages.dtype).index_add_(1, at, weight)
    return total / heard.clamp(min=1.0)[..., None], (heard > 0).to(messages.dtype)


def _levels() -> list[tuple]:
    seen = torch.rand(8, 6) > 0.4
    seen[0], seen[1, :3] = True, False
    return [
        (torch.randn(8, 6, 2), seen, (0, 0, 0, 1, 1, 2)),
        (torch.randn(8, 6, 3), seen, (1, 0, 1, 2, 0, 1)),
    ]


def _by_loops(messages: Tensor, seen: Tensor, parents: Sequence[int]) -> tuple[Tensor, Tensor]:
    """One row and one parent at a time."""
    mean = torch.zeros(len(messages), max(parents) + 1, messages.shape[2])
    heard = torch.zeros(mean.shape[:2])
    for row in range(len(messages)):
        for parent in range(mean.shape[1]):
            said = [
                messages[row, j]
                for j, i in enumerate(parents)
                if i == parent and bool(seen[row, j])
            ]
            if said:
                mean[row, parent] = torch.stack(said).mean(0)
                heard[row, parent] = 1.0
    return mean, heard


ex10_3 = Exercise(
    one_level,
    "Take one parent after the other first, and find its children in the list.",
    "Two sums for each parent: of the messages that are seen, and of the ones for each of them.",
    "Tensor.index_add_ adds rows to the places that a list names. Divide by the count, which is to "
    "be at least 1.",
    why="The sum of seen messages over the number of seen children. A parent that heard nothing "
    "would be 0/0: it gets 0, and a flag, so that the way down knows whom to fill in.",
    cases=_levels,
    oracle=_by_loops,
    right="two levels, eight patterns of hidden leaves each, silent parents among them.",
    wrong={
        "heard.clamp(min=1.0)[..., None] -> "
        "torch.bincount(at)[:, None]": "divide by the number of children that are *seen*.",
        "messages * weight[..., None] -> messages": "hidden children have no say.",
        "heard.clamp(min=1.0) -> heard": "your answer holds NaN",
        "heard.clamp(min=1.0)[..., None] -> messages.shape[1]": "divide by the children of this "
        "parent, not by all.",
        "(heard > 0).to(messages.dtype) -> heard": "the second result is 1 for a parent that heard "
        "some child and 0 for the others; you return how many.",
    },
    otherwise="does each child reach its own parent? The list need not be sorted.",
)


def _one_child() -> float:
    """Average log p - bound over the data for one edge, from the two normal laws."""
    scale, variance = 2.0, 0.09
    c = scale**2 + variance
    spread = 1.0 / (1.0 + scale**2 / variance)
    fit = 0.5 * log(2 * pi * variance) + scale**2 * spread / (2 * variance)
    kl = 0.5 * (spread + c / scale**2 - 1 - log(spread))
    return (fit + kl) - 0.5 * (log(2 * pi * c) + 1)


ex10_4 = Exercise(
    "0.3 ** 2 / (2 * 2 ** 2)",
    "The equal vote of one child is the message itself; the exact centre is drawn towards 0.",
    "With s**2 = 1 / P the gap is P / 2 times the mean square of the difference of the centres.",
    "The centres differ by u / P, and u has variance 1 + sigma**2 / kappa**2. Simplify.",
    why="P = 1 + kappa^2 / sigma^2 and E[u^2] = 1 + sigma^2 / kappa^2, so that E[u^2] / (2 P) = "
    "sigma^2 / (2 kappa^2). It goes to 0 with the noise: one child is a flow again.",
    oracle=_one_child,
    atol=2e-5,
    right="{truth:.5f} nats, which is sigma^2 / (2 kappa^2): the noise that the prior would have "
    "taken away.",
    wrong={
        0.0225: "The divergence has a factor of one half.",
        0.075: "That is sigma / (2 kappa): the gap goes with the squares.",
        0.01100: "The message has the noise of its leaf: its variance is above 1.",
        0.0: "The pull forgets the prior, so a small gap is left.",
    },
    otherwise="What is the variance of the message, and by how much do the two centres differ?",
)


ex10_5 = Open(
    "Follow a message: which leaves reach the node from which the hidden quadrant is filled in?",
    "The rule fills in from the nearest node above that heard anything. In the deep tree that is "
    "the half; what does it know of the other half?",
    "Hide one quadrant, then a whole half. Compare the bounds of the two trees as well: they "
    "measure all four quadrants, and not the guess.",
    answer="In a run of ours (one seed, 400 steps of batch 64) the flat tree filled in one hidden "
    "quadrant with an error of 0.31 and the deep tree with 0.42, while the mean of the data has "
    "0.51. With a whole half hidden the errors were 0.37 and 0.37. The rule explains it: in the "
    "deep tree one hidden quadrant is filled in from its own half, which has heard one neighbour "
    "only; the two quadrants of the other half speak to the root and are not asked. With a half "
    "hidden, both trees go through the root with the same two messages. The bound fell too, from "
    "-37.1 to -40.6 nats. To gain from depth, the way down must correct a half by what the root "
    "has heard, as belief propagation does.",
)

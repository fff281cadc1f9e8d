"""Lesson 25: out of the mask, the loss of ratios, a net that knows nothing, the analytic step."""

import math

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise

SPENT, SPEED, SHARE = 1.0, 1.0, 0.5
PIXELS, GREYS = 64, 16


def _a_moment_ago(moment: float = 1e-6) -> float:
    """By Bayes, of those masked now: who still was c a moment ago, per unit of time."""
    still = SHARE * math.exp(-(SPENT - SPEED * moment))
    return still * -math.expm1(-SPEED * moment) / (moment * -math.expm1(-SPENT))


ex25_1 = Exercise(
    "math.exp(-1.0) / (1.0 - math.exp(-1.0)) * 0.5",
    "R(mask, c) = Q(c, mask) q_t(c | rest) / q_t(mask | rest).",
    "A token is still c with probability p e^-B, and masked with 1 - e^-B.",
    "beta times p times e^-B / (1 - e^-B).",
    why="The jump leads to c, so q_t(c) = p e^-B stands on top; it starts at the mask, so "
    "q_t(mask) = 1 - e^-B stands below.",
    oracle=_a_moment_ago,
    atol=6e-4,
    right="{truth:.4f}: among tokens masked now, so many per time were c a moment ago.",
    wrong={
        0.8591: "The ratio is upside down: where the jump leads to stands on top.",
        0.5820: "That is the rate to leave the mask at all; c gets its share of it.",
        0.1839: "That is the probability to be c and unmasked; divide by that of where you "
        "are, the mask.",
        0.5: "That is the noise's rate times 0.5; the ratio also knows how much is masked.",
        0.3161: "You multiply by the masked share; divide by it.",
    },
    otherwise="The noise goes from c to the mask at rate 1; multiply by q_t(c) / q_t(mask).",
)


def ratio_loss(logits: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    """Give - sum_d log p_t(x^d | the others), (B,): the data's law, noised, at the token."""
    law = logits.softmax(-1) @ kernel
    return -law.gather(-1, x[..., None])[..., 0].log().sum(-1)


def _kernel(size: int) -> Tensor:
    return torch.rand(size, size).pow(2).softmax(-1)


def _by_loops(logits: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    """Multiply the probabilities of a row's tokens, each by the sum over its data token."""
    losses = []
    for row, tokens in zip(logits.exp().tolist(), x.tolist(), strict=True):
        product = 1.0
        for weights, y in zip(row, tokens, strict=True):
            ways = sum(w * float(kernel[c, y]) for c, w in enumerate(weights))
            product *= ways / sum(weights)
        losses.append(-math.log(product))
    return torch.tensor(losses)


ex25_2 = Exercise(
    ratio_loss,
    "The net tells the data token; the label is the noisy token.",
    "Probabilities times the kernel is the law of the noisy token.",
    "softmax over C, @ kernel, gather at x, minus log, sum over D.",
    why="p_t(y | rest) = sum_c p(c | rest) q_{t|0}(y | c) is what a hollow net says of the "
    "noisy token; its cross-entropy at the token that is there is least at the truth.",
    cases=lambda: [(torch.randn(4, 3, 5), torch.randint(5, (4, 3)), _kernel(5))],
    oracle=_by_loops,
    right="a sum over every data token, by plain loops, gives the same four numbers.",
    wrong={
        "-law -> law": "the sign: a loss is minus a log-probability.",
        "sum( -> mean(": "you take the mean over tokens; the loss sums them.",
        ".log() -> .log2()": "that is in bits; nats are asked for.",
        "@ kernel -> @ kernel.T": "the kernel is turned round: its rows are where a token starts, "
        "the data.",
        "@ kernel ->": "the net tells the data, x is noisy: go through the kernel first.",
        "logits.softmax(-1) @ kernel -> (logits @ kernel).softmax(-1)": "you noise the logits; a "
        "kernel mixes probabilities, so softmax first.",
    },
    otherwise="softmax, kernel, pick the token that is there, log, sum.",
)


def _over_all_masks(slices: int = 400) -> float:
    """Average over the share and over how many of the tokens are then masked."""
    u = (torch.arange(slices)[:, None] + 0.5) / slices
    masks = torch.arange(PIXELS + 1)
    chance = torch.distributions.Binomial(PIXELS, u).log_prob(masks).exp()
    return float((chance * masks * math.log(GREYS) / u).sum() / slices)


ex25_3 = Exercise(
    "64 * math.log(16)",
    "The integral is over the share u of masked tokens, with weight 1 / u.",
    "At share u there are 64 u masks on the mean.",
    "The u cancels: every token costs once.",
    why="64 u masks at log 16 each, over u, is 64 log 16 at every u: the log of the number of "
    "images, as it must be for a net without an idea.",
    oracle=_over_all_masks,
    atol=0.3,
    right="{truth:.1f} nats: averaged over all shares and all numbers of masks.",
    wrong={
        88.72: "You left out the weight 1/u: half of the tokens are masked on the mean.",
        181.3: "The mask is no grey: a datum holds none, so 16 remain.",
        256.0: "That is in bits; nats are asked for.",
        2.77: "That is the cost of one token.",
    },
    otherwise="Each masked token costs the log of 16. How many are masked at share u, over u?",
)


def analytic_step(data_law: Tensor, x: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """Give the law of each token at s, (B, D, C): where data lead, times what explains x."""
    weights = (data_law @ early) * late.T[x]
    return weights / weights.sum(-1, keepdim=True)


def _joint_law(law: Tensor, x: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """Take the joint law of datum and both noisy tokens, and those paths that end in x."""
    joint = torch.einsum("bdc,cs,st->bdst", law, early, late)
    ending = joint.take_along_dim(x[..., None, None], -1)[..., 0]
    return ending / ending.sum(-1, keepdim=True)


ex25_4 = Exercise(
    analytic_step,
    "Bayes: prior at s, times the likelihood of the token that is there at t.",
    "The prior is data_law @ early. The likelihood is a column of late.",
    "late.T[x] picks that column for every token; then normalise over C.",
    why="Given the other tokens, x_0 -> x_s -> x_t is a chain of one token: sum out x_0, weigh "
    "by the last step, normalise.",
    cases=lambda: [
        (torch.randn(3, 2, 4).softmax(-1), torch.randint(4, (3, 2)), _kernel(4), _kernel(4))
    ],
    oracle=_joint_law,
    right="so says the joint law of the datum and both noisy tokens, by enumeration.",
    wrong={
        "/ weights.sum(-1, keepdim=True) ->": "the rows do not sum to 1 yet: divide by their sum.",
        "@ early -> @ early @ late": "you carry the data to t; the bracket wants them at s, by "
        "q_{s|0}.",
        "late.T -> late": "q_{t|s} is read along a row: x is where it ends, a column.",
        "* late.T[x] ->": "you never use where the token is now: weigh by q_{t|s}(x | each token).",
    },
    otherwise="data through q_{s|0}, times a column of q_{t|s}, over the sum.",
)

"""Lesson 25: out of the mask, the loss of ratios, a net that knows nothing, the analytic step."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Verdict, as_tensor, close, not_yet, passed

SPENT, SPEED, SHARE = 1.0, 1.0, 0.5
PIXELS, GREYS = 64, 16


def out_of_mask() -> float:
    """Give beta e^-B / (1 - e^-B) p: the noise's rate times the ratio of probabilities."""
    return SPEED * math.exp(-SPENT) / (1.0 - math.exp(-SPENT)) * SHARE


def _judge_mask(answer: object) -> Verdict:
    # By Bayes, of those masked now: who still was c a moment ago, per unit of time.
    moment = 1e-6
    still = SHARE * math.exp(-(SPENT - SPEED * moment))
    lost = -math.expm1(-SPEED * moment)
    truth = still * lost / (moment * -math.expm1(-SPENT))
    inverted = SHARE * math.expm1(SPENT)
    return close(
        answer,
        truth=truth,
        atol=6e-4,
        right=f"{truth:.4f}: among tokens masked now, so many per time were c a moment ago.",
        wrong={
            inverted: "The ratio is upside down: where the jump leads to stands on top.",
            truth / SHARE: "That is the rate to leave the mask at all; c gets its share of it.",
            SHARE * math.exp(-SPENT): "That is the probability to be c and unmasked; divide by "
            "that of where you are, the mask.",
            SHARE: "That is the noise's rate times 0.5; the ratio also knows how much is masked.",
            SHARE * -math.expm1(-SPENT): "You multiply by the masked share; divide by it.",
        },
        otherwise="The noise goes from c to the mask at rate 1; multiply by q_t(c) / q_t(mask).",
    )


def ratio_loss(logits: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    """Give - sum_d log p_t(x^d | the others), (B,): the data's law, noised, at the token."""
    law = logits.softmax(-1) @ kernel
    return -law.gather(-1, x[..., None])[..., 0].log().sum(-1)


def _other_way(logits: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    return ratio_loss(logits, x, kernel.T)


def _of_data(logits: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    return ratio_loss(logits, x, torch.eye(len(kernel), dtype=kernel.dtype))


def _noised_logits(logits: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    return ratio_loss(logits @ kernel, x, torch.eye(len(kernel), dtype=kernel.dtype))


def _random_kernel(seed: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, size, generator=generator, dtype=torch.float64).pow(2).softmax(-1)


def _judge_loss(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(25)
    logits = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    x = torch.randint(5, (4, 3), generator=generator)
    kernel = _random_kernel(1, 5)
    truth = []
    for b in range(4):
        product = 1.0  # probability of all tokens of the row, each by the sum over its data token
        for d in range(3):
            weights = [math.exp(float(v)) for v in logits[b, d]]
            ways = (w * float(kernel[c, x[b, d]]) for c, w in enumerate(weights))
            product *= sum(ways) / sum(weights)
        truth.append(-math.log(product))
    exact = torch.tensor(truth, dtype=torch.float64)
    given = as_tensor(answer(logits, x, kernel), (4,))

    def same(other: Tensor) -> bool:
        return torch.allclose(given, other, atol=1e-8)

    if same(exact):
        return passed("a sum over every data token, by plain loops, gives the same four numbers.")
    if same(-exact):
        return not_yet("the sign: a loss is minus a log-probability.")
    if same(exact / 3):
        return not_yet("you take the mean over tokens; the loss sums them.")
    if same(exact / math.log(2.0)):
        return not_yet("that is in bits; nats are asked for.")
    if same(_other_way(logits, x, kernel)):
        return not_yet("the kernel is turned round: its rows are where a token starts, the data.")
    if same(_of_data(logits, x, kernel)):
        return not_yet("the net tells the data, x is noisy: go through the kernel first.")
    if same(_noised_logits(logits, x, kernel)):
        return not_yet("you noise the logits; a kernel mixes probabilities, so softmax first.")
    return not_yet(
        f"the first row should be {truth[0]:.4f}, yours is {float(given[0]):.4f}: softmax, kernel, "
        "pick the token that is there, log, sum."
    )


def knows_nothing() -> float:
    """Give D log C: on the mean u D tokens are masked, each costs log C, over u."""
    return PIXELS * math.log(GREYS)


def _judge_nothing(answer: object) -> Verdict:
    # Average over the share and over how many of the tokens are then masked.
    slices, truth = 400, 0.0
    for i in range(slices):
        u = (i + 0.5) / slices
        for k in range(PIXELS + 1):
            chance = math.comb(PIXELS, k) * u**k * (1 - u) ** (PIXELS - k)
            truth += chance * k * math.log(GREYS) / u / slices
    return close(
        answer,
        truth=truth,
        atol=0.3,
        right=f"{truth:.1f} nats: averaged over all shares and all numbers of masks.",
        wrong={
            truth / 2: "You left out the weight 1/u: half of the tokens are masked on the mean.",
            PIXELS * math.log(GREYS + 1): "The mask is no grey: a datum holds none, so 16 remain.",
            truth / math.log(2.0): "That is in bits; nats are asked for.",
            math.log(GREYS): "That is the cost of one token.",
        },
        otherwise="Each masked token costs the log of 16. How many are masked at share u, over u?",
    )


def analytic_step(data_law: Tensor, x: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """Give the law of each token at s, (B, D, C): where data lead, times what explains x."""
    weights = (data_law @ early) * late.T[x]
    return weights / weights.sum(-1, keepdim=True)


def _wrong_kernel(law: Tensor, x: Tensor, early: Tensor, late: Tensor) -> Tensor:
    return analytic_step(law, x, early @ late, late)


def _along_rows(law: Tensor, x: Tensor, early: Tensor, late: Tensor) -> Tensor:
    return analytic_step(law, x, early, late.T)


def _unseen_end(law: Tensor, x: Tensor, early: Tensor, late: Tensor) -> Tensor:
    return law @ early


def _bare(law: Tensor, x: Tensor, early: Tensor, late: Tensor) -> Tensor:
    return (law @ early) * late.T[x]


def _judge_step(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(26)
    law = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64).softmax(-1)
    x = torch.randint(4, (3, 2), generator=generator)
    early, late = _random_kernel(2, 4), _random_kernel(3, 4)
    exact = torch.zeros(3, 2, 4, dtype=torch.float64)
    for b in range(3):
        for d in range(2):
            # The joint law of datum and both noisy tokens, then those paths that end in x.
            joint = law[b, d][:, None, None] * early[:, :, None] * late[None]
            ending = joint[:, :, x[b, d]].sum(0)
            exact[b, d] = ending / ending.sum()
    given = as_tensor(answer(law, x, early, late), (3, 2, 4))

    def same(rule: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> bool:
        return torch.allclose(given, rule(law, x, early, late), atol=1e-8)

    if torch.allclose(given, exact, atol=1e-8):
        return passed("so says the joint law of the datum and both noisy tokens, by enumeration.")
    if same(_bare):
        return not_yet("the rows do not sum to 1 yet: divide by their sum.")
    if same(_wrong_kernel):
        return not_yet("you carry the data to t; the bracket wants them at s, by q_{s|0}.")
    if same(_along_rows):
        return not_yet("q_{t|s} is read along a row: x is where it ends, a column.")
    if same(_unseen_end):
        return not_yet("you never use where the token is now: weigh by q_{t|s}(x | each token).")
    return not_yet(
        f"one law should be {[round(v, 3) for v in exact[0, 0].tolist()]}, yours is "
        f"{[round(v, 3) for v in given[0, 0].tolist()]}: data through q_{{s|0}}, times a column of "
        "q_{t|s}, over the sum."
    )


EXERCISES = (
    Exercise(
        name="ex25_1",
        ask="The noise is a mask, beta = 1, and B_t = 1 has been spent. A masked token has, given "
        "the others, probability 0.5 to be a c in the data. At which rate does the reversal turn "
        "the mask into c?",
        judge=_judge_mask,
        hints=(
            "R(mask, c) = Q(c, mask) q_t(c | rest) / q_t(mask | rest).",
            "A token is still c with probability p e^-B, and masked with 1 - e^-B.",
            "beta times p times e^-B / (1 - e^-B).",
        ),
        solution=out_of_mask,
        why="The jump leads to c, so q_t(c) = p e^-B stands on top; it starts at the mask, so "
        "q_t(mask) = 1 - e^-B stands below.",
        wrong=(
            (0.859, "upside down"),
            (0.582, "its share"),
            (0.184, "divide by that of where you are"),
            (0.316, "masked share"),
        ),
    ),
    Exercise(
        name="ex25_2",
        ask="Write ratio_loss(logits, x, kernel): the ratio-matching loss of each row, (B,), in "
        "nats. logits (B, D, C) are a hollow net's for the data token, x (B, D) is the noisy "
        "state, kernel[c, y] is q_{t|0}(y | c), (C, C).",
        judge=_judge_loss,
        hints=(
            "The net tells the data token; the label is the noisy token.",
            "Probabilities times the kernel is the law of the noisy token.",
            "softmax over C, @ kernel, gather at x, minus log, sum over D.",
        ),
        solution=ratio_loss,
        why="p_t(y | rest) = sum_c p(c | rest) q_{t|0}(y | c) is what a hollow net says of the "
        "noisy token; its cross-entropy at the token that is there is least at the truth.",
        wrong=(
            (_other_way, "turned round"),
            (_of_data, "through the kernel first"),
            (_noised_logits, "softmax first"),
            (lambda a, x, k: ratio_loss(a, x, k) / x.shape[1], "mean over tokens"),
            (lambda a, x, k: -ratio_loss(a, x, k), "the sign"),
        ),
        code=True,
    ),
    Exercise(
        name="ex25_3",
        ask=f"{PIXELS} tokens, each one of {GREYS} greys. A net knows nothing: wherever there is a "
        "mask it says 1/16 for each grey. What is its -ELBO under masked diffusion, in nats an "
        "image?",
        judge=_judge_nothing,
        hints=(
            "The integral is over the share u of masked tokens, with weight 1 / u.",
            "At share u there are 64 u masks on the mean.",
            "The u cancels: every token costs once.",
        ),
        solution=knows_nothing,
        why="64 u masks at log 16 each, over u, is 64 log 16 at every u: the log of the number of "
        "images, as it must be for a net without an idea.",
        wrong=(
            (88.7, "weight 1/u"),
            (181.3, "no grey"),
            (256.0, "bits"),
            (2.77, "one token"),
        ),
    ),
    Exercise(
        name="ex25_4",
        ask="Write analytic_step(data_law, x, early, late): the law of each token at time s, "
        "(B, D, C). data_law (B, D, C) is p(x_0^d | x_t without d), x (B, D) the state at t, "
        "early is q_{s|0} and late is q_{t|s}, (C, C) each, rows where a token starts.",
        judge=_judge_step,
        hints=(
            "Bayes: prior at s, times the likelihood of the token that is there at t.",
            "The prior is data_law @ early. The likelihood is a column of late.",
            "late.T[x] picks that column for every token; then normalise over C.",
        ),
        solution=analytic_step,
        why="Given the other tokens, x_0 -> x_s -> x_t is a chain of one token: sum out x_0, weigh "
        "by the last step, normalise.",
        wrong=(
            (_wrong_kernel, "wants them at s"),
            (_along_rows, "along a row"),
            (_unseen_end, "where the token is now"),
            (_bare, "sum to 1"),
        ),
        code=True,
    ),
)

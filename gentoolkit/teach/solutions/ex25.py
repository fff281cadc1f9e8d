"""Lesson 25: out of the mask, score entropy, a net that knows nothing, second thoughts."""

import math

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Open

SPENT, SPEED, SHARE = 1.0, 1.0, 0.5
PIXELS, GREYS = 64, 16


def _a_moment_ago(moment: float = 1e-6) -> float:
    """By Bayes, of those masked now: who still was c a moment ago, per unit of time."""
    still = SHARE * math.exp(-(SPENT - SPEED * moment))
    return still * -math.expm1(-SPEED * moment) / (moment * -math.expm1(-SPENT))


ex25_1 = Exercise(
    "math.exp(-1.0) / (1.0 - math.exp(-1.0)) * 0.5",
    "The rate of the reversal is the transposed rate of the noise times a ratio of laws.",
    "A token is still the letter with probability 0.5 e^-1, and masked with 1 - e^-1.",
    "Which of the two stands on top: where the jump leads to, or where it starts?",
    why="The jump leads to the letter, so 0.5 e^-1 stands on top; it starts at the mask, so "
    "1 - e^-1 stands below, and the noise's rate is 1.",
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


def score_entropy(log_guess: Tensor, ratio: Tensor, rate: Tensor) -> Tensor:
    """Give the bracket of the bound with ratios in place of rates: all (B, Y) -> (B,)."""
    known = torch.xlogy(ratio, ratio) - ratio
    return (rate * (log_guess.exp() - ratio * log_guess + known)).sum(-1)


def _bracket(log_guess: Tensor, ratio: Tensor, rate: Tensor) -> Tensor:
    """Integrate the cost of a wrong rate from the right one, entry by entry: slow and plain."""
    rows = []
    for guesses, ratios, rates in zip(log_guess, ratio, rate, strict=True):
        total = 0.0
        for guess, true, speed in zip(
            guesses.exp().tolist(), ratios.tolist(), rates.tolist(), strict=True
        ):
            # d/dv of (v - true log v) is 1 - true / v, and the cost is zero at v = true.
            if true == 0.0:
                total += speed * guess
            else:
                v = torch.linspace(0.0, 1.0, 20001) * (math.log(guess) - math.log(true))
                slope = true * v.exp() - true  # in log v
                total += speed * float(torch.trapezoid(slope, v))
        rows.append(total)
    return torch.tensor(rows)


def _guesses() -> list[tuple]:
    ratio = torch.rand(3, 4) * 2.0
    ratio[0, 1] = ratio[2, 3] = 0.0
    return [(torch.randn(3, 4), ratio, torch.rand(3, 4) + 0.1)]


ex25_2 = Exercise(
    score_entropy,
    "Write the bracket with both rates, and take out the common factor, the rate of the noise.",
    "A logarithm of a quotient of rates: the common factor cancels inside it, and stays in front.",
    "A term x log x goes to 0 with x; torch.xlogy knows that, and a plain product does not.",
    why="With both rates a multiple of Q_t(y, x) the bracket is Q_t(y, x) times "
    "[v log(v / guess) - v + guess]; summed over the neighbours it is the score entropy.",
    cases=_guesses,
    oracle=_bracket,
    right="the cost of leaving the true ratio, integrated by hand, gives the same three numbers.",
    wrong={
        "+ known ->": "what does not depend on the guess belongs to the bracket too: without it "
        "the loss is not zero at the true ratio.",
        "rate * (log_guess.exp() -> (log_guess.exp()": "the rate of the noise is missing: both "
        "rates carry it as a factor.",
        "torch.xlogy(ratio, ratio) -> ratio * ratio.log()": "one entry of the ratio is 0, and "
        "0 times log 0 is not a number; that term is 0 there.",
        "log_guess.exp() - -> log_guess -": "the guess is handed over as a logarithm: the first "
        "term of the bracket is the rate itself.",
        "- ratio * log_guess -> - log_guess.exp() * log_guess": "the average is over jumps of the "
        "known film: the logarithm of the guess is weighed by the true ratio.",
        ".sum(-1) -> .mean(-1)": "the bracket is a sum over the neighbours, not a mean.",
        "(rate * (log_guess.exp() - ratio * log_guess + known)) -> -(rate * (log_guess.exp() "
        "- ratio * log_guess + known))": "the sign: the bracket is a cost, never negative.",
    },
    otherwise="for each neighbour: rate times (guess - ratio log guess + ratio log ratio - ratio).",
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
    "At share u there are 64 u masks on average.",
    "The share cancels: how often does each token then pay its price?",
    why="64 u masks at log 16 each, over u, is 64 log 16 at every u: the log of the number of "
    "images, as it must be for a net without an idea.",
    oracle=_over_all_masks,
    atol=0.3,
    right="{truth:.1f} nats: averaged over all shares and all numbers of masks.",
    wrong={
        88.72: "You left out the weight 1/u: half of the tokens are masked on average.",
        181.3: "The mask is no grey: a data point holds none, so 16 remain.",
        256.0: "That is in bits; nats are asked for.",
        2.77: "That is the cost of one token.",
    },
    otherwise="Each masked token costs the log of 16. How many are masked at share u, over u?",
)


def remasking_step(data_law: Tensor, x: Tensor, u: float, less: float, again: float) -> Tensor:
    """Give the law of each token after a step that opens masks and closes letters, (B, D, C+1)."""
    opens = (u - less + again * (1.0 - u)) / u
    mask = data_law.shape[-1]
    told = torch.cat([opens * data_law, torch.full_like(data_law[..., :1], 1.0 - opens)], -1)
    kept = torch.nn.functional.one_hot(x, mask + 1).to(told) * (1.0 - again)
    kept[..., mask] += again
    return torch.where((x == mask)[..., None], told, kept)


def _by_balance(data_law: Tensor, x: Tensor, u: float, less: float, again: float) -> Tensor:
    """Find the chance to open by bisection on the share that is masked afterwards."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        masked = u * (1.0 - middle) + (1.0 - u) * again
        low, high = (middle, high) if masked > less else (low, middle)
    size = data_law.shape[-1]
    law = torch.zeros(*x.shape, size + 1)
    for row in range(x.shape[0]):
        for place in range(x.shape[1]):
            token = int(x[row, place])
            if token == size:
                law[row, place, :size] = low * data_law[row, place]
                law[row, place, size] = 1.0 - low
            else:
                law[row, place, token], law[row, place, size] = 1.0 - again, again
    return law


def _partly_masked() -> list[tuple]:
    law, x = torch.randn(3, 4, 5).softmax(-1), torch.randint(6, (3, 4))
    x[0, 0], x[1, 2] = 5, 5
    return [(law, x, 0.6, 0.4, 0.2), (law, x, 0.9, 0.5, 0.0), (law, x, 0.5, 0.45, 0.6)]


ex25_4 = Exercise(
    remasking_step,
    "Count masks: some of the share u open, and some of the share 1 - u close.",
    "Masks after the step: u (1 - the chance to open) + (1 - u) times the chance to close.",
    "Set that to the share wanted and solve for the chance to open; without closing it must be "
    "the usual one, the part of the masks that goes away.",
    why="u (1 - opens) + (1 - u) again = less, so opens = (u - less + (1 - u) again) / u. A mask "
    "opens with that chance and takes a letter from the data's law; a letter stays or closes.",
    cases=_partly_masked,
    oracle=_by_balance,
    right="found by bisection on the share of masks, the laws are the same, and no mask is lost.",
    wrong={
        "(u - less + again * (1.0 - u)) / u -> (u - less) / u": "you open as many as without "
        "second thoughts: too many masks are left, since letters close as well.",
        "again * (1.0 - u) -> again": "only open tokens can close, and their share is 1 - u.",
        "again * (1.0 - u)) / u -> again * (1.0 - u))": "that many of all tokens open; a token "
        "that is masked does so with this number over the share of masks.",
        "again * (1.0 - u) -> again * u": "the letters that close are of the share 1 - u.",
        "* (1.0 - again) -> * 1.0": "a letter that may close does not stay with certainty: its "
        "row must sum to 1.",
        "torch.where((x == mask)[..., None], told, kept) -> told": "tokens that are open follow "
        "another law: they keep their letter, or close.",
    },
    otherwise="balance the share of masks before and after the step.",
)


ex25_5 = Open(
    "data_logits gives the law of each letter, also at a place that is open: blank it first.",
    "For every place of every word: blank that place alone, ask the network, and note the "
    "probability of the letter that stood there. The least one is the letter to redraw.",
    "Use judged for both numbers, as many words for each policy, and the same number of calls: "
    "finding the least sure letter costs five calls for each redrawing.",
    answer="Filled once, 0.18 to 0.19 of 3,000 results are listed (three seeds), about 500 words "
    "among them. Three letters redrawn at random change little: 0.19 to 0.20; eighteen of "
    "them, as many calls as below, give 0.18 to 0.20. Three times the least sure letter gives "
    "0.34 to 0.35, nearly twice as many. But the effective number of words falls from between "
    "1,900 and 2,800 to between 1,050 and 1,260: a redrawn letter tends to become a common one, "
    "so the results crowd on fewer words. The share of listed words hides this: a sampler that "
    "always writes the same word has the share 1 and the effective number 1. And like confidence "
    "order, a choice that looks at the draw has no bound on log p.",
)

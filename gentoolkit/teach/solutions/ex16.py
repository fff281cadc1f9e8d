"""Lesson 16: nats lost in a step, the bound of Gaussian data, a score from v, calls of a net."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gentoolkit.teach.exercise import Exercise, Like

MEAN, VARIANCE = 0.7, 0.3
STEPS, HIGH, LOW = 16, 6.0, -7.0


def kl(guess: Tensor, x0: Tensor, snr_before: Tensor, snr: Tensor) -> Tensor:
    """Give the nats lost in one step: guess and x0 (B, D), both SNRs (B,) -> (B,)."""
    return 0.5 * (snr_before - snr) * (guess - x0).square().sum(dim=1)


def _bayes(x: Tensor, data: tuple[Tensor, ...], now: Tensor, before: Tensor) -> list[Normal]:
    """Give the law of x_{i-1} given x_i = x and each of the data; now and before are SNRs."""
    a2, a2_before = now / (1 + now), before / (1 + before)
    keep2 = a2 / a2_before
    added = (1 - a2) - keep2 * (1 - a2_before)
    of_state, of_data = keep2.sqrt() * (1 - a2_before), a2_before.sqrt() * added
    std = (added * (1 - a2_before) / (1 - a2)).sqrt()
    return [Normal((of_state * x + of_data * x0) / (1 - a2), std) for x0 in data]


ex16_1 = Exercise(
    kl,
    "Both laws are normal with the same variance, so only the distance of the means is left.",
    "The means differ by of_data (guess - x0). Divide its square by twice the variance.",
    "Written with SNR = a**2 / s**2, of_data**2 / variance is a difference of two SNRs.",
    why="Each step loses what the SNR falls by, times half the squared error of the guess. "
    "Nothing else of the schedule enters.",
    cases=lambda: [(*torch.randn(2, 6, 3), *torch.linspace(4.0, -5.0, 7).exp().unfold(0, 6, 1))],
    oracle=lambda guess, x0, before, now: kl_divergence(
        *_bayes(torch.randn(6, 3), (x0, guess), now[:, None], before[:, None])
    ).sum(1),
    right="the divergence of the two normal laws is the same at six steps.",
    wrong={
        "0.5 -> -0.5": "the sign is wrong; the step before has the higher SNR.",
        "0.5 * ->": "a factor 1/2 is missing.",
        "sum( -> mean(": "you average over the coordinates; their KLs add up.",
        "square().sum( -> norm(": "the distance enters squared.",
        "e - snr) -> e / snr).log()": "you take the fall of the log-SNR; it is the SNR's own.",
        Like("(snr_before - snr) -> snr", lambda _: True): "is it half the fall of the SNR, times "
        "a squared distance?",
    },
)


def negative_elbo() -> float:
    """Add the entropy, the last row, and half of r - 1 - log r for each step's variances."""
    log_snr = torch.linspace(HIGH, LOW, STEPS, dtype=torch.float64)
    signal2, noise2 = log_snr.sigmoid(), (-log_snr).sigmoid()
    spread = VARIANCE * noise2 / (VARIANCE * signal2 + noise2)  # Var(x0 | x_i)
    snr = log_snr.exp()
    # r is the exact reverse variance over the one that the step has.
    ratio = torch.cat([snr[:1] * spread[:1], 1 + (snr[:-1] - snr[1:]) * spread[1:]])
    last = signal2[-1] * VARIANCE + noise2[-1]
    prior = 0.5 * (last + signal2[-1] * MEAN**2 - 1 - last.log())
    entropy = 0.5 * math.log(2 * math.pi * math.e * VARIANCE)
    return float(entropy + prior + 0.5 * (ratio - 1 - ratio.log()).sum())


def _rows_by_quadrature() -> float:
    """Average each term over datum and noise by Gauss's three points: exact for squares."""
    nodes, share = torch.tensor([(-(3**0.5), 1 / 6), (0.0, 2 / 3), (3**0.5, 1 / 6)]).T
    x0, total, before = MEAN + math.sqrt(VARIANCE) * nodes[:, None], torch.zeros(()), None
    for snr in torch.linspace(HIGH, LOW, STEPS).exp():
        a, s = (snr / (1 + snr)).sqrt(), (1 / (1 + snr)).sqrt()
        x = a * x0 + s * nodes
        guess = (MEAN / VARIANCE + a * x / s**2) / (1 / VARIANCE + snr)
        if before is None:
            row = -Normal(guess, s / a).log_prob(x0)
        else:
            row = kl_divergence(*_bayes(x, (x0, guess), snr, before))
        total, before = total + (share[:, None] * row * share).sum(), snr
    prior = kl_divergence(Normal(a * x0, s), Normal(0.0, 1.0))
    return float(total + (share[:, None] * prior).sum())


ex16_2 = Exercise(
    negative_elbo,
    "Average each row separately: the decoder, each divergence, and the last row.",
    "Under the exact mean the average squared error is Var(x0 | x_i), which is known for "
    "Gaussian data.",
    "So a middle row is half the fall of the SNR times that variance; the decoder has a log too.",
    why="Add the rows and compare with the entropy: each step costs half of r - 1 - log r, "
    "for r the exact reverse variance over the posterior's. More steps bring r to 1.",
    oracle=_rows_by_quadrature,
    atol=1e-4,
    right="{truth:.4f} nats: 1.079 above the entropy 0.8170 of the data, lost by the posterior's "
    "variance and by few steps.",
    wrong={
        3.48077: "The decoder's row -log p(x | x_1) is missing: a density can exceed 1, so that "
        "row may be negative.",
        0.81695: "That is the entropy of the data; this model, with the posterior's variance and "
        "few steps, does not reach it.",
        1.89525: "The last row is missing, by how much the law of x_T differs from N(0, 1).",
        -1.89561: "That is the ELBO itself; its negative is asked for.",
        2.73479: "You give bits; nats are asked for.",
        5.37639: "Only the sum of the KLs has a factor 1/2 inside; is it there?",
    },
    otherwise="The rows add up: decoder, 15 KLs, last row. None but the decoder's is negative, and "
    "the sum cannot lie below the entropy 0.8170.",
)


def score_from_velocity(x: Tensor, v: Tensor, a: Tensor, s: Tensor) -> Tensor:
    """Turn v = a e - s x0 into -e / s: x and v (B, D), a and s (B,) -> (B, D)."""
    a, s = a[:, None], s[:, None]
    return -(s * x + a * v) / s


def _angles() -> list[tuple]:
    x0, e, angle = torch.randn(5, 2), torch.randn(5, 2), 0.2 + 1.2 * torch.rand(5)
    a, s = angle.cos(), angle.sin()
    return [(a[:, None] * x0 + s[:, None] * e, a[:, None] * e - s[:, None] * x0, a, s)]


def _score_by_autograd(x: Tensor, v: Tensor, a: Tensor, s: Tensor) -> Tensor:
    a, s, x = a[:, None], s[:, None], x.clone().requires_grad_()
    # A turn back gives the datum; then the score is a derivative of its noised law.
    log_law = Normal(a * (a * x - s * v).detach(), s).log_prob(x).sum()
    return torch.autograd.grad(log_law, x)[0]


ex16_3 = Exercise(
    score_from_velocity,
    "Two linear equations, x and v, in two unknowns, x0 and e: solve for e.",
    "Multiply x by s and v by a, and add: x0 drops out.",
    "The factor in front of e is then a**2 + s**2. Give a and s a second dimension.",
    why="(x, v) is (x0, e) turned by an angle, so turning back gives e = s x + a v.",
    cases=_angles,
    oracle=_score_by_autograd,
    right="automatic differentiation of log q(x | x0) gives the same score.",
    wrong={
        "return - -> return ": "the sign is wrong; the score points away from the noise.",
        "return - -> return; / s ->": "that is the noise e itself; divide by -s.",
        ") / s -> ) / s**2": "you divide by the variance; e is already one deviation long.",
        "-(s * x + a * v) / s -> a * x - s * v": "that is x0; eliminate x0 instead of e.",
        "+ a * v -> - a * v": "does your v stand for s x0 - a e? Here it is a e - s x0.",
    },
    otherwise="solve x = a x0 + s e and v = a e - s x0 for e first.",
)


ex16_4 = Exercise(
    "1, 1000",
    "What must be known before the net can be called at x_i?",
    "When you train, x_0 is at hand: how many pulls lead to x_i, at the least?",
    "When you sample, x_{i-1} comes out of the call at x_i.",
    why="The pull composes into one normal law, so a loss looks at one random step. The push "
    "does not compose: its mean is a network's.",
    oracle=lambda: (1, len(range(1000, 0, -1))),  # x_T to x_1, each by the call before
    parts="one loss, one sample",
    right="1 and 1000: x_i is drawn from x_0 in one go, but pushed step by step.",
    wrong={
        (1000, 1000): "The loss draws one step at random; x_i comes from x_0 in one go.",
        (1000, 1): "The wrong way round: which of the two has the clean datum at hand?",
        (1, 1): "A sample starts from noise; x_{i-1} is needed before the net is called.",
        Like((1, 999), lambda _: True): "Count the states at which the net is asked; the step to "
        "x_0 counts too.",
    },
)

"""Lesson 16: nats lost in a step, the bound of Gaussian data, a score from v, calls of a net."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_number,
    as_tensor,
    close,
    not_yet,
    passed,
)

MEAN, VARIANCE = 0.7, 0.3
STEPS, HIGH, LOW = 16, 6.0, -7.0
GRID = 1000


def kl(guess: Tensor, x0: Tensor, snr_before: Tensor, snr: Tensor) -> Tensor:
    """Give the nats lost in one step: guess and x0 (B, D), both SNRs (B,) -> (B,)."""
    return 0.5 * (snr_before - snr) * (guess - x0).square().sum(dim=1)


def _kl_like(
    size: Callable[[Tensor], Tensor], drop: Callable[[Tensor, Tensor], Tensor]
) -> Callable[..., Tensor]:
    return lambda guess, x0, before, snr: drop(before, snr) * size(guess - x0)


def _summed(error: Tensor) -> Tensor:
    return error.square().sum(1)


def _judge_kl(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(5)
    guess, x0, x = (torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    log_snr = torch.linspace(4.0, -5.0, 7, dtype=torch.float64)
    snr_before, snr = log_snr[:-1].exp(), log_snr[1:].exp()
    given = as_tensor(answer(guess, x0, snr_before, snr), (6,))
    # Both laws from the coefficients of Bayes' rule, at some noisy x.
    signal, signal_before = (snr / (1 + snr)).sqrt(), (snr_before / (1 + snr_before)).sqrt()
    noise, noise_before = 1 - signal**2, 1 - signal_before**2  # variances
    keep = signal / signal_before
    added = noise - keep**2 * noise_before
    of_state, of_data = keep * noise_before / noise, signal_before * added / noise
    std = (added * noise_before / noise).sqrt()[:, None]
    truth_law = Normal(of_state[:, None] * x + of_data[:, None] * x0, std)
    pushed = Normal(of_state[:, None] * x + of_data[:, None] * guess, std)
    truth = kl_divergence(truth_law, pushed).sum(1)
    if torch.allclose(given, truth, rtol=1e-6):
        return passed("the divergence of the two normal laws is the same at six steps.")
    start = f"at one step the KL is {float(truth[0]):.3f}, and yours {float(given[0]):.3f}: "
    if torch.allclose(given, -truth, rtol=1e-6):
        return not_yet(start + "the sign is wrong; the step before has the higher SNR.")
    if torch.allclose(given, 2 * truth, rtol=1e-6):
        return not_yet(start + "a factor 1/2 is missing.")
    if torch.allclose(given, truth / 3, rtol=1e-6):
        return not_yet(start + "you average over the coordinates; their KLs add up.")
    ratio = given / truth
    if torch.allclose(ratio * (guess - x0).norm(dim=1), torch.ones(6).double(), rtol=1e-6):
        return not_yet(start + "the distance enters squared.")
    if torch.allclose(ratio, (snr_before / snr).log() / (snr_before - snr), rtol=1e-6):
        return not_yet(start + "you take the fall of the log-SNR; it is the SNR's own.")
    return not_yet(start + "is it half the fall of the SNR, times a squared distance?")


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


def _rows_by_quadrature(log_snr: list[float]) -> list[float]:
    """Average each term over datum and noise by Gauss's three points: exact for squares."""
    points = [(-math.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (math.sqrt(3.0), 1 / 6)]
    rows, before = [], None
    for value in log_snr:
        a, s = (1 + math.exp(-value)) ** -0.5, (1 + math.exp(value)) ** -0.5
        row = prior = 0.0
        for u, weight_u in points:
            x0 = MEAN + math.sqrt(VARIANCE) * u
            at_last = Normal(torch.tensor(a * x0), torch.tensor(s))
            prior += weight_u * float(kl_divergence(at_last, Normal(0.0, 1.0)))
            for e, weight_e in points:
                x = a * x0 + s * e
                precision = 1 / VARIANCE + a * a / (s * s)
                guess = (MEAN / VARIANCE + a * x / (s * s)) / precision
                if before is None:
                    law = Normal(torch.tensor(guess), torch.tensor(s / a))
                    term = -float(law.log_prob(torch.tensor(x0)))
                else:
                    a1, s1 = before
                    keep = a / a1
                    added = s * s - keep * keep * s1 * s1
                    std = torch.tensor(math.sqrt(added) * s1 / s)
                    laws = [
                        Normal(torch.tensor((keep * s1 * s1 * x + a1 * added * d) / (s * s)), std)
                        for d in (x0, guess)
                    ]
                    term = float(kl_divergence(laws[0], laws[1]))
                row += weight_u * weight_e * term
        rows.append(row)
        before = (a, s)
    return [*rows, prior]


def _judge_elbo(answer: object) -> Verdict:
    width = (LOW - HIGH) / (STEPS - 1)
    rows = _rows_by_quadrature([HIGH + width * i for i in range(STEPS)])
    truth = math.fsum(rows)
    entropy = 0.5 * math.log(2 * math.pi * math.e * VARIANCE)
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"{truth:.4f} nats: {truth - entropy:.3f} above the entropy {entropy:.4f} of the "
        "data, lost by the posterior's variance and by few steps.",
        wrong={
            truth - rows[0]: "The decoder's row -log p(x | x_1) is missing: a density can exceed "
            "1, so that row may be negative.",
            entropy: "That is the entropy of the data; this model, with the posterior's variance "
            "and few steps, does not reach it.",
            -truth: "That is the ELBO itself; its negative is asked for.",
            truth / math.log(2.0): "You give bits; nats are asked for.",
            2 * truth - rows[0]: "Only the sum of the KLs has a factor 1/2 inside; is it there?",
        },
        otherwise=f"The rows add up: decoder, {STEPS - 1} KLs, last row. None but the decoder's "
        f"is negative, and the sum cannot lie below the entropy {entropy:.4f}.",
    )


def score_from_velocity(x: Tensor, v: Tensor, a: Tensor, s: Tensor) -> Tensor:
    """Turn v = a e - s x0 into -e / s: x and v (B, D), a and s (B,) -> (B, D)."""
    a, s = a[:, None], s[:, None]
    return -(s * x + a * v) / s


def _from(rule: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, v, a, s: rule(x, v, a[:, None], s[:, None])


def _judge_score(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(8)
    x0, e = (torch.randn(5, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    angle = 0.2 + 1.2 * torch.rand(5, generator=generator, dtype=torch.float64)
    a, s = angle.cos(), angle.sin()
    x = (a[:, None] * x0 + s[:, None] * e).requires_grad_()
    log_law = Normal(a[:, None] * x0, s[:, None]).log_prob(x).sum()
    (truth,) = torch.autograd.grad(log_law, x)
    v = a[:, None] * e - s[:, None] * x0
    given = as_tensor(answer(x.detach(), v, a, s), (5, 2))
    if torch.allclose(given, truth, atol=1e-8):
        return passed("automatic differentiation of log q(x | x0) gives the same score.")
    start = f"one score is {float(truth[0, 0]):.3f}, and yours {float(given[0, 0]):.3f}: "
    if torch.allclose(given, -truth, atol=1e-8):
        return not_yet(start + "the sign is wrong; the score points away from the noise.")
    if torch.allclose(given, e, atol=1e-8):
        return not_yet(start + "that is the noise e itself; divide by -s.")
    if torch.allclose(given, -e / s[:, None] ** 2, atol=1e-8):
        return not_yet(start + "you divide by the variance; e is already one deviation long.")
    if torch.allclose(given, x0, atol=1e-8):
        return not_yet(start + "that is x0; eliminate x0 instead of e.")
    mixed = -(s[:, None] * x.detach() - a[:, None] * v) / s[:, None]
    if torch.allclose(given, mixed, atol=1e-8):
        return not_yet(start + "does your v stand for s x0 - a e? Here it is a e - s x0.")
    return not_yet(start + "solve x = a x0 + s e and v = a e - s x0 for e first.")


def calls() -> tuple[int, int]:
    """Count the calls of the net for one loss of one datum, and for one sample."""
    return 1, GRID


def _judge_calls(answer: object) -> Verdict:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return not_yet("two numbers are asked for: (one loss, one sample).")
    loss, sample = as_number(answer[0]), as_number(answer[1])
    counted = sum(1 for _ in range(GRID, 0, -1))  # x_T to x_1, each made by the call before
    if (loss, sample) == (1, counted):
        return passed(f"1 and {counted}: x_i is drawn from x_0 in one go, but pushed step by step.")
    if (loss, sample) == (counted, counted):
        return not_yet("the loss draws one step at random; x_i comes from x_0 in one go.")
    if (loss, sample) == (counted, 1):
        return not_yet("the wrong way round: which of the two has the clean datum at hand?")
    if (loss, sample) == (1, 1):
        return not_yet("a sample starts from noise; x_{i-1} is needed before the net is called.")
    return not_yet("count the states at which the net is asked; the step to x_0 counts too.")


EXERCISES = (
    Exercise(
        name="ex16_1",
        ask="Write kl(guess, x0, snr_before, snr): the divergence, in nats, of the push from the "
        "posterior at the step from x_i to x_{i-1}, if the net guesses `guess` for the datum x0. "
        "Both have shape (B, D); snr_before = SNR_{i-1} and snr = SNR_i have shape (B,). It "
        "returns shape (B,).",
        judge=_judge_kl,
        hints=(
            "Both laws are normal with the same variance, so only the distance of the means is "
            "left.",
            "The means differ by of_data (guess - x0). Divide its square by twice the variance.",
            "Written with SNR = a**2 / s**2, of_data**2 / variance is a difference of two SNRs.",
        ),
        solution=kl,
        why="Each step loses what the SNR falls by, times half the squared error of the guess. "
        "Nothing else of the schedule enters.",
        wrong=(
            (_kl_like(_summed, lambda b, n: 0.5 * (n - b)), "the sign is wrong"),
            (_kl_like(_summed, lambda b, n: b - n), "1/2 is missing"),
            (_kl_like(lambda d: d.square().mean(1), lambda b, n: 0.5 * (b - n)), "you average"),
            (_kl_like(lambda d: d.norm(dim=1), lambda b, n: 0.5 * (b - n)), "enters squared"),
            (_kl_like(_summed, lambda b, n: 0.5 * (b / n).log()), "log-SNR"),
            (_kl_like(_summed, lambda b, n: 0.5 * n), "half the fall"),
        ),
        code=True,
    ),
    Exercise(
        name="ex16_2",
        ask=f"One-dimensional data N({MEAN}, {VARIANCE}) ({VARIANCE} is the variance), T = {STEPS} "
        f"steps, log-SNR falling evenly from {HIGH:g} at x_1 to {LOW:g} at x_T, a**2 + s**2 = 1. "
        "The net is the exact posterior mean, the steps keep the posterior's variance, and the "
        "decoder is N(guess, s_1**2 / a_1**2). What is the negative ELBO in nats, averaged over "
        "the data?",
        judge=_judge_elbo,
        hints=(
            "Average each row separately: the decoder, each divergence, and the last row.",
            "Under the exact mean the average squared error is Var(x0 | x_i), which is known for "
            "Gaussian data.",
            "So a middle row is half the fall of the SNR times that variance; the decoder has a "
            "log too.",
        ),
        solution=negative_elbo,
        why="Add the rows and compare with the entropy: each step costs half of r - 1 - log r, "
        "for r the exact reverse variance over the posterior's. More steps bring r to 1.",
        wrong=(
            (3.481, "decoder's row"),
            (0.81695, "the entropy of the data;"),
            (-1.8956, "That is the ELBO itself"),
            (2.7348, "You give bits"),
        ),
    ),
    Exercise(
        name="ex16_3",
        ask="Write score_from_velocity(x, v, a, s): a net predicts v = a e - s x0 at x = a x0 + "
        "s e, with a**2 + s**2 = 1. Return the score that this stands for, -e / s. x and v have "
        "shape (B, D), a and s shape (B,); s is a deviation.",
        judge=_judge_score,
        hints=(
            "Two linear equations, x and v, in two unknowns, x0 and e: solve for e.",
            "Multiply x by s and v by a, and add: x0 drops out.",
            "The factor in front of e is then a**2 + s**2. Give a and s a second dimension.",
        ),
        solution=score_from_velocity,
        why="(x, v) is (x0, e) turned by an angle, so turning back gives e = s x + a v.",
        wrong=(
            (_from(lambda x, v, a, s: (s * x + a * v) / s), "points away"),
            (_from(lambda x, v, a, s: s * x + a * v), "noise e itself"),
            (_from(lambda x, v, a, s: -(s * x + a * v) / s**2), "by the variance"),
            (_from(lambda x, v, a, s: a * x - s * v), "that is x0"),
            (_from(lambda x, v, a, s: -(s * x - a * v) / s), "does your v stand"),
        ),
        code=True,
    ),
    Exercise(
        name="ex16_4",
        ask=f"A model of T = {GRID} steps. How often is the net called for one training loss of "
        "one datum, and for one sample by the ancestral chain? Answer (loss, sample).",
        judge=_judge_calls,
        hints=(
            "What must be known before the net can be called at x_i?",
            "When you train, x_0 is at hand: how many pulls lead to x_i, at the least?",
            "When you sample, x_{i-1} comes out of the call at x_i.",
        ),
        solution=calls,
        why="The pull composes into one normal law, so a loss looks at one random step. The push "
        "does not compose: its mean is a network's.",
        wrong=(
            ((1000, 1000), "one step at random"),
            ((1000, 1), "wrong way round"),
            ((1, 1), "starts from noise"),
            ((1, 999), "to x_0 counts too"),
        ),
    ),
)

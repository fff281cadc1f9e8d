"""Lesson 20: the weight of a random cut, where draws fall, a target for slopes, a hidden ripple."""

import math

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Open

OMEGA, SMALLEST, AT = 2.0, 1e-4, 1e-3
LOW, HIGH = 1e-5, 10.0
SIZE, RATE_MIN, RATE_GROWTH = 0.2, 0.1, 19.9


def weight() -> float:
    """Give P(cut <= t) for a density proportional to cut**-2 between 1e-4 and 1."""
    return (1 / SMALLEST - 1 / AT) / (1 / SMALLEST - 1)


def _weight_by_sums(cells: int = 200_000) -> float:
    """Add up the density over many cells that are even in the log."""
    logs = torch.linspace(math.log(SMALLEST), 0.0, cells + 1, dtype=torch.float64)
    middle = (0.5 * (logs[1:] + logs[:-1])).exp()
    mass = middle ** (1 - OMEGA)
    return float(mass[middle <= AT].sum() / mass.sum())


ex20_1 = Exercise(
    "(1e4 - 1e3) / (1e4 - 1)",
    "The weight of time t is the probability that the cut lies below t.",
    "Integrate cut**-2 from the smallest cut to t, and divide by the integral over all cuts.",
    "The integral of cut**-2 is 1 / low - 1 / high.",
    why="(1 / low - 1 / t) / (1 / low - 1 / high): steep laws put almost full weight on almost "
    "every time.",
    oracle=lambda: _weight_by_sums(),
    atol=1e-3,
    right="sums over 200000 cells give {truth:.4f} too.",
    wrong={
        0.0991: "That is the share of cuts above t; the integrand counts where the cut is below.",
        0.25: "That is the law with omega = 1, even in the logarithm.",
        0.0009: "That is a uniform cut; here small cuts are far more likely.",
        0.6838: "That is the law with omega = 1.5; here omega is 2.",
        1.0: "Nearly, but not all cuts lie below t; three digits are compared.",
    },
    otherwise="The weight is the distribution function of the cut at t.",
)


def share_above() -> float:
    """Give the mean share of draws above s = 1 for log10(cut) uniform on [-5, 0]."""
    return math.log(6.0) / 5.0


def _share_by_draws(cells: int = 100_000) -> float:
    """Average, over cuts even in the log, the share of even log levels above 1."""
    log_cut = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells * 5.0 - 5.0
    return float((1.0 / (1.0 - log_cut)).mean())


ex20_2 = Exercise(
    "math.log(6) / 5",
    "For one cut, the draws are even in log s from the cut to 10: what share lies above 1?",
    "Measure in decades. Above 1 lies one decade, of 1 - log10(cut) in all.",
    "Average 1 / u over u = 1 - log10(cut), which is uniform between 1 and 6.",
    why="The mean of 1 / u is log(6) / 5, not one over the mean of u. Hard truncation has 1 / 6: "
    "the random cut more than doubles the draws that decide where the samples go.",
    oracle=lambda: _share_by_draws(),
    atol=2e-3,
    right="an average over 100000 cuts gives {truth:.4f}; a hard cut at 1e-5 has 0.1667.",
    wrong={
        0.1667: "That is the hard cut at 1e-5, whose range is always six decades.",
        0.2857: "That is one over the mean length of the range; the mean of 1 / length is asked.",
        0.5: "That is the share for one cut at 0.1; average over all cuts.",
        1.7918: "You forgot to divide by the five decades over which the cut is drawn.",
        0.7782: "You mix log10 and the natural logarithm: the integral of 1 / u is log u.",
    },
    otherwise="Average, over the law of the cut, one decade over the length of the range.",
)


def second_target(noise: Tensor, score: Tensor, s: float) -> Tensor:
    """Give what s**2 times the divergence of the score is the mean of, (B, D) -> (B,)."""
    left = noise + s * score
    return left.square().sum(1) - noise.shape[1]


def _rows() -> list[tuple]:
    generator = torch.Generator().manual_seed(7)
    cases = []
    for d, s in ((1, 0.5), (3, 0.2), (5, 1.5)):
        noise = torch.randn(6, d, generator=generator, dtype=torch.float64)
        score = torch.randn(6, d, generator=generator, dtype=torch.float64)
        cases.append((noise, score, s))
    return cases


def _by_autograd(noise: Tensor, score: Tensor, s: float) -> Tensor:
    """Second derivatives of a normal density's ratio, less the squared score, summed."""
    total = torch.zeros(len(noise), dtype=noise.dtype)
    for j in range(noise.shape[1]):
        shift = torch.zeros((), dtype=noise.dtype, requires_grad=True)
        density = (-0.5 * (noise[:, j] + shift / s) ** 2 + 0.5 * noise[:, j] ** 2).exp()
        for i, value in enumerate(density):
            (first,) = torch.autograd.grad(value, shift, create_graph=True)
            (second,) = torch.autograd.grad(first, shift, retain_graph=True)
            # The mean noise is -s score: p''/p - 2 score p'/p + score**2 on average is log p''.
            pulled = second - 2 * score[i, j] * first + score[i, j] ** 2
            total[i] += (s**2 * pulled).detach()
    return total


ex20_3 = Exercise(
    second_target,
    "Only the part of the noise that the score does not know counts.",
    "That part is noise + s * score: the score points against the noise. How long would it be, "
    "squared, if it were plain standard noise in D dimensions?",
    "Square it, add up the D coordinates, and take D from the sum.",
    why="s**2 times the divergence of the score is E[|l|**2 - D] with l = noise + s score. On the "
    "line this is the formula of section 8; in D dimensions the coordinates add up.",
    cases=_rows,
    oracle=_by_autograd,
    right="the derivatives of a normal density, by automatic differentiation, agree in one, three "
    "and five dimensions.",
    wrong={
        " - noise.shape[1] ->": "without noise's own share: for plain standard noise the target "
        "must be 0 on average, so D is taken off.",
        "noise.shape[1] -> 1": "you take off 1, which is right on the line only.",
        "noise + s * score -> noise": "that is the noise itself; take off what the score knows.",
        "noise + s * score -> noise - s * score": "the score points against the noise: "
        "E[noise] = -s score.",
        "noise + s * score -> noise + score": "the score must be multiplied by s before it is "
        "added to the noise.",
        "sum(1) -> mean(1)": "you average over the dimensions; a divergence adds them up.",
        "return left -> return (1 / s**2) * left": "that divides a part by s**2; the target "
        "belongs to s**2 times the divergence.",
    },
    otherwise="the target is |l|**2 - D with l = noise + s score.",
)


def hidden_error() -> float:
    """Give J of a ripple of size 0.2 and very high frequency."""
    return 0.5 * SIZE**2 / 2 * (RATE_MIN + RATE_GROWTH / 2)


def _fast_ripple(k: float = 3000.0, cells: int = 400_000) -> float:
    """Average the squared ripple over a normal law, and the rate over time, by sums."""
    x = torch.linspace(-8, 8, cells + 1, dtype=torch.float64)
    p = (-0.5 * x**2).exp() / math.sqrt(2 * math.pi)
    square = float(torch.trapezoid(p * (SIZE * (k * x).sin()) ** 2, x))
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    return 0.5 * square * float(torch.trapezoid(RATE_MIN + RATE_GROWTH * t, t))


ex20_4 = Exercise(
    "0.5 * 0.2**2 / 2 * 10.05",
    "Where the ripple turns much faster than the density changes, its square averages to...",
    "The mean of a squared sine is 1/2, whatever the density.",
    "What is left is half the integral of beta = 0.1 + 19.9 t from 0 to 1, which is 10.05, times "
    "that mean square.",
    why="J = 1/2 * 10.05 * 0.2**2 / 2. It does not depend on k: training cannot see how fast a "
    "ripple is.",
    oracle=lambda: _fast_ripple(),
    atol=1e-3,
    right="sums over a fine grid with k = 3000 give {truth:.4f} too.",
    wrong={
        0.201: "The mean of a squared sine is 1/2, which is missing; or the factor 1/2 of J is.",
        0.402: "Both factors 1/2 are missing: that of J, and the mean of a squared sine.",
        0.0251: "That is the ripple of size 0.1; here it is twice as high.",
        0.05025: "One factor 1/2 too many.",
        0.0: "The ripple averages to zero, its square does not.",
    },
    otherwise="J is half the integral of beta, times the mean square of the ripple.",
)


ex20_5 = Open(
    "Change the data, not the training: three bumps of deviation 0.02 in place of 0.15. Which "
    "levels decide now whether a bump has its shape?",
    "Compare arms on one range of levels, with one budget of steps, over several seeds. Look at "
    "the error by level before you look at a total.",
    "A law of the cut puts its weight P(cut <= s) on level s. Choose it so that the weight is "
    "about 1 from the deviation of a bump upwards, and small where nothing is to be learned.",
    answer="We thought levels from 0.005 to 0.3 matter, and drew cuts even in log s between "
    "0.002 and 0.1, without the factor of the range (three seeds, 1200 steps). The samples gained: "
    "W1 was 0.03 to 0.04, against 0.08 to 0.14 with the hard cut at 1e-5 and 0.07 to 0.08 with "
    "omega = 1. But J was 5 to 11, against 0.4 to 0.7 and 0.7 to 0.8: below 0.002 the network had "
    "never looked, and it does not extend there by itself. The design was the short cut in "
    "disguise. So keep some weight on every level of the range that you report; a share of the "
    "cuts at the finest level is what we would try next. W1 on the line sees mostly how much mass "
    "each bump has; only the error by level sees whether a bump has its shape.",
)

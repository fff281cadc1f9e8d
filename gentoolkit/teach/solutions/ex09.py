"""Lesson 09: the floor of a loss, one stretch for two tails, a tail index, a trap of boosting."""

import math

import numpy as np
import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Open

CORRELATION, SCALE = 0.7, 4.0


def _floor() -> float:
    """Integrate -p log p of each marginal, and the copula's c log c over normal coordinates."""
    x = torch.linspace(-200, 200, 400_001)
    laplace = torch.exp(-x.abs() / SCALE) / (2 * SCALE)
    first = torch.trapezoid(torch.special.entr(laplace), x)
    angle = torch.linspace(-math.pi / 2, math.pi / 2, 200_003)[1:-1]  # x = tan(angle) is Cauchy
    second = math.log(math.pi) - 2 * angle.cos().log().mean()
    eps = torch.linspace(-8, 8, 801)
    a, b = eps[:, None], eps[None, :]
    rest = 1 - CORRELATION**2
    log_c = -0.5 * math.log(rest)
    log_c = log_c - (CORRELATION**2 * (a * a + b * b) - 2 * CORRELATION * a * b) / (2 * rest)
    mass = torch.exp(log_c - (a * a + b * b) / 2) / (2 * math.pi) * (eps[1] - eps[0]) ** 2
    return float(first + second - (mass * log_c).sum())


_entropies = 1 + math.log(2 * SCALE) + math.log(4 * math.pi)
_shared = -0.5 * math.log(1 - CORRELATION**2)

ex09_1 = Exercise(
    "1 + math.log(8) + math.log(4 * math.pi) - 0.5 * math.log(1 / 0.51)",
    "The least loss is the entropy of the target. Take the logarithm of Sklar's formula first.",
    "The entropy of the joint law is the sum of the marginals' entropies less E[log c].",
    "For jointly normal numbers E[log c] = -log(1 - r^2) / 2: take the mean of log c under the "
    "correlated normal law, where the quadratic forms have equal means.",
    why="-E[log p] = H_1 + H_2 - E[log c]. The quadratic terms of E[log c] are (2 - 2)/2 = 0, so "
    "what is left is -log(det)/2 = -log(1 - 0.49)/2 = 0.337.",
    oracle=_floor,
    right="the floor is {truth:.4f} nats: no model can be below it, whatever its source.",
    wrong={
        _entropies: "That is the floor of independent coordinates; dependence can be learned too.",
        _entropies + _shared: "The shared information is subtracted: knowing one coordinate saves "
        "code for the other.",
        _entropies - 2 * _shared: "E[log c] carries a factor 1/2: it is the log of a determinant's "
        "root.",
        _entropies - _shared - math.log(SCALE): "The Laplace law has scale 4, and a stretch by 4 "
        "adds log 4 to its entropy.",
    },
    otherwise="Add two entropies, and subtract the mean of log c.",
    atol=2e-3,
)


def _t2_beyond(r: float) -> float:
    """Integrate the density of |t_2| from r by a substitution, without its closed form."""
    v = torch.linspace(0, 1 / r, 200_001)  # x = 1/v; the density 2 (2 + x^2)^(-3/2) dx
    return float(torch.trapezoid(2 * v / (1 + 2 * v * v) ** 1.5, v))


def _one_stretch() -> tuple[float, float]:
    low, high = 1.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        enough = math.erfc(30 / middle / math.sqrt(2)) > _t2_beyond(30.0)
        low, high = (low, middle) if enough else (middle, high)
    return low, 1e6 * _t2_beyond(300.0)


ex09_2 = Exercise(
    "(9.199, 1e6 * (1 - 300 / math.sqrt(2 + 300 ** 2)))",
    "Find P(|t_2| > 30) first, then the number of deviations that a normal law needs for it.",
    "The t_2 law has the distribution function 1/2 + x / (2 sqrt(2 + x^2)).",
    "Solve 2 (1 - Phi(30 / L)) = 1 - 30 / sqrt(902) for L, and evaluate 1 - 300 / sqrt(90002).",
    why="The two-sided tail is 1 - r / sqrt(2 + r^2), near r^-2: 0.0011093 at 30. A normal law has "
    "that probability beyond 3.26 deviations, so L = 30 / 3.26 = 9.20. Beyond 300 are 32.6 "
    "deviations of this normal law: about 1e-233, where t_2 has 1.1e-5.",
    oracle=_one_stretch,
    parts="L, t_2 draws of a million beyond 300",
    atol=0.02,
    right="L = {truth[0]:.2f}, and {truth[1]:.1f} of a million. That normal law has none in 1e200.",
    wrong={
        (9.805, 11.11): "You put the whole probability into one tail; |x| > 30 has two.",
        (9.199, 5.555): "You count one tail at 300, and the question has |x|.",
        (9.199, 1109.3): "That is the number beyond 30; a power tail of index 2 falls by a "
        "hundred over the next decade.",
        (9.199, 0.0): "That is the stretched normal law; the t_2 law still has some.",
    },
    otherwise="Both tails count, on both sides of the equation.",
)


def hill(r: Tensor, k: int) -> Tensor:
    """Estimate the tail index from the k largest of the distances r."""
    top = r.sort(descending=True).values[: k + 1]
    return 1.0 / (top[:k] / top[k]).log().mean()


def _hill(r: Tensor, k: int) -> float:
    """The same by numpy: the index that makes k exponential gaps most likely."""
    order = np.sort(r.numpy())[::-1]
    spacings = np.log(order[:k]) - np.log(order[1 : k + 1])
    return float(k / np.sum(np.arange(1, k + 1) * spacings))


def _distances() -> list[tuple]:
    power = torch.rand(2000).clamp_min(1e-9)
    return [(power ** (-1 / 2.0), 100), (3 * power ** (-1 / 1.3), 40), (torch.randn(500).abs(), 25)]


ex09_3 = Exercise(
    hill,
    "If P(r > a) = (a / s)^-nu beyond a point s, what law does log(r / s) have beyond it?",
    "log(r / s) is exponential with the rate nu, and the best estimate of a rate is one over the "
    "mean.",
    "Sort. The (k + 1)-th largest distance plays the part of s; average the k logarithms of ratios "
    "to it.",
    why="Beyond s the logarithm of a power law is exponential with rate nu. Its mean is 1/nu.",
    oracle=_hill,
    cases=_distances,
    right="the estimate agrees, near 2 and 1.3 on exact power laws. On normal numbers it says only "
    "how steep the tail is there.",
    wrong={
        "1.0 / (top[:k] / top[k]).log().mean() -> (top[:k] / top[k]).log().mean()": "That is one "
        "over the index: the mean of an exponential variable is one over its rate.",
        "top[k]). -> top[0]).": "The ratio is to the smallest distance of the top, not to the "
        "largest.",
        ": k + 1] -> -k - 1 :]": "Those are the smallest distances; the tail is at the other end.",
        "top[:k] / top[k]).log().mean() -> top[:k] / top[k]).mean().log()": "Average the "
        "logarithms, not the ratios: a ratio of a heavy tail may have no mean.",
    },
    otherwise="Sort downwards, take k logarithms of ratios to the (k + 1)-th, average, invert.",
)


def _trapped() -> float:
    """Average over the weighted law by quadrature."""
    x = torch.linspace(-40, 40, 80_001)
    log_p = torch.logsumexp(torch.stack([-((x - m) ** 2) / 2 for m in (-3.0, 3.0)]), 0)
    weighted = (log_p + x * x / 20).exp()
    return float((weighted * x * x).sum() / weighted.sum())


ex09_4 = Exercise(
    "1 / 0.9 + (3 / 0.9) ** 2",
    "The surrogate's best Gaussian has the mean and the variance of the law proportional to p / G.",
    "Each bump divided by G is a Gaussian again: subtract the precisions.",
    "A bump N(3, 1) over N(0, 10) has precision 1 - 1/10 and mean 3 / 0.9. Put the two bumps "
    "together: the variance within, plus the square of the distance from the middle.",
    why="Precision 0.9 gives variance 1.111 and means at 3.333 and -3.333; together 1.111 + 11.111 "
    "= 12.222, wider than G itself. So the new component is refused, and boosting stands still.",
    oracle=_trapped,
    right="{truth:.3f}: wider than the 10 of the mixture so far, so the weight search refuses it.",
    wrong={
        10.0: "That is the variance of the data: every point kept the same weight.",
        1.111: "That is one bump of the weighted law; one Gaussian has to cover both of them.",
        1.0: "That is one mode. The weighted likelihood averages over both, and picks none.",
        10.9008: "You added the precisions; dividing by G subtracts its precision.",
        11.111: "The spread within each bump is missing.",
    },
    otherwise="Divide the densities, not the points: p / G, then its variance.",
)


ex09_5 = Open(
    "Which runs would the authors' code have dropped, and what does that do to the mean?",
    "Count the dropped ones as at least the threshold, and recompute. Then ask which number could "
    "not be moved by a few such runs.",
    "(83 x 4.41 + 17 x 25) / 100 is a lower bound. Medians and counts need no such repair.",
    answer="With the 17 runs counted as 25, the least they can be, the mean is (83 x 4.41 + 17 "
    "x 25)/100 = 7.91 in place of 4.41; nothing bounds it from above. The printed deviation of "
    "1.44 is no measure either: it belongs to the runs that behaved. The claim, that the normal "
    "source is worse and less steady, is then stronger than the table says. A fair report gives "
    "the median of all 100 runs, two quantiles, and the number above a threshold that was fixed "
    "beforehand, and it scores every source on the same test points, since a few far points "
    "decide the mean.",
)

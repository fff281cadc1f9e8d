"""Lesson 16: a push of another width, the bound of Gaussian data, a score from v, a weight in t."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gentoolkit.teach.exercise import Exercise, Open

MEAN, VARIANCE = 0.7, 0.3
STEPS, HIGH, LOW = 8, 6.0, -2.0


def kl(guess: Tensor, x0: Tensor, snr_before: Tensor, snr: Tensor, ratio: Tensor) -> Tensor:
    """Give the nats lost in one step: guess and x0 (B, D), the others (B,) -> (B,)."""
    of_mean = 0.5 * (snr_before - snr) * (guess - x0).square().sum(dim=1) / ratio
    of_width = 0.5 * x0.shape[1] * (1 / ratio - 1 + ratio.log())
    return of_mean + of_width


def _widened(guess: Tensor, x0: Tensor, before: Tensor, now: Tensor, ratio: Tensor) -> Tensor:
    exact, push = _bayes(torch.randn(6, 3), (x0, guess), now[:, None], before[:, None])
    wide = Normal(push.mean, push.stddev * ratio[:, None].sqrt())
    return kl_divergence(exact, wide).sum(1)


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
    "Write log p - log p' for two normal laws of different variances, and average under p.",
    "Under p the average of |x - m'|**2 is D var + |m - m'|**2; divide it by 2 ratio var.",
    "The normalisers no longer cancel: they leave D / 2 times the log of the ratio.",
    why="The distance of the means counts in the push's own deviations, so it is divided by the "
    "ratio. The mismatch of the widths costs D / 2 (1 / ratio - 1 + log ratio), which is zero "
    "at ratio 1 only.",
    cases=lambda: [
        (
            *torch.randn(2, 6, 3),
            *torch.linspace(4.0, -5.0, 7).exp().unfold(0, 6, 1),
            0.5 + 2 * torch.rand(6),
        )
    ],
    oracle=_widened,
    right="the divergence of the two normal laws is the same at six steps.",
    wrong={
        "0.5 * (snr_before -> -0.5 * (snr_before": "the sign of the first part is wrong; the step "
        "before has the higher SNR.",
        "sum(dim=1) / ratio -> sum(dim=1)": "the distance of the means counts in deviations of the "
        "push, which is wider.",
        "sum(dim=1) / ratio -> sum(dim=1) * ratio": "a wider push makes the same distance of the "
        "means cost less, not more.",
        "return of_mean + of_width -> return of_mean": "only the means are compared; the widths "
        "differ too.",
        "0.5 * x0.shape[1] * -> 0.5 *": "each of the D coordinates pays for the wrong width.",
        "1 / ratio - 1 + ratio.log() -> ratio - 1 - ratio.log()": "that is the divergence of the "
        "posterior from the push; the average is over the posterior.",
        "square().sum( -> norm(": "the distance enters squared.",
        "(snr_before - snr) -> (snr_before / snr).log()": "you take the fall of the log-SNR; it is "
        "the SNR's own.",
    },
    otherwise="two parts: the squared distance of the means, and what the wrong width costs.",
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
    """Average each term over data point and noise by Gauss's three points: exact for squares."""
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
    atol=1e-3,
    right="as close as three digits are; Gauss's quadrature of every row gives {truth:.4f}. The "
    "entropy of the data is 0.8170: the rest is lost by the posterior's variance, by few levels, "
    "and by a last level that is not pure noise.",
    wrong={
        3.99108: "The decoder's row -log p(x | x_1) is missing: a density can exceed 1, so that "
        "row may be negative.",
        0.81695: "That is the entropy of the data; this model, with the posterior's variance and "
        "few steps, does not reach it.",
        2.35497: "The last row is missing, by how much the law of x_T differs from N(0, 1).",
        -2.40592: "That is the ELBO itself; its negative is asked for.",
        3.47101: "You give bits; nats are asked for.",
        6.34605: "Only the sum of the KLs has a factor 1/2 inside; is it there?",
        1.48698: "The decoder is a density: its normaliser has a log 2 pi.",
    },
    otherwise="The rows add up: decoder, 7 KLs, last row. None but the decoder's is negative, and "
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
    # A turn back gives the data point; then the score is a derivative of its noised law.
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


def _least_weight() -> tuple[float, float]:
    """Search the fall of the log-SNR over tiny steps of time."""
    t = torch.linspace(0.01, 0.99, 9801, dtype=torch.float64)
    log_snr = -2 * (0.5 * math.pi * t).tan().log()
    weight = 0.5 * torch.expm1(-log_snr.diff()) / (t[1] - t[0])
    i = int(weight.argmin())
    return float(t[i] + t[i + 1]) / 2, float(weight[i])


ex16_4 = Exercise(
    "0.5, math.pi",
    "In the bound a level counts half of e to the fall of its log-SNR, minus one. For small falls?",
    "The log-SNR is -2 log tan(pi t / 2). Differentiate it with respect to t.",
    "tan' / tan is 1 / (sin cos), and sin(u) cos(u) is half of sin(2 u): where is that largest?",
    why="Half of -d log_snr / dt is pi / sin(pi t): least, pi, at t = 1/2, and without bound at "
    "both ends. Weight one therefore neglects the ends.",
    oracle=lambda: _least_weight(),
    parts="time, weight",
    right="{truth} by a search over tiny steps of the schedule, too.",
    wrong={
        (0.5, 2 * math.pi): "The factor 1/2 of the divergence is missing.",
        (0.5, math.pi / 2): "You differentiate log(a / s); the log-SNR is twice that.",
        (0.5, 1.0): "You leave out the inner derivative, pi / 2, of the angle.",
        (0.5, -math.pi): "The log-SNR falls, and its fall is what counts: the weight is positive.",
        (1.0, math.pi): "At t = 1 the log-SNR falls without bound, so the weight is largest there.",
        (0.0, math.pi): "At t = 0 the log-SNR falls without bound, so the weight is largest there.",
    },
    otherwise="The weight is half of how fast the log-SNR falls with t.",
)


ex16_5 = Open(
    "Each level's step is one stair over the curve 'must be paid'. Which stairs stick out?",
    "A step wastes about half of its squared length times the height of the curve there, since "
    "exp(gap) - 1 is about gap + gap**2 / 2, less what the curve rises on the way.",
    "Where the curve is near zero a long step costs little: begin with one long step from -7, and "
    "spread the other levels over the rest. Then move single levels, and keep what helps.",
    answer="Ten even levels lose about 5.1 nats. A search over all choices from a grid of 0.2 "
    "(dynamic programming on the staircase) finds -7, -0.6, 0.6, 1.4, 2.2, 3.0, 3.8, 4.6, 5.4, 6, "
    "which loses about 2.5. One step covers almost half of the range: there the curve is close to "
    "zero, since noise hides everything, and a long stair over a low curve has little area. On the "
    "right the curve is flat at one nat per unit, so every stair sticks out by the same share and "
    "even steps are best there. Between, the stairs are short where the curve rises. The best "
    "choice depends on the data: other shapes are decided at other levels.",
)

"""Lesson 02: the two terms of the loss, the importance-weighted bound, and when it is tight."""

import math
from decimal import Decimal, localcontext

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like, Open

TABLE = ((1.0, 0.5), (0.2, 0.3), (0.6, 0.4))
JOINT = (0.10, 0.25, 0.15)


ex02_1 = Exercise(
    "((1.0 + 0.5) + (0.2 + 0.3) + (0.6 + 0.4)) / 3",
    "Write the KL of one image first: its two latent coordinates are independent.",
    "KLs of independent coordinates add up.",
    "Then the loss is the average over the images, so that it does not grow with them.",
    why="Sum over dimensions, because the KL of a product is a sum; mean over the batch, "
    "because the loss estimates an expectation over images.",
    oracle=lambda: math.fsum(map(math.fsum, TABLE)) / len(TABLE),
    right="{truth:.3f} nats an example: the latent dimensions add up, the batch is averaged.",
    wrong={
        0.5: "You averaged over the latent dimensions too: the KL of independent coordinates is a "
        "sum, and this one halves its weight against log p(x|z).",
        3.0: "You summed over the batch too: the loss would then grow with the batch.",
        1.5: "You averaged over the dimensions and summed over the batch: the wrong way round.",
    },
    otherwise="Which of the two dimensions is a sum of independent parts, which an average?",
)


def kl(m: Tensor, v: Tensor) -> Tensor:
    """KL(N(m, diag v) || N(0, I)) for means and variances (B, d) -> (B,)."""
    return 0.5 * (m**2 + v - 1.0 - torch.log(v)).sum(dim=1)


def _kl_by_quadrature(m: Tensor, v: Tensor) -> Tensor:
    """Integrate q (log q - log p) per coordinate on a grid of 12 deviations, then add."""
    unit = torch.linspace(-12.0, 12.0, 4001)
    z = m[..., None] + v.sqrt()[..., None] * unit
    log_ratio = 0.5 * (z**2 - unit**2 - v.log()[..., None])  # -log(2 pi) / 2 cancels
    return ((-0.5 * unit**2).softmax(0) * log_ratio).sum((-2, -1))


ex02_2 = Exercise(
    kl,
    "Per coordinate it is the average under q of log q(z) - log p(z).",
    "Under q, the average of z**2 is m**2 + v, and that of (z - m)**2 / v is 1.",
    "Collect half of four terms: m**2, v, a constant, and a log of v; then sum over d.",
    why="log q - log p is quadratic in z, and under q both squares have known averages. "
    "The result is zero at m = 0, v = 1 and positive everywhere else.",
    cases=lambda: [(torch.randn(5, 3), 0.2 + 2.0 * torch.rand(5, 3))],
    oracle=_kl_by_quadrature,
    right="quadrature gives the same KL for five random q, to six decimals.",
    wrong={
        "0.5 -> -0.5": "the sign is wrong; a KL is never negative.",
        "0.5 * ->": "a factor 1/2 is missing.",
        "sum( -> mean(": "you average over the latent dimensions; they add up.",
        "+ v -> + v**2; log(v) -> log(v**2)": "you read v as a deviation; it is a variance.",
        "- t -> - 2 * t": "the log term is counted twice; for a variance, 2 log s is log v.",
        "m**2 + v -> (m**2 + 1.0) / v; - torch -> + torch": "is it KL(q || p), with the average "
        "taken under q?",
        "- 1.0 ->": "it should be zero at m = 0, v = 1; is yours?",
    },
    otherwise="half a sum over d of m**2, v, a constant and a log: which is off?",
)


def bound(log_w: Tensor) -> Tensor:
    """Average K weights of each example inside the log: (K, B) -> (B,)."""
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


def _exact_bound(log_w: Tensor) -> Tensor:
    """Average the weights themselves, with fifty decimal digits and any exponent."""
    with localcontext() as context:
        context.prec = 50
        columns = [[Decimal(value).exp() for value in column] for column in log_w.T.tolist()]
        return torch.tensor([float((sum(c, Decimal(0)) / len(c)).ln()) for c in columns])


FAR = ([0.0] * 4, [-1000.0] * 4, [0.0, -1000.0, 1000.0, -3000.0])  # how far from 0, by example

ex02_3 = Exercise(
    bound,
    "The bound is the log of an average of weights, not an average of logs.",
    "The weights are exp(log_w), but exp(-1000) is 0 in floating point.",
    "torch.logsumexp adds the weights inside the log safely; what turns a sum into a mean?",
    why="By Jensen's inequality the log of the mean lies above the mean of the logs. "
    "logsumexp takes the largest log weight out before it exponentiates.",
    cases=lambda: [(2.0 * torch.randn(6, 4) - 3.0 + torch.tensor(far),) for far in FAR],
    oracle=_exact_bound,
    right="the log of the mean weight agrees to eight decimals, and near -1000 too.",
    wrong={
        (lambda w: w.mean(0)): "the mean of the logs is the ELBO; the mean goes inside the log.",
        (lambda w: w.logsumexp(0)): "you add K weights and never divide by K.",
        (lambda w: w.logsumexp(1) - math.log(w.shape[1])): "the K weights of one example stand "
        "in a column; you average over the batch.",
        (lambda w: w.exp().mean(0).log()): "right for small numbers, but log weights near -1000, "
        "common for images, come out as -inf: exp underflows. Which torch function does both at "
        "once?",
        (lambda w: (w - w.max()).exp().mean(0).log() + w.max()): "right while all examples are "
        "alike, but one greatest weight for the whole batch makes the others underflow: take out "
        "the greatest of each example.",
    },
    otherwise="average the weights, not their logs, over the first dimension.",
)


def _highest_bound() -> Tensor:
    """Climb the bound of one sample, in the logs of q: where it is highest it is log p(x)."""
    log_q = torch.zeros(3)
    for _ in range(100):
        log_q = (log_q + 0.5 * (torch.tensor(JOINT).log() - log_q)).log_softmax(0)
    return log_q.exp()


def _bounds(q: Tensor) -> str:
    """Enumerate all that one, two and four samples can be."""
    if q.min() <= 0 or abs(q.sum() - 1) > 1e-6:
        return f"your q sums to {q.sum():.4f}: "
    told = []
    for k in (1, 2, 4):
        drawn = torch.cartesian_prod(*[torch.arange(3)] * k).reshape(-1, k)
        chance = q[drawn].prod(1)
        log_mean = (torch.tensor(JOINT) / q)[drawn].mean(1).log()
        told.append(f"L_{k} = {chance @ log_mean:.4f}")
    return f"{', '.join(told)}, log p(x) = {math.log(sum(JOINT)):.4f}: "


ex02_4 = Exercise(
    "0.10 / 0.50, 0.25 / 0.50, 0.15 / 0.50",
    "The weights are w(z) = p(x, z) / q(z). When is an average of them certain?",
    "If all three weights are one and the same number, K does not matter.",
    "w constant means q proportional to the joint. What must q sum to?",
    why="ELBO <= bound with K samples <= log p(x), with equality throughout only for the "
    "posterior: then every weight is p(x) itself. Raising K repairs a poor q, and nothing "
    "else.",
    oracle=_highest_bound,
    start=_bounds,
    right="L_1 = L_2 = L_4 = log p(x) = -0.6931: every weight is p(x), so one sample says all.",
    wrong={
        Like((-0.2, 0.7, 0.5), lambda q: q.min() < 0): "a probability is negative; q must be a "
        "distribution over the three z.",
        Like(JOINT, lambda q: abs(q.sum() - 1) > 1e-6): "three probabilities sum to 1; do yours?",
        Like((0.0, 1.0, 0.0), lambda q: q.min() == 0): "this q never draws some z that the joint "
        "allows: the mean weight then misses its share of p(x), and the bound stays below log p(x) "
        "for every K.",
        (1 / 3, 1 / 3, 1 / 3): "the bound still rises with K. Which q makes every weight the same?",
    },
    otherwise="the bound still rises with K: your weights JOINT / q are not all the same.",
)


ex02_5 = Open(
    "Train as in section 1, with the same batches, steps and seed, and print the mean of "
    "`log_evidences(data.test, 64)` and of its `log_z`.",
    "Three seeds say more than one: the difference is of the order of a nat. Compare training "
    "images too.",
    "How many points would a grid of 161 in each of eight directions have? And which quantity of "
    "section 8 is still a bound without a grid?",
    answer="About one nat: in a run of 1,000 steps the ELBO on test images rose from -19.5 to "
    "-18.5 and the bound with 64 paths from -18.7 to -17.8; seeds differ by some tenths. Training "
    "images gain more, since eight numbers describe strokes of the 1,500 images that new ones do "
    "not have. The quadrature can no longer be run: 161 to the power 8 is more than 10^17 points. "
    "With it go the exact line of the panel, the reference of the curve, and the split into shape "
    "and network, whose first part is measured from the exact value. The bound with many paths "
    "takes its place: it lies below the truth, it rises with K, and where it stops rising the "
    "truth is likely near. A second, independent proposal, such as a wider encoder, checks it.",
)

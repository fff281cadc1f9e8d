"""Lesson 02: the two terms of the loss, the importance-weighted bound, and when it is tight."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from itertools import product

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Verdict, as_tensor, close, not_yet, passed

TABLE = ((1.0, 0.5), (0.2, 0.3), (0.6, 0.4))
JOINT = (0.10, 0.25, 0.15)


def kl_term() -> float:
    """Sum over the latent dimensions, average over the batch."""
    return float(torch.tensor(TABLE).sum(dim=1).mean())


def _judge_kl_term(answer: object) -> Verdict:
    per_example = [math.fsum(row) for row in TABLE]  # KL of a product is the sum of the KLs
    truth = math.fsum(per_example) / len(per_example)
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"{truth:.3f} nats an example: the latent dimensions add up, the batch is averaged.",
        wrong={
            truth / 2: "You averaged over the latent dimensions too: the KL of independent "
            "coordinates is a sum, and this one halves its weight against log p(x|z).",
            truth * 3: "You summed over the batch too: the loss would then grow with the batch.",
            truth * 1.5: "You averaged over the dimensions and summed over the batch: the wrong "
            "way round.",
        },
        otherwise="Which of the two dimensions is a sum of independent parts, which an average?",
    )


def kl_to_standard_normal(m: Tensor, v: Tensor) -> Tensor:
    """KL(N(m, diag v) || N(0, I)) for means and variances (B, d) -> (B,)."""
    return 0.5 * (m**2 + v - 1.0 - torch.log(v)).sum(dim=1)


def _v_as_deviation(m: Tensor, v: Tensor) -> Tensor:
    return 0.5 * (m**2 + v**2 - 1.0 - 2.0 * torch.log(v)).sum(dim=1)


def _without_half(m: Tensor, v: Tensor) -> Tensor:
    return (m**2 + v - 1.0 - torch.log(v)).sum(dim=1)


def _negative(m: Tensor, v: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.log(v) - m**2 - v).sum(dim=1)


def _reversed(m: Tensor, v: Tensor) -> Tensor:
    return 0.5 * ((1.0 + m**2) / v - 1.0 + torch.log(v)).sum(dim=1)


def _mean_over_dimensions(m: Tensor, v: Tensor) -> Tensor:
    return 0.5 * (m**2 + v - 1.0 - torch.log(v)).mean(dim=1)


def _kl_by_quadrature(m: Tensor, deviation: Tensor) -> Tensor:
    """Integrate q (log q - log p) per coordinate on a grid of 12 deviations, then add."""
    unit = torch.linspace(-12.0, 12.0, 4001, dtype=torch.float64)
    z = m[..., None] + deviation[..., None] * unit
    log_q = -0.5 * unit**2 - torch.log(deviation)[..., None]
    log_p = -0.5 * z**2  # both lack -log(2 pi) / 2, which cancels
    weight = torch.exp(-0.5 * unit**2)
    integrand = weight / weight.sum() * (log_q - log_p)
    return integrand.sum(-1).sum(-1)


def _log_twice(m: Tensor, v: Tensor) -> Tensor:
    return 0.5 * (v + m.square() - 1.0 - 2.0 * v.log()).sum(1)


def _without_constant(m: Tensor, v: Tensor) -> Tensor:
    return 0.5 * (v + m.square() - v.log()).sum(1)


def _judge_kl(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(7)
    m = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    v = 0.2 + 2.0 * torch.rand(5, 3, generator=generator, dtype=torch.float64)
    given = as_tensor(answer(m, v), (5,))
    truth = _kl_by_quadrature(m, v.sqrt())
    if torch.allclose(given, truth, atol=1e-6):
        return passed("quadrature gives the same KL for five random q, to six decimals.")
    start = f"for one random q the KL is {float(truth[0]):.3f}, and yours {float(given[0]):.3f}: "
    if torch.allclose(given, -truth, atol=1e-6):
        return not_yet(start + "the sign is wrong; a KL is never negative.")
    if torch.allclose(given, 2 * truth, atol=1e-6):
        return not_yet(start + "a factor 1/2 is missing.")
    if torch.allclose(given, truth / 3, atol=1e-6):
        return not_yet(start + "you average over the latent dimensions; they add up.")
    if torch.allclose(given, _kl_by_quadrature(m, v), atol=1e-6):
        return not_yet(start + "you read v as a deviation; it is a variance.")
    if torch.allclose(given, truth - 0.5 * v.log().sum(1), atol=1e-6):
        return not_yet(start + "the log term is counted twice; for a variance, 2 log s is log v.")
    at_the_source = as_tensor(answer(torch.zeros_like(m), torch.ones_like(v)), (5,))
    if bool((at_the_source.abs() > 1e-6).any()):
        return not_yet(start + "it should be zero at m = 0, v = 1; is yours?")
    return not_yet(start + "is it KL(q || p), with the average taken under q?")


def importance_bound(log_w: Tensor) -> Tensor:
    """Average K weights of each example inside the log: (K, B) -> (B,)."""
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


def _mean_of_logs(log_w: Tensor) -> Tensor:
    return log_w.mean(dim=0)


def _missing_log_k(log_w: Tensor) -> Tensor:
    return torch.logsumexp(log_w, dim=0)


def _over_the_batch(log_w: Tensor) -> Tensor:
    return torch.logsumexp(log_w, dim=1) - math.log(log_w.shape[1])


def _overflowing(log_w: Tensor) -> Tensor:
    return log_w.exp().mean(dim=0).log()


def _exact_bound(log_w: Tensor) -> Tensor:
    """Average the weights themselves, with fifty decimal digits."""
    with localcontext() as context:
        context.prec = 50
        columns = [
            sum((Decimal(float(value)).exp() for value in column), Decimal(0)) / len(column)
            for column in log_w.T
        ]
        return torch.tensor([float(mean.ln()) for mean in columns], dtype=torch.float64)


def _judge_bound(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(11)
    log_w = 2.0 * torch.randn(6, 4, generator=generator, dtype=torch.float64) - 3.0
    given = as_tensor(answer(log_w), (4,))
    truth = _exact_bound(log_w)
    if torch.allclose(given, truth, atol=1e-8):
        low = log_w - 1000.0
        deep = torch.as_tensor(answer(low)).to(torch.float64)
        if not torch.allclose(deep, _exact_bound(low), atol=1e-8):
            return not_yet(
                "right for small numbers, but log weights near -1000, common for images, come out "
                f"as {float(deep[0]):g}: exp underflows. Which torch function does both at once?"
            )
        return passed("the log of the mean weight agrees to eight decimals, and near -1000 too.")
    start = f"for one example the bound is {float(truth[0]):.3f}, and yours {float(given[0]):.3f}: "
    if torch.allclose(given, log_w.mean(0), atol=1e-8):
        return not_yet(start + "the mean of the logs is the ELBO; the mean goes inside the log.")
    if torch.allclose(given, truth + math.log(6), atol=1e-8):
        return not_yet(start + "you add K weights and never divide by K.")
    return not_yet(start + "average the weights, not their logs, over the first dimension.")


def tight_q() -> tuple[float, float, float]:
    """Normalise the joint over z: the posterior."""
    evidence = sum(JOINT)
    return JOINT[0] / evidence, JOINT[1] / evidence, JOINT[2] / evidence


def _bound_by_enumeration(q: list[float], k: int) -> float:
    total = 0.0
    for drawn in product(range(3), repeat=k):
        probability = math.prod(q[z] for z in drawn)
        if probability > 0.0:
            total += probability * math.log(sum(JOINT[z] / q[z] for z in drawn) / k)
    return total


def _judge_tight_q(answer: object) -> Verdict:
    q = as_tensor(answer, (3,)).tolist()
    if min(q) < 0.0:
        return not_yet("a probability is negative; q must be a distribution over the three z.")
    if abs(sum(q) - 1.0) > 1e-6:
        return not_yet(f"your q sums to {sum(q):.4f}; three probabilities sum to 1.")
    if min(q) == 0.0:
        return not_yet(
            "your q never draws some z that the joint allows: the mean weight then misses its "
            "share of p(x) for every K."
        )
    evidence = math.log(sum(JOINT))
    one, two, four = (_bound_by_enumeration(q, k) for k in (1, 2, 4))
    told = f"L_1 = {one:.4f}, L_2 = {two:.4f}, L_4 = {four:.4f}, log p(x) = {evidence:.4f}"
    if evidence - one < 1e-6:
        return passed(f"{told}: every weight is p(x), so one sample says all.")
    return not_yet(f"{told}: the bound still rises with K. Which q makes every weight the same?")


EXERCISES = (
    Exercise(
        name="ex02_1",
        ask="For a batch of three images and two latent dimensions the KL of each coordinate is "
        f"{TABLE}, one row an image. What is the KL term of the loss?",
        judge=_judge_kl_term,
        hints=(
            "Write the KL of one image first: its two latent coordinates are independent.",
            "KLs of independent coordinates add up.",
            "Then the loss is the average over the images, so that it does not grow with them.",
        ),
        solution=kl_term,
        why="Sum over dimensions, because the KL of a product is a sum; mean over the batch, "
        "because the loss estimates an expectation over images.",
        wrong=((0.5, "averaged over the latent"), (3.0, "summed over the batch"), (1.5, "round")),
    ),
    Exercise(
        name="ex02_2",
        ask="Write kl(m, v) = KL(N(m, diag v) || N(0, I)) for means and variances of shape (B, d). "
        "It returns shape (B,).",
        judge=_judge_kl,
        hints=(
            "Per coordinate it is the average under q of log q(z) - log p(z).",
            "Under q, the average of z**2 is m**2 + v, and that of (z - m)**2 / v is 1.",
            "Collect half of four terms: m**2, v, a constant, and a log of v; then sum over d.",
        ),
        solution=kl_to_standard_normal,
        why="log q - log p is quadratic in z, and under q both squares have known averages. "
        "The result is zero at m = 0, v = 1 and positive everywhere else.",
        wrong=(
            (_v_as_deviation, "it is a variance"),
            (_without_half, "1/2 is missing"),
            (_negative, "the sign is wrong"),
            (_reversed, "average taken under q"),
            (_mean_over_dimensions, "they add up"),
            (_log_twice, "counted twice"),
            (_without_constant, "zero at m = 0, v = 1"),
        ),
        code=True,
    ),
    Exercise(
        name="ex02_3",
        ask="Write bound(log_w): from K log weights of each of B examples, shape (K, B), the "
        "importance-weighted bound of each example, shape (B,).",
        judge=_judge_bound,
        hints=(
            "The bound is the log of an average of weights, not an average of logs.",
            "The weights are exp(log_w), but exp(-1000) is 0 in floating point.",
            "torch.logsumexp adds the weights inside the log safely; what turns a sum into a mean?",
        ),
        solution=importance_bound,
        why="By Jensen's inequality the log of the mean lies above the mean of the logs. "
        "logsumexp takes the largest log weight out before it exponentiates.",
        wrong=(
            (_mean_of_logs, "is the ELBO"),
            (_missing_log_k, "never divide by K"),
            (_over_the_batch, "shape should be"),
            (_overflowing, "underflows"),
        ),
        code=True,
    ),
    Exercise(
        name="ex02_4",
        ask=f"For one x the joint p(x, z) over three latent states is {JOINT}. Give a q(z|x), "
        "three probabilities, for which raising K leaves the importance-weighted bound as it is.",
        judge=_judge_tight_q,
        hints=(
            "The weights are w(z) = p(x, z) / q(z). When is an average of them certain?",
            "If all three weights are one and the same number, K does not matter.",
            "w constant means q proportional to the joint. What must q sum to?",
        ),
        solution=tight_q,
        why="ELBO <= bound with K samples <= log p(x), with equality throughout only for the "
        "posterior: then every weight is p(x) itself. Raising K repairs a poor q, and nothing "
        "else.",
        wrong=(
            (JOINT, "sums to"),
            ((1 / 3, 1 / 3, 1 / 3), "still rises"),
            ((0.0, 1.0, 0.0), "never draws"),
        ),
    ),
)

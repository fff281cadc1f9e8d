"""Lesson 01: coordinate ascent, the evidence of a small mixture, and what factorising costs."""

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Verdict, as_tensor, close, not_yet, passed

POINTS = (-2.1, -1.7, -2.6, 1.9, 2.4, 0.3, 1.2, -0.4)
PRIOR_VARIANCE = 9.0
NOISE_VARIANCE = 0.5
ANGLE = 0.6


def sweeps_needed() -> int:
    """Count the sweeps until the error is a thousandth of the start, at correlation 0.95."""
    r = 0.95
    return math.ceil(math.log(1e-3) / math.log(r**2))


def _judge_sweeps(answer: object) -> Verdict:
    # Run the coordinate ascent itself; the second mean is the one updated last in a sweep.
    r, first, second, sweeps = 0.95, 1.0, 1.0, 0
    while abs(second) >= 1e-3:
        first = r * second
        second = r * first
        sweeps += 1
    return close(
        answer,
        truth=sweeps,
        atol=0.4,
        right=f"run step by step, the error falls below a thousandth in sweep {sweeps}.",
        wrong={
            135.0: "That is the count for a ratio of r a sweep; a sweep updates both coordinates.",
            sweeps - 1.0: "One more: after this sweep the error is still just above a thousandth.",
            float(math.ceil(math.log10(1e-3) / math.log(r**2))): "One log is to base 10, the "
            "other natural.",
        },
        otherwise="By what factor does one sweep, two updates, shrink the error?",
    )


def log_evidence_of_the_mixture() -> float:
    """Sum the evidence over all 2**8 ways of labelling the points."""
    x = torch.tensor(POINTS, dtype=torch.float64)
    terms = []
    for labels in product((0, 1), repeat=len(x)):
        total = -len(x) * math.log(2.0)  # the uniform prior over labellings
        for cluster in (0, 1):
            members = x[torch.tensor(labels) == cluster]
            n = len(members)
            # Points that share a mean are N(0, I + 9 * ones): determinant 1 + 9n.
            grown = 1.0 + PRIOR_VARIANCE * n
            square = (members**2).sum() - PRIOR_VARIANCE / grown * members.sum() ** 2
            total = total - 0.5 * (n * math.log(2 * math.pi) + math.log(grown) + square)
        terms.append(torch.as_tensor(total))
    return float(torch.logsumexp(torch.stack(terms), dim=0))


def _judge_evidence(answer: object) -> Verdict:
    # Quadrature over the two means: labels are summed out point by point, never enumerated.
    x = torch.tensor(POINTS, dtype=torch.float64)
    grid = torch.linspace(-20.0, 20.0, 1601, dtype=torch.float64)
    cell = float(grid[1] - grid[0])
    near = torch.exp(-0.5 * (x[:, None] - grid) ** 2) / math.sqrt(2 * math.pi)  # (n, G)
    prior = torch.exp(-0.5 * grid**2 / PRIOR_VARIANCE)
    prior = prior / math.sqrt(2 * math.pi * PRIOR_VARIANCE)
    likelihood = torch.ones(len(grid), len(grid), dtype=torch.float64)
    for row in near:
        likelihood = likelihood * (0.5 * row[:, None] + 0.5 * row[None, :])
    truth = math.log(float((likelihood * prior[:, None] * prior[None, :]).sum()) * cell**2)
    return close(
        answer,
        truth=truth,
        atol=2e-3,
        right=f"log p(x) = {truth:.3f}, and quadrature over the two means agrees.",
        wrong={
            truth + len(x) * math.log(2.0): "Each labelling has prior probability 2**-8, and "
            "that factor is missing.",
            truth - math.log(2.0): "You count a labelling and its mirror image as one; the means "
            "are labelled, so both belong to the sum.",
            -18.706436: "That is the best mean-field ELBO, a lower bound on what is asked for.",
        },
        otherwise="Give each labelling its prior, and the points of one cluster one joint normal.",
    )


def loss_of_factorising() -> float:
    """Work out log p(x) - ELBO for the best factorised q."""
    c, s = math.cos(ANGLE), math.sin(ANGLE)
    first, second = 1 + 4 / NOISE_VARIANCE, 1 + 1 / NOISE_VARIANCE  # eigenvalues of the precision
    diagonal = (first * c**2 + second * s**2) * (first * s**2 + second * c**2)
    return 0.5 * math.log(diagonal / (first * second))


def _rotated_precision() -> Tensor:
    c, s = math.cos(ANGLE), math.sin(ANGLE)
    w = torch.tensor([[2 * c, -2 * s], [s, c]], dtype=torch.float64)  # diag(2, 1) times a rotation
    return torch.eye(2, dtype=torch.float64) + w.T @ w / NOISE_VARIANCE


def _divergence_by_quadrature(variances: Tensor, precision: Tensor) -> float:
    grid = torch.linspace(-4.0, 4.0, 301, dtype=torch.float64)
    z = torch.cartesian_prod(grid, grid)
    cell = float(grid[1] - grid[0]) ** 2
    log_p = -0.5 * torch.einsum("ni,ij,nj->n", z, precision, z)
    log_p = log_p - torch.log(log_p.exp().sum() * cell)  # normalised on the grid
    log_q = -0.5 * (z**2 / variances).sum(-1)
    log_q = log_q - torch.log(log_q.exp().sum() * cell)
    return float((log_q.exp() * (log_q - log_p)).sum()) * cell


def _judge_factorising(answer: object) -> Verdict:
    precision = _rotated_precision()
    # The best diagonal variances by search, not by the formula 1 / diagonal.
    variances = torch.tensor([0.1, 0.1], dtype=torch.float64)
    spread = 1.5
    best = _divergence_by_quadrature(variances, precision)
    while spread > 1.002:
        tried = [
            (_divergence_by_quadrature(candidate, precision), candidate)
            for i in (0, 1)
            for factor in (spread, 1 / spread)
            for candidate in [variances * torch.where(torch.arange(2) == i, factor, 1.0)]
        ]
        least, candidate = min(tried, key=lambda pair: pair[0])
        if least < best:
            best, variances = least, candidate
        else:
            spread = math.sqrt(spread)
    marginals = torch.linalg.inv(precision).diagonal()
    return close(
        answer,
        truth=best,
        atol=1e-3,
        right=f"the best factorised q loses {best:.3f} nats, and a search over its two variances "
        "finds nothing smaller.",
        wrong={
            0.0: "No loss at all needs the full covariance, or axes that were not rotated.",
            -best: "The sign: log p(x) - ELBO is a KL divergence, and never negative.",
            _divergence_by_quadrature(marginals, precision): "That is the loss of the q with the "
            "right marginal variances; there is a better one, narrower than the truth.",
            2 * best: "That is twice the loss: the logs of determinants carry a factor 1/2.",
        },
        otherwise="Compare the log-determinant of the precision with that of its diagonal.",
    )


def cavi_sweep(m: Tensor, mu: Tensor, precision: Tensor) -> Tensor:
    """Update both means of a mean-field q once: (2,), (2,), (2, 2) -> (2,)."""
    first = mu[0] - precision[0, 1] / precision[0, 0] * (m[1] - mu[1])
    second = mu[1] - precision[1, 0] / precision[1, 1] * (first - mu[0])  # the new first mean
    return torch.stack([first, second])


def _at_once(m: Tensor, mu: Tensor, precision: Tensor) -> Tensor:
    off = precision.diag().diag() - precision
    return mu + off @ (m - mu) / precision.diag()


def _plus(m: Tensor, mu: Tensor, precision: Tensor) -> Tensor:
    return 2.0 * mu - cavi_sweep(m, mu, precision)


def _own_denominator_missing(m: Tensor, mu: Tensor, precision: Tensor) -> Tensor:
    first = mu[0] - precision[0, 1] * (m[1] - mu[1])
    return torch.stack([first, mu[1] - precision[1, 0] * (first - mu[0])])


def _by_line_search(m: Tensor, mu: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise the divergence over one mean after the other; also both from the old means."""

    def height(mean: Tensor) -> float:
        return float(0.5 * (mean - mu) @ precision @ (mean - mu))

    def lowest(mean: Tensor, j: int) -> float:
        # Three heights of a parabola give the place of its lowest point.
        side = torch.eye(2, dtype=torch.float64)[j]
        left, here, right = height(mean - side), height(mean), height(mean + side)
        return float(mean[j]) + 0.5 * (left - right) / (left - 2 * here + right)

    at_once = torch.tensor([lowest(m, 0), lowest(m, 1)], dtype=torch.float64)
    swept = torch.stack([at_once[0], m[1]])
    return torch.tensor([swept[0], lowest(swept, 1)], dtype=torch.float64), at_once


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-8, rtol=0.0)


def _judge_sweep(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(5)
    for _ in range(5):
        mu, m, root = (
            torch.randn(*shape, generator=generator, dtype=torch.float64)
            for shape in ((2,), (2,), (2, 2))
        )
        precision = root @ root.T + 0.3 * torch.eye(2, dtype=torch.float64)
        given = as_tensor(answer(m, mu, precision), (2,))
        swept, at_once = _by_line_search(m, mu, precision)
        if _same(given, swept):
            continue
        if _same(given, at_once):
            return not_yet(
                "both means move from the old ones; the second must use the first one's new value."
            )
        if _same(given[0], 2 * mu[0] - swept[0]):
            return not_yet("the first mean moves away from its best place: look at the sign.")
        i = int(_same(given[0], swept[0]))  # the first mean that is wrong
        start = f"on a random target m[{i}] should be {float(swept[i]):.3f}, and yours is "
        ask = "check its sign" if i else "does it move first"
        return not_yet(f"{start}{float(given[i]):.3f}: {ask}, is mu added, what does it divide by?")
    return passed("on five random targets both means land where a line search puts them.")


EXERCISES = (
    Exercise(
        name="ex01_1",
        ask="A bivariate normal target has correlation 0.95. After how many CAVI sweeps over both "
        "means is the error of the mean below a thousandth of its start?",
        judge=_judge_sweeps,
        hints=(
            "One update shrinks the error of its mean to r times the error of the other mean.",
            "A sweep is two updates, so its ratio is r**2. How many such factors make 1/1000?",
            "Solve (r**2)**k < 1e-3 for k with natural logs, and round up.",
        ),
        solution=sweeps_needed,
        why="Each of the two updates in a sweep multiplies the error by r, so k sweeps multiply "
        "it by r**(2k). The stronger the correlation, the slower the climb.",
        wrong=((135, "ratio of r a sweep"), (67, "One more"), (30, "base 10")),
    ),
    Exercise(
        name="ex01_2",
        ask=f"The eight points {POINTS} come from two unit-variance clusters with means "
        "~ N(0, 9) and uniform labels. What is log p(x), to three decimals?",
        judge=_judge_evidence,
        hints=(
            "Eight points and two labels: few enough to sum over every labelling.",
            "Given the labels, the points of a cluster are jointly normal, mean 0, covariance "
            "I + 9 * ones; the two clusters are independent.",
            "Weigh each labelling by its prior, the same for all, and use logsumexp.",
        ),
        solution=log_evidence_of_the_mixture,
        why="Marginalising the means leaves a sum over 256 labellings, each with its prior. "
        "The mean-field ELBO stays 1.036 nats below, 0.693 of it because q picks one of the two "
        "mirror-image labellings.",
        wrong=(
            (-12.125, "factor is missing"),
            (-18.363, "mirror image"),
            (-18.706, "lower bound"),
        ),
    ),
    Exercise(
        name="ex01_3",
        ask="A linear model with loadings diag(2, 1), rotated by 0.6 rad, and noise variance 0.5 "
        "has posterior precision P = I + W'W / 0.5. How many nats does the best factorised q lose?",
        judge=_judge_factorising,
        hints=(
            "The loss log p(x) - ELBO is KL(q || posterior), and both are normal.",
            "The best factorised variances are 1 / P_11 and 1 / P_22. Put them into the KL.",
            "What is left is half the difference of two logs: one of the product P_11 P_22, one "
            "of the determinant of P.",
        ),
        solution=loss_of_factorising,
        why="With v_j = 1 / P_jj the trace term cancels the dimension, and half of "
        "sum log P_jj - log det P remains. Rotating the latent space leaves the likelihood "
        "alone, and still costs a factorised q.",
        wrong=(
            (0.0, "full covariance"),
            (-0.12714, "The sign"),
            (0.16242, "marginal variances"),
            (0.25429, "factor 1/2"),
        ),
    ),
    Exercise(
        name="ex01_4",
        ask="Write cavi_sweep(m, mu, precision): one sweep of the two mean-field means m of a "
        "bivariate normal with mean mu. Shapes (2,), (2,), (2, 2); it returns the new m, (2,).",
        judge=_judge_sweep,
        hints=(
            "Fix m[1]. The divergence is a parabola in m[0]; where is its lowest point?",
            "Set the derivative of (m - mu)' precision (m - mu) / 2 with respect to m[0] to zero.",
            "Each mean moves against the other's error, weighed by the off-diagonal entry over "
            "its own diagonal entry; then the second uses the first one's new value.",
        ),
        solution=cavi_sweep,
        why="Each update is the exact minimum over one mean while the other is held. Taking the "
        "new first mean at once is what makes it coordinate ascent: no update lowers the ELBO.",
        wrong=(
            (_at_once, "from the old ones"),
            (_plus, "look at the sign"),
            (_own_denominator_missing, "divide by"),
        ),
        code=True,
    ),
)

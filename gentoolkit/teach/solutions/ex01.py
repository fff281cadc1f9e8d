"""Lesson 01: coordinate ascent, the evidence of a small mixture, and what factorising costs."""

import math
from itertools import product

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from gentoolkit.teach.exercise import Exercise

POINTS = (-2.1, -1.7, -2.6, 1.9, 2.4, 0.3, 1.2, -0.4)
PRIOR_VARIANCE = 9.0
NOISE_VARIANCE = 0.5
ANGLE = 0.6


def _sweeps_run() -> int:
    """Run the coordinate ascent; the second mean is the one updated last in a sweep."""
    second, sweeps = 1.0, 0
    while abs(second) >= 1e-3:
        first = 0.95 * second
        second, sweeps = 0.95 * first, sweeps + 1
    return sweeps


ex01_1 = Exercise(
    "math.ceil(math.log(1e-3) / math.log(0.95**2))",
    "One update shrinks the error of its mean to r times the error of the other mean.",
    "A sweep is two updates, so its ratio is r**2. How many such factors make 1/1000?",
    "Solve (r**2)**k < 1e-3 for k with natural logs, and round up.",
    why="Each of the two updates in a sweep multiplies the error by r, so k sweeps multiply "
    "it by r**(2k). The stronger the correlation, the slower the climb.",
    oracle=_sweeps_run,
    right="run step by step, the error falls below a thousandth in sweep {truth:.0f}.",
    wrong={
        135: "That is the count for a ratio of r a sweep; a sweep updates both coordinates.",
        67: "One more: after this sweep the error is still just above a thousandth.",
        30: "One log is to base 10, the other natural.",
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


def _evidence_by_quadrature() -> float:
    """Integrate over the two means: labels are summed out point by point, never enumerated."""
    grid = torch.linspace(-20.0, 20.0, 1601)
    log_prior = -0.5 * (grid**2 / PRIOR_VARIANCE + math.log(2 * math.pi * PRIOR_VARIANCE))
    density = (log_prior[:, None] + log_prior).exp()
    for x in POINTS:
        near = torch.exp(-0.5 * (x - grid) ** 2) / math.sqrt(2 * math.pi)
        density = density * 0.5 * (near[:, None] + near)
    return math.log(float(density.sum()) * float(grid[1] - grid[0]) ** 2)


ex01_2 = Exercise(
    log_evidence_of_the_mixture,
    "Eight points and two labels: few enough to sum over every labelling.",
    "Given the labels, the points of a cluster are jointly normal, mean 0, covariance "
    "I + 9 * ones; the two clusters are independent.",
    "Weigh each labelling by its prior, the same for all, and use logsumexp.",
    why="Marginalising the means leaves a sum over 256 labellings, each with its prior. "
    "The mean-field ELBO stays 1.036 nats below, 0.693 of it because q picks one of the two "
    "mirror-image labellings.",
    oracle=_evidence_by_quadrature,
    atol=2e-3,
    right="log p(x) = {truth:.3f}, and quadrature over the two means agrees.",
    wrong={
        -12.1252: "Each labelling has prior probability 2**-8, and that factor is missing.",
        -18.3635: "You count a labelling and its mirror image as one; the means are labelled, so "
        "both belong to the sum.",
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


def _least_divergence() -> float:
    """Descend KL(q || posterior) in the two log-variances of q; no formula for the best one."""
    c, s = math.cos(ANGLE), math.sin(ANGLE)
    w = torch.tensor([[2 * c, -2 * s], [s, c]])  # diag(2, 1) times a rotation
    precision = torch.eye(2) + w.T @ w / NOISE_VARIANCE
    posterior = MultivariateNormal(torch.zeros(2), precision_matrix=precision)
    log_v = torch.zeros(2, requires_grad=True)
    for _ in range(300):
        q = MultivariateNormal(torch.zeros(2), log_v.exp().diag())
        loss = kl_divergence(q, posterior)
        log_v = (log_v - 0.3 * torch.autograd.grad(loss, log_v)[0]).detach().requires_grad_()
    return float(loss.detach())


ex01_3 = Exercise(
    loss_of_factorising,
    "The loss log p(x) - ELBO is KL(q || posterior), and both are normal.",
    "The best factorised variances are 1 / P_11 and 1 / P_22. Put them into the KL.",
    "What is left is half the difference of two logs: one of the product P_11 P_22, one "
    "of the determinant of P.",
    why="With v_j = 1 / P_jj the trace term cancels the dimension, and half of "
    "sum log P_jj - log det P remains. Rotating the latent space leaves the likelihood "
    "alone, and still costs a factorised q.",
    oracle=_least_divergence,
    right="the best factorised q loses {truth:.3f} nats, and a search over its two variances finds "
    "nothing smaller.",
    wrong={
        0.0: "No loss at all needs the full covariance, or axes that were not rotated.",
        -0.12714: "The sign: log p(x) - ELBO is a KL divergence, and never negative.",
        0.16242: "That is the loss of the q with the right marginal variances; there is a better "
        "one, narrower than the truth.",
        0.25429: "That is twice the loss: the logs of determinants carry a factor 1/2.",
    },
    otherwise="Compare the log-determinant of the precision with that of its diagonal.",
)


def cavi_sweep(m: Tensor, mu: Tensor, precision: Tensor) -> Tensor:
    """Update both means of a mean-field q once: (2,), (2,), (2, 2) -> (2,)."""
    first = mu[0] - precision[0, 1] / precision[0, 0] * (m[1] - mu[1])
    second = mu[1] - precision[1, 0] / precision[1, 1] * (first - mu[0])  # the new first mean
    return torch.stack([first, second])


def _line_searches(m: Tensor, mu: Tensor, precision: Tensor) -> Tensor:
    """Minimise over one mean after the other: three heights of a parabola give its lowest point."""
    for side in torch.eye(2):
        left, here, right = (
            0.5 * (mean - mu) @ precision @ (mean - mu) for mean in (m - side, m, m + side)
        )
        m = m + side * 0.5 * (left - right) / (left - 2 * here + right)
    return m


ex01_4 = Exercise(
    cavi_sweep,
    "Fix m[1]. The divergence is a parabola in m[0]; where is its lowest point?",
    "Set the derivative of (m - mu)' precision (m - mu) / 2 with respect to m[0] to zero.",
    "Each mean moves against the other's error, weighed by the off-diagonal entry over "
    "its own diagonal entry; then the second uses the first one's new value.",
    why="Each update is the exact minimum over one mean while the other is held. Taking the "
    "new first mean at once is what makes it coordinate ascent: no update lowers the ELBO.",
    cases=lambda: [
        (*torch.randn(2, 2), root @ root.T + 0.3 * torch.eye(2)) for root in torch.randn(5, 2, 2)
    ],
    oracle=_line_searches,
    right="on five random targets both means land where a line search puts them.",
    wrong={
        "(first - -> (m[0] -": "both means move from the old ones; the second must use the first "
        "one's new value.",
        "0] - p -> 0] + p": "the first mean moves away from its best place: look at the sign.",
        "/ precision[0, 0] ->; / precision[1, 1] ->": "each move is divided by the mean's own "
        "diagonal entry of the precision.",
    },
    otherwise="does the first one move first, is mu added, what does each move divide by?",
)

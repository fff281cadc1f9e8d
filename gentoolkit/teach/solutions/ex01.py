"""Lesson 01: coordinate ascent, the evidence of a small mixture, and what factorising costs."""

import math
from itertools import product

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from gentoolkit.teach.exercise import Exercise, Open

POINTS = (-2.1, -1.7, -2.6, 1.9, 2.4, 0.3, 1.2, -0.4)
PRIOR_VARIANCE = 9.0
NOISE_VARIANCE = 0.5
ANGLE = 0.6


def third_mean() -> float:
    """Sweep once through three means of a target whose correlations are all 0.5."""
    ratio = 1 / 3  # -precision_jk / precision_jj, which is r / (1 + r)
    first = ratio * (1 + 1)
    second = ratio * (first + 1)
    return ratio * (first + second)


def _third_mean_by_search() -> float:
    """Minimise the quadratic form over one mean after the other; no formula for the best one."""
    precision = torch.linalg.inv(0.5 * torch.eye(3) + 0.5)
    m = torch.ones(3)
    for j in range(3):
        side = torch.eye(3)[j]
        left, here, right = ((m + h * side) @ precision @ (m + h * side) for h in (-1, 0, 1))
        m = m + side * 0.5 * (left - right) / (left - 2 * here + right)
    return float(m[2])


ex01_1 = Exercise(
    third_mean,
    "The update needs the precision matrix. For equal correlations its off-diagonal entries are "
    "all the same.",
    "Try I - t J for the inverse, with J the matrix of ones, up to a factor; which t makes the "
    "product with the covariance diagonal?",
    "The off-diagonal entry over the diagonal one is -r / (1 + r). The second update uses the new "
    "first mean, the third both new ones.",
    why="The covariance is (1 - r) I + r J; its inverse is proportional to I - r / (1 + 2 r) J. So "
    "each mean becomes a third of the sum of the other two: 2/3, then 5/9, then 11/27.",
    oracle=_third_mean_by_search,
    right="m_3 = 11/27 = {truth:.4f}, where a line search finds it too.",
    wrong={
        1.0: "You weigh the other means by the correlations. The update has the precision in it.",
        2 / 3: "You update all three from the old means; each update uses what is new.",
        -22 / 27: "The sign: with positive correlations the off-diagonal precisions are negative.",
        5 / 9: "That is the second mean; the third is updated after it.",
    },
    otherwise="Invert the covariance, then update one mean after the other.",
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


def cavi_sweep(log_p: Tensor, q1: Tensor, q2: Tensor) -> tuple[Tensor, Tensor]:
    """Update both factors of a discrete q once: (A, B), (A,), (B,) -> (A,), (B,)."""
    q1 = (log_p @ q2).softmax(0)
    q2 = (q1 @ log_p).softmax(0)
    return q1, q2


def _by_descent(log_p: Tensor, q1: Tensor, q2: Tensor) -> tuple[Tensor, Tensor]:
    """Raise the ELBO by a quasi-Newton search in the logits of one factor, then of the other."""

    def best(table: Tensor, other: Tensor) -> Tensor:
        logits = torch.zeros(len(table), requires_grad=True)
        search = torch.optim.LBFGS(
            [logits],
            max_iter=200,
            tolerance_grad=1e-12,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            search.zero_grad()
            q = logits.softmax(0)
            joint = q[:, None] * other
            value = (joint * (q.log()[:, None] + other.log() - table)).sum()
            value.backward()
            return value

        search.step(loss)  # pyright: ignore[reportArgumentType]
        return logits.detach().softmax(0)

    q1 = best(log_p, q2)
    return q1, best(log_p.T, q1)


ex01_4 = Exercise(
    cavi_sweep,
    "The rule says: log q1 is the average of log_p over the other unknown, plus a constant.",
    "The average over z_2 is a matrix product of log_p and q2. What turns logs into normalised "
    "probabilities?",
    "A softmax normalises. The second update averages over the first index, with the new q1.",
    why="Averaging log_p over q2 is a matrix product, and softmax exponentiates and normalises. "
    "The second factor uses the new first one, which is what makes it coordinate ascent.",
    cases=lambda: [
        (2 * torch.randn(a, b), torch.randn(a).softmax(0), torch.randn(b).softmax(0))
        for a, b in ((3, 4), (2, 5), (4, 2))
    ],
    oracle=_by_descent,
    right="on three tables both factors are where a search over their logits ends.",
    wrong={
        "(log_p @ q2).softmax(0) -> (log_p.exp() @ q2) / (log_p.exp() @ q2).sum()": "you average "
        "p; the rule averages its logarithm.",
        "q1 = (log_p @ q2).softmax(0) -> old, q1 = q1, (log_p @ q2).softmax(0); "
        "(q1 @ log_p) -> (old @ log_p)": "the second factor is updated from the old q1.",
        ".softmax(0) ->": "the factors are not normalised.",
        "(log_p @ q2).softmax(0) -> log_p.mean(1).softmax(0)": "the average over z_2 must be "
        "weighted by q2.",
    },
    otherwise="is it the average of the logarithm, over the other factor, normalised?",
)


ex01_5 = Open(
    "Read q.mean and q.log_std.exp() after each training.",
    "At the centre all eight bumps pull equally. What decides then, and how does a wide cloud "
    "differ from a small one?",
    "Print the mean after 1, 100 and 300 steps for several seeds, and compare the directions in "
    "which it leaves.",
    answer="With seeds 4 and 5 q ends on the bumps at (2, 0) and at (-2, 0), each time with "
    "deviations of 0.20 and an ELBO of log Z - log 8. The draws of the first hundred steps decide "
    "which bump wins, so another seed gives another bump. The small cloud leaves the centre at "
    "once: at the exact centre the mean gradient is zero, but the gradient of 64 draws is not, and "
    "Adam divides each coordinate by its own size, so that both coordinates move by the learning "
    "rate at every step. It therefore leaves along a diagonal, and in three seeds of three it "
    "ended on one of the four diagonal bumps, after about 100 steps. No start finds more than one "
    "bump: the choice is made by noise, and the bound never takes it back.",
)

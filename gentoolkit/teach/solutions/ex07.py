"""Lesson 07: density along a flow in time, terms of a series, and estimated traces."""

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_number,
    as_tensor,
    close,
    not_yet,
    passed,
)

RATES = (1.0, -2.0)
LIPSCHITZ, SIZE, BOUND = 0.9, 2, 1e-3
MATRIX = ((1.0, 3.0), (-1.0, 2.0))


def change_of_log_density() -> float:
    """Integrate minus the trace of A from time 0 to time 1."""
    return -sum(RATES)


def _judge_change(answer: object) -> Verdict:
    # Carry a small square along in many short steps; its mass stays, its area does not.
    corners = torch.tensor([[0.0, 0.0], [1e-3, 0.0], [0.0, 1e-3]], dtype=torch.float64)
    corners = corners + torch.tensor([0.5, -0.3], dtype=torch.float64)
    rates = torch.tensor(RATES, dtype=torch.float64)
    steps = 4000
    for _ in range(steps):
        middle = corners + 0.5 / steps * rates * corners
        corners = corners + rates * middle / steps
    area = torch.linalg.det(corners[1:] - corners[0])
    truth = float(torch.log(1e-6 / area))
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"log p rises by {truth:.0f}: a small square carried along shrinks by e, and its "
        "mass stays.",
        wrong={
            -truth: "That is the change of log volume; density changes the other way.",
            math.log(2.0): "You took log|det A|; the map is exp(A), and log det exp(A) = tr A.",
            -math.log(2.0): "You took the log of a determinant of A; the map is exp(A).",
            3.0: "Signs: one direction stretches and the other shrinks; they partly cancel.",
        },
        otherwise="By what factors do the two directions stretch in a unit of time?",
    )


def terms_needed() -> int:
    """Raise n until the bound D L**(n + 1) / ((n + 1) (1 - L)) is small enough."""
    n = 1
    while SIZE * LIPSCHITZ ** (n + 1) / ((n + 1) * (1 - LIPSCHITZ)) >= BOUND:
        n += 1
    return n


def _judge_terms(answer: object) -> Verdict:
    # Solve for where the bound crosses, by bisection on a real number of terms.
    def excess(n: float) -> float:
        logs = math.log(SIZE) + (n + 1) * math.log(LIPSCHITZ) - math.log(n + 1)
        return logs - math.log(1 - LIPSCHITZ) - math.log(BOUND)

    low, high = 1.0, 1000.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    truth = math.ceil(high)
    plain = math.ceil(math.log(BOUND * (1 - LIPSCHITZ) / SIZE) / math.log(LIPSCHITZ) - 1)
    return close(
        answer,
        truth=truth,
        atol=0.4,
        right=f"after {truth} terms the bound is below {BOUND:g}, after {truth - 1} it is not.",
        wrong={
            float(plain): "You left out 1 / (n + 1), which the series' own denominators give.",
            truth - 1.0: "One more: at this n the bound is still above.",
            truth + 1.0: "That counts n + 1; the first term left out is number n + 1.",
            50.0: "The factor D is missing: a trace adds up D eigenvalues.",
        },
        otherwise="Put n = 1, 2, 3, ... into D L**(n + 1) / ((n + 1) (1 - L)).",
    )


def trace_estimate(f: Callable[[Tensor], Tensor], x: Tensor, e: Tensor) -> Tensor:
    """Estimate tr(df/dx) of each row by one noise vector a row: f, (B, D), (B, D) -> (B,)."""
    x = x.detach().requires_grad_()
    (pulled,) = torch.autograd.grad(f(x), x, grad_outputs=e)  # e' J, one pass
    return (pulled * e).sum(dim=1)


def _not_multiplied(f: Callable[[Tensor], Tensor], x: Tensor, e: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(f(x), x, grad_outputs=e)[0].sum(dim=1)


def _averaged(f: Callable[[Tensor], Tensor], x: Tensor, e: Tensor) -> Tensor:
    return trace_estimate(f, x, e) / x.shape[1]


def _of_the_value(f: Callable[[Tensor], Tensor], x: Tensor, e: Tensor) -> Tensor:
    return (f(x) * e).sum(dim=1)


def _noise_of_its_own(f: Callable[[Tensor], Tensor], x: Tensor, e: Tensor) -> Tensor:
    return trace_estimate(f, x, torch.randn_like(e))


def _judge_estimate(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(2)
    w, v = (torch.randn(3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    x = torch.randn(4, 3, generator=generator, dtype=torch.float64)

    def f(x: Tensor) -> Tensor:
        return torch.tanh(x @ w) @ v + 0.3 * x

    slope = torch.autograd.functional.jacobian
    jacobians = torch.stack([slope(lambda row: f(row[None])[0], row) for row in x])  # pyright: ignore
    exact = jacobians.diagonal(dim1=1, dim2=2).sum(1)
    # All eight Rademacher vectors: the mean over them is the expectation.
    noises = [torch.tensor(signs, dtype=torch.float64) for signs in product((-1.0, 1.0), repeat=3)]
    told, quadratic = [], []
    for e in noises:
        told.append(as_tensor(answer(f, x, e.expand(4, 3)), (4,)))
        quadratic.append(torch.einsum("i,bij,j->b", e, jacobians, e))
    mean = torch.stack(told).mean(0)
    if all(torch.allclose(a, b, atol=1e-9) for a, b in zip(told, quadratic, strict=True)):
        return passed("over all eight sign vectors the mean is the trace, to nine decimals.")
    start = f"the mean over all eight sign vectors is {float(mean[0]):.3f}, should be the trace "
    start += f"{float(exact[0]):.3f}: "
    if torch.allclose(mean, exact / 3, atol=1e-9):
        return not_yet(start + "you average over the dimensions; a trace adds them up.")
    of_value = torch.stack([(f(x) * e).sum(1) for e in noises])
    if torch.allclose(torch.stack(told), of_value, atol=1e-9):
        return not_yet(start + "that is e.f(x), the value; the derivative is asked for.")
    pulled = torch.stack([torch.einsum("i,bij->b", e, jacobians) for e in noises])
    if torch.allclose(torch.stack(told), pulled, atol=1e-9):
        return not_yet(start + "e' J is right; multiply it by e once more before you add up.")
    if all(torch.allclose(one, exact, atol=1e-9) for one in told):
        return not_yet("that is the trace itself; one product of the Jacobian with e is asked for.")
    return not_yet(start + "use the noise e that is handed in, and e' J e.")


def variances() -> tuple[float, float]:
    """Take twice the sum of squares of the symmetric part, without and with its diagonal."""
    s = [[(MATRIX[i][j] + MATRIX[j][i]) / 2 for j in range(2)] for i in range(2)]
    off = sum(s[i][j] ** 2 for i in range(2) for j in range(2) if i != j)
    return 2 * off, 2 * (off + s[0][0] ** 2 + s[1][1] ** 2)


def _judge_variances(answer: object) -> Verdict:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return not_yet("two numbers are asked for: (signs, Gaussian).")
    given = as_number(answer[0]), as_number(answer[1])
    a = torch.tensor(MATRIX, dtype=torch.float64)

    def variance(e: Tensor, weight: Tensor) -> float:
        value = torch.einsum("ni,ij,nj->n", e, a, e)
        mean = (weight * value).sum()
        return float((weight * (value - mean) ** 2).sum())

    signs = torch.tensor(list(product((-1.0, 1.0), repeat=2)), dtype=torch.float64)
    grid = torch.linspace(-9.0, 9.0, 301, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    weight = torch.exp(-0.5 * points.square().sum(1))
    truth = (
        variance(signs, torch.full((4,), 0.25).double()),
        variance(points, weight / weight.sum()),
    )

    def near(one: float, two: float) -> bool:
        return abs(given[0] - one) < 1e-3 and abs(given[1] - two) < 1e-3

    if near(*truth):
        return passed(
            f"{truth[0]:.0f} by all four sign vectors, {truth[1]:.0f} by quadrature: signs are "
            "never worse, and exact for a diagonal matrix."
        )
    if near(truth[1], truth[0]):
        return not_yet("the wrong way round: for signs e_i**2 = 1, so the diagonal adds no noise.")
    if near(truth[0] / 2, truth[1] / 2):
        return not_yet("half of it: each pair (i, j) enters twice, as S_ij and as S_ji.")
    whole = 2 * float(a.square().sum())
    if near(whole - 2 * float(a.diagonal().square().sum()), whole):
        return not_yet("you took A itself; e'Ae sees only its symmetric part S.")
    return not_yet(
        f"you give ({given[0]:.4g}, {given[1]:.4g}). Write e'Ae = sum of S_ij e_i e_j, and ask "
        "which terms vary."
    )


EXERCISES = (
    Exercise(
        name="ex07_1",
        ask="Points move by dx/dt = A x with A = diag(1, -2). By how much does log p change along "
        "a trajectory from t = 0 to t = 1?",
        judge=_judge_change,
        hints=(
            "Mass is carried along; density is mass over volume.",
            "d log p / dt = - tr(dv/dx), with v the velocity.",
            "dv/dx is A, the same everywhere and at all times. Integrate minus its trace.",
        ),
        solution=change_of_log_density,
        why="Volume changes by exp(tr A), here it shrinks, so density rises by the same factor. "
        "No determinant is computed: the trace is enough, in continuous time.",
        wrong=((-1.0, "log volume"), (0.693, "log|det A|"), (3.0, "partly cancel")),
    ),
    Exercise(
        name="ex07_2",
        ask=f"A residual layer has D = {SIZE} and Lipschitz constant L = {LIPSCHITZ}. Cutting the "
        "power series of its log-determinant after n terms errs by at most "
        f"D L**(n + 1) / ((n + 1) (1 - L)). How many terms bring this below {BOUND:g}?",
        judge=_judge_terms,
        hints=(
            "There is no closed form: try values of n.",
            "The bound falls a little faster than L**n, so some tens of terms are needed.",
            "A loop over n that stops at the first bound below the target does it.",
        ),
        solution=terms_needed,
        why="Each term shrinks by about L, so at L near 1 the series is long. The 1 / (n + 1) is "
        "worth more than a third of the terms here.",
        wrong=((93, "left out 1 / (n + 1)"), (54, "One more"), (50, "factor D is missing")),
    ),
    Exercise(
        name="ex07_3",
        ask="Write trace_estimate(f, x, e): Hutchinson's estimate of the trace of df/dx for each "
        "row, from the noise e, of the shape of x, (B, D). It returns (B,). f works row by row.",
        judge=_judge_estimate,
        hints=(
            "The estimate is e' J e, whose mean is tr J if E[e e'] = I.",
            "torch.autograd.grad(f(x), x, grad_outputs=e) gives e' J in one pass, with no J.",
            "x must require gradients before f sees it; then multiply by e and sum over D.",
        ),
        solution=trace_estimate,
        why="One vector-Jacobian product costs as much as one gradient, whatever D is. It is an "
        "estimate: its mean is the trace, one draw is not.",
        wrong=(
            (_not_multiplied, "once more"),
            (_averaged, "a trace adds them up"),
            (_of_the_value, "the value"),
            (_noise_of_its_own, "handed in"),
        ),
        code=True,
    ),
    Exercise(
        name="ex07_4",
        ask=f"For A = {MATRIX}, what is the variance of e'Ae, first for e of random signs, then "
        "for e ~ N(0, I)? Answer (signs, Gaussian).",
        judge=_judge_variances,
        hints=(
            "e'Ae = e'Se with S = (A + A') / 2: only the symmetric part counts.",
            "Off the diagonal e_i e_j has variance 1 in both cases, and S_ij and S_ji add up.",
            "On the diagonal e_i**2 is constant for signs; for a Gaussian its variance is that of "
            "a chi-squared number.",
        ),
        solution=variances,
        why="2 sum of S_ij**2 over i != j for signs, over all i, j for a Gaussian. The skew part "
        "of A, pure rotation, costs nothing.",
        wrong=(
            ((14.0, 4.0), "the wrong way round"),
            ((2.0, 7.0), "half of it"),
            ((20.0, 30.0), "A itself"),
        ),
    ),
)

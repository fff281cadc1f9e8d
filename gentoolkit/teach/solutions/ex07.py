"""Lesson 07: density along a flow in time, terms of a series, and estimated traces."""

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like

RATES = (1.0, -2.0)
LIPSCHITZ, SIZE, BOUND = 0.9, 2, 1e-3
MATRIX = ((1.0, 3.0), (-1.0, 2.0))


def _square_carried(steps: int = 4000) -> float:
    """Carry a small square along in many short steps; its mass stays, its area does not."""
    corners = torch.tensor([[0.5, -0.3], [0.501, -0.3], [0.5, -0.299]])
    rates = torch.tensor(RATES)
    for _ in range(steps):
        corners = corners + rates / steps * (corners + 0.5 / steps * rates * corners)
    return float(torch.log(1e-6 / torch.linalg.det(corners[1:] - corners[0])))


ex07_1 = Exercise(
    "-(1.0 - 2.0)",
    "Mass is carried along; density is mass over volume.",
    "d log p / dt = - tr(dv/dx), with v the velocity.",
    "dv/dx is A, the same everywhere and at all times. Integrate minus its trace.",
    why="Volume changes by exp(tr A), here it shrinks, so density rises by the same factor. "
    "No determinant is computed: the trace is enough, in continuous time.",
    oracle=_square_carried,
    right="log p rises by {truth:.0f}: a small square carried along shrinks by e, and its mass "
    "stays.",
    wrong={
        -1.0: "That is the change of log volume; density changes the other way.",
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


def _last_above() -> int:
    """Come from the other side: the last number of terms whose bound is still above."""
    n = torch.arange(1, 500)
    bounds = SIZE * LIPSCHITZ ** (n + 1) / ((n + 1) * (1 - LIPSCHITZ))
    return int(n[bounds >= BOUND].max()) + 1


ex07_2 = Exercise(
    terms_needed,
    "There is no closed form: try values of n.",
    "The bound falls a little faster than L**n, so some tens of terms are needed.",
    "A loop over n that stops at the first bound below the target does it.",
    why="Each term shrinks by about L, so at L near 1 the series is long. The 1 / (n + 1) is "
    "worth more than a third of the terms here.",
    oracle=_last_above,
    right="after {truth:.0f} terms the bound is below 0.001, and one term earlier it is not.",
    wrong={
        93: "You left out 1 / (n + 1), which the series' own denominators give.",
        54: "One more: at this n the bound is still above.",
        56: "That counts n + 1; the first term left out is number n + 1.",
        50: "The factor D is missing: a trace adds up D eigenvalues.",
    },
    otherwise="Put n = 1, 2, 3, ... into D L**(n + 1) / ((n + 1) (1 - L)).",
)


def trace_estimate(f: Callable[[Tensor], Tensor], x: Tensor, e: Tensor) -> Tensor:
    """Estimate tr(df/dx) of each row by one noise vector a row: f, (B, D), (B, D) -> (B,)."""
    x = x.detach().requires_grad_()
    (pulled,) = torch.autograd.grad(f(x), x, grad_outputs=e)  # e' J, one pass
    return (pulled * e).sum(dim=1)


def _all_signs() -> list[tuple]:
    w, v, x = torch.randn(3, 3), torch.randn(3, 3), torch.randn(4, 3)

    def f(x: Tensor) -> Tensor:
        return torch.tanh(x @ w) @ v + 0.3 * x

    return [(f, x, torch.tensor(e).expand(4, 3)) for e in product((-1.0, 1.0), repeat=3)]


def _jacobians(f: Callable, x: Tensor) -> Tensor:
    rows = [torch.autograd.functional.jacobian(lambda r: f(r[None])[0], row) for row in x]
    return torch.stack(rows)  # pyright: ignore[reportArgumentType]


def _price_fault(answer: Callable[..., object], f: Callable, x: Tensor, e: Tensor) -> str | None:
    calls, products = [], []

    def counted(x: Tensor) -> Tensor:
        calls.append(x)
        y = f(x)
        if y.requires_grad:
            y.register_hook(lambda g: products.append(g))
        return y

    answer(counted, x, e)
    if max(len(calls), len(products)) > 1:
        return (
            f"the number is right, at {len(calls)} calls of f and {len(products)} products with "
            "its Jacobian: one of each is enough, torch.autograd.grad(f(x), x, grad_outputs=e)."
        )


ex07_3 = Exercise(
    trace_estimate,
    "The estimate is e' J e, whose mean is tr J if E[e e'] = I.",
    "torch.autograd.grad(f(x), x, grad_outputs=e) gives e' J in one pass, with no J.",
    "x must require gradients before f sees it; then multiply by e and sum over D.",
    why="One vector-Jacobian product costs as much as one gradient, whatever D is. It is an "
    "estimate: its mean is the trace, one draw is not.",
    cases=_all_signs,
    oracle=lambda f, x, e: torch.einsum("bi,bij,bj->b", e, _jacobians(f, x), e),
    fault=_price_fault,
    right="over all eight sign vectors the mean is the trace, to nine decimals.",
    wrong={
        "sum( -> mean(": "you average over the dimensions; a trace adds them up.",
        "(pulled * e) -> (f(x) * e)": "that is e.f(x), the value; the derivative is asked for.",
        "(pulled * e) -> pulled": "e' J is right; multiply it by e once more before you add up.",
        (lambda f, x, e: torch.einsum("bii->b", _jacobians(f, x))): "that is the trace itself; one "
        "product of the Jacobian with e is asked for.",
        Like("grad_outputs=e -> grad_outputs=torch.randn_like(e)", lambda *_: True): "use the "
        "noise e that is handed in, and e' J e.",
    },
)


def variances() -> tuple[float, float]:
    """Take twice the sum of squares of the symmetric part, without and with its diagonal."""
    s = [[(MATRIX[i][j] + MATRIX[j][i]) / 2 for j in range(2)] for i in range(2)]
    off = sum(s[i][j] ** 2 for i in range(2) for j in range(2) if i != j)
    return 2 * off, 2 * (off + s[0][0] ** 2 + s[1][1] ** 2)


def _by_quadrature() -> tuple[float, float]:
    """All four sign vectors, and the plane weighed by its Gaussian."""
    grid = torch.linspace(-9.0, 9.0, 301)
    signs, plane = (torch.cartesian_prod(axis, axis) for axis in (torch.tensor([-1.0, 1.0]), grid))

    def variance(e: Tensor, weight: Tensor) -> float:
        value = torch.einsum("ni,ij,nj->n", e, torch.tensor(MATRIX), e)
        return float((weight * (value - (weight * value).sum()) ** 2).sum())

    even = torch.full((4,), 0.25)
    return variance(signs, even), variance(plane, (-0.5 * plane.square().sum(1)).softmax(0))


ex07_4 = Exercise(
    variances,
    "e'Ae = e'Se with S = (A + A') / 2: only the symmetric part counts.",
    "Off the diagonal e_i e_j has variance 1 in both cases, and S_ij and S_ji add up.",
    "On the diagonal e_i**2 is constant for signs; for a Gaussian its variance is that of "
    "a chi-squared number.",
    why="2 sum of S_ij**2 over i != j for signs, over all i, j for a Gaussian. The skew part "
    "of A, pure rotation, costs nothing.",
    oracle=_by_quadrature,
    parts="signs, Gaussian",
    right="4 by all four sign vectors, 14 by quadrature: signs are never worse, and exact for a "
    "diagonal matrix.",
    wrong={
        (14.0, 4.0): "The wrong way round: for signs e_i**2 = 1, so the diagonal adds no noise.",
        (2.0, 7.0): "Half of it: each pair (i, j) enters twice, as S_ij and as S_ji.",
        (20.0, 30.0): "You took A itself; e'Ae sees only its symmetric part S.",
    },
    otherwise="Write e'Ae = sum of S_ij e_i e_j, and ask which terms vary.",
)

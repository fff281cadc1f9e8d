"""Lesson 07: density along a flow in time, roulette, estimated traces, and a coarse solver."""

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like, Open

RATES = (1.0, -2.0)
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


SURE, KEEP, TERMS = 3, 0.8, (3, 6)


def _chances() -> tuple[float, float]:
    """Add up the chances of stopping at each number of terms, and invert what is left."""

    def reached(k: int) -> float:
        further = torch.arange(400)
        stopped = KEEP**further * (1 - KEEP)  # P(M = SURE + further)
        return float(stopped[SURE + further >= k].sum())

    first, second = (1.0 / reached(k) for k in TERMS)
    return first, second


ex07_2 = Exercise(
    "(1.0, 0.8 ** -3)",
    "The weight of a term is one over the chance that it is computed at all.",
    "A term is computed if every one of the further terms before it, and it itself, was granted.",
    "The first three are certain. Count how many times the chance 0.8 must have said yes before "
    "the sixth is reached.",
    why="1 / P(M >= k) undoes the chance P(M >= k) of being there, so each term counts once on "
    "average.",
    oracle=_chances,
    parts="weight of term 3, weight of term 6",
    right="{truth[0]:.0f} and {truth[1]:.3f}: summed over all stopping places, each term counts "
    "once.",
    wrong={
        (1.0, 2.441): "You count four further terms; the fourth term is the first further one.",
        (1.0, 1.25): "That is the weight of one further term; the sixth needs more than one yes.",
        (1.0, 0.512): "That is the chance of reaching the term; the weight is its inverse.",
        (1.0, 3.815): "You let the chance begin with the first term; three terms are certain.",
        (1.953, 3.815): "You let the chance begin with the first term; three terms are certain, so "
        "term 3 has no chance to be missed.",
        (1.0, 9.766): "You divided by P(M = k), the chance to stop there; a term is also present "
        "when more terms follow.",
    },
    otherwise="For each k ask: in what share of all runs is term k computed?",
)


def trace_estimate(f: Callable[[Tensor], Tensor], x: Tensor, noise: Tensor) -> Tensor:
    """Estimate tr(df/dx) of each row by one noise vector a row: f, (B, D), (B, D) -> (B,)."""
    x = x.detach().requires_grad_()
    (pulled,) = torch.autograd.grad(f(x), x, grad_outputs=noise)  # noise' J, one pass
    return (pulled * noise).sum(dim=1)


def _all_signs() -> list[tuple]:
    w, v, x = torch.randn(3, 3), torch.randn(3, 3), torch.randn(4, 3)

    def f(x: Tensor) -> Tensor:
        return torch.tanh(x @ w) @ v + 0.3 * x

    return [(f, x, torch.tensor(e).expand(4, 3)) for e in product((-1.0, 1.0), repeat=3)]


def _jacobians(f: Callable, x: Tensor) -> Tensor:
    rows = [torch.autograd.functional.jacobian(lambda r: f(r[None])[0], row) for row in x]
    return torch.stack(rows)  # pyright: ignore[reportArgumentType]


def _is_batched(x: Tensor) -> bool:
    """Whether a transform of torch.func runs a tensor through as many at once."""
    functorch = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    while functorch.is_functorch_wrapped_tensor(x):
        if functorch.is_batchedtensor(x):
            return True
        x = functorch.get_unwrapped(x)
    return False


def _price_fault(
    answer: Callable[..., object], f: Callable, x: Tensor, noise: Tensor
) -> str | None:
    """Count the rows that f sees and the products with its Jacobian that are asked for."""
    rows, products = [], []

    class Counted(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(y: Tensor) -> Tensor:
            return y.clone()

        @staticmethod
        def setup_context(ctx, inputs, output) -> None:  # noqa: ANN001
            pass

        @staticmethod
        def backward(ctx, g: Tensor) -> Tensor:  # noqa: ANN001  # pyright: ignore
            products.append(x.shape[1] if _is_batched(g) else 1)
            return g

        @staticmethod
        def jvp(ctx, g: Tensor) -> Tensor:  # noqa: ANN001  # pyright: ignore
            products.append(x.shape[1] if _is_batched(g) else 1)
            return g.clone()

    def counted(at: Tensor) -> Tensor:
        rows.append(math.inf if _is_batched(at) else len(torch.atleast_2d(at)))
        return Counted.apply(f(at))  # pyright: ignore[reportReturnType]

    answer(counted, x, noise)
    if sum(rows) > len(x):
        return (
            "the number is right, but f was called on more than the B rows of x, as for finite "
            "differences or for one row at a time: call f once, on x."
        )
    if sum(products) > 1:
        return (
            f"the number is right, at {sum(products)} products with the Jacobian: one is enough, "
            "torch.autograd.grad(f(x), x, grad_outputs=noise)."
        )


def _whole_jacobian(f: Callable, x: Tensor, noise: Tensor) -> Tensor:
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: f(row[None])[0]))(x)
    return torch.einsum("bi,bij,bj->b", noise, jacobian, noise)


def _differences(f: Callable, x: Tensor, noise: Tensor) -> Tensor:
    both = f(torch.cat([x + 1e-5 * noise, x - 1e-5 * noise])).chunk(2)
    return ((both[0] - both[1]) / 2e-5 * noise).sum(1)


ex07_3 = Exercise(
    trace_estimate,
    "The estimate is noise' J noise, whose mean is tr J if the second moments of the noise are I.",
    "Automatic differentiation gives noise' J without J: look up what grad_outputs means in "
    "torch.autograd.grad.",
    "x must require gradients before f sees it. What you get back has one entry a coordinate; one "
    "more product with the noise and a sum make it a number a row.",
    why="One vector-Jacobian product costs as much as one gradient, whatever D is. It is an "
    "estimate: its mean is the trace, one draw is not.",
    cases=_all_signs,
    oracle=lambda f, x, noise: torch.einsum("bi,bij,bj->b", noise, _jacobians(f, x), noise),
    fault=_price_fault,
    right="over all eight sign vectors the mean is the trace, to nine decimals.",
    wrong={
        "sum( -> mean(": "you average over the dimensions; a trace adds them up.",
        "(pulled * noise) -> (f(x) * noise)": "that is noise.f(x), the value; the derivative is "
        "asked for.",
        "(pulled * noise) -> pulled": "noise' J is right; multiply it by the noise once more "
        "before you add up.",
        (lambda f, x, noise: torch.einsum("bii->b", _jacobians(f, x))): "that is the trace itself; "
        "one product of the Jacobian with the noise is asked for.",
        Like("grad_outputs=noise -> grad_outputs=torch.randn_like(noise)", lambda *_: True): "use "
        "the noise that is handed in, and noise' J noise.",
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
    "xi'A xi = xi'S xi with S = (A + A') / 2: only the symmetric part counts.",
    "Off the diagonal xi_i xi_j has variance 1 in both cases, and S_ij and S_ji add up.",
    "On the diagonal xi_i**2 is constant for signs; for normal noise its variance is that of "
    "a chi-squared number.",
    why="2 sum of S_ij**2 over i != j for signs, over all i, j for a Gaussian. The skew part "
    "of A, pure rotation, costs nothing.",
    oracle=_by_quadrature,
    parts="signs, normal",
    right="4 by all four sign vectors, 14 by quadrature: signs are never worse, and exact for a "
    "diagonal matrix.",
    wrong={
        (14.0, 4.0): "The wrong way round: for signs xi_i**2 = 1, so the diagonal adds no noise.",
        (2.0, 7.0): "Half of it: each pair (i, j) enters twice, as S_ij and as S_ji.",
        (20.0, 30.0): "You took A itself; xi'A xi sees only its symmetric part S.",
    },
    otherwise="Write xi'A xi = sum of S_ij xi_i xi_j, and ask which terms vary.",
)


ex07_5 = Open(
    "One step of rk4 uses the velocity at three times only: 0, 1/2 and 1, at four places a point.",
    "The reported log-density integrates the trace at the same four places. What may the "
    "derivative do between them without being seen?",
    "Compare the loss with the entropy of the moons. What does it mean when a loss is below it, "
    "and which number does the integral over a grid give?",
    answer="The loss at 1 step falls, and with enough training it falls below the entropy of the "
    "moons, about 2.17 nats, which no density can do. With 20 steps the same velocity has a higher "
    "loss, and its end points move by a visible distance. The network has learned "
    "to make the sum low that the solver forms from a few places, and not the integral of the "
    "trace: it relies on the solver's error. The reported density then does not integrate to one, "
    "and is no density. I would report the loss of the fine solver, after checking that doubling "
    "the steps once more leaves it where it is; or train with more steps, or a penalty on curved "
    "paths.",
)

"""Lesson 05: the least loss, how deep a clamped flow must be, determinants that are not unique."""

import math
from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.special import ndtr, ndtri

from gentoolkit.teach.exercise import Exercise, Open, misfit

EIGENVALUES = (4.0, 4.0, 1.0)
CONDITION, CLAMP = 2000.0, 0.3


def _entropy() -> float:
    """The loss is at least the entropy; along each axis, -p log p is integrated on a grid."""
    total = 0.0
    for value in EIGENVALUES:
        x = torch.linspace(-12.0, 12.0, 8001) * math.sqrt(value)
        log_p = Normal(0.0, math.sqrt(value)).log_prob(x)
        total -= float((log_p.exp() * log_p).sum() * (x[1] - x[0]))
    return total


ex05_1 = Exercise(
    "sum(0.5 * math.log(2 * math.pi * math.e * value) for value in (4, 4, 1))",
    "The loss is E|x|**2 / 2 + D log(2 pi) / 2 - log|det W|. At its least, x is white.",
    "White means W S W' = I. Take the determinant of both sides: what is log|det W|?",
    "The energy is then D / 2, and log|det W| is minus half the sum of the logs of the "
    "eigenvalues.",
    why="W S W' = I fixes |det W| = det(S)**(-1/2), whichever rotation W contains. The least "
    "loss is the entropy of the Gaussian, sum of log(2 pi e l) / 2.",
    oracle=_entropy,
    atol=5e-3,
    right="{truth:.4f} nats: the entropy of the Gaussian, by quadrature, is the same.",
    wrong={
        2.8705: "The log-determinant has the wrong sign: wide data need a map that shrinks, and "
        "that costs.",
        2.8863: "The normaliser of the source, log(2 pi) / 2 for each dimension, is missing.",
        7.0294: "You take eigenvalues for deviations: they are variances, so the best map divides "
        "by their square roots.",
        4.1431: "The energy is missing: at the optimum E|x|**2 / 2 is half of D.",
    },
    otherwise="At the optimum x is standard normal. What are E|x|**2 / 2 and log|det W| there?",
)


ex05_2 = Exercise(
    "math.ceil(math.log(2000) / (2 * 0.3))",
    "The condition number is the largest stretch over the smallest one.",
    "One layer changes the largest and the smallest at once: what happens to their ratio?",
    "Find the smallest K with e**(2 c K) at least the condition number.",
    why="K layers reach e**(2 c K). A smaller clamp is more stable and needs more depth: with "
    "too few layers it is stable and wrong.",
    oracle=lambda: next(
        k for k in count() if math.exp(CLAMP) ** k / math.exp(-CLAMP) ** k > CONDITION
    ),
    right="after {truth:.0f} layers the ratio is 2441, and one layer earlier it is still below.",
    wrong={
        26: "You let each layer stretch only; it may shrink another direction too.",
        12: "One more: at this depth the ratio is still below.",
        6: "The clamp bounds a natural logarithm, and you took one to base 10.",
        math.log(CONDITION) / (2 * CLAMP): "A layer is there or not: round up.",
    },
    otherwise="By what factor does one layer change the ratio of largest to smallest stretch?",
)


def twist(z: Tensor, middle: float = -0.25, rim: float = 0.249) -> Tensor:
    """Keep N(0, I) in the plane, (B, 2) -> (B, 2), with a determinant that varies by more than 1.

    Turns the rings of a disc in one quarter of the unit square: it reaches far from the origin.
    """
    u = 0.5 * torch.erf(z / math.sqrt(2.0)) - middle  # uniform on a square
    share = u.square().sum(1) / rim**2
    inside = share < 1.0
    share = share.where(inside, torch.zeros_like(share))
    angle = 4.0 * torch.exp(1.0 - 1.0 / (1.0 - share))  # 0 at the rim
    c, s = angle.cos(), angle.sin()
    turned = torch.stack([c * u[:, 0] - s * u[:, 1], s * u[:, 0] + c * u[:, 1]], dim=1)
    safe = turned.where(inside[:, None], torch.zeros_like(turned)) + middle
    return (math.sqrt(2.0) * torch.erfinv(2.0 * safe)).where(inside[:, None], z)


def _twist_fault(answer: Callable[..., object], z: Tensor) -> str | None:
    moved = answer(z.requires_grad_())
    if not isinstance(moved, Tensor) or not moved.requires_grad:
        return "no gradient flows through your map: use torch's functions, no detach."
    if bad_form := misfit(moved, z):
        return bad_form
    rows = [torch.autograd.grad(moved[:, i].sum(), z, retain_graph=True)[0] for i in (0, 1)]
    log_det = torch.linalg.slogdet(torch.stack(rows, 1)).logabsdet
    if not bool(torch.isfinite(log_det).all()):
        return "the Jacobian is singular at some z: the map is not invertible."
    off = (0.5 * (z.square() - moved.square()).sum(1) + log_det).abs().max()
    spread = float(log_det.max() - log_det.min())
    told = f"log N(y) + log|det| - log N(z) reaches {off:.3g}, should be 0: "
    if spread < 1e-6 and log_det.abs().max() > 1e-6:
        return "log|det| is one number other than 0: the law cannot be kept."
    if off > 1e-5:
        if spread < 1e-6:
            return told + "every volume is kept, but the law of y is not the Gaussian."
        return told + "volumes change, and the law changes with them."
    # No density at a point sees a fold: count where an even grid of z ends up.
    even = (torch.arange(200) + 0.5) / 200
    y = torch.as_tensor(answer(ndtri(torch.cartesian_prod(even, even)))).detach()
    outside = (y.square().sum(1) > 2 * math.log(2.0)).int()
    cells = (4 * outside + 2 * (y[:, 0] > 0).int() + (y[:, 1] > 0).int()).bincount(minlength=8)
    share = cells / len(y)
    if float((share - 0.125).abs().max()) > 0.01:
        return (
            f"of eight parts of the plane with mass 1/8 each, one gets {share.max():.3f}: the map "
            "folds, so that several z reach one y. It is not invertible."
        )
    if spread < 0.1:
        return (
            f"the law is kept, but log|det| varies by {spread:.2g} only: your map turns or stays, "
            "and a turn keeps every volume. Turn somewhere else than in z itself."
        )
    if spread < 1.0:
        return (
            f"the law is kept, and log|det| varies by {spread:.2g}: more than 1 is asked for. "
            "Rings around the middle of the square hardly change the distance from the origin."
        )


ex05_3 = Exercise(
    twist,
    "Whatever keeps the law has log|det| = log N(z) - log N(y): |y| must differ much from |z|.",
    "The distribution function turns each coordinate of z into a uniform number. Turning the "
    "rings of any disc inside the square keeps the uniform law, wherever the disc lies.",
    "Which discs of the square hold places near the origin of the plane and places far from it? "
    "Let the angle fall to 0 at the rim; torch.erf and torch.erfinv go to the square and back.",
    why="In the square the law is uniform, and turning rings keeps it and every area. A disc in "
    "one quarter of the square reaches from near the middle to the sides, which lie far out in the "
    "plane. So a turn exchanges near and far places, and log|det| changes by about one nat either "
    "way. Only E log|det| is the same for all such maps.",
    cases=lambda: [(torch.randn(400, 2),)],
    fault=_twist_fault,
    right="the law is kept, and log|det| varies: the same density, another determinant.",
    wrong={
        (
            lambda z: torch.view_as_real(torch.view_as_complex(z) * (1j * z.norm(dim=1)).exp())
        ): "a turn keeps every volume",
        (lambda z: z + 0.3 * z.sin()): "the law changes with them",
        (lambda z: z[:, :1].expand(-1, 2)): "the map is not invertible",
        (lambda z: z * torch.tensor([2.0, 0.5])): "the law of y is not the Gaussian",
        (lambda z: twist(z.abs())): "several z reach one y",
        (lambda z: twist(z, 0.0, 0.499)): "more than 1 is asked for",
        (lambda z: ndtri(ndtr(z) * torch.tensor([2.0, 0.5]) % 1.0)): "one gets 0.250",
        (lambda z: 2.0 * z): "one number other than 0",
    },
)


def sylvester_log_det(x: Tensor, V: Tensor, A: Tensor, c: Tensor) -> Tensor:
    """Return log |det dy/dx| of y = x + V tanh(A' x + c): (B, D), (D, k), (D, k), (k,) -> (B,)."""
    slope = 1.0 - torch.tanh(x @ A + c) ** 2
    inner = torch.eye(A.shape[1]) + slope[:, :, None] * (A.mT @ V)
    return torch.linalg.slogdet(inner).logabsdet


def _sylvester_cases() -> list[tuple]:
    cases = []
    for size, k, product in ((2, 1, 1.5), (5, 2, 1.5), (6, 3, -4.0)):
        x, A, V = torch.randn(7, size), torch.randn(size, k), torch.randn(size, k)
        wanted = product * torch.eye(k) + 0.7 * torch.randn(k, k)
        V = V + A @ torch.linalg.solve(A.mT @ A, wanted - A.mT @ V)  # now A' V is as wanted
        cases.append((x, V, A, 0.2 * torch.randn(k)))
    return cases


def _slogdet(x: Tensor, V: Tensor, A: Tensor, c: Tensor) -> Tensor:
    def layer(row: Tensor) -> Tensor:
        return row + V @ torch.tanh(A.mT @ row + c)

    rows = [torch.autograd.functional.jacobian(layer, row) for row in x]
    return torch.linalg.slogdet(torch.stack(rows)).logabsdet  # pyright: ignore


ex05_4 = Exercise(
    sylvester_log_det,
    "By the chain rule the Jacobian is I + V times a diagonal matrix times A transposed.",
    "Call the product of the last two factors G, k by D. What is G V, and how large is it?",
    "The diagonal matrix holds 1 - tanh**2 at A'x + c; it is another one for every row of x.",
    why="G V = diag(slope) A'V is k by k, so the determinant costs k**3 and the products D k**2: "
    "more creases a layer than the planar one, at nearly its price.",
    cases=_sylvester_cases,
    oracle=_slogdet,
    right="slogdet of the whole Jacobian agrees to nine decimals, in 2, 5 and 6 dimensions.",
    wrong={
        "return -> return -": "the sign is that of the inverse map.",
        "slope[:, :, None] * -> torch.ones_like(slope)[:, :, None] *": "the derivative of tanh is "
        "missing; it differs from x to x.",
        "1.0 - torch -> torch; ** 2 ->": "you use the value of tanh where its slope belongs.",
        "torch.eye(A.shape[1]) + -> ": "the identity of y = x + ... is missing.",
        "torch.linalg.slogdet(inner).logabsdet -> torch.linalg.det(inner).log()": "V is used as it "
        "is: the determinant can be negative, and its absolute value counts.",
        "torch.linalg.slogdet(inner).logabsdet -> "
        "inner.diagonal(dim1=1, dim2=2).abs().log().sum(1)": "you add the log-determinants of k "
        "planar layers; here the directions act at once, and the k by k matrix is not diagonal.",
    },
    otherwise="the Jacobian is I + V diag(slope) A'. What is its determinant by the lemma?",
)


ex05_5 = Open(
    "One planar layer makes one crease. Count the places where the target's x_1 needs a bend.",
    "The density must be squeezed at two places, and stretched between them.",
    "Compare the effective sample sizes, and the share of points with |x_1| < 0.3.",
    answer="The effective sample size changes most. In runs of ours two layers ended with an ELBO "
    "of 0.7 to 0.8 (log Z is 1.263) and 1,140 to 1,360 effective samples of 4,000, eight with an "
    "ELBO of 1.24 and 3,850; the estimate of log Z stays near the exact value in all of them. Each "
    "crease stretches or squeezes along one line, once. Two creases can pull the cloud apart and "
    "squeeze one side; then about three quarters of the points lie in one well, and 23 to 25 % "
    "between the wells, where the target has 6.5 %. The weights correct that, at the price of "
    "samples. Sixteen layers improve nothing on eight here: 3,800 effective samples, equal ELBO.",
)

"""Lesson 05: the least loss, how deep a clamped flow must be, determinants that are not unique."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Verdict, as_tensor, close, not_yet, passed

EIGENVALUES = (4.0, 4.0, 1.0)
CONDITION, CLAMP = 2000.0, 0.3


def least_loss() -> float:
    """Add half of log(2 pi e l) over the eigenvalues l of the covariance."""
    return sum(0.5 * math.log(2 * math.pi * math.e * value) for value in EIGENVALUES)


def _judge_least_loss(answer: object) -> Verdict:
    # The loss is at least the entropy; along each axis, -p log p is integrated on a grid.
    truth = 0.0
    for value in EIGENVALUES:
        x = torch.linspace(-12.0, 12.0, 8001, dtype=torch.float64) * math.sqrt(value)
        log_p = torch.distributions.Normal(0.0, math.sqrt(value)).log_prob(x)
        truth -= float((log_p.exp() * log_p).sum() * (x[1] - x[0]))
    stretch = sum(math.log(value) for value in EIGENVALUES)
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"{truth:.4f} nats: the entropy of the Gaussian, by quadrature, is the same.",
        wrong={
            truth - stretch: "The log-determinant has the wrong sign: wide data need a map that "
            "shrinks, and that costs.",
            truth - 1.5 * math.log(2 * math.pi): "The normaliser of the source, log(2 pi) / 2 for "
            "each dimension, is missing.",
            truth + 0.5 * stretch: "You take eigenvalues for deviations: they are variances, so "
            "the best map divides by their square roots.",
            truth - 1.5: "The energy is missing: at the optimum E|z|**2 / 2 is half of D.",
        },
        otherwise="At the optimum z is standard normal. What are E|z|**2 / 2 and log|det W| there?",
    )


def depth() -> int:
    """Count the layers whose stretches and shrinkings multiply to the condition number."""
    return math.ceil(math.log(CONDITION) / (2 * CLAMP))


def _judge_depth(answer: object) -> Verdict:
    # Multiply layer by layer until the ratio of the two stretches is reached.
    layers, wide, narrow = 0, 1.0, 1.0
    while wide / narrow < CONDITION:
        wide, narrow, layers = wide * math.exp(CLAMP), narrow * math.exp(-CLAMP), layers + 1
    return close(
        answer,
        truth=layers,
        atol=0.4,
        right=f"after {layers} layers the ratio is {wide / narrow:.0f}, and one layer earlier "
        "it is still below.",
        wrong={
            2.0 * layers: "You let each layer stretch only; it may shrink another direction too.",
            layers - 1.0: "One more: at this depth the ratio is still below.",
            float(math.ceil(math.log10(CONDITION) / (2 * CLAMP))): "The clamp bounds a natural "
            "logarithm, and you took one to base 10.",
        },
        otherwise="By what factor does one layer change the ratio of largest to smallest stretch?",
    )


def twist(z: Tensor) -> Tensor:
    """Keep N(0, I) in the plane, (B, 2) -> (B, 2), with a determinant that varies."""
    u = 0.5 * torch.erf(z / math.sqrt(2.0))  # uniform on a square of side 1 around 0
    share = (u.square().sum(1) / 0.499**2).clamp(max=1 - 1e-12)
    angle = 4.0 * torch.exp(1.0 - 1.0 / (1.0 - share))  # 0 from the rim on
    c, s = angle.cos(), angle.sin()
    turned = torch.stack([c * u[:, 0] - s * u[:, 1], s * u[:, 0] + c * u[:, 1]], dim=1)
    return math.sqrt(2.0) * torch.erfinv(2.0 * turned)


def _turn_by_radius(z: Tensor) -> Tensor:
    angle = z.norm(dim=1)
    c, s = angle.cos(), angle.sin()
    return torch.stack([c * z[:, 0] - s * z[:, 1], s * z[:, 0] + c * z[:, 1]], dim=1)


def _stretched(z: Tensor) -> Tensor:
    return z * torch.tensor([2.0, 0.5], dtype=z.dtype)


def _bent(z: Tensor) -> Tensor:
    return z + 0.3 * torch.sin(z)


def _flattened(z: Tensor) -> Tensor:
    return torch.stack([z[:, 0], z[:, 0]], dim=1)


def _judge_twist(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(400, 2, generator=generator, dtype=torch.float64).requires_grad_()
    moved = answer(z)
    y = as_tensor(moved, (400, 2))
    if not isinstance(moved, Tensor) or not moved.requires_grad:
        return not_yet("no gradient flows through your map: use torch's functions, no detach.")
    rows = []
    for i in (0, 1):
        (row,) = torch.autograd.grad(moved[:, i].sum(), z, retain_graph=True)
        rows.append(row)
    log_det = torch.linalg.slogdet(torch.stack(rows, 1)).logabsdet
    if not bool(torch.isfinite(log_det).all()):
        return not_yet("the Jacobian is singular at some z: the map is not invertible.")
    off = 0.5 * (z.detach().square() - y.square()).sum(1) + log_det  # log N(y) + log|det| - log N
    worst = float(off.abs().max())
    spread = float(log_det.max() - log_det.min())
    if spread < 1e-6 and float(log_det.abs().max()) > 1e-6:
        return not_yet("log|det| is one number other than 0: the law cannot be kept.")
    if worst > 1e-5:
        if spread < 1e-6:
            return not_yet(
                f"every volume is kept, but log N(y) + log|det| - log N(z) reaches {worst:.3g}: "
                "the law of y is not the Gaussian."
            )
        return not_yet(
            f"log N(y) + log|det| - log N(z) reaches {worst:.3g}, should be 0: volumes change, and "
            "the law changes with them."
        )
    if spread < 0.1:
        return not_yet(
            f"the law is kept, but log|det| varies by {spread:.2g} only: your map turns, and a "
            "turn keeps every volume. Turn somewhere else than in z itself."
        )
    return passed(
        f"the law is kept to {max(worst, 1e-9):.0e}, and log|det| varies by {spread:.2f}: the same "
        "density, another determinant."
    )


def planar_log_det(x: Tensor, w: Tensor, u: Tensor, b: float) -> Tensor:
    """Return log |det dy/dx| of y = x + u tanh(w.x + b): (B, D), (D,), (D,), number -> (B,)."""
    slope = 1.0 - torch.tanh(x @ w + b) ** 2
    return torch.log(torch.abs(1.0 + slope * (w @ u)))


def _no_slope(x: Tensor, w: Tensor, u: Tensor, b: float) -> Tensor:
    return torch.log(torch.abs(1.0 + w @ u)).expand(len(x))


def _tanh_for_slope(x: Tensor, w: Tensor, u: Tensor, b: float) -> Tensor:
    return torch.log(torch.abs(1.0 + torch.tanh(x @ w + b) * (w @ u)))


def _inverse_sign(x: Tensor, w: Tensor, u: Tensor, b: float) -> Tensor:
    return -planar_log_det(x, w, u, b)


def _without_identity(x: Tensor, w: Tensor, u: Tensor, b: float) -> Tensor:
    return torch.log(torch.abs((1.0 - torch.tanh(x @ w + b) ** 2) * (w @ u)))


def _without_log(x: Tensor, w: Tensor, u: Tensor, b: float) -> Tensor:
    return torch.exp(planar_log_det(x, w, u, b))


def _judge_planar(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(9)
    for size in (2, 5):
        x, w, u = (
            torch.randn(*shape, generator=generator, dtype=torch.float64)
            for shape in ((7, size), (size,), (size,))
        )
        u = u + (1.5 - w @ u) * w / (w @ w)  # w.u = 1.5: invertible
        given = as_tensor(answer(x, w, u, 0.2), (7,))
        jacobians = torch.stack(
            [
                torch.autograd.functional.jacobian(
                    lambda p, w=w, u=u: p + u * torch.tanh(w @ p + 0.2), row
                )
                for row in x
            ]
        )
        truth = torch.linalg.slogdet(jacobians).logabsdet
        if torch.allclose(given, truth, atol=1e-9, rtol=0.0):
            continue
        start = f"at one point log|det| is {float(truth[0]):.3f}, and yours {float(given[0]):.3f}: "
        bent = torch.tanh(x @ w + 0.2)
        if torch.allclose(given, -truth, atol=1e-9):
            return not_yet(start + "the sign is that of the inverse map.")
        if torch.allclose(given, truth.exp(), atol=1e-9):
            return not_yet(start + "that is the determinant; its log is asked for.")
        if torch.allclose(given, (1 + w @ u).abs().log().expand(7), atol=1e-9):
            return not_yet(start + "the derivative of tanh is missing; it differs from x to x.")
        if torch.allclose(given, (1 + bent * (w @ u)).abs().log(), atol=1e-9):
            return not_yet(start + "you use the value of tanh where its slope belongs.")
        if torch.allclose(given, ((1 - bent**2) * (w @ u)).abs().log(), atol=1e-9):
            return not_yet(start + "the identity of y = x + ... is missing: 1 + something.")
        return not_yet(
            start + "the Jacobian is I + u (slope * w)' with u as it is: what is its determinant?"
        )
    return passed("slogdet of the whole Jacobian agrees to nine decimals, in 2 and 5 dimensions.")


EXERCISES = (
    Exercise(
        name="ex05_1",
        ask=f"Data with mean zero have a covariance with eigenvalues {EIGENVALUES}. What is the "
        "least loss of a linear flow z = W x, in nats?",
        judge=_judge_least_loss,
        hints=(
            "The loss is E|z|**2 / 2 + D log(2 pi) / 2 - log|det W|. At its least, z is white.",
            "White means W S W' = I. Take the determinant of both sides: what is log|det W|?",
            "The energy is then D / 2, and log|det W| is minus half the sum of the logs of the "
            "eigenvalues.",
        ),
        solution=least_loss,
        why="W S W' = I fixes |det W| = det(S)**(-1/2), whichever rotation W contains. The least "
        "loss is the entropy of the Gaussian, sum of log(2 pi e l) / 2.",
        wrong=(
            (2.8705, "wrong sign"),
            (2.8863, "normaliser of the source"),
            (7.0294, "variances"),
            (4.1431, "The energy is missing"),
        ),
    ),
    Exercise(
        name="ex05_2",
        ask=f"Data force a condition number of {CONDITION:g}. Each layer's log-scale lies in "
        f"[-{CLAMP}, {CLAMP}], so it can stretch one direction by e**{CLAMP} and shrink another by "
        f"e**-{CLAMP}. How many layers are needed at least (by their diagonals alone)?",
        judge=_judge_depth,
        hints=(
            "The condition number is the largest stretch over the smallest one.",
            "One layer changes the largest and the smallest at once: what happens to their ratio?",
            "Find the smallest K with e**(2 c K) at least the condition number.",
        ),
        solution=depth,
        why="K layers reach e**(2 c K). A smaller clamp is more stable and needs more depth: with "
        "too few layers it is stable and wrong.",
        wrong=((26, "stretch only"), (12, "One more"), (6, "base 10")),
    ),
    Exercise(
        name="ex05_3",
        ask="Write twist(z), (B, 2) -> (B, 2), an invertible map that keeps the law N(0, I) and "
        "whose log|det| is not the same everywhere (it varies by more than 0.1).",
        judge=_judge_twist,
        hints=(
            "Whatever keeps the law has log|det| = log N(z) - log N(y): |y| must differ from |z|.",
            "The distribution function turns each coordinate of z into a uniform number. A turn "
            "keeps a uniform law, but the square has corners.",
            "Turn u = Phi(z) - 1/2 by an angle that falls to 0 at the rim of the disc |u| < 1/2, "
            "then map back: torch.erf and torch.erfinv do both ways.",
        ),
        solution=twist,
        why="In u the law is uniform and a turn keeps it and every volume. Mapped back, |y| is not "
        "|z|, so volume changes from place to place while the law stays. Only E log|det| is the "
        "same for all such maps.",
        wrong=(
            (_turn_by_radius, "a turn keeps every volume"),
            (_bent, "the law changes with them"),
            (_flattened, "not invertible"),
            (_stretched, "the law of y is not the Gaussian"),
        ),
        code=True,
    ),
    Exercise(
        name="ex05_4",
        ask="Write planar_log_det(x, w, u, b): log|det dy/dx| of y = x + u tanh(w.x + b), for x of "
        "shape (B, D), w and u (D,), b a number. It returns shape (B,).",
        judge=_judge_planar,
        hints=(
            "The Jacobian is the identity plus something of rank one.",
            "det(I + u v') = 1 + v.u. What is v here?",
            "v is w times the derivative of tanh, 1 - tanh**2, at w.x + b.",
        ),
        solution=planar_log_det,
        why="A rank-one change of the identity moves only one direction, so its determinant costs "
        "D operations in place of D**3. This is the price list of flows in one line.",
        wrong=(
            (_no_slope, "derivative of tanh is missing"),
            (_tanh_for_slope, "value of tanh"),
            (_inverse_sign, "of the inverse map"),
            (_without_identity, "identity of y"),
            (_without_log, "its log is asked for"),
        ),
        code=True,
    ),
)

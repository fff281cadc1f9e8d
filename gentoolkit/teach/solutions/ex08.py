"""Lesson 08: the gradient of a learned inverse, its bias, its failure, and the exact density."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_number,
    close,
    not_yet,
    passed,
)
from gentoolkit.teach.solutions.ex08_oracles import (
    PENALTIES,
    RATE,
    STEPS,
    VARIANCES,
    covariance,
    judge_density,
    judge_surrogate,
    loss_by_autograd,
)

WEIGHT = ((2.0, 0.0), (0.0, 4.0))
RECOVER = ((0.5, 0.03), (-0.04, 0.25))


def surrogate(w: Tensor, r: Tensor, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Give (gW, gR) of z = W x with learned inverse R; x and d = dL/dz are (B, D) each."""
    n = len(x)
    dx = d @ w  # W' d of each row
    return (d.T @ x / n - r.T) / 2, (w.T - dx.T @ (x @ w.T) / n) / 2


def _not_halved(w: Tensor, r: Tensor, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    g, h = surrogate(w, r, x, d)
    return 2 * g, 2 * h


def _r_as_it_is(w: Tensor, r: Tensor, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    g, h = surrogate(w, r, x, d)
    return g + (r.T - r) / 2, h


def _summed(w: Tensor, r: Tensor, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    return (d.T @ x - r.T) / 2, (w.T - (d @ w).T @ (x @ w.T)) / 2


def _r_uphill(w: Tensor, r: Tensor, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    g, h = surrogate(w, r, x, d)
    return g, -h


def _inverted(w: Tensor, r: Tensor, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    return surrogate(w, torch.linalg.inv(w), x, d)


def bias() -> float:
    """Take the Frobenius norm of R - W**-1."""
    off = torch.tensor(RECOVER) - torch.linalg.inv(torch.tensor(WEIGHT))
    return float(off.norm())


def _judge_bias(answer: object) -> Verdict:
    # On data: the exact gradient by autograd, against the surrogate, for two batches.
    w = torch.tensor(WEIGHT, dtype=torch.float64).requires_grad_()
    r, offs = torch.tensor(RECOVER, dtype=torch.float64), []
    for seed in (0, 1):
        x = torch.randn(9, 2, generator=torch.Generator().manual_seed(seed)).double()
        loss = 0.5 * (x @ w.T).square().sum(1).mean() - torch.linalg.slogdet(w).logabsdet
        (exact,) = torch.autograd.grad(loss, w)
        told = torch.einsum("bi,bj->ij", (x @ w.T).detach(), x) / len(x) - r.T
        offs.append(float((told - exact).norm()))
    truth = offs[0]
    eye = torch.eye(2, dtype=torch.float64)
    return close(
        answer,
        truth=truth,
        atol=5e-4,
        right=f"{offs[0]:.3f} on one batch and {offs[1]:.3f} on another: no data enter.",
        wrong={
            truth / 2: "That is the bias of gW itself; the question doubles it first.",
            float((r @ w.detach() - eye).norm()): "That is |R W - I|, the reconstruction error; "
            "what stands in the gradient is R itself.",
            truth**2: "That is the square of the norm.",
            float((r - torch.linalg.inv(w.detach())).abs().sum()): "You add absolute values; the "
            "Frobenius norm is the root of the sum of squares.",
        },
        otherwise="Subtract the two gradients on paper: the term with the data cancels.",
    )


@lru_cache
def failed_run() -> tuple[float, float]:
    """Run all penalties from W = R = I; return the one with the greatest exact loss, and that."""
    s, eye, losses = covariance(), torch.eye(4, dtype=torch.float64), {}
    for penalty in PENALTIES:
        w, r, rate = eye, eye, RATE / max(1.0, penalty)
        for _ in range(STEPS):
            off = (r @ w - eye) @ s
            gw = (w @ s - r.T) / 2 + 2 * penalty * r.T @ off
            gr = (w.T - w.T @ w @ s @ w.T) / 2 + 2 * penalty * off @ w.T
            w, r = w - rate * gw, r - rate * gr
        energy = torch.trace(w @ s @ w.T) / 2 + 2 * math.log(2 * math.pi)
        losses[penalty] = float(energy - torch.linalg.slogdet(w).logabsdet)
    worst = max(losses, key=lambda penalty: losses[penalty])
    return worst, losses[worst]


def _judge_failed(answer: object) -> Verdict:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return not_yet("two numbers are asked for: (penalty, its exact loss).")
    penalty, loss = as_number(answer[0]), as_number(answer[1])
    best = sum(0.5 * math.log(2 * math.pi * math.e * v) for v in VARIANCES)
    if abs(penalty - 10.0) < 1e-9:
        return not_yet("the run of the large penalty is slower, and it does reach the optimum.")
    if abs(penalty - 1.0) < 1e-9:
        return not_yet(f"the run of penalty 1 reaches {best:.4f}, the entropy: it did not fail.")
    if abs(penalty - 0.1) > 1e-9:
        return not_yet("the penalty should be one of the three.")
    truth = loss_by_autograd(0.1)
    if abs(loss - truth) < 0.05:
        return passed(f"penalty 0.1 ends at {truth:.2f}, {truth - best:.2f} above the optimum.")
    if abs(loss - best) < 0.05:
        return not_yet("the penalty is right; the loss you give is the optimum, not its own.")
    return not_yet(
        f"the penalty is right; its loss is not {loss:.4g}. Evaluate it with the exact log|det W|, "
        f"after {STEPS} steps."
    )


def log_density(x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> Tensor:
    """Return log p(x) under z = W x + b ~ N(0, I): (B, D), (D, D), (D, D), (D,) -> (B,)."""
    z = x @ w.T + b
    normal = -0.5 * z.square().sum(1) - 0.5 * x.shape[1] * math.log(2 * math.pi)
    return normal + torch.linalg.slogdet(w).logabsdet  # R has no say


def _determinant_of_r(x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> Tensor:
    exact = torch.linalg.slogdet(w).logabsdet
    return log_density(x, w, r, b) - exact - torch.linalg.slogdet(r).logabsdet


def _minus(x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> Tensor:
    return log_density(x, w, r, b) - 2 * torch.linalg.slogdet(w).logabsdet


def _none(x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> Tensor:
    return log_density(x, w, r, b) - torch.linalg.slogdet(w).logabsdet


def _without_bias(x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> Tensor:
    return log_density(x, w, r, torch.zeros_like(b))


EXERCISES = (
    Exercise(
        name="ex08_1",
        ask="Write surrogate(w, r, x, d): the gradients (gW, gR) of a self-normalizing layer "
        "z = W x, from W and R, (D, D), a batch x and d = dL/dz of each row, (B, D).",
        judge=judge_surrogate,
        hints=(
            "The exact gradient in W is E[d x'] - W**-T. What stands for W**-T?",
            "The same density written with R**-1 for W has the gradient -E[dx (W x)'] + R**-T in "
            "R, with dx = W'd. What stands for R**-T?",
            "W and R share one loss, so each gets half. E is the mean over the batch.",
        ),
        solution=surrogate,
        why="R' takes the place of W**-T and W' that of R**-T: no inverse and no determinant, "
        "D**2 a row. Where RW = I both are exact halves.",
        wrong=(
            (_not_halved, "the other half"),
            (_r_as_it_is, "a transpose"),
            (_summed, "sum over the batch"),
            (_r_uphill, "wrong sign"),
            (_inverted, "you invert W"),
        ),
        code=True,
    ),
    Exercise(
        name="ex08_2",
        ask=f"W = {WEIGHT} and R = {RECOVER}. By how much is 2 gW off the exact gradient in W, in "
        "the Frobenius norm?",
        judge=_judge_bias,
        hints=(
            "Write both gradients down: E[d x'] stands in both.",
            "What is left is R' against W**-T.",
            "A transpose keeps the Frobenius norm: the root of the sum of squares of R - W**-1.",
        ),
        solution=bias,
        why="The term with the data cancels, so the bias is |R - W**-1|, known without a single "
        "datum. Reconstruction keeps it small.",
        wrong=(
            (0.025, "doubles it"),
            (0.1442, "reconstruction error"),
            (0.0025, "square of the norm"),
            (0.07, "absolute values"),
        ),
    ),
    Exercise(
        name="ex08_3",
        ask="Train one layer without bias on the four-dimensional Gaussian of the lesson, "
        f"{STEPS} steps from W = R = I at rate {RATE} / max(1, penalty), with penalties "
        f"{PENALTIES}. Which run failed, and at which exact loss? Answer (penalty, loss).",
        judge=_judge_failed,
        hints=(
            "Evaluate each run with the exact log|det W|, not with its training loss.",
            "The best loss of any linear flow is the entropy of the Gaussian. Who stays above?",
            "In the failing run R W is not I: one singular value of W and R went to zero.",
        ),
        solution=failed_run,
        why="With too small a penalty R stops following W, and a direction of both dies: a "
        "stationary point of the coupled update that the surrogate gradient does not feel.",
        wrong=(
            ((10.0, 6.0223), "does reach the optimum"),
            ((1.0, 6.0223), "did not fail"),
            ((0.1, 6.0223), "not its own"),
            ((0.1, 9.0), "exact log|det W|"),
        ),
    ),
    Exercise(
        name="ex08_4",
        ask="Write log_density(x, w, r, b): the exact log p(x) of data x, (B, D), under "
        "z = W x + b ~ N(0, I), when R is only near the inverse of W. It returns (B,).",
        judge=judge_density,
        hints=(
            "Change of variables from x to z: log N(z) plus one more term.",
            "The term is the log of |det dz/dx|. Which of the two matrices is dz/dx?",
            "torch.linalg.slogdet gives it safely; keep D log(2 pi) / 2 in log N(z).",
        ),
        solution=log_density,
        why="R serves the gradient and fast samples. A likelihood is a statement about the W "
        "chain, so it is made with W alone, once, after training.",
        wrong=(
            (_determinant_of_r, "no likelihood"),
            (_minus, "has the wrong sign"),
            (_none, "log-determinant is missing"),
            (_without_bias, "bias is missing"),
        ),
        code=True,
    ),
)

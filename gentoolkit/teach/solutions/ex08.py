"""Lesson 08: the gradient of a learned inverse, its bias, its failure, and the exact density."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from gentoolkit.teach.exercise import Exercise, Like, Open

WEIGHT = ((2.0, 0.0), (0.0, 4.0))
INVERSE = ((0.5, 0.03), (-0.04, 0.25))
PENALTIES, RATE, STEPS = (0.1, 1.0, 10.0), 0.02, 6000
VARIANCES = (0.25, 1.0, 2.0, 4.0)
TURNS = ((0, 1, 0.5), (0, 2, 0.2), (1, 2, 0.7), (0, 3, 0.1), (2, 3, 0.3))


def surrogate(w: Tensor, v: Tensor, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Give (gW, gV) of z = W x with learned inverse V; x and d = dL/dz are (B, D) each."""
    n = len(x)
    dx = d @ w  # W' d of each row
    return (d.T @ x / n - v.T) / 2, (w.T - dx.T @ (x @ w.T) / n) / 2


def _layers() -> list[tuple]:
    """At V = W**-1 both are known exactly; beside it gW moves with V."""
    noise, x, d = torch.randn(3, 3), torch.randn(40, 3), torch.randn(40, 3)
    w = torch.eye(3) + 0.3 * noise
    v = torch.linalg.inv(w)
    return [(w, v, x, d), (w, v + 0.1 * noise, x, d)]


def _by_autograd(w: Tensor, v: Tensor, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate the density written with W, and written with an inverse V; halve both."""
    w, back = w.requires_grad_(), torch.linalg.inv(w.detach()).requires_grad_()
    by_w = (d * (x @ w.T)).sum(1).mean() - torch.linalg.slogdet(w).logabsdet
    by_r = (d * torch.linalg.solve(back, x.T).T).sum(1).mean() + torch.linalg.slogdet(back)[1]
    (in_w,), (in_r,) = torch.autograd.grad(by_w, w), torch.autograd.grad(by_r, back)
    return (in_w + back.T - v.T) / 2, in_r / 2


ex08_1 = Exercise(
    surrogate,
    "The exact gradient in W is E[d x'] - W**-T. What stands for W**-T?",
    "The same density written with V**-1 for W has the gradient -E[dx (W x)'] + V**-T in "
    "V, with dx = W'd. What stands for V**-T?",
    "W and V share one loss, so each gets half. E is the mean over the batch.",
    why="V' takes the place of W**-T and W' that of V**-T: no inverse and no determinant, "
    "D**2 a row. Where VW = I both are exact halves.",
    cases=_layers,
    oracle=_by_autograd,
    parts="gW, gV",
    right="both are half the exact gradients at V = W**-1, and gW moves with V elsewhere.",
    wrong={
        "/ 2 ->": "gW is the whole exact gradient; the other half belongs to V.",
        "v.T -> v": "2 gW is off by V - V': a transpose is missing.",
        "/ n ->": "you sum over the batch; the mean is asked for, and V' enters once.",
        "w.T - dx.T -> dx.T; x @ w.T) / n -> x @ w.T) / n - w.T": "gW is right, and gV has the "
        "wrong sign: V would climb.",
        "v.T -> torch.linalg.inv(w).T": "you invert W; the point is to use V, also where V is not "
        "the inverse.",
    },
    otherwise="At V = W**-1, 2 gW and 2 gV should be the exact gradients.",
)


def bias() -> float:
    """Take the Frobenius norm of V - W**-1."""
    off = torch.tensor(INVERSE) - torch.linalg.inv(torch.tensor(WEIGHT))
    return float(off.norm())


def _bias_on_data() -> float:
    """Subtract the exact gradient, by autograd, from the surrogate on one batch."""
    w, v, x = torch.tensor(WEIGHT, requires_grad=True), torch.tensor(INVERSE), torch.randn(9, 2)
    loss = 0.5 * (x @ w.T).square().sum(1).mean() - torch.linalg.slogdet(w).logabsdet
    told = w.detach() @ x.T @ x / len(x) - v.T
    return float((told - torch.autograd.grad(loss, w)[0]).norm())


ex08_2 = Exercise(
    bias,
    "Write both gradients down: E[d x'] stands in both.",
    "What is left is V' against W**-T.",
    "A transpose keeps the Frobenius norm: the root of the sum of squares of V - W**-1.",
    why="The term with the data cancels, so the bias is |V - W**-1|, known without a single "
    "data point. Reconstruction keeps it small.",
    oracle=_bias_on_data,
    atol=5e-4,
    right="{truth:.3f} on any batch: no data enter.",
    wrong={
        0.025: "That is the bias of gW itself; the question doubles it first.",
        0.1442: "That is |V W - I|, the reconstruction error; what stands in the gradient is V "
        "itself.",
        0.0025: "That is the square of the norm.",
        0.07: "You add absolute values; the Frobenius norm is the root of the sum of squares.",
    },
    otherwise="Subtract the two gradients on paper: the term with the data cancels.",
)


def _covariance() -> Tensor:
    """Return the covariance of the lesson's four-dimensional Gaussian."""
    skew = torch.zeros(4, 4)
    for i, j, value in TURNS:
        skew[i, j], skew[j, i] = value, -value
    turn = torch.linalg.matrix_exp(skew)
    return turn @ torch.tensor(VARIANCES).diag() @ turn.T


@lru_cache
def failed_run() -> tuple[float, float]:
    """Run all penalties from W = V = I; return the one with the greatest exact loss, and that."""
    s, eye, losses = _covariance(), torch.eye(4), {}
    for penalty in PENALTIES:
        w, v, rate = eye, eye, RATE / max(1.0, penalty)
        for _ in range(STEPS):
            off = (v @ w - eye) @ s
            gw = (w @ s - v.T) / 2 + 2 * penalty * v.T @ off
            gr = (w.T - w.T @ w @ s @ w.T) / 2 + 2 * penalty * off @ w.T
            w, v = w - rate * gw, v - rate * gr
        energy = torch.trace(w @ s @ w.T) / 2 + 2 * math.log(2 * math.pi)
        losses[penalty] = float(energy - torch.linalg.slogdet(w).logabsdet)
    worst = max(losses, key=lambda penalty: losses[penalty])
    return worst, losses[worst]


def _run_by_autograd() -> tuple[float, float]:
    """Train at 0.1 on rows whose second moments are S, each term's gradient by derivation."""
    root = 2.0 * torch.linalg.cholesky(_covariance()).T
    x = torch.cat([root, -root])
    w, v = (torch.eye(4).requires_grad_() for _ in range(2))
    for _ in range(STEPS):
        z = x @ w.T
        dx, wx = (z @ w).detach(), z.detach()
        # Each of the two halves is a scalar in one matrix, the other held fixed.
        in_w = z.square().sum(1).mean() / 4 - (w * v.detach().T).sum() / 2
        in_r = ((v * w.detach().T).sum() - (dx @ v * wx).sum(1).mean()) / 2
        back = 0.1 * (z @ v.T - x).square().sum(1).mean()
        gw, gr = torch.autograd.grad(in_w + in_r + back, (w, v))
        with torch.no_grad():
            w -= RATE * gw
            v -= RATE * gr
    law = MultivariateNormal(torch.zeros(4), precision_matrix=w.detach().T @ w.detach())
    return 0.1, -float(law.log_prob(x).mean())


ex08_3 = Exercise(
    failed_run,
    "Evaluate each run with the exact log|det W|, not with its training loss.",
    "The best loss of any linear flow is the entropy of the Gaussian. Who stays above?",
    "In the failing run V W is not I: one singular value of W and V went to zero.",
    why="With too small a penalty V stops following W, and a direction of both dies: a "
    "stationary point of the coupled update that the surrogate gradient does not feel.",
    oracle=_run_by_autograd,
    parts="penalty, its exact loss",
    atol=0.05,
    right="penalty 0.1 ends at {truth[1]:.2f}, far above the optimum 6.02.",
    wrong={
        Like((10.0, 6.0223), lambda pair: pair[0] == 10): "The run of the large penalty is slower, "
        "and it does reach the optimum.",
        Like((1.0, 6.0223), lambda pair: pair[0] == 1): "The run of penalty 1 reaches 6.0223, the "
        "entropy: it did not fail.",
        Like(
            (0.5, 9.0), lambda pair: abs(pair[0] - 0.1) > 0.05
        ): "The penalty should be one of the three.",
        (0.1, 6.0223): "The penalty is right; the loss you give is the optimum, not its own.",
    },
    otherwise="Evaluate it with the exact log|det W|, after 6000 steps.",
)


def log_density(x: Tensor, w: Tensor, v: Tensor, b: Tensor) -> Tensor:
    """Return log p(x) under z = W x + b ~ N(0, I): (B, D), (D, D), (D, D), (D,) -> (B,)."""
    z = x @ w.T + b
    normal = -0.5 * z.square().sum(1) - 0.5 * x.shape[1] * math.log(2 * math.pi)
    return normal + torch.linalg.slogdet(w).logabsdet  # V has no say


def _gaussian(x: Tensor, w: Tensor, v: Tensor, b: Tensor) -> Tensor:
    """X = W**-1 (z - b) is Gaussian: its mean and its precision say all."""
    return MultivariateNormal(-torch.linalg.solve(w, b), precision_matrix=w.T @ w).log_prob(x)


def _inverse_pairs() -> list[tuple]:
    w = torch.eye(3) + 0.4 * torch.randn(3, 3)
    return [(torch.randn(6, 3), w, torch.linalg.inv(w) + 0.1 * torch.randn(3, 3), torch.randn(3))]


ex08_4 = Exercise(
    log_density,
    "Change of variables from x to z: log N(z) plus one more term.",
    "The term is the log of |det dz/dx|. Which of the two matrices is dz/dx?",
    "torch.linalg.slogdet gives it safely; keep D log(2 pi) / 2 in log N(z).",
    why="V serves the gradient and fast samples. A likelihood is a statement about the W "
    "chain, so it is made with W alone, once, after training.",
    cases=_inverse_pairs,
    oracle=_gaussian,
    right="the Gaussian with precision W'W gives the same six numbers; V is not asked.",
    wrong={
        "+ torch.linalg.slogdet(w) -> - torch.linalg.slogdet(v)": "V is not the inverse of W: a "
        "number made from V is no likelihood.",
        "+ torch -> - torch": "the log-determinant has the wrong sign.",
        "+ torch.linalg.slogdet(w).logabsdet ->": "the log-determinant is missing.",
        "- 0.5 * x.shape[1] -> + 0.0": "log(2 pi) / 2 of each dimension is missing.",
        "w.T + b -> w.T": "the bias is missing from z.",
    },
    otherwise="log p(x) = log N(z) + log|det dz/dx|: which of the two is off?",
)


ex08_5 = Open(
    "The two numbers need not move together: one is about the layer, the other about the data.",
    "With penalty 1 print `flow.reconstruction_error()` and the exact loss at the end. With 100, "
    "look at how fast the loss falls as well as at where it ends.",
    "A penalty is a second task for W. What does W do when this task has the larger gradient?",
    answer="With penalty 1 the reconstruction error ends far above 0.1, the library warns, and the "
    "exact loss is several nats or more above the run with 10: the gradient is biased by "
    "V - W^-1. With penalty 100 the error is the smallest of the three, but the loss falls more "
    "slowly, because most of each gradient now serves the penalty. So a small error does not prove "
    "a good loss, and a large one is a reason to distrust the run. If the exact loss were too "
    "expensive, I would watch the reconstruction error as an alarm, and compute the exact loss "
    "every few hundred steps: one determinant then costs little beside the steps between.",
)

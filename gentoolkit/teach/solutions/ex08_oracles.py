"""Oracles of lesson 08: automatic derivatives and torch's Gaussian against the learner's answer."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Verdict, as_tensor, not_yet, passed

PENALTIES, RATE, STEPS = (0.1, 1.0, 10.0), 0.02, 6000
VARIANCES = (0.25, 1.0, 2.0, 4.0)
TURNS = ((0, 1, 0.5), (0, 2, 0.2), (1, 2, 0.7), (0, 3, 0.1), (2, 3, 0.3))


def judge_surrogate(answer: Callable[..., object]) -> Verdict:
    """Compare (gW, gR) with the exact gradients of the density in W, and in R."""
    generator = torch.Generator().manual_seed(4)
    noise, x = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (3, 40))
    eye = torch.eye(3, dtype=torch.float64)
    w = (eye + 0.3 * noise).requires_grad_()
    r = torch.linalg.inv(w.detach()).requires_grad_()

    def energy(z: Tensor) -> Tensor:
        return (z.cosh().log() + 0.5 * z.square()).sum(1).mean()  # of any source, not normal

    z = (x @ w.T).detach().requires_grad_()
    d = torch.autograd.grad(energy(z), z)[0] * len(x)
    (in_w,) = torch.autograd.grad(energy(x @ w.T) - torch.linalg.slogdet(w).logabsdet, w)
    by_r = energy(torch.linalg.solve(r, x.T).T) + torch.linalg.slogdet(r).logabsdet
    (in_r,) = torch.autograd.grad(by_r, r)

    def ask(recover: Tensor) -> tuple[Tensor, Tensor] | None:
        pair = answer(w.detach(), recover, x, d)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            return None
        return as_tensor(pair[0], (3, 3)), as_tensor(pair[1], (3, 3))

    given, apart = ask(r.detach()), ask(r.detach() + 0.1 * noise)
    if given is None or apart is None:
        return not_yet("two gradients are asked for: return gW, gR.")
    g, h = given

    def same(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a, b, atol=1e-9, rtol=0.0)

    start = "at R = W**-1, "
    if same(g, in_w):
        return not_yet(start + "gW is the whole exact gradient; the other half belongs to R.")
    if same(2 * g - r.T + r, in_w):
        return not_yet(start + "2 gW is off by R - R': a transpose is missing.")
    if same(2 * g + r.T, (in_w + torch.linalg.inv(w).T) * len(x)):
        return not_yet(start + "you sum over the batch; the mean is asked for, and R' enters once.")
    if not same(2 * g, in_w):
        off = float((2 * g - in_w).norm().detach())
        return not_yet(start + f"2 gW should be the exact gradient, and is {off:.3g} off.")
    if same(-2 * h, in_r):
        return not_yet(start + "gW is right, and gR has the wrong sign: R would climb.")
    if not same(2 * h, in_r):
        off = float((2 * h - in_r).norm().detach())
        return not_yet(start + f"gW is right, and 2 gR is {off:.3g} off the exact gradient in R.")
    if not same(2 * apart[0] - in_w, -0.1 * noise.T):
        return not_yet("you invert W; the point is to use R, also where R is not the inverse.")
    return passed("both are half the exact gradients at R = W**-1, and gW moves with R elsewhere.")


def covariance() -> Tensor:
    """Return the covariance of the lesson's four-dimensional Gaussian."""
    skew = torch.zeros(4, 4, dtype=torch.float64)
    for i, j, value in TURNS:
        skew[i, j], skew[j, i] = value, -value
    turn = torch.linalg.matrix_exp(skew)
    return turn @ torch.diag(torch.tensor(VARIANCES, dtype=torch.float64)) @ turn.T


@lru_cache
def loss_by_autograd(penalty: float) -> float:
    """Train on rows whose second moments are S, each term's gradient by automatic derivation."""
    root = 2.0 * torch.linalg.cholesky(covariance()).T
    x = torch.cat([root, -root])
    w = torch.eye(4, dtype=torch.float64).requires_grad_()
    r = torch.eye(4, dtype=torch.float64).requires_grad_()
    for _ in range(STEPS):
        z = x @ w.T
        dx, wx = (z @ w).detach(), z.detach()
        # Each of the two halves is a scalar in one matrix, the other held fixed.
        in_w = z.square().sum(1).mean() / 4 - (w * r.detach().T).sum() / 2
        in_r = ((r * w.detach().T).sum() - (dx @ r * wx).sum(1).mean()) / 2
        back = penalty * (z @ r.T - x).square().sum(1).mean()
        gw, gr = torch.autograd.grad(in_w + in_r + back, (w, r))
        with torch.no_grad():
            w -= RATE / max(1.0, penalty) * gw
            r -= RATE / max(1.0, penalty) * gr
    law = torch.distributions.MultivariateNormal(
        torch.zeros(4, dtype=torch.float64), precision_matrix=w.detach().T @ w.detach()
    )
    return -float(law.log_prob(x).mean())


def judge_density(answer: Callable[..., object]) -> Verdict:
    """Compare with the Gaussian that x has when z = W x + b is standard normal."""
    generator = torch.Generator().manual_seed(8)
    like = {"generator": generator, "dtype": torch.float64}
    w = torch.eye(3, dtype=torch.float64) + 0.4 * torch.randn(3, 3, **like)
    r = torch.linalg.inv(w) + 0.1 * torch.randn(3, 3, **like)
    b, x = torch.randn(3, **like), torch.randn(6, 3, **like)
    given = as_tensor(answer(x, w, r, b), (6,))

    def gaussian(shift: Tensor) -> Tensor:
        # x = W**-1 (z - b) is Gaussian: its mean and precision say all.
        mean = -torch.linalg.solve(w, shift)
        law = torch.distributions.MultivariateNormal(mean, precision_matrix=w.T @ w)
        return law.log_prob(x)

    truth, volume = gaussian(b), float(torch.linalg.det(w).abs().log())
    if torch.allclose(given, truth, atol=1e-9, rtol=0.0):
        return passed("the Gaussian with precision W'W gives the same six numbers; R is not asked.")
    start = f"for one x log p is {float(truth[0]):.3f}, and yours {float(given[0]):.3f}: "
    off = given - truth
    steady = float((off - off[0]).abs().max()) < 1e-9
    for known, meaning in (
        (
            -float(torch.linalg.det(r).abs().log()) - volume,
            "R is not the inverse of W: a number made from R is no likelihood.",
        ),
        (-2 * volume, "the log-determinant has the wrong sign."),
        (-volume, "the log-determinant is missing."),
        (1.5 * math.log(2 * math.pi), "log(2 pi) / 2 of each dimension is missing."),
    ):
        if steady and abs(float(off[0]) - known) < 1e-9:
            return not_yet(start + meaning)
    if torch.allclose(given, gaussian(torch.zeros_like(b)), atol=1e-9):
        return not_yet(start + "the bias is missing from z.")
    return not_yet(start + "log p(x) = log N(z) + log|det dz/dx|: which of the two is off?")

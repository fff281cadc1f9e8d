"""A linear Gaussian chain of four kinds of layers, and the exact laws of its paths."""

import torch
from torch import Tensor

from gentoolkit import Chain, FunctionKernel, Gaussian, standard_normal
from gentoolkit.stochastic import Langevin
from tests.laws.examples import Affine
from tests.stochastic.linear import MEAN, PRECISION, Bump

A = torch.tensor([[1.3, 0.4], [-0.2, 0.8]], dtype=torch.float64)
SHIFT = torch.tensor([0.3, -0.5], dtype=torch.float64)
DECODE = torch.tensor([[0.9, -0.3], [0.5, 1.1], [-0.4, 0.6]], dtype=torch.float64)
ENCODE = torch.tensor([[0.6, 0.3, -0.2], [-0.1, 0.5, 0.3]], dtype=torch.float64)
DRIFT = torch.tensor([[-0.5, 0.2, 0.0], [0.1, -0.4, 0.3], [0.0, -0.2, -0.6]], dtype=torch.float64)
SCORE = torch.tensor([[-1.1, 0.1, 0.0], [0.1, -0.9, 0.2], [0.0, 0.2, -1.3]], dtype=torch.float64)
ULA, H, NOISE, WIDTH, BACK, LOG_Z = 0.15, 0.2, 0.9, 0.5, 0.7, 1.7
END = Bump(
    torch.tensor([0.4, -0.2, 0.6], dtype=torch.float64),
    torch.tensor([[0.9, 0.2, 0.0], [0.2, 0.7, -0.1], [0.0, -0.1, 0.8]], dtype=torch.float64),
    LOG_Z,
)


def diffusion(drift, score, h: float, noise: float) -> FunctionKernel:
    """One Euler step of a diffusion and of its reversal, whose drift is `drift - noise^2 score`."""
    std = noise * h**0.5
    return FunctionKernel(
        lambda x: Gaussian(x + h * drift(x), std),
        lambda y: Gaussian(y - h * (drift(y) - noise**2 * score(y)), std),
    )


def linear_chain(affine=Affine, langevin=Langevin) -> Chain:
    """Four kinds of layers, all affine: a map, Langevin, an autoencoder 2 -> 3, a diffusion."""
    return Chain(
        standard_normal(2),
        [
            affine(A, SHIFT),
            langevin(Bump(MEAN, PRECISION), ULA),
            FunctionKernel(
                lambda x: Gaussian(x @ DECODE.T, WIDTH), lambda y: Gaussian(y @ ENCODE.T, BACK)
            ),
            diffusion(lambda x: x @ DRIFT.T, lambda y: y @ SCORE.T, H, NOISE),
        ],
    )


def path_laws() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Mean and covariance of (x_0, ..., x_4 less the map's image) pushed and pulled.

    The map's two states are one, so a path is (x_1, x_2, x_3, x_4) in R^10, with x_1 the image.
    """
    gain = torch.eye(2) - ULA * PRECISION
    there = [(gain, ULA * PRECISION @ MEAN, 2 * ULA), (DECODE, torch.zeros(3), WIDTH**2)]
    there += [(torch.eye(3) + H * DRIFT, torch.zeros(3), H * NOISE**2)]
    slope = DRIFT - NOISE**2 * SCORE
    back = [(torch.eye(3) - H * slope, torch.zeros(3), H * NOISE**2)]
    back += [(ENCODE, torch.zeros(2), BACK**2), (gain, ULA * PRECISION @ MEAN, 2 * ULA)]
    pushed = _joint(SHIFT, A @ A.T, there)
    mean, cov = _joint(END.mean, END.precision.inverse(), back)
    order = torch.tensor([8, 9, 6, 7, 3, 4, 5, 0, 1, 2])
    return pushed, (mean[order], cov[order][:, order])


def _joint(mean, cov, kernels):
    """The law of a Gaussian chain by adding one state after another."""
    last, means, total = slice(0, len(mean)), [mean], cov
    for gain, shift, variance in kernels:
        mean = gain @ mean + shift
        cross = gain @ total[last]
        own = gain @ total[last, last] @ gain.T + variance * torch.eye(len(gain))
        last = slice(len(total), len(total) + len(gain))
        total = torch.cat([torch.cat([total, cross.T], 1), torch.cat([cross, own], 1)])
        means.append(mean)
    return torch.cat(means), total


def exact_elbo() -> float:
    """Truth A: log Z - KL(pushed || pulled) of two Gaussians on R^10."""
    pushed, pulled = (torch.distributions.MultivariateNormal(*law) for law in path_laws())
    return LOG_Z - float(torch.distributions.kl_divergence(pushed, pulled))

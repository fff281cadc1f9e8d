"""Lesson 12: densities on the subspace, equivariant moves, and their units."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Open


def _by_basis() -> float:
    """Integrate nothing: write the point in six orthonormal coordinates and add six normals."""
    coordinates = torch.zeros(6)
    coordinates[0] = math.sqrt(2.0)  # |x|^2 = 2
    return float(torch.distributions.Normal(0.0, 1.0).log_prob(coordinates).sum())


ex12_1 = Exercise(
    "-1.0 - 3.0 * math.log(2.0 * math.pi)",
    "How many numbers does it take to place three particles whose mean is zero?",
    "The standard normal on a subspace of k dimensions is -|x|^2/2 - (k/2) log 2 pi there.",
    "The mean fixes one position, that is three numbers: k = (3 - 1) 3.",
    why="The subspace has (M - 1) n = 6 dimensions, and lengths in it are the ordinary ones, so "
    "log p = -|x|^2 / 2 - 3 log 2 pi.",
    oracle=_by_basis,
    right="{truth:.4f}: six coordinates in an orthonormal basis of the subspace say the same.",
    wrong={
        -1.0 - 4.5 * math.log(2 * math.pi): "You used M n = 9 dimensions; the mean takes three.",
        -1.0 - 4.0 * math.log(2 * math.pi): "You took one dimension off; the mean is a vector.",
        -2.0 - 3.0 * math.log(2 * math.pi): "The square of the length is halved in the exponent.",
        -1.0 + 3.0 * math.log(2 * math.pi): "The constant has the wrong sign.",
    },
    otherwise="Count the dimensions of the subspace first.",
)

COUPLING, PARTICLES, SPACE = 0.1, 5, 2


def _jacobian_trace() -> float:
    """Differentiate the velocity at a point, all ten coordinates at once."""

    def velocity(flat: Tensor) -> Tensor:
        x = flat.reshape(PARTICLES, SPACE)
        return (COUPLING * (x[:, None] - x[None]).sum(1)).flatten()

    x = torch.randn(PARTICLES * SPACE, generator=torch.Generator().manual_seed(0))
    jacobian = torch.autograd.functional.jacobian(velocity, x)
    assert isinstance(jacobian, Tensor)
    return float(jacobian.trace())


ex12_2 = Exercise(
    "0.1 * 5 * (5 - 1) * 2",
    "On the subspace the sum over j of x_j is zero. What is left of the velocity?",
    "v_i = 0.1 (5 x_i - 0) = 0.5 x_i: each coordinate of the subspace grows at the rate 0.5.",
    "Multiply the rate by the number of dimensions of the subspace; the time is one.",
    why="The trace of a multiple of the identity is the multiple times the dimension, and the "
    "dimension of the subspace is (M - 1) n = 8. The trace over all ten coordinates is the same, "
    "since the velocity does not feel a shift.",
    oracle=_jacobian_trace,
    right="{truth:.1f}: the trace of the whole Jacobian, by automatic differentiation, agrees.",
    wrong={
        5.0: "You counted M n = 10 dimensions; a shift of all particles has no velocity.",
        0.8: "You forgot that each particle hears from all five: the rate is 0.1 M = 0.5.",
        3.2: "The sum over j holds M x_i, not (M - 1) x_i: on the subspace the rate is 0.5.",
        -4.0: "The log-ratio of the push is plus the integral of the trace.",
        4.5: "You took one dimension off; the mean is a vector of two numbers.",
    },
    otherwise="Write the velocity on the subspace as a multiple of x.",
)


def pushed_apart(x: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum (x_i - x_j) weight(|x_i - x_j|^2) over j != i: (B, M, n) -> (B, M, n)."""
    gap = x[:, :, None] - x[:, None]
    others = 1 - torch.eye(x.shape[1], dtype=x.dtype)
    strength = weight(gap.square().sum(-1))
    strength = torch.where(others > 0, strength, torch.zeros_like(strength))
    return (strength[..., None] * gap).sum(2)


def _pairs() -> list[tuple]:
    x = torch.randn(4, 5, 3)
    return [
        (x, lambda square: 1 / (1 + square)),
        (x[:, :2], torch.reciprocal),  # infinite for a particle and itself
        (x[..., :2], lambda square: square.log1p() - 2),
    ]


def _one_by_one(x: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
    """Visit the pairs one after the other."""
    moved = torch.zeros_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            if i != j:
                gap = x[:, i] - x[:, j]
                moved[:, i] += gap * weight((gap * gap).sum(1))[:, None]
    return moved


ex12_3 = Exercise(
    pushed_apart,
    "x[:, :, None] - x[:, None] holds all differences, (B, M, M, n).",
    "Sum the squares over the last axis, call weight, multiply, and sum over the third axis.",
    "0 times infinity is NaN: choose the diagonal's weight by torch.where, not by a product.",
    why="Differences turn with the particles and their lengths do not turn, so the sum is "
    "equivariant. The particle itself must be left out before its weight is multiplied.",
    oracle=_one_by_one,
    cases=_pairs,
    right="all three weights agree, also the one that is infinite at distance 0.",
    wrong={
        "x[:, :, None] - x[:, None] -> x[:, None] - x[:, :, None]": "The differences have the "
        "wrong sign: x_i - x_j leads from j to i.",
        "gap.square().sum(-1) -> gap.square().sum(-1).sqrt()": "The weight takes the squared "
        "distance; you gave it the distance.",
        "torch.where(others > 0, strength, torch.zeros_like(strength)) -> strength": "A particle "
        "met itself: with an infinite weight that is 0 times infinity, which is NaN; a product "
        "with a mask does not help, choose by torch.where.",
    },
    otherwise="Visit pairs by hand for two particles, and compare.",
)

ex12_4 = Exercise(
    "1.5 * math.log(2.0)",
    "How long is the vector x_1 - x_2, compared with (x_1, x_2) on the subspace?",
    "x_1 = -x_2, so |(x_1, x_2)| = sqrt 2 |x_1|, and |x_1 - x_2| = 2 |x_1|: a factor sqrt 2.",
    "Each of the three coordinates is stretched by sqrt 2; a density falls by that volume.",
    why="A change of variables that stretches n coordinates by sqrt 2 lowers log p by "
    "(n/2) log 2; the negative log-likelihood rises by as much.",
    oracle=lambda: float(torch.linalg.slogdet(math.sqrt(2.0) * torch.eye(3)).logabsdet),
    right="{truth:.4f} nats, though the model is the same: compare losses in equal units only.",
    wrong={
        -1.5 * math.log(2.0): "Stretched space has a lower density, so minus its log is higher.",
        math.log(2.0): "That is the answer in the plane; here there are three coordinates.",
        0.5 * math.log(2.0): "That is one coordinate's share; there are three.",
        3.0 * math.log(2.0): "The stretch is sqrt 2, not 2: compare with the length of (x_1, x_2).",
    },
    otherwise="Find the factor between the two lengths first.",
)

ex12_5 = Open(
    "Which quantities change their sign under a mirror, and stay under rotations?",
    "In three dimensions the triple product a . (b x c) is one; the cross product b x c is a "
    "vector that a mirror turns the wrong way.",
    "Add to the velocity of particle i a sum over pairs j, k of such vectors times invariant "
    "weights, and test it with a rotation, a mirror, and a renumbering.",
    answer="Let a_j = x_j - x_i and add to v_i the sum over j, k of (a_j cross a_k) times a weight "
    "s(|a_j|, |a_k|) that is not symmetric in its two arguments; a symmetric weight gives zero, "
    "since the cross product changes its sign when j and k are exchanged. The sum commutes with "
    "rotations and renumbering. Under a mirror A it becomes minus the mirrored vector, so the "
    "residual |v(Ax) - A v(x)| is as large as the new term itself, while it stays at rounding "
    "error for rotations. A flow with such a velocity may give a molecule and its mirror image "
    "different densities. It costs M^3 pairs of pairs; in practice one keeps near neighbours only. "
    "The mean over particles must be taken off again.",
)

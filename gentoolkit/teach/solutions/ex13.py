"""Lesson 13: a log J on SU(2), a plaquette, a Wilson loop, the mass of SU(3), an order of rows."""

import torch

from gentoolkit.targets import ClassFunction
from gentoolkit.teach.exercise import Exercise, Open


def _stretch() -> float:
    """Differentiate a map of 4-vectors that takes pi/3 to pi/2 with slope 1.5, in the tangent."""
    third = torch.pi / 3
    axis = torch.tensor([0.6, 0.0, 0.8])
    start = torch.cat([torch.tensor([third]).cos(), torch.tensor(third).sin() * axis])

    def move(q: torch.Tensor) -> torch.Tensor:
        q = q / q.norm()
        omega = q[0].clamp(-1, 1).acos()
        moved = torch.pi / 2 + 1.5 * (omega - third)
        return torch.cat([moved.cos()[None], moved.sin() * q[1:] / q[1:].norm()])

    jacobian = torch.autograd.functional.jacobian(move, start)
    assert isinstance(jacobian, torch.Tensor)
    # Along the radius nothing moves: the three other singular values are the stretch.
    return float(torch.linalg.svdvals(jacobian)[:3].log().sum())


ex13_1 = Exercise(
    "math.log(1.5) + 2 * math.log(math.sin(math.pi / 2) / math.sin(math.pi / 3))",
    "How much of the group does a shell of thickness d omega hold at radius omega?",
    "Divide the share of the new shell by that of the old one, and take the logarithm.",
    "Two terms: the slope, and twice the logarithm of a quotient of sines.",
    why="The shell at pi/3 holds (2/pi)(3/4) d omega, the one at pi/2 holds (2/pi) d omega': the "
    "quotient is 1.5 x 4/3 = 2.",
    oracle=_stretch,
    right="log J = log 2 = {truth:.6f}: the Jacobian of the map on the sphere agrees.",
    wrong={
        0.405465: "That is the slope alone: the group has more room at pi/2 than at pi/3.",
        0.549306: "You took the sine once. The sphere at angle omega has an area, which goes with "
        "the square of its radius.",
        0.117783: "The quotient of sines is upside down: the new radius is above the bar.",
        -0.693147: "That is the log of the inverse map's stretch.",
    },
    otherwise="Write both shares as (2/pi) sin^2(omega) d omega.",
)


def mean_cosine() -> float:
    """Return B_2 / B_1 at 2.2."""
    from scipy.special import iv

    return float(iv(2, 2.2) / iv(1, 2.2))


def _mean_cosine() -> float:
    """Sum over a fine grid of angles with the sine squared."""
    omega = (torch.arange(100_000) + 0.5) * torch.pi / 100_000
    weight = omega.sin().square() * (2.2 * omega.cos()).exp()
    return float((weight * omega.cos()).sum() / weight.sum())


ex13_2 = Exercise(
    mean_cosine,
    "The mean of cos omega is the derivative of log Z along the strength.",
    "Section 4 gives Z as a Bessel function over the strength, and the derivative in its fold.",
    "scipy.special.iv takes the order first and the argument second; you need two orders.",
    why="d log Z / d kappa = B_2 / B_1 at 2.2. Without the sine squared it would be B_1 / B_0, "
    "which is larger: the room near omega = 0 is small.",
    oracle=_mean_cosine,
    right="{truth:.6f}: a sum over a fine grid of angles agrees.",
    wrong={
        0.728030: "That is B_1 / B_0: a uniform angle, without the sine squared of the group.",
        0.553935: "That is log Z itself, and not its derivative.",
        1.740077: "That is Z itself.",
    },
    otherwise="Write the mean as a quotient of two integrals over omega, and do not forget sin^2.",
)


def two_squares() -> float:
    """Return the square of B_2 / B_1 at 1.8."""
    from scipy.special import iv

    return float(iv(2, 1.8) / iv(1, 1.8)) ** 2


def _long_loop() -> float:
    """Average the real part of products of two plaquettes over angles, and over v.v' in [-1, 1]."""
    omega = (torch.arange(400) + 0.5) * torch.pi / 400
    weight = omega.sin().square() * (1.8 * omega.cos()).exp()
    weight = weight / weight.sum()
    between = (torch.arange(100) + 0.5) / 50 - 1  # uniform directions: v.v' is uniform
    both = omega.cos()[:, None] * omega.cos()
    tilt = omega.sin()[:, None] * omega.sin()
    real = both[..., None] - tilt[..., None] * between
    return float((weight[:, None] * weight * real.mean(-1)).sum())


ex13_3 = Exercise(
    two_squares,
    "The links around a rectangle of two squares are a product of the two plaquettes, one of them "
    "carried to the other's corner.",
    "Multiply cos(o) + sin(o) i v.sigma with cos(o') + sin(o') i v'.sigma: the real part of half "
    "the trace is cos cos - sin sin v.v'.",
    "Average over v': one term vanishes. What is left is a product of two independent means.",
    why="cos omega cos omega' - sin omega sin omega' v.v' averages to the square of one "
    "plaquette's mean: in the plane a loop falls off exponentially with its area.",
    oracle=_long_loop,
    right="{truth:.6f}: the square of one plaquette's mean.",
    wrong={
        0.399372: "That is one plaquette; the loop holds two.",
        0.798745: "Means multiply here, they do not add.",
        0.063699: "That is the third power: the rectangle holds two squares.",
        0.473803: "That is built on B_1 / B_0, a uniform angle without the sine squared.",
    },
    otherwise="What is the mean of v.v' if v' is uniform on the sphere?",
)


def log_mass(kappa: float) -> float:
    """Return log Z of exp(kappa Re tr U / 3) on SU(3) by the determinant sum."""
    from scipy.special import ive

    x, reach = kappa / 3, 25 + int(2 * kappa)
    order = (
        torch.arange(3)[:, None] - torch.arange(3) + torch.arange(-reach, reach + 1)[:, None, None]
    )
    total = torch.linalg.det(torch.from_numpy(ive(order.numpy(), x))).sum()
    return float(total.log()) + 3 * x  # ive is iv times exp(-x)


ex13_4 = Exercise(
    log_mass,
    "torch.linalg.det takes a stack of matrices: build B_{i-j+k} for all k at once.",
    "iv(m, x) = iv(-m, x). The terms fall once k is well above kappa/3.",
    "scipy.special.ive(m, x) is iv(m, x) exp(-x): it does not overflow, and three rows of it lack "
    "a factor exp(-kappa).",
    why="For each k the determinant is the Fourier coefficient of one power of det U; only "
    "matrices of determinant 1 are wanted, and the sum over k picks them.",
    cases=lambda: [(0.1,), (1.0,), (9.0,), (25.0,), (60.0,)],
    oracle=lambda kappa: ClassFunction(3, beta=kappa).log_z,
    atol=1e-6,
    right="log Z at 9 is 2.758397, as quadrature says, and the others are right too.",
    start="log Z = {truth:.6f} comes out as {given:.6f}: ",
    wrong={
        "25 + int(2 * kappa) -> 3": "the sum over k stops too early: what changes if it runs on?",
        "25 + int(2 * kappa) -> 0": "k = 0 alone is the mass of U(3), where the "
        "determinant is free: sum over all k.",
        "kappa / 3, -> kappa,": "the argument is kappa/3: each eigenvalue has kappa/n cos(omega).",
        "+ 3 * x ->": "ive is iv exp(-x): put the three factors back.",
    },
    otherwise="compare with a longer sum, and with the mass of a flat target: Z = 1 at kappa = 0.",
)


ex13_5 = Open(
    "Which squares does a moved row change without looking at them?",
    "After a row's turn its own squares are right. Which later turn spoils them, in each order?",
    "Count, after the four turns of one direction, in how many rows the last change was on "
    "purpose.",
    answer="In runs of ours (one seed, kappa = 1.8, 80 steps) the order from the top down gave an "
    "ESS of 0.66, from the bottom up 0.54, alternating directions 0.61, and even rows before odd "
    "ones 0.52. Going down, a turn spoils only the row that moves next; after four turns three of "
    "four rows were last changed on purpose. Going up, each turn spoils the row that has just been "
    "set, so that only one is left as its spline wanted it, and the network must foresee the "
    "damage. Equivariance and log J are exact in every order: this is a question of what the "
    "layers can express and not of what is right. With one seed the smaller differences "
    "may be chance.",
)

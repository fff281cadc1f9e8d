"""Lesson 11: exact affine translations, many domains, Gaussian transport, the best critic."""

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Open

MEAN_A, VAR_A, MEAN_B, VAR_B = 1.0, 9.0, -2.0, 0.25


def _by_moments() -> tuple[float, float, float, float]:
    """Find the slopes by bisection on the variance of y, the larger one first."""

    def slope(sign: float) -> float:
        low, high = 0.0, 10.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if middle**2 * VAR_A < VAR_B else (low, middle)
        return sign * low

    pairs = [(k, MEAN_B - k * MEAN_A) for k in (slope(1.0), slope(-1.0))]
    return pairs[0] + pairs[1]


ex11_1 = Exercise(
    "1 / 6, -2 - 1 / 6, -1 / 6, -2 + 1 / 6",
    "An affine map sends N(mean, variance) to N(k mean + m, k^2 variance).",
    "k^2 times 9 must be 1/4. How many k are there?",
    "For each k, the mean of y is k + m, and it must be -2.",
    why="The spread of y is |k| times that of x: |k| = (1/2) / 3. Both signs give the right law: "
    "the latent law is symmetric, so one map keeps the order of the points and one reverses it. "
    "The shift follows from the means, m = -2 - k.",
    oracle=_by_moments,
    parts="k, m, k', m'",
    right="Two maps, and no unpaired data tell them apart: one keeps the order, one reverses it.",
    wrong={
        (1 / 36, -2 - 1 / 36, -1 / 36, -2 + 1 / 36): "Those are quotients of variances; a slope "
        "scales the deviation.",
        (6.0, -8.0, -6.0, 4.0): "That leads from B to A in the slope: y must be narrow.",
        (1 / 6, -2.0, -1 / 6, -2.0): "The mean of A is 1, so the slope moves it too.",
        (1 / 6, -2 - 1 / 6, 1 / 6, -2 - 1 / 6): "That is one map twice; the variance allows "
        "another sign.",
        (-1 / 6, -2 + 1 / 6, 1 / 6, -2 - 1 / 6): "Right maps; the larger slope was to be first.",
        (1 / 6, -2 + 1 / 6, -1 / 6, -2 - 1 / 6): "The shifts are exchanged: m = -2 - k.",
    },
    otherwise="Match the mean and the variance of y, and take both roots.",
)


class _Flow:
    """A flow of one domain on the plane that squeezes differently at each point."""

    def __init__(self, k: int) -> None:
        self.k = float(k)

    def push(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Move to the domain."""
        s = 0.3 * (self.k + 1.0) * torch.tanh(z[:, :1])
        moved = z[:, 1:] * s.exp() + self.k * z[:, :1]
        return torch.cat([z[:, :1] * (self.k + 1.5), moved], 1), s[:, 0] + self._fixed()

    def pull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Move to the latent space."""
        z = x[:, :1] / (self.k + 1.5)
        s = 0.3 * (self.k + 1.0) * torch.tanh(z)
        return torch.cat([z, (x[:, 1:] - self.k * z) * (-s).exp()], 1), s[:, 0] + self._fixed()

    def _fixed(self) -> Tensor:
        return torch.tensor(self.k + 1.5).log()


def translate(flows: list, here: int, there: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Translate rows of one domain into another through the shared latent space."""
    z, into = flows[here].pull(x)
    y, out = flows[there].push(z)
    return y, out - into


def _routes() -> list[tuple]:
    flows = [_Flow(k) for k in range(3)]
    x = torch.randn(9, 2)
    return [(flows, here, there, x) for here, there in ((0, 1), (2, 0), (1, 2), (1, 1))]


def _by_autograd(flows: list, here: int, there: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Take the log-determinant from the Jacobian of the whole map, row by row."""

    def whole(row: Tensor) -> Tensor:
        return flows[there].push(flows[here].pull(row[None])[0])[0][0]

    dets = [torch.autograd.functional.jacobian(whole, row) for row in x]
    return torch.stack([whole(row) for row in x]), torch.linalg.slogdet(torch.stack(dets)).logabsdet


ex11_2 = Exercise(
    translate,
    "One pull and one push: which flow does each belong to?",
    "Both numbers are log |det| of a push. The way into the latent space is undone, not done.",
    "The chain rule multiplies the two Jacobians, and that of an inverse is the inverse matrix.",
    why="The point goes to the latent space by the pull of its own flow and on by the push of the "
    "other. The first Jacobian is the inverse of the push's, so its log-determinant is "
    "subtracted. From a domain to itself both cancel, and the map is the identity.",
    oracle=_by_autograd,
    cases=_routes,
    right="Any of six routes, one line each, and from a domain to itself the log-determinant is 0.",
    start="one entry should be {truth:.4f}, and yours is {given:.4f}: ",
    wrong={
        "out - into -> out + into": "the way into the latent space is undone: its log-determinant "
        "has the other sign.",
        "out - into -> into - out": "that is the log-determinant of the way back.",
        "flows[here].pull(x) -> flows[here].push(x)": "the way to the latent space is a pull.",
        "[here].pull(x) -> [there].pull(x); [there].push(z) -> [here].push(z)": (
            "that translates from `there` to `here`."
        ),
        "out - into -> out": "the first flow stretches as well.",
    },
    otherwise="compare with the Jacobian of the whole map by automatic differentiation.",
)


def _by_search() -> tuple[float, float]:
    """Try many turns and mirrors of the plane, with a symmetric root in place of Cholesky's."""
    s = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    values, vectors = torch.linalg.eigh(s)
    l_a = vectors * values.sqrt() @ vectors.T
    angle = torch.linspace(0.0, 2 * torch.pi, 20_001)
    c, n = angle.cos(), angle.sin()
    turns = torch.stack([torch.stack([c, -n, n, c]), torch.stack([c, n, n, -c])])
    u = turns.permute(0, 2, 1).reshape(-1, 2, 2)
    cost = (u - l_a).square().sum((1, 2))
    return float(cost.min()), float(cost.max())


ex11_3 = Exercise(
    "4 - 2 * math.sqrt(3), 8 + 2 * math.sqrt(3)",
    "Use the formula of section 4: two traces, and twice the trace of U L_A^T L_B.",
    "L_B = I. What are the singular values of L_A? Their squares are the eigenvalues of S_A.",
    "The last trace lies between minus and plus the sum of the singular values.",
    why="The eigenvalues of S_A are 3 and 1, so the singular values of L_A are sqrt(3) and 1. The "
    "traces are 4 and 2. Aligned, the travel is 6 - 2 (1 + sqrt 3); turned by half a turn from "
    "there, 6 + 2 (1 + sqrt 3).",
    oracle=_by_search,
    parts="least, greatest",
    right="0.536 and 11.464: a factor of twenty between translations with the same law.",
    wrong={
        (8 + 2 * 3**0.5, 4 - 2 * 3**0.5): "Right numbers in the other order.",
        (6 - 2 * 4.0, 6 + 2 * 4.0): "You summed the eigenvalues of S_A; the singular values of "
        "L_A are their roots. A squared distance is not negative.",
        (6 - (1 + 3**0.5), 6 + (1 + 3**0.5)): "The last trace counts twice.",
        (4 - 2 * 3**0.5, 6.0): "Which U makes the last trace as negative as it can be?",
        (0.0, 8 + 2 * 3**0.5): "No U makes the two laws one: the spreads differ.",
        (6 - 2 * (2**0.5 + 1.5**0.5), 6 + 2 * (2**0.5 + 1.5**0.5)): "That is the diagonal of "
        "Cholesky's factor: the travel for U = I, and not the least.",
    },
    otherwise="How far can the trace of U L_A^T L_B go, up and down?",
)


def critic_floor(mu: float) -> float:
    """Return the loss of the best least-squares critic of N(0, 1) and N(mu, 1)."""
    y = torch.linspace(-10.0, 10.0 + mu, 20_001)
    p, r = (-0.5 * (y - m) ** 2 for m in (0.0, mu))
    both = (p + r - torch.logaddexp(p, r)).exp() / (2 * torch.pi) ** 0.5
    return float(torch.trapezoid(both, y))


def _by_draws(mu: float) -> float:
    """Average the share r / (p + r) over quantiles of p: the integral as a mean under p."""
    u = (torch.arange(400_000.0) + 0.5) / 400_000
    y = 2**0.5 * torch.erfinv(2 * u - 1)
    return float(torch.sigmoid(mu * y - 0.5 * mu**2).mean())


ex11_4 = Exercise(
    critic_floor,
    "The best critic is p / (p + r); its loss is the integral of p r / (p + r).",
    "A sum over a fine grid is enough. Far out both densities underflow: use logarithms there.",
    "The grid must cover both bumps, whatever mu is.",
    why="At mu = 0 the integrand is p / 2, so the loss is 1/2: the critic is blind. Far apart, at "
    "every place one of the densities is nearly zero, and so is p r / (p + r). It is half way at "
    "a shift of about 1.7.",
    oracle=_by_draws,
    cases=lambda: [(0.0,), (0.5,), (1.7,), (3.0,), (8.0,)],
    atol=1e-4,
    right="1/2 at mu = 0, 0.25 near mu = 1.7, and close to nothing at 8.",
    start="one value should be {truth:.4f}, and yours is {given:.4f}: ",
    wrong={
        "return float(torch.trapezoid(both, y)) -> return 2 * float(torch.trapezoid(both, y))": (
            "that counts two domains; a blind critic of one has 1/2."
        ),
        "/ (2 * torch.pi) ** 0.5 -> / (2 * torch.pi)": "the normal density has the root of 2 pi.",
        "return float(torch.trapezoid(both, y)) -> return 0.5 - float(torch.trapezoid(both, y))": (
            "that is what the critic gains over a constant 1/2."
        ),
        "return float(torch.trapezoid(both, y)) -> return 0.5": "the loss falls as the laws part.",
        "torch.linspace(-10.0, 10.0 + mu -> torch.linspace(-10.0, 0.0 + 0.0 * mu": (
            "part of the line is left out."
        ),
    },
    otherwise="compare with 1/2 at mu = 0, where both densities are one.",
)


ex11_5 = Open(
    "The cycle loss measures what the inverse already guarantees. How large is it at the start?",
    "A flow is one continuous map with a continuous inverse. Can a blob disappear?",
    "Look at the picture as well as at the numbers: which of them compare laws, which ask for the "
    "right blob, and which look at the density of B alone?",
    answer="The cycle loss of the flows is rounding error, about 1e-7, so ten times it changes the "
    "gradient by rounding error too; a larger change means a layer whose inverse is not its "
    "inverse. Without the third blob in B the flows cannot make its points vanish: a continuous "
    "map with a continuous inverse keeps three separate pieces separate. The fifth of A that "
    "belongs to it is pushed into the other two blobs, or into a thin band that joins them. The "
    "energy distance and the likelihood see it a little, since the band holds little mass; the "
    "share in the right blob falls to 0.8 at most, because that blob has no partner. The cycle "
    "error sees nothing at all: it stays at rounding level.",
)

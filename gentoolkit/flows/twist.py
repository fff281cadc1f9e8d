"""A twist of the plane that keeps the Gaussian: the same density, another determinant."""

import torch
from torch import Tensor

from gentoolkit.flows.layer import Layer


class GaussianTwist(Layer):
    """A map that keeps N(0, I) and changes volume from place to place.

        u = Phi(x) - 1/2,   r = |u|,   turn u by  angle exp(1 - 1 / (1 - (r/.499)^2)),   back

    The turn keeps the uniform law on the square, so the whole keeps the Gaussian: a flow followed
    by a twist has the same density and another Jacobian. Only `E log |det|` stays.

    Arguments:
        angle: of the turn at the centre, in radians; 0 is the identity. The first two coordinates
            are twisted, all others left alone.

    Reference: Liao and He 2021 (arXiv 2102.06539), whose uniqueness of the determinant holds for
        linear flows and for densities, and not for this map.
    """

    def __init__(self, angle: float = 4.0) -> None:
        super().__init__()
        if not abs(angle) < float("inf"):
            raise ValueError(f"angle must be finite; got {angle}; 4.0 is a strong twist")
        self.angle = float(angle)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Twist by `angle`: `y` and `log N(x) - log N(y)`, (B,)."""
        y = self._turned(x, self.angle)
        return y, 0.5 * (y[:, :2].square() - x[:, :2].square()).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Twist back; the turn keeps the radius, so the angle is the same."""
        x = self._turned(y, -self.angle)
        return x, 0.5 * (y[:, :2].square() - x[:, :2].square()).sum(1)

    @staticmethod
    def _turned(x: Tensor, angle: float) -> Tensor:
        if x.ndim != 2 or x.shape[1] < 2:
            raise ValueError(
                f"a twist needs at least two coordinates, (B, D >= 2); got {tuple(x.shape)}"
                "; flatten each data point to one row"
            )
        u = 0.5 * torch.erf(x[:, :2] * 0.5**0.5)
        share = u.square().sum(1) / 0.499**2
        inside = share < 1.0
        # Outside the disc nothing moves, also where Phi has saturated; 0 keeps the gradient finite.
        share = share.where(inside, torch.zeros_like(share))
        turn = angle * torch.exp(1.0 - 1.0 / (1.0 - share))
        c, s = turn.cos(), turn.sin()
        turned = torch.stack([c * u[:, 0] - s * u[:, 1], s * u[:, 0] + c * u[:, 1]], 1)
        safe = turned.where(inside[:, None], torch.zeros_like(turned))
        moved = torch.erfinv(2.0 * safe) * 2.0**0.5
        head = moved.where(inside[:, None], x[:, :2])
        return torch.cat([head, x[:, 2:]], 1)

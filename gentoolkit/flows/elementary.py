"""Elementary layers with few parameters: planar, radial, an elementwise activation."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gentoolkit.core import validate
from gentoolkit.flows.condition import rows
from gentoolkit.flows.layer import Layer
from gentoolkit.numerics import increasing_root

_LOG_2 = 0.6931471805599453


def _tolerance(scale: Tensor) -> Tensor:
    """How far from zero the residual of a root of size `scale` may be left by rounding."""
    return 64.0 * torch.finfo(scale.dtype).eps * (1.0 + scale.detach().abs())


class Planar(Layer):
    """Pushes along one direction, by how far a point lies along another.

        y = x + v tanh(w.x + b),   log |det| = log(1 + (w.v) (1 - tanh^2))
        v = u + (softplus(w.u) - 1 - w.u) w / |w|^2,   so that w.v > -1: it is invertible

    The inverse has no closed form: it is one increasing equation for w.x, solved by a safeguarded
    Newton method.

    Arguments:
        features: width of an event.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = validate.positive_count("features", features)
        self.w = nn.Parameter(torch.randn(features) / features**0.5)
        self.u = nn.Parameter(0.1 * torch.randn(features))
        self.b = nn.Parameter(torch.zeros(()))

    def _direction(self) -> tuple[Tensor, Tensor]:
        """Return v, (features,), and softplus(w.u) = 1 + w.v, ()."""
        along = self.w.dot(self.u)
        slack = softplus(along)
        square = self.w.square().sum().clamp(min=torch.finfo(self.w.dtype).tiny)
        return self.u + (slack - 1.0 - along) * self.w / square, slack

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and the log-determinant, (B,)."""
        v, slack = self._direction()
        bent = (rows(x, self.features) @ self.w + self.b).tanh()
        return x + bent[:, None] * v, self._log_det(bent, slack)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and the same log-determinant, (B,).

        Raises:
            ValueError: the root search does not converge; it says the residual and the tolerance.
        """
        v, slack = self._direction()
        gain, image = slack - 1.0, rows(y, self.features) @ self.w

        def off(along: Tensor) -> tuple[Tensor, Tensor]:
            bent = (along + self.b).tanh()
            square = bent.square()
            return along + gain * bent - image, square + slack * (1.0 - square)

        reach = gain.abs()
        tolerance = _tolerance(image.abs() + reach)
        along = increasing_root(off, image - reach, image + reach, tolerance)
        bent = (along + self.b).tanh()
        return y - bent[:, None] * v, self._log_det(bent, slack)

    @staticmethod
    def _log_det(bent: Tensor, slack: Tensor) -> Tensor:
        # 1 + (slack - 1)(1 - bent^2), without the difference.
        square = bent.square()
        return (square + slack * (1.0 - square)).log()


class Radial(Layer):
    """Pushes away from a centre, or towards it.

        y = x + b h (x - c),   h = 1 / (a + r),   r = |x - c|,   a > 0,   b > -a
        log |det| = (D - 1) log(1 + b h) + log(1 + a b h^2)

    since `b h - b r h^2 = a b h^2`. The inverse is in closed form: the radius of x solves
    `r^2 + (a + b - R) r - a R = 0` for the radius R of y.

    Arguments:
        features: width of an event, D.

    Reference: Rezende and Mohamed 2015 (arXiv 1505.05770).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = validate.positive_count("features", features)
        self.centre = nn.Parameter(torch.randn(features))
        self.raw_a = nn.Parameter(torch.zeros(()))
        self.raw_b = nn.Parameter(0.1 * torch.randn(()))

    def _a_b(self) -> tuple[Tensor, Tensor]:
        a = softplus(self.raw_a)
        return a, softplus(self.raw_b) - a

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and the log-determinant, (B,)."""
        a, b = self._a_b()
        arm = rows(x, self.features) - self.centre
        h = 1.0 / (a + torch.linalg.vector_norm(arm, dim=1))
        return x + (b * h)[:, None] * arm, self._log_det(a, b, h)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and the same log-determinant, (B,)."""
        a, b = self._a_b()
        arm = rows(y, self.features) - self.centre
        far = torch.linalg.vector_norm(arm, dim=1)
        half = (far - a - b) / 2.0
        root = (half.square() + a * far).sqrt()
        # Whichever form of the positive root adds numbers of one sign; the other would cancel.
        r = torch.where(half > 0, half + root, a * far / (root - half.clamp(max=0.0)))
        h = 1.0 / (a + r)
        return self.centre + arm / (1.0 + b * h)[:, None], self._log_det(a, b, h)

    def _log_det(self, a: Tensor, b: Tensor, h: Tensor) -> Tensor:
        return (self.features - 1) * (b * h).log1p() + (a * b * h * h).log1p()


class LeakySoftplus(Layer):
    """A smooth bend of each coordinate, between linear layers: slope a on the left, 1 on the right.

        y = a x + (1 - a) softplus(x),   log |det| = sum log(a + (1 - a) sigmoid(x))

    The inverse is Newton's method within a bracket.

    Arguments:
        features: width of an event.
        slope: a, between 0 and 1.

    Raises:
        ValueError: `slope` is not between 0 and 1.
    """

    def __init__(self, features: int, slope: float = 0.3) -> None:
        super().__init__()
        self.features = validate.positive_count("features", features)
        if not 0.0 < slope < 1.0:
            raise ValueError(
                f"slope must lie between 0 and 1; got {slope}; at 0 the map is flat on the left, "
                "at 1 it is the identity"
            )
        self.slope = slope

    def _bend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and dy/dx, elementwise."""
        rest = 1.0 - self.slope
        return self.slope * x + rest * softplus(x), self.slope + rest * x.sigmoid()

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and the log-determinant, (B,)."""
        y, slope = self._bend(rows(x, self.features))
        return y, slope.log().sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and the same log-determinant, (B,).

        Raises:
            ValueError: the root search does not converge; it says the residual and the tolerance.
        """

        def off(x: Tensor) -> tuple[Tensor, Tensor]:
            image, slope = self._bend(x)
            return image - y, slope

        # relu(x) <= softplus(x) <= relu(x) + log 2 encloses the root between two broken lines.
        below = rows(y, self.features) - (1.0 - self.slope) * _LOG_2
        low, high = below.minimum(below / self.slope), y.minimum(y / self.slope)
        x = increasing_root(off, low, high, _tolerance(y))
        return x, self._bend(x)[1].log().sum(1)

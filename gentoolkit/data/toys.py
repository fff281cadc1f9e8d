"""Points of the plane with a shape worth learning.

scikit-learn, which makes two of them, is loaded with the first of these two.
"""

from collections.abc import Callable
from math import pi

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate


def _seed(generator: Generator | None) -> int:
    """Draw a seed for scikit-learn from torch's generator, so that one seed rules everything."""
    return int(torch.randint(2**31 - 1, (), generator=generator))


def two_moons(n: int, *, noise: float = 0.08, generator: Generator | None = None) -> Tensor:
    """Draw two interleaved half circles, (n, 2), centred near the origin.

    Arguments:
        n: number of points.
        noise: standard deviation of the blur.
        generator: source of randomness.
    """
    validate.positive_count("n", n)
    from sklearn.datasets import make_moons

    points, _ = make_moons(n, noise=noise, random_state=_seed(generator))
    x = torch.as_tensor(points, dtype=torch.get_default_dtype())
    return 2.0 * (x - torch.tensor([0.5, 0.25]))


def two_circles(n: int, *, noise: float = 0.05, generator: Generator | None = None) -> Tensor:
    """Draw two concentric circles of radius 1 and 2, (n, 2)."""
    validate.positive_count("n", n)
    from sklearn.datasets import make_circles

    points, _ = make_circles(n, noise=noise, factor=0.5, random_state=_seed(generator))
    return 2.0 * torch.as_tensor(points, dtype=torch.get_default_dtype())


def checkerboard(n: int, *, generator: Generator | None = None) -> Tensor:
    """Draw uniform points on the dark squares of a 4 x 4 board over [-2, 2]^2, (n, 2)."""
    validate.positive_count("n", n)
    column = torch.randint(4, (n,), generator=generator)
    row = 2 * torch.randint(2, (n,), generator=generator) + column % 2
    inside = torch.rand(n, 2, generator=generator)
    return inside + torch.stack([column, row], -1) - 2.0


def pinwheel(n: int, *, arms: int = 5, generator: Generator | None = None) -> Tensor:
    """Draw a wheel of curved arms, (n, 2): blobs sheared by a rotation that grows with radius.

    Arguments:
        n: number of points.
        arms: number of arms.
        generator: source of randomness.
    """
    validate.positive_count("arms", arms)
    arm = torch.randint(arms, (validate.positive_count("n", n),), generator=generator)
    radial = 1.0 + 0.3 * torch.randn(n, generator=generator)
    across = 0.1 * torch.randn(n, generator=generator)
    angle = 2 * pi * arm / arms + 0.25 * radial.exp()
    return 1.5 * torch.stack(
        [radial * angle.cos() - across * angle.sin(), radial * angle.sin() + across * angle.cos()],
        -1,
    )


def spirals(n: int, *, noise: float = 0.08, generator: Generator | None = None) -> Tensor:
    """Draw two spiral arms of one and a half turns, (n, 2)."""
    validate.positive_count("n", n)
    # The square root spreads the points evenly along the arm.
    angle = 3 * pi * torch.rand(n, generator=generator).sqrt()
    side = 2.0 * torch.randint(2, (n,), generator=generator) - 1.0
    arm = torch.stack([-angle.cos(), angle.sin()], -1) * (side * angle / (3 * pi))[:, None]
    return 2.5 * arm + noise * torch.randn(n, 2, generator=generator)


def ring(
    n: int, *, radius: float = 2.0, noise: float = 0.1, generator: Generator | None = None
) -> Tensor:
    """Draw a blurred circle, (n, 2)."""
    validate.positive_count("n", n)
    angle = 2 * pi * torch.rand(n, generator=generator)
    circle = radius * torch.stack([angle.cos(), angle.sin()], -1)
    return circle + noise * torch.randn(n, 2, generator=generator)


TOYS: dict[str, Callable[..., Tensor]] = {
    "two_moons": two_moons,
    "two_circles": two_circles,
    "checkerboard": checkerboard,
    "pinwheel": pinwheel,
    "spirals": spirals,
    "ring": ring,
}
"""Every toy by name: `TOYS["pinwheel"](1000)`."""

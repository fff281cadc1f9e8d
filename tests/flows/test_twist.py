"""The twist: it keeps the Gaussian law, and changes the determinant from place to place."""

from math import sqrt

import pytest
import torch
from torch import Tensor

from gentoolkit.core import Bijection
from gentoolkit.core.checks import fits, log_det, mean_is, round_trip, same_ratio
from gentoolkit.flows.layer import Flow
from gentoolkit.flows.twist import GaussianTwist


def _normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class Turn(Bijection):
    """The plane turned by the angle |z|: it keeps the Gaussian, and every volume too."""

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r = x.norm(dim=1)
        c, s = r.cos(), r.sin()
        y = torch.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]], 1)
        return y, torch.zeros_like(r)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def test_the_twist_keeps_the_law_and_changes_the_determinant() -> None:
    """Catches a turn that is not measure-preserving; the identity is checked against autograd."""
    z, twist = _normal(9, 2000, 2), GaussianTwist(4.0)
    y, told = twist.transform(z)
    rows = torch.stack(
        [
            torch.autograd.grad(twist.transform(start)[0][:, i].sum(), start)[0]
            for i in range(2)
            for start in [z.clone().requires_grad_()]
        ],
        1,
    )
    truth = torch.linalg.slogdet(rows).logabsdet
    normal = torch.distributions.Normal(0.0, 1.0)
    identity = normal.log_prob(y).sum(1) + truth - normal.log_prob(z).sum(1)
    assert float(identity.abs().max()) < 1e-8
    assert float((truth - told).abs().max()) < 1e-8
    assert float(truth.max()) > 0.1 and float(truth.min()) < -0.1
    assert mean_is(truth, 0.0)
    for moment, value in [(y[:, 0] ** 2, 1.0), (y[:, 1] ** 2, 1.0), (y[:, 0] * y[:, 1], 0.0)]:
        assert mean_is(moment, value)
    flow = Flow([twist], 2)
    generator = torch.Generator().manual_seed(0)
    assert fits(flow, generator=generator)


def test_a_turn_by_the_radius_keeps_every_volume() -> None:
    """The control: what a test of a unique determinant would show, and the twist does not."""
    z = _normal(10, 200, 2)
    assert log_det(Turn(), z, bound=1e-9)
    assert not log_det(_Plain(GaussianTwist(4.0)), z, bound=1e-2)


class _Plain(Turn):
    """A twist that claims a determinant of one."""

    def __init__(self, twist: GaussianTwist) -> None:
        self.twist = twist

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.twist.transform(x)[0], torch.zeros_like(x[:, 0])


@pytest.mark.parametrize("size", [2, 5])
def test_the_twist_is_a_step(size: int) -> None:
    """Catches a wrong sign of either log-det, an inverse that turns on, lost coordinates."""
    z, twist = _normal(11, 60, size), GaussianTwist(4.0)
    assert log_det(twist, z) and round_trip(twist, z) and same_ratio(twist, z)
    far = torch.cat([z[:, 1:], 30.0 * z[:, :1]], 1) * 40.0  # Phi is 0 or 1 in float64 there
    y, told = twist.transform(far)
    assert torch.equal(y, far) and torch.equal(told, torch.zeros_like(told))
    assert round_trip(twist.float(), z.float(), bound=1e-3)


def test_the_gradient_passes_the_rim_of_the_twist() -> None:
    """Catches a NaN from the branch that is not taken: on the rim, at the centre, far outside."""
    rim = sqrt(2.0) * float(torch.erfinv(torch.tensor(2 * 0.499, dtype=torch.float64)))
    z = torch.tensor([[rim, 0.0], [rim - 1e-9, 0.0], [0.0, 0.0], [900.0, 2.0]]).double()
    z.requires_grad_()
    y, told = GaussianTwist(4.0).transform(z)
    (gradient,) = torch.autograd.grad(y.sum() + told.sum(), z)
    assert bool(torch.isfinite(gradient).all())
    assert bool(torch.isfinite(y).all())


def test_bad_input_is_named() -> None:
    """Catches a twist of a line, and an angle that poisons every point."""
    with pytest.raises(ValueError, match="at least two coordinates"):
        GaussianTwist().transform(torch.zeros(4, 1))
    with pytest.raises(ValueError, match="angle must be finite"):
        GaussianTwist(float("nan"))

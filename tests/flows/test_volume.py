"""What the determinant must be: closed forms, the forced condition number, and the twist."""

from math import e, pi, sqrt

import pytest
import torch
from torch import Tensor, nn

from gentoolkit.core.checks import mean_is
from gentoolkit.flows.coupling import AffineCoupling, alternating_mask
from gentoolkit.flows.layer import Flow, Layer
from gentoolkit.flows.twist import GaussianTwist
from gentoolkit.flows.volume import (
    gaussian_optimum,
    linear_loss,
    whitening,
)
from gentoolkit.vi import PPCA

SIZE = 5


def _normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def covariance() -> Tensor:
    root = _normal(0, SIZE, SIZE)
    return root @ root.T + 0.1 * torch.eye(SIZE, dtype=torch.float64)


@torch.no_grad()
def energy_of(flow: Flow, x: Tensor) -> float:
    """E|z|^2 / D of data pulled through a flow: 1 at every optimum whose scale is free."""
    return float(flow.chain().pull(x).states[0].square().mean())


class Linear(Layer):
    """The flow z = scale * W x + shift, told with or without an error in its log-determinant."""

    def __init__(self, weight: Tensor, counted: float = 1.0) -> None:
        super().__init__()
        self.weight, self.counted = nn.Parameter(weight), counted

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.linalg.solve(self.weight, x.T).T, self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y @ self.weight.T, self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        value = -self.counted * torch.linalg.slogdet(self.weight).logabsdet
        return value.expand(x.shape[0])


def test_three_optimal_maps_have_the_loss_of_the_eigenvalues(covariance: Tensor) -> None:
    """Catches a log-det of the wrong sign, a missing 2 pi, W' for W."""
    rotation = torch.linalg.qr(_normal(1, SIZE, SIZE)).Q
    eye = torch.eye(SIZE, dtype=torch.float64)
    lower = torch.linalg.cholesky(covariance)
    cholesky = torch.linalg.solve_triangular(lower, eye, upper=False)
    maps = [whitening(covariance), whitening(covariance, rotation), cholesky]
    expected = 0.5 * float((2 * pi * e * torch.linalg.eigvalsh(covariance)).log().sum())
    entropy = torch.distributions.MultivariateNormal(
        torch.zeros(SIZE, dtype=torch.float64), covariance
    ).entropy()
    optimum = gaussian_optimum(covariance)
    assert optimum.loss == pytest.approx(expected, abs=1e-10)
    assert float(entropy) == pytest.approx(expected, abs=1e-10)
    for weight in maps:
        assert float(linear_loss(weight, covariance)) == pytest.approx(expected, abs=1e-10)
        assert float(torch.linalg.slogdet(weight).logabsdet) == pytest.approx(
            optimum.log_det, abs=1e-10
        )
    assert not torch.allclose(maps[0], maps[1])
    # The control: the transposed triangular map has the right determinant and the wrong loss.
    assert float(linear_loss(maps[2].T, covariance)) > expected + 0.1


def test_the_optimum_is_a_stationary_point(covariance: Tensor) -> None:
    """Catches a loss with the energy doubled or the log-det halved: their optima lie elsewhere."""
    weight = whitening(covariance).requires_grad_()
    (gradient,) = torch.autograd.grad(linear_loss(weight, covariance), weight)
    assert float(gradient.abs().max()) < 1e-10


def test_the_loss_is_a_mean_over_data(covariance: Tensor) -> None:
    """Catches a population loss that is not the loss of the flow: rows with these very moments."""
    x = sqrt(SIZE) * torch.linalg.cholesky(covariance).T  # X'X / D = S
    weight = _normal(2, SIZE, SIZE)
    flow = Flow([Linear(weight)], SIZE)
    assert float(flow.loss(x).detach()) == pytest.approx(
        float(linear_loss(weight, covariance)), abs=1e-10
    )


def test_no_map_of_the_right_energy_has_more_volume(covariance: Tensor) -> None:
    """Catches an optimum that is beaten: 20,000 random maps with tr(W S W') = D."""
    weights = _normal(3, 20_000, SIZE, SIZE)
    energy = torch.einsum("nij,jk,nik->n", weights, covariance, weights)
    weights = weights * (SIZE / energy).sqrt()[:, None, None]
    best = gaussian_optimum(covariance).log_det
    assert float(torch.linalg.slogdet(weights).logabsdet.max()) < best
    near = whitening(covariance) + 0.01 * weights[:500]
    energy = torch.einsum("nij,jk,nik->n", near, covariance, near)
    near = near * (SIZE / energy).sqrt()[:, None, None]
    closest = float(torch.linalg.slogdet(near).logabsdet.max())
    assert best - 0.01 < closest < best
    # The control: with a tenth more energy the bound no longer holds.
    assert float(torch.linalg.slogdet(near * sqrt(1.1)).logabsdet.max()) > best


@pytest.mark.parametrize(
    ("noise", "loss"), [(1.0, 8.245985), (0.1, 0.886308), (0.01, -6.027608), (0.001, -12.935425)]
)
def test_noise_forces_the_stretch(noise: float, loss: float) -> None:
    """Catches a variance taken for a deviation; negative losses are legal."""
    spectrum = torch.tensor([4.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64) + noise**2
    turn = torch.linalg.qr(_normal(4, SIZE, SIZE)).Q
    optimum = gaussian_optimum((turn * spectrum) @ turn.T)
    assert optimum.loss == pytest.approx(loss, abs=1e-6)
    assert optimum.lipschitz == pytest.approx(1.0 / noise, rel=1e-6)
    assert optimum.lipschitz_inverse == pytest.approx(sqrt(4.0 + noise**2), rel=1e-9)
    singular = torch.linalg.svdvals(whitening((turn * spectrum) @ turn.T))
    assert optimum.condition == pytest.approx(float(singular[0] / singular[-1]), rel=1e-6)


def test_ppca_is_the_optimum_of_its_own_covariance() -> None:
    """Catches an n - 1 for n, and a PPCA whose likelihood a linear flow could beat or miss."""
    x = _normal(5, 400, 2) @ _normal(6, 2, SIZE) + 0.3 * _normal(7, 400, SIZE) + 1.0
    model = PPCA.fit(x, 2).requires_grad_(False)
    covariance = model.weight @ model.weight.T + model.variance * torch.eye(SIZE).double()
    optimum = gaussian_optimum(covariance)
    # At PPCA's optimum tr(C^-1 S) = D, so its mean loss is the entropy of its own covariance.
    assert -float(model.log_prob(x).mean()) == pytest.approx(optimum.loss, abs=1e-10)
    assert optimum.lipschitz == pytest.approx(float(model.variance) ** -0.5, rel=1e-9)
    flow = Flow([Linear(whitening(covariance))], SIZE)
    centred = x - x.mean(0)
    assert torch.allclose(flow.log_prob(centred), model.log_prob(x), atol=1e-9)


def test_a_twisted_flow_is_the_same_density(covariance: Tensor) -> None:
    """Catches diagnostics that take another determinant for another density."""
    optimal = Linear(whitening(covariance))
    flow = Flow([optimal], SIZE)
    twisted = Flow([GaussianTwist(4.0), optimal], SIZE)
    x = _normal(12, 4000, SIZE) @ torch.linalg.cholesky(covariance).T
    assert torch.allclose(flow.log_prob(x), twisted.log_prob(x), atol=1e-9)
    pointwise = (
        flow.chain().pull(x).log_ratio.sum(0) - twisted.chain().pull(x).log_ratio.sum(0)
    ).detach()
    assert float(pointwise.std()) > 0.02
    assert mean_is(pointwise, 0.0)


@pytest.mark.parametrize(("counted", "energy"), [(1.0, 1.0), (2.0, 2.0), (0.5, 0.5)])
def test_energy_tells_how_often_the_determinant_was_counted(
    covariance: Tensor, counted: float, energy: float
) -> None:
    """Catches a log-det that is doubled or halved: the trained energy is that very factor."""
    x = sqrt(SIZE) * torch.linalg.cholesky(covariance).T
    flow = Flow([Linear(torch.eye(SIZE, dtype=torch.float64), counted)], SIZE)
    optimizer = torch.optim.LBFGS(
        flow.parameters(), max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = flow.loss(x)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert energy_of(flow, x) == pytest.approx(energy, abs=1e-4)


@pytest.mark.parametrize("counted", [1.0, 2.0, 0.5])
def test_a_trained_flow_of_couplings_has_the_energy_of_its_dimension(counted: float) -> None:
    """Catches couplings whose log-det is dropped, doubled or halved: E|z|^2 / D is that factor."""
    torch.manual_seed(0)
    couplings = [AffineCoupling(2, alternating_mask(2, k), (32, 32)) for k in range(4)]
    flow = Flow([*couplings, Linear(torch.eye(2))], 2).float()
    generator = torch.Generator().manual_seed(0)
    angle = 3.0 * torch.rand(2000, generator=generator, dtype=torch.float32)
    x = torch.stack([angle * (2 * angle).cos(), angle * (2 * angle).sin()], 1)
    x = x + 0.2 * torch.randn(2000, 2, generator=generator, dtype=torch.float32)
    optimizer = torch.optim.Adam(flow.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        rows = torch.randint(2000, (256,), generator=generator)
        path = flow.chain().pull(x[rows])
        energy = 0.5 * path.states[0].square().sum(1)
        optimizer.zero_grad()
        (energy + counted * path.log_ratio.sum(0)).mean().backward()
        optimizer.step()
        schedule.step()
    assert energy_of(flow, x) / counted == pytest.approx(1.0, abs=0.05)
    if counted == 1.0:
        gaussian = gaussian_optimum(torch.cov(x.T)).loss
        loss = -float(flow.log_prob(x).mean())
        assert loss < gaussian - 0.3, "the couplings have learned more than an ellipse"


def test_bad_input_is_named(covariance: Tensor) -> None:
    """Catches a missing check, and a silent infinity on data without volume."""
    flat = torch.diag(torch.tensor([1.0, 0.0]))
    for broken, message in [
        (flat, "positive eigenvalues; got"),
        (-covariance, "positive eigenvalues; got"),
        (covariance[:3], r"shape \(D, D\); got \(3, 5\)"),
        (covariance * float("nan"), "finite"),
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "symmetric; got"),
    ]:
        for function in (gaussian_optimum, whitening):
            with pytest.raises(ValueError, match=message):
                function(broken)
    with pytest.raises(ValueError, match="orthogonal"):
        whitening(covariance, covariance)
    with pytest.raises(ValueError, match="invertible; got"):
        linear_loss(torch.zeros(SIZE, SIZE).double(), covariance)
    with pytest.raises(ValueError, match="one shape; got"):
        linear_loss(torch.eye(3), covariance)
    with pytest.raises(TypeError, match="floating-point"):
        gaussian_optimum(torch.eye(2).long())

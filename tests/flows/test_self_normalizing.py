"""The learned inverse: exact halves of gradients, the exact bias, and directions that die."""

import warnings
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from gentoolkit.core.checks import dead_parameters, fits, log_det, round_trip
from gentoolkit.flows.layer import Flow, Layer
from gentoolkit.flows.self_normalizing import (
    SelfNormal,
    SelfNormalizingFlow,
    self_normalizing_flow,
)
from gentoolkit.train import fit

SIZE = 4


def _normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _weight(seed: int, size: int = SIZE) -> Tensor:
    return torch.eye(size, dtype=torch.float64) + 0.3 * _normal(seed, size, size)


def two_layers(penalty: float = 0.0) -> SelfNormalizingFlow:
    """Two dense layers with a smooth leaky activation between, all with biases."""
    flow = self_normalizing_flow(SIZE, 2, penalty).double()
    with torch.no_grad():
        for i, layer in enumerate(dense(flow)):
            layer.weight.copy_(_weight(i))
            layer.recover.copy_(torch.linalg.inv(layer.weight))
            layer.bias.copy_(_normal(10 + i, SIZE))
    return flow


def dense(flow: SelfNormalizingFlow) -> list[SelfNormal]:
    return [layer for layer in flow.layers if isinstance(layer, SelfNormal)]


class Recovered(Layer):
    """The oracle of gR: the same density written with R^-1 in the place of W."""

    def __init__(self, layer: SelfNormal) -> None:
        super().__init__()
        self.recover = nn.Parameter(layer.recover.detach().clone())
        self.bias = layer.bias

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.linalg.solve(self.recover, y.T).T + self.bias
        return z, torch.linalg.slogdet(self.recover).logabsdet.expand(len(y))


def test_at_the_inverse_both_gradients_are_half_the_exact_ones() -> None:
    """Catches a missing half, R for R', the sign of the R update, the bias counted in W x."""
    flow, x = two_layers(), _normal(3, 50, SIZE) + 0.5
    surrogate = torch.autograd.grad(flow.loss(x), list(flow.parameters()))
    told = dict(zip(dict(flow.named_parameters()), surrogate, strict=True))
    exact = -flow.log_prob(x).mean()
    recovered = [Recovered(la) if isinstance(la, SelfNormal) else la for la in flow.layers]
    by_r = -Flow([la for la in recovered if isinstance(la, Layer)], SIZE).log_prob(x).mean()
    assert float(exact.detach()) == pytest.approx(float(by_r.detach()), abs=1e-10)
    seen = 0
    for name, layer, twin in zip(
        [str(i) for i in range(len(recovered))], flow.layers, recovered, strict=True
    ):
        if isinstance(layer, SelfNormal) and isinstance(twin, Recovered):
            seen += 1
            in_w, in_b = torch.autograd.grad(exact, [layer.weight, layer.bias], retain_graph=True)
            (in_r,) = torch.autograd.grad(by_r, twin.recover, retain_graph=True)
            assert float((2 * told[f"layers.{name}.weight"] - in_w).abs().max()) < 1e-12
            assert float((2 * told[f"layers.{name}.recover"] - in_r).abs().max()) < 1e-12
            assert float((told[f"layers.{name}.bias"] - in_b).abs().max()) < 1e-12
            # The controls: without the half, and with R in the place of R'.
            assert float((told[f"layers.{name}.weight"] - in_w).abs().max()) > 1e-2
            turned = (layer.recover.T - layer.recover).detach()
            wrong = 2 * told[f"layers.{name}.weight"] + turned
            assert float((wrong - in_w).abs().max()) > 1e-2
    assert seen == 2


def test_a_scaled_loss_scales_the_whole_gradient() -> None:
    """Catches a log-det gradient that enters once, whatever the loss is multiplied by."""
    flow, x = two_layers(1.0), _normal(3, 50, SIZE)
    whole = torch.autograd.grad(flow.loss(x), list(flow.parameters()))
    third = torch.autograd.grad(flow.loss(x) / 3.0, list(flow.parameters()))
    halves = torch.autograd.grad(
        0.5 * (flow.loss(x[:25]) + flow.loss(x[25:])), list(flow.parameters())
    )
    for a, b, c in zip(whole, third, halves, strict=True):
        assert torch.allclose(a, 3.0 * b, atol=1e-12)
        assert torch.allclose(a, c, atol=1e-12)


@pytest.mark.parametrize("eps", [0.001, 0.01, 0.1])
def test_the_bias_is_the_error_of_the_inverse(eps: float) -> None:
    """Catches a bias that depends on the data: it is |R - W^-1|, and no data enter."""
    weight, direction = _weight(0), _normal(5, SIZE, SIZE)
    inverse = torch.linalg.inv(weight)
    layer = SelfNormal(weight, inverse + eps * direction / direction.norm())
    for seed in (6, 7):
        flow = SelfNormalizingFlow([layer], SIZE, penalty=0.0)
        x = _normal(seed, 20, SIZE) * (seed - 5)
        (told,) = torch.autograd.grad(flow.loss(x), layer.weight)
        (exact,) = torch.autograd.grad(-flow.log_prob(x).mean(), layer.weight)
        assert float((2 * told - exact).norm()) == pytest.approx(eps, abs=1e-12)


def population() -> tuple[Tensor, float]:
    """Rows of mean zero whose second moments are exactly S, and the least loss on them."""
    k = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    for i, j, value in [(0, 1, 0.5), (0, 2, 0.2), (1, 2, 0.7), (0, 3, 0.1), (2, 3, 0.3)]:
        k[i, j], k[j, i] = value, -value
    q = torch.linalg.matrix_exp(k)
    s = q @ torch.diag(torch.tensor([0.25, 1.0, 2.0, 4.0], dtype=torch.float64)) @ q.T
    root = sqrt(SIZE) * torch.linalg.cholesky(s).T
    law = torch.distributions.MultivariateNormal(torch.zeros(SIZE, dtype=torch.float64), s)
    return torch.cat([root, -root]), float(law.entropy())


def trained(penalty: float) -> SelfNormalizingFlow:
    x, _ = population()
    layer = SelfNormal(torch.eye(SIZE, dtype=torch.float64))
    flow = SelfNormalizingFlow([layer], SIZE, penalty)
    optimizer = torch.optim.SGD(flow.parameters(), 0.02 / max(1.0, penalty))
    for _ in range(6000):
        optimizer.zero_grad()
        flow.loss(x).backward()
        optimizer.step()
    return flow


def test_a_linear_gaussian_reaches_its_entropy() -> None:
    """Catches a wrong reconstruction gradient, and the half in one of the two updates only."""
    x, least = population()
    assert least == pytest.approx(6.022327723, abs=1e-9)
    flow = trained(1.0)
    (layer,) = dense(flow)
    assert -float(flow.log_prob(x).mean().detach()) == pytest.approx(least, abs=1e-9)
    white = layer.weight @ (x.T @ x / len(x)) @ layer.weight.T
    eye = torch.eye(SIZE, dtype=torch.float64)
    assert torch.allclose(white, eye, atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flow.reconstruction_error() < 1e-9


def test_too_small_a_penalty_kills_a_direction_and_says_so() -> None:
    """Catches a failure that looks trained: a zero singular value of W and R, which stays."""
    flow, (x, _) = trained(0.1), population()
    assert -float(flow.log_prob(x).mean().detach()) == pytest.approx(13.636, abs=1e-3)
    with pytest.warns(RuntimeWarning, match="above 0.1: R is not the inverse"):
        error = flow.reconstruction_error()
    assert error * sqrt(SIZE) == pytest.approx(1.0, abs=1e-4)
    (layer,) = dense(flow)
    for matrix in (layer.weight, layer.recover):
        singular = torch.linalg.svdvals(matrix.detach())
        assert float(singular[-1]) < 0.01 < 0.4 < float(singular[-2])
    with pytest.warns(RuntimeWarning):
        flow.sample(3, exact=False)


def test_a_far_too_small_penalty_kills_more() -> None:
    """Catches a failure that goes unreported once all directions turn about zero together."""
    flow, (x, least) = trained(0.03), population()
    assert -float(flow.log_prob(x).mean().detach()) > least + 20.0
    assert int((torch.linalg.svdvals(dense(flow)[0].weight.detach()) < 0.01).sum()) >= 3
    with pytest.warns(RuntimeWarning):
        assert flow.reconstruction_error() * sqrt(SIZE) > 1.7


def test_reconstruction_is_a_gradient_of_w_and_r_alone() -> None:
    """Catches a reconstruction that pulls on the layers before it, or counts the bias."""
    layer, y = SelfNormal(_weight(0), torch.eye(SIZE).double()), _normal(3, 9, SIZE)
    y.requires_grad_()
    value = layer.reconstruction(y)
    with torch.no_grad():
        rows = [(layer.recover @ (layer.weight @ row) - row).square().sum() for row in y]
    assert float(value.detach()) == pytest.approx(float(sum(rows)) / 9, abs=1e-12)
    gradients = torch.autograd.grad(
        value, [y, layer.weight, layer.recover, layer.bias], allow_unused=True
    )
    assert gradients[0] is None and gradients[3] is None
    assert all(float(g.abs().max()) > 0 for g in gradients[1:3] if g is not None)
    flow = two_layers(7.0)
    plain = SelfNormalizingFlow([la for la in flow.layers if isinstance(la, Layer)], SIZE, 0.0)
    first = dense(flow)[-1]
    (below,) = torch.autograd.grad(flow.loss(y) - plain.loss(y), first.weight)
    (own,) = torch.autograd.grad(7.0 * first.reconstruction(y), first.weight)
    assert torch.allclose(below, own, atol=1e-10)


@pytest.mark.parametrize("size", [2, 5])
def test_the_layer_is_a_bijection(size: int) -> None:
    """Catches a log-det of the wrong sign, and R used where only W is exact."""
    layer = SelfNormal(_weight(2, size), torch.eye(size, dtype=torch.float64))
    with torch.no_grad():
        layer.bias.copy_(_normal(4, size))
    x = _normal(5, 8, size)
    assert log_det(layer, x) and round_trip(layer, x)
    assert round_trip(layer, 1e3 * x, bound=1e-9)
    z, zero = layer.surrogate(x)
    assert torch.allclose(z, layer.inverse(x)[0]) and float(zero.detach()) == 0.0
    assert not torch.allclose(layer.approximate(z), x, atol=0.1), "R is not the inverse here"
    true = SelfNormal(layer.weight)
    with torch.no_grad():
        true.bias.copy_(layer.bias)
    assert torch.allclose(true.approximate(z), x, atol=1e-10)


def test_samples_fit_the_exact_density_and_fast_ones_follow_r() -> None:
    """Catches fast samples passed off as exact ones: with R off the inverse they must not fit."""
    flow = two_layers()
    generator = torch.Generator().manual_seed(0)
    assert fits(flow, generator=generator)
    assert fits(Fast(flow), generator=generator)
    with torch.no_grad():
        for layer in dense(flow):
            layer.recover.mul_(1.05)
    assert fits(flow, generator=generator)
    assert not fits(Fast(flow), generator=generator)


class Fast:
    """The samples of R, scored by W."""

    def __init__(self, flow: SelfNormalizingFlow) -> None:
        self.flow = flow

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.flow.sample(n, generator=generator, exact=False)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)


def test_training_lowers_the_exact_loss_in_fit() -> None:
    """Catches a gradient that `fit` does not see, and a parameter that it does not reach."""
    x = _normal(1, 400, SIZE) @ _weight(8).T + 1.0
    torch.manual_seed(0)
    flow = self_normalizing_flow(SIZE, 2, 10.0).double()
    assert dead_parameters(lambda: flow.loss(x), flow) == []
    before = -float(flow.log_prob(x).mean().detach())
    for _ in fit(flow, [x] * 300, lr=1e-2, progress=False):
        pass
    after = -float(flow.log_prob(x).mean().detach())
    least = float(torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T)).entropy())
    assert least - 0.05 < after < min(before - 0.5, least + 0.1)
    assert flow.reconstruction_error() < 0.1


def test_float32_and_the_start() -> None:
    """Catches a start that is no inverse, and a constant made in another precision."""
    flow = self_normalizing_flow(SIZE, 3).float()
    x = _normal(1, 6, SIZE).float()
    assert flow.loss(x).dtype == flow.log_prob(x).dtype == flow.sample(2).dtype == torch.float32
    assert flow.reconstruction_error() < 1e-6
    assert len(dense(flow)) == 3


def test_bad_input_is_named() -> None:
    """Catches a missing check: shapes, an empty batch, NaN, a singular weight."""
    with pytest.raises(ValueError, match=r"square, \(D, D\); got \(2, 3\)"):
        SelfNormal(torch.ones(2, 3))
    with pytest.raises(ValueError, match="invertible; got"):
        SelfNormal(torch.ones(2, 2))
    with pytest.raises(ValueError, match="shape of weight"):
        SelfNormal(torch.eye(2), torch.eye(3))
    with pytest.raises(ValueError, match="finite"):
        SelfNormal(torch.eye(2) * float("nan"))
    flow = two_layers()
    for broken, message in [
        (torch.zeros(0, SIZE), "empty"),
        (torch.full((2, SIZE), float("nan")), "finite"),
        (torch.zeros(2, SIZE + 1), r"must have shape \(B, 4\)"),
    ]:
        for call in (flow.loss, flow.log_prob):
            with pytest.raises(ValueError, match=message):
                call(broken.double())
    with torch.no_grad():
        dense(flow)[0].weight.zero_()
    for call in (lambda: flow.log_prob(_normal(0, 2, SIZE)), lambda: flow.sample(2)):
        with pytest.raises(ValueError, match="invertible; got"):
            call()
    with pytest.raises(ValueError, match="SelfNormal ones of width 4; got widths"):
        SelfNormalizingFlow([SelfNormal(torch.eye(3))], 4)
    with pytest.raises(ValueError, match="SelfNormal ones of width 4; got widths"):
        SelfNormalizingFlow([], 4)
    with pytest.raises(ValueError, match="penalty must be finite"):
        SelfNormalizingFlow([SelfNormal(torch.eye(4))], 4, penalty=-1.0)
    with pytest.raises(ValueError, match="depth must be at least 1"):
        self_normalizing_flow(4, 0)

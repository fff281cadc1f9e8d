"""Flows under torch's transforms: vmap, per-sample gradients, whole-graph compilation."""

import pytest
import torch

from gentoolkit import Gaussian
from gentoolkit.flows import (
    ActNorm,
    Flow,
    Inverted,
    LeakySoftplus,
    LULinear,
    Planar,
    Radial,
    continuous_flow,
    iaf,
    maf,
    real_nvp,
    residual_flow,
    self_normalizing_flow,
    spline_flow,
)
from gentoolkit.numerics import FixedStep
from tests.flows.truth import perturbed

EXACT = {
    "real nvp": lambda: real_nvp(3, 2, (8,)),
    "spline flow": lambda: spline_flow(3, 2, hidden=(8,)),
    "maf": lambda: maf(3, 2, (8,)),
    "iaf": lambda: iaf(3, 2, (8,)),
    "residual flow": lambda: residual_flow(3, 2, (8,)),
    "continuous flow": lambda: continuous_flow(3, (8,), solver=FixedStep(steps=4)),
    "self-normalizing flow": lambda: self_normalizing_flow(3, 2),
    "elementary layers": lambda: Flow(
        [LULinear(3), Inverted(LeakySoftplus(3)), Radial(3), Inverted(Planar(3)), ActNorm(3)], 3
    ),
}
COMPILED = ["real nvp", "spline flow", "maf", "self-normalizing flow", "elementary layers"]


def flow_of(name):
    torch.manual_seed(3)
    return perturbed(EXACT[name](), 0.2)


@pytest.mark.parametrize("name", EXACT)
def test_log_prob_under_vmap_is_log_prob(name):
    """Catches a value that is read inside a transform, where there is none to read."""
    flow, x = flow_of(name), torch.randn(4, 5, 3)
    together = torch.func.vmap(flow.log_prob)(x)
    apart = torch.stack([flow.log_prob(rows) for rows in x])
    torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", EXACT)
def test_per_sample_gradients_are_gradients_of_samples(name):
    """Catches rows that are mixed, and a graph that a transform loses."""
    flow, x = flow_of(name), torch.randn(3, 3)
    parameters = dict(flow.named_parameters())

    class Score(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def forward(self, row):
            return self.flow.log_prob(row[None])[0]

    score = Score()

    def of(parameters, row):
        named = {f"flow.{k}": v for k, v in parameters.items()}
        return torch.func.functional_call(score, named, (row,))

    each = torch.func.vmap(torch.func.grad(of), (None, 0))(parameters, x)
    for i, row in enumerate(x):
        alone = torch.autograd.grad(score(row), list(parameters.values()), allow_unused=True)
        for name_, gradient in zip(parameters, alone, strict=True):
            expected = torch.zeros_like(each[name_][i]) if gradient is None else gradient
            torch.testing.assert_close(each[name_][i], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", COMPILED)
def test_the_whole_of_log_prob_and_loss_compiles(name):
    """Catches a check or a branch on values that breaks the graph: one break is an error."""
    flow, x = flow_of(name), torch.randn(5, 3)
    torch._dynamo.reset()
    for method in (flow.log_prob, flow.loss):
        compiled = torch.compile(method, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), method(x), rtol=1e-12, atol=1e-12)


def test_a_compiled_flow_has_the_right_gradients():
    """Catches a graph that a compiler loses in silence: aot_eager once gave another density."""
    flow, x = flow_of("real nvp"), torch.randn(5, 3)
    torch._dynamo.reset()
    compiled = torch.compile(flow.loss, backend="aot_eager", fullgraph=True)
    parameters = list(flow.parameters())
    one = torch.autograd.grad(compiled(x), parameters)
    two = torch.autograd.grad(flow.loss(x), parameters)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_laws_run_under_vmap():
    """Catches the checks of a law inside a transform."""
    mean, x = torch.randn(4, 6, 2), torch.randn(4, 6, 2)
    together = torch.func.vmap(lambda m, x: Gaussian(m, m.exp()).log_prob(x))(mean, x)
    apart = torch.stack([Gaussian(m, m.exp()).log_prob(y) for m, y in zip(mean, x, strict=True)])
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("name", EXACT)
def test_inference_mode_gives_the_numbers_of_no_grad(name):
    """Catches a divergence or a determinant that is zero where no graph is kept."""
    flow, x = flow_of(name), torch.randn(5, 3)
    with torch.no_grad():
        expected = flow.log_prob(x)
    with torch.inference_mode():
        torch.testing.assert_close(flow.log_prob(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_second_derivatives_are_right(name):
    """Catches an implicit inverse whose gradient is a constant to the next derivative."""
    flow, x = flow_of(name), torch.randn(1, 3)
    try:
        hessian = torch.autograd.functional.hessian(lambda x: flow.log_prob(x).sum(), x)
    except RuntimeError as error:
        pytest.fail(f"{name} cannot be differentiated twice: {error}")
    step, eye = 1e-4, torch.eye(3)

    def slope(x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(flow.log_prob(x).sum(), x)[0]

    rows = [(slope(x + step * e) - slope(x - step * e))[0] / (2 * step) for e in eye]
    torch.testing.assert_close(hessian[0, :, 0], torch.stack(rows), rtol=1e-4, atol=1e-5)

"""Log-densities whose derivatives are taken inside: the same in every mode, and twice over."""

import pytest
import torch

from gentoolkit.flows import (
    Adaptive,
    Flow,
    LeakySoftplus,
    Planar,
    Residual,
    continuous_flow,
    residual_flow,
)
from gentoolkit.flows.residual import LipschitzMLP

FLOWS = {
    "continuous": lambda: continuous_flow(2, (8,)),
    "adaptive": lambda: continuous_flow(2, (8,), solver=Adaptive()),
    "residual": lambda: residual_flow(2, layers=2, hidden=(8,)),
    "residual, solved": lambda: Flow([Residual(LipschitzMLP(2, (8,)))], 2),
    "planar": lambda: Flow([Planar(2), Planar(2)], 2),
    "leaky softplus": lambda: Flow([LeakySoftplus(2)], 2),
}


def perturbed(name):
    flow = FLOWS[name]()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return flow


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FLOWS)
def test_inference_mode_gives_the_number_of_no_grad(name, dtype):
    """Catches log-determinants that inference mode turns into zeros, without a word."""
    flow, x = perturbed(name).to(dtype), torch.randn(5, 2, dtype=dtype)
    with torch.no_grad():
        expected = flow.log_prob(x)
    with torch.inference_mode():
        assert torch.equal(flow.log_prob(x), expected)
        assert torch.equal(flow.log_prob(x.clone()), expected)


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "adaptive"])
def test_second_derivatives_are_right(name):
    """Catches inverses whose gradients are right once and wrong twice: Langevin on a flow."""
    flow, x = perturbed(name), torch.randn(2, 2, requires_grad=True)
    assert torch.autograd.gradgradcheck(flow.log_prob, x)


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["residual", "residual, solved", "planar", "leaky softplus"])
def test_half_precision_is_as_good_as_its_numbers(name, narrow):
    """Catches torch's own refusal of a determinant or a solve in half precision."""
    flow, x = perturbed(name), torch.randn(6, 2).to(narrow).double()
    for p in flow.parameters():
        p.data = p.data.to(narrow).double()
    expected = flow.log_prob(x)
    rounding = 300 * torch.finfo(narrow).eps
    value = flow.to(narrow).log_prob(x.to(narrow)).double()
    torch.testing.assert_close(value, expected, rtol=rounding / 10, atol=rounding / 10)

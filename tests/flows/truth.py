"""What the tests of flow layers share: perturbation to trained size, and the exact checks."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from gentoolkit.core.checks import dead_parameters, log_det, round_trip
from gentoolkit.flows import Flow, Layer
from gentoolkit.nets import MLP

Module = TypeVar("Module", bound=nn.Module)


def perturbed(module: Module, scale: float = 0.5) -> Module:
    """The last layer of every net gets entries of deviation `scale`; other parameters move too."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, MLP):
                last = part[-1]
                assert isinstance(last, nn.Linear)
                last.weight.normal_(0, scale)
                last.bias.normal_(0, scale)
        inner = {id(p) for m in module.modules() if isinstance(m, MLP) for p in m.parameters()}
        for parameter in module.parameters():
            if id(parameter) not in inner:
                parameter += scale * torch.randn_like(parameter)
    return module


def assert_exact(layer: Layer, x: Tensor, context: Tensor | None = None) -> None:
    """The log-determinant is slogdet of the Jacobian, the inverse comes back, gradients arrive."""
    step = layer.given(context)
    for check in (log_det(step, x), round_trip(step, x)):
        assert check, check

    def both_ways() -> Tensor:
        y, there = layer.push(x, context=context)
        z, back = layer.pull(x, context=context)
        return (y.sin() + z.cos()).sum() + (there * back).sum()

    assert not list(layer.parameters()) or dead_parameters(both_ways, layer) == []


def integral(flow: Flow, reach: float, side: int, context: Tensor | None = None) -> float:
    """Integrate a plane density over the square [-reach, reach]^2 by a grid."""
    line = torch.linspace(-reach, reach, side)
    grid = torch.cartesian_prod(line, line)
    rows = None if context is None else context.expand(len(grid), -1)
    with torch.no_grad():
        return float(flow.log_prob(grid, context=rows).exp().sum() * (line[1] - line[0]) ** 2)

"""The kinds of cases that the shared laws run on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from gentoolkit import Bijection, Chain, Density, Step
from gentoolkit.targets import DoubleWell, GaussianMixture

Steps = dict[str, Callable[[torch.dtype], tuple[Step, Tensor]]]
"""A name, and a function of dtype that makes a step from perturbed parameters, and states."""
Bijections = dict[str, Callable[[], tuple[Bijection, Tensor]]]
Densities = dict[str, Callable[[], Density]]
Models = dict[str, Callable[[], tuple[nn.Module, Tensor]]]
"""A name, and a function that makes a model from perturbed parameters, and a batch."""
Conditionals = dict[str, Callable[[], tuple[nn.Module, Tensor, Tensor]]]
"""The same with a context, one row for each row of the batch."""


@dataclass(frozen=True)
class Normalised:
    """A target divided by its own normaliser: what must integrate to one."""

    target: GaussianMixture | DoubleWell

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw exact samples."""
        return self.target.sample(n, generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log_prob - log_z."""
        return self.target.log_prob(x) - self.target.log_z


@dataclass(frozen=True)
class Journey:
    """A chain towards a target of known normaliser, with exact samples of that target."""

    chain: Chain
    target: GaussianMixture


Journeys = dict[str, Callable[[], Journey]]


def perturbed(model: nn.Module, scale: float = 0.1) -> nn.Module:
    """Move every parameter away from its start, which hides errors."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn_like(parameter)
    return model

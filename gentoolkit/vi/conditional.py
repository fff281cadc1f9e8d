"""Networks that give a law: what encoders and decoders are made of."""

from collections.abc import Callable, Sequence
from math import log

import torch
from torch import Size, Tensor, nn

from gentoolkit.core import Bernoulli, Gaussian, Law, validate
from gentoolkit.nets import MLP

Likelihood = Callable[[Tensor], Law]
"""What turns the output of a decoder (B, features) into the law of the data."""


class GaussianMLP(nn.Module):
    """A network from a state to a Gaussian law, (B, in_features) -> law over (out_features,).

        mean, log_std = net(x),   std = exp(log_std)     (a deviation, not a variance)

    Arguments:
        in_features: width of the state.
        out_features: width of the law's event.
        hidden: widths of the hidden layers.
        activation: makes the nonlinearity between layers.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.net = MLP(in_features, 2 * out_features, hidden, activation)

    def forward(self, x: Tensor) -> Gaussian:
        """Return the law of each row of `x`."""
        mean, log_std = self.net(x).chunk(2, -1)
        return Gaussian(mean, log_std.exp())


class GaussianNoise(nn.Module):
    """A likelihood for real data: the decoder's output with one learned noise level.

        x ~ N(mean, exp(log_std)^2 I)

    Arguments:
        std: starting deviation.
    """

    def __init__(self, std: float = 1.0) -> None:
        super().__init__()
        validate.positive("std", std)
        self.log_std = nn.Parameter(torch.tensor(log(std)))

    def forward(self, mean: Tensor) -> Gaussian:
        """Return the law of the data around `mean` (B, features)."""
        return Gaussian(mean, self.log_std.exp())


def mean_of(law: Law) -> Tensor:
    """Return the mean of a law, (B, *event): probabilities for pixels.

    Raises:
        TypeError: the law is neither Gaussian nor Bernoulli.
    """
    match law:
        case Gaussian():
            return law.mean
        case Bernoulli():
            return law.probs
        case _:
            raise TypeError(
                f"a picture needs a Gaussian or Bernoulli law; got {type(law).__name__}; "
                "sample it instead"
            )


def rows_like(module: nn.Module, name: str, x: Tensor, features: int) -> Tensor:
    """Return `x` if it is finite, of shape (B, features) and of the module's dtype.

    Raises:
        TypeError: another dtype.
        ValueError: another shape, empty, NaN or infinite.
    """
    validate.batch(name, x, Size((features,)))
    dtype = next(module.parameters()).dtype
    if x.dtype != dtype:
        raise TypeError(
            f"{name} must have the dtype of the model, {dtype}; got {x.dtype}; use {name}.to(dtype)"
        )
    return x

"""Multilayer perceptrons, with or without a time input."""

from collections.abc import Callable, Sequence
from math import log

import torch
from torch import Tensor, nn

from gentoolkit.core import validate

F32 = torch.float32


class MLP(nn.Sequential):
    """A fully connected network, (B, in_features) -> (B, out_features).

    Arguments:
        in_features: width of the input.
        out_features: width of the output.
        hidden: widths of the hidden layers.
        activation: makes the nonlinearity between layers.

    >>> MLP(3, 2, hidden=(8,))(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        widths = [in_features, *hidden, out_features]
        for width in widths:
            validate.positive_count("layer width", width)
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            layers += [activation()] if i else []
            layers += [nn.Linear(fan_in, fan_out)]
        super().__init__(*layers)
        self.in_features = in_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for each row of `x` (..., in_features).

        Raises:
            ValueError: the last size of `x` is another.
        """
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"x must have {self.in_features} numbers in each row; got shape {tuple(x.shape)}; "
                "flatten each data point to one row"
            )
        return super().forward(x)


class ParallelMLP(nn.Module):
    """`n` networks of the same sizes run at once, (n, B, in_features) -> (n, B, out_features).

    Row i of the input passes through network i only, so that several seeds, or several levels of
    a chain, cost little more than one. Weights start as those of `MLP` do, independently.

    Arguments:
        n: how many networks.
        in_features: width of the input.
        out_features: width of the output.
        hidden: widths of the hidden layers.
        activation: makes the nonlinearity between layers.
    """

    def __init__(
        self,
        n: int,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.n = validate.positive_count("n", n)
        nets = [MLP(in_features, out_features, hidden, activation) for _ in range(n)]
        linear = [[layer for layer in net if isinstance(layer, nn.Linear)] for net in nets]
        layers = list(zip(*linear, strict=True))
        self.weights = nn.ParameterList(
            torch.stack([part.weight.detach().T for part in layer]) for layer in layers
        )
        self.biases = nn.ParameterList(
            torch.stack([part.bias.detach()[None] for part in layer]) for layer in layers
        )
        self.activation = activation()

    def forward(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """Return the outputs of all networks, or of those in `rows`, for an input row each.

        Raises:
            ValueError: the first size of `x` is not the number of networks.
        """
        count = len(range(self.n)[rows])
        if x.ndim != 3 or x.shape[0] != count:
            raise ValueError(
                f"x must have shape ({count}, B, in_features), a row for each network; got "
                f"{tuple(x.shape)}; use x.expand({count}, -1, -1) to show all the same"
            )
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = self.activation(x) if i else x
            x = torch.baddbmm(bias[rows], x, weight[rows])
        return x


class TimeEmbedding(nn.Module):
    """Cosines and sines of a time at geometrically spaced frequencies, (B,) -> (B, features).

        [cos(w_k t), sin(w_k t)],   w_k from 1 to max_frequency

    Angles are computed in at least float32: in half precision a fast one would be off by radians.

    Arguments:
        features: even number of outputs.
        max_frequency: largest angular frequency, in radians per unit of time; for t in [0, 1] the
            embedding tells times apart down to about `1 / max_frequency`.

    Raises:
        ValueError: `features` is odd or below 4.

    Reference: Vaswani et al. 2017 (arXiv 1706.03762).
    """

    frequencies: Tensor

    def __init__(self, features: int = 32, max_frequency: float = 1000.0) -> None:
        super().__init__()
        if features < 4 or features % 2:
            raise ValueError(
                f"features must be even and at least 4; got {features}; "
                "half are cosines, half are sines"
            )
        exponents = torch.linspace(0.0, log(max_frequency), features // 2)
        self.register_buffer("frequencies", exponents.exp())

    def forward(self, t: Tensor) -> Tensor:
        """Embed times of shape (B,)."""
        if t.ndim != 1:
            raise ValueError(f"t must have shape (B,); got {tuple(t.shape)}; use t.expand(B)")
        precise = torch.promote_types(torch.promote_types(t.dtype, self.frequencies.dtype), F32)
        angles = t.to(precise)[:, None] * self.frequencies.to(precise)  # (B, features / 2)
        return torch.cat([angles.cos(), angles.sin()], -1).to(self.frequencies.dtype)


class TimeMLP(nn.Module):
    """An MLP that sees a state and a time, (B, in_features), (B,) -> (B, out_features).

    Arguments:
        in_features: width of the state.
        out_features: width of the output.
        hidden: widths of the hidden layers.
        time_features: width of the time embedding.
        activation: makes the nonlinearity between layers.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (64, 64),
        time_features: int = 32,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.embed = TimeEmbedding(time_features)
        self.net = MLP(in_features + time_features, out_features, hidden, activation)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the output for states `x` (B, in_features) at times `t` (B,), or one time ()."""
        if x.ndim != 2:
            raise ValueError(f"x must have shape (B, D); got {tuple(x.shape)}; use x.flatten(1)")
        return self.net(torch.cat([x, self.embed(t.expand(x.shape[0])).to(x.dtype)], -1))

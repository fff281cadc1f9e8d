"""Networks over tokens that see all of them: for predicting data from a noisy state."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gentoolkit.core import validate
from gentoolkit.nets import MLP, TimeEmbedding, TimeMLP
from gentoolkit.processes.tokens import checked_tokens


class TokenNet(nn.Module, ABC):
    """A network from tokens and times to logits, (B, D), (B,) -> (B, D, C).

    A subclass writes `logits`, which reads one-hot rows: derivatives with respect to a token then
    exist, and a test can see which outputs depend on which inputs.

    Arguments:
        size: number C of values of a token.
        dims: number D of tokens.

    Raises:
        TypeError: a count is not an int.
        ValueError: a count is below one.
    """

    def __init__(self, size: int, dims: int) -> None:
        super().__init__()
        self.size = validate.positive_count("size", size)
        self.dims = validate.positive_count("dims", dims)

    @abstractmethod
    def logits(self, rows: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C) for one-hot rows (B, D, C) at times (B,)."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C) for tokens `x` (B, D) at times `t` (B,), or one time ().

        Raises:
            TypeError: `x` does not hold int64 tokens.
            ValueError: `x` has another number of tokens, or one outside 0..C-1.
        """
        checked_tokens("x", x, self.size, self.dims)
        dtype = next(self.parameters()).dtype
        return self.logits(one_hot(x, self.size).to(dtype), t.to(dtype).expand(x.shape[0]))


class TokenMLP(TokenNet):
    """An MLP on all one-hot rows and the time, with `hidden` widths of layers."""

    def __init__(
        self, size: int, dims: int, hidden: Sequence[int] = (64, 64), time_features: int = 32
    ) -> None:
        super().__init__(size, dims)
        self.net = TimeMLP(dims * size, dims * size, hidden, time_features)

    def logits(self, rows: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C)."""
        return self.net(rows.flatten(1), t).reshape(rows.shape)


class PositionNet(TokenNet):
    """A net with a state (W,) at each position, made of its token, its place and the time."""

    def __init__(self, size: int, dims: int, width: int, layers: int, time_features: int) -> None:
        super().__init__(size, dims)
        validate.positive_count("layers", layers)
        self.tokens = nn.Linear(size, width, bias=False)
        self.places = nn.Parameter(0.1 * torch.randn(dims, width))
        embed, net = TimeEmbedding(time_features), MLP(time_features, width, (width,))
        self.time = nn.Sequential(OrderedDict(embed=embed, net=net))

    def shared(self, t: Tensor) -> Tensor:
        """Return the part of the states that no token changes, (B, D, W)."""
        return self.places + self.time(t)[:, None]


class TokenMixer(PositionNet):
    """Layers that mix the positions of each feature, then the features at each position.

    For few tokens a cheap stand-in for attention: the mixing of positions is one MLP of D inputs,
    the same for every feature.

    Arguments:
        size, dims: numbers C and D, as of any `TokenNet`.
        width: of the states at each position.
        across: hidden width of the mixing of positions.
        layers: number of layers.
        time_features: width of the time embedding.

    Reference: Tolstikhin et al. 2021 (arXiv 2105.01601).
    """

    def __init__(
        self,
        size: int,
        dims: int,
        width: int = 32,
        across: int = 128,
        layers: int = 4,
        time_features: int = 32,
    ) -> None:
        super().__init__(size, dims, width, layers, time_features)

        def each(features: int, hidden: int) -> nn.ModuleList:
            return nn.ModuleList(
                [MLP(features, features, (hidden,), nn.GELU) for _ in range(layers)]
            )

        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2 * layers)])
        self.across, self.within = each(dims, across), each(width, 2 * width)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))

    def logits(self, rows: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C)."""
        x, norms = self.tokens(rows) + self.shared(t), iter(self.norms)
        for across, within in zip(self.across, self.within, strict=True):
            x = x + across(next(norms)(x).mT).mT
            x = x + within(next(norms)(x))
        return self.out(x)

"""Networks over tokens that see all of them: for predicting data from a noisy state."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, scaled_dot_product_attention

from gentoolkit.core import validate
from gentoolkit.nets import MLP, TimeEmbedding
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
    """An MLP on all one-hot rows and the time.

    Arguments:
        size: number C of values of a token.
        dims: number D of tokens.
        hidden: widths of the hidden layers.
        time_features: width of the time embedding.
    """

    def __init__(
        self, size: int, dims: int, hidden: Sequence[int] = (64, 64), time_features: int = 32
    ) -> None:
        super().__init__(size, dims)
        self.embed = TimeEmbedding(time_features)
        self.net = MLP(dims * size + time_features, dims * size, hidden)

    def logits(self, rows: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C)."""
        return self.net(torch.cat([rows.flatten(1), self.embed(t)], -1)).unflatten(
            -1, (self.dims, self.size)
        )


class Attention(nn.Module):
    """Heads of attention from queries to a memory, (B, Q, W), (B, K, W) -> (B, Q, W).

    Arguments:
        width: W, a multiple of `heads`.
        heads: number of heads.

    Raises:
        ValueError: `heads` does not divide `width`.

    Reference: Vaswani et al. 2017 (arXiv 1706.03762).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        validate.positive_count("width", width)
        if width % validate.positive_count("heads", heads):
            raise ValueError(
                f"width must be a multiple of heads; got {width} and {heads}; "
                f"use width {heads * -(-width // heads)}"
            )
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.memory = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, memory: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attend where `allowed` (Q, K) is true, or everywhere."""
        q = self._split(self.query(queries))
        k, v = (self._split(part) for part in self.memory(memory).chunk(2, -1))
        heads = scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.out(heads.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, Q, W / heads)


class Block(nn.Module):
    """Attention among positions, then an MLP at each, (B, D, W) -> (B, D, W)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mlp = MLP(width, width, (4 * width,), nn.GELU)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Return the new states; position i reads position j where `allowed` (D, D) is true."""
        normed = self.norms[0](x)
        x = x + self.attention(normed, normed, allowed)
        return x + self.mlp(self.norms[1](x))


class TimeToken(nn.Module):
    """A learned vector of the time, (B,) -> (B, 1, W), to be added at every position."""

    def __init__(self, width: int, time_features: int) -> None:
        super().__init__()
        self.embed = TimeEmbedding(time_features)
        self.net = MLP(time_features, width, (width,))

    def forward(self, t: Tensor) -> Tensor:
        """Embed times of shape (B,)."""
        return self.net(self.embed(t))[:, None]


class PositionNet(TokenNet):
    """A net with a state of its own at each position: its token, its place and the time.

    Arguments:
        size: number C of values of a token.
        dims: number D of tokens.
        width: of the states at each position.
        layers: number of layers.
        time_features: width of the time embedding.
    """

    def __init__(self, size: int, dims: int, width: int, layers: int, time_features: int) -> None:
        super().__init__(size, dims)
        validate.positive_count("layers", layers)
        self.tokens = nn.Linear(size, width, bias=False)
        self.places = nn.Parameter(0.1 * torch.randn(dims, width))
        self.time = TimeToken(width, time_features)


class TokenTransformer(PositionNet):
    """A transformer in which every position reads every token.

    Arguments:
        size: number C of values of a token.
        dims: number D of tokens.
        width: of the states at each position, a multiple of `heads`.
        heads: attention heads of a layer.
        layers: number of layers.
        time_features: width of the time embedding.
    """

    def __init__(
        self,
        size: int,
        dims: int,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        time_features: int = 32,
    ) -> None:
        super().__init__(size, dims, width, layers, time_features)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))

    def logits(self, rows: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C)."""
        x = self.tokens(rows) + self.places + self.time(t)
        for block in self.blocks:
            x = block(x)
        return self.out(x)


class TokenMixer(PositionNet):
    """Layers that mix the positions of each feature, then the features at each position.

    For few tokens a cheap stand-in for attention: the mixing of positions is one MLP of D inputs,
    the same for every feature.

    Arguments:
        size: number C of values of a token.
        dims: number D of tokens.
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
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2 * layers)])
        self.across = nn.ModuleList([MLP(dims, dims, (across,), nn.GELU) for _ in range(layers)])
        self.within = nn.ModuleList(
            [MLP(width, width, (2 * width,), nn.GELU) for _ in range(layers)]
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))

    def logits(self, rows: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C)."""
        x = self.tokens(rows) + self.places + self.time(t)
        norms = iter(self.norms)
        for across, within in zip(self.across, self.within, strict=True):
            x = x + across(next(norms)(x).mT).mT
            x = x + within(next(norms)(x))
        return self.out(x)

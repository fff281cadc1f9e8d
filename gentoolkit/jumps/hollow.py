"""Hollow networks: output d reads every token but token d.

    d logits[d, c] / d rows[d, c'] = 0        for every d, c, c'

Only such a network can hold `p(x^d | x^{-d})`: one that sees x^d would answer with what it sees.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, scaled_dot_product_attention

from gentoolkit.core import validate
from gentoolkit.jumps.networks import PositionNet, TokenNet
from gentoolkit.nets import MLP, TimeEmbedding


class HollowMLP(TokenNet):
    """D passes of one MLP: pass d reads the one-hot rows with row d set to zero.

    The hidden layers are shared and each pass has a last layer of its own, as many parameters as
    in an MLP that sees all. A call costs D times as much.

    Arguments:
        size, dims: numbers C and D, as of any `TokenNet`.
        hidden: widths of the hidden layers.
        time_features: width of the time embedding.

    Raises:
        ValueError: there is no hidden layer.

    Reference: Sun et al. 2022 (arXiv 2211.16750).
    """

    others: Tensor

    def __init__(
        self, size: int, dims: int, hidden: Sequence[int] = (64, 64), time_features: int = 32
    ) -> None:
        super().__init__(size, dims)
        self.embed = TimeEmbedding(time_features)
        if not hidden:
            raise ValueError("hidden must hold a width or more; got none; use for example (64, 64)")
        body = MLP(dims * size + time_features, hidden[-1], hidden[:-1])
        self.body = nn.Sequential(body, nn.SiLU())
        self.weight = nn.Parameter(torch.empty(dims, hidden[-1], size))
        self.bias = nn.Parameter(torch.empty(dims, size))
        bound = hidden[-1] ** -0.5  # as torch's Linear starts
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)
        self.register_buffer("others", 1.0 - torch.eye(dims)[:, :, None], persistent=False)

    def logits(self, rows: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C)."""
        masked = (rows[:, None] * self.others).flatten(2)  # (B, D, D C): pass d lacks row d
        time = self.embed(t)[:, None].expand(-1, self.dims, -1)
        features = self.body(torch.cat([masked, time], -1))
        return torch.einsum("bdh,dhc->bdc", features, self.weight) + self.bias


class HollowTransformer(PositionNet):
    """Two one-way transformers and a layer that joins them: one pass for all D outputs.

    The left stream at position d has read the tokens before d, the right stream those after d.
    The join at d attends to left states up to d and right states from d on, so none has read x^d.

    Arguments:
        size, dims: numbers C and D, as of any `TokenNet`.
        width: of the states at each position, a multiple of `heads`.
        heads: attention heads of a layer.
        layers: layers of each stream.
        time_features: width of the time embedding.

    Raises:
        ValueError: `heads` does not divide `width`.

    Reference: Sun et al. 2022 (arXiv 2211.16750); Vaswani et al. 2017 (arXiv 1706.03762).
    """

    up_to: Tensor

    def __init__(
        self,
        size: int,
        dims: int,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        time_features: int = 32,
    ) -> None:
        if width % validate.positive_count("heads", heads):
            raise ValueError(
                f"width must be a multiple of heads; got {width} and {heads}; "
                f"use width {heads * -(-width // heads)}"
            )
        super().__init__(size, dims, width, layers, time_features)
        self.starts = nn.Parameter(0.1 * torch.randn(2, 1, width))
        self.streams = nn.ModuleList(
            nn.ModuleList([_Block(width, heads) for _ in range(layers)]) for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.join = _Attention(width, heads)
        self.out = nn.Sequential(nn.LayerNorm(width), MLP(width, size, (2 * width,), nn.GELU))
        order = torch.arange(dims)
        self.register_buffer("up_to", order[:, None] >= order, persistent=False)

    def logits(self, rows: Tensor, t: Tensor) -> Tensor:
        """Return logits (B, D, C)."""
        tokens, shared = self.tokens(rows), self.shared(t)
        first, last = (start.expand(len(rows), 1, -1) for start in self.starts)
        # Shifted by one: the state of position d starts from its neighbour's token, not its own.
        left = torch.cat([first, tokens[:, :-1]], 1) + shared
        right = torch.cat([tokens[:, 1:], last], 1) + shared
        for to_right, to_left in zip(*self.streams, strict=True):
            left, right = to_right(left, self.up_to), to_left(right, self.up_to.T)
        query = left + right
        memory = self.norm(torch.cat([left, right], 1))
        joined = self.join(self.norm(query), memory, torch.cat([self.up_to, self.up_to.T], 1))
        return self.out(query + joined)


class _Attention(nn.Module):
    """Heads of attention to a memory, where `allowed` (Q, K): (B, Q, W), (B, K, W) -> (B, Q, W)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.memory = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, memory: Tensor, allowed: Tensor) -> Tensor:
        parts = self.query(queries), *self.memory(memory).chunk(2, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        heads = scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.out(heads.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    """Attention among positions, then an MLP at each; i reads j where `allowed` (D, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = _Attention(width, heads)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mlp = MLP(width, width, (4 * width,), nn.GELU)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        normed = self.norms[0](x)
        x = x + self.attention(normed, normed, allowed)
        return x + self.mlp(self.norms[1](x))


def own_jacobian(net: TokenNet, x: Tensor, t: Tensor) -> Tensor:
    """Return how much output d follows token d, (B, D): zero throughout for a hollow network.

        max over c, c' of |d logits[d, c] / d rows[d, c']|

    Arguments:
        net: any token network.
        x: tokens, (B, D).
        t: times, (B,), or one time ().
    """
    rows = one_hot(x, net.size).to(next(net.parameters()).dtype).requires_grad_()
    logits = net.logits(rows, t.to(rows.dtype).expand(len(x)))
    own = torch.zeros(x.shape, dtype=rows.dtype, device=x.device)
    for d in range(net.dims):
        for c in range(net.size):
            (slope,) = torch.autograd.grad(logits[:, d, c].sum(), rows, retain_graph=True)
            own[:, d] = torch.maximum(own[:, d], slope[:, d].abs().amax(-1))
    return own

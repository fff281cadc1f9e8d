"""Hollow networks: output d reads every token but token d.

    d logits[d, c] / d rows[d, c'] = 0        for every d, c, c'

Only such a network can hold `p(x^d | x^{-d})`: one that sees x^d would answer with what it sees.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.nn.functional import one_hot

from gentoolkit.core import validate
from gentoolkit.jumps.networks import PositionNet, TokenNet
from gentoolkit.nets import MLP, TimeEmbedding


class HollowMLP(TokenNet):
    """D passes of one MLP: pass d reads the one-hot rows with row d set to zero.

    The hidden layers are shared and each pass has a last layer of its own, as many parameters as
    in an MLP that sees all. A call costs D times as much.

    The arguments are those of `TokenMLP`.

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

        def block() -> nn.Module:
            return nn.TransformerEncoderLayer(
                width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )

        self.streams = nn.ModuleList(
            nn.ModuleList([block() for _ in range(layers)]) for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.join = nn.MultiheadAttention(width, heads, batch_first=True)
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
        barred = ~self.up_to  # torch's masks are true where one may not look
        for to_right, to_left in zip(*self.streams, strict=True):
            left, right = to_right(left, barred), to_left(right, barred.T)
        query, both = self.norm(left + right), self.norm(torch.cat([left, right], 1))
        either = torch.cat([barred, barred.T], 1)
        joined, _ = self.join(query, both, both, attn_mask=either, need_weights=False)
        return self.out(left + right + joined)


def own_jacobian(net: TokenNet, x: Tensor, t: Tensor) -> Tensor:
    """Return how much output d follows token d, (B, D): zero throughout for a hollow network.

        max over c, c' of |d logits[d, c] / d rows[d, c']|

    Arguments:
        net: any token network.
        x: tokens, (B, D).
        t: times, (B,), or one time ().
    """
    rows = one_hot(x, net.size).to(next(net.parameters()).dtype)
    t = t.to(rows.dtype).expand(len(x))
    whole = jacobian(lambda rows: net.logits(rows, t).sum(0), rows)  # (D, C, B, D, C)
    return whole.diagonal(dim1=0, dim2=3).abs().amax((0, 2))

"""Linear layers: permutations, LU-parametrised matrices, 1x1 convolutions, act-norm."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.flows.condition import rows
from gentoolkit.flows.layer import Flow, Layer


class Permute(Layer):
    """Puts the coordinates in another, fixed order: `y_i = x_order[i]`, `log |det| = 0`.

    Arguments:
        order: each of 0, ..., features - 1 once.

    Raises:
        ValueError: some index is missing or comes twice.
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        if not order or sorted(order) != list(range(len(order))):
            raise ValueError(
                f"order must hold each of 0, ..., features - 1 once; got {list(order)}; "
                "use Permute.reverse(features) or Permute.shuffle(features, seed)"
            )
        index = torch.tensor(list(order))
        self.features = len(order)
        self.register_buffer("order", index)
        self.register_buffer("back", index.argsort())

    @classmethod
    def reverse(cls, features: int) -> "Permute":
        """Return the layer that turns the order round."""
        return cls(range(validate.positive_count("features", features))[::-1])

    @classmethod
    def shuffle(cls, features: int, seed: int = 0) -> "Permute":
        """Return a layer with a random order, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        validate.positive_count("features", features)
        return cls(torch.randperm(features, generator=generator).tolist())

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coordinates in the new order, and zeros (B,)."""
        return rows(x, self.features).index_select(1, self.order), x.new_zeros(x.shape[0])

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coordinates in the old order, and zeros (B,)."""
        return rows(y, self.features).index_select(1, self.back), y.new_zeros(y.shape[0])


class LULinear(Layer):
    """A full matrix, kept as its LU factors: the log-determinant costs D, the inverse D^2.

        y = W x + b,   W = P L (U + diag s),   log |det W| = sum log |s|

    P is a fixed permutation, L unit lower triangular, U strictly upper triangular; the signs of s
    are fixed, so W cannot become singular while it trains.

    Arguments:
        features: width of an event.
        start: the first W, (features, features); a random rotation if left out.
        bias: whether there is a b, zero at first.

    Raises:
        ValueError: `start` has another shape, is not finite or is singular.

    Reference: Kingma and Dhariwal 2018 (arXiv 1807.03039).
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, features: int, start: Tensor | None = None, bias: bool = True) -> None:
        super().__init__()
        self.features = validate.positive_count("features", features)
        rotation = torch.linalg.qr(torch.randn(features, features)).Q
        matrix = rotation if start is None else validate.batch("start", start).detach()
        if matrix.shape != (features, features):
            raise ValueError(
                f"start must have shape ({features}, {features}); got {tuple(matrix.shape)}; "
                "pass one square matrix"
            )
        permutation, lower, upper = torch.linalg.lu(matrix)
        s = upper.diagonal()
        smallest, largest = float(s.abs().min()), float(s.abs().max())
        if smallest <= features * torch.finfo(s.dtype).eps * largest:
            raise ValueError(
                "start must be invertible; got a matrix whose pivots fall from "
                f"{largest:.3g} to {smallest:.3g}; use, for example, a rotation or torch.eye"
            )
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", s.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_s = nn.Parameter(s.abs().log())
        self.bias = nn.Parameter(s.new_zeros(features)) if bias else None

    def _upper(self) -> Tensor:
        return self.upper.triu(1) + torch.diag(self.sign * self.log_s.exp())

    def weight(self) -> Tensor:
        """Return W, (features, features)."""
        unit = torch.eye(self.features, dtype=self.lower.dtype, device=self.lower.device)
        return self.permutation @ (self.lower.tril(-1) + unit) @ self._upper()

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `W x + b` and log |det W| for each row, (B,)."""
        y = nn.functional.linear(rows(x, self.features), self.weight(), self.bias)
        return y, self.log_s.sum().expand(x.shape[0])

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return `W^-1 (y - b)` by two triangular systems, and log |det W|, (B,)."""
        shifted = rows(y, self.features)
        shifted = shifted if self.bias is None else shifted - self.bias
        # x' W' = y' row by row: the permutation first, then L, then U.
        middle = torch.linalg.solve_triangular(
            self.lower.tril(-1).mT,
            shifted @ self.permutation,
            upper=True,
            left=False,
            unitriangular=True,
        )
        x = torch.linalg.solve_triangular(self._upper().mT, middle, upper=False, left=False)
        return x, self.log_s.sum().expand(y.shape[0])


def _pixels(x: Tensor, channels: int, pixels: int) -> Tensor:
    """Return `x` as (B, channels, pixels)."""
    if (
        x.ndim < 2
        or x.shape[1] not in (channels, channels * pixels)
        or x.shape[1:].numel() != channels * pixels
    ):
        raise ValueError(
            f"this layer takes (B, {channels * pixels}) or (B, {channels}, ...) with {pixels} "
            f"pixels a channel; got {tuple(x.shape)}; build the layer for this shape"
        )
    return x.reshape(x.shape[0], channels, pixels)


class InvertibleConv1x1(Layer):
    """One matrix over the channels, the same at every pixel: `log |det| = pixels log |det W|`.

    Events are (channels, height, width), or the same flattened to one row.

    Arguments:
        channels: of an event.
        pixels: height times width.
        start: the first W, (channels, channels); a random rotation if left out.

    Raises:
        ValueError: `start` has another shape, is not finite or is singular.

    Reference: Kingma and Dhariwal 2018 (arXiv 1807.03039).
    """

    def __init__(self, channels: int, pixels: int, start: Tensor | None = None) -> None:
        super().__init__()
        self.channels, self.pixels = channels, validate.positive_count("pixels", pixels)
        self.linear = LULinear(channels, start, bias=False)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return W applied at every pixel, in the shape of `x`, and the log-determinant (B,)."""
        y = self.linear.weight() @ _pixels(x, self.channels, self.pixels)
        return y.reshape(x.shape), self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return W^-1 applied at every pixel, in the shape of `y`, and the log-determinant (B,)."""
        columns = _pixels(y, self.channels, self.pixels).mT.reshape(-1, self.channels)
        x = self.linear.inverse(columns)[0].reshape(y.shape[0], self.pixels, self.channels).mT
        return x.reshape(y.shape), self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.pixels * self.linear.log_s.sum()).expand(x.shape[0])


class ActNorm(Layer):
    """A shift and a scale for each feature, set once from data.

        y = x exp(log_scale) + shift,   log |det| = pixels sum log_scale

    It is the identity until `initialise` is called: nothing happens silently on first use.

    Arguments:
        features: width of an event, or channels of an image.
        pixels: how many numbers share a shift and a scale: height times width of an image.

    Reference: Kingma and Dhariwal 2018 (arXiv 1807.03039).
    """

    def __init__(self, features: int, pixels: int = 1) -> None:
        super().__init__()
        self.features = validate.positive_count("features", features)
        self.pixels = validate.positive_count("pixels", pixels)
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features))

    @torch.no_grad()
    def initialise(self, y: Tensor) -> None:
        """Set shift and scale so that the pull of `y` has mean 0 and deviation 1 per feature.

        Arguments:
            y: a batch on the target side of this layer.

        Raises:
            ValueError: there is one value a feature, or a feature is constant.
        """
        values = _pixels(validate.batch("y", y), self.features, self.pixels)
        values = values.transpose(0, 1).flatten(1)  # (features, B * pixels)
        if values.shape[1] < 2:
            raise ValueError("a deviation needs two values or more; got 1; pass a larger batch")
        std, mean = torch.std_mean(values, 1, correction=0)
        # A constant feature may leave a deviation of the size of rounding.
        constant = (std <= 8 * torch.finfo(y.dtype).eps * mean.abs()).nonzero().flatten().tolist()
        if constant:
            raise ValueError(
                f"every feature must vary; got constant features {constant}; "
                "drop them, or add a little noise"
            )
        self.shift.copy_(mean)
        self.log_scale.copy_(std.log())

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x exp(log_scale) + shift` and the log-determinant, (B,)."""
        shaped = _pixels(x, self.features, self.pixels)
        y = torch.addcmul(self.shift[:, None], shaped, self.log_scale.exp()[:, None])
        return y.reshape(x.shape), self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(y - shift) exp(-log_scale)` and the log-determinant, (B,)."""
        shaped = _pixels(y, self.features, self.pixels)
        x = (shaped - self.shift[:, None]) * (-self.log_scale).exp()[:, None]
        return x.reshape(y.shape), self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.pixels * self.log_scale.sum()).expand(x.shape[0])


@torch.no_grad()
def initialise(flow: Flow, x: Tensor, context: Tensor | None = None) -> None:
    """Initialise every `ActNorm` of a flow from one batch of data, the one next to the data first.

    Arguments:
        flow: its direct layers are looked at.
        x: data, (B, features).
        context: one row for each row of `x`, if the flow is conditional.
    """
    validate.batch("x", x)
    for layer in reversed(list(flow.layers)):
        assert isinstance(layer, Layer)
        if isinstance(layer, ActNorm):
            layer.initialise(x)
        x = layer.pull(x, None, context if layer.context else None)[0]

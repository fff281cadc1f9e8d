"""Self-normalizing flows: a learned inverse stands where the gradient of log |det W| should be.

    z = W y + b,   R near W^-1,   d log|det W| / dW = W^-T  is replaced by  R'

A training step then costs D^2 a row instead of the D^3 of a determinant. The density stays exact:
it is evaluated with W alone.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from gentoolkit.core import validate
from gentoolkit.core.chain import Source, draw, log_density
from gentoolkit.flows.elementary import LeakySoftplus
from gentoolkit.flows.layer import Flow, Inverted, Layer, bind

TOLERANCE = 0.1
"""Largest |R W - I|_F / sqrt(D) without a warning; it is the relative error of a reconstruction."""


def _halves(ctx, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN001 - torch's own class
    """Return dL/dx, and the data's part of the gradients in W and in R, each halved."""
    x, weight, wx = ctx.saved_tensors
    dx = d @ weight
    return dx, 0.5 * d.T @ x, -0.5 * dx.T @ wx


class _Scored(torch.autograd.Function):
    """W x + b, whose gradient belongs half to W and half to R, as if the map were R^-1 x."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, recover: Tensor, bias: Tensor) -> Tensor:  # noqa: ANN001
        wx = linear(x, weight)
        ctx.save_for_backward(x, weight, wx)
        return wx + bias

    @staticmethod
    @once_differentiable
    def backward(ctx, d: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN001  # pyright: ignore[reportIncompatibleMethodOverride]
        return *_halves(ctx, d), d.sum(0)


class _LogDet(torch.autograd.Function):
    """Zero, with the gradient that -log|det W| would have, half in W and half in R.

    A term of its own, so that a loss that is scaled or accumulated scales this gradient too.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, recover: Tensor) -> Tensor:  # noqa: ANN001
        ctx.save_for_backward(weight, recover)
        return weight.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx, d: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN001  # pyright: ignore[reportIncompatibleMethodOverride]
        weight, recover = ctx.saved_tensors
        return -0.5 * d * recover.T, 0.5 * d * weight.T


class SelfNormal(Layer):
    """A dense layer with a learned inverse; data y are scored as `z = W y + b`.

        transform(z) = W^-1 (z - b),   log |det| = -log |det W|       exact, D^3
        approximate(z) = R (z - b)                                    fast, no density of its own

    Arguments:
        weight: W, (D, D).
        recover: R, (D, D); the inverse of W if left out.

    Raises:
        ValueError: W is not square, not finite or singular, or R has another shape.

    Reference: Keller et al. 2021 (arXiv 2011.07248).
    """

    def __init__(self, weight: Tensor, recover: Tensor | None = None) -> None:
        super().__init__()
        if validate.batch("weight", weight).ndim != 2 or weight.shape[0] != weight.shape[1]:
            raise ValueError(
                f"weight must be square, (D, D); got {tuple(weight.shape)}; "
                "a flow keeps the number of dimensions"
            )
        if recover is None:
            _invertible(torch.linalg.slogdet(weight).logabsdet)
        inverse = torch.linalg.inv(weight) if recover is None else recover
        if validate.batch("recover", inverse).shape != weight.shape:
            raise ValueError(
                f"recover must have the shape of weight, {tuple(weight.shape)}; got "
                f"{tuple(inverse.shape)}; leave it out to start at the exact inverse"
            )
        self.weight = nn.Parameter(weight.detach().clone())
        self.recover = nn.Parameter(inverse.detach().clone())
        self.bias = nn.Parameter(weight.new_zeros(weight.shape[0]))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `W^-1 (x - b)` by a linear solve, and `-log |det W|`, (B,)."""
        log_det = self._log_det(x)  # a singular W is named before it is solved with
        return torch.linalg.solve(self.weight, (x - self.bias).T).T, log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return `W y + b`, and `-log |det W|`, (B,)."""
        return linear(y, self.weight, self.bias), self._log_det(y)

    def approximate(self, x: Tensor) -> Tensor:
        """Return `R (x - b)`: the inverse that was learned."""
        return linear(x - self.bias, self.recover)

    def surrogate(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return `W y + b` and a zero that stands for `-log |det W|` in a mean loss, shape ().

        With d = dL/dz of each row, d_y = W'd and means E over the batch, the gradients are

            gW = (E[d y'] - R') / 2,     gR = (-E[d_y (W y)'] + W') / 2

        At R = W^-1 they are half the exact ones; gW is off by |R - W^-1|_F / 2, whatever the data.
        """
        z = _Scored.apply(y, self.weight, self.recover, self.bias)
        return z, _LogDet.apply(self.weight, self.recover)  # pyright: ignore[reportReturnType]

    def reconstruction(self, y: Tensor) -> Tensor:
        """Return `E |R W y - y|^2`, shape (); its gradient reaches W and R and stops at y."""
        y = y.detach()
        return (linear(linear(y, self.weight), self.recover) - y).square().sum(1).mean()

    @torch.no_grad()
    def error(self) -> float:
        """Return `|R W - I|_F / sqrt(D)`: 0 for an exact inverse, 1 / sqrt(D) for a dead one."""
        size = self.weight.shape[0]
        eye = torch.eye(size, dtype=self.weight.dtype, device=self.weight.device)
        return float((self.recover @ self.weight - eye).norm()) / size**0.5

    def _log_det(self, x: Tensor) -> Tensor:
        value = -torch.linalg.slogdet(self.weight).logabsdet
        _invertible(value)
        return value.expand(x.shape[0])


def _invertible(log_det: Tensor) -> None:
    if validate.readable(log_det) and not bool(torch.isfinite(log_det)):
        raise ValueError(
            f"weight must be invertible; got log |det W| of absolute value {float(log_det.abs())}; "
            "start near the identity, and raise the penalty if training made it so"
        )


class SelfNormalizingFlow(Flow):
    """A flow of self-normal layers, with any other layers between them.

        loss = -E[log source(z)] + E[log |det| of the other layers]
               + sum over layers of penalty * E |R W y - y|^2

    `loss` has the surrogate gradient, and its value leaves out log |det W|: it is no likelihood,
    and no scalar has its gradient. `log_prob` is exact.

    Arguments:
        layers: from the source to the data; at least one SelfNormal.
        features: width of a data point.
        penalty: the weight of the reconstruction. Too small a one lets directions of W and R die
            together; it must grow with the scale of the data, so standardise them.
        source: a density over (features,); the standard normal if left out.

    Raises:
        ValueError: no layer is SelfNormal, a width differs, or the penalty is negative.

    Reference: Keller et al. 2021 (arXiv 2011.07248).
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        features: int,
        penalty: float = 10.0,
        source: Source | None = None,
    ) -> None:
        super().__init__(layers, features, source)
        if not 0.0 <= penalty < float("inf"):
            raise ValueError(
                f"penalty must be finite and at least 0; got {penalty}; 10 is a good start"
            )
        widths = [layer.weight.shape[0] for layer in layers if isinstance(layer, SelfNormal)]
        if not widths or set(widths) != {features}:
            raise ValueError(
                f"layers must hold SelfNormal ones of width {features}; got widths {widths}; "
                "use self_normalizing_flow, or plain Flow for layers with cheap determinants"
            )
        self.penalty = penalty

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the training loss of a batch (B, features), shape (); see the class.

        Raises:
            ValueError: the batch is empty, not finite or of another width.
        """
        # In the precision of the weights: mixed precision would cast W one way and not the other,
        # and a surrogate gradient is only as good as R W = I.
        with torch.autocast(batch.device.type, enabled=False):
            x = validate.batch("batch", batch, self.event_shape)
            total = x.new_zeros(())
            for step in bind(self.layers, context)[::-1]:
                if isinstance(step, SelfNormal):
                    if self.penalty > 0.0:
                        total = total + self.penalty * step.reconstruction(x)
                    x, stand_in = step.surrogate(x)
                    total = total + stand_in
                else:
                    x, log_det = step.pull(x, generator)
                    total = total + log_det.mean()
            return total - log_density(self.source, x).mean()

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
        exact: bool = True,
    ) -> Tensor:
        """Draw `n` samples, (n, features).

        Arguments:
            n: how many.
            context: one row for each sample, if some layer takes one.
            generator: source of randomness.
            exact: solve with W, so that samples follow `log_prob`; otherwise apply R, which is
                faster and follows another law wherever R is not the inverse.
        """
        if exact:
            return super().sample(n, context=context, generator=generator)
        self.reconstruction_error()  # warns
        x = draw(self.source, validate.positive_count("n", n), generator)
        for step in bind(self.layers, context):
            exactly = not isinstance(step, SelfNormal)
            x = step.push(x, generator)[0] if exactly else step.approximate(x)
        return x

    def reconstruction_error(self) -> float:
        """Return the largest `|R W - I|_F / sqrt(D)` of a layer, and warn above a tenth."""
        error = max(layer.error() for layer in self.layers if isinstance(layer, SelfNormal))
        # Written so that NaN warns too.
        if not error <= TOLERANCE:
            warnings.warn(
                f"|R W - I|_F / sqrt(D) is {error:.3g}, above {TOLERANCE}: R is not the inverse of "
                "W, so the gradient is biased and fast samples follow another law; raise the "
                f"penalty above {self.penalty:g}, standardise the data, or train longer",
                RuntimeWarning,
                stacklevel=2,
            )
        return error


def self_normalizing_flow(
    features: int, depth: int = 2, penalty: float = 10.0, noise: float = 0.01
) -> SelfNormalizingFlow:
    """Return dense layers with learned inverses, a smooth leaky activation between each two.

    Each W starts at the identity plus `noise` times a random matrix, and R at its inverse.

    Arguments:
        features: width of a data point.
        depth: how many dense layers.
        penalty: the weight of the reconstruction.
        noise: deviation of W's departure from the identity, times sqrt(features).

    Raises:
        ValueError: `features` or `depth` is below one, or the start is singular.
    """
    size = validate.positive_count("features", features)
    layers: list[Layer] = []
    for k in range(validate.positive_count("depth", depth)):
        layers += [Inverted(LeakySoftplus(size))] if k else []
        layers += [SelfNormal(torch.eye(size) + noise / size**0.5 * torch.randn(size, size))]
    return SelfNormalizingFlow(layers, size, penalty)

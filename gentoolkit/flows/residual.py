"""Residual layers: y = x + g(x) with g a contraction, invertible without any mask.

    log |det dy/dx| = log det (I + J) = sum of (-1)^(k+1) tr(J^k) / k,   |J| <= L < 1

with J the Jacobian of g.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import log

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear, silu

from gentoolkit.core import validate
from gentoolkit.flows.condition import beside, context_width, rows
from gentoolkit.flows.layer import Flow, Inverted, Layer
from gentoolkit.numerics import (
    Linearised,
    Noise,
    Stop,
    contracting,
    implicit_fixed_point,
    log_det_series,
    rademacher,
    spectral_bound,
    stochastic_log_det,
    truncation_bound,
    wide,
)

_STEEPEST_SILU = 1.1  # a little above the largest slope, 1.0998
_SHARPNESS = 4.0  # weights of a small norm see a curve only if it bends at a small scale


class LipschitzMLP(nn.Module):
    """A perceptron whose Lipschitz constant in x is below a stated one, (B, D) -> (B, D).

    Each of the n weights is scaled down to norm L^(1/n) where it is above, by a bound that is
    computed anew at every call and never falls short; activations have slope 1 at most. Nothing
    is stored, so training and evaluation agree. The context enters without a bound.

        activation(h) = h sigmoid(s h) / 1.1,   s > 0 learned, one number a hidden layer

    Arguments:
        features: width D.
        hidden: widths of the hidden layers.
        context: width of the context, 0 if there is none.
        lipschitz: L, between 0 and 1.

    Raises:
        ValueError: a width is below one, or `lipschitz` is not between 0 and 1.

    Reference: Behrmann et al. 2019 (arXiv 1811.00995); Chen et al. 2019 (arXiv 1906.02735).
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        lipschitz: float = 0.9,
    ) -> None:
        super().__init__()
        widths = [features, *hidden, features]
        for width in widths:
            validate.positive_count("layer width", width)
        self.features = features
        self.lipschitz = contracting("lipschitz", lipschitz)
        self.log_sharpness: nn.Parameter | None
        self.linears = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        start = nn.Parameter(torch.full((len(widths) - 2,), log(_SHARPNESS)))
        self.register_parameter("log_sharpness", start if len(start) else None)
        self.width = context_width(context)
        self.context = nn.Linear(context, widths[1], bias=False) if context else None

    def at(self, x: Tensor, context: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return g for the rows of `x` and one context: weights are bounded once for many calls.

        Arguments:
            x: a batch of the shape that g will meet, (B, features).
            context: (B, context), or None.

        Raises:
            ValueError: `x` is of another width, or the context does not fit.
        """
        beside(rows(x, self.features), context, self.width)
        most = self.lipschitz ** (1.0 / len(self.linears))
        layers = []
        for part in self.linears:
            assert isinstance(part, nn.Linear)
            bound = spectral_bound(part.weight)
            layers.append((part.weight * (most / bound.clamp(min=most)), part.bias))
        shift = 0.0 if self.context is None else self.context(context)
        # Between e^-5 and e^5: beyond, the quotient below is 0 / 0 or its bend a kink.
        given = self.log_sharpness
        sharpness = [] if given is None else given.clamp(-5.0, 5.0).exp().unbind()

        def g(x: Tensor) -> Tensor:
            (weight, bias), *rest = layers
            h = linear(x, weight, bias) + shift
            for (weight, bias), s in zip(rest, sharpness, strict=True):
                h = linear(silu(s * h) / (s * _STEEPEST_SILU), weight, bias)
            return h

        return g


class LogDet(ABC):
    """A way to compute log det (I + J) of a contraction at given rows.

    Obligations: `__call__` returns (B,); `estimated` is False only for an exact one.
    """

    estimated: bool = True

    @abstractmethod
    def __call__(self, at: Linearised, generator: Generator | None = None) -> Tensor:
        """Return the log-determinant of x + g(x) for g linearised at x, (B,)."""

    def check(self, features: int, lipschitz: float) -> None:  # noqa: B027
        """Raise ValueError if this way does not suit the constant of the map."""


@dataclass(frozen=True)
class ExactLogDet(LogDet):
    """The whole Jacobian, by D products, and its determinant: for small D."""

    estimated: bool = field(default=False, init=False)

    def __call__(self, at: Linearised, generator: Generator | None = None) -> Tensor:
        """Return log |det (I + J)|, (B,)."""
        jacobian = at.jacobian()
        eye = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
        return torch.linalg.slogdet(wide(eye + jacobian)).logabsdet


@dataclass(frozen=True)
class PowerSeries(LogDet):
    """The series cut after some terms: off by `bound` at most, so a chain refuses it as exact.

    Arguments:
        terms: how many.
        noise: draws the vector of estimated traces; exact traces, by D products, if left out.
    """

    terms: int = 10
    noise: Noise | None = None

    def __post_init__(self) -> None:
        validate.positive_count("terms", self.terms)

    def bound(self, features: int, lipschitz: float) -> float:
        """Return the largest error of the cut series, of its mean if traces are estimated."""
        return truncation_bound(features, lipschitz, self.terms)

    def __call__(self, at: Linearised, generator: Generator | None = None) -> Tensor:
        """Return the cut series, (B,)."""
        if self.noise is None:
            return log_det_series(at.jacobian(), self.terms)
        noise = self.noise(at.value.detach(), generator)
        return stochastic_log_det(at.pull, noise, [1.0] * self.terms)


@dataclass(frozen=True)
class Roulette(LogDet):
    """The series stopped at random and reweighted: its mean is exact, its exponential is not.

    One number of terms is drawn for the whole batch.

    Arguments:
        stop: how many terms, at random.
        noise: draws the vector of the estimated traces.

    Reference: Chen, Behrmann, Duvenaud, Jacobsen 2019 (arXiv 1906.02735).
    """

    stop: Stop = Stop()
    noise: Noise = rademacher

    def check(self, features: int, lipschitz: float) -> None:
        """Raise ValueError if the variance may be infinite for this Lipschitz constant."""
        if self.stop.keep <= lipschitz**2:
            raise ValueError(
                f"keep must be above the square of the Lipschitz constant, {lipschitz**2:.3g}, or "
                f"the variance may be infinite; got {self.stop.keep}; take for example "
                f"Stop(keep={(1.0 + lipschitz**2) / 2:.3g})"
            )

    def __call__(self, at: Linearised, generator: Generator | None = None) -> Tensor:
        """Return an unbiased estimate, (B,)."""
        noise = self.noise(at.value.detach(), generator)
        return stochastic_log_det(at.pull, noise, self.stop.weights(generator))


class Residual(Layer):
    """The layer `y = x + g(x)`, whose inverse is the fixed point of `x = y - g(x)`.

    Its one-pass direction is `transform`; turned round by `Inverted` it scores in one pass. The
    derivatives of the inverse are those of the implicit function theorem.

    Arguments:
        net: g, whose Lipschitz constant is below one.
        log_det: how the log-determinant is computed; only `ExactLogDet` is exact.
        tolerance: largest residual of the fixed point, relative to 1 + |x|; 64 roundings if left
            out. The error is below `L / (1 - L)` residuals.
        iterations: how many the fixed point may take.

    Raises:
        ValueError: the settings do not suit the net.
    """

    def __init__(
        self,
        net: LipschitzMLP,
        log_det: LogDet | None = None,
        tolerance: float | None = None,
        iterations: int = 1000,
    ) -> None:
        super().__init__()
        if tolerance is not None:
            validate.positive("tolerance", tolerance)
        self.net = net
        self.log_det = ExactLogDet() if log_det is None else log_det
        self.log_det.check(net.features, net.lipschitz)
        self.estimated = self.log_det.estimated
        self.context = net.width
        self.tolerance = tolerance
        self.iterations = validate.positive_count("iterations", iterations)

    def exact(self) -> "Residual":
        """Return the same map, with the same parameters, whose log-determinant is exact."""
        return Residual(self.net, ExactLogDet(), self.tolerance, self.iterations)

    def transform(
        self, x: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return `x + g(x)` and its log-determinant."""
        at = Linearised(self.net.at(x, context), x)
        return x + at.value, self.log_det(at, generator)

    def inverse(
        self, y: Tensor, context: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the x with `x + g(x) = y` and the log-determinant there.

        Raises:
            ValueError: the fixed point has not converged.
        """
        g = self.net.at(y, context)
        tolerance = self.tolerance or 64 * torch.finfo(y.dtype).eps
        x = implicit_fixed_point(lambda x: y - g(x), y, tolerance, self.iterations)
        return x, self.log_det(Linearised(g, x), generator)


def residual_flow(
    features: int,
    layers: int = 6,
    hidden: Sequence[int] = (64, 64),
    context: int = 0,
    lipschitz: float = 0.9,
    log_det: LogDet | None = None,
) -> Flow:
    """Return a residual flow whose layers score in one pass and sample by fixed points.

    Arguments:
        features: width D of the data.
        layers: how many layers.
        hidden: widths of each net's hidden layers.
        context: width of the context, 0 if there is none.
        lipschitz: largest Lipschitz constant of each g, between 0 and 1.
        log_det: how log-determinants are computed; exact if left out.

    Reference: Chen, Behrmann, Duvenaud, Jacobsen 2019 (arXiv 1906.02735).
    """
    nets = [
        LipschitzMLP(features, hidden, context, lipschitz)
        for _ in range(validate.positive_count("layers", layers))
    ]
    return Flow([Inverted(Residual(net, log_det)) for net in nets], features)

"""Random layers with two learned laws: an autoencoder's, and one step of a diffusion."""

from collections.abc import Callable
from math import sqrt

from torch import Generator, Tensor, nn

from gentoolkit.core import FunctionKernel, Gaussian, Law, Step
from gentoolkit.stochastic.gradient import checked_size


class VAELayer(nn.Module, Step):
    """A step whose two laws are a decoder and an encoder; the width may change.

        f(y|x) = decoder(x),   b(x|y) = encoder(y)

    Arguments:
        decoder: maps states on the source side to the law of those on the target side. A module's
            parameters join the layer's.
        encoder: maps states on the target side to the law of those on the source side.

    Reference: Kingma and Welling 2013 (arXiv 1312.6114); as a layer, Hagemann, Hertrich, Steidl
        2021 (arXiv 2111.12506).
    """

    def __init__(self, decoder: Callable[[Tensor], Law], encoder: Callable[[Tensor], Law]) -> None:
        super().__init__()
        self.decoder, self.encoder = decoder, encoder

    def kernel(self) -> FunctionKernel:
        """Return the two laws as a step of the core."""
        return FunctionKernel(self.decoder, self.encoder)

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `y ~ decoder(x)`."""
        return self.kernel().push(x, generator)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `x ~ encoder(y)`."""
        return self.kernel().pull(y, generator)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log encoder(x|y) - log decoder(y|x)`, shape (B,)."""
        return self.kernel().log_ratio(x, y)


class DiffusionLayer(nn.Module, Step):
    """One Euler step of a diffusion and of its reversal.

        f(y|x) = N(x + h drift(x), h noise^2 I)
        b(x|y) = N(y - h [drift(y) - noise^2 score(y)], h noise^2 I)

    Arguments:
        drift: velocity towards the target side, (B, *event) -> (B, *event).
        score: gradient of the marginal's log-density there. Modules' parameters join the layer's.
        step_size: h, the time of the step.
        noise: its diffusion coefficient.

    Raises:
        ValueError: `step_size` or `noise` is not positive and finite.

    Reference: Zhang and Chen 2021 (arXiv 2110.07579); Hagemann, Hertrich, Steidl 2021
        (arXiv 2111.12506).
    """

    advice = (
        "lower step_size: an Euler step is stable only while step_size * L < 2, with L the largest "
        "slope of the drift"
    )

    def __init__(
        self,
        drift: Callable[[Tensor], Tensor],
        score: Callable[[Tensor], Tensor],
        step_size: float,
        noise: float = 1.0,
    ) -> None:
        super().__init__()
        checked_size("step_size", step_size, "for example 1 / number of layers")
        checked_size("noise", noise, "1.0 is usual; without noise use a Bijection")
        self.drift, self.score = drift, score
        self.step_size, self.noise = step_size, noise

    def law(self, x: Tensor) -> Gaussian:
        """Return f(.|x)."""
        return self._law(x + self.step_size * self.drift(x))

    def reversal(self, y: Tensor) -> Gaussian:
        """Return b(.|y)."""
        slope = self.drift(y) - self.noise**2 * self.score(y)
        return self._law(y - self.step_size * slope)

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `y ~ f(.|x)`."""
        return FunctionKernel(self.law, self.reversal).push(x, generator)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw `x ~ b(.|y)`."""
        return FunctionKernel(self.law, self.reversal).pull(y, generator)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log b(x|y) - log f(y|x)`, shape (B,)."""
        return FunctionKernel(self.law, self.reversal).log_ratio(x, y)

    def _law(self, mean: Tensor) -> Gaussian:
        return Gaussian(mean, self.noise * sqrt(self.step_size))

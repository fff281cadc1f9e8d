"""Random layers with two learned laws: an autoencoder's, and one step of a diffusion."""

from collections.abc import Callable
from math import sqrt

from torch import Tensor, nn

from gentoolkit.core import Gaussian, Kernel
from gentoolkit.core.laws import AnyLaw
from gentoolkit.stochastic.gradient import checked_size


class VAELayer(nn.Module, Kernel):
    """A step whose two laws are a decoder and an encoder; the width may change.

        f(y|x) = decoder(x),   b(x|y) = encoder(y)

    Arguments:
        decoder: maps states on the source side to the law of those on the target side. A module's
            parameters join the layer's.
        encoder: maps states on the target side to the law of those on the source side.

    Reference: Kingma and Welling 2013 (arXiv 1312.6114); as a layer, Hagemann, Hertrich, Steidl
        2021 (arXiv 2111.12506).
    """

    def __init__(
        self, decoder: Callable[[Tensor], AnyLaw], encoder: Callable[[Tensor], AnyLaw]
    ) -> None:
        super().__init__()
        self.decoder, self.encoder = decoder, encoder

    def push_law(self, x: Tensor) -> AnyLaw:
        """Return `decoder(x)`."""
        return self.decoder(x)

    def pull_law(self, y: Tensor) -> AnyLaw:
        """Return `encoder(y)`."""
        return self.encoder(y)


class DiffusionLayer(nn.Module, Kernel):
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

    def push_law(self, x: Tensor) -> Gaussian:
        """Return f(.|x)."""
        return self._law(x + self.step_size * self.drift(x))

    def pull_law(self, y: Tensor) -> Gaussian:
        """Return b(.|y)."""
        slope = self.drift(y) - self.noise**2 * self.score(y)
        return self._law(y - self.step_size * slope)

    def _law(self, mean: Tensor) -> Gaussian:
        return Gaussian(mean, self.noise * sqrt(self.step_size))

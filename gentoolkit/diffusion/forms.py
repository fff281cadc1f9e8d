"""One error in five coordinates: what a wrong prediction costs in the bound, in nats.

The mean of a denoising step differs from that of the posterior by `of_data (data^ - x_0)`, so

    |mean_q - mean_p|^2 / (2 var)
        = weight |data^ - x_0|^2                                    weight = of_data^2 / (2 var)
        = weight (noise / signal)^2 |noise^ - e|^2
        = weight (noise^2 / signal)^2 |score^ - score|^2
        = weight (noise / (signal^2 + noise^2))^2 |v^ - v|^2

and with the posterior's variance `weight = (SNR_{i-1} - SNR_i) / 2`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.diffusion.coordinates import Parametrisation, spread
from gentoolkit.diffusion.moves import Moves


@dataclass(frozen=True)
class Guess:
    """A prediction beside the truth, at entries `i` of the moves of a grid.

    Arguments:
        m: the moves.
        i: which of them, (B,).
        reads: what the output means.
        x: states x_i, (B, *event).
        output: the network's, (B, *event).
        data: the true x_0, (B, *event).
        noise: the true e, (B, *event).
        var: variance of the denoising step, broadcasts to `x`.
    """

    m: Moves
    i: Tensor
    reads: Parametrisation
    x: Tensor
    output: Tensor
    data: Tensor
    noise: Tensor
    var: Tensor

    def row(self, table: Tensor) -> Tensor:
        """Return entries `i` of one table of the moves, shaped to broadcast to the states."""
        return spread(table[self.i].to(self.x.dtype), self.x)

    @property
    def t(self) -> Tensor:
        """Times of the states, (B,)."""
        return self.m.times[self.i].to(self.x.dtype)

    def weight(self) -> Tensor:
        """Return `of_data^2 / (2 var)`."""
        return self.row(self.m.of_data).square() / (2.0 * self.var)

    def estimate(self) -> Tensor:
        """Return the estimate of the data, (B, *event)."""
        return self.reads.to_data(self.x, self.t, self.output)


Form = Callable[[Guess], Tensor]
"""What gives the cost of a guess in nats, (B,): one of the functions below."""


def by_mean(g: Guess) -> Tensor:
    """Return `|mean_q - mean_p|^2 / (2 var)`, (B,): both means written out."""
    state = g.row(g.m.of_state) * g.x
    truth = state + g.row(g.m.of_data) * g.data
    guess = state + g.row(g.m.of_data) * g.estimate()
    return ((truth - guess).square() / (2.0 * g.var)).flatten(1).sum(1)


def by_data(g: Guess) -> Tensor:
    """Return the same from the error of the data, (B,)."""
    return (g.weight() * (g.estimate() - g.data).square()).flatten(1).sum(1)


def by_noise(g: Guess) -> Tensor:
    """Return the same from the error of the noise, (B,)."""
    ratio = g.row(g.m.noise) / g.row(g.m.signal)
    error = g.reads.to_noise(g.x, g.t, g.output) - g.noise
    return (g.weight() * ratio.square() * error.square()).flatten(1).sum(1)


def by_score(g: Guess) -> Tensor:
    """Return the same from the error of the score `-e / noise`, (B,)."""
    s = g.row(g.m.noise)
    error = g.reads.to_score(g.x, g.t, g.output) + g.noise / s
    scale = s.square() / g.row(g.m.signal)
    return (g.weight() * scale.square() * error.square()).flatten(1).sum(1)


def by_velocity(g: Guess) -> Tensor:
    """Return the same from the error of `v = signal e - noise x_0`, (B,)."""
    a, s = g.row(g.m.signal), g.row(g.m.noise)
    error = g.reads.to_velocity(g.x, g.t, g.output) - (a * g.noise - s * g.data)
    scale = s / (a.square() + s.square())
    return (g.weight() * scale.square() * error.square()).flatten(1).sum(1)


def prior_cost(x: Tensor, signal: Tensor, noise: Tensor, prior_std: float) -> Tensor:
    """Return KL(N(signal x, noise^2 I) || N(0, prior_std^2 I)), (B,).

    Arguments:
        x: data, (B, *event).
        signal: at the last time, shape ().
        noise: deviation at the last time, shape ().
        prior_std: deviation of the source.
    """
    a, s = signal.to(x), noise.to(x)
    each = ((a * x).square() + s.square()) / prior_std**2 - 1.0 - 2.0 * (s.log() - log(prior_std))
    return 0.5 * each.flatten(1).sum(1)


def checked_data(x: Tensor, event: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return `x` if it is finite, of shape (B, *event) and of this dtype.

    Raises:
        TypeError: another dtype.
        ValueError: another shape, empty, NaN or infinite.
    """
    validate.batch("x", x)
    if x.dtype != dtype:
        raise TypeError(
            f"x must have the dtype of the model, {dtype}; got {x.dtype}; use x.to({dtype}), and "
            "bring pixels to about [-1, 1]"
        )
    if x.shape[1:] != event:
        raise ValueError(
            f"x must have shape (B, {', '.join(map(str, event))}); got {tuple(x.shape)}; "
            "reshape each datum"
        )
    return x

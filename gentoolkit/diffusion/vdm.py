"""The continuous-time bound, in which the schedule itself can be trained.

    -ELBO = E[-log p(x | x_0)] + 1/2 E_t[(-d log_snr / dt) |noise^ - e|^2] + KL(q(x_1) || source)

The middle integral depends on the schedule through the log-SNR at its two ends alone: training the
curve between changes the spread of the estimate, not its mean.
"""

from collections.abc import Callable
from math import pi

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, validate
from gentoolkit.diffusion.coordinates import Parametrisation, PredictsNoise, perturb, spread
from gentoolkit.diffusion.ddpm import DDPM
from gentoolkit.diffusion.forms import checked_data, prior_cost
from gentoolkit.diffusion.levels import Schedule


def antithetic_times(n: int, like: Tensor, generator: Generator | None = None) -> Tensor:
    """Return `n` times, each uniform on [0, 1], that share one draw and cover it evenly, (n,).

        t_i = (u + i / n) mod 1,   u uniform

    A mean over them has the mean of independent times and a much smaller variance.

    Arguments:
        n: how many.
        like: gives dtype and device.
        generator: source of randomness.

    Reference: Kingma, Salimans, Poole, Ho 2021 (arXiv 2107.00630).
    """
    u = torch.rand((), generator=generator, dtype=like.dtype, device=like.device)
    places = torch.arange(validate.positive_count("n", n), dtype=like.dtype, device=like.device)
    return (u + places / n) % 1.0


class VDM(nn.Module):
    """A diffusion model trained in continuous time, with its schedule if that is a module.

    The datum is read from the first state, at time 0, by a decoder N(data^, (noise / signal)^2).

    Arguments:
        net: maps states (B, *event) and times (B,) to (B, *event).
        event: shape of a datum.
        schedule: must hold some noise at time 0, as `LogSnrLinear` and `LearnedLogSnr` do.
        reads: what the net's output means, a Parametrisation class.
        steps: of the grid on which `chain` and `sample` run.

    Raises:
        ValueError: the log-SNR is infinite at time 0: the integral would diverge.

    Reference: Kingma, Salimans, Poole, Ho 2021 (arXiv 2107.00630).
    """

    def __init__(
        self,
        net: Callable[..., Tensor],
        event: tuple[int, ...],
        schedule: Schedule,
        reads: Callable[[Schedule], Parametrisation] = PredictsNoise,
        steps: int = 100,
    ) -> None:
        super().__init__()
        self.net = net
        self.event = event
        self.schedule = schedule
        self.reads = reads(schedule)
        self.steps = validate.positive_count("steps", steps)
        ends = schedule.log_snr(torch.tensor([0.0, 1.0], device=self._like().device)).detach()
        if not bool(torch.isfinite(ends).all()):
            raise ValueError(
                f"log-SNR must be finite at both ends of time; got {ends.tolist()}; use a "
                "schedule that starts with some noise, such as LogSnrLinear or Cosine"
            )

    def on_grid(self, steps: int) -> DDPM:
        """Return the discrete model of `steps` steps, parameters shared."""
        return DDPM(self.net, self.event, self.schedule, steps, type(self.reads))

    def chain(self) -> Chain:
        """Return the chain from noise to data on the grid."""
        return self.on_grid(self.steps).chain()

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` data on the grid, (n, *event)."""
        return self.on_grid(self.steps).sample(n, generator)

    def diffusion_loss(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return `-(d log_snr / dt) |noise^ - e|^2 / 2` at one time a datum, (B,).

        Arguments:
            x: data, (B, *event).
            generator: source of randomness.

        Raises:
            TypeError: `x` is not of the model's dtype.
            ValueError: `x` has another shape, is empty or not finite.
        """
        checked_data(x, self.event, self._like().dtype)
        t = antithetic_times(x.shape[0], x, generator)
        e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        noisy = perturb(self.schedule, x, e, t)
        error = self.reads.to_noise(noisy, t, self._output(noisy, t)) - e
        return -0.5 * self.schedule.rates(t)[1] * error.square().flatten(1).sum(1)

    def bound(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return an unbiased estimate of the negative bound of log p(x), all constants in, (B,).

        Arguments:
            x: data, (B, *event).
            generator: source of randomness.
        """
        middle = self.diffusion_loss(x, generator)
        ends = torch.tensor([0.0, 1.0], dtype=x.dtype, device=x.device)
        signal, noise = self.schedule.levels(ends)
        first = ends[0].expand(x.shape[0])
        e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        noisy = perturb(self.schedule, x, e, first)
        data = self.reads.to_data(noisy, first, self._output(noisy, first))
        var = spread((noise[0] / signal[0]).square(), x)
        each = (x - data).square() / var + (2.0 * pi * var).log()
        decoder = 0.5 * each.flatten(1).sum(1)
        return decoder + middle + prior_cost(x, signal[1], noise[1], self.schedule.prior_std)

    def loss(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the mean of `bound`, shape ()."""
        return self.bound(x, generator).mean()

    def _output(self, x: Tensor, t: Tensor) -> Tensor:
        output = self.net(x, t)
        if output.shape != x.shape:
            raise ValueError(
                f"the net must return the shape of its input, {tuple(x.shape)}; got "
                f"{tuple(output.shape)}; mend its last layer"
            )
        return output

    def _like(self) -> Tensor:
        return next(self.parameters(), torch.empty(0))

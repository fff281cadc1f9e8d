"""The discrete diffusion model: T kernels between noise and data, and its bound term by term.

push   x_{i-1} | x_i ~ N(of_state x_i + of_data data^(x_i), var_i)     removes noise
pull   x_i | x_{i-1} ~ N(keep x_{i-1}, noising_var)                    adds noise, untrained
"""

from collections.abc import Callable
from math import pi

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, FunctionKernel, Gaussian, validate
from gentoolkit.diffusion.coordinates import (
    Parametrisation,
    PredictsNoise,
    perturb,
    spread,
)
from gentoolkit.diffusion.forms import Form, Guess, by_data, checked_data, prior_cost
from gentoolkit.diffusion.grids import noisy_times, thin
from gentoolkit.diffusion.levels import Schedule
from gentoolkit.diffusion.moves import (
    Moves,
    PosteriorVariance,
    ReverseVariance,
    moves_of,
)

Weighting = Callable[[Moves], Tensor]
"""What the squared error of the noise counts at each step: moves -> (T,)."""


def simple(m: Moves) -> Tensor:
    """Return 1 for every step: the usual training loss, which is no bound of log p."""
    return torch.ones_like(m.times)


def exact_weights(m: Moves) -> Tensor:
    """Return the weights of the bound under the posterior's variance, (T,).

        T (exp(l_{i-1} - l_i) - 1) / 2,   and T / 2 for the decoder at entry 0

    With them the mean of `DDPM.loss` is the negative bound but for terms without parameters.
    """
    gaps = torch.expm1(-m.log_snr.diff())
    return 0.5 * len(m.times) * torch.cat([gaps.new_ones(1), gaps])


class DDPM(nn.Module):
    """A denoising diffusion model on a grid of T steps.

    Arguments:
        net: maps states (B, *event) and times (B,) to (B, *event); a class-conditional one takes
            labels (B,) as a third argument.
        event: shape of a datum, such as `(2,)` or `(1, 8, 8)`.
        schedule: signal and noise at each time.
        steps: the number T, for even times, or the increasing times (T,) of the noisy states.
        reads: what the net's output means, a Parametrisation class.
        variance: of the denoising steps.

    Raises:
        TypeError: `event` or `steps` is of another type.
        ValueError: T is below one, or the schedule does not fall strictly at the times, or reaches
            pure data or pure noise there.

    Reference: Sohl-Dickstein et al. 2015 (arXiv 1503.03585); Ho, Jain, Abbeel 2020
        (arXiv 2006.11239).
    """

    def __init__(
        self,
        net: Callable[..., Tensor],
        event: tuple[int, ...],
        schedule: Schedule,
        steps: int | Tensor = 100,
        reads: Callable[[Schedule], Parametrisation] = PredictsNoise,
        variance: ReverseVariance | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(event, tuple) or not event:
            raise TypeError(f"event must be a shape; got {event!r}; pass a tuple such as (2,)")
        for size in event:
            validate.positive_count("event size", size)
        self.event = event
        self.net = net
        self.schedule = schedule
        self.reads = reads(schedule)
        self.variance = PosteriorVariance() if variance is None else variance
        self.times = steps if isinstance(steps, Tensor) else noisy_times(schedule, steps)
        self._known: Moves | None = None
        self.moves()  # raises at once, not at the first loss

    @property
    def steps(self) -> int:
        """The number T of steps."""
        return len(self.times)

    def moves(self) -> Moves:
        """Return the coefficients of the steps; those of a learned schedule follow its gradient."""
        device = self._like().device
        if isinstance(self.schedule, nn.Module):
            return moves_of(self.schedule, self.times.to(device))
        if self._known is None or self._known.times.device != device:
            self._known = moves_of(self.schedule, self.times.to(device))
        return self._known

    def coarser(self, steps: int) -> "DDPM":
        """Return the same model, parameters shared, on `steps` of its times, evenly.

        Raises:
            ValueError: `steps` is below one or above T.
        """
        sub = thin(self.times, steps)
        return DDPM(self.net, self.event, self.schedule, sub, type(self.reads), self.variance)

    def chain(self, label: Tensor | None = None) -> Chain:
        """Return the chain from noise to data, T kernels.

        Arguments:
            label: classes (B,) for a class-conditional net, one for each path.
        """
        m = self.moves()
        kernels = [self._kernel(m, i, label) for i in reversed(range(self.steps))]
        return Chain(self._source(), kernels)

    def _kernel(self, m: Moves, i: int, label: Tensor | None) -> FunctionKernel:
        def denoise(x: Tensor) -> Gaussian:
            at = torch.full((x.shape[0],), i, device=x.device)
            return self._denoised(m, at, x, label)

        keep, std = m.keep[i], m.noising_var[i].sqrt()
        return FunctionKernel(denoise, lambda y: Gaussian(keep.to(y) * y, std.to(y)))

    def sample(
        self, n: int, generator: Generator | None = None, label: Tensor | None = None
    ) -> Tensor:
        """Draw `n` data by the ancestral chain, (n, *event): the means of the last step.

        The decoder's own noise is left out, as usual for looking at; `chain().push` keeps it.
        """
        m = self.moves()
        x = self._source().sample(validate.positive_count("n", n), generator)
        for i in reversed(range(self.steps)):
            law = self._denoised(m, torch.full((n,), i, device=x.device), x, label)
            x = law.sample(generator=generator) if i else law.mean
        return x

    def loss(
        self,
        x: Tensor,
        weight: Weighting = simple,
        generator: Generator | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """Return the mean of `weight_i |noise^ - e|^2` at one random step a datum, shape ().

        It reaches the net alone: a trained variance or schedule needs `bound`.

        Arguments:
            x: data, (B, *event).
            weight: how much each step counts; `exact_weights` for those of the bound.
            generator: source of randomness.
            label: classes (B,), or None.

        Raises:
            TypeError: `x` is not of the model's dtype (pixels are often integers).
            ValueError: `x` has another shape, is empty or not finite.
        """
        self._checked(x)
        m = self.moves()
        i = torch.randint(self.steps, (x.shape[0],), generator=generator, device=x.device)
        e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        t = m.times[i].to(x.dtype)
        noisy = perturb(self.schedule, x, e, t)
        error = self.reads.to_noise(noisy, t, self._output(noisy, t, label)) - e
        return (weight(m)[i].to(x.dtype) * error.square().flatten(1).sum(1)).mean()

    def terms(
        self,
        x: Tensor,
        form: Form = by_data,
        generator: Generator | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """Return what the negative bound is made of, (T+1, B), in nats.

        Row 0 is `-log p(x | x_1)`, row i (for 0 < i < T) the divergence of the posterior from the
        denoising step that ends in x_i, row T that of the noised datum from the source. Each row
        is an unbiased estimate from one draw of its own state; row T is exact.

        Arguments:
            x: data, (B, *event).
            form: in which coordinates the errors are measured; all give one number.
            generator: source of randomness.
            label: classes (B,), or None.
        """
        self._checked(x)
        m = self.moves()
        rows = []
        for step in range(self.steps):
            i = torch.full((x.shape[0],), step, device=x.device)
            rows.append(self._term(m, i, x, form, generator, label, False))
        prior = prior_cost(x, m.signal[-1], m.noise[-1], self.schedule.prior_std)
        return torch.stack([*rows, prior])

    def elbo(
        self,
        x: Tensor,
        form: Form = by_data,
        generator: Generator | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """Return an unbiased estimate of the lower bound of log p(x), all constants in, (B,)."""
        return -self.terms(x, form, generator, label).sum(0)

    def bound(
        self,
        x: Tensor,
        generator: Generator | None = None,
        label: Tensor | None = None,
        mean_fixed: bool = False,
    ) -> Tensor:
        """Return an unbiased estimate of `-elbo` from one random step a datum, (B,).

        Arguments:
            x: data, (B, *event).
            generator: source of randomness.
            label: classes (B,), or None.
            mean_fixed: let no gradient reach the net, only a trained variance: add a small
                multiple of this to `loss` to train both (Nichol and Dhariwal's hybrid).
        """
        self._checked(x)
        m = self.moves()
        i = torch.randint(self.steps, (x.shape[0],), generator=generator, device=x.device)
        term = self._term(m, i, x, by_data, generator, label, mean_fixed)
        prior = prior_cost(x, m.signal[-1], m.noise[-1], self.schedule.prior_std)
        return self.steps * term + prior

    def _term(
        self,
        m: Moves,
        i: Tensor,
        x: Tensor,
        form: Form,
        generator: Generator | None,
        label: Tensor | None,
        mean_fixed: bool,
    ) -> Tensor:
        e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        a, s, posterior = (
            spread(v[i].to(x.dtype), x) for v in (m.signal, m.noise, m.posterior_var)
        )
        noisy = a * x + s * e
        output = self._output(noisy, m.times[i].to(x.dtype), label)
        var = self.variance.of(m, i, noisy)
        guess = Guess(m, i, self.reads, noisy, output.detach() if mean_fixed else output, x, e, var)
        # Entry 0 is a likelihood, its posterior a point; the others compare two normal laws.
        first = spread(i == 0, x)
        ratio = torch.where(first, 1.0, posterior / var)
        constants = torch.where(
            first, 0.5 * (2.0 * pi * var).log(), 0.5 * (ratio - 1.0 - ratio.log())
        )
        return form(guess) + constants.expand_as(x).flatten(1).sum(1)

    def _denoised(self, m: Moves, i: Tensor, x: Tensor, label: Tensor | None) -> Gaussian:
        t = m.times[i].to(x.dtype)
        data = self.reads.to_data(x, t, self._output(x, t, label))
        of_state, of_data = (spread(v[i].to(x.dtype), x) for v in (m.of_state, m.of_data))
        std = self.variance.of(m, i, x).sqrt()
        return Gaussian(of_state * x + of_data * data, std.expand_as(x))

    def _output(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        output = self.net(x, t) if label is None else self.net(x, t, label)
        if output.shape != x.shape:
            raise ValueError(
                f"the net must return the shape of its input, {tuple(x.shape)}; got "
                f"{tuple(output.shape)}; mend its last layer"
            )
        return output

    def _like(self) -> Tensor:
        """Return a tensor of the model's dtype and device: torch's defaults without parameters."""
        return next(self.parameters(), torch.empty(0))

    def _source(self) -> Gaussian:
        like = self._like()
        mean = torch.zeros(1, *self.event, dtype=like.dtype, device=like.device)
        return Gaussian(mean, self.schedule.prior_std)

    def _checked(self, x: Tensor) -> None:
        checked_data(x, self.event, self._like().dtype)

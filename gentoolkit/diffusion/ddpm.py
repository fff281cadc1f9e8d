"""The discrete diffusion model: T kernels between noise and data, and its bound term by term.

push   x_{i-1} | x_i ~ N(of_state x_i + of_data data^(x_i), var_i)     removes noise
pull   x_i | x_{i-1} ~ N(keep x_{i-1}, noising_var)                    adds noise, untrained
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from math import isfinite, log, pi

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from gentoolkit.core import Chain, Gaussian, Kernel, validate
from gentoolkit.diffusion.coefficients import (
    Coefficients,
    PosteriorVariance,
    ReverseVariance,
    coefficients,
)
from gentoolkit.diffusion.denoiser import Denoiser, readable
from gentoolkit.diffusion.parametrisations import Parametrisation, PredictsData, PredictsNoise
from gentoolkit.processes import Schedule
from gentoolkit.processes.gaussian import spread
from gentoolkit.processes.grids import chosen, noisy_times

Weighting = Callable[[Coefficients], Tensor]
"""What the squared error of the noise counts at each step: coefficients -> (T,)."""


def exact_weights(c: Coefficients) -> Tensor:
    """Return the weights of the bound under the posterior's variance, (T,).

        T (exp(l_{i-1} - l_i) - 1) / 2,   and T / 2 for the decoder at entry 0

    With them the mean of `DDPM.loss` is the negative bound but for terms without parameters.
    """
    gaps = torch.expm1(-c.log_snr.diff())
    return 0.5 * len(c.times) * torch.cat([gaps.new_ones(1), gaps])


class DDPM(nn.Module):
    """A denoising diffusion model on a grid of T steps.

        >>> from gentoolkit.diffusion import DDIM, LogSnrLinear
        >>> from gentoolkit.nets import TimeMLP
        >>> model = DDPM(TimeMLP(2, 2), (2,), LogSnrLinear(), 100)
        >>> model.loss(torch.zeros(5, 2)).shape, model.sample(3).shape
        (torch.Size([]), torch.Size([3, 2]))
        >>> DDIM().sample(model.denoiser(), 3, steps=10).shape
        torch.Size([3, 2])

    States, schedule and losses are in float32 or better whatever the net is in.

    Arguments:
        net: maps states (B, *event) and times (B,) to (B, *event); a conditional one takes the
            context, a row for each state, as a third argument.
        event_shape: shape of a data point, such as `(2,)` or `(1, 8, 8)`.
        schedule: signal and noise at each time.
        steps: the number T, for even times, or the falling times (T,) of the noisy states
            x_T, ..., x_1. A schedule that starts with some noise is read from time 0 on.
        parametrisation: what the net's output means, the noise if left out.
        variance: of the denoising steps, the posterior's if left out.

    Raises:
        TypeError: `event_shape` or `steps` is of another type.
        ValueError: T is below one, or the schedule does not fall strictly at the times, or reaches
            pure data there, or pure noise from which the output does not tell the data.

    Reference: Sohl-Dickstein et al. 2015 (arXiv 1503.03585); Ho, Jain, Abbeel 2020
        (arXiv 2006.11239).
    """

    def __init__(
        self,
        net: Callable[..., Tensor],
        event_shape: int | Sequence[int],
        schedule: Schedule,
        steps: int | Tensor = 100,
        *,
        parametrisation: Parametrisation | None = None,
        variance: ReverseVariance | None = None,
    ) -> None:
        super().__init__()
        self.event_shape = validate.event_shape(event_shape)
        self.net = net
        self.schedule = schedule
        self.parametrisation = PredictsNoise() if parametrisation is None else parametrisation
        self.variance = PosteriorVariance() if variance is None else variance
        self._grid = steps if isinstance(steps, Tensor) else noisy_times(schedule, steps)
        self._trained = schedule.trained
        self._conditional = _takes_context(net)
        self._place()
        readable(self.parametrisation, self._known.signal, self._known.noise)

    def _place(self) -> None:
        """Bring the grid and the tables to where the parameters are."""
        first = next(self.parameters(), None)
        self._first = None if first is None else first.detach().new_empty(0)
        self._grid = self._grid.to(self._like().device)
        self._known, self._table = self._tables()

    @torch.no_grad()
    def _tables(self) -> tuple[Coefficients, Tensor]:
        """Return the coefficients where the parameters are, and those of the loss in one table."""
        c = coefficients(self.schedule, self._grid)
        table = torch.stack([c.times, c.signal, c.noise]).to(_working(self._like().dtype))
        return c, table.reshape(3, -1, *(1,) * len(self.event_shape))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "DDPM":
        super()._apply(fn, recurse)
        self._place()
        return self

    @property
    def steps(self) -> int:
        """The number T of steps."""
        return len(self._grid)

    @property
    def times(self) -> Tensor:
        """Times of the noisy states x_1, ..., x_T, float64: rising with their number."""
        return self._known.times

    def coefficients(self) -> Coefficients:
        """Return the coefficients of the steps; those of a trained schedule carry its gradient."""
        return coefficients(self.schedule, self._grid) if self._trained else self._known

    def coarser(self, steps: int) -> "DDPM":
        """Return the same model, parameters shared, on `steps` of its times, evenly.

        Raises:
            ValueError: `steps` is below one or above T.
        """
        sub = self._grid[[self.steps - i for i in chosen(steps, self.steps)]]
        return DDPM(
            self.net,
            self.event_shape,
            self.schedule,
            sub,
            parametrisation=self.parametrisation,
            variance=self.variance,
        )

    def denoiser(self, context: Tensor | None = None) -> Denoiser:
        """Return what a sampler reads: the net under `context`, its schedule and its source."""
        self._asked(context)

        def net(x: Tensor, t: Tensor) -> Tensor:
            return self._output(x, t, context)

        return Denoiser(net, self.schedule, self.parametrisation, self._source())

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain from noise to data, T kernels; `context` has a row for each path."""
        self._asked(context)
        c = self.coefficients()
        steps = [DenoisingStep(self, c, i, context) for i in reversed(range(self.steps))]
        return Chain(self._source(), steps)

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` data by the ancestral chain, (n, *event): the means of the last step.

        The decoder's own noise is left out, as usual for looking at; `chain().push` keeps it.

        `context` holds a row for each, or is None.
        """
        c = self.coefficients()
        x = self._source().sample(validate.positive_count("n", n), generator)
        for i in reversed(range(self.steps)):
            law = self._denoised(c, torch.full((n,), i, device=x.device), x, context)
            x = law.sample(generator=generator) if i else law.mean
        return x.to(self._like().dtype)

    def loss(
        self,
        batch: Tensor,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
        weight: Weighting | None = None,
    ) -> Tensor:
        """Return the mean of `weight_i |noise^ - e|^2` at one random step a data point, shape ().

        With a weight of 1, if it is left out, this is the usual training loss, which is no bound
        of log p. It reaches the net alone: a trained variance or schedule needs `elbo`.

        Arguments:
            batch: data, (B, *event).
            context: a row for each data point, or None.
            generator: source of randomness.
            weight: how much each step counts; `exact_weights` for those of the bound.

        Raises:
            TypeError: `batch` is not of the model's dtype (pixels are often integers).
            ValueError: `batch` has another shape, is empty or not finite.
        """
        # The step is as long as its operations are many: values are read once, of the loss.
        x = self._shaped(batch)
        c, table = self._tables() if self._trained else (self._known, self._table)
        i = torch.randint(self.steps, (x.shape[0],), generator=generator, device=x.device)
        e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        t, a, s = table.index_select(1, i).unbind()
        noisy = torch.addcmul(a * x, s, e)
        output = self._output(noisy, t.flatten(), context)
        noise = self.parametrisation.to_noise(noisy, output, a, s)
        if weight is None:
            loss = mse_loss(noise, e, reduction="sum") / x.shape[0]
        else:
            squares = (noise - e).square().flatten(1).sum(1)
            loss = (weight(c)[i].to(x.dtype) * squares).mean()
        if validate.readable(loss) and not isfinite(float(loss.detach())):
            validate.batch("x", x)
        return loss

    def terms(
        self,
        batch: Tensor,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
        coordinate: Parametrisation | None = None,
    ) -> Tensor:
        """Return what the negative bound is made of, (T+1, B), in nats.

        Row 0 is `-log p(x | x_1)`, row i (for 0 < i < T) the divergence of the posterior from the
        denoising step that ends in x_i, row T that of the noised data from the source. Each row
        is an unbiased estimate from one draw of its own state; row T is exact. In the means

            |mean_q - mean_p|^2 / (2 var) = of_data^2 / (2 var) |data^ - x_0|^2

        and the error of the data is that of any other coordinate times a known factor.

        Arguments:
            batch: data, (B, *event).
            context: a row for each data point, or None.
            generator: source of randomness.
            coordinate: in which errors are measured, the data if left out; all give one number.
        """
        x, c = validate.batch("x", self._shaped(batch)), self.coefficients()
        form = PredictsData() if coordinate is None else coordinate
        rows = []
        for step in range(self.steps):
            i = torch.full((x.shape[0],), step, device=x.device)
            rows.append(self._term(c, i, x, context, generator, form, False))
        return torch.stack([*rows, self._prior(c, x)])

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the lower bound of log p(x), all constants in, (B,).

        Every step is looked at once: T calls of the net. The arguments are those of `terms`.
        """
        return -self.terms(batch, context=context, generator=generator).sum(0)

    def one_step_elbo(
        self,
        batch: Tensor,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
        mean_fixed: bool = False,
    ) -> Tensor:
        """Return an unbiased estimate of `elbo` from one random step a data point, (B,).

        With `mean_fixed` no gradient reaches the net, only a trained variance: take a small
        multiple of this from `loss` to train both (Nichol and Dhariwal's hybrid).
        """
        x, c = validate.batch("x", self._shaped(batch)), self.coefficients()
        i = torch.randint(self.steps, (x.shape[0],), generator=generator, device=x.device)
        term = self._term(c, i, x, context, generator, PredictsData(), mean_fixed)
        return -self.steps * term - self._prior(c, x)

    def _term(
        self,
        c: Coefficients,
        i: Tensor,
        x: Tensor,
        context: Tensor | None,
        generator: Generator | None,
        form: Parametrisation,
        mean_fixed: bool,
    ) -> Tensor:
        e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        a, s, of_data, posterior = (
            spread(v[i].to(x.dtype), x) for v in (c.signal, c.noise, c.of_data, c.posterior_var)
        )
        noisy = a * x + s * e
        output = self._output(noisy, c.times[i].to(x.dtype), context)
        output = output.detach() if mean_fixed else output
        var = self.variance.of(c, i, noisy)
        data = self.parametrisation.to_data(noisy, output, a, s)
        if isinstance(form, PredictsData):
            error = data - x
        else:
            noise = self.parametrisation.to_noise(noisy, output, a, s)
            # The data goes with each coordinate in a straight line, whose slope is the factor.
            slope = form.to_data(torch.zeros_like(a), torch.ones_like(a), a, s)
            error = slope * (form.target(data, noise, a, s) - form.target(x, e, a, s))
        cost = of_data.square() / (2.0 * var) * error.square()
        # Entry 0 is a likelihood, its posterior a point; the others compare two normal laws.
        first = spread(i == 0, x)
        ratio = torch.where(first, 1.0, posterior / var)
        constants = torch.where(
            first, 0.5 * (2.0 * pi * var).log(), 0.5 * (ratio - 1.0 - ratio.log())
        )
        return (cost + constants).flatten(1).sum(1)

    def _prior(self, c: Coefficients, x: Tensor) -> Tensor:
        """Return KL(N(signal_T x, noise_T^2 I) || source), (B,)."""
        a, s, std = c.signal[-1].to(x), c.noise[-1].to(x), self.schedule.prior_std
        each = ((a * x).square() + s.square()) / std**2 - 1.0 - 2.0 * (s.log() - log(std))
        return 0.5 * each.flatten(1).sum(1)

    def _denoised(self, c: Coefficients, i: Tensor, x: Tensor, context: Tensor | None) -> Gaussian:
        a, s, of_state, of_data = (
            spread(v[i].to(x.dtype), x) for v in (c.signal, c.noise, c.of_state, c.of_data)
        )
        output = self._output(x, c.times[i].to(x.dtype), context)
        data = self.parametrisation.to_data(x, output, a, s)
        std = self.variance.of(c, i, x).sqrt()
        return Gaussian(of_state * x + of_data * data, std.expand_as(x))

    def _output(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        dtype = self._like().dtype
        rows = (x, t) if x.dtype == dtype else (x.to(dtype), t.to(dtype))
        self._asked(context)
        output = self.net(*rows) if context is None else self.net(*rows, context)
        if output.shape != x.shape:
            raise ValueError(
                f"the net must return the shape of its input, {tuple(x.shape)}; got "
                f"{tuple(output.shape)}; fix its last layer"
            )
        return output if output.dtype == x.dtype else output.to(x.dtype)

    def _asked(self, context: Tensor | None) -> None:
        if not self._conditional:
            validate.no_context(context, "the net of this DDPM")

    def _like(self) -> Tensor:
        """Return a tensor of the model's dtype and device: torch's defaults without parameters."""
        return torch.empty(0) if self._first is None else self._first

    def _source(self) -> Gaussian:
        like = self._like()
        like = like.new_empty(0, dtype=_working(like.dtype))
        return self.schedule.source(self.event_shape, like)

    def _shaped(self, x: Tensor) -> Tensor:
        """Return `x` in float32 or better, if it has shape and dtype of data of this model."""
        dtype = self._like().dtype
        if isinstance(x, Tensor) and x.dtype != dtype:
            raise TypeError(
                f"data must have the dtype of the model, {dtype}; got {x.dtype}; use "
                f"x.to({dtype}), and bring pixels to about [-1, 1]"
            )
        if not isinstance(x, Tensor) or x.shape[1:] != self.event_shape or x.numel() == 0:
            validate.batch("x", x, self.event_shape)
        return x.to(_working(dtype)) if dtype.itemsize < 4 else x


@dataclass(frozen=True, eq=False)
class DenoisingStep(Kernel):
    """Step `i` of a DDPM: the net takes noise out, and the schedule with coefficients `c` in."""

    model: DDPM
    c: Coefficients
    i: int
    context: Tensor | None = None

    def push_law(self, x: Tensor) -> Gaussian:
        """Return `N(of_state x + of_data data^(x), var)`."""
        at = torch.full((x.shape[0],), self.i, device=x.device)
        return self.model._denoised(self.c, at, x, self.context)

    def pull_law(self, y: Tensor) -> Gaussian:
        """Return `N(keep y, noising_var)`."""
        keep, var = self.c.keep[self.i].to(y), self.c.noising_var[self.i].to(y)
        return Gaussian(keep * y, var.sqrt())


def _working(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of states and losses: that of the net, in float32 or better."""
    return torch.promote_types(dtype, torch.float32)


def _takes_context(net: Callable[..., Tensor]) -> bool:
    """Whether a net takes a third argument."""
    given = signature(net.forward if isinstance(net, nn.Module) else net).parameters.values()
    return len(given) > 2 or any(p.kind is p.VAR_POSITIONAL for p in given)

"""Discrete diffusion on a grid of times: T categorical kernels, and its bound term by term.

push   x_{i-1} | x_i ~ ~ p(x_{i-1}^d | x_i without d) q(x_i^d | x_{i-1}^d)     removes noise
pull   x_i | x_{i-1} ~ q_{t_i | t_{i-1}}, and at i = T the source itself       adds noise
"""

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Categorical, Chain, FunctionKernel, validate
from gentoolkit.jumps.leaping import kernel
from gentoolkit.jumps.reversal import Reversal, relative
from gentoolkit.processes import falling_times
from gentoolkit.processes.tokens import draw, weigh


class D3PM(nn.Module):
    """A reversal on a grid of T steps, as a chain.

    The last pull draws from the source outright, as if the noise were infinite there. So the bound
    has no term for what is left of the data at the end, which an absorbing process cannot afford.

    Arguments:
        reversal: what tells the data; `Denoising` for the model of the reference.
        steps: the number T, for even times, or falling times from the end to 0, (T+1,).

    Raises:
        ValueError: T is below one, or the times do not fall from the end to 0.

    Reference: Austin et al. 2021 (arXiv 2107.03006).
    """

    def __init__(self, reversal: Reversal, steps: int | Tensor = 100) -> None:
        super().__init__()
        self.reversal = reversal
        end = reversal.process.end
        times = falling_times(steps, end)
        if abs(float(times[0]) - end) > 1e-6 * end or float(times[-1]) != 0.0:
            raise ValueError(
                f"the times must fall from the end of the process, {end}, to 0; got "
                f"{float(times[0])} to {float(times[-1])}; use an int for even times"
            )
        self.times = tuple(times.flip(0).tolist())  # t_0 = 0, ..., t_T

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one data point, (D,)."""
        return self.reversal.event_shape

    @property
    def steps(self) -> int:
        """The number T of steps."""
        return len(self.times) - 1

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain from noise to data, T kernels."""
        validate.no_context(context, "D3PM")
        dtype = self.reversal.like().dtype

        def step(i: int) -> FunctionKernel:
            return kernel(
                lambda x: self.push_law(x, torch.full_like(x[:, 0], i)),
                lambda y: self.pull_law(y, i),
                dtype,
            )

        return Chain(self._source(), [step(i) for i in range(self.steps, 0, -1)])

    def push_law(self, x: Tensor, i: Tensor) -> Tensor:
        """Return the law of each token of x_{i-1} given x_i = `x`, (B, D, C), for steps i (B,)."""
        t, s = self._at(i), self._at(i - 1)
        law = self.reversal.conditionals(x, t, s)
        likelihood = self.reversal.process.likelihood(x, s, t).to(law)
        last = (i == self.steps)[:, None, None]  # x_T knows nothing of what was before
        return weigh(law, torch.where(last, 1.0, likelihood))

    def pull_law(self, y: Tensor, i: int) -> Tensor:
        """Return the law of each token of x_i given x_{i-1} = `y`, (B, D, C), for one step i."""
        process, like = self.reversal.process, self.reversal.like()
        if i == self.steps:
            return process.rate_matrix.stationary(like).expand(*y.shape, -1)
        return process.moved(y, self.times[i - 1], self.times[i]).to(like)

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` data by the chain, (n, D)."""
        validate.no_context(context, "D3PM")
        x = self._source().sample(validate.positive_count("n", n), generator)
        for i in range(self.steps, 0, -1):
            x = draw(self.push_law(x, torch.full_like(x[:, 0], i)), generator)
        return x

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the mean of `-elbo` estimated from one random step a data point, shape ()."""
        validate.no_context(context, "D3PM")
        x = self.reversal.checked(batch)
        i = torch.randint(1, self.steps + 1, (len(x),), generator=generator, device=x.device)
        return self.steps * self._term(x, i, generator).mean()

    def terms(self, batch: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return what the negative bound is made of, (T, B), each from one draw of its own state.

        Row 0 is `-log p(x | x_1)`, row i the divergence of `q(x_i | x_{i+1}, x_0)` from the step
        of push that ends in x_i.
        """
        x = self.reversal.checked(batch)
        steps = [torch.full_like(x[:, 0], i) for i in range(1, self.steps + 1)]
        return torch.stack([self._term(x, i, generator) for i in steps])

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the bound of log p(x), (B,)."""
        validate.no_context(context, "D3PM")
        return -self.terms(batch, generator=generator).sum(0)

    def _source(self) -> Categorical:
        return self.reversal.process.source(self.event_shape, self.reversal.like())

    def _at(self, i: Tensor) -> Tensor:
        return torch.tensor(self.times, dtype=torch.float64, device=i.device)[i]

    def _term(self, x: Tensor, i: Tensor, generator: Generator | None) -> Tensor:
        process, like = self.reversal.process, self.reversal.like()
        t, s, last = self._at(i), self._at(i - 1), (i == self.steps)[:, None, None]
        before = process.marginal(x, s).to(like)  # one-hot at t_0
        stationary = process.rate_matrix.stationary(before)
        noisy = draw(torch.where(last, stationary, process.marginal(x, t).to(like)), generator)
        known = weigh(before, torch.where(last, 1.0, process.likelihood(noisy, s, t).to(like)))
        return relative(known, self.push_law(noisy, i)).sum((1, 2))

"""Masked diffusion: the absorbing process, whose bound is a weighted cross-entropy.

    -elbo(x_0) = int_0^1 du / u  E sum over masked d of - log p(x_0^d | x)

where each token of x is masked with probability `u`. No schedule is left in it but through the
time that the net is told.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from gentoolkit.core import validate
from gentoolkit.jumps.reversal import Net, Reversal
from gentoolkit.processes import AbsorbingRates, JumpProcess, Time
from gentoolkit.processes.tokens import checked_tokens, shaped


class MaskedDiffusion(Reversal):
    """A net that fills in masked tokens; the others are known.

    Its loss is the bound itself, which runs until every token is masked, a little beyond the end of
    the process. The context of a row is what is known of it from the start: tokens (B, D), with the
    mask where nothing is. Then the bound is that of log p(the other tokens | those), and samples
    are filled in around them.

    >>> from gentoolkit.jumps import TokenMLP
    >>> from gentoolkit.processes import LogLinearRate
    >>> model = MaskedDiffusion(TokenMLP(3, 4), JumpProcess(AbsorbingRates(3), LogLinearRate()), 4)
    >>> known = torch.tensor([[0, 2, 2, 1]])  # 2 is the mask
    >>> model.sample(5, context=known.expand(5, 4), steps=8)[:, [0, 3]].unique(dim=0)
    tensor([[0, 1]])

    Arguments:
        net: from tokens (B, D), the mask among them, and times (B,) to logits (B, D, C).
        process: noise by `AbsorbingRates`, usually under a `LogLinearRate`.
        dims: number D of tokens.

    Raises:
        TypeError: the rates of the process are not `AbsorbingRates`.

    Reference: Sahoo et al. 2024 (arXiv 2406.07524); Shi et al. 2024 (arXiv 2406.04329).
    """

    def __init__(self, net: Net, process: JumpProcess, dims: int) -> None:
        if not isinstance(process.rate_matrix, AbsorbingRates):
            raise TypeError(
                "masked diffusion needs AbsorbingRates; got "
                f"{type(process.rate_matrix).__name__}; use AbsorbingRates(size), or Denoising"
            )
        super().__init__(net, process, dims, start=1e-3 * process.end)

    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p(x_s^d | x_t without d)`, (B, D, C); of a token that is known, its own."""
        told = self.data_logits(x, t).exp()
        known = one_hot(x, self.process.size).to(told)
        return self.process.spread(torch.where((x == self.mask)[..., None], told, known), s)

    def begin(self, n: int, context: Tensor | None, generator: Generator | None) -> Tensor:
        """Return `n` states of masks, but for the known tokens of the context, (n, D)."""
        if context is None:
            return torch.full((n, self.dims), self.mask, device=self.like().device)
        return self._known(context, n)

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the mean of `-elbo`, shape ()."""
        return -self.elbo(batch, context=context, generator=generator).mean()

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the bound of log p(x), one masking a data point, (B,).

        Raises:
            ValueError: the context has another shape, or another token than the data.
        """
        x, like = self.checked(batch), self.like()
        share = 1.0 - self.shares(x, generator)  # in (0, 1]
        coins = torch.rand(x.shape, generator=generator, dtype=like.dtype, device=x.device)
        hidden = coins < share[:, None]
        if context is not None:
            known = self._known(context, len(x)) != self.mask
            if validate.readable(x) and bool((known & (context != x)).any()):
                raise ValueError(
                    "the context must hold tokens of the data, or the mask; got other tokens; use "
                    "torch.where(known, batch, mask)"
                )
            hidden = hidden & ~known
        # Where all is masked the noise is infinite: the net is told the end.
        spent = (-(-share).log1p()).clamp_max(self.process.noise(0.0, self.process.end, share))
        t = self.process.schedule.time_of(spent).clamp_max(self.process.end)
        told = self.data_logits(torch.where(hidden, self.mask, x), t).gather(-1, x[..., None])
        return torch.where(hidden, told[..., 0], 0.0).sum(1) / share

    def _known(self, context: Tensor, n: int) -> Tensor:
        checked_tokens("context", context, self.process.size, self.dims)
        return shaped("context", context, (n, self.dims), f"one row for each of {n}: expand it")

"""Masked diffusion: the absorbing process, whose bound is a weighted cross-entropy.

    -elbo(x_0) = int_0^1 du / u  E sum over masked d of - log p(x_0^d | x)

where each token of x is masked with probability `u`. No schedule is left in it but through the
time that the net is told.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from gentoolkit.jumps.generators import Absorbing
from gentoolkit.jumps.process import Process, Time
from gentoolkit.jumps.reversal import Net, Reversal


class MaskedDiffusion(Reversal):
    """A net that fills in masked tokens; the others are known.

    Its loss is the bound itself. The bound runs until every token is masked, a little beyond the
    end of the process, where the net is told the end.

    Arguments:
        net: from tokens (B, D), the mask among them, and times (B,) to logits (B, D, C).
        process: noise with an `Absorbing` generator, usually under a `Masking` schedule.
        dims: number D of tokens.

    Raises:
        TypeError: the generator of the process is not `Absorbing`.

    Reference: Sahoo et al. 2024 (arXiv 2406.07524); Shi et al. 2024 (arXiv 2406.04329).
    """

    mask: int

    def __init__(self, net: Net, process: Process, dims: int) -> None:
        if not isinstance(process.generator, Absorbing):
            raise TypeError(
                "masked diffusion needs an Absorbing generator; got "
                f"{type(process.generator).__name__}; use Absorbing(size), or Denoising"
            )
        super().__init__(net, process, dims, start=1e-3 * process.end)
        self.mask = process.generator.mask

    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p(x_s^d | x_t without d)`, (B, D, C).

        For a token that is not masked it is that token's, not what the others say of it: exact in
        every use here, since the token itself is always there.
        """
        told = self.data_logits(x, t).exp()
        known = one_hot(x, self.process.size).to(told)
        return self.process.spread(torch.where((x == self.mask)[..., None], told, known), s)

    def loss(
        self, x: Tensor, generator: Generator | None = None, given: Tensor | None = None
    ) -> Tensor:
        """Return the mean of `-elbo`, shape ().

        Arguments:
            x: data, (B, D).
            generator: source of randomness.
            given: as for `elbo`.
        """
        return -self.elbo(x, generator, given).mean()

    def elbo(
        self, x: Tensor, generator: Generator | None = None, given: Tensor | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the bound of log p(x), one masking a datum, (B,).

        The share of masked tokens is uniform for each datum, and evenly apart over a batch.

        Arguments:
            x: data, (B, D).
            generator: source of randomness.
            given: which tokens are known from the start, bool (D,) or (B, D); the bound is then
                of log p(the other tokens | those). None are, if left out.

        Raises:
            TypeError: `given` is not bool.
            ValueError: `given` has another shape.
        """
        like = self.like()
        share = 1.0 - self.shares(self.checked(x), generator)  # in (0, 1]
        coins = torch.rand(x.shape, generator=generator, dtype=like.dtype, device=x.device)
        hidden = coins < share[:, None]
        if given is not None:
            hidden = hidden & ~_marks(given, x)
        t = self.process.beta.time_of(-(-share).log1p()).clamp_max(self.process.end)
        told = self.data_logits(torch.where(hidden, self.mask, x), t)
        of_truth = told.gather(-1, x[..., None])[..., 0]
        return torch.where(hidden, of_truth, 0.0).sum(1) / share


def _marks(given: Tensor, x: Tensor) -> Tensor:
    if given.dtype != torch.bool:
        raise TypeError(f"given must be bool; got {given.dtype}; use for example x == x0")
    if given.shape not in (x.shape, x.shape[1:]):
        raise ValueError(
            f"given must have shape {tuple(x.shape[1:])} or {tuple(x.shape)}; got "
            f"{tuple(given.shape)}; mark each token, True where it is known"
        )
    return given

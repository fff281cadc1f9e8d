"""Denoising: a net that sees every token tells the data."""

from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.jumps.reversal import Reversal
from gentoolkit.processes.process import Time


class Denoising(Reversal):
    """A net that predicts each data token from the whole noisy state.

    Its own token is taken out of the evidence before rates and steps are formed.

    Arguments:
        net: from tokens (B, D) and times (B,) to logits of the data (B, D, C).
        process: the noise to be undone.
        dims: number D of tokens.
        start: the earliest time of training.

    Reference: Austin et al. 2021 (arXiv 2107.03006); Campbell et al. 2022 (arXiv 2205.14987).
    """

    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p(x_s^d | x_t without d)`, (B, D, C)."""
        return self.process.spread(self.process.unseen(x, self.data_logits(x, t).exp(), t), s)

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the cross-entropy of the data at one random time a datum, shape ().

        It has the same best net as the bound `-elbo` and less variance, but counts early times,
        where most of the bound is made, no more than late ones.
        """
        validate.no_context(context, "Denoising")
        t = self.times(self.checked(batch), generator)
        noisy = self.process.sample(batch, t, generator)
        told = self.data_logits(noisy, t).gather(-1, batch[..., None])
        return -told.sum((1, 2)).mean()

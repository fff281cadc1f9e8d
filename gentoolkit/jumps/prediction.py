"""Nets that tell the data token: from the others alone, or from all and put right afterwards.

categorical ratio matching    loss = E over t, x_t of - sum_d log p_t(x_t^d | x_t without d)
denoising                     loss = E over t, x_t of - sum_d log p(x_0^d | x_t)
"""

from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.jumps.reversal import Reversal, cross_entropy
from gentoolkit.processes import Time


class RatioMatching(Reversal):
    """A hollow net that tells the data from the other tokens, made a law at time t by the noise.

        p_t(c | x_t without d) = sum_{c0} p(x_0^d = c0 | x_t without d) q_{t|0}(c | c0)

    The least loss is the sum of the conditional entropies, reached by the true conditionals
    alone. A loss below it betrays a net that sees the token it is asked for.

    Its arguments are those of `Reversal`.

    Reference: Sun et al. 2022 (arXiv 2211.16750), the implicit form.
    """

    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p(x_s^d | x_t without d)`, (B, D, C)."""
        return self.process.spread(self.data_logits(x, t).exp(), s)

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the categorical ratio matching loss at one random time a data point, shape ()."""
        validate.no_context(context, "RatioMatching")
        noisy, t = self.noised(batch, generator)
        return cross_entropy(self.conditionals(noisy, t, t), noisy).mean()


class Denoising(Reversal):
    """A net that predicts each data token from the whole noisy state.

    Its own token is taken out of the evidence before rates and steps are formed. The arguments
    are those of `Reversal`.

    Reference: Austin et al. 2021 (arXiv 2107.03006); Campbell et al. 2022 (arXiv 2205.14987).
    """

    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p(x_s^d | x_t without d)`, (B, D, C)."""
        return self.process.spread(self.process.unseen(x, self.data_logits(x, t).exp(), t), s)

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the cross-entropy of the data at one random time a data point, shape ().

        It has the same best net as the bound `-elbo` and less variance, but counts early times,
        where most of the bound is made, no more than late ones.
        """
        validate.no_context(context, "Denoising")
        noisy, t = self.noised(batch, generator)
        return -self.data_logits(noisy, t).gather(-1, batch[..., None]).sum((1, 2)).mean()

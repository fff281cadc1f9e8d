"""Categorical ratio matching: learn each token's law given the others, by cross-entropy.

    loss = E over t, x_t of - sum_d log p_t(x_t^d | x_t without d)

The least value is the sum of the conditional entropies, reached by the true conditionals alone. A
loss below it betrays a net that sees the token it is asked for.
"""

from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.jumps.reversal import Reversal, cross_entropy
from gentoolkit.processes.process import Time


class RatioMatching(Reversal):
    """A hollow net that tells the data from the other tokens, made a law at time t by the noise.

        p_t(c | x_t without d) = sum_{c0} p(x_0^d = c0 | x_t without d) q_{t|0}(c | c0)

    Arguments:
        net: a hollow net, from tokens (B, D) and times (B,) to logits of the data (B, D, C).
        process: the noise to be undone.
        dims: number D of tokens.
        start: the earliest time of training.

    Reference: Sun et al. 2022 (arXiv 2211.16750), the implicit form.
    """

    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p(x_s^d | x_t without d)`, (B, D, C)."""
        return self.process.spread(self.data_logits(x, t).exp(), s)

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return the categorical ratio matching loss at one random time a datum, shape ()."""
        validate.no_context(context, type(self).__name__)
        t = self.times(self.checked(batch), generator)
        noisy = self.process.sample(batch, t, generator)
        return cross_entropy(self.conditionals(noisy, t, t), noisy).mean()


class ExplicitRatioMatching(RatioMatching):
    """A hollow net that is the law at time t itself.

    It has no idea of the data: a step from t to s reads the net at s, with the other tokens still
    those of t. For one token that is exact; for more the error of a step stays of second order.

    Arguments:
        net: a hollow net, from tokens (B, D) and times (B,) to logits of x_t^d, (B, D, C).
        process: the noise to be undone.
        dims: number D of tokens.
        start: the earliest time of training; earlier ones are read there.

    Reference: Sun et al. 2022 (arXiv 2211.16750), the explicit form.
    """

    def conditionals(self, x: Tensor, t: Time, s: Time) -> Tensor:
        """Return `p_s(. | x without d)`, (B, D, C)."""
        return self.output(x, self.process.time(s, x).clamp_min(self.start)).softmax(-1)

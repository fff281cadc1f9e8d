"""Denoising: a net that sees every token tells the data, and the bound in continuous time.

    elbo(x_0) = E log p(x_0 | x_start) - KL(q_end(. | x_0) || source)
                - int E sum over jumps [r log(r / R) - r + R] dt

with `r` the rates of the reversal given x_0, which are known, and `R` those of the model.
"""

from torch import Generator, Tensor

from gentoolkit.jumps.process import Process, Time
from gentoolkit.jumps.ratio_matching import cross_entropy
from gentoolkit.jumps.ratios import reverse_rates
from gentoolkit.jumps.reversal import Reversal, relative


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

    def loss(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the cross-entropy of the data at one random time a datum, shape ().

        It has the same best net as the bound `-elbo` and less variance, but counts early times,
        where most of the bound is made, no more than late ones.

        Arguments:
            x: data, (B, D).
            generator: source of randomness.
        """
        t = self.times(self.checked(x), generator)
        noisy = self.process.pull(x, t, generator)
        told = self.data_logits(noisy, t).gather(-1, x[..., None])
        return -told.sum((1, 2)).mean()

    def elbo(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return an unbiased estimate of the bound of log p(x), (B,): see `path_elbo`."""
        return path_elbo(self, x, generator)


def data_rates(process: Process, x0: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Return the rates of the reversal given the data, (B, D, C), 0 at the token itself.

        r(x^d -> c) = beta(t) Q[c, x^d] q_{t|0}(c | x_0^d) / q_{t|0}(x^d | x_0^d)

    Arguments:
        process: the noise.
        x0: data, (B, D).
        x: states at the times, drawn from the noise of `x0`, (B, D).
        t: times, (B,).
    """
    law = process.marginal(x0, t)
    return reverse_rates(process, x, law / law.gather(-1, x[..., None]), t)


def path_elbo(model: Reversal, x: Tensor, generator: Generator | None = None) -> Tensor:
    """Return an unbiased estimate of the bound of log p(x) for a reversal run exactly, (B,).

    The model: jumps at its rates from `end` to `start`, then one step to 0. One random time a
    datum, early ones more often: there rates are like 1 / t with a probability like t, so times
    with a density like t^(-1/2) have the least variance. All jumps out of the state are summed,
    none is drawn.

    Arguments:
        model: a reversal.
        x: data, (B, D).
        generator: source of randomness.

    Raises:
        ValueError: the source cannot hold what is left of the data at the end: a process that
            absorbs. `MaskedDiffusion` and `D3PM` have bounds of their own.

    Reference: Campbell et al. 2022 (arXiv 2205.14987), with the jump summed out.
    """
    process, low, high = model.process, model.start**0.5, model.process.end**0.5
    root = low + (high - low) * model.shares(model.checked(x), generator)
    t = root.square().clamp_max(process.end)
    stationary = process.generator.stationary(t)
    last = process.marginal(x, t.new_tensor(process.end).expand(len(x)))
    if bool(((last > 0) & (stationary == 0)).any()):
        raise ValueError(
            "the source must hold every token that the end may hold; got a process that absorbs, "
            "so the bound is minus infinity; use MaskedDiffusion or D3PM"
        )
    prior = relative(last, stationary).sum((1, 2))
    noisy = process.pull(x, t, generator)
    known, told = data_rates(process, x, noisy, t), model.rates(noisy, t)
    jumps = relative(known, told) - known + told
    first = t.new_tensor(model.start).expand(len(x))
    decoded = model.transition(process.pull(x, first, generator), 0.0, first)
    path = 2.0 * root * (high - low) * jumps.sum((1, 2))
    return -cross_entropy(decoded, x) - prior - path

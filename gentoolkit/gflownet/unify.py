"""Two paths of one data point: a penalty on their disagreement, and its two signs.

For paths pulled from the same x, `l = log push - log pull` is the log-evidence, with `E[l] = ELBO`
and `E[exp l] = p(x)`. Where the pull is the posterior every path tells the same l.
"""

from torch import Tensor

from gentoolkit.core import validate


def consistency(evidences: Tensor) -> Tensor:
    """Return the mean squared difference between two paths of one data point, shape ().

        mean over pairs of (l_j - l_k)^2,   with E = 2 Var[l | x]

    It needs neither the density of the data nor a normaliser. It is zero for every model whose
    pull is its own posterior, good or bad: use it beside a likelihood, never alone.

    Arguments:
        evidences: log-evidences of K paths of each data point, (K, B), K >= 2.

    Raises:
        ValueError: there is one path a data point, or a value is not finite.

    Reference: Zhang, Chen, Malkin, Bengio 2022 (arXiv 2209.02606).
    """
    if validate.batch("evidences", evidences).ndim != 2 or len(evidences) < 2:
        raise ValueError(
            "evidences must have shape (K, B) with two paths or more of each data point; got "
            f"{tuple(evidences.shape)}; pull each data point twice: chain.pull(x.repeat(2, 1))"
        )
    # The mean over the K (K - 1) ordered pairs is twice the unbiased variance.
    return 2.0 * evidences.var(0).mean()


def penalised_loss(evidences: Tensor, weight: float) -> Tensor:
    """Return `-mean l + weight * consistency`, shape (): what is minimised.

    A weight of 0 is minus the ELBO; a positive one asks paths of one data point to agree (MLE-GFN).
    The negative weight -1/8 gives, to second order, minus the importance-weighted bound of two:

        log((e^l + e^l') / 2) = (l + l')/2 + log cosh((l - l')/2)
                              = (l + l')/2 + (l - l')^2 / 8 - O((l - l')^4)

    Arguments and errors are those of `consistency`; the weight is in 1/nats.
    """
    return weight * consistency(evidences) - evidences.mean()

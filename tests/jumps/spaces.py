"""Small spaces as matrices: every state is a row, and the law of a sampler a product."""

from itertools import pairwise

import torch


def every_state(size, dims):
    """All states in order, (S, D): the last token runs fastest."""
    return torch.cartesian_prod(*[torch.arange(size)] * dims).reshape(-1, dims)


def step_matrix(probs, states):
    """The (S, S) matrix of a step whose tokens are independent given the state."""
    law = torch.ones(len(states), len(states), dtype=torch.float64)
    for d in range(states.shape[1]):
        law = law * probs[:, d].double()[:, states[:, d]]
    return law


def rate_matrix(rates, states):
    """The (S, S) generator from rates of jumps of one token, diagonal included."""
    q = torch.zeros(len(states), len(states), dtype=torch.float64)
    for d in range(states.shape[1]):
        others = [e for e in range(states.shape[1]) if e != d]
        same = (states[:, None, others] == states[None, :, others]).all(-1)
        q += same * rates[:, d].double()[:, states[:, d]]
    q.fill_diagonal_(0.0)
    return q - q.sum(1).diag()


def output_law(law, times, states, source, corrector=None):
    """The exact law at the last of `times` of a walk from the law `source` (S,)."""
    p = source.double()
    for t, s in pairwise(times.tolist()):
        with torch.no_grad():
            p = p @ step_matrix(law(states, s, t), states)
            if corrector is not None and s > 0.0:
                for _ in range(corrector.corrections):
                    p = p @ step_matrix(corrector(states, s, t), states)
    return p


def tv(p, q):
    """Total variation."""
    return float(0.5 * (p - q).abs().sum())


def some_law(size, dims, seed=0, sharpness=2.0):
    """A table softmax(sharpness N(0, 1)), one axis a token, float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size**dims, generator=generator, dtype=torch.float64)
    return (sharpness * logits).softmax(0).reshape([size] * dims)

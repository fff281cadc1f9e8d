"""Coordinate ascent on a mixture, against the enumerated evidence."""

from itertools import islice, product
from math import log

import pytest
import torch

from gentoolkit.core.checks import mean_is
from gentoolkit.vi import MixtureState, cavi_mixture, mixture_evidence
from gentoolkit.vi.mixture import _elbo

X = torch.tensor([-2.1, -1.7, -2.6, 1.9, 2.4, 0.3, 1.2, -0.4], dtype=torch.float64)
S2 = 9.0
STARTS = [(-1.0, 1.0), (0.3, 0.1), (4.0, -2.0)]


def states(start, n, x=X):
    means = torch.tensor(start, dtype=x.dtype)
    return list(islice(cavi_mixture(x, means, prior_variance=S2), n))


def test_evidence_has_the_printed_value():
    """Catches a lost 2^-8 (-12.125) and labellings counted once a pair (-18.363)."""
    assert float(mixture_evidence(X, 2, S2)) == pytest.approx(-17.670350, abs=5e-7)


def test_evidence_agrees_with_torch_over_every_labelling():
    """Catches a wrong cluster marginal or label count: oracle is MultivariateNormal, K = 3."""
    x, k = X[:4], 3
    terms = []
    for labels in product(range(k), repeat=len(x)):
        log_p = torch.tensor(-len(x) * log(k), dtype=x.dtype)
        for c in range(k):
            inside = x[torch.tensor(labels) == c]
            if len(inside):
                covariance = torch.eye(len(inside), dtype=x.dtype) + S2
                normal = torch.distributions.MultivariateNormal(0 * inside, covariance)
                log_p = log_p + normal.log_prob(inside)
        terms.append(log_p)
    assert torch.allclose(mixture_evidence(x, k, S2), torch.stack(terms).logsumexp(0), atol=1e-12)


@pytest.mark.parametrize("start", STARTS)
def test_limit_has_the_printed_value(start):
    """Catches v left out of r, a missing entropy, a missing n log K: the optimum would move."""
    last = states(start, 400)[-1]
    assert float(last.elbo) == pytest.approx(-18.706436, abs=5e-7)
    assert sorted(last.means.tolist()) == pytest.approx([-1.648058, 1.307404], abs=5e-7)


@pytest.mark.parametrize("start", STARTS)
def test_elbo_rises_and_stays_below_the_evidence(start):
    """Catches a wrong update (the bound would fall) and a missing constant (it would cross)."""
    elbos = torch.stack([s.elbo for s in states(start, 60)])
    assert float(elbos.diff().min()) >= -1e-10
    assert float(elbos.max()) <= float(mixture_evidence(X, 2, S2))


def test_elbo_is_the_mean_log_weight_of_its_law():
    """Catches any wrong term: oracle draws mu and labels from q and averages log p - log q."""
    state = states((-1.0, 0.2), 2)[-1]
    n, generator = 40_000, torch.Generator().manual_seed(0)
    normal = torch.distributions.Normal
    noise = torch.randn(n, 2, dtype=X.dtype, generator=generator)
    mu = state.means + state.variances.sqrt() * noise
    labels = torch.multinomial(state.responsibilities, n, True, generator=generator).T  # (n, 8)
    log_p = normal(0.0, S2**0.5).log_prob(mu).sum(1) - len(X) * log(2)
    log_p = log_p + normal(mu.gather(1, labels), 1.0).log_prob(X).sum(1)
    log_q = normal(state.means, state.variances.sqrt()).log_prob(mu).sum(1)
    log_q = log_q + state.responsibilities.log()[torch.arange(8), labels].sum(1)
    log_w = log_p - log_q
    error = float(log_w.std()) / n**0.5
    assert abs(float(log_w.mean() - state.elbo)) < 4 * error
    entropy = float(-(state.responsibilities * state.responsibilities.log()).sum())
    assert entropy > 8 * error, "the control: a missing entropy would be seen"
    # q knows one of two equal labellings: averaged with its mirror image, E[w] = p(x).
    mirror = normal(state.means, state.variances.sqrt()).log_prob(mu.flip(1)).sum(1)
    mirror = mirror + state.responsibilities.log()[torch.arange(8), 1 - labels].sum(1)
    w = (log_p - torch.logaddexp(log_q, mirror) + log(2) - mixture_evidence(X, 2, S2)).exp()
    assert mean_is(w, 1.0)


def test_updates_are_coordinate_optima():
    """Catches v left out of r: at the limit no gradient of the bound is left."""
    last = states((-1.0, 1.0), 400)[-1]
    m, log_v = last.means.clone().requires_grad_(), last.variances.log().requires_grad_()
    logits = last.responsibilities.log().requires_grad_()
    bound = _elbo(X, m, log_v.exp(), logits.softmax(-1), S2)
    gradients = torch.autograd.grad(bound, (m, log_v, logits))
    assert max(float(g.abs().max()) for g in gradients) < 1e-8


def test_certain_responsibilities_are_finite():
    """Catches 0 log 0 = NaN."""
    r = torch.nn.functional.one_hot((X > 0).long(), 2).to(X.dtype)
    assert bool(torch.isfinite(_elbo(X, torch.zeros(2).to(X), torch.ones(2).to(X), r, S2)))


def test_one_component_is_exact():
    """Catches a bound that is loose where q is exact: with K = 1 it is the evidence."""
    state = states((0.5,), 3)[-1]
    assert torch.allclose(state.elbo, mixture_evidence(X, 1, S2), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_survives(dtype):
    """Catches a constant made in torch's default type."""
    state = states((-1.0, 1.0), 2, X.to(dtype))[-1]
    for value in (state.means, state.variances, state.responsibilities, state.elbo):
        assert value.dtype == dtype
    assert mixture_evidence(X.to(dtype), 2, S2).dtype == dtype


def test_bad_input_is_named():
    """Catches a missing check: each would otherwise give a wrong number in silence."""
    m, v = torch.zeros(2).double(), torch.ones(2).double()
    with pytest.raises(ValueError, match="variances must be positive"):
        cavi_mixture(X, m, S2, -v)
    with pytest.raises(ValueError, match="prior_variance must be positive"):
        cavi_mixture(X, m, prior_variance=-1.0)
    with pytest.raises(ValueError, match="variance"):
        cavi_mixture(X, m, prior_variance=1.0, variances=0 * v)
    with pytest.raises(ValueError, match="empty"):
        cavi_mixture(X, m[:0], prior_variance=1.0)
    with pytest.raises(ValueError, match="empty"):
        cavi_mixture(X[:0], m, prior_variance=1.0)
    with pytest.raises(ValueError, match="finite"):
        cavi_mixture(X * float("nan"), m, prior_variance=1.0)
    with pytest.raises(ValueError, match="shape"):
        cavi_mixture(X[:, None], m, prior_variance=1.0)
    with pytest.raises(ValueError, match="components must be at least 1"):
        mixture_evidence(X, 0, S2)
    with pytest.raises(ValueError, match="too many"):
        mixture_evidence(torch.zeros(30).double(), 2, S2)


def test_state_is_frozen():
    """Catches a state that a later sweep or a reader can change."""
    state = states((-1.0, 1.0), 1)[0]
    assert isinstance(state, MixtureState)
    with pytest.raises(AttributeError):
        state.elbo = state.elbo  # pyright: ignore

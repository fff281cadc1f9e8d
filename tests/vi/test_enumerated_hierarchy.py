"""A hierarchical VAE of tables, 3 -> 4 -> 5 states, with all of its 60 paths summed."""

from itertools import product

import pytest
import torch

from gentoolkit.core import Categorical, Chain, FunctionKernel, log_variance, trajectory_balance

PATHS = torch.tensor(list(product(range(3), range(4), range(5))))  # (60, 3): z2, z1, x


class Tables:
    """Random logits of both chains, and a data law over x."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)

        def table(*shape):
            return torch.randn(*shape, dtype=torch.float64, generator=generator)

        self.prior, self.f1, self.f0 = table(3), table(3, 4), table(4, 5)
        self.b1, self.b0 = table(4, 3), table(5, 4)  # z1 -> z2, x -> z1
        self.data = table(5).log_softmax(0)

    def chain(self):
        return Chain(
            Categorical(self.prior[None]),
            [
                FunctionKernel(
                    lambda z2: Categorical(self.f1[z2]), lambda z1: Categorical(self.b1[z1])
                ),
                FunctionKernel(
                    lambda z1: Categorical(self.f0[z1]), lambda x: Categorical(self.b0[x])
                ),
            ],
        )

    def account(self):
        """Evidence of every path by the library, and log push and pull by tables."""
        evidence = self.chain().replay(list(PATHS.T)).log_evidence()
        z2, z1, x = PATHS.T
        log_push = self.prior.log_softmax(0)[z2] + self.f1.log_softmax(1)[z2, z1]
        log_push = log_push + self.f0.log_softmax(1)[z1, x]
        log_pull = self.b0.log_softmax(1)[x, z1] + self.b1.log_softmax(1)[z1, z2]
        return evidence, log_push, log_pull

    def marginal(self, log_push):
        return torch.stack([log_push[PATHS[:, 2] == c].logsumexp(0) for c in range(5)])


@pytest.fixture
def tables():
    return Tables()


def test_evidence_is_the_difference_of_the_chains(tables):
    """Catches a wrong conditioning order, a doubled prior, a lost step."""
    evidence, log_push, log_pull = tables.account()
    assert torch.allclose(evidence, log_push - log_pull, atol=1e-12)


def test_gap_is_the_divergence_from_the_posterior(tables):
    """Catches a bound of the wrong direction: log p(x) - ELBO = KL(pull || posterior)."""
    evidence, log_push, log_pull = tables.account()
    log_p = tables.marginal(log_push)
    for c in range(5):
        rows = PATHS[:, 2] == c
        q = log_pull[rows].exp()
        gap = log_p[c] - (q * evidence[rows]).sum()
        posterior = log_push[rows] - log_p[c]
        kl = (q * (log_pull[rows] - posterior)).sum()
        assert float(gap) == pytest.approx(float(kl), abs=1e-10)
        assert float(gap) > 0.01


def test_path_divergence_is_entropy_and_bound(tables):
    """Catches the sign of the log-weight: KL(data pull || push) = -H(data) - E[ELBO]."""
    evidence, log_push, log_pull = tables.account()
    log_data = tables.data[PATHS[:, 2]]
    joint = (log_data + log_pull).exp()
    kl = (joint * (log_data + log_pull - log_push)).sum()
    expected = (tables.data.exp() * tables.data).sum() - (joint * evidence).sum()
    assert float(kl) == pytest.approx(float(expected), abs=1e-10)


def test_weights_sum_to_the_normaliser(tables):
    """Catches a weight that is not target over evidence: sum of push times w is Z."""
    _, log_push, _ = tables.account()
    rewards = tables.data + 1.3
    log_w = tables.chain().replay(list(PATHS.T)).log_weight(lambda x: rewards[x])
    assert float((log_push + log_w).logsumexp(0)) == pytest.approx(1.3, abs=1e-10)


def weighted_balance(log_w, log_probability):
    """trajectory_balance / 2 with each path repeated in proportion to its frozen probability."""
    p = log_probability.detach().exp()
    singles = torch.stack([trajectory_balance(w[None], 0.4) for w in log_w])
    return 0.5 * (p * singles).sum()


def test_balance_gradient_is_that_of_the_reverse_divergence(tables):
    """Catches a gradient through the sampling weights, shown to differ by more than 0.1."""
    push_logits = [tables.prior, tables.f1, tables.f0]
    for t in push_logits:
        t.requires_grad_()
    _, log_push, log_pull = tables.account()
    log_w = tables.chain().replay(list(PATHS.T)).log_weight(lambda x: tables.data[x])
    balance = torch.autograd.grad(weighted_balance(log_w, log_push), push_logits, retain_graph=True)
    kl = (log_push.exp() * (log_push - log_pull - tables.data[PATHS[:, 2]])).sum()
    reverse = torch.autograd.grad(kl, push_logits, retain_graph=True)
    for a, b in zip(balance, reverse, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    leaked = 0.5 * (log_push.exp() * (log_w - 0.4).square()).sum()
    wrong = torch.autograd.grad(leaked, push_logits)
    worst = max(float((a - b).abs().max()) for a, b in zip(wrong, reverse, strict=True))
    assert worst > 0.1


def test_balance_gradient_is_that_of_the_forward_divergence_for_the_pull(tables):
    """Catches exchanged chains: sampled from the data, the pull's gradient is the other KL."""
    pull_logits = [tables.b1, tables.b0]
    for t in pull_logits:
        t.requires_grad_()
    _, log_push, log_pull = tables.account()
    log_data = tables.data[PATHS[:, 2]]
    log_w = tables.chain().replay(list(PATHS.T)).log_weight(lambda x: tables.data[x])
    balance = torch.autograd.grad(
        weighted_balance(log_w, log_data + log_pull), pull_logits, retain_graph=True
    )
    kl = ((log_data + log_pull).exp() * (log_data + log_pull - log_push)).sum()
    forward = torch.autograd.grad(kl, pull_logits)
    for a, b in zip(balance, forward, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_squared_difference_of_two_paths_is_twice_the_variance(tables):
    """Catches pairs of different data: per x, E (l - l')^2 = 2 Var l."""
    evidence, _, log_pull = tables.account()
    for c in range(5):
        rows = PATHS[:, 2] == c
        q, ell = log_pull[rows].exp(), evidence[rows]
        pairs = (q[:, None] * q * (ell[:, None] - ell).square()).sum()
        variance = (q * ell.square()).sum() - (q * ell).sum().square()
        assert float(pairs) == pytest.approx(2 * float(variance), abs=1e-10)


def test_exact_posterior_leaves_no_variance(tables):
    """Catches a pull that is not Bayes' rule on the push: all evidences equal log p(x)."""
    evidence, log_push, _ = tables.account()
    assert max(float(evidence[PATHS[:, 2] == c].var()) for c in range(5)) > 0.1
    prior = tables.prior.log_softmax(0)
    joint = prior[:, None] + tables.f1.log_softmax(1)  # (z2, z1)
    tables.b1 = joint.T
    tables.b0 = (joint.logsumexp(0)[:, None] + tables.f0.log_softmax(1)).T
    evidence = tables.chain().replay(list(PATHS.T)).log_evidence()
    log_p = tables.marginal(log_push)
    for c in range(5):
        rows = PATHS[:, 2] == c
        assert float(log_variance(evidence[rows])) < 1e-20
        assert torch.allclose(evidence[rows], log_p[c], atol=1e-12)
    generator = torch.Generator().manual_seed(1)
    x = torch.arange(5).repeat(20)
    pulled = tables.chain().pull(x, generator).log_evidence()
    assert torch.allclose(pulled, log_p[x], atol=1e-12)

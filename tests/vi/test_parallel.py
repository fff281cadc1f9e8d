"""Hierarchies that train side by side: each is a chain of its own."""

import pytest
import torch
from torch.distributions import Normal

from gentoolkit.vi import ParallelHierarchies

KEEP = torch.tensor([0.9, 0.6, 0.3])


def perturbed(**options):
    model = ParallelHierarchies(2, 2, 3, hidden=(8,), **options).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


@pytest.mark.parametrize("options", [{}, {"keep": KEEP}, {"keep": KEEP, "learn": False}])
def test_each_run_is_a_chain(options):
    """Catches rows of another run or level, a law left out, and a sign."""
    model = perturbed(**options)
    path = model.pull(torch.randn(2, 5, 2)).detach()
    assert path.shape == (4, 2, 5, 2)
    for run in range(2):
        alone = model.chain(run).replay(list(path[:, run].flip(0))).log_evidence()
        torch.testing.assert_close(model.log_evidence(path)[run], alone)
    assert model.chain(1).push(3).states[-1].shape == (3, 2)


def test_noise_is_undone_exactly_at_the_start():
    """Catches a deviation taken for a variance: for standard normal data the start is exact."""
    model = ParallelHierarchies(2, 1, 3, keep=KEEP).double()
    x = 2 * torch.randn(2, 50, 1)
    exact = Normal(0.0, 1.0).log_prob(x)[..., 0]
    torch.testing.assert_close(model.elbo(x).detach(), exact, atol=1e-5, rtol=0)


def test_runs_train_apart():
    """Catches a run that hears another's data, and a loss averaged over the runs."""
    model = perturbed()
    x = torch.randn(2, 5, 2)
    torch.manual_seed(0)
    bounds = model.elbo(x).mean(1)
    torch.manual_seed(0)
    assert torch.allclose(model.loss(x), -bounds.sum())
    bounds[0].backward()
    for net in (model.push, model.pulls):
        grad = net.weights[0].grad.unflatten(0, (3, 2))
        assert grad[:, 0].abs().sum() > 0
        assert grad[:, 1].abs().sum() == 0


def test_pulls_must_come_from_somewhere():
    """Catches a pull that is neither noise nor learned, and shares that are no shares."""
    with pytest.raises(ValueError, match="got neither"):
        ParallelHierarchies(1, 1, 2, learn=False)
    for keep in (torch.tensor([0.5]), torch.tensor([0.5, 1.0])):
        with pytest.raises(ValueError, match="keep must hold 2"):
            ParallelHierarchies(1, 1, 2, keep=keep)

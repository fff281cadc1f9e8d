"""A tree of flows against the linear Gaussian case, where everything is known in closed form."""

from math import cos, log, pi, sin

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from gentoolkit.core import log_z
from gentoolkit.flows import (
    AffineCoupling,
    FlowTree,
    LULinear,
    Permute,
    flow_tree,
)
from gentoolkit.vi import PPCA
from tests.laws.kinds import perturbed

SCALES, ANGLES, NOISE = (0.7, 1.0, 1.3), (0.0, 0.5, 1.0), 0.25
POINT = (1.0, 0.0, 1.0, 0.5, -0.5, 1.5)
FLAT = [None, 0, 0, 0]


def rotation(angle):
    rows = [[cos(angle), -sin(angle)], [sin(angle), cos(angle)]]
    return torch.tensor(rows, dtype=torch.float64)


MAPS = [c * rotation(a) for c, a in zip(SCALES, ANGLES, strict=True)]


def linear_tree(spread_variance=0.1):
    edges = {j + 1: [LULinear(2, a)] for j, a in enumerate(MAPS)}
    return FlowTree(FLAT, edges, 2, noise=NOISE**0.5, spread=spread_variance**0.5)


def stacked():
    """W (6, 2) and the covariance C of a datum."""
    w = torch.cat(MAPS)
    return w, w @ w.T + NOISE * torch.eye(6)


def exact_elbo(x, variance):
    """The bound from the formula of quadratic forms, with no sampling and no layer."""
    w, _ = stacked()
    m = torch.stack([x[:, 2 * j : 2 * j + 2] @ torch.linalg.inv(a).T for j, a in enumerate(MAPS)])
    m = m.mean(0)
    v = variance * torch.eye(2)
    fit = (x - m @ w.T).square().sum(1) + torch.trace(w @ v @ w.T)
    kl = 0.5 * (torch.trace(v) + m.square().sum(1) - 2 - torch.logdet(v))
    return -3 * log(2 * pi * NOISE) - fit / (2 * NOISE) - kl


def points(n=1, seed=0):
    if n == 1:
        return torch.tensor([POINT])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=generator) @ torch.linalg.cholesky(stacked()[1]).T


@pytest.mark.parametrize("variance", [0.05, 0.1, 0.2])
def test_the_bound_is_the_closed_form(variance):
    """Catches a divergence without the spread, a map the wrong way, noise counted once for all."""
    tree, x = linear_tree(variance), points(5)
    generator = torch.Generator().manual_seed(1)
    draws = tree.elbo(x.reshape(-1, 3, 2).repeat(20_000, 1, 1), generator=generator)
    draws = draws.detach().reshape(20_000, 5)
    off = (draws.mean(0) - exact_elbo(x, variance)).abs() / (draws.std(0) / 20_000**0.5)
    assert float(off.max()) < 4.0, off
    wrong = exact_elbo(x, variance) + 0.5 * 2 * log(variance)  # the control: log det V forgotten
    assert float(((draws.mean(0) - wrong).abs() / (draws.std(0) / 20_000**0.5)).min()) > 4.0


@pytest.mark.parametrize(
    ("variance", "gap", "mean_gap"),
    [(0.05, 0.489409, 0.447276), (0.1, 0.482262, 0.440129), (0.2, 1.161114, 1.118982)],
)
def test_the_gap_is_a_divergence(variance, gap, mean_gap):
    """Catches a wrong posterior, a wrong average: the fixed case and the mean over the data."""
    w, covariance = stacked()
    truth = MultivariateNormal(torch.zeros(6), covariance)
    model = PPCA(torch.zeros(6), w, NOISE)
    x = points(1)
    told = truth.log_prob(x) - exact_elbo(x, variance)
    mean, precision = model.posterior(x)
    assert float(truth.log_prob(x)) == pytest.approx(-6.426041, abs=1e-6)
    m = linear_tree().read(x.reshape(1, 3, 2)).values[:, 0]
    q = MultivariateNormal(m, variance * torch.eye(2))
    kl = kl_divergence(q, MultivariateNormal(mean, precision_matrix=precision))
    torch.testing.assert_close(told, kl, atol=1e-10, rtol=0)
    assert float(told) == pytest.approx(gap, abs=1e-6)
    # Over the data, the part of the gap that depends on x is a quadratic form of C.
    up = torch.cat([torch.linalg.inv(a) / 3 for a in MAPS], 1)
    off = up - torch.linalg.solve(precision, w.T / NOISE)
    spread = 0.5 * (variance * torch.trace(precision) - 2 - 2 * log(variance))
    spread -= 0.5 * torch.logdet(precision)
    average = spread + 0.5 * torch.trace(precision @ off @ covariance @ off.T)
    assert average.item() == pytest.approx(mean_gap, abs=1e-6)


def test_importance_weights_reach_the_density():
    """Catches a chain whose two laws are not those it draws from: E[exp(evidence)] = p(x)."""
    truth = MultivariateNormal(torch.zeros(6), stacked()[1]).log_prob(points(1))
    x = points(1).reshape(1, 3, 2).expand(200_000, 3, 2)
    chain = linear_tree(0.2).chain()
    evidence = chain.pull(x, torch.Generator().manual_seed(0)).log_evidence().detach()
    assert float(log_z(evidence)) == pytest.approx(float(truth), abs=0.02)
    deaf = linear_tree(0.2).chain(observed=torch.tensor([True, True, False]))
    evidence = deaf.pull(x, torch.Generator().manual_seed(0)).log_evidence().detach()
    assert float(log_z(evidence)) == pytest.approx(float(truth), abs=0.1)


def test_the_bound_of_a_deep_tree_is_the_mean_evidence():
    """Catches a level left out of the bound, and a sign: the chain's own account is the oracle."""
    torch.manual_seed(3)
    tree = perturbed(flow_tree([None, 0, 0, 1, 1, 2, 2], 2, 2, (8,)), 0.2)
    x = torch.randn(1, 4, 2).expand(20_000, 4, 2)
    with torch.no_grad():
        one = tree.elbo(x, generator=torch.Generator().manual_seed(0))
        two = tree.chain().pull(x, torch.Generator().manual_seed(1)).log_evidence().detach()
    error = (one.var() / len(one) + two.var() / len(two)).sqrt()
    assert abs(float(one.mean() - two.mean())) < 4 * float(error)
    assert float(one.var()) != float(two.var())


def test_a_deep_linear_tree_has_the_covariance_of_its_paths():
    """Catches a child under the wrong parent: leaves of one parent share more than others."""
    maps = {j: [LULinear(2, (1.0 + 0.1 * j) * rotation(0.3 * j))] for j in range(1, 7)}
    tree = FlowTree([None, 0, 0, 2, 1, 2, 1], maps, 2, noise=0.5)
    assert tree.leaves == (3, 4, 5, 6) and tree.below == (1, 2, 3, 4, 5, 6)
    a = {j: (1.0 + 0.1 * j) * rotation(0.3 * j) for j in maps}
    eye = torch.eye(2)
    inner = {1: a[1] @ a[1].T + 0.25 * eye, 2: a[2] @ a[2].T + 0.25 * eye}
    cross = a[1] @ a[2].T
    parent = {3: 2, 4: 1, 5: 2, 6: 1}
    wanted = torch.zeros(8, 8)
    for r, i in enumerate(tree.leaves):
        for s, j in enumerate(tree.leaves):
            if parent[i] == parent[j]:
                middle = inner[parent[i]]
            else:
                middle = cross if parent[i] == 1 else cross.T
            block = a[i] @ middle @ a[j].T + (0.25 * eye if i == j else 0.0)
            wanted[2 * r : 2 * r + 2, 2 * s : 2 * s + 2] = block
    x = tree.sample(200_000, generator=torch.Generator().manual_seed(0)).flatten(1)
    assert float((x.T @ x / len(x) - wanted).abs().max()) < 0.06


def imputation_errors():
    """Closed forms of the third group: the conditional mean, the rule, the prior mean."""
    _, c = stacked()
    o, h = slice(0, 4), slice(4, 6)
    best = c[h, h] - c[h, o] @ torch.linalg.solve(c[o, o], c[o, h])
    rule = MAPS[2] @ torch.cat([torch.linalg.inv(a) / 2 for a in MAPS[:2]], 1)
    sent = c[h, h] - rule @ c[o, h] - c[h, o] @ rule.T + rule @ c[o, o] @ rule.T
    return torch.trace(best).item(), torch.trace(sent).item(), torch.trace(c[h, h]).item()


def test_imputation_is_the_rule_and_never_better_than_the_best():
    """Catches the sum divided by all children, a leak of the hidden leaf, a map the wrong way."""
    assert imputation_errors() == pytest.approx((0.985632, 1.142372, 3.880), abs=1e-6)
    x = points(200_000).reshape(-1, 3, 2)
    filled = linear_tree().impute(x, torch.tensor([True, True, False]))
    assert torch.equal(filled[:, :2], x[:, :2])
    error = float((filled[:, 2] - x[:, 2]).square().sum(1).mean())
    assert error == pytest.approx(1.142372, abs=0.012)  # 4 standard errors
    changed = x.clone()
    changed[:, 2] = torch.nan
    assert torch.equal(filled, linear_tree().impute(changed, torch.tensor([True, True, False])))


def test_masks_may_differ_between_rows():
    """Catches one pattern used for all rows."""
    tree, x = linear_tree(), points(4).reshape(-1, 3, 2)
    masks = torch.tensor(
        [[True, True, False], [False, True, True], [True, False, False], [True] * 3]
    )
    together = tree.impute(x, masks)
    for k in range(4):
        torch.testing.assert_close(together[k : k + 1], tree.impute(x[k : k + 1], masks[k]))
    assert torch.equal(together[3], x[3])


def test_messages_agree_on_data_without_noise():
    """Catches an inverse that is not one, in a deep tree too; the control has noise."""
    torch.manual_seed(4)
    tree = perturbed(flow_tree([None, 0, 0, 1, 1, 2, 2], 3, 3, (8,)), 0.15)
    value = torch.randn(6, 1, 3)
    for step in tree.chain().steps:
        value = step.down(value)
    reading = tree.read(value)
    assert float(reading.disagreement.max()) < 1e-12
    assert float((reading.messages[:, :2] - reading.values[:, :1]).abs().max()) < 1e-12
    noisy = tree.read(value + 0.1 * torch.randn_like(value))
    assert float(noisy.disagreement.min()) > 1e-3
    torch.testing.assert_close(tree.impute(value, torch.tensor([False, True, False, False])), value)


def test_a_hidden_leaf_is_filled_from_the_nearest_node_that_heard_something():
    """Catches a fill from the root where a nearer node knows more."""
    tree = FlowTree(
        [None, 0, 0, 1, 1, 2, 2],
        {j: [LULinear(2, float(j) * torch.eye(2))] for j in range(1, 7)},
        2,
    )
    x = torch.randn(3, 4, 2)
    filled = tree.impute(x, torch.tensor([True, False, True, False]))
    torch.testing.assert_close(filled[:, 1], x[:, 0] / 3 * 4)
    filled = tree.impute(x, torch.tensor([True, False, False, False]))
    torch.testing.assert_close(filled[:, 2], x[:, 0] / 3 / 1 * 2 * 5)


def test_disagreement_is_the_spread_of_messages():
    """Catches a spread that counts hidden leaves: one message alone cannot disagree."""
    tree, x = linear_tree(), points(3).reshape(-1, 3, 2)
    up = torch.stack([x[:, j] @ torch.linalg.inv(a).T for j, a in enumerate(MAPS)], 1)
    told = tree.read(x)
    torch.testing.assert_close(told.messages, up)
    wanted = (up - up.mean(1, keepdim=True)).square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(told.disagreement[:, 0], wanted)
    alone = tree.read(x, torch.tensor([False, True, False]))
    assert float(alone.disagreement.abs().max()) == 0.0
    assert float(alone.messages[:, [0, 2]].abs().max()) == 0.0


def test_hiding_in_training_leaves_a_bound_and_a_speaker():
    """Catches a pull without any message, and a mask drawn past the generator."""
    tree = flow_tree([None, 0, 0, 1, 1, 2], 2, 2, (8,), hide=0.9)
    seen = tree._hidden(500, torch.Generator().manual_seed(0))
    assert bool((seen[:, :2].any(1) & seen[:, 2]).all())
    assert 0.05 < float(seen[:, :2].all(1).float().mean()) + 0.05 < 0.3
    sure = flow_tree(FLAT, 2, 2, (8,), hide=1.0)._hidden(100, None)
    assert bool((sure.sum(1) == 1).all())


def test_an_optimiser_step_keeps_the_inverse_in_float32():
    """Catches an edge whose two directions drift apart while they train."""
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(5)
    tree = flow_tree(FLAT, 2, 4, (16,))
    optimizer, x = torch.optim.Adam(tree.parameters(), 1e-2), torch.randn(64, 3, 2)
    for _ in range(20):
        optimizer.zero_grad()
        tree.loss(x).backward()
        optimizer.step()
    step = tree.chain().steps[0]
    z = torch.randn(64, 1, 2)
    assert float((step.messages(step.down(z)) - z).abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("parents", "match"),
    [
        ([], "one root"),
        ([None], "a root alone"),
        ([None, None, 0], "one root"),
        ([0, 0], "one root"),
        ([None, 2, 1], "cycles"),
        ([None, 1], "another node"),
        ([None, 5], "another node"),
        ([None, -1], "another node"),
        ([None, 0, 0, 1], "one depth"),
    ],
)
def test_what_is_no_tree_is_refused(parents, match):
    """Catches a graph that would be walked for ever, or a leaf that nothing reaches."""
    with pytest.raises(ValueError, match=match) as error:
        flow_tree(parents, 2)
    assert "got" in str(error.value) and ";" in str(error.value)


def test_bad_parts_are_refused():
    """Catches widths that do not match, missing edges, contexts, and masks of another kind."""
    good = {j: [LULinear(2)] for j in (1, 2, 3)}
    with pytest.raises(TypeError, match="number of a node"):
        flow_tree([None, 0.0, 0], 2)  # pyright: ignore
    for edges, match in (
        ({1: [LULinear(2)]}, "one edge"),
        (good | {4: [LULinear(2)]}, "one edge"),
        (good | {2: []}, "a layer or more"),
        (good | {2: [LULinear(3)]}, "2 numbers; got layers of another width into node 2"),
        (good | {3: [Permute([1, 2, 0])]}, "into node 3"),
        (good | {3: [AffineCoupling(2, context=1)]}, "no context"),
    ):
        with pytest.raises(ValueError, match=match):
            FlowTree(FLAT, edges, 2)
    for more in ({"noise": 0.0}, {"spread": -1.0}, {"hide": 1.5}):
        with pytest.raises(ValueError, match="got"):
            FlowTree(FLAT, good, 2, **more)
    tree, x = linear_tree(), torch.randn(4, 3, 2)
    hidden = torch.zeros(3, dtype=torch.bool)
    with pytest.raises(ValueError, match="observed leaf or more"):
        tree.impute(x, hidden)
    with pytest.raises(ValueError, match="observed leaf or more"):
        tree.impute(x, torch.tensor([[True] * 3] * 3 + [[False] * 3]))
    with pytest.raises(ValueError, match="hear one child"):
        tree.elbo(x, observed=hidden)
    with pytest.raises(ValueError, match="boolean"):
        tree.impute(x, torch.ones(3))
    with pytest.raises(ValueError, match="boolean"):
        tree.impute(x, torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="shape"):
        tree.elbo(torch.randn(4, 3, 3))
    with pytest.raises(ValueError, match="shape"):
        tree.impute(torch.randn(4, 2, 2), ~hidden)
    with pytest.raises(ValueError, match="finite"):
        tree.impute(torch.full((4, 3, 2), torch.nan), ~hidden)

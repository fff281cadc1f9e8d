"""Two flows with one latent law: exact cycles, exact ratios, Gaussians in closed form."""

import pytest
import torch
from torch import Tensor

from gentoolkit.core import Gaussian, Unsupported, standard_normal
from gentoolkit.core.checks import log_det, round_trip
from gentoolkit.flows import (
    AffineCoupling,
    AlignFlow,
    Flow,
    Inverted,
    Layer,
    Permute,
    Translation,
    Unpaired,
    align_flow,
    real_nvp,
)
from gentoolkit.train import fit
from tests.flows.truth import perturbed


class Linear(Layer):
    """`y = L x + m`, exact and fixed."""

    def __init__(self, matrix: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.register_buffer("shift", shift)

    def transform(self, x):
        return x @ self.matrix.T + self.shift, self._log_det(x)

    def inverse(self, y):
        return torch.linalg.solve(self.matrix, (y - self.shift).T).T, self._log_det(y)

    def _log_det(self, x):
        return torch.linalg.slogdet(self.matrix).logabsdet.expand(len(x))


def model(features=4, couplings=6) -> AlignFlow:
    """Random flows, as the two ends of a training that never was."""
    torch.manual_seed(1)
    return perturbed(align_flow(features, couplings, (16,)), 0.3)


def gaussians() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means and covariances of two domains in three dimensions."""
    g = torch.Generator().manual_seed(3)
    m_a, m_b = torch.randn(2, 3, generator=g)
    x, y = torch.randn(2, 3, 3, generator=g)
    return m_a, x @ x.T + 0.3 * torch.eye(3), m_b, y @ y.T + 0.3 * torch.eye(3)


def root(s: Tensor) -> Tensor:
    """The symmetric root of a covariance."""
    values, vectors = torch.linalg.eigh(s)
    return vectors * values.sqrt() @ vectors.T


@pytest.mark.parametrize("features", [2, 4, 5])
def test_there_and_back_is_the_identity_untrained(features):
    """Catches f_B in place of its inverse, layers in the wrong order, halves of odd width."""
    pair, x = model(features).requires_grad_(False), torch.randn(50, features)
    assert float((pair.to_a(pair.to_b(x)) - x).abs().max()) < 1e-10
    assert float((pair.to_b(pair.to_a(x)) - x).abs().max()) < 1e-10
    assert float((pair.to_b(x) - x).abs().max()) > 0.1, "the control: it does move"


def test_the_translation_is_a_bijection_with_its_log_determinant():
    """Catches ld_B + ld_A, the sign of either, and a log-determinant at another point."""
    there, x = model().translation.requires_grad_(False), torch.randn(9, 4)
    assert round_trip(there, x) and log_det(there, x) and log_det(Inverted(there), x)
    pair = model().requires_grad_(False)
    wrong = pair.a.chain().pull(x).log_ratio.sum(0) + there.transform(x)[1]
    assert float((wrong - there.transform(x)[1]).abs().max()) > 0.1, "the control"


def test_both_densities_agree_along_the_translation():
    """Catches flows with two latent laws: log p_B(y) = log p_A(x) - log |det dy/dx|."""
    pair, x = model().requires_grad_(False), torch.randn(30, 4)
    y, ld = pair.translation.transform(x)
    assert float((pair.b.log_prob(y) - pair.a.log_prob(x) + ld).abs().max()) < 1e-10


def test_the_chain_from_a_to_b_has_weight_one():
    """Catches a chain that leaves out a layer or starts from the latent law."""
    pair = model().requires_grad_(False)
    paths = pair.chain().push(40, torch.Generator().manual_seed(0))
    assert len(paths.states) == 13
    assert float(paths.log_weight(pair.b.log_prob).abs().max()) < 1e-10
    torch.testing.assert_close(paths.states[-1], pair.to_b(paths.states[0]))
    y = torch.randn(5, 4)
    torch.testing.assert_close(pair.chain().log_prob(y), pair.b.log_prob(y))
    other = real_nvp(4)
    assert float(paths.log_weight(perturbed(other).log_prob).abs().max()) > 0.1, "the control"


def test_samples_of_the_two_domains_are_partners():
    """Catches a second draw from the latent law where one is to be translated."""
    pair = model()
    a = pair.a.sample(6, generator=torch.Generator().manual_seed(4))
    b = pair.sample(6, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(b, pair.to_b(a))


def test_the_latent_law_is_one_object():
    """Catches two sources that training could move apart; a learned source is shared too."""
    pair = model()
    assert pair.a.source is pair.b.source
    law = Flow([AffineCoupling(4)], 4)
    ours = AlignFlow([Permute.shuffle(4)], [Permute.shuffle(4)], 4, law)
    assert ours.a.source is law and ours.b.source is law


def test_the_start_is_the_identity():
    """Catches a translation that pairs points at random before it has learned anything."""
    pair, x = align_flow(4), torch.randn(8, 4)
    torch.testing.assert_close(pair.to_b(x), x)
    torch.testing.assert_close(pair.to_a(x), x)


def test_gaussian_domains_every_rotation_is_as_likely():
    """Catches a likelihood that sees the pairing: Q turns the map and leaves both laws."""
    m_a, s_a, m_b, s_b = gaussians()
    l_a, l_b = torch.linalg.cholesky(s_a), torch.linalg.cholesky(s_b)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(5)))
    straight = AlignFlow([Linear(l_a, m_a)], [Linear(l_b, m_b)], 3)
    turned = AlignFlow([Linear(l_a, m_a)], [Linear(l_b @ q, m_b)], 3)
    x = torch.randn(20, 3)
    for pair, middle in ((straight, torch.eye(3)), (turned, q)):
        t = l_b @ middle @ torch.linalg.inv(l_a)
        torch.testing.assert_close(t @ s_a @ t.T, s_b, rtol=0, atol=1e-10)
        torch.testing.assert_close(pair.to_b(x), (x - m_a) @ t.T + m_b, rtol=0, atol=1e-10)
    law = torch.distributions.MultivariateNormal(m_b, s_b)
    for pair in (straight, turned):
        torch.testing.assert_close(pair.b.log_prob(x), law.log_prob(x))
    assert float((straight.to_b(x) - turned.to_b(x)).abs().max()) > 0.5, "yet the maps differ"


def test_no_linear_translation_is_cheaper_than_optimal_transport():
    """Catches a closed form with a root left out; Cholesky's map must cost more, not less."""
    _, s_a, _, s_b = gaussians()
    inner = root(root(s_a) @ s_b @ root(s_a))
    best = torch.linalg.inv(root(s_a)) @ inner @ torch.linalg.inv(root(s_a))
    least = float((s_a + s_b - 2 * inner).trace())

    def cost(t):
        gap = t - torch.eye(3)
        return float((gap @ s_a @ gap.T).trace())

    torch.testing.assert_close(best @ s_a @ best.T, s_b)
    assert cost(best) == pytest.approx(least)
    l_a, l_b = torch.linalg.cholesky(s_a), torch.linalg.cholesky(s_b)
    for seed in range(20):
        q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)))
        for middle in (torch.eye(3), q):
            assert cost(l_b @ middle @ torch.linalg.inv(l_a)) > least


def test_in_one_dimension_maximum_likelihood_finds_the_increasing_map():
    """Catches a loss that weighs only one domain: N(0, 1) to N(3, 4) is y = 3 + 2x."""

    class Affine(Layer):
        def __init__(self):
            super().__init__()
            self.shift = torch.nn.Parameter(torch.zeros(1))
            self.log_scale = torch.nn.Parameter(torch.zeros(1))

        def transform(self, x):
            return self.shift + self.log_scale.exp() * x, self.log_scale.expand(len(x))

        def inverse(self, y):
            return (y - self.shift) / self.log_scale.exp(), self.log_scale.expand(len(y))

    pair = AlignFlow([Affine()], [Affine()], 1)
    a, b = torch.randn(1000, 1), 3.0 + 2.0 * torch.randn(700, 1)
    optimizer = torch.optim.Adam(pair.parameters(), 0.05)
    *_, last = fit(pair, [Unpaired(a, b)] * 400, optimizer=optimizer, progress=False)
    x = torch.tensor([[-1.0], [0.0], [1.0]])
    y = (x - a.mean()) / a.std(correction=0) * b.std(correction=0) + b.mean()
    torch.testing.assert_close(pair.to_b(x).detach(), y, rtol=0, atol=1e-3)
    floor = sum(float(x.std(correction=0).log()) + 1.4189385 for x in (a, b))
    assert last.loss == pytest.approx(floor, abs=1e-4)


def test_both_domains_count_and_may_differ_in_size():
    """Catches a mean over the rows of both, where the larger domain would count more."""
    pair = model()
    a, b = torch.randn(3, 4), torch.randn(9, 4)
    loss = pair.loss(Unpaired(a, b))
    torch.testing.assert_close(loss, -pair.a.log_prob(a).mean() - pair.b.log_prob(b).mean())


def test_bad_input_is_refused():
    """Catches a silent broadcast of widths, an empty domain, a hole in the data."""
    pair, x = model(), torch.randn(5, 4)
    for bad, why in (
        (Unpaired(x, torch.randn(5, 3)), "b must have shape"),
        (Unpaired(torch.randn(5, 3), x), "a must have shape"),
        (Unpaired(x, x[:0]), "empty"),
        (Unpaired(x.where(x < 1, torch.nan), x), "finite"),
    ):
        with pytest.raises(ValueError, match=why):
            pair.loss(bad)
    with pytest.raises(ValueError, match=r"\(B, 4\); got \(5, 3\)"):
        pair.to_b(torch.randn(5, 3))
    with pytest.raises(ValueError, match="both domains need layers; got 0 for A"):
        AlignFlow([], [AffineCoupling(4)], 4)
    with pytest.raises(ValueError, match="two features"):
        align_flow(1)
    with pytest.raises(ValueError, match="positive"):
        align_flow(2, largest=0.0)
    with pytest.raises(Unsupported, match="two likelihoods"):
        pair.elbo(x)


def test_a_flow_that_runs_away_is_named():
    """Catches an infinite log-determinant that would pass as a loss."""
    zero = Linear(torch.zeros(2, 2), torch.zeros(2))
    pair = AlignFlow([Linear(torch.eye(2), torch.zeros(2))], [zero], 2)
    with pytest.raises((ValueError, RuntimeError)):
        pair.chain().push(3)


def test_a_latent_law_of_ones_own():
    """Catches a source that the likelihood leaves out."""
    wide = Gaussian(torch.zeros(1, 4), 2.0)
    layers = [Permute.shuffle(4)], [Permute.shuffle(4)]
    pair, x = AlignFlow(*layers, 4, wide), torch.randn(6, 4)
    torch.testing.assert_close(pair.b.log_prob(x), wide.log_prob(x))
    normal = AlignFlow(*layers, 4)
    torch.testing.assert_close(normal.b.log_prob(x), standard_normal(4).log_prob(x))
    assert isinstance(normal.translation, Translation)

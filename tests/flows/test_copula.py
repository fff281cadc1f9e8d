"""Copulas and their marginals against closed forms, finite differences and quadrature."""

from math import exp, lgamma, log, pi

import pytest
import scipy.stats
import torch
from numpy.polynomial.legendre import leggauss
from scipy.special import digamma

from gentoolkit.flows import (
    ActNorm,
    CopulaSource,
    Flow,
    GaussianCopula,
    GumbelCopula,
    LaplaceMarginal,
    LULinear,
    NormalMarginal,
    StudentCopula,
    StudentMarginal,
    maf,
)

R = torch.tensor([[1.0, 0.7], [0.7, 1.0]], dtype=torch.float64)
THETA = 2.5
MARGINALS = {
    "normal": (lambda: NormalMarginal(0.5, 2.0), scipy.stats.norm(0.5, 2.0)),
    "laplace": (lambda: LaplaceMarginal(-1.0, 4.0), scipy.stats.laplace(-1.0, 4.0)),
    "t": (lambda: StudentMarginal(5.0, 0.3, 2.0), scipy.stats.t(5.0, 0.3, 2.0)),
    "cauchy": (lambda: StudentMarginal(1.0), scipy.stats.cauchy()),
}
COPULAS = {
    "gaussian": lambda: GaussianCopula(R),
    "student": lambda: StudentCopula(R, 3.0),
    "gumbel": lambda: GumbelCopula(THETA),
}


def normal_of(u, v):
    return torch.special.ndtri(torch.tensor([[u, v]], dtype=torch.float64))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def nodes(count):
    """Gauss-Legendre on the scale of the normal law: places eps and weights that include phi."""
    x, w = (torch.tensor(a) for a in leggauss(count))
    eps = 9.0 * x
    return eps, 9.0 * w * (-0.5 * eps.square()).exp() / (2 * pi) ** 0.5


def integral(copula, f):
    """Integrate f(log c) times c over the unit square."""
    eps, w = nodes(400 if isinstance(copula, GumbelCopula) else 120)
    grid = torch.cartesian_prod(eps, eps)
    value = f(copula.log_density(grid), grid)
    return float((value.reshape(len(eps), -1) * w[:, None] * w).sum())


@pytest.mark.parametrize("name", MARGINALS)
def test_marginals_are_scipys(name):
    """Catches a scale forgotten in the density or in the tail, and a place in neither."""
    make, law = MARGINALS[name]
    ours, x = make().double(), torch.tensor([-20.0, -1.0, 0.0, 0.4, 3.0, 50.0])
    eps = torch.tensor([-3.0, -0.5, 0.0, 0.8, 5.0])
    expected = torch.tensor(law.logpdf(x.numpy()))
    torch.testing.assert_close(ours.log_prob(x), expected, rtol=1e-12, atol=1e-12)
    quantile = torch.where(
        eps < 0,
        torch.tensor(law.ppf(scipy.stats.norm.cdf(eps.numpy()))),
        torch.tensor(law.isf(scipy.stats.norm.sf(eps.numpy()))),
    )
    torch.testing.assert_close(ours.from_normal(eps), quantile, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ours.to_normal(quantile), eps, rtol=1e-8, atol=1e-8)
    r = torch.tensor([0.0, 1.0, 30.0])
    there = torch.tensor(2 * law.sf(law.median() + r.numpy()))
    torch.testing.assert_close(ours.log_survival(r).exp(), there, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("name", MARGINALS)
def test_the_slope_of_the_normal_coordinate_is_the_ratio_of_densities(name):
    """Catches a sign at the median, where an absolute value would have slope zero."""
    law = MARGINALS[name][0]().double()
    x = torch.tensor([-20.0, float(law.loc), 0.2, 7.0], requires_grad=True)
    eps = law.to_normal(x)
    (slope,) = torch.autograd.grad(eps.sum(), x)
    log_normal = -0.5 * eps.square() - 0.5 * log(2 * pi)
    torch.testing.assert_close(slope.log(), law.log_prob(x) - log_normal, rtol=1e-9, atol=1e-9)


def test_the_tail_of_two_degrees():
    """Catches a one-sided tail: P(|t_2| > 30) in closed form, and on the log scale at 1e6."""
    law = StudentMarginal(2.0)
    closed = 1.0 - 30.0 / (2.0 + 900.0) ** 0.5
    assert float(law.log_survival(torch.tensor(30.0)).exp()) == pytest.approx(closed, rel=1e-10)
    assert closed == pytest.approx(0.0011093, abs=1e-7)
    far = law.log_survival(torch.tensor([1e6, 1e7], dtype=torch.float64))
    assert float(far[0] - far[1]) == pytest.approx(2 * log(10), rel=1e-9)


def test_gaussian_copula_of_normals_is_the_normal_law():
    """Catches a lost determinant, and R^-1 without the identity taken away."""
    source = CopulaSource([NormalMarginal(), NormalMarginal()], GaussianCopula(R)).double()
    x = torch.randn(20, 2, generator=seeded())
    law = torch.distributions.MultivariateNormal(torch.zeros(2), R)
    torch.testing.assert_close(source.log_prob(x), law.log_prob(x), rtol=0, atol=1e-12)


def test_student_copula_of_its_own_marginals_is_the_t_law():
    """Catches a missing marginal in the denominator, and degrees of another power."""
    source = CopulaSource([StudentMarginal(3.0)] * 2, StudentCopula(R, 3.0)).double()
    x = 5 * torch.randn(20, 2, generator=seeded())
    law = scipy.stats.multivariate_t([0, 0], R.numpy(), df=3)
    expected = torch.tensor(law.logpdf(x.numpy()))
    torch.testing.assert_close(source.log_prob(x), expected, rtol=0, atol=1e-9)


def test_gumbel_density_is_the_mixed_difference_of_its_distribution():
    """Catches a wrong exponent, and x + y forgotten: the Jacobian of -log u."""

    def C(u, v):
        return exp(-(((-log(u)) ** THETA + (-log(v)) ** THETA) ** (1 / THETA)))

    h, u, v = 1e-4, 0.3, 0.6
    mixed = C(u + h, v + h) - C(u + h, v - h) - C(u - h, v + h) + C(u - h, v - h)
    density = float(GumbelCopula(THETA).log_density(normal_of(u, v)).exp())
    assert density == pytest.approx(0.8368415, abs=1e-7)
    assert density == pytest.approx(mixed / (4 * h * h), abs=1e-6)


@pytest.mark.parametrize("name", COPULAS)
def test_copulas_have_mass_one(name):
    """Catches a normaliser that depends on the strength."""
    mass = integral(COPULAS[name](), lambda log_c, _: log_c.exp())
    assert mass == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", COPULAS)
def test_copulas_have_uniform_marginals(name):
    """Catches a joint density that is normalised and moves the marginals: E[u] and E[u^2]."""

    def moment(k):
        return lambda log_c, eps: log_c.exp() * torch.special.ndtr(eps[:, 0]).pow(k)

    for k in (1, 2):
        assert integral(COPULAS[name](), moment(k)) == pytest.approx(1 / (k + 1), abs=1e-6)


def test_the_floor_of_the_loss():
    """Catches the mutual information added instead of subtracted, and natural logs mixed up."""
    information = integral(GumbelCopula(THETA), lambda log_c, _: log_c.exp() * log_c)
    assert information == pytest.approx(0.561983, abs=2e-6)
    nu = 2.0
    entropy = (nu + 1) / 2 * (digamma((nu + 1) / 2) - digamma(nu / 2)) + 0.5 * log(nu)
    entropy += lgamma(nu / 2) + lgamma(0.5) - lgamma((nu + 1) / 2)
    assert entropy == pytest.approx(1.960279, abs=1e-6)
    floor = 2 * entropy - information
    assert floor == pytest.approx(3.358575, abs=3e-6)
    target = CopulaSource([StudentMarginal(2.0)] * 2, GumbelCopula(THETA)).double()
    told = -target.log_prob(target.sample(20_000, seeded()))
    assert abs(float(told.mean()) - floor) < 4 * float(told.std()) / 20_000**0.5
    control = CopulaSource([StudentMarginal(2.0)] * 2, GumbelCopula(1.0)).double()
    other = -control.log_prob(target.sample(20_000, seeded()))
    assert abs(float(other.mean()) - floor) > 20 * float(told.std()) / 20_000**0.5


def test_gumbel_draws_have_its_tau_and_its_tail():
    """Catches a stable number of the wrong index: dependence in the middle and far out."""
    eps = GumbelCopula(THETA).draw(20_000, seeded())
    tau = scipy.stats.kendalltau(eps[:, 0].numpy(), eps[:, 1].numpy()).statistic
    assert tau == pytest.approx(1 - 1 / THETA, abs=0.01)
    high = eps > torch.special.ndtri(torch.tensor(0.99))
    shared = float(high.all(1).double().mean() / high[:, 0].double().mean())
    assert shared == pytest.approx(2 - 2 ** (1 / THETA), abs=0.1)
    assert torch.allclose(eps.mean(0), torch.zeros(2), atol=0.03)


@pytest.mark.parametrize("name", COPULAS)
def test_draws_have_normal_marginals(name):
    """Catches a copula whose coordinates are not uniform, in either tail."""
    eps = COPULAS[name]().draw(20_000, seeded(3))
    for column in eps.T:
        assert scipy.stats.kstest(column.numpy(), "norm").pvalue > 0.003


def test_the_extremes_of_a_gaussian_copula_part():
    """Catches a t copula that is a Gaussian one: shared extremes at equal correlation."""

    def shared(copula):
        eps = copula.draw(100_000, seeded(1))
        high = eps > torch.special.ndtri(torch.tensor(0.995))
        return float(high.all(1).double().mean() / 0.005)

    gaussian, student = shared(GaussianCopula(R)), shared(StudentCopula(R, 2.0))
    # In the limit 0 and 2 t_3(-sqrt(3 * 0.3 / 1.7)) = 0.52.
    assert gaussian < 0.3 < 0.45 < student < 0.65


@pytest.mark.parametrize("name", [*COPULAS, "independent"])
def test_sources_draw_what_they_score(name):
    """Catches a sampler of another law: the probability of a far rectangle, both ways."""
    copula = COPULAS[name]() if name in COPULAS else None
    source = CopulaSource([StudentMarginal(2.0), LaplaceMarginal(scale=2.0)], copula).double()
    x = source.sample(40_000, seeded(2))
    inside = (x[:, 0] > 1) & (x[:, 0] < 6) & (x[:, 1] > 1) & (x[:, 1] < 8)
    side = [torch.linspace(a, b, 101)[:-1] + (b - a) / 200 for a, b in ((1, 6), (1, 8))]
    cells = source.log_prob(torch.cartesian_prod(*side)).exp()
    expected = float(cells.sum()) * 35 / 100**2
    error = (expected * (1 - expected) / 40_000) ** 0.5
    assert abs(float(inside.double().mean()) - expected) < 4 * error


def test_an_affine_flow_keeps_the_tail_index():
    """Catches a Hill estimate of another law: an affine map of t_3 keeps index 3, not 5."""
    torch.manual_seed(0)
    source = CopulaSource([StudentMarginal(3.0)] * 2, GaussianCopula(R)).double()
    flow = Flow([LULinear(2).double(), ActNorm(2).double()], 2, source)
    y = flow.sample(200_000, generator=seeded()).norm(dim=1).sort(descending=True).values
    top = y[:401]
    hill = 1.0 / float((top[:-1] / top[-1]).log().mean())
    assert hill == pytest.approx(3.0, abs=0.6)


def test_a_far_point_costs_its_logarithm():
    """Catches a density that underflows where a heavy tail still has one: the outlier cannon."""
    heavy = CopulaSource([StudentMarginal(2.0)] * 2, GaussianCopula(R))
    light = CopulaSource([NormalMarginal()] * 2)
    for source in (heavy, light):
        near, far = -source.log_prob(torch.tensor([[200.0, 200.0], [2000.0, 2000.0]]))
        assert far.isfinite() and near < far
    near, far = -heavy.log_prob(torch.tensor([[200.0, 200.0], [2000.0, 2000.0]]))
    assert float(far - near) < 20.0
    assert float(-light.log_prob(torch.tensor([[200.0, 0.0]]))) == pytest.approx(2e4, rel=1e-3)


@pytest.mark.parametrize("name", [*COPULAS, "independent"])
def test_a_source_serves_its_flow_in_either_precision(name):
    """Catches a copula in float64 that lifts a float32 flow, and one without a gradient."""
    copula = COPULAS[name]() if name in COPULAS else None
    for dtype in (torch.float32, torch.float64):
        flow = maf(2, 2, (8,)).to(dtype)
        flow.source = CopulaSource([StudentMarginal(2.0), NormalMarginal()], copula).to(dtype)
        y = flow.sample(30, generator=seeded())
        assert y.dtype == dtype
        loss = flow.loss(y)
        assert loss.dtype == dtype
        loss.backward()
        assert all(bool(p.grad.isfinite().all()) for p in flow.parameters())


def test_the_log_density_runs_under_vmap():
    """Catches a Python branch on values: ensembles of flows share one source."""
    source = CopulaSource([StudentMarginal(2.0)] * 2, StudentCopula(R, 3.0)).double()
    x = torch.randn(4, 3, 2, generator=seeded())
    together = torch.func.vmap(source.log_prob)(x)
    torch.testing.assert_close(together[2], source.log_prob(x[2]), rtol=0, atol=1e-9)


BAD = {
    "zero scale": (lambda: StudentMarginal(2.0, scale=0.0), ValueError, "scale must be positive"),
    "negative tail": (lambda: StudentMarginal(-1.0), ValueError, "degrees must be positive"),
    "no tail": (lambda: StudentMarginal(float("nan")), ValueError, "degrees must be positive"),
    "no place": (lambda: NormalMarginal(float("inf")), ValueError, "loc must be finite"),
    "flat theta": (lambda: GumbelCopula(0.9), ValueError, "theta must be 1 or more"),
    "flat degrees": (lambda: StudentCopula(R, 0.0), ValueError, "degrees must be positive"),
    "singular": (lambda: GaussianCopula(torch.ones(2, 2)), ValueError, "positive definite"),
    "indefinite": (
        lambda: GaussianCopula(torch.tensor([[1, 0.9, 0], [0.9, 1, 0.9], [0, 0.9, 1.0]])),
        ValueError,
        "positive definite",
    ),
    "covariance": (lambda: GaussianCopula(2 * torch.eye(2)), ValueError, "ones on its diagonal"),
    "lopsided": (
        lambda: GaussianCopula(torch.tensor([[1.0, 0.5], [0.1, 1.0]])),
        ValueError,
        "symmetric",
    ),
    "not square": (lambda: GaussianCopula(torch.ones(2, 3)), ValueError, "square matrix"),
    "no marginal": (lambda: CopulaSource([]), ValueError, "a marginal or more"),
    "too few": (
        lambda: CopulaSource([NormalMarginal()], GaussianCopula(R)),
        ValueError,
        "joins as many marginals",
    ),
    "no marginals": (lambda: CopulaSource([torch.nn.Identity()]), TypeError, "a Marginal"),
    "no copula": (
        lambda: CopulaSource([NormalMarginal()], torch.nn.Identity()),
        TypeError,
        "a Copula",
    ),
    "another width": (
        lambda: CopulaSource([NormalMarginal()] * 2).log_prob(torch.zeros(3, 1)),
        ValueError,
        "must have shape",
    ),
    "no numbers": (
        lambda: CopulaSource([NormalMarginal()]).log_prob(torch.tensor([[float("nan")]])),
        ValueError,
        "finite",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    """Catches a tail or a matrix that runs through to a silent NaN; errors have three parts."""
    make, kind, told = BAD[name]
    with pytest.raises(kind, match=told) as error:
        make()
    assert "got" in str(error.value) and ";" in str(error.value)

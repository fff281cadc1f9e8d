"""Generators against matrix exponentials, sums of positive terms and answers by hand."""

from math import exp

import pytest
import torch

from gentoolkit.jumps.simulate import uniformized
from gentoolkit.processes import AbsorbingRates, DenseRates, OrdinalRates, UniformRates
from gentoolkit.processes.tokens import checked_tokens, draw
from tests.jumps.exact import GENERATORS, LOPSIDED, joint_matrix
from tests.jumps.spaces import every_state

NAMES = pytest.mark.parametrize("name", GENERATORS)
NOISE = torch.tensor([0.0, 1e-6, 0.7, 5.0], dtype=torch.float64)
UNEVEN = DenseRates(
    torch.tensor([[-1.5, 1.0, 0.5, 0.0], [0, -2, 2, 0], [0.25, 0, -0.25, 0], [1, 1, 1, -3]])
)


@NAMES
def test_the_kernel_is_the_exponential_of_the_matrix(name):
    """Catches a wrong closed form, and columns for rows."""
    generator = GENERATORS[name]
    truth = torch.linalg.matrix_exp(NOISE[:, None, None] * generator.matrix())
    torch.testing.assert_close(generator.kernel(NOISE), truth, rtol=0, atol=1e-14)
    assert generator.kernel(NOISE).sum(-1).sub(1).abs().max() < 1e-14


@NAMES
def test_sixty_terms_of_uniformization_are_the_kernel(name):
    """Catches a bell below the exit rates, or a Poisson weight that is off by one."""
    generator = GENERATORS[name]
    kernel = generator.kernel(torch.tensor(0.7))
    torch.testing.assert_close(uniformized(generator, 0.7), kernel, rtol=0, atol=1e-13)
    assert (uniformized(generator, 0.7, 3) - kernel).abs().max() > 1e-4


def test_uniformization_at_its_ends():
    """Catches 0 / 0 where nothing jumps, and a first Poisson weight that underflows to 0."""
    assert torch.equal(uniformized(DenseRates(torch.zeros(2, 2)), 5.0), torch.eye(2))
    assert torch.equal(uniformized(UniformRates(3), 0.0), torch.eye(3))
    far = uniformized(UniformRates(3), 1200.0, 1500)
    torch.testing.assert_close(far, torch.full((3, 3), 1 / 3), rtol=0, atol=1e-12)


@NAMES
def test_independent_tokens_are_a_kronecker_product(name):
    """Catches tokens that do not jump independently of each other."""
    generator = GENERATORS[name]
    one = generator.kernel(torch.tensor(0.7))
    joint = torch.linalg.matrix_exp(0.7 * joint_matrix(generator.matrix(), 2))
    torch.testing.assert_close(torch.kron(one, one), joint, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(), (4, 1), (4, 5), (1, 1), (5,)])
@pytest.mark.parametrize("generator", [*GENERATORS.values(), UNEVEN], ids=[*GENERATORS, "uneven"])
def test_rows_and_columns_are_those_of_the_kernel(generator, shape):
    """Catches rows exchanged for columns, and noise that lands on another row of the batch."""
    x, b = torch.randint(generator.size, (4, 5)), 2.0 * torch.rand(shape)
    rows, columns = generator.rows(x, b), generator.columns(x, b)
    each = b.expand(4, 5)
    for i, j in every_state(4, 2).tolist():
        kernel = torch.linalg.matrix_exp(each[i, j] * generator.matrix())
        torch.testing.assert_close(rows[i, j], kernel[x[i, j]], rtol=0, atol=1e-14)
        torch.testing.assert_close(columns[i, j], kernel[:, x[i, j]], rtol=0, atol=1e-14)
    assert rows.shape == columns.shape == (4, 5, generator.size)


@NAMES
def test_rates_are_read_along_rows_and_into_along_columns(name):
    """Catches a transposed matrix, and a diagonal that is left in."""
    generator = GENERATORS[name]
    q = generator.matrix()
    for x in range(3):
        at = torch.tensor([[x]])
        out, into = (rate[0, 0] for rate in (generator.rates(at), generator.into(at)))
        for y in range(3):
            assert float(out[y]) == (float(q[x, y]) if y != x else 0.0)
            assert float(into[y]) == (float(q[y, x]) if y != x else 0.0)
        assert float(generator.exit(at)) == pytest.approx(float(out.sum()), abs=1e-15)


@NAMES
def test_the_stationary_law_stays_and_attracts(name):
    """Catches a left eigenvector taken for a right one."""
    generator = GENERATORS[name]
    law = generator.stationary()
    assert (law @ generator.matrix()).abs().max() < 1e-14
    far = torch.linalg.matrix_exp(200.0 * generator.matrix())
    torch.testing.assert_close(far, law.expand(3, 3), rtol=0, atol=1e-12)


def test_answers_by_hand():
    """Catches 1/2 in place of 1/C, and the whole mass that leaves for its share of one state."""
    p = UniformRates(3).kernel(torch.tensor(0.7))[0, 1]
    assert float(p) == pytest.approx((1 - exp(-0.7)) / 3) == pytest.approx(0.167805, abs=1e-6)
    masked = AbsorbingRates(4).rows(torch.tensor([[0, 3]]), torch.tensor(0.5))
    truth = torch.tensor([[exp(-0.5), 0, 0, 1 - exp(-0.5)], [0, 0, 0, 1]])
    torch.testing.assert_close(masked[0], truth)
    assert AbsorbingRates(4).mask == 3
    # From the middle of three, the first jump goes either way.
    step = OrdinalRates(3).kernel(torch.tensor(1e-6))[1]
    torch.testing.assert_close(step, torch.tensor([1e-6, 1 - 2e-6, 1e-6]), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@NAMES
def test_dtype_follows_the_noise(name, dtype):
    """Catches tables in torch's default type."""
    torch.set_default_dtype(torch.float64 if dtype == torch.float32 else torch.float32)
    generator, b, x = GENERATORS[name], torch.tensor(0.4, dtype=dtype), torch.tensor([[0, 2]])
    assert generator.kernel(b).dtype == generator.rows(x, b).dtype == dtype
    assert generator.columns(x, b).dtype == generator.rates(x, b).dtype == dtype
    assert generator.stationary(b).dtype == generator.matrix(b).dtype == dtype
    truth = torch.linalg.matrix_exp(0.4 * generator.matrix(torch.empty(0, dtype=torch.float64)))
    assert (generator.kernel(b).double() - truth).abs().max() < 1e-6


def test_drawing_follows_the_weights():
    """Catches a race won by the largest clock, and a token without weight that is drawn."""
    weights = torch.tensor([0.0, 3.0, 1.0, 0.0])
    x = draw(weights.expand(40_000, 4))
    share = float((x == 2).double().mean())
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 40_000) ** 0.5
    assert set(x.tolist()) == {1, 2}


def nudged(i: int, j: int, by: float) -> torch.Tensor:
    q = LOPSIDED.clone()
    q[i, j] += by
    return q


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: DenseRates(nudged(0, 0, 0.1)), ValueError, "sum to 0"),
        (lambda: DenseRates(LOPSIDED.T), ValueError, "rows, not columns"),
        (lambda: DenseRates(nudged(0, 1, -1.0)), ValueError, ">= 0"),
        (lambda: DenseRates(LOPSIDED[:2]), ValueError, "square"),
        (lambda: DenseRates(torch.full((2, 2), torch.nan)), ValueError, "finite"),
        (lambda: DenseRates(torch.zeros(2, 2, dtype=torch.long)), TypeError, "floating"),
        (lambda: DenseRates(torch.zeros(1, 1)), ValueError, "at least 2"),
        (lambda: DenseRates(torch.zeros(2, 2)).stationary(), ValueError, "never meet"),
        (lambda: UniformRates(1), ValueError, "at least 2"),
        (lambda: OrdinalRates(0), ValueError, "at least 1"),
        (lambda: uniformized(UniformRates(3), -0.1), ValueError, ">= 0"),
        (lambda: checked_tokens("x", torch.tensor([[0, 3]]), 3), ValueError, "0..2"),
        (lambda: checked_tokens("x", torch.tensor([[-1, 0]]), 3), ValueError, "0..2"),
        (lambda: checked_tokens("x", torch.zeros(2, 2), 3), TypeError, "int64"),
        (lambda: checked_tokens("x", torch.zeros(0, 2).long(), 3), ValueError, "empty"),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, error, words):
    """Catches rows that leak, negative rates, and tokens out of range."""
    with pytest.raises(error, match=words) as caught:
        wrong()
    assert str(caught.value).count(";") >= 2

"""The laws against torch.distributions and closed forms."""

import pytest
import torch
from torch import distributions as D

from gentoolkit import Bernoulli, Categorical, Gaussian, standard_normal


def test_gaussian_agrees_with_torch():
    """Catches a missing constant, a variance for a deviation, a sum over the batch."""
    mean, std = torch.randn(5, 2, 3), torch.rand(5, 2, 3) + 0.1
    x = torch.randn(5, 2, 3)
    oracle = D.Independent(D.Normal(mean, std), 2)
    law = Gaussian(mean, std)
    torch.testing.assert_close(law.log_prob(x), oracle.log_prob(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(law.entropy(), oracle.entropy(), rtol=0, atol=1e-12)
    kl = D.kl_divergence(oracle, D.Independent(D.Normal(0 * mean, 1 + 0 * std), 2))
    torch.testing.assert_close(law.kl_from_standard(), kl, rtol=0, atol=1e-12)


def test_gaussian_with_one_deviation_for_all():
    """Catches `log std` counted once instead of once per coordinate."""
    mean, x = torch.randn(5, 3), torch.randn(5, 3)
    one = Gaussian(mean, 0.7)
    full = Gaussian(mean, torch.full((5, 3), 0.7))
    last = Gaussian(mean, torch.full((3,), 0.7))
    for law in (one, last):
        torch.testing.assert_close(law.log_prob(x), full.log_prob(x), rtol=0, atol=1e-12)
        torch.testing.assert_close(law.entropy(), full.entropy(), rtol=0, atol=1e-12)
        torch.testing.assert_close(
            law.kl_from_standard(), full.kl_from_standard(), rtol=0, atol=1e-12
        )


def test_gaussian_samples_carry_gradients():
    """Catches a detached sample: the path derivative of E[x^2] is 2 mean and 2 std."""
    mean, std = torch.tensor([[0.5]], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    x = Gaussian(mean, std).sample(200_000)
    gradients = torch.autograd.grad(x.square().mean(), [mean, std])
    assert gradients[0].item() == pytest.approx(1.0, abs=4 * 4.0 / 200_000**0.5)
    assert gradients[1].item() == pytest.approx(4.0, abs=4 * 6.0 / 200_000**0.5)


def test_bernoulli_agrees_with_torch():
    """Catches a sign of the logits and a sum over the batch."""
    logits = 4 * torch.randn(5, 7)
    x = torch.randint(2, (5, 7)).double()
    oracle = D.Independent(D.Bernoulli(logits=logits), 1)
    law = Bernoulli(logits)
    torch.testing.assert_close(law.log_prob(x), oracle.log_prob(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(law.entropy(), oracle.entropy(), rtol=0, atol=1e-12)
    assert Bernoulli(torch.tensor([[800.0]])).log_prob(torch.zeros(1, 1)).item() == -800.0


def test_categorical_agrees_with_torch():
    """Catches a gather along the wrong dimension."""
    logits = torch.randn(5, 3, 4)
    x = torch.randint(4, (5, 3))
    oracle = D.Independent(D.Categorical(logits=logits), 1)
    law = Categorical(logits)
    torch.testing.assert_close(law.log_prob(x), oracle.log_prob(x), rtol=0, atol=1e-12)
    same = Categorical.from_probs(law.probs)
    torch.testing.assert_close(same.log_prob(x), law.log_prob(x), rtol=0, atol=1e-12)
    assert torch.equal(law.one_hot(x).argmax(-1), x)


@pytest.mark.parametrize("n", [1, 40_000])
def test_discrete_samples_have_the_right_frequencies(n):
    """Catches probabilities of the wrong class: compared within 4 standard errors each."""
    law = Categorical(torch.tensor([[0.1, 1.3, -0.5]]))
    x = law.sample(n)
    assert x.shape == (n,)
    coin = Bernoulli(torch.tensor([[0.8, -1.5]])).sample(n)
    if n > 1:
        share = torch.bincount(x, minlength=3) / n
        error = (law.probs[0] * (1 - law.probs[0]) / n).sqrt()
        assert bool(((share - law.probs[0]).abs() < 4 * error).all())
        p = torch.tensor([0.8, -1.5]).sigmoid()
        assert bool(((coin.mean(0) - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all())


def test_a_forbidden_class_is_never_drawn():
    """Catches a mask that leaks, and `0 * -inf = nan` in the score."""
    law = Categorical(torch.tensor([[0.0, -torch.inf, 0.0]]))
    assert not bool((law.sample(1000) == 1).any())
    assert law.log_prob(torch.tensor([1])).item() == -torch.inf


def test_one_row_draws_many_and_many_rows_draw_one_each():
    """Catches n ignored, and one draw repeated n times."""
    x = standard_normal(2).sample(100)
    assert x.shape == (100, 2) and x.unique(dim=0).shape[0] == 100
    assert Gaussian(torch.zeros(3, 2), 1.0).sample().shape == (3, 2)
    assert Gaussian(torch.zeros(3, 2), 1.0).sample(3).shape == (3, 2)
    with pytest.raises(ValueError, match="one sample per row; got n=5"):
        Gaussian(torch.zeros(3, 2), 1.0).sample(5)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Gaussian(torch.zeros(2, 2), -1.0), ValueError, "std must be positive"),
        (lambda: Gaussian(torch.zeros(2, 2), 0.0), ValueError, "std must be positive"),
        (lambda: Gaussian(torch.zeros(2, 2), torch.tensor([1.0, -1.0])), ValueError, "positive"),
        (lambda: Gaussian(torch.zeros(2, 2), torch.tensor([1.0, torch.nan])), ValueError, "std"),
        (lambda: Gaussian(torch.zeros(2, 1), torch.ones(2, 2)), ValueError, "broadcast"),
        (lambda: Gaussian(torch.zeros(2, 2), torch.ones(3)), ValueError, "broadcast"),
        (lambda: Gaussian(torch.zeros(2).long(), 1.0), TypeError, "floating"),
        (lambda: Gaussian(torch.zeros(()), 1.0), ValueError, "batch"),
        (lambda: Gaussian(torch.zeros(2, 2), 1.0).log_prob(torch.zeros(2, 3)), ValueError, "x "),
        (lambda: Gaussian(torch.zeros(2, 2), 1.0).log_prob(torch.zeros(3, 2)), ValueError, "x "),
        (lambda: Bernoulli(torch.zeros(2, 2)).log_prob(0.5 + torch.zeros(2, 2)), ValueError, "0.5"),
        (lambda: Bernoulli(torch.zeros(2, 2).long()), TypeError, "floating"),
        (lambda: Categorical(torch.zeros(3)), ValueError, "C >= 1"),
        (lambda: Categorical(torch.full((1, 3), -torch.inf)), ValueError, "at least one class"),
        (lambda: Categorical(torch.full((1, 3), torch.nan)), ValueError, "NaN"),
        (lambda: Categorical.from_probs(torch.tensor([[0.5, 0.6]])), ValueError, "sum to 1"),
        (lambda: Categorical.from_probs(torch.tensor([[1.5, -0.5]])), ValueError, ">= 0"),
        (lambda: Categorical(torch.zeros(2, 3)).log_prob(torch.tensor([0, 3])), ValueError, "0..2"),
        (lambda: Categorical(torch.zeros(2, 3)).log_prob(torch.zeros(2)), TypeError, "class"),
        (lambda: standard_normal(0), ValueError, "at least 1"),
        (lambda: standard_normal(2).sample(0), ValueError, "at least 1"),
    ],
)
def test_bad_parameters_are_refused(make, error, words):
    """Catches a bad scale, shape or probability that would give a silent wrong number."""
    with pytest.raises(error, match=words):
        make()


def test_certain_coins_have_their_probability():
    """Catches 0 times infinity: p = 0 and p = 1 are logits of -inf and inf."""
    logits = torch.tensor([[-torch.inf, torch.inf, 0.0]]).expand(2, 3)
    x = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    value = Bernoulli(logits).log_prob(x)
    assert float(value[0]) == pytest.approx(-0.6931472, abs=1e-6) and value[1] == -torch.inf
    assert float(Bernoulli(logits).entropy()[0]) == pytest.approx(0.6931472, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounded_probabilities_are_probabilities(dtype):
    """Catches one tolerance for every precision: softmax sums to one within its own rounding."""
    probs = torch.randn(50, 7, dtype=torch.float64).softmax(-1)
    law = Categorical.from_probs(probs.to(dtype))
    assert law.logits.dtype == dtype
    with pytest.raises(ValueError, match="sum to 1"):
        Categorical.from_probs((1.05 * probs).to(dtype))

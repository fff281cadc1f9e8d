"""Steps of steps: composites and reversals, and what they refuse."""

import pytest
import torch

from gentoolkit import Chain, Composite, Frozen, Gaussian, Unsupported, log_z, standard_normal
from tests.laws.examples import Affine, Metropolis, Sinh, linear_gaussian, lopsided


def maps():
    torch.manual_seed(4)
    return [Affine(torch.randn(2, 2), torch.randn(2)), Sinh()]


def test_a_composite_is_its_steps():
    """Catches steps in the wrong order on the way back, and a ratio that is lost."""
    steps = maps()
    apart = Chain(standard_normal(2), steps)
    together = Chain(standard_normal(2), [Composite(steps)])
    x = torch.randn(6, 2)
    torch.testing.assert_close(together.log_prob(x), apart.log_prob(x))
    assert together.pull(x).log_ratio.shape == (1, 6)
    wrong = Chain(standard_normal(2), [Composite(steps[::-1])])
    assert not torch.allclose(wrong.log_prob(x), apart.log_prob(x)), "the control"


def test_a_composite_of_random_steps_keeps_the_weight():
    """Catches a composite whose paths no longer average to Z."""
    target = lopsided()
    steps = [*maps()[1:], Metropolis(target, 0.4)]
    generator = torch.Generator().manual_seed(0)
    paths = [
        Chain(Gaussian(torch.zeros(1, 2), 1.2), made).push(20_000, generator)
        for made in (steps, [Composite(steps)])
    ]
    one, two = (float(log_z(p.log_weight(target))) for p in paths)
    assert abs(one - two) < 0.1 and abs(two - target.log_z) < 0.1


def test_reversed_exchanges_source_and_target():
    """Catches a reversal that forgets the sign, and one that is not undone by another."""
    kernel = linear_gaussian(torch.float64)
    back = reversed(kernel)
    y = torch.randn(5, 3)
    x, ratio = back.push(y, torch.Generator().manual_seed(0))
    again, other = kernel.pull(y, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x, again)
    torch.testing.assert_close(ratio, -other)
    assert reversed(back) is kernel
    x = torch.randn(5, 2)
    there, ratio = reversed(Composite(maps())).push(x)
    home, other = Composite(maps()).push(there)
    torch.testing.assert_close(home, x)
    torch.testing.assert_close(ratio, -other)


def test_what_a_composite_refuses():
    """Catches a density through a random step, and a ratio that needs the states between."""
    inner = Composite([linear_gaussian(torch.float64), Sinh()])
    with pytest.raises(ValueError, match=r"steps\[0\], a FunctionKernel"):
        Chain(standard_normal(2), [inner]).log_prob(torch.randn(4, 3))
    with pytest.raises(Unsupported, match="states between its ends; keep"):
        inner.log_ratio(torch.randn(4, 2), torch.randn(4, 3))
    with pytest.raises(ValueError, match="got none"):
        Composite([])


def test_a_chain_names_the_law_that_failed_inside_it():
    """Catches a check that is off in a chain and whose reason is then lost."""
    from gentoolkit import FunctionKernel

    kernel = FunctionKernel(lambda x: Gaussian(x, x[:, :1] - 1e9), lambda y: Gaussian(y, 1.0))
    with pytest.raises(
        ValueError, match=r"steps\[1\].push, a FunctionKernel.*std must be positive"
    ):
        Chain(standard_normal(2), [Sinh(), kernel]).push(5)


def test_frozen_laws_follow_their_module():
    """Catches a source whose numbers stay in the first precision or on the first device."""
    law = Frozen(Gaussian(torch.ones(1, 2), torch.tensor([[0.5, 2.0]]))).to(torch.float32)
    assert law.sample(4).dtype == torch.float32
    assert {k for k, _ in law.named_buffers()} == {"mean", "std"}
    assert all(b.is_meta for b in law.to("meta").buffers())


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: Composite([s]), reversed])
def test_a_map_without_volume_is_named_however_it_is_wrapped(wrap):
    """Catches an infinite log-determinant that passes for a density of zero."""

    class Flat(Sinh):
        def transform(self, x):
            return x, torch.full((len(x),), -torch.inf)

        inverse = transform

    chain = Chain(standard_normal(2), [wrap(Flat())])
    with pytest.raises(ValueError, match=r"stay finite; got NaN or infinity from steps\[0\]"):
        chain.log_prob(torch.randn(3, 2))

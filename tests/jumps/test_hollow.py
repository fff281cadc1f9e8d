"""Hollow networks: zero where they must not look, and only there."""

import pytest
import torch
from torch.nn.functional import one_hot

from gentoolkit.jumps import (
    HollowMLP,
    HollowTransformer,
    TokenMixer,
    TokenMLP,
    own_jacobian,
)
from tests.flows.truth import perturbed

SIZE, DIMS = 3, 4
HOLLOW = [HollowMLP, HollowTransformer]
SEEING = [TokenMLP, TokenMixer]


def net_of(kind, dims=DIMS):
    """Small, in float64, away from its start."""
    torch.manual_seed(1)
    small = {
        TokenMixer: {"width": 8, "across": 9, "layers": 2},
        HollowTransformer: {"width": 8, "heads": 2},
    }
    return perturbed(kind(SIZE, dims, **small.get(kind, {"hidden": (9, 7)})))


def jacobian(net, x, t):
    """Who reads whom, (D, D), by torch's own Jacobian of the one-hot form."""
    rows = one_hot(x, SIZE).double()
    full = torch.autograd.functional.jacobian(lambda r: net.logits(r, t), rows)
    assert isinstance(full, torch.Tensor)
    own = torch.stack([full[b, :, :, b] for b in range(len(x))])  # (B, D, C, D, C)
    return own.abs().amax((0, 2, 4)), full


@pytest.mark.parametrize("kind", HOLLOW)
@pytest.mark.parametrize("dims", [2, DIMS])
def test_output_reads_every_token_but_its_own(kind, dims):
    """Catches a residual around the mask, an attention off by one, a blind position."""
    net = net_of(kind, dims)
    x, t = torch.randint(SIZE, (3, dims)), torch.rand(3)
    reads, _ = jacobian(net, x, t)
    assert bool((reads.diagonal() == 0.0).all()), "exactly zero, not nearly"
    assert bool((reads[~torch.eye(dims, dtype=torch.bool)] > 1e-8).all())
    assert bool((own_jacobian(net, x, t) == 0.0).all())


@pytest.mark.parametrize("kind", SEEING)
def test_the_probe_sees_a_net_that_looks(kind):
    """The control: on a net that reads all tokens the probe gives torch's Jacobian."""
    net, x, t = net_of(kind), torch.randint(SIZE, (3, DIMS)), torch.rand(3)
    own = own_jacobian(net, x, t)
    _, full = jacobian(net, x, t)
    for b in range(3):
        for d in range(DIMS):
            assert float(own[b, d]) == pytest.approx(float(full[b, d, :, b, d].abs().max()))
    assert float(own.min()) > 1e-4


def test_the_probe_sees_a_broken_mask():
    """The control: a hollow transformer whose streams may look ahead by one."""
    net, x, t = net_of(HollowTransformer), torch.randint(SIZE, (3, DIMS)), torch.rand(3)
    net.up_to[:-1, 1:] |= torch.eye(DIMS - 1, dtype=torch.bool)
    assert float(own_jacobian(net, x, t).max()) > 1e-4


@pytest.mark.parametrize("kind", HOLLOW)
def test_a_changed_token_leaves_its_own_output_to_the_bit(kind):
    """Catches what derivatives miss: statistics over the batch or over positions."""
    net, x, t = net_of(kind), torch.randint(SIZE, (5, DIMS)), torch.rand(5)
    for d in range(DIMS):
        other = x.clone()
        other[:, d] = (other[:, d] + 1) % SIZE
        moved = (net(other, t) - net(x, t)).detach().abs().amax((0, 2))
        assert float(moved[d]) == 0.0
        assert float(moved.sum()) > 1e-4
    assert torch.allclose(net(x[:1], t[:1]), net(x, t)[:1], atol=1e-12), "rows do not mix"


@pytest.mark.parametrize("kind", HOLLOW + SEEING)
def test_nets_know_the_time_and_train_every_parameter(kind):
    """Catches a time that is dropped, and parameters without a use."""
    net, x = net_of(kind), torch.randint(SIZE, (6, DIMS))
    late = net(x, torch.tensor(0.9))
    assert late.shape == (6, DIMS, SIZE)
    assert float((late - net(x, torch.tensor(0.1))).detach().abs().max()) > 1e-4
    assert torch.equal(late, net(x, torch.full((6,), 0.9)))
    late.logsumexp(-1).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name
    single = net.float()(x, torch.rand(6, dtype=torch.float64))
    assert single.dtype == torch.float32


@pytest.mark.parametrize("kind", HOLLOW + SEEING)
def test_states_of_another_kind_are_refused(kind):
    """Catches tokens that a one-hot row would drop or that a net would take for others."""
    net, t = net_of(kind), torch.tensor(0.5)
    with pytest.raises(TypeError, match="int64"):
        net(torch.rand(2, DIMS), t)
    with pytest.raises(ValueError, match="0..2"):
        net(torch.full((2, DIMS), SIZE), t)
    with pytest.raises(ValueError, match=r"\(B, 4\)"):
        net(torch.zeros(2, DIMS + 1, dtype=torch.int64), t)


def test_sizes_that_do_not_fit_are_refused():
    """Catches heads of a broken width, which torch would name by a reshape."""
    with pytest.raises(ValueError, match="multiple of heads"):
        HollowTransformer(3, 2, 10, 4)
    with pytest.raises(ValueError, match="dims"):
        HollowMLP(3, 0)
    with pytest.raises(ValueError, match="hidden"):
        HollowMLP(3, 2, ())

"""The masked network: who sees whom, read off the Jacobian."""

import pytest
import torch

from gentoolkit.core.checks import dead_parameters
from gentoolkit.nets import MADE

ORDERS = [(1, (0,)), (2, (0, 1)), (2, (1, 0)), (5, (0, 1, 2, 3, 4)), (5, (3, 0, 4, 1, 2))]


def trained(net):
    """Move the parameters far from their start."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return net


def sensitivity(net, context=None):
    """Return which output moves with which input at all, (D, outputs, D), over some rows."""
    x = torch.randn(6, net.features)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, context).sum(0), x)
    return jacobian.abs().sum(2)  # (D, outputs, D)


def allowed(order):
    place = [order.index(i) for i in range(len(order))]
    return torch.tensor([[seen < of for seen in place] for of in place])


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("hidden", [(), (8,), (16, 8)])
@pytest.mark.parametrize(("features", "order"), ORDERS)
def test_each_feature_sees_exactly_those_before_it(features, order, hidden, context):
    """Catches a transposed mask, a degree off by one, an order read the wrong way round."""
    net = trained(MADE(features, 3, hidden, context=context, order=order, activation=torch.tanh))
    c = torch.randn(6, context) if context else None
    seen = sensitivity(net, c)
    expected = allowed(order)[:, None, :].expand_as(seen)
    assert (seen[~expected] == 0).all()  # exactly zero, not small
    assert (seen[expected] > 0).all()


def test_the_pattern_test_sees_a_missing_mask():
    """The control: without the mask the pattern must break."""
    net = trained(MADE(3, 1, (8,), activation=torch.tanh))
    net.mask.fill_(1.0)
    assert (sensitivity(net)[~allowed((0, 1, 2))[:, None, :]] > 0).any()


@pytest.mark.parametrize("features", [1, 3])
def test_the_context_reaches_every_output(features):
    """Catches a context that only later features see."""
    net = trained(MADE(features, 2, (8, 8), context=2, activation=torch.tanh))
    x, c = torch.randn(6, features), torch.randn(6, 2)
    jacobian = torch.autograd.functional.jacobian(lambda c: net(x, c).sum(0), c)
    assert (jacobian.abs().sum((2, 3)) > 0).all()


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("hidden", [(), (8,), (16, 8, 12)])
@pytest.mark.parametrize(("features", "order"), ORDERS)
def test_unrolling_meets_the_outputs_of_one_pass(features, order, hidden, context):
    """Catches hidden units computed too early or too late, and values in the wrong column."""
    net = trained(MADE(features, 2, hidden, context=context, order=order))
    c = torch.randn(6, context) if context else None
    met, visited = {}, []

    def visit(feature, outputs):
        visited.append(feature)
        met[feature] = outputs
        return torch.sin(outputs.sum(-1)) + feature

    x = net.unroll(torch.zeros(6, features), visit, c)
    assert tuple(visited) == order
    outputs = net(x, c)
    torch.testing.assert_close(
        outputs, torch.stack([met[i] for i in range(features)], 1), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(x, torch.sin(outputs.sum(-1)) + torch.arange(features))


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("features", [1, 2, 5])
def test_the_gradient_reaches_the_parameters_in_use(features, context):
    """Catches a detached branch; what the mask hides must get no gradient."""
    net = trained(MADE(features, 2, (8, 8), context=context))
    x, c = torch.randn(20, features), torch.randn(20, context) if context else None
    loss = net(x, c).square().sum()
    assert dead_parameters(lambda: loss, net) == []
    (gradient,) = torch.autograd.grad(net(x, c).square().sum(), net.packed)
    assert (gradient[net.mask == 0] == 0).all()


def test_float32_stays_float32():
    """Catches a mask that lifts the dtype."""
    net = MADE(3, 2).float()
    assert net(torch.randn(4, 3, dtype=torch.float32)).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_and_half_precision_unroll_what_a_pass_gives(dtype):
    """Catches a cast that only one of the two ways makes, and a dtype that they cannot join."""
    torch.manual_seed(0)
    net = MADE(4, 2, (16,)).to(dtype)
    x = torch.randn(6, 4).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
        out, seen = net(x), []
        net.unroll(x, lambda k, o: (seen.append(o), x[:, k])[1])
        assert torch.allclose(torch.stack(seen, 1).float(), out.float(), atol=0.02)
    assert torch.allclose(out.double(), net.double()(x.double()), atol=0.05)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MADE(0), "at least 1"),
        (lambda: MADE(3, 0), "at least 1"),
        (lambda: MADE(3, 1, (0,)), "at least 1"),
        (lambda: MADE(5, 1, (3,)), "hidden width must be at least 4.*got 3"),
        (lambda: MADE(5, 1, (4,), context=1), "hidden width must be at least 5.*got 4"),
        (lambda: MADE(3, order=(0, 1)), "each of 0 ... 2 once"),
        (lambda: MADE(3, order=(0, 1, 1)), "each of 0 ... 2 once"),
        (lambda: MADE(3, context=-1), "at least 1"),
        (lambda: MADE(3)(torch.zeros(2, 3), torch.zeros(2, 1)), "takes no context"),
        (lambda: MADE(3, context=2)(torch.zeros(2, 3)), r"shape \(2, 2\).*got None"),
        (lambda: MADE(3, context=2)(torch.zeros(2, 3), torch.zeros(1, 2)), r"shape \(2, 2\)"),
        (lambda: MADE(3)(torch.zeros(5, 4, 3)), r"shape \(B, 3\); got \(5, 4, 3\)"),
        (lambda: MADE(3)(torch.zeros(3)), r"shape \(B, 3\); got \(3,\)"),
        (lambda: MADE(3)(torch.zeros(2, 4)), r"shape \(B, 3\); got \(2, 4\)"),
    ],
)
def test_bad_sizes_are_refused(call, words):
    """Catches widths too small to see the past, and contexts that would broadcast."""
    with pytest.raises(ValueError, match=words):
        call()

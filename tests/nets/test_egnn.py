"""Graph networks of particles: which symmetries hold, and which do not."""

import pytest
import torch

from gentoolkit.nets import EGNN, VectorGNN


def particles(n=3, features=2):
    torch.manual_seed(3)
    return torch.randn(6, 5, n), torch.randn(6, 5, features)


def orthogonal(n, sign):
    """A random rotation (sign 1), or one followed by a mirror (sign -1)."""
    q = torch.linalg.qr(torch.randn(n, n)).Q
    q[:, 0] *= sign * torch.linalg.det(q).sign()
    return q


def nets(n):
    torch.manual_seed(4)
    return EGNN(2, 3, width=8), VectorGNN(n, 2, 3, width=8)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("n", [2, 3])
def test_the_equivariant_net_turns_with_its_input(n, sign):
    """Catches absolute coordinates that leak in, and a cross product that breaks mirrors."""
    (x, h), q = particles(n), orthogonal(n, sign)
    equivariant, plain = nets(n)
    moved, out = equivariant(x, h)
    turned, same = equivariant(x @ q, h)
    torch.testing.assert_close(turned, moved @ q, rtol=0, atol=1e-12)
    torch.testing.assert_close(same, out, rtol=0, atol=1e-12)
    # The control: the plain net notices the rotation.
    moved, _ = plain(x, h)
    assert (plain(x @ q, h)[0] - moved @ q).abs().max() > 1e-2


@pytest.mark.parametrize("which", [0, 1])
def test_shifts_drop_out_and_renumbering_commutes(which):
    """Catches a net that knows the origin, or the number of a particle."""
    (x, h), net = particles(), nets(3)[which]
    moved, out = net(x, h)
    shifted, same = net(x + torch.tensor([1.0, -2.0, 3.0]), h)
    torch.testing.assert_close(shifted - x, moved - x + torch.tensor([1.0, -2.0, 3.0]))
    torch.testing.assert_close(same, out)
    order = torch.tensor([3, 0, 4, 1, 2])
    renumbered, features = net(x[:, order], h[:, order])
    torch.testing.assert_close(renumbered, moved[:, order])
    torch.testing.assert_close(features, out[:, order])


def test_a_particle_sends_itself_no_message():
    """Catches the self pair, d = 0, among the messages: two equal pairs of particles differ then.

    A lone pair hears one message each. The oracle is a loop over the other particles alone.
    """
    x, h = particles()
    net, _ = nets(3)
    messages, pulls, update = net.messages[0], net.pulls[0], net.updates[0]
    hidden = net.lift(h)
    for i in range(5):
        heard, moved = torch.zeros(6, 8), x[:, i].clone()
        for j in set(range(5)) - {i}:
            gap = x[:, i] - x[:, j]
            square = gap.square().sum(1, keepdim=True)
            pair = messages.receiver(hidden[:, i]) + messages.sender(hidden[:, j])
            m = messages.rest(pair + messages.relation(torch.log(1 + square)))
            moved = moved + gap / ((square + 1e-8).sqrt() + 1) * pulls(m)
            heard = heard + update.gate(m) * m
        one = EGNN(2, 3, width=8, layers=1)
        one.load_state_dict(net.state_dict(), strict=False)
        got, out = one(x, h)
        torch.testing.assert_close(got[:, i], moved)
        both = torch.cat([hidden[:, i], heard], -1)
        torch.testing.assert_close(out[:, i], net.read(hidden[:, i] + update.net(both)))


def test_coincident_particles_have_finite_gradients():
    """Catches the root of zero, whose slope is infinite: one NaN would poison a whole batch."""
    x, h = torch.zeros(2, 3, 2, requires_grad=True), torch.zeros(2, 3, 2)
    moved, _ = EGNN(2, width=8)(x, h)
    assert torch.equal(moved, torch.zeros_like(moved)), "no direction, no motion"
    (gradient,) = torch.autograd.grad(moved.sum(), x)
    assert bool(gradient.isfinite().all())


def test_far_particles_move_by_a_bounded_amount():
    """Catches plain differences, whose pull grows with the distance and makes equations stiff."""
    torch.manual_seed(1)
    net, h = EGNN(2, width=8, layers=1), torch.zeros(1, 2, 2)
    near = torch.tensor([[[0.0, 0.0], [1e3, 0.0]]])
    pull = [(net(s * near, h)[0] - s * near).abs().max() for s in (1.0, 1e3)]
    assert pull[1] < 10 * pull[0] < 1e3


def test_bad_shapes_are_refused():
    """Catches one row of features for all particles, which would broadcast."""
    x, h = particles()
    for bad in ((x, h[:, 0]), (x[0], h[0]), (x, h[..., :1])):
        with pytest.raises(ValueError, match="got"):
            EGNN(2)(*bad)
    with pytest.raises(ValueError, match="got 0"):
        EGNN(2, layers=0)

"""The compact U-Net: shapes, conditions, training."""

import pytest
import torch

from gentoolkit.core.checks import dead_parameters, mean_is
from gentoolkit.diffusion import DDPM, Cosine, PredictsVelocity, UNet, drop_context


def test_time_and_class_are_seen_row_by_row():
    """Catches a condition spread over the batch, and a null class that is a real one."""
    net = UNet(1, 8, classes=3)
    x = torch.randn(1, 1, 8, 8).expand(4, 1, 8, 8)
    t = torch.tensor([0.1, 0.1, 0.9, 0.1])
    label = torch.tensor([0, 1, 0, 3])
    out = net(x, t, label)
    assert out.shape == x.shape and net.null == 3
    for i in range(4):
        alone = net(x[i : i + 1], t[i : i + 1], label[i : i + 1])
        assert torch.allclose(out[i], alone[0], atol=1e-12)
    for i in range(1, 4):
        assert float((out[i] - out[0]).detach().abs().max()) > 1e-3
    assert torch.allclose(net(x, torch.tensor(0.1))[0], out[3], atol=1e-12)


def test_patches_become_channels_and_come_back():
    """Catches pixels that come back elsewhere, and an old net whose parameters changed."""
    net, plain = UNet(1, 8, classes=2, patch=2), UNet(4, 8, classes=2)
    plain.load_state_dict(net.state_dict())
    x, t, label = torch.randn(3, 1, 12, 8), torch.rand(3), torch.tensor([0, 1, 2])
    parts = torch.stack([x[:, 0, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
    out = plain(parts, t, label)
    expected = torch.empty_like(x)
    for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        expected[:, 0, i::2, j::2] = out[:, k]
    assert torch.equal(net(x, t, label), expected)
    with pytest.raises(ValueError, match="multiples of 4"):
        net(torch.randn(3, 1, 10, 8), t, label)


def test_gradients_arrive_and_float32_stays():
    """Catches a layer that nothing uses."""
    net = UNet(1, 8, classes=2)
    model = DDPM(net, (1, 8, 8), Cosine(), 10)
    x, label = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    assert dead_parameters(lambda: model.loss(x, context=label), model) == []
    small = UNet(1, 8).float()
    assert small(x.float(), torch.rand(6).float()).dtype == torch.float32


def test_it_learns_two_images():
    """Catches a net that cannot use its class: every sample is the image of its label."""
    torch.manual_seed(0)
    model = DDPM(
        UNet(1, 8, classes=2), (1, 8, 8), Cosine(6, -6), 20, parametrisation=PredictsVelocity()
    ).float()
    stripe = torch.ones(8, 8).float()
    stripe[::2] = -1
    images = torch.stack([stripe, stripe.T])[:, None]
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    label = torch.arange(16) % 2
    losses = []
    for _ in range(100):
        optimiser.zero_grad()
        loss = model.loss(images[label], context=label)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-20:]) / 20 < 0.2 * losses[0]
    with torch.no_grad():
        drawn = model.sample(16, context=label, generator=torch.Generator().manual_seed(1))
    right = (drawn * images[label]).mean((1, 2, 3))
    wrong = (drawn * images[1 - label]).mean((1, 2, 3))
    assert bool((right > 0.5).all()) and bool((wrong < 0.4).all())


def test_dropped_classes_have_their_share():
    """Catches a share of classes kept for one of classes dropped."""
    label = torch.zeros(20_000, dtype=torch.long)
    seen = drop_context(label, 7, 0.2)
    assert set(seen.tolist()) == {0, 7}
    assert mean_is((seen == 7).double(), 0.2)
    assert torch.equal(drop_context(label, 7, 0.0), label)


def test_bad_arguments_say_what_is_wrong():
    """Catches odd sides, other channels, labels without classes and outside them."""
    net, x, t = UNet(1, 8, classes=2), torch.randn(2, 1, 8, 8), torch.rand(2)
    for wrong, words in (
        (lambda: UNet(1, 12), "multiple of 8; got"),
        (lambda: UNet(0), "at least 1; got"),
        (lambda: net(torch.randn(2, 1, 7, 8), t), "even H and W; got"),
        (lambda: net(torch.randn(2, 3, 8, 8), t), "even H and W; got"),
        (lambda: UNet(1, 8)(x, t, torch.tensor([0, 1])), "takes no context; got"),
        (lambda: net(x, t, torch.tensor([0, 3])), r"0\.\.2.*; got"),
        (lambda: net(x, t, torch.tensor([0.0, 1.0])), "int64; got"),
        (lambda: drop_context(torch.zeros(2).long(), 2, 1.5), r"\[0, 1\]; got"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()

"""The shipped weights: found, fitting, and good; and the script that makes them."""

import pytest
import torch
from torch import nn

from gentoolkit.core.checks import dead_parameters
from gentoolkit.data import digits, two_moons
from gentoolkit.diffusion import DDPM, Cosine, PredictsVelocity, UNet
from gentoolkit.flows import ContinuousFlow, Flow, residual_flow
from gentoolkit.numerics import FixedStep, rk4
from gentoolkit.teach import load_weights
from gentoolkit.teach.weights import FOLDER
from tools import train_digits
from tools.train_digits import drawn, made, train, velocity
from tools.train_moons import in_time
from tools.training import Judge, write

NAME = "digits_diffusion"
FILE = FOLDER / f"{NAME}.safetensors"
LABEL = torch.arange(100) % 10


@pytest.fixture(scope="module")
def judge():
    """A classifier of real digits; it sees 98.7 % of the 297 test images as their class."""
    return Judge(digits(binary=False))


def unet(width=24, classes=10):
    return UNet(1, width, classes=classes).float()


def share(judge, net, scale):
    ink = drawn(net, LABEL, scale, 20, torch.Generator().manual_seed(2))
    return judge.share(ink, LABEL)


def test_samples_are_seen_as_their_label(judge):
    """Catches weights of another schedule, output, pixel scale or order of classes.

    Measured at this seed: 0.99 at guidance 1, 1.00 at 2, and 0.10 without the label. The bounds
    lie more than two samples in a hundred below, for machines that round otherwise.
    """
    net = unet()
    about = load_weights(net, NAME)
    assert share(judge, net, 1.0) >= 0.93
    assert share(judge, net, 2.0) >= 0.96
    assert share(judge, net, 0.0) <= 0.3  # no label is asked for: a tenth by chance
    assert about["net"] == "UNet(1, width=24, classes=10)"
    assert about["schedule"] == "Cosine()" and about["reads"] == "PredictsVelocity"


def test_the_judge_refuses_shuffled_weights(judge):
    """The control: the same numbers in another order are no model, and the share shows it."""
    net = unet()
    load_weights(net, NAME)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(p.flatten()[torch.randperm(p.numel(), generator=generator)].view_as(p))
    assert share(judge, net, 2.0) <= 0.4


def test_samples_are_no_copies():
    """Catches a model that learnt the images by heart: samples are as far from them as new ones."""
    data, net = digits(binary=False), unet()
    load_weights(net, NAME)
    ink = drawn(net, LABEL, 1.0, 20, torch.Generator().manual_seed(2))
    train_ink = data.train.float()
    near, fresh = (torch.cdist(v, train_ink).min(1).values for v in (ink, data.test.float()))
    assert float(near.median()) > 0.8 * float(fresh.median())
    copied = train_ink[:100] + 0.02 * torch.randn(100, 64, dtype=torch.float32)
    close = torch.cdist(copied, train_ink).min(1).values
    assert float(close.median()) < 0.3 * float(fresh.median())  # what copies would look like


def test_the_file_is_small_and_of_this_data(tmp_path, monkeypatch):
    """Catches a file that grew, a path of the working folder, and digits that were changed."""
    monkeypatch.chdir(tmp_path)
    assert FILE.stat().st_size <= 400_000
    about = load_weights(unet(), NAME)
    assert about["data"] == made(1, 8, 0, digits(binary=False))["data"]


def test_the_module_keeps_its_dtype_and_its_times_their_digits():
    """Catches a net lowered to half precision, and frequencies of time rounded to it."""
    for net in (unet(), unet().double()):
        before = {k: v.clone() for k, v in net.named_buffers()}
        dtypes = {k: v.dtype for k, v in net.state_dict().items()}
        load_weights(net, NAME)
        assert {k: v.dtype for k, v in net.state_dict().items()} == dtypes
        for name, value in net.named_buffers():
            torch.testing.assert_close(value, before[name], rtol=1e-6, atol=0)
        assert before and all(p.requires_grad for p in net.parameters())


def test_what_does_not_fit_is_refused_and_leaves_the_module():
    """Catches a half-loaded net, and an error that does not say what to build."""
    small = unet(16)
    before = {k: v.clone() for k, v in small.state_dict().items()}
    with pytest.raises(ValueError, match=r"do not fit this UNet; got .*build .*width=24"):
        load_weights(small, NAME)
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    with pytest.raises(ValueError, match=r"got label.weight of shape none where"):
        load_weights(unet(classes=0), NAME)
    with pytest.raises(ValueError, match=f"no such weights; got 'digit'; choose among .*{NAME}"):
        load_weights(unet(), "digit")
    with pytest.raises(TypeError, match="module must be an nn.Module; got str"):
        load_weights(NAME, unet())  # pyright: ignore[reportArgumentType]


def test_the_script_writes_the_same_file_again(tmp_path):
    """Catches a draw past the seed, and a note whose order changes; another seed differs."""
    data, files = digits(binary=False), []
    for i, seed in enumerate((1, 1, 2)):
        torch.manual_seed(seed)
        net = unet(8)
        mean = train(net, data, 3, seed)
        assert any(not torch.equal(a, b) for a, b in zip(*map(_flat, (net, mean)), strict=True))
        path = tmp_path / f"{i}.safetensors"
        write(mean, path, made(3, 8, seed, data))
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]


def _flat(net: nn.Module):
    return list(net.parameters())


def test_what_is_written_is_read(tmp_path, monkeypatch):
    """Catches a writer and a reader that disagree: the parameters to half precision."""
    net, other = unet(8), unet(8)
    write(net, tmp_path / "try.safetensors", {"net": "mine"})
    monkeypatch.setattr("gentoolkit.teach.weights.FOLDER", tmp_path)
    assert load_weights(other, "try") == {"net": "mine"}
    for a, b in zip(_flat(net), _flat(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_the_training_loss_is_that_of_the_velocity():
    """Catches a weight that is off: a net that says 0 pays |signal e - noise x|^2."""

    class Nothing(nn.Module):
        """Says 0."""

        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.zeros(()))

        def forward(self, x, t):
            return self.gain * x

    model = DDPM(Nothing(), (1, 8, 8), Cosine(6, -6), 50, parametrisation=PredictsVelocity())
    x = train_digits.images(torch.rand(7, 64))
    got = model.loss(x, weight=velocity, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    i = torch.randint(50, (7,), generator=generator)
    e = torch.randn(x.shape, generator=generator)
    angle = torch.linspace(0, 1, 50)[i] * (2 * torch.tensor(3.0).exp().atan() - torch.pi / 2)
    angle = (angle + torch.tensor(-3.0).exp().atan())[:, None, None, None]
    expected = (angle.cos() * e - angle.sin() * x).square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(got, expected)
    assert dead_parameters(lambda: model.loss(x, weight=velocity), model) == []


def test_the_flows_on_moons_are_near_the_entropy_and_the_coarse_one_cheats():
    """Catches weights of other sizes or another solver, and a coarse flow that was mended.

    The entropy of the moons is 2.17 nats; no density has a lower loss, a coarse solver can.
    """
    x = two_moons(2000, generator=torch.Generator().manual_seed(3))
    continuous, coarse = (in_time(64, steps).to(x) for steps in (8, 5))
    residual = residual_flow(2, 10, (16, 16), lipschitz=0.9).to(x)
    losses = []
    for name, flow in (("continuous", continuous), ("residual", residual), ("coarse", coarse)):
        load_weights(flow, f"moons_{name}")
        with torch.no_grad():
            losses.append(-float(flow.log_prob(x).mean()))
    assert 2.12 < losses[0] < 2.3 and 2.12 < losses[1] < 2.3
    assert losses[2] < 2.05
    exact = Flow([ContinuousFlow(coarse.layers[0].velocity, None, FixedStep(rk4, 40))], 2)
    with torch.no_grad():
        assert -float(exact.log_prob(x).mean()) > 2.3

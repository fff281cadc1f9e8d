"""Training: the generator, its checks, its checkpoints, and several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.utils.data import DataLoader, TensorDataset

from gentoolkit.checkpoints import load_checkpoint, save_checkpoint
from gentoolkit.flows import Flow, Permute, real_nvp
from gentoolkit.train import Player, ema, fit
from gentoolkit.vi import VAE


class Line(nn.Module):
    """Least squares: the loss has a closed-form optimum and no randomness."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 1)

    def loss(self, batch):
        return (self.net(batch[:, :2])[:, 0] - batch[:, 2]).square().mean()


def data(n=64):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    return torch.cat([x, (x @ torch.tensor([2.0, -1.0]) + 0.5)[:, None]], 1)


def test_fit_reaches_the_least_squares_solution():
    """Catches gradients that pile up from step to step."""
    model, batch = Line(), data()
    records = list(fit(model, [batch] * 800, lr=0.05, progress=False))
    assert [r.step for r in records] == list(range(1, 801))
    torch.testing.assert_close(
        model.net.weight[0].detach(), torch.tensor([2.0, -1.0]), atol=1e-4, rtol=0
    )
    assert model.net.bias.item() == pytest.approx(0.5, abs=1e-4)
    assert records[-1].loss < 1e-6 < records[0].loss


def test_a_record_holds_the_loss_before_the_update_and_the_true_norm():
    """Catches a loss recorded after the step, and a norm recorded after clipping."""
    model, batch = Line(), data()
    loss = model.loss(batch)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    record = next(iter(fit(model, [batch], clip=1e-3, progress=False)))
    assert record.loss == pytest.approx(loss.item(), abs=1e-14)
    assert record.gradient_norm == pytest.approx(norm.item(), abs=1e-12)


def test_clipping_bounds_the_step():
    """Catches a clip that is measured and not applied (plain gradient descent shows it)."""
    model, batch = Line(), data()
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    list(fit(model, [batch], optimizer=sgd, clip=1e-3, progress=False))
    after = nn.utils.parameters_to_vector(model.parameters()).detach()
    assert (after - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_leaving_the_loop_stops_the_training():
    """Catches a training that runs on, or that runs before it is asked."""
    model, seen = Line(), []

    def feed():
        for i in range(100):
            seen.append(i)
            yield data()

    training = fit(model, feed(), progress=False)
    assert seen == []
    for record in training:
        if record.step == 3:
            break
    training.close()
    assert len(seen) == 3


def test_divergence_stops_with_step_and_loss_and_leaves_good_parameters(tmp_path):
    """Catches a NaN that trains on, and a checkpoint overwritten with it."""
    model, path = Line(), tmp_path / "line.safetensors"
    good = data()
    bad = good.clone()
    bad[0, 0] = torch.nan
    batches = [good] * 7 + [bad] + [good]
    with pytest.raises(FloatingPointError, match=r"step 8: loss nan.*before step 7.*lower lr"):
        list(fit(model, batches, checkpoint=path, keep_every=3, progress=False))
    again = Line()
    load_checkpoint(again, path)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b) and bool(torch.isfinite(a).all())


def test_a_model_that_refuses_its_own_parameters_has_diverged():
    """Catches a divergence that a check inside the model meets first: no step, no good model."""
    torch.manual_seed(0)
    model = VAE(6, 2, hidden=(8,))
    x = torch.randint(2, (16, 6)).double()
    with pytest.raises(FloatingPointError, match=r"step \d+: .*the loss before was"):
        list(fit(model, [x] * 200, lr=500.0, keep_every=1, progress=False))
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert bool(torch.isfinite(model.loss(x)))
    with pytest.raises(ValueError, match="zeros and ones"):  # bad data is not divergence
        list(fit(model, [x + 0.5], progress=False))


def test_an_infinite_gradient_is_caught_before_it_spoils_the_model():
    """Catches a finite loss with an infinite gradient: sqrt at zero."""

    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(0.0))

        def loss(self, batch):
            return self.a.sqrt() + batch.sum() * 0

    with pytest.raises(FloatingPointError, match="step 1: loss 0.0, gradient norm inf"):
        list(fit(Root(), [torch.zeros(2)], progress=False))


def test_checkpoint_round_trip_and_mismatch(tmp_path):
    """Catches parameters saved under another name, and a silent partial load."""
    model, path = Line(), tmp_path / "deep" / "line.safetensors"
    save_checkpoint(model, path)
    again = Line()
    load_checkpoint(again, path)
    assert torch.equal(again.net.weight, model.net.weight)
    assert [p.name for p in path.parent.iterdir()] == ["line.safetensors"]
    with pytest.raises(ValueError, match="must fit the model"):
        load_checkpoint(nn.Linear(3, 1), path)


class Slope(nn.Module):
    """A loss with a slope of 4 - w, in a precision where 65,536 times it still fits."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.0))

    def loss(self, batch):
        return -4.0 * self.w + 0.5 * self.w.square() + 0.0 * batch.sum()


def scaled(scale):
    """Two ways to scale a loss: a scaler, and an accelerator that brings one."""
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = GradScaler("cpu", init_scale=scale)
    return {"scaler": GradScaler("cpu", init_scale=scale)}, {"accelerator": accelerator}


@pytest.mark.parametrize("way", [0, 1])
def test_a_scaled_loss_trains_and_is_recorded_as_if_it_were_not(way):
    """Catches clipping, and a norm, that see the scale: w = 2.3e-6 for .15, norm 262,144 for 4."""
    model = Slope()
    sgd = torch.optim.SGD(model.parameters(), lr=0.05)
    given = scaled(65536.0)[way]
    records = list(fit(model, [torch.zeros(2)] * 3, optimizer=sgd, clip=1.0, **given))
    assert model.w.item() == pytest.approx(0.15, rel=1e-5)
    assert [r.gradient_norm for r in records] == pytest.approx([4.0, 3.95, 3.9], rel=1e-5)


class Overflowing(nn.Module):
    """Two gradients that overflow half precision while the scale is above 1,000, or for ever."""

    def __init__(self, hopeless=False):
        super().__init__()
        self.w, self.hopeless = nn.Parameter(torch.tensor(0.0)), hopeless

    def loss(self, batch):
        (wide := self.w + 0.0).register_hook(
            lambda g: torch.full_like(g, torch.inf) if self.hopeless or g.abs() > 4e3 else g
        )
        return -4.0 * wide


@pytest.mark.parametrize("way", [0, 1])
def test_a_step_that_overflows_is_left_out(way):
    """Catches an overflow that a scaler mends called a divergence, and one it cannot mend."""
    model = Overflowing()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    rate = torch.optim.lr_scheduler.StepLR(sgd, 1, 0.5)
    given = scaled(4096.0)[way]
    records = list(
        fit(model, [torch.zeros(2)] * 5, optimizer=sgd, schedule=rate, progress=False, **given)
    )
    # Scales 4096, 2048, 1024 make slopes above 4,000; the rate halves after each step that counts.
    assert [r.gradient_norm for r in records] == [torch.inf] * 3 + [4.0] * 2
    assert model.w.item() == pytest.approx(0.4 + 0.2)
    with pytest.raises(FloatingPointError, match=r"step 14: loss .* gradient norm inf"):
        list(fit(Overflowing(True), [torch.zeros(2)] * 50, progress=False, **scaled(4096.0)[way]))


def test_a_batch_may_bring_its_context():
    """Catches a DataLoader refused for its lists, and a context that never reaches the loss."""
    seen = []

    class Told(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        def loss(self, batch, *, context=None, generator=None):
            seen.append((batch, context, generator))
            return self.w.square() + batch.mean()

    x, c, g = torch.randn(4, 2), torch.randn(4, 3), torch.Generator()
    flow = [x, [x], (x, c), *DataLoader(TensorDataset(x, c), batch_size=4)]
    list(fit(Told(), flow, generator=g, progress=False))
    assert [torch.equal(b, x) for b, _, _ in seen] == [True] * 4
    assert [c is None or c.shape for _, c, _ in seen] == [True, True, (4, 3), (4, 3)]
    assert all(drawn is g for _, _, drawn in seen)
    with pytest.raises(TypeError, match="x and a context; got 3 parts"):
        list(fit(Told(), [(x, c, c)], progress=False))
    list(fit(real_nvp(2), DataLoader(TensorDataset(x), batch_size=2), progress=False))


def test_a_batch_of_named_parts_is_one_x():
    """Catches paths with names for their parts, such as a GFlowNet's, taken for x and a context."""

    class Pair(NamedTuple):
        states: torch.Tensor
        moves: torch.Tensor

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        def loss(self, batch, *, context=None, generator=None):
            assert isinstance(batch, Pair) and context is None
            return self.w * batch.states.mean()

    pair = Pair(torch.ones(2, 3), torch.zeros(2, 3))
    for batch in (pair, [pair], (pair,)):
        (record,) = fit(Named(), [batch], progress=False)
        assert record.gradient_norm == 1.0
    with pytest.raises(TypeError, match="share the rows of tensors; got a Pair"):
        list(fit(Named(), [pair], accelerator=Accelerator(cpu=True), progress=False))


@pytest.mark.parametrize("function", [True, False])
def test_a_schedule_sets_the_rate(function):
    """Catches a schedule that lags by a step, and one that is never moved on."""
    model = Slope()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    rate = (lambda step: 0.1 * 0.5 ** (step - 1)) if function else None
    rate = rate or torch.optim.lr_scheduler.ExponentialLR(sgd, 0.5)
    list(fit(model, [torch.zeros(1)] * 3, optimizer=sgd, schedule=rate, progress=False))
    w = 0.0
    for lr in (0.1, 0.05, 0.025):
        w += lr * (4.0 - w)
    assert model.w.item() == pytest.approx(w, rel=1e-12)


def test_the_average_follows_the_weights():
    """Catches a mean that starts at zero, is a step late, or trains along."""
    model, weights = Slope(), []
    average = ema(model, 0.9)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in fit(model, [torch.zeros(1)] * 4, optimizer=sgd, average=average, progress=False):
        weights.append(model.w.item())
    mean = weights[0]
    for w in weights[1:]:
        mean = 0.9 * mean + 0.1 * w
    assert average.module.w.item() == pytest.approx(mean, rel=1e-12)
    model.load_state_dict(average.module.state_dict())
    assert model.w.item() == pytest.approx(mean, rel=1e-12)
    with pytest.raises(ValueError, match="decay"):
        ema(model, 1.0)


@pytest.mark.parametrize("scaler", [None, GradScaler("cpu", init_scale=256.0)])
def test_players_take_turns(scaler):
    """Catches a player that moves another's weights, out of turn, or on stale values.

    min over a, max over b of a b + (a^2 - b^2) / 2, by hand: b moves at every step, a at every
    second one, after b.
    """
    both = nn.ParameterList([torch.tensor(1.0), torch.tensor(-0.5)])
    a, b = both
    ascent = Player(lambda _: -(a * b - 0.5 * b * b), torch.optim.SGD([b], 0.1))
    descent = Player(lambda _: a * b + 0.5 * a * a, torch.optim.SGD([a], 0.2), every=2)
    batch = torch.zeros(1)
    records = list(fit(both, [batch] * 5, players=[ascent, descent], scaler=scaler, progress=False))
    x, y, losses = 1.0, -0.5, []
    for step in range(1, 6):
        losses.append(-(x * y - 0.5 * y * y))
        y += 0.1 * (x - y)
        if step % 2 == 0:
            descended = x * y + 0.5 * x * x
            x -= 0.2 * (y + x)
    assert a.item() == pytest.approx(x, rel=1e-6) and b.item() == pytest.approx(y, rel=1e-6)
    assert [r.losses[0] for r in records] == pytest.approx(losses, rel=1e-6)
    assert torch.isnan(torch.tensor(records[0].losses[1]))
    assert records[3].loss == records[4].losses[1] == pytest.approx(descended, rel=1e-6)
    for given in ({"loss": lambda b: b.sum()}, {"schedule": lambda step: 0.1}):
        with pytest.raises(ValueError, match="players bring their own"):
            fit(both, [batch], players=[ascent], **given)
    with pytest.raises(ValueError, match="every"):
        Player(ascent.loss, ascent.optimizer, 0)


def test_tied_weights_and_repeated_layers_are_saved(tmp_path):
    """Catches a format that refuses shared memory, noticed at the first checkpoint only."""
    path = tmp_path / "tied.safetensors"
    coupling = real_nvp(2, 1).layers[0]
    model, again = (Flow([c, Permute.reverse(2), c], 2) for c in (coupling, real_nvp(2).layers[0]))
    with torch.no_grad():
        for p in coupling.parameters():
            p.add_(torch.randn_like(p))
    list(fit(model, [torch.randn(8, 2)] * 2, checkpoint=path, progress=False))
    load_checkpoint(again, path)
    x = torch.randn(4, 2)
    assert torch.equal(again.log_prob(x), model.log_prob(x))


def test_a_refused_checkpoint_changes_nothing(tmp_path):
    """Catches the tensors that fitted, already overwritten when the rest is refused."""
    path = tmp_path / "wide.safetensors"
    save_checkpoint(real_nvp(2, 3), path)
    for model in (real_nvp(2, 2), real_nvp(2, 3, hidden=(8, 8))):
        before = {k: v.clone() for k, v in model.state_dict().items()}
        with pytest.raises(ValueError, match="must fit the model"):
            load_checkpoint(model, path)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: fit(m, [data()], lr=0.0), ValueError, "lr must be positive"),
        (lambda m: fit(m, [data()], lr=float("nan")), ValueError, "lr must be positive"),
        (lambda m: fit(m, [data()], clip=-1.0), ValueError, "clip must be positive"),
        (lambda m: fit(m, [data()], keep_every=0), ValueError, "keep_every"),
        (lambda m: fit(m.net, [data()]), TypeError, "method loss"),
        (lambda m: list(fit(m, [], progress=False)), ValueError, "at least one batch"),
        (
            lambda m: list(fit(m, [data()], loss=lambda b: b.sum(1), progress=False)),
            ValueError,
            r"shape \(\)",
        ),
    ],
)
def test_bad_arguments_are_refused(call, error, words):
    """Catches settings that would train silently wrong; most are refused before the first step."""
    with pytest.raises(error, match=words):
        call(Line())


def test_the_bar_can_be_shown(capsys):
    """Catches a progress bar that never appears, or appears when switched off."""
    list(fit(Line(), [data()] * 3, progress=True))
    assert "fit" in capsys.readouterr().err
    list(fit(Line(), [data()] * 3, progress=False))
    assert capsys.readouterr().err == ""


SCRIPT = """
import json, sys, torch
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
from accelerate import Accelerator
from gentoolkit.train import fit
from tests.test_train import Line, data
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
model = Line()
losses = [r.loss for r in fit(model, [data(64)] * 20, lr=0.05, progress=False,
                              accelerator=accelerator, checkpoint=sys.argv[2])]
if accelerator.is_main_process:
    open(sys.argv[1], "w").write(json.dumps(losses))
"""


def test_two_processes_give_the_losses_of_one_with_the_doubled_batch(tmp_path):
    """Catches gradients that are not averaged and slices that overlap.

    Each of the two processes takes 32 of 64 rows; one process takes all 64.
    """
    script = tmp_path / "train_two.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [
            # --multi_gpu is what makes accelerate start processes through torchrun; the script's
            # Accelerator(cpu=True) keeps them on the CPU (--cpu alone would start only one).
            *[sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"],
            *["--num_processes", "2"],
            *["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"],
            *["--main_process_port", "0", str(script), str(tmp_path / "losses.json")],
            str(tmp_path / "two.safetensors"),
        ],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads((tmp_path / "losses.json").read_text())
    torch.manual_seed(0)
    model = Line()
    one = [r.loss for r in fit(model, [data(64)] * 20, lr=0.05, progress=False)]
    assert two == pytest.approx(one, rel=1e-12)
    saved = Line()
    load_checkpoint(saved, tmp_path / "two.safetensors")
    torch.testing.assert_close(saved.net.weight, model.net.weight, rtol=0, atol=1e-12)
    half = Line()
    half.load_state_dict(_first_half_training())
    assert not torch.allclose(half.net.weight, model.net.weight, atol=1e-6)


def _first_half_training():
    """The control: training on one process's slice alone goes elsewhere."""
    torch.manual_seed(0)
    model = Line()
    list(fit(model, [data(64)[:32]] * 20, lr=0.05, progress=False))
    return model.state_dict()

"""Training: the generator, its checks, its checkpoints, and several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gentoolkit.train import fit, load_checkpoint, save_checkpoint
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

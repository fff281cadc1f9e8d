"""What the scripts that train the shipped digits models share: options, a running mean, a judge."""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from gentoolkit.core import validate
from gentoolkit.data import Digits
from gentoolkit.teach.weights import FOLDER
from gentoolkit.train import ema, fit

Net = TypeVar("Net", bound=nn.Module)


def options(
    script: str,
    about: str | None,
    name: str,
    steps: int,
    width: int,
    seed: int,
    arguments: list[str] | None,
) -> argparse.Namespace:
    """Read steps, width, seed and the file to write, and make the run repeatable."""
    parser = argparse.ArgumentParser(prog=f"python -m tools.{script}", description=about)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--width", type=int, default=width)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--out", type=Path, default=FOLDER / f"{name}.safetensors")
    asked = parser.parse_args(arguments)
    validate.positive_count("steps", asked.steps)
    torch.set_num_threads(1)  # the order of sums, and so the file, depends on the threads
    torch.manual_seed(asked.seed)
    return asked


def averaged(
    net: Net,
    batches: Iterable[Tensor],
    loss: Callable[[Tensor], Tensor],
    schedule: LRScheduler,
    decay: float,
    clip: float | None = None,
) -> Net:
    """Train `net` on a loss of batches and return it with the running mean of its weights.

    Arguments:
        net: what is trained.
        batches: what `loss` takes, one a step.
        loss: from a batch to ().
        schedule: of the learning rate; it knows the optimizer.
        decay: of the mean, in one step.
        clip: largest norm of the gradient.
    """
    mean, optimizer = ema(net, decay), schedule.optimizer
    training = fit(
        net, batches, loss=loss, optimizer=optimizer, schedule=schedule, clip=clip, average=mean
    )
    for _ in training:
        pass
    average = mean.module
    assert isinstance(average, type(net))
    return average


def write(net: nn.Module, path: Path, about: dict[str, str]) -> None:
    """Write parameters in half precision, and buffers, whose digits may matter, as they are."""
    parameters = {name for name, _ in net.named_parameters()}
    state = {
        key: (value.half() if key in parameters else value).detach().contiguous()
        for key, value in net.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # One entry: safetensors writes several in an order that changes from run to run.
    save_file(state, str(path), metadata={"about": json.dumps(about)})


class Judge:
    """A classifier of real digits, for samples: is the class seen the one that was asked for?"""

    def __init__(self, data: Digits) -> None:
        self.machine = SVC(gamma="scale", C=10.0)
        self.machine.fit(data.train.numpy(), data.train_labels.numpy())

    def share(self, ink: Tensor, label: Tensor) -> float:
        """Return the share of rows of `ink` (B, 64) that are seen as their `label` (B,)."""
        return float((self.machine.predict(ink.numpy()) == label.numpy()).mean())

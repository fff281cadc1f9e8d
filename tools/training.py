"""What the scripts that train the shipped digits models share: options, a running mean, a judge."""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gentoolkit.core import validate
from gentoolkit.data import Digits
from gentoolkit.teach.weights import FOLDER
from gentoolkit.train import Record

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
    net: Net, training: Iterable[Record], rate: LRScheduler, decay: float
) -> Iterator[Net]:
    """Run a training and yield, after each step, the running mean of the weights of `net`.

    Arguments:
        net: what is trained.
        training: the records of its steps.
        rate: is moved on after each step.
        decay: of the mean, in one step.
    """
    mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay))
    for _ in training:
        rate.step()
        mean.update_parameters(net)
        average = mean.module
        assert isinstance(average, type(net))
        yield average


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

"""Train the masked models of words and of tunes that the lessons load; `make weights` runs it.

A word is five letters; a tune is three bars of eight quavers. In both the mask is one more token.
The same seed on the same machine and version of torch writes the same file.
"""

from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from gentoolkit.data import bars, batches, chorales, words
from gentoolkit.jumps import MaskedDiffusion, TokenMixer, TokenMLP, TokenNet
from gentoolkit.processes import AbsorbingRates, JumpProcess, LogLinearRate
from tools.training import averaged, options, write

SEED, BATCH, DECAY, WEIGHT_DECAY = 0, 128, 0.998, 0.05


@dataclass(frozen=True)
class Task:
    """What is learned.

    Arguments:
        name: of the file.
        net: the net as it is written in code, but for its {width}.
        width: of the net.
        steps: how many batches.
        lr: the highest learning rate.
    """

    name: str
    net: str
    width: int
    steps: int
    lr: float


TASKS = (
    Task("words_masked", "TokenMixer(27, 5, width={width}, across=32, layers=3)", 96, 6000, 3e-3),
    Task("tunes_masked", "TokenMLP(28, 24, ({width}, {width}))", 256, 2000, 2e-3),
)
KINDS = {"TokenMixer": TokenMixer, "TokenMLP": TokenMLP}


def rows(name: str) -> tuple[Tensor, Tensor]:
    """Return rows to learn from and rows to test on, tokens (N, D)."""
    if name == "words_masked":
        found = words()
        return found.train, found.test
    tunes = chorales()
    return bars(tunes.train, 3), bars(tunes.test, 3)


def masked(net: TokenNet) -> MaskedDiffusion:
    """Return the reversal of the masking by a net."""
    process = JumpProcess(AbsorbingRates(net.size), LogLinearRate())
    return MaskedDiffusion(net, process, net.dims)


def train(net: TokenNet, data: Tensor, steps: int, lr: float, seed: int = SEED) -> TokenNet:
    """Train `net` on rows of data (N, D) and return it with the running mean of its weights."""
    generator = torch.Generator().manual_seed(seed)
    model = masked(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=WEIGHT_DECAY)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.1)

    def loss(x: Tensor) -> Tensor:
        return model.loss(x, generator=generator)

    chosen = batches(data, BATCH, steps, generator=generator)
    return averaged(net, chosen, loss, rate, DECAY, clip=20.0)


def bound(net: TokenNet, data: Tensor, repeats: int = 20) -> float:
    """Return the mean bound of -log p over rows of data, in bits a token."""
    model, generator = masked(net), torch.Generator().manual_seed(1)
    with torch.no_grad():
        found = [float(model.loss(data, generator=generator)) for _ in range(repeats)]
    return sum(found) / repeats / data.shape[1] / torch.log(torch.tensor(2.0)).item()


def built(task: Task, width: int) -> tuple[TokenNet, str]:
    """Return the net of a task, untrained, and the code that builds it."""
    written = task.net.format(width=width)
    return eval(written, dict(KINDS)), written


def digest(data: Tensor) -> str:
    """Return a short name of the rows that a net has learned from."""
    return sha256(data.numpy().tobytes()).hexdigest()[:16]


def main(arguments: list[str] | None = None) -> None:
    """Train, write the files, and print how good they are on data that they have not seen."""
    for task in TASKS:
        asked = options(
            "train_filling", __doc__, task.name, task.steps, task.width, SEED, arguments
        )
        data, test = rows(task.name)
        net, written = built(task, asked.width)
        net = train(net, data, asked.steps, task.lr, asked.seed)
        path = asked.out.with_name(f"{task.name}.safetensors")
        about = {
            "net": written,
            "process": f"JumpProcess(AbsorbingRates({net.size}), LogLinearRate())",
            "weights": f"mean with decay {DECAY}",
            "steps": str(asked.steps),
            "batch": str(BATCH),
            "seed": str(asked.seed),
            "data": digest(data),
            "torch": torch.__version__.split("+")[0],
            "script": "python -m tools.train_filling",
        }
        write(net, path, about)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        print(f"training rows: at most {bound(net, data):.3f} bits a token")
        print(f"test rows: at most {bound(net, test):.3f} bits a token", flush=True)


if __name__ == "__main__":
    main()

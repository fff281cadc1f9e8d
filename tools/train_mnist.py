"""Train what the lessons load for digits of 28 x 28 pixels; `make weights` runs it.

First a small classifier, whose features measure samples, then a class-conditional U-Net. The same
seed on the same machine and version of torch writes the same files again. About ten minutes on
one idle core.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from gentoolkit.data import Digits, batches, mnist
from gentoolkit.diffusion import (
    DDPM,
    ClassifierFree,
    Cosine,
    Denoiser,
    DPMSolverPlusPlus2M,
    PredictsVelocity,
    UNet,
    drop_context,
)
from gentoolkit.nets import DigitNet
from gentoolkit.teach.judge import DigitJudge
from gentoolkit.teach.weights import read_weights
from gentoolkit.train import ema, fit
from tools.train_digits import velocity
from tools.training import options, write

NAME, JUDGE = "mnist_diffusion", "mnist_classifier"
WIDTH, PATCH, STEPS, BATCH, LR = 32, 2, 5000, 32, 2e-3
SEED, HIDDEN, DECAY = 0, 0.15, 0.999
SHAPE = (1, 28, 28)
JUDGE_STEPS, JUDGE_BATCH, JUDGE_LR = 1600, 64, 2e-3


def images(ink: Tensor) -> Tensor:
    """Return rows of 784 pixels with ink in [0, 1] as images in [-1, 1], (B, 1, 28, 28)."""
    return 2.0 * ink.reshape(-1, *SHAPE) - 1.0


def shifted(x: Tensor, by: int, generator: torch.Generator) -> Tensor:
    """Return images moved by up to `by` pixels each way, (B, 1, 28, 28); what enters is empty."""
    side = x.shape[-1]
    wide = nn.functional.pad(x, (by, by, by, by))
    rows, columns = torch.randint(2 * by + 1, (2, len(x)), generator=generator)
    return torch.stack(
        [
            image[:, r : r + side, c : c + side]
            for image, r, c in zip(wide, rows.tolist(), columns.tolist(), strict=True)
        ]
    )


def train_judge(data: Digits, steps: int = JUDGE_STEPS, seed: int = SEED) -> DigitNet:
    """Return a classifier of ink in [0, 1], trained on digits moved by up to two pixels."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = DigitNet().float()
    x, label = data.train.float().reshape(-1, *SHAPE), data.train_labels
    optimizer = torch.optim.AdamW(net.parameters(), JUDGE_LR, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def loss(rows: Tensor) -> Tensor:
        seen = shifted(x[rows], 2, generator)
        return nn.functional.cross_entropy(net(seen), label[rows], label_smoothing=0.05)

    chosen = batches(torch.arange(len(x)), JUDGE_BATCH, steps, generator=generator)
    for _ in fit(net, chosen, loss=loss, optimizer=optimizer, schedule=rate, progress=False):
        pass
    return net


def train(
    net: UNet,
    data: Digits,
    steps: int,
    seed: int = SEED,
    every: int = 100,
    keep: Callable[[UNet, int], None] | None = None,
) -> UNet:
    """Train `net` and return it with the running mean of its weights.

    Arguments:
        net: with ten classes.
        data: gray digits.
        steps: how many batches.
        seed: of the batches, times, noises and hidden labels.
        every: steps between two calls of `keep`.
        keep: takes the mean net and the step on the way.
    """
    generator = torch.Generator().manual_seed(seed)
    model = DDPM(net, SHAPE, Cosine(), 1000, parametrisation=PredictsVelocity())
    x, label = images(data.train).to(next(net.parameters())), data.train_labels
    optimizer = torch.optim.Adam(net.parameters(), LR)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    mean = ema(net, DECAY)
    average = mean.module
    assert isinstance(average, UNet)

    def loss(rows: Tensor) -> Tensor:
        seen = drop_context(label[rows], net.classes, HIDDEN, generator)
        return model.loss(x[rows], context=seen, generator=generator, weight=velocity)

    chosen = batches(torch.arange(len(x)), BATCH, steps, generator=generator)
    past = []
    for record in fit(
        net, chosen, loss=loss, optimizer=optimizer, schedule=rate, average=mean, progress=False
    ):
        past.append(record.loss)
        if record.step % every == 0:
            print(f"step {record.step}: loss {sum(past) / len(past):.1f}", flush=True)
            past.clear()
            if keep is not None:
                keep(average, record.step)
    return average


def mark(data: Digits) -> str:
    """Return what tells these training images from others."""
    return sha256(data.train.float().numpy().tobytes()).hexdigest()[:16]


def made(steps: int, width: int, seed: int, data: Digits) -> dict[str, str]:
    """Return what the file of the U-Net says about itself."""
    return {
        "net": f"UNet(1, width={width}, classes=10, patch={PATCH})",
        "reads": "PredictsVelocity",
        "schedule": "Cosine()",
        "pixels": "2 * ink - 1, of shape (1, 28, 28)",
        "weights": f"mean with decay {DECAY}",
        "hidden labels": str(HIDDEN),
        "steps": str(steps),
        "batch": str(BATCH),
        "seed": str(seed),
        "data": mark(data),
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_mnist",
    }


def made_judge(steps: int, seed: int, data: Digits) -> dict[str, str]:
    """Return what the file of the classifier says about itself."""
    return {
        "net": "DigitNet()",
        "pixels": "ink in [0, 1], of shape (1, 28, 28)",
        "steps": str(steps),
        "batch": str(JUDGE_BATCH),
        "seed": str(seed),
        "data": mark(data),
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_mnist",
    }


def drawn(net: UNet, label: Tensor, scale: float, steps: int, generator: torch.Generator) -> Tensor:
    """Return one sample for each label, ink in [0, 1], (B, 784)."""
    like = next(net.parameters())
    noise = torch.randn(len(label), *SHAPE, generator=generator, dtype=torch.float64).to(like)
    guided = ClassifierFree(net, label, net.null, scale)
    denoiser = Denoiser(guided, Cosine(), PredictsVelocity())
    with torch.no_grad():
        x = DPMSolverPlusPlus2M().sample(denoiser, noise, steps)
    return (0.5 * x.flatten(1) + 0.5).clamp(0.0, 1.0)


def main(arguments: list[str] | None = None) -> None:
    """Train, write both files, and print how good they are."""
    asked = options("train_mnist", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    data = mnist()
    beside = asked.out.with_name(f"{JUDGE}.safetensors")
    write(train_judge(data, seed=asked.seed), beside, made_judge(JUDGE_STEPS, asked.seed, data))
    judge = DigitJudge(beside)
    print(f"{beside}: {beside.stat().st_size / 1000:.0f} kB")
    print(f"test images seen as their class: {judge.share(data.test, data.test_labels):.3f}")
    print(f"Frechet distance of 500 test images: {judge.distance(data.test[:500]):.2f}")

    def keep(mean: UNet, step: int) -> None:
        write(mean, asked.out, made(step, asked.width, asked.seed, data))

    torch.manual_seed(asked.seed)
    net = UNet(1, asked.width, classes=10, patch=PATCH).float()
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    train(net, data, asked.steps, asked.seed, keep=keep)
    report(asked.out, asked.width, judge)


def report(path: Path, width: int, judge: DigitJudge) -> None:
    """Print size and quality of the file of a U-Net."""
    net = UNet(1, width, classes=10, patch=PATCH).float()
    read_weights(net, path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    label = torch.arange(500) % 10
    for scale in (0.0, 1.0, 2.0, 4.0):
        ink = drawn(net, label, scale, 25, torch.Generator().manual_seed(1))
        share, varied = judge.share(ink, label), judge.variety(ink, label)
        print(f"guidance {scale:g}: seen as their label {share:.3f}", end=", ")
        print(f"variety {varied:.2f}, Frechet distance {judge.distance(ink):.2f}")


if __name__ == "__main__":
    main()

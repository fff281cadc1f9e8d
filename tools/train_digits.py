"""Train the class-conditional digits model that the lessons load; `make weights` runs it.

The same seed on the same machine and version of torch writes the same file again.
"""

from hashlib import sha256

import torch
from torch import Tensor

from gentoolkit.data import Digits, batches, digits
from gentoolkit.diffusion import (
    DDPM,
    ClassifierFree,
    Coefficients,
    Cosine,
    Denoiser,
    DPMSolverPlusPlus2M,
    PredictsVelocity,
    UNet,
    drop_context,
)
from tools.training import Judge, averaged, options, write

NAME = "digits_diffusion"
WIDTH, STEPS, BATCH, LR = 24, 6500, 128, 2e-3
SEED, HIDDEN, DECAY = 0, 0.15, 0.999


def images(ink: Tensor) -> Tensor:
    """Return rows of 64 pixels with ink in [0, 1] as images in [-1, 1], (B, 1, 8, 8)."""
    return 2.0 * ink.reshape(-1, 1, 8, 8) - 1.0


def velocity(c: Coefficients) -> Tensor:
    """Weigh the error of the noise so that it becomes that of the velocity, (T,)."""
    return c.signal.square().reciprocal()


def train(net: UNet, data: Digits, steps: int, seed: int = SEED) -> UNet:
    """Train `net` and return it with the running mean of its weights.

    Arguments:
        net: with ten classes.
        data: gray digits.
        steps: how many batches.
        seed: of the batches, times, noises and hidden labels.
    """
    generator = torch.Generator().manual_seed(seed)
    model = DDPM(net, (1, 8, 8), Cosine(), 1000, parametrisation=PredictsVelocity())
    x, label = images(data.train).to(next(net.parameters())), data.train_labels
    optimizer = torch.optim.Adam(net.parameters(), LR)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def loss(rows: Tensor) -> Tensor:
        seen = drop_context(label[rows], net.classes, HIDDEN, generator)
        return model.loss(x[rows], context=seen, generator=generator, weight=velocity)

    chosen = batches(torch.arange(len(x)), BATCH, steps, generator=generator)
    return averaged(net, chosen, loss, rate, DECAY)


def made(steps: int, width: int, seed: int, data: Digits) -> dict[str, str]:
    """Return what the file says about itself."""
    return {
        "net": f"UNet(1, width={width}, classes=10)",
        "reads": "PredictsVelocity",  # as the shipped file has it
        "schedule": "Cosine()",
        "pixels": "2 * ink - 1, of shape (1, 8, 8)",
        "weights": f"mean with decay {DECAY}",
        "hidden labels": str(HIDDEN),
        "steps": str(steps),
        "batch": str(BATCH),
        "seed": str(seed),
        "data": sha256(data.train.float().numpy().tobytes()).hexdigest()[:16],
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_digits",
    }


def drawn(net: UNet, label: Tensor, scale: float, steps: int, generator: torch.Generator) -> Tensor:
    """Return one sample for each label, ink in [0, 1], (B, 64)."""
    like = next(net.parameters())
    noise = torch.randn(len(label), 1, 8, 8, generator=generator, dtype=torch.float64).to(like)
    guided = ClassifierFree(net, label, net.null, scale)
    denoiser = Denoiser(guided, Cosine(), PredictsVelocity())
    images = DPMSolverPlusPlus2M().sample(denoiser, noise, steps)
    return (0.5 * images.flatten(1) + 0.5).clamp(0.0, 1.0)


def main(arguments: list[str] | None = None) -> None:
    """Train, write the file, and print how often samples are seen as what was asked for."""
    asked = options("train_digits", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    data = digits(binary=False)
    net = train(UNet(1, asked.width, classes=10), data, asked.steps, asked.seed)
    write(net, asked.out, made(asked.steps, asked.width, asked.seed, data))
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")
    judge = Judge(data)
    print(f"test images seen as their class: {judge.share(data.test, data.test_labels):.3f}")
    label = torch.arange(500) % 10
    for scale in (0.0, 1.0, 2.0, 4.0):
        ink = drawn(net, label, scale, 25, torch.Generator().manual_seed(1))
        print(f"guidance {scale:g}: samples seen as their label: {judge.share(ink, label):.3f}")


if __name__ == "__main__":
    main()

"""Train the masked-token model of digits that the lessons load; `make weights` runs it.

A digit is 64 tokens of 16 levels of ink and one more token, its class: so a class is asked for by
giving that token. The same seed on the same machine and version of torch writes the same file.
"""

from hashlib import sha256

import torch
from torch import Tensor

from gentoolkit.data import Digits, batches, digits
from gentoolkit.jumps import MaskedDiffusion, TokenMixer
from gentoolkit.processes import AbsorbingRates, JumpProcess, LogLinearRate
from tools.training import Judge, averaged, options, write

NAME = "digits_tokens"
LEVELS, DIMS = 16, 65
WIDTH, STEPS, BATCH, LR = 32, 3000, 128, 3e-3
SEED, GIVEN, DECAY = 0, 0.7, 0.998


def tokens(ink: Tensor, label: Tensor) -> Tensor:
    """Return pixels with ink in [0, 1] (B, 64) and their classes (B,) as tokens, (B, 65)."""
    return torch.cat([((LEVELS - 1) * ink).round().long(), label[:, None]], 1)


def ink(tokens: Tensor) -> Tensor:
    """Return the ink in [0, 1] of tokens (B, 65), (B, 64)."""
    return tokens[:, :-1] / (LEVELS - 1)


def net(width: int = WIDTH) -> TokenMixer:
    """Return the net, untrained."""
    return TokenMixer(LEVELS + 1, DIMS, width)


def model(told: TokenMixer) -> MaskedDiffusion:
    """Return the reversal of the masking by a net."""
    return MaskedDiffusion(told, JumpProcess(AbsorbingRates(LEVELS + 1), LogLinearRate()), DIMS)


def train(told: TokenMixer, data: Digits, steps: int, seed: int = SEED) -> TokenMixer:
    """Train `told` and return it with the running mean of its weights.

    Arguments:
        told: the net.
        data: gray digits.
        steps: how many batches.
        seed: of the batches, the masks and the given classes.
    """
    generator = torch.Generator().manual_seed(seed)
    x, masked = tokens(data.train, data.train_labels), model(told)
    optimizer = torch.optim.Adam(told.parameters(), LR)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps, pct_start=0.05)

    def loss(rows: Tensor) -> Tensor:
        known = torch.zeros(len(rows), DIMS, dtype=torch.bool)
        known[:, -1] = torch.rand(len(rows), generator=generator) < GIVEN
        context = torch.where(known, x[rows], LEVELS)
        return masked.loss(x[rows], context=context, generator=generator)

    chosen = batches(torch.arange(len(x)), BATCH, steps, generator=generator)
    return averaged(told, chosen, loss, rate, DECAY, clip=20.0)


def made(steps: int, width: int, seed: int, data: Digits) -> dict[str, str]:
    """Return what the file says about itself."""
    return {
        "net": f"TokenMixer({LEVELS + 1}, {DIMS}, width={width})",
        "process": f"JumpProcess(AbsorbingRates({LEVELS + 1}), LogLinearRate())",
        "tokens": "(15 * ink).round() of 64 pixels, then the class",
        "weights": f"mean with decay {DECAY}",
        "given classes": str(GIVEN),
        "steps": str(steps),
        "batch": str(BATCH),
        "seed": str(seed),
        "data": sha256(data.train.float().numpy().tobytes()).hexdigest()[:16],
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_tokens",
    }


def drawn(masked: MaskedDiffusion, label: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Return one digit for each class asked for, ink in [0, 1], (B, 64)."""
    context = torch.full((len(label), DIMS), LEVELS)
    context[:, -1] = label  # a token that is known stays
    return ink(masked.sample(len(label), context=context, steps=steps, generator=generator))


def bound(masked: MaskedDiffusion, x: Tensor, repeats: int, generator: torch.Generator) -> float:
    """Return the mean bound of -log p(pixels | class) over data `x`, in nats an image."""
    context = torch.where(torch.arange(DIMS) == DIMS - 1, x, LEVELS)
    with torch.no_grad():
        told = [masked.loss(x, context=context, generator=generator) for _ in range(repeats)]
    return float(torch.stack(told).mean())


def main(arguments: list[str] | None = None) -> None:
    """Train, write the file, and print how good it is on data that it has not seen."""
    asked = options("train_tokens", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    data = digits(binary=False)
    told = train(net(asked.width), data, asked.steps, asked.seed)
    write(told, asked.out, made(asked.steps, asked.width, asked.seed, data))
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")
    masked, generator = model(told), torch.Generator().manual_seed(1)
    for name, x, label in (
        ("training", data.train, data.train_labels), ("test", data.test, data.test_labels)
    ):  # fmt: skip
        nats = bound(masked, tokens(x, label), 10, generator)
        print(f"{name}: at most {nats:.1f} nats an image, given its class")
    judge, label = Judge(data), torch.arange(500) % 10
    print(f"test images seen as their class: {judge.share(data.test, data.test_labels):.3f}")
    for steps in (16, 64):
        seen = judge.share(drawn(masked, label, steps, generator), label)
        print(f"{steps} steps: samples seen as the class that was asked for: {seen:.3f}")


if __name__ == "__main__":
    main()

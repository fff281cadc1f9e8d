"""Train the autoencoder of 28 x 28 digits that the lessons load; `make weights` runs it.

The same seed on the same machine and version of torch writes the same file again.
"""

from hashlib import sha256

import torch
from torch import Tensor

from gentoolkit.data import Digits, batches, mnist
from gentoolkit.vi import VAE
from tools.training import averaged, options, write

NAME = "mnist_vae"
LATENT, WIDTH, STEPS, BATCH, LR = 16, 200, 6000, 64, 1e-3
SEED, DECAY = 0, 0.999


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by up to one pixel either way: 4,000 digits are few."""
    images = torch.nn.functional.pad(x.reshape(-1, 28, 28), (1, 1, 1, 1))
    down, right = torch.randint(3, (2, len(x), 1), generator=generator)
    rows, columns = down + torch.arange(28), right + torch.arange(28)
    image = torch.arange(len(x))[:, None, None]
    return images[image, rows[:, :, None], columns[:, None]].flatten(1)


def train(model: VAE, data: Digits, steps: int, seed: int = SEED) -> VAE:
    """Train `model` and return it with the running mean of its weights.

    Arguments:
        model: of 784 black and white pixels.
        data: such digits.
        steps: how many batches.
        seed: of the batches, the shifts and the draws of z.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), LR)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def loss(x: Tensor) -> Tensor:
        return model.loss(shifted(x, generator), generator=generator)

    chosen = batches(data.train, BATCH, steps, generator=generator)
    return averaged(model, chosen, loss, rate, DECAY)


def made(steps: int, width: int, seed: int, data: Digits) -> dict[str, str]:
    """Return what the file says about itself."""
    return {
        "net": f"VAE(784, {LATENT}, hidden=({width},))",
        "pixels": "1 where the ink is at least half, 28 x 28 in a row",
        "shifts": "by up to one pixel while training",
        "weights": f"mean with decay {DECAY}",
        "steps": str(steps),
        "batch": str(BATCH),
        "seed": str(seed),
        "data": sha256(data.train.float().numpy().tobytes()).hexdigest()[:16],
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_vae",
    }


def main(arguments: list[str] | None = None) -> None:
    """Train, write the file, and print the bounds on images to learn from and to test on."""
    asked = options("train_vae", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    data = mnist(binary=True)
    model = train(VAE(784, LATENT, hidden=(asked.width,)), data, asked.steps, asked.seed)
    write(model, asked.out, made(asked.steps, asked.width, asked.seed, data))
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")
    with torch.no_grad():
        for name, x in (("train", data.train[:1000]), ("test", data.test)):
            bound, tight = model.elbo(x).mean(), model.iwae(x, 50).mean()
            print(f"{name}: ELBO {bound:.2f}, importance-weighted with 50 {tight:.2f} nats")


if __name__ == "__main__":
    main()

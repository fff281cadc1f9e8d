"""Train the tree over quadrants of digits that lesson 10 loads; `make weights` runs it.

The same seed on the same machine and version of torch writes the same file again.
"""

from hashlib import sha256

import torch
from torch import Tensor

from gentoolkit.data import batches, digits
from gentoolkit.flows import FlowTree, flow_tree
from tools.training import averaged, options, write

NAME = "digits_tree"
WIDTH, STEPS, BATCH, LR, HIDE = 48, 1000, 100, 5e-3, 0.25
SEED, DECAY = 0, 0.99
FLAT = (None, 0, 0, 0, 0)


def quadrants(x: Tensor) -> Tensor:
    """Cut 8 x 8 digits (N, 64) of ink in [0, 1] into quadrants, (N, 4, 16), of about unit scale."""
    return (x.reshape(-1, 2, 4, 2, 4).transpose(2, 3).reshape(-1, 4, 16) - 0.3) / 0.38


def train(tree: FlowTree, x: Tensor, steps: int, seed: int = SEED) -> FlowTree:
    """Train on digits (N, 64) with fresh noise of one level of ink, and return the running mean."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(tree.parameters(), LR)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def loss(x: Tensor) -> Tensor:
        ink = (16 * x + torch.rand(x.shape, generator=generator)) / 17
        return tree.loss(quadrants(ink), generator=generator)

    chosen = batches(x, BATCH, steps, generator=generator)
    return averaged(tree, chosen, loss, rate, DECAY, clip=20.0)


def made(steps: int, width: int, seed: int, x: Tensor) -> dict[str, str]:
    """Return what the file says about itself."""
    return {
        "net": f"flow_tree({list(FLAT)}, 16, 4, ({width},), hide={HIDE})",
        "pixels": "(ink - 0.3) / 0.38 of 8 x 8 digits with noise of one level, by quadrants",
        "weights": f"mean with decay {DECAY}",
        "steps": str(steps),
        "batch": str(BATCH),
        "seed": str(seed),
        "data": sha256(x.float().numpy().tobytes()).hexdigest()[:16],
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_tree",
    }


def main(arguments: list[str] | None = None) -> None:
    """Train, write the file, and print bounds and the error of a hidden quadrant."""
    asked = options("train_tree", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    data = digits(binary=False)
    tree = flow_tree(FLAT, 16, 4, (asked.width,), hide=HIDE)
    tree = train(tree, data.train, asked.steps, asked.seed)
    write(tree, asked.out, made(asked.steps, asked.width, asked.seed, data.train))
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB")
    with torch.no_grad():
        for name, x in (("train", quadrants(data.train)), ("test", quadrants(data.test))):
            errors = []
            for k in range(4):
                seen = torch.arange(4) != k
                errors.append(float((tree.impute(x, seen) - x)[:, k].square().mean()))
            print(f"{name}: ELBO {tree.elbo(x).mean():.2f}, errors {errors}")


if __name__ == "__main__":
    main()

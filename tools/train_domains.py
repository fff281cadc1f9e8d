"""Train the translators that lesson 11 loads; `make weights` runs it.

In the plane: two flows for three blobs and their bent copies, by five mixtures of likelihood and
critics, and CycleGAN. On digits: scikit-learn's and MNIST's, both of 8 x 8 pixels, by AlignFlow
and by CycleGAN, with what a classifier of one collection gains on the other. The same seed on the
same machine and version of torch writes the same files.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.svm import SVC
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gentoolkit.adversarial import Critic, CycleGAN, DomainCritics, cycle_loss, domain_critics
from gentoolkit.data import batches, bent, blobs, digits, small_mnist
from gentoolkit.flows import AffineCoupling, AlignFlow, Unpaired, align_flow
from gentoolkit.train import Player, fit
from tools.training import options, write

NAME, DIGITS = "two_domains", "two_collections"
STEPS, DIGIT_STEPS, ROWS, BATCH, RATE, BETAS = 500, 300, 400, 128, 1e-3, (0.5, 0.99)
LAMBDAS = (0.0, 0.03, 0.1, 0.3)
CYCLE, SEED, SEEDS = 10.0, 0, 3
WIDTH, COUPLINGS, BLUR, DIGIT_LAMBDA = 64, 8, 0.3, 0.03


@dataclass(frozen=True)
class Arm:
    """One training: a pair of translators, and what counts beside the critics.

    Arguments:
        make: builds the pair at its start.
        fool: weight of what the critics say.
        beside: weight of minus the log-likelihood, or of the cycle loss.
    """

    make: Callable[[], AlignFlow | CycleGAN]
    fool: float = 1.0
    beside: float = 0.0


class Game(nn.Module):
    """A pair of translators and its two critics, as one module that can be stacked."""

    def __init__(self, pair: AlignFlow | CycleGAN, critics: DomainCritics) -> None:
        super().__init__()
        self.pair, self.critics = pair, critics

    def forward(self, a: Tensor, b: Tensor, turn: str) -> Tensor:
        """Return one part of the losses for rows of both domains, shape ()."""
        batch = Unpaired(a, b)
        if turn == "critics":
            return self.critics.loss(self.pair, batch)
        if turn == "fool":
            return self.critics.fool(self.pair, batch)
        return (
            self.pair.loss(batch)
            if isinstance(self.pair, AlignFlow)
            else cycle_loss(self.pair, batch)
        )


class Race(nn.Module):
    """Trainings of one architecture that run side by side: each has its own data and weights.

    One step of all costs little more than a step of one. Nothing is shared: the sum of the losses
    has each training's own gradient, and Adam acts on each number alone.

    Arguments:
        arms: what differs.
        seeds: of the first weights, one for each arm.
        critics: builds two critics.
    """

    def __init__(
        self, arms: Sequence[Arm], seeds: Sequence[int], critics: Callable[[], DomainCritics]
    ) -> None:
        super().__init__()
        games = []
        for arm, seed in zip(arms, seeds, strict=True):
            torch.manual_seed(seed)
            games.append(Game(arm.make(), critics()))
        self.games = games  # a list: their parameters are not trained, but copies of them
        stacked, buffers = stack_module_state(games)
        self.names = list(stacked)
        self.weights = nn.ParameterList(stacked.values())
        self.fixed = {name: value[0] for name, value in buffers.items()}
        self.fool = torch.tensor([arm.fool for arm in arms])
        self.beside = torch.tensor([arm.beside for arm in arms])

    def parts(self, batch: Unpaired, turn: str) -> Tensor:
        """Return one part of the losses of each training, (arms,); rows are (arms, N, D)."""

        def one(weights: dict[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
            return functional_call(self.games[0], (weights, self.fixed), (a, b, turn))

        weights = dict(zip(self.names, self.weights, strict=True))
        return vmap(one, randomness="different")(weights, *batch)

    def _generators(self, batch: Unpaired) -> Tensor:
        total = (self.fool * self.parts(batch, "fool")).sum() if self.fool.any() else 0.0
        if self.beside.any():
            total = total + (self.beside * self.parts(batch, "beside")).sum()
        return torch.as_tensor(total)

    def players(self) -> list[Player]:
        """Return the critics, if anybody listens to them, and the translators."""

        def adam(part: str) -> torch.optim.Optimizer:
            ours = [w for n, w in zip(self.names, self.weights, strict=True) if n.startswith(part)]
            return torch.optim.Adam(ours, RATE, BETAS, fused=True)

        critics = Player(lambda batch: self.parts(batch, "critics").sum(), adam("critics"))
        pair = Player(self._generators, adam("pair"))
        return [critics, pair] if self.fool.any() else [pair]

    def pairs(self) -> list[AlignFlow | CycleGAN]:
        """Return the translators with the weights that they have now."""
        with torch.no_grad():
            for k, game in enumerate(self.games):
                own = dict(game.named_parameters())
                for name, weight in zip(self.names, self.weights, strict=True):
                    own[name].copy_(weight[k])
        return [game.pair for game in self.games]


def plane_data(seed: int, rows: int, steps: int) -> Iterator[Unpaired]:
    """Yield unpaired batches of the blobs and of the bent blobs, drawn from one seed."""
    generator = Generator().manual_seed(seed)
    a = blobs(rows, generator=generator).x
    b = bent(blobs(rows, generator=generator).x)
    size = min(BATCH, rows)
    both = (batches(x, size, steps, generator=generator) for x in (a, b))
    yield from map(Unpaired._make, zip(*both, strict=True))


def side_by_side(streams: Sequence[Iterator[Unpaired]]) -> Iterator[Unpaired]:
    """Stack the batches of several streams, (arms, N, D)."""
    for rows in zip(*streams, strict=True):
        yield Unpaired(*(torch.stack(part) for part in zip(*rows, strict=True)))


def flows() -> AlignFlow:
    """Return the two flows of the plane, untrained."""
    return align_flow(2)


def plane() -> nn.ModuleDict:
    """Return everything that the first file holds, untrained: four hybrids, MLE, CycleGAN."""
    pairs = {f"hybrid {k}": flows().translation for k in range(len(LAMBDAS))}
    return nn.ModuleDict({**pairs, "likelihood": flows().translation, "cycle": CycleGAN(2)})


def train_plane(steps: int, seed: int) -> nn.ModuleDict:
    """Train all translators of the plane on one draw of the two domains."""
    kinds = [Arm(flows, 1.0, weight) for weight in LAMBDAS] + [Arm(flows, 0.0, 1.0)]
    names = [name for name in plane() if name != "cycle"]
    trained: dict[str, nn.Module] = {}
    for arms in (kinds, [Arm(lambda: CycleGAN(2), 1.0, CYCLE)]):
        race = Race(arms, [seed] * len(arms), lambda: domain_critics(2))
        data = side_by_side([plane_data(seed, ROWS, steps) for _ in arms])
        for _ in fit(race, data, players=race.players()):
            pass
        for name, pair in zip(names if len(arms) > 1 else ["cycle"], race.pairs(), strict=True):
            trained[name] = pair.translation if isinstance(pair, AlignFlow) else pair
    return nn.ModuleDict(trained)


def digit_flows(width: int = WIDTH) -> AlignFlow:
    """Return the two flows of digits, untrained: chequered and halved masks in turn."""
    board = torch.arange(64).reshape(8, 8)
    dark = (torch.arange(8)[:, None] + torch.arange(8)) % 2 == 0
    masks = [board[dark].tolist(), board[~dark].tolist(), list(range(32)), list(range(32, 64))]

    def stack() -> list[AffineCoupling]:
        return [AffineCoupling(64, masks[t % 4], (width,), largest=1.0) for t in range(COUPLINGS)]

    return AlignFlow(stack(), stack(), 64)


def digit_cycle() -> CycleGAN:
    """Return CycleGAN for digits, untrained."""
    return CycleGAN(64, (128, 128))


def both(width: int = WIDTH) -> nn.ModuleDict:
    """Return everything that the second file holds, untrained."""
    return nn.ModuleDict({"flows": digit_flows(width).translation, "cycle": digit_cycle()})


class Blurred(nn.Module):
    """A critic that sees its rows under noise, so that it cannot learn 1,500 of them by heart."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = Critic(64, (128, 128))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs at noisy rows, (N,)."""
        return self.critic(x + BLUR * torch.randn_like(x))


def centred(ink: Tensor) -> Tensor:
    """Return ink k / 16 at the middle of its level, scaled to [-1, 1]."""
    return 2 * (16 * ink + 0.5) / 17 - 1


def digit_data(seed: int, steps: int) -> Iterator[Unpaired]:
    """Yield unpaired batches of both collections, each level spread evenly over its width."""
    a, b, generator = digits(binary=False).train, small_mnist().train, Generator().manual_seed(seed)

    def noisy(ink: Tensor) -> Tensor:
        return 2 * (16 * ink + torch.rand(ink.shape, generator=generator)) / 17 - 1

    shuffled = (batches(x, BATCH, steps, generator=generator) for x in (a, b))
    for rows in zip(*shuffled, strict=True):
        yield Unpaired(*map(noisy, rows))


def train_digits(arm: Arm, steps: int, seeds: Sequence[int]) -> list[AlignFlow | CycleGAN]:
    """Train translators between the two collections from each seed; no label is seen."""
    race = Race([arm] * len(seeds), seeds, lambda: DomainCritics(Blurred(), Blurred()))
    torch.manual_seed(seeds[0])
    data = side_by_side([digit_data(seed, steps) for seed in seeds])
    for _ in fit(race, data, players=race.players()):
        pass
    return race.pairs()


def accuracy(learn: Tensor, label: Tensor, test: Tensor, truth: Tensor) -> float:
    """Return the share of `test` that a classifier of `learn` gets right."""
    machine = SVC(gamma="scale", C=10.0).fit(learn.numpy(), label.numpy())
    return float((machine.predict(test.numpy()) == truth.numpy()).mean())


@torch.no_grad()
def adapted(pair: AlignFlow | CycleGAN) -> list[float]:
    """Return the accuracies on MNIST and on scikit-learn's digits.

    Each classifier saw the other collection's training digits, translated, with their labels.
    """
    ours, other = digits(binary=False), small_mnist()
    a, b = centred(ours.train), centred(other.train)[:1500]
    to_b = accuracy(pair.to_b(a), ours.train_labels, centred(other.test), other.test_labels)
    to_a = accuracy(pair.to_a(b), other.train_labels[:1500], centred(ours.test), ours.test_labels)
    return [round(to_b, 3), round(to_a, 3)]


def main(arguments: list[str] | None = None) -> None:
    """Train, write the files, and print what the classifiers gain."""
    asked = options("train_domains", __doc__, NAME, STEPS, WIDTH, SEED, arguments)
    about = {
        "steps": str(asked.steps),
        "batch": str(BATCH),
        "seed": str(asked.seed),
        "torch": torch.__version__.split("+")[0],
        "script": "python -m tools.train_domains",
    }
    weights = ", ".join(map(str, LAMBDAS))
    made = {"flows": "align_flow(2)", "data": f"blobs({ROWS}) and bent(blobs({ROWS}))"}
    write(train_plane(asked.steps, asked.seed), asked.out, about | made | {"lambdas": weights})
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} kB", flush=True)
    steps, seeds = min(DIGIT_STEPS, asked.steps), range(asked.seed, asked.seed + SEEDS)
    path = Path(asked.out).with_name(f"{DIGITS}.safetensors")
    arms = {
        "flows": Arm(lambda: digit_flows(asked.width), 1.0, DIGIT_LAMBDA / 64),
        "cycle": Arm(digit_cycle, 1.0, CYCLE),
    }
    first, seen = {}, {}
    for name, arm in arms.items():
        pairs = train_digits(arm, steps, seeds)
        seen[name] = [adapted(pair) for pair in pairs]
        first[name] = pairs[0].translation if isinstance(pairs[0], AlignFlow) else pairs[0]
        print(f"{name}, seeds {list(seeds)}: {seen[name]}", flush=True)
    made = {"lambda": f"{DIGIT_LAMBDA} a pixel", "accuracies": json.dumps(seen)}
    write(nn.ModuleDict(first), path, about | made | {"steps": str(steps)})
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

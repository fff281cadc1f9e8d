"""Lesson 00: the weight of a path, the Jacobian inside it, and how many paths there are."""

import math
from itertools import permutations, product

import torch
from torch import Tensor
from torch.distributions import Normal

from gentoolkit.teach.exercise import Exercise, Like, Open


def log_weight_of_a_flow() -> float:
    """Work out log w of x = 2z + 1 by hand."""
    # log target(x) = -log 2 - z**2 / 2 - c     because (x - 1) / 2 = z
    # log source(z) =         - z**2 / 2 - c
    # log_ratio     = log|dx/dz| = log 2
    # log w = log target(x) - log source(z) + log_ratio = -log 2 + log 2
    return 0.0


def _mass_ratio() -> float:
    """Densities as masses of a short interval: no Jacobian is ever written down."""
    z = torch.tensor([0.699, 0.701])
    wanted, pushed = Normal(1.0, 2.0).cdf(2 * z + 1).diff(), Normal(0.0, 1.0).cdf(z).diff()
    return float((wanted / pushed).log())


ex00_1 = Exercise(
    log_weight_of_a_flow,
    "log w = log target(x) - log source(z) + log_ratio; the first two depend on z.",
    "For a bijection log_ratio is the log of the absolute slope dx/dz.",
    "Put x = 2z + 1 into log target(x): which terms of the two normal densities cancel?",
    why="The target's deviation 2 costs -log 2, and the slope 2 gives it back. A weight that "
    "is the same on every path means that the push samples the target exactly.",
    oracle=_mass_ratio,
    right="log w = 0 for every z: this flow reaches its target exactly, and Z = 1.",
    wrong={
        -math.log(2): "That is -log 2: the log-Jacobian of x = 2z + 1 is missing.",
        -2 * math.log(2): "That is -2 log 2: the log-Jacobian has the wrong sign.",
        math.log(2): "That is log 2: N(1, 4) has variance 4, so its density holds 1/2.",
    },
    otherwise="Write log target(x), log source(z) and log_ratio in z; the squares cancel.",
)


ORDERS = list(permutations(range(4)))  # in which four tokens can go

ex00_2 = Exercise(
    "1, math.factorial(4)",
    "A path of the pull is an order in which the tokens are removed.",
    "Built left to right, the token put last is the only one that can be taken away.",
    "By slots: write the number of choices of each removal, and multiply them.",
    why="Left to right, each string has one parent: the states form a tree and every "
    "log pull is 0. By slots, every order is a path, and the pull spreads its probability.",
    oracle=lambda: (ORDERS.count((3, 2, 1, 0)), len(ORDERS)),
    parts="left to right, by random slots",
    right="1 path with pull probability 1, against 24 paths with pull probability 1/24 each.",
    wrong={
        Like((24, 24), lambda pair: pair[0] != 1): "Which tokens may the pull remove from a string "
        "that was built left to right?",
        (1, 16): "16 counts the states, the subsets of filled slots; a path is an order.",
        (1, 4): "4 counts the first removal only; three more removals follow.",
    },
    otherwise="By random slots, how many choices has each removal in turn?",
)


def log_weight(log_source: Tensor, log_ratios: Tensor, log_target: Tensor) -> Tensor:
    """Weigh a batch of paths: (B,), (T, B), (B,) -> (B,)."""
    return log_target - log_source + log_ratios.sum(dim=0)


# Two moves over three states: all 27 paths, and their probabilities multiplied out.
PATHS = list(product(range(3), repeat=3))


def _tables() -> list[Tensor]:
    torch.manual_seed(3)
    shapes = (3,), (2, 3, 3), (2, 3, 3)
    return [*(torch.randn(shape).softmax(-1) for shape in shapes), torch.rand(3) + 0.1]


def _paths() -> list[tuple]:
    source, push, pull, target = _tables()
    a, b, c = torch.tensor(PATHS).T
    ratios = torch.stack([pull[0, b, a] / push[0, a, b], pull[1, c, b] / push[1, b, c]])
    return [(source[a].log(), ratios.log(), target[c].log())]


def _multiplied() -> tuple[Tensor, Tensor]:
    """Give each path's probability under the push, and its weight, in plain products."""
    source, push, pull, target = (table.tolist() for table in _tables())
    made = [source[a] * push[0][a][b] * push[1][b][c] for a, b, c in PATHS]
    unmade = [target[c] * pull[1][c][b] * pull[0][b][a] for a, b, c in PATHS]
    return torch.tensor(made), torch.tensor(unmade) / torch.tensor(made)


def _mean_weight(log_w: Tensor) -> str:
    made, weights = _multiplied()
    mean, z = made @ log_w.exp(), made @ weights
    return f"over all 27 paths E[w] = {mean:.3f}, should be Z = {z:.3f}: "


ex00_3 = Exercise(
    log_weight,
    "The log_weight is what the target asks for minus what the push gives.",
    "log_evidence = log_source minus the sum of the log_ratios over the steps.",
    "Sum the log_ratios over their first dimension; then only plus and minus are left.",
    why="log_ratio is log pull - log push of one step. Adding it for every step turns "
    "log target - log source into the weight of the whole path.",
    cases=_paths,
    oracle=lambda *_: _multiplied()[1].log(),
    atol=1e-5,
    right="over all 27 paths E[w] = Z, by enumeration.",
    start=_mean_weight,
    wrong={
        "- log_source ->": "log source is missing.",
        (lambda *path: -log_weight(*path)): "the whole is upside down, log of 1 / w.",
        "+ log -> - log": "the log_ratios have the wrong sign; they are log pull - log push.",
        "sum( -> mean(": "the log_ratios are averaged over the steps; a path adds them up.",
        "- log -> + log": "log source is added; what the push gives is subtracted.",
        "return log_target -> return": "log target is missing.",
    },
    otherwise="is every log_ratio counted once, and summed over steps (T) only?",
)


ex00_4 = Open(
    "Which of the numbers estimates a quantity that is the same for every chain?",
    "E[w] = Z holds for any number of moves. The ELBO and the ESS depend on how far the pair is "
    "from perfect.",
    "Give each move less to do: then push and pull nearly agree on it, and log w is nearly "
    "constant.",
    answer="More moves bring the annealed densities closer together, so each move has less to "
    "repair and log w varies less. With seeds 2, 3 and 4 and 2,000 paths, 30 moves give an ELBO of "
    "about -3.0 and an ESS near 700; 99 moves -0.4 and 1,140; 300 moves +0.3 and 1,490. The ELBO "
    "rises towards log Z = 0.698 and the ESS towards 2,000. The estimate of log Z may move only "
    "within its error: it was 0.67 to 0.73 with 30 moves and 0.70 to 0.71 with 300. The range must "
    "change together with the divisor: if you keep 99 moves and divide by 31, the share of the "
    "target runs past 1, the last densities are sharper than the target, and the extra moves "
    "spoil the weights.",
)

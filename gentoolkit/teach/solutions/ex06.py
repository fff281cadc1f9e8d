"""Lesson 06: the inverse of a spline, a coupling's determinant, masks, and passes of the net."""

from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_number,
    as_tensor,
    close,
    not_yet,
    passed,
)

SCALES = ((0.3, -0.5), (1.1, 0.4))
SHIFTS = ((2.0, 7.0), (0.0, -1.0))
FEATURES, LAYERS = 8, 5


def spline_inverse(y: Tensor, left: Tensor, low: Tensor, slopes: Tensor) -> Tensor:
    """Invert a rational-quadratic spline: y (N,), its K + 1 knots, heights and slopes -> (N,)."""
    inside = (y > low[0]) & (y < low[-1])
    k = (torch.searchsorted(low, y, right=True) - 1).clamp(0, len(low) - 2)  # the bin of each y
    width, height = left[k + 1] - left[k], low[k + 1] - low[k]
    s, d, e, up = height / width, slopes[k], slopes[k + 1], y - low[k]
    a = up * (d + e - 2 * s) + height * (s - d)
    b = height * d - up * (d + e - 2 * s)
    c = -s * up
    t = 2 * c / (-b - (b * b - 4 * a * c).clamp(min=0.0).sqrt())
    return torch.where(inside, left[k] + t * width, y)


def _variant(root: float = -1.0, tails: bool = True, swap: bool = False) -> Callable[..., Tensor]:
    def invert(y: Tensor, left: Tensor, low: Tensor, slopes: Tensor) -> Tensor:
        k = (torch.searchsorted(low, y, right=True) - 1).clamp(0, len(low) - 2)
        width, height, up = left[k + 1] - left[k], low[k + 1] - low[k], y - low[k]
        s = height / width
        d, e = (slopes[k + 1], slopes[k]) if swap else (slopes[k], slopes[k + 1])
        a = up * (d + e - 2 * s) + height * (s - d)
        b = height * d - up * (d + e - 2 * s)
        root_of = (b * b + 4 * a * s * up).clamp(min=0.0).sqrt()
        x = torch.nan_to_num(left[k] - 2 * s * up / (-b + root * root_of) * width, 0.0, 1e6, -1e6)
        return torch.where((y > low[0]) & (y < low[-1]), x, y) if tails else x

    return invert


def _spline(x: float, left: list[float], low: list[float], slopes: list[float]) -> float:
    """Evaluate the spline at one point, in plain Python."""
    if not left[0] < x < left[-1]:
        return x
    k = max(i for i in range(len(left) - 1) if left[i] <= x)
    width, height = left[k + 1] - left[k], low[k + 1] - low[k]
    s, t = height / width, (x - left[k]) / width
    down = s + (slopes[k + 1] + slopes[k] - 2 * s) * t * (1 - t)
    return low[k] + height * (s * t * t + slopes[k] * t * (1 - t)) / down


def _judge_spline(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(6)

    def knots() -> Tensor:
        steps = 0.2 + torch.rand(6, generator=generator, dtype=torch.float64)
        return torch.cat([torch.zeros(1).double(), 6.0 * (steps / steps.sum()).cumsum(0)]) - 3.0

    left, low = knots(), knots()
    slopes = 0.3 + 2.0 * torch.rand(7, generator=generator, dtype=torch.float64)
    slopes[0] = slopes[-1] = 1.0
    left[-1] = low[-1] = 3.0
    inner = 5.98 * torch.rand(1000, generator=generator, dtype=torch.float64) - 2.99
    outer = torch.tensor([-50.0, -3.2, 3.7, 900.0], dtype=torch.float64)
    x = torch.cat([inner, left, outer])
    table = left.tolist(), low.tolist(), slopes.tolist()
    y = torch.tensor([_spline(p, *table) for p in x.tolist()], dtype=torch.float64)
    given = as_tensor(answer(y, left, low, slopes), (len(x),))
    off = (given - x).abs()
    within, beyond = off[:1000], off[-4:]
    if float(off.max()) < 1e-9:
        return passed("1000 points inside, the seven knots and four points outside all come back.")
    if float(within.max()) > 1e-9:
        worst = int(within.argmax())
        here, back = float(x[worst]), float(given[worst])
        start = f"x = {here:.3f} comes back as {back:.3f}: "
        if not float(left[0]) - 1e-9 <= back <= float(left[-1]) + 1e-9:
            return not_yet(start + "outside the box: the other root, or a bin looked up in left?")
        return not_yet(start + "is it the inverse, with each slope at its own end of the bin?")
    if float(beyond.max()) > 1e-9:
        return not_yet("inside all is right; outside the box the map must be the identity.")
    return not_yet("all is right but a knot: which bin do you choose there?")


def coupling_log_det() -> float:
    """Add up the log-scales of both layers; the shifts move no volume."""
    return sum(s for layer in SCALES for s in layer)


def _judge_coupling(answer: object) -> Verdict:
    # Nets of any slope that give just these numbers at this point: only the values count.
    point = torch.tensor([0.4, -1.2, 0.7, 2.0], dtype=torch.float64)

    def layer(x: Tensor, kept: slice, moved: slice, at: Tensor, k: int) -> Tensor:
        bend = torch.sin(3.0 * (x[kept] - at[kept])).sum()
        scale = torch.tensor(SCALES[k], dtype=torch.float64) + bend
        shift = torch.tensor(SHIFTS[k], dtype=torch.float64) - 5.0 * bend
        changed = x[moved] * scale.exp() + shift
        return torch.cat([x[kept], changed] if kept.start is None else [changed, x[kept]])

    front, rear = slice(None, 2), slice(2, None)
    middle = layer(point, front, rear, point, 0)

    def both(x: Tensor) -> Tensor:
        return layer(layer(x, front, rear, point, 0), rear, front, middle, 1)

    jacobian = torch.autograd.functional.jacobian(both, point)
    assert isinstance(jacobian, Tensor)
    truth = float(torch.linalg.slogdet(jacobian).logabsdet)
    scales = [s for part in SCALES for s in part]
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"log|det| = {truth:.1f}: slogdet of the Jacobian agrees, however steep the nets.",
        wrong={
            -truth: "That is the log-determinant of the inverse, from data to source.",
            sum(scales) + sum(t for part in SHIFTS for t in part): "You add the shifts; a shift "
            "moves a point and changes no volume.",
            float(torch.tensor(scales).exp().sum()): "You add exp(s): the diagonal holds exp(s), "
            "and the log of a product is the sum of the logs.",
            sum(SCALES[1]): "One layer is missing: log-determinants add up along the chain.",
        },
        otherwise="Write the Jacobian of one layer in blocks: which entries are on its diagonal?",
    )


def made_masks(features: int, hidden: int) -> tuple[Tensor, Tensor]:
    """Mask a net of one hidden layer: (hidden, features) and (features, hidden) of 0 and 1."""
    degree_in = torch.arange(1, features + 1)
    degree = 1 + torch.arange(hidden) % (features - 1)  # 1 .. features - 1, again and again
    first = degree[:, None] >= degree_in[None, :]
    second = degree_in[:, None] > degree[None, :]  # strict: no output sees its own input
    return first.double(), second.double()


def _compared_by(test: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., object]:
    def masks(features: int, hidden: int) -> tuple[Tensor, Tensor]:
        inputs, degree = torch.arange(features), torch.arange(hidden) % features
        return test(degree[:, None], inputs).double(), test(inputs[:, None], degree).double()

    return masks


def _unmasked(features: int, hidden: int) -> tuple[Tensor, Tensor]:
    return torch.ones(hidden, features), torch.ones(features, hidden)


def _judge_masks(answer: Callable[..., object]) -> Verdict:
    for features, hidden in ((2, 3), (3, 8), (5, 16)):
        pair = answer(features, hidden)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            return not_yet("two masks are asked for: return first, second.")
        first = as_tensor(pair[0], (hidden, features))
        second = as_tensor(pair[1], (features, hidden))
        if not bool(((first == 0) | (first == 1)).all() & ((second == 0) | (second == 1)).all()):
            return not_yet("a mask holds zeros and ones only.")
        # Follow every path input -> unit -> output.
        reads = [
            [any(first[h, j] * second[i, h] > 0 for h in range(hidden)) for j in range(features)]
            for i in range(features)
        ]
        ahead = [(i, j) for i in range(features) for j in range(i + 1, features) if reads[i][j]]
        itself = [i for i in range(features) if reads[i][i]]
        lost = [(i, j) for i in range(features) for j in range(i) if not reads[i][j]]
        start = f"for D = {features}, output "
        if ahead:
            return not_yet(start + f"{ahead[0][0]} reads input {ahead[0][1]}, a later one.")
        if itself:
            return not_yet(start + f"{itself[0]} reads input {itself[0]}, itself.")
        if lost:
            start += f"{lost[0][0]} never reads input {lost[0][1]}: some dependence is lost. "
            return not_yet(start + "Be strict in one of the masks only, and use all degrees.")
    return passed("each output reads all earlier inputs and no other, for D = 2, 3 and 5.")


def passes() -> tuple[int, int]:
    """Count passes to score one batch, and to draw one."""
    return LAYERS, LAYERS * FEATURES


def _judge_passes(answer: object) -> Verdict:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return not_yet("two numbers are asked for: (to score, to draw).")
    score, draw = as_number(answer[0]), as_number(answer[1])
    # Run both ways, feature by feature: one pass settles what its inputs allow.
    counted = 0
    for _ in range(LAYERS):
        for _ in range(FEATURES):  # the next one has all its inputs, and no later one has
            counted += 1
    if (score, draw) == (LAYERS, counted):
        return passed(f"{LAYERS} to score, {counted} to draw: who is asked decides the layer.")
    if (score, draw) == (counted, LAYERS):
        return not_yet("the wrong way round: that is an IAF, whose net reads the source side.")
    if (score, draw) == (1, FEATURES):
        return not_yet("those are the passes of one layer; the flow has several.")
    if score == draw == LAYERS:
        return not_yet("to draw, feature i needs the features before it: they are not there yet.")
    right = "one is right; " * (score == LAYERS or draw == counted)
    return not_yet(f"{right}how many features does a pass settle in a layer, each way?")


EXERCISES = (
    Exercise(
        name="ex06_1",
        ask="Write spline_inverse(y, left, low, slopes) for a rational-quadratic spline with K + 1 "
        "knots at left (x) and low (y), and the slope at each knot. y has shape (N,); outside of "
        "the first and last knot the map is the identity. It returns x, (N,).",
        judge=_judge_spline,
        hints=(
            "First find the bin: torch.searchsorted in low, clamped so that the last knot has one.",
            "In a bin y = low + h (s t**2 + d t (1 - t)) / (s + (d + e - 2 s) t (1 - t)). "
            "Multiply out: a t**2 + b t + c = 0.",
            "Of the two roots, 2 c / (-b - sqrt(b**2 - 4 a c)) lies in [0, 1] and is safe at a = "
            "0. torch.where puts back what lies outside.",
        ),
        solution=spline_inverse,
        why="The spline is monotone, so exactly one root lies in the bin. Written as 2c over a sum "
        "of terms with one sign, it loses no digits where the quadratic is nearly linear.",
        wrong=(
            (_variant(root=1.0), "other root"),
            (_variant(tails=False), "must be the identity"),
            (_variant(swap=True), "its own end"),
        ),
        code=True,
    ),
    Exercise(
        name="ex06_2",
        ask="Two affine couplings on four numbers, y = x exp(s) + t on the moved half. At some x "
        f"the first net gives s = {SCALES[0]}, t = {SHIFTS[0]}; then, with the halves exchanged, "
        f"the second gives s = {SCALES[1]}, t = {SHIFTS[1]}. What is log|det dy/dx|?",
        judge=_judge_coupling,
        hints=(
            "The Jacobian of one coupling is triangular in blocks: the net's slopes are off the "
            "diagonal.",
            "The diagonal of a coupling holds ones and exp(s).",
            "The log of a product is a sum, over the moved coordinates and over the layers.",
        ),
        solution=coupling_log_det,
        why="The nets' slopes stay off the diagonal: the determinant is one sum, for any nets.",
        wrong=(
            (-1.3, "of the inverse"),
            (9.3, "add the shifts"),
            (6.4524, "the diagonal holds exp(s)"),
            (1.5, "One layer is missing"),
        ),
    ),
    Exercise(
        name="ex06_3",
        ask="Write made_masks(features, hidden) for a net with one hidden layer: two masks of 0 "
        "and 1, (hidden, features) and (features, hidden), such that output i depends on all "
        "inputs before i and on no other.",
        judge=_judge_masks,
        hints=(
            "Give each hidden unit a degree m: it may read the first m inputs.",
            "Output i may read only units whose degree leaves out input i.",
            "Of the two comparisons one is strict, and the degrees run over 1 to features - 1.",
        ),
        solution=made_masks,
        why="A path j -> m -> i exists if j <= m < i: j < i. Strict twice loses neighbours.",
        wrong=(
            (_compared_by(torch.ge), "itself"),
            (_compared_by(torch.gt), "some dependence is lost"),
            (_unmasked, "a later one"),
        ),
        code=True,
    ),
    Exercise(
        name="ex06_4",
        ask=f"A masked autoregressive flow has {LAYERS} layers on {FEATURES} features; its nets "
        "read the data side. How many passes of a net are needed to score a batch, and to draw "
        "one? Answer (score, draw).",
        judge=_judge_passes,
        hints=(
            "To score, the whole of the data side is known. To draw, none of it is.",
            "One pass of a net gives the numbers of every feature, right only for those whose "
            "inputs are already there.",
            "Count the passes of one layer each way, then multiply by the layers.",
        ),
        solution=passes,
        why="Scoring reads known data, one pass a layer; drawing settles one feature a pass. "
        "Turned round (IAF) the bill is turned round: the Jacobian's zeros decide who pays.",
        wrong=(
            ((40, 5), "that is an IAF"),
            ((1, 8), "of one layer"),
            ((5, 5), "not there yet"),
        ),
    ),
)

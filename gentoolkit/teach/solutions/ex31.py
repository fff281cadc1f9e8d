"""Lesson 31: the price of a wrong source, the pull that fits, the dial, and single paths."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Verdict, as_number, as_tensor, not_yet, passed


def price(v: float) -> float:
    """Return KL(N(0, v) || N(0, 1)) in nats, v a variance."""
    return 0.5 * (v - 1.0 - math.log(v))


def _turned(v: float) -> float:
    return 0.5 * (1.0 / v - 1.0 + math.log(v))


def _whole(v: float) -> float:
    return v - 1.0 - math.log(v)


def _unnormalised(v: float) -> float:
    return 0.5 * (v - 1.0)


def _deviation(v: float) -> float:
    return 0.5 * (v**2 - 1.0 - 2.0 * math.log(v))


def _gained(v: float) -> float:
    return -price(v)


def _judge_price(answer: Callable[[float], object]) -> Verdict:
    given = {v: as_number(answer(v)) for v in (0.4, 0.9, 2.5)}
    # The mean over N(0, v) of the difference of two log-densities, on a fine grid.
    truth = {}
    for v in given:
        x = torch.linspace(-14, 14, 40_001, dtype=torch.float64) * v**0.5
        ours, unit = (-0.5 * (x.square() / var + math.log(2 * math.pi * var)) for var in (v, 1.0))
        truth[v] = float(torch.trapezoid(ours.exp() * (ours - unit), x))

    def fits(formula: Callable[[float], float]) -> bool:
        return all(abs(given[v] - formula(v)) < 1e-4 for v in given)

    if fits(truth.__getitem__):
        return passed(
            f"for v = 0.4 it costs {truth[0.4]:.4f} nats, for v = 2.5 {truth[2.5]:.4f}, by an "
            "integral on a grid. It is KL(N(0, v) || N(0, 1)), whatever the data are."
        )
    start = f"v = 0.4 gives {given[0.4]:.4f}, an integral on a grid {truth[0.4]:.4f}: "
    if fits(_turned):
        return not_yet(start + "that divergence is the wrong way round; who draws x_0?")
    if fits(_whole):
        return not_yet(start + "twice too much; log-densities of normal laws hold a half.")
    if fits(_unnormalised):
        return not_yet(start + "the constants of the two normal laws differ; a log is missing.")
    if fits(_deviation):
        return not_yet(start + "v is a variance; you treat it as a deviation.")
    if fits(_gained):
        return not_yet(start + "the bound falls by a positive number; your sign says it rises.")
    return not_yet(start + "only log source(x_0) changes in e; average that change over N(0, v).")


def best_pull(s: Tensor, f: Tensor) -> Tensor:
    """Return the reversal of the push by Bayes' rule, (X, S)."""
    joint = s[:, None] * f
    return (joint / joint.sum(0)).T


def _without_source(s: Tensor, f: Tensor) -> Tensor:
    return (f / f.sum(0)).T


def _joint(s: Tensor, f: Tensor) -> Tensor:
    return (s[:, None] * f).T


def _as_the_push(s: Tensor, f: Tensor) -> Tensor:
    return best_pull(s, f).T


def _judge_pull(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(6)

    def rows(*shape: int) -> Tensor:
        weights = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
        return weights / weights.sum(-1, keepdim=True)

    s, f = rows(3), rows(3, 4)
    given = torch.as_tensor(answer(s, f)).detach().double()
    if given.shape == (3, 4):
        return not_yet("the shape is (S, X), that of the push; a pull has one row for each x.")
    b = as_tensor(given, (4, 3))
    total = b.sum(1)
    if not torch.allclose(total, torch.ones(4, dtype=torch.float64), atol=1e-5):
        return not_yet(
            f"the row of the first x sums to {total[0]:.3f}: that is a joint law. Divide each row "
            "by its sum, which is p(x)."
        )
    if bool((b <= 0).any()):
        return not_yet("every path has push probability, and your pull forbids some.")
    e = (s[:, None] * f).log() - b.T.log()  # log-evidence of every path, (S, X)
    p = (s[:, None] * f).sum(0)
    if float((e - p.log()).abs().max()) < 1e-5:
        return passed("over all 12 paths e = log p(x): the ELBO is tight for every x.")
    worst = float((e.max(0).values - e.min(0).values).max())
    start = f"the paths to one x differ by up to {worst:.3f} nats: "
    if torch.allclose(b, _without_source(s, f), atol=1e-5):
        return not_yet(start + "you normalise the push alone; a rare source state is rare.")
    return not_yet(start + "ask Bayes' rule for the law of the source state, given x.")


def dial_loss(e: Tensor, weight: float) -> Tensor:
    """Return the loss at one place of the dial, (2, B) -> ()."""
    elbo = e.mean()
    if weight < 0:
        two = (e.logsumexp(0) - math.log(2)).mean()
        return -(1 + 8 * weight) * elbo + 8 * weight * two
    return -elbo + weight * (e[0] - e[1]).square().mean()


def _underflowing(e: Tensor, weight: float) -> Tensor:
    two = e.exp().mean(0).log().mean()
    return -(1 + 8 * weight) * e.mean() + 8 * weight * two if weight < 0 else dial_loss(e, weight)


def _rewarded(e: Tensor, weight: float) -> Tensor:
    return dial_loss(e, weight) if weight < 0 else 2 * dial_loss(e, 0.0) - dial_loss(e, weight)


def _bare_square(e: Tensor, weight: float) -> Tensor:
    return -e.mean() + weight * (e[0] - e[1]).square().mean()


def _summed(e: Tensor, weight: float) -> Tensor:
    return dial_loss(e, weight) * e.shape[1]


def _no_mean(e: Tensor, weight: float) -> Tensor:
    if weight < 0:
        return -(1 + 8 * weight) * e.mean() + 8 * weight * e.logsumexp(0).mean()
    return dial_loss(e, weight)


def _judge_dial(answer: Callable[..., object]) -> Verdict:
    e = torch.tensor([[-1.0, -2.5, 0.3], [-2.0, -2.0, -3.1]], dtype=torch.float64)
    weights = (0.4, 0.0, -1 / 16, -1 / 8)

    def truth(weight: float) -> float:
        # Datum by datum, in plain floats: no logsumexp, and no mean over a tensor.
        total = 0.0
        for a, b in e.T.tolist():
            plain = -(a + b) / 2
            two = -math.log((math.exp(a) + math.exp(b)) / 2)
            mixed = (1 + 8 * weight) * plain - 8 * weight * two
            total += mixed if weight < 0 else plain + weight * (a - b) ** 2
        return total / e.shape[1]

    given = {w: as_number(answer(e, w)) for w in weights}

    def fits(formula: Callable[[Tensor, float], Tensor]) -> bool:
        return all(abs(given[w] - float(formula(e, w))) < 1e-5 for w in weights)

    if all(abs(given[w] - truth(w)) < 1e-5 for w in weights):
        far = torch.as_tensor(answer(e - 1000, -1 / 8)).detach()
        if not bool(torch.isfinite(far).all()):
            return not_yet("right for e near 0, and not finite near -1000: use logsumexp.")
        return passed("at 0.4, 0, -1/16 and -1/8, on three data worked out one by one.")
    start = f"at -1/8 you give {given[-1 / 8]:.4f}, one by one it is {truth(-1 / 8):.4f}; "
    start += f"at 0.4 {given[0.4]:.4f} and {truth(0.4):.4f}. "
    if fits(_rewarded):
        return not_yet(start + "A positive weight punishes disagreement; yours rewards it.")
    if fits(_bare_square):
        return not_yet(start + "Below 0 the bare square is only the second order of the bound.")
    if fits(_summed):
        return not_yet(start + "Average over the data; you add them up.")
    if fits(_no_mean):
        return not_yet(start + "The bound takes the mean of two exponentials: a log 2 is missing.")
    return not_yet(start + "Write the plain bound, then the bound of two paths, then mix them.")


def single_paths() -> str:
    """Name the pairs whose paths to one end point all tell the same."""
    return "AC"  # one path to each point; elsewhere e depends on how far push and pull fit


def _judge_single(answer: object) -> Verdict:
    if not isinstance(answer, str) or not (answer == "none" or set(answer.upper()) <= set("ABCDE")):
        return not_yet('letters out of A to E are asked for, such as "BD", or "none".')
    named = set() if answer == "none" else set(answer.upper())
    # How many paths lead to one end point: a map has one, a law on all latents infinitely many.
    paths = {"A": 1.0, "B": math.inf, "C": 1.0, "D": float(math.factorial(4)), "E": math.inf}
    truth = {letter for letter, count in paths.items() if count == 1}
    if named == truth:
        return passed("both have one path to each end point, so there is nothing to average.")
    if "E" in named:
        return not_yet("E: the score is exact, and twenty Gaussian steps are not the reversal.")
    if "D" in named:
        return not_yet("D: 24 orders lead to a string of four, and a push may like some of them.")
    if "B" in named:
        return not_yet("B: only with the posterior as encoder; the question is for any parameters.")
    if not named:
        return not_yet("some pairs have one path only to each end point, whatever is learned.")
    return not_yet(f"you name {len(named)}; count the paths that end at one x, for each letter.")


EXERCISES = (
    Exercise(
        name="ex31_1",
        ask="The pull is exact and ends at N(0, v); the push is its exact reversal; the source is "
        "replaced by N(0, 1). Averaged over data, by how many nats does the ELBO fall below "
        "log p(x) of the first model? Write price(v); v is a variance.",
        judge=_judge_price,
        hints=(
            "With the right source, e = log p(x) on every path. Which term of e changes?",
            "e loses log N(x_0; 0, v) - log N(x_0; 0, 1), and pulled data arrive at N(0, v).",
            "The mean of that difference is a divergence of two normal laws of mean zero.",
        ),
        solution=price,
        why="The mean over N(0, v) of log N(0, v) - log N(0, 1) is KL(N(0, v) || N(0, 1)). The "
        "number of steps does not enter: the price is paid once, at the source.",
        wrong=(
            (_turned, "wrong way round"),
            (_whole, "hold a half"),
            (_unnormalised, "a log is missing"),
            (_deviation, "as a deviation"),
            (_gained, "says it rises"),
        ),
        code=True,
    ),
    Exercise(
        name="ex31_2",
        ask="Given a source s (S,) and a push f (S, X), write best_pull(s, f), shape (X, S), with "
        "which every path to one x tells the same log-evidence.",
        judge=_judge_pull,
        hints=(
            "e = log s + log f - log b. It must not depend on the source state.",
            "So b is proportional to s f, and each row sums to one over the source states.",
            "joint = s[:, None] * f has shape (S, X); divide by its sum over S, then transpose.",
        ),
        solution=best_pull,
        why="That is Bayes' rule. With the posterior as pull, e = log p(x) on every path, and the "
        "ELBO is the likelihood.",
        wrong=(
            (_without_source, "the push alone"),
            (_joint, "a joint law"),
            (_as_the_push, "that of the push"),
        ),
        code=True,
    ),
    Exercise(
        name="ex31_3",
        ask="e (2, B) holds the log-evidences of two paths for each datum. Write "
        "dial_loss(e, weight): from weight 0 on the mean of -(e + e')/2 + weight (e - e')^2; at "
        "-1/8 minus the importance-weighted bound of two paths; in between the mixture.",
        judge=_judge_dial,
        hints=(
            "The bound of two paths is logsumexp over the paths, minus log 2.",
            "At -1/16 half of each bound is wanted: the shares are 1 + 8 weight and -8 weight.",
            "loss = -(1 + 8 weight) elbo + 8 weight two, for weight < 0.",
        ),
        solution=dial_loss,
        why="log cosh grows like a line where the square runs away, so the negative end of the "
        "dial is the true bound, and not its second order.",
        wrong=(
            (_underflowing, "use logsumexp"),
            (_rewarded, "yours rewards it"),
            (_bare_square, "second order"),
            (_summed, "add them up"),
            (_no_mean, "log 2 is missing"),
        ),
        code=True,
    ),
    Exercise(
        name="ex31_4",
        ask="Which pairs have the same log w on every path to one end point, whatever their "
        "parameters? A: a flow. B: an autoencoder. C: a string built left to right. D: a string "
        'filled in any order, pull uniform. E: diffusion, exact score, twenty steps. "BD", say.',
        judge=_judge_single,
        hints=(
            "How many paths lead to one end point?",
            "A map leads to each point from one point only; so does a tree to each leaf.",
            "Where there are many paths, they agree only if the pull is the push's reversal.",
        ),
        solution=single_paths,
        why="With one path there is nothing over which e could vary. With many, equality is what "
        "training asks for, and only a perfect pair has it.",
        wrong=(
            ("ABC", "with the posterior"),
            ("ACD", "24 orders"),
            ("ACE", "not the reversal"),
            ("none", "one path only"),
            ("A", "count the paths"),
        ),
    ),
)

"""The oracles of lesson 14: kernels' densities, the spread of log w, real moves, autograd."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from gentoolkit.teach.exercise import Verdict, as_number, as_tensor, close, not_yet, passed

PATHS, ESS, MOVES = 1000, 320, 50
START, END, STEP = 1.0, 0.5, 0.1


def _exact(value: object) -> Tensor:
    """In a notebook numbers would become float32 first, too coarse for the tolerances here."""
    return torch.tensor(value, dtype=torch.float64)


def judge_weight(answer: Callable[..., object]) -> Verdict:
    """Judge log w of six paths by the densities of both kernels of each layer."""
    generator = torch.Generator().manual_seed(14)
    x0, e, jump = (torch.randn(6, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    # The flow scales by a factor that depends on the path, so its log-determinant does too.
    scale = torch.linspace(0.4, 1.7, 6, dtype=torch.float64)[:, None]
    x1, step = scale * x0 + 0.3, 0.15
    x2 = x1 + step * (1 - 2 * x1) + (2 * step) ** 0.5 * e
    x3 = x2 + jump
    x3[0] = x2[0]  # a rejected move
    near = Normal(_exact(0.2), _exact(0.8))

    def log_source(x: Tensor) -> Tensor:
        return Normal(_exact([0.0, 0.0]), 1.0).log_prob(x).sum(1)

    def log_target(x: Tensor) -> Tensor:
        return 0.7 + near.log_prob(x).sum(1)

    def score(x: Tensor) -> Tensor:
        return 1 - 2 * x

    def log_g(x: Tensor) -> Tensor:
        return -0.25 * (x + 0.5).pow(4).sum(1)

    handed = (x0, x1, x2, x3, log_source, log_target, 2 * scale[:, 0].log(), score, step, log_g)
    given = as_tensor(answer(*handed), (6,))
    # Layer by layer: the law of x1, the two Gaussian kernels, and both acceptance probabilities.
    log_x1 = Normal(_exact(0.3), scale).log_prob(x1).sum(1)
    spread = step * 2 * torch.eye(2, dtype=torch.float64)
    there = MultivariateNormal(x1 + step * score(x1), spread).log_prob(x2)
    back = MultivariateNormal(x2 + step * score(x2), spread).log_prob(x1)
    ratio = (log_g(x3) - log_g(x2)).exp()
    accept, accept_back = ratio.clamp(max=1.0).log(), (1 / ratio).clamp(max=1.0).log()
    truth = log_target(x3) + accept_back - accept + back - there - log_x1
    if torch.allclose(given, truth, atol=1e-6):
        return passed("both kernels' densities of each layer, added up, give the same six log w.")
    moved = log_g(x2) - log_g(x3)
    start = f"one log w is {float(truth[1]):.3f}, and yours {float(given[1]):.3f}: "
    wrong_end = MultivariateNormal(x2 + step * score(x1), spread).log_prob(x1)
    meanings = (
        (-2 * handed[6], "the log-determinant counts with a plus; stretching thins the push out."),
        (-handed[6], "the log-determinant of the flow is missing."),
        (wrong_end - back, "the pull is the kernel started at x2, so its score is taken there."),
        (-2 * (back - there), "Langevin's part has the wrong sign; it is pull over push."),
        (-2 * moved, "Metropolis' part has the wrong sign; it cancels what log_g has gained."),
        (-moved, "Metropolis' part is missing; reversible does not mean that it adds 0."),
        (accept - moved, "an acceptance probability is no ratio of pull and push."),
    )
    for error, meaning in meanings:
        if torch.allclose(given, truth + error, atol=1e-6):
            return not_yet(start + meaning)
    return not_yet(start + "target minus source, plus log pull minus log push of each layer.")


def judge_reversal(answer: Callable[..., object]) -> Verdict:
    """Judge a pull by the spread of log w over 400 paths."""
    generator = torch.Generator().manual_seed(4)
    slope, mean, var, noise = 1.6, 0.5, 0.8, 0.3
    x, e = (torch.randn(400, generator=generator, dtype=torch.float64) for _ in range(2))
    x = mean + var**0.5 * x
    y = slope * x + noise**0.5 * e
    given = answer(y, slope, mean, var, noise)
    if not isinstance(given, tuple | list) or len(given) != 2:
        return not_yet("two things are asked for: the mean, shape (B,), and the variance.")
    centre, variance = as_tensor(given[0], (400,)), as_number(given[1])
    if variance <= 0:
        return not_yet(f"your variance is {variance:.3g}; a variance is positive.")
    # log w from the four laws themselves: target and pull over source and push.
    source = Normal(_exact(mean), var**0.5).log_prob(x)
    push = Normal(slope * x, noise**0.5).log_prob(y)
    target = Normal(_exact(slope * mean), (slope**2 * var + noise) ** 0.5)
    pull = Normal(centre, variance**0.5).log_prob(x)
    log_w = target.log_prob(y) + pull - source - push
    spread = float(log_w.std())
    if spread < 1e-8:
        return passed(f"log w of 400 paths has deviation {spread:.0e}: each path has weight 1.")
    start = f"log w of 400 paths has deviation {spread:.3f}, instead of 0: "
    joint = _exact([[var, slope * var], [slope * var, slope**2 * var + noise]])
    exact = 1 / float(torch.linalg.inv(joint)[0, 0])
    if torch.allclose(centre, y / slope):
        return not_yet(start + "you undo the push, but the law of x counts as well.")
    for number, meaning in (
        (exact**0.5, "you return the deviation; the variance is its square."),
        (noise, "that is the variance of the push; the pull's is another one."),
        (var, "that is the variance of x before y was seen; y has told something."),
        (1 / exact, "that is the precision; the variance is its inverse."),
    ):
        if abs(variance - number) < 1e-6:
            return not_yet(start + meaning)
    return not_yet(start + "add the precisions 1 / var and slope**2 / noise.")


def _kept() -> float:
    """The share of an ESS that is left after Metropolis moves, each entered in the account."""
    generator = torch.Generator().manual_seed(2)

    def log_g(x: Tensor) -> Tensor:
        return -((x.square() - 2) ** 2)

    def ess(log_w: Tensor) -> float:
        return 1 / float(log_w.softmax(0).square().sum())

    x = 1.4 * torch.randn(PATHS, generator=generator, dtype=torch.float64)
    log_push = Normal(0.0, 1.4).log_prob(x)
    before, moves = ess(log_g(x) - log_push), torch.zeros_like(x)
    for _ in range(MOVES):
        y = x + torch.randn(PATHS, generator=generator, dtype=torch.float64)
        u = torch.rand(PATHS, generator=generator, dtype=torch.float64)
        y = torch.where(u.log() < log_g(y) - log_g(x), y, x)
        moves, x = moves + log_g(x) - log_g(y), y
    return ess(log_g(x) + moves - log_push) / before


def judge_ess(answer: object) -> Verdict:
    """Judge the ESS by one that is measured before and after real moves."""
    truth, number = ESS * _kept(), as_number(answer)
    if abs(number - truth) < 0.5:
        return passed(f"{truth:.0f}: {MOVES} moves of {PATHS} particles left every log w alone.")
    start = f"you give {number:.4g}. "
    if abs(number - PATHS) < 0.5:
        return not_yet(
            start + "The particles come closer to the target's law, but the weights do not know."
        )
    if number > truth:
        return not_yet(start + "The samples improve, but what a move gains in log g it pays back.")
    if number == 0:
        return not_yet(start + "No path is lost: a rejected move adds 0, and an accepted one?")
    return not_yet(start + "Random moves may cost weight; these are reversible for the target.")


def judge_ratio(answer: object) -> Verdict:
    """Judge a Langevin step by two normal densities, with the score from autograd."""
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (START, END))

    def kernel(start: Tensor) -> Normal:
        (score,) = torch.autograd.grad(Normal(0.0, 1.0).log_prob(start), start)
        return Normal(start.detach() + STEP * score, (2 * STEP) ** 0.5)

    truth = float(kernel(y).log_prob(x.detach()) - kernel(x).log_prob(y.detach()))
    reversible = (START**2 - END**2) / 2
    return close(
        answer,
        truth=truth,
        atol=6e-4,
        right=f"{truth:.5f} nats: the two normal densities differ by that. A step that were "
        f"reversible for the target would give {-reversible:.3f}.",
        wrong={
            -truth: "The sign: it is log pull minus log push.",
            -0.5: "The pull starts at y, so its score is taken at y and not at x.",
            2 * truth: "Its noise has variance 2 e, and not e.",
            -reversible: "That is a Metropolis move's; this step accepts everything.",
        },
        otherwise="Find the noise that the push needs from x to y, and the pull from y to x.",
    )

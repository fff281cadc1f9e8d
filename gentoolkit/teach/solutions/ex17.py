"""Lesson 17: an order read from errors, the family of pushes, beta integrated, calls counted."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like, Open

RATE_MIN, RATE_GROWTH, TIME = 0.1, 19.9, 0.5
CALLS = 79
DRIFT, SPREAD = -0.4, 1.3


def order(steps: Tensor, errors: Tensor) -> Tensor:
    """Fit errors = c steps**-order by least squares of the logs: (N,) and (N,) -> ()."""
    x, y = steps.log(), errors.log()
    x = x - x.mean()
    return -(x * y).sum() / x.square().sum()


def _midpoint_errors() -> list[tuple]:
    """Take midpoint steps for x' = x, with a disturbance that a fit averages out."""
    counts, errors = [4, 7, 12, 25, 60, 110], []
    for i, n in enumerate(counts):
        end = (1 + 1 / n + 0.5 / n**2) ** n
        errors.append(abs(end - math.e) * math.exp(0.3 * (-1) ** i * (i % 3)))
    return [(torch.tensor(counts).double(), torch.tensor(errors))]


ex17_1 = Exercise(
    order,
    "The log turns a power law into a line.",
    "The slope of a least-squares line is a covariance over a variance; of which variable?",
    "Subtract the mean of log steps, multiply with log errors, sum, divide by the sum of "
    "squares; then mind the sign.",
    why="A solver of order p has an error of about c / steps**p: in the logs a line of slope "
    "-p. Many points average out what two ends would take for slope.",
    cases=_midpoint_errors,
    oracle=lambda n, e: -torch.linalg.lstsq(torch.stack([n**0, n.log()], 1), e.log()).solution[1],
    atol=1e-4,
    right="torch's solver of least squares gives {truth:.4f} too; the steps were midpoint's, whose "
    "order is 2.",
    wrong={
        "return - -> return ": "the sign: an order is positive if errors fall.",
        (lambda n, e: -(e[-1] / e[0]).log() / (n[-1] / n[0]).log()): "you use the two ends only; "
        "a fit reads all the points.",
        "errors.log() -> errors.log10()": "the errors' log has base 10, the other base e.",
        "steps.log() -> steps.log10()": "the steps' log has base 10, the other base e.",
        (lambda n, e: 1 / order(e, n)): "you fit the steps to the errors; the errors scatter, so "
        "fit them to the steps.",
        "steps.log() -> steps": "the steps need a log too: a power law is a line only between two "
        "logs.",
        "n - -> n 1 -": "that is the order of one step; the steps add up, so one is lost.",
    },
    otherwise="the slope of log error against log steps is minus the order.",
)


def drift(x: Tensor, score: Tensor, u: Tensor, beta: float, share: float) -> Tensor:
    """Give the drift in t of a push with fresh noise of variance share * beta, (B, D)."""
    return u - 0.5 * beta * (1 + share) * score


def _two_bumps(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give distribution function, log-density and density of two noised bumps at time t."""
    shrink = (2 * DRIFT * t).exp()
    variance = shrink * 0.2 + SPREAD**2 * (shrink - 1) / (2 * DRIFT)
    z = (x - (DRIFT * t).exp() * torch.tensor([-1.0, 2.0])[:, None, None]) / variance.sqrt()
    share = torch.tensor([0.3, 0.7])[:, None, None]
    density = (share * (-0.5 * z**2).exp()).sum(0) / (2 * math.pi * variance).sqrt()
    return (share * 0.5 * torch.special.erfc(-z / math.sqrt(2))).sum(0), density.log(), density


def _ten_places() -> list[tuple]:
    x = torch.linspace(-2.0, 3.0, 10).reshape(5, 2).requires_grad_()
    (score,) = torch.autograd.grad(_two_bumps(x, torch.full_like(x, 0.6))[1].sum(), x)
    x = x.detach()
    return [(x, score, DRIFT * x, SPREAD**2, share) for share in (0.0, 1.0, 0.3, 2.5)]


def _mass_carried(x: Tensor, score: Tensor, u: Tensor, beta: float, share: float) -> Tensor:
    """Mass leaves below x per unit of time: by drift and noise together, as it came."""
    x, now = x.clone().requires_grad_(), torch.full_like(x, 0.6).requires_grad_()
    below, _log, density = _two_bumps(x, now)
    (slope,) = torch.autograd.grad(density.sum(), x, retain_graph=True)
    (gained,) = torch.autograd.grad(below.sum(), now)
    return (-gained - 0.5 * share * beta * slope) / density


ex17_2 = Exercise(
    drift,
    "Start from the velocity of the ODE, which adds no noise and keeps every density.",
    "Fresh noise spreads the density; which velocity undoes that, for noise of variance "
    "share * beta per unit of time?",
    "The payment is half of share * beta times the score, in the direction in which the push "
    "runs. The old time t falls on its way: mind the sign.",
    why="The ODE needs u - beta score / 2. Noise of variance share * beta spreads as the velocity "
    "-share * beta score / 2 would in the push's own time, so the opposite is added there, which "
    "in t is a minus again: u - (1 + share) beta score / 2.",
    cases=_ten_places,
    oracle=_mass_carried,
    right="the law of two noised bumps goes back just as it came, at 10 places and for four "
    "shares of noise.",
    wrong={
        "u - -> -u +": "that is the drift in the push's own time, which grows; t falls.",
        "u - -> u +": "the sign of the score; time still runs towards the noise here.",
        "(1 + share) -> share": "without fresh noise the score would drop out; the ODE needs half.",
        "(1 + share) * ->": "noise was added without payment: this is the ODE's velocity.",
        "(1 + share) -> (1 - share)": "the payment has the wrong sign: noise spreads, so the "
        "score must pull more, not less.",
        "0.5 * beta * -> beta *": "twice too much: where does Taylor's 1/2 go?",
        "0.5 * beta * -> 0.5 * beta**0.5 *": "the score counts beta, a variance per time, and not "
        "its root.",
        "(1 + share) -> (1 + share**2)": "share multiplies the variance of the noise, not its "
        "deviation.",
    },
    otherwise="Begin with the ODE, then pay for the fresh noise.",
)


def levels() -> tuple[float, float]:
    """Give signal and noise variance from the integral of beta."""
    spent = RATE_MIN * TIME + 0.5 * RATE_GROWTH * TIME**2
    return math.exp(-0.5 * spent), 1.0 - math.exp(-spent)


def _small_steps(steps: int = 20_000) -> tuple[float, float]:
    """Solve d signal = -beta signal / 2 and d variance = beta (1 - variance) by midpoints."""
    a, v, h = 1.0, 0.0, TIME / steps
    for i in range(steps):
        beta = RATE_MIN + RATE_GROWTH * (i + 0.5) * h
        a -= h * 0.5 * beta * a * (1 - 0.25 * h * beta)
        v += h * beta * (1 - v) * (1 - 0.5 * h * beta)
    return a, v


ex17_3 = Exercise(
    levels,
    "The signal follows d signal / dt = -beta(t) signal / 2.",
    "So the log of the signal is minus half an integral of beta. From where to where?",
    "At any t the squared signal and the noise's variance add up to 1.",
    why="With I the integral of beta from 0 to t, the signal is exp(-I / 2) and the variance "
    "1 - exp(-I).",
    oracle=_small_steps,
    parts="signal, noise variance",
    atol=5e-4,
    right="({truth[0]:.4f}, {truth[1]:.4f}): 20000 small steps of pulling agree.",
    wrong={
        Like(
            (0.2812, 0.9596), lambda pair: abs(pair[1] - 0.95965) < 5e-4
        ): "You give the noise's deviation; its variance is asked for.",
        Like(
            (0.0791, 0.9209), lambda pair: abs(pair[0] - 0.07907) < 5e-4
        ): "You give the signal squared, exp(-I); a data point shrinks by its root.",
        Like(
            (0.0811, 0.9934), lambda pair: abs(pair[0] - 0.08106) < 5e-4
        ): "You take beta(t) t; beta grows on the way, so integrate it from 0 to t.",
        Like(
            (0.2812, 10.05),
            lambda pair: abs(pair[0] - 0.00657) < 5e-4 or abs(pair[1] - 10.05) < 5e-4,
        ): "You take beta(t) itself; that is a rate, to be integrated from 0 to t.",
        (0.92093, 0.28119): "The wrong way round: (signal, noise variance).",
    },
    otherwise="signal**2 + variance should be 1, and the log of the signal is minus half an "
    "integral.",
)


def _calls_of_a_run(steps: int) -> int:
    """Run Heun's steps from deviation 10 to 0 for the score of a point, and count the calls."""
    asked, x = 0, 5.0

    def slope(x: float, noise: float) -> float:
        nonlocal asked
        asked += 1
        return (x - 0.3) / noise

    for here, there in pairwise(10.0 * (1 - i / steps) for i in range(steps + 1)):
        first = slope(x, here)
        guess = x + (there - here) * first
        x = guess if there == 0.0 else x + (there - here) * 0.5 * (first + slope(guess, there))
    return asked


def _most_steps() -> tuple[int, int]:
    """Take more steps until a run asks 79 times."""
    steps = 1
    while _calls_of_a_run(steps) < CALLS:
        steps += 1
    return steps, len(range(CALLS))


ex17_4 = Exercise(
    "40, 79",
    "Heun guesses the end of a step with one slope, then averages two.",
    "The slope is (x - guess of the data) / noise. Where does that fail?",
    "All steps of Heun ask twice, but for one.",
    why="Heun asks twice a step and once in the last, an Euler step: 2 * 40 - 1 = 79. The "
    "two-step rule asks once a step. Compare samplers by calls of the net, not by steps.",
    oracle=_most_steps,
    parts="EDM, DPM-Solver++(2M)",
    right="{truth}: the last step of Heun has no second slope: dividing by no noise is 0 / 0.",
    wrong={
        (39, 79): "39 steps of Heun ask 77 times; the last step needs one call only.",
        (39.5, 79): "Steps are whole: the last step of Heun ends where no slope can be asked.",
        (79, 79): "A step of Heun asks twice: at its start and at its guessed end.",
        (78, 79): "A step of Heun asks twice: at its start and at its guessed end, but for the "
        "last.",
        (40, 40): "DPM-Solver++(2M) remembers its last call: one call a step.",
        (79, 40): "The wrong way round: which of the two asks twice a step?",
    },
    otherwise="Count the calls of one step for each, then look at the last step.",
)


ex17_5 = Open(
    "Compare by calls: a sampler with two calls a step gets half of the steps.",
    "Use two measures that see different faults: energy distance to fresh samples, and the "
    "median distance from the nearest bump. Three seeds for each.",
    "Print the same measures for two exact samples: differences below that are chance. The "
    "deviation of 0.2 lies between the lesson's narrow and wide modes; what do you expect?",
    answer="Energy distance to 2,000 fresh samples and the spread inside a bump (truth 0.199), 3 "
    "seeds. At 20 calls all but EDM (0.011) lie within 0.004 of zero, where two exact samples "
    "lie within 0.002: the distance cannot rank them. The spread can: DPM-Solver++(2M) 0.199 to "
    "0.208 and DPM-Solver-2 0.190 to 0.202 are right, ancestral on the log-SNR grid 0.186 and "
    "on even times 0.154 are too narrow, Euler-Maruyama 0.23 and 0.26 too wide. At 100 calls "
    "EDM has caught up, all ODE solvers give 0.20, and the random ones still err by up to 0.02. "
    "The distance is blind to small spreads, the spread to strays and to wrong shares of the "
    "bumps. Runs differ by about 0.003 in distance and 0.01 in spread.",
)

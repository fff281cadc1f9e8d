"""Lesson 17: an order read from errors, two ways back in time, beta integrated, calls of Heun."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like

RATE_MIN, RATE_GROWTH, TIME = 0.1, 19.9, 0.5
HEUN_STEPS = 20
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


def slopes(x: Tensor, score: Tensor, drift: float, g: float) -> tuple[Tensor, Tensor]:
    """Give the drifts of the reverse SDE and of the probability flow, (B, D) each."""
    return drift * x - g**2 * score, drift * x - 0.5 * g**2 * score


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
    return [(x.detach(), score, DRIFT, SPREAD)]


def _mass_carried(x: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    """Mass leaves below x per unit of time: by a flow, or by drift and noise together."""
    x, now = x.clone().requires_grad_(), torch.full_like(x, 0.6).requires_grad_()
    below, _log, density = _two_bumps(x, now)
    (slope,) = torch.autograd.grad(density.sum(), x, retain_graph=True)
    (gained,) = torch.autograd.grad(below.sum(), now)
    flow = -gained / density
    return flow - 0.5 * SPREAD**2 * slope / density, flow


ex17_2 = Exercise(
    slopes,
    "Both begin with drift x, and both take off a multiple of the score.",
    "The multiple is a number times g**2; both numbers must keep the same law.",
    "The SDE spreads the cloud while it pushes, so it must pull together twice as hard as "
    "the flow.",
    why="The law's change in time is the same if half of g**2 score moves from the noise to "
    "the drift: none is noise in the flow, and the reverse noise needs one half more.",
    cases=_ten_places,
    oracle=_mass_carried,
    parts="reverse, flow",
    right="both carry the law of two noised bumps back just as it came, at 10 places.",
    wrong={
        (lambda *asked: slopes(*asked)[::-1]): "exchanged: the SDE adds noise on its way back, so "
        "its drift pulls harder.",
        "drift * x - -> -drift * x +": "both are negated: t is the noising's own time, which the "
        "push runs down.",
        "x - -> x +": "the sign of the score; time still runs towards the noise here.",
        "g**2 -> g": "the score counts g**2, a variance per time, and not g.",
        Like("0.5 * ->", lambda pair: torch.allclose(pair[0], pair[1])): "the two cannot be equal: "
        "one of them also adds noise.",
        Like(
            "drift * x -> drift",
            lambda pair: torch.allclose(pair[1] - pair[0], 0.5 * SPREAD**2 * _ten_places()[0][1]),
        ): "both miss the same; the first part is drift times x.",
    },
    otherwise="How much of g**2 score does each need?",
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
        ): "You give the signal squared, exp(-I); a datum shrinks by its root.",
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


def _calls_of_a_run() -> int:
    """Run Heun's steps from deviation 10 to 0 for the score of a point, and count the calls."""
    asked, x = 0, 5.0

    def slope(x: float, noise: float) -> float:
        nonlocal asked
        asked += 1
        return (x - 0.3) / noise

    for here, there in pairwise(10.0 * (1 - i / HEUN_STEPS) for i in range(HEUN_STEPS + 1)):
        first = slope(x, here)
        guess = x + (there - here) * first
        x = guess if there == 0.0 else x + (there - here) * 0.5 * (first + slope(guess, there))
    return asked


ex17_4 = Exercise(
    "2 * 20 - 1",
    "Heun guesses the end of a step with one slope, then averages two.",
    "The slope is (x - guess of the datum) / noise. Where does that fail?",
    "All steps ask twice, but for one.",
    why="Two calls a step and one for the last, an Euler step. Compare samplers by calls of "
    "the net, not by steps.",
    oracle=_calls_of_a_run,
    right="{truth:.0f}: the last step has no second slope, since dividing by no noise is 0 / 0.",
    wrong={
        40: "The last step ends where there is no noise: no slope can be asked there.",
        20: "A step of Heun asks twice: at its start and at its guessed end.",
        21: "You reuse the second slope for the next step; that is another method.",
        38: "The last step still asks once, at its start.",
    },
    otherwise="Count the slopes that one step asks for, then look at the last step.",
)

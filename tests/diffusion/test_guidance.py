"""Guidance: exact at scales 0 and 1, and what it really draws at others."""

from dataclasses import dataclass

import pytest
import torch

from gentoolkit.diffusion import (
    ClassifierFree,
    ClassifierGuided,
    Denoiser,
    LogSnrLinear,
    PredictsData,
    PredictsNoise,
    PredictsScore,
    PredictsVelocity,
    ProbabilityFlow,
)
from gentoolkit.numerics import rk4
from gentoolkit.targets import GaussianMixture
from tests.diffusion.carried import Exact, exact, law_at, mixture

LONG = LogSnrLinear(14.0, -14.0)
BOTH = mixture([-1.0, 1.0], [0.5, 0.5], [0.5, 0.5])
NULL = 2
KINDS = {
    "noise": PredictsNoise(),
    "data": PredictsData(),
    "score": PredictsScore(),
    "velocity": PredictsVelocity(),
}


@dataclass
class Conditional:
    """The exact net of two classes and both together, which counts the rows it is asked for."""

    kind: str = "noise"
    rows: int = 0

    def __call__(self, x, t, label):
        assert label.shape == (x.shape[0],) and label.dtype == torch.int64
        self.rows += x.shape[0]
        one = [
            GaussianMixture(BOTH.means[k : k + 1], BOTH.stds[k : k + 1], torch.ones(1))
            for k in (0, 1)
        ]
        nets = [Exact(law, LONG, self.kind) for law in (*one, BOTH)]
        outputs = torch.stack([net(x, t) for net in nets])
        return outputs[label, torch.arange(x.shape[0])]


def log_class(x, t):
    """The exact log p_t(class 1 | x)."""
    return law_at(BOTH, LONG, float(t[0])).responsibilities(x)[:, 1].log()


def drawn(net, kind="noise"):
    """Mean and deviation of what the probability flow makes of the source's quantiles."""
    u = (torch.arange(1000) + 0.5) / 1000
    x = torch.special.ndtri(u)[:, None]
    y = ProbabilityFlow(rk4).sample(Denoiser(net, LONG, KINDS[kind]), x, 200)
    return float(y.mean()), float(y.std())


def tilted(scale):
    """Mean and deviation of p(x) p(class 1|x)^scale by quadrature."""
    x = torch.linspace(-9, 9, 20_001)[:, None]
    log_p = BOTH.log_prob(x) + scale * BOTH.responsibilities(x)[:, 1].log()
    w = log_p.softmax(0)
    mean = float((w * x[:, 0]).sum())
    return mean, float((w * (x[:, 0] - mean) ** 2).sum()) ** 0.5


@pytest.mark.parametrize(("scale", "mean", "std"), [(1.0, 1.0, 0.5**0.5), (0.0, 0.0, 1.5**0.5)])
def test_scales_zero_and_one_are_exact(scale, mean, std):
    """Catches the convention shifted by one, and the two nets exchanged."""
    guided = ClassifierFree(Conditional(), torch.tensor(1), NULL, scale)
    assert drawn(guided) == pytest.approx((mean, std), abs=5e-3)


# Measured elsewhere: the guided equation in the noise level, by RK4 on quantiles.
TABLE = {2.0: (1.455, 0.513), 4.0: (1.962, 0.412), 8.0: (2.598, 0.353)}
TILTED = {2.0: (1.131, 0.623), 4.0: (1.230, 0.573), 8.0: (1.321, 0.537)}


@pytest.mark.parametrize("scale", TABLE)
def test_guidance_does_not_draw_the_tilted_density(scale):
    """Catches a guided score that is a true score: the flow goes further and is narrower."""
    got = drawn(ClassifierFree(Conditional(), torch.tensor(1), NULL, scale))
    assert got == pytest.approx(TABLE[scale], abs=6e-3)
    assert tilted(scale) == pytest.approx(TILTED[scale], abs=1e-3)
    assert got[0] - tilted(scale)[0] > 0.3 and tilted(scale)[1] - got[1] > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_both_kinds_of_guidance_agree_in_every_coordinate(kind, scale):
    """Catches a sign or a factor noise^2 / signal: score + g (conditional - unconditional)."""
    x, reading = torch.randn(9, 1), KINDS[kind]
    for time in (0.05, 0.5, 0.9):
        t = torch.full((9,), time)
        both, one = law_at(BOTH, LONG, time), law_at(BOTH, LONG, time)
        one = GaussianMixture(one.means[1:], one.stds[1:], torch.ones(1))
        truth = both.score(x) + scale * (one.score(x) - both.score(x))
        free = ClassifierFree(Conditional(kind), torch.tensor(1), NULL, scale)
        tied = ClassifierGuided(exact(BOTH, LONG, kind, reading), log_class, scale)
        for net in (free, tied):
            score = Denoiser(net, LONG, reading).score(x, t)
            torch.testing.assert_close(score, truth, rtol=1e-8, atol=1e-8)


def test_plain_scales_ask_the_net_once():
    """Catches a doubled batch where one of the two is multiplied by zero."""
    x, t = torch.randn(5, 1), torch.full((5,), 0.5)
    for scale, rows in ((0.0, 5), (1.0, 5), (2.0, 10)):
        net = Conditional()
        ClassifierFree(net, torch.tensor(1), NULL, scale)(x, t)
        assert net.rows == rows


def test_each_row_has_its_own_class():
    """Catches the first label used for all."""
    x, t = torch.randn(4, 1), torch.full((4,), 0.4)
    label = torch.tensor([0, 1, 1, 0])
    mixed = ClassifierFree(Conditional(), label, NULL, 2.5)(x, t)
    for row, wanted in enumerate(label):
        alone = ClassifierFree(Conditional(), wanted, NULL, 2.5)(x, t)
        torch.testing.assert_close(mixed[row], alone[row])


def test_a_classifier_works_where_gradients_are_off():
    """Catches a sampler's no_grad that reaches into the classifier."""
    net = ClassifierGuided(exact(BOTH, LONG), log_class, 1.0)
    assert drawn(net)[0] == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ClassifierFree(Conditional(), torch.tensor(1), None, 2.0), ValueError, "null"),
        (lambda: ClassifierFree(Conditional(), torch.tensor(2), 2, 2.0), ValueError, "null class"),
        (
            lambda: ClassifierFree(Conditional(), torch.tensor(1), 2, float("nan")),
            ValueError,
            "scale must be finite",
        ),
        (lambda: ClassifierFree(Conditional(), torch.tensor(1.0), 2), TypeError, "class numbers"),
        (lambda: ClassifierFree(Conditional(), 1, 2), TypeError, "class numbers"),  # type: ignore
        (
            lambda: ClassifierGuided(exact(BOTH, LONG), lambda x, t: x, 2.0)(
                torch.ones(3, 1), torch.full((3,), 0.5)
            ),
            ValueError,
            "one number per row",
        ),
    ],
)
def test_bad_input_is_refused(call, error, words):
    """Catches guidance without a null class, and logits handed in whole."""
    with pytest.raises(error, match=words):
        call()

"""The two slopes: what is drawn is the chain's own account."""

import numpy as np
import pytest
import torch

from gentoolkit import Gaussian, Trajectory
from gentoolkit.stochastic import GeometricPath, Langevin, annealed, even_schedule, increments
from gentoolkit.viz import Scene
from gentoolkit.viz.slopes import slopes
from tests.viz.kinds import unpack
from tests.viz.refused import refused

ALT = "Particles climb from a wide source to a narrow target and others walk down again."
K, LOG_Z = 5, 0.4
BETAS = even_schedule(K)


class Bump:
    """A normal density at (1, -1) of deviation 0.7, with log Z = 0.4."""

    law = Gaussian(torch.tensor([[1.0, -1.0]], dtype=torch.float64), 0.7)

    def log_prob(self, x):
        return LOG_Z + self.law.log_prob(x)

    def sample(self, n, generator=None):
        return 0.7 * torch.randn(n, 2, generator=generator) + self.law.mean


def runs(n=60):
    path = GeometricPath(Gaussian(torch.zeros(1, 2, dtype=torch.float64), 2.0), Bump())
    chain = annealed(path, BETAS, lambda g: Langevin(g, 0.1))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        up, down = chain.push(n, generator), chain.pull(Bump().sample(n, generator), generator)
    return path, up, down, [path.at(beta) for beta in BETAS.tolist()]


def read(scene: Scene, panel: int, kind: str, which: int, key: str) -> np.ndarray:
    found = [x for x in scene.spec["panels"][panel]["layers"] if x["kind"] == kind]
    return unpack(scene.spec["arrays"], scene.buffer, found[which][key])


def test_one_slope_runs_up_while_the_other_runs_down():
    """Bug: pulled paths shown from the source up, or both panels with the same paths."""
    _, up, down, densities = runs()
    scene = slopes(up, down, densities, alt=ALT, extent=(-9, 9))
    assert scene.frames == K + 1
    shown = read(scene, 0, "points", 0, "xy"), read(scene, 1, "points", 0, "xy")
    np.testing.assert_allclose(shown[0], torch.stack(up.states), atol=1e-3)
    np.testing.assert_allclose(shown[1], torch.stack(down.states[::-1]), atol=1e-3)
    heats = read(scene, 0, "heat", 0, "values"), read(scene, 1, "heat", 0, "values")
    np.testing.assert_array_equal(heats[0], heats[1][::-1])
    assert np.abs(heats[0][0].astype(int) - heats[0][-1]).max() > 50


def test_the_bars_are_the_shares_of_the_variance_of_the_last_log_weight():
    """Bug: shares of another weight, or a step left out, so that they miss the variance."""
    path, up, down, densities = runs()
    scene = slopes(up, down, densities, alt=ALT)
    shares, log_w = read(scene, 3, "bars", 0, "heights"), up.log_weight(path.target)
    assert shares.sum() == pytest.approx(float(log_w.var()), rel=1e-5)
    terms = increments(up, densities[1:])
    expected = [float(torch.cov(torch.stack([t, log_w]))[0, 1]) for t in terms]
    np.testing.assert_allclose(shares, expected, rtol=1e-4, atol=1e-5)
    assert scene.spec["panels"][3]["title"] == f"variance of log w: {float(log_w.var()):.2f}"


def test_the_histogram_ends_at_the_log_weights_and_starts_at_one_weight():
    """Bug: the evidence's sign turned, or the running weight one density late."""
    path, up, down, densities = runs()
    span = (-12.0, 4.0)
    scene = slopes(up, down, densities, alt=ALT, span=span, exact=LOG_Z)
    heights = read(scene, 2, "bars", 0, "heights")
    log_w = up.log_weight(path.target).numpy()
    expected = np.histogram(np.clip(log_w, *span), 40, span)[0] / len(log_w)
    np.testing.assert_allclose(heights[-1], expected, atol=1e-6)
    assert np.count_nonzero(heights[0]) == 1
    middle = f"mean log w {log_w.mean():.2f}".replace("-", "\u2212")
    assert middle in scene.spec["notes"][-1]


def test_the_arrows_start_at_the_particles_and_keep_their_direction():
    """Bug: arrows of other particles, or turned round."""
    _, up, down, densities = runs()
    lag = np.random.default_rng(0).normal(size=(K + 1, 7, 2))
    scene = slopes(up, down, densities, alt=ALT, extent=(-9, 9), lag=lag)
    tails, heads = (read(scene, 0, "arrows", 0, key) for key in ("xy", "heads"))
    np.testing.assert_allclose(tails, torch.stack(up.states)[:, :7], atol=1e-3)
    drawn = heads - tails
    cosine = (drawn * lag).sum(-1) / np.linalg.norm(drawn, axis=-1) / np.linalg.norm(lag, axis=-1)
    assert cosine.min() > 0.99


def test_what_cannot_be_shown_is_refused():
    """Bug: a picture of paths and densities that do not belong together."""
    _, up, down, densities = runs()
    refused(lambda: slopes(up, down, densities[1:], alt=ALT), "both slopes must have")
    for wrong in (np.zeros((K, 7, 2)), np.zeros((K + 1, 61, 2))):
        refused(lambda lag=wrong: slopes(up, down, densities, alt=ALT, lag=lag), "must have shape")
    lines = Trajectory(tuple(x[:, :1] for x in up.states), up.log_ratio, up.log_source)
    refused(lambda: slopes(lines, down, densities, alt=ALT), "pushed state 0, in the plane")

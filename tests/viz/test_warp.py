"""The rubber sheet: accounts, outlines, and the three views of a flow."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gentoolkit.core import Bijection, Chain, FunctionKernel, Gaussian, standard_normal
from gentoolkit.viz import Scene
from gentoolkit.viz.contour import level_of, outline
from gentoolkit.viz.warp import LARGEST, _bound, warp, warp_time, warp_training
from tests.viz.kinds import unpack
from tests.viz.refused import refused

ALT = "A square grid and some points are bent by the layers of a flow."


class Affine(Bijection):
    """y = x A^T + b."""

    def __init__(self, matrix: list[list[float]], shift: tuple[float, float]) -> None:
        self.matrix, self.shift = torch.tensor(matrix), torch.tensor(shift)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map; the determinant is the same everywhere."""
        log_det = torch.linalg.slogdet(self.matrix.to(x)).logabsdet
        return x @ self.matrix.to(x).T + self.shift.to(x), log_det.expand(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Solve."""
        x = torch.linalg.solve(self.matrix.to(y), (y - self.shift.to(y)).T).T
        return x, self.transform(x)[1]


class Bend(Bijection):
    """y = sinh of the first coordinate, the second as it is."""

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map; the slope is cosh."""
        return torch.stack([x[:, 0].sinh(), x[:, 1]], 1), x[:, 0].cosh().log()

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo."""
        x = torch.stack([y[:, 0].asinh(), y[:, 1]], 1)
        return x, x[:, 0].cosh().log()


class Rough(Bend):
    """A bend that says its log-determinant is an estimate."""

    estimated = True


class Torn(Bend):
    """A bend that sends part of the plane to NaN, both ways."""

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log of a signed number."""
        return x.log(), x.sum(1)


class OneWay(Bend):
    """A bend with an inverse that is not defined everywhere."""

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Log of a signed number."""
        return y.log(), y.sum(1)


def chain(*extra: Bijection, dtype: torch.dtype = torch.float64) -> Chain:
    steps = [Affine([[1.2, 0.4], [-0.3, 0.8]], (0.3, -0.2)), Bend(), *extra]
    return Chain(standard_normal(2, dtype=dtype), steps)


def layers(scene: Scene, kind: str, panel: int | None = None) -> list[dict]:
    chosen = scene.spec["panels"] if panel is None else [scene.spec["panels"][panel]]
    return [layer for p in chosen for layer in p["layers"] if layer["kind"] == kind]


def read(scene: Scene, name: str) -> np.ndarray:
    return unpack(scene.spec["arrays"], scene.buffer, name)


def test_the_accounts_sum_to_log_prob_of_the_end():
    """Bug: a sign of the log-determinant, or accounts of other points than those shown."""
    scene = warp(chain(), alt=ALT, n=50, between=2)
    (points, _), (account,) = layers(scene, "points"), layers(scene, "accounts")
    path, running = read(scene, points["xy"]), read(scene, account["y"])
    assert path.shape == (7, 50, 2) and running.shape == (50, 7)
    inside = np.abs(path[-1]).max(1) < 8  # beyond, the drawing clips
    end = torch.from_numpy(path[-1][inside])
    expected = chain().log_prob(end).numpy()  # pulled, where the account was pushed
    np.testing.assert_allclose(running[inside, -1], expected, atol=5e-3)
    start = torch.from_numpy(path[0][inside])
    np.testing.assert_allclose(
        running[inside, 0], standard_normal(2, dtype=torch.float64).log_prob(start), atol=5e-3
    )
    assert inside.sum() > 40 and np.ptp(running[:, -1] - running[:, 0]) > 0.5


def test_frames_between_layers_lie_on_straight_lines():
    """Bug: a frame too many or too few, so that layers and depths fall apart."""
    scene = warp(chain(), alt=ALT, n=9, between=3)
    assert scene.frames == 9 and scene.spec["times"] == [k / 4 for k in range(9)]
    path = read(scene, layers(scene, "points")[0]["xy"])
    np.testing.assert_allclose(path[2], (path[0] + path[4]) / 2, atol=1e-3)
    np.testing.assert_allclose(path[7], (path[4] + 3 * path[8]) / 4, atol=1e-3)
    notes = scene.spec["notes"]
    assert "After layer 1 of 2, Affine" in notes[4] and "Inside layer 2 of 2, Bend" in notes[5]


def test_the_sheet_is_the_grid_pushed_by_the_layers():
    """Bug: lines of another grid, x and y swapped, or a layer left out."""
    scene = warp(chain(), alt=ALT, n=3, between=0, lines=3, extent=(-2, 2))
    lines = read(scene, layers(scene, "lines", 0)[0]["xy"])  # (frames, 6, 7, 2)
    assert lines.shape == (3, 6, 7, 2)
    ends = {tuple(p) for line in lines[0] for p in line[[0, -1]].round(3).tolist()}
    assert (-2.0, 0.0) in ends and (0.0, 2.0) in ends and len(ends) == 8
    corner = np.array([2.0, 2.0]) @ np.array([[1.2, 0.4], [-0.3, 0.8]]).T + [0.3, -0.2]
    assert np.abs(lines[1] - corner).sum(-1).min() < 1e-3
    far = np.abs(lines[2] - [math.sinh(corner[0]), corner[1]]).sum(-1).min()
    assert far < 1e-3  # kept although it lies four panels away
    inner = lines[1][np.abs(lines[1][..., 0]) < 1.5]
    bent = lines[2][np.abs(lines[1][..., 0]) < 1.5]
    np.testing.assert_allclose(bent, np.stack([np.sinh(inner[:, 0]), inner[:, 1]], 1), atol=2e-3)


def test_the_density_of_each_depth_is_exact_and_upright():
    """Bug: depths in the wrong order, a flipped grid, or a density that does not sum to one."""
    extent, grid = (-9.0, 9.0), 90
    scene = warp(chain(), alt=ALT, n=9, between=0, extent=extent, grid=grid)
    (heat,) = layers(scene, "heat")
    top = scene.spec["arrays"][heat["values"]]["hi"][0]
    shown = read(scene, heat["values"]) / 255 * top
    side = extent[0] + (np.arange(grid) + 0.5) * 0.2
    matrix = np.array([[1.2, 0.4], [-0.3, 0.8]])
    precision = np.linalg.inv(matrix @ matrix.T)

    def gaussian(x1, x2, precision, mean):
        d = np.stack([x1 - mean[0], x2 - mean[1]], -1)
        square = np.einsum("...i,ij,...j->...", d, precision, d)
        return np.exp(-square / 2) * math.sqrt(np.linalg.det(precision)) / (2 * math.pi)

    x1, x2 = np.meshgrid(side, side)
    bent = gaussian(np.arcsinh(x1), x2, precision, (0.3, -0.2)) / np.sqrt(1 + x1**2)
    truth = [
        gaussian(x1, x2, np.eye(2), (0, 0)), gaussian(x1, x2, precision, (0.3, -0.2)), bent
    ]  # fmt: skip
    assert top == pytest.approx(max(t.max() for t in truth), rel=0.01)
    for got, want in zip(shown, truth, strict=True):
        assert np.abs(got - want).max() < 0.51 / 255 * top + 1e-4
        assert np.abs(want - want[::-1]).max() > 0.01 or want is truth[0]


def test_colour_is_the_log_det_gathered_so_far():
    """Bug: colour by one layer's log-determinant, or with the sign turned."""
    scene = warp(chain(), alt=ALT, n=40, between=0)
    points, account = layers(scene, "points")[0], layers(scene, "accounts")[0]
    entry = scene.spec["arrays"][points["values"]]
    low, high = entry["lo"][0], entry["hi"][0]
    assert low == -high  # zero is the middle of the map
    shade = low + read(scene, points["values"]) / 255 * (high - low)
    running = read(scene, account["y"]).T
    gathered = np.clip(running[0] - running, low, high)
    assert np.abs(shade - gathered).max() < 0.51 * (high - low) / 255 + 1e-4
    assert np.ptp(gathered[-1]) > 0.3
    words = [layer["texts"][0] for layer in layers(scene, "text", 0)]
    assert f"+{high:.2f}" in words and f"\u2212{high:.2f}" in words


def test_the_same_chain_gives_the_same_scene_and_leaves_the_random_state():
    """Bug: a committed poster that changes in every build, or a picture that shifts a training."""
    before = torch.get_rng_state()
    first = warp(chain(), alt=ALT, n=20)
    assert torch.equal(before, torch.get_rng_state())
    assert first.buffer == warp(chain(), alt=ALT, n=20).buffer


def test_a_torch_distribution_in_float32_is_a_source():
    """Bug: a dtype forced on the layers, or a source of our own required."""
    normal = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    scene = warp(Chain(normal, [Bend()]), alt=ALT, n=20, between=0, target=normal)
    assert scene.frames == 2 and len(layers(scene, "lines", 1)) == 4


@pytest.mark.parametrize("depth", [6, 30])
def test_a_scene_stays_small_at_any_depth(depth):
    """Bug: a deep flow whose scene bursts a notebook."""
    turn = [[math.cos(0.1), -math.sin(0.1)], [math.sin(0.1), math.cos(0.1)]]
    flow = Chain(standard_normal(2), [Affine(turn, (0.0, 0.0)) for _ in range(depth)])
    scene = warp(flow, alt=ALT, target=standard_normal(2))
    assert len(scene.buffer) <= LARGEST
    assert scene.frames == (43 if depth == 6 else 91)
    assert scene.spec["times"][-1] == depth


def test_outlines_lie_on_the_level():
    """Bug: half a cell off, x and y swapped, or an ambiguous cell that leaves the level."""
    span, grid = (-3.0, 3.0), 60
    side = -3 + (np.arange(grid) + 0.5) * 0.1
    x, y = np.meshgrid(side, side)
    ring = outline(np.exp(-(x**2) - (2 * y) ** 2), math.exp(-1), span, span)
    radius = np.hypot(ring[..., 0], 2 * ring[..., 1])
    assert np.abs(radius - 1).max() < 0.02
    length = np.hypot(*(ring[:, 1] - ring[:, 0]).T).sum()
    assert length == pytest.approx(4.84422, rel=0.01)  # an ellipse with half axes 1 and 1/2
    saddle = outline(x * y, 0.01, span, span)
    assert np.abs(saddle[..., 0] * saddle[..., 1] - 0.01).max() < 0.01
    ends, counts = np.unique(ring.reshape(-1, 2).round(9), axis=0, return_counts=True)
    assert (counts == 2).all() and len(ends) == len(ring)  # closed
    assert outline(x, 9.0, span, span).shape == (0, 2, 2)


def test_the_regions_hold_their_mass():
    """Bug: a level by quantile of cells in place of mass."""
    side = -5 + (np.arange(200) + 0.5) * 0.05
    x, y = np.meshgrid(side, side)
    square = x**2 + y**2
    for share in (0.5, 0.9):
        level = level_of(np.exp(-square / 2), share)
        assert -2 * math.log(level) == pytest.approx(-2 * math.log(1 - share), rel=0.02)
    for bad in (0.0, 1.0):
        with pytest.raises(ValueError, match="got share"):
            level_of(np.ones((2, 2)), bad)


def test_the_scale_of_colours_reaches_the_particles_of_every_frame():
    """Bug: frames without stretch shorten the scale, and the last one leaves it."""
    still, grown = np.zeros((9, 400)), np.linspace(0.5, 1.7, 400)
    assert _bound(np.vstack([still, grown])) == (1.7, False)
    grown[-1] = 30.0
    usual, beyond = _bound(np.vstack([still, grown]))
    assert 1.6 < usual < 1.8 and beyond
    assert _bound(np.zeros((2, 5))) == (0.5, False)


def test_training_shows_each_snapshot_at_full_depth():
    """Bug: every frame the last snapshot, particles drawn anew, or the density of a part."""
    scales = (0.5, 1.0, 2.0)
    flows = [
        Chain(standard_normal(2), [Affine([[s, 0.0], [0.0, s]], (0.0, 0.0))] * 2) for s in scales
    ]
    scene = warp_training(flows, [3.0, 2.0, 1.0], alt=ALT, steps=[0, 10, 50], n=30)
    assert scene.frames == 3 and scene.spec["times"] == [0, 10, 50]
    path = read(scene, layers(scene, "points")[0]["xy"])
    kept = np.abs(path[2]).max(1) < 10
    np.testing.assert_allclose(path[1, kept], 4 * path[0, kept], atol=5e-3)
    heat = layers(scene, "heat")[0]["values"]
    top = scene.spec["arrays"][heat]["hi"][0]
    peaks = read(scene, heat).max((1, 2)) / 255 * top
    variance = np.array(scales) ** 4
    middle = np.exp(-(2 / 16**2) / (2 * variance)) / (2 * math.pi * variance)  # next to the origin
    np.testing.assert_allclose(peaks, middle, atol=0.006)
    curve = layers(scene, "curve")[0]
    np.testing.assert_allclose(read(scene, curve["xy"]), [[0, 3], [10, 2], [50, 1]], atol=2e-2)
    assert scene.spec["notes"][1] == "Step 10: loss 2.00."


def spiral(frames: int = 12, n: int = 15) -> dict:
    """A plane that turns and shrinks: x = e^-t R(t) x0, so log-density grows by 2 t."""
    t = np.linspace(0, 1, frames)
    x0 = np.random.default_rng(0).normal(size=(n, 2))
    turn = np.exp(-t)[:, None, None] * np.stack(
        [np.stack([np.cos(t), -np.sin(t)], -1), np.stack([np.sin(t), np.cos(t)], -1)], -2
    )
    states = np.einsum("fij,nj->fni", turn, x0)
    start = -0.5 * (x0**2).sum(1) - math.log(2 * math.pi)
    return {"states": states, "times": t, "log_density": start + 2 * t[:, None]}


def test_time_is_the_scrubber_of_a_continuous_flow():
    """Bug: colour with the sign of the density, or arrows of the first frame for ever."""
    data = spiral()
    places = np.array([[1.0, 0.0], [0.0, 2.0]])
    velocity = np.linspace(1, 4, 12)[:, None, None] * np.array([[0.0, 1.0], [-2.0, 0.0]])
    scene = warp_time(**data, alt=ALT, field=(places, velocity))
    assert scene.frames == 12 and scene.spec["time_label"] == "t"
    points = layers(scene, "points")[0]
    entry = scene.spec["arrays"][points["values"]]
    shade = entry["lo"][0] + read(scene, points["values"]) / 255 * (2 * entry["hi"][0])
    np.testing.assert_allclose(shade[:, 0], -2 * data["times"], atol=0.02)  # the plane shrinks
    (arrows,) = layers(scene, "arrows")
    length = np.hypot(*(read(scene, arrows["heads"]) - places).T).T
    assert length.max() == pytest.approx(2.0, abs=1e-2)  # a quarter of the extent
    np.testing.assert_allclose(length[:, 1], length[-1, 1] * np.linspace(0.25, 1, 12), atol=5e-3)


def test_a_flow_in_time_shows_its_density_beside_the_target():
    """Bug: the density drawn upside down or of one time for ever, or a target without outlines."""
    data, grid = spiral(), 16
    heat = np.zeros((12, grid, grid))
    heat[np.arange(12), 2, np.arange(12)] = 1.0  # a cell near the lower edge that walks right
    target = lambda x: -2.0 * x.square().sum(1)  # noqa: E731
    scene = warp_time(**data, alt=ALT, density=heat, target=target)
    (layer,) = layers(scene, "heat")
    shown = read(scene, layer["values"])
    assert shown.shape == (12, grid, grid)
    np.testing.assert_array_equal(shown == 255, heat == 1.0)
    assert len(layers(scene, "lines")) >= 4  # two regions, each with a dark edge


def test_a_thin_bridge_is_seen_on_the_logarithmic_scale():
    """Bug: a bridge a thousand times fainter than the modes drawn as empty."""
    data, heat = spiral(), np.full((12, 16, 16), 1e-9)
    heat[:, 2, 2], heat[:, 8, 8] = 0.5, 0.5e-3
    shades = []
    for decades in (None, 4.0):
        scene = warp_time(**data, alt=ALT, density=heat, decades=decades)
        (layer,) = layers(scene, "heat")
        shades.append(read(scene, layer["values"])[:, [2, 8, 4], [2, 8, 4]])
    np.testing.assert_array_equal(shades[0], [[255, 0, 0]] * 12)
    np.testing.assert_allclose(shades[1], [[255, 64, 0]] * 12, atol=1)  # three decades of four
    scene = warp(chain(), alt=ALT, n=9, decades=3.0)
    (layer,) = layers(scene, "heat")
    assert read(scene, layer["values"]).max() == 255
    assert any("or less" in panel["x_label"] for panel in scene.spec["panels"])


def test_accounts_survive_far_outside_of_the_panel():
    """Bug: a number that is read out after it was clipped to the picture's window."""
    scene = Scene(3, alt=ALT)
    y = np.array([[0.0, -900.0], [0.5, -901.25], [1.0, -902.0]])
    scene.panel((0, 2), (0, 1), equal=False).accounts([0, 1, 2], y, others=0)
    (layer,) = layers(scene, "accounts")
    np.testing.assert_array_equal(read(scene, layer["y"]), y.T.astype(np.float32))
    assert layers(scene, "lines") == []


SHORT: dict[str, Any] = {"times": [0.0]}
NO_CHAIN: Any = [Bend()]
GOOD: dict[str, Any] = spiral()
PAIR = [chain(dtype=torch.float32)] * 2


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: warp(NO_CHAIN, alt=ALT), TypeError, "bent by a chain"),
        (lambda: warp(chain(Rough()), alt=ALT), ValueError, r"steps\[2\], a Rough"),
        (lambda: warp(chain(Torn()), alt=ALT), ValueError, "map the whole plane"),
        (lambda: warp(chain(OneWay()), alt=ALT), ValueError, "density=False"),
        (lambda: warp(Chain(standard_normal(2)), alt=ALT), ValueError, "0 steps"),
        (
            lambda: warp(Chain(standard_normal(2), [FunctionKernel(noise, noise)]), alt=ALT),
            ValueError,
            "FunctionKernel",
        ),
        (lambda: warp(Chain(standard_normal(3), [Bend()]), alt=ALT), ValueError, "plane"),
        (lambda: warp(chain(), alt=ALT, n=0), ValueError, "n must be"),
        (lambda: warp(chain(), alt=ALT, lines=1), ValueError, "lines must be"),
        (lambda: warp(chain(), alt=ALT, pieces=0), ValueError, "pieces must be"),
        (lambda: warp(chain(), alt=ALT, between=-1), ValueError, "between must be"),
        (lambda: warp(chain(), alt=ALT, grid=2), ValueError, "grid must be"),
        (lambda: warp(chain(), alt=ALT, extent=(1, -1)), ValueError, "extent"),
        (lambda: warp(chain(), alt=ALT, decades=-1.0), ValueError, "decades"),
        (lambda: warp(chain(), alt="short"), ValueError, "alt must"),
        (lambda: warp(chain(), alt=ALT, grid=900), ValueError, "too large"),
        (
            lambda: warp(chain(), alt=ALT, target=lambda x: x.sum(1) * math.nan),
            ValueError,
            "must have a density",
        ),
        (lambda: warp_training(PAIR[:1], [1.0], alt=ALT), ValueError, "snapshots"),
        (lambda: warp_training(PAIR, [1.0], alt=ALT), ValueError, "losses"),
        (lambda: warp_training(PAIR, [1.0, 0.5], steps=[3, 3], alt=ALT), ValueError, "increase"),
        (lambda: warp_time(**(GOOD | SHORT), alt=ALT), ValueError, "must increase"),
        (lambda: warp_time(**GOOD, alt=ALT, density=np.ones((3, 9, 9))), ValueError, "density"),
        (
            lambda: warp_time(**GOOD, alt=ALT, target=lambda x: x.sum(1)),
            ValueError,
            "pass density as well",
        ),
        (
            lambda: warp_time(**GOOD | {"times": GOOD["times"][::-1]}, alt=ALT),
            ValueError,
            "increase",
        ),
        (
            lambda: warp_time(**GOOD | {"log_density": GOOD["log_density"][:, :3]}, alt=ALT),
            ValueError,
            "log_density must have shape",
        ),
        (lambda: Scene(3, alt=ALT).panel((0, 1), (0, 1)).accounts([0, 1], [[1], [2]]), ValueError,
         "x of the accounts"),
        (lambda: Scene(2, alt=ALT).panel((0, 1), (0, 1)).accounts([0, 1], [[1], [2]], others=-1),
         ValueError, "others"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_three_parts(build, error, words):
    """Bug: a random or broken map drawn as if it were a flow."""
    refused(build, words, error)


def noise(x: Tensor) -> Gaussian:
    return Gaussian(x, 1.0)


def test_a_layer_without_an_inverse_is_drawn_without_density():
    """Bug: an inverse asked for although no density is drawn."""
    scene = warp(chain(OneWay()), alt=ALT, n=9, density=False)
    assert len(scene.spec["panels"]) == 2 and not layers(scene, "heat")
    beside = warp(chain(OneWay()), alt=ALT, n=9, density=False, target=standard_normal(2))
    assert len(beside.spec["panels"]) == 3


def test_the_point_that_is_followed_moves_and_stays_inside():
    """Bug: the drawn path leaves the picture, or belongs to a point that stands still."""
    scene = warp(chain(), alt=ALT, n=200, extent=(-3, 3))
    points = read(scene, layers(scene, "points", 0)[0]["xy"])
    step = np.hypot(*np.diff(points, axis=0).transpose(2, 0, 1)).sum(0)
    assert np.abs(points[:, 0]).max() < 0.85 * 3 and step[0] > np.median(step)
    account = read(scene, layers(scene, "accounts", 2)[0]["y"])
    end = torch.as_tensor(points[-1, :1], dtype=torch.float64)
    assert abs(float(chain().log_prob(end)) - account[0, -1]) < 0.02


def test_a_place_can_be_marked():
    """Bug: a mark that hides the particles' layer or lies elsewhere."""
    scene = warp(chain(), alt=ALT, n=5, between=0, mark=(0.8, 0.4))
    particles, _, ring, dot = layers(scene, "points", 0)
    assert read(scene, particles["xy"]).shape == (3, 5, 2)
    for layer in (ring, dot):
        np.testing.assert_allclose(read(scene, layer["xy"]), [[0.8, 0.4]], atol=1e-3)


def test_more_pieces_follow_a_bend_more_closely():
    """Catches grid lines so coarse that they seem to cross, although the map is invertible."""
    away, bend = [], Chain(standard_normal(2, dtype=torch.float64), [Bend()])
    for pieces in (1, 12):
        scene = warp(bend, alt=ALT, n=3, between=0, lines=3, extent=(-2, 2), pieces=pieces)
        lines = read(scene, layers(scene, "lines", 0)[0]["xy"])[-1]
        assert lines.shape == (6, 2 * pieces + 1, 2)
        across = lines[3:, :, 0]  # along x, whose sinh is bent
        middle = 0.5 * (across[:, 1:] + across[:, :-1])
        flat = np.sinh(0.5 * (np.arcsinh(across[:, 1:]) + np.arcsinh(across[:, :-1])))
        away.append(float(np.abs(middle - flat).max()))
    assert away[1] < 0.02 * away[0]

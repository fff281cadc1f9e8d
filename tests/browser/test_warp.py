"""The rubber sheet in JupyterLab: play, scrub, select a point and turn a knob, all by keyboard."""

import pytest

from gentoolkit.viz import Scene
from tests.browser.lab import (
    active_cell,
    colors_in,
    picture,
    press_play,
    run_all,
    settled,
    wait_for_change,
    write_notebook,
)

pytestmark = pytest.mark.browser

BUILD = """
import torch
from gentoolkit.core import Bijection, Chain, standard_normal
from gentoolkit.viz.warp import warp
from gentoolkit.widgets import Knob, tune

class Affine(Bijection):
    def __init__(self, angle, scale):
        a = torch.tensor(angle)
        turn = torch.stack([torch.stack([a.cos(), -a.sin()]), torch.stack([a.sin(), a.cos()])])
        self.matrix = turn @ torch.diag(torch.tensor([scale, 1.0]))
    def transform(self, x):
        return x @ self.matrix.T, torch.linalg.slogdet(self.matrix)[1].expand(len(x))
    def inverse(self, y):
        return y @ self.matrix.inverse().T, torch.linalg.slogdet(self.matrix)[1].expand(len(y))

class Bend(Bijection):
    def __init__(self, bend):
        self.bend = bend
    def transform(self, x):
        s = self.bend * x[:, 0]
        y = torch.stack([s.sinh() / self.bend, x[:, 1] + 0.4 * x[:, 0] ** 2 - 0.4], 1)
        return y, s.cosh().log()
    def inverse(self, y):
        s = (self.bend * y[:, 0]).asinh()
        x = s / self.bend
        return torch.stack([x, y[:, 1] - 0.4 * x ** 2 + 0.4], 1), s.cosh().log()

def target(x):
    return -((x.norm(dim=1) - 2) ** 2) / 0.3

def scene_of(values):
    if values["bend"] > 1.45:
        raise ValueError("the bend is too strong: got above 1.45; turn it back")
    steps = [Affine(0.6, 0.7), Bend(values["bend"]), Affine(values["turn"], 1.2), Bend(0.5)]
    alt = "A grid and four hundred points are turned, bent, turned and bent again."
    return warp(Chain(standard_normal(2), steps), alt=alt, target=target)

knobs = {"bend": Knob(0.1, 1.5, 0.8, 0.05, "bend of layer 2"), "turn": Knob(-3, 3, -1, 0.1, "turn")}
"""
SHOW = "tuned = tune(scene_of, knobs); tuned"


def test_the_sheet_by_keyboard_in_jupyterlab(page, lab, tmp_path, watch, save_shot):
    """Bug: a selection or a knob that only a mouse can move, or keys that Lab takes away."""
    run_all(page, lab, write_notebook(tmp_path / "warp.ipynb", BUILD, SHOW))
    page.wait_for_selector(".gt-player[data-painted]")
    player, knobs = page.locator(".gt-player"), page.locator(".gt-knobs input")
    player.scroll_into_view_if_needed()
    selected = active_cell(page)
    assert player.locator("canvas").count() == 3 and colors_in(player) > 100
    picked, spoken = player.locator(".gt-picked"), player.locator("[role=status]")
    assert picked.inner_text().startswith("point 1 of 400: log-density \u2212")
    start = picked.inner_text()

    before = picture(player)
    player.locator(".gt-range").focus()
    page.keyboard.press("End")
    for _ in range(7):
        page.keyboard.press("ArrowLeft")
    scrubbed = wait_for_change(player, before)
    assert "After layer 3 of 4, Affine" in player.locator(".gt-note").inner_text()
    assert picked.inner_text() != start

    page.keyboard.press("]")
    chosen = wait_for_change(player, scrubbed)
    assert picked.inner_text().startswith("point 2 of 400")
    assert spoken.text_content() == picked.inner_text()
    page.keyboard.press("[")
    assert wait_for_change(player, chosen) == scrubbed
    page.keyboard.press("[")  # round to the last point
    player.locator('[aria-label="Next point"]').focus()
    for _ in range(3):
        page.keyboard.press("Enter")
    assert picked.inner_text().startswith("point 3 of 400")
    chosen = picture(player)

    knobs.nth(0).focus()
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    wait_for_change(player, chosen)
    assert knobs.nth(0).get_attribute("aria-valuetext") == "bend of layer 2 0.70"
    turned = settled(player)  # two turns, perhaps two pictures
    assert picked.inner_text().startswith("point 3 of 400")  # frame and point are kept
    assert "After layer 3 of 4" in player.locator(".gt-note").inner_text()
    save_shot(page, "warp")
    page.keyboard.press("End")
    page.wait_for_selector(".gt-message:not([hidden])")
    message = page.locator(".gt-message").inner_text()
    assert message.startswith("the bend is too strong") and "still shows bend = 0.7" in message
    assert picture(player) == turned
    page.keyboard.press("Home")
    page.wait_for_selector(".gt-message[hidden]", state="attached")
    home = wait_for_change(player, turned)
    assert active_cell(page) == selected, "JupyterLab's cell selection moved with the keys"
    save_shot(page, "warp_home")

    press_play(player)
    wait_for_change(player, home)
    page.wait_for_timeout(300)
    draws = int(player.get_attribute("data-draws"))
    page.wait_for_timeout(1000)
    rate = int(player.get_attribute("data-draws")) - draws
    press_play(player)
    print(f"\nwarp: {rate} frames a second")
    assert not [e for e in watch.errors if "gentoolkit" in e or "anywidget" in e]


def test_a_click_selects_a_point_and_its_account_on_a_page(page, watch, tmp_path):
    """Bug: the path of one point beside the account of another; an account without a kernel."""
    alt = "Two points change their places, and each has a running number."
    scene = Scene(2, alt=alt)
    scene.panel((0, 1), (0, 1), axes=False).points(
        [[[0.2, 0.2], [0.8, 0.8]], [[0.8, 0.8], [0.2, 0.2]]]
    )
    panel = scene.panel((0, 1), (0, 1), equal=False, axes=False)
    panel.accounts([0, 1], [[0.1, 0.9], [0.3, 0.9]], name="height", color="#D55E00", others=0)
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{scene.to_html()}")
    page.goto(path.as_uri())
    page.wait_for_selector(".gt-player[data-painted]")
    view = page.locator(".gt-player")
    assert view.locator(".gt-picked").inner_text() == "point 1 of 2: height 0.10"
    first = orange_height(view)
    box = view.locator("canvas").first.bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.2 * box["height"])
    page.wait_for_function("() => /point 2/.test(document.querySelector('.gt-picked').textContent)")
    assert view.locator(".gt-picked").inner_text() == "point 2 of 2: height 0.90"
    assert first == pytest.approx(0.15, abs=0.1)  # the pale rest of the curve is not counted
    assert orange_height(view) == pytest.approx(0.9, abs=0.05)
    view.locator('[aria-label="Step forward"]').click()
    page.keyboard.press("[")
    assert view.locator(".gt-picked").inner_text() == "point 1 of 2: height 0.30"
    assert not watch.errors


def orange_height(view):
    """Mean height, from 0 to 1, of the pixels in the curve's full colour on the second canvas."""
    return (
        view.locator("canvas")
        .nth(1)
        .evaluate(
            """c => {
        const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        let sum = 0, count = 0;
        for (let i = 0; i < data.length; i += 4) {
          if (data[i] !== 0xd5 || data[i + 1] !== 0x5e || data[i + 2] !== 0) continue;
          sum += 1 - Math.floor(i / 4 / c.width) / c.height;
          count += 1;
        }
        return sum / count;
        }"""
        )
    )

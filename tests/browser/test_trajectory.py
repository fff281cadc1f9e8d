"""Lanes, the probe and strips in a browser: scrub, drag, keys, a guidance knob."""

import re

import numpy as np
import pytest
import torch

from gentoolkit.viz import Lane, Scene, trajectories
from tests.browser.lab import (
    active_cell,
    colors_in,
    picture,
    press_play,
    run_all,
    wait_for_change,
    write_notebook,
)

pytestmark = pytest.mark.browser

TOLD = re.compile(r"handle at \((.*), (.*)\): estimate of the data \((.*), (.*)\)")


def numbers(view):
    """The handle's place and the ring's, as they are written under the picture."""
    found = TOLD.match(view.locator(".gt-told").inner_text())
    assert found is not None
    return [float(part.replace("\u2212", "-")) for part in found.groups()]


def told(x, y, t):
    """The denoiser, which is linear in x and y, so that interpolation is exact."""
    return [(1 - t) * x + 0.5, 0.5 * y - t * x]


def lanes(n=40):
    walk = np.random.default_rng(0).normal(size=(11, n, 2)).cumsum(0) / 4
    fine = Lane("ten steps", list(walk), np.linspace(1, 0, 11), list(walk * 0.5))
    return [fine, Lane("five steps", list(walk[::2]), np.linspace(1, 0, 6))]


def open_page(page, tmp_path, scene):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{scene.to_html()}")
    page.goto(path.as_uri())
    page.wait_for_selector(".gt-player[data-painted]")
    return page.locator(".gt-player")


def test_the_probe_by_mouse_and_keys_on_a_page(page, watch, tmp_path, save_shot):
    """Bug: a ring interpolated at a mirrored place or of another frame; a handle without keys."""
    scene = trajectories(
        lanes(),
        denoiser=lambda x, t: torch.stack(told(x[:, 0], x[:, 1], t), 1),
        density=lambda x, t: torch.exp(-x.square().sum(1)),
        off=lambda x: x[:, 0] > 1,
        extent=(-2, 2),
        frames=21,
        probe=(1.0, 0.5),
    )
    view = open_page(page, tmp_path, scene)
    handle = view.locator(".gt-handle")
    assert handle.count() == 1
    assert numbers(view) == pytest.approx([1, 0.5, *told(1, 0.5, 1)], abs=0.011)
    before = picture(view)
    others = picture_of(view, 1)
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    unit = view.locator("canvas").first.bounding_box()["width"] / 4.6  # about, of the axes
    page.mouse.move(x, y)
    page.mouse.down()
    for part in np.linspace(0, 1, 12):
        page.mouse.move(x - part * unit, y - 0.5 * part * unit)
    page.mouse.up()
    dragged = wait_for_change(view, before)
    px, py, *ring = numbers(view)
    assert -0.4 < px < 0.4 and 0.7 < py < 1.3
    assert ring == pytest.approx(told(px, py, 1), abs=0.011)
    assert picture_of(view, 1) == others  # a drag repaints the probe's own panel
    moved = handle.bounding_box()
    assert moved["x"] == pytest.approx(box["x"] - unit, abs=1.5)
    assert moved["y"] == pytest.approx(box["y"] - 0.5 * unit, abs=1.5)

    handle.focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    pressed = wait_for_change(view, dragged)
    nx, ny, *ring = numbers(view)
    assert (nx - px, ny - py) == pytest.approx((0.24, -0.04), abs=0.011)
    assert ring == pytest.approx(told(nx, ny, 1), abs=0.011)
    label = handle.get_attribute("aria-label")
    assert "Arrow keys move" in label and view.locator(".gt-told").inner_text() in label
    page.wait_for_timeout(500)
    assert view.locator("[role=status]").text_content() == view.locator(".gt-told").inner_text()

    view.locator(".gt-range").focus()
    page.keyboard.press("End")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    wait_for_change(view, pressed)
    assert view.get_attribute("data-frame") == "15"
    assert numbers(view) == pytest.approx([nx, ny, *told(nx, ny, 0.25)], abs=0.011)
    note = view.locator(".gt-note").inner_text()
    assert "ten steps: step 7 of 10; five steps: step 3 of 5." in note
    save_shot(page, "trajectory_page")
    handle.focus()
    page.keyboard.press("Home")
    page.wait_for_function(
        "() => /at \\(1.00, 0.50\\)/.test(document.querySelector('.gt-told').textContent)"
    )
    assert not watch.errors


def picture_of(view, index):
    return view.locator("canvas").nth(index).evaluate("c => c.toDataURL()")


def test_crosses_and_the_ring_are_drawn_where_they_belong(page, tmp_path):
    """Bug: a cross for the wrong particle, or a selected particle whose estimate is another's."""
    scene = Scene(2, alt="Two points stand in a square, one of them a cross.")
    panel = scene.panel((0, 1), (0, 1), axes=False)
    points = [[[0.25, 0.75], [0.75, 0.25]]] * 2
    ghosts = [[[0.25, 0.25], [0.75, 0.75]]] * 2
    panel.points(points, crossed=[False, True], ghosts=ghosts, size=14, alpha=1.0)
    view = open_page(page, tmp_path, scene)
    red = centre(view, "b2182b")
    assert red == pytest.approx([0.75, 0.25], abs=0.02)
    assert centre(view, "1f2933") is None
    box = view.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.wait_for_timeout(200)
    ring = centre(view, "1f2933", (0.0, 0.4))  # below the middle lies only the ring
    assert ring == pytest.approx([0.25, 0.25], abs=0.03)


def centre(view, color, rows=(0.0, 1.0)):
    """Mean place, from 0 to 1 and upward, of the pixels of one colour between two heights."""
    return view.locator("canvas").first.evaluate(
        """(c, [color, low, high]) => {
        const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        const want = [0, 2, 4].map((k) => parseInt(color.slice(k, k + 2), 16));
        let x = 0, y = 0, count = 0;
        for (let i = 0; i < data.length; i += 4) {
          if (want.some((v, k) => Math.abs(v - data[i + k]) > 4)) continue;
          const up = 1 - Math.floor(i / 4 / c.width) / c.height;
          if (up < low || up > high) continue;
          x += ((i / 4) % c.width) / c.width;
          y += up;
          count += 1;
        }
        return count ? [x / count, y / count] : null;
        }""",
        [color, *rows],
    )


BUILD = """
import time, numpy as np, torch
from gentoolkit.viz import Lane, strip, trajectories
from gentoolkit.widgets import Knob, play, tune
rng = np.random.default_rng(0)
def lane(name, steps, n=1000):
    t = np.linspace(1, 0, steps + 1)
    angle = 2 * np.pi * rng.integers(0, 8, n) / 8
    end = 2.2 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.2 * rng.normal(size=(n, 2))
    noise = np.random.default_rng(1).normal(size=(n, 2))
    states = [(1 - s) * end + s * noise for s in t]
    return Lane(name, states, t, [end] * len(t))
scene = trajectories(
    [lane("ancestral, 59 steps", 59), lane("DDIM, 8 steps", 8)],
    density=lambda x, t: torch.exp(-(x.norm(dim=1) - 2 * (1 - t)).square() / (0.1 + t)),
    score=lambda x, t: -x, denoiser=lambda x, t: x * (1 - t)[:, None],
    off=lambda x: x[:, 0] > 2.4, extent=(-4, 4), fps=20)
print(len(scene.buffer))
pixels = {g: np.clip(rng.random((20, 10, 8, 8)) * np.linspace(1, 0, 20)[:, None, None, None]
          + g * np.eye(8) / 4, 0, 1) for g in (0, 1, 2, 4)}
ready = {float(g): strip(p, np.linspace(1, 0, 20), labels=range(10), limits=(0, 1))
         for g, p in pixels.items()}
"""
SHOW = "start = time.time(); play(scene)"
GUIDE = "tune(lambda v: ready[v['guidance']], {'guidance': Knob.among(ready, 1)})"


def test_lanes_and_a_guidance_knob_in_jupyterlab(
    page, lab, tmp_path, watch, save_shot, record_property
):
    """Bug: two full lanes that crawl, keys that Lab takes from the handle, a lost choice."""
    cells = (BUILD, SHOW, GUIDE, "print(start)")
    run_all(page, lab, write_notebook(tmp_path / "trajectory.ipynb", *cells))
    page.wait_for_selector(".gt-player[data-painted]")
    player, tiles = page.locator(".gt-player").nth(0), page.locator(".gt-player").nth(1)
    player.scroll_into_view_if_needed()
    assert player.locator("canvas").count() == 2 and colors_in(player) > 100
    handle = player.locator(".gt-handle")
    handle.focus()
    selected = active_cell(page)
    first = numbers(player)
    before = picture(player)
    for key in ("ArrowLeft", "ArrowUp", "PageDown"):
        page.keyboard.press(key)
    wait_for_change(player, before)
    assert numbers(player)[:2] == pytest.approx([first[0] - 0.08, first[1] - 0.32], abs=0.011)
    assert active_cell(page) == selected, "JupyterLab's cell selection moved with the keys"

    press_play(player)
    page.wait_for_timeout(500)
    draws = int(player.get_attribute("data-draws"))
    page.wait_for_timeout(2000)
    grown = "([v, n]) => Number(v.dataset.draws) > n"
    page.wait_for_function(grown, arg=[player.element_handle(), draws])
    rate = (int(player.get_attribute("data-draws")) - draws) / 2
    save_shot(page, "trajectory_lab")
    press_play(player)
    outputs = page.locator(".jp-OutputArea-output pre").all_inner_texts()
    painted = float(player.get_attribute("data-painted")) / 1000
    paint = painted - float(outputs[-1])
    size = int(outputs[0])
    print(f"\ntrajectory: {rate:.0f} frames a second, first paint {paint:.2f} s, {size} bytes")
    record_property("frames_per_second", rate)
    assert paint > 0
    assert size < 1_500_000

    tiles.scroll_into_view_if_needed()
    shown = picture(tiles)
    knob = page.locator(".gt-knobs input")
    knob.focus()
    assert knob.get_attribute("aria-valuetext") == "guidance 1"
    page.keyboard.press("ArrowRight")
    two = wait_for_change(tiles, shown)
    assert knob.get_attribute("aria-valuetext") == "guidance 2"
    page.keyboard.press("ArrowRight")
    wait_for_change(tiles, two)
    assert knob.get_attribute("aria-valuetext") == "guidance 4"
    save_shot(page, "trajectory_guidance")
    assert not [e for e in watch.errors if "gentoolkit" in e or "anywidget" in e]

"""Player and explorer in JupyterLab, with a kernel."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.browser.lab import (
    PATIENCE,
    active_cell,
    colors_in,
    picture,
    press_play,
    run_all,
    wait_for_change,
    wait_for_data,
    write_notebook,
)

pytestmark = pytest.mark.browser

BUILD = """
import time, numpy as np, torch
from gentoolkit.viz import Scene
from gentoolkit.widgets import LatentExplorer, Player
rng = np.random.default_rng(0)
frames, count = 100, 2000
t = np.linspace(0, 1, frames)
angle = 2 * np.pi * rng.integers(0, 8, count) / 8
end = 2.2 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.18 * rng.normal(size=(count, 2))
share = (3 * t**2 - 2 * t**3)[:, None, None]
paths = (1 - share) * rng.normal(size=(count, 2)) + share * end
axis = np.linspace(-3.5, 3.5, 64)
x, y = np.meshgrid(axis, axis)
heat = np.stack([np.exp(-((np.hypot(x, y) - 2.2 * s) ** 2) / (1.2 - s)) for s in t])

def scene(colormap):
    alt = "Two thousand points leave a round cloud and gather in eight clusters on a ring."
    notes = [f"{100 * s:.0f} % of the way" for s in t]
    made = Scene(frames, alt=alt, times=t, fps=25, group="pair", notes=notes)
    panel = made.panel((-3.5, 3.5), (-3.5, 3.5), x_label="x₁", y_label="x₂")
    panel.heat(heat, colormap=colormap, alpha=0.6).points(paths, size=4)
    return made

answers = []
def decode(z):
    answers.append(z.shape[0])
    ramp = torch.linspace(-1, 1, 64, dtype=z.dtype)
    return torch.sigmoid(2 * z[:, :1] * ramp + 2 * z[:, 1:] * ramp.flip(0))
"""
FIRST = "first = Player(scene('greys')); start = time.time(); first"
EXPLORE = (
    "explorer = LatentExplorer(decode, points=rng.normal(size=(300, 2)), "
    "labels=rng.integers(0, 4, 300)); explorer"
)
SECOND = "Player(scene('cividis'))"


CHART = """
from gentoolkit.viz.charts import curves
curves({"a": [1.0, 2.0]}, alt="a line that rises from one to two")
"""


def test_pictures_follow_a_dark_theme(page, lab, tmp_path):
    """Catches white cards in a dark notebook, and charts that are turned over in a light one."""
    run_all(page, lab, write_notebook(tmp_path / "dark.ipynb", BUILD, FIRST, CHART))
    page.wait_for_selector(".gt-player[data-painted]")
    page.wait_for_selector(".js-plotly-plot .main-svg")
    look = """['.gt-player', '.js-plotly-plot'].map(
        (name) => getComputedStyle(document.querySelector(name)).filter)"""
    assert page.evaluate(look) == ["none", "none"]
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert all("invert(0.9)" in shown for shown in page.evaluate(look))
    shot = Image.open(io.BytesIO(page.locator(".gt-player").first.screenshot())).convert("L")
    assert np.median(np.asarray(shot)) < 90


@pytest.fixture
def opened(page, lab, tmp_path):
    cells = (BUILD, FIRST, SECOND, EXPLORE)
    run_all(page, lab, write_notebook(tmp_path / "player_live.ipynb", *cells))
    page.wait_for_selector(".gt-player[data-painted]")
    page.wait_for_selector(".gt-explorer[data-painted]")
    return page


def ask(page, code):
    """Run a cell added at the end, and return what it prints."""
    cell = page.locator(".jp-CodeCell").last
    cell.locator(".cm-content").click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.insert_text(code)
    page.keyboard.press("Control+Enter")
    output = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output pre")
    output.wait_for(timeout=1000 * PATIENCE)
    return output.inner_text().strip()


def test_player_by_keyboard_in_jupyterlab(opened, watch, save_shot, record_property):
    """Bug: Lab takes the arrow keys, Play does nothing, the linked view stands still."""
    page = opened
    first, second = page.locator(".gt-player").nth(0), page.locator(".gt-player").nth(1)
    first.scroll_into_view_if_needed()
    assert colors_in(first) > 100
    before = picture(first)
    scrub = first.locator("input")
    scrub.focus()
    selected = active_cell(page)
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "ArrowRight", "PageUp", "Home", "End"):
        page.keyboard.press(key)
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    moved = wait_for_change(first, before)
    assert scrub.get_attribute("aria-valuetext") == "t = 0.95, 95 of 100"
    assert active_cell(page) == selected, "JupyterLab's cell selection moved with the arrows"
    assert scrub.evaluate("e => document.activeElement === e")
    assert first.locator("[role=status]").text_content() == "95 % of the way"
    assert second.get_attribute("data-frame") == "94"
    second.scroll_into_view_if_needed()
    linked = picture(second)
    first.scroll_into_view_if_needed()

    press_play(first)
    wait_for_change(first, moved)
    assert first.locator(".gt-play").inner_text() == "Pause"
    page.wait_for_timeout(500)
    draws = int(first.get_attribute("data-draws"))
    took = page.evaluate(
        "() => new Promise((done) => { const a = performance.now();"
        " setTimeout(() => done(performance.now() - a), 3000); })"
    )
    rate = (int(first.get_attribute("data-draws")) - draws) / (took / 1000)
    assert second.get_attribute("data-playing") == "true"
    press_play(first)
    assert first.get_attribute("data-playing") == second.get_attribute("data-playing") == "false"
    assert first.get_attribute("data-frame") == second.get_attribute("data-frame")
    save_shot(page, "player_live")
    second.scroll_into_view_if_needed()
    wait_for_change(second, linked)
    save_shot(page, "player_live_linked")

    shown = first.get_attribute("data-frame")
    painted = float(first.get_attribute("data-painted"))
    frame, started, heard = ask(page, "print(first.frame, start, first.playing)").split()
    assert (frame, heard) == (shown, "False"), "Python did not hear where the reader stopped"
    paint = painted / 1000 - float(started)
    print(f"\nplayer: {rate:.0f} frames a second, first paint after {paint:.2f} s")
    record_property("frames_per_second", round(rate, 1))
    record_property("first_paint_seconds", round(paint, 2))
    assert paint > 0
    assert not [e for e in watch.errors if "gentoolkit" in e or "anywidget" in e]


def test_show_and_set_from_python(opened):
    """Bug: a new scene or a frame set in Python that the browser does not draw."""
    page = opened
    first = page.locator(".gt-player").first
    ask(page, "first.frame = 40; print('set')")
    wait_for_data(page.locator(".gt-player").first, "frame", "40")
    assert first.locator("input").get_attribute("aria-valuetext").endswith("41 of 100")
    ask(page, "heat = heat[:, ::-1]; paths = -paths; first.show(scene('viridis')); print('shown')")
    first.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    assert first.locator("canvas").count() == 1
    assert colors_in(first) > 100


def test_explorer_by_mouse_and_keyboard_in_jupyterlab(opened, save_shot):
    """Bug: a handle that the mouse or the keys cannot move, or a kernel that is not asked."""
    page = opened
    view = page.locator(".gt-explorer")
    view.scroll_into_view_if_needed()
    plane = view.locator(".gt-pad canvas")
    before = picture(view)
    box = plane.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    for i in range(1, 20):
        page.mouse.move(middle[0] + 4 * i, middle[1] - 3 * i)
    page.mouse.up()
    dragged = wait_for_change(view, before)
    z1, z2 = map(float, view.get_attribute("data-z").split())
    assert z1 > 0.5 and z2 > 0.4
    wait_for_data(page.locator(".gt-explorer").first, "exact", "true")

    plane.focus()
    selected = active_cell(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    wait_for_change(view, dragged)
    wait_for_data(page.locator(".gt-explorer").first, "exact", "true")
    moved = list(map(float, view.get_attribute("data-z").split()))
    assert moved == pytest.approx([z1 - 0.12, z2 - 0.6], abs=2e-4)
    assert active_cell(page) == selected
    page.wait_for_timeout(600)
    assert "z = (" in view.locator("[role=status]").text_content()
    save_shot(page, "explorer_live")
    page.keyboard.press("Home")
    page.wait_for_function(
        "() => document.querySelector('.gt-explorer').dataset.z === '0.0000 0.0000'"
    )
    answer = ask(page, "print(max(answers[1:]), [round(v, 3) for v in explorer.z])")
    assert answer == "1 [0.0, 0.0]"

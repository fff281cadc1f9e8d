"""Scenes on a page without a kernel, opened from the disk."""

import numpy as np
import pytest
import torch

from gentoolkit.viz import Scene
from gentoolkit.widgets import LatentExplorer
from tests.browser.lab import picture, press_play, wait_for_change, wait_for_data

pytestmark = pytest.mark.browser


def moving(seed, group=None):
    points = np.cumsum(np.random.default_rng(seed).normal(0, 0.1, size=(20, 50, 2)), axis=0)
    notes = [f"note {i}" for i in range(20)]
    alt = "Fifty points walk at random away from the middle of a square."
    scene = Scene(20, alt=alt, notes=notes, times=np.arange(20) / 100, group=group)
    scene.panel((-2, 2), (-2, 2), title="walk").points(points)
    return scene


def open_page(page, tmp_path, *fragments):
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><meta charset=utf-8><body>" + "".join(fragments))
    page.goto(path.as_uri())
    views = page.locator(".gt-player, .gt-explorer")
    for i in range(len(fragments)):
        page.wait_for_function(
            "i => document.querySelectorAll('.gt-player, .gt-explorer')[i]?.dataset.painted", arg=i
        )
    return [views.nth(i) for i in range(len(fragments))]


def test_two_scenes_of_one_page_play_and_step_by_themselves(page, watch, tmp_path):
    """Bug: a second scene that takes the first one's place, a CDN, a script error."""
    first, second = open_page(page, tmp_path, moving(0).to_html(), moving(0).to_html())
    assert picture(first) == picture(second)
    before = picture(first)
    press_play(first)
    wait_for_change(first, before)
    assert first.get_attribute("data-playing") == "true"
    press_play(first)
    assert picture(second) == before  # not linked: the second has not moved
    second.locator('[aria-label="Step forward"]').click()
    wait_for_change(second, before)
    valuetext = second.locator("input").get_attribute("aria-valuetext")
    assert valuetext == "t = 0.01, 2 of 20"
    assert second.locator(".gt-note").inner_text() == "note 1"
    second.locator('[aria-label="Step back"]').click()
    page.wait_for_timeout(100)
    assert picture(second) == before
    assert not watch.errors


def test_linked_scenes_move_and_play_together(page, watch, tmp_path):
    """Bug: frame linked but not playing, or two views that push each other."""
    first, second = open_page(page, tmp_path, moving(0, "a").to_html(), moving(1, "a").to_html())
    before = picture(second)
    first.locator("input").focus()
    page.keyboard.press("End")
    after = wait_for_change(second, before)
    assert second.get_attribute("data-frame") == first.get_attribute("data-frame") == "19"
    press_play(second)
    wait_for_change(second, after)
    assert first.get_attribute("data-playing") == second.get_attribute("data-playing") == "true"
    press_play(first)
    assert second.get_attribute("data-playing") == "false"
    assert second.get_attribute("data-frame") == first.get_attribute("data-frame")
    assert not watch.errors


def test_nothing_starts_by_itself_and_a_hidden_player_rests(page, tmp_path):
    """Bug: autoplay, or an animation that burns a core while it is out of sight."""
    spacer = '<div style="height:4000px"></div>'
    (view,) = open_page(page, tmp_path, moving(0).to_html() + spacer)
    page.wait_for_timeout(300)
    assert view.get_attribute("data-frame") == "0"
    press_play(view)
    page.wait_for_timeout(300)
    page.evaluate("window.scrollTo(0, 3500)")
    page.wait_for_timeout(300)
    draws = view.get_attribute("data-draws")
    page.wait_for_timeout(400)
    assert view.get_attribute("data-draws") == draws
    assert view.get_attribute("data-playing") == "false"


def test_reduced_motion_plays_once_in_whole_frames(page, tmp_path):
    """Bug: gliding and looping for a reader who asked for less motion."""
    page.emulate_media(reduced_motion="reduce")
    scene = moving(0)
    (view,) = open_page(page, tmp_path, scene.to_html())
    assert view.locator("select").input_value() == "0.5"
    view.locator("select").select_option("4")
    press_play(view)
    wait_for_data(view, "frame", "19")
    page.wait_for_timeout(1200)
    assert view.get_attribute("data-playing") == "false"
    assert view.get_attribute("data-frame") == "19"


def test_a_click_on_a_point_shows_its_path(page, tmp_path):
    """Bug: a click that selects a point elsewhere, or none."""
    scene = Scene(2, alt="Two points change their places in a square of side one.")
    scene.panel((0, 1), (0, 1), axes=False).points(
        [[[0.2, 0.2], [0.8, 0.8]], [[0.8, 0.8], [0.2, 0.2]]]
    )
    (view,) = open_page(page, tmp_path, scene.to_html())
    before = picture(view)
    box = view.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_timeout(100)
    assert picture(view) == before
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.8 * box["height"])
    wait_for_change(view, before)


def test_the_explorer_decodes_where_the_handle_is(page, watch, tmp_path):
    """Bug: the image of a mirrored place; checked against the decoder, pixel by pixel."""

    def decode(z):
        ramp = torch.linspace(0, 1, 4, dtype=z.dtype)
        return 0.5 + 0.2 * z[:, :1] * ramp + 0.2 * z[:, 1:] * ramp.flip(0)

    explorer = LatentExplorer(decode, (-1, 1), image_shape=(2, 2), grid=3)
    (view,) = open_page(page, tmp_path, explorer.to_html())
    view.locator(".gt-pad canvas").focus()
    for key in ("Shift+ArrowRight", "ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.wait_for_function(
        "() => document.querySelector('.gt-explorer').dataset.z === '0.2400 -0.4000'"
    )
    shades = view.locator(".gt-decoded").evaluate(
        """c => [[1, 1], [3, 1], [1, 3], [3, 3]].map(([x, y]) =>
        c.getContext('2d').getImageData(x * c.width / 4, y * c.height / 4, 1, 1).data[0])"""
    )
    wanted = decode(torch.tensor([[0.24, -0.4]]))[0].numpy()
    ink = (255 - np.array(shades)) / 255  # the grey map is monotone: more ink, darker
    assert np.argsort(ink).tolist() == np.argsort(wanted).tolist()
    label = view.locator(".gt-decoded").get_attribute("aria-label")
    assert "z = (0.24, \u22120.40)" in label
    assert not watch.errors

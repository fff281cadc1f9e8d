"""Every lesson in JupyterLab: run it, press play, scrub by keyboard, look.

A lesson is run as far as its first picture, lesson 00 to its end; with GENTOOLKIT_WHOLE_LESSONS=1
each is run to its end. That every cell runs, and shows what is stored, is nbval's to test.
"""

import os
import re
from pathlib import Path

import nbformat
import pytest

from tests.browser.lab import colors_in, picture, press_play, run_all, wait_for_change

pytestmark = pytest.mark.browser

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


PICTURES = re.compile(r"\b(play|tune)\(")
CHART = re.compile(r"\b(space_time|curves)\(")
# Lessons that open with a picture that stands still: it has no clock to press.
STILL = {"16_diffusion"}
# Lessons that open with a chart; their players come after minutes of training.
CHARTS = {"03_hierarchy", "20_likelihood"}


def beginning(lesson, folder):
    """Copy a lesson as far as its first picture."""
    book = nbformat.read(lesson, as_version=4)
    opening = CHART if lesson.stem in CHARTS else PICTURES
    first = next(
        i
        for i, cell in enumerate(book.cells)
        if cell.cell_type == "code" and opening.search(cell.source)
    )
    book.cells = book.cells[: first + 1]
    nbformat.write(book, folder / lesson.name)
    return folder / lesson.name


def test_the_lessons_exist():
    """Bug: a moved folder, which would leave no lesson to test and a green run."""
    assert len(LESSONS) >= 3, f"found {[lesson.name for lesson in LESSONS]} in notebooks/"


@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.stem for lesson in LESSONS])
def test_a_lesson_runs_and_plays_in_the_browser(lesson, page, lab, save_shot, tmp_path):
    """Bug: a lesson that runs headless but shows a dead picture to a reader."""
    whole = os.environ.get("GENTOOLKIT_WHOLE_LESSONS") == "1" or lesson.stem == "00_start"
    run_all(page, lab, lesson if whole else beginning(lesson, tmp_path))
    if lesson.stem in CHARTS:
        page.wait_for_selector(".js-plotly-plot .main-svg")
        save_shot(page, lesson.stem)
        return
    player = page.locator(".gt-player").first
    player.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.gt-player')?.dataset.painted")
    assert colors_in(player) > 20
    save_shot(page, lesson.stem)
    if lesson.stem in STILL:
        assert not player.locator("input").is_visible()
        return
    before = picture(player)
    player.locator("input").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    scrubbed = wait_for_change(player, before)
    text = player.locator("input").get_attribute("aria-valuetext")
    last = int(player.locator("input").get_attribute("max"))
    assert text.endswith(f"{last} of {last + 1}")
    press_play(player)
    wait_for_change(player, scrubbed)
    press_play(player)
    assert player.get_attribute("data-playing") == "false"
    save_shot(page, lesson.stem)

"""Every lesson in JupyterLab: run all cells, press play, scrub by keyboard, look."""

from pathlib import Path

import pytest

from tests.browser.lab import colors_in, picture, press_play, run_all, wait_for_change

pytestmark = pytest.mark.browser

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_the_lessons_exist():
    """Bug: a moved folder, which would leave no lesson to test and a green run."""
    assert len(LESSONS) >= 3, f"found {[lesson.name for lesson in LESSONS]} in notebooks/"


@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.stem for lesson in LESSONS])
def test_a_lesson_runs_and_plays_in_the_browser(lesson, page, lab, save_shot):
    """Bug: a lesson that runs headless but shows a dead picture to a reader."""
    run_all(page, lab, lesson, seconds=300)  # two lessons at once; nbval holds the budget
    player = page.locator(".gt-player").first
    player.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.gt-player')?.dataset.painted")
    assert colors_in(player) > 20
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

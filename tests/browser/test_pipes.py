"""Pipes in a browser: particles run, and a knob settles the water, by keyboard."""

import pytest

from gentoolkit.viz import Pipes, path_account
from tests.browser.lab import press_play, run_all, settled, wait_for_change, write_notebook

pytestmark = pytest.mark.browser

BUILD = """
from gentoolkit.gflownet import Corners, Hypergrid, Space, solve_flows, soft_values
from gentoolkit.viz import Pipes, along, running_pipes
from gentoolkit.widgets import Knob, tune

space = Space(Hypergrid(8, 2))
reward, pipes = Corners(8)(space.rows), Pipes.grid(space.rows, space.child)

def water(values):
    flows = (soft_values if values["forget"] else solve_flows)(space, reward)
    edges = flows.edges()
    return running_pipes(pipes, along(space.child, edges), edges[:, -1],
                         target=flows.target(), law=flows.law())
"""
SHOW = "tune(water, {'forget': Knob.named(('kept', 'forgotten'), 0, 'pull')})"


def test_water_runs_and_settles_again_in_jupyterlab(page, lab, tmp_path, watch, save_shot):
    """Bug: particles that stand still, a knob that only a mouse can turn, or names not read out."""
    run_all(page, lab, write_notebook(tmp_path / "pipes.ipynb", BUILD, SHOW))
    page.wait_for_selector(".gt-player[data-painted]")
    view = page.locator(".gt-player")
    view.scroll_into_view_if_needed()
    press_play(view)
    page.wait_for_function("v => Number(v.dataset.frame) > 20", arg=view.element_handle())
    press_play(view)
    note = view.locator(".gt-note")
    assert "off by 0.000" in note.inner_text()
    before = settled(view)
    save_shot(page, "pipes_settled")
    knob = page.locator(".gt-knobs input")
    assert knob.get_attribute("aria-valuetext") == "pull kept"
    knob.focus()
    page.keyboard.press("ArrowRight")
    wait_for_change(view, before)
    assert knob.get_attribute("aria-valuetext") == "pull forgotten"
    settled(view)
    assert "off by 0.742" in note.inner_text()
    save_shot(page, "pipes_forgotten")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "v => /off by 0.000/.test(v.querySelector('.gt-note').textContent)",
        arg=view.element_handle(),
    )
    assert not [e for e in watch.errors if "gentoolkit" in e or "anywidget" in e]


def test_the_account_of_one_path_on_a_page(page, watch, tmp_path):
    """Bug: buttons that lead from the only point to itself, or a sum that does not move along."""
    pipes = Pipes([[0, 0], [1, 0]], [[0, 1]])
    scene = path_account(pipes, [1.0], [1.0, 1.0], [0, 1], [0.5, -0.2], total=0.3)
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{scene.to_html()}")
    page.goto(path.as_uri())
    page.wait_for_selector(".gt-player[data-painted]")
    picked, steps = page.locator(".gt-picked"), page.locator(".gt-pick .gt-step")
    assert steps.count() == 2 and not any(step.is_visible() for step in steps.all())
    assert picked.inner_text().endswith("sum of residuals 0.00")
    page.locator('[aria-label="Step forward"]').click()
    assert picked.inner_text().endswith("sum of residuals 0.50")
    assert not watch.errors

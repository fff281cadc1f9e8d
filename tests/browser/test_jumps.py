"""Jumps in a browser: play, scrub both ways, drag a ratio; flows that mirror; tokens that jump."""

import numpy as np
import pytest

from gentoolkit.viz import Scene, token_grid
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
from gentoolkit.jumps import Table, gillespie, thinning
from gentoolkit.processes import JumpProcess, UniformRates
from gentoolkit.viz import StateGraph, flux_balance, follow, jump_landscape, run_law
from gentoolkit.widgets import Knob, play, tune

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
data = torch.tensor([[0.28, 0.02, 0.05], [0.03, 0.04, 0.24], [0.06, 0.25, 0.03]])
process = JumpProcess(UniformRates(3), end=3.0)
table, graph = Table(process, data), StateGraph.square(3)
states = torch.cartesian_prod(torch.arange(3), torch.arange(3))

def matrix(rates):
    full = torch.zeros(9, 9)
    for d in range(2):
        for c in range(3):
            after = states.clone()
            after[:, d] = c
            full[torch.arange(9), 3 * after[:, 0] + after[:, 1]] += rates[:, d, c]
    return full

def law_at(ts):
    return torch.stack([table.law(float(t)).flatten() for t in ts])

def rates_at(ts):
    return torch.stack([matrix(table.rates(states, float(t))) for t in ts])

Q = matrix(process.rates(states, 0.0))
pieces = torch.tensor([3.0, 1.5, 0.8, 0.4, 0.2, 0.1, 0.0])
out = gillespie(process, table.sample(150))
back = thinning(table.rates, out.final, pieces, table.bounds(pieces))
(there, up), (home, down) = follow(out, 31, 3), follow(back, 31, 3)
times = torch.tensor([*up, *down[1:]])
film = [*there, *home[1:]]

frames = torch.linspace(3.0, 0.0, 31)
law, now, midway = law_at(frames), rates_at(frames), rates_at(frames[:-1] + frames.diff() / 2)

def balance(values):
    factor = torch.ones(9, 9)
    factor[4, 5] = values["factor"]
    pushed = run_law(law[0], midway * factor, frames)
    return flux_balance(graph, frames, law, pull_rates=Q, push_rates=now * factor, pushed=pushed)
"""
FILM = (
    "play(jump_landscape(graph, film, times, law_at(times), pull_rates=Q,"
    " push_rates=rates_at(times)))"
)
KNOB = "tune(balance, {'factor': Knob.among((0.25, 0.5, 1.0, 2.0, 4.0), 1.0, 'learned ratio')})"


def test_a_film_of_jumps_and_its_balance_by_keyboard_in_jupyterlab(
    page, lab, tmp_path, watch, save_shot
):
    """Bug: a film that only runs one way, or a ratio that only a mouse can spoil."""
    run_all(page, lab, write_notebook(tmp_path / "jumps.ipynb", BUILD, FILM, KNOB))
    page.wait_for_selector(".gt-player[data-painted]")
    film, balance = page.locator(".gt-player").nth(0), page.locator(".gt-player").nth(1)
    film.scroll_into_view_if_needed()
    assert film.locator("canvas").count() == 2 and colors_in(film) > 60
    assert film.locator(".gt-note").inner_text().startswith("pull, t = 0.00")

    before = picture(film)
    film.locator(".gt-range").focus()
    selected = active_cell(page)
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    noised = wait_for_change(film, before)
    spoken = film.locator("[role=status]")
    assert "pull, t = 0.80" in spoken.text_content()
    noised = settled(film)
    save_shot(page, "jumps_pull")
    page.keyboard.press("End")
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    wait_for_change(film, noised)
    back = settled(film)
    assert back != noised and "push, t = 0.80" in spoken.text_content()
    save_shot(page, "jumps_push")
    page.keyboard.press("Home")
    wait_for_change(film, back)
    press_play(film)
    page.wait_for_function("v => Number(v.dataset.frame) > 3", arg=film.element_handle())
    press_play(film)
    assert active_cell(page) == selected, "JupyterLab's cell selection moved with the keys"

    balance.scroll_into_view_if_needed()
    page.wait_for_function("v => v.dataset.painted", arg=balance.element_handle())
    note = balance.locator(".gt-note")
    balance.locator(".gt-range").focus()
    page.keyboard.press("End")
    even = settled(balance)
    assert "every edge is in balance" in note.inner_text()
    knob = page.locator(".gt-knobs input")
    knob.focus()
    page.keyboard.press("ArrowRight")
    wait_for_change(balance, even)
    assert knob.get_attribute("aria-valuetext") == "learned ratio 2.00"
    double = settled(balance)
    leak = note.inner_text()
    assert "the edge (1, 2) to (1, 1) leaks" in leak
    page.keyboard.press("ArrowRight")
    wait_for_change(balance, double)
    assert note.inner_text() != leak and "leaks" in note.inner_text()
    assert knob.get_attribute("aria-valuetext") == "learned ratio 4.00"
    settled(balance)
    save_shot(page, "jumps_balance")
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "v => /in balance/.test(v.querySelector('.gt-note').textContent)",
        arg=balance.element_handle(),
    )
    assert settled(balance) == even
    assert not [e for e in watch.errors if "gentoolkit" in e or "anywidget" in e]


def open_page(page, tmp_path, scene):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{scene.to_html()}")
    page.goto(path.as_uri())
    page.wait_for_selector(".gt-player[data-painted]")
    return page.locator(".gt-player")


def ink(view, color, above=None):
    """Share of the first canvas in one colour; in its upper or lower half if asked."""
    return view.locator("canvas").first.evaluate(
        """(c, [color, above]) => {
        const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        const want = [0, 2, 4].map((k) => parseInt(color.slice(k, k + 2), 16));
        let count = 0;
        for (let i = 0; i < data.length; i += 4) {
          const upper = Math.floor(i / 4 / c.width) < c.height / 2;
          if (above !== null && upper !== above) continue;
          if (want.every((v, k) => Math.abs(v - data[i + k]) < 12)) count += 1;
        }
        return count / (data.length / 4);
        }""",
        [color, above],
    )


def test_equal_flows_mirror_each_other_and_grow_in_time(page, tmp_path, watch):
    """Bug: ribbons on the wrong side, dashes that are solid, widths that stand still."""
    scene = Scene(2, alt="Two flows lie side by side along one line in a square.")
    panel = scene.panel((0, 1), (0, 1), axes=False)
    line = np.array([[[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]]])
    widths = np.array([[4.0], [16.0]])
    panel.ribbons(line, widths, color="#D55E00", dash=True, alpha=1.0)
    panel.ribbons(line[:, ::-1], widths, color="#0072B2", alpha=1.0)
    view = open_page(page, tmp_path, scene)
    thin = ink(view, "0072b2")
    view.locator(".gt-range").focus()
    page.keyboard.press("End")
    page.wait_for_function("v => v.dataset.frame === '1'", arg=view.element_handle())
    thick, dashed = ink(view, "0072b2"), ink(view, "d55e00")
    # Each on the right of its way; the line lies two pixels below the canvas' middle.
    assert ink(view, "d55e00", above=True) == 0
    assert ink(view, "0072b2", above=False) < 0.15 * thick
    assert 2.8 < thick / thin < 4.5 and 0.5 < dashed / thick < 0.85
    assert not watch.errors


def test_tokens_jump_without_a_moment_in_between(page, tmp_path, watch, save_shot):
    """Bug: cells that fade, a weave that is smeared, dots of the wrong direction."""
    generator = np.random.default_rng(0)
    data = generator.integers(0, 2, (4, 8, 8))
    level = generator.random((4, 8, 8))
    frames = [np.where(level < t, 2, data) for t in np.linspace(1, 0, 9)]
    view = open_page(
        page, tmp_path, token_grid(frames, np.linspace(1, 0, 9), size=3, mask=-1, labels="abcd")
    )
    assert ink(view, "b7a7d6") > 0.2 and ink(view, "0072b2") == 0
    view.locator(".gt-range").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("v => v.dataset.frame === '4'", arg=view.element_handle())
    assert ink(view, "0072b2") > 0.001 and ink(view, "d55e00") == 0
    note = view.locator(".gt-note").inner_text()
    jumped, masked = (int((frames[4] != frames[3]).sum()), int((frames[4] == 2).sum()))
    assert f"{jumped} of 256 tokens have jumped, {masked} are masked" in note
    assert view.locator("[role=status]").text_content() == note
    save_shot(page, "jumps_tokens")
    colors = colors_in(view)
    page.keyboard.press("Home")
    press_play(view)
    page.wait_for_timeout(700)
    assert abs(colors_in(view) - colors) < 12  # no shades between two tokens
    press_play(view)
    assert not watch.errors

"""The two slopes in JupyterLab: play, scrub and blend the way back, all by keyboard."""

import pytest

from tests.browser.lab import (
    colors_in,
    picture,
    press_play,
    run_all,
    wait_for_change,
    write_notebook,
)

pytestmark = pytest.mark.browser

BUILD = """
import torch
from gentoolkit import Gaussian
from gentoolkit.stochastic import GeometricPath, Langevin, annealed, even_schedule
from gentoolkit.viz.slopes import slopes
from gentoolkit.widgets import Knob, tune

K, STEP, MEAN = 12, 0.06, torch.tensor([1.5, -0.5])
goal = Gaussian(MEAN[None], 0.7)
path = GeometricPath(Gaussian(torch.zeros(1, 2), 2.0), goal)
betas = even_schedule(K).tolist()
# The law of the particles, by the recursion of a mean and a variance.
m, v, laws = torch.zeros(2), 4.0, {}
for beta in betas[1:]:
    a = beta / 0.49 + (1 - beta) / 4
    m, v = (1 - STEP * a) * m + STEP * beta / 0.49 * MEAN, (1 - STEP * a) ** 2 * v + 2 * STEP
    laws[beta] = (m, v, a)

def lag(beta, x):
    m, v, a = laws[beta]
    return (m - x) / v - (beta / 0.49 * MEAN - a * x)

def chain(blend):
    step = lambda g: Langevin(g, STEP, lambda y: blend * lag(g.beta, y))
    return annealed(path, even_schedule(K), step)

torch.manual_seed(0)
densities = [path.at(beta) for beta in betas]
with torch.no_grad():
    states = chain(0.0).push(300).states
    exact = MEAN + 0.7 * torch.randn(300, 2)
arrows = torch.stack([0 * states[0][:40]] + [
    lag(b, x[:40]) for b, x in zip(betas[1:], states[1:])])

def scene_of(values):
    now = chain(values["blend"])
    with torch.no_grad():
        up = now.replay(states)
        down = now.pull(exact, torch.Generator().manual_seed(1))
    alt = "Three hundred particles climb to a bump; three hundred others walk down from it."
    return slopes(up, down, densities, alt=alt, lag=arrows, exact=0.0, most=3.0)

knobs = {"blend": Knob(0.0, 1.0, 0.0, 0.1, "way back: plain to exact score")}
"""
SHOW = "tuned = tune(scene_of, knobs); tuned"


def test_the_slopes_by_keyboard_in_jupyterlab(page, lab, tmp_path, watch, save_shot):
    """Bug: a knob that leaves the histogram as it was, or keys that Lab takes away."""
    run_all(page, lab, write_notebook(tmp_path / "slopes.ipynb", BUILD, SHOW))
    page.wait_for_selector(".gt-player[data-painted]")
    player, knob = page.locator(".gt-player"), page.locator(".gt-knobs input").first
    player.scroll_into_view_if_needed()
    assert player.locator("canvas").count() == 4 and colors_in(player) > 20
    before = picture(player)
    player.locator(".gt-range").focus()
    page.keyboard.press("End")
    scrubbed = wait_for_change(player, before)
    note = player.locator(".gt-note")
    plain = note.inner_text()
    assert plain.startswith("Density 12 of 12")
    knob.focus()
    page.keyboard.press("End")
    blended = wait_for_change(player, scrubbed)
    page.wait_for_function(
        "said => document.querySelector('.gt-note').innerText !== said", arg=plain
    )
    spread = [float(said.rstrip(".").split()[-1]) for said in (plain, note.inner_text())]
    assert spread[1] < 0.7 * spread[0]
    save_shot(page, "slopes")
    press_play(player)
    wait_for_change(player, blended)
    press_play(player)
    assert not [e for e in watch.errors if "gentoolkit" in e or "anywidget" in e]

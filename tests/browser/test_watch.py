"""A training that is watched in JupyterLab: its curve grows, and one chart is left at the end."""

import pytest

from tests.browser.lab import run_all, write_notebook

pytestmark = pytest.mark.browser

CELL = """
import time
from gentoolkit.teach import watch
from gentoolkit.viz.charts import curves

seen = []

def steps():
    for i in range(40):
        time.sleep(0.05)
        yield i

def draw(losses, record):
    seen.append(float(record))
    return curves({"height": seen}, alt="a curve that grows while it is watched")

_ = await watch(steps(), draw)
"""


def test_a_watched_curve_grows_and_one_chart_stays(page, lab, tmp_path, watch):
    """Bug: plotly's renderer ignores updates of a chart, so a live curve stayed at one point."""
    run_all(page, lab, write_notebook(tmp_path / "watched.ipynb", CELL))
    page.wait_for_selector(".js-plotly-plot .js-line")
    assert page.locator(".js-plotly-plot").count() == 1
    drawn = page.locator(".js-plotly-plot .js-line").first.get_attribute("d")
    assert drawn is not None and drawn.count(",") >= 2  # a line has two points or more
    assert page.locator("text=Chart: a curve that grows").count() == 1

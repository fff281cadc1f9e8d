"""The build: the same bytes twice, pictures with words, and a loud failure for the rest."""

import base64
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from tools.build_notebooks import BuildError, run, settle
from tools.figures import HEIGHT, SCALE, WIDTH, Painter, chromium, small

FIXTURE = Path(__file__).parent / "fixture"
ROOT = Path(__file__).parents[2]


def need_chromium() -> None:
    try:
        chromium()
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.mark.browser
def test_two_builds_are_identical_and_figures_become_pictures(tmp_path: Path) -> None:
    """Catches a time, a random id or a version in the stored bytes, a blank chart or poster."""
    need_chromium()
    made = []
    for name in ("first", "second"):
        # A process of its own: this one may already hold the browser tests' driver.
        command = [sys.executable, "-m", "tools.build_notebooks", "--course", str(FIXTURE)]
        subprocess.run([*command, "--notebooks", str(tmp_path / name)], cwd=ROOT, check=True)
        made.append((tmp_path / name / "90_tiny.ipynb").read_bytes())
    assert made[0] == made[1]
    notebook = nbformat.reads(made[0].decode(), as_version=4)
    assert [cell.id for cell in notebook.cells] == [f"90-{i:03d}" for i in range(5)]
    assert "version" not in notebook.metadata.language_info
    printed, line, hill, played = (cell.outputs for cell in notebook.cells[1:])
    assert [output.text for output in printed] == ["one\ntwo\n"]
    for outputs, said in ((line, "A line that rises"), (hill, "A hill with one top")):
        data = outputs[0].data
        assert set(data) == {"image/png", "text/plain"}
        assert data["text/plain"].startswith(said)
        picture = base64.b64decode(data["image/png"])
        assert struct.unpack(">II", picture[16:24]) == (WIDTH * SCALE, HEIGHT * SCALE)
        assert len(picture) > 2000
    assert set(played[0].data) == {"image/png", "text/plain"}
    words = "One point crosses a square from the left to the right."
    assert played[0].data["text/plain"] == words
    assert played[0].metadata == {"image/png": {"alt": words}}  # the scene itself is gone


# CPU seconds of the kernel itself and of a child that has ended: 0.3 in all.
BUSY = (
    "import subprocess, sys, time; begun = time.process_time()\n"
    "while time.process_time() < begun + 0.15: pass\n"
    "child = 'import time\\nwhile time.process_time() < 0.2: pass'\n"
    "subprocess.run([sys.executable, '-c', child], check=True)"
)


def cells(*sources: str) -> nbformat.NotebookNode:
    return new_notebook(cells=[new_code_cell(source) for source in sources])


def test_an_error_stops_the_build_and_names_the_cell(tmp_path: Path) -> None:
    """Catches a build that stores a traceback and goes on."""
    with pytest.raises(BuildError, match=r"(?s)90_bad, cell 1, failed:.*boom.*ZeroDivisionError"):
        run(cells("x = 0", "boom = 1 / x"), tmp_path, "90_bad")


def test_the_kernel_is_measured_and_told_what_it_runs_for(tmp_path: Path) -> None:
    """Catches a build in live mode, and a memory figure that is always the same."""
    source = (
        "import os; assert os.environ['GENTOOLKIT_OUTPUT'] == 'poster'\n"
        "block = bytearray(200_000_000)"
    )
    _, small = run(cells("1"), tmp_path, "90_small")
    times, large = run(cells("import time; time.sleep(1.0)", BUSY, source), tmp_path, "90_large")
    assert times[1] >= 0.3 > times[0], "a cell that sleeps costs nothing, one that computes does"
    assert large.seconds >= sum(times)
    assert small.peak_mb is not None
    assert large.peak_mb is not None
    assert large.peak_mb - small.peak_mb > 150


def executed(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return new_notebook(cells=[new_code_cell("x", outputs=[output])])


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (new_output("stream", name="stderr", text="UserWarning: x"), "stderr: UserWarning"),
        (
            new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}}),
            "live widget",
        ),
        (
            new_output("display_data", data={"application/vnd.plotly.v1+json": {"data": []}}),
            "no words",
        ),
    ],
)
def test_what_cannot_be_stored_stops_the_build(output: nbformat.NotebookNode, fault: str) -> None:
    """Catches a warning, a dead widget or a chart without words in a stored notebook."""
    with Painter() as painter, pytest.raises(BuildError, match=f"lesson 90, cell 0.*{fault}"):
        settle(executed(output), "90", painter)


def test_a_missing_browser_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a build that dies inside the driver's own error."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("GENTOOLKIT_CHROMIUM", raising=False)
    with pytest.raises(RuntimeError, match="needs Chromium; got no program"):
        chromium()


def png(pixels: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def decoded(data: bytes) -> np.ndarray:
    """Read a picture back; it must have a palette, a third of the size."""
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG" and picture.mode == "P"
    return np.asarray(picture.convert("RGB"))


def test_few_colours_are_kept_exactly() -> None:
    """Catches a palette that bends the course's colours, or a line that is lost among others."""
    pixels = np.full((50, 90, 3), 255, np.uint8)
    pixels[2, :4] = (0, 114, 178)
    pixels[30:, 70] = (213, 94, 0)
    assert (decoded(small(png(pixels))) == pixels).all()


def test_many_colours_come_close() -> None:
    """Catches a palette that loses the common colours or throws smooth shades far off."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    pixels = np.full((128, 64, 3), 255, np.uint8)
    pixels[:64, :, 0], pixels[:64, :, 1], pixels[:64, :, 2] = ramp[None], ramp[:, None], 90
    written = small(png(pixels))
    back = decoded(written)
    assert (back[64:] == 255).all()
    assert np.abs(back.astype(int) - pixels.astype(int)).mean() < 12
    assert small(png(pixels)) == written  # the same bytes for the same picture


def test_what_is_transparent_becomes_white_and_what_is_blank_is_refused() -> None:
    """Catches a chart on black in a dark theme, and a picture that nothing was drawn on."""
    pixels = np.zeros((9, 9, 4), np.uint8)
    with pytest.raises(RuntimeError, match="got an empty picture"):
        small(png(pixels))
    pixels[4, 4] = (0, 114, 178, 255)
    assert decoded(small(png(pixels)))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("limits", "code", "told"),
    [
        ({}, 0, "1 passed"),
        ({"GENTOOLKIT_KERNEL_MB": "20"}, 1, "more than 20 MB"),
        ({"GENTOOLKIT_CELL_SECONDS": "0.2"}, 1, "of CPU, more than 0.2 s"),
        ({"GENTOOLKIT_NOTEBOOK_SECONDS": "0.2"}, 1, "of CPU, more than 0.2 s"),
    ],
)
def test_the_budget_of_a_lesson_is_enforced(
    tmp_path: Path, limits: dict[str, str], code: int, told: str
) -> None:
    """Catches a plugin that measures nothing: each limit, set low, must fail a harmless lesson."""
    notebook = new_notebook(cells=[new_code_cell(BUSY, execution_count=1)])
    nbformat.write(notebook, tmp_path / "90_cost.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "tests.nbval_budget", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--nbval-lax", "--nbval-current-env", str(tmp_path / "90_cost.ipynb")],
        cwd=ROOT,
        env={**os.environ, **limits},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert told in done.stdout

"""The gates that every stored lesson passes, each with a notebook that must not pass."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

from tools import gates
from tools.sources import NOTEBOOKS, ROOT

PNG = {"image/png": "iVBORw0KGgo="}
STORED = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_there_are_lessons() -> None:
    """Catches a run that is green because no notebook was found."""
    assert len(STORED) >= 3


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_lesson_passes_every_gate(path: Path) -> None:
    """Catches a lesson that is too large, unreadable without its figures, or too long."""
    assert gates.faults(path) == []


def code(*outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return new_notebook(cells=[new_code_cell("x", execution_count=1, outputs=list(outputs))])


def shown(data: dict[str, str]) -> nbformat.NotebookNode:
    return code(new_output("display_data", data=data))


def test_sound_outputs_pass() -> None:
    """Catches gates that no lesson could pass."""
    good = {**PNG, "text/plain": "A curve that falls from 3 to 1."}
    assert gates.output_faults(shown(good)) == []
    assert gates.output_faults(code(new_output("stream", name="stdout", text="1"))) == []
    assert gates.output_faults(shown({"text/html": "<b>7</b>", "text/plain": "7"})) == []


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (PNG, "without words"),
        ({**PNG, "text/plain": "short"}, "without words"),
        ({**PNG, "text/plain": "<Figure size 640x480 with 1 Axes>"}, "without words"),
        ({**PNG, "text/plain": "<gentoolkit.viz.Chart at 0x7f0011223344>"}, "without words"),
        ({"text/html": "<svg></svg>", "text/plain": "pic"}, "without words"),
        (
            {"text/html": '<img src="a">', "text/plain": "A curve that falls from 3 to 1."},
            "alt text is missing",
        ),
        ({"application/vnd.jupyter.widget-view+json": "{}"}, "stores application"),
        ({"application/vnd.plotly.v1+json": "{}"}, "stores application"),
    ],
)
def test_bad_outputs_are_found(data: dict[str, str], fault: str) -> None:
    """Catches a figure that only the sighted can read, and output that needs a kernel."""
    assert fault in "\n".join(gates.output_faults(shown(data)))


def test_errors_warnings_and_skipped_cells_are_found() -> None:
    """Catches a stored traceback, a stored warning, and a cell that nbval never compares."""
    error = new_output("error", ename="ValueError", evalue="", traceback=[])
    assert "stores an error: ValueError" in "\n".join(gates.output_faults(code(error)))
    warning = new_output("stream", name="stderr", text="UserWarning")
    assert "stderr" in "\n".join(gates.output_faults(code(warning)))
    never = new_notebook(cells=[new_code_cell("x")])
    assert "execution count None, not 1" in "\n".join(gates.output_faults(never))
    state = new_notebook(metadata={"widgets": {}})
    assert "state of widgets" in "\n".join(gates.output_faults(state))


def test_words_are_counted_as_a_reader_counts() -> None:
    """Catches a count swollen by formulas, addresses, or code."""
    assert gates.words("Two words") == 2
    assert gates.words("Read [the next](02_vae.ipynb), $\\log p(x) = 3$ and `a.b(c)`.") == 6
    table = "One\n\n| two | three |\n|---|---|\n| four | five |\n\nsix"
    assert gates.words(table) == 2
    assert gates.words(table, tables=True) == 6
    assert gates.words("$$\na + b = c\n$$\n\nEnd.\n```python\nx = y\n```") == 1


def test_lengths_are_held() -> None:
    """Catches a wall of text, a wall of code, and hidden code counted as visible."""
    prose = new_notebook(cells=[new_markdown_cell("word " * 131)])
    assert "cell 0 has 131 words" in "\n".join(gates.length_faults(prose, "00"))
    fits = new_notebook(cells=[new_markdown_cell("word " * 130) for _ in range(16)])
    assert gates.length_faults(fits, "01") == []
    assert "1950 words of prose" in "\n".join(
        gates.length_faults(new_notebook(cells=fits.cells[:15]), "01")
    )
    long = new_code_cell("x = 1\n" * 16)
    assert "shows 16 lines" in "\n".join(gates.length_faults(new_notebook(cells=[long]), "00"))
    many = new_notebook(cells=[new_code_cell("x = 1\n" * 15) for _ in range(17)])
    assert "255 visible lines" in "\n".join(gates.length_faults(many, "00"))
    hidden = new_code_cell("x = 1\n" * 16, metadata={"jupyter": {"source_hidden": True}})
    tagged = new_code_cell("x = 1\n" * 16, metadata={"tags": ["hide-input"]})
    assert gates.length_faults(new_notebook(cells=[hidden, tagged]), "00") == []


def test_links_must_resolve() -> None:
    """Catches a link to a lesson that was renamed."""
    cell = new_markdown_cell("[a](README.md#top) [b](none.ipynb) [c](https://x.y) [d](#here)")
    found = gates.link_faults(new_notebook(cells=[cell]), ROOT)
    assert found == ["cell 0 links to none.ipynb, which is not there"]


def test_size_and_ids_are_held(tmp_path: Path) -> None:
    """Catches a notebook too large for a review, and one saved by hand over the build's."""
    notebook = new_notebook(cells=[new_markdown_cell("word", id="00-000")])
    path = tmp_path / "00_small.ipynb"
    nbformat.write(notebook, path)
    assert gates.faults(path) == []
    notebook.cells[0].id = "abcdef"
    notebook.cells[0].source = "<!-- " + "x" * 400_000 + " -->"
    nbformat.write(notebook, path)
    told = "\n".join(gates.faults(path))
    assert "ids are not those of the build" in told
    assert "kB, more than 400" in told

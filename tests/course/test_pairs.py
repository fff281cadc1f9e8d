"""Each lesson's text and notebook say the same."""

import os
import shutil
import time
from pathlib import Path

import pytest
from jupytext import TextFileContentsManager

from tools.build_notebooks import main
from tools.sources import ROOT, canonical, faults, format_texts, read_text

FIXTURE = Path(__file__).parent / "fixture"


def test_the_course_is_in_sync() -> None:
    """Catches an edit to a text without a build, to a notebook without its text, and orphans."""
    assert faults() == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course of one lesson without charts, built."""
    root = tmp_path_factory.mktemp("course")
    for name in ("course", "notebooks"):
        (root / name).mkdir()
    text = (FIXTURE / "90_tiny.md").read_text()
    plain = text.split("```{code-cell}\nimport plotly")[0].rstrip() + "\n"
    (root / "course" / "90_tiny.md").write_text(plain)
    where = ["--course", str(root / "course"), "--notebooks", str(root / "notebooks")]
    assert main(where) == 0
    assert main([*where, "--check"]) == 0
    return root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "copy")
    return tmp_path / "copy"


def told(root: Path) -> str:
    return "\n".join(faults(root / "course", root / "notebooks"))


def test_a_fresh_build_is_in_sync(copy: Path) -> None:
    """Catches a comparison that always complains."""
    assert told(copy) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [("and ends.", "and stops."), ('print("two")', 'print("2")'), ("nbval-check-output", "other")],
)
def test_an_edit_is_noticed(copy: Path, old: str, new: str) -> None:
    """Catches a comparison that overlooks prose, code, or tags."""
    text = copy / "course" / "90_tiny.md"
    text.write_text(text.read_text().replace(old, new))
    assert "differ in cell" in told(copy)
    where = ["--course", str(copy / "course"), "--notebooks", str(copy / "notebooks"), "--check"]
    assert main(where) == 1


def test_a_new_cell_is_noticed(copy: Path) -> None:
    """Catches a comparison that stops at the shorter of the two."""
    text = copy / "course" / "90_tiny.md"
    text.write_text(text.read_text() + "\nOne more.\n")
    assert "has 3 cells and its notebook 2" in told(copy)


def test_orphans_and_missing_notebooks_are_noticed(copy: Path) -> None:
    """Catches a notebook that nobody can edit, and a lesson that nobody can open."""
    (copy / "notebooks" / "90_tiny.ipynb").rename(copy / "notebooks" / "91_other.ipynb")
    assert "90_tiny.md has no notebook" in told(copy)
    assert "91_other.ipynb has no text" in told(copy)


def test_an_empty_course_is_a_fault(tmp_path: Path) -> None:
    """Catches a check that passes because there is nothing to check."""
    assert "holds no lesson" in "\n".join(faults(tmp_path, tmp_path))
    assert main(["--course", str(tmp_path), "--notebooks", str(tmp_path)]) == 1


def test_text_that_jupytext_would_rewrite_is_noticed_and_mended(copy: Path) -> None:
    """Catches a text whose first save in JupyterLab makes a diff."""
    text = copy / "course" / "90_tiny.md"
    wanted, short = text.read_text(), ":tags: [nbval-check-output]"
    text.write_text(wanted.replace(short, f"---\n{short[1:]}\n---"))
    assert "not as jupytext writes it" in told(copy)
    assert format_texts(copy / "course") == [text]
    assert text.read_text() == wanted == canonical(text)


@pytest.mark.parametrize("newer", ["course/90_tiny.md", "notebooks/90_tiny.ipynb"])
def test_a_lesson_opens_whichever_file_is_newer(copy: Path, newer: str) -> None:
    """Catches a fresh clone, or a fresh build, whose lessons JupyterLab refuses to open."""
    shutil.copy(ROOT / "pyproject.toml", copy)
    hour = time.time() + 3600
    os.utime(copy / newer, (hour, hour))
    manager = TextFileContentsManager(root_dir=str(copy))
    opened = manager.get("notebooks/90_tiny.ipynb")["content"]
    assert [cell["cell_type"] for cell in opened["cells"]] == ["markdown", "code"]
    assert opened["cells"][1]["outputs"][0]["text"] == "one\ntwo\n"


def test_a_save_in_jupyterlab_changes_nothing(copy: Path) -> None:
    """Catches a first save that makes a diff in a lesson nobody edited."""
    shutil.copy(ROOT / "pyproject.toml", copy)
    text, notebook = copy / "course" / "90_tiny.md", copy / "notebooks" / "90_tiny.ipynb"
    text.write_text(text.read_text().replace("{code-cell}", "{code-cell} ipython3"))
    where = ["--course", str(copy / "course"), "--notebooks", str(copy / "notebooks")]
    assert main(where) == 0
    before = text.read_bytes(), notebook.read_bytes().strip()
    manager = TextFileContentsManager(root_dir=str(copy))
    opened = manager.get("notebooks/90_tiny.ipynb")["content"]
    model = {"type": "notebook", "format": "json", "content": opened}
    manager.save(model, "notebooks/90_tiny.ipynb")
    assert (text.read_bytes(), notebook.read_bytes().strip()) == before


def test_names_and_headers_are_checked(copy: Path) -> None:
    """Catches a lesson that the build would skip or open with another kernel."""
    text = copy / "course" / "90_tiny.md"
    text.write_text(text.read_text().replace("Python 3 (ipykernel)", "Python 3"))
    with pytest.raises(ValueError, match="kernelspec that JupyterLab writes"):
        read_text(text)
    with pytest.raises(ValueError, match="NN_slug.md; got tiny.md"):
        read_text(copy / "course" / "tiny.md")

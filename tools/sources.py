"""The pair of a lesson: its text in course/ and its notebook in notebooks/."""

import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from jupytext.config import load_jupytext_config
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "course"
NOTEBOOKS = ROOT / "notebooks"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}

Key = list[tuple[str, str, tuple[str, ...]]]


@dataclass(frozen=True)
class Pair:
    """One lesson's two files.

    Arguments:
        text: `course/NN_slug.md`.
        notebook: `notebooks/NN_slug.ipynb`.
    """

    text: Path
    notebook: Path


def read_text(path: Path) -> NotebookNode:
    """Read a lesson's text source.

    Arguments:
        path: a MyST Markdown file.

    Returns:
        The notebook it stands for, without outputs.

    Raises:
        ValueError: if the file's name is not NN_slug.md, or its header is not the one that
            JupyterLab writes.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+\.md", path.name):
        raise ValueError(f"a lesson is named NN_slug.md; got {path.name}; rename it")
    notebook = jupytext.read(path, fmt="md:myst")
    found = dict(notebook.metadata.get("kernelspec", {}))
    if found != KERNELSPEC:
        raise ValueError(
            f"the header of {path.name} must hold the kernelspec that JupyterLab writes; "
            f"got {found}; copy the header of another lesson"
        )
    return notebook


def canonical(path: Path) -> str:
    """Write a lesson's text as jupytext itself would save it.

    Arguments:
        path: a MyST Markdown file.

    Returns:
        The text that JupyterLab would leave after opening and saving the file.
    """
    settings = load_jupytext_config(str(COURSE / path.name))
    if settings is None:
        raise ValueError(
            f"jupytext needs its settings; got none for {COURSE}; restore [tool.jupytext] in "
            "pyproject.toml"
        )
    form = {"extension": ".md", "format_name": "myst"}
    settings.set_default_format_options(form)
    return jupytext.writes(read_text(path), fmt=form)


def key(notebook: NotebookNode) -> Key:
    """Take from a notebook what both files of a pair must share.

    Arguments:
        notebook: with or without outputs.

    Returns:
        For each cell its type, its source and its sorted tags.
    """
    return [
        (cell.cell_type, cell.source, tuple(sorted(cell.metadata.get("tags", []))))
        for cell in notebook.cells
    ]


def pairs(course: Path = COURSE, notebooks: Path = NOTEBOOKS) -> list[Pair]:
    """List the lessons by their text sources.

    Arguments:
        course: the folder of the texts.
        notebooks: the folder of the notebooks.

    Returns:
        The pairs in the lessons' order, whether or not the notebooks exist.
    """
    return [
        Pair(text, notebooks / f"{text.stem}.ipynb")
        for text in sorted(course.glob("[0-9][0-9]_*.md"))
    ]


def faults(course: Path = COURSE, notebooks: Path = NOTEBOOKS) -> list[str]:
    """Compare the texts with the notebooks.

    Arguments:
        course: the folder of the texts.
        notebooks: the folder of the notebooks.

    Returns:
        A sentence for each fault: no lesson at all, a missing notebook, a cell that differs, a
        text that jupytext would write otherwise, a notebook without a text.
    """
    found = []
    known = pairs(course, notebooks)
    if not known:
        found.append(f"{course} holds no lesson")
    for pair in known:
        name = pair.text.name
        if pair.text.read_text(encoding="utf-8") != canonical(pair.text):
            found.append(f"{name} is not as jupytext writes it: run make format")
        if not pair.notebook.exists():
            found.append(f"{name} has no notebook: run make notebooks")
            continue
        ours = key(read_text(pair.text))
        theirs = key(nbformat.read(pair.notebook, as_version=4))
        for i, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
            if mine != other:
                found.append(f"{name} and its notebook differ in cell {i}: run make notebooks")
                break
        else:
            if len(ours) != len(theirs):
                found.append(
                    f"{name} has {len(ours)} cells and its notebook {len(theirs)}: "
                    "run make notebooks"
                )
    texts = {pair.text.stem for pair in known}
    for path in sorted(notebooks.glob("*.ipynb")):
        if path.stem not in texts:
            found.append(f"{path.name} has no text in {course.name}/: delete it, or write its text")
    return found


def format_texts(course: Path = COURSE) -> list[Path]:
    """Rewrite each text as jupytext would save it.

    Arguments:
        course: the folder of the texts.

    Returns:
        The files that changed.
    """
    changed = []
    for path in sorted(course.glob("[0-9][0-9]_*.md")):
        text = canonical(path)
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for rewritten in format_texts():
        print(f"rewrote {rewritten.relative_to(ROOT)}")

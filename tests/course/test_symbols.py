"""The list of symbols: one meaning each, all listed, none displayed before it is named."""

from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.sources import COURSE, read_text
from tools.symbols import Table, atoms, faults, formulas, table

# Lessons whose symbols are still to be listed.
NOT_YET = {
    # fmt: off
    "07",
    "08",
    # fmt: on
}
LESSONS = [p for p in sorted(COURSE.glob("[0-9][0-9]_*.md")) if p.name[:2] not in NOT_YET]
LIST = Table({"x": "00", "f": "00", "q": "01", "lambda": "16"}, {"05": frozenset({"r"})})


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem[:2])
def test_a_lesson_uses_the_symbols_of_the_list(path: Path) -> None:
    """Catches a symbol with two meanings, one that no list has, and one used before its name."""
    assert faults(read_text(path), path.name[:2], table()) == []


def lesson(*prose: str) -> list[str]:
    cells = [cell for text in prose for cell in (new_markdown_cell(text), new_code_cell("1"))]
    return faults(new_notebook(cells=cells), "05", LIST)


def test_a_symbol_may_be_named_before_or_just_after_its_formula() -> None:
    """Catches a test that no lesson passes."""
    assert lesson("The law is $q$.", "$$q(x) = f(x)$$") == []
    assert lesson("$$q(x) = r$$", "Here $q$ is a law and $r$ a radius.") == []
    assert lesson("$$q(x)$$\n\nwith a law $q$") == []


def test_each_fault_is_found() -> None:
    """Catches a test that every lesson passes."""
    assert "q is displayed before" in lesson("$$q(x)$$", "text", "$q$ is a law")[0]
    assert "q is displayed before" in lesson("$$q(x)$$")[0]
    assert "rho is in no list" in lesson(r"a radius $\rho$")[0]
    assert "lambda is in no list" in lesson(r"$\lambda$ comes only in lesson 16")[0]
    clash = Table({"r": "00"}, {"05": frozenset({"r"})})
    assert "another one here" in faults(new_notebook(), "05", clash)[0]


def test_formulas_are_read_as_a_reader_does() -> None:
    """Catches code, words and prices taken for symbols, and accents that hide them."""
    assert list(formulas("a $x$ and\n$$y\n$$ but `$z$`")) == [(False, "x"), (True, "y\n")]
    assert atoms(r"\bar Q_t \mathbb{E}[\text{log w}] \varepsilon^\top \begin{aligned}") == [
        "Q", "t", "epsilon",
    ]  # fmt: skip


def test_the_list_has_one_row_a_symbol(tmp_path: Path) -> None:
    """Catches a symbol that the course's table explains twice."""
    twice = tmp_path / "symbols.md"
    twice.write_text("## The course\n\n| $x$ | a | 00 |\n| $\\hat x$ | b | 01 |\n")
    with pytest.raises(ValueError, match="x stands twice"):
        table(twice)

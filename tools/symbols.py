"""The symbols of the course: one list, one meaning each, and none used before it is named.

`course/symbols.md` holds a table for the course, and others for one lesson or a few.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nbformat import NotebookNode

from tools.sources import COURSE, read_text

FILE = COURSE / "symbols.md"
GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "pi rho sigma tau upsilon phi varphi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell"
).split()
# What is written in words, and what stands for a set, an operator or a size.
_WORDS = re.compile(
    r"\\(?:text|mathrm|operatorname\*?|textrm|textbf|textit|mathsf|mathtt|begin|end|tag|mathbb)"
    r"\s*(?:\{[^{}]*\}|[A-Za-z])"
)
_ATOM = re.compile(r"\\mathcal\s*\{?\s*([A-Z])\s*\}?|\\([A-Za-z]+)|([A-Za-z])")
FOREIGN = "Names elsewhere"
"""Tables below these words hold the symbols of papers."""
EVERYWHERE = frozenset("d e pi i j k m n O".split())
"""The differential, Euler's number, the circle's, indices, and the order of a cost."""


@dataclass(frozen=True)
class Table:
    """Who means what.

    Arguments:
        course: symbol -> the lesson that introduces it.
        own: lesson -> its own symbols.
    """

    course: dict[str, str]
    own: dict[str, frozenset[str]]


def atoms(latex: str) -> list[str]:
    r"""List the symbols of a formula, in their order, without accents and words.

    >>> atoms(r"\log \hat x_t = \mathrm{KL}(q_\phi) + \mathcal{L}")
    ['x', 't', 'q', 'phi', 'cal L']
    """
    found = []
    for calligraphic, command, letter in _ATOM.findall(_WORDS.sub(" ", latex)):
        if calligraphic:
            found.append(f"cal {calligraphic}")
        elif letter:
            found.append(letter)
        elif command in GREEK:
            found.append(command.removeprefix("var"))
    return found


def formulas(markdown: str) -> Iterator[tuple[bool, str]]:
    """Yield each formula of a prose cell in its order: whether it is displayed, and its text.

    A cell that names things as papers do keeps its tables to itself.
    """
    text = re.sub(r"```.*?```|`[^`]*`", " ", markdown, flags=re.DOTALL)
    if FOREIGN in text:
        text = re.sub(r"^\|.*$", " ", text, flags=re.MULTILINE)
    for shown, inline in re.findall(r"\$\$(.*?)\$\$|(?<!\\)\$([^$]+?)\$", text, flags=re.DOTALL):
        yield bool(shown), shown or inline


@cache
def table(path: Path = FILE) -> Table:
    """Read the list of symbols.

    Raises:
        ValueError: a symbol that stands twice in the course's table.
    """
    course: dict[str, str] = {}
    own: dict[str, frozenset[str]] = {}
    for section in re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        rows = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("| $")]
        names = [(atoms(inline), row) for row in rows for _, inline in formulas(row[0])]
        if numbers := re.findall(r"\b\d\d\b", heading):
            for number in numbers:
                here = {found[0] for found, _ in names}
                own[number] = own.get(number, frozenset()) | here
            continue
        for found, row in names:
            symbol = found[0]
            if symbol in course:
                raise ValueError(f"{symbol} stands twice in {path.name}: give it one meaning")
            course[symbol] = row[-1].strip()
    return Table(course, own)


def faults(notebook: NotebookNode, number: str, known: Table) -> list[str]:
    """Find symbols of a lesson that are not listed, or are displayed before they are named.

    A symbol counts as named by an inline formula in the prose up to the cell after the one that
    displays it. What lesson 00 introduces is known in all others.

    Arguments:
        notebook: a lesson.
        number: its two digits.
        known: the list.

    Returns:
        A sentence for each fault.
    """
    own = known.own.get(number, frozenset())
    found = [
        f"{s} has a meaning in the course and another one here: rename it, or drop its row"
        for s in sorted(own & known.course.keys())
    ]
    prose = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    named: dict[str, int] = {}
    displayed: dict[str, int] = {}
    for i, source in enumerate(prose):
        for shown, formula in formulas(source):
            for symbol in atoms(formula):
                (displayed if shown else named).setdefault(symbol, i)
    listed = EVERYWHERE | own | {s for s, start in known.course.items() if start <= number}
    found += [
        f"{s} is in no list: add it to course/symbols.md, or use a symbol of the list"
        for s in sorted((displayed.keys() | named.keys()) - listed)
    ]
    ready = EVERYWHERE | {s for s, start in known.course.items() if start == "00" < number}
    for symbol, i in displayed.items():
        if symbol not in ready and named.get(symbol, i + 2) > i + 1:
            found.append(f"{symbol} is displayed before the prose names it: {prose[i][:60]!r}")
    return found


def main() -> None:
    """Print the faults of each lesson, or of those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tools.symbols", description=__doc__)
    parser.add_argument("numbers", nargs="*", help="two digits each")
    asked = parser.parse_args().numbers
    for path in sorted(COURSE.glob("[0-9][0-9]_*.md")):
        if not asked or path.name[:2] in asked:
            for fault in faults(read_text(path), path.name[:2], table()):
                print(f"{path.stem}: {fault}")


if __name__ == "__main__":
    main()

"""What a stored lesson must be: small, whole, readable without its figures, and not too long."""

import re
from html import unescape
from pathlib import Path

import nbformat
from nbformat import NotebookNode

MOST_KILOBYTES = 400
LEAST_ALT = 20
MOST_CODE_LINES = 250
MOST_CELL_LINES = 15
WORDS = (2000, 5500)
MOST_PROSE_WORDS = 130
_WIDGETS = (
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.jupyter.widget-state+json",
    "application/vnd.plotly.v1+json",
)
_HIDING_TAGS = {"hide-input", "remove-input", "hide-cell", "remove-cell"}


def words(markdown: str, tables: bool = False) -> int:
    """Count the words of a prose cell: no formulas, code, addresses of links, or folded text.

    Arguments:
        markdown: the cell's source.
        tables: whether words in tables count.

    Returns:
        How many words a reader reads as words.
    """
    text = re.sub(r"<details>.*?</details>", " ", markdown, flags=re.DOTALL)
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    if not tables:
        text = re.sub(r"^\s*\|.*\|\s*$", " ", text, flags=re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$", " ", text, flags=re.DOTALL)
    text = re.sub(r"(?<!\\)\$[^$]*\$", " x ", text)  # a symbol reads as a word
    text = re.sub(r"`[^`]*`", " x ", text)
    text = re.sub(r"\]\([^)]*\)", "] ", text)
    text = unescape(re.sub(r"<[^>]+>", " ", text))
    return len(re.findall(r"[A-Za-z0-9][\w'.-]*", text))


def visible_lines(cell: NotebookNode) -> int:
    """Count the lines of code that a reader sees in a cell.

    Arguments:
        cell: any cell.

    Returns:
        Its lines that are not empty; 0 for prose and for cells whose input is hidden.
    """
    if cell.cell_type != "code":
        return 0
    hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
    if hidden or _HIDING_TAGS & set(cell.metadata.get("tags", [])):
        return 0
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def output_faults(notebook: NotebookNode) -> list[str]:
    """Find outputs that do not belong into a stored notebook.

    Arguments:
        notebook: as read from disk.

    Returns:
        A sentence for each fault.
    """
    found = []
    if "widgets" in notebook.metadata:
        found.append("the notebook stores the state of widgets")
    executed = 0
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        executed += 1
        if cell.execution_count != executed:
            # nbval never compares a cell that was not executed.
            found.append(f"cell {i} has execution count {cell.execution_count}, not {executed}")
        for output in cell.outputs:
            found.extend(f"cell {i} {fault}" for fault in _output_faults(output))
    return found


def _output_faults(output: NotebookNode) -> list[str]:
    if output.output_type == "error":
        return [f"stores an error: {output.ename}"]
    if output.output_type == "stream":
        return ["stores what it wrote to stderr"] if output.name == "stderr" else []
    found = [f"stores {kind}" for kind in _WIDGETS if kind in output.data]
    pictures = [kind for kind in output.data if kind.startswith("image/")]
    html = str(output.data.get("text/html", ""))
    if pictures or re.search(r"<(svg|canvas|img)\b", html):
        alt = str(output.data.get("text/plain", "")).strip()
        if len(alt) < LEAST_ALT or re.fullmatch(r"<[\w. ]+( at 0x\w+| size .*)?>", alt):
            found.append(f"shows a figure without words for it ({alt!r})")
    for tag in re.findall(r"<img\b[^>]*>", html):
        alt = re.search(r'alt="([^"]*)"', tag)
        if alt is None or len(alt.group(1)) < LEAST_ALT:
            found.append("shows an image whose alt text is missing or short")
    return found


def length_faults(notebook: NotebookNode, number: str) -> list[str]:
    """Hold a lesson against the lengths that a newcomer can read in an hour and a half.

    Arguments:
        notebook: as read from disk.
        number: the lesson's two digits; lesson 00 may be shorter.

    Returns:
        A sentence for each fault.
    """
    found = []
    for i, cell in enumerate(notebook.cells):
        lines = visible_lines(cell)
        if lines > MOST_CELL_LINES:
            found.append(f"cell {i} shows {lines} lines of code, more than {MOST_CELL_LINES}")
        if cell.cell_type == "markdown" and words(cell.source) > MOST_PROSE_WORDS:
            found.append(f"cell {i} has {words(cell.source)} words, more than {MOST_PROSE_WORDS}")
    lines = sum(visible_lines(cell) for cell in notebook.cells)
    if lines > MOST_CODE_LINES:
        found.append(f"{lines} visible lines of code, more than {MOST_CODE_LINES}")
    prose = sum(
        words(cell.source, tables=True) for cell in notebook.cells if cell.cell_type == "markdown"
    )
    least = WORDS[0] if number != "00" else 0
    if not least <= prose <= WORDS[1]:
        found.append(f"{prose} words of prose, not {least} to {WORDS[1]}")
    return found


def link_faults(notebook: NotebookNode, folder: Path) -> list[str]:
    """Find links to files that are not there.

    Arguments:
        notebook: as read from disk.
        folder: where the notebook lies.

    Returns:
        A sentence for each dead link.
    """
    found = []
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown":
            continue
        targets = re.findall(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"", cell.source)
        for target in (first or second for first, second in targets):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (folder / target.split("#")[0]).exists():
                found.append(f"cell {i} links to {target}, which is not there")
    return found


def faults(path: Path) -> list[str]:
    """Hold one stored lesson against every gate.

    Arguments:
        path: the notebook.

    Returns:
        A sentence for each fault.
    """
    notebook = nbformat.read(path, as_version=4)
    found = []
    kilobytes = path.stat().st_size / 1000
    if kilobytes > MOST_KILOBYTES:
        found.append(f"{kilobytes:.0f} kB, more than {MOST_KILOBYTES}")
    ids = [cell.id for cell in notebook.cells]
    if ids != [f"{path.stem[:2]}-{i:03d}" for i in range(len(ids))]:
        found.append("the cells' ids are not those of the build: run make notebooks")
    found.extend(output_faults(notebook))
    found.extend(length_faults(notebook, path.stem[:2]))
    found.extend(link_faults(notebook, path.parent))
    return found

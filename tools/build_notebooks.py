"""Build notebooks/ from course/: run every lesson once and keep what it shows.

Two builds give the same bytes: outputs are made in poster mode, a browser takes the pictures, and
everything that changes from run to run (times, random ids, versions) is dropped or fixed.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools.figures import PLOTLY, Painter, paint
from tools.kernel import HANGS_AFTER, Cost
from tools.sources import COURSE, KERNELSPEC, NOTEBOOKS, key, pairs, read_text

ENVIRONMENT = {
    "GENTOOLKIT_OUTPUT": "poster",
    "GENTOOLKIT_PROFILE": "cpu",
    "GENTOOLKIT_SOLUTIONS": "0",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",  # a bar's text holds times
}
# As JupyterLab writes it, without the version of Python: it names the colouring of the code.
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
_LIVE_ONLY = "application/vnd.jupyter.widget-view+json"


class BuildError(RuntimeError):
    """A lesson that cannot be stored."""


@dataclass(frozen=True)
class Built:
    """What one build cost.

    Arguments:
        name: the lesson.
        seconds: what processors spent on its kernel.
        slowest: of these, on the slowest cell.
        peak_mb: greatest memory of its kernel, or None where the system does not tell.
        kilobytes: size of the notebook.
    """

    name: str
    seconds: float
    slowest: float
    peak_mb: float | None
    kilobytes: float


def run(notebook: NotebookNode, folder: Path, name: str) -> tuple[list[float], Cost]:
    """Run all cells of a notebook in a fresh kernel, in place.

    Arguments:
        notebook: its outputs are replaced.
        folder: where the kernel stands.
        name: the lesson, for errors.

    Returns:
        The seconds that processors spent on each cell, and the kernel's cost in all.

    Raises:
        BuildError: if a cell raises or takes too long.
    """
    client = NotebookClient(
        notebook,
        timeout=HANGS_AFTER,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    times = []
    with client.setup_kernel(env={**os.environ, **ENVIRONMENT}):
        pid = getattr(client.km.provisioner if client.km is not None else None, "pid", None)
        if pid is None:
            raise BuildError(f"{name} needs a kernel of this machine; got none that has a process")
        cost = Cost.of(pid)
        for i, cell in enumerate(notebook.cells):
            before = cost
            try:
                client.execute_cell(cell, i, execution_count=client.code_cells_executed + 1)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                raise BuildError(f"{name}, cell {i}, failed:\n{cell.source}\n\n{error}") from None
            cost = Cost.of(pid)
            times.append(cost.seconds - before.seconds)
    return times, cost


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join pieces of one stream: where they were cut depends on the speed of the machine."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            joined.append(output)
    return joined


def settle(notebook: NotebookNode, number: str, painter: Painter) -> None:
    """Make an executed notebook fit to be stored, in place.

    Arguments:
        notebook: executed in poster mode.
        number: the lesson's two digits, for the cells' ids.
        painter: draws charts and scenes.

    Raises:
        BuildError: if an output is a widget, a warning, or a chart without words.
    """
    executed = 0
    for i, cell in enumerate(notebook.cells):
        cell.id = f"{number}-{i:03d}"
        if cell.cell_type != "code":
            continue
        executed += 1
        cell.execution_count = executed
        cell.outputs = _merged(cell.outputs)
        for output in cell.outputs:
            place = f"lesson {number}, cell {i}"
            if output.output_type == "stream" and output.name == "stderr":
                raise BuildError(f"{place} writes to stderr: {output.text}")
            data = output.get("data", {})
            if _LIVE_ONLY in data:
                raise BuildError(f"{place} stores a live widget ({data.get('text/plain', '')})")
            if PLOTLY in data:
                if len(data.get("text/plain", "")) < 20:
                    raise BuildError(f"{place} draws a chart that has no words for it")
            paint(output, painter)
            if output.output_type == "execute_result":
                output.execution_count = executed
    notebook.metadata.pop("widgets", None)
    # Only what JupyterLab itself leaves here when it saves the pair.
    paired = notebook.metadata.pop("jupytext", {})
    if "default_lexer" in paired:
        notebook.metadata.jupytext = {"default_lexer": paired["default_lexer"]}
    notebook.metadata.kernelspec = nbformat.from_dict(KERNELSPEC)
    notebook.metadata.language_info = nbformat.from_dict(LANGUAGE)
    notebook.nbformat, notebook.nbformat_minor = 4, 5


def build(text: Path, target: Path, folder: Path, painter: Painter) -> Built:
    """Build one lesson's notebook.

    Arguments:
        text: its source.
        target: the notebook to write.
        folder: where its kernel stands.
        painter: draws charts and scenes.

    Returns:
        What it cost.

    Raises:
        BuildError: if the lesson fails or cannot be stored.
        ValueError: if the source's name or header is wrong.
    """
    notebook = read_text(text)
    times, cost = run(notebook, folder, text.stem)
    settle(notebook, text.stem[:2], painter)
    nbformat.validate(notebook)
    written = nbformat.writes(notebook) + "\n"
    target.write_text(written, encoding="utf-8")
    size = len(written.encode()) / 1000
    return Built(text.stem, cost.seconds, max(times, default=0.0), cost.peak_mb, size)


def report(built: list[Built]) -> str:
    """Lay out the costs as a table.

    Arguments:
        built: one row each.

    Returns:
        Lines of text.
    """
    lines = [f"{'lesson':<28}{'CPU s':>9}{'slowest':>9}{'peak MB':>9}{'kB':>7}"]
    for row in built:
        peak = f"{row.peak_mb:.0f}" if row.peak_mb is not None else "-"
        lines.append(
            f"{row.name:<28}{row.seconds:>9.1f}{row.slowest:>9.1f}{peak:>9}{row.kilobytes:>7.0f}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Build the notebooks, or check that the stored ones have the texts' inputs.

    Arguments:
        arguments: the command line without the program's name.

    Returns:
        0 if all is well, else 1.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NN", help="build the one lesson of this number")
    parser.add_argument("--check", action="store_true", help="build elsewhere, compare the inputs")
    parser.add_argument("--course", type=Path, default=COURSE, help="folder of the texts")
    parser.add_argument("--notebooks", type=Path, default=NOTEBOOKS, help="folder to write to")
    chosen = parser.parse_args(arguments)
    todo = pairs(chosen.course, chosen.notebooks)
    if chosen.only is not None:
        todo = [pair for pair in todo if pair.text.stem[:2] == chosen.only]
    if not todo:
        print(f"no such lesson in {chosen.course}: {chosen.only or 'the folder is empty'}")
        return 1
    chosen.notebooks.mkdir(exist_ok=True)
    costs, wrong = [], []
    with tempfile.TemporaryDirectory() as scratch, Painter() as painter:
        for pair in todo:
            target = Path(scratch) / pair.notebook.name if chosen.check else pair.notebook
            print(f"building {pair.text.stem}", flush=True)
            try:
                costs.append(build(pair.text, target, chosen.notebooks, painter))
            except BuildError as error:
                print(error, file=sys.stderr)
                return 1
            if chosen.check:
                stored = pair.notebook
                same = stored.exists() and key(nbformat.read(stored, as_version=4)) == key(
                    nbformat.read(target, as_version=4)
                )
                if not same:
                    wrong.append(pair.notebook.name)
    print(report(costs))
    for name in wrong:
        print(f"{name} is not what its text gives: run make notebooks")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

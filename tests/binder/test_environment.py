"""Binder's files make an environment in which lesson 00 runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
BINDER = ROOT / "binder"
LEFT_OUT = {".git", ".venv", "build", "dist", "runs", ".pytest_cache", ".ruff_cache"}
# JupyterLab and the kernel are repo2docker's; here they stand beside, without JupyterLab itself.
BESIDE = ["ipykernel", "nbclient"]
RUN = """
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read("notebooks/00_start.ipynb", as_version=4)
client = NotebookClient(
    notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": "notebooks"}}
)
client.execute()
nbformat.write(notebook, "ran.ipynb")
"""


def test_the_files_are_what_repo2docker_reads() -> None:
    """Catches a script that is not executable or goes on after an error, and a stray Dockerfile."""
    assert {path.name for path in BINDER.iterdir()} == {
        "overrides.json",
        "postBuild",
        "requirements.txt",
        "runtime.txt",
        "start",
    }
    assert (BINDER / "runtime.txt").read_text() == "python-3.11\n"
    for name in ("postBuild", "start"):
        assert os.access(BINDER / name, os.X_OK)
        assert "\nset -euo pipefail\n" in (BINDER / name).read_text()
    assert (BINDER / "start").read_text().rstrip().splitlines()[-1] == 'exec "$@"'
    json.loads((BINDER / "overrides.json").read_text())


@pytest.mark.slow
def test_a_fresh_environment_runs_lesson_00(tmp_path: Path) -> None:
    """Catches a pin that is missing or clashes, a package without its files, a broken start."""
    shutil.copytree(
        ROOT, tmp_path / "repo", ignore=shutil.ignore_patterns(*LEFT_OUT, "__pycache__")
    )
    repo, venv = tmp_path / "repo", tmp_path / "venv"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GENTOOLKIT_")}
    clean.pop("PYTHONPATH", None)
    environment = {
        **clean,
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(venv),
        "GENTOOLKIT_OUTPUT": "poster",
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }

    def call(*command: str) -> None:
        done = subprocess.run(
            command, cwd=repo, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    # A closed network does not reach PyTorch's own index; its pin is the same without it.
    wanted = repo / "binder" / "requirements.txt"
    lines = wanted.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("--extra-index-url")]
    wanted.write_text("\n".join(kept) + "\n")
    python = str(venv / "bin" / "python")
    # One lesson imports a small part of what is installed: the rest need not be compiled.
    install = (python, "-m", "pip", "install", "--no-compile")
    call(*install, "-r", "binder/requirements.txt")
    call(*install, "-c", "constraints.txt", *BESIDE)
    call("binder/postBuild")
    (repo / "run.py").write_text(RUN)
    # The copy's package must not be imported in the place of the installed one.
    shutil.rmtree(repo / "gentoolkit")
    call("binder/start", python, "run.py")
    notebook = nbformat.read(repo / "ran.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "profile binder" in printed

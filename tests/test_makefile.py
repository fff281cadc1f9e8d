"""The commands that a newcomer types."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def planned(*arguments: str) -> str:
    """What make would run."""
    done = make("--dry-run", f"PYTHON={sys.executable}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_names_every_command() -> None:
    """Catches a command that nobody can find, and a default that installs something."""
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    told = make("help").stdout
    assert set(targets[1].split()) - {"help"} <= set(re.findall(r"^make (\w+)", told, re.MULTILINE))
    assert make().stdout == told


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """Catches a set-up that fails minutes later, deep inside pip."""
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make("lab", f"PYTHON={old}", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_lab_passes_its_arguments_on(tmp_path: Path) -> None:
    """Catches arguments that are dropped, and options for pip that never reach it."""
    plan = planned("lab", f"VENV={tmp_path}/v", "ARGS=--no-browser --port 8899", "PIP_ARGS=--quiet")
    opened = plan[plan.index("jupyter lab") :]
    assert "--no-browser --port 8899" in opened
    assert "default_url=/lab/tree/notebooks/00_start.ipynb" in opened
    assert re.search(
        r'pip install .*--quiet\s.*-c constraints\.txt -e "\.\[lab\]"', plan, re.DOTALL
    )


def test_a_second_run_installs_nothing(tmp_path: Path) -> None:
    """Catches a set-up that starts over each time, or never again after a change of pins."""
    venv = tmp_path / "v"
    venv.mkdir()
    assert "pip install" in planned("test", f"VENV={venv}")
    for stamp in (".made", ".test"):
        (venv / stamp).touch()
    assert "pip install" not in planned("test", f"VENV={venv}")
    # Lab and test need not know of each other.
    plan = planned("lab", f"VENV={venv}")
    assert re.search(r"pip install [^&]*\.\[lab\]", plan)
    assert ".[test]" not in plan
    assert "pip install" in planned("-W", "constraints.txt", "test", f"VENV={venv}")


def test_test_runs_every_check(tmp_path: Path) -> None:
    """Catches a check that fell out of the one command."""
    plan = planned("test", f"VENV={tmp_path}/v")
    for part in (
        "ruff check .",
        "basedpyright",
        '-m "not browser"',
        "-m browser",
        "--nbval-lax",
        "tests.nbval_budget",
        "--nbval-sanitize-with=tests/nbval_sanitize.cfg notebooks",
    ):
        assert part in plan


def test_no_file_names_a_registry() -> None:
    """Catches the address of a mirror that only one machine can reach."""
    names = ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run", "binder/postBuild")
    for name in names:
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|index-url|find-links|trusted-host", text), name

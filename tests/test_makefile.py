"""The commands that a newcomer types, run with stand-ins that write down how they were called."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# As Python: says its version, makes an environment of stand-ins. As any program: notes its call,
# and fails where it is told to.
STAND_IN = """#!/bin/sh
call="$(basename "$0") $*"
echo "$call" >> "{log}"
case "$call" in *"{broken}"*) exit 1 ;; esac
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin"
    for name in python jupyter ruff basedpyright uv; do cp "$0" "$3/bin/$name"; done
fi
if [ "$1 $2" = "-m tools.changed" ]; then echo "tests/laws tests/of_$3"; fi
"""
Run = Callable[..., "Called"]


class Called:
    """What a run of make called, in order, and how it ended."""

    def __init__(self, done: subprocess.CompletedProcess[str], log: Path) -> None:
        self.code, self.errors, self.output = done.returncode, done.stderr, done.stdout
        self.calls = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)

    def of(self, words: str) -> list[str]:
        return [call for call in self.calls if words in call]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Call make with stand-ins for Python and all that an environment holds."""
    log, python = tmp_path / "log", tmp_path / "stand-in"

    def call(*arguments: str, broken: str = "nothing is broken") -> Called:
        for program in (python, *tmp_path.glob("venv/bin/*")):
            program.write_text(STAND_IN.format(log=log, broken=broken))
            program.chmod(0o755)
        command = ["make", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}", *arguments]
        # A make that runs these tests must not hand its own flags and variables down.
        clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "ARGS")}
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, env=clean
        )
        return Called(done, log)

    return call


def test_help_names_every_command(run: Run) -> None:
    """Catches a command that nobody can find, and a default that installs something."""
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    told = run("help")
    assert set(targets[1].split()) - {"help"} <= set(re.findall(r"make (\w+)", told.output))
    assert run().output == told.output and told.calls == []


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """Catches a set-up that fails minutes later, deep inside pip."""
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "lab", f"PYTHON={old}", f"VENV={tmp_path}/venv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_lab_passes_its_arguments_on(run: Run) -> None:
    """Catches arguments that are dropped, options for pip that never reach it, a wrong page."""
    called = run("lab", "ARGS=--no-browser --port 8899", "PIP_ARGS=--prefer-binary")
    assert called.code == 0, called.errors
    (installed,) = called.of("pip install")
    assert "--prefer-binary -c constraints.txt -e .[lab]" in installed
    (opened,) = called.of("jupyter lab")
    assert "/lab/tree/notebooks/00_start.ipynb --no-browser --port 8899" in opened
    assert called.calls.index(called.of("jupyter trust")[0]) < called.calls.index(opened)


def test_a_second_run_installs_nothing(run: Run) -> None:
    """Catches a set-up that starts over each time, or never again after a change of pins."""
    assert len(run("lab").of("pip install")) == 1
    assert run("lab").of("pip install") == []
    assert len(run("-W", "constraints.txt", "lab").of("pip install")) == 1


def test_a_failed_install_is_tried_again(run: Run) -> None:
    """Catches an environment that counts as ready although pip has failed."""
    assert run("lab", broken="pip install").code != 0
    assert len(run("lab").of("pip install")) == 1


CHECKS = ("ruff check", "basedpyright --", "-m not browser", "-m browser", "nbval_budget")


@pytest.mark.parametrize("broken", CHECKS)
def test_test_fails_when_any_check_fails(run: Run, broken: str) -> None:
    """Catches a check that fell out of the one command, or whose failure is not heard."""
    sound = run("test")
    assert sound.code == 0, sound.errors
    assert run("test", broken=broken).code != 0


def test_check_runs_what_changed(run: Run) -> None:
    """Catches a daily check that runs everything, nothing, or forgets lint or types."""
    called = run("check", "SINCE=v1")
    assert called.code == 0, called.errors
    assert "tests/laws tests/of_v1" in called.of("python -m pytest")[0]
    for broken in ("ruff check", "basedpyright --", "tests/laws", "tools.changed"):
        assert run("check", broken=broken).code != 0, broken


def test_constraints_keep_one_pin_and_pass_arguments_on(run: Run) -> None:
    """Catches pins compiled for this platform alone, and an upgrade that never reaches uv."""
    called = run("constraints", "ARGS=--upgrade")
    assert called.code == 0, called.errors
    (compiled,) = called.of("pip compile")
    assert "--universal" in compiled and compiled.endswith(" constraints.txt --upgrade")

"""What `make check` chooses to test."""

import subprocess
from pathlib import Path

import pytest

from tools.changed import changed_files, selection


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of two families, with a commit."""
    for name in (
        "gentoolkit/flows/planar.py",
        "gentoolkit/vi/vae.py",
        "gentoolkit/train.py",
        "tests/flows/test_planar.py",
        "tests/flows/truth.py",
        "tests/vi/test_vae.py",
        "tests/laws/test_laws.py",
        "tests/test_train.py",
        "tests/conftest.py",
        ".gitignore",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".gitignore").write_text("build/\n")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    return tmp_path


def git(tree: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *who, *arguments], cwd=tree, check=True, capture_output=True)


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=x")


def test_what_changed_is_found_committed_or_not(tree: Path) -> None:
    """Catches a check that sees only the last commit, only the index, or only tracked files."""
    git(tree, "checkout", "--quiet", "-b", "work")
    (tree / "gentoolkit/vi/vae.py").write_text("x = 1\n")
    commit(tree)
    (tree / "gentoolkit/train.py").unlink()
    (tree / "gentoolkit/flows/radial.py").write_text("")
    (tree / "build").mkdir()
    (tree / "build/thing.py").write_text("")
    found = ["gentoolkit/flows/radial.py", "gentoolkit/train.py", "gentoolkit/vi/vae.py"]
    assert changed_files("main", tree) == found
    assert changed_files("HEAD", tree) == found[:2]
    with pytest.raises(RuntimeError, match="make check SINCE="):
        changed_files("nowhere", tree)


@pytest.mark.parametrize(
    ("changed", "chosen"),
    [
        ([], ["tests/laws"]),
        (["gentoolkit/flows/planar.py"], ["tests/flows", "tests/laws"]),
        (["gentoolkit/train.py"], ["tests/laws", "tests/test_train.py"]),
        (["tests/vi/test_vae.py"], ["tests/laws", "tests/vi/test_vae.py"]),
        (["tests/flows/truth.py"], ["tests/flows", "tests/laws"]),
        (["tests/flows/test_planar.py", "tests/flows/truth.py"], ["tests/flows", "tests/laws"]),
        (["tests/vi/test_gone.py", "tests/conftest.py", "LICENSE"], ["tests/laws"]),
    ],
)
def test_each_change_has_its_tests(tree: Path, changed: list[str], chosen: list[str]) -> None:
    """Catches a changed file whose tests do not run, and a file that is gone handed to pytest."""
    assert selection(changed, tree) == chosen

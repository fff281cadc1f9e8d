"""Name the tests of what changed: `make check` runs them with the laws.

A file of `gentoolkit/<part>/` is tested in `tests/<part>/`, a module `gentoolkit/<part>.py` in
`tests/test_<part>.py`, a test module by itself, and a helper by the folder that it lies in. Other
families lean on the core and the numerics too; those who change them run `make test` in the end.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
# What one change can break everywhere, and what takes a moment.
ALWAYS = ("tests/laws", "tests/test_imports.py", "tests/test_examples.py")
# Where the tests of a folder are that has no mirror in tests/.
ELSEWHERE = {
    "course": ("tests/course/test_pairs.py",),
    "notebooks": ("tests/course/test_pairs.py", "tests/course/test_gates.py"),
    "tools": ("tests/course",),
    "docs": ("tests/test_docs.py",),
    "binder": ("tests/test_constraints.py",),
    "constraints.txt": ("tests/test_constraints.py",),
    "pyproject.toml": ("tests/test_constraints.py",),
    "Makefile": ("tests/test_makefile.py",),
    "package.json": ("tests/widgets/test_javascript.py",),
    "tsconfig.json": ("tests/widgets/test_javascript.py",),
}


def changed_files(since: str, root: Path = ROOT) -> list[str]:
    """Ask git which files differ, committed or not.

    Arguments:
        since: a commit or branch; what came after the common ancestor with it counts.
        root: a working tree.

    Returns:
        Paths below `root`; deleted files and new ones that git does not ignore are among them.

    Raises:
        RuntimeError: if git does not know `since`.
    """

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"what changed is asked of git; got {done.stderr.strip()!r}; "
                "name a commit that it knows: make check SINCE=HEAD~1"
            )
        return done.stdout.splitlines()

    (base,) = git("merge-base", since, "HEAD")
    tracked = git("diff", "--name-only", "--no-renames", base)
    return sorted({*tracked, *git("ls-files", "--others", "--exclude-standard")})


def tests_of(path: str, root: Path = ROOT) -> tuple[str, ...]:
    """Find the tests of one file.

    Arguments:
        path: of a file, below `root`.
        root: where tests/ is.

    Returns:
        Files and folders that exist; none if the file has no tests.
    """
    top, *inner = PurePosixPath(path).parts
    if top == "tests":
        name = inner[-1]
        own = name.startswith("test_") and name.endswith(".py")
        # A helper at the top of tests/ belongs to every test, so to none in particular.
        found = (path,) if own else ("/".join([top, *inner[:-1]]),) if len(inner) > 1 else ()
    elif top == "gentoolkit" and inner:
        part = inner[0].removesuffix(".py")
        found = (f"tests/{part}", f"tests/test_{part}.py")
    else:
        found = ELSEWHERE.get(top, ())
    return tuple(test for test in found if (root / test).exists())


def selection(changed: Iterable[str], root: Path = ROOT) -> list[str]:
    """Choose what `make check` runs.

    Arguments:
        changed: paths below `root`.
        root: where tests/ is.

    Returns:
        Arguments for pytest, none of them inside another.
    """
    wanted = {test for test in ALWAYS if (root / test).exists()}
    wanted.update(test for path in changed for test in tests_of(path, root))
    return sorted(
        test for test in wanted if not any(test.startswith(f"{other}/") for other in wanted)
    )


if __name__ == "__main__":
    try:
        print(" ".join(selection(changed_files(sys.argv[1]))))
    except RuntimeError as error:
        sys.exit(str(error))

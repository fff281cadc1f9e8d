"""A page of measured results: one section a subject, replaced when the subject is run again."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def titles(page: str) -> dict[str, str]:
    """The sections' titles by their first word, in the page's order."""
    return {title.split()[0]: title for title in re.findall(r"^## (.+)$", page, re.MULTILINE)}


def renewed(
    page: str, head: str, measured: Mapping[str, tuple[str, str]], order: Iterable[str]
) -> str:
    """The page with new sections in the place of the old ones of the same name.

    `measured` gives for each name what its title says after it, and what was printed; `order`
    names all subjects, and a section of another name is left out.
    """
    kept = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    old = {part.split()[0]: f"## {part.rstrip()}" for part in kept}
    new = {
        name: f"## {' '.join([name, title]).rstrip()}\n\n```text\n{body.rstrip()}\n```"
        for name, (title, body) in measured.items()
    }
    parts = [(old | new)[name] for name in order if name in old | new]
    listed = [f"- {title}" for title in titles("\n".join(parts)).values()]
    return "\n\n".join([head.rstrip(), "\n".join(listed), *parts]) + "\n"


def renew(
    path: Path, head: str, measured: Mapping[str, tuple[str, str]], order: Iterable[str]
) -> None:
    """Renew a page on disk."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(renewed(page, head, measured, order), encoding="utf-8")

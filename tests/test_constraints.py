"""The pins: complete, the same as what is installed here, and free of any registry's address."""

import importlib.metadata as metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def pins(text: str) -> dict[str, str]:
    """The versions that hold on this machine, by canonical name."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = {}
    for asked in map(Requirement, lines):
        (exact,) = asked.specifier
        assert exact.operator == "==", f"{asked} leaves room"
        if asked.marker is None or asked.marker.evaluate():
            found[canonicalize_name(asked.name)] = exact.version
    return found


PINNED = pins((ROOT / "constraints.txt").read_text())


def asked_by(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What an installed distribution asks for here; nothing if it is not installed."""
    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for asked in map(Requirement, texts):
        wanted = ({"extra": extra} for extra in ("", *extras))
        if asked.marker is None or any(map(asked.marker.evaluate, wanted)):
            yield asked


def test_what_is_installed_is_what_is_pinned() -> None:
    """Catches a dependency that was added or raised without a new pin, also behind another."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    waiting, seen, installed = [("gentoolkit", frozenset(extras))], set(), {}
    while waiting:
        step = waiting.pop()
        if step in seen:
            continue
        seen.add(step)
        waiting += [(canonicalize_name(a.name), frozenset(a.extras)) for a in asked_by(*step)]
        try:
            # The local part names a build: torch 2.13.0+cpu is 2.13.0.
            installed[step[0]] = Version(metadata.version(step[0])).public
        except metadata.PackageNotFoundError:
            continue
    del installed["gentoolkit"]
    assert len(installed) > 80
    assert installed == {name: PINNED.get(name) for name in installed}


def test_every_direct_dependency_is_pinned_within_its_range() -> None:
    """Catches an extra that this environment does not hold and that nobody pinned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    for requirement in map(Requirement, asked):
        if requirement.name != "gentoolkit":
            version = PINNED[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement


def test_other_platforms_get_what_jupyter_asks_for_there() -> None:
    """Catches pins that were resolved for one platform: terminals on Windows, naps on macOS."""
    text = (ROOT / "constraints.txt").read_text()
    lines = [Requirement(line) for line in text.splitlines() if line[:1] not in ("", "#")]
    for system, name, package in (
        ("win32", "nt", "pywinpty"),
        ("darwin", "posix", "appnope"),
    ):
        place = {"sys_platform": system, "os_name": name}
        held = {a.name for a in lines if a.marker is None or a.marker.evaluate(place)}
        assert {package, "torch", "ipykernel"} <= held
        assert len({"pywinpty", "appnope"} & held) == 1


def test_no_file_names_a_registry_or_one_machines_build() -> None:
    """Catches a mirror, a path or a local version that only one machine can find."""
    names = ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run", "binder/postBuild")
    for name in names:
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|file:|index-url|find-links|trusted-host", text), name
    assert not re.search(r"@|\+", (ROOT / "constraints.txt").read_text())
    binder = (ROOT / "binder" / "requirements.txt").read_text()
    assert re.findall(r"\S+://[^/\s]+", binder) == ["https://download.pytorch.org"]

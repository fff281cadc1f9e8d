"""The pins: complete, exact, the same for Binder, and free of any registry's address."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import constraints

ROOT = Path(__file__).parents[1]


def test_what_is_installed_is_what_is_pinned() -> None:
    """Catches a dependency that was added or raised without a new pin, also behind another."""
    needed = constraints.reachable(constraints.requirements("gentoolkit", constraints.EXTRAS))
    found = constraints.installed(needed)
    assert len(found) > 80
    assert {"torch", "jupyterlab", "pytest", "tornado"} <= set(found)
    pinned = constraints.pins(constraints.CONSTRAINTS)
    assert found == {name: pinned.get(name) for name in found}


def test_every_direct_dependency_is_pinned_within_its_range() -> None:
    """Catches an extra that this environment does not hold and that nobody pinned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = constraints.pins(constraints.CONSTRAINTS)
    asked = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        asked.extend(extra)
    for requirement in map(Requirement, asked):
        if requirement.name != "gentoolkit":
            version = pinned[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement


def test_other_platforms_are_pinned() -> None:
    """Catches a file that leaves Windows and macOS to chance."""
    assert {"appnope", "colorama", "pywinpty"} <= set(constraints.pins(constraints.CONSTRAINTS))


def test_pins_name_no_registry_and_no_build() -> None:
    """Catches a host, a file path, or a local version that only one machine can find."""
    text = constraints.CONSTRAINTS.read_text()
    assert not re.search(r"://|--|@|\+", text)
    assert constraints.pins(constraints.CONSTRAINTS)["torch"] == "2.13.0"


def test_binder_has_the_same_pins() -> None:
    """Catches a Binder environment that drifts from the one the lessons were tested in."""
    pinned = constraints.pins(constraints.CONSTRAINTS)
    binder = constraints.pins(constraints.BINDER)
    assert binder == constraints.binder_pins(pinned)
    assert {"torch", "numpy", "ipywidgets", "anywidget", "plotly", "jupytext"} <= set(binder)
    assert "jupyterlab" not in binder
    addresses = re.findall(r"\S+://\S+", constraints.BINDER.read_text())
    assert addresses == [constraints.TORCH_INDEX]


def test_loose_lines_are_refused(tmp_path: Path) -> None:
    """Catches a pin that leaves room."""
    path = tmp_path / "constraints.txt"
    path.write_text("torch>=2.13\n")
    with pytest.raises(ValueError, match="got 'torch>=2.13' in constraints.txt"):
        constraints.pins(path)

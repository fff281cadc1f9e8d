"""The house rules: who may import whom, and what an import may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gentoolkit

PACKAGE = Path(gentoolkit.__file__).parent
FAMILIES = {
    "vi",
    "flows",
    "stochastic",
    "diffusion",
    "jumps",
    "gflownet",
    "adversarial",
    "graphs",
    "bridges",
}
BASE = {"core", "nets", "numerics", "processes"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "nets": {"core"},  # only its argument checks
    "numerics": {"core"},
    "processes": {"core", "numerics"},
    "targets": {"core", "numerics"},
    "data": {"core"},
    **dict.fromkeys(FAMILIES, BASE),
    "checkpoints": set(),
    "train": {"core", "checkpoints"},
    "metrics": {"core"},
    "viz": {"core", "metrics"},
    "widgets": {"viz", "core"},
    "teach": {"core", "nets", "targets", "data", "metrics", "train", "viz", "widgets"},
    "__init__": {"core"},
}
OUTSIDE: dict[str, set[str]] = {
    "core": {"torch"},
    "nets": {"torch"},
    "numerics": {"torch", "torchdiffeq"},
}
STANDARD = sys.stdlib_module_names


def _modules():
    return sorted(PACKAGE.rglob("*.py"))


def _house(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str) -> set[str]:
    """Every module that a file imports, also inside functions and type checks."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this test can read them"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def breaches(house: str, names: set[str]) -> list[str]:
    """Which imports a house may not make."""
    allowed = MAY_IMPORT[house] | {house}
    bad = []
    for name in sorted(names):
        parts = name.split(".")
        if parts[0] == "gentoolkit":
            inner = parts[1] if len(parts) > 1 else ""
            # A bare `from gentoolkit import Chain` reaches the core's public names.
            if inner in gentoolkit.__all__:
                inner = "core"
            if inner not in allowed:
                bad.append(name)
        elif house in OUTSIDE and parts[0] not in STANDARD and parts[0] not in OUTSIDE[house]:
            bad.append(name)
    return bad


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_rows_of_the_house_hold(path):
    """Catches a family that leans on another family, on targets or on data."""
    assert breaches(_house(path), imports(path.read_text())) == []


def test_a_breach_is_seen():
    """The control: each of these must be caught."""
    for house, line in [
        ("vi", "from gentoolkit.targets import DoubleWell"),
        ("vi", "import gentoolkit.flows"),
        ("core", "import numpy"),
        ("core", "from gentoolkit.nets import MLP"),
        ("numerics", "from scipy import integrate"),
        ("nets", "import torchdiffeq"),
        ("viz", "def f():\n    from gentoolkit.vi import VAE"),
    ]:
        assert breaches(house, imports(line)) != [], line
    assert breaches("vi", imports("from gentoolkit.core import Chain\nimport torch")) == []


def test_import_is_light_and_silent():
    """Catches an import that loads plotly or widgets, prints, or changes torch's settings."""
    code = (
        "import sys, torch; before = (torch.get_num_threads(), torch.get_default_dtype(), "
        "torch.initial_seed()); import gentoolkit; "
        "assert before == (torch.get_num_threads(), torch.get_default_dtype(), "
        "torch.initial_seed()); "
        "heavy = {'plotly', 'ipywidgets', 'anywidget', 'sklearn', 'scipy', 'torchdiffeq', "
        "'IPython'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and done.stderr == ""


def test_what_every_lesson_imports_leaves_scikit_learn_and_scipy_alone():
    """Catches seconds of waiting at the top of a lesson that shows no digits."""
    code = (
        "import sys, gentoolkit.data, gentoolkit.targets, gentoolkit.train, gentoolkit.teach, "
        "gentoolkit.widgets, gentoolkit.viz; print(sorted({'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_test_module_leans_on_another():
    """Catches a helper in a test module: what is imported from there is collected twice or lost."""
    tests = Path(__file__).parent
    found = []
    for path in sorted(tests.rglob("*.py")):
        own = ".".join(path.relative_to(tests.parent).with_suffix("").parts)
        for name in imports(path.read_text()):
            module = next((part for part in name.split(".") if part.startswith("test_")), None)
            if name.startswith("tests.") and module and not name.startswith(f"{own}."):
                found.append(f"{own} imports {name}")
    assert found == []

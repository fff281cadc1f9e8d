"""Write constraints.txt from this environment, and binder/requirements.txt from that.

Run it in a fresh environment that holds every extra; `make constraints` does.
"""

import importlib.metadata as metadata
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
BINDER = ROOT / "binder" / "requirements.txt"
EXTRAS = ("lab", "test", "bench", "cluster")
# Asked for by the same packages on Windows and macOS only, so no Linux environment holds them.
ELSEWHERE = {"appnope": "1.0.0", "colorama": "0.4.6", "pywinpty": "3.1.2"}
# What the lessons import; JupyterLab and its kernel are repo2docker's own.
ON_BINDER = ("ipywidgets", "anywidget", "plotly", "jupytext")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_HEAD = """\
# Every direct and transitive dependency of every extra: pip install -c constraints.txt ...
# Written by `make constraints`. What torch's CUDA build brings on Linux is pinned by torch itself.
"""
_BINDER_HEAD = f"""\
# Written by `make constraints` from constraints.txt; JupyterLab is left to repo2docker.
# torch's CPU build (2.13.0+cpu) comes from here; the default one brings gigabytes of CUDA.
--extra-index-url {TORCH_INDEX}
"""


def requirements(name: str, extras: Iterable[str]) -> list[Requirement]:
    """List what an installed distribution asks for on this platform.

    Arguments:
        name: of the distribution.
        extras: of its extras.

    Returns:
        Its requirements whose markers hold; none if it is not installed.
    """
    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    wanted = ("", *extras)
    parsed = [Requirement(text) for text in texts]
    return [
        asked
        for asked in parsed
        if asked.marker is None or any(asked.marker.evaluate({"extra": e}) for e in wanted)
    ]


def reachable(roots: Iterable[Requirement]) -> set[str]:
    """Follow requirements to their ends.

    Arguments:
        roots: where to begin.

    Returns:
        The canonical names of all distributions on the way, installed or not.
    """
    waiting = list(roots)
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        asked = waiting.pop()
        step = (canonicalize_name(asked.name), frozenset(asked.extras))
        if step not in seen:
            seen.add(step)
            waiting.extend(requirements(*step))
    return {name for name, _ in seen} - {"gentoolkit"}


def installed(names: Iterable[str]) -> dict[str, str]:
    """Look up versions, without the local part that names a build (`+cpu`).

    Arguments:
        names: canonical names.

    Returns:
        Versions of those that this environment holds.
    """
    found = {}
    for name in sorted(names):
        try:
            found[name] = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return found


def pins(path: Path) -> dict[str, str]:
    """Read the pins of a constraints or requirements file.

    Arguments:
        path: lines `name==version`, comments, options.

    Returns:
        Versions by canonical name.

    Raises:
        ValueError: if another kind of line stands there.
    """
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith(("#", "--extra-index-url ")):
            continue
        asked = Requirement(line)
        exact = [part.version for part in asked.specifier if part.operator == "=="]
        if len(exact) != 1 or asked.marker is not None:
            raise ValueError(
                f"each line pins one version; got {line!r} in {path.name}; write name==version"
            )
        found[canonicalize_name(asked.name)] = exact[0]
    return found


def binder_pins(constraints: dict[str, str]) -> dict[str, str]:
    """Choose the pins that Binder needs.

    Arguments:
        constraints: all pins.

    Returns:
        Those of the package itself and of what the lessons import, with what they ask for.

    Raises:
        ValueError: if a needed distribution has no pin.
    """
    roots = [*requirements("gentoolkit", ()), *(Requirement(name) for name in ON_BINDER)]
    needed = sorted(reachable(roots))
    # Optional helpers that are not installed here (jsonschema's formats) are not needed there.
    unpinned = [name for name in installed(needed) if name not in constraints]
    if unpinned:
        raise ValueError(f"Binder needs pins; got none for {unpinned}; run make constraints")
    return {name: constraints[name] for name in needed if name in constraints}


def written(head: str, found: dict[str, str]) -> str:
    """Lay out pins as a file.

    Arguments:
        head: its first lines.
        found: versions by name.

    Returns:
        The text.
    """
    return head + "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))


def main() -> int:
    """Write both files.

    Returns:
        0, or 1 if an extra is not installed.
    """
    needed = reachable(requirements("gentoolkit", EXTRAS))
    found = installed(needed)
    missing = sorted(needed - set(found) - set(ELSEWHERE))
    if missing:
        print(f"not installed, so not pinned: {', '.join(missing)}", file=sys.stderr)
        return 1
    CONSTRAINTS.write_text(written(_HEAD, {**found, **ELSEWHERE}), encoding="utf-8")
    BINDER.write_text(written(_BINDER_HEAD, binder_pins(pins(CONSTRAINTS))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

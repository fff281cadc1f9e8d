"""Where the files of real data lie; `tools/real_data.py` makes them, `LICENSES.md` says whose."""

from pathlib import Path

FOLDER = Path(__file__).parent / "files"


def lines(name: str) -> list[str]:
    """Return the lines of a text file of the folder."""
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()

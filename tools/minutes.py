"""How long a lesson takes: its words at a lecturer's pace, its exercises, its cells.

minutes = words / 150 + 5 * exercises + 2, to the next five
"""

import argparse
import math
from pathlib import Path

from gentoolkit.teach.exercises import exercises, known_lessons
from tools.gates import words
from tools.sources import COURSE, read_text

WORDS_A_MINUTE, AN_EXERCISE, CELLS = 150, 5, 2


def minutes(path: Path) -> int:
    """Estimate the minutes that a newcomer needs for a lesson.

    Arguments:
        path: its text source; folded derivations do not count.
    """
    notebook, number = read_text(path), path.name[:2]
    prose = sum(words(c.source, tables=True) for c in notebook.cells if c.cell_type == "markdown")
    count = len(exercises(number)) if number in known_lessons() else 0
    return 5 * math.ceil((prose / WORDS_A_MINUTE + AN_EXERCISE * count + CELLS) / 5)


def main() -> None:
    """Print the minutes of each lesson, or of those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tools.minutes", description=__doc__)
    parser.add_argument("numbers", nargs="*", help="two digits each")
    asked = parser.parse_args().numbers
    for path in sorted(COURSE.glob("[0-9][0-9]_*.md")):
        if not asked or path.name[:2] in asked:
            print(f"{path.stem:28} {minutes(path)} minutes")


if __name__ == "__main__":
    main()

"""What a lesson's kernel has cost: the seconds that processors spent on it, and its memory.

Seconds of the processors, not of the clock: a busy machine must not fail a healthy lesson.
"""

from dataclasses import dataclass
from typing import Self

import psutil

CELL_SECONDS = 25.0
NOTEBOOK_SECONDS = 90.0
KERNEL_MB = 700.0
# A cell that waits for ever costs nothing and must end all the same; no healthy one comes near.
HANGS_AFTER = 900


@dataclass(frozen=True)
class Cost:
    """What a process and its descendants have used since they began.

    Arguments:
        seconds: of all processors together, ended children included.
        peak_mb: greatest memory of the process itself, or None where the system does not tell.
    """

    seconds: float
    peak_mb: float | None

    @classmethod
    def of(cls, pid: int) -> Self:
        """Ask the system.

        Arguments:
            pid: of a process that still runs.

        Returns:
            Its cost up to now.
        """
        process = psutil.Process(pid)
        seconds = _seconds(process)
        for child in process.children(recursive=True):
            try:
                seconds += _seconds(child)
            except psutil.NoSuchProcess:  # it ended just now; its parent has its time
                continue
        return cls(seconds, _peak_mb(pid))


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    # Windows does not add up the children that ended.
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return times.user + times.system + ended


def _peak_mb(pid: int) -> float | None:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
    except OSError:
        return None
    return int(line.split()[1]) / 1000.0

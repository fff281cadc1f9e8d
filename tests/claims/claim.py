"""What an experiment hands to the table."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A statement, what was measured, and whether it showed.

    `conditions` are the parts of the statement, each with what the numbers say of it; `shown`
    follows from them alone. `costs` must be reported beside the verdict but do not decide it.
    """

    system: str
    statement: str
    setting: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    conditions: Sequence[tuple[str, bool]]
    costs: Sequence[str] = ()

    @property
    def shown(self) -> bool:
        return bool(self.conditions) and all(held for _, held in self.conditions)

    def __str__(self) -> str:
        lines = [f"{self.system}  {self.statement}", f"     {self.setting}", ""]
        lines += [*table(self.header, self.rows), ""]
        lines += [f"     {'holds' if held else 'FAILS'}  {text}" for text, held in self.conditions]
        lines += [f"     price  {cost}" for cost in self.costs]
        return "\n".join([*lines, f"     verdict: {'shown' if self.shown else 'NOT shown'}"])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells):
        rest = (c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))
        return "     " + "  ".join([cells[0].ljust(widths[0]), *rest])

    return [line(header), "     " + "  ".join("-" * w for w in widths), *map(line, rows)]

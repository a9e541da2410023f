"""Reference tables of the documents, generated from the program. ``python -m tests.house.tables --write`` updates them.

The program gives the rows, their order and every column except the last. The last column is prose of the document: it
is kept, and a new row starts with the program's own text. The figures of the map of packages are updated too.
"""

# ruff: noqa: T201 - a program

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.config.settings import ROWS
from sidecar.config.sources import spell_env
from sidecar.domain.decision import Reason, Verdict
from sidecar.domain.problems import STATUSES, Code
from sidecar.telemetry.metrics import Metrics, WorkersMetrics

ROOT: Final = Path(__file__).resolve().parents[2]
COMPUTED: Final = {
    "public_url": "`http://` + listener",
    "issuer": "the public URL",
    "keys_dir": "`STATE_DIR/keys`",
    "policy_dir": "`./policy`, or packaged",
    "model": "`./model.conf`, or packaged",
    "login_url": "`PUBLIC_URL/console/sign-in`, or –",
    "max_connections": "`10000`, or fewer",
}
"""Defaults that depend on other settings or on the machine."""
STATUS: Final = {
    Verdict.ALLOW: "200",
    Verdict.UNAUTHENTICATED: "401",
    Verdict.DENY: "403",
    Verdict.UNKNOWN: "`SIDECAR_UNAVAILABLE_STATUS`",
}
SUFFIXES: Final = {"counter": "_total", "info": "_info"}

Rows = Iterator[tuple[str, ...]]
"""Cells of a row: the name in backticks first, the program's text last."""


def settings() -> Rows:
    for name, row in ROWS.items():
        stated = f"`{row.default}`" if row.default else "–"
        yield f"`{spell_env(name)}`", stated if isinstance(row.default, str) else COMPUTED[name], row.about


def reasons() -> Rows:
    for reason in Reason:
        yield f"`{reason.value}`", STATUS[reason.verdict], reason.message


def problems() -> Rows:
    for code in sorted(Code, key=STATUSES.__getitem__):
        yield f"`{code.value}`", str(STATUSES[code]), ""


def metrics() -> Rows:
    found = [*Metrics("", process=True)._registry.collect(), *WorkersMetrics()._registry.collect()]
    for family in found:
        yield f"`{family.name}{SUFFIXES.get(family.type, '')}`", family.type, family.documentation


@dataclass(frozen=True)
class Table:
    """A generated table: its document, between ``<!-- table: NAME -->`` and ``<!-- /table -->``."""

    name: str
    document: str
    header: tuple[str, ...]
    rows: Callable[[], Rows]

    @property
    def path(self) -> Path:
        return ROOT / self.document

    def updated(self) -> str:
        """Return the document's text with the table as the program has it. Raises ValueError without the markers."""
        text = self.path.read_text(encoding="utf-8")
        begin, end = f"<!-- table: {self.name} -->\n", "<!-- /table -->"
        before, found, rest = text.partition(begin)
        body, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{self.document}: no table {self.name} between {begin.strip()} and {end}")
        notes = dict(re.findall(r"^\| (`[^`]+`) \|.*?([^|]*?) \|$", body, re.MULTILINE))
        lines = ["| " + " | ".join(self.header) + " |", "| " + " | ".join("---" for _ in self.header) + " |"]
        for *cells, about in self.rows():
            lines.append("| " + " | ".join((*cells, notes.get(cells[0], about).strip())) + " |")
        return f"{before}{begin}" + "\n".join(lines) + f"\n{end}{after}"


TABLES: Final = (
    Table("settings", "sidecar/config/README.md", ("setting", "default", "meaning"), settings),
    Table("reasons", "sidecar/gateways/README.md", ("reason", "status", "meaning"), reasons),
    Table("problems", "sidecar/api/README.md", ("code", "status", "meaning"), problems),
    Table("metrics", "sidecar/server/README.md", ("metric", "type", "meaning"), metrics),
)


MAP: Final = ROOT / "sidecar" / "README.md"
_SIZES: Final = re.compile(r"^(\| `(\w+)/` \| .* \|) (\d+) \| ([\d,]+) \|$", re.MULTILINE)


def stated_sizes() -> dict[str, tuple[int, int]]:
    """Return modules and lines per package, as the map of the code has them."""
    found = _SIZES.findall(MAP.read_text(encoding="utf-8"))
    return {package: (int(modules), int(lines.replace(",", ""))) for _, package, modules, lines in found}


def size_of(package: str) -> tuple[int, int]:
    """Return modules and lines of a package with its subpackages, without ``__init__.py``."""
    paths = [path for path in (ROOT / "sidecar" / package).rglob("*.py") if path.name != "__init__.py"]
    return len(paths), sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def map_updated() -> str:
    """Return the map of the code with the figures of the tree. Lines are rounded to hundreds."""

    def row(match: re.Match[str]) -> str:
        modules, lines = size_of(match[2])
        return f"{match[1]} {modules} | {round(lines, -2):,} |"

    return _SIZES.sub(row, MAP.read_text(encoding="utf-8"))


def main() -> int:
    write = "--write" in sys.argv[1:]
    stale = [table for table in TABLES if table.updated() != table.path.read_text(encoding="utf-8")]
    for table in stale:
        if write:
            table.path.write_text(table.updated(), encoding="utf-8")
        print(f"{table.document}: table {table.name} {'updated' if write else 'is stale'}")
    if write:
        MAP.write_text(map_updated(), encoding="utf-8")
    return int(bool(stale) and not write)


if __name__ == "__main__":
    sys.exit(main())

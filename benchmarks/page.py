"""Make a page of tables: ``python -m benchmarks.page TABLES.json [MORE.json] > PAGE.rst``.

TABLES.json is what ``python -m benchmarks SUITE --json TABLES.json`` wrote.
"""

import json
import sys
from pathlib import Path

from .report import text_of

# Longer tables are summed up by their first column.
MOST_ROWS = 60
SHARES = ("covered", "within tol")


def worst_by_first(rows):
    """Return a row for each name in the first column: the worst of each number."""
    first, *others = rows[0]
    numbers = [key for key in others if isinstance(rows[0][key], float | int)]
    groups = {}
    for row in rows:
        groups.setdefault(row[first], []).append(row)
    return [
        {first: name}
        | {
            key: (min if key in SHARES else max)(row[key] for row in group)
            for key in numbers
        }
        for name, group in groups.items()
    ]


def page(tables):
    """Yield the lines of one suite: command, machine, and the tables of each task."""
    for task, found in tables["tasks"].items():
        yield from (f"``python -m benchmarks {tables['suite']} --only {task}``", "")
        yield from found["notes"][:1]
        for rows in found["tables"]:
            shown = worst_by_first(rows) if len(rows) > MOST_ROWS else rows
            yield from (
                "",
                ".. csv-table::",
                "   :header-rows: 1",
                "   :class: numbers",
                "",
            )
            for cells in (shown[0], *(row.values() for row in shown)):
                yield "   " + ", ".join(f'"{text_of(cell)}"' for cell in cells)
            yield ""
    yield from (f"Measured on {tables['machine']}.", "")


if __name__ == "__main__":
    print(".. Written by python -m benchmarks.page; do not edit.\n")
    for path in sys.argv[1:]:
        print("\n".join(page(json.loads(Path(path).read_text()))))

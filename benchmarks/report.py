"""Tables as Markdown on the screen, and the same as JSON."""

import json


class Report:
    """Prints what tasks find and keeps it.

    Parameters
    ----------
    suite, machine : str
    quick : bool
        Said in the JSON, so that nobody takes a quick run for a measurement.
    """

    def __init__(self, suite, machine, quick):
        self._data = {"suite": suite, "machine": machine, "quick": quick, "tasks": {}}
        print(machine)

    def begin(self, task):
        self._task = self._data["tasks"].setdefault(task, {"tables": [], "notes": []})
        print(f"\n## {task}", flush=True)

    def note(self, text):
        self._task["notes"].append(text)
        print(f"\n{text}", flush=True)

    def table(self, rows):
        """Print `rows`, dicts of the same keys: numbers, strings, or None for a dash."""
        self._task["tables"].append(rows)
        titles = list(rows[0])
        cells = [titles, *([text_of(row[title]) for title in titles] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        print()
        for line in [cells[0], ["-" * width for width in widths], *cells[1:]]:
            padded = (cell.ljust(w) for cell, w in zip(line, widths, strict=True))
            print("| " + " | ".join(padded) + " |", flush=True)

    def write(self, path):
        path.write_text(json.dumps(self._data, indent=1, default=float) + "\n")


def text_of(value):
    """Return a number as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if value == 0 or 1e-2 <= abs(value) < 1e6:
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:.1e}"

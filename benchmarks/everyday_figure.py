"""Draw the everyday matrix: ``python -m benchmarks.everyday_figure TABLES.json FILE.png``.

TABLES.json is what ``python -m benchmarks everyday --json TABLES.json`` wrote.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import TwoSlopeNorm


def draw(tables, path):
    """Draw quality and speed of every cell, a row a task, cells in order of their speed."""
    tasks = {
        name.replace("-", " "): sorted(found["tables"][0], key=lambda row: row["speed"])
        for name, found in tables["tasks"].items()
        if found["tables"]
    }
    width = max(map(len, tasks.values()))
    figure, axes = plt.subplots(
        2, 1, figsize=(9, 0.7 * len(tasks) + 1.5), layout="constrained", sharex=True
    )
    panels = (
        ("quality", "Error of the peer over ours", (0.8, 1.0, 1.25)),
        ("speed", "Processor time of the peer over ours", (0.25, 1.0, 16.0)),
    )
    for ax, (key, title, ends) in zip(axes, panels, strict=True):
        cells = np.full((len(tasks), width), np.nan)
        for cell, rows in zip(cells, tasks.values(), strict=True):
            cell[: len(rows)] = np.log2([row[key] for row in rows])
        norm = TwoSlopeNorm(0, *np.log2(ends)[[0, 2]])
        image = ax.pcolormesh(
            cells, cmap="RdBu", norm=norm, edgecolors="white", linewidth=1
        )
        ax.set_yticks(np.arange(len(tasks)) + 0.5, tasks)
        ax.invert_yaxis()
        ax.set_xticks([])
        ax.set_title(f"{title}: blue where ours is ahead", loc="left", fontsize=10)
        ax.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=ax, extend="both", ticks=np.log2(ends))
        bar.ax.set_yticklabels([f"{end:g}" for end in ends])
    axes[-1].set_xlabel("Data sets, from the slowest to the fastest")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])

"""Timing side by side in one process, memory, and tables of ratios."""

import platform
import threading
import time
from pathlib import Path

import numpy as np
import scipy
import sklearn


def describe_machine():
    """Return one line on what the numbers were taken on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if "model name" in line]
        model = f"{len(names)} x {names[0].partition(': ')[2]}"
    return (
        f"{model}; Python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, scikit-learn {sklearn.__version__}"
    )


def anonymous_memory():
    """Return the bytes of this process that no file backs; 0 where not known."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    for line in status.read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    return 0


def peak_memory(function):
    """Return the peak growth of anonymous memory, in bytes, while `function` runs."""
    start = peak = anonymous_memory()
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, anonymous_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        function()
    finally:
        done.set()
        thread.join()
    return peak - start


def race(methods, *, rounds):
    """Run every method in turn, `rounds` times; the first, untimed, shows its memory.

    Parameters
    ----------
    methods : dict of str to callable
        A callable that raises ImportError is a peer that is not installed.

    Returns
    -------
    dict of str to (median seconds, peak bytes, last result)
    """
    results, memory, times = {}, {}, {name: [] for name in methods}
    for name, method in methods.items():
        try:
            memory[name] = peak_memory(lambda: results.update({name: method()}))  # noqa: B023
        except ImportError as error:
            print(f"{name}: not installed ({error.name})")
    for _ in range(rounds):
        for name in results:
            start = time.perf_counter()
            results[name] = methods[name]()
            times[name].append(time.perf_counter() - start)
    return {name: (np.median(times[name]), memory[name], results[name]) for name in results}


def show(runs, ours, columns=()):
    """Print a table of ratios to `ours`.

    Parameters
    ----------
    columns : sequence of (title, function of the result)
    """
    base = runs[ours][0]
    titles = ["method", "time / ours", "ms", "peak MB", *[title for title, _ in columns]]
    rows = [
        [
            name,
            f"{seconds / base:.2f}",
            f"{1e3 * seconds:.1f}",
            f"{memory / 2**20:.0f}",
            *[f"{function(result):.2g}" for _, function in columns],
        ]
        for name, (seconds, memory, result) in runs.items()
    ]
    table(titles, rows)


def table(titles, rows):
    """Print a Markdown table."""
    widths = [max(len(str(row[i])) for row in [titles, *rows]) for i in range(len(titles))]
    for row in [titles, ["-" * w for w in widths], *rows]:
        cells = (str(cell).ljust(w) for cell, w in zip(row, widths, strict=True))
        print("| " + " | ".join(cells) + " |", flush=True)


def gemm_peak(dtype, size=3000):
    """Return the flops per second of a square matrix product, the best of five."""
    A = np.ones((size, size), dtype)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        A @ A
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best

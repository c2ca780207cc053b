"""Timing side by side in one process, and peak memory."""

import ctypes
import gc
import importlib
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

MEGABYTE = 2**20

# Of runs below this, in seconds, waking up threads would be a large part.
_SHORT = 0.1


class Run(NamedTuple):
    """What became of a method; all None where it is not installed."""

    seconds: float | None = None  # median
    n_runs: int | None = None
    peak: int | None = None  # growth of anonymous memory in bytes; None if not known
    result: Any = None


def installed(module):
    """Return a module, or None: a peer that is not installed is no failure."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def race(methods, *, rounds, patience=60.0, settle=0.05, memory=True):
    """Run every method once to warm up and see its memory, then in interleaved rounds.

    Parameters
    ----------
    methods : dict of str to callable or None
        None is a peer that is not installed.
    rounds : int
        Timed runs of each; with none, the first run counts. Each round starts with another
        method, so that none always follows the same one.
    patience : float
        A method whose first run took longer, in seconds, is not repeated: that run
        counts.
    settle : float
        Pause before a timed run, in seconds: threads of the method before stop spinning.
        One untimed run follows where runs are short, which wakes up its own.
    memory : bool
        Whether to watch the memory of the first run.

    Returns
    -------
    dict of str to Run
    """
    present = [name for name, method in methods.items() if method is not None]
    peaks, results, first = {}, {}, {}
    for name in present:
        with MemoryWatch(memory) as watch:
            first[name], results[name] = _timed(methods[name])
        peaks[name] = watch.peak
    slow = {name for name in present if not rounds or first[name] > patience}
    times = {name: [first[name]] if name in slow else [] for name in present}
    for i in range(rounds):
        turn = i % len(present)
        for name in present[turn:] + present[:turn]:
            if name not in slow:
                time.sleep(settle)
                if first[name] < _SHORT:
                    methods[name]()
                seconds, results[name] = _timed(methods[name])
                times[name].append(seconds)
    return {
        name: Run(median(times[name]), len(times[name]), peaks[name], results[name])
        if name in times
        else Run()
        for name in methods
    }


def rounds(quick, full=5):
    """Return the number of rounds: none where only running counts."""
    return 0 if quick else full


def compare(runs, ours, columns):
    """Return a table of `runs`, with times relative to `ours`.

    Parameters
    ----------
    runs : dict of str to Run
    ours : str
    columns : dict of str to callable
        Further columns: functions of the result.
    """
    rows = []
    for name, run in runs.items():
        row = {"method": name, "median ms": "not installed", "peer / ours": None}
        row |= dict.fromkeys([*columns, "peak MB", "runs"])
        if run.seconds is not None:
            row["median ms"] = 1e3 * run.seconds
            row["peer / ours"] = run.seconds / runs[ours].seconds
            row |= {title: column(run.result) for title, column in columns.items()}
            row["peak MB"] = None if run.peak is None else run.peak / MEGABYTE
            row["runs"] = run.n_runs
        rows.append(row)
    return rows


def _timed(method):
    start = time.perf_counter()
    result = method()
    return time.perf_counter() - start, result


class MemoryWatch:
    """Sample the anonymous memory of this process in a thread.

    The page cache of a memory-mapped file is not anonymous and does not count. A peak
    inside a foreign call that holds the GIL is missed.

    Attributes
    ----------
    peak : int or None
        Largest growth seen, in bytes; None where the system does not say.
    """

    interval = 0.002

    def __init__(self, enabled=True):
        self.enabled = enabled and anonymous_memory() is not None
        self.peak = None

    def __enter__(self):
        if self.enabled:
            gc.collect()
            _return_free_memory()
            self._start = self._most = anonymous_memory()
            self._done = threading.Event()
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception):
        if self.enabled:
            self._done.set()
            self._thread.join()
            self.peak = max(self._most, anonymous_memory()) - self._start

    def _sample(self):
        while not self._done.wait(self.interval):
            self._most = max(self._most, anonymous_memory())


def anonymous_memory():
    """Return the bytes of this process that no file backs; None where not known."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    return None


def _return_free_memory():
    """Hand what malloc keeps for later back to the system, else growth would hide in it."""
    with suppress(AttributeError, OSError, TypeError):  # Not glibc.
        ctypes.CDLL(None).malloc_trim(0)

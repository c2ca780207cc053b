"""Whether anybody loses by changing: everyday data, our defaults against the peers'.

A cell of the matrix is a task on a data set. Its quality is the peer's error over ours, its
speed the peer's processor time over ours, in one thread; a cell is lost where quality is
below 0.99 or speed below 0.95. Every cell is measured against the peer by its defaults, and
against the best of its settings: the fastest of those that are as good as ours, or the most
accurate one where none is.
"""

import time
import warnings
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from . import everyday_tasks as tasks
from .everyday_data import everyday

LEAST_QUALITY, LEAST_SPEED = 0.99, 0.95
# Runs shorter than this, in seconds, are repeated more often: a clock tick is a large part.
_SHORT = 0.05


class _Measured(NamedTuple):
    seconds: float
    error: float
    result: Any


def _measured(method, error, quick):
    """Return the median processor time of some runs, and the error of the last."""
    method()  # Compiles, fills caches.
    times = []
    while len(times) < 1 or (not quick and len(times) < (9 if times[0] < _SHORT else 3)):
        start = time.process_time()
        result = method()
        times.append(time.process_time() - start)
        if times[0] > 20:
            break
    # A tick of the clock at least, so that ratios are finite.
    return _Measured(max(median(times), 1e-6), error(result), result)


def _best(peers, ours):
    """Return the name and the measures of the best setting of the peers."""
    equal = {n: p for n, p in peers.items() if p.error * LEAST_QUALITY <= ours.error}
    if equal:
        return min(equal.items(), key=lambda item: item[1].seconds)
    return min(peers.items(), key=lambda item: item[1].error)


def _cell(trial, quick):
    ours = _measured(trial.ours, trial.error, quick)
    peers = {n: _measured(peer, trial.error, quick) for n, peer in trial.peers.items()}
    name, default = next(iter(peers.items()))
    best_name, best = _best(peers, ours)
    seconds = ours.seconds
    if trial.at_equal_error is not None:
        seconds = _measured(
            partial(trial.at_equal_error, default.error), trial.error, quick
        ).seconds
    return {
        "data": trial.data,
        "ms": 1e3 * seconds,
        "error": ours.error,
        "peer": name,
        "quality": default.error / ours.error,
        "speed": default.seconds / seconds,
        "best setting": best_name,
        "quality to best": best.error / ours.error,
        "speed to best": best.seconds / ours.seconds,
    }


def is_lost(row):
    """Tell whether a user loses by the change, in quality or in time."""
    return row["quality"] < LEAST_QUALITY or row["speed"] < LEAST_SPEED


def _task(trials, report, quick):
    with threadpool_limits(1), warnings.catch_warnings():
        # Peers warn by the dozen on these data; ours are read in their own suites.
        warnings.simplefilter("ignore")
        rows = [_cell(trial, quick) for trial in trials(everyday(quick), quick)]
    if not rows:
        report.note("no data of this kind: name a folder by --data")
        return
    report.table([{"": "lost" if is_lost(row) else "", **row} for row in rows])
    kept = sum(not is_lost(row) for row in rows)
    report.note(
        f"kept {kept} of {len(rows)} cells; median quality "
        f"{np.median([row['quality'] for row in rows]):.2f}, median speed "
        f"{np.median([row['speed'] for row in rows]):.2f}"
    )


TASKS = {name: partial(_task, trials) for name, trials in tasks.TRIALS.items()}

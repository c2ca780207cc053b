"""Exact recovery of a matrix of low rank from few of its entries."""

import time
from functools import partial
from statistics import median

import numpy as np

from sklearn_rnla.linalg.completion.exact import recover
from sklearn_rnla.operators.observed import Observed

# Relative error of the whole matrix that counts as recovered.
_RECOVERED = 1e-6


def recovery(report, quick):
    """Count recoveries from entries drawn at random, and from those that could suffice."""
    size, rank, n_seeds = (100, 2, 3) if quick else (1000, 5, 20)
    shapes = dict.fromkeys(_KINDS, (size, size)) | {"rectangular": (size // 2, 2 * size)}
    report.note(
        f"rank {rank}; oversampling: entries over degrees of freedom; at least rank: of "
        "each row and column. Possible: every row and column is determined; else its "
        f"entries follow from no method. Recovered: relative error below {_RECOVERED:.0e} "
        "of the whole matrix, and of the rows and columns that are determined"
    )
    for kind, shape in shapes.items():
        rows = []
        for oversampling in (1.2, 1.5, 2.0):
            for sampling in ("uniform", "at least rank"):
                runs = [
                    _run(kind, shape, rank, oversampling, sampling, seed)
                    for seed in range(n_seeds)
                ]
                rows.append(
                    {
                        "matrix": kind,
                        "oversampling": oversampling,
                        "entries": sampling,
                        "of": n_seeds,
                        "possible": sum(run["possible"] for run in runs),
                        "recovered": sum(run["recovered"] for run in runs),
                        "all that is determined": sum(run["determined"] for run in runs),
                        "median s": median(run["seconds"] for run in runs),
                        "most s": max(run["seconds"] for run in runs),
                        "iterations": median(run["n_iter"] for run in runs),
                    }
                )
        report.table(rows)


def phases(report, quick, *, kind):
    """Show how often a matrix is recovered over rank and oversampling."""
    size, n_seeds = (60, 1) if quick else (200, 4)
    ratios = (1.2, 2.0) if quick else (1.05, 1.1, 1.2, 1.35, 1.5, 2.0, 3.0)
    shares = {"recovered": "recovered", "all that is determined": "determined"}
    tables = {title: [] for title in shares}
    for rank in (1, 3) if quick else (1, 2, 3, 5, 10, 15, 20):
        runs = {
            ratio: [
                _run(kind, (size, size), rank, ratio, "at least rank", seed)
                for seed in range(n_seeds)
            ]
            for ratio in ratios
        }
        for title, key in shares.items():
            share = {
                str(r): f"{np.mean([run[key] for run in runs[r]]):.2f}" for r in ratios
            }
            tables[title].append({"rank": rank} | share)
    for title, rows in tables.items():
        report.note(f"{kind}, {size} x {size}, share {title} by rank and oversampling")
        report.table(rows)


def _gaussian(m, n, rank, rng):
    return rng.standard_normal((m, rank)), rng.standard_normal((n, rank))


def _ill_conditioned(m, n, rank, rng):
    U, V = (np.linalg.qr(factor)[0] for factor in _gaussian(m, n, rank, rng))
    return U * np.geomspace(1, 1e-2, rank), V


def _coherent(m, n, rank, rng):
    """Return factors of which a twentieth of the rows are ten times as long."""
    factors = _gaussian(m, n, rank, rng)
    for factor in factors:
        factor[: len(factor) // 20] *= 10
    return factors


_KINDS = {
    "gaussian": _gaussian,
    "condition 100": _ill_conditioned,
    "coherent": _coherent,
}


def _run(kind, shape, rank, oversampling, sampling, seed):
    rng = np.random.default_rng(seed)
    U, V = _KINDS.get(kind, _gaussian)(*shape, rank, rng)
    count = min(round(oversampling * rank * (sum(shape) - rank)), shape[0] * shape[1])
    i, j = _places(shape, count, rank if sampling == "at least rank" else 0, rng)
    observed = Observed.from_pairs(i, j, (U[i] * V[j]).sum(axis=1), shape, n_jobs=2)
    start = time.perf_counter()
    found = recover(observed, rank, rng=rng)
    seconds = time.perf_counter() - start
    rows, columns = found.determined
    return {
        "seconds": seconds,
        "n_iter": found.n_iter,
        "possible": bool(rows.all() and columns.all()),
        "recovered": _error(found, U, V, slice(None), slice(None)) <= _RECOVERED,
        "determined": _error(found, U, V, rows, columns) <= _RECOVERED,
    }


def _places(shape, count, least, rng):
    """Draw distinct places; some are moved until each row and column has `least`."""
    seen = np.zeros(shape, bool)
    seen.flat[rng.choice(seen.size, count, replace=False)] = True
    while True:
        rows, columns = seen.sum(axis=1), seen.sum(axis=0)
        if rows.min() < least:
            i = rows.argmin()
            j = rng.choice(np.flatnonzero(~seen[i]))
        elif columns.min() < least:
            j = columns.argmin()
            i = rng.choice(np.flatnonzero(~seen[:, j]))
        else:
            return np.nonzero(seen)
        free = np.argwhere(seen & (rows > least)[:, None] & (columns > least))
        seen[tuple(rng.choice(free))] = False
        seen[i, j] = True


def _error(found, U, V, rows, columns):
    M = U[rows] @ V[columns].T
    return np.linalg.norm(found.U[rows] @ found.V[columns].T - M) / np.linalg.norm(M)


TASKS = {
    "recovery": recovery,
    "recovery-phase": partial(phases, kind="gaussian"),
    "recovery-phase-condition": partial(phases, kind="condition 100"),
    "recovery-phase-coherent": partial(phases, kind="coherent"),
}

"""Time as one size doubles, against scikit-learn at equal accuracy."""

from functools import partial

import numpy as np
from sklearn.decomposition import PCA, TruncatedSVD

from sklearn_rnla import RandomizedPCA

from . import accuracy
from .harness import race, rounds
from .matrices import documents, power_law, with_spectrum
from .peers import OURS, fitted, on

MOST_POWERS = 7


def dense(report, quick):
    """Double m, n and k of a dense float32 matrix with spectrum i^-0.7."""
    base = {"m": 1500, "n": 100, "k": 5} if quick else {"m": 20_000, "n": 1000, "k": 20}
    for name in base:
        rows = []
        for factor in (1, 2) if quick else (1, 2, 4):
            size = base | {name: base[name] * factor}
            m, n, k = size.values()
            s = power_law(min(m, n), 0.7)
            X = with_spectrum(m, n, s, np.float32)
            theirs = partial(PCA, k, svd_solver="randomized", random_state=0)
            row = _measure(
                X,
                RandomizedPCA(k, random_state=0),
                lambda power, theirs=theirs: theirs(iterated_power=power),
                accuracy.of_spectrum(X, s, k),
                quick,
            )
            rows.append({name: size[name]} | row)
        report.note(", ".join(f"{key}={v}" for key, v in base.items() if key != name))
        report.table(_with_growth(rows))


def sparse(report, quick):
    """Double the rows of a sparse matrix, and so its non-zeros."""
    m, n, k = (1000, 500, 5) if quick else (40_000, 10_000, 20)
    rows = []
    for factor in (1, 2) if quick else (1, 2, 4):
        X = documents(factor * m, n)
        row = _measure(
            X,
            RandomizedPCA(k, with_mean=False, random_state=0),
            lambda power: TruncatedSVD(k, n_iter=power, random_state=0),
            accuracy.of_sparse(X, k, center=False),
            quick,
        )
        rows.append({"nnz": X.nnz} | row)
    report.note(f"{n} columns, 50 non-zeros a row, k={k}; the peer is TruncatedSVD")
    report.table(_with_growth(rows))


def _measure(X, ours, theirs, optimum, quick):
    """Race ours with the cheapest `theirs(power)` as accurate as it, or as 1e-3."""
    bar = max(1e-3, optimum.excess(ours.fit(X).components_))
    for power in range(1, MOST_POWERS + 1):
        peer = theirs(power)
        error = optimum.excess(peer.fit(X).components_)
        if error <= bar:
            break
    methods = {OURS: fitted(ours), "peer": fitted(peer)}
    runs = race(on(methods, X), rounds=rounds(quick), memory=False)
    return {
        "ours ms": 1e3 * runs[OURS].seconds,
        "passes": runs[OURS].result.n_passes,
        "excess error": optimum.excess(runs[OURS].result.components),
        "scikit-learn ms": 1e3 * runs["peer"].seconds,
        "its power": power,
        "its excess error": error,
        "peer / ours": runs["peer"].seconds / runs[OURS].seconds,
    }


def _with_growth(rows):
    """Add the ratio of a time to that of the row before."""
    for before, row in zip([None, *rows], rows, strict=False):
        for who in ("ours", "scikit-learn"):
            ms = f"{who} ms"
            row[f"{who} x"] = None if before is None else row[ms] / before[ms]
    return rows

"""MatrixCompleter against scikit-learn's imputers of dense tables."""

from itertools import product

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, make_low_rank_matrix
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import scale

from sklearn_rnla import MatrixCompleter

from .harness import compare, race, rounds

_OURS = "MatrixCompleter"
_SHARE = 0.3
_NEIGHBORS = {"n_neighbors": (5, 10, 20), "weights": ("uniform", "distance")}


def tables(report, quick):
    """Compare errors of hidden entries: ours by default, of KNNImputer tuned ones."""
    for name, X in _tables(quick).items():
        found = {}
        for seed in range(1 if quick else 5):
            Y, hidden = _hide(X, seed)
            tuned = _tuned(Y, quick)
            methods = {
                _OURS: lambda Y=Y, seed=seed: MatrixCompleter(
                    random_state=seed
                ).fit_transform(Y),
                "KNNImputer, tuned": lambda Y=Y, tuned=tuned: KNNImputer(
                    **tuned
                ).fit_transform(Y),
                "IterativeImputer": lambda Y=Y, seed=seed: IterativeImputer(
                    random_state=seed, max_iter=1 if quick else 10
                ).fit_transform(Y),
                "SimpleImputer": lambda Y=Y: SimpleImputer().fit_transform(Y),
            }
            runs = race(methods, rounds=rounds(quick, 3), patience=5.0)
            columns = {
                "RMSE": lambda filled, hidden=hidden: _rmse(filled, X, hidden)  # noqa: B023
            }
            for row in compare(runs, _OURS, columns):
                found.setdefault(row["method"], []).append(row)
        report.note(f"{name}: {X.shape[0]} x {X.shape[1]}, {_SHARE:.0%} hidden, medians")
        report.table(
            [_median(method, rows, found[_OURS]) for method, rows in found.items()]
        )


def growth(report, quick):
    """Grow the number of rows of a table of rank 10, noise and 30 columns."""
    table = []
    for n in (200, 400) if quick else (1000, 10_000, 100_000, 1_000_000):
        X = make_low_rank_matrix(n, 30, effective_rank=10, random_state=0)
        X = scale(X)
        Y, hidden = _hide(X, 0)
        methods = {_OURS: lambda Y=Y: MatrixCompleter(random_state=0).fit_transform(Y)}
        if n <= 10_000:
            methods["IterativeImputer"] = lambda Y=Y: (
                IterativeImputer(random_state=0, max_iter=1 if quick else 10)
            ).fit_transform(Y)
            methods["KNNImputer"] = lambda Y=Y: KNNImputer().fit_transform(Y)
        runs = race(methods, rounds=rounds(quick, 3), patience=5.0)
        table += [
            {
                "rows": n,
                "method": method,
                "seconds": run.seconds,
                "RMSE": _rmse(run.result, X, hidden),
                "peak MB": run.peak and run.peak / 2**20,
            }
            for method, run in runs.items()
        ]
    report.table(table)


def new_rows(report, quick):
    """Compare errors of rows that the imputers have not been fitted to."""
    table = []
    for name, X in _tables(quick).items():
        Y, hidden = _hide(X, 0)
        new = np.random.default_rng(0).random(len(X)) < 0.25
        row = {"data": name}
        for method, imputer in {
            _OURS: MatrixCompleter(random_state=0),
            "KNNImputer, tuned": KNNImputer(**_tuned(Y[~new], quick)),
            "SimpleImputer": SimpleImputer(),
        }.items():
            filled = imputer.fit(Y[~new]).transform(Y[new])
            row[method] = _rmse(filled, X[new], hidden[new])
        table.append(row)
    report.note("RMSE of hidden entries of rows kept from fit")
    report.table(table)


def _tables(quick):
    digits, cancer = load_digits().data, load_breast_cancer().data
    if quick:
        digits, cancer = digits[:200], cancer[:200]
    return {
        "digits, standardised": scale(digits),
        "digits": digits,
        "breast cancer, standardised": scale(cancer),
    }


def _hide(X, seed):
    """Return a copy with entries replaced by NaN, and which; columns keep an entry."""
    hidden = np.random.default_rng(seed).random(X.shape) < _SHARE
    hidden[0, hidden.all(axis=0)] = False
    return np.where(hidden, np.nan, X), hidden


def _tuned(Y, quick):
    """Return the parameters of KNNImputer with the least error of more hidden entries."""
    rng = np.random.default_rng(99)
    inner = ~np.isnan(Y) & (rng.random(Y.shape) < 0.1)
    inner[0] = False
    seen = np.where(inner, np.nan, Y)
    inner[:, np.isnan(seen).all(axis=0)] = False
    grid = [
        dict(zip(_NEIGHBORS, values, strict=True))
        for values in product(*_NEIGHBORS.values())
    ]
    errors = [
        _rmse(KNNImputer(**chosen, keep_empty_features=True).fit_transform(seen), Y, inner)
        for chosen in (grid[:1] if quick else grid)
    ]
    return grid[int(np.argmin(errors))]


def _rmse(filled, X, hidden):
    return float(np.sqrt(np.mean(np.square((filled - X)[hidden]))))


def _median(method, rows, ours):
    return {
        "method": method,
        **{
            title: float(np.median([row[title] for row in rows]))
            for title in ("RMSE", "median ms", "peer / ours")
        },
        "wins over ours": sum(
            row["RMSE"] < other["RMSE"] for row, other in zip(rows, ours, strict=True)
        ),
    }


TASKS = {"tables": tables, "new-rows": new_rows, "growth": growth}

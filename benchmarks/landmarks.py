"""The choice of landmarks for kernel ridge regression, by the error on held-out rows."""

from functools import partial
from statistics import median
from time import process_time

import numpy as np
from numpy.random import default_rng
from sklearn.base import clone
from sklearn.datasets import make_friedman2, make_friedman3
from threadpoolctl import threadpool_limits

from sklearn_rnla import NystroemRidge, NystroemRidgeClassifier
from sklearn_rnla.linalg.nystroem.supervised_landmarks import supervised_landmarks
from sklearn_rnla.operators import as_row_matrix
from sklearn_rnla.operators.kernels import Kernel

from .everyday_data import at_most, everyday

ALPHAS = np.logspace(-5, 1, 7)
METHODS = ("uniform", "auto", "rpcholesky", "leverage")

# Widths of the kernel, as multiples of one over the number of features.
_WIDTHS = (0.3, 1.0)


def _sets(quick):
    sets = everyday(quick)
    for make in (make_friedman2, make_friedman3):
        n, noise = 300 if quick else 5000, 50.0 if make is make_friedman2 else 0.1
        X, y = make(n, noise=noise, random_state=0)
        name = make.__name__.removeprefix("make_")
        sets.regression[name] = (X - X.mean(axis=0)) / X.std(axis=0), y / y.std()
    return sets


def _error(model, X, y):
    predicted = model.predict(X)
    if isinstance(model, NystroemRidgeClassifier):
        # Half a sample is no miss, and no zero.
        return (np.count_nonzero(predicted != y) + 0.5) / len(y)
    return float(np.sqrt(np.mean(np.square(predicted - y))))


def _compared(model, X, y, n_rows, n_landmarks, n_seeds):
    """Return the error of uniform landmarks over that of each method, and their times."""
    ratios, seconds = {m: [] for m in METHODS}, {m: [] for m in METHODS}
    errors = []
    for seed in range(n_seeds):
        A, b = at_most(n_rows + n_rows // 3, X, y, seed=seed)
        is_test = np.arange(len(A)) % 4 == 0
        m = min(n_landmarks, np.count_nonzero(~is_test) // 3)
        for width in _WIDTHS:
            of = {"gamma": width / X.shape[1], "n_landmarks": m, "random_state": seed}
            found = {}
            for method in METHODS:
                fitted = clone(model).set_params(landmarks=method, **of)
                start = process_time()
                fitted.fit(A[~is_test], b[~is_test])
                seconds[method].append(process_time() - start)
                found[method] = _error(fitted, A[is_test], b[is_test])
            errors.append(found["uniform"])
            for method in METHODS:
                ratios[method].append(found["uniform"] / found[method])
    return {
        "error, uniform": median(errors),
        **{m: median(ratios[m]) for m in METHODS[1:]},
        **{f"s {m}": median(seconds[m]) for m in METHODS[:3]},
    }


def _task(kind, model, report, quick):
    sets = getattr(_sets(quick), kind)
    n_rows, n_landmarks, n_seeds = (150, 20, 1) if quick else (6000, 300, 3)
    rows = []
    with threadpool_limits(1):
        for name, (X, y) in sets.items():
            found = _compared(model, X, y, n_rows, n_landmarks, n_seeds)
            rows.append({"data": f"{name} {X.shape[0]} x {X.shape[1]}", **found})
    report.table(rows)
    for m in METHODS[1:]:
        all_of_m = [row[m] for row in rows]
        report.note(f"{m}: median {median(all_of_m):.3f}, least {min(all_of_m):.3f}")


def _grid(report, quick):
    """Landmarks by the response against uniform ones, whatever the default takes."""
    sets, rows = _sets(quick).regression, []
    sizes = ((20, 4),) if quick else ((100, 40), (300, 3), (300, 16), (1000, 4), (1000, 11))
    for m, rows_per_landmark in sizes:
        gains, seconds = [], {"uniform": [], "response": []}
        for X, y in sets.values():
            n = m * rows_per_landmark
            A, b = at_most(n + n // 3 + 2, X, y)
            is_test = np.arange(len(A)) % 4 == 0
            if np.count_nonzero(~is_test) < n:
                continue
            B, t = A[~is_test], b[~is_test]
            kernel = Kernel("rbf", {"gamma": 0.3 / X.shape[1]})
            model = NystroemRidge(
                alphas=ALPHAS, gamma=0.3 / X.shape[1], n_landmarks=m, random_state=0
            )
            errors = {}
            for method, times in seconds.items():
                start = process_time()
                chosen = method
                if method == "response":
                    chosen = supervised_landmarks(
                        as_row_matrix(B), kernel, m, t[:, None], ALPHAS, default_rng(0)
                    )
                fitted = clone(model).set_params(landmarks=chosen).fit(B, t)
                times.append(process_time() - start)
                errors[method] = _error(fitted, A[is_test], b[is_test])
            gains.append(errors["uniform"] / errors["response"])
        rows.append(
            {
                "landmarks": m,
                "samples of each": rows_per_landmark,
                "data sets": len(gains),
                "gain, mean": float(np.mean(gains)) if gains else np.nan,
                "gain, least": min(gains, default=np.nan),
                **{f"s {m}": sum(times) for m, times in seconds.items()},
            }
        )
    report.table(rows)


TASKS = {
    "regression": partial(_task, "regression", NystroemRidge(alphas=ALPHAS)),
    "grid": _grid,
    "classification": partial(_task, "classes", NystroemRidgeClassifier(alphas=ALPHAS)),
}

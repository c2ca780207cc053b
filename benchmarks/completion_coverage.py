"""Whether error estimates of completion cover: solvers by kinds of tables."""

import warnings
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_rnla import MatrixCompleter

_SHARE = 0.2
_SOLVERS = ("em", "gibbs", "als", "softimpute", "iterative_svd")


def _with_spectrum(power, m, n, rng):
    """Return a table of singular values that fall as a power, or not at all."""
    s = np.arange(1.0, min(m, n) + 1) ** -power
    U, V = (np.linalg.qr(rng.standard_normal((size, len(s))))[0] for size in (m, n))
    return np.sqrt(m * n) * (U * s) @ V.T


def _low_rank(noise, m, n, rng):
    A = rng.standard_normal((m, 4)) @ rng.standard_normal((4, n)) / 2
    return A + noise * rng.standard_normal((m, n))


def _coherent_rows(m, n, rng):
    """Return a table of which few rows have most of the norm."""
    return _low_rank(0.3, m, n, rng) * rng.permutation(np.arange(1, m + 1) ** -0.5)[:, None]


def _lognormal_rows(m, n, rng):
    return _low_rank(0.3, m, n, rng) * np.exp(rng.standard_normal((m, 1)))


def _heavy_entries(m, n, rng):
    return _low_rank(0.0, m, n, rng) + 0.5 * rng.standard_t(4, (m, n))


def _clusters(m, n, rng):
    centers = rng.standard_normal((10, n))
    return centers[rng.integers(10, size=m)] + 0.2 * rng.standard_normal((m, n))


def _mixed_units(m, n, rng):
    return _low_rank(0.3, m, n, rng) * 10.0 ** rng.uniform(-4, 4, n) + 100


KINDS = {
    "spectrum 1 / i": partial(_with_spectrum, 1),
    "spectrum i^-1/2, no gap": partial(_with_spectrum, 0.5),
    "flat spectrum": partial(_with_spectrum, 0),
    "rank 4, some noise": partial(_low_rank, 0.3),
    "rank 4, little noise": partial(_low_rank, 0.01),
    "coherent rows": _coherent_rows,
    "lognormal rows": _lognormal_rows,
    "Student's noise": _heavy_entries,
    "clusters": _clusters,
    "mixed units": _mixed_units,
}


def completion(report, quick):
    """Print shares of seeds whose stated error covers that of the missing entries."""
    m, n, n_seeds = (60, 12, 2) if quick else (200, 20, 20)
    report.note(f"{m} x {n}, {_SHARE:.0%} missing, {n_seeds} tables of each kind")
    rows, seen = [], []
    for name, make in KINDS.items():
        row = {"table": name}
        for solver in _SOLVERS:
            found = np.array([_ratio(make, m, n, solver, seed) for seed in range(n_seeds)])
            seen.append(found)
            row[solver] = f"{np.mean(found <= 1):.2f} ({np.median(found):.2f})"
        rows.append(row)
    report.note("Share that is covered, and median of the true error over the stated one")
    report.table(rows)
    whole = np.reshape(seen, (len(KINDS), len(_SOLVERS), -1))
    for solver, found in zip(_SOLVERS, whole.swapaxes(0, 1), strict=True):
        report.note(f"{solver}: {np.mean(found <= 1):.3f} of all")


def _ratio(make, m, n, solver, seed):
    """Return the true error over the stated one."""
    rng = np.random.default_rng(seed)
    X = make(m, n, rng)
    missing = rng.random(X.shape) < _SHARE
    Y = np.where(missing, np.nan, X)
    rank = 4 if solver == "iterative_svd" else "auto"
    model = MatrixCompleter(rank, solver=solver, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # What least squares leave arbitrary.
        warnings.simplefilter("ignore", UserWarning)
        filled = model.fit_transform(Y)
    errors = ((filled - X) / np.nanstd(Y, axis=0))[missing]
    return np.sqrt(np.mean(np.square(errors))) / model.error_estimate_


TASKS = {"completion": completion}

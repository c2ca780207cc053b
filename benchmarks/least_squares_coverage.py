"""Whether the errors that SketchedRidge states cover the true ones."""

import warnings
from functools import partial
from itertools import product

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from sklearn_rnla import SketchedRidge

SPECTRA = {
    "i^-1": lambda n: np.arange(1.0, n + 1) ** -1,
    "i^-4": lambda n: np.arange(1.0, n + 1) ** -4,
    "0.9^i": lambda n: 0.9 ** np.arange(n),
    "flat": np.ones,
    "step to 1e-3": lambda n: np.where(np.arange(n) < n // 2, 1.0, 1e-3),
    "deficient": lambda n: np.where(np.arange(n) < n // 2, 1.0, 0.0),
}


def _with_spectrum(spectrum, m, n, rng):
    U = np.linalg.qr(rng.standard_normal((m, n)))[0]
    V = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (U * spectrum(n)) @ V.T


def _scaled_columns(m, n, rng):
    return rng.standard_normal((m, n)) * np.logspace(0, -5, n)


def _sparse_scaled_columns(m, n, rng):
    return _scaled_columns(m, n, rng) * (rng.random((m, n)) < 0.05)


def _heavy_tails(m, n, rng):
    return rng.standard_t(1.5, (m, n))


def _coherent(m, n, rng):
    A = 1e-3 * rng.standard_normal((m, n))
    A[rng.choice(m, n // 2, replace=False), np.arange(n // 2)] += 1.0
    return A


def _monomials(m, n, rng):
    return np.vander(np.sort(rng.uniform(-1, 1, m)), n)


KINDS = {name: partial(_with_spectrum, s) for name, s in SPECTRA.items()} | {
    "column scales 1 to 1e-5": _scaled_columns,
    "the same, sparse": _sparse_scaled_columns,
    "heavy tails": _heavy_tails,
    "coherent rows": _coherent,
    "monomials": _monomials,
}
TARGETS = {
    "noise": lambda A, rng: rng.standard_normal(len(A)),
    "signal": lambda A, rng: A @ rng.standard_normal(A.shape[1]),
}


def _true_error(A, y, alpha, coef):
    """Return the relative error of the fitted values, and that of this truth itself."""
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    kept = s > 4 * np.finfo(float).eps * np.sqrt(len(A)) * s[0]
    s, Vt, Uy = s[kept], Vt[kept], U.T[kept] @ y
    lengths = np.hypot(s, np.sqrt(alpha))
    rounding = 10 * np.finfo(float).eps * lengths[0] / lengths[-1]
    error = lengths * (Vt @ coef - s * Uy / (s**2 + alpha))
    return np.linalg.norm(error) / np.linalg.norm(y), max(1e-11, rounding)


def _fit(A, y, alpha, solver, max_iter, seed):
    ridge = SketchedRidge(
        alpha, fit_intercept=False, solver=solver, max_iter=max_iter, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return ridge.fit(A, y)


def least_squares_coverage(report, quick):
    """Print shares of cases whose estimate covers, by kind of data and shape."""
    shapes = [(300, 100), (900, 30)] if quick else [(1200, 400), (4000, 100)]
    rows, n_seeds = [], 2 if quick else 5
    for (name, make), (m, n) in product(KINDS.items(), shapes):
        ratios = []
        for seed, of, alpha in product(range(n_seeds), TARGETS.values(), (0.0, 1e-6)):
            rng = np.random.default_rng(seed)
            A = make(m, n, rng)
            y = of(A, rng)
            X = sp.csr_array(A) if np.mean(A == 0) > 0.5 else A
            for solver, max_iter in product(("auto", "iterative"), (None, 20)):
                ridge = _fit(X, y, alpha, solver, max_iter, seed)
                true, unknown = _true_error(A, y, alpha, ridge.coef_)
                ratios.append(max(true, unknown) / max(ridge.error_estimate_, unknown))
        rows.append(
            {
                "data": name,
                "shape": f"{m} x {n}",
                "cases": len(ratios),
                "covered": float(np.mean(np.array(ratios) <= 1)),
                "error / estimate": float(np.median(ratios)),
                "largest": float(np.max(ratios)),
            }
        )
    report.table(rows)
    report.note(f"Least share of cases: {min(row['covered'] for row in rows):.2f}")

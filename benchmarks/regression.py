"""SketchedRidge against the least squares solvers of scikit-learn and scipy."""

import warnings
from functools import partial

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import lsqr
from sklearn.linear_model import LinearRegression, Ridge

from sklearn_rnla import SketchedRidge

from .harness import compare, race, rounds
from .machine import gemm_peak

OURS = "SketchedRidge"

# Methods that take longer run once.
_PATIENCE = 8.0
_BLOCK = 20_000

# Iterations allowed to those without a preconditioner, far longer than ours takes.
_MAX_ITER = 100

# An excess of the residual norm over its optimum, and a forward error as a multiple of
# gelsd's, that count as accurate.
_MOST_EXCESS, _MOST_ERROR = 1e-10, 10


def dense_problem(n, p, condition, seed=0):
    """Return X with singular values that fall evenly, y = X b + noise of equal size."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    V = np.linalg.qr(rng.standard_normal((p, p)))[0]
    spectrum = np.logspace(0, -np.log10(condition), p)
    for start in range(0, n, _BLOCK):
        part = slice(start, start + _BLOCK)
        X[part] = (X[part] * spectrum) @ V.T
    y = X @ rng.standard_normal(p)
    return X, y + y.std() * rng.standard_normal(n)


def sparse_problem(n, p, condition, per_row=10, seed=0):
    """Return CSR X whose neighbouring columns are mixed and scaled, y with noise."""
    rng = np.random.default_rng(seed)
    columns, values = rng.integers(p, size=(n, per_row)), rng.standard_normal((n, per_row))
    edges = np.arange(0, n * per_row + 1, per_row)
    X = sp.csr_array((values.ravel(), columns.ravel(), edges), shape=(n, p))
    # The scale is to span the condition; mixing columns hides it from scaling them back.
    scale = sp.diags_array(np.logspace(0, -np.log10(condition), p))
    mixed = (sp.eye_array(p) + sp.eye_array(p, k=1)).tocsr()[rng.permutation(p)]
    X = sp.csr_array(X @ scale @ mixed)
    y = X @ rng.standard_normal(p)
    return X, y + y.std() * rng.standard_normal(n)


def reference(X, y):
    """Return the solution and its residual norm, refined in extended precision."""
    n, p = X.shape
    R = np.zeros((0, p))
    for start in range(0, n, _BLOCK):
        B = X[start : start + _BLOCK]
        B = B.toarray() if sp.issparse(B) else B
        R = np.linalg.qr(np.concatenate([R, B]), mode="r")
    x = np.zeros(p, np.longdouble)
    for _ in range(5):
        gradient, squares = np.zeros(p, np.longdouble), 0.0
        for start in range(0, n, _BLOCK):
            B = X[start : start + _BLOCK].astype(np.longdouble)
            r = y[start : start + _BLOCK] - B @ x
            gradient += B.T @ r
            squares += float(r @ r)
        step = scipy.linalg.solve_triangular(R, gradient.astype(float), trans="T")
        x += scipy.linalg.solve_triangular(R, step)
    return x, R, np.sqrt(squares)


def of_sklearn(model):
    """Fit an estimator of scikit-learn's kind, silent on convergence.

    Coefficients are NaN where it gives up: of sparse data whose normal equations are
    singular to rounding, `Ridge` cannot make a singular value decomposition.
    """

    def fit(X, y):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return model.fit(X, y).coef_
            except TypeError:
                return np.full(X.shape[1], np.nan)

    return fit


def of_lapack(driver):
    return lambda X, y: scipy.linalg.lstsq(X, y, lapack_driver=driver)[0]


def of_lsqr(X, y):
    return lsqr(X, y, atol=1e-15, btol=1e-15, iter_lim=_MAX_ITER)[0]


def _race(report, X, y, methods, gelsd, quick):
    """Race `methods`, with errors against the reference; return ratio to the accurate."""
    x, R, optimum = reference(X, y)

    def excess(coef):
        fitted = np.linalg.norm(R @ (coef - x).astype(float))
        return 0.5 * (fitted / optimum) ** 2

    def error(coef):
        return float(np.linalg.norm(coef - x) / np.linalg.norm(x))

    runs = race(
        {name: partial(method, X, y) for name, method in methods.items()},
        rounds=rounds(quick, 3),
        patience=_PATIENCE,
    )
    bar = error(gelsd(X, y) if gelsd else runs["scipy lstsq, gelsd"].result)
    columns = {
        "residual excess": excess,
        "forward error": error,
        "forward error / gelsd": lambda coef: error(coef) / bar,
    }
    rows = compare(runs, OURS, columns)
    report.table(rows)
    accurate = {
        row["method"]: row["peer / ours"]
        for row in rows
        if not row["method"].startswith(OURS)
        and row["residual excess"] < _MOST_EXCESS
        and row["forward error / gelsd"] < _MOST_ERROR
    }
    if accurate:
        fastest = min(accurate, key=accurate.get)
        report.note(f"fastest accurate peer: {fastest}, {accurate[fastest]:.3g} x ours")
    else:
        report.note("no peer is accurate")
    return runs


def dense(report, quick, *, condition):
    """Compare on a dense matrix."""
    n, p = (5000, 40) if quick else (1_000_000, 200)
    X, y = dense_problem(n, p, condition)
    report.note(f"{n} x {p} {X.dtype}, condition {condition:.0e}, no intercept, alpha=0")
    ours = partial(SketchedRidge, 0, fit_intercept=False, random_state=0)
    ridge = partial(Ridge, 0, fit_intercept=False, tol=1e-12)
    methods = {
        OURS: of_sklearn(ours()),
        f"{OURS}, direct": of_sklearn(ours(solver="direct")),
        f"{OURS}, iterative": of_sklearn(ours(solver="iterative")),
        "LinearRegression": of_sklearn(LinearRegression(fit_intercept=False)),
        **{
            f"Ridge, {solver}": of_sklearn(ridge(solver=solver, max_iter=_MAX_ITER))
            for solver in ("svd", "cholesky", "lsqr", "sparse_cg")
        },
        "Ridge, sag": of_sklearn(ridge(solver="sag", max_iter=3)),
        **{f"scipy lstsq, {name}": of_lapack(name) for name in ("gelsd", "gelsy")},
        "scipy lsqr": of_lsqr,
    }
    runs = _race(report, X, y, methods, None, quick)
    peak = gemm_peak(np.float64, 512 if quick else 3072)
    report.note(
        f"GEMM peak in this process: {peak / 1e9:.0f} GFlop/s; a Gram matrix takes "
        f"{1e3 * n * p * p / peak:.3g} ms, {OURS} {1e3 * runs[OURS].seconds:.3g}"
    )


def sparse(report, quick, *, condition):
    """Compare on CSR."""
    n, p = (5000, 40) if quick else (1_000_000, 500)
    X, y = sparse_problem(n, p, condition)
    report.note(
        f"CSR {n} x {p}, {X.nnz} non-zeros, scales {condition:.0e}, no intercept, alpha=0"
    )
    ridge = partial(Ridge, 0, fit_intercept=False, tol=1e-12)
    methods = {
        OURS: of_sklearn(SketchedRidge(0, fit_intercept=False, random_state=0)),
        "LinearRegression": of_sklearn(LinearRegression(fit_intercept=False, tol=1e-12)),
        **{
            f"Ridge, {solver}": of_sklearn(ridge(solver=solver, max_iter=_MAX_ITER))
            for solver in ("cholesky", "lsqr", "sparse_cg")
        },
        "scipy lsqr": of_lsqr,
        "dense copy, gelsd": lambda X, y: of_lapack("gelsd")(X.toarray(), y),
    }
    _race(report, X, y, methods, methods["dense copy, gelsd"], quick)


def growth(report, quick, *, size):
    """Double the rows or the columns of a dense matrix of condition 1e8."""
    base = {"n": 2000, "p": 10} if quick else {"n": 100_000, "p": 100}
    rows = []
    for factor in (1, 2) if quick else (1, 2, 4, 8):
        shape = base | {size: base[size] * factor}
        X, y = dense_problem(*shape.values(), 1e8)
        model = SketchedRidge(0, fit_intercept=False, random_state=0)
        runs = race(
            {
                OURS: partial(model.fit, X, y),
                "gelsd": partial(of_lapack("gelsd"), X, y),
                "gelsy": partial(of_lapack("gelsy"), X, y),
            },
            rounds=rounds(quick, 3),
            patience=_PATIENCE,
            memory=False,
        )
        times = {name: 1e3 * run.seconds for name, run in runs.items()}
        peer = min(times["gelsd"], times["gelsy"])
        rows.append(
            {
                size: shape[size],
                "solver": model.solver_,
                "passes": model.n_iter_,
                **{f"{name} ms": time for name, time in times.items()},
                "peer / ours": peer / times[OURS],
            }
        )
    report.note(", ".join(f"{key}={v}" for key, v in base.items() if key != size))
    report.table(rows)


TASKS = {
    "dense-1e2": partial(dense, condition=1e2),
    "dense-1e6": partial(dense, condition=1e6),
    "dense-1e8": partial(dense, condition=1e8),
    "sparse-1e2": partial(sparse, condition=1e2),
    "sparse-1e6": partial(sparse, condition=1e6),
    "growth-n": partial(growth, size="n"),
    "growth-p": partial(growth, size="p"),
}

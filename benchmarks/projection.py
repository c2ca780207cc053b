"""SketchProjection against scikit-learn's random projections."""

from functools import partial

import numpy as np
import scipy.sparse as sp
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from sklearn_rnla import SketchProjection

from .harness import compare, race, rounds
from .matrices import documents
from .peers import on

OURS = "SketchProjection"


def sparse(report, quick):
    """Compare on CSR, with sparse and with dense output."""
    m, n, k = (2_000, 500, 20) if quick else (200_000, 50_000, 500)
    X = documents(m, n)
    report.note(f"CSR {m} x {n}, {X.nnz} non-zeros, to {k}, {X.dtype}")
    for dense_output in (False, True):
        report.note(f"{'Dense' if dense_output else 'Sparse'} output")
        ours = partial(SketchProjection, k, dense_output=dense_output, random_state=0)
        methods = {
            _name(sketch, n_jobs): _projected(ours(sketch=sketch, n_jobs=n_jobs))
            for sketch in ("sparse_sign", "count")
            for n_jobs in (1, 2)
        }
        methods["SparseRandomProjection"] = _projected(
            SparseRandomProjection(k, dense_output=dense_output, random_state=0)
        )
        _compare(report, methods, X, k, quick)


def dense(report, quick):
    """Compare on dense rows."""
    m, n, k = (1_000, 200, 20) if quick else (20_000, 4_000, 500)
    X = np.random.default_rng(0).standard_normal((m, n), np.float32)
    report.note(f"{m} x {n}, normal entries, to {k}, {X.dtype}")
    ours = partial(SketchProjection, k, random_state=0)
    methods = {
        _name(sketch, n_jobs): _projected(ours(sketch=sketch, n_jobs=n_jobs))
        for sketch in ("sparse_sign", "count", "srtt", "gaussian")
        for n_jobs in (1, 2)
    }
    methods |= {
        "GaussianRandomProjection": _projected(GaussianRandomProjection(k, random_state=0)),
        "SparseRandomProjection": _projected(SparseRandomProjection(k, random_state=0)),
    }
    _compare(report, methods, X, k, quick)


def _compare(report, methods, X, k, quick):
    runs = race(on(methods, X), rounds=rounds(quick))
    columns = {"sd of squared length": lambda estimator: _spread(estimator, X)}
    report.table(compare(runs, _name("sparse_sign", 1), columns))
    report.note(f"sd of squared length, Gaussian in theory: {np.sqrt(2 / k):.3g}")


def _name(sketch, n_jobs):
    return f"{OURS} {sketch}" + (f", n_jobs={n_jobs}" if n_jobs != 1 else "")


def _projected(estimator):
    """Fit and transform; what comes out is as large as the data, and not kept."""

    def project(X):
        estimator.fit_transform(X)
        return estimator

    return project


def _spread(estimator, X):
    """Return the standard deviation over rows of ``||S x||^2 / ||x||^2``."""
    return float(np.std(_squares(estimator.transform(X)) / _squares(X)))


def _squares(A):
    """Return the squared norms of the rows."""
    if sp.issparse(A):
        return np.asarray(A.multiply(A).sum(axis=1), np.float64).ravel()
    return np.einsum("ij,ij->i", A, A).astype(np.float64)


TASKS = {"projection-sparse": sparse, "projection-dense": dense}

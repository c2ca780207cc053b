"""Completion with a penalty on the nuclear norm, against SoftImpute of fancyimpute."""

import warnings
from functools import partial

import numpy as np
import scipy.sparse as sp

from sklearn_rnla.linalg.completion.nuclear_norm.soft_impute import (
    largest_penalty,
    soft_impute,
)
from sklearn_rnla.operators.observed import Observed

from .harness import compare, installed, race, rounds

# Beyond this many entries of the whole matrix, a peer's step is timed, not its way to
# the solution.
_MOST_ENTRIES = 10**6

# Above our objective, relative, where a peer may stop; and the most steps it is given.
_CLOSE, _MOST_STEPS = 1e-4, 500


def nuclear_norm(report, quick):
    """Compare the time to an objective."""
    report.note(
        f"peers: as many steps as it takes to come within {_CLOSE} of our objective, at "
        f"most {_MOST_STEPS}; one where the matrix has more than {_MOST_ENTRIES} places"
    )
    peer = installed("fancyimpute")
    for name, (observed, shares) in _problems(quick).items():
        m, n = observed.shape
        dense = np.full((m, n), np.nan)
        dense[observed.rows, observed.indices] = observed.values
        largest = largest_penalty(observed, rng=np.random.default_rng(0))
        for share in shares[:1] if quick else shares:
            penalty = share * largest
            best = _ours(observed, penalty, 1e-6)
            report.note(
                f"{name}: {m} x {n}, {observed.nnz} entries, penalty {share} of the "
                f"largest, rank {best['rank']}"
            )
            target = (1 + _CLOSE) * best["objective"]
            steps = _MOST_STEPS if m * n <= _MOST_ENTRIES else 1
            published = partial(_published, observed, penalty, target, steps)
            # They take the same steps.
            steps = published()["steps"] if steps > 1 else 1
            methods = {
                "ours, tol=1e-4": partial(_ours, observed, penalty, 1e-4),
                "ours, tol=1e-6": partial(_ours, observed, penalty, 1e-6),
                "as published, full SVD": published,
                "fancyimpute": peer and partial(_fancyimpute, dense, penalty, steps),
            }
            runs = race(methods, rounds=rounds(quick, 3), patience=2.0, memory=False)
            columns = {
                "objective / best": lambda found, best=best: (
                    found["objective"] and f"{found['objective'] / best['objective']:.7f}"
                ),
                "gap": lambda found: found.get("gap"),
                "steps": lambda found: found["steps"],
            }
            report.table(compare(runs, "ours, tol=1e-4", columns))


def _problems(quick):
    rng = np.random.default_rng(0)
    m, n = (200, 150) if quick else (1000, 500)
    X = rng.standard_normal((m, 10)) @ rng.standard_normal((10, n))
    X += 0.5 * rng.standard_normal((m, n))
    X[rng.random((m, n)) > 0.3] = np.nan
    m, n = (500, 300) if quick else (5000, 3000)
    places = np.sort(rng.choice(m * n, m * n // 100, replace=False))
    rows, columns = np.divmod(places, n)
    U, V = rng.standard_normal((m, 10)), rng.standard_normal((n, 10))
    values = np.einsum("ij,ij->i", U[rows], V[columns])
    values += 0.5 * rng.standard_normal(len(values))
    Y = sp.csr_array(sp.coo_array((values, (rows, columns)), shape=(m, n)))
    return {
        "dense": (Observed.from_dense(X), (0.5, 0.2, 0.1)),
        "sparse": (Observed.from_sparse(Y), (0.7, 0.4)),
    }


def _ours(observed, penalty, tol):
    found = soft_impute(observed, penalty, tol=tol, rng=np.random.default_rng(0))
    return {
        "objective": found.objective,
        "gap": found.gap,
        "steps": found.n_iter,
        "rank": len(found.singular_values),
    }


def _published(observed, penalty, target, steps):
    """Soft-Impute of Mazumder, Hastie & Tibshirani (2010), from zero for one penalty."""
    x, places = observed.values, (observed.rows, observed.indices)
    M = np.zeros(observed.shape)
    objectives = []
    while len(objectives) < steps and (not objectives or objectives[-1] > target):
        M[places] = x
        U, s, Vt = np.linalg.svd(M, full_matrices=False)
        s = np.maximum(s - penalty, 0)
        k = np.count_nonzero(s)
        M = (U[:, :k] * s[:k]) @ Vt[:k]
        objectives.append(0.5 * np.square(x - M[places]).sum() + penalty * s.sum())
    return {"objective": objectives[-1], "steps": len(objectives)}


def _fancyimpute(X, penalty, steps):
    """Take so many steps: its own rule would stop it far above the minimum."""
    import fancyimpute.soft_impute
    import fancyimpute.solver
    from sklearn.utils import check_array

    def check(X, force_all_finite=True):
        # What scikit-learn called it before 1.6.
        return check_array(X, ensure_all_finite=force_all_finite)

    fancyimpute.soft_impute.check_array = fancyimpute.solver.check_array = check
    solver = fancyimpute.SoftImpute(
        shrinkage_value=penalty,
        convergence_threshold=0.0,
        max_iters=steps,
        init_fill_method="zero",
        verbose=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solver.fit_transform(X)
    return {"objective": None, "steps": steps}


TASKS = {"nuclear-norm": nuclear_norm}

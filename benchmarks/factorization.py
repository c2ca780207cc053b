"""Ratings by alternating least squares, and the best columns of each row."""

from functools import partial

import numpy as np
import scipy.sparse as sp

from sklearn_rnla.linalg.completion.als import als
from sklearn_rnla.linalg.completion.biases import fit_biases
from sklearn_rnla.linalg.completion.recommend import top_n
from sklearn_rnla.operators.observed import Observed
from sklearn_rnla.operators.threads import one_blas_thread

from .harness import compare, installed, race, rounds

N_JOBS = 2


def ratings(m, n, nnz, *, rank=30, seed=0):
    """Return rows, columns and values of biases, factors and noise, and which are hidden.

    Numbers of entries follow a power law, and so do the factors; the noise is 0.8.
    """
    rng = np.random.default_rng(seed)
    wanted = int(1.1 * nnz)
    weights = [rng.permutation((np.arange(size) + 0.03 * size) ** -0.9) for size in (m, n)]
    keys = np.zeros(0, np.int64)
    while len(keys) < wanted:
        i, j = (rng.choice(len(w), wanted, p=w / w.sum()) for w in weights)
        keys = np.unique(np.concatenate([keys, i * n + j]))
    keys = rng.permutation(keys)[:wanted]
    i, j = keys // n, keys % n
    scale = np.arange(1, rank + 1) ** -0.7
    U = rng.standard_normal((m, rank)) * (0.6 * scale / np.linalg.norm(scale))
    V = rng.standard_normal((n, rank))
    values = 3.5 + 0.4 * rng.standard_normal(m)[i] + 0.5 * rng.standard_normal(n)[j]
    values += 0.8 * rng.standard_normal(wanted)
    for start in range(0, wanted, 10**6):
        part = slice(start, start + 10**6)
        values[part] += np.einsum("ia,ia->i", U[i[part]], V[j[part]])
    hidden = np.arange(wanted) >= nnz
    return i.astype(np.int32), j.astype(np.int32), values.astype(np.float32), hidden


def ours(i, j, values, shape, rank, **params):
    """Return a function of pairs: the fit, its matrix built first."""
    observed = Observed.from_pairs(i, j, values, shape, n_jobs=N_JOBS)
    with one_blas_thread(N_JOBS):
        biases = fit_biases(observed)
        left = biases.residual(observed)
        found = als(left, rank, rng=np.random.default_rng(0), **params)

    def predict(i, j):
        additive = biases.offset + biases.rows[i] + biases.columns[j]
        return additive + np.einsum("ia,ia->i", found.U[i], found.V[j])

    return predict


def theirs(module, i, j, values, shape, rank, **params):
    X = sp.coo_matrix((values, (i, j)), shape=shape)
    model = module.CMF(
        k=rank,
        nthreads=N_JOBS,
        verbose=False,
        precompute_for_predictions=False,
        scale_lam=True,
        **params,
    )
    return model.fit(X).predict


def fit(report, quick):
    """Compare the time to an error of hidden ratings with cmfrec's."""
    m, n, nnz, rank = (600, 150, 10_000, 8) if quick else (60_000, 15_000, 3_000_000, 50)
    i, j, values, hidden = ratings(m, n, nnz)
    shown = [x[~hidden] for x in (i, j, values)]
    methods = {
        f"ours, {sweeps} sweeps": partial(ours, *shown, (m, n), rank, max_iter=sweeps)
        for sweeps in (3, 5, 8, 12)
    }
    methods["ours, to tolerance"] = partial(ours, *shown, (m, n), rank)
    peer = installed("cmfrec")
    # The penalties around the best one for these data, of 0.05, 0.07, ..., 0.3.
    for penalty in (0.1, 0.14, 0.2):
        for sweeps in (5, 10, 15):
            methods[f"cmfrec, CG, {penalty}, {sweeps} sweeps"] = peer and partial(
                theirs, peer, *shown, (m, n), rank, lambda_=penalty, niter=sweeps,
                finalize_chol=False,
            )  # fmt: skip
    methods["cmfrec, Cholesky, 0.14, 8 sweeps"] = peer and partial(
        theirs, peer, *shown, (m, n), rank, lambda_=0.14, niter=8, use_cg=False
    )
    truth = values[hidden]

    def error(predict):
        left = truth - predict(i[hidden], j[hidden])
        return f"{np.sqrt(np.square(left, dtype=np.float64).mean()):.4f}"

    report.note(f"{m} x {n}, {nnz} ratings, rank {rank}, {N_JOBS} threads; noise 0.8")
    runs = race(methods, rounds=rounds(quick, 3), patience=20.0)
    report.table(compare(runs, "ours, 8 sweeps", {"hidden RMSE": error}))


def top(report, quick):
    """Compare the best ten columns of each row with implicit's."""
    m, n, k, per_row = (500, 300, 16, 5) if quick else (100_000, 20_000, 64, 50)
    rng = np.random.default_rng(0)
    U = rng.standard_normal((m, k), np.float32)
    V = rng.standard_normal((n, k), np.float32)
    rows, columns = np.repeat(np.arange(m), per_row), rng.integers(n, size=m * per_row)
    seen = Observed.from_pairs(rows, columns, np.ones(len(rows), np.float32), (m, n))
    csr = sp.csr_matrix((seen.values, seen.indices, seen.indptr), shape=(m, n))
    peer = installed("implicit.cpu.topk")
    report.note(f"{m} x {n}, k = {k}, top 10, float32, {N_JOBS} threads")
    for title, own, other in (("all", None, None), ("unseen", seen, csr)):
        methods = {
            f"ours, {title}": partial(top_n, U, V, 10, exclude=own, n_jobs=N_JOBS),
            f"implicit, {title}": peer
            and partial(peer.topk, V, U, 10, filter_query_items=other, num_threads=N_JOBS),
        }
        runs = race(methods, rounds=rounds(quick), patience=30.0)
        expected = runs[f"ours, {title}"].result[0]
        same = {"same": lambda found, e=expected: f"{np.mean(found[0] == e):.4f}"}
        report.table(compare(runs, f"ours, {title}", same))


def growth_nnz(report, quick):
    """Grow the ratings."""
    sizes = (50_000, 100_000) if quick else (10**5, 10**6, 5 * 10**6, 2 * 10**7)
    rows, before = [], None
    for nnz in sizes:
        shape = nnz // 40, nnz // 200
        i, j, values, hidden = ratings(*shape, nnz)
        shown = [x[~hidden] for x in (i, j, values)]
        method = partial(ours, *shown, shape, 8 if quick else 50, max_iter=8)
        run = race({"ours": method}, rounds=rounds(quick, 3))["ours"]
        row = {"ratings": nnz, "ms": 1e3 * run.seconds, "exponent": None}
        row["peak MB"] = run.peak and run.peak / 2**20
        if before is not None:
            gain = row["ms"] / before["ms"]
            row["exponent"] = float(np.log(gain) / np.log(nnz / before["ratings"]))
        rows.append(row)
        before = row
    report.note("40 a row and 200 a column, 8 sweeps; exponent since the row before")
    report.table(rows)


def growth_rank(report, quick):
    """Grow the rank."""
    m, n, nnz = (600, 150, 10_000) if quick else (20_000, 5000, 1_000_000)
    i, j, values, hidden = ratings(m, n, nnz)
    shown = [x[~hidden] for x in (i, j, values)]
    rows = []
    for rank in (2, 4) if quick else (8, 16, 32, 64, 128, 256):
        method = partial(ours, *shown, (m, n), rank, max_iter=8)
        run = race({"ours": method}, rounds=rounds(quick, 3))["ours"]
        rows.append({"rank": rank, "ms": 1e3 * run.seconds})
    report.note(f"{m} x {n}, {nnz} ratings, 8 sweeps")
    report.table(rows)


TASKS = {"als": fit, "top-n": top, "growth-nnz": growth_nnz, "growth-rank": growth_rank}

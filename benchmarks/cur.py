"""CURSelector and its functions against other ways to choose real columns and rows."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.linalg.interpolative import interp_decomp
from sklearn.datasets import load_digits
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rnla import CURSelector
from sklearn_rnla.linalg import column_subset, cur, randomized_svd

from . import projection
from .datasets import real_sets
from .harness import compare, installed, race, rounds
from .matrices import power_law, with_spectrum

# With more distinct values than this, y counts as numbers.
_MOST_CLASSES = 30

# Beyond this many entries, peers that factor the whole matrix are not run.
_MOST_ENTRIES = 5 * 10**7


def columns(report, quick, *, name):
    """Compare eta = ||A - C C^+ A|| / ||A - A_k|| and the time to choose."""
    loaded = _load(name, quick)
    if loaded is None:
        report.note(f"{name}: not in the folder that BENCHMARK_DATA names")
        return
    A, k = loaded
    best = _best(A, k)
    report.note(f"{name}: {A.shape[0]} x {A.shape[1]}, k={k}, {A.dtype}")
    dense = A.toarray() if sp.issparse(A) else A

    def ours(method, refine=None):
        return lambda: (
            column_subset(A, k, method=method, refine=refine, random_state=0).indices
        )

    methods = {
        "ours, cpqr": ours("cpqr"),
        "ours, cpqr, swap": ours("cpqr", "swap"),
        "ours, qdeim": ours("qdeim"),
        "ours, qdeim, swap": ours("qdeim", "swap"),
        "ours, greedy": ours("greedy"),
        "ours, lupp": ours("lupp"),
        "ours, leverage": ours("leverage"),
        "ours, leverage-top": ours("leverage-top"),
        "scipy interp_decomp, rand": lambda: interp_decomp(dense, k, rng=0)[0][:k],
        "scipy interp_decomp, exact": lambda: interp_decomp(dense, k, rand=False)[0][:k],
        "LAPACK geqp3": lambda: scipy.linalg.qr(dense, mode="r", pivoting=True)[1][:k],
        "exact leverage, sampled": lambda: _exact_leverage(
            dense, k, np.random.default_rng(0)
        ),
        "exact leverage, top": lambda: _exact_leverage(dense, k, None),
    }
    peers = installed("skmatter.feature_selection")
    for selector in ("CUR", "FPS"):
        methods[f"skmatter {selector}"] = peers and partial(
            _skmatter, getattr(peers, selector, None), dense, k
        )
    runs = race(methods, rounds=rounds(quick, 3), patience=5.0)
    eta = {"eta": lambda indices: f"{_error(A, indices) / best:.4f}"}
    report.table(compare(runs, "ours, cpqr", eta))


def decomposition(report, quick):
    """Compare the error of CUR at c = r, over the best rank c, and the time."""
    for name in _SETS:
        loaded = _load(name, quick)
        if loaded is None:
            continue
        A, k = loaded
        best = _best(A, k)
        norm = scipy.sparse.linalg.norm(A) if sp.issparse(A) else np.linalg.norm(A)
        report.note(f"{name}: {A.shape[0]} x {A.shape[1]}, c = r = {k}")
        dense = A.toarray() if sp.issparse(A) else A
        methods = {
            "ours": lambda A=A, k=k: cur(A, k, random_state=0)[:2],
            "ours, qdeim, swap": lambda A=A, k=k: cur(
                A, k, method="qdeim", refine="swap", random_state=0
            )[:2],
            "randomized SVD of rank k": lambda A=A, k=k: randomized_svd(
                A, k, random_state=0
            ),
        }
        if dense.size <= _MOST_ENTRIES:
            for kind, seed in (("sampled", 0), ("top", None)):
                methods[f"exact leverage, {kind}"] = partial(_leverage_cur, dense, k, seed)
        runs = race(methods, rounds=rounds(quick, 3), patience=5.0)
        error = {
            "error / best": lambda found, A=A, best=best, norm=norm: (
                f"{_cur_error(A, *found, norm) / best:.4f}" if len(found) == 2 else None
            )
        }
        report.table(compare(runs, "ours", error))


def growth(report, quick):
    """Grow the non-zeros of a sparse matrix of fixed shape."""
    m, n, k = (20_000, 2000, 10) if quick else (1_000_000, 5000, 50)
    rows, before = [], None
    for nnz_per_row in (1, 4) if quick else (1, 3, 10, 30, 100):
        rng = np.random.default_rng(0)
        indices = rng.integers(n, size=(m, nnz_per_row), dtype=np.int32)
        A = sp.csr_array(
            (
                rng.random(indices.size, dtype=np.float32),
                np.sort(indices, axis=1).ravel(),
                np.arange(0, indices.size + 1, nnz_per_row),
            ),
            shape=(m, n),
        )
        runs = race(
            {
                "column_subset": partial(column_subset, A, k, random_state=0),
                "cur": partial(cur, A, k, random_state=0),
            },
            rounds=rounds(quick, 3),
        )
        row = {"nnz": A.nnz}
        for name, run in runs.items():
            row[f"{name} ms"] = 1e3 * run.seconds
            exponent = None
            if before is not None:
                gain = run.seconds / (before[f"{name} ms"] / 1e3)
                exponent = float(np.log(gain) / np.log(A.nnz / before["nnz"]))
            row[f"{name} exponent"] = exponent
        row["cur peak MB"] = runs["cur"].peak and runs["cur"].peak / 2**20
        rows.append(row)
        before = row
    report.note(
        f"CSR {m} x {n}, k = {k}; exponent of the time in nnz, since the row before"
    )
    report.table(rows)


def tolerance(report, quick):
    """Compare the columns a tolerance takes with the fewest, and errors with the truth."""
    rows = []
    for name in _SETS:
        loaded = _load(name, quick)
        if loaded is None or sp.issparse(loaded[0]):
            continue
        A = loaded[0].astype(np.float64)
        exact = scipy.linalg.qr(A, mode="r", pivoting=True)
        Q = np.linalg.qr(A[:, exact[1][: min(A.shape)]])[0]
        left = 1 - np.cumsum(np.square(Q.T @ A).sum(axis=1)) / np.square(A).sum()
        for tol in (0.5, 0.3, 0.1):
            fewest = int(np.argmax(left <= tol**2)) + 1
            for seed in range(1 if quick else 3):
                found = column_subset(A, tol=tol, random_state=seed)
                truth = _error(A, found.indices) / np.linalg.norm(A)
                rows.append(
                    {
                        "data": name,
                        "tol": tol,
                        "seed": seed,
                        "columns": len(found.indices),
                        "of exact pivoting": fewest,
                        "estimate / true error": found.error_estimate / truth,
                    }
                )
    report.table(rows)


def supervised(report, quick):
    """Compare the held-out score of a linear model on selected features."""
    rows = []
    for name, data in real_sets(np.float64, quick).items():
        has_classes = len(np.unique(data.y)) <= _MOST_CLASSES
        y = data.y.astype(int) if has_classes else data.y.astype(float)
        score = f_classif if has_classes else f_regression
        train = ~data.is_test
        for k in (2, 4, 8, 16):
            if k >= data.X.shape[1]:
                continue
            row = {"data": name, "k": k}
            selectors = {
                "supervised": CURSelector(k, method="supervised", random_state=0),
                "greedy": CURSelector(k, method="greedy", random_state=0),
                "cpqr": CURSelector(k, random_state=0),
                "SelectKBest": SelectKBest(score, k=k),
            }
            for method, selector in selectors.items():
                model = LogisticRegression(max_iter=1000) if has_classes else Ridge(1e-3)
                pipeline = make_pipeline(StandardScaler(), selector, model)
                pipeline.fit(data.X[train], y[train])
                row[method] = float(pipeline.score(data.X[~train], y[~train]))
            rows.append(row)
    report.note("accuracy or R^2 on held-out rows of a linear model of k columns")
    report.table(rows)
    for peer in ("greedy", "cpqr", "SelectKBest"):
        wins = sum(row["supervised"] >= row[peer] for row in rows)
        report.note(
            f"supervised scores at least as high as {peer} in {wins} of {len(rows)}"
        )


_SETS = ("digits", "mnist", "word embeddings", "power law", "dblp")


def _load(name, quick):
    """Return a matrix and k; None where it is not there."""
    if name == "digits":
        return load_digits().data, 16
    if name == "power law":
        m, n = (400, 200) if quick else (4000, 2000)
        return with_spectrum(2 * n, n, power_law(n, 1.0), np.float64), m // 80
    folder = Path(os.environ.get("BENCHMARK_DATA", ""))
    file = {"mnist": "mnist_t10k", "word embeddings": "minilm_l6_small", "dblp": "dblp"}
    path = folder / f"{file[name]}.npz"
    if quick or not path.exists():
        return None
    stored = np.load(path)
    if name == "mnist":
        return stored["X"].astype(np.float64), 50
    if name == "word embeddings":
        return stored["word_embeddings_8k"].astype(np.float64), 50
    entries = (stored["data"].astype(np.float64), stored["indices"], stored["indptr"])
    return sp.csr_array(entries, shape=tuple(stored["shape"])), 50


def _best(A, k):
    gram = A.T @ A
    values = np.linalg.eigvalsh(gram.toarray() if sp.issparse(gram) else gram)
    return np.sqrt(np.maximum(values[:-k], 0).sum())


def _error(A, indices):
    """Return ||A - C C^+ A||."""
    C = A[:, indices]
    Q = np.linalg.qr(C.toarray() if sp.issparse(C) else C)[0]
    squares = A.data if sp.issparse(A) else A
    return np.sqrt(max(0.0, np.square(squares).sum() - np.square(A.T @ Q).sum()))


def _cur_error(A, column_indices, row_indices, norm):
    C, R = A[:, column_indices], A[row_indices]
    Q = np.linalg.qr(C.toarray() if sp.issparse(C) else C)[0]
    P = np.linalg.qr((R.toarray() if sp.issparse(R) else R).T)[0]
    return np.sqrt(norm**2 - np.square(Q.T @ (A @ P)).sum())


def _scores(A, k):
    U, _, V = np.linalg.svd(A, full_matrices=False)
    return np.square(V[:k]).sum(axis=0), np.square(U[:, :k]).sum(axis=1)


def _pick(scores, k, rng):
    if rng is None:
        return np.argsort(-scores)[:k]
    return rng.choice(len(scores), k, replace=False, p=scores / scores.sum())


def _exact_leverage(A, k, seed):
    return _leverage_cur(A, k, seed)[0]


def _leverage_cur(A, k, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    return tuple(_pick(scores, k, rng) for scores in _scores(A, k))


def _skmatter(selector, A, k):
    return selector(n_to_select=k).fit(A).selected_idx_[:k]


TASKS = {
    **{f"columns-{name.replace(' ', '-')}": partial(columns, name=name) for name in _SETS},
    "decomposition": decomposition,
    "tolerance": tolerance,
    "growth": growth,
    "supervised": supervised,
    **projection.TASKS,
}

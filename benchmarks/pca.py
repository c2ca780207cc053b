"""RandomizedPCA against every PCA a scikit-learn user can reach for."""

from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD

from sklearn_rnla import RandomizedPCA
from sklearn_rnla.linalg import randomized_svd
from sklearn_rnla.linalg.singular.truncated_svd import block_width

from . import accuracy, costs, growth, out_of_core, sketching
from .harness import compare, race, rounds
from .machine import gemm_peak
from .matrices import documents, power_law, with_spectrum
from .peers import (
    OURS,
    Fit,
    best_at_equal_accuracy,
    columns_of,
    fbpca_pca,
    fitted,
    lanczos,
    on,
    sklearn_svd,
    streamed,
    torch_pca,
)


def dense(report, quick, *, m, n, k, exponent, dtype):
    """Compare on a dense matrix with a power-law spectrum."""
    if quick:
        m, n, k = m // 20, n // 20, k // 5
    s = power_law(min(m, n), exponent)
    X = with_spectrum(m, n, s, dtype)
    report.note(f"{m} x {n}, k={k}, s_i = i^-{exponent}, {X.dtype}")
    powers = ["auto", *([2] if quick else range(1, 8))]
    methods = {
        OURS: fitted(RandomizedPCA(k, random_state=0)),
        **{
            f"PCA randomized, iterated_power={power}": fitted(
                PCA(k, svd_solver="randomized", iterated_power=power, random_state=0)
            )
            for power in powers
        },
        **{
            f"PCA {solver}": fitted(PCA(k, svd_solver=solver, random_state=0))
            for solver in ("covariance_eigh", "arpack", "auto", "full")
        },
        **{f"fbpca, n_iter={i}": fbpca_pca(k, i) for i in (2, 4)},
        **{f"torch.pca_lowrank, niter={i}": torch_pca(k, i) for i in (1, 2, 3, 4, 6)},
        "scipy svds": lanczos(k),
    }
    runs = race(on(methods, X), rounds=rounds(quick))
    rows = compare(runs, OURS, columns_of(accuracy.of_spectrum(X, s, k)))
    report.table(rows)
    report.note(best_at_equal_accuracy(rows))
    peak = gemm_peak(dtype, 512 if quick else 3072)
    report.note(f"GEMM peak in this process: {peak / 1e9:.0f} GFlop/s")
    for width, what in ((k, "k"), (block_width(k, None, X.shape), "as iterated")):
        limit = 2 * 4 * m * n * width / peak
        report.note(
            f"GEMM limit of two fused passes, {width} wide ({what}): {1e3 * limit:.3g} ms, "
            f"ours / limit = {runs[OURS].seconds / limit:.2f}"
        )


def decomposition(report, quick, *, m, n, k, exponent):
    """Compare `randomized_svd` with the functions of that kind."""
    if quick:
        m, n, k = m // 20, n // 20, k // 5
    s = power_law(min(m, n), exponent)
    A = with_spectrum(m, n, s, np.float32)
    A -= A.mean(axis=0)
    report.note(f"{m} x {n}, k={k}, s_i = i^-{exponent}, {A.dtype}")
    iterations = (2,) if quick else (2, 4, 7, 10, 14)
    ours = "linalg.randomized_svd"
    methods = {
        ours: _svd(k),
        **{f"sklearn randomized_svd, n_iter={i}": sklearn_svd(k, i) for i in iterations},
        **{f"fbpca, n_iter={i}": fbpca_pca(k, i, center=False) for i in iterations[:3]},
        **{
            f"torch.svd_lowrank, niter={i}": torch_pca(k, i, center=False)
            for i in iterations
        },
        "scipy svds": lanczos(k, center=False),
    }
    runs = race(on(methods, A), rounds=rounds(quick))
    rows = compare(runs, ours, columns_of(accuracy.of_spectrum(A, s, k)))
    report.table(rows)
    report.note(best_at_equal_accuracy(rows, ours))


def _svd(k):
    def fit(A):
        found = randomized_svd(A, k, random_state=0)
        return Fit(found.Vt, found.n_passes, found.error_estimate)

    return fit


def sparse(report, quick, *, with_mean):
    """Compare on CSR, half of each row from one of a hundred topics."""
    m, n, k = (2_000, 500, 5) if quick else (200_000, 50_000, 50)
    X = documents(m, n)
    report.note(f"CSR {m} x {n}, {X.nnz} non-zeros, k={k}, {X.dtype}, {with_mean=}")
    ours = partial(RandomizedPCA, k, with_mean=with_mean, random_state=0)
    methods = {OURS: fitted(ours()), f"{OURS}, n_jobs=2": fitted(ours(n_jobs=2))}
    if with_mean:
        methods["PCA arpack"] = fitted(PCA(k, svd_solver="arpack", random_state=0))
    else:
        for n_iter in (2, 5):
            name = "TruncatedSVD" + (f", n_iter={n_iter}" if n_iter != 5 else "")
            methods[name] = fitted(TruncatedSVD(k, n_iter=n_iter, random_state=0))
        methods["TruncatedSVD arpack"] = fitted(
            TruncatedSVD(k, algorithm="arpack", random_state=0)
        )
    runs = race(on(methods, X), rounds=rounds(quick))
    optimum = accuracy.of_sparse(X, k, center=with_mean)
    rows = compare(runs, OURS, columns_of(optimum))
    report.table(rows)
    report.note(best_at_equal_accuracy(rows))


def small(report, quick):
    """Fit the data that grid searches run on."""
    report.note("fit against PCA() of default solver; target: at most 1.1 PCA + 1 ms")
    rows = []
    for load in (load_digits, load_iris, load_breast_cancer):
        X = load().data
        ratios, above = {}, {}
        for k in range(2, min(30, X.shape[1]) + 1, 9 if quick else 1):
            methods = {OURS: RandomizedPCA(k, random_state=0), "PCA": PCA(k)}
            runs = race(
                {name: partial(pca.fit, X) for name, pca in methods.items()},
                rounds=rounds(quick, 21),
                settle=0.0,
                memory=False,
            )
            ours, theirs = runs[OURS].seconds, runs["PCA"].seconds
            ratios[k] = theirs / ours
            above[k] = 1e3 * (ours - 1.1 * theirs) - 1
        worst = max(above, key=above.get)
        rows.append(
            {
                "data": load.__name__.removeprefix("load_"),
                "PCA / ours, median over k": float(np.median(list(ratios.values()))),
                "least": min(ratios.values()),
                "max of ours - 1.1 PCA - 1 ms": above[worst],
                "at k": worst,
            }
        )
    report.table(rows)


def streams(report, quick):
    """Compare partial_fit on the same batches."""
    m, n, k, batch = (2_000, 50, 5, 500) if quick else (50_000, 500, 20, 1000)
    for dtype in (np.float32, np.float64):
        s = power_law(n, 0.7)
        X = with_spectrum(m, n, s, dtype)
        report.note(f"{m} x {n}, {X.dtype}, batches of {batch} rows, k={k}")
        optimum = accuracy.of_spectrum(X, s, k)
        methods = {
            OURS: streamed(lambda: RandomizedPCA(k, random_state=0), batch),
            "IncrementalPCA": streamed(lambda: IncrementalPCA(k), batch),
        }
        runs = race(on(methods, X), rounds=rounds(quick))
        captured = {
            "captured variance": lambda fit, optimum=optimum: (
                optimum.captured(fit.components) / optimum.total
            )
        }
        report.table(compare(runs, OURS, captured | columns_of(optimum)))


_TALL = {"m": 50_000, "n": 1000, "k": 20, "exponent": 1}
_SQUARE = {"m": 6000, "n": 4000, "k": 50, "exponent": 0.5}

TASKS = {
    "dense-tall-float32": partial(dense, **_TALL, dtype=np.float32),
    "dense-tall-float64": partial(dense, **_TALL, dtype=np.float64),
    "dense-square-float32": partial(dense, **_SQUARE, dtype=np.float32),
    "dense-square-float64": partial(dense, **_SQUARE, dtype=np.float64),
    "svd-tall": partial(decomposition, **_TALL),
    "svd-square": partial(decomposition, **_SQUARE),
    "sparse-raw": partial(sparse, with_mean=False),
    "sparse-centred": partial(sparse, with_mean=True),
    "memmap": out_of_core.memmap,
    "dask": out_of_core.distributed,
    "small": small,
    "partial-fit": streams,
    "growth-dense": growth.dense,
    "growth-sparse": growth.sparse,
    "sketching": sketching.scaling,
    "costs": costs.costs,
}

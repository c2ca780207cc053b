"""RandomizedPCA against every PCA a scikit-learn user can reach for."""

import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.sparse.linalg import svds
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD

from sklearn_rnla import RandomizedPCA
from sklearn_rnla.linalg import projection_error
from sklearn_rnla.linalg.right_svd import block_width
from sklearn_rnla.sketching import SRTT, Gaussian, SparseSign

from .harness import gemm_peak, race, show, table
from .matrices import documents, file_of_rows, with_spectrum

OURS = "RandomizedPCA"


def fitted(estimator):
    """Return a method of `race` that fits and gives the components."""
    return lambda X: estimator.fit(X).components_


def fbpca_pca(k):
    """Return fbpca's randomized PCA."""

    def fit(X):
        import fbpca

        return fbpca.pca(X, k)[2]

    return fit


def torch_pca(k, niter):
    """Return torch's randomized PCA."""

    def fit(X):
        import torch

        return torch.pca_lowrank(torch.from_numpy(X), q=k + 8, niter=niter)[2].numpy().T[:k]

    return fit


def lanczos(k):
    """Return scipy's svds on an explicitly centred copy."""
    return lambda X: svds(X - X.mean(axis=0), k, random_state=0)[2]


def dense(m, n, k, power, dtype):
    """Return a task on a dense matrix with a power-law spectrum."""

    def task(quick):
        rows, columns = (m // 50, n // 20) if quick else (m, n)
        X = with_spectrum(
            rows, columns, np.arange(1.0, min(rows, columns) + 1) ** -power, dtype
        )
        centred = X.astype(float) - X.astype(float).mean(axis=0)
        squared = np.linalg.eigvalsh(centred.T @ centred)[::-1]

        def excess(V):
            error = squared.sum() - np.sum((centred @ V.T.astype(float)) ** 2)
            return np.sqrt(max(0.0, error) / squared[k:].sum()) - 1

        ours = RandomizedPCA(k, random_state=0)
        peers = {OURS: fitted(ours)}
        for power_iterations in ["auto", *([2] if quick else range(1, 8))]:
            name = f"PCA randomized, iterated_power={power_iterations}"
            peers[name] = fitted(
                PCA(
                    k,
                    svd_solver="randomized",
                    iterated_power=power_iterations,
                    random_state=0,
                )
            )
        for solver in ("covariance_eigh", "arpack", "auto"):
            peers[f"PCA {solver}"] = fitted(PCA(k, svd_solver=solver, random_state=0))
        peers["fbpca"] = fbpca_pca(k)
        for niter in (1, 2, 4):
            peers[f"torch.pca_lowrank, niter={niter}"] = torch_pca(k, niter)
        peers["scipy svds"] = lanczos(k)
        runs = race(
            {name: (lambda fit=fit: fit(X)) for name, fit in peers.items()},
            rounds=1 if quick else 5,
        )
        show(runs, OURS, [("excess error", excess)])
        base = runs[OURS][0]
        width = block_width(k, None, X.shape)
        bar = max(1e-3, excess(runs[OURS][2]))
        equal = {
            name: seconds / base
            for name, (seconds, _, V) in runs.items()
            if name != OURS and excess(V) <= bar
        }
        best = min(equal, key=equal.get, default=None)
        limit = 8 * rows * columns * width / gemm_peak(dtype, 500 if quick else 3000)
        print(
            f"\nours: {ours.n_passes_} passes, error_estimate_ {ours.error_estimate_:.1e}"
        )
        if best:
            print(f"best peer at equal accuracy: {best}, {equal[best]:.2f} times ours")
        print(f"ours over the GEMM limit of two passes {width} wide: {base / limit:.2f}")

    return task


def sparse(quick):
    """CSR, half of each row from one of a hundred topics."""
    X = documents(2_000, 500) if quick else documents(200_000, 50_000)
    k = 5 if quick else 50
    for with_mean in (False, True):
        exact = RandomizedPCA(
            k, with_mean=with_mean, tol=1e-6, algorithm="krylov", random_state=1
        ).fit(X)
        tail = exact._moments.squared_norm - np.sum(
            exact.singular_values_.astype(float) ** 2
        )
        mean = exact.mean_.astype(float)

        def excess(V, tail=tail, mean=mean, total=exact._moments.squared_norm):
            V = V.astype(float)
            Y = X @ V.T - V @ mean
            return np.sqrt((total - np.sum(Y**2)) / tail) - 1

        methods = {
            OURS: fitted(RandomizedPCA(k, with_mean=with_mean, random_state=0)),
            f"{OURS}, n_jobs=2": fitted(
                RandomizedPCA(k, with_mean=with_mean, n_jobs=2, random_state=0)
            ),
        }
        if with_mean:
            methods["PCA arpack"] = fitted(PCA(k, svd_solver="arpack", random_state=0))
        else:
            methods["TruncatedSVD"] = fitted(TruncatedSVD(k, random_state=0))
            methods["TruncatedSVD, n_iter=2"] = fitted(
                TruncatedSVD(k, n_iter=2, random_state=0)
            )
            methods["TruncatedSVD arpack"] = fitted(
                TruncatedSVD(k, algorithm="arpack", random_state=0)
            )
        print(f"with_mean={with_mean}, {X.nnz} non-zeros")
        runs = race(
            {name: (lambda fit=fit: fit(X)) for name, fit in methods.items()},
            rounds=1 if quick else 5,
        )
        show(runs, OURS, [("excess error", excess)])


def out_of_core(quick):
    """Read a file of 2 GB by passes, by IncrementalPCA, and by dask on two workers."""
    m, n, k = (20_000, 50, 5) if quick else (1_000_000, 500, 50)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.bin"
        X = file_of_rows(path, m, n)

        def incremental(X):
            pca = IncrementalPCA(k)
            for start in range(0, m, 5 * n):
                pca.partial_fit(X[start : start + 5 * n])
            return pca.components_

        def error(V):
            mean = runs[OURS][2][1]
            H = projection_error(X, V).frobenius ** 2
            return np.sqrt(H - m * float(mean @ mean) + m * float((V @ mean) @ (V @ mean)))

        def ours(X):
            pca = RandomizedPCA(k, random_state=0).fit(X)
            return pca.components_, pca.mean_.astype(float)

        runs = race(
            {OURS: lambda: ours(X), "IncrementalPCA": lambda: (incremental(X), None)},
            rounds=1,
        )
        best = min(error(run[2][0]) for run in runs.values())
        show(
            runs,
            OURS,
            [("error over the lower, less one", lambda r: error(r[0]) / best - 1)],
        )
        share = runs[OURS][1] / (X.size * 4)
        print(f"\npeak memory of ours: {share:.1%} of the file")
        distributed(path, m, n, k, runs[OURS][0])


def _rows_of_file(start, stop, path, m, n):
    X = np.memmap(path, dtype=np.float32, mode="r", shape=(m, n))
    return np.asarray(X[start:stop])


def distributed(path, m, n, k, in_process):
    """Run the same file as a dask array on two worker processes."""
    try:
        import dask
        import dask.array as da
        from distributed import Client, LocalCluster
    except ImportError:
        print("dask: not installed")
        return
    edges = np.linspace(0, m, 21).astype(int)
    block = dask.delayed(_rows_of_file)
    X = da.concatenate(
        [
            da.from_delayed(block(a, b, str(path), m, n), (b - a, n), dtype=np.float32)
            for a, b in pairwise(edges)
        ]
    )
    warnings.simplefilter("ignore")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        methods = {
            f"{OURS}, dask, 2 workers": lambda: RandomizedPCA(k, random_state=0).fit(X),
            "dask svd_compressed": lambda: dask.compute(
                da.linalg.svd_compressed(X - X.mean(axis=0), k, n_power_iter=2)[1]
            ),
        }
        runs = race(methods, rounds=1)
    rows = [[name, f"{run[0] / in_process:.2f}"] for name, run in runs.items()]
    table(["method", "time / ours in process"], rows)


def small(quick):
    """Fit the data that grid searches run on."""
    rows = []
    for load in (load_digits, load_iris, load_breast_cancer):
        X = load().data
        ratios, slack = [], []
        for k in range(2, min(30, X.shape[1]) + 1, 7 if quick else 1):
            runs = race(
                {
                    OURS: lambda k=k, X=X: RandomizedPCA(k, random_state=0).fit(X),
                    "PCA": lambda k=k, X=X: PCA(k).fit(X),
                },
                rounds=1 if quick else 11,
            )
            ours, theirs = runs[OURS][0], runs["PCA"][0]
            ratios.append(theirs / ours)
            slack.append(1e3 * (1.1 * theirs - ours) + 1)
        rows.append([load.__name__[5:], f"{np.median(ratios):.2f}", f"{min(slack):.2f}"])
    table(["data", "PCA / ours, median over k", "least ms below 1.1 PCA + 1 ms"], rows)


def growth(quick):
    """Time as one size doubles."""
    scale = 8 if quick else 1
    base = {"m": 20_000 // scale, "n": 1000 // scale, "k": 20}
    rows = []
    for name in base:
        for factor in (1, 2, 4):
            size = {**base, name: base[name] * factor}
            m, n, k = size["m"], size["n"], size["k"]
            X = with_spectrum(m, n, np.arange(1.0, min(m, n) + 1) ** -0.7, np.float32)
            ours = RandomizedPCA(k, random_state=0, algorithm="krylov")
            theirs = PCA(k, svd_solver="randomized", iterated_power=3, random_state=0)
            runs = race(
                {OURS: lambda o=ours, X=X: o.fit(X), "PCA": lambda t=theirs, X=X: t.fit(X)},
                rounds=1 if quick else 5,
            )
            rows.append(_growth_row(f"{name} = {size[name]}", ours, runs))
    for factor in (1, 2, 4):
        X = documents(factor * 40_000 // scale, 10_000 // scale)
        ours = RandomizedPCA(20, with_mean=False, random_state=0, algorithm="krylov")
        theirs = TruncatedSVD(20, random_state=0)
        runs = race(
            {OURS: lambda o=ours, X=X: o.fit(X), "PCA": lambda t=theirs, X=X: t.fit(X)},
            rounds=1 if quick else 5,
        )
        rows.append(_growth_row(f"nnz = {X.nnz}", ours, runs))
    table(["size", "ms", "passes", "scikit-learn / ours"], rows)


def _growth_row(name, ours, runs):
    seconds = runs[OURS][0]
    ratio = runs["PCA"][0] / seconds
    return [name, f"{1e3 * seconds:.1f}", ours.n_passes_, f"{ratio:.2f}"]


def sketches(quick):
    """Sketching a tall matrix: cost as the sketch grows."""
    m, n = (4096, 16) if quick else (131_072, 128)
    A = np.random.default_rng(0).standard_normal((m, n))
    rows = []
    for size in (16, 64, 256, 1024):
        times = []
        for kind in (SRTT, Gaussian, SparseSign):
            S = kind(size, m).sample(0)
            best = np.inf
            for _ in range(1 if quick else 3):
                start = time.perf_counter()
                S @ A
                best = min(best, time.perf_counter() - start)
            times.append(best)
        rows.append([size, *[f"{1e3 * t:.0f}" for t in times]])
    table(["sketch size", "SRTT ms", "Gaussian ms", "sparse sign ms"], rows)


def streams(quick):
    """partial_fit against IncrementalPCA on the same batches."""
    m, n, k = (2_000, 50, 5) if quick else (50_000, 500, 20)
    X = with_spectrum(m, n, np.arange(1.0, n + 1) ** -0.7, np.float32)
    centred = X.astype(float) - X.astype(float).mean(axis=0)

    def stream(make):
        pca = make(k)
        for start in range(0, m, 1000):
            pca.partial_fit(X[start : start + 1000])
        return pca.components_

    def captured(V):
        return np.sum((centred @ V.T.astype(float)) ** 2) / np.sum(centred**2)

    runs = race(
        {
            OURS: lambda: stream(RandomizedPCA),
            "IncrementalPCA": lambda: stream(IncrementalPCA),
        },
        rounds=1 if quick else 3,
    )
    show(runs, OURS, [("captured variance", captured)])


TASKS = {
    "dense 50000 x 1000, k=20, 1/i, float32": dense(50_000, 1000, 20, 1, np.float32),
    "dense 50000 x 1000, k=20, 1/i, float64": dense(50_000, 1000, 20, 1, np.float64),
    "dense 6000 x 4000, k=50, i^-0.5, float32": dense(6000, 4000, 50, 0.5, np.float32),
    "dense 6000 x 4000, k=50, i^-0.5, float64": dense(6000, 4000, 50, 0.5, np.float64),
    "sparse 200000 x 50000, k=50": sparse,
    "memmap and dask 1000000 x 500, k=50": out_of_core,
    "small data": small,
    "partial_fit": streams,
    "growth": growth,
    "sketches": sketches,
}

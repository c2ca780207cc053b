"""NystroemKernel and NystroemRidge against the kernel methods of scikit-learn."""

from functools import partial
from statistics import median

import numpy as np
from sklearn.decomposition import PCA, KernelPCA
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import pairwise_kernels, rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer

from sklearn_rnla import (
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    RandomizedPCA,
)

from .datasets import real_sets
from .harness import MEGABYTE, MemoryWatch, compare, race, rounds
from .machine import gemm_peak

_SCALES = (0.1, 1.0)
_BLOCK = 8192


def trace_error(model, X):
    """Return the relative trace error of features of X, for a kernel of ones."""
    captured = sum(
        np.square(model.transform(X[i : i + _BLOCK]), dtype=np.float64).sum()
        for i in range(0, len(X), _BLOCK)
    )
    return 1 - captured / len(X)


def selection(report, quick):
    """Compare errors at equal landmarks, and the cost of choosing them."""
    sizes = (20, 50) if quick else (100, 500, 1000)
    seeds = range(1 if quick else 3)
    worst, gains = {}, {k: [] for k in sizes}
    for name, data in real_sets(np.float64, quick).items():
        rows = []
        for scale in _SCALES:
            gamma = scale / data.X.shape[1]
            for k in sizes:
                errors = {
                    method: np.mean(
                        [_selected(data.X, gamma, k, method, seed) for seed in seeds]
                    )
                    for method in ("uniform", "rpcholesky")
                }
                # Slow ones once, while they take seconds.
                errors |= {
                    method: _selected(data.X, gamma, k, method, 0) if k <= 100 else None
                    for method in ("greedy", "leverage", "kmeans")
                }
                single = data.X.astype(np.float32)
                runs = race(
                    {
                        "ours": partial(
                            NystroemKernel(gamma=gamma, n_components=k, random_state=0).fit,
                            single,
                        ),
                        "rbf_kernel": partial(rbf_kernel, single, single[:k], gamma=gamma),
                    },
                    rounds=rounds(quick, 3),
                    memory=False,
                )
                ratio = errors["uniform"] / errors["rpcholesky"]
                gains[k].append(ratio)
                worst[name, scale, k] = ratio
                rows.append(
                    {"gamma x features": scale, "k": k}
                    | errors
                    | {
                        "uniform / rpcholesky": ratio,
                        "select ms": 1e3 * runs["ours"].seconds,
                        "select / K_nm": runs["ours"].seconds / runs["rbf_kernel"].seconds,
                    }
                )
        report.note(f"{name}: {data.X.shape[0]} x {data.X.shape[1]}, relative trace error")
        report.table(rows)
    for k, ratios in gains.items():
        report.note(f"k={k}: uniform / rpcholesky, median over sets {median(ratios):.3g}")
    least = min(worst, key=worst.get)
    report.note(f"least of all: {worst[least]:.3g} at {least}")


def _selected(X, gamma, k, landmarks, seed):
    model = NystroemKernel(
        gamma=gamma, n_components=k, landmarks=landmarks, random_state=seed
    )
    return trace_error(model.fit(X), X)


def needed(report, quick):
    """Count the landmarks for a relative trace error of 1e-3 (quick: 0.1)."""
    tol = 0.1 if quick else 1e-3
    rows, ratios = [], []
    for name, data in real_sets(np.float64, quick).items():
        for scale in _SCALES:
            make = partial(
                NystroemKernel,
                gamma=scale / data.X.shape[1],
                n_components=4000,
                tol=tol,
                random_state=0,
            )
            k = {
                method: make(landmarks=method).fit(data.X).n_components_
                for method in ("rpcholesky", "uniform")
            }
            ratios.append(k["uniform"] / k["rpcholesky"])
            row = {"data": name, "gamma x features": scale} | k
            rows.append(row | {"uniform / rpcholesky": ratios[-1]})
    report.note(f"landmarks for a relative trace error of {tol}, at most 4000")
    report.table(rows)
    report.note(f"median of uniform / rpcholesky: {median(ratios):.3g}")


def transform(report, quick):
    """Compare the feature map on new rows."""
    n, d, k = (2000, 32, 50) if quick else (50_000, 32, 500)
    for dtype in (np.float32, np.float64):
        X = np.random.default_rng(0).standard_normal((n, d)).astype(dtype)
        gamma = 1 / d
        ours = NystroemKernel(gamma=gamma, n_components=k, random_state=0).fit(X)
        theirs = Nystroem(gamma=gamma, n_components=k, random_state=0).fit(X)
        runs = race(
            {
                "NystroemKernel": partial(ours.transform, X),
                "sklearn Nystroem": partial(theirs.transform, X),
                "pairwise_kernels alone": partial(
                    pairwise_kernels, X, theirs.components_, metric="rbf", gamma=gamma
                ),
            },
            rounds=rounds(quick),
        )
        report.note(f"{n} x {d}, k={k}, {X.dtype}; output {n * k * X.itemsize >> 20} MB")
        report.table(compare(runs, "NystroemKernel", {}))
        peak = gemm_peak(dtype, 512 if quick else 3072)
        # Distances, and a triangular product.
        flops = n * k * (2 * d + k)
        limit = flops / peak + n * k * _exp_seconds(dtype) / 2
        report.note(
            f"limit by products at {peak / 1e9:.0f} GFlop/s and exponentials in two "
            f"threads: {1e3 * limit:.3g} ms, ours / limit = "
            f"{runs['NystroemKernel'].seconds / limit:.2f}"
        )


def _exp_seconds(dtype):
    """Return the seconds of one exponential in one thread, in cache."""
    K = -np.random.default_rng(0).random((512, 512)).astype(dtype)
    out = np.empty_like(K)
    runs = race({"exp": lambda: np.exp(K, out=out)}, rounds=9, settle=0, memory=False)
    return runs["exp"].seconds / K.size


def _smooth(n, d, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d), np.float32)
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.standard_normal(n)
    return X.astype(dtype), y


def ridge(report, quick):
    """Compare regression on landmarks with Nystroem and Ridge, on real data."""
    name, k = ("diabetes", 50) if quick else ("uci_protein", 2000)
    data = real_sets(np.float32, quick).get(name)
    if data is None:
        report.note("uci_protein.npz is not in the folder BENCHMARK_DATA: 41000 rows made")
        X, y = _smooth(45_730, 9, np.float32)
        is_test = np.arange(len(X)) % 10 == 0
    else:
        X, y, is_test = data
    mean, deviation = y[~is_test].mean(), y[~is_test].std()
    y = (y - mean) / deviation
    train, test = X[~is_test], X[is_test]
    gamma, alpha = 0.5, 0.1

    def rmse(model):
        return float(np.sqrt(np.mean((model.predict(test) - y[is_test]) ** 2)))

    def pipeline(approximation):
        return make_pipeline(approximation, Ridge(alpha))

    ours = partial(NystroemRidge, alpha, gamma=gamma, n_landmarks=k, random_state=0)
    models = {
        "NystroemRidge": ours(),
        "NystroemRidge, uniform": ours(landmarks="uniform"),
        "NystroemRidge, cg": ours(solver="cg"),
        "Nystroem + Ridge": pipeline(Nystroem(gamma=gamma, n_components=k, random_state=0)),
        "RBFSampler + Ridge": pipeline(
            RBFSampler(gamma=gamma, n_components=k, random_state=0)
        ),
    }
    target = y[~is_test]
    runs = race(
        {label: partial(model.fit, train, target) for label, model in models.items()},
        rounds=rounds(quick, 3),
    )
    report.note(f"{train.shape[0]} x {train.shape[1]} {train.dtype}, m={k}, {alpha=}")
    report.table(compare(runs, "NystroemRidge", {"test RMSE": rmse}))


def million(report, quick):
    """Fit a million rows on 2000 landmarks, the kernel never stored."""
    n, d, k = (5000, 20, 50) if quick else (1_000_000, 20, 2000)
    X, y = _smooth(n, d, np.float32)
    gamma = 0.5 / d
    for solver in ("cg", "direct"):
        model = NystroemRidge(
            1e-3, gamma=gamma, n_landmarks=k, solver=solver, tol=1e-4, random_state=0
        )
        with MemoryWatch() as watch:
            runs = race({"fit": partial(model.fit, X, y)}, rounds=0, patience=0)
        report.note(
            f"{solver}: {runs['fit'].seconds:.3g} s, {model.n_iter_} iterations, "
            f"{watch.peak / MEGABYTE:.0f} MB beyond {X.nbytes / MEGABYTE:.0f} of data"
        )
    once = NystroemKernel(gamma=gamma, n_components=k, random_state=0).fit(X[: n // 50])
    one = NystroemRidge(gamma=gamma, landmarks=once.components_, solver="cg", max_iter=2)
    rows = race({"predict": partial(one.fit(X[:5000], y[:5000]).predict, X)}, rounds=1)
    peak = gemm_peak(np.float32, 512 if quick else 3072)
    limit = 2 * n * k * (d + 2) / peak
    report.note(
        f"evaluating the kernel once, as half of an iteration does: "
        f"{rows['predict'].seconds:.3g} s; its products at {peak / 1e9:.0f} GFlop/s take "
        f"{limit:.2g} s, its exponentials in two threads "
        f"{n * k * _exp_seconds(np.float32) / 2:.2g} s"
    )


def centers(report, quick):
    """Compare kernel ridge regression on all rows with the exact solution."""
    n, k = (500, 50) if quick else (10_000, 1000)
    X, y = _smooth(n, 5, np.float64)
    gamma, alpha = 0.1, 1e-1
    exact = KernelRidge(alpha=alpha, kernel="rbf", gamma=gamma).fit(X, y).predict(X[:1000])
    methods = {
        "NystroemRidge, all": NystroemRidge(
            alpha,
            gamma=gamma,
            exact=True,
            fit_intercept=False,
            n_landmarks=k,
            tol=1e-10,
            random_state=0,
        ),
        "KernelRidge": KernelRidge(alpha=alpha, kernel="rbf", gamma=gamma),
    }
    runs = race(
        {name: partial(model.fit, X, y) for name, model in methods.items()},
        rounds=rounds(quick, 3),
    )

    def difference(model):
        return float(np.abs(model.predict(X[:1000]) - exact).max() / np.abs(exact).max())

    report.note(f"{n} x 5, all rows as centres, {alpha=}, rank {k} preconditioner")
    columns = {
        "largest difference": difference,
        "iterations": lambda model: getattr(model, "n_iter_", None),
    }
    report.table(compare(runs, "NystroemRidge, all", columns))


def classification(report, quick):
    """Compare classifiers of equal numbers of features."""
    k = 50 if quick else 500
    sets = real_sets(np.float32, quick)
    names = ("digits",) if quick else ("letter", "pendigits", "digits")
    for name in names:
        if name not in sets:
            continue
        X, y, is_test = sets[name]
        gamma = 1 / X.shape[1]
        models = {
            "NystroemRidgeClassifier": NystroemRidgeClassifier(
                0.1, gamma=gamma, n_landmarks=k, random_state=0
            ),
            **{
                f"{type(features).__name__} + LogisticRegression": make_pipeline(
                    features, LogisticRegression(C=10.0, max_iter=300)
                )
                for features in (
                    NystroemKernel(gamma=gamma, n_components=k, random_state=0),
                    Nystroem(gamma=gamma, n_components=k, random_state=0),
                    RBFSampler(gamma=gamma, n_components=k, random_state=0),
                )
            },
        }
        train, classes = X[~is_test], y[~is_test]
        runs = race(
            {label: partial(model.fit, train, classes) for label, model in models.items()},
            rounds=rounds(quick, 1),
            memory=False,
        )

        def accuracy(model, test=X[is_test], true=y[is_test]):
            return model.score(test, true)

        report.note(f"{name}: {train.shape[0]} x {train.shape[1]}, {k} features")
        report.table(compare(runs, "NystroemRidgeClassifier", {"test accuracy": accuracy}))


def growth(report, quick):
    """Show how the cost grows with rows and with landmarks."""
    base = {"n": 1000, "m": 20} if quick else {"n": 62_500, "m": 250}
    for name in base:
        rows, before = [], None
        for factor in (1, 2) if quick else (1, 2, 4, 8, 16) if name == "n" else (1, 2, 4):
            size = base | {name: base[name] * factor}
            X, y = _smooth(size["n"], 20, np.float32)
            make = {"gamma": 0.025, "random_state": 0}
            model = NystroemKernel(n_components=size["m"], **make)
            fits = {
                "select": model.fit,
                "NystroemRidge": NystroemRidge(1e-3, n_landmarks=size["m"], **make).fit,
            }
            methods = {label: partial(fit, X, y) for label, fit in fits.items()}
            model.fit(X)
            methods["transform"] = partial(model.transform, X)
            runs = race(methods, rounds=rounds(quick, 3), patience=5.0, memory=False)
            times = {f"{label} ms": 1e3 * run.seconds for label, run in runs.items()}
            ratios = {
                f"{label} x": None
                if before is None
                else run.seconds / before[label].seconds
                for label, run in runs.items()
            }
            rows.append({name: size[name]} | times | ratios)
            before = runs
        report.note(", ".join(f"{key}={v}" for key, v in base.items() if key != name))
        report.table(rows)


def kernel_pca(report, quick):
    """Compare components of kernel features with those of the whole kernel matrix."""
    n, k, sizes = (400, 5, (50,)) if quick else (5000, 10, (100, 300, 1000))
    sets = {"digits": real_sets(np.float64, True)["digits"]}
    if not quick:
        found = real_sets(np.float64, quick)
        names = ("letter", "pendigits", "uci_keggdirected")
        sets |= {name: found[name] for name in names if name in found}
    for name, data in sets.items():
        X = data.X[:n]
        gamma = 1 / X.shape[1]
        K = KernelCenterer().fit_transform(rbf_kernel(X, gamma=gamma))
        ours = {f"recipe, m={m}": _kernel_pca(k, gamma, m) for m in sizes}
        ours[f"recipe, m={sizes[-1]}, gram"] = _kernel_pca(k, gamma, sizes[-1], "gram")
        uniform = {
            f"Nystroem + PCA, m={m}": make_pipeline(
                Nystroem(gamma=gamma, n_components=m, random_state=0),
                PCA(k, random_state=0),
            )
            for m in sizes
        }
        solvers = {
            f"KernelPCA, {solver}": KernelPCA(
                k, kernel="rbf", gamma=gamma, eigen_solver=solver, random_state=0
            )
            for solver in ("arpack", "randomized", "auto")
        }
        runs = race(
            {
                label: partial(model.fit_transform, X)
                for label, model in (ours | uniform | solvers).items()
            },
            rounds=rounds(quick, 3),
            patience=20.0,
        )
        exact = runs["KernelPCA, arpack"].result
        best, U = np.square(exact).sum(), np.linalg.qr(exact)[0]

        def lost(Z, K=K, best=best):
            Q = np.linalg.qr(Z)[0]
            return 1 - float(np.sum(Q * (K @ Q)) / best)

        def sine(Z, U=U):
            Q = np.linalg.qr(Z)[0]
            return float(np.linalg.norm(U - Q @ (Q.T @ U)) / np.sqrt(U.shape[1]))

        report.note(f"{name}: {X.shape[0]} x {X.shape[1]}, rbf, {k} components")
        columns = {"variance lost": lost, "rms sine": sine}
        report.table(compare(runs, f"recipe, m={sizes[len(sizes) // 2]}", columns))


def _kernel_pca(k, gamma, m, algorithm="auto"):
    return make_pipeline(
        NystroemKernel(gamma=gamma, n_components=m, random_state=0),
        RandomizedPCA(k, algorithm=algorithm, random_state=0),
    )


def kernel_pca_growth(report, quick):
    """Show how kernel PCA grows with the rows, where its matrix fits and where not."""
    k, m = (5, 20) if quick else (10, 500)
    most = 400 if quick else 10_000
    rows = []
    for n in (200, 400, 800) if quick else (2500, 5000, 10_000, 30_000, 100_000):
        X, _ = _smooth(n, 10, np.float32)
        methods = {"recipe": _kernel_pca(k, 0.1, m)}
        if n <= most:
            methods["KernelPCA"] = KernelPCA(
                k, kernel="rbf", gamma=0.1, eigen_solver="randomized", random_state=0
            )
        runs = race(
            {name: partial(model.fit, X) for name, model in methods.items()},
            rounds=rounds(quick, 3),
            patience=10.0,
        )
        row = {"n": n}
        for name in ("recipe", "KernelPCA"):
            run = runs.get(name)
            row[f"{name} ms"] = run and 1e3 * run.seconds
            row[f"{name} peak MB"] = run and run.peak and run.peak / MEGABYTE
        rows.append(row | {"K alone MB": n * n * X.itemsize / MEGABYTE})
    report.note(f"10 features, float32, {k} components, {m} landmarks")
    report.table(rows)


TASKS = {
    "selection": selection,
    "needed": needed,
    "transform": transform,
    "ridge": ridge,
    "million": million,
    "centers": centers,
    "classification": classification,
    "growth": growth,
    "kernel-pca": kernel_pca,
    "kernel-pca-growth": kernel_pca_growth,
}

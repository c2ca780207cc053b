"""Whether the errors that NystroemKernel states cover the true ones."""

from itertools import product

import numpy as np
from sklearn.metrics.pairwise import pairwise_kernels

from sklearn_rnla import NystroemKernel


def _outlier(n, rng):
    X = rng.standard_normal((n, 6))
    X[n // 2] *= 30
    return X


DATA = {
    "normal": lambda n, rng: rng.standard_normal((n, 6)),
    "one outlier": _outlier,
    "Student t, 2 degrees": lambda n, rng: rng.standard_t(2, (n, 6)),
    "lognormal rows": lambda n, rng: (
        rng.standard_normal((n, 6)) * np.exp(rng.standard_normal((n, 1)))
    ),
    "clusters": lambda n, rng: (
        5 * rng.standard_normal((9, 6))[rng.integers(0, 9, n)] + rng.standard_normal((n, 6))
    ),
}
KERNELS = {
    "rbf": {"gamma": 0.1},
    "laplacian": {"gamma": 0.1},
    "cosine": {},
    "polynomial": {"gamma": 0.1, "degree": 3, "coef0": 1},
    "sigmoid": {"gamma": 0.1, "coef0": 1},
}
LANDMARKS = ("rpcholesky", "greedy", "uniform", "kmeans")


def _ratio(X, kernel, landmarks, seed):
    """Return the true error over the one stated."""
    params = KERNELS[kernel]
    nystroem = NystroemKernel(
        kernel, **params, n_components=30, landmarks=landmarks, random_state=seed
    )
    Z = nystroem.fit_transform(X)
    K = pairwise_kernels(X, metric=kernel, **params)
    if kernel == "sigmoid":
        # Of no definite kernel, where a trace says nothing.
        error = np.linalg.norm(K - Z @ Z.T) / np.linalg.norm(K)
    else:
        error = 1 - np.sum(Z**2) / np.trace(K)
    # Rounding of the truth itself.
    return max(0.0, error - 1e-9) / max(nystroem.error_estimate_, 1e-9)


def kernel_coverage(report, quick):
    """Print shares of seeds whose estimate covers, by kernel and landmarks."""
    n, n_seeds = (600, 2) if quick else (3000, 20)
    report.note(f"{n} x 6, 30 landmarks, {n_seeds} seeds, {len(DATA)} kinds of data")
    rows = []
    for kernel, landmarks in product(KERNELS, LANDMARKS):
        ratios = np.array(
            [
                _ratio(make(n, np.random.default_rng(seed)), kernel, landmarks, seed)
                for make in DATA.values()
                for seed in range(n_seeds)
            ]
        )
        row = {"kernel": kernel, "landmarks": landmarks}
        row["covered"] = float(np.mean(ratios <= 1.05))
        row["error / estimate"] = float(np.median(ratios))
        rows.append(row | {"largest": float(ratios.max())})
    report.table(rows)
    report.note("covered: the true error is at most 5 % above the estimate, of the trace")
    report.note("from all rows, or from a sample of 2000 where landmarks saw no others")


TASKS = {"kernels": kernel_coverage}

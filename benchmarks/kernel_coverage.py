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


def _true_error(K, Z, kernel):
    """Return the relative error of features: of the trace, for a definite kernel."""
    if kernel == "sigmoid":
        return np.linalg.norm(K - Z @ Z.T) / np.linalg.norm(K)
    # Less rounding of the truth itself.
    return max(0.0, 1 - np.sum(Z**2) / np.trace(K) - 1e-9)


def kernel_coverage(report, quick):
    """Print shares of seeds whose estimate covers, by kernel and landmarks."""
    n, n_seeds = (600, 2) if quick else (3000, 20)
    report.note(f"{n} x 6, 30 landmarks, {n_seeds} seeds, {len(DATA)} kinds of data")
    ratios = {place: [] for place in product(KERNELS, LANDMARKS)}
    for make, (kernel, params) in product(DATA.values(), KERNELS.items()):
        X = make(n, np.random.default_rng(0))
        K = pairwise_kernels(X, metric=kernel, **params)
        for landmarks, seed in product(LANDMARKS, range(n_seeds)):
            nystroem = NystroemKernel(
                kernel, **params, n_components=30, landmarks=landmarks, random_state=seed
            )
            error = _true_error(K, nystroem.fit_transform(X), kernel)
            ratios[kernel, landmarks].append(error / max(nystroem.error_estimate_, 1e-9))
    report.table(
        [
            {
                "kernel": kernel,
                "landmarks": landmarks,
                "covered": float(np.mean(np.array(found) <= 1.05)),
                "error / estimate": float(np.median(found)),
                "largest": float(np.max(found)),
            }
            for (kernel, landmarks), found in ratios.items()
        ]
    )
    report.note("covered: the true error is at most 5 % above the estimate")


TASKS = {"kernels": kernel_coverage}

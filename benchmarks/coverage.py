"""Whether error estimates cover the true errors: spectra and coherent data, by seeds."""

from functools import partial
from itertools import product

import numpy as np
import scipy.sparse as sp

from sklearn_rnla import RandomizedPCA
from sklearn_rnla.linalg import randomized_svd

from . import completion_coverage, kernel_coverage
from .least_squares_coverage import least_squares_coverage

K, TOL = 8, 1e-3


def _index(n):
    return np.arange(1.0, n + 1)


SPECTRA = {
    "1 / i": lambda n: 1 / _index(n),
    "i^-1/2": lambda n: _index(n) ** -0.5,
    "0.8^i": lambda n: np.maximum(0.8 ** _index(n), 1e-5),
    "flat": lambda n: np.ones(n),
    "step": lambda n: np.where(_index(n) <= K, 1.0, 0.05),
    "rank 5 and noise": lambda n: np.where(_index(n) <= 5, 10.0, 0.5 * _index(n) ** -0.1),
    "one value 1e5": lambda n: np.where(_index(n) <= 1, 1e5, _index(n) ** -0.5),
}


def _with_spectrum(spectrum, m, n, rng):
    s = spectrum(min(m, n))
    Q = np.linalg.qr(rng.standard_normal((n, len(s))))[0]
    return (rng.standard_normal((m, len(s))) / np.sqrt(m) * s) @ Q.T


def _heavy_rows(sizes, m, n, rng):
    """Return noise, and few rows whose norms are multiples of its largest value."""
    A = rng.standard_normal((m, n)) / (np.sqrt(m) + np.sqrt(n))
    for i, size in zip(rng.choice(m, len(sizes), replace=False), sizes, strict=True):
        A[i] *= size / np.linalg.norm(A[i])
    return A


def _lone_entries(sizes, m, n, rng):
    """Return the same, of rows and columns that have no other entry."""
    A = rng.standard_normal((m, n)) / (np.sqrt(m) + np.sqrt(n))
    rows = rng.choice(m, len(sizes), replace=False)
    columns = rng.choice(n, len(sizes), replace=False)
    A[rows], A[:, columns] = 0, 0
    A[rows, columns] = sizes
    return A


def _heavy_columns(sizes, m, n, rng):
    """Return the same, of columns of 50 entries each."""
    A = rng.standard_normal((m, n)) / (np.sqrt(m) + np.sqrt(n))
    for j, size in enumerate(sizes):
        A[:, j] = 0
        A[rng.choice(m, 50, replace=False), j] = size * rng.standard_normal(50) / 50**0.5
    return A


def _power_rows(power, m, n, rng):
    return rng.standard_normal((m, n)) * rng.permutation(_index(m) ** -power)[:, np.newaxis]


def _power_columns(power, m, n, rng):
    return _power_rows(power, n, m, rng).T


def _lognormal(sigma, m, n, rng):
    return rng.standard_normal((m, n)) * np.exp(sigma * rng.standard_normal((m, 1)))


COHERENT = {
    "one row, 1000 times": partial(_lone_entries, [1000]),
    "rows, 2 to 5 times": partial(_lone_entries, [5, 4, 3, 2]),
    "rows of noise, 2 to 5 times": partial(_heavy_rows, [5, 4, 3, 2]),
    "rows, 2 to 1000 times": partial(_lone_entries, [1000, 100, 30, 10, 5, 3, 2]),
    "sparse columns, 2 to 5 times": partial(_heavy_columns, [5, 4, 3, 2]),
    "power-law rows, 1/2": partial(_power_rows, 0.5),
    "power-law rows, 1": partial(_power_rows, 1),
    "power-law rows, 2": partial(_power_rows, 2),
    "power-law columns, 1": partial(_power_columns, 1),
    "lognormal rows": partial(_lognormal, 1.5),
}


def _students(degrees, m, n, rng):
    return rng.standard_t(degrees, (m, n))


def _lognormal_entries(sigma, m, n, rng):
    return np.exp(sigma * rng.standard_normal((m, n)))


def _sparse_lognormal(density, m, n, rng):
    return _lognormal_entries(1.5, m, n, rng) * (rng.random((m, n)) < density)


def _counts(m, n, rng):
    """Return counts of words: 20 topics, documents of unequal length, Zipf's law."""
    words = rng.dirichlet(0.1 + 5 / _index(n), 20)
    lengths = np.exp(4 + rng.standard_normal((m, 1)))
    return rng.poisson(lengths * (rng.dirichlet(np.full(20, 0.2), m) @ words)).astype(float)


def _genotypes(m, n, rng):
    frequencies = rng.beta(0.5, 2, (4, n))[rng.integers(0, 4, m)]
    return rng.binomial(2, frequencies).astype(float)


def _units(m, n, rng):
    """Return columns of units that span six orders of magnitude."""
    return rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-3, 3, n)


def _walks(m, n, rng):
    return np.cumsum(rng.standard_normal((m, n)), axis=1)


def _blocks(m, n, rng):
    """Return clusters of unequal size about centres that are far apart."""
    centres = 3 * rng.standard_normal((30, n)) / n**0.5
    sizes = rng.dirichlet(np.full(30, 0.3))
    return centres[rng.choice(30, m, p=sizes)] + rng.standard_normal((m, n)) / n**0.5


# Data that no constant of the package was chosen on.
OTHERS = {
    "i^-1/4": partial(_with_spectrum, lambda n: _index(n) ** -0.25),
    "line": partial(_with_spectrum, lambda n: 1.2 - _index(n) / n),
    "semicircle": partial(_with_spectrum, lambda n: np.sqrt(1.01 - (_index(n) / n) ** 2)),
    "exp(-i^1/2)": partial(_with_spectrum, lambda n: np.exp(-np.sqrt(_index(n)))),
    "Student t, 3 degrees": partial(_students, 3),
    "Cauchy": partial(_students, 1),
    "lognormal entries": partial(_lognormal_entries, 1.5),
    "lognormal entries, heavy": partial(_lognormal_entries, 3),
    "sparse lognormal": partial(_sparse_lognormal, 0.02),
    "lognormal rows, heavy": partial(_lognormal, 3),
    "counts of words": _counts,
    "genotypes": _genotypes,
    "mixed units": _units,
    "random walks": _walks,
    "clusters": _blocks,
    "one row, 1e9 times": partial(_heavy_rows, [1e9]),
    "one column, 1e4 times": partial(_heavy_columns, [1e4]),
}


def kinds():
    """Return names, and functions of (m, n, rng) that make a matrix."""
    spectra = {name: partial(_with_spectrum, s) for name, s in SPECTRA.items()}
    return spectra | COHERENT | OTHERS


class TrueExcess:
    """The excess error of rows V over the best rank, in float64."""

    def __init__(self, A, center):
        self.A = A.astype(np.float64)
        self.A -= self.A.mean(axis=0) * center
        self.best = np.sum(np.linalg.svd(self.A, compute_uv=False)[K:] ** 2)

    def __call__(self, V):
        # Their span, whatever rounding their dtype has left of orthonormality.
        Q = np.linalg.qr(V.T.astype(np.float64))[0]
        rest = np.sum((self.A - (self.A @ Q) @ Q.T) ** 2)
        return float(np.sqrt(rest / self.best) - 1)


def _pca(X, seed):
    pca = RandomizedPCA(K, algorithm="krylov", tol=TOL, random_state=seed).fit(X)
    return pca.components_, pca.error_estimate_, pca.n_passes_


def _svd(X, seed):
    svd = randomized_svd(X, K, algorithm="krylov", tol=TOL, random_state=seed)
    return svd.Vt, svd.error_estimate, svd.n_passes


DTYPES = ("float64", "float32")
CONTAINERS = {"dense": np.asarray, "sparse": sp.csr_array}
METHODS = {"RandomizedPCA": (_pca, True), "randomized_svd": (_svd, False)}


def coverage(report, quick):
    """Print shares of seeds whose estimate covers, or whose result is within tol."""
    m, n, n_seeds = (600, 150, 3) if quick else (2000, 300, 20)
    report.note(f"{m} x {n}, {K} components, tol={TOL}, {n_seeds} seeds")
    rows = []
    for name, make in kinds().items():
        A = make(m, n, np.random.default_rng(0))
        for dtype, container in product(DTYPES, CONTAINERS):
            X = CONTAINERS[container](A.astype(dtype))
            for method, (solve, center) in METHODS.items():
                error = TrueExcess(A.astype(dtype), center)
                found = [solve(X, seed) for seed in range(n_seeds)]
                excess = [error(V) for V, _, _ in found]
                what = {"data": name, "dtype": dtype, "container": container}
                what["method"] = method
                rows.append(what | _summary(excess, *list(zip(*found, strict=True))[1:]))
    report.table(rows)
    least = {key: min(row[key] for row in rows) for key in ("covered", "within tol")}
    report.note(f"Least share of seeds: {least}")


def _summary(excess, estimates, n_passes):
    excess, estimates = np.array(excess), np.array(estimates)
    # Rounding of the truth itself.
    floor = 1e-6
    ratios = excess / estimates
    return {
        "covered": float(np.mean(excess <= np.maximum(estimates, floor))),
        "within tol": float(np.mean(excess <= TOL)),
        "excess / estimate": float(np.median(ratios)),
        "largest": float(ratios.max()),
        "passes": float(np.mean(n_passes)),
    }


TASKS = {
    "coverage": coverage,
    "least_squares": least_squares_coverage,
    **completion_coverage.TASKS,
    **kernel_coverage.TASKS,
}

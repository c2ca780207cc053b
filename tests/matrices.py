"""A gallery of matrices with known singular values."""

import numpy as np


def with_spectrum(s, m, n, seed=0, dtype=np.float64):
    """Return an m x n matrix with singular values `s` and random singular vectors."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((m, len(s))))[0]
    V = np.linalg.qr(rng.standard_normal((n, len(s))))[0]
    return ((U * s) @ V.T).astype(dtype)


def _index(n):
    return np.arange(1, n + 1, dtype=float)


SPECTRA = {
    "harmonic": lambda n: 1 / _index(n),
    "square root": lambda n: _index(n) ** -0.5,
    "exponential": lambda n: 0.8 ** _index(n),
    "flat": lambda n: np.ones(n),
    "step": lambda n: np.where(_index(n) <= 10, 1.0, 0.05),
    "low rank and noise": lambda n: np.where(_index(n) <= 5, 10.0, 0.5 * _index(n) ** -0.1),
}


def gallery(m, n, dtype=np.float64, seed=0):
    """Yield names and matrices."""
    for name, spectrum in SPECTRA.items():
        yield name, with_spectrum(spectrum(min(m, n)), m, n, seed, dtype)


def deep(m, n, digits=10, seed=0):
    """Return a matrix whose n singular values fall over `digits` orders, and those."""
    s = 10.0 ** (-digits * np.arange(n) / (n - 1))
    return with_spectrum(s, m, n, seed), s


def coherent(m, n, seed=0):
    """Return a matrix most of whose variance lies in a few rows."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) * 0.1
    A[rng.choice(m, 5, replace=False)] *= 300
    return A


def psd_with_spectrum(s, n, seed=0, dtype=np.float64):
    """Return an n x n symmetric matrix with eigenvalues `s` and random eigenvectors."""
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((n, len(s))))[0]
    A = (V * s) @ V.T
    return ((A + A.T) / 2).astype(dtype)

"""Data with known spectra, made here."""

import numpy as np
import scipy.sparse as sp


def with_spectrum(m, n, s, dtype, seed=0):
    """Return a matrix with singular values `s` and random singular vectors."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((m, len(s))))[0]
    V = np.linalg.qr(rng.standard_normal((n, len(s))))[0]
    return ((U * s) @ V.T).astype(dtype)


def documents(m, n, nnz_per_row=50, n_topics=100, seed=0):
    """Return a CSR matrix with power-law columns, half of each row from its topic."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, n + 1) ** 0.8
    cumulative = np.cumsum(popularity / popularity.sum())
    columns = np.searchsorted(cumulative, rng.random((m, nnz_per_row))).clip(max=n - 1)
    words = rng.integers(n, size=(n_topics, 300))
    topic = rng.integers(n_topics, size=m)
    half = nnz_per_row // 2
    columns[:, :half] = words[topic[:, None], rng.integers(300, size=(m, half))]
    values = rng.random(columns.size, dtype=np.float32) + np.float32(0.5)
    starts = np.arange(0, columns.size + 1, nnz_per_row)
    X = sp.csr_array((values, columns.ravel(), starts), shape=(m, n))
    X.sum_duplicates()
    return X


def file_of_rows(path, m, n, seed=0, block=20_000):
    """Write an m x n float32 file with spectrum 1/sqrt(i), block by block."""
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((n, n)))[0].astype(np.float32)
    V *= (np.arange(1, n + 1) ** -0.5).astype(np.float32)[:, None]
    file = np.memmap(path, dtype=np.float32, mode="w+", shape=(m, n))
    for start in range(0, m, block):
        rows = min(block, m - start)
        file[start : start + rows] = rng.standard_normal((rows, n), np.float32) @ V
    file.flush()
    del file
    return np.memmap(path, dtype=np.float32, mode="r", shape=(m, n))

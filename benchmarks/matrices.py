"""Data with known spectra, made here."""

import numpy as np
import scipy.linalg
import scipy.sparse as sp

_BLOCK = 20_000


def power_law(n, exponent):
    """Return the spectrum ``s_i = i ** -exponent``."""
    return np.arange(1.0, n + 1) ** -exponent


def with_spectrum(m, n, s, dtype, seed=0):
    """Return a matrix that, centred, has singular values `s` and random singular vectors.

    Its mean, as a matrix, has norm ``s[0]``. Needs m well above ``len(s)``: the left
    vectors are Gaussian ones, centred, made orthonormal by Cholesky-QR.
    """
    rng = np.random.default_rng(seed)
    G = rng.standard_normal((m, len(s)))
    G -= G.mean(axis=0)
    V = np.linalg.qr(rng.standard_normal((n, len(s))))[0]
    R = scipy.linalg.cholesky(G.T @ G)
    T = scipy.linalg.solve_triangular(R, (V * s).T)
    mean = rng.standard_normal(n)
    mean *= s[0] / np.sqrt(m) / np.linalg.norm(mean)
    A = np.empty((m, n), dtype)
    for start in range(0, m, _BLOCK):
        rows = slice(start, start + _BLOCK)
        A[rows] = G[rows] @ T + mean
    return A


def documents(m, n, nnz_per_row=50, n_topics=100, seed=0):
    """Return a float32 CSR matrix of power-law columns, half of a row from its topic."""
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(power_law(n, 0.8))
    cumulative /= cumulative[-1]
    words = rng.integers(n, size=(n_topics, 300))
    topic = rng.integers(n_topics, size=m)
    # Twice as many as wanted, by turns from both: some come twice.
    drawn = np.empty((m, 2 * nnz_per_row), np.int32)
    drawn[:, ::2] = np.searchsorted(cumulative, rng.random((m, nnz_per_row))).clip(
        max=n - 1
    )
    drawn[:, 1::2] = words[topic[:, None], rng.integers(300, size=(m, nnz_per_row))]
    order = np.argsort(drawn, axis=1, kind="stable")
    in_order = np.take_along_axis(drawn, order, axis=1)
    repeated = np.zeros(drawn.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], np.diff(in_order, axis=1) == 0, axis=1)
    first = ~repeated
    kept = first & (np.cumsum(first, axis=1) <= nnz_per_row)
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    values = rng.random(starts[-1], dtype=np.float32) + np.float32(0.5)
    X = sp.csr_array((values, drawn[kept], starts.astype(np.int32)), shape=(m, n))
    X.sort_indices()
    return X


def file_of_rows(path, m, n, seed=0):
    """Write m rows of float32, their covariance of spectrum 1/i, block by block.

    Returns
    -------
    memmap of shape (m, n)
        Open for reading.
    """
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((n, n)))[0]
    T = (V * power_law(n, 0.5)).T.astype(np.float32)
    mean = (rng.standard_normal(n) / np.sqrt(n)).astype(np.float32)
    with open(path, "wb") as file:
        for start in range(0, m, _BLOCK):
            rows = rng.standard_normal((min(_BLOCK, m - start), n), np.float32) @ T
            rows += mean
            rows.tofile(file)
    return np.memmap(path, dtype=np.float32, mode="r", shape=(m, n))

"""Facts to assert."""

import numpy as np


def assert_orthonormal_rows(V, slack=50):
    V64 = V.astype(np.float64)
    error = np.abs(V64 @ V64.T - np.eye(len(V))).max(initial=0)
    assert error <= slack * np.finfo(V.dtype).eps, error


def assert_decreasing(s):
    assert np.all(np.diff(s) <= 0)
    assert np.all(s >= 0)


def assert_close_to_scale(actual, desired, dtype, slack=100):
    """Assert closeness relative to the largest entry, in units of rounding."""
    actual, desired = np.asarray(actual, float), np.asarray(desired, float)
    assert actual.shape == desired.shape
    scale = np.abs(desired).max(initial=np.finfo(float).tiny)
    error = np.abs(actual - desired).max(initial=0) / scale
    assert error <= slack * np.finfo(dtype).eps, error


def assert_adjoint(S, dtype=np.float64, seed=0):
    """Assert <S x, y> = <x, S^T y>."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((S.shape[1], 1)), rng.standard_normal((S.shape[0], 1))
    x, y = x.astype(dtype), y.astype(dtype)
    left, right = float(((S @ x).T @ y)[0, 0]), float((x.T @ (S.T @ y))[0, 0])
    scale = np.linalg.norm(x) * np.linalg.norm(y)
    assert abs(left - right) <= 100 * np.finfo(dtype).eps * scale


def excess(A, V, k, center):
    """Return the excess Frobenius error of the rows of V over the best rank k."""
    A = np.asarray(A, dtype=np.float64)
    A = A - A.mean(axis=0) if center else A
    squared = np.linalg.svd(A, compute_uv=False) ** 2
    best = squared[k:].sum()
    V = V.astype(np.float64)
    error = np.linalg.norm(A - (A @ V.T) @ V) ** 2
    return np.sqrt(error / best) - 1

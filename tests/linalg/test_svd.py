"""Truncated singular value decompositions, in several passes and in one."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.linalg import (
    one_view_svd,
    projection_error,
    randomized_svd,
)
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows, excess
from tests.matrices import gallery, with_spectrum


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(600, 80), (80, 600)])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.csc_matrix])
def test_svd_factors_are_orthonormal_and_near_the_best(dtype, shape, make, seed):
    for name, A in gallery(*shape, dtype, seed):
        s = np.linalg.svd(A.astype(float), compute_uv=False)
        result = randomized_svd(make(A), 6, random_state=seed)
        assert result.U.dtype == result.Vt.dtype == result.singular_values.dtype == dtype
        assert_orthonormal_rows(result.U.T)
        assert_orthonormal_rows(result.Vt)
        error = np.linalg.norm(A - (result.U * result.singular_values) @ result.Vt)
        best = np.sqrt(np.sum(s[6:] ** 2))
        assert error <= (1 + 2e-3) * best + 10 * np.finfo(dtype).eps * s[0], name


@pytest.mark.parametrize("rank", [0, 1])
def test_svd_beyond_the_rank_completes_the_bases(rank):
    A = rank * np.outer(np.arange(1.0, 21), np.ones(10))
    U, s, Vt = randomized_svd(A, 4, random_state=0)[:3]
    assert_orthonormal_rows(U.T)
    assert_orthonormal_rows(Vt)
    assert np.all(s[rank:] <= 1e-13 * max(s[0], 1))


def test_svd_of_a_dask_array_leaves_the_left_vectors_there(seed):
    A = with_spectrum(1 / np.arange(1.0, 31), 900, 30, seed)
    U, s, Vt = randomized_svd(da.from_array(A, chunks=(200, 30)), 5, random_state=seed)[:3]
    assert isinstance(U, da.Array)
    assert_orthonormal_rows(U.compute().T)
    assert_close_to_scale(U.compute() * s, A @ Vt.T, np.float64)


def test_one_view_svd_recovers_exactly_low_rank_matrices(seed):
    s = np.array([5.0, 4.0, 3.0])
    A = with_spectrum(s, 400, 50, seed)
    blocks = [
        A,
        sp.csr_array(A),
        iter(np.array_split(A, 9)),
        da.from_array(A, chunks=(70, 50)),
    ]
    for X in blocks:
        result = one_view_svd(X, 3, random_state=seed)
        np.testing.assert_allclose(result.singular_values, s, rtol=1e-9)
        assert projection_error(A, result.components).relative <= 1e-7
        assert_orthonormal_rows(result.components)


NAN = np.full((4, 4), np.nan)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: randomized_svd(np.eye(3), 4), "n_components=4 must be at most"),
        (lambda: randomized_svd(np.eye(3), 0), "'n_components' parameter"),
        (lambda: randomized_svd(np.eye(3), 1, algorithm="x"), "'algorithm' parameter"),
        (lambda: randomized_svd(NAN, 1), "NaN"),
        (lambda: randomized_svd(iter([np.eye(3)]), 1), "use one_view_svd"),
        (lambda: randomized_svd([["a", "b"]], 1), "convert string"),
        (lambda: one_view_svd(np.eye(3), 4), "n_components=4"),
    ],
)
def test_errors_come_before_any_work(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def dominated(first, n=900, seed=0):
    """Return a matrix of one huge singular value, all others from 0.7 down, and these."""
    rng = np.random.default_rng(seed)
    U, V = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    s = np.arange(1, n + 1) ** -0.5
    s[0] = first
    return (U * s) @ V, s


@pytest.mark.parametrize("first", [1e5, 1e6, 1e7])
@pytest.mark.parametrize("algorithm", ["auto", "krylov"])
def test_one_huge_direction_hides_no_error(first, algorithm):
    A, s = dominated(first)
    found = randomized_svd(A, 12, algorithm=algorithm, random_state=0)
    captured = np.linalg.norm(A @ found.Vt[1:].T) ** 2
    tail = np.sum(s[12:] ** 2)
    excess = (np.sum(s[1:12] ** 2) - captured) / (2 * tail)
    assert excess <= 2 * found.error_estimate + 1e-3 * (algorithm == "auto")
    if algorithm == "auto":
        np.testing.assert_allclose(found.singular_values[:6], s[:6], rtol=1e-3)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_right_vectors_are_rounded_once(make, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((500, 60)).astype(np.float32) / 30
    A[7] *= 1e9 / np.linalg.norm(A[7])
    found = randomized_svd(make(A), 8, algorithm="krylov", random_state=seed)
    V = np.linalg.qr(found.Vt.T.astype(np.float64))[0].T
    assert excess(A.astype(np.float64), V, 8, False) <= found.error_estimate
    assert found.U.dtype == found.Vt.dtype == np.float32


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float64, 1e-200), (np.float64, 1e200), (np.float32, 1e-25), (np.float32, 1e25)],
)
@pytest.mark.parametrize("shape", [(60, 40), (700, 600)])
def test_any_scale_of_a_dense_matrix(shape, dtype, scale):
    rng = np.random.default_rng(0)
    A = rng.standard_normal(shape).astype(dtype)
    expected = randomized_svd(A, 4, random_state=0)
    found = randomized_svd(A * dtype(scale), 4, random_state=0)
    s = found.singular_values.astype(np.float64) / scale
    np.testing.assert_allclose(s, expected.singular_values, rtol=1e-3)
    assert found.error_estimate == pytest.approx(expected.error_estimate, rel=0.5, abs=1e-6)


@pytest.mark.parametrize("algorithm", ["auto", "krylov"])
@pytest.mark.parametrize("shape", [(900, 900), (1500, 400)])
def test_a_rank_that_is_exactly_that_asked_for_leaves_no_error(shape, algorithm):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((shape[0], 12)) @ rng.standard_normal((12, shape[1]))
    found = randomized_svd(A, 12, algorithm=algorithm, random_state=0)
    assert found.error_estimate <= 1e-12
    product = (found.U * found.singular_values) @ found.Vt
    np.testing.assert_allclose(product, A, rtol=0, atol=1e-10)

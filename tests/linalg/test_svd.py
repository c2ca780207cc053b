"""The public functions."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from sklearn_rnla.linalg import (
    one_view_svd,
    projection_error,
    randomized_eigh,
    randomized_svd,
    range_finder,
)
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows
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


@pytest.mark.parametrize("which", ["magnitude", "algebraic"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, aslinearoperator])
def test_eigenvalues_are_within_the_residuals(which, make, seed):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((120, 120)))[0]
    values = np.concatenate([[10, -9, 7, 5, -4], 0.5 * rng.standard_normal(115)])
    A = (Q * values) @ Q.T
    A = (A + A.T) / 2
    expected = np.sort(values)[::-1] if which == "algebraic" else values
    result = randomized_eigh(make(A), 3, which=which, random_state=seed)
    X = result.eigenvectors
    assert_orthonormal_rows(X.T)
    np.testing.assert_allclose(
        np.linalg.norm(A @ X - X * result.eigenvalues, axis=0),
        result.residual_norms,
        atol=1e-10,
    )
    assert result.residual_norms.max() <= 1e-4 * np.abs(result.eigenvalues).max()
    np.testing.assert_allclose(result.eigenvalues, expected[:3], atol=1e-3)


@pytest.mark.parametrize(("k", "p"), [(5, 5), (10, 5), (10, 10)])
def test_range_finder_meets_the_expected_errors_of_halko_et_al(k, p):
    # Theorems 10.5 and 10.6, tested on the mean over seeds: their bounds are on the mean,
    # which that of 30 draws exceeds by three standard errors with probability 1e-3 at most.
    A = next(A for name, A in gallery(200, 100) if name == "harmonic")
    s = np.linalg.svd(A, compute_uv=False)
    tail = np.sqrt(np.sum(s[k:] ** 2))
    frobenius, spectral = [], []
    for seed in range(30):
        Q = range_finder(A, k + p, random_state=seed).Q
        rest = A - Q @ (Q.T @ A)
        frobenius.append(np.linalg.norm(rest))
        spectral.append(np.linalg.norm(rest, 2))
    bound = np.sqrt(1 + k / (p - 1)) * tail
    assert np.mean(frobenius) <= bound
    bound = (1 + np.sqrt(k / (p - 1))) * s[k] + np.e * np.sqrt(k + p) / p * tail
    assert np.mean(spectral) <= bound


@pytest.mark.parametrize("sketch", ["gaussian", "sparse_sign", "srtt"])
def test_range_finder_knows_its_error(sketch):
    A = with_spectrum(0.9 ** np.arange(80.0), 300, 80)
    ratios = []
    for seed in range(20):
        Q, frobenius, bound = range_finder(
            A, 20, sketch=sketch, n_power_iterations=1, random_state=seed
        )
        assert_orthonormal_rows(Q.T)
        rest = A - Q @ (Q.T @ A)
        assert np.linalg.norm(rest, 2) <= bound
        ratios.append(frobenius**2 / np.linalg.norm(rest) ** 2)
    # Mean one, relative variance 2 / n_probes at most: five standard errors over 20 seeds.
    assert abs(np.mean(ratios) - 1) <= 5 * np.sqrt(2 / 10 / 20)


def test_projection_error_is_the_norm_of_the_rest(seed):
    A = np.random.default_rng(seed).standard_normal((100, 12))
    V = np.linalg.svd(A)[2][:4]
    expected = np.linalg.norm(A - A @ V.T @ V)
    for X in (A, sp.csr_array(A), iter([A[:3], A[3:]])):
        result = projection_error(X, V)
        assert result.frobenius == pytest.approx(expected)
        assert result.relative == pytest.approx(expected / np.linalg.norm(A))


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
        (lambda: randomized_eigh(np.ones((2, 3)), 1), "must be square"),
        (lambda: randomized_eigh(np.triu(np.ones((3, 3))), 1), "must be symmetric"),
        (lambda: randomized_eigh(NAN, 1), "NaN"),
        (lambda: randomized_eigh(aslinearoperator(NAN), 1), "NaN or infinity"),
        (lambda: range_finder(np.eye(3), 4), "size=4 must be at most"),
        (lambda: range_finder(np.eye(3), 2, sketch="x"), "'sketch' parameter"),
        (lambda: projection_error(np.eye(3), np.eye(2)), "must have the 3 columns"),
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

"""Eigenpairs and leverage scores of positive semidefinite matrices."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from sklearn_rnla.linalg import (
    nystroem_eigh,
    randomized_eigh,
    ridge_leverage_scores,
    rpcholesky,
)
from sklearn_rnla.linalg.nystroem.landmarks import recursive_leverage_sample
from sklearn_rnla.operators.kernels import Kernel
from sklearn_rnla.operators.psd_matrix import KernelMatrix, as_psd_matrix
from tests.invariants import (
    assert_close_to_scale,
    assert_decreasing,
    assert_orthonormal_rows,
)
from tests.matrices import SPECTRA, psd_with_spectrum
from tests.sources import WithDiagonal

N = 150
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
METHODS = pytest.mark.parametrize("method", ["gaussian", "columns"])


def harmonic(seed, dtype=np.float64):
    return psd_with_spectrum(1 / np.arange(1.0, N + 1), N, seed, dtype)


@DTYPES
@METHODS
def test_eigenvalues_never_exceed_the_truth(method, dtype, seed):
    for name, spectrum in SPECTRA.items():
        A = psd_with_spectrum(spectrum(N), N, seed, dtype)
        truth = np.linalg.eigvalsh(A.astype(float))[::-1]
        values, vectors, error = nystroem_eigh(A, 12, method=method, random_state=seed)
        assert values.dtype == vectors.dtype == dtype
        assert values.shape == (12,)
        assert_decreasing(values)
        assert_orthonormal_rows(vectors.T)
        assert np.all(values <= truth[:12] + 100 * np.finfo(dtype).eps * truth[0]), name
        assert error == pytest.approx(1 - values.sum() / truth.sum(), abs=1e-5)


@DTYPES
@METHODS
def test_what_is_left_of_the_matrix_is_semidefinite(method, dtype, seed):
    for name, spectrum in SPECTRA.items():
        A = psd_with_spectrum(spectrum(N), N, seed, dtype)
        values, U, _ = nystroem_eigh(A, 12, method=method, random_state=seed)
        left = A.astype(float) - (U.astype(float) * values) @ U.T.astype(float)
        lowest = np.linalg.eigvalsh(left)[0]
        assert lowest >= -N * np.finfo(dtype).eps * np.linalg.norm(A, 2), name


@DTYPES
@METHODS
def test_it_is_exact_at_full_width(method, dtype, seed):
    A = harmonic(seed, dtype)
    values, U, error = nystroem_eigh(
        A, N, method=method, n_oversamples=0, random_state=seed
    )
    assert_close_to_scale(values, np.linalg.eigvalsh(A.astype(float))[::-1], dtype)
    assert_close_to_scale((U * values) @ U.T, A, dtype)
    assert error <= N * np.finfo(dtype).eps


@DTYPES
@METHODS
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_it_is_exact_on_low_rank(method, scale, dtype, seed):
    s = scale * np.array([5.0, 4.0, 3.0])
    A = psd_with_spectrum(s, N, seed, dtype)
    values, U, error = nystroem_eigh(A, 3, method=method, random_state=seed)
    assert_close_to_scale(values, s, dtype)
    assert_close_to_scale((U * values) @ U.T, A, dtype)
    assert error <= 100 * np.finfo(dtype).eps


@METHODS
@pytest.mark.parametrize("rank", [0, 3])
def test_beyond_the_rank_values_are_zero_and_vectors_orthonormal(method, rank):
    A = psd_with_spectrum(np.ones(rank), N)
    values, U, error = nystroem_eigh(A, 8, method=method, random_state=0)
    assert values.shape == (8,)
    assert np.all(values[rank:] <= 100 * np.finfo(float).eps)
    assert_orthonormal_rows(U.T)
    assert error <= 100 * np.finfo(float).eps


def test_the_expected_error_of_a_gaussian_sketch_is_within_the_theorem():
    # Tropp, Yurtsever, Udell & Cevher (2017), theorem 4.1: the expected trace error with
    # l columns is at most 1 + r / (l - r - 1) times that of the best rank r, here for
    # r = k = l - 5, and truncating to rank k adds the latter once more. The mean over 40
    # seeds exceeds the expectation by three standard errors with probability 1e-3.
    k, p = 10, 5
    for name, spectrum in SPECTRA.items():
        s = spectrum(N)
        A = psd_with_spectrum(s, N)
        best = s[k:].sum() / s.sum()
        errors = [
            nystroem_eigh(
                A, k, method="gaussian", n_oversamples=p, random_state=seed
            ).error_estimate
            for seed in range(40)
        ]
        excess = 3 * np.std(errors) / np.sqrt(40)
        assert np.mean(errors) <= (2 + k / (p - 1)) * best + excess, name


INPUTS = {
    "fortran": np.asfortranarray,
    "csr_array": sp.csr_array,
    "csc_matrix": sp.csc_matrix,
    "operator": WithDiagonal,
    "rows": as_psd_matrix,
}


@DTYPES
@METHODS
@pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS)
def test_every_kind_of_matrix_gives_the_same_eigenvalues(make, method, dtype, seed):
    A = harmonic(seed, dtype)
    if method == "gaussian" and make is as_psd_matrix:
        make = aslinearoperator
    expected = nystroem_eigh(A, 6, method=method, random_state=seed)
    result = nystroem_eigh(make(A), 6, method=method, random_state=seed)
    assert result.eigenvectors.dtype == dtype
    assert_close_to_scale(result.eigenvalues, expected.eigenvalues, dtype)
    assert_close_to_scale(result.eigenvectors, expected.eigenvectors, dtype, 1e4)


@DTYPES
@METHODS
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_a_kernel_matrix_has_the_eigenvalues_of_its_values(make, method, dtype, seed):
    X = np.random.default_rng(seed).standard_normal((N, 40)).astype(dtype)
    kernel = Kernel("rbf", {"gamma": 0.02})
    A = KernelMatrix(kernel, make(X))
    result = nystroem_eigh(A, 6, method=method, random_state=seed)
    dense = kernel(X, X).astype(dtype)
    expected = nystroem_eigh(dense, 6, method=method, random_state=seed)
    assert_close_to_scale(result.eigenvalues, expected.eigenvalues, dtype, 1e3)
    auto = nystroem_eigh(A, 6, random_state=seed)
    columns = nystroem_eigh(A, 6, method="columns", random_state=seed)
    np.testing.assert_array_equal(auto.eigenvalues, columns.eigenvalues)


def test_an_operator_without_a_diagonal_has_its_trace_estimated():
    # 32 Rademacher probes: variance of the trace at most 2 |A|_F^2 / 32 each.
    A = harmonic(0)
    values = np.linalg.eigvalsh(A)
    errors = [
        nystroem_eigh(aslinearoperator(A), 6, random_state=seed) for seed in range(20)
    ]
    exact = [nystroem_eigh(A, 6, random_state=seed) for seed in range(20)]
    trace = [
        result.eigenvalues.sum() / (1 - result.error_estimate) / values.sum()
        for result in errors
    ]
    deviation = np.linalg.norm(values) / values.sum() * np.sqrt(2 / 32)
    assert np.abs(np.array(trace) - 1).max() <= 5 * deviation
    assert np.std(trace) > 0
    for ours, theirs in zip(errors, exact, strict=True):
        assert_close_to_scale(ours.eigenvalues, theirs.eigenvalues, float)


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, WithDiagonal])
def test_leverage_scores_are_those_of_the_dense_matrix(make, alpha, seed):
    for name, spectrum in SPECTRA.items():
        A = psd_with_spectrum(spectrum(N), N, seed)
        expected = np.diagonal(A @ np.linalg.inv(A + alpha * np.eye(N)))
        scores = ridge_leverage_scores(make(A), alpha, random_state=seed)
        np.testing.assert_allclose(scores, expected, rtol=1e-8, err_msg=name)
        values = np.linalg.eigvalsh(A)
        assert scores.sum() == pytest.approx(np.sum(values / (values + alpha)))


@DTYPES
def test_leverage_scores_of_a_kernel_of_low_rank_are_exact(dtype, seed):
    X = np.random.default_rng(seed).standard_normal((N, 7)).astype(dtype)
    A = KernelMatrix(Kernel("linear"), X)
    left = np.linalg.inv(X.T.astype(float) @ X + 0.5 * np.eye(7))
    expected = np.einsum("ij,jk,ik->i", X, left, X)
    scores = ridge_leverage_scores(A, 0.5, random_state=seed)
    # A rounding of A moves scores by its ratio to the ridge.
    slack = 100 * np.sum(X**2, axis=1).max() / 0.5
    assert_close_to_scale(scores, expected, dtype, slack)


def test_few_pivots_give_scores_between_zero_and_one(seed):
    A = harmonic(seed)
    exact = ridge_leverage_scores(A, 0.01, random_state=seed)
    errors = []
    for k in (5, 40, N):
        scores = ridge_leverage_scores(A, 0.01, n_components=k, random_state=seed)
        assert scores.min() >= 0
        assert scores.max() <= 1
        errors.append(np.abs(scores - exact).max())
    assert errors[0] > errors[1] > errors[2]


def test_scores_of_a_diagonal_matrix_are_exact_from_any_pivots(seed):
    d = np.random.default_rng(seed).random(N)
    for k in (1, 20, None):
        scores = ridge_leverage_scores(np.diag(d), 0.3, n_components=k, random_state=seed)
        np.testing.assert_allclose(scores, d / (d + 0.3))


def test_recursive_sampling_prefers_rows_of_high_leverage():
    # Rows 0 to 9 span what nobody else does. With the ridge of rank 3, about 3, their
    # leverage is 1 / 4, and that of each of the 490 in a plane 2 / 490: a race of
    # exponentials for 40 places leaves out each of the ten with probability 0.02, and
    # more than four with 1e-6. Drawn uniformly, one of the ten is expected.
    rng = np.random.default_rng(0)
    X = np.zeros((500, 12))
    X[10:, :2] = rng.standard_normal((490, 2))
    X[:10, 2:] = np.eye(10)
    A = KernelMatrix(Kernel("linear"), X)
    for seed in range(20):
        sample = recursive_leverage_sample(A, 40, np.random.default_rng(seed))
        assert len(set(sample.tolist())) == 40
        assert np.count_nonzero(sample < 10) >= 6


def test_a_zero_matrix_has_zero_eigenvalues_and_scores():
    A = np.zeros((20, 20))
    assert not ridge_leverage_scores(A, 1.0, random_state=0).any()
    assert not nystroem_eigh(A, 3, random_state=0).eigenvalues.any()
    assert nystroem_eigh(A, 3, random_state=0).error_estimate == 0


def test_a_seed_decides_everything():
    A = harmonic(0)
    for method in ("gaussian", "columns"):
        first, same, other = (
            nystroem_eigh(A, 5, method=method, random_state=s).eigenvectors
            for s in (3, np.int64(3), 4)
        )
        np.testing.assert_array_equal(first, same)
        assert not np.array_equal(first, other)


NAN = np.full((4, 4), np.nan)
WIDE = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nystroem_eigh(np.eye(3), 4), ValueError, "n_components=4 must be at most"),
        (lambda: nystroem_eigh(np.eye(3), 0), ValueError, "'n_components' parameter"),
        (lambda: nystroem_eigh(np.eye(3), 1, method="x"), ValueError, "'method' parameter"),
        (lambda: nystroem_eigh(WIDE, 1), ValueError, "must be square"),
        (lambda: nystroem_eigh(WIDE, 1, method="columns"), ValueError, "must be square"),
        (lambda: nystroem_eigh(-np.eye(3), 1), ValueError, "not positive semidefinite"),
        (
            lambda: nystroem_eigh(-np.eye(3), 1, method="columns"),
            ValueError,
            "not positive semidefinite",
        ),
        (lambda: nystroem_eigh(NAN, 1), ValueError, "NaN"),
        (lambda: nystroem_eigh(aslinearoperator(NAN), 1), ValueError, "NaN"),
        (lambda: nystroem_eigh(NAN, 1, method="columns"), ValueError, "NaN"),
        (lambda: nystroem_eigh(np.ones(3), 1), ValueError, "Expected 2D"),
        (
            lambda: nystroem_eigh(aslinearoperator(np.eye(3)), 1, method="columns"),
            TypeError,
            "lacks diagonal",
        ),
        (lambda: ridge_leverage_scores(np.eye(3), 0), ValueError, "'alpha' parameter"),
        (lambda: ridge_leverage_scores(WIDE, 1), ValueError, "must be square"),
        (lambda: ridge_leverage_scores(NAN, 1), ValueError, "NaN or infinity"),
        (
            lambda: ridge_leverage_scores(aslinearoperator(np.eye(3)), 1),
            TypeError,
            "lacks diagonal",
        ),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("scale", [1e-250, 1e-170, 1e160, 1e250])
def test_eigenvalues_of_any_unit(scale):
    A = psd_with_spectrum(0.5 ** np.arange(60), 60)
    expected = nystroem_eigh(A, 5, method="gaussian", random_state=0)
    found = nystroem_eigh(A * scale, 5, method="gaussian", random_state=0)
    values = found.eigenvalues / scale
    np.testing.assert_allclose(values, expected.eigenvalues, rtol=1e-10)


DRIVERS = {
    "nystroem_eigh": lambda A: nystroem_eigh(A, 3, random_state=0).eigenvalues,
    "columns": lambda A: nystroem_eigh(A, 3, method="columns", random_state=0).eigenvalues,
    "rpcholesky": lambda A: rpcholesky(A, 3, random_state=0).factor,
    "leverage": lambda A: ridge_leverage_scores(A, 0.1, random_state=0),
    "randomized_eigh": lambda A: randomized_eigh(A, 3, random_state=0).eigenvalues,
}


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
@pytest.mark.parametrize(
    "make",
    [pd.DataFrame, np.ndarray.tolist, sp.coo_array, lambda A: A.astype(object)],
    ids=["frame", "list", "coo", "objects"],
)
def test_whatever_holds_numbers_is_a_matrix(driver, make):
    A = harmonic(0)
    np.testing.assert_allclose(driver(make(A)), driver(A), rtol=1e-12, atol=1e-12)


class Complex(LinearOperator):
    """Has a diagonal, and says nothing of its dtype or another one than it has."""

    def __init__(self, A, dtype):
        super().__init__(dtype, A.shape)
        self.A, self.dtype = A, dtype

    def _matmat(self, V):
        return self.A @ V

    def diagonal(self):
        return self.A.diagonal().real


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        sp.csr_array,
        lambda A: Complex(A, A.dtype),
        lambda A: Complex(A, None),
        lambda A: Complex(A, np.dtype(float)),
    ],
    ids=["array", "sparse", "operator", "no dtype", "another dtype"],
)
def test_complex_matrices_are_refused(driver, make):
    with pytest.raises(ValueError, match="Complex data not supported"):
        driver(make(harmonic(0) + 1j * np.eye(N)))


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
def test_masked_matrices_are_refused(driver):
    with pytest.raises(ValueError, match="masked"):
        driver(np.ma.masked_array(harmonic(0), np.eye(N)))


def test_no_threads_at_all_are_refused():
    for call in (rpcholesky, partial(nystroem_eigh, method="columns")):
        with pytest.raises(ValueError, match="n_jobs=0 has no meaning"):
            call(harmonic(0), 3, n_jobs=0)

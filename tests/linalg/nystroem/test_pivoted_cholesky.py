"""Partial Cholesky factors, by each rule of choosing pivots."""

from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator
from scipy.stats import chi2
from sklearn.metrics.pairwise import rbf_kernel

from sklearn_rnla.linalg import rpcholesky
from sklearn_rnla.linalg.nystroem.pivoted_cholesky import (
    ElectedPivots,
    GivenPivots,
    GreedyPivots,
    NotPositiveSemidefiniteError,
    RandomPivots,
    complete_cholesky,
    pivoted_cholesky,
)
from sklearn_rnla.operators import threads
from sklearn_rnla.operators.kernels import Kernel
from sklearn_rnla.operators.psd_matrix import KernelMatrix, as_psd_matrix
from tests.invariants import assert_close_to_scale
from tests.matrices import SPECTRA, psd_with_spectrum
from tests.sources import WithDiagonal

N = 160
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
RULES = {
    "random": lambda seed: RandomPivots(np.random.default_rng(seed)),
    "elected": lambda seed: ElectedPivots(np.random.default_rng(seed)),
    "greedy": lambda seed: GreedyPivots(),
    "given": lambda seed: GivenPivots(np.random.default_rng(seed).permutation(N)),
}
EACH_RULE = pytest.mark.parametrize("rule", RULES)


def factored(A, k, rule, seed, **options):
    return pivoted_cholesky(as_psd_matrix(A), k, lambda: RULES[rule](seed), **options)


def residual(A, F):
    F = F.astype(float)
    return A.astype(float) - F @ F.T


def rounding(A, F, pivots):
    """Return a bound on the rounding of what is left of A (Higham 2002, section 10.3).

    It grows with the squared norm of the matrix that takes the columns of the pivots to
    all columns.
    """
    growth = 1 + np.linalg.norm(F @ np.linalg.inv(F[pivots].astype(float)), 2) ** 2
    return 40 * np.finfo(F.dtype).eps * growth * A.max()


@DTYPES
@EACH_RULE
def test_factors_are_triangular_and_reproduce_the_columns_of_their_pivots(
    rule, dtype, seed
):
    for name, spectrum in SPECTRA.items():
        A = psd_with_spectrum(spectrum(N), N, seed, dtype)
        F, pivots, _, _ = factored(A, 30, rule, seed)
        assert F.dtype == dtype
        assert F.shape == (N, 30)
        assert len(set(pivots.tolist())) == 30
        # An entry above the diagonal is what is left of an entry of A, divided by the
        # root of a pivot.
        L = F[pivots].astype(float)
        scale = 20 * np.finfo(dtype).eps * A.max()
        assert np.abs(np.triu(L, 1)).max() <= scale / np.diagonal(L).min(), name
        assert np.all(np.diagonal(L) > 0)
        assert np.abs(residual(A, F)[:, pivots]).max() <= scale, name


@DTYPES
@EACH_RULE
@pytest.mark.parametrize("k", [1, 40, N])
def test_the_residual_is_semidefinite_and_its_diagonal_known(rule, k, dtype, seed):
    for name, spectrum in SPECTRA.items():
        A = psd_with_spectrum(spectrum(N), N, seed, dtype)
        F, pivots, left, error = factored(A, k, rule, seed)
        R = residual(A, F)
        eps = np.finfo(dtype).eps
        assert np.linalg.eigvalsh(R)[0] >= -rounding(A, F, pivots), name
        assert left.dtype == np.float64
        assert left.min() >= 0
        assert not left[pivots].any()
        assert np.abs(left - np.diagonal(R)).max() <= 20 * eps * A.max(), name
        trace = np.trace(A.astype(float))
        assert error == pytest.approx(left.sum() / trace, rel=1e-12)
        assert abs(error - np.trace(R) / trace) <= 20 * eps


@EACH_RULE
def test_as_many_pivots_as_rows_leave_nothing(rule, seed):
    A = psd_with_spectrum(1 / np.arange(1.0, N + 1), N, seed)
    for k in (N, 10 * N):
        F, pivots, _, error = factored(A, k, rule, seed)
        assert sorted(pivots.tolist()) == list(range(N))
        assert_close_to_scale(F @ F.T, A, np.float64)
        assert error == 0


# A given order can be so bad that rounding grows beyond the floor of the pivots.
@DTYPES
@pytest.mark.parametrize("rule", ["random", "elected", "greedy"])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_it_stops_at_the_rank(rule, dtype, scale, seed):
    rows = scale**0.5 * np.random.default_rng(seed).standard_normal((N, 30))
    matrices = [
        (rank, psd_with_spectrum(scale * np.linspace(2, 1, rank), N, seed, dtype))
        for rank in (1, 3, 8)
    ]
    matrices += [
        (rank, KernelMatrix(Kernel("linear"), rows[:, :rank].astype(dtype)))
        for rank in (1, 8, 30)
    ]
    for rank, A in matrices:
        F, pivots, _, error = factored(A, 100, rule, seed)
        assert F.shape == (N, rank)
        assert error <= rounding(np.ones(1), F, pivots)


@DTYPES
@EACH_RULE
def test_it_stops_at_the_numerical_rank_of_a_smooth_kernel(rule, dtype, seed):
    X = np.random.default_rng(seed).random((N, 2)).astype(dtype)
    kernel = Kernel("rbf", {"gamma": 0.1})
    F, pivots, _, error = factored(KernelMatrix(kernel, X), N, rule, seed)
    assert len(pivots) <= (12 if dtype == np.float32 else 40)
    # Each entry of the diagonal left is below the smallest pivot taken.
    assert error <= 1e3 * np.finfo(dtype).eps
    lowest = np.linalg.eigvalsh(residual(kernel(X, X), F))[0]
    assert lowest >= -rounding(np.ones(1), F, pivots)


@pytest.mark.parametrize("rule", ["random", "elected", "greedy"])
def test_no_seed_loses_the_digits_of_a_smooth_kernel(rule):
    X = np.random.default_rng(0).random((N, 2))
    kernel = Kernel("rbf", {"gamma": 0.1})
    A, exact = KernelMatrix(kernel, X), kernel(X, X)
    errors = [
        np.abs(residual(exact, factored(A, N, rule, seed).factor)).max()
        for seed in range(40)
    ]
    # The smallest pivot is 1e3 eps; 1e3 more is for the growth of rounding.
    assert max(errors) <= 1e6 * np.finfo(float).eps


@DTYPES
@EACH_RULE
@pytest.mark.parametrize("tol", [0.3, 1e-2, 1e-3])
def test_a_tolerance_is_met_with_the_fewest_pivots(rule, tol, dtype, seed):
    for name, spectrum in SPECTRA.items():
        A = psd_with_spectrum(spectrum(N), N, seed, dtype)
        F, _, _, error = factored(A, N, rule, seed, tol=tol)
        trace = np.trace(A.astype(float))
        slack = 20 * np.finfo(dtype).eps
        assert error <= tol
        assert np.trace(residual(A, F)) / trace <= tol + slack, name
        assert np.trace(residual(A, F[:, :-1])) / trace > tol - slack, name


@pytest.mark.parametrize("power", [-100, 100])
@EACH_RULE
def test_a_scale_changes_only_the_scale(rule, power, seed):
    A = psd_with_spectrum(1 / np.arange(1.0, N + 1), N, seed)
    plain = factored(A, 30, rule, seed)
    scaled = factored(4.0**power * A, 30, rule, seed)
    np.testing.assert_array_equal(scaled.pivots, plain.pivots)
    np.testing.assert_array_equal(scaled.factor, 2.0**power * plain.factor)
    assert scaled.relative_error == plain.relative_error


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("r", [2, 10])
def test_the_expected_error_is_within_the_theorem(name, r):
    # Chen, Epperly, Tropp & Webber (2022), theorem 2.3 with epsilon = 1, tested on the
    # mean over seeds: the theorem bounds the expectation, which the mean of 40 draws
    # exceeds by three standard errors with probability 1e-3 at most.
    s = SPECTRA[name](N)
    A = psd_with_spectrum(s, N)
    best = s[r:].sum() / s.sum()
    k = int(np.ceil(r + r * np.log(1 / best)))
    errors = [rpcholesky(A, k, random_state=seed).relative_error for seed in range(40)]
    standard_error = np.std(errors) / np.sqrt(len(errors))
    assert np.mean(errors) <= 2 * best + 3 * standard_error


def test_the_first_pivots_are_distributed_as_the_algorithm_says():
    # Two pivots of one block of proposals, against the law of pivots drawn one by one.
    # The statistic exceeds its bound with probability 1e-6.
    A = psd_with_spectrum([5.0, 3.0, 1.0, 0.2], 4, seed=1)
    first = A.diagonal() / np.trace(A)
    law = {}
    for i, j in permutations(range(4), 2):
        left = A.diagonal() - A[:, i] ** 2 / A[i, i]
        law[i, j] = first[i] * left[j] / (left.sum() - left[i])
    assert sum(law.values()) == pytest.approx(1)
    n_draws = 4000
    rng = np.random.default_rng(0)
    drawn = [tuple(rpcholesky(A, 2, random_state=rng).pivots) for _ in range(n_draws)]
    expected = n_draws * np.array(list(law.values()))
    counted = np.array([drawn.count(pair) for pair in law])
    assert expected.min() > 5
    assert counted.sum() == n_draws
    statistic = np.sum((counted - expected) ** 2 / expected)
    assert statistic <= chi2.isf(1e-6, df=len(law) - 1)


def test_a_row_of_zeros_is_no_pivot(seed):
    A = psd_with_spectrum(np.ones(20), 20, seed)
    A[::2] = A[:, ::2] = 0
    pivots = rpcholesky(A, 20, random_state=seed).pivots
    assert sorted(pivots.tolist()) == list(range(1, 20, 2))


def test_greedy_pivots_are_the_largest_within_a_factor_of_two(seed):
    scale = np.exp(np.random.default_rng(seed).standard_normal(N))
    for spectrum in SPECTRA.values():
        A = psd_with_spectrum(spectrum(N), N, seed) * np.outer(scale, scale)
        F, pivots, _, _ = factored(A, 80, "greedy", seed)
        left = A.diagonal().copy()
        assert left[pivots[0]] == left.max()
        for column, pivot in zip(F.T, pivots, strict=True):
            assert left[pivot] >= 0.5 * left.max() * (1 - 1e-12)
            left -= column**2


def test_given_pivots_come_in_order_but_for_those_that_depend_on_others(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, 50))
    X[10] = X[20] + X[30]
    A = X @ X.T
    given = [20, 5, 5, 30, 10, 20, 7]
    F, pivots, _, _ = pivoted_cholesky(as_psd_matrix(A), 7, lambda: GivenPivots(given))
    assert pivots.tolist() == [20, 5, 30, 7]
    L = np.linalg.cholesky(A[np.ix_(pivots, pivots)])
    assert_close_to_scale(np.tril(F[pivots]), L, np.float64, 1e3)


def test_a_report_can_stop_it():
    A = psd_with_spectrum(1 / np.arange(1.0, N + 1), N)
    answers = iter([False, False, True])
    full = rpcholesky(A, N, random_state=0)
    F, pivots, _, error = factored(A, N, "random", 0, report=lambda: next(answers))
    assert next(answers, None) is None
    assert 0 < len(pivots) < N
    assert error == pytest.approx(np.trace(residual(A, F)) / np.trace(A))
    assert len(full.pivots) == N


INPUTS = {
    "fortran": np.asfortranarray,
    "csr_array": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "csc_array": sp.csc_array,
    "coo_array": sp.coo_array,
    "operator": WithDiagonal,
    "rows": as_psd_matrix,
}


@DTYPES
@pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS)
def test_every_kind_of_matrix_gives_the_same_factor(make, dtype, seed):
    A = psd_with_spectrum(1 / np.arange(1.0, N + 1), N, seed, dtype)
    expected = rpcholesky(A, 30, random_state=seed)
    result = rpcholesky(make(A), 30, random_state=seed)
    np.testing.assert_array_equal(result.pivots, expected.pivots)
    assert result.factor.dtype == dtype
    assert_close_to_scale(result.factor, expected.factor, dtype)


def test_a_memmap_is_read_like_a_matrix(tmp_path):
    A = psd_with_spectrum(1 / np.arange(1.0, N + 1), N)
    file = np.memmap(tmp_path / "A.bin", dtype=A.dtype, mode="w+", shape=A.shape)
    file[:] = A
    expected = rpcholesky(A, 30, random_state=0)
    np.testing.assert_array_equal(rpcholesky(file, 30, random_state=0)[0], expected[0])


@pytest.mark.parametrize("metric", ["rbf", "laplacian", "linear"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_a_kernel_matrix_is_factored_like_its_values(metric, make, seed):
    X = np.random.default_rng(seed).standard_normal((N, 40))
    kernel = Kernel(metric, {"gamma": 0.02})
    expected = rpcholesky(kernel(X, X), 30, random_state=seed)
    result = rpcholesky(KernelMatrix(kernel, make(X)), 30, random_state=seed)
    np.testing.assert_array_equal(result.pivots, expected.pivots)
    assert_close_to_scale(result.factor, expected.factor, np.float64, 1e4)


@pytest.mark.parametrize("metric", ["rbf", "laplacian"])
def test_tiles_and_threads_change_nothing_but_rounding(metric, monkeypatch, seed):
    X = np.random.default_rng(seed).standard_normal((N, 8))
    results = []
    for size, n_jobs in ((2**21, None), (1, None), (1, 2)):
        monkeypatch.setattr(threads, "TILE_BYTES", size)
        A = KernelMatrix(Kernel(metric), X, n_jobs)
        results.append(rpcholesky(A, 40, random_state=seed))
    for other in results[1:]:
        np.testing.assert_array_equal(other.pivots, results[0].pivots)
        assert_close_to_scale(other.factor, results[0].factor, np.float64, 1e4)


@pytest.mark.parametrize("dtype", [int, bool, np.uint8])
def test_integers_are_factored_in_double(dtype):
    A = np.eye(5, dtype=dtype)
    assert rpcholesky(A, 3, random_state=0).factor.dtype == np.float64


def test_a_seed_decides_everything():
    A = psd_with_spectrum(1 / np.arange(1.0, N + 1), N)

    def pivots(random_state):
        return rpcholesky(A, 20, random_state=random_state).pivots.tolist()

    for make in (int, np.random.RandomState, np.random.default_rng):
        assert pivots(make(3)) == pivots(make(3))
        assert pivots(make(3)) != pivots(make(4))
    pivots(None)


@DTYPES
@EACH_RULE
def test_a_zero_matrix_has_no_pivots(rule, dtype):
    for A in (np.zeros((N, N), dtype), sp.csr_array((N, N), dtype=dtype)):
        F, pivots, left, error = factored(A, 3, rule, 0)
        assert F.shape == (N, 0)
        assert len(pivots) == error == 0
        assert not left.any()


def test_one_entry_is_its_own_factor():
    F, pivots, left, error = rpcholesky(np.array([[4.0]]), 3, random_state=0)
    assert (F.tolist(), pivots.tolist(), left.tolist(), error) == ([[2]], [0], [0], 0)


def broken(i, j, value):
    A = np.eye(5)
    A[i, j] = A[j, i] = value
    return A


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rpcholesky(np.ones((2, 3)), 1), ValueError, "must be square"),
        (lambda: rpcholesky(np.eye(3), 0), ValueError, "'n_components' parameter"),
        (lambda: rpcholesky(np.eye(3), 1, tol=1), ValueError, "'tol' parameter"),
        (lambda: rpcholesky(np.eye(3), 1, tol=-1), ValueError, "'tol' parameter"),
        (lambda: rpcholesky(broken(1, 1, np.nan), 1), ValueError, "NaN or infinity"),
        (lambda: rpcholesky(broken(1, 1, np.inf), 1), ValueError, "NaN or infinity"),
        (lambda: rpcholesky(aslinearoperator(np.eye(3)), 1), TypeError, "lacks diagonal"),
        (lambda: rpcholesky(np.ones(3), 1), ValueError, "Expected 2D"),
        (lambda: rpcholesky(np.eye(3), 1, random_state="x"), ValueError, "random_state"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_off_the_diagonal_that_are_not_finite_are_found_when_read(value):
    A = broken(1, 2, value)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        rpcholesky(A, 5, random_state=0)


@EACH_RULE
def test_entries_that_are_nan_are_refused_and_no_search_goes_on(rule):
    A = np.eye(N)
    A[: N // 2, N // 2 :] = np.nan
    A[N // 2 :, : N // 2] = np.nan
    with pytest.raises(ValueError, match="A contains NaN"):
        factored(A, 50, rule, 0)


@DTYPES
def test_a_complete_factor_takes_the_independent_rows_and_reproduces_the_matrix(dtype):
    X = np.random.default_rng(0).standard_normal((N, 5)).astype(dtype)
    X[N // 2 :] = X[: N // 2]
    K = rbf_kernel(X, gamma=0.3).astype(dtype)
    found = complete_cholesky(as_psd_matrix(K))
    assert len(np.unique(X[found.pivots], axis=0)) == len(found.pivots)
    assert found.factor.dtype == dtype
    assert_close_to_scale(found.factor @ found.factor.T, K, dtype)
    assert np.array_equal(
        np.triu(found.factor[found.pivots], 1), np.zeros(2 * found.factor.shape[1:])
    )
    assert found.relative_error <= 100 * np.finfo(dtype).eps


@pytest.mark.parametrize("tol", [1e-1, 1e-3])
def test_a_complete_factor_ends_at_its_tolerance(tol):
    K = psd_with_spectrum(1 / np.arange(1, N + 1.0) ** 2, N)
    found = complete_cholesky(as_psd_matrix(K), tol=tol)
    left = K - found.factor @ found.factor.T
    assert found.relative_error == pytest.approx(np.trace(left) / np.trace(K))
    assert found.relative_error <= tol
    # One pivot fewer does not reach it.
    shorter = found.factor[:, :-1]
    assert np.trace(K - shorter @ shorter.T) > tol * np.trace(K)


def test_a_complete_factor_of_an_indefinite_or_undefined_matrix_is_refused():
    K = np.diag(np.r_[np.ones(9), -1.0])
    with pytest.raises(NotPositiveSemidefiniteError, match="negative"):
        complete_cholesky(as_psd_matrix(K))
    K[0, 1] = K[1, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        complete_cholesky(as_psd_matrix(K))
    assert len(complete_cholesky(as_psd_matrix(np.zeros((3, 3)))).pivots) == 0

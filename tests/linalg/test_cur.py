"""CUR and interpolative decompositions against dense least squares."""

import dask.array as da
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from scipy.linalg.interpolative import interp_decomp

from sklearn_rnla.linalg import column_subset, cur, interpolative
from sklearn_rnla.linalg.columns.rows import row_weights
from sklearn_rnla.linalg.columns.select import METHODS
from sklearn_rnla.operators import CenteredMatrix, as_row_matrix
from tests.invariants import assert_close_to_scale
from tests.matrices import coherent, gallery, with_spectrum
from tests.sources import Lazy, on_disk, sparse_chunks

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EACH_METHOD = pytest.mark.parametrize("method", METHODS)
OF = pytest.mark.parametrize("of", ["columns", "rows", "both"])
TALL = with_spectrum(1 / np.arange(1.0, 81), 500, 80)
SPARSE = TALL * (np.abs(TALL) > 0.002)


def dense(A):
    A = A.compute() if isinstance(A, da.Array) else A
    A = A.toarray() if sp.issparse(A) else A
    return np.asarray(A, dtype=float)


def relative_error(A, approximation):
    return np.linalg.norm(dense(A) - approximation) / np.linalg.norm(dense(A))


def product(result):
    return dense(result.C) @ dense(result.U) @ dense(result.R)


def assembled(A, result):
    """Return the approximation that an interpolation stands for."""
    rows, columns, X, Z, _ = result
    kept = dense(A)
    kept = kept if rows is None else kept[rows]
    kept = kept if columns is None else kept[:, columns]
    kept = kept if X is None else dense(X) @ kept
    return kept if Z is None else kept @ dense(Z)


@EACH_METHOD
@pytest.mark.parametrize("n_rows", [None, 3, 6, 11])
def test_factors_are_columns_and_rows_and_the_best_matrix_between(method, n_rows, seed):
    for name, A in gallery(300, 50, seed=seed):
        result = cur(A, 6, n_rows, method=method, random_state=seed)
        J, I, C, U, R, error = result
        assert J.shape == (6,)
        assert I.shape == (n_rows or 6,)
        assert len(set(J.tolist())) == len(J)
        assert len(set(I.tolist())) == len(I)
        np.testing.assert_array_equal(C, A[:, J])
        np.testing.assert_array_equal(R, A[I])
        best = np.linalg.pinv(C) @ A @ np.linalg.pinv(R)
        rounding = 1e-14 * np.linalg.cond(C) * np.linalg.cond(R)
        np.testing.assert_allclose(U, best, atol=rounding * np.abs(best).max())
        # The gradient of the squared error.
        gradient = C.T @ (A - C @ U @ R) @ R.T
        size = np.linalg.norm(C) ** 2 * np.linalg.norm(U) * np.linalg.norm(R) ** 2
        assert np.abs(gradient).max() <= 1e-11 * size, name
        assert error == pytest.approx(relative_error(A, C @ U @ R), abs=1e-6), name


def test_the_middle_is_never_worse_than_the_inverse_of_the_crossing(seed):
    for _, A in gallery(200, 40, seed=seed):
        J, I, C, _, R, error = cur(A, 8, random_state=seed)
        crossing = C @ np.linalg.pinv(A[np.ix_(I, J)]) @ R
        assert error <= relative_error(A, crossing) + 1e-7


def test_the_error_is_between_that_of_the_columns_and_the_sum_of_both(seed):
    # ||A - C C+ A R+ R||^2 = ||A - C C+ A||^2 + ||C C+ (A - A R+ R)||^2.
    for A in (coherent(200, 40, seed), TALL):
        J, I, C, _, R, error = cur(A, 8, 12, random_state=seed)
        of_columns = relative_error(A, C @ np.linalg.lstsq(C, A, rcond=None)[0])
        of_rows = relative_error(A.T, R.T @ np.linalg.lstsq(R.T, A.T, rcond=None)[0])
        assert of_columns - 1e-7 <= error <= np.hypot(of_columns, of_rows) + 1e-7
        subset = column_subset(A, 8, sketch_size=8 * 12 + 10, random_state=seed)
        np.testing.assert_array_equal(subset.indices, J)
        assert len(I) == 12


def test_rows_are_pivots_of_the_basis_of_the_columns(seed):
    A = with_spectrum(0.7 ** np.arange(40), 60, 40, seed)
    J, I, *_ = cur(A, 9, random_state=seed)
    P = scipy.linalg.lu(A[:, J])[0]
    np.testing.assert_array_equal(I, P.argmax(axis=0)[:9])


@DTYPES
@EACH_METHOD
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_it_is_exact_at_full_rank(method, make, dtype, seed):
    A = with_spectrum(np.array([3.0, 2.0, 1.5, 1.0]), 120, 30, seed, dtype)
    result = cur(make(A), 4, method=method, random_state=seed)
    slack = 100 * np.linalg.cond(dense(result.C)) * np.linalg.cond(dense(result.R))
    assert_close_to_scale(product(result), A, dtype, slack)
    assert result.error_estimate <= 10 * np.sqrt(np.finfo(dtype).eps)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (25, 20), (20, 25)])
def test_beyond_the_rank_there_are_no_columns_and_rows(make, shape):
    A = with_spectrum(np.array([3.0, 2.0, 1.0]), *shape)
    for c, r in ((5, 5), (5, 2), (2, 5), (5, None)):
        result = cur(make(A), c, r, random_state=0)
        assert result.U.shape == (min(c, 3), min(r or c, 3))
        if min(result.U.shape) == 3:
            assert relative_error(A, product(result)) <= 1e-12


@pytest.mark.parametrize("method", ["cpqr", "greedy"])
@pytest.mark.parametrize("tol", [0.5, 0.1])
def test_a_tolerance_is_met_by_the_columns(method, tol, seed):
    A = with_spectrum(0.8 ** np.arange(30), 200, 30, seed)
    result = cur(A, tol=tol, method=method, random_state=seed)
    J, I = result[:2]
    assert len(I) == len(J)
    C = A[:, J]
    assert relative_error(A, C @ np.linalg.lstsq(C, A, rcond=None)[0]) <= tol
    share = cur(A, 1 - tol**2, method=method, random_state=seed)
    np.testing.assert_array_equal(share.column_indices, J)


def test_exchanged_columns_have_a_smaller_error_on_average():
    # As the sketches are larger too; the mean of ten.
    errors = {
        refine: [
            cur(TALL, 5, 40, refine=refine, random_state=seed).error_estimate
            for seed in range(10)
        ]
        for refine in (None, "swap")
    }
    assert np.mean(errors["swap"]) <= np.mean(errors[None])


@pytest.mark.parametrize("n_rows", [2, 8, 15])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_weights_of_rows_solve_the_non_negative_problem(n_rows, make, seed):
    A = coherent(150, 12, seed) if n_rows == 8 else TALL[:, :20]
    R = A[np.random.default_rng(seed).choice(len(A), n_rows, replace=False)]
    w = row_weights(CenteredMatrix(as_row_matrix(make(A)), center=False), make(R))
    assert w.shape == (n_rows,)
    assert w.min() >= 0
    # Karush, Kuhn & Tucker: no weight can grow at a gain, none that is positive shrink.
    H, g = (R @ R.T) ** 2, np.sum((A @ R.T) ** 2, axis=0)
    slope = (H @ w - g) / g
    assert slope.min() >= -1e-8
    assert np.abs(slope[w > 0]).max(initial=0) <= 1e-8


def test_weights_of_all_rows_restore_the_gram_matrix():
    A = np.random.default_rng(0).standard_normal((6, 9))
    w = row_weights(CenteredMatrix(as_row_matrix(A), center=False), A)
    np.testing.assert_allclose(w, 1, rtol=1e-10)
    # A row that stands for three copies of itself, and one of zero for nothing.
    rows = np.concatenate([A, A[:2], A[:2], np.zeros((1, 9))])
    chosen = np.concatenate([A, np.zeros((1, 9))])
    w = row_weights(CenteredMatrix(as_row_matrix(rows), center=False), chosen)
    np.testing.assert_allclose(w, [3, 3, 1, 1, 1, 1, 0], atol=1e-10)


SOURCES = {
    "list": lambda A, _: A.tolist(),
    "fortran": lambda A, _: np.asfortranarray(A),
    "csr_matrix": lambda A, _: sp.csr_matrix(A),
    "csr_array": lambda A, _: sp.csr_array(A),
    "csc_array": lambda A, _: sp.csc_array(A),
    "memmap": on_disk,
    "lazy": lambda A, _: Lazy(A),
    "dask": lambda A, _: da.from_array(A, chunks=(170, 50)),
    "dask sparse": lambda A, _: sparse_chunks(A, 170),
}
EACH_SOURCE = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)


@EACH_SOURCE
@pytest.mark.parametrize("n_rows", [4, 8])
def test_every_source_gives_the_same_decomposition(make, n_rows, tmp_path):
    expected = cur(SPARSE, 5, n_rows, random_state=3)
    A = make(SPARSE, tmp_path)
    result = cur(A, 5, n_rows, random_state=3)
    np.testing.assert_array_equal(result.column_indices, expected.column_indices)
    np.testing.assert_array_equal(dense(result.C), SPARSE[:, result.column_indices])
    np.testing.assert_array_equal(dense(result.R), SPARSE[result.row_indices])
    assert result.error_estimate == pytest.approx(relative_error(SPARSE, product(result)))
    if not isinstance(A, da.Array):
        # Other blocks may choose other rows.
        np.testing.assert_array_equal(result.row_indices, expected.row_indices)
        assert_close_to_scale(product(result), product(expected), float, 1e4)
    if sp.issparse(A):
        assert isinstance(result.C, sp.csr_array)
        assert isinstance(result.R, sp.csr_array)
    elif isinstance(A, da.Array):
        assert isinstance(result.C, da.Array)
        assert sp.issparse(result.R) == ("sparse" in type(A._meta).__module__)
    else:
        assert isinstance(result.C, np.ndarray)
        assert isinstance(result.R, np.ndarray)


@EACH_SOURCE
@OF
def test_every_source_gives_the_same_interpolation(make, of, tmp_path):
    expected = interpolative(SPARSE, 5, of=of, random_state=3)
    result = interpolative(make(SPARSE, tmp_path), 5, of=of, random_state=3)
    if of == "columns":
        np.testing.assert_array_equal(result.column_indices, expected.column_indices)
    elif of == "rows":
        np.testing.assert_array_equal(result.row_indices, expected.row_indices)
    approximation = assembled(SPARSE, result)
    assert_close_to_scale(approximation, assembled(SPARSE, expected), float, 1e4)
    assert result.error_estimate == pytest.approx(expected.error_estimate)


def test_neither_blocks_nor_threads_change_the_columns():
    expected = cur(TALL, 5, 7, random_state=3)
    for params in ({"block_size": 37}, {"block_size": 37, "n_jobs": 2}, {"n_jobs": 2}):
        result = cur(TALL, 5, 7, random_state=3, **params)
        np.testing.assert_array_equal(result.column_indices, expected.column_indices)
        # A tournament may let other rows win, that are as good.
        assert result.error_estimate <= 1.5 * expected.error_estimate
        np.testing.assert_array_equal(result.R, TALL[result.row_indices])
    one, two = (cur(TALL, 5, 7, block_size=37, n_jobs=n, random_state=3) for n in (1, 2))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_seed_decides_everything():
    A = with_spectrum(np.ones(60), 300, 60)
    first, same, other = (cur(A, 5, random_state=s) for s in (3, np.int64(3), 4))
    for left, right in zip(first, same, strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(first.column_indices, other.column_indices)
    for of in ("columns", "rows", "both"):
        first, same = (interpolative(A, 5, of=of, random_state=3) for _ in range(2))
        for left, right in zip(first, same, strict=True):
            np.testing.assert_array_equal(left, right)


@DTYPES
@OF
def test_interpolations_keep_what_is_chosen_and_state_their_error(of, dtype, seed):
    for name, A in gallery(200, 50, dtype, seed):
        result = interpolative(A, 7, of=of, random_state=seed)
        rows, columns, X, Z, error = result
        assert (rows is None, X is None) == (of == "columns",) * 2
        assert (columns is None, Z is None) == (of == "rows",) * 2
        eps = np.finfo(dtype).eps
        if columns is not None:
            assert Z.shape == (7, 50)
            assert Z.dtype == dtype
            np.testing.assert_array_equal(Z[:, columns], np.eye(7))
        if rows is not None:
            assert X.shape == (200, 7)
            assert X.dtype == dtype
            slack = 1e3 if of == "both" else 0
            np.testing.assert_allclose(X[rows], np.eye(7), atol=slack * eps)
        truth = relative_error(A, assembled(A, result))
        assert error == pytest.approx(truth, abs=float(10 * np.sqrt(eps))), name


def test_an_interpolation_is_the_least_squares_solution(seed):
    for name, A in gallery(200, 50, seed=seed):
        columns = interpolative(A, 7, random_state=seed)
        C = A[:, columns.column_indices]
        expected = np.linalg.lstsq(C, A, rcond=None)[0]
        slack = 100 * np.linalg.cond(C)
        assert_close_to_scale(columns.column_interpolation, expected, float, slack)
        both = interpolative(A, 7, of="both", random_state=seed)
        np.testing.assert_array_equal(both.column_indices, columns.column_indices)
        np.testing.assert_array_equal(
            both.column_interpolation, columns.column_interpolation
        )
        # The columns are exact combinations of their rows.
        back = both.row_interpolation @ C[both.row_indices]
        assert_close_to_scale(back, C, float, 1e4)
        rows = interpolative(A, 7, of="rows", random_state=seed)
        R = A[rows.row_indices]
        expected = np.linalg.lstsq(R.T, A.T, rcond=None)[0].T
        slack = 100 * np.linalg.cond(R)
        assert_close_to_scale(rows.row_interpolation, expected, float, slack)
        assert rows.error_estimate <= 1, name


@OF
def test_an_interpolation_is_exact_at_full_rank(of, seed):
    s = np.array([4.0, 3.0, 2.0, 1.0])
    for shape in ((200, 60), (60, 200), (12, 9)):
        A = with_spectrum(s, *shape, seed)
        for k in (4, 7):
            result = interpolative(A, k, of=of, random_state=seed)
            for indices in result[:2]:
                assert indices is None or len(indices) == 4
            assert_close_to_scale(assembled(A, result), A, float, 1e4)
            assert result.error_estimate <= 1e-7


def test_rows_of_a_matrix_are_columns_of_its_transpose(seed):
    A = np.random.default_rng(seed).standard_normal((30, 25))
    rows = interpolative(A, 6, of="rows", random_state=seed)
    columns = interpolative(A.T, 6, random_state=seed)
    np.testing.assert_array_equal(rows.row_indices, columns.column_indices)
    assert_close_to_scale(
        rows.row_interpolation, columns.column_interpolation.T, float, 1e3
    )
    assert rows.error_estimate == pytest.approx(columns.error_estimate)


def test_it_is_as_accurate_as_scipy(seed):
    A = with_spectrum(0.8 ** np.arange(60), 300, 60, seed)
    indices, coefficients = interp_decomp(A, 12, rand=False)
    back = A[:, indices[:12]] @ np.hstack([np.eye(12), coefficients])
    theirs = relative_error(A[:, indices], back)
    # The choice from a sketch costs 1 %, mostly; least squares gains more.
    assert interpolative(A, 12, random_state=seed).error_estimate <= 1.1 * theirs


@OF
def test_exchanges_apply_to_rows_and_columns(of, seed):
    A = with_spectrum(1 / np.arange(1.0, 21), 25, 20, seed)
    plain = interpolative(A, 4, of=of, random_state=seed)
    swapped = interpolative(A, 4, of=of, refine="swap", random_state=seed)
    if of != "both":
        assert swapped.error_estimate <= plain.error_estimate + 1e-12


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, da.from_array])
@pytest.mark.parametrize("shape", [(8, 6), (400, 60), (6, 80)])
def test_a_zero_matrix_has_an_empty_decomposition(make, shape):
    A = make(np.zeros(shape))
    result = cur(A, 3, 2, random_state=0)
    assert result.U.shape == (0, 0)
    assert result.C.shape == (shape[0], 0)
    assert result.R.shape == (0, shape[1])
    assert result.error_estimate == 0
    for of in ("columns", "rows", "both"):
        result = interpolative(A, 3, of=of, random_state=0)
        for indices in result[:2]:
            assert indices is None or len(indices) == 0
        assert result.error_estimate == 0


def test_one_row_and_one_column():
    A = np.array([[1.0, -3.0, 2.0]])
    for B in (A, A.T):
        result = cur(B, 1)
        np.testing.assert_allclose(product(result), B)
        assert result.error_estimate <= 1e-7
        for of in ("columns", "rows", "both"):
            result = interpolative(B, 1, of=of)
            np.testing.assert_allclose(assembled(B, result), B)


@EACH_METHOD
def test_single_precision_stays_single(method):
    A = TALL.astype(np.float32)
    for make in (np.asarray, sp.csr_array):
        result = cur(make(A), 5, method=method, random_state=0)
        for factor in (result.C, result.U, result.R):
            assert factor.dtype == np.float32
        error = relative_error(A, product(result))
        assert result.error_estimate == pytest.approx(error, rel=1e-3)


NAN = np.full((4, 4), np.nan)
INF = np.where(np.eye(400, 60), np.inf, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cur(TALL, 0), "'n_components' parameter"),
        (lambda: cur(TALL, 81), r"n_components=81 must be at most min\(n_rows=500"),
        (lambda: cur(TALL, 2, 81), "n_rows=81 must be at most"),
        (lambda: cur(TALL, 2, 0), "'n_rows' parameter"),
        (lambda: cur(TALL, 2, 0.5), "'n_rows' parameter"),
        (lambda: cur(TALL, 2, method="x"), "'method' parameter"),
        (lambda: cur(TALL, tol=0.1, method="qdeim"), "method that stops at an error"),
        (lambda: cur(iter([TALL]), 2), "can be read only once"),
        (lambda: cur(NAN, 2), "NaN"),
        (lambda: cur(Lazy(INF), 2), "infinity"),
        (lambda: interpolative(TALL, 0), "'n_components' parameter"),
        (lambda: interpolative(TALL, 0.5), "'n_components' parameter"),
        (lambda: interpolative(TALL, 81), "n_components=81 must be at most"),
        (lambda: interpolative(TALL, 2, of="x"), "'of' parameter"),
        (lambda: interpolative(iter([TALL]), 2), "can be read only once"),
        (lambda: interpolative(NAN, 2), "NaN"),
        (lambda: interpolative(Lazy(INF), 2), "infinity"),
        (lambda: interpolative(Lazy(INF), 2, of="rows"), "infinity"),
        (lambda: interpolative(Lazy(NAN), 2, of="rows"), "NaN"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()

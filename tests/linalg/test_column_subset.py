"""Columns chosen from a sketch: what they leave of the matrix, and what is said of it."""

from math import comb, log

import dask.array as da
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

from sklearn_rnla.linalg import column_subset
from sklearn_rnla.linalg.columns.select import METHODS, sketch_size_of
from tests.matrices import gallery, with_spectrum
from tests.sources import Lazy, on_disk, sparse_chunks

EACH_METHOD = pytest.mark.parametrize("method", METHODS)
DETERMINISTIC = [method for method in METHODS if method != "leverage"]
REFINE = pytest.mark.parametrize("refine", [None, "swap"])
# With more rows and columns than sketches of a few columns have.
TALL = with_spectrum(1 / np.arange(1.0, 81), 500, 80)
# Sketches of this size are not made: the data are as small.
EXACT = 10**6


def true_error(A, indices):
    A = np.asarray(A, dtype=float)
    C = A[:, indices]
    left = A - C @ np.linalg.lstsq(C, A, rcond=None)[0]
    return np.linalg.norm(left) / np.linalg.norm(A)


def share_beyond(A, k):
    squares = np.linalg.svd(A, compute_uv=False) ** 2
    return np.sqrt(squares[k:].sum() / squares.sum())


@EACH_METHOD
@REFINE
def test_columns_are_distinct_and_no_better_than_singular_vectors(method, refine, seed):
    for name, A in gallery(150, 60, seed=seed):
        indices, error = column_subset(
            A, 6, method=method, refine=refine, random_state=seed
        )
        assert indices.shape == (6,)
        assert len(set(indices.tolist())) == 6
        assert indices.min() >= 0
        assert indices.max() < 60
        assert true_error(A, indices) >= share_beyond(A, 6) - 1e-12, name
        assert 0 <= error <= 1


@EACH_METHOD
@REFINE
def test_without_a_sketch_the_error_is_exact(method, refine, seed):
    A = np.random.default_rng(seed).standard_normal((90, 30))
    for k in (1, 7, 29):
        indices, error = column_subset(
            A, k, method=method, refine=refine, sketch_size=EXACT, random_state=seed
        )
        assert error == pytest.approx(true_error(A, indices), abs=1e-6)


def log_of_all_choices(n, k, seeds):
    # The union over all sets of k columns, the seeds and two tails; 1e-6 is left.
    return log(comb(n, k)) + log(2 * seeds) + log(1e6)


def test_a_sketched_error_is_within_the_bound_of_its_size():
    # With l rows of a Gaussian sketch, what it leaves of a fixed set of k columns is
    # distributed as ||G R||^2 / l, G with l - k rows, R what the columns leave of A: a
    # weighted sum of chi-squares, whose tails Laurent & Massart (2000), lemma 1, bound. The
    # set is chosen by the sketch: a union over all sets, x = log(sets / probability). The
    # sparse signs are taken for Gaussians.
    n, k, size, seeds = 60, 3, 120, 20
    A = with_spectrum(np.arange(1.0, n + 1) ** -0.25, 400, n)
    x = log_of_all_choices(n, k, seeds)
    for method in ("cpqr", "greedy", "leverage"):
        for seed in range(seeds):
            indices, error = column_subset(
                A, k, method=method, sketch_size=size + seed % 2, random_state=seed
            )
            C = A[:, indices]
            R = A - C @ np.linalg.lstsq(C, A, rcond=None)[0]
            weights = np.linalg.svd(R, compute_uv=False) ** 2
            weights = np.repeat(weights / weights.sum() / (size - k), size - k)
            spread = 2 * np.linalg.norm(weights) * np.sqrt(x)
            ratio = error**2 / true_error(A, indices) ** 2
            assert 1 - spread <= ratio <= 1 + spread + 2 * weights.max() * x


def test_a_larger_sketch_knows_the_error_better():
    # The mean deviation falls as the root of the size: by 4 here, and at least by 2.
    A = with_spectrum(np.arange(1.0, 41) ** -0.5, 1000, 40)
    deviations = []
    # As sparse rows, of which no Gram matrix is taken.
    A = sp.csr_array(A)
    for size in (24, 384):
        results = [
            column_subset(A, 4, method="leverage", sketch_size=size, random_state=seed)
            for seed in range(20)
        ]
        dense = A.toarray()
        truth = np.array([true_error(dense, r.indices) for r in results])
        estimates = np.array([r.error_estimate for r in results])
        deviations.append(np.abs(estimates / truth - 1).mean())
    assert deviations[1] <= deviations[0] / 2


@pytest.mark.parametrize("method", ["cpqr", "greedy", "qdeim"])
def test_columns_of_a_sketch_are_nearly_as_good_as_those_of_all_rows(method):
    # The default of eight rows for each column costs 1 % (module's comment), mostly:
    # 10 % in the mean over ten seeds.
    for name, A in gallery(600, 90):
        exact = column_subset(A, 8, method=method, sketch_size=EXACT)
        errors = [
            true_error(A, column_subset(A, 8, method=method, random_state=seed).indices)
            for seed in range(10)
        ]
        assert np.mean(errors) <= 1.1 * true_error(A, exact.indices), name


@EACH_METHOD
def test_exchanges_never_raise_the_error_of_exact_data(method):
    for name, A in gallery(60, 30):
        params = {"method": method, "sketch_size": EXACT, "random_state": 0}
        before = column_subset(A, 4, **params).indices
        after = column_subset(A, 4, refine="swap", **params).indices
        assert true_error(A, after) <= true_error(A, before) * (1 + 1e-9), name


def test_lupp_is_partial_pivoting_of_the_sketch():
    A = np.random.default_rng(0).standard_normal((20, 40))
    indices = column_subset(A, 20, method="lupp").indices
    P = scipy.linalg.lu(A.T)[0]
    np.testing.assert_array_equal(indices, P.argmax(axis=0)[:20])


def test_qdeim_is_pivoting_of_the_singular_vectors(seed):
    A = with_spectrum(0.5 ** np.arange(20), 200, 20, seed)
    V = np.linalg.svd(A)[2][:5]
    expected = scipy.linalg.qr(V, pivoting=True)[2][:5]
    result = column_subset(A, 5, method="qdeim", random_state=seed)
    assert set(result.indices) == set(expected)


def test_leverage_is_drawn_in_proportion_to_the_scores():
    # A of rank one: the scores are the squares of v. Each of six counts in 200 draws is
    # binomial: within 5.5 standard deviations but for 1e-6.
    v = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    A = np.outer(np.arange(1.0, 9), v)
    counts = np.zeros(6)
    for seed in range(200):
        counts[column_subset(A, 1, method="leverage", random_state=seed).indices] += 1
    p = v**2 / np.sum(v**2)
    assert counts[0] == 0
    assert np.all(np.abs(counts - 200 * p) <= 5.5 * np.sqrt(200 * p * (1 - p)) + 1e-9)
    top = column_subset(A, 1, method="leverage-top").indices
    assert top.tolist() == [5]


@pytest.mark.parametrize("method", ["cpqr", "greedy"])
@pytest.mark.parametrize("tol", [0.6, 0.3, 0.1, 0.01])
def test_a_tolerance_is_met_with_the_fewest_columns(method, tol, seed):
    A = with_spectrum(0.8 ** np.arange(30), 200, 30, seed)
    indices, error = column_subset(A, tol=tol, method=method, random_state=seed)
    assert error <= tol
    assert true_error(A, indices) <= tol * (1 + 1e-6)
    assert true_error(A, indices[:-1]) > tol
    share = column_subset(A, 1 - tol**2, method=method, random_state=seed)
    np.testing.assert_array_equal(share.indices, indices)


@pytest.mark.parametrize("tol", [0.4, 0.1, 0.05])
def test_a_tolerance_is_met_by_the_estimate_of_a_sketch(tol, seed):
    # The estimate is of a sketch that chose the columns: of 256 rows or more, it is low
    # by some 5 %, as the test of its bound says.
    A = with_spectrum(1 / np.arange(1.0, 301), 900, 300, seed)
    indices, error = column_subset(A, tol=tol, random_state=seed)
    assert error <= tol
    assert true_error(A, indices) <= 1.15 * tol
    R = scipy.linalg.qr(A, mode="r", pivoting=True)[0]
    left = [np.linalg.norm(R[k:300]) / np.linalg.norm(R) for k in range(301)]
    fewest = int(np.argmax(np.array(left) <= tol))
    assert abs(len(indices) - fewest) <= 0.1 * fewest + 1


def test_a_tolerance_of_zero_takes_the_rank(seed):
    for rank in (1, 5, 20):
        A = with_spectrum(np.ones(rank), 25, 20, seed)
        indices, error = column_subset(A, tol=0.0, random_state=seed)
        assert len(indices) == rank
        assert error <= 1e-7


@EACH_METHOD
@REFINE
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (300, 40), (40, 300)])
def test_columns_end_with_the_rank(method, refine, make, shape):
    A = with_spectrum(np.array([3.0, 2.0, 1.0]), *shape)
    result = column_subset(make(A), 6, method=method, refine=refine, random_state=0)
    assert len(result.indices) == 3
    assert true_error(A, result.indices) <= 1e-12
    assert result.error_estimate <= 1e-7


@EACH_METHOD
@REFINE
def test_all_columns_leave_nothing(method, refine):
    for shape in ((30, 12), (12, 12), (400, 12), (12, 40)):
        A = np.random.default_rng(0).standard_normal(shape)
        result = column_subset(A, 12, method=method, refine=refine, random_state=0)
        assert len(set(result.indices.tolist())) == 12
        assert true_error(A, result.indices) <= 1e-12
        assert result.error_estimate <= 1e-6


@EACH_METHOD
@REFINE
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_zero_columns_and_copies_are_left_out(method, refine, make):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 6))
    A = np.concatenate([A, 2 * A[:, ::-1], np.zeros((40, 4)), np.ones((40, 3))], axis=1)
    A = A[:, rng.permutation(19)]
    indices = column_subset(
        make(A), 12, method=method, refine=refine, random_state=0
    ).indices
    assert len(indices) == 7
    assert np.linalg.matrix_rank(A[:, indices]) == 7


@EACH_METHOD
@REFINE
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("shape", [(8, 6), (400, 60), (6, 80)])
def test_a_zero_matrix_has_no_columns(method, refine, make, shape):
    A = make(np.zeros(shape))
    result = column_subset(A, 3, method=method, refine=refine, random_state=0)
    assert result.indices.tolist() == []
    assert result.error_estimate == 0
    if method in ("cpqr", "greedy"):
        assert column_subset(A, method=method).indices.tolist() == []


@EACH_METHOD
def test_one_row_has_its_largest_column(method):
    A = np.array([[1.0, -3.0, 0.0, 2.0]])
    indices, error = column_subset(A, 1, method=method, random_state=0)
    assert error == 0
    assert A[0, indices[0]] != 0
    # Any column spans the row: those of "greedy" and "leverage" need not be long.
    if method not in ("leverage", "greedy"):
        assert indices.tolist() == [1]


@pytest.mark.parametrize("method", DETERMINISTIC)
@REFINE
def test_columns_follow_a_permutation(method, refine):
    A = np.random.default_rng(0).standard_normal((60, 25))
    order = np.random.default_rng(9).permutation(25)
    params = {"method": method, "refine": refine, "sketch_size": EXACT}
    expected = column_subset(A, 6, **params).indices
    indices = column_subset(A[:, order], 6, **params).indices
    np.testing.assert_array_equal(order[indices], expected)


@EACH_METHOD
def test_a_common_factor_changes_no_choice(method):
    expected = column_subset(TALL, 4, method=method, random_state=0)
    for factor in (-1.0, 1e-9, 1e9):
        result = column_subset(factor * TALL, 4, method=method, random_state=0)
        np.testing.assert_array_equal(result.indices, expected.indices)
        assert result.error_estimate == pytest.approx(expected.error_estimate)


SOURCES = {
    "list": lambda A, _: A.tolist(),
    "fortran": lambda A, _: np.asfortranarray(A),
    "csr_matrix": lambda A, _: sp.csr_matrix(A),
    "csc_array": lambda A, _: sp.csc_array(A),
    "memmap": on_disk,
    "lazy": lambda A, _: Lazy(A),
    "dask": lambda A, _: da.from_array(A, chunks=(170, 50)),
    "dask sparse": lambda A, _: sparse_chunks(A, 170),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("method", ["cpqr", "lupp", "qdeim", "leverage"])
def test_every_source_gives_the_same_columns(make, method, tmp_path):
    A = TALL * (np.abs(TALL) > 0.002)
    expected = column_subset(A, 5, method=method, random_state=3)
    X = make(A, tmp_path)
    if method == "leverage" and sp.issparse(X):
        # Drawn at random after another iteration, which has used other random numbers.
        expected = column_subset(sp.csr_array(A), 5, method=method, random_state=3)
    result = column_subset(X, 5, method=method, random_state=3)
    np.testing.assert_array_equal(result.indices, expected.indices)
    assert result.error_estimate == pytest.approx(expected.error_estimate)


@EACH_METHOD
def test_neither_blocks_nor_threads_change_the_columns(method):
    expected = column_subset(TALL, 5, method=method, random_state=3)
    for params in ({"block_size": 37}, {"block_size": 37, "n_jobs": 2}, {"n_jobs": 2}):
        result = column_subset(TALL, 5, method=method, random_state=3, **params)
        np.testing.assert_array_equal(result.indices, expected.indices)


def test_a_seed_decides_everything():
    A = with_spectrum(np.ones(60), 300, 60)

    def chosen(random_state):
        return column_subset(A, 5, random_state=random_state).indices.tolist()

    assert chosen(3) == chosen(np.int64(3))
    assert chosen(3) != chosen(4)
    assert chosen(np.random.default_rng(3)) == chosen(np.random.default_rng(3))
    assert chosen(np.random.RandomState(3)) == chosen(np.random.RandomState(3))
    assert len(chosen(None)) == 5


def test_single_precision_chooses_what_double_does():
    for method in ("cpqr", "greedy"):
        single = column_subset(TALL.astype(np.float32), 5, method=method, random_state=0)
        double = column_subset(TALL, 5, method=method, random_state=0)
        np.testing.assert_array_equal(single.indices, double.indices)
        assert single.error_estimate == pytest.approx(double.error_estimate, rel=1e-4)


def test_sketches_have_the_rows_that_are_documented():
    assert sketch_size_of(10, "cpqr", None) == 90
    assert sketch_size_of(10, "cpqr", "swap") == 170
    assert sketch_size_of(10, "lupp", None) == 20
    assert sketch_size_of(10, "lupp", "swap") == 170


def test_exchanges_make_any_start_as_good():
    A = with_spectrum(1 / np.arange(1.0, 61), 400, 60)
    errors = []
    for method in METHODS:
        C = A[:, column_subset(A, 8, method=method, refine="swap", random_state=0).indices]
        errors.append(np.linalg.norm(A - C @ np.linalg.lstsq(C, A, rcond=None)[0]))
    assert max(errors) < 1.03 * min(errors)


NAN = np.full((4, 4), np.nan)
INF = np.where(np.eye(400, 60), np.inf, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: column_subset(TALL, 0), "'n_components' parameter"),
        (lambda: column_subset(TALL, 81), r"n_components=81 must be at most min\(n_rows"),
        (lambda: column_subset(TALL, 1.5), "'n_components' parameter"),
        (lambda: column_subset(TALL, 0.0), "'n_components' parameter"),
        (lambda: column_subset(TALL, "all"), "'n_components' parameter"),
        (lambda: column_subset(TALL, 2, method="supervised"), "'method' parameter"),
        (lambda: column_subset(TALL, 2, method="svd"), "'method' parameter"),
        (lambda: column_subset(TALL, 2, refine=True), "'refine' parameter"),
        (lambda: column_subset(TALL, 2, sketch_size=0), "'sketch_size' parameter"),
        (lambda: column_subset(TALL, tol=1.0), "'tol' parameter"),
        (lambda: column_subset(TALL, tol=-0.1), "'tol' parameter"),
        (lambda: column_subset(TALL, method="qdeim"), "method that stops at an error"),
        (lambda: column_subset(TALL, method="lupp", tol=0.5), "method='lupp' must be one"),
        (lambda: column_subset(TALL, 0.5, method="leverage"), "n_components=0.5 needs"),
        (lambda: column_subset(iter([TALL]), 2), "can be read only once"),
        (lambda: column_subset(NAN, 2), "NaN"),
        (lambda: column_subset(Lazy(NAN), 2), "NaN"),
        (lambda: column_subset(sp.csr_array(INF), 2), "infinity"),
        (lambda: column_subset(Lazy(INF), 2), "infinity"),
        (lambda: column_subset(da.from_array(INF, chunks=(90, -1)), 2), "infinity"),
        (lambda: column_subset(TALL[0], 1), "Expected 2D array"),
        (lambda: column_subset(TALL[:0], 1), "0 sample"),
        (lambda: column_subset([["a"]], 1), "could not convert string"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@EACH_METHOD
def test_values_that_are_not_finite_are_found_by_the_pass(method, value):
    for shape in ((20, 30), (400, 30), (400, 90)):
        A = np.random.default_rng(0).standard_normal(shape)
        A[7, 3] = value
        for make in (Lazy, sp.csr_array, da.from_array):
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                column_subset(make(A), 4, method=method, random_state=0)

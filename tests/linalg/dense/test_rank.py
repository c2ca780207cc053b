"""What counts as rank: independence whatever the units, dependence whatever the size."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla import CURSelector
from sklearn_rnla.linalg import column_subset, cur, interpolative, leverage_scores
from sklearn_rnla.linalg.columns.select import METHODS
from sklearn_rnla.linalg.dense.rank import numerical_rank, rounding_of

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EACH_METHOD = pytest.mark.parametrize("method", METHODS)


def people(n_rows, dtype=np.float32):
    """Return incomes, ages and numbers of children."""
    rng = np.random.default_rng(0)
    columns = (
        rng.normal(5e4, 2e4, n_rows),
        rng.normal(40, 15, n_rows),
        rng.integers(0, 5, n_rows),
    )
    return np.column_stack(columns).astype(dtype)


def with_condition(condition, n_rows, n_columns, dtype):
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.standard_normal((n_rows, n_columns)))[0]
    V = np.linalg.qr(rng.standard_normal((n_columns, n_columns)))[0]
    s = np.geomspace(1, 1 / condition, n_columns)
    return ((U * s) @ V.T * np.sqrt(n_rows)).astype(dtype)


def test_the_cutoff_in_the_precision_of_the_data_does_not_grow_with_the_rows():
    few, many = (rounding_of((n, 10), np.float32) for n in (100, 10**6))
    assert many <= 1.01 * few


def test_zeros_have_no_rank():
    assert numerical_rank(np.zeros(3), (5, 3)) == 0
    assert numerical_rank(np.zeros(0), (5, 0)) == 0


@pytest.mark.parametrize("n_rows", [100, 20_000])
@EACH_METHOD
def test_columns_in_small_units_are_not_dependent(method, n_rows):
    X = people(n_rows)
    assert sorted(column_subset(X, 3, method=method).indices) == [0, 1, 2]
    assert sorted(cur(X, 3, method=method).column_indices) == [0, 1, 2]
    X = sp.csr_array(X)
    assert sorted(column_subset(X, 3, method=method).indices) == [0, 1, 2]


def test_the_longest_column_still_comes_first():
    assert CURSelector(3).fit(people(20_000)).column_indices_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("of", ["columns", "rows", "both"])
def test_interpolation_takes_columns_in_small_units(of, make):
    X = people(2000)
    result = interpolative(make(X), 3, of=of)
    for chosen in (result.row_indices, result.column_indices):
        assert chosen is None or len(chosen) == 3
    assert result.error_estimate <= 1e-3


@pytest.mark.parametrize("method", ["exact", "sketched"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_leverage_scores_do_not_depend_on_units(make, method):
    X = people(20_000)
    scores = leverage_scores(make(X), method=method, random_state=0)
    # A sketch of 12 rows is no more than a rough one.
    assert scores.sum() == pytest.approx(3, rel=1e-4 if method == "exact" else 0.7)
    same = X / np.float32([2**15, 2**5, 1])
    np.testing.assert_allclose(
        leverage_scores(make(same), method=method, random_state=0), scores, rtol=1e-4
    )
    of_columns = leverage_scores(make(X), of="columns")
    np.testing.assert_allclose(of_columns, 1, rtol=1e-6)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_the_response_is_found_whatever_the_units(column, make):
    X = people(20_000)
    selector = CURSelector(1, method="supervised", mixing=0.0)
    selector.fit(make(X), 2.0 * X[:, column].astype(float))
    assert selector.column_indices_.tolist() == [column]


@pytest.mark.parametrize("n_rows", [30, 1000, 20_000])
@pytest.mark.parametrize("mixing", [0.0, 0.5, 1.0])
@DTYPES
def test_supervised_selection_is_free_of_units(dtype, mixing, n_rows):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 6)).astype(dtype)
    y = X[:, 2] - 0.5 * X[:, 4] + 0.1 * rng.standard_normal(n_rows)
    units = np.array([2.0**40, 1, 2.0**-30, 1, 2.0**-10, 2.0**20], dtype)
    if dtype == np.float32:
        units **= 0.25
    chosen = [
        CURSelector(3, method="supervised", mixing=mixing, random_state=0).fit(A, y)
        for A in (X, X * units)
    ]
    np.testing.assert_array_equal(chosen[0].column_indices_, chosen[1].column_indices_)


def test_a_response_in_a_tiny_column_beside_a_huge_one_is_found():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 2)) * [1e13, 0.02]
    selector = CURSelector(1, method="supervised", mixing=0.0).fit(X, X[:, 1])
    assert selector.column_indices_.tolist() == [1]
    assert column_subset(X, 2).indices.tolist() == [0, 1]
    assert leverage_scores(X).sum() == pytest.approx(2)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_many_rows_do_not_hide_columns_of_moderate_condition(make):
    A = make(with_condition(50, 200_000, 6, np.float32))
    assert len(column_subset(A, 6).indices) == 6
    assert leverage_scores(A).sum() == pytest.approx(6, rel=1e-4)


def test_millions_of_rows_leave_float32_a_rank():
    A = np.random.default_rng(0).standard_normal((9_000_000, 2), dtype=np.float32)
    assert leverage_scores(A, 2).sum() == pytest.approx(2, rel=1e-3)


@DTYPES
@pytest.mark.parametrize("n_rows", [100, 3000, 1_000_000])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_copies_and_sums_are_dependent(make, n_rows, dtype):
    if make is sp.csr_array and n_rows > 10**5:
        n_rows = 10**5
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n_rows, 4)).astype(dtype) * np.array([1e3, 1, 1, 0.1], dtype)
    third = dtype(1 / 3)
    A = np.column_stack([A, A[:, 1], third * A[:, 0], A[:, 1] + A[:, 2], A.sum(axis=1)])
    A = make(A)
    for method in ("cpqr", "greedy", "qdeim", "leverage"):
        assert len(column_subset(A, 8, method=method).indices) == 4
    assert leverage_scores(A).sum() == pytest.approx(4, rel=1e-4)
    assert leverage_scores(A, of="columns").sum() == pytest.approx(4, rel=1e-4)


@DTYPES
@pytest.mark.parametrize("n_rows", [100, 3000, 100_000])
@pytest.mark.parametrize("constant", [1.0, 0.1, 1e5 / 3])
def test_constants_say_nothing_of_a_response(constant, n_rows, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 3)).astype(dtype)
    y = X @ np.ones(3)
    X = np.insert(X, 1, dtype(constant), axis=1)
    selector = CURSelector(4, method="supervised", mixing=0.0).fit(X, y)
    # It is independent of the others about the origin, and comes last.
    assert selector.column_indices_[-1] == 1


@DTYPES
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_the_rank_is_that_of_the_columns_others_are_sums_of(make, dtype, seed):
    rng = np.random.default_rng(seed)
    for n_rows, rank in ((60, 20), (900, 7), (7000, 30)):
        # Units as far apart as their squares are still numbers beside each other.
        span = 2 if dtype == np.float32 else 8
        A = rng.standard_normal((n_rows, rank)) + rng.choice([0, 3])
        A = (A * 10 ** rng.uniform(-span, span, rank)).astype(dtype)
        chosen = [rng.choice(rank, 1 + rank // 2, replace=False) for _ in range(4)]
        sums = [A[:, S].sum(axis=1, dtype=dtype) for S in chosen]
        A = np.column_stack([A, *sums])[:, rng.permutation(rank + 4)]
        for method in METHODS:
            assert len(column_subset(make(A), rank + 4, method=method).indices) == rank
        swapped = column_subset(make(A), rank + 4, refine="swap")
        assert len(swapped.indices) == rank
        assert cur(make(A), rank + 4).U.shape == (rank, rank)
        for of in ("rows", "columns"):
            assert leverage_scores(make(A), of=of).sum() == pytest.approx(rank)

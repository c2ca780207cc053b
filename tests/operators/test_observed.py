import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.operators.observed import Observed


def dense_of(observed):
    X = np.full(observed.shape, np.nan, observed.dtype)
    X[observed.rows, observed.indices] = observed.values
    return X


def with_gaps(shape, share, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(shape)
    X[rng.random(shape) < share] = np.nan
    X[rng.random(shape) < 0.2] = 0
    return X


X = with_gaps((60, 40), 0.7, 0)
X[7] = np.nan
X[:, 3] = np.nan


def test_dense_sparse_and_pairs_give_the_same_entries():
    known = ~np.isnan(X)
    rows, columns = np.nonzero(known)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    pairs = Observed.from_pairs(
        rows[shuffled], columns[shuffled], X[known][shuffled], X.shape
    )
    csr = sp.csr_array(sp.coo_array((X[known], (rows, columns)), shape=X.shape))
    for observed in (Observed.from_dense(X), Observed.from_sparse(csr), pairs):
        np.testing.assert_array_equal(dense_of(observed), X)
        np.testing.assert_array_equal(dense_of(observed.T), X.T)
        assert observed.nnz == known.sum()
        np.testing.assert_array_equal(observed.counts, known.sum(axis=1))


def test_stored_zeros_are_known_and_stored_nan_is_not():
    data, rows, columns = [0.0, np.nan, 2.0], [0, 0, 1], [0, 1, 1]
    coo = sp.coo_array((data, (rows, columns)), shape=(2, 2))
    expected = [[0, np.nan], [np.nan, 2]]
    for layout in ("coo", "csr", "csc"):
        observed = Observed.from_sparse(coo.asformat(layout))
        np.testing.assert_array_equal(dense_of(observed), expected)


@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_duplicates_are_averaged(layout):
    entries = ([1.0, 3.0, 5.0, -1.0], ([0, 0, 1, 0], [1, 1, 0, 1]))
    if layout == "csr":
        X = sp.csr_array(([1.0, 3.0, -1.0, 5.0], [1, 1, 1, 0], [0, 3, 4]), shape=(2, 2))
        assert not X.has_canonical_format
        observed = Observed.from_sparse(X)
    else:
        observed = Observed.from_pairs(
            *(np.array(places) for places in entries[1]), np.array(entries[0]), (2, 2)
        )
    np.testing.assert_array_equal(dense_of(observed), [[np.nan, 1], [5, np.nan]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_products_are_those_of_dense_matrices(dtype, n_jobs):
    rng = np.random.default_rng(1)
    big = with_gaps((400, 200), 0.4, 1).astype(dtype)
    observed = Observed.from_dense(big, n_jobs=n_jobs)
    assert len(observed.lanes) > 1
    U, V = (rng.standard_normal((n, 3)).astype(dtype) for n in big.shape)
    at_places = observed.sampled_product(U, V)
    assert at_places.dtype == dtype
    slack = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        at_places, (U @ V.T)[observed.rows, observed.indices], atol=slack
    )
    filled = np.nan_to_num(big)
    np.testing.assert_allclose(
        observed.product(observed.values, V), filled @ V, atol=100 * slack
    )
    transposed = observed.T.product(observed.values[observed.order], U)
    np.testing.assert_allclose(transposed, filled.T @ U, atol=100 * slack)


def test_lanes_hold_all_rows_once_and_about_as_many_entries_each():
    counts = np.random.default_rng(0).geometric(0.01, 2000)
    rows = np.repeat(np.arange(2000), counts)
    observed = Observed.from_pairs(
        rows, np.arange(len(rows)), np.ones(len(rows)), (2000, len(rows))
    )
    starts, stops = np.array(observed.lanes).T
    assert starts[0] == 0
    assert stops[-1] == 2000
    np.testing.assert_array_equal(starts[1:], stops[:-1])
    work = observed.indptr[stops] - observed.indptr[starts]
    assert work.max() <= work.mean() + counts.max() + 2000 / len(starts)


def test_rows_are_taken_in_any_order():
    observed = Observed.from_dense(X)
    which = np.array([5, 7, 0, 5])
    np.testing.assert_array_equal(dense_of(observed.take(which)), X[which])


def test_a_mask_splits_the_entries_in_two():
    observed = Observed.from_dense(X)
    hide = np.random.default_rng(0).random(observed.nnz) < 0.3
    seen, hidden = (dense_of(part) for part in observed.split(hide))
    np.testing.assert_array_equal(np.where(np.isnan(seen), hidden, seen), X)
    assert not (~np.isnan(seen) & ~np.isnan(hidden)).any()
    assert np.isfinite(hidden).sum() == hide.sum()


def test_other_values_keep_the_pattern_of_both_sides():
    observed = Observed.from_dense(X)
    assert observed.T.nnz == observed.nnz
    other = observed.with_values(np.arange(observed.nnz, dtype=float))
    np.testing.assert_array_equal(dense_of(other.T), dense_of(other).T)


def test_indices_are_wide_where_the_matrix_is():
    shape = (3, 2**33)
    observed = Observed.from_pairs(
        np.array([0, 2]), np.array([2**32, 5]), np.array([1.0, 2.0]), shape
    )
    assert observed.indices.dtype == np.int64
    np.testing.assert_array_equal(observed.indices, [2**32, 5])

"""The compiled loops of sparse sketches against products with the dense matrix."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla._kernels.sparse_sign import sketch_columns, sketch_dense_rows, sketch_rows
from sklearn_rnla.operators import as_row_matrix
from sklearn_rnla.sketching import SparseSign, sparse_sign
from tests.invariants import assert_close_to_scale

M, N = 40, 23
# Each pair is a compilation: not all of them.
TYPES = pytest.mark.parametrize(
    ("dtype", "index"),
    [(np.float32, np.int32), (np.float64, np.int32), (np.float64, np.int64)],
    ids=["float32-int32", "float64-int32", "float64-int64"],
)
# Rows of the sketch in less, exactly and more than one word of 64 bits; the dimension.
SIZES = pytest.mark.parametrize("n_rows", [1, 5, 63, 64, 65, 130, 300])
NNZ = pytest.mark.parametrize("nnz", [1, 2, 8])


def messy(m, n, dtype=np.float64, index=np.int32, seed=0):
    """Return CSR with indices unsorted and repeated, zeros stored, rows and columns empty.

    Repeated entries are small integers and their sum may be zero.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 2 * n, size=m)
    lengths[[0, m // 2, m - 1]] = 0
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    # The last column, and one in the middle, are empty.
    indices = rng.integers(n - 1, size=indptr[-1])
    indices[indices == n // 2] = 0
    data = rng.integers(-2, 3, size=indptr[-1])
    A = sp.csr_array((data.astype(dtype), indices, indptr), shape=(m, n))
    _set_index_type(A, index)
    assert not A.has_canonical_format
    assert A.indices.dtype == A.indptr.dtype == index
    assert np.any(A.data == 0)
    return A


def _set_index_type(A, index):
    # Some versions of scipy choose the type themselves where a matrix is made.
    A.indices, A.indptr = A.indices.astype(index), A.indptr.astype(index)


def scale_of(S, dtype):
    return np.dtype(dtype).type(1 / np.sqrt(S.distribution.nnz))


def columns_of(A, S, out=None, start=0):
    """Add ``(S A)^T`` to `out` by the compiled loop, for CSC A."""
    out = np.zeros((A.shape[1], S.shape[0]), A.dtype) if out is None else out
    codes = S.codes(start, start + A.shape[0])
    sketch_columns(A.indptr, A.indices, A.data, codes, scale_of(S, A.dtype), out)
    return out


def compiled_rows(indptr, indices, data, codes, scale, n_columns):
    """Return the CSR arrays of the compiled loop, what it left out cut off."""
    most = len(data) * codes.shape[1] + 1
    out = (
        np.empty(len(indptr), np.int32),
        np.empty(most, np.int32),
        np.empty(most, data.dtype),
    )
    sketch_rows(indptr, indices, data, codes, scale, n_columns, *out)
    end = out[0][-1]
    return out[0], out[1][:end], out[2][:end]


def rows_of(A, S):
    """Return ``A S^T`` by the compiled loop, for CSR A."""
    codes, scale = S.codes(0, A.shape[1]), scale_of(S, A.dtype)
    indptr, indices, data = compiled_rows(
        A.indptr, A.indices, A.data, codes, scale, S.shape[0]
    )
    return sp.csr_array((data, indices, indptr), shape=(A.shape[0], S.shape[0]))


def encoded(rows, negative):
    """Return the codes of entries in these rows of a sketch, one for each column."""
    return (2 * np.asarray(rows) + np.asarray(negative)).astype(np.uint16)[:, np.newaxis]


@TYPES
@NNZ
@SIZES
def test_sketched_columns_are_those_of_the_dense_product(n_rows, nnz, dtype, index):
    S = SparseSign(n_rows, M, nnz=nnz).sample(0)
    A = messy(N, M, dtype, index).T
    assert A.format == "csc"
    _set_index_type(A, index)
    assert_close_to_scale(columns_of(A, S).T, S.to_dense() @ A.toarray(), dtype)


@TYPES
@NNZ
@SIZES
def test_sketched_rows_are_those_of_the_dense_product(n_rows, nnz, dtype, index):
    S = SparseSign(n_rows, N, nnz=nnz).sample(0)
    A = messy(M, N, dtype, index)
    product = rows_of(A, S)
    assert_close_to_scale(product.toarray(), A.toarray() @ S.to_dense().T, dtype)


@NNZ
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 5), (63, 5), (64, 5), (65, 5), (130, 1)])
def test_sketched_dense_rows_are_those_of_the_dense_product(shape, nnz, dtype):
    S = SparseSign(9, shape[1], nnz=nnz).sample(0)
    A = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    out = np.full((shape[0], 9), np.nan, dtype)
    sketch_dense_rows(A, S.drawn(), scale_of(S, dtype), out)
    assert_close_to_scale(out, A @ S.to_dense().T, dtype)


@NNZ
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [30, 2**15 + 1])
def test_compiled_and_not_are_the_same_bit_by_bit(nnz, dtype, n_rows, monkeypatch):
    # Whether numba has been imported before cannot change a result. Codes of the larger
    # sketch have 32 bits.
    S = SparseSign(n_rows, N, nnz=nnz).sample(0)
    A = sp.csr_array(messy(M, N, dtype).toarray())
    dense = np.random.default_rng(0).standard_normal((M, N)).astype(dtype)
    products = []
    for many in (0, 2**30):
        compile_from(many, monkeypatch)
        projected = S.project_sparse(A, S.drawn())
        assert projected.has_canonical_format
        products.append([projected.toarray(), A @ S.T, S @ A.T, dense @ S.T])
    for compiled, other in zip(*products, strict=True):
        np.testing.assert_array_equal(compiled, other)


@NNZ
@SIZES
def test_sketched_rows_are_canonical_and_store_no_zeros(n_rows, nnz, seed):
    S = SparseSign(n_rows, N, nnz=nnz).sample(seed)
    product = rows_of(messy(M, N, seed=seed), S)
    assert np.all(product.data != 0)
    for i in range(M):
        indices = product.indices[product.indptr[i] : product.indptr[i + 1]]
        assert np.all(np.diff(indices) > 0)
        assert np.all((indices >= 0) & (indices < n_rows))
    assert product.indptr[1] == 0
    assert np.diff(product.indptr)[[M // 2, M - 1]].tolist() == [0, 0]


def test_entries_that_cancel_are_not_stored():
    # Two columns that the sketch sends to one place, with opposite or equal signs.
    codes = encoded([0, 0], [False, True])
    indptr, indices = np.array([0, 2, 4], np.int32), np.array([0, 1, 0, 1], np.int32)
    data = np.array([3.0, 3.0, 3.0, 2.0])
    got = compiled_rows(indptr, indices, data, codes, 1.0, 1)
    assert [part.tolist() for part in got] == [[0, 0, 1], [0], [1.0]]


def test_a_row_that_cancels_leaves_nothing_to_the_next():
    # All 64 places of a word, and one more, are touched and come out zero.
    n = 65
    codes = encoded(np.arange(n), np.zeros(n, bool))
    indptr = np.array([0, 2 * n, 2 * n + 1], np.int32)
    indices = np.concatenate([np.arange(n), np.arange(n), [n - 1]]).astype(np.int32)
    data = np.concatenate([np.ones(n), -np.ones(n), [5.0]])
    indptr, indices, data = compiled_rows(indptr, indices, data, codes, 1.0, n)
    assert [indptr.tolist(), indices.tolist(), data.tolist()] == [[0, 0, 1], [64], [5.0]]


def test_every_place_of_a_word_is_found():
    n = 200
    order = np.random.default_rng(0).permutation(n).astype(np.int32)
    values = np.arange(1.0, n + 1)
    got = compiled_rows(
        np.array([0, n], np.int32),
        np.arange(n, dtype=np.int32),
        values,
        encoded(order, np.zeros(n, bool)),
        1.0,
        n,
    )
    np.testing.assert_array_equal(got[1], np.arange(n))
    np.testing.assert_array_equal(got[2], values[np.argsort(order)])


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (3, 4)])
def test_a_matrix_without_entries_has_an_empty_sketch(shape):
    A = sp.csr_array(shape)
    A = sp.csr_array((A.data, A.indices.astype(np.int32), A.indptr), shape=shape)
    indptr = A.indptr.astype(np.int32)
    codes = np.zeros((shape[1], 2), np.uint16)
    got = compiled_rows(indptr, A.indices, A.data, codes, 1.0, 7)
    assert [len(part) for part in got] == [shape[0] + 1, 0, 0]
    out = np.ones((shape[0], 7))
    sketch_columns(indptr, A.indices, A.data, codes[:0], 1.0, out)
    assert np.all(out == 1)


@TYPES
def test_sketches_of_blocks_add_up(dtype, index):
    S = SparseSign(30, M, nnz=2).sample(0)
    A = messy(M, N, dtype, index)
    out = np.zeros((N, 30), dtype)
    for start, stop in ((0, 1), (1, 17), (17, 17), (17, M)):
        part = A[start:stop].tocsc()
        columns_of(part, S, out, start)
    assert_close_to_scale(out.T, S.to_dense() @ A.toarray(), dtype)


def test_rows_sketched_in_blocks_are_the_same_bit_by_bit():
    S = SparseSign(30, N, nnz=2).sample(0)
    A = messy(M, N)
    whole = rows_of(A, S)
    parts = [rows_of(A[i : i + 7], S) for i in range(0, M, 7)]
    for name in ("indptr", "indices", "data"):
        stacked = getattr(sp.csr_array(sp.vstack(parts)), name)
        np.testing.assert_array_equal(stacked, getattr(whole, name))


def test_arrays_that_cannot_be_written_are_read():
    # As those that joblib maps from a file for its workers.
    S = SparseSign(30, M, nnz=2).sample(0)
    A = messy(N, M)
    expected = A.toarray() @ S.to_dense().T
    for part in (A.data, A.indices, A.indptr):
        part.flags.writeable = False
    assert_close_to_scale(rows_of(A, S).toarray(), expected, float)
    assert_close_to_scale(columns_of(A.T, S), expected, float)


CONTAINERS = pytest.mark.parametrize(
    "container", [sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix, sp.csc_matrix]
)


def compile_from(n_additions, monkeypatch):
    """Use the compiled loops for at least that many additions."""
    for limit in ("_MANY", "_FEW"):
        monkeypatch.setattr(sparse_sign, limit, n_additions)


@CONTAINERS
@NNZ
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_sides_of_the_threshold_agree(container, nnz, dtype, monkeypatch):
    S = SparseSign(30, M, nnz=nnz).sample(0)
    A = container(messy(M, N, dtype))
    products = []
    for many in (0, A.nnz * nnz + 1):
        compile_from(many, monkeypatch)
        products.append(S @ A)
        assert products[-1].dtype == dtype
        assert isinstance(products[-1], np.ndarray)
    assert_close_to_scale(products[0], products[1], dtype)
    assert_close_to_scale(products[0], S.to_dense() @ A.toarray(), dtype)


@pytest.mark.parametrize("many", [0, 2**20])
@pytest.mark.parametrize("block_size", [1, 7, M])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_blocks_and_threads_change_nothing_on_either_side(
    many, block_size, n_jobs, monkeypatch
):
    compile_from(many, monkeypatch)
    S = SparseSign(30, M, nnz=2).sample(0)
    A = messy(M, N)
    rows = as_row_matrix(A, block_size=block_size, n_jobs=n_jobs)
    assert_close_to_scale(S @ rows, S.to_dense() @ A.toarray(), float)
    rows = as_row_matrix(sp.csr_array(A.T), block_size=block_size, n_jobs=n_jobs)
    assert_close_to_scale(rows @ S.T, A.toarray().T @ S.to_dense().T, float)


@pytest.mark.parametrize("many", [0, 2**20])
def test_integers_and_booleans_are_sketched_as_doubles(many, monkeypatch):
    compile_from(many, monkeypatch)
    S = SparseSign(30, M, nnz=2).sample(0)
    A = sp.csr_array(messy(M, N).toarray())
    for B in (A.astype(np.int64), A.astype(bool), A.astype(np.int8)):
        product = S @ B
        assert product.dtype == np.float64
        assert_close_to_scale(product, S.to_dense() @ B.toarray(), float)
        rows = SparseSign(30, N, nnz=2).sample(0)
        projected = rows.project_sparse(B, rows.drawn())
        assert projected.dtype == np.float64
        expected = B.toarray() @ rows.to_dense().T
        assert_close_to_scale(projected.toarray(), expected, float)


def test_a_sketch_leaves_its_operand_as_it_was(monkeypatch):
    compile_from(0, monkeypatch)
    A = messy(M, N)
    before = [part.copy() for part in (A.indptr, A.indices, A.data)]
    SparseSign(30, M).sample(0) @ A
    S = SparseSign(30, N).sample(0)
    S.project_sparse(A, S.drawn())
    for part, copy in zip((A.indptr, A.indices, A.data), before, strict=True):
        np.testing.assert_array_equal(part, copy)

"""Every source of rows gives the same passes as a dense float64 reference."""

import tracemalloc

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_rnla import (
    CURSelector,
    NystroemGaussianProcessRegressor,
    NystroemKernel,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
)
from sklearn_rnla.operators import CenteredMatrix, as_row_matrix, is_read_lazily, passes
from sklearn_rnla.operators.rows import BLOCK_BYTES
from sklearn_rnla.operators.threads import split
from sklearn_rnla.sketching import Gaussian
from tests.invariants import assert_close_to_scale
from tests.sources import Lazy, on_disk, sparse_chunks

M, N = 700, 23


SOURCES = {
    "ndarray": lambda X, _: X,
    "fortran": lambda X, _: np.asfortranarray(X),
    "strided": lambda X, _: np.repeat(X, 2, axis=0)[::2],
    "csr_array": lambda X, _: sp.csr_array(X),
    "csr_matrix": lambda X, _: sp.csr_matrix(X),
    "csc_array": lambda X, _: sp.csc_array(X),
    "csc_matrix": lambda X, _: sp.csc_matrix(X),
    "memmap": on_disk,
    "lazy": lambda X, _: Lazy(X),
    "dask": lambda X, _: da.from_array(X, chunks=(150, 10)),
    "dask sparse": lambda X, _: sparse_chunks(X, 130),
}


def data(dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((M, N)) + 0.5
    X[rng.random((M, N)) < 0.5] = 0
    return X.astype(dtype)


@pytest.fixture(autouse=True)
def threads():
    with dask.config.set(scheduler="threads"):
        yield


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_passes_agree_with_a_dense_reference(make, dtype, center, weighted, tmp_path):
    X = data(dtype)
    rng = np.random.default_rng(1)
    w = rng.integers(0, 4, M).astype(dtype) if weighted else np.ones(M, dtype)
    mean = np.average(X.astype(float), axis=0, weights=w)
    B = np.sqrt(w)[:, None] * (X.astype(float) - (mean if center else 0))
    V = np.linalg.qr(rng.standard_normal((N, 4)))[0].T.astype(dtype)
    rows = as_row_matrix(make(X, tmp_path), block_size=97)
    rows = rows.with_weight(w) if weighted else rows

    def matrix():
        return CenteredMatrix(rows, center=center)

    assert rows.shape == (M, N)
    assert rows.dtype == dtype
    A = matrix()
    assert A.moments.total_weight == w.sum()
    assert_close_to_scale(A.moments.mean, mean, dtype)
    assert_close_to_scale(A.moments.squared_norm, np.sum(B**2), dtype)
    assert_close_to_scale(matrix().gram(), B.T @ B, dtype)
    for known in (True, False):
        A = matrix()
        if not known:
            A.near(A.take(np.arange(0, M, 3)).moments)
        Z, H = A.gram_product(V)
        assert_close_to_scale(Z, V @ B.T @ B, dtype)
        assert_close_to_scale(H, V @ B.T @ B @ V.T, dtype)
        assert_close_to_scale(A.moments.squared_norm, np.sum(B**2), dtype)
    assert_close_to_scale(matrix().projected_gram(V), V @ B.T @ B @ V.T, dtype)
    R = matrix().triangular_factor(V)
    assert_close_to_scale(R.T @ R, V @ B.T @ B @ V.T, dtype)
    Y = np.asarray(matrix().project(V))
    assert_close_to_scale(Y, (X.astype(float) - (mean if center else 0)) @ V.T, dtype)
    S = Gaussian(6, M).sample(0)
    assert_close_to_scale(matrix().sketch(S), S.to_dense() @ B, dtype)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, bool, np.float16])
def test_other_types_are_read_as_floats(dtype, tmp_path):
    X = (data(np.float64) > 0).astype(dtype)
    expected = np.float32 if dtype == np.float16 else np.float64
    for source in (X, on_disk(X, tmp_path), Lazy(X), sp.csr_array(X.astype(float))):
        rows = as_row_matrix(source)
        if not sp.issparse(source):
            assert rows.dtype == expected
        A = CenteredMatrix(rows)
        assert_close_to_scale(A.moments.mean, X.astype(float).mean(axis=0), rows.dtype)


@pytest.mark.parametrize("sparse", [True, False])
def test_an_iterator_of_ragged_blocks_is_read_once(sparse):
    X = data(np.float64)
    parts = np.split(X, [1, 10, 300, 301])
    rows = as_row_matrix(sp.csr_array(p) if sparse else p for p in parts)
    assert rows.shape == (None, N)
    A = CenteredMatrix(rows)
    assert_close_to_scale(A.gram(), np.cov(X.T) * (M - 1), np.float64)
    assert rows.shape == (M, N)
    with pytest.raises(RuntimeError, match="has been read already"):
        A.gram()


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_threads_change_nothing(make):
    X = make(data(np.float64))
    V = np.eye(3, N)
    products = [
        CenteredMatrix(as_row_matrix(X, block_size=20, n_jobs=n_jobs)).gram_product(V)
        for n_jobs in (None, 1, 2, -1)
    ]
    for product in products[1:]:
        assert_close_to_scale(product.Z, products[0].Z, np.float64)


def test_a_large_mean_costs_no_accuracy():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2000, 10))
    X = (noise + 1e3).astype(np.float32)
    exact = X.astype(float) - X.astype(float).mean(axis=0)
    A = CenteredMatrix(as_row_matrix(X))
    assert abs(A.moments.squared_norm / np.sum(exact**2) - 1) < 1e-5
    H = A.gram_product(np.eye(3, 10, dtype=np.float32)).H
    np.testing.assert_allclose(H, (exact.T @ exact)[:3, :3], rtol=1e-5, atol=1e-2)


def test_sparse_blocks_are_never_made_dense(monkeypatch):
    X = sp.csr_array(data(np.float64))

    def refuse(*args, **kwargs):
        raise AssertionError("a sparse block was made dense")

    monkeypatch.setattr(sp.csr_array, "toarray", refuse)
    monkeypatch.setattr(sp.csr_array, "todense", refuse)
    A = CenteredMatrix(as_row_matrix(X, block_size=100))
    A.gram_product(np.eye(3, N))
    A.project(np.eye(3, N))


def test_a_pass_over_a_file_holds_a_few_blocks_only(tmp_path):
    file = np.memmap(tmp_path / "X.bin", dtype="f4", mode="w+", shape=(40_000, 500))
    file[:] = 1
    A = CenteredMatrix(as_row_matrix(file))
    tracemalloc.start()
    A.gram_product(np.eye(8, 500, dtype="f4"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * BLOCK_BYTES < file.nbytes / 3


@pytest.mark.parametrize("n_rows", [1, 5, 7, 100])
@pytest.mark.parametrize("block_rows", [1, 3, 7, 1000])
def test_blocks_partition_the_rows_evenly(n_rows, block_rows):
    blocks = split(n_rows, block_rows)
    assert np.concatenate([np.arange(n_rows)[b] for b in blocks]).tolist() == list(
        range(n_rows)
    )
    lengths = [b.stop - b.start for b in blocks]
    assert max(lengths) <= block_rows
    assert max(lengths) - min(lengths) <= 1


def test_blocks_come_in_order():
    X = data(np.float64)
    blocks = list(as_row_matrix(X, block_size=50).blocks())
    np.testing.assert_array_equal(np.concatenate([b.values for b in blocks]), X)
    assert [b.start for b in blocks] == np.cumsum(
        [0, *map(len, (b.values for b in blocks))]
    )[:-1].tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_found_by_the_first_pass(bad):
    X = data(np.float64)
    X[3, 4] = bad
    for source in (X, sp.csr_array(X)):
        with pytest.raises(ValueError, match="NaN, infinity"):
            CenteredMatrix(as_row_matrix(source)).gram()


def test_what_is_read_lazily():
    X = data(np.float64)
    assert is_read_lazily(Lazy(X))
    assert is_read_lazily(iter([X]))
    assert is_read_lazily(da.from_array(X))
    for other in (X, sp.csr_array(X), pd.DataFrame(X), X.tolist(), pd.Series(X[0])):
        assert not is_read_lazily(other)
    with pytest.raises(TypeError, match="of type list"):
        as_row_matrix(X.tolist())


def test_adding_states_changes_no_result_of_another_task():
    first = [np.ones(2), 1.0]
    from sklearn_rnla.operators.dask import _merge

    _merge(passes.add_states, [first, [np.ones(2), 2.0]])
    assert first[0].tolist() == [1, 1]


def test_sparse_columns_far_from_zero_are_centred_as_dense_ones(tmp_path):
    for dtype, mean, spread in ((np.float32, 1e4, 3), (np.float64, 1.7e9, 1e5)):
        X = data(np.float64)
        X[:, 0] = np.random.default_rng(2).normal(mean, spread, M)
        X[:, 1] = np.random.default_rng(3).normal(-mean, spread, M)
        X[::50, 1] = 0
        X[:, 2] = mean
        X = X.astype(dtype)
        B = X.astype(float) - X.astype(float).mean(axis=0)
        V = np.linalg.qr(np.random.default_rng(1).standard_normal((N, 4)))[0].T
        S = Gaussian(6, M).sample(0)
        for name in ("csr_array", "csc_matrix", "dask sparse"):
            rows = as_row_matrix(SOURCES[name](X, tmp_path), block_size=97)

            def matrix(rows=rows):
                return CenteredMatrix(rows)

            near = matrix()
            near.near(near.take(np.arange(0, M, 3)).moments)
            found = (
                (matrix().moments.squared_norm, np.sum(B**2)),
                (matrix().gram(), B.T @ B),
                (matrix().gram_product(V).Z, V @ B.T @ B),
                (near.gram_product(V).H, V @ B.T @ B @ V.T),
                (near.moments.squared_norm, np.sum(B**2)),
                (matrix().projected_gram(V), V @ B.T @ B @ V.T),
                (matrix().project(V), B @ V.T),
                (matrix().sketch(S), S.to_dense() @ B),
            )
            for actual, desired in found:
                assert_close_to_scale(actual, desired, dtype, slack=1000)
            R = matrix().triangular_factor(V)
            assert_close_to_scale(R.T @ R, V @ B.T @ B @ V.T, dtype, slack=1000)
            # The constant column has no rounding errors left.
            assert np.all(matrix().gram()[2] == 0)


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("bad", [1e8, -999])
def test_rows_of_no_weight_do_not_say_where_the_data_lie(make, bad, tmp_path):
    X = data(np.float32)
    X[:16] = bad
    w = np.ones(M, np.float32)
    w[:16] = 0
    rows = as_row_matrix(make(X, tmp_path), block_size=97).with_weight(w)
    B = X[16:].astype(float) - X[16:].astype(float).mean(axis=0)
    A = CenteredMatrix(rows)
    assert_close_to_scale(A.moments.squared_norm, np.sum(B**2), np.float32)
    assert_close_to_scale(CenteredMatrix(rows).gram(), B.T @ B, np.float32)


class SparseSlices:
    """Rows on disk whose slices are sparse, as a backed AnnData has them."""

    def __init__(self, X):
        self._X, self.shape, self.dtype = sp.csr_matrix(X), X.shape, X.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._X[rows]


def unannounced(X, n_rows=130):
    """Return a dask array of sparse chunks that does not say so."""
    parts = [
        da.from_delayed(
            dask.delayed(sp.csr_matrix)(X[a : a + n_rows]),
            shape=X[a : a + n_rows].shape,
            dtype=X.dtype,
        )
        for a in range(0, len(X), n_rows)
    ]
    return da.concatenate(parts)


@pytest.mark.parametrize("make", [SparseSlices, unannounced])
@pytest.mark.parametrize("center", [True, False])
def test_slices_and_chunks_that_turn_out_sparse_are_sparse_blocks(make, center):
    X = data(np.float64)
    rows = as_row_matrix(make(X))
    assert rows.sparse
    assert all(isinstance(block.values, sp.csr_array) for block in rows.blocks())
    B = X - X.mean(axis=0) if center else X
    V = np.eye(3, N)
    A = CenteredMatrix(rows, center=center)
    assert_close_to_scale(A.gram_product(V).Z, V @ B.T @ B, np.float64)
    assert_close_to_scale(np.asarray(A.project(V)), B @ V.T, np.float64)
    taken = rows.take(np.array([0, 200, 699]))
    np.testing.assert_array_equal(taken.in_memory().toarray(), X[[0, 200, 699]])


READERS = {
    "ndarray": lambda X, _: X,
    "memmap": on_disk,
    "lazy": lambda X, _: Lazy(X),
    "iterator": lambda X, _: iter([X]),
    "later block": lambda X, _: iter([X.real.astype(float), X]),
    "dask": lambda X, _: da.from_array(X, chunks=(150, 10)),
    "dask that lies": lambda X, _: da.from_delayed(
        dask.delayed(lambda: X)(), shape=X.shape, dtype=float
    ),
}


@pytest.mark.parametrize("make", READERS.values(), ids=READERS)
def test_complex_numbers_are_refused_by_every_source(make, tmp_path):
    X = data(np.float64) * (1 + 1j)
    with pytest.raises(ValueError, match="Complex data not supported"):
        CenteredMatrix(as_row_matrix(make(X, tmp_path))).gram()


@pytest.mark.parametrize("dtype", [object, "U8", "M8[s]"])
@pytest.mark.parametrize("make", [lambda X: X, Lazy, lambda X: iter([X])])
def test_what_is_no_number_is_refused_by_every_source(make, dtype):
    X = np.ones((20, 3)).astype(int).astype(dtype)
    with pytest.raises(ValueError, match="Numbers are needed, but the dtype is"):
        CenteredMatrix(as_row_matrix(make(X))).gram()


@pytest.mark.parametrize("bad", [np.ones((5, 4)), np.ones(3), np.ones((2, 5, 3))])
def test_blocks_of_another_shape_are_refused(bad):
    blocks = (block for block in (np.ones((5, 3)), bad))
    with pytest.raises(ValueError, match=r"features|2D blocks"):
        CenteredMatrix(as_row_matrix(blocks)).gram()
    chunk = da.from_delayed(dask.delayed(lambda: bad)(), shape=(5, 3), dtype=float)
    with pytest.raises(ValueError, match=r"features|2D blocks"):
        CenteredMatrix(as_row_matrix(chunk)).gram()


@pytest.mark.parametrize("make", ["ndarray", "lazy", "iterator", "dask"])
def test_masked_entries_are_refused_and_none_masked_are_not(make, tmp_path):
    X = np.ma.masked_array(data(np.float64), mask=False)
    for masked in (False, True):
        X.mask[5, 3] = masked
        source = READERS[make](X, tmp_path)
        if not masked:
            CenteredMatrix(as_row_matrix(source)).gram()
            continue
        with pytest.raises(ValueError, match="fill them, or use MatrixCompleter"):
            CenteredMatrix(as_row_matrix(source)).gram()


@pytest.mark.parametrize("streamed", [True, False])
def test_duplicates_are_summed_in_a_copy(streamed):
    X = sp.csr_array(([1.0, 2.0, 5.0, 4.0], [1, 1, 2, 0], [0, 2, 4]), shape=(2, 3))
    before = X.data.copy(), X.indices.copy(), X.indptr.copy()
    rows = as_row_matrix(iter([X]) if streamed else X)
    (block,) = rows.blocks()
    assert block.values.has_canonical_format
    assert block.values.toarray().tolist() == [[0, 3, 0], [4, 0, 5]]
    for kept, now in zip(before, (X.data, X.indices, X.indptr), strict=True):
        np.testing.assert_array_equal(kept, now)
    assert CenteredMatrix(rows, center=False).rows.sparse


def test_canonical_rows_are_not_copied():
    X = sp.csr_array(data(np.float64))
    assert np.shares_memory(as_row_matrix(X).in_memory().data, X.data)


class Shrinking(Lazy):
    """Rows that become fewer, or more, after a number of reads."""

    def __init__(self, X, n_reads, step):
        super().__init__(X)
        self._left, self._step = n_reads, step

    def __getitem__(self, rows):
        self._left -= 1
        values = super().__getitem__(rows)
        if self._left >= 0:
            return values
        return np.repeat(values, 2, axis=0) if self._step > 0 else values[: self._step]


@pytest.mark.parametrize("n_reads", [0, 1])
@pytest.mark.parametrize("step", [-3, 1])
@pytest.mark.parametrize(
    "fit",
    [
        RandomizedPCA(2, random_state=0).fit,
        RandomizedPCA(2, algorithm="one-view", random_state=0).fit,
        RandomizedPCA(2, random_state=0).fit(data(np.float64)).transform,
        CURSelector(2, random_state=0).fit,
        NystroemKernel(n_components=5, random_state=0).fit,
        lambda X: SketchedRidge(random_state=0).fit(X, np.ones(M)),
        lambda X: NystroemGaussianProcessRegressor(n_landmarks=5).fit(X, np.ones(M)),
    ],
)
def test_the_number_of_rows_is_checked_in_every_pass(fit, n_reads, step):
    with pytest.raises(ValueError, match=r"A block has .* rows, but .* were asked for"):
        fit(Shrinking(data(np.float64), n_reads, step))


def test_the_number_of_rows_of_every_chunk_is_checked():
    chunk = da.from_delayed(dask.delayed(data(np.float64))[:-1], (M, N), dtype=float)
    rows = as_row_matrix(chunk)
    for read in (
        CenteredMatrix(rows).gram,
        rows.in_memory,
        rows.map(passes.project, np.ones((N, 2)), 0.0, n_columns=2).compute,
        lambda: rows.take(np.arange(3)),
    ):
        with pytest.raises(ValueError, match=f"has {M - 1} rows, but {M} rows were asked"):
            read()


def test_every_pass_is_counted():
    A = CenteredMatrix(as_row_matrix(data(np.float64)))
    V = np.eye(3, N)
    passes_of = (
        A.gram,
        lambda: A.gram_product(V),
        lambda: A.project(V),
        lambda: A.triangular_factor(V),
        lambda: A.sketch(Gaussian(6, M).sample(0)),
        lambda: Gaussian(6, M).sample(0) @ A,
        A.find_moments,
    )
    for i, make_pass in enumerate(passes_of, 1):
        make_pass()
        assert A.n_passes == i


def test_an_iterator_may_start_with_blocks_of_no_rows():
    X = data(np.float64)
    rows = as_row_matrix(iter([X[:0], X[:0], X[:100], X[:0], X[100:]]))
    assert_close_to_scale(CenteredMatrix(rows).gram(), np.cov(X.T) * (M - 1), np.float64)
    with pytest.raises(ValueError, match="no rows to fit"):
        as_row_matrix(iter([X[:0]]))


@pytest.mark.parametrize("make", READERS.values(), ids=READERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_mapped_is_finite_whatever_the_source(make, bad, tmp_path):
    X = data(np.float64).copy()
    X[-3, 2] = bad
    rows = as_row_matrix(make(X, tmp_path))
    V = np.random.default_rng(0).standard_normal((X.shape[1], 2))
    with pytest.raises(ValueError, match="Input X contains NaN, infinity"):
        np.asarray(rows.map(passes.project, V, 0.0, n_columns=2))


@pytest.mark.parametrize(
    "estimator",
    [
        RandomizedPCA(2, random_state=0),
        NystroemKernel(n_components=5, random_state=0),
        SketchProjection(2, random_state=0),
        SketchedRidge(random_state=0),
    ],
)
def test_new_rows_that_are_not_finite_are_refused_however_many(estimator):
    rng = np.random.default_rng(0)
    small, large = rng.standard_normal((50, 6)), np.zeros((200_000, 6))
    large[150_000, 3] = np.nan
    estimator.fit(small, small[:, 0])
    for X in (large[149_000:151_000], large):
        with pytest.raises(ValueError, match="NaN"):
            getattr(estimator, "predict" if hasattr(estimator, "predict") else "transform")(
                X
            )

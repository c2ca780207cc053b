"""MatrixCompleter on whatever the data come as; and on whatever is wrong with them."""

import pickle
from functools import cache

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

from sklearn_rnla import MatrixCompleter
from tests.sources import NAMES_IN_POLARS, Lazy

SOLVERS = ["em", "gibbs", "als", "softimpute", "exact", "iterative_svd"]
EACH_SOLVER = pytest.mark.parametrize("solver", SOLVERS)
ON_ENTRIES = pytest.mark.parametrize("solver", SOLVERS[1:])
# Entries with noise are not recovered exactly.
UNCONVERGED = pytest.mark.filterwarnings(
    "ignore:The solver .* stopped:sklearn.exceptions.ConvergenceWarning"
)
LEFT_OUT = pytest.mark.filterwarnings("ignore:.*are left out:UserWarning")

RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((40, 2)) @ RNG.standard_normal((2, 15)) + 2
X = TRUTH + 0.1 * RNG.standard_normal(TRUTH.shape)
X[RNG.random(X.shape) < 0.4] = np.nan
MISSING = np.isnan(X)
ROWS, COLUMNS = np.nonzero(~MISSING)
COO = sp.coo_array((X[ROWS, COLUMNS], (ROWS, COLUMNS)), shape=X.shape)


def completer(solver="als", rank=2, **params):
    if solver == "gibbs":
        params = {"max_iter": 12, **params}
    rank = "auto" if solver == "softimpute" else rank
    return MatrixCompleter(rank, solver=solver, **{"random_state": 0, **params})


@cache
def of_dense(solver):
    """Return the completer of X that others are compared with; not to be changed."""
    return completer(solver).fit(X)


@cache
def of_entries(solver):
    """Return that of the same entries as sparse data; not to be changed."""
    return completer(solver).fit(sp.csr_array(COO))


def whole(model):
    """Return all entries of a model of X."""
    return model.predict_entries(*np.indices(X.shape).reshape(2, -1)).reshape(X.shape)


# --- Dense data


DENSE = {
    "list": lambda A: A.tolist(),
    "fortran": np.asfortranarray,
    "strided": lambda A: np.repeat(A, 2, axis=0)[::2],
    "read only": lambda A: np.frombuffer(A.tobytes()).reshape(A.shape),
    "pandas": pd.DataFrame,
    "polars": lambda A: pl.DataFrame(A, schema=[f"c{j}" for j in range(A.shape[1])]),
    "object": lambda A: A.astype(object),
    "nullable": lambda A: pd.DataFrame(A).astype("Float64"),
}
EACH_DENSE = pytest.mark.parametrize("make", DENSE.values(), ids=DENSE)


def masked(A):
    """Return the data with a mask over what is missing, and a placeholder behind it."""
    return np.ma.masked_array(
        np.where(np.isnan(A), -999.0, A), np.isnan(A), fill_value=1e20
    )


class File(Lazy):
    """Lazy rows that turn into what lies behind their mask, as those of netCDF4 do."""

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._X.data, dtype=dtype)


MASKED = {
    "array": masked,
    "rows": lambda A: list(masked(A)),
    "lazy": lambda A: File(masked(A)),
    "dask": lambda A: da.from_array(masked(A), chunks=(20, 15)),
}


@pytest.mark.parametrize("make", MASKED.values(), ids=MASKED)
@pytest.mark.parametrize("solver", ["em", "als"])
def test_a_mask_is_a_missing_entry(make, solver):
    expected = of_dense(solver)
    data = make(X)
    model = completer(solver).fit(data)
    np.testing.assert_array_equal(model.transform(data), expected.transform(X))
    np.testing.assert_array_equal(completer(solver).fit_transform(data), model.transform(X))
    np.testing.assert_array_equal(model.predict(data), expected.predict(X))
    pairs = [0, 5], [0, 3]
    np.testing.assert_array_equal(
        model.predict_entries(*pairs), expected.predict_entries(*pairs)
    )
    assert model.score(data) == expected.score(X)
    for found, wanted in zip(model.fold_in(data), expected.fold_in(X), strict=True):
        np.testing.assert_array_equal(found, wanted)
    found, wanted = model.recommend(data, 3), expected.recommend(X, 3)
    np.testing.assert_array_equal(found[0], wanted[0])


def test_masked_integers_and_single_precision_are_data_too():
    whole = np.ma.masked_array(np.arange(60).reshape(12, 5) % 7, False)
    whole[2, 3] = np.ma.masked
    filled = completer(rank=1).fit_transform(whole)
    assert filled.dtype == np.float64
    np.testing.assert_array_equal(filled[~whole.mask], whole.compressed())
    single = completer(rank=1).fit_transform(masked(X.astype(np.float32)))
    assert single.dtype == np.float32


@UNCONVERGED
@EACH_DENSE
@EACH_SOLVER
def test_every_source_is_filled_in_alike(make, solver):
    reference = of_dense(solver)
    source = make(X)
    model = completer(solver).fit(source)
    filled = model.transform(source)
    assert isinstance(filled, np.ndarray)
    np.testing.assert_allclose(filled, reference.transform(X), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(filled[~MISSING], X[~MISSING])
    assert model.score(source) == pytest.approx(reference.score(X))
    for ours, theirs in zip(model.fold_in(source), reference.fold_in(X), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(
        model.recommend(source, 3)[0], reference.recommend(X, 3)[0]
    )


@UNCONVERGED
@EACH_SOLVER
def test_single_precision_stays_single(solver):
    single = X.astype(np.float32)
    model = completer(solver).fit(single)
    filled = model.transform(single)
    assert filled.dtype == np.float32
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~MISSING], single[~MISSING])
    if solver == "gibbs":
        # It draws other numbers.
        assert np.sqrt(np.mean((filled - TRUTH)[MISSING] ** 2)) <= TRUTH.std() / 2
    else:
        expected = completer(solver).fit_transform(X)
        assert np.sqrt(np.mean((filled - expected)[MISSING] ** 2)) <= 0.05
    whole = completer(solver, add_indicator=True, keep_empty_features=True)
    single = np.column_stack([single, np.full(40, np.nan, np.float32)])
    assert whole.fit_transform(single).dtype == np.float32
    if solver != "em":
        sparse = sp.csr_array(COO, dtype=np.float32)
        assert completer(solver).fit_transform(sparse).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool])
def test_integers_and_booleans_have_nothing_to_fill_in(dtype):
    whole = (TRUTH > 2).astype(dtype)
    for solver in ("em", "als", "gibbs"):
        model = completer(solver, tol=0.1)
        out = model.fit_transform(whole)
        assert out.dtype == np.float64
        np.testing.assert_array_equal(out, whole)
    sparse = sp.csr_array(whole)
    scores = completer("als").fit_transform(sparse)
    assert scores.shape == (40, 2)
    assert scores.dtype == np.float64


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("keep", [False, True])
@LEFT_OUT
def test_names_are_those_of_the_columns(kind, keep):
    if kind is pl.DataFrame and not NAMES_IN_POLARS:
        pytest.skip("this scikit-learn finds no names in polars")
    names = [f"item_{j:02}" for j in range(15)]
    gaps = X.copy()
    gaps[:, 4] = np.nan
    frame = kind(dict(zip(names, gaps.T, strict=True)))
    model = completer(keep_empty_features=keep).fit(frame)
    assert model.feature_names_in_.tolist() == names
    kept = names if keep else names[:4] + names[5:]
    assert model.get_feature_names_out().tolist() == kept
    expected = model.transform(frame)
    assert isinstance(expected, np.ndarray)
    for container, made in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        out = model.set_output(transform=container).transform(frame)
        assert isinstance(out, made)
        assert list(out.columns) == kept
        np.testing.assert_array_equal(out.to_numpy(), expected)
    axis = {"axis": 1} if kind is pd.DataFrame else {}
    renamed = frame.rename({"item_00": "other"}, **axis)
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(renamed)
    with pytest.raises(ValueError, match="input_features is not equal"):
        model.get_feature_names_out(names[::-1])


def test_an_index_is_kept_and_indicators_are_named():
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(15)], index=range(100, 140))
    model = completer(add_indicator=True).set_output(transform="pandas")
    out = model.fit_transform(frame)
    assert out.index.tolist() == frame.index.tolist()
    assert list(out.columns[:15]) == list(frame.columns)
    assert list(out.columns[15:]) == [f"missingindicator_c{j}" for j in range(15)]
    np.testing.assert_array_equal(out.to_numpy()[:, 15:], MISSING)


def test_scores_of_sparse_data_have_names():
    model = completer("als", 3).set_output(transform="pandas").fit(COO)
    out = model.transform(COO)
    assert list(out.columns) == [f"matrixcompleter{i}" for i in range(3)]
    assert model.get_feature_names_out().tolist() == list(out.columns)


# --- Sparse data


def with_int64(A):
    A = sp.csr_array(A)
    A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    return A


def unsorted(A):
    A = sp.csr_array(A)
    for i in range(A.shape[0]):
        part = slice(A.indptr[i], A.indptr[i + 1])
        A.indices[part] = A.indices[part][::-1].copy()
        A.data[part] = A.data[part][::-1].copy()
    A.has_sorted_indices = False
    return A


SPARSE = {
    "csr_array": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "csc_array": sp.csc_array,
    "csc_matrix": sp.csc_matrix,
    "coo_array": sp.coo_array,
    "coo_matrix": sp.coo_matrix,
    "lil": sp.lil_array,
    "int64": with_int64,
    "unsorted": unsorted,
}
EACH_SPARSE = pytest.mark.parametrize("make", SPARSE.values(), ids=SPARSE)


@UNCONVERGED
@EACH_SPARSE
@ON_ENTRIES
def test_every_layout_is_the_same(make, solver):
    # Columns of dense data have units of their own, those of sparse data do not.
    expected = of_entries(solver)
    source = make(COO)
    assert source.nnz == (~MISSING).sum()
    model = completer(solver).fit(source)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), atol=1e-10)
    scores = model.transform(source)
    assert isinstance(scores, np.ndarray)
    assert scores.shape == (40, model.rank_)
    np.testing.assert_allclose(scores, expected.transform(sp.csr_array(COO)), atol=1e-10)
    assert model.score(source) == pytest.approx(expected.score(X))
    assert (
        model.describe_sampling().entries_per_row.tolist()
        == (~MISSING).sum(axis=1).tolist()
    )


LAYOUTS = ["csr", "csc", "coo"]
EACH_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)


@UNCONVERGED
@EACH_LAYOUT
@ON_ENTRIES
def test_stored_zeros_are_known(layout, solver):
    # Zero in one block, five elsewhere. Without the zeros, it would be five everywhere.
    truth = np.full(X.shape, 5.0)
    truth[:15, :8] = 0
    stored = sp.coo_array((truth[ROWS, COLUMNS], (ROWS, COLUMNS)), shape=X.shape)
    stored = stored.asformat(layout)
    assert stored.nnz == COO.nnz
    params = {"tol": 1e-6} if solver == "exact" else {}
    model = completer(solver, **params).fit(stored)
    at = MISSING & (truth == 0)
    found = whole(model)[at]
    assert np.abs(found).mean() < 1.5
    best, _ = model.recommend(stored, 15)
    for i in range(40):
        assert not set(best[i]) & set(np.flatnonzero(~MISSING[i]))
    dropped = sp.csr_array(stored, copy=True)
    dropped.eliminate_zeros()
    assert dropped.nnz < stored.nnz
    if solver in ("als", "gibbs", "softimpute"):
        without = completer(solver, **params).fit(dropped)
        assert whole(without)[at].mean() > 3.5
    # In the model of all, they tell the rows apart.
    rows = model.fold_in(stored), model.fold_in(dropped)
    assert np.abs(rows[0].factors - rows[1].factors).max() > 0.1


@ON_ENTRIES
def test_where_all_is_zero_the_model_is_zero(solver):
    nothing = sp.coo_array((np.zeros(COO.nnz), (ROWS, COLUMNS)), shape=X.shape)
    model = completer(solver, alpha=0.1 if solver == "softimpute" else None).fit(nothing)
    found = whole(model)
    # A sampler has noise of its own.
    np.testing.assert_allclose(found, 0, atol=0.1 if solver == "gibbs" else 1e-12)


@UNCONVERGED
@ON_ENTRIES
def test_columns_of_zeros_do_no_harm(solver):
    gaps = X.copy()
    gaps[:, :10] = np.where(MISSING[:, :10], np.nan, 0.0)
    filled = completer(solver).fit_transform(gaps)
    assert np.isfinite(filled).all()
    assert np.abs(filled[:, :10]).mean() < 0.5


def test_zero_ratings_lower_the_offset():
    values = np.tile([0.0, 10.0], 300)
    rows, columns = np.divmod(np.arange(600), 15)
    stored = sp.csr_array(sp.coo_array((values, (rows, columns)), shape=(40, 15)))
    for solver in ("als", "gibbs"):
        model = completer(solver, 1).fit(stored)
        assert model.predict_entries(rows, columns).mean() == pytest.approx(5, abs=0.5)


def doubled(layout, values):
    """Return COO with its entries stored twice, as the one and the other values."""
    rows, columns = COO.coords if hasattr(COO, "coords") else (COO.row, COO.col)
    places = np.tile(rows, 2), np.tile(columns, 2)
    data = np.concatenate(values)
    order = np.lexsort(places[::-1] if layout != "csc" else places)
    rows, columns, data = (x[order] for x in (*places, data))
    if layout == "coo":
        return sp.coo_array((data, (rows, columns)), shape=X.shape)
    major, minor = (rows, columns) if layout == "csr" else (columns, rows)
    size = X.shape[layout == "csc"]
    indptr = np.searchsorted(major, np.arange(size + 1))
    kind = sp.csr_array if layout == "csr" else sp.csc_array
    return kind((data, minor, indptr), shape=X.shape)


@EACH_LAYOUT
@pytest.mark.parametrize("solver", ["als", "gibbs"])
def test_entries_stored_twice_are_averaged(layout, solver):
    twice = doubled(layout, (COO.data + 1, COO.data - 1))
    assert twice.nnz == 2 * COO.nnz
    expected = completer(solver).fit(COO)
    model = completer(solver).fit(twice)
    np.testing.assert_allclose(whole(model), whole(expected), atol=1e-8)
    np.testing.assert_allclose(
        expected.transform(twice), expected.transform(COO), atol=1e-8
    )
    assert expected.score(twice) == pytest.approx(expected.score(COO))
    # The data given are left as they are.
    assert twice.nnz == 2 * COO.nnz


@EACH_LAYOUT
def test_stored_nan_is_not_known(layout):
    rows, columns = np.nonzero(np.ones(X.shape))
    stored = sp.coo_array((X.ravel(), (rows, columns)), shape=X.shape).asformat(layout)
    assert stored.nnz == X.size
    model, expected = completer().fit(stored), completer().fit(COO)
    np.testing.assert_allclose(whole(model), whole(expected))
    np.testing.assert_allclose(model.transform(stored), expected.transform(COO), atol=1e-12)
    assert (
        model.describe_sampling().entries_per_row.tolist()
        == (~MISSING).sum(axis=1).tolist()
    )
    assert np.isnan(stored.data).sum() == MISSING.sum()


@EACH_LAYOUT
def test_a_stored_nan_does_not_undo_the_entry_beside_it(layout):
    twice = doubled(layout, (COO.data, np.full(COO.nnz, np.nan)))
    model, expected = completer().fit(twice), completer().fit(COO)
    np.testing.assert_allclose(whole(model), whole(expected))


def few_of_many_columns(m=50, n=10**6, per_row=6):
    rng = np.random.default_rng(0)
    used = np.sort(rng.choice(n, 20, replace=False))
    rows = np.repeat(np.arange(m), per_row)
    columns = np.concatenate([rng.choice(20, per_row, replace=False) for _ in range(m)])
    left, right = rng.standard_normal(m), rng.standard_normal(20)
    values = left[rows] * right[columns] + 3
    coo = sp.coo_array((values, (rows, used[columns])), shape=(m, n))
    return coo, used, np.outer(left, right) + 3


@UNCONVERGED
@pytest.mark.parametrize("solver", ["als", "gibbs"])
def test_few_columns_of_a_million_are_enough(solver):
    coo, used, truth = few_of_many_columns()
    model = completer(solver, 1, max_iter=4 if solver == "gibbs" else 20).fit(coo.tocsr())
    assert model.column_biases_.shape == (10**6,)
    assert model.transform(coo).shape == (50, 1)
    pairs = np.argwhere(np.ones((50, 20)))
    mean = model.predict_entries(pairs[:, 0], used[pairs[:, 1]])
    # Better than the mean, which errs by the spread of the truth.
    assert np.sqrt(np.mean((mean - truth.ravel()) ** 2)) < 0.97 * truth.std()
    best, scores = model.recommend([0, 49], 5)
    assert best.shape == (2, 5)
    assert np.isfinite(scores).all()
    assert not set(best[0]) & set(coo.tocsr().indices[:6])


@UNCONVERGED
def test_a_matrix_that_would_not_fit_in_memory_is_embedded():
    # Dense it would have 80 GB.
    coo, _, _ = few_of_many_columns(10_000)
    model = completer("als", 1, max_iter=5).fit(coo.tocsr())
    scores = model.transform(coo)
    assert scores.shape == (10_000, 1)
    assert model.fold_in(coo).factors.shape == (10_000, 1)
    assert model.score(coo) <= 1
    assert model.recommend([0, 7], 3, exclude_seen=False)[0].shape == (2, 3)


def test_a_column_without_an_entry_has_no_bias():
    _, used, _ = few_of_many_columns(n=200)
    coo, _, _ = few_of_many_columns(n=200)
    model = completer("als", 1).fit(coo)
    unused = np.setdiff1d(np.arange(200), used)
    np.testing.assert_allclose(model.column_biases_[unused], 0, atol=1e-12)
    np.testing.assert_allclose(model.column_factors_[unused], 0, atol=1e-12)
    found = model.predict_entries(np.zeros(len(unused), int), unused)
    np.testing.assert_allclose(found, model.offset_ + model.row_biases_[0])


@UNCONVERGED
@pytest.mark.parametrize("solver", ["als", "softimpute"])
def test_nothing_that_can_be_computed_again_is_pickled(solver):
    coo, _, _ = few_of_many_columns(2000, n=4000)
    data = coo.tocsr()
    model = completer(solver, 1, alpha=0.1, max_iter=5).fit(data)
    stored = pickle.dumps(model)
    kept = [data.indptr, data.indices, model._completion.model.rows]
    kept += [model._completion.model.columns, model.components_, model.column_biases_]
    kept += [model.column_errors_]
    # A byte of each entry beside its place; the other arrays are short.
    assert len(stored) <= sum(each.nbytes for each in kept) + data.nnz + 10_000
    model.describe_sampling()
    model.recommend([0, 1])
    assert len(pickle.dumps(model)) == len(stored)
    again = pickle.loads(stored)
    np.testing.assert_array_equal(again.recommend([0, 7])[0], model.recommend([0, 7])[0])


# --- What is refused


def broken(value):
    bad = X.copy()
    bad[5, 3] = value
    return bad


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_infinity_is_refused(make, value):
    bad = broken(value)
    bad = make(np.nan_to_num(bad, nan=1.0, posinf=np.inf, neginf=-np.inf))
    model = completer()
    with pytest.raises(ValueError, match="infinity"):
        model.fit(bad)
    assert not [name for name in vars(model) if name.endswith("_")]
    model.fit(X)
    for method in (model.transform, model.score, model.fold_in, model.recommend):
        with pytest.raises(ValueError, match="infinity"):
            method(bad)


@pytest.mark.parametrize(
    ("params", "data", "message"),
    [
        ({}, [["a", "b"], ["c", "d"]], "could not convert string"),
        ({}, np.zeros((0, 5)), "0 sample"),
        ({}, np.zeros((3, 0)), "0 feature"),
        ({}, sp.csr_array((0, 5)), "0 sample"),
        ({}, X[0], "Expected 2D array"),
        ({}, X + 1j, "Complex data"),
        ({}, np.full((4, 3), np.nan), "no known entry"),
        ({"keep_empty_features": True}, np.full((4, 3), np.nan), "no known entry"),
        ({"missing_values": 7}, np.full((4, 3), 7), "no known entry"),
        ({}, sp.csr_array((4, 3)), "no known entry"),
        ({"solver": "gibbs"}, sp.coo_array((4, 3)), "no known entry"),
        ({"rank": 16}, X, r"rank=16 must be at most min\(n_rows=40, n_columns=15\)"),
        ({"rank": 5, "solver": "gibbs"}, X[:4], "rank=5 must be at most"),
        ({"rank": 5, "solver": "als"}, sp.csr_array(COO)[:4], "rank=5 must be at most"),
        ({"rank": 0}, X, "'rank' parameter"),
        ({"rank": 1.5}, X, "'rank' parameter"),
        ({"rank": "all"}, X, "'rank' parameter"),
        ({"rank": None}, X, "'rank' parameter"),
        ({"solver": "svd"}, X, "'solver' parameter"),
        ({"solver": None}, X, "'solver' parameter"),
        ({"alpha": 0.0}, X, "'alpha' parameter .*Got 0.0"),
        ({"alpha": -1.0}, X, "'alpha' parameter .*Got -1.0"),
        ({"alpha": "auto"}, X, "'alpha' parameter"),
        ({"reg_power": -0.5}, X, "'reg_power' parameter .*Got -0.5"),
        ({"center": "yes"}, X, "'center' parameter"),
        ({"neighbors": 5}, X, "'neighbors' parameter .*Got 5"),
        ({"max_iter": 0}, X, "'max_iter' parameter .*Got 0"),
        ({"max_iter": 2.5}, X, "'max_iter' parameter .*Got 2.5"),
        ({"tol": -1e-3}, X, "'tol' parameter .*Got -0.001"),
        ({"validation_fraction": 1.0}, X, "'validation_fraction' parameter .*Got 1.0"),
        ({"validation_fraction": -0.1}, X, "'validation_fraction' parameter .*Got -0.1"),
        ({"early_stopping": "yes"}, X, "'early_stopping' parameter"),
        ({"missing_values": "NA"}, X, "'missing_values' parameter .*Got 'NA'"),
        ({"missing_values": None}, X, "'missing_values' parameter .*Got None"),
        ({"add_indicator": "yes"}, X, "'add_indicator' parameter"),
        ({"keep_empty_features": "yes"}, X, "'keep_empty_features' parameter"),
        ({"warm_start": "yes"}, X, "'warm_start' parameter"),
        ({"n_jobs": 1.5}, X, "'n_jobs' parameter .*Got 1.5"),
        ({"random_state": -1}, X, "random_state"),
        ({"solver": "em"}, sp.csr_array(COO), "solver='em' needs dense data"),
        ({"solver": "gibbs", "center": False}, X, "center=False cannot be .*'gibbs'"),
        ({"solver": "em", "center": False}, X, "center=False cannot be .*'em'"),
        (
            {"solver": "softimpute", "validation_fraction": 0},
            X,
            "alpha=None needs a positive validation_fraction",
        ),
        (
            {"solver": "iterative_svd", "rank": "auto", "validation_fraction": 0},
            X,
            "rank='auto' needs a positive validation_fraction",
        ),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, data, message):
    for method in ("fit", "fit_transform"):
        model = MatrixCompleter(**params)
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(data)
        assert not [name for name in vars(model) if name.endswith("_")]


def test_the_rank_is_at_most_that_of_the_columns_that_are_left():
    gaps = X[:, :4].copy()
    gaps[:, 1:3] = np.nan
    with pytest.raises(ValueError, match=r"rank=3 must be at most .*n_columns=2"):
        completer(rank=3).fit(gaps)


@pytest.mark.parametrize("data", [iter([X]), None, 3.0, "X"])
def test_what_is_no_matrix_is_refused(data):
    with pytest.raises((ValueError, TypeError)):
        completer().fit(data)


@EACH_SOLVER
@UNCONVERGED
def test_another_number_of_features_is_refused(solver):
    model = completer(solver).fit(X)
    for method in (model.transform, model.score, model.fold_in, model.recommend):
        for bad in (X[:, :7], np.hstack([X, X]), sp.csr_array(np.ones((3, 7)))):
            with pytest.raises(ValueError, match=rf"X has {bad.shape[1]} features"):
                method(bad)


def test_unfitted_completers_are_refused():
    model = MatrixCompleter()
    for name in ("transform", "predict", "score", "fold_in", "recommend"):
        with pytest.raises(NotFittedError):
            getattr(model, name)(X)
    with pytest.raises(NotFittedError):
        model.predict_entries([0], [0])
    with pytest.raises(NotFittedError):
        model.get_feature_names_out()


def test_attributes_are_not_there_before_fit():
    model = MatrixCompleter()
    for name in ("row_biases_", "column_biases_", "row_factors_", "rank_"):
        assert not hasattr(model, name)


def test_a_failed_fit_leaves_the_previous_state():
    model = completer(add_indicator=True).fit(X)
    before = vars(model).copy()
    for bad in (
        broken(np.inf),
        X[:0],
        X[:1, :1],
        X[:, :1],
        np.full((4, 3), np.nan),
        sp.csr_array((4, 3)),
        [["a"]],
        X[0],
    ):
        with pytest.raises(ValueError):
            model.fit(bad)
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[key] is before[key] for key in before)


@UNCONVERGED
@pytest.mark.parametrize("solver", ["em", "gibbs", "exact", "iterative_svd"])
def test_a_penalty_has_no_effect_where_there_is_none(solver):
    with pytest.warns(UserWarning, match=rf"alpha=0.5 has no effect .*'{solver}'"):
        model = completer(solver, alpha=0.5).fit(X)
    np.testing.assert_array_equal(model.transform(X), of_dense(solver).transform(X))


def test_a_dense_matrix_is_not_made_of_sparse_data():
    with pytest.raises(TypeError, match="predict does not accept sparse data"):
        completer().fit(COO).predict(COO)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([40], [0], "rows go from 40 to 40, but there are 40 rows"),
        ([0, -1], [0, 0], "rows go from -1 to 0"),
        ([0], [15], "columns go from 15 to 15, but there are 15 columns"),
        ([0], [-1], "columns go from -1"),
        ([2**40], [0], "rows go from"),
        (np.array([2**64 - 1], np.uint64), [0], "rows go from"),
        ([0.0], [1], "rows must be integers"),
        ([0], ["b"], "columns must be integers"),
        ([True], [False], "rows must be integers"),
        ([0, 1], [0], "vectors of one length"),
        (3, 2, "vectors of one length"),
        ([[0, 1]], [[0, 1]], "vectors of one length"),
    ],
)
def test_wrong_pairs_are_refused_with_the_reason(rows, columns, message):
    model = completer().fit(X)
    with pytest.raises(ValueError, match=message):
        model.predict_entries(rows, columns)


@pytest.mark.parametrize(
    ("rows", "params", "message"),
    [
        ([40], {}, "rows go from 40 to 40, but there are 40"),
        ([0, -1], {}, "rows go from -1"),
        ([0.0], {}, "must be integers"),
        (["a"], {}, "must be integers"),
        ([True, False], {}, "must be integers"),
        ([0], {"n": 0}, "n=0 must be an int"),
        ([0], {"n": -3}, "n=-3 must be an int"),
        ([0], {"n": 2.0}, "n=2.0 must be an int"),
        ([0], {"n": None}, "n=None must be an int"),
    ],
)
def test_wrong_rows_are_refused_with_the_reason(rows, params, message):
    model = completer().fit(X)
    with pytest.raises(ValueError, match=message):
        model.recommend(rows, **params)


def test_no_rows_have_no_recommendations():
    model = completer().fit(X)
    columns, scores = model.recommend(np.zeros(0, int), 3)
    assert columns.shape == scores.shape == (0, 3)


def test_a_score_needs_two_entries_in_a_row():
    model = completer().fit(X)
    alone = np.full((3, 15), np.nan)
    with pytest.raises(ValueError, match="at least two known entries"):
        model.score(alone)
    alone[np.arange(3), np.arange(3)] = 1.0
    with pytest.raises(ValueError, match="at least two known entries"):
        model.score(alone)
    with pytest.raises(ValueError, match="at least two known entries"):
        model.score(sp.csr_array((3, 15)))
    alone[0, 5:8] = [1.0, 2.0, 3.0]
    assert model.score(alone) <= 1


def test_an_indicator_is_of_dense_data():
    model = completer(add_indicator=True).fit(COO)
    with pytest.raises(ValueError, match="add_indicator=True needs dense data"):
        model.transform(X)
    assert model.transform(COO).shape == (40, 2)


def test_a_target_is_ignored():
    expected = completer().fit(X).transform(X)
    for other in (np.arange(40), np.arange(3), "none", np.full(40, np.nan)):
        np.testing.assert_array_equal(completer().fit(X, other).transform(X), expected)
    assert completer().fit(X).score(X, np.arange(3)) <= 1


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("solver", ["em", "gibbs", "als"])
def test_units_do_not_matter(solver, scale):
    expected = completer(solver).fit_transform(X)
    filled = completer(solver).fit_transform(scale * X)
    # To what stopping leaves.
    assert np.abs(filled / scale - expected).max() <= 0.1

"""CURSelector on whatever the data come as; and on whatever is wrong with them."""

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

from sklearn_rnla import CURSelector
from tests.invariants import assert_close_to_scale
from tests.matrices import with_spectrum
from tests.sources import NAMES_IN_POLARS, Lazy, on_disk, sparse_chunks

X = with_spectrum(1 / np.arange(1.0, 61), 400, 60)
X *= np.abs(X) > 0.002
y = X[:, 0] - X[:, 1] + 0.01 * np.random.default_rng(0).standard_normal(400)
METHODS = ["cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top", "supervised"]
EACH_METHOD = pytest.mark.parametrize("method", METHODS)

SOURCES = {
    "list": lambda rows, _: rows.tolist(),
    "pandas": lambda rows, _: pd.DataFrame(rows),
    "polars": lambda rows, _: pl.DataFrame(rows),
    "fortran": lambda rows, _: np.asfortranarray(rows),
    "csr_array": lambda rows, _: sp.csr_array(rows),
    "csr_matrix": lambda rows, _: sp.csr_matrix(rows),
    "csc_array": lambda rows, _: sp.csc_array(rows),
    "csc_matrix": lambda rows, _: sp.csc_matrix(rows),
    "coo": lambda rows, _: sp.coo_array(rows),
    "memmap": on_disk,
    "lazy": lambda rows, _: Lazy(rows),
    "dask": lambda rows, _: da.from_array(rows, chunks=(130, 40)),
    "dask sparse": lambda rows, _: sparse_chunks(rows, 130),
}
EACH_SOURCE = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)


def dense(A):
    A = A.compute() if isinstance(A, da.Array) else A
    A = A.toarray() if sp.issparse(A) else A
    return np.asarray(A, dtype=float)


@EACH_SOURCE
@EACH_METHOD
def test_every_source_gives_the_same_columns(make, method, tmp_path):
    reference = CURSelector(5, method=method, random_state=0).fit(X, y)
    source = make(X, tmp_path)
    selector = CURSelector(5, method=method, random_state=0).fit(source, y)
    if method == "supervised":
        # A dense matrix of few columns is summed, not sketched.
        assert selector.column_indices_[0] in reference.column_indices_
    else:
        np.testing.assert_array_equal(selector.column_indices_, reference.column_indices_)
        assert_close_to_scale(selector.interpolation_, reference.interpolation_, float, 1e4)
        assert selector.error_estimate_ == pytest.approx(reference.error_estimate_)
    kept = selector.transform(source)
    np.testing.assert_array_equal(dense(kept), X[:, np.sort(selector.column_indices_)])
    assert selector.n_features_in_ == 60
    kind = type(source).__module__.split(".")[0]
    if kind == "scipy":
        assert sp.issparse(kept)
    elif kind == "dask":
        assert isinstance(kept, da.Array)
    elif kind not in ("pandas", "polars"):
        assert isinstance(kept, np.ndarray)


@EACH_SOURCE
def test_every_source_gives_rows_too(make, tmp_path):
    reference = CURSelector(4, n_rows=4, random_state=0).fit(X)
    source = make(X, tmp_path)
    selector = CURSelector(4, n_rows=4, random_state=0).fit(source)
    np.testing.assert_array_equal(selector.column_indices_, reference.column_indices_)
    np.testing.assert_array_equal(dense(selector.C_), X[:, selector.column_indices_])
    np.testing.assert_array_equal(dense(selector.R_), X[selector.row_indices_])
    product = dense(selector.C_) @ selector.U_ @ dense(selector.R_)
    error = np.linalg.norm(X - product) / np.linalg.norm(X)
    assert selector.error_estimate_ == pytest.approx(error)
    if sp.issparse(source):
        assert isinstance(selector.C_, sp.csr_array)
        assert isinstance(selector.R_, sp.csr_array)
    elif isinstance(source, da.Array):
        assert isinstance(selector.C_, da.Array)
    else:
        assert isinstance(selector.C_, np.ndarray)
        assert isinstance(selector.R_, np.ndarray)
        np.testing.assert_array_equal(selector.row_indices_, reference.row_indices_)
        np.testing.assert_allclose(selector.row_weights_, reference.row_weights_)


def test_dask_results_stay_lazy():
    source = da.from_array(X, chunks=(130, 60))
    selector = CURSelector(5, n_rows=3, random_state=0).fit(source)
    kept = selector.transform(source)
    assert isinstance(kept, da.Array)
    assert kept.chunks == ((130, 130, 130, 10), (5,))
    assert selector.C_.shape == (400, 5)
    single = source.astype(np.float32)
    kept = selector.fit(single).transform(single)
    assert kept.dtype == kept.compute().dtype == np.float32


def test_dask_arrays_of_unknown_chunks_are_measured():
    source = da.from_array(X, chunks=(130, 60))
    source = source[source[:, 0] > -1e9]
    assert np.isnan(source.shape[0])
    expected = CURSelector(5, random_state=0).fit(X)
    selector = CURSelector(5, random_state=0).fit(source)
    np.testing.assert_array_equal(selector.column_indices_, expected.column_indices_)


@pytest.mark.parametrize("frame_of", [pd.DataFrame, pl.DataFrame])
def test_names_are_those_of_the_columns_kept(frame_of):
    if frame_of is pl.DataFrame and not NAMES_IN_POLARS:
        pytest.skip("this scikit-learn finds no names in polars")
    names = [f"gene_{i:02}" for i in range(60)]
    frame = frame_of(dict(zip(names, X.T, strict=True)))
    selector = CURSelector(5, random_state=0).fit(frame)
    kept = [names[j] for j in np.sort(selector.column_indices_)]
    assert selector.feature_names_in_.tolist() == names
    assert selector.get_feature_names_out().tolist() == kept
    assert isinstance(selector.transform(frame), np.ndarray)
    for container, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        out = selector.set_output(transform=container).transform(frame)
        assert isinstance(out, kind)
        assert list(out.columns) == kept
        np.testing.assert_array_equal(out.to_numpy(), X[:, selector.get_support()])
    assert (
        list(selector.set_output(transform="pandas").fit_transform(frame).columns) == kept
    )
    with pytest.raises(ValueError, match="feature names should match"):
        selector.transform(frame.rename({"gene_00": "other"}, **_axis(frame)))


def _axis(frame):
    return {"axis": 1} if isinstance(frame, pd.DataFrame) else {}


def test_without_names_they_are_numbered():
    selector = CURSelector(5, random_state=0).fit(X)
    support = selector.get_support()
    assert support.dtype == bool
    assert support.sum() == 5
    expected = [f"x{j}" for j in selector.get_support(indices=True)]
    assert selector.get_feature_names_out().tolist() == expected
    given = np.array([f"c{j}" for j in range(60)], dtype=object)
    assert selector.get_feature_names_out(given).tolist() == given[support].tolist()


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, Lazy, da.from_array])
@EACH_METHOD
def test_zero_has_nothing_to_select(make, method):
    for shape in ((8, 6), (300, 60)):
        selector = CURSelector(2, method=method, random_state=0)
        with pytest.raises(ValueError, match="X is zero: it has no columns"):
            selector.fit(make(np.zeros(shape)), np.arange(float(shape[0])))
        assert not [name for name in vars(selector) if name.endswith("_")]


@EACH_METHOD
def test_one_row_and_one_column(method):
    row = np.array([[1.0, -3.0, 2.0]])
    selector = CURSelector(1, method=method, random_state=0)
    if method == "supervised":
        with pytest.raises(ValueError, match="1 sample"):
            selector.fit(row, [1.0])
    else:
        selector.fit(row)
        assert selector.error_estimate_ == pytest.approx(0, abs=1e-7)
        back = selector.inverse_transform(selector.transform(row))
        np.testing.assert_allclose(back, row)
    column = row.T
    selector = CURSelector(1, n_rows=1, method=method, random_state=0)
    selector.fit(column, [1.0, 2.0, 4.0])
    assert selector.column_indices_.tolist() == [0]
    assert selector.row_indices_.tolist() == [1]
    np.testing.assert_allclose(selector.C_ @ selector.U_ @ selector.R_, column)


@EACH_METHOD
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_wide_data(method, make):
    A = np.random.default_rng(0).standard_normal((9, 300))
    target = np.arange(9.0)
    selector = CURSelector(9, n_rows=9, method=method, random_state=0).fit(make(A), target)
    assert selector.error_estimate_ <= 1e-6
    assert sorted(selector.row_indices_) == list(range(9))
    np.testing.assert_allclose(selector.row_weights_, 1, rtol=1e-6)


def test_a_constant_column_is_a_column():
    A = np.concatenate([X, np.full((400, 1), 7.0)], axis=1)
    assert CURSelector(1, random_state=0).fit(A).column_indices_.tolist() == [60]


def test_y_is_ignored_where_it_is_not_needed():
    expected = CURSelector(5, random_state=0).fit(X).column_indices_
    for other in (y, y[:3], "none", np.full(400, np.nan)):
        selector = CURSelector(5, random_state=0).fit(X, other)
        np.testing.assert_array_equal(selector.column_indices_, expected)


def broken(value, rows=X):
    bad = rows.copy()
    bad[5, 3] = value
    return bad


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, Lazy, da.from_array])
@EACH_METHOD
def test_values_that_are_not_finite_are_refused(make, value, method):
    selector = CURSelector(3, n_rows=2, method=method, random_state=0)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        selector.fit(make(broken(value)), y)
    assert not hasattr(selector, "column_indices_")


@pytest.mark.parametrize(
    ("params", "data", "message"),
    [
        ({}, [["a", "b"], ["c", "d"]], "could not convert string"),
        ({}, np.zeros((0, 5)), "0 sample"),
        ({}, np.zeros((3, 0)), "0 feature"),
        ({}, da.zeros((0, 5)), "0 sample"),
        ({}, X[0], "Expected 2D array"),
        ({"n_components": 0}, X, "'n_components' parameter"),
        ({"n_components": 1.0}, X, "'n_components' parameter"),
        ({"n_components": "all"}, X, "'n_components' parameter"),
        ({"n_components": 61}, X, r"n_components=61 must be at most min\(n_rows=400"),
        ({"n_components": 5}, X[:4], "n_components=5 must be at most"),
        ({"n_components": 2, "n_rows": 61}, X, "n_rows=61 must be at most"),
        ({"n_components": 2, "n_rows": 0}, X, "'n_rows' parameter"),
        ({"tol": 1.0}, X, "'tol' parameter"),
        ({"tol": -0.5}, X, "'tol' parameter"),
        ({"method": "svd"}, X, "'method' parameter"),
        ({"method": None}, X, "'method' parameter"),
        ({"refine": "best"}, X, "'refine' parameter"),
        ({"mixing": 1.5}, X, "'mixing' parameter"),
        ({"compute_leverage_scores": "yes"}, X, "'compute_leverage_scores' parameter"),
        ({"sketch_size": 0}, X, "'sketch_size' parameter"),
        ({"block_size": 0}, X, "'block_size' parameter"),
        ({"random_state": -1}, X, "random_state"),
        ({"method": "qdeim"}, X, "n_components=None needs a method that stops"),
        ({"method": "qdeim", "n_components": 0.5}, X, "n_components=0.5 needs a method"),
        ({"method": "leverage", "tol": 0.1}, X, "method='leverage' must be one of cpqr"),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, data, message):
    for method in ("fit", "fit_transform"):
        selector = CURSelector(**params)
        with pytest.raises(ValueError, match=message):
            getattr(selector, method)(data)
        assert not [name for name in vars(selector) if name.endswith("_")]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "requires y to be passed"),
        (y[:-1], r"inconsistent numbers of samples: \[400, 399\]"),
        (np.where(np.arange(400) == 3, np.nan, y), "NaN"),
        (np.where(np.arange(400) == 3, np.inf, y), "infinity"),
    ],
)
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, Lazy])
def test_a_wrong_target_is_refused_with_the_reason(make, target, message):
    selector = CURSelector(3, method="supervised", random_state=0)
    with pytest.raises(ValueError, match=message):
        selector.fit(make(X), target)
    assert not hasattr(selector, "column_indices_")


def test_an_iterator_is_refused_before_it_is_read():
    with pytest.raises(ValueError, match="can be read only once"):
        CURSelector(3).fit(iter([X]))
    with pytest.raises(ValueError, match="can be read only once"):
        CURSelector(3).fit(iter([sp.csr_array(X)]))


def test_a_failed_fit_leaves_the_previous_state():
    selector = CURSelector(3, n_rows=2, random_state=0).fit(X)
    before = vars(selector).copy()
    for bad in (
        broken(np.nan),
        Lazy(broken(np.nan)),
        X[:0],
        X[:2],
        np.zeros((9, 9)),
        iter([X]),
        X[:, :1],
    ):
        with pytest.raises(ValueError):
            selector.fit(bad)
        assert vars(selector).keys() == before.keys()
        assert all(vars(selector)[key] is before[key] for key in before)


def test_other_widths_values_and_unfitted_estimators_are_refused():
    for method in ("transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(CURSelector(), method)(X)
    with pytest.raises(NotFittedError):
        CURSelector().get_support()
    selector = CURSelector(3, random_state=0).fit(X)
    for make in (np.asarray, sp.csr_array, da.from_array, Lazy):
        with pytest.raises(ValueError, match="X has 4 features"):
            selector.transform(make(X[:, :4]))
    for make in (np.asarray, sp.csr_array):
        for width in (2, 4, 60):
            with pytest.raises(ValueError, match=f"X has {width} columns, but n_comp"):
                selector.inverse_transform(make(X[:, :width]))
        with pytest.raises(ValueError, match="NaN"):
            selector.inverse_transform(make(broken(np.nan)[:, 2:5]))

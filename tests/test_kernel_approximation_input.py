"""NystroemKernel on whatever the data come as; and on whatever is wrong with them."""

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process.kernels import (
    RBF,
    CompoundKernel,
    DotProduct,
    Matern,
    WhiteKernel,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rnla import NystroemKernel
from tests.invariants import assert_close_to_scale
from tests.sources import Lazy, on_disk, sparse_chunks

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 6)) * (RNG.random((120, 6)) < 0.6)
NEW = RNG.standard_normal((30, 6))
METHODS = ["rpcholesky", "uniform", "greedy", "kmeans", "leverage"]
EACH_METHOD = pytest.mark.parametrize("landmarks", METHODS)


SOURCES = {
    "list": lambda rows, _: rows.tolist(),
    "pandas": lambda rows, _: pd.DataFrame(rows),
    "polars": lambda rows, _: pl.DataFrame(rows),
    "fortran": lambda rows, _: np.asfortranarray(rows),
    "csr": lambda rows, _: sp.csr_array(rows),
    "csc": lambda rows, _: sp.csc_matrix(rows),
    "coo": lambda rows, _: sp.coo_array(rows),
    "memmap": on_disk,
    "lazy": lambda rows, _: Lazy(rows),
    "dask": lambda rows, _: da.from_array(rows, chunks=(50, 4)),
    "dask sparse": lambda rows, _: sparse_chunks(rows, 50),
}


def same_kernel(one, other, slack=1e4):
    assert_close_to_scale(one @ one.T, other @ other.T, float, slack)


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "polynomial"])
@pytest.mark.parametrize("landmarks", ["rpcholesky", "uniform", "leverage", [5, 3, -1, 40]])
def test_every_source_gives_the_same_answer(make, kernel, landmarks, tmp_path):
    params = {"n_components": 20, "landmarks": landmarks, "random_state": 0}
    reference = NystroemKernel(kernel, gamma=0.1, **params)
    Z = reference.fit_transform(X)
    source = make(X, tmp_path)
    fitted = NystroemKernel(kernel, gamma=0.1, **params)
    same_kernel(np.asarray(fitted.fit_transform(source)), Z)
    np.testing.assert_array_equal(fitted.component_indices_, reference.component_indices_)
    points = fitted.components_
    points = points.toarray() if sp.issparse(points) else points
    np.testing.assert_array_equal(points, X[fitted.component_indices_])
    same_kernel(np.asarray(fitted.transform(source)), Z)
    assert fitted.error_estimate_ == pytest.approx(reference.error_estimate_)
    assert fitted.n_features_in_ == 6


@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "polynomial", "cosine", "sigmoid"])
@EACH_METHOD
def test_sparse_rows_stay_sparse_and_mix_with_dense_ones(kernel, landmarks):
    params = {"n_components": 20, "landmarks": landmarks, "random_state": 0}
    if (kernel, landmarks) == ("sigmoid", "leverage"):
        params["random_state"] = 1
    dense = NystroemKernel(kernel, gamma=0.1, **params).fit(X)
    sparse = NystroemKernel(kernel, gamma=0.1, **params).fit(sp.csc_array(X))
    if landmarks != "kmeans":
        assert sp.issparse(sparse.components_)
        assert sparse.components_.shape == dense.components_.shape
    for fitted in (dense, sparse):
        for rows in (X, sp.csr_matrix(X)):
            Z = fitted.transform(rows)
            assert isinstance(Z, np.ndarray)
            same_kernel(Z, dense.transform(X), 1e6)


@pytest.mark.parametrize("kernel", ["chi2", "additive_chi2"])
def test_kernels_of_dense_rows_refuse_sparse_ones(kernel):
    with pytest.raises(TypeError, match="dense data is required"):
        NystroemKernel(kernel).fit(sp.csr_array(np.abs(X)))


def test_sparse_rows_reach_a_callable_in_one_form():
    def inner(x, y):
        assert x.shape == y.shape == (1, 6)
        return float(x.multiply(y).sum())

    few = sp.csr_array(X[:40])
    fitted = NystroemKernel(inner, n_components=20, random_state=0).fit(few)
    assert fitted.n_components_ == 6
    Z = fitted.transform(sp.csr_array(NEW))
    assert_close_to_scale(Z @ Z.T, NEW @ NEW.T, float, 1e4)


def test_dask_results_stay_lazy():
    source = da.from_array(X, chunks=(50, 6))
    kernel = NystroemKernel(n_components=7, random_state=0)
    for Z in (kernel.fit_transform(source), kernel.transform(source)):
        assert isinstance(Z, da.Array)
        assert Z.chunks == ((50, 50, 20), (7,))
        assert_close_to_scale(Z.compute(), kernel.transform(X), float)
    single = kernel.fit(source.astype(np.float32)).transform(source.astype(np.float32))
    assert single.dtype == single.compute().dtype == np.float32


def test_dask_arrays_of_unknown_chunks_are_measured():
    source = da.from_array(X, chunks=(50, 6))
    source = source[source[:, 0] > -1e9]
    assert np.isnan(source.shape[0])
    fitted = NystroemKernel(n_components=7, random_state=0).fit(source)
    expected = NystroemKernel(n_components=7, random_state=0).fit(X)
    np.testing.assert_array_equal(fitted.component_indices_, expected.component_indices_)


@pytest.mark.parametrize("make", [np.asarray, Lazy, da.from_array, sp.csr_array])
def test_a_precomputed_kernel_comes_from_every_source(make):
    K = rbf_kernel(X)
    params = {"n_components": 20, "random_state": 0}
    expected = NystroemKernel("precomputed", **params).fit_transform(K)
    Z = NystroemKernel("precomputed", **params).fit_transform(make(K))
    assert_close_to_scale(np.asarray(Z), expected, float, 1e4)


def test_names_and_containers_follow_scikit_learn():
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(6)])
    kernel = NystroemKernel(n_components=2).set_output(transform="pandas").fit(frame)
    assert kernel.feature_names_in_.tolist() == frame.columns.tolist()
    names = ["nystroemkernel0", "nystroemkernel1"]
    assert kernel.get_feature_names_out().tolist() == names
    for out in (kernel.transform(frame), kernel.fit_transform(frame)):
        assert out.columns.tolist() == names
        assert out.index.equals(frame.index)
    assert isinstance(kernel.set_output(transform="polars").transform(frame), pl.DataFrame)
    with pytest.raises(ValueError, match="feature names should match"):
        kernel.transform(frame.rename(columns={"x0": "y"}))
    own = NystroemKernel(landmarks=frame[:9]).fit(frame)
    np.testing.assert_array_equal(own.components_, X[:9])


def test_folds_of_a_precomputed_kernel_are_cut_on_both_sides():
    y = (X[:, 0] > X[:, 1]).astype(int)
    search = GridSearchCV(
        make_pipeline(NystroemKernel("precomputed", random_state=0), LogisticRegression()),
        {"nystroemkernel__n_components": [1, 60]},
        cv=3,
    ).fit(rbf_kernel(X), y)
    assert search.best_params_ == {"nystroemkernel__n_components": 60}
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@EACH_METHOD
def test_repeated_rows_have_one_feature_each(landmarks, dtype):
    rows = np.repeat(X[:5], 20, axis=0).astype(dtype)
    kernel = NystroemKernel(n_components=100, landmarks=landmarks, random_state=0)
    Z = kernel.fit_transform(rows).astype(float)
    # A centre of clusters may lie between rows.
    assert kernel.n_components_ == len(kernel.components_)
    assert kernel.n_components_ == 5 or landmarks == "kmeans"
    assert_close_to_scale(Z @ Z.T, rbf_kernel(rows.astype(float)), dtype)
    assert_close_to_scale(kernel.transform(rows), Z, dtype)
    assert kernel.error_estimate_ <= 10 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("landmarks", [*METHODS, [0, 1], np.zeros((2, 6))])
def test_a_kernel_that_vanishes_has_one_feature_of_zero(landmarks, dtype):
    rows = np.zeros((30, 6), dtype)
    for kernel in ("linear", "cosine"):
        fitted = NystroemKernel(kernel, landmarks=landmarks, n_components=5)
        Z = fitted.fit_transform(rows)
        assert Z.shape == (30, 1)
        assert not Z.any()
        assert not fitted.transform(NEW.astype(dtype)).any()
        assert fitted.error_estimate_ == 0
    if isinstance(landmarks, str) and landmarks != "kmeans":
        fitted = NystroemKernel("precomputed", landmarks=landmarks)
        assert not fitted.fit_transform(np.zeros((30, 30), dtype)).any()


@EACH_METHOD
def test_one_row_has_one_feature(landmarks):
    kernel = NystroemKernel(landmarks=landmarks, random_state=0)
    assert kernel.fit_transform(X[:1]).tolist() == [[1.0]]
    assert kernel.n_components_ == 1
    assert_close_to_scale(kernel.transform(NEW), rbf_kernel(NEW, X[:1]), float)


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("landmarks", ["rpcholesky", "uniform", "greedy", "leverage"])
def test_rows_far_apart_have_nothing_in_common(landmarks, scale):
    kernel = NystroemKernel(n_components=10, landmarks=landmarks, random_state=0)
    rows = scale * NEW
    Z = kernel.fit_transform(rows)
    # The kernel is the identity, but for the rounding of exponents as large as the
    # squared norms.
    rounding = 10 * np.finfo(float).eps * (1 + np.sum(rows**2, axis=1).max() / 6)
    np.testing.assert_allclose(Z.T @ Z, np.eye(10), atol=rounding)
    np.testing.assert_allclose(Z @ Z.T, np.diag(np.sum(Z**2, axis=1)), atol=rounding)
    assert kernel.error_estimate_ == pytest.approx(2 / 3, abs=rounding)


def broken(value, rows=X):
    bad = rows.copy()
    bad[5, 3] = value
    return bad


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, Lazy, da.from_array])
@pytest.mark.parametrize(
    "landmarks", [*METHODS, [0, 1], [5], X[:9]], ids=lambda p: str(p)[:9]
)
def test_values_that_are_not_finite_are_refused(make, value, landmarks):
    kernel = NystroemKernel(landmarks=landmarks, random_state=0)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        kernel.fit(make(broken(value)))
    assert not hasattr(kernel, "components_")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, Lazy, da.from_array])
@pytest.mark.parametrize("landmarks", ["rpcholesky", "uniform", "greedy", "leverage", [5]])
def test_a_precomputed_kernel_that_is_not_finite_is_refused(make, value, landmarks):
    K = broken(value, rbf_kernel(X))
    kernel = NystroemKernel("precomputed", landmarks=landmarks, random_state=0)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        kernel.fit(make(K))


@pytest.mark.parametrize(
    ("params", "data", "message"),
    [
        ({}, [["a", "b"], ["c", "d"]], "could not convert string"),
        ({}, np.zeros((0, 5)), "0 sample"),
        ({}, np.zeros((3, 0)), "0 feature"),
        ({}, da.zeros((0, 5)), "0 sample"),
        ({}, X[0], "Expected 2D array"),
        ({"kernel": "gaussian"}, X, "'kernel' parameter"),
        ({"kernel": None}, X, "'kernel' parameter"),
        ({"gamma": 0}, X, "'gamma' parameter"),
        ({"gamma": -1.0}, X, "'gamma' parameter"),
        ({"gamma": "auto"}, X, "'gamma' parameter"),
        ({"gamma": np.inf}, X, "'gamma' parameter"),
        ({"gamma": np.nan}, X, "'gamma' parameter"),
        ({"degree": 0}, X, "'degree' parameter"),
        ({"n_components": 0}, X, "'n_components' parameter"),
        ({"n_components": 1.0}, X, "'n_components' parameter"),
        ({"n_components": 1.5}, X, "'n_components' parameter"),
        ({"n_components": "all"}, X, "'n_components' parameter"),
        ({"tol": 1.0}, X, "'tol' parameter"),
        ({"tol": -0.1}, X, "'tol' parameter"),
        ({"landmarks": "random"}, X, "'landmarks' parameter"),
        ({"landmarks": None}, X, "'landmarks' parameter"),
        ({"landmarks": 5}, X, "'landmarks' parameter"),
        ({"landmarks": np.zeros(0, int)}, X, "at least one"),
        ({"landmarks": [0, 120]}, X, "indices of the n_samples=120 rows"),
        ({"landmarks": [-121]}, X, "indices of the n_samples=120 rows"),
        ({"landmarks": [0.5, 1.0]}, X, "Expected 2D array"),
        ({"landmarks": [["a"]]}, X, "could not convert string"),
        ({"landmarks": X[:, :4]}, X, "4 features, but X has 6"),
        ({"landmarks": broken(np.nan)}, X, "landmarks contains NaN"),
        ({"landmarks": [0], "tol": 0.1}, X, "tol=0.1 needs landmarks that come one"),
        ({"landmarks": "kmeans", "tol": 0.1}, X, "tol=0.1 needs landmarks"),
        ({"landmarks": "kmeans", "n_components": 0.5}, X, "needs landmarks that come one"),
        ({"kernel": "precomputed"}, X, r"shape \(120, 6\) must be square"),
        ({"kernel": "precomputed", "gamma": 1}, X @ X.T, "gamma cannot be used"),
        ({"kernel": "precomputed", "landmarks": "kmeans"}, X @ X.T, "needs samples"),
        ({"kernel": "precomputed", "landmarks": X}, X @ X.T, "must be indices"),
        ({"kernel": np.dot, "degree": 2, "coef0": 1}, X, "degree, coef0 cannot be used"),
        ({"kernel": "chi2"}, X, "Negative values"),
        ({"kernel": "additive_chi2"}, X, "Negative values"),
        ({"random_state": -1}, X, "random_state"),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, data, message):
    for method in ("fit", "fit_transform"):
        kernel = NystroemKernel(**params)
        with pytest.raises(ValueError, match=message):
            getattr(kernel, method)(data)
        assert not [name for name in vars(kernel) if name.endswith("_")]


def test_an_iterator_is_refused_before_it_is_read():
    blocks = iter([X])
    with pytest.raises(ValueError, match="can be read only once"):
        NystroemKernel().fit(blocks)
    with pytest.raises(ValueError, match="can be read only once"):
        NystroemKernel(landmarks=[0]).fit(iter([sp.csr_array(X)]))


def test_a_failed_fit_leaves_the_previous_state():
    kernel = NystroemKernel(n_components=10, random_state=0).fit(X)
    before = vars(kernel).copy()
    for bad in (broken(np.nan), X[:0], iter([X])):
        with pytest.raises(ValueError):
            kernel.fit(bad)
        with pytest.raises(ValueError):
            kernel.fit(Lazy(broken(np.nan)))
        assert vars(kernel).keys() == before.keys()
        assert all(vars(kernel)[key] is before[key] for key in before)


def test_other_widths_values_and_unfitted_estimators_are_refused():
    with pytest.raises(NotFittedError):
        NystroemKernel().transform(X)
    kernel = NystroemKernel(n_components=10, random_state=0).fit(X)
    for make in (np.asarray, sp.csr_array, da.from_array):
        with pytest.raises(ValueError, match="X has 4 features"):
            kernel.transform(make(X[:, :4]))
    for make in (np.asarray, sp.csr_array):
        with pytest.raises(ValueError, match="NaN"):
            kernel.transform(make(broken(np.nan)))
    given = NystroemKernel("precomputed", n_components=10).fit(rbf_kernel(X))
    with pytest.raises(ValueError, match="X has 6 features"):
        given.transform(X)
    positive = NystroemKernel("chi2", n_components=10, random_state=0).fit(np.abs(X))
    with pytest.raises(ValueError, match="negative values"):
        positive.transform(X)


def root_of_product(x, y):
    return np.sqrt(x @ y) if x @ y >= 0 else np.nan


@pytest.mark.parametrize("landmarks", [*METHODS, [0, 1, 2, 3]])
@pytest.mark.parametrize(
    ("kernel", "name", "params"),
    [
        ("poly", "'polynomial'", {"degree": 2.5, "coef0": 0}),
        (root_of_product, "root_of_product", {}),
        (DotProduct() ** 0.5, "DotProduct", {}),
    ],
)
def test_a_kernel_that_is_nan_for_some_pairs_is_named_and_refused(
    landmarks, kernel, name, params
):
    nystroem = NystroemKernel(kernel, landmarks=landmarks, n_components=20, **params)
    with pytest.raises(ValueError, match=f"{name}.* is NaN or infinite"):
        nystroem.fit(X)


def test_a_kernel_that_is_nan_for_new_rows_alone_is_refused_by_transform():
    nystroem = NystroemKernel("poly", degree=2.5, coef0=0, n_components=5)
    nystroem.fit(np.abs(X) + 0.1)
    with pytest.raises(ValueError, match=r"'polynomial'.* is NaN or infinite"):
        nystroem.transform(NEW)


@pytest.mark.parametrize("landmarks", METHODS)
@pytest.mark.parametrize(
    "noisy",
    [
        lambda kernel: kernel + WhiteKernel(0.5),
        lambda kernel: WhiteKernel(0.1) + (kernel + WhiteKernel(0.5)) * 1.0,
        lambda kernel: kernel * (1.0 + WhiteKernel(2.0)),
    ],
)
def test_noise_is_no_part_of_a_kernel(landmarks, noisy):
    params = {"n_components": 30, "landmarks": landmarks, "random_state": 0}
    plain = NystroemKernel(RBF(2.0), **params).fit(X)
    fitted = NystroemKernel(noisy(RBF(2.0)), **params).fit(X)
    same_kernel(fitted.transform(NEW), plain.transform(NEW), 1e6)
    assert fitted.error_estimate_ == pytest.approx(plain.error_estimate_, abs=1e-12)


@pytest.mark.parametrize("kernel", [CompoundKernel([RBF(), RBF()]), None])
def test_a_kernel_of_several_outputs_is_refused(kernel):
    kernel = kernel or RBF() * CompoundKernel([RBF(), RBF()])
    with pytest.raises(ValueError, match="CompoundKernel has several outputs"):
        NystroemKernel(kernel).fit(X)


@pytest.mark.parametrize("kernel", ["chi2", "additive_chi2", "laplacian", "rbf"])
def test_rows_need_not_be_writeable(kernel):
    rows = np.abs(X)
    rows.setflags(write=False)
    params = {"n_components": 10, "random_state": 0}
    expected = NystroemKernel(kernel, **params).fit_transform(np.abs(X))
    fitted = NystroemKernel(kernel, **params).fit(rows)
    same_kernel(fitted.transform(rows), expected)


@pytest.mark.parametrize("kernel", ["laplacian", "rbf", "poly", "cosine", RBF(), Matern()])
def test_sparse_rows_may_have_indices_of_64_bits(kernel):
    rows = sp.csr_array(X)
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    params = {"n_components": 10, "random_state": 0}
    expected = NystroemKernel(kernel, **params).fit(X)
    fitted = NystroemKernel(kernel, **params).fit(rows)
    same_kernel(fitted.transform(rows), expected.transform(X), 1e6)
    assert fitted.__sklearn_tags__().input_tags.sparse


def test_a_function_that_fails_on_sparse_rows_is_told_what_they_are():
    def intersection(x, y):
        return np.minimum(x, y).sum() if x[0] > 0 else 0.0

    with pytest.raises(TypeError, match=r"intersection.* sparse .*\(1, n_features\)"):
        NystroemKernel(intersection).fit(sp.csr_array(X))


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, da.from_array, Lazy])
def test_no_threads_at_all_are_refused(make):
    with pytest.raises(ValueError, match="n_jobs=0 has no meaning"):
        NystroemKernel(n_jobs=0).fit(make(X))


@pytest.mark.parametrize(
    "rows",
    [[["a"], ["b"]], np.array([["a"], ["b"]], dtype=object), da.from_array([["a"], ["b"]])],
    ids=["list", "objects", "dask"],
)
def test_strings_are_refused(rows):
    with pytest.raises(ValueError, match=r"convert string|Numbers are needed"):
        NystroemKernel().fit(rows)

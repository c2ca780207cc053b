"""SketchProjection: what it keeps, what it takes, and what it refuses."""

import pickle
from itertools import combinations

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import DataDimensionalityWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_rnla import SketchProjection
from tests.invariants import assert_close_to_scale
from tests.sources import NAMES_IN_POLARS, Lazy, on_disk, sparse_chunks

RNG = np.random.default_rng(0)
# Wide: with 10 components, every row of a sketch has an entry and its rank is full.
X = RNG.standard_normal((60, 300)) * (RNG.random((60, 300)) < 0.3)
NEW = RNG.standard_normal((20, 300))
K = 10

SKETCHES = ["sparse_sign", "count", "gaussian", "srtt"]
STAY_SPARSE = ("sparse_sign", "count")
EACH_SKETCH = pytest.mark.parametrize("sketch", SKETCHES)
# A false alarm of a random test is this unlikely.
FAILURE = 1e-9


def projection(n_components=K, random_state=0, **params):
    return SketchProjection(n_components, random_state=random_state, **params)


def dense(Z):
    return Z.toarray() if sp.issparse(Z) else np.asarray(Z)


def broken(value, rows=X):
    bad = rows.copy()
    bad[5, 3] = value
    return bad


# Lengths


def _distortions(rows, k, n_draws, **params):
    """Return ``||S x||^2 / ||x||^2 - 1``, a row for each draw, a column for each x."""
    squares = np.sum(rows**2, axis=1)
    return np.array(
        [
            np.sum(projection(k, random_state=i, **params).fit_transform(rows) ** 2, axis=1)
            / squares
            - 1
            for i in range(n_draws)
        ]
    )


@EACH_SKETCH
def test_distances_are_kept(sketch):
    # The variance of the distortion is at most 2 / k; with "srtt", at most 5 / k, as no
    # entry of its cosine transform exceeds sqrt(2 / L). By Chebyshev, a distance is off by
    # eps in a draw with a probability p at most; so in n_draws of them no more often
    # than a binomial variable.
    k, n, n_draws, eps = 200, 400, 100, 0.5
    rng = np.random.default_rng(0)
    samples = np.vstack(
        [
            np.eye(n)[[0, 17]],
            rng.standard_normal((2, n)),
            rng.standard_normal((2, n)) * (rng.random((2, n)) < 0.05),
            rng.standard_t(2, (1, n)),
        ]
    )
    pairs = np.array(list(combinations(range(len(samples)), 2)))
    differences = samples[pairs[:, 0]] - samples[pairs[:, 1]]
    p = (5 if sketch == "srtt" else 2) / (k * eps**2)
    often = stats.binom.isf(FAILURE / len(pairs), n_draws, p)
    assert often < 0.4 * n_draws
    Z = _distortions(differences, k, n_draws, sketch=sketch)
    assert np.all(np.sum(np.abs(Z) > eps, axis=0) <= often)


@pytest.mark.parametrize(
    "params",
    [
        {"sketch": "count"},
        {"sketch": "sparse_sign"},
        {"sketch": "sparse_sign", "nnz": 5},
        {"sketch": "gaussian"},
    ],
    ids=str,
)
@pytest.mark.parametrize("n_entries", [8, 100])
def test_the_variance_of_squared_lengths_is_that_of_the_theory(params, n_entries):
    # 2 / k for normal entries. Signs keep the squares of single entries: of x of unit
    # length, the fourth powers are taken off. Mean over 20 rows in each of 200 draws:
    # within 6.1 standard errors, but for a probability of 1e-9, by the central limit
    # theorem.
    k, n, n_draws = 50, 100, 200
    rng = np.random.default_rng(1)
    rows = np.zeros((20, n))
    for row in rows:
        row[rng.choice(n, n_entries, replace=False)] = rng.standard_normal(n_entries)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.full(20, 2 / k)
    if params["sketch"] != "gaussian":
        expected *= 1 - np.sum(rows**4, axis=1)
    excess = (_distortions(rows, k, n_draws, **params) ** 2 - expected).mean(axis=1)
    error = np.std(excess, ddof=1) / np.sqrt(n_draws)
    assert abs(np.mean(excess)) < stats.norm.isf(FAILURE / 2) * error
    # The test can tell this variance from another.
    assert stats.norm.isf(FAILURE / 2) * error < 0.5 * expected.mean()


@pytest.mark.parametrize("sketch", STAY_SPARSE)
def test_a_row_of_one_entry_keeps_its_length(sketch, seed):
    Z = projection(sketch=sketch, random_state=seed).fit_transform(3 * np.eye(300))
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 3, rtol=1e-14)


# Components


@EACH_SKETCH
@pytest.mark.parametrize("eps", [0.5, 0.9])
def test_auto_is_the_dimension_of_the_lemma(sketch, eps):
    fitted = SketchProjection(eps=eps, sketch=sketch, random_state=0).fit(X)
    expected = johnson_lindenstrauss_min_dim(len(X), eps=eps)
    assert fitted.n_components_ == expected
    assert isinstance(fitted.n_components_, int)
    assert SparseRandomProjection(eps=eps).fit(X).n_components_ == expected
    assert fitted.transform(X).shape == (60, expected)
    assert fitted.sketch_.shape == (expected, 300)
    assert getattr(fitted, "components_", fitted.sketch_).shape == (expected, 300)


@pytest.mark.parametrize(
    ("eps", "rows", "message"),
    [
        (0.1, X, "eps=0.1 and n_samples=60 lead to a target dimension of 3509"),
        (0.5, X[:1], "eps=0.5 and n_samples=1 lead to a target dimension of 0"),
    ],
)
def test_auto_fails_where_that_of_scikit_learn_does(eps, rows, message):
    for estimator in (SketchProjection(eps=eps), SparseRandomProjection(eps=eps)):
        with pytest.raises(ValueError, match="lead to a target dimension of"):
            estimator.fit(rows)
    with pytest.raises(ValueError, match=message) as caught:
        SketchProjection(eps=eps).fit(rows)
    assert "n_features=300" in str(caught.value)


@pytest.mark.parametrize("sketch", ["sparse_sign", "count", "gaussian"])
def test_more_components_than_features_are_warned_of(sketch):
    estimator = projection(400, sketch=sketch)
    message = "n_components=400 exceeds n_features=300"
    for fit in (estimator.fit, estimator.fit_transform):
        with pytest.warns(DataDimensionalityWarning, match=message) as caught:
            fit(X)
        if fit == estimator.fit:
            assert caught[0].filename == __file__
    assert estimator.transform(X).shape == (60, 400)
    with pytest.warns(DataDimensionalityWarning):
        SparseRandomProjection(400).fit(X)


def test_more_components_than_features_are_refused_by_a_transform_of_them():
    message = "n_components=301 must be at most n_features=300"
    with pytest.raises(ValueError, match=message):
        projection(301, sketch="srtt").fit(X)
    assert projection(300, sketch="srtt").fit_transform(X).shape == (60, 300)


@EACH_SKETCH
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_the_components_reproduce_the_projection(sketch, container, seed):
    fitted = projection(sketch=sketch, random_state=seed).fit(container(X))
    if sketch == "srtt":
        with pytest.raises(AttributeError, match=r"sketch_\.to_dense\(\) makes it"):
            _ = fitted.components_
    S = fitted.sketch_.to_dense() if sketch == "srtt" else fitted.components_
    assert sp.issparse(S) == (sketch in STAY_SPARSE)
    assert S.shape == (K, 300)
    assert S.dtype == np.float64
    assert_close_to_scale(dense(S), fitted.sketch_.to_dense(), float)
    for rows in (X, NEW):
        assert_close_to_scale(
            dense(fitted.transform(container(rows))), rows @ dense(S).T, float
        )


def test_count_is_one_sign_for_each_feature():
    one = projection(sketch="count", nnz=7).fit(X)
    other = projection(sketch="sparse_sign", nnz=1).fit(X)
    np.testing.assert_array_equal(dense(one.components_), dense(other.components_))
    np.testing.assert_array_equal(one.transform(X), other.transform(X))


@pytest.mark.parametrize("nnz", [1, 2, 5, K, 100])
def test_each_feature_has_as_many_signs_as_told_and_no_more_than_components(nnz):
    S = dense(projection(nnz=nnz).fit(X).components_)
    n_signs = min(nnz, K)
    assert np.all(np.count_nonzero(S, axis=0) == n_signs)
    np.testing.assert_allclose(np.abs(S[S != 0]), 1 / np.sqrt(n_signs))


@EACH_SKETCH
def test_only_the_shape_of_the_data_is_looked_at(sketch):
    expected = projection(sketch=sketch).fit(X).transform(NEW)
    for other in (NEW, np.zeros((1, 300)), sp.csr_array((3, 300))):
        got = projection(sketch=sketch).fit(other, y="ignored").transform(NEW)
        np.testing.assert_array_equal(got, expected)


# Sparse data


@EACH_SKETCH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dense_output", [False, True])
def test_sparse_and_dense_rows_have_the_same_projection(sketch, dtype, dense_output):
    rows = X.astype(dtype)
    fitted = projection(sketch=sketch, dense_output=dense_output).fit(rows)
    expected = fitted.transform(rows)
    assert isinstance(expected, np.ndarray)
    for container in (
        sp.csr_array,
        sp.csc_array,
        sp.coo_array,
        sp.csr_matrix,
        sp.csc_matrix,
    ):
        Z = fitted.transform(container(rows))
        assert sp.issparse(Z) == (sketch in STAY_SPARSE and not dense_output)
        assert isinstance(Z, np.ndarray) or Z.format == "csr"
        assert Z.dtype == dtype
        assert_close_to_scale(dense(Z), expected, dtype)


@pytest.mark.parametrize("sketch", STAY_SPARSE)
@pytest.mark.parametrize("params", [{}, {"block_size": 7}, {"block_size": 7, "n_jobs": 2}])
def test_sparse_projections_are_canonical(sketch, params):
    Z = projection(40, sketch=sketch, **params).fit_transform(sp.csr_array(X))
    assert Z.indptr[0] == 0
    assert Z.indptr[-1] == len(Z.indices) == len(Z.data)
    assert Z.indices.dtype == Z.indptr.dtype == np.int32
    for start, stop in zip(Z.indptr[:-1], Z.indptr[1:], strict=True):
        assert np.all(np.diff(Z.indices[start:stop]) > 0)
    assert np.all(Z.data != 0)
    assert Z.has_canonical_format


@EACH_SKETCH
def test_sparse_rows_need_not_be_canonical(sketch):
    canonical = sp.csr_array(X)
    halves = sp.csr_array(
        (
            np.repeat(canonical.data / 2, 2),
            np.repeat(canonical.indices, 2),
            2 * canonical.indptr,
        ),
        shape=X.shape,
    )
    backwards = halves[:, ::-1][:, ::-1]
    long = sp.csr_array(halves)
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    fitted = projection(sketch=sketch).fit(X)
    for rows in (halves, backwards, long):
        assert_close_to_scale(dense(fitted.transform(rows)), fitted.transform(X), float)


@EACH_SKETCH
def test_rows_without_entries_are_projected_to_zero(sketch):
    rows = sp.csr_array(np.where(np.arange(60)[:, None] % 3, X, 0))
    Z = dense(projection(sketch=sketch, block_size=2).fit_transform(rows))
    assert not Z[::3].any()
    assert np.all(np.linalg.norm(Z[1::3], axis=1) > 0)
    nothing = projection(sketch=sketch).fit_transform(sp.csr_array((4, 300)))
    assert nothing.shape == (4, K)
    assert not dense(nothing).any()


# The way back


@EACH_SKETCH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("compute_inverse_components", [False, True])
def test_projecting_what_was_mapped_back_changes_nothing(
    sketch, dtype, compute_inverse_components
):
    rows = X.astype(dtype)
    fitted = projection(
        sketch=sketch, compute_inverse_components=compute_inverse_components
    ).fit(rows)
    Y = fitted.transform(rows)
    back = fitted.inverse_transform(Y)
    assert isinstance(back, np.ndarray)
    assert back.shape == X.shape
    assert back.dtype == dtype
    assert_close_to_scale(fitted.transform(back), Y, dtype)
    assert_close_to_scale(fitted.inverse_transform(fitted.transform(back)), back, dtype)


@EACH_SKETCH
def test_the_way_back_is_the_pseudo_inverse(sketch, seed):
    without = projection(sketch=sketch, random_state=seed).fit(X)
    stored = projection(
        sketch=sketch, random_state=seed, compute_inverse_components=True
    ).fit(X)
    inverse = np.linalg.pinv(without.sketch_.to_dense())
    assert not hasattr(without, "inverse_components_")
    assert stored.inverse_components_.shape == (300, K)
    assert_close_to_scale(stored.inverse_components_, inverse, float)
    Y = np.random.default_rng(seed).standard_normal((7, K))
    for fitted in (without, stored):
        for rows in (Y, Y.tolist(), sp.csr_array(Y), sp.csc_array(Y)):
            assert_close_to_scale(fitted.inverse_transform(rows), Y @ inverse.T, float)


@pytest.mark.parametrize("sketch", ["sparse_sign", "count", "gaussian"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataDimensionalityWarning")
@pytest.mark.parametrize("k", [20, 90])
def test_the_way_back_takes_sketches_that_lack_row_rank(sketch, k, seed):
    rows = X[:, :30]
    fitted = projection(k, sketch=sketch, random_state=seed).fit(rows)
    S = fitted.sketch_.to_dense()
    if k > 30 or sketch == "count":
        assert np.linalg.matrix_rank(S) < k
    Y = fitted.transform(rows)
    expected = Y @ np.linalg.pinv(S, 1e-10).T
    # The Gram matrix has the square of the condition.
    s = np.linalg.svd(S, compute_uv=False)
    condition = s[0] / s[s > 1e-10 * s[0]][-1]
    assert_close_to_scale(fitted.inverse_transform(Y), expected, float, 100 * condition**2)
    assert_close_to_scale(
        fitted.transform(fitted.inverse_transform(Y)), Y, float, 100 * condition**2
    )


def test_a_second_fit_forgets_the_inverse_of_the_first():
    fitted = projection(compute_inverse_components=True).fit(X)
    fitted.set_params(compute_inverse_components=False, n_components=12).fit(X)
    assert not hasattr(fitted, "inverse_components_")
    assert fitted.inverse_transform(fitted.transform(X)).shape == X.shape


# One seed, one answer


@EACH_SKETCH
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("dense_output", [False, True])
def test_blocks_and_threads_change_nothing(sketch, container, dense_output):
    rows = container(X)
    params = {"sketch": sketch, "dense_output": dense_output}
    expected = dense(projection(**params).fit_transform(rows))
    for block_size in (1, 7, 60, 1000):
        several = [
            dense(
                projection(block_size=block_size, n_jobs=n_jobs, **params).fit_transform(
                    rows
                )
            )
            for n_jobs in (1, 2, -1)
        ]
        assert_close_to_scale(several[0], expected, float)
        np.testing.assert_array_equal(several[1], several[0])
        np.testing.assert_array_equal(several[2], several[0])


@EACH_SKETCH
def test_a_seed_decides_the_projection(sketch):
    one, same, other = (
        projection(sketch=sketch, random_state=s).fit(X).sketch_.to_dense()
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    rng = np.random.RandomState(0)
    first, second = (
        projection(sketch=sketch, random_state=rng).fit(X).sketch_.to_dense()
        for _ in range(2)
    )
    assert not np.array_equal(first, second)
    unseeded = [projection(sketch=sketch, random_state=None).fit(X) for _ in range(2)]
    assert unseeded[0].sketch_.seed != unseeded[1].sketch_.seed


@EACH_SKETCH
def test_a_projection_changes_no_random_state(sketch):
    before = np.random.get_state()[1].copy()
    fitted = projection(sketch=sketch, random_state=None).fit(X)
    np.testing.assert_array_equal(fitted.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@EACH_SKETCH
def test_copies_project_alike(sketch):
    params = {"sketch": sketch, "nnz": 3, "compute_inverse_components": True}
    fitted = projection(**params).fit(X)
    assert not hasattr(clone(fitted), "sketch_")
    copies = [clone(fitted).fit(X), pickle.loads(pickle.dumps(fitted))]
    for copy in copies:
        assert copy.get_params() == fitted.get_params()
        for rows in (NEW, sp.csr_array(X)):
            np.testing.assert_array_equal(
                dense(copy.transform(rows)), dense(fitted.transform(rows))
            )
        Y = fitted.transform(NEW)
        np.testing.assert_array_equal(
            copy.inverse_transform(Y), fitted.inverse_transform(Y)
        )


# Whatever the data come as

SOURCES = {
    "list": lambda rows, _: rows.tolist(),
    "pandas": lambda rows, _: pd.DataFrame(rows),
    "polars": lambda rows, _: pl.DataFrame(rows),
    "fortran": lambda rows, _: np.asfortranarray(rows),
    "csr": lambda rows, _: sp.csr_array(rows),
    "csc": lambda rows, _: sp.csc_matrix(rows),
    "memmap": on_disk,
    "lazy": lambda rows, _: Lazy(rows),
    "dask": lambda rows, _: da.from_array(rows, chunks=(25, 40)),
    "dask sparse": lambda rows, _: sparse_chunks(rows, 25),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@EACH_SKETCH
def test_every_source_gives_the_same_answer(make, sketch, tmp_path):
    expected = projection(sketch=sketch).fit_transform(X)
    source = make(X, tmp_path)
    fitted = projection(sketch=sketch)
    assert_close_to_scale(dense(fitted.fit_transform(source)), expected, float)
    assert_close_to_scale(dense(fitted.transform(source)), expected, float)
    assert fitted.n_features_in_ == 300


@EACH_SKETCH
@pytest.mark.parametrize("make", [da.from_array, sparse_chunks], ids=["dense", "sparse"])
def test_dask_results_stay_lazy_and_dense(sketch, make):
    source = make(X, 25)
    fitted = projection(sketch=sketch)
    expected = fitted.fit(X).transform(X)
    for Z in (fitted.fit_transform(source), fitted.transform(source)):
        assert isinstance(Z, da.Array)
        assert Z.chunks == ((25, 25, 10), (K,))
        assert isinstance(Z.compute(), np.ndarray)
        assert_close_to_scale(Z.compute(), expected, float)


def test_dask_arrays_of_unknown_chunks_are_measured():
    source = da.from_array(X, chunks=(25, 300))
    source = source[source[:, 0] > -1e9]
    assert np.isnan(source.shape[0])
    fitted = SketchProjection(eps=0.9, random_state=0).fit(source)
    assert fitted.n_components_ == johnson_lindenstrauss_min_dim(60, eps=0.9)
    assert_close_to_scale(fitted.transform(source).compute(), fitted.transform(X), float)


@EACH_SKETCH
def test_single_precision_stays_single_and_is_as_exact(sketch, tmp_path):
    rows = X.astype(np.float32)
    expected = projection(sketch=sketch).fit_transform(X)
    for make in (np.asarray, sp.csr_array, Lazy, da.from_array):
        fitted = projection(sketch=sketch, compute_inverse_components=True)
        Z = fitted.fit_transform(make(rows))
        assert Z.dtype == dense(Z).dtype == np.float32
        assert_close_to_scale(dense(Z), expected, np.float32)
        if hasattr(fitted, "components_"):
            assert fitted.components_.dtype == np.float32
        assert fitted.inverse_components_.dtype == np.float32


@EACH_SKETCH
def test_the_precision_is_that_of_the_rows_projected(sketch):
    fitted = projection(sketch=sketch).fit(X)
    for make in (np.asarray, sp.csr_array, Lazy, lambda rows: iter([rows]), da.from_array):
        Z = fitted.transform(make(X.astype(np.float32)))
        assert Z.dtype == dense(Z).dtype == np.float32
        assert_close_to_scale(dense(Z), dense(fitted.transform(X)), np.float32)


@EACH_SKETCH
def test_integers_are_projected_as_doubles(sketch):
    rows = np.round(5 * X).astype(int)
    expected = projection(sketch=sketch).fit_transform(rows.astype(float))
    for source in (rows, rows.astype(np.int8), sp.csr_array(rows), da.from_array(rows)):
        Z = projection(sketch=sketch).fit_transform(source)
        assert Z.dtype == np.float64
        assert_close_to_scale(dense(Z), expected, float)


@EACH_SKETCH
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_blocks_of_an_iterator_are_projected_as_they_come(sketch, container):
    fitted = projection(sketch=sketch).fit(X)
    Z = fitted.transform(container(part) for part in (X[:10], X[10:11], X[11:]))
    assert sp.issparse(Z) == (container is sp.csr_array and sketch in STAY_SPARSE)
    assert_close_to_scale(dense(Z), fitted.transform(X), float)


def test_an_iterator_does_not_lose_rows_between_fit_and_transform():
    try:
        Z = projection().fit_transform(iter([X[:10], X[10:]]))
    except (ValueError, RuntimeError):
        return
    assert len(Z) == len(X)


@EACH_SKETCH
def test_names_and_containers_follow_scikit_learn(sketch):
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(300)])
    fitted = projection(2, sketch=sketch).set_output(transform="pandas").fit(frame)
    assert fitted.feature_names_in_.tolist() == frame.columns.tolist()
    names = ["sketchprojection0", "sketchprojection1"]
    assert fitted.get_feature_names_out().tolist() == names
    for out in (fitted.transform(frame), fitted.fit_transform(frame)):
        assert out.columns.tolist() == names
        assert out.index.equals(frame.index)
    polars = fitted.set_output(transform="polars")
    source = pl.DataFrame(frame) if NAMES_IN_POLARS else frame
    for out in (polars.transform(frame), polars.fit_transform(source)):
        assert isinstance(out, pl.DataFrame)
        assert out.columns == names
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame.rename(columns={"x0": "y"}))


@pytest.mark.parametrize("sketch", STAY_SPARSE)
def test_frames_are_made_of_dense_output_alone(sketch):
    rows = sp.csr_array(X)
    fitted = projection(2, sketch=sketch).set_output(transform="pandas")
    with pytest.raises(ValueError, match="outputs a scipy sparse matrix"):
        fitted.fit_transform(rows)
    fitted.set_params(dense_output=True)
    assert isinstance(fitted.fit_transform(rows), pd.DataFrame)


@EACH_SKETCH
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_a_classifier_learns_from_projections(sketch, container):
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    rows = rng.standard_normal((200, 300)) * (rng.random((200, 300)) < 0.2)
    rows[:, :100] += 0.5 * y[:, None]
    model = make_pipeline(
        SketchProjection(60, sketch=sketch, random_state=0), LogisticRegression()
    )
    search = GridSearchCV(model, {"sketchprojection__n_components": [1, 60]}, cv=3)
    search.fit(container(rows), y)
    assert search.best_params_ == {"sketchprojection__n_components": 60}
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("sketch", STAY_SPARSE)
@pytest.mark.parametrize(
    "estimator", [LinearSVC(dual=False), DecisionTreeClassifier(max_depth=2)]
)
def test_estimators_that_want_short_indices_take_sparse_projections(sketch, estimator):
    model = make_pipeline(projection(sketch=sketch), estimator)
    assert model.fit(sp.csr_array(X), np.arange(60) % 2).predict(sp.csr_array(X)).any()


# Whatever is wrong with them


@EACH_SKETCH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.csc_matrix, pd.DataFrame])
def test_values_that_are_not_finite_are_refused(sketch, make, value):
    estimator = projection(sketch=sketch)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        estimator.fit(make(broken(value)))
    assert not hasattr(estimator, "sketch_")
    fitted = estimator.fit(X)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        fitted.transform(make(broken(value)))
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        fitted.inverse_transform(make(broken(value, X[:, :K])))


def test_not_a_number_is_found_in_large_data():
    rows = np.zeros((1100, 1000))
    rows[-1, -1] = np.nan
    for method in ("fit", "fit_transform"):
        with pytest.raises(ValueError, match="NaN"):
            getattr(projection(), method)(rows)
    with pytest.raises(ValueError, match="NaN"):
        projection().fit(np.zeros((2, 1000))).transform(rows)


@pytest.mark.parametrize(
    ("params", "data", "message"),
    [
        ({}, [["a", "b"], ["c", "d"]], "could not convert string"),
        ({}, np.zeros((0, 5)), "0 sample"),
        ({}, np.zeros((3, 0)), "0 feature"),
        ({}, sp.csr_array((0, 5)), "0 sample"),
        ({}, sp.csr_array((3, 0)), "0 feature"),
        ({}, da.zeros((0, 5)), "0 sample"),
        ({}, iter([]), "0 block"),
        ({}, X[0], "Expected 2D array"),
        ({}, X[:, :, None], "dim 3"),
        ({}, X * 1j, "Complex data"),
        ({"sketch": "fourier"}, X, "'sketch' parameter"),
        ({"sketch": None}, X, "'sketch' parameter"),
        ({"n_components": 0}, X, "'n_components' parameter"),
        ({"n_components": -1}, X, "'n_components' parameter"),
        ({"n_components": 2.0}, X, "'n_components' parameter"),
        ({"n_components": "all"}, X, "'n_components' parameter"),
        ({"n_components": None}, X, "'n_components' parameter"),
        ({"eps": 0}, X, "'eps' parameter"),
        ({"eps": 1}, X, "'eps' parameter"),
        ({"eps": np.nan}, X, "'eps' parameter"),
        ({"nnz": 0}, X, "'nnz' parameter"),
        ({"nnz": 1.5}, X, "'nnz' parameter"),
        ({"block_size": 0}, X, "'block_size' parameter"),
        ({"dense_output": "yes"}, X, "'dense_output' parameter"),
        ({"compute_inverse_components": 2}, X, "'compute_inverse_components' parameter"),
        ({"random_state": -1}, X, "'random_state' parameter"),
        ({}, iter([X]), "used up by fit"),
        ({"n_components": "auto"}, X, "target dimension"),
        ({"n_components": 301, "sketch": "srtt"}, X, "n_components=301 must be at most"),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, data, message):
    estimator = SketchProjection(**{"n_components": 2, **params})
    with pytest.raises(ValueError, match=message):
        estimator.fit(data)
    assert not [name for name in vars(estimator) if name.endswith("_")]


@EACH_SKETCH
def test_a_failed_fit_leaves_the_previous_state(sketch):
    fitted = projection(sketch=sketch, compute_inverse_components=True).fit(X)
    before = vars(fitted).copy()
    bad = (broken(np.nan), X[:0], iter([]), iter([X[0]]), da.zeros((0, 300)), [["a"]])
    for data in bad:
        with pytest.raises(ValueError):
            fitted.fit(data)
        assert vars(fitted).keys() == before.keys()
        assert all(vars(fitted)[key] is before[key] for key in before)
    fitted.set_params(n_components="auto")
    with pytest.raises(ValueError, match="target dimension"):
        fitted.fit(NEW[:, :50])
    assert fitted.n_features_in_ == 300
    assert fitted.sketch_ is before["sketch_"]
    assert fitted.transform(X).shape == (60, K)


def test_other_widths_and_unfitted_estimators_are_refused():
    estimator = projection()
    for use in (estimator.transform, estimator.inverse_transform):
        with pytest.raises(NotFittedError):
            use(X)
    assert not hasattr(estimator, "components_")
    fitted = estimator.fit(X)
    for make in (np.asarray, sp.csr_array, da.from_array, Lazy, lambda rows: iter([rows])):
        with pytest.raises(ValueError, match="X has 4 features"):
            fitted.transform(make(X[:, :4]))
    for make in (np.asarray, sp.csr_array, sp.csc_matrix):
        for width in (K - 1, K + 1, 300):
            message = f"X has {width} columns, but n_components_={K} are expected"
            with pytest.raises(ValueError, match=message):
                fitted.inverse_transform(make(X[:, :width]))
    for bad in (X[0, :K], X[:0, :K], [["a"] * K]):
        with pytest.raises(ValueError):
            fitted.inverse_transform(bad)


# Precisions mixed


@EACH_SKETCH
def test_doubles_are_projected_in_double_precision_after_a_fit_to_singles(sketch):
    fitted = projection(sketch=sketch).fit(X.astype(np.float32))
    Z = fitted.transform(X)
    assert Z.dtype == np.float64
    assert_close_to_scale(dense(fitted.transform(sp.csr_array(X))), Z, float)
    assert_close_to_scale(fitted.transform(fitted.inverse_transform(Z)), Z, float)

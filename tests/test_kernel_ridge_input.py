"""Whatever the data of NystroemRidge come as; and whatever is wrong with them."""

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import sklearn_rnla.linalg.nystroem.ridge as solvers
from sklearn_rnla import NystroemRidge, NystroemRidgeClassifier
from tests.invariants import assert_close_to_scale
from tests.sources import on_disk

RNG = np.random.default_rng(0)
X = RNG.random((150, 4)) * (RNG.random((150, 4)) < 0.7)
Y = np.column_stack([np.sin(3 * X[:, 0]), X.sum(axis=1)]) + 1
y = Y[:, 0]
W = 2 * RNG.random(150)
LANDMARKS = np.arange(0, 150, 5)


SOURCES = {
    "list": lambda _: X.tolist(),
    "pandas": lambda _: pd.DataFrame(X),
    "polars": lambda _: pl.DataFrame(X),
    "fortran": lambda _: np.asfortranarray(X),
    "csr": lambda _: sp.csr_array(X),
    "csc": lambda _: sp.csc_matrix(X),
    "memmap": lambda folder: on_disk(X, folder),
    "dask": lambda _: da.from_array(X, chunks=(40, 3)),
}
WAYS = [{"solver": "direct"}, {"solver": "cg"}, {"exact": True}]


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("params", WAYS, ids=str)
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "polynomial"])
def test_every_source_gives_the_same_answer(make, params, kernel, tmp_path):
    ridge = NystroemRidge(0.1, kernel=kernel, landmarks=LANDMARKS, tol=1e-12, **params)
    reference = clone(ridge).fit(X, Y, W)
    source = make(tmp_path)
    ridge.fit(source, Y, W)
    predicted = np.asarray(ridge.predict(source))
    assert_close_to_scale(predicted, reference.predict(X), float, 1e7)
    assert ridge.n_features_in_ == 4
    assert sp.issparse(ridge.components_) == sp.issparse(source)


@pytest.mark.parametrize("make", [pd.Series, pl.Series, list, da.from_array])
def test_every_target_gives_the_same_answer(make):
    ridge = NystroemRidge(landmarks=LANDMARKS)
    expected = ridge.fit(X, y).predict(X)
    np.testing.assert_array_equal(ridge.fit(X, make(y)).predict(X), expected)


def test_landmarks_are_drawn_from_every_source_alike():
    fitted = [
        NystroemRidge(n_landmarks=20, random_state=0).fit(make(X), y)
        for make in (np.asarray, sp.csr_array, da.from_array)
    ]
    for other in fitted:
        np.testing.assert_array_equal(
            other.component_indices_, fitted[0].component_indices_
        )


@pytest.mark.parametrize("target", [y, Y], ids=["1d", "many"])
def test_predictions_of_dask_arrays_stay_lazy(target):
    source = da.from_array(X, chunks=(40, 4))
    ridge = NystroemRidge(landmarks=LANDMARKS).fit(source, target)
    lazy = ridge.predict(source)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks[0] == (40, 40, 40, 30)
    assert lazy.shape == target.shape
    assert_close_to_scale(lazy.compute(), ridge.predict(X), float)


@pytest.mark.parametrize("params", WAYS, ids=str)
def test_single_precision_stays_single(params):
    ridge = NystroemRidge(landmarks=LANDMARKS, **params)
    single = ridge.fit(X.astype(np.float32), y).predict(X.astype(np.float32))
    assert single.dtype == np.float32
    assert ridge.components_.dtype == np.float32
    double = ridge.fit(X, y).predict(X)
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=1e-3)
    assert ridge.fit((10 * X).astype(int), y).predict(X).dtype == np.float64


def test_shapes_follow_the_target():
    ridge = NystroemRidge(landmarks=LANDMARKS)
    for target in (y, Y[:, :1], Y):
        ridge.fit(X, target)
        assert ridge.predict(X[:7]).shape == (7, *target.shape[1:])
        assert ridge.dual_coef_.shape == (len(ridge.components_), *target.shape[1:])


def test_a_weight_for_all_divides_the_penalty():
    weighted = NystroemRidge(2, landmarks=LANDMARKS).fit(X, y, 2.0)
    plain = NystroemRidge(1, landmarks=LANDMARKS).fit(X, y)
    assert_close_to_scale(weighted.predict(X), plain.predict(X), float, 1e4)


@pytest.mark.parametrize("params", WAYS, ids=str)
def test_rows_of_weight_zero_are_as_if_they_were_not_there(params):
    w = (np.arange(150) % 3 > 0).astype(float)
    ridge = NystroemRidge(0.1, landmarks=X[LANDMARKS], tol=1e-12, **params)
    weighted = ridge.fit(X, y, w).predict(X)
    alone = ridge.fit(X[w > 0], y[w > 0]).predict(X)
    np.testing.assert_allclose(weighted, alone, rtol=1e-8)


@pytest.mark.parametrize("params", WAYS, ids=str)
def test_repeated_rows_and_landmarks_do_no_harm(params):
    repeated = np.repeat(X[:30], 5, axis=0)
    target = np.repeat(y[:30], 5)
    ridge = NystroemRidge(1, tol=1e-12, **params)
    few = ridge.fit(X[:30], y[:30], np.full(30, 5)).predict(X)
    assert_close_to_scale(ridge.fit(repeated, target).predict(X), few, float, 1e8)
    ridge.set_params(landmarks=np.r_[LANDMARKS, LANDMARKS]).fit(X, y)
    twice = ridge.predict(X)
    once = ridge.set_params(landmarks=LANDMARKS).fit(X, y).predict(X)
    assert_close_to_scale(twice, once, float, 1e8)


@pytest.mark.parametrize("params", WAYS, ids=str)
def test_one_row_is_enough(params):
    ridge = NystroemRidge(0.5, fit_intercept=False, **params).fit(X[:1], y[:1])
    np.testing.assert_allclose(ridge.predict(X[:1]), y[:1] / 1.5)


def test_more_landmarks_than_rows_are_all_rows():
    ridge = NystroemRidge(kernel="laplacian", n_landmarks=10_000).fit(X, y)
    assert sorted(ridge.component_indices_) == list(range(150))


def broken(value):
    bad = X.copy()
    bad[5, 3] = value
    return bad


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, da.from_array])
@pytest.mark.parametrize("params", WAYS, ids=str)
def test_values_that_are_not_finite_are_refused(params, make, value):
    ridge = NystroemRidge(**params)
    with pytest.raises(ValueError, match=r"NaN|inf"):
        ridge.fit(make(broken(value)), y)
    with pytest.raises(ValueError, match=r"Input y contains (NaN|inf)"):
        ridge.fit(X, np.where(np.arange(150) == 7, value, y))
    with pytest.raises(ValueError, match=r"Input sample_weight contains (NaN|inf)"):
        ridge.fit(X, y, np.where(np.arange(150) == 7, value, W))
    if make is not da.from_array:
        ridge.fit(X, y)
        with pytest.raises(ValueError, match=r"NaN|inf"):
            ridge.predict(make(broken(value)))


@pytest.mark.parametrize(
    ("params", "args", "message"),
    [
        ({"alpha": -1}, (X, y), r"'alpha' parameter .* \[0.0, inf\) .* Got -1"),
        ({"alpha": np.nan}, (X, y), "'alpha' parameter .* Got nan"),
        ({"alpha": np.inf}, (X, y), "'alpha' parameter .* Got inf"),
        ({"alpha": "best"}, (X, y), "'alpha' parameter .* Got 'best'"),
        ({"alpha": [1, -1]}, (X, y), r"alpha=\[1, -1\] must be .* at least 0"),
        ({"alpha": [1, np.nan]}, (X, y), r"alpha=\[1, nan\] must be"),
        ({"alpha": [1, np.inf]}, (X, y), r"alpha=\[1, inf\] must be finite"),
        ({"alpha": []}, (X, y), r"alpha=\[\] must .*(empty|one)"),
        ({"alpha": [[1.0]]}, (X, y), r"alpha=\[\[1.0\]\] must .*dimension"),
        ({"alpha": [1, 2]}, (X, y), r"alpha=\[1, 2\] must .* n_targets=1 .* pass alphas"),
        ({"alphas": 1}, (X, y), "'alphas' parameter"),
        ({"alphas": []}, (X, y), r"alphas=\[\] must"),
        ({"alphas": [1, -1]}, (X, y), r"alphas=\[1, -1\] must be .* at least 0"),
        ({"alpha": ["a"]}, (X, y), "alpha"),
        ({"exact": True, "alpha": 0}, (X, y), "alpha=0 must be positive .*exact"),
        (
            {"exact": True, "alphas": [0, 1]},
            (X, y),
            r"alphas=\[0, 1\] must be positive .*exact",
        ),
        (
            {"exact": True, "solver": "direct"},
            (X, y),
            "solver='direct' .* exact=True: use sklearn.kernel_ridge.KernelRidge",
        ),
        ({"solver": "cg", "alphas": [1, 2]}, (X, y), "solver='cg' .* one alpha.* 'direct'"),
        ({"solver": "lsqr"}, (X, y), "'solver' parameter"),
        ({"exact": "some"}, (X, y), "'exact' parameter"),
        ({"tol": 0}, (X, y), "'tol' parameter"),
        ({"max_iter": 0}, (X, y), "'max_iter' parameter"),
        ({"fit_intercept": "yes"}, (X, y), "'fit_intercept' parameter"),
        ({"kernel": "precomputed"}, (X @ X.T, y), "precomputed.* NystroemRidge: use make_"),
        ({"kernel": "spline"}, (X, y), "'kernel' parameter"),
        ({"kernel": "chi2"}, (X - 1, y), "Negative"),
        ({"kernel": np.dot, "gamma": 1.0}, (X, y), "gamma cannot be used with a callable"),
        ({"gamma": 0}, (X, y), "'gamma' parameter"),
        ({"n_landmarks": 0}, (X, y), "'n_landmarks' parameter"),
        ({"n_landmarks": 0.9, "landmarks": "kmeans"}, (X, y), "n_landmarks=0.9"),
        ({"landmarks": "best"}, (X, y), "'landmarks' parameter"),
        ({"landmarks": [150]}, (X, y), "landmarks must be indices of the n_samples=150"),
        ({"landmarks": X[:5, :2]}, (X, y), "landmarks have 2 features, but X has 4"),
        ({}, (X, None), "requires y to be passed"),
        ({}, (X, y[:5]), r"inconsistent numbers of samples: \[150, 5\]"),
        ({}, (X, ["a"] * 150), "could not convert string"),
        ({}, (X[:0], y[:0]), "0 sample"),
        ({}, (X[0], y), "Expected 2D array"),
        ({}, (iter([X]), y), "iterator"),
        ({}, (X, y, -W), "Negative values"),
        ({}, (X, y, W[:3]), "sample_weight.shape"),
        ({}, (X, y, 0 * W), "non-zero|zero for every"),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, args, message):
    ridge = NystroemRidge(**params)
    with pytest.raises(ValueError, match=message):
        ridge.fit(*args)
    assert not [name for name in vars(ridge) if name.endswith("_") and name[0] != "_"]


def test_other_widths_and_unfitted_estimators_are_refused():
    with pytest.raises(NotFittedError):
        NystroemRidge().predict(X)
    frame = pd.DataFrame(X, columns=list("abcd"))
    ridge = NystroemRidge().fit(frame, y)
    assert ridge.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="X has 3 features"):
        NystroemRidge().fit(X, y).predict(X[:, :3])
    for other in (frame[list("abc")], frame.rename(columns={"d": "e"})):
        with pytest.raises(ValueError, match="feature names should match"):
            ridge.predict(other)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
@pytest.mark.parametrize("interrupted", ["solve_cg", "_with_intercept"])
@pytest.mark.parametrize("estimator", [NystroemRidge, NystroemRidgeClassifier])
def test_an_interrupted_fit_leaves_the_previous_state(
    estimator, interrupted, error, monkeypatch
):
    ridge = estimator(solver="cg", fit_intercept=True).fit(X, y > 1)
    before = vars(ridge).copy()

    def interrupt(*args, **kwargs):
        raise error

    monkeypatch.setattr(solvers, interrupted, interrupt)
    with pytest.raises(error):
        ridge.fit(X[:, :2], np.arange(150) % 3)
    assert vars(ridge).keys() == before.keys()
    assert all(vars(ridge)[key] is before[key] for key in before)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("kernel", ["rbf", "polynomial", "laplacian"])
def test_a_fitted_estimator_pickles(make, kernel):
    ridge = NystroemRidge(kernel=kernel, landmarks=LANDMARKS).fit(make(X), Y)
    other = pickle.loads(pickle.dumps(ridge))
    np.testing.assert_array_equal(other.predict(make(X)), ridge.predict(make(X)))

"""Kernel estimators as steps of what scikit-learn builds around them."""

import io
import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, make_circles, make_friedman1
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_rnla import (
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    NystroemSpectralClustering,
)
from tests.invariants import assert_close_to_scale

X, Y = make_friedman1(200, n_features=5, noise=0.1, random_state=0)


def test_a_grid_search_over_kernel_features_separates_circles():
    rows, y = make_circles(200, noise=0.05, factor=0.6, random_state=0)
    search = GridSearchCV(
        make_pipeline(NystroemKernel(random_state=0), LogisticRegression(C=100)),
        {
            "nystroemkernel__gamma": [1e-3, 1.0],
            "nystroemkernel__n_components": [1, 20],
        },
        cv=3,
    ).fit(rows, y)
    assert search.best_params_ == {
        "nystroemkernel__gamma": 1.0,
        "nystroemkernel__n_components": 20,
    }
    linear = cross_val_score(LogisticRegression(), rows, y, cv=3).mean()
    assert search.best_score_ > 0.95 > linear


def test_more_kernel_features_classify_digits_better(seed):
    rows, y = load_digits(return_X_y=True)
    rows, y = rows[:600] / 16, y[:600]
    scores = [
        cross_val_score(
            make_pipeline(
                NystroemKernel(gamma=0.1, n_components=k, random_state=seed),
                LogisticRegression(C=10, max_iter=1000),
            ),
            rows,
            y,
            cv=3,
        ).mean()
        for k in (5, 100)
    ]
    assert scores[1] > max(0.8, scores[0])


def test_ridge_on_kernel_features_is_kernel_ridge_on_the_same_landmarks(seed):
    params = {"gamma": 0.5, "random_state": seed}
    one = NystroemRidge(0.1, n_landmarks=50, landmarks="rpcholesky", **params).fit(X, Y)
    two = make_pipeline(NystroemKernel(n_components=50, **params), Ridge(0.1))
    assert_close_to_scale(one.predict(X), two.fit(X, Y).predict(X), float, 1e6)


def test_a_precomputed_kernel_goes_through_the_features():
    K, new = rbf_kernel(X), rbf_kernel(X[:20] + 0.1, X)
    features = NystroemKernel("precomputed", n_components=200)
    ours = make_pipeline(features, Ridge(0.1, fit_intercept=False)).fit(K, Y)
    theirs = KernelRidge(alpha=0.1, kernel="precomputed").fit(K, Y)
    assert_close_to_scale(ours.predict(new), theirs.predict(new), float, 1e6)


def test_it_regresses_on_a_frame_of_mixed_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["kind"] = rng.choice(["up", "down"], 200)
    y = np.where(frame["kind"] == "up", 1, -1) * np.sin(6 * frame["a"])

    def score(regressor):
        columns = make_column_transformer(
            (StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["kind"])
        )
        return cross_val_score(make_pipeline(columns, regressor), frame, y, cv=3).mean()

    assert score(NystroemRidge(0.1, gamma=1, random_state=0)) > 0.9 > score(Ridge(0.1))


@pytest.mark.parametrize("exact", [False, True])
def test_a_grid_search_over_penalties_scores_as_kernel_ridge_does(exact):
    grid = {"alpha": [1e-3, 1e-1, 10]}
    ridge = NystroemRidge(gamma=0.5, n_landmarks=200, exact=exact, fit_intercept=False)
    ours = GridSearchCV(ridge, grid, cv=3).fit(X, Y)
    theirs = GridSearchCV(KernelRidge(kernel="rbf", gamma=0.5), grid, cv=3).fit(X, Y)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"],
        theirs.cv_results_["mean_test_score"],
        rtol=1e-4,
    )


def test_a_search_of_its_own_is_about_as_good_as_the_grid_search():
    alphas = np.logspace(-4, 1, 6)
    ridge = NystroemRidge(alphas=alphas, gamma=0.5, n_landmarks=100, random_state=0)
    fixed = clone(ridge).set_params(alphas=None)
    grid = GridSearchCV(fixed, {"alpha": alphas}, cv=5).fit(X, Y)
    own = cross_val_score(ridge, X, Y, cv=5).mean()
    assert 1 - own <= 1.2 * (1 - grid.best_score_)


@pytest.mark.parametrize(
    ("estimator", "y"),
    [
        (NystroemRidge(0.1, n_landmarks=50, random_state=0), Y),
        (NystroemRidgeClassifier(0.1, n_landmarks=50, random_state=0), Y > 14),
    ],
)
def test_weights_are_routed_through_a_pipeline(estimator, y):
    w = np.random.default_rng(0).integers(0, 3, 200).astype(float)
    scaled = StandardScaler().fit_transform(X)
    expected = estimator.fit(scaled, y, w).predict(scaled)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            estimator.set_fit_request(sample_weight=True).set_score_request(
                sample_weight=True
            ),
        )
        pipeline.fit(X, y, sample_weight=w)
        score = pipeline.score(X, y, sample_weight=w)
    assert score == estimator.score(scaled, y, w)
    np.testing.assert_array_equal(pipeline.predict(X), expected)
    ignored = estimator.fit(scaled, y).predict(scaled)
    assert not np.array_equal(ignored, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "estimator",
    [
        NystroemKernel(n_components=60, random_state=0),
        NystroemKernel("laplacian", n_components=60, random_state=0),
        NystroemRidge(n_landmarks=60, random_state=0),
        NystroemRidge(exact=True, random_state=0),
        NystroemRidgeClassifier(n_landmarks=60, random_state=0),
        NystroemSpectralClustering(3, gamma="scale", n_landmarks=60, random_state=0),
    ],
    ids=str,
)
def test_what_can_be_made_again_is_not_pickled(estimator, dtype):
    rows = np.random.default_rng(0).standard_normal((600, 40)).astype(dtype)
    fitted = clone(estimator).fit(rows, rows[:, 0] > 0)
    use = fitted.transform if hasattr(fitted, "transform") else fitted.predict
    public = sum(
        value.nbytes for value in vars(fitted).values() if isinstance(value, np.ndarray)
    )
    # The root of the landmarks' kernel is in float64 whatever the data are.
    root = 60 * 60 * 8 if hasattr(fitted, "normalization_") else 0
    use(rows)
    stored = io.BytesIO()
    joblib.dump(fitted, stored)
    for size in (len(pickle.dumps(fitted)), len(stored.getvalue())):
        assert size <= public + root + 60 * 40 * rows.itemsize + 10_000
    stored.seek(0)
    for other in (pickle.loads(pickle.dumps(fitted)), joblib.load(stored)):
        again = other.transform if hasattr(fitted, "transform") else other.predict
        np.testing.assert_array_equal(again(rows), use(rows))


@pytest.mark.parametrize("n_features", [20, 400])
def test_choosing_landmarks_takes_the_memory_of_the_features(n_features):
    rows = np.random.default_rng(0).standard_normal((20_000, n_features), np.float32)
    for estimator in (
        NystroemKernel(n_components=100, random_state=0),
        NystroemRidge(n_landmarks=100, random_state=0),
    ):
        tracemalloc.start()
        estimator.fit(rows, rows[:, 0])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Beside the features, tiles of 2 MB and some arrays of n_samples or of landmarks.
        assert peak <= 2 * 20_000 * 100 * 4 + 12e6

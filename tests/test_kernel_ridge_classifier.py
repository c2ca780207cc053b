"""NystroemRidgeClassifier is NystroemRidge on classes coded -1 and 1."""

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris, make_circles
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rnla import NystroemRidge, NystroemRidgeClassifier
from tests.invariants import assert_close_to_scale

X, CLASSES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[CLASSES]
BINARY = (CLASSES == 1).astype(int)
W = np.random.default_rng(0).random(150) * 2
LANDMARKS = np.arange(0, 150, 5)
PARAMS = {"alpha": 0.1, "gamma": 0.3, "landmarks": LANDMARKS, "random_state": 0}


@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("solver", ["direct", "cg"])
@pytest.mark.parametrize("y", [BINARY, CLASSES, NAMES], ids=["binary", "many", "strings"])
def test_scores_are_ridge_on_coded_classes(y, solver, fit_intercept, weight):
    params = {**PARAMS, "solver": solver, "fit_intercept": fit_intercept}
    classifier = NystroemRidgeClassifier(**params).fit(X, y, weight)
    classes = np.unique(y)
    coded = np.where(y[:, None] == classes, 1.0, -1.0)
    coded = coded[:, 1] if len(classes) == 2 else coded
    ridge = NystroemRidge(**params).fit(X, coded, weight)
    scores = classifier.decision_function(X)
    assert_close_to_scale(scores, ridge.predict(X), float, 1e4)
    np.testing.assert_array_equal(classifier.classes_, classes)
    assert classifier.predict(X).dtype == y.dtype


def test_with_a_linear_kernel_it_is_the_ridge_classifier():
    for y in (BINARY, CLASSES):
        params = {"kernel": "linear", "n_landmarks": 4, "random_state": 0}
        ours = NystroemRidgeClassifier(0.5, **params).fit(X, y)
        theirs = RidgeClassifier(0.5).fit(X, y)
        assert_close_to_scale(
            ours.decision_function(X), theirs.decision_function(X), float, 1e7
        )
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_the_class_of_the_largest_score_is_predicted():
    binary = NystroemRidgeClassifier(**PARAMS).fit(X, BINARY)
    scores = binary.decision_function(X)
    assert scores.shape == (150,)
    np.testing.assert_array_equal(binary.predict(X), binary.classes_[(scores > 0) * 1])
    many = NystroemRidgeClassifier(**PARAMS).fit(X, NAMES)
    scores = many.decision_function(X)
    assert scores.shape == (150, 3)
    np.testing.assert_array_equal(many.predict(X), many.classes_[scores.argmax(axis=1)])
    assert many.score(X, NAMES) > 0.95


def test_coefficients_have_a_column_for_each_score():
    for y, n_scores in ((BINARY, 1), (CLASSES, 3)):
        classifier = NystroemRidgeClassifier(**PARAMS).fit(X, y)
        assert classifier.dual_coef_.shape == (len(classifier.components_), n_scores)
        assert classifier.intercept_.shape == (n_scores,)


@pytest.mark.parametrize("y", [BINARY, CLASSES], ids=["binary", "many"])
@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 0.5}])
def test_class_weights_multiply_those_of_the_samples(class_weight, weight, y):
    classifier = NystroemRidgeClassifier(**PARAMS, class_weight=class_weight)
    if class_weight == "balanced":
        factors = len(y) / (len(np.unique(y)) * np.bincount(y))
    else:
        factors = np.array([3.0, 0.5, 1.0])
    weighted = classifier.fit(X, y, weight).decision_function(X)
    each = factors[y] if weight is None else factors[y] * weight
    plain = NystroemRidgeClassifier(**PARAMS).fit(X, y, each)
    assert_close_to_scale(weighted, plain.decision_function(X), float, 1e4)


def test_balanced_weights_raise_the_recall_of_a_rare_class():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((400, 2)) + np.repeat([[0.0], [1.0]], [370, 30], axis=0)
    y = np.repeat([0, 1], [370, 30])
    plain, balanced = (
        NystroemRidgeClassifier(class_weight=w, random_state=0).fit(rows, y).predict(rows)
        for w in (None, "balanced")
    )
    assert balanced[y == 1].mean() > plain[y == 1].mean()


def test_the_penalty_is_chosen_as_in_the_regression():
    alphas = np.logspace(-4, 2, 7)
    params = {**PARAMS, "alphas": alphas}
    coded = np.where(CLASSES[:, None] == np.arange(3), 1.0, -1.0)
    chosen = NystroemRidgeClassifier(**params).fit(X, CLASSES).alpha_
    assert chosen == NystroemRidge(**params).fit(X, coded).alpha_


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array, pd.DataFrame, da.from_array])
@pytest.mark.parametrize("y", [BINARY, NAMES], ids=["binary", "strings"])
def test_every_source_gives_the_same_answer(make, y):
    reference = NystroemRidgeClassifier(**PARAMS).fit(X, y)
    classifier = NystroemRidgeClassifier(**PARAMS).fit(make(X), pd.Series(y))
    scores = classifier.decision_function(make(X))
    assert isinstance(scores, da.Array) == (make is da.from_array)
    assert_close_to_scale(scores, reference.decision_function(X), float, 1e5)
    np.testing.assert_array_equal(classifier.predict(make(X)), reference.predict(X))


def test_there_are_no_probabilities_but_calibrated_ones():
    assert not hasattr(NystroemRidgeClassifier().fit(X, BINARY), "predict_proba")
    calibrated = CalibratedClassifierCV(
        NystroemRidgeClassifier(**PARAMS | {"landmarks": X})
    )
    P = calibrated.fit(X, CLASSES).predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    assert (P.argmax(axis=1) == CLASSES).mean() > 0.9


@pytest.mark.parametrize(
    ("params", "y", "message"),
    [
        ({}, np.zeros(150, int), r"one class only.* two or more"),
        ({}, X[:, 0] + 0.01, "Unknown label type: continuous"),
        ({}, np.column_stack([BINARY, BINARY]), "1d array"),
        ({}, None, "requires y to be passed"),
        ({}, np.where(BINARY, np.nan, 1.0), "NaN"),
        ({"alpha": -1}, BINARY, "'alpha' parameter"),
        ({"kernel": "precomputed"}, BINARY, "NystroemRidgeClassifier: use make_pipeline"),
        ({"class_weight": "even"}, BINARY, "'class_weight' parameter"),
        ({"class_weight": {5: 1}}, BINARY, "not in class_weight"),
        ({"class_weight": {0: -1, 1: 1}}, BINARY, "class_weight"),
        ({"class_weight": {0: np.nan, 1: 1}}, BINARY, "class_weight"),
        ({"class_weight": {0: 0, 1: 0}}, BINARY, "class_weight"),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, y, message):
    classifier = NystroemRidgeClassifier(**params)
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, y)
    assert not [n for n in vars(classifier) if n.endswith("_") and n[0] != "_"]


def test_too_few_iterations_warn_with_the_residual():
    classifier = NystroemRidgeClassifier(
        1e-3, n_landmarks=5, exact=True, max_iter=1, random_state=0
    )
    with pytest.warns(
        ConvergenceWarning, match=r"residual is .* max_iter \(now 1\)"
    ) as warned:
        classifier.fit(X, CLASSES)
    assert warned[0].filename == __file__


def test_clones_and_pickles_are_alike():
    classifier = NystroemRidgeClassifier(**PARAMS, class_weight="balanced")
    scores = classifier.fit(X, NAMES).decision_function(X)
    for other in (
        clone(classifier).fit(X, NAMES),
        pickle.loads(pickle.dumps(classifier)),
    ):
        np.testing.assert_array_equal(other.decision_function(X), scores)
        np.testing.assert_array_equal(other.predict(X), classifier.predict(X))


def test_all_rows_as_centers_classify_digits():
    rows, y = load_digits(return_X_y=True)
    rows, y = rows[:600], y[:600]
    classifier = NystroemRidgeClassifier(0.1, gamma=1e-3, exact=True, n_landmarks=100)
    classifier.set_params(random_state=0).fit(rows[::2], y[::2])
    assert classifier.score(rows[1::2], y[1::2]) > 0.9


def test_a_grid_search_finds_the_width_of_circles():
    rows, y = make_circles(300, noise=0.05, factor=0.7, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), NystroemRidgeClassifier(random_state=0)),
        {
            "nystroemridgeclassifier__gamma": [1e-4, 1],
            "nystroemridgeclassifier__alpha": [1e-2, 1e6],
        },
        cv=3,
    )
    search.fit(rows, np.where(y, "inner", "outer"))
    assert search.best_params_["nystroemridgeclassifier__gamma"] == 1
    assert search.best_score_ > 0.95

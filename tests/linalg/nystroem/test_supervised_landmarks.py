"""Landmarks that are chosen by the response."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_friedman1

from sklearn_rnla import NystroemRidge, NystroemRidgeClassifier, kernel_ridge
from sklearn_rnla.linalg.nystroem.supervised_landmarks import (
    _forward_selection,
    supervised_landmarks,
)
from sklearn_rnla.operators import as_row_matrix
from sklearn_rnla.operators.kernels import Kernel

RBF = Kernel("rbf", {"gamma": 0.5})


def standardised_friedman(n, seed):
    X, y = make_friedman1(n, 10, noise=1.0, random_state=seed)
    return (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()


def test_the_next_column_is_the_one_that_decreases_the_squares_most(seed):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((300, 150)), rng.standard_normal((300, 2))
    chosen = _forward_selection(A.T @ A, A.T @ B, 100)
    assert len(set(chosen)) == 100
    for r in (0, 5, 70):
        Q = np.linalg.qr(A[:, chosen[:r]])[0]
        left, columns = B - Q @ (Q.T @ B), A - Q @ (Q.T @ A)
        columns[:, chosen[:r]] = 0
        norms = np.linalg.norm(columns, axis=0)
        gains = np.sum((columns.T @ left) ** 2, axis=1) / np.where(norms > 0, norms, 1) ** 2
        assert np.argmax(gains) == chosen[r]


def test_dependent_columns_come_last():
    A = np.random.default_rng(0).standard_normal((50, 8))
    A[:, 3], A[:, 5] = A[:, 0], 0.0
    chosen = _forward_selection(A.T @ A, A.T @ A[:, :2], 8)
    assert sorted(chosen) == list(range(8))
    assert set(chosen[6:]) in ({0, 5}, {3, 5})


@pytest.mark.parametrize("target", [np.zeros((400, 2)), np.full((400, 1), 3.0)])
def test_a_target_that_says_nothing_leaves_random_landmarks(target, seed):
    rows = as_row_matrix(np.random.default_rng(seed).standard_normal((400, 3)))
    rng = np.random.default_rng(seed)
    chosen = supervised_landmarks(rows, RBF, 50, target, np.ones(3), rng)
    assert len(set(chosen)) == 50
    assert 100 < chosen.mean() < 300


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_the_unit_of_the_target_does_not_matter(make, scale):
    X, y = standardised_friedman(600, 0)
    rows, alphas = as_row_matrix(make(X)), np.logspace(-4, 1, 4)

    def chosen(y):
        rng = np.random.default_rng(0)
        return supervised_landmarks(rows, RBF, 40, y[:, np.newaxis], alphas, rng)

    np.testing.assert_array_equal(chosen(2.0**-3 * y), chosen(y))
    assert set(chosen(scale * y)[:20]) == set(chosen(y)[:20])


def test_rows_without_weight_are_no_landmarks(seed):
    X, y = standardised_friedman(900, seed)
    weight = np.where(np.arange(900) % 3 == 0, 0.0, 1.0)
    spoiled = np.where(weight == 0, 1e6, y)
    ridge = NystroemRidge(0.1, gamma=0.1, n_landmarks=50, random_state=seed)
    found = ridge.fit(X, spoiled, weight).component_indices_
    assert np.all(found % 3 != 0)
    assert len(ridge.fit(X, y, weight * (np.arange(900) < 60)).component_indices_) <= 40


def test_they_predict_better_than_uniform_ones_and_those_of_the_trace(seed):
    X, y = standardised_friedman(3000, seed)
    errors = {}
    for landmarks in ("auto", "uniform", "rpcholesky"):
        ridge = NystroemRidge(
            alphas=np.logspace(-4, 1, 6),
            gamma=0.1,
            n_landmarks=100,
            landmarks=landmarks,
            random_state=seed,
        ).fit(X[::2], y[::2])
        errors[landmarks] = np.linalg.norm(ridge.predict(X[1::2]) - y[1::2])
    assert errors["auto"] < 0.95 * min(errors["uniform"], errors["rpcholesky"])


@pytest.mark.parametrize(
    "params",
    [
        {"exact": True, "n_landmarks": 20},
        {"n_landmarks": 0.9},
        {"n_landmarks": 200},
        {"n_landmarks": 21},
        {"kernel": "sigmoid", "n_landmarks": 20},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", [NystroemRidge, NystroemRidgeClassifier])
def test_where_the_response_plays_no_part_they_are_those_of_the_trace(
    model, params, monkeypatch
):
    monkeypatch.setattr(kernel_ridge, "MOST_SUPERVISED", 20)
    X, y = standardised_friedman(200, 0)
    y = y > 0 if model is NystroemRidgeClassifier else y
    ours, theirs = (
        model(landmarks=landmarks, random_state=0, **params).fit(X, y)
        for landmarks in ("auto", "rpcholesky")
    )
    np.testing.assert_array_equal(ours.component_indices_, theirs.component_indices_)

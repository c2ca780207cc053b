"""The penalty that NystroemRidge chooses of several."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge, RidgeCV

from sklearn_rnla import NystroemKernel, NystroemRidge
from sklearn_rnla.linalg.dense.leave_one_out import LeaveOneOut
from tests.sources import Lazy

ALPHAS = np.logspace(-4, 2, 25)


def data(seed, noise, n=150):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    Y = 5 + np.sin(2 * X[:, :2]) + noise * rng.standard_normal((n, 2))
    return X, Y, rng.integers(0, 4, n)


def left_out_errors(F, Y, weight, alphas, intercept):
    """Return sums of the squared errors of rows, each of them left out of a regression."""
    errors = np.zeros(len(alphas))
    for a, alpha in enumerate(alphas):
        for i in range(len(F)):
            others = np.arange(len(F)) != i
            ridge = Ridge(alpha, fit_intercept=intercept)
            ridge.fit(F[others], Y[others], weight[others])
            error = Y[i] - ridge.predict(F[[i]])[0]
            errors[a] += weight[i] * np.sum(error**2)
    return errors


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_errors_of_the_choice_are_those_of_regressions_without_each_row(
    weighted, fit_intercept, seed
):
    X, Y, w = data(seed, 0.5, n=60)
    w = w.astype(float) if weighted else np.ones(60)
    F = NystroemKernel(gamma=0.3, n_components=20, random_state=seed).fit_transform(X)
    total, mean, centre = w.sum(), np.zeros(20), np.zeros(2)
    if fit_intercept:
        mean, centre = w @ F / total, w @ Y / total
    G = (F - mean).T @ (w[:, None] * (F - mean))
    FY = (F - mean).T @ (w[:, None] * (Y - centre))
    alphas, share = np.array([1e-3, 0.1, 10]), fit_intercept / total
    loo = LeaveOneOut.of_normal_equations(G, FY, mean, share, alphas)
    np.testing.assert_allclose(
        loo.squares(F, Y - centre, w),
        left_out_errors(F, Y, w, alphas, fit_intercept),
        rtol=1e-9,
    )


@pytest.mark.parametrize("noise", [0.05, 0.5, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("landmarks", ["rpcholesky", "kmeans"])
def test_the_penalty_chosen_is_that_of_ridge_cv_on_the_same_features(
    noise, weighted, fit_intercept, n_targets, landmarks, seed
):
    X, Y, w = data(seed, noise)
    Y, w = Y[:, :n_targets], w if weighted else None
    ridge = NystroemRidge(
        alphas=ALPHAS,
        gamma=0.3,
        n_landmarks=40,
        landmarks=landmarks,
        fit_intercept=fit_intercept,
        random_state=seed,
    ).fit(X, Y, w)
    F = NystroemKernel(gamma=0.3, landmarks=ridge.components_).fit_transform(X)
    theirs = RidgeCV(ALPHAS, fit_intercept=fit_intercept).fit(F, Y, w)
    assert ridge.alpha_ == theirs.alpha_
    np.testing.assert_allclose(
        ridge.predict(X).reshape(Y.shape),
        theirs.predict(F).reshape(Y.shape),
        rtol=1e-7,
        atol=1e-7,
    )


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_an_exact_regression_takes_the_penalty_that_is_best_for_its_preconditioner(
    fit_intercept, seed
):
    X, Y, w = data(seed, 0.5)
    params = {"gamma": 0.3, "random_state": seed}
    ours = NystroemRidge(
        alphas=ALPHAS, n_landmarks=150, exact=True, fit_intercept=fit_intercept, **params
    )
    F = NystroemKernel(n_components=150, **params).fit_transform(X)
    theirs = RidgeCV(ALPHAS, fit_intercept=fit_intercept).fit(F, Y, w)
    assert ours.fit(X, Y, w).alpha_ == theirs.alpha_
    assert ours.solver_ == "cg"


@pytest.mark.parametrize("make", [np.float32, np.float64, Lazy, sp.csr_array])
def test_the_choice_is_the_same_from_every_source(make, seed):
    X, Y, w = data(seed, 0.5)
    X[np.abs(X) < 0.5] = 0
    rows = X.astype(make) if isinstance(make, type(np.float32)) else make(X)
    ridge = NystroemRidge(alphas=ALPHAS[::4], gamma=0.3, landmarks="uniform")
    ridge.set_params(n_landmarks=40, random_state=seed)
    assert ridge.fit(rows, Y, w).alpha_ == ridge.fit(X, Y, w).alpha_


def test_a_large_target_does_not_hide_in_units_of_its_own():
    # Errors are summed over the targets in their units, as in RidgeCV.
    X, Y, _ = data(0, 0.5)
    Y = Y * [1e-3, 1e3]
    params = {"gamma": 0.3, "random_state": 0}
    both, one = (
        NystroemRidge(alphas=ALPHAS, **params).fit(X, y).alpha_ for y in (Y, Y[:, 1])
    )
    assert both == one


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smallest", [0, 1e-12])
def test_interpolation_of_noise_is_not_chosen(smallest, dtype, seed):
    # Where all rows are landmarks, the error without a penalty is 0 / 0.
    X, _, _ = data(seed, 0)
    noise = np.random.default_rng(seed).standard_normal(150)
    ridge = NystroemRidge(alphas=[smallest, 1, 100], gamma=2, landmarks=np.arange(150))
    assert ridge.fit(X.astype(dtype), noise).alpha_ > smallest


def test_a_choice_of_one_is_that_one():
    X, Y, _ = data(0, 0.5)
    one = NystroemRidge(0.1, random_state=0).fit(X, Y)
    only = NystroemRidge(alphas=[0.1], random_state=0).fit(X, Y)
    assert one.alpha_ == only.alpha_ == 0.1
    np.testing.assert_array_equal(one.predict(X), only.predict(X))


def test_the_order_of_the_penalties_does_not_matter():
    X, Y, _ = data(0, 0.5)
    ridge = NystroemRidge(alphas=ALPHAS, gamma=0.3).fit(X, Y)
    other = NystroemRidge(alphas=list(ALPHAS[::-1]), gamma=0.3).fit(X, Y)
    assert ridge.alpha_ == other.alpha_
    assert isinstance(ridge.alpha_, float)

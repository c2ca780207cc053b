"""The penalty that NystroemRidge chooses of several."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from sklearn_rnla import NystroemKernel, NystroemRidge

ALPHAS = np.logspace(-4, 2, 25)


def data(seed, noise, n=150):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    Y = 5 + np.sin(2 * X[:, :2]) + noise * rng.standard_normal((n, 2))
    return X, Y, rng.integers(0, 4, n)


def gcv_errors(F, Y, alphas, intercept):
    """Return generalised cross-validation errors from the dense hat matrix."""
    n = len(F)
    if intercept:
        F, Y = F - F.mean(axis=0), Y - Y.mean(axis=0)
    errors = []
    for alpha in alphas:
        hat = F @ np.linalg.solve(F.T @ F + alpha * np.eye(F.shape[1]), F.T)
        freedom = n - np.trace(hat) - intercept
        errors.append(n * np.sum((Y - hat @ Y) ** 2) / freedom**2)
    return np.array(errors)


@pytest.mark.parametrize("noise", [0.05, 0.5, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_the_least_generalised_cross_validation_error_is_chosen(
    noise, weighted, fit_intercept, n_targets, seed
):
    X, Y, w = data(seed, noise)
    Y = Y[:, :n_targets]
    params = {"gamma": 0.3, "n_components": 40, "random_state": seed}
    ridge = NystroemRidge(ALPHAS, fit_intercept=fit_intercept, **params)
    ridge.fit(X, Y, w if weighted else None)
    repeats = w if weighted else 1
    F = np.repeat(NystroemKernel(**params).fit_transform(X), repeats, axis=0)
    Y = np.repeat(Y, repeats, axis=0)
    reached = gcv_errors(F, Y, [ridge.alpha_], fit_intercept)[0]
    assert reached <= gcv_errors(F, Y, ALPHAS, fit_intercept).min() * (1 + 1e-9)
    theirs = Ridge(ridge.alpha_, fit_intercept=fit_intercept).fit(F, Y)
    np.testing.assert_allclose(
        np.repeat(ridge.predict(X), repeats, axis=0).reshape(Y.shape),
        theirs.predict(F).reshape(Y.shape),
        rtol=1e-7,
        atol=1e-7,
    )


@pytest.mark.parametrize("centers", ["landmarks", "all"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_where_rows_are_alike_the_choice_is_that_of_leave_one_out(
    centers, fit_intercept, seed
):
    # On a circle the hat matrix is circulant: the two criteria are one.
    angle = 2 * np.pi * np.arange(80) / 80
    X = np.column_stack([np.cos(angle), np.sin(angle)])
    noise = np.random.default_rng(seed).standard_normal((80, 3))
    Y = np.sin(3 * angle)[:, None] + np.arange(3) + 0.5 * noise
    params = {"gamma": 5.0, "n_components": 80, "random_state": 0}
    ours = NystroemRidge(ALPHAS, centers=centers, fit_intercept=fit_intercept, **params)
    F = NystroemKernel(**params).fit_transform(X)
    theirs = RidgeCV(ALPHAS, fit_intercept=fit_intercept).fit(F, Y)
    assert ours.fit(X, Y).alpha_ == pytest.approx(theirs.alpha_)
    assert ours.solver_ == ("cg" if centers == "all" else "direct")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smallest", [0, 1e-12])
def test_interpolation_of_noise_is_not_chosen(smallest, dtype, seed):
    # Where all rows are landmarks, the error without a penalty is 0 / 0.
    X, _, _ = data(seed, 0)
    noise = np.random.default_rng(seed).standard_normal(150)
    ridge = NystroemRidge([smallest, 1, 100], gamma=2, landmarks=np.arange(150))
    assert ridge.fit(X.astype(dtype), noise).alpha_ > smallest


def test_a_choice_of_one_is_that_one():
    X, Y, _ = data(0, 0.5)
    one, only = (NystroemRidge(alpha, random_state=0).fit(X, Y) for alpha in (0.1, [0.1]))
    assert one.alpha_ == only.alpha_ == 0.1
    np.testing.assert_array_equal(one.predict(X), only.predict(X))


def test_the_order_of_the_penalties_does_not_matter():
    X, Y, _ = data(0, 0.5)
    ridge = NystroemRidge(ALPHAS, gamma=0.3).fit(X, Y)
    other = NystroemRidge(list(ALPHAS[::-1]), gamma=0.3).fit(X, Y)
    assert ridge.alpha_ == other.alpha_
    assert isinstance(ridge.alpha_, float)

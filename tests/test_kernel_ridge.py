"""NystroemRidge against dense references."""

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import pairwise_kernels, rbf_kernel

from sklearn_rnla import NystroemKernel, NystroemRidge
from tests.invariants import assert_close_to_scale

RNG = np.random.default_rng(0)
X, NEW = RNG.standard_normal((200, 3)), RNG.standard_normal((50, 3))
Y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1] ** 2, X.sum(axis=1)])
Y = 5 + Y + 0.1 * RNG.standard_normal(Y.shape)
W = 3 * RNG.random(200)
EVERY = np.arange(200)


KERNELS = [
    {"kernel": "rbf", "gamma": 0.3},
    {"kernel": "laplacian", "gamma": 0.2},
    {"kernel": "polynomial", "gamma": 0.5, "degree": 2, "coef0": 2},
    {"kernel": Matern(2.0)},
]
TARGETS = pytest.mark.parametrize("y", [Y[:, 0], Y], ids=["1d", "many"])
WEIGHTS = pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
EACH_KERNEL = pytest.mark.parametrize("params", KERNELS, ids=lambda p: str(p["kernel"]))


def kernel_values(A, B, params):
    params = dict(params)
    return pairwise_kernels(A, B, metric=params.pop("kernel"), **params)


def feature_values(A, Z, params):
    """Return features of the rows A on landmarks Z, whose inner products are the kernel."""
    L = np.linalg.cholesky(kernel_values(Z, Z, params))
    return np.linalg.solve(L, kernel_values(A, Z, params).T).T


def least_squares(F, y, alpha, weight=None):
    """Minimise ``||W^(1/2) (y - F c)||^2 + alpha ||c||^2`` by an orthogonal method."""
    root = np.ones((len(F), 1)) if weight is None else np.sqrt(weight)[:, None]
    y = y.reshape(len(y), -1)
    A = np.vstack([root * F, np.sqrt(alpha) * np.eye(F.shape[1])])
    B = np.vstack([root * y, np.zeros((F.shape[1], y.shape[1]))])
    return np.linalg.lstsq(A, B, rcond=None)[0]


@TARGETS
@WEIGHTS
@EACH_KERNEL
def test_with_all_rows_as_landmarks_it_is_kernel_ridge(params, weight, y):
    ours = NystroemRidge(0.1, landmarks=EVERY, fit_intercept=False, **params).fit(
        X, y, weight
    )
    theirs = KernelRidge(alpha=0.1, **params).fit(X, y, weight)
    for rows in (X, NEW):
        assert_close_to_scale(ours.predict(rows), theirs.predict(rows), float, 1e5)
    assert ours.dual_coef_.shape == (len(ours.components_), *y.shape[1:])


@TARGETS
@WEIGHTS
@pytest.mark.parametrize("fit_intercept", [True, False])
@EACH_KERNEL
def test_as_many_landmarks_as_rows_are_solved_for_at_once(params, fit_intercept, weight, y):
    weight = None if weight is None else weight * (weight > 1)
    alpha = 0.1 if y.ndim == 1 else np.array([0.1, 0.3, 0.1])
    ridge = NystroemRidge(alpha, fit_intercept=fit_intercept, **params).fit(X, y, weight)
    on_features = NystroemRidge(
        alpha, landmarks=EVERY, fit_intercept=fit_intercept, **params
    ).fit(X, y, weight)
    assert_close_to_scale(ridge.predict(NEW), on_features.predict(NEW), float, 1e5)
    every = EVERY if weight is None else np.flatnonzero(weight)
    np.testing.assert_array_equal(ridge.component_indices_, every)
    assert ridge.error_estimate_ == 0
    assert ridge.solver_ == "direct"


@pytest.mark.parametrize("params", [{"landmarks": np.arange(40)}, {"exact": True}])
def test_a_function_of_two_samples_is_a_kernel(params):
    def cauchy(a, b, scale):
        return 1 / (1 + np.sum((a - b) ** 2) / scale)

    kernel = {"kernel": cauchy, "kernel_params": {"scale": 2.0}}
    ours = NystroemRidge(0.1, **kernel, **params, fit_intercept=False, tol=1e-12).fit(
        X[:40], Y[:40]
    )
    theirs = KernelRidge(alpha=0.1, **kernel).fit(X[:40], Y[:40])
    assert_close_to_scale(ours.predict(NEW), theirs.predict(NEW), float, 1e5)


@TARGETS
@WEIGHTS
@EACH_KERNEL
@pytest.mark.parametrize("landmarks", ["rpcholesky", "kmeans"])
def test_with_all_rows_as_centers_it_is_kernel_ridge_to_the_tolerance(
    params, weight, y, landmarks
):
    alpha, tol = 0.25, 1e-6
    ours = NystroemRidge(
        alpha,
        **params,
        n_landmarks=60,
        landmarks=landmarks,
        exact=True,
        fit_intercept=False,
        tol=tol,
        random_state=0,
    )
    ours.fit(X, y, weight)
    theirs = KernelRidge(alpha=alpha, **params).fit(X, y, weight)
    root = 1.0 if weight is None else np.sqrt(weight)
    # With K = W^(1/2) k(X, X) W^(1/2), a residual r moves predictions by K (K + alpha)^-1
    # r, no more than r; and a new one by at most |r| sqrt(k(t, t)) / (2 sqrt(alpha)).
    residual = tol * np.linalg.norm(root * y.T, axis=-1) * 1.01
    moved = root * (ours.predict(X) - theirs.predict(X)).T
    assert np.all(np.linalg.norm(moved, axis=-1) <= residual)
    size = np.sqrt([kernel_values(t[None], t[None], params)[0, 0] for t in NEW])
    moved = np.abs(ours.predict(NEW) - theirs.predict(NEW)).T
    bound = np.multiply.outer(residual, size) / (2 * np.sqrt(alpha))
    assert np.all(moved <= bound)
    np.testing.assert_array_equal(ours.components_, X)


@TARGETS
@WEIGHTS
@pytest.mark.parametrize("solver", ["direct", "cg"])
@pytest.mark.parametrize("params", KERNELS[:2], ids=["rbf", "laplacian"])
@pytest.mark.parametrize(
    "landmarks", ["rpcholesky", "greedy", "uniform", "kmeans", "leverage", NEW]
)
def test_it_minimises_the_penalised_squares(landmarks, params, solver, weight, y):
    alpha, tol = 0.3, 1e-6
    ridge = NystroemRidge(
        alpha, **params, landmarks=landmarks, solver=solver, n_landmarks=40, tol=tol
    )
    ridge.set_params(fit_intercept=False, random_state=0).fit(X, y, weight)
    F = feature_values(X, ridge.components_, params)
    root = np.ones((200, 1)) if weight is None else np.sqrt(weight)[:, None]
    reference = F @ least_squares(F, y, alpha, weight)
    actual = ridge.predict(X).reshape(reference.shape)
    if solver == "direct":
        assert_close_to_scale(actual, reference, float, 1e5)
    else:
        # Normal equations with a residual r move predictions by |r| / (2 sqrt(alpha)).
        residual = np.linalg.norm((root * F).T @ (root * y.reshape(200, -1)), axis=0) * tol
        moved = np.linalg.norm(root * (actual - reference), axis=0)
        assert np.all(moved <= 1.01 * residual / (2 * np.sqrt(alpha)))
    assert ridge.solver_ == solver


@WEIGHTS
def test_the_gradient_vanishes(weight):
    params = {"kernel": "rbf", "gamma": 0.3}
    ridge = NystroemRidge(0.5, **params, landmarks=NEW, fit_intercept=False)
    ridge.fit(X, Y, weight)
    K = kernel_values(X, ridge.components_, params)
    inner = kernel_values(ridge.components_, ridge.components_, params)
    w = np.ones((200, 1)) if weight is None else weight[:, None]
    pulled = K.T @ (w * (Y - K @ ridge.dual_coef_))
    assert_close_to_scale(0.5 * inner @ ridge.dual_coef_, pulled, float, 1e6)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    "params",
    [
        {"landmarks": NEW, "solver": "direct"},
        {"landmarks": NEW, "solver": "cg", "tol": 1e-12},
        {"landmarks": NEW, "exact": True, "tol": 1e-12},
        {"landmarks": "rpcholesky", "gamma": "scale"},
        {"landmarks": "greedy", "n_landmarks": 0.95},
        {"landmarks": "uniform", "kernel": "sigmoid"},
        {"landmarks": "leverage"},
        {"landmarks": "kmeans"},
    ],
    ids=lambda params: ", ".join(f"{k}={v}" for k, v in params.items() if v is not NEW),
)
def test_integer_weights_equal_repeated_rows(params, fit_intercept, seed):
    rng = np.random.default_rng(seed)
    w = rng.integers(0, 4, 200)
    copies = rng.permutation(np.repeat(np.arange(200), w))
    given = {"n_landmarks": 30, "fit_intercept": fit_intercept, "random_state": seed}
    ridge = NystroemRidge(0.2, **(given | params))
    weighted = ridge.fit(X, Y, w).predict(NEW)
    error = ridge.error_estimate_
    repeated = ridge.fit(X[copies], Y[copies])
    np.testing.assert_allclose(weighted, repeated.predict(NEW), rtol=1e-8, atol=1e-8)
    assert error == pytest.approx(repeated.error_estimate_, rel=1e-6, abs=1e-9)


@WEIGHTS
@pytest.mark.parametrize("solver", ["direct", "cg"])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10])
def test_an_intercept_is_not_penalised(alpha, solver, weight, seed):
    params = {"gamma": 0.3, "random_state": seed}
    ours = NystroemRidge(
        alpha, solver=solver, tol=1e-12, n_landmarks=40, landmarks="rpcholesky", **params
    )
    ours.fit(X, Y, weight)
    features = NystroemKernel(landmarks=ours.component_indices_, **params).fit(X)
    theirs = Ridge(alpha).fit(features.transform(X), Y, weight)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-7)
    for rows in (X, NEW):
        expected = theirs.predict(features.transform(rows))
        np.testing.assert_allclose(ours.predict(rows), expected, rtol=1e-7, atol=1e-7)
    shifted = ours.predict(NEW) + 100
    np.testing.assert_allclose(ours.fit(X, Y + 100, weight).predict(NEW), shifted)


@WEIGHTS
def test_an_intercept_beside_all_rows_solves_the_bordered_system(weight):
    ours = NystroemRidge(0.1, gamma=0.3, n_landmarks=50, exact=True, tol=1e-12)
    ours.fit(X, Y, weight)
    noise = 0.1 / (np.ones(200) if weight is None else weight)
    bordered = np.ones((201, 201))
    bordered[:200, :200] = rbf_kernel(X, gamma=0.3) + np.diag(noise)
    bordered[200, 200] = 0
    solution = np.linalg.solve(bordered, np.vstack([Y, np.zeros((1, 3))]))
    np.testing.assert_allclose(ours.intercept_, solution[200], rtol=1e-8)
    expected = rbf_kernel(NEW, X, gamma=0.3) @ solution[:200] + solution[200]
    np.testing.assert_allclose(ours.predict(NEW), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("params", [{}, {"solver": "cg"}, {"exact": True}], ids=str)
def test_a_constant_target_is_its_intercept(params):
    ridge = NystroemRidge(**params).fit(X, np.full(200, 3.0))
    assert ridge.intercept_ == pytest.approx(3)
    np.testing.assert_allclose(ridge.predict(NEW), 3)


@WEIGHTS
@pytest.mark.parametrize("solver", ["direct", "cg"])
def test_without_a_penalty_it_is_least_squares(solver, weight):
    params = {"kernel": "laplacian", "gamma": 0.2}
    ridge = NystroemRidge(
        0, **params, landmarks=NEW, fit_intercept=False, solver=solver, tol=1e-12
    )
    F = feature_values(X, NEW, params)
    expected = F @ least_squares(F, Y, 0, weight)
    actual = ridge.fit(X, Y, weight).predict(X)
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-7)


def test_without_a_penalty_all_rows_interpolate():
    ridge = NystroemRidge(0, kernel="laplacian", landmarks=EVERY).fit(X, Y)
    np.testing.assert_allclose(ridge.predict(X), Y)


@pytest.mark.parametrize("solver", ["direct", "cg"])
@pytest.mark.parametrize("alpha", [0, 1])
def test_a_zero_kernel_leaves_the_mean(alpha, solver):
    ridge = NystroemRidge(alpha, kernel="linear", solver=solver)
    np.testing.assert_allclose(ridge.fit(0 * X, Y[:, 0]).predict(NEW), Y[:, 0].mean())


@pytest.mark.parametrize("solver", ["direct", "cg"])
def test_single_precision_is_about_as_good_where_naive_equations_break_down(solver, seed):
    rng = np.random.default_rng(seed)
    alpha, gamma, m = 1e-4, 0.3, 300
    rows = 2 * rng.random((2500, 3)).astype(np.float32)
    truth = np.sin(3 * rows[:, 0]) * np.cos(2 * rows[:, 1])
    fit, new = slice(1500), slice(1500, None)
    y = truth[fit] + 0.1 * rng.standard_normal(1500)

    def error(predicted):
        return np.sqrt(np.mean((predicted - truth[new]) ** 2))

    def naive(dtype):
        A, Z = rows.astype(dtype), rows[rng.permutation(1500)[:m]].astype(dtype)
        K = rbf_kernel(A, Z, gamma=gamma).astype(dtype)
        normal = K[fit].T @ K[fit] + dtype(alpha) * rbf_kernel(Z, gamma=gamma).astype(dtype)
        return K[new] @ np.linalg.solve(normal, K[fit].T @ y.astype(dtype))

    ridge = NystroemRidge(alpha, gamma=gamma, n_landmarks=m, random_state=seed)
    double = error(ridge.fit(rows[fit].astype(float), y).predict(rows[new].astype(float)))
    ridge.set_params(solver=solver).fit(rows[fit], y)
    predicted = ridge.predict(rows[new])
    assert predicted.dtype == np.float32
    assert error(naive(np.float64)) <= 1.25 * double
    assert error(naive(np.float32)) >= 3 * double
    assert error(predicted) <= 1.25 * double


@pytest.mark.parametrize("exact", [False, True])
def test_predictions_are_those_of_the_attributes(exact):
    ridge = NystroemRidge(0.1, gamma=0.3, n_landmarks=30, exact=exact, random_state=0)
    for y in (Y[:, 0], Y):
        ridge.fit(X, y)
        expected = rbf_kernel(NEW, ridge.components_, gamma=0.3) @ ridge.dual_coef_
        assert_close_to_scale(ridge.predict(NEW), expected + ridge.intercept_, float, 1e6)
        np.testing.assert_array_equal(X[ridge.component_indices_], ridge.components_)
        assert ridge.n_landmarks_ == 30
    assert isinstance(ridge.fit(X, Y[:, 0]).intercept_, float)


def test_the_error_estimate_is_the_trace_error_of_the_kernel():
    params = {"kernel": "rbf", "gamma": 0.3}
    ridge = NystroemRidge(n_landmarks=30, random_state=0, **params).fit(X, Y)
    F = feature_values(X, ridge.components_, params)
    assert ridge.error_estimate_ == pytest.approx(1 - np.sum(F**2) / 200)


@WEIGHTS
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    "params", [{"solver": "direct"}, {"solver": "cg"}, {"exact": True}], ids=str
)
def test_every_target_may_have_a_penalty_of_its_own(params, fit_intercept, weight):
    alpha, params = [0.1, 3.0, 0.1], {"fit_intercept": fit_intercept, **params}
    ridge = NystroemRidge(alpha, gamma=0.3, tol=1e-12, random_state=0, **params)
    together = ridge.fit(X, Y, weight).predict(NEW)
    np.testing.assert_array_equal(ridge.alpha_, alpha)
    for j, one in enumerate(alpha):
        alone = ridge.set_params(alpha=one).fit(X, Y[:, j], weight).predict(NEW)
        np.testing.assert_allclose(together[:, j], alone, rtol=1e-7, atol=1e-7)
        assert ridge.alpha_ == one


@pytest.mark.parametrize("exponent", [-996, -565, 515, 1000])
@pytest.mark.parametrize(
    "params",
    [{"solver": "direct"}, {"solver": "cg"}, {"exact": True}, {"alphas": [0.01, 1, 9]}],
    ids=str,
)
def test_the_unit_of_the_targets_does_not_matter(params, exponent):
    ridge = NystroemRidge(0.1, gamma=0.3, random_state=0, **params).fit(X, Y)
    expected, alpha = ridge.predict(NEW), ridge.alpha_
    scaled = ridge.fit(X, np.ldexp(Y, exponent)).predict(NEW)
    assert_close_to_scale(np.ldexp(scaled, -exponent), expected, float)
    assert ridge.alpha_ == alpha


def test_targets_far_from_zero_lose_nothing_to_their_mean():
    for params in ({"solver": "direct"}, {"solver": "cg"}, {"exact": True}):
        ridge = NystroemRidge(0.1, gamma=0.3, random_state=0, **params)
        expected = ridge.fit(X, Y).predict(NEW)
        shifted = ridge.fit(X, Y + 1e6).predict(NEW) - 1e6
        np.testing.assert_allclose(shifted, expected, atol=1e-8)


@pytest.mark.parametrize("exponent", [-565, 515])
def test_predictions_from_single_precision_keep_a_unit_that_it_lacks(exponent):
    rows = X.astype(np.float32)
    ridge = NystroemRidge(0.1, gamma=0.3, random_state=0)
    expected = ridge.fit(rows, Y).predict(rows)
    assert expected.dtype == np.float32
    scaled = ridge.fit(rows, np.ldexp(Y, exponent)).predict(rows)
    np.testing.assert_allclose(np.ldexp(scaled, -exponent), expected, rtol=1e-4)


@pytest.mark.parametrize("params", [{"solver": "direct"}, {"solver": "cg"}], ids=str)
def test_a_kernel_that_contains_the_constant_leaves_the_mean_to_the_intercept(params):
    # With hardly a penalty, kernel and intercept compete for the constant.
    ridge = NystroemRidge(1e-8, kernel="polynomial", n_landmarks=60, **params)
    y = X[:, 0] + X[:, 1] ** 2
    predicted = ridge.fit(X, y + 1e3).predict(NEW) - 1e3
    np.testing.assert_allclose(predicted, NEW[:, 0] + NEW[:, 1] ** 2, atol=1e-4)

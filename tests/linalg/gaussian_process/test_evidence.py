"""The evidence of sparse Gaussian processes against dense formulas."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

from sklearn_rnla.linalg.gaussian_process.evidence import evidence
from sklearn_rnla.linalg.gaussian_process.exact import exact_evidence
from sklearn_rnla.linalg.gaussian_process.passes import METHODS
from sklearn_rnla.operators import as_row_matrix
from sklearn_rnla.operators.covariance import covariance

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 2)), RNG.standard_normal((60, 2))
ROWS = as_row_matrix(X, block_size=17)
Z = X[:15]
ALPHAS = {"one": 0.01, "each": RNG.uniform(0.01, 0.1, 60)}
KERNELS = {
    "rbf": 1.3 * RBF([0.7, 1.2]) + WhiteKernel(0.1),
    "matern": Matern(0.8, nu=1.5) + 0.5 * RBF(2.0),
    "noise in a product": ConstantKernel(0.8) * (RBF(0.9) + WhiteKernel(0.2)),
}
EACH_METHOD = pytest.mark.parametrize("method", METHODS)
EACH_KERNEL = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
EACH_ALPHA = pytest.mark.parametrize("alpha", ALPHAS.values(), ids=ALPHAS)


def evidence_of(kernel, method, alpha, Z=Z, gradient=False):
    return evidence(
        ROWS, Y, covariance(kernel), Z, alpha=alpha, method=method, gradient=gradient
    )


def dense_parts(kernel, alpha):
    """Return ``K_nn``, ``Q_nn`` and the noise variances, by the formulas."""
    K, cross, inner = kernel(X, X.copy()), kernel(X, Z), kernel(Z, Z.copy())
    Q = cross @ np.linalg.solve(inner, cross.T)
    noise = kernel.diag(X) - np.diagonal(K) + alpha
    return K, Q, noise


@EACH_METHOD
@EACH_KERNEL
def test_with_every_row_as_landmark_it_is_the_exact_process(method, kernel):
    exact = GaussianProcessRegressor(kernel, alpha=0.01, optimizer=None).fit(X, Y)
    value, gradient = exact.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    found = evidence_of(kernel, method, 0.01, Z=X, gradient=True)
    np.testing.assert_allclose(found.value, value, rtol=1e-6)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-6, atol=1e-6 * scale)


@EACH_METHOD
@EACH_KERNEL
@EACH_ALPHA
def test_the_evidence_is_that_of_the_formula(method, kernel, alpha):
    K, Q, noise = dense_parts(kernel, alpha)
    left = np.diagonal(K - Q)
    if method == "fitc":
        noise = noise + left
    S = Q + np.diag(noise)
    expected = sum(multivariate_normal(cov=S).logpdf(y) for y in Y.T)
    if method == "variational":
        expected -= Y.shape[1] * (left / noise).sum() / 2
    np.testing.assert_allclose(
        evidence_of(kernel, method, alpha).value, expected, rtol=1e-8
    )


@EACH_METHOD
@EACH_KERNEL
@EACH_ALPHA
def test_the_gradient_is_that_of_finite_differences(method, kernel, alpha):
    steps = 1e-5 * np.eye(kernel.n_dims)

    def value(theta):
        return evidence_of(kernel.clone_with_theta(theta), method, alpha).value

    numeric = [(value(kernel.theta + h) - value(kernel.theta - h)) / 2e-5 for h in steps]
    found = evidence_of(kernel, method, alpha, gradient=True).gradient
    np.testing.assert_allclose(found, numeric, atol=1e-6 * np.abs(numeric).max())


@EACH_KERNEL
def test_the_bound_lies_below_the_likelihood_and_grows_with_landmarks(kernel):
    exact = GaussianProcessRegressor(kernel, alpha=0.05, optimizer=None).fit(X, Y)
    bounds = [
        evidence_of(kernel, "variational", 0.05, Z=X[:m]).value for m in (1, 5, 20, 40, 60)
    ]
    assert np.all(np.diff(bounds) > 0)
    assert bounds[-1] <= exact.log_marginal_likelihood_value_ + 1e-6


def test_repeated_landmarks_change_nothing():
    kernel = KERNELS["rbf"]
    once = evidence_of(kernel, "variational", 0.01, gradient=True)
    twice = evidence_of(kernel, "variational", 0.01, Z=np.vstack([Z, Z]), gradient=True)
    np.testing.assert_allclose(twice.value, once.value, rtol=1e-6)
    np.testing.assert_allclose(
        twice.gradient, once.gradient, atol=1e-4 * np.abs(once.gradient).max()
    )


def test_landmarks_nearly_the_same_leave_the_gradient_accurate():
    # A smooth kernel: the landmarks' covariance has a condition above 1e15.
    kernel = 1.0 * RBF(5.0) + WhiteKernel(0.1)
    steps = 1e-4 * np.eye(3)

    def value(theta):
        return evidence_of(kernel.clone_with_theta(theta), "variational", 0.0, Z=X).value

    numeric = [(value(kernel.theta + h) - value(kernel.theta - h)) / 2e-4 for h in steps]
    found = evidence_of(kernel, "variational", 0.0, Z=X, gradient=True).gradient
    np.testing.assert_allclose(found, numeric, atol=1e-5 * np.abs(numeric).max())


def test_what_is_no_covariance_raises():
    class Negative(RBF):
        def __call__(self, X, Y=None, eval_gradient=False):
            return -super().__call__(X, Y)

    with pytest.raises(np.linalg.LinAlgError):
        evidence_of(Negative(), "variational", 0.1)


@EACH_METHOD
@EACH_KERNEL
def test_the_gradient_by_landmarks_is_that_of_finite_differences(method, kernel):
    # Between rows: on one of them, Matern kernels are less smooth.
    places = Z[:5] + 0.1
    found = evidence(
        ROWS,
        Y,
        covariance(kernel),
        places,
        alpha=0.01,
        method=method,
        gradient=True,
        by_points=True,
    ).by_points
    numeric = np.zeros_like(found)
    for place in np.ndindex(found.shape):
        step = np.zeros_like(places)
        step[place] = 1e-5
        ahead, behind = (
            evidence_of(kernel, method, 0.01, Z=places + h).value for h in (step, -step)
        )
        numeric[place] = (ahead - behind) / 2e-5
    np.testing.assert_allclose(found, numeric, atol=1e-6 * np.abs(numeric).max())


@EACH_KERNEL
@EACH_ALPHA
def test_the_exact_evidence_is_that_of_scikit_learn(kernel, alpha):
    exact = GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None).fit(X, Y)
    value, gradient = exact.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    found = exact_evidence(
        X, Y, covariance(kernel), alpha=alpha, method="variational", gradient=True
    )
    np.testing.assert_allclose(found.value, value, rtol=1e-12)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-10)


@pytest.mark.parametrize("is_exact", [False, True])
@EACH_METHOD
@EACH_ALPHA
def test_a_learned_mean_is_the_most_likely_one(method, alpha, is_exact):
    covariances = covariance(KERNELS["rbf"])
    params = {"alpha": alpha, "method": method, "gradient": True}

    def evidence_of(Y, learn_mean=False):
        args = {"learn_mean": learn_mean, **params}
        if is_exact:
            return exact_evidence(X, Y, covariances, **args)
        return evidence(ROWS, Y, covariances, Z, **args)

    found = evidence_of(Y + 7, learn_mean=True)
    given = evidence_of(Y + 7 - found.mean)
    np.testing.assert_allclose(found.value, given.value)
    np.testing.assert_allclose(found.gradient, given.gradient, rtol=1e-8, atol=1e-8)
    for step in ([1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]):
        other = evidence_of(Y + 7 - found.mean - step)
        assert other.value < given.value

"""NystroemGaussianProcessRegressor against the exact process, and by itself."""

import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)

from sklearn_rnla import NystroemGaussianProcessRegressor
from sklearn_rnla.linalg.gaussian_process.passes import METHODS

RNG = np.random.default_rng(0)
X, NEW = RNG.uniform(-2, 2, (80, 2)), RNG.uniform(-3, 3, (30, 2))
Y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1] ** 2]) + 0.1 * RNG.standard_normal(
    (80, 2)
)
NOISE = WhiteKernel(0.05)
KERNELS = {
    "rbf": 1.5 * RBF([0.8, 1.2]) + NOISE,
    "matern 1/2": Matern(1.1, nu=0.5) + NOISE,
    "matern 5/2": 2.0 * Matern([0.7, 1.3], nu=2.5) + NOISE,
    "rational quadratic": RationalQuadratic(1.2, 0.7) + NOISE,
    "periodic": ExpSineSquared(1.5, 4.0) * RBF(2.0) + NOISE,
    "linear": DotProduct(0.5) ** 2 + 0.3 * RBF(0.9) + NOISE,
}
EACH_KERNEL = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
EACH_METHOD = pytest.mark.parametrize("method", METHODS)
TARGETS = pytest.mark.parametrize("y", [Y[:, 0], Y], ids=["1d", "many"])


def sample_of_prior(n, seed, noise=0.1):
    """Return X and y drawn from a Gaussian process of one variable."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 10, (n, 1))
    K = RBF(0.7)(X) + 1e-10 * np.eye(n)
    f = np.linalg.cholesky(K) @ rng.standard_normal(n)
    return X, f + np.sqrt(noise) * rng.standard_normal(n)


NOISELESS = {
    "distinct rows": (X, Y, RBF([0.8, 1.2]), 1e-10),
    "rows that come twice": (np.tile(X, (2, 1)), np.tile(Y, (2, 1)), RBF(0.5), 1e-8),
    "no noise at all": (X, Y, Matern(1.1, nu=0.5), 0.0),
    "far from the origin": (X + 1e6, Y, Matern(0.4, nu=1.5), 1e-10),
    "noise of each sample": (X, Y, 1.5 * RBF(0.3), np.geomspace(1e-10, 1, 80)),
}


@pytest.mark.filterwarnings("ignore:Predicted variances smaller than 0")
@pytest.mark.parametrize("landmarks", ["rpcholesky", "every"])
@pytest.mark.parametrize(("X", "Y", "kernel", "alpha"), NOISELESS.values(), ids=NOISELESS)
def test_all_rows_are_as_right_as_scikit_learn_with_no_noise(
    X, Y, kernel, alpha, landmarks
):
    params = {"alpha": alpha, "optimizer": None}
    exact = GaussianProcessRegressor(kernel, **params).fit(X, Y)
    ours = NystroemGaussianProcessRegressor(
        kernel,
        landmarks=landmarks if landmarks != "every" else np.arange(len(X)),
        n_landmarks=len(X),
        **params,
    ).fit(X, Y)
    expected = exact.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    found = ours.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    assert type(found[0]) is type(ours.log_marginal_likelihood()) is np.float64
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    scale = np.abs(expected[1]).max()
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5 * scale)
    for rows in (X, NEW):
        for asked in ({"return_std": True}, {"return_cov": True}):
            pairs = zip(
                ours.predict(rows, **asked), exact.predict(rows, **asked), strict=True
            )
            for values, expected in pairs:
                atol = 1e-6 * max(1.0, np.abs(expected).max())
                np.testing.assert_allclose(values, expected, rtol=1e-6, atol=atol)
    assert ours.error_estimate_ == 0.0


@EACH_KERNEL
@EACH_METHOD
@TARGETS
def test_with_every_row_as_landmark_it_is_the_exact_process(kernel, method, y):
    params = {"alpha": 0.01, "optimizer": None, "normalize_y": True}
    exact = GaussianProcessRegressor(kernel, **params).fit(X, y)
    ours = NystroemGaussianProcessRegressor(
        kernel, landmarks=X, method=method, **params
    ).fit(X, y)
    for rows in (X, NEW):
        mean, std = ours.predict(rows, return_std=True)
        expected, expected_std = exact.predict(rows, return_std=True)
        np.testing.assert_allclose(mean, expected, atol=1e-6)
        np.testing.assert_allclose(std, expected_std, atol=1e-6)
        np.testing.assert_allclose(ours.predict(rows), expected, atol=1e-6)
        mean, cov = ours.predict(rows, return_cov=True)
        np.testing.assert_allclose(cov, exact.predict(rows, return_cov=True)[1], atol=1e-6)
        assert mean.shape == expected.shape
    value, slope = ours.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    expected, expected_slope = exact.log_marginal_likelihood(
        kernel.theta, eval_gradient=True
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    scale = np.abs(expected_slope).max()
    np.testing.assert_allclose(slope, expected_slope, atol=1e-6 * scale)
    np.testing.assert_allclose(ours.log_marginal_likelihood_value_, value)
    assert ours.error_estimate_ < 1e-9


@EACH_METHOD
@pytest.mark.parametrize("m", [1, 5, 40])
def test_variance_lies_between_nothing_and_that_of_the_prior(method, m, seed):
    kernel = 1.5 * RBF(0.5) + NOISE
    gpr = NystroemGaussianProcessRegressor(
        kernel, n_landmarks=m, method=method, optimizer=None, random_state=seed
    ).fit(X, Y)
    far = np.vstack([X, NEW, NEW + 1000])
    mean, std = gpr.predict(far, return_std=True)
    assert np.all(std**2 >= 0.05 * (1 - 1e-12))
    assert np.all(std**2 <= 1.55 * (1 + 1e-12))
    np.testing.assert_allclose(std[-30:] ** 2, 1.55)
    np.testing.assert_array_equal(mean[-30:], 0)


def test_the_parameters_found_are_those_of_the_exact_process():
    X, y = sample_of_prior(300, 0)
    kernel = ConstantKernel(1.0) * RBF(1.0) + WhiteKernel(1.0)
    exact = GaussianProcessRegressor(kernel).fit(X, y)
    ours = NystroemGaussianProcessRegressor(
        kernel, n_landmarks=60, learn_mean=False, random_state=0
    ).fit(X, y)
    np.testing.assert_allclose(ours.kernel_.theta, exact.kernel_.theta, atol=0.05)
    value = exact.log_marginal_likelihood_value_
    assert value - 0.1 < ours.log_marginal_likelihood_value_ < value + 1e-4


@EACH_METHOD
def test_intervals_of_a_model_that_is_true_cover_what_they_say(method):
    X, y = sample_of_prior(1500, 1)
    gpr = NystroemGaussianProcessRegressor(
        RBF() + WhiteKernel(), n_landmarks=60, method=method, random_state=0
    ).fit(X[:500], y[:500])
    mean, std = gpr.predict(X[500:], return_std=True)
    covered = np.mean(np.abs(y[500:] - mean) <= 1.96 * std)
    # Of 1000 values, four standard deviations of the share are 2.8 %.
    assert 0.92 < covered < 0.98


def test_more_landmarks_raise_the_bound():
    X, y = sample_of_prior(400, 2)
    bounds = [
        NystroemGaussianProcessRegressor(
            RBF(0.7) + WhiteKernel(0.1), optimizer=None, n_landmarks=m, random_state=0
        )
        .fit(X, y)
        .log_marginal_likelihood_value_
        for m in (3, 10, 30)
    ]
    assert np.all(np.diff(bounds) > 0)


def test_choosing_landmarks_again_does_not_lower_the_bound(seed):
    X, y = sample_of_prior(400, seed)
    kernel = RBF(20.0) + WhiteKernel(1.0)
    bounds = [
        NystroemGaussianProcessRegressor(
            kernel, n_landmarks=15, reselect_landmarks=again, random_state=seed
        )
        .fit(X, y)
        .log_marginal_likelihood_value_
        for again in (False, True)
    ]
    assert bounds[1] >= bounds[0] - 1e-3 * abs(bounds[0])


def test_landmarks_that_move_raise_the_bound_where_they_are_too_few(seed):
    X, y = sample_of_prior(400, seed)
    stay, move = (
        NystroemGaussianProcessRegressor(
            RBF() + WhiteKernel(), n_landmarks=8, n_landmark_steps=n, random_state=seed
        ).fit(X, y)
        for n in (0, 50)
    )
    np.testing.assert_array_equal(stay.components_, X[stay.component_indices_])
    assert move.component_indices_ is None
    assert move.log_marginal_likelihood_value_ > stay.log_marginal_likelihood_value_ + 1


def test_landmarks_resolve_a_kernel_far_below_the_spread_of_the_samples(seed):
    # Distances of a day among those of a year: what rounding makes of them must not
    # spoil the landmarks' covariance, whose rank is less than their number.
    days = np.sort(np.random.default_rng(seed).integers(0, 8760, 3000))[:, np.newaxis] / 24
    kernel = 0.6 * RBF(200.0) + 30 * ExpSineSquared(4.8, 1.0) * RBF(225.0)
    kernel = kernel + 0.4 * RBF(3.4) + WhiteKernel(0.02)
    gpr = NystroemGaussianProcessRegressor(
        kernel, optimizer=None, n_landmarks=300, random_state=seed
    ).fit(days, np.sin(days[:, 0]))
    assert gpr.error_estimate_ < 1e-7


def test_landmarks_stay_where_nothing_is_to_be_gained():
    X, y = sample_of_prior(400, 0)
    for params in ({"n_landmarks": 100}, {"n_landmarks": 8, "method": "fitc"}):
        gpr = NystroemGaussianProcessRegressor(RBF() + WhiteKernel(), **params)
        assert gpr.fit(X, y).component_indices_ is not None


def test_noise_is_learned_where_the_kernel_has_none():
    X, y = sample_of_prior(500, 3, noise=0.2)
    gpr = NystroemGaussianProcessRegressor(RBF(), n_landmarks=60, random_state=0).fit(X, y)
    assert isinstance(gpr.kernel_.k2, WhiteKernel)
    # A variance of 500 values: five standard deviations of it are 32 %.
    assert abs(gpr.kernel_.k2.noise_level / 0.2 - 1) < 0.32
    kept = NystroemGaussianProcessRegressor(
        RBF(), alpha=0.2, learn_noise=False, random_state=0
    )
    assert isinstance(kept.fit(X, y).kernel_, RBF)


def test_each_sample_has_its_own_noise():
    alpha = np.where(X[:, 0] > 0, 1e4, 1e-2)
    gpr = NystroemGaussianProcessRegressor(
        RBF(0.8), alpha=alpha, optimizer=None, landmarks=X
    ).fit(X, Y)
    few = X[:, 0] <= 0
    alone = GaussianProcessRegressor(RBF(0.8), alpha=1e-2, optimizer=None)
    alone.fit(X[few], Y[few])
    np.testing.assert_allclose(gpr.predict(NEW), alone.predict(NEW), atol=0.01)


def test_landmarks_of_ones_own_stay():
    Z = RNG.uniform(-2, 2, (12, 2))
    gpr = NystroemGaussianProcessRegressor(1.0 * RBF() + NOISE, landmarks=Z).fit(X, Y)
    np.testing.assert_array_equal(np.sort(gpr.components_, axis=0), np.sort(Z, axis=0))
    assert gpr.component_indices_ is None
    chosen = NystroemGaussianProcessRegressor(RBF() + NOISE, landmarks=[3, 5, 8]).fit(X, Y)
    np.testing.assert_array_equal(np.sort(chosen.component_indices_), [3, 5, 8])
    np.testing.assert_array_equal(chosen.components_, X[chosen.component_indices_])


def test_samples_have_the_mean_and_covariance_of_the_posterior():
    gpr = NystroemGaussianProcessRegressor(
        1.0 * RBF() + NOISE, optimizer=None, n_landmarks=20, random_state=0
    ).fit(X, Y)
    mean, cov = gpr.predict(NEW[:4], return_cov=True)
    drawn = gpr.sample_y(NEW[:4], 20000, random_state=0)
    assert drawn.shape == (4, 2, 20000)
    # The mean of 20000 values, and their covariance, to six standard deviations.
    std = np.sqrt(np.diagonal(cov[..., 0]))
    assert np.all(np.abs(drawn.mean(axis=2) - mean) < 6 * std[:, None] / np.sqrt(20000))
    found = np.cov(drawn[:, 0])
    assert np.abs(found - cov[..., 0]).max() < 6 * np.sqrt(2 / 20000) * std.max() ** 2
    one = NystroemGaussianProcessRegressor(NOISE + RBF(), optimizer=None).fit(X, Y[:, 0])
    assert one.sample_y(NEW, 3).shape == (30, 3)


def test_before_fit_it_predicts_by_the_prior():
    kernel = 2.0 * RBF() + NOISE
    for n_targets in (None, 3):
        ours = NystroemGaussianProcessRegressor(kernel, n_targets=n_targets)
        theirs = GaussianProcessRegressor(kernel, n_targets=n_targets)
        for asked in ({}, {"return_std": True}, {"return_cov": True}):
            found, expected = ours.predict(NEW, **asked), theirs.predict(NEW, **asked)
            if not asked:
                found, expected = (found,), (expected,)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b)
        assert ours.sample_y(NEW).shape == theirs.sample_y(NEW).shape


def test_a_callable_optimizer_sees_what_scikit_learn_would_show_it():
    seen = []

    def optimizer(objective, initial_theta, bounds):
        value, slope = objective(initial_theta, eval_gradient=True)
        assert slope.shape == initial_theta.shape
        assert objective(initial_theta, eval_gradient=False) == pytest.approx(value)
        seen.append(bounds)
        return initial_theta, value

    kernel = 1.0 * RBF() + NOISE
    gpr = NystroemGaussianProcessRegressor(kernel, optimizer=optimizer).fit(X, Y)
    assert seen
    np.testing.assert_allclose(gpr.kernel_.theta, kernel.theta)


def test_what_a_callable_optimizer_returns_is_taken():
    # It may minimise more than the objective, as with a prior of the parameters.
    kernel = 1.0 * RBF() + NOISE
    wanted = kernel.theta + [0.3, -0.2, 0.5]

    def optimizer(objective, initial_theta, bounds):
        return wanted, objective(initial_theta)[0]

    gpr = NystroemGaussianProcessRegressor(kernel, optimizer=optimizer).fit(X, Y)
    np.testing.assert_allclose(gpr.kernel_.theta, wanted)
    np.testing.assert_allclose(
        gpr.log_marginal_likelihood_value_, gpr.log_marginal_likelihood(wanted)
    )


ILL_CONDITIONED = {
    "long length scale": (X, 1.0 * RBF(20.0) + WhiteKernel(0.01)),
    "far from the origin": (100 * X + 1000, DotProduct() + 1.0 * RBF(50.0) + NOISE),
    "little noise": (X, 10.0 * RBF(3.0) + WhiteKernel(1e-5)),
}


@EACH_METHOD
@pytest.mark.parametrize(("X", "kernel"), ILL_CONDITIONED.values(), ids=ILL_CONDITIONED)
def test_the_gradient_is_that_of_the_exact_process_where_landmarks_depend(
    X, kernel, method
):
    exact = GaussianProcessRegressor(kernel, optimizer=None).fit(X, Y)
    ours = NystroemGaussianProcessRegressor(
        kernel, landmarks=X, method=method, optimizer=None
    ).fit(X, Y)
    expected = exact.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    found = ours.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
    scale = np.abs(expected[1]).max()
    np.testing.assert_allclose(found[1], expected[1], atol=1e-3 * scale)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_scale_of_the_target_does_not_matter_to_the_default_kernel(scale):
    X, y = sample_of_prior(200, 5)
    gpr = NystroemGaussianProcessRegressor(n_landmarks=50, random_state=0)
    assert gpr.fit(X, scale * y).score(X, scale * y) > 0.8


def test_a_kernel_of_ones_own_is_given_noise():
    class Own(RBF):
        def __call__(self, X, Y=None, eval_gradient=False):
            return super().__call__(X, Y, eval_gradient)

    X, y = sample_of_prior(150, 6)
    gpr = NystroemGaussianProcessRegressor(1.0 * Own(), n_landmarks=30, random_state=0)
    assert isinstance(gpr.fit(X, y).kernel_.k2, WhiteKernel)
    with_alpha = NystroemGaussianProcessRegressor(1.0 * Own(), alpha=np.full(150, 0.1))
    assert with_alpha.fit(X, y).kernel_.n_dims == 2


def test_noise_alone_predicts_the_mean():
    gpr = NystroemGaussianProcessRegressor(WhiteKernel()).fit(X, Y[:, 0])
    mean, std = gpr.predict(NEW, return_std=True)
    np.testing.assert_allclose(mean, Y[:, 0].mean())
    np.testing.assert_allclose(std**2, Y[:, 0].var(), rtol=1e-3)


def test_later_changes_do_not_change_what_was_fitted():
    y = Y.copy()
    gpr = NystroemGaussianProcessRegressor(1.0 * RBF() + NOISE, optimizer=None)
    gpr.fit(X, y)
    theta = gpr.kernel_.theta
    value = gpr.log_marginal_likelihood(theta)
    y[:] = 0
    gpr.set_params(alpha=1.0, method="fitc")
    assert gpr.log_marginal_likelihood(theta) == value
    cov = gpr.predict(NEW, return_cov=True)[1]
    gpr.log_marginal_likelihood(theta + 1, clone_kernel=False)
    np.testing.assert_array_equal(gpr.predict(NEW, return_cov=True)[1], cov)


def test_a_single_target_has_no_axis_of_its_own():
    gpr = NystroemGaussianProcessRegressor(1.0 * RBF() + NOISE, optimizer=None)
    exact = GaussianProcessRegressor(1.0 * RBF() + NOISE, optimizer=None)
    for asked in ({"return_std": True}, {"return_cov": True}):
        found = gpr.fit(X, Y[:, :1]).predict(NEW, **asked)
        expected = exact.fit(X, Y[:, :1]).predict(NEW, **asked)
        assert [a.shape for a in found] == [b.shape for b in expected]


def test_restarts_find_what_a_bad_start_does_not():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 20, (300, 1))
    y = np.sin(2 * np.pi * X[:, 0] / 1.3) + 0.1 * rng.standard_normal(300)
    kernel = ExpSineSquared(1.0, 7.3, "fixed", (0.5, 8.0)) + NOISE
    bounds = [
        NystroemGaussianProcessRegressor(
            kernel, n_landmarks=40, n_restarts_optimizer=n, random_state=0
        )
        .fit(X, y)
        .log_marginal_likelihood_value_
        for n in (0, 4)
    ]
    assert bounds[1] > bounds[0] + 10


def test_a_seed_gives_one_answer_with_any_number_of_threads(seed):
    X, y = sample_of_prior(900, seed)
    one, two = (
        NystroemGaussianProcessRegressor(n_landmarks=40, random_state=seed, n_jobs=n)
        .fit(X, y)
        .predict(X, return_std=True)
        for n in (1, 2)
    )
    np.testing.assert_allclose(one, two, atol=1e-8)


def test_the_likelihood_at_other_parameters_is_that_of_the_landmarks():
    gpr = NystroemGaussianProcessRegressor(1.0 * RBF() + NOISE, n_landmarks=20)
    gpr.fit(X, Y)
    value = gpr.log_marginal_likelihood()
    assert value == gpr.log_marginal_likelihood_value_
    np.testing.assert_allclose(gpr.log_marginal_likelihood(gpr.kernel_.theta), value)
    other = gpr.kernel_.theta + 0.3
    assert gpr.log_marginal_likelihood(other) < value
    assert not np.allclose(gpr.kernel_.theta, other)
    gpr.log_marginal_likelihood(other, clone_kernel=False)
    np.testing.assert_allclose(gpr.kernel_.theta, other)
    with pytest.raises(ValueError, match="theta"):
        gpr.log_marginal_likelihood(eval_gradient=True)


@pytest.mark.parametrize("m", [30, 100], ids=["landmarks", "exact"])
@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (
            ConstantKernel(1e-3, (1e-4, 1e-2)) * RBF() + NOISE,
            "constant_value .* bound, 0.01",
        ),
        (1.0 * RBF([9.0, 9.0], (8.0, 1e2)) + NOISE, "Element 0 .* lower bound, 8"),
        (RBF() + WhiteKernel(10.0, (5.0, 20.0)), "noise_level .* lower bound, 5"),
    ],
)
def test_parameters_that_end_at_a_bound_earn_a_warning(kernel, message, m):
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 6, (100, 2))
    y = np.sin(2 * rows[:, 0]) + 0.1 * rng.standard_normal(100)
    gpr = NystroemGaussianProcessRegressor(kernel, n_landmarks=m, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gpr.fit(rows, y)
    said = [w for w in caught if w.category is ConvergenceWarning]
    assert any(re.search(message, str(w.message)) for w in said)
    assert all(w.filename == __file__ for w in said)


def test_bounds_of_noise_that_was_added_earn_no_warning():
    rows = np.linspace(0, 6, 100)[:, np.newaxis]
    kernel = RBF(1.0)
    gpr = NystroemGaussianProcessRegressor(kernel, n_landmarks=30, random_state=0)
    gpr.fit(rows, np.sin(rows[:, 0]))
    assert gpr.kernel_.n_dims == 2


@pytest.mark.parametrize("exponent", [-1000, -600, 530, 1000])
def test_normalised_targets_may_have_any_unit(exponent):
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 6, (100, 1))
    y = np.sin(rows[:, 0]) + 0.1 * rng.standard_normal(100)
    gpr = NystroemGaussianProcessRegressor(normalize_y=True, n_landmarks=30, random_state=0)
    expected = gpr.fit(rows, y).predict(rows, return_std=True)
    found = gpr.fit(rows, np.ldexp(y, exponent)).predict(rows, return_std=True)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.ldexp(one, -exponent), other, rtol=1e-6)


def test_targets_whose_variance_overflows_are_refused():
    rows = np.linspace(0, 6, 100)[:, np.newaxis]
    with pytest.raises(ValueError, match=r"y reaches 1.0e\+160.* normalize_y=True"):
        NystroemGaussianProcessRegressor().fit(rows, 1e160 * np.cos(rows[:, 0]))


def test_far_from_the_landmarks_predictions_are_the_mean_that_was_learned(seed):
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-2, 2, (300, 2))
    Y = np.sin(3 * rows) + [5.0, -50.0] + 0.1 * rng.standard_normal((300, 2))
    gpr = NystroemGaussianProcessRegressor(
        1.0 * RBF([1.0, 1.0]) + NOISE, n_landmarks=40, random_state=seed
    ).fit(rows, Y)
    np.testing.assert_allclose(gpr.intercept_, [5, -50], atol=1)
    far = np.full((1, 2), 1e6)
    for asked in ({}, {"return_std": True}):
        mean = gpr.predict(far, **asked)
        np.testing.assert_allclose(mean[0] if asked else mean, gpr.intercept_[np.newaxis])
    theta = gpr.kernel_.theta
    np.testing.assert_allclose(
        gpr.log_marginal_likelihood(theta), gpr.log_marginal_likelihood_value_
    )
    exact = NystroemGaussianProcessRegressor(1.0 * RBF([1.0, 1.0]) + NOISE).fit(rows, Y)
    np.testing.assert_allclose(exact.predict(far)[0], [5, -50], atol=1)
    zero = NystroemGaussianProcessRegressor(n_landmarks=40, learn_mean=False)
    assert zero.fit(rows, Y).predict(far) == pytest.approx(0)


def test_the_error_estimate_bounds_what_the_bound_misses_in_the_mean_of_targets():
    # Of ten targets drawn from the model, the mean gap varies by a few percent.
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 10, (200, 1))
    kernel = RBF(0.5) + WhiteKernel(0.05)
    Y = np.linalg.cholesky(kernel(rows)) @ rng.standard_normal((200, 10))
    exact = GaussianProcessRegressor(kernel, optimizer=None).fit(rows, Y)
    for m in (10, 15, 20, 25):
        gpr = NystroemGaussianProcessRegressor(
            kernel, optimizer=None, n_landmarks=m, random_state=0
        ).fit(rows, Y)
        gap = exact.log_marginal_likelihood_value_ - gpr.log_marginal_likelihood_value_
        estimate = gpr.error_estimate_
        assert 0.45 * estimate < gap / Y.size < 1.05 * estimate


def test_by_default_a_few_thousand_samples_are_the_exact_process():
    X, y = sample_of_prior(400, 7)
    kernel = 1.0 * RBF() + WhiteKernel()
    ours = NystroemGaussianProcessRegressor(kernel, learn_mean=False).fit(X, y)
    exact = GaussianProcessRegressor(kernel).fit(X, y)
    assert ours.n_landmarks_ == 400
    assert ours.error_estimate_ == 0
    np.testing.assert_allclose(
        ours.log_marginal_likelihood_value_,
        exact.log_marginal_likelihood_value_,
        atol=1e-3,
    )


def test_landmarks_stop_growing_where_more_would_not_pay():
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (4200, 1))
    y = np.sin(3 * rows[:, 0]) + 0.1 * rng.standard_normal(4200)
    gpr = NystroemGaussianProcessRegressor(random_state=0).fit(rows, y)
    assert gpr.n_landmarks_ < 200
    assert gpr.error_estimate_ < 0.002

"""NystroemKernel against dense kernels, and what it says of its error."""

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from joblib import parallel_config
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, Matern
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import pairwise_kernels, rbf_kernel

import sklearn_rnla.kernel_approximation as module
from sklearn_rnla import NystroemKernel
from sklearn_rnla.linalg.nystroem import features
from sklearn_rnla.operators.threads import TILE_BYTES
from tests.invariants import assert_close_to_scale

RNG = np.random.default_rng(0)
X, NEW = RNG.standard_normal((200, 5)), RNG.standard_normal((40, 5))
POSITIVE = np.abs(X)


def cauchy(a, b, scale=1.0):
    return 1 / (1 + scale * np.sum((a - b) ** 2))


METHODS = ["rpcholesky", "uniform", "greedy", "kmeans", "leverage"]
EACH_METHOD = pytest.mark.parametrize("landmarks", METHODS)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Of full rank on 200 rows.
KERNELS = {
    "rbf": (X, {"kernel": "rbf", "gamma": 0.1}),
    "rbf of default width": (X, {}),
    "laplacian": (X, {"kernel": "laplacian", "gamma": 0.1}),
    "polynomial": (X, {"kernel": "polynomial", "gamma": 0.1, "coef0": 2, "degree": 6}),
    "chi2": (POSITIVE, {"kernel": "chi2", "gamma": 0.5}),
    "matern": (X, {"kernel": Matern(2.0)}),
}
EACH_KERNEL = pytest.mark.parametrize(("rows", "params"), KERNELS.values(), ids=KERNELS)


def kernel_values(A, B, params):
    params = {"kernel": "rbf", **params}
    params |= params.pop("kernel_params", {})
    return pairwise_kernels(A, B, metric=params.pop("kernel"), **params)


def assert_features_close(actual, desired, fitted, dtype, size=1.0):
    """Assert closeness up to the rounding of kernel values of a size, as features take it.

    Features are values times the normalization: that is the factor by which it grows.
    """
    W = fitted.normalization_.astype(float)
    growth = 10 * size * np.sqrt(W.shape[1]) * np.linalg.norm(W, 2)
    error = np.abs(np.asarray(actual, float) - desired).max()
    assert error <= growth * np.finfo(dtype).eps, error


@EACH_KERNEL
def test_on_the_landmarks_of_scikit_learn_the_kernel_is_the_same(rows, params, seed):
    theirs = Nystroem(**{"kernel": "rbf", **params}, n_components=30, random_state=seed)
    theirs.fit(rows)
    ours = NystroemKernel(landmarks=theirs.component_indices_, **params).fit(rows)
    np.testing.assert_array_equal(ours.components_, theirs.components_)
    np.testing.assert_array_equal(ours.component_indices_, theirs.component_indices_)
    A, B = theirs.transform(rows), ours.transform(rows)
    size = np.abs(A @ A.T).max()
    W = np.linalg.norm(ours.normalization_, 2)
    assert_close_to_scale(B @ B.T, A @ A.T, float, 100 * size * max(1, W**2))


@EACH_KERNEL
@EACH_METHOD
def test_features_are_kernel_values_times_the_normalization(landmarks, rows, params, seed):
    kernel = NystroemKernel(
        **params, landmarks=landmarks, n_components=30, random_state=seed
    ).fit(rows)
    W = kernel.normalization_
    assert W.shape == (30, 30)
    assert kernel.n_components_ == 30
    expected = kernel_values(NEW**2, kernel.components_, params) @ W.T
    size = np.abs(expected).max()
    assert_features_close(kernel.transform(NEW**2), expected, kernel, float, size)
    # A root of the inverse of the landmarks' kernel.
    K = kernel_values(kernel.components_, kernel.components_, params)
    assert_close_to_scale(W @ K @ W.T, np.eye(30), float, 10 * np.linalg.cond(K))
    if landmarks == "kmeans":
        assert kernel.component_indices_ is None
    else:
        assert len(set(kernel.component_indices_.tolist())) == 30
        np.testing.assert_array_equal(kernel.components_, rows[kernel.component_indices_])


@EACH_KERNEL
@EACH_METHOD
def test_what_is_left_is_semidefinite_and_the_error_its_trace(
    landmarks, rows, params, seed
):
    K = kernel_values(rows, rows, params)
    scale = np.abs(K).max()
    errors = []
    for k in (1, 10, 50):
        kernel = NystroemKernel(
            **params, landmarks=landmarks, n_components=k, random_state=seed
        )
        Z = kernel.fit_transform(rows)
        left = K - Z @ Z.T
        rounding = 100 * np.finfo(float).eps * scale * np.linalg.cond(kernel.normalization_)
        assert np.linalg.eigvalsh(left)[0] >= -len(K) * rounding
        # The estimate is from 2000 samples: here, all.
        errors.append(kernel.error_estimate_)
        assert abs(errors[-1] - np.trace(left) / np.trace(K)) <= rounding
    assert errors[0] > errors[1] > errors[2]


@EACH_METHOD
def test_on_many_rows_the_error_is_estimated_within_its_deviation(landmarks, monkeypatch):
    # The mean of a sample of 2000 rows is within five standard deviations of that of
    # 4000, but for 6e-7.
    rows = np.random.default_rng(1).standard_normal((4000, 3))
    monkeypatch.setattr(features, "_FACTOR_ENTRIES", 20 * 1000)
    kernel = NystroemKernel(n_components=20, landmarks=landmarks, random_state=0)
    Z = kernel.fit(rows).transform(rows)
    left = 1 - np.sum(Z**2, axis=1)
    deviation = np.std(left) / np.sqrt(2000) * np.sqrt(0.5)
    assert abs(kernel.error_estimate_ - left.mean()) <= 5 * deviation
    if landmarks != "kmeans":
        np.testing.assert_array_equal(kernel.components_, rows[kernel.component_indices_])
        assert len(set(kernel.component_indices_.tolist())) == 20


@pytest.mark.parametrize("landmarks", ["rpcholesky", "greedy"])
def test_among_all_rows_the_error_is_exact(landmarks):
    rows = np.random.default_rng(1).standard_normal((4000, 3))
    kernel = NystroemKernel(n_components=20, landmarks=landmarks, random_state=0)
    Z = kernel.fit_transform(rows)
    assert kernel.error_estimate_ == pytest.approx(1 - np.sum(Z**2) / 4000, rel=1e-9)


def test_chosen_landmarks_leave_less_than_uniform_ones(seed):
    # Clusters of very different sizes: the small ones hold half of the trace that one
    # landmark in each would take, and uniform landmarks miss most of them.
    rng = np.random.default_rng(seed)
    rows = np.vstack(
        [100 * rng.standard_normal((40, 3)).repeat(2, axis=0), np.zeros((400, 3))]
    )
    rows += 0.1 * rng.standard_normal(rows.shape)
    errors = {
        landmarks: np.median(
            [
                NystroemKernel(n_components=41, landmarks=landmarks, random_state=s)
                .fit(rows)
                .error_estimate_
                for s in range(5)
            ]
        )
        for landmarks in METHODS
    }
    for landmarks, share in {"rpcholesky": 0.5, "greedy": 0.5, "leverage": 0.8}.items():
        assert errors[landmarks] <= share * errors["uniform"], errors


def test_uniform_landmarks_are_uniform():
    # Each of 20 counts is binomial: all within 5.5 standard deviations but for 1e-6.
    counts = np.zeros(20)
    for seed in range(300):
        kernel = NystroemKernel(landmarks="uniform", n_components=5, random_state=seed)
        counts[kernel.fit(X[:20]).component_indices_] += 1
    assert counts.sum() == 1500
    deviation = np.sqrt(300 * 0.25 * 0.75)
    assert np.abs(counts - 75).max() <= 5.5 * deviation


LOW_RANK = {
    "linear": ({"kernel": "linear"}, 5),
    "cosine": ({"kernel": "cosine"}, 5),
    "quadratic": ({"kernel": "poly", "degree": 2, "gamma": 0.3, "coef0": 1}, 21),
    "homogeneous": ({"kernel": "poly", "degree": 2, "gamma": 0.3, "coef0": 0}, 15),
}


@EACH_METHOD
@DTYPES
@pytest.mark.parametrize(("params", "rank"), LOW_RANK.values(), ids=LOW_RANK)
def test_a_kernel_of_low_rank_is_exact_with_as_many_features(
    params, rank, dtype, landmarks, seed
):
    kernel = NystroemKernel(**params, landmarks=landmarks, random_state=seed)
    Z = kernel.fit_transform(X.astype(dtype))
    assert kernel.n_components_ == len(kernel.components_) == rank
    assert Z.shape == (200, rank)
    assert Z.dtype == kernel.normalization_.dtype == dtype
    K = kernel_values(X, X, params)
    Z = kernel.transform(NEW.astype(dtype)).astype(float)
    expected = kernel_values(NEW, NEW, params)
    size = np.abs(Z).max() * np.abs(kernel_values(NEW, kernel.components_, params)).max()
    assert_features_close(Z @ Z.T, expected, kernel, dtype, 2 * np.sqrt(rank) * size)
    W = np.linalg.norm(kernel.normalization_, 2)
    assert kernel.error_estimate_ <= 10 * np.finfo(dtype).eps * (1 + W**2 * K.max())


@EACH_METHOD
@DTYPES
@pytest.mark.parametrize("kernel", ["linear", "cosine"])
def test_the_rank_is_found_whatever_the_seed(landmarks, kernel, dtype):
    # Small integers, many of them zero: directions that few rows have.
    rows = np.random.default_rng(0).poisson(0.4, (120, 6)).astype(dtype)
    ranks = [
        NystroemKernel(kernel, landmarks=landmarks, n_components=20, random_state=seed)
        .fit(rows)
        .n_components_
        for seed in range(30)
    ]
    assert set(ranks) == {6}


@EACH_METHOD
@DTYPES
def test_a_smooth_kernel_has_few_features_that_are_no_noise(landmarks, dtype, seed):
    rows = X.astype(dtype)
    kernel = NystroemKernel(gamma=1e-4, landmarks=landmarks, random_state=seed)
    Z = kernel.fit_transform(rows).astype(float)
    assert kernel.n_components_ < (30 if dtype == np.float32 else 100)
    K = rbf_kernel(rows.astype(float), gamma=1e-4)
    # A rounding grows by the inverse of the smallest pivot, 64 eps: to its root.
    assert np.abs(K - Z @ Z.T).max() <= np.sqrt(np.finfo(dtype).eps)
    Z = kernel.transform(NEW.astype(dtype)).astype(float)
    K = rbf_kernel(NEW.astype(dtype).astype(float), gamma=1e-4)
    assert np.abs(K - Z @ Z.T).max() <= np.sqrt(np.finfo(dtype).eps)


@pytest.mark.parametrize("landmarks", ["rpcholesky", "uniform", "greedy", "leverage"])
@DTYPES
@pytest.mark.parametrize("tol", [0.5, 0.1, 0.02])
def test_a_tolerance_is_met_with_the_fewest_landmarks(landmarks, tol, dtype, seed):
    params = {"gamma": 0.1, "landmarks": landmarks, "random_state": seed}
    rows = X.astype(dtype)
    kernel = NystroemKernel(**params, n_components=None, tol=tol).fit(rows)
    k = kernel.n_components_
    assert kernel.error_estimate_ <= tol
    fewer = NystroemKernel(gamma=0.1, landmarks=kernel.component_indices_[:-1]).fit(rows)
    assert fewer.error_estimate_ > tol
    share = NystroemKernel(**params, n_components=1 - tol).fit(rows)
    np.testing.assert_array_equal(share.component_indices_, kernel.component_indices_)
    # Both: whichever stops first.
    both = NystroemKernel(**params, n_components=k // 2, tol=tol).fit(rows)
    assert both.n_components_ == k // 2 or both.error_estimate_ <= tol
    looser = NystroemKernel(**params, n_components=0.99, tol=tol).fit(rows)
    np.testing.assert_array_equal(looser.component_indices_, kernel.component_indices_)


@EACH_METHOD
def test_none_takes_every_row(landmarks):
    for k in (None, 200, 1000):
        kernel = NystroemKernel(n_components=k, landmarks=landmarks, random_state=0).fit(X)
        assert kernel.n_components_ == 200
        assert kernel.error_estimate_ <= 1e-12
        Z = kernel.transform(NEW)
        inner = Z @ kernel.transform(X).T
        np.testing.assert_allclose(inner, rbf_kernel(NEW, X), atol=1e-10)


OWN = RNG.choice(200, 30, replace=False)


def test_landmarks_of_ones_own_are_indices_or_points():
    reference = NystroemKernel(landmarks=OWN).fit(X)
    for landmarks in (OWN.tolist(), OWN - 200, OWN.astype(np.uint8)):
        kernel = NystroemKernel(landmarks=landmarks).fit(X)
        np.testing.assert_array_equal(kernel.component_indices_, OWN)
        np.testing.assert_array_equal(kernel.transform(NEW), reference.transform(NEW))
    for landmarks in (X[OWN], X[OWN].tolist(), np.asfortranarray(X[OWN])):
        kernel = NystroemKernel(landmarks=landmarks).fit(X)
        assert kernel.component_indices_ is None
        np.testing.assert_array_equal(kernel.components_, X[OWN])
        assert_close_to_scale(kernel.transform(NEW), reference.transform(NEW), float, 1e4)
        assert kernel.error_estimate_ == pytest.approx(reference.error_estimate_)


def test_landmarks_of_ones_own_may_be_sparse():
    rows = X * (X > 0)
    expected = NystroemKernel(landmarks=OWN).fit(rows)
    for points in (rows[OWN], sp.csr_array(rows[OWN]), sp.csc_matrix(rows[OWN])):
        for data in (rows, sp.csr_array(rows)):
            kernel = NystroemKernel(landmarks=points).fit(data)
            Z, other = kernel.transform(NEW), expected.transform(NEW)
            assert_features_close(Z @ Z.T, other @ other.T, expected, float, 10)


def test_landmarks_given_twice_count_once():
    once = NystroemKernel(landmarks=OWN).fit(X)
    twice = np.concatenate([OWN, OWN[::-1]])
    for landmarks in (twice, X[twice]):
        kernel = NystroemKernel(landmarks=landmarks).fit(X)
        assert kernel.n_components_ == len(kernel.components_) == 30
        A, B = once.transform(NEW), kernel.transform(NEW)
        assert_close_to_scale(A @ A.T, B @ B.T, float, 1e4)
        assert kernel.error_estimate_ == pytest.approx(once.error_estimate_)
        if landmarks.ndim == 1:
            assert set(kernel.component_indices_) == set(OWN)


@EACH_METHOD
@DTYPES
@pytest.mark.parametrize("n_components", [30, 0.9, None])
def test_fit_transform_is_transform(landmarks, n_components, dtype):
    if landmarks == "kmeans" and n_components == 0.9:
        n_components = 100
    rows = X.astype(dtype)
    kernel = NystroemKernel(n_components=n_components, landmarks=landmarks, random_state=0)
    Z = kernel.fit_transform(rows)
    assert Z.dtype == dtype
    assert Z.flags.c_contiguous
    assert_features_close(Z, kernel.transform(rows), kernel, dtype)
    assert Z.base is None or Z.base.shape[0] == 200


@EACH_METHOD
def test_single_precision_stays_single_and_close(landmarks):
    rows, new = X.astype(np.float32), NEW.astype(np.float32)
    kernel = NystroemKernel(n_components=40, landmarks=landmarks, random_state=0).fit(rows)
    assert kernel.transform(new).dtype == np.float32
    assert kernel.components_.dtype == kernel.normalization_.dtype == np.float32
    double = NystroemKernel(landmarks=kernel.components_.astype(float)).fit(X)
    assert_features_close(kernel.transform(new), double.transform(new), double, np.float32)
    assert kernel.error_estimate_ == pytest.approx(double.error_estimate_, rel=1e-4)
    # Integers are read as double.
    assert NystroemKernel().fit_transform(np.eye(5, dtype=int)).dtype == np.float64


@EACH_METHOD
def test_a_seed_decides_everything(landmarks):
    def points(random_state):
        kernel = NystroemKernel(
            n_components=20, landmarks=landmarks, random_state=random_state
        )
        return kernel.fit(X).components_

    np.testing.assert_array_equal(points(3), points(3))
    state = np.random.RandomState
    np.testing.assert_array_equal(points(state(3)), points(state(3)))
    points(None)
    if landmarks == "greedy":
        np.testing.assert_array_equal(points(3), points(4))
    else:
        assert not np.array_equal(points(3), points(4))


@pytest.mark.parametrize("params", [{}, {"kernel": "laplacian"}, {"kernel": cauchy}])
@EACH_METHOD
def test_threads_change_nothing(params, landmarks):
    kernel = NystroemKernel(**params, n_components=20, landmarks=landmarks, random_state=0)
    fitted = [clone(kernel).set_params(n_jobs=n).fit(X) for n in (None, 2, -1)]
    with parallel_config(backend="threading", n_jobs=2):
        fitted.append(clone(kernel).fit(X))
    for other in fitted[1:]:
        np.testing.assert_array_equal(other.components_, fitted[0].components_)
        assert_close_to_scale(other.transform(NEW), fitted[0].transform(NEW), float, 1e4)


@pytest.mark.parametrize("landmarks", ["rpcholesky", "uniform", "greedy", "leverage", OWN])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@DTYPES
def test_a_precomputed_kernel_is_the_named_one(landmarks, make, dtype, seed):
    # Without ties, which rounding would break one way or the other.
    kernel = {"kernel": "polynomial", "gamma": 0.1, "coef0": 2, "degree": 4}
    params = {"n_components": 30, "landmarks": landmarks, "random_state": seed}
    named = NystroemKernel(**kernel, **params).fit(X.astype(dtype))
    K = kernel_values(X, X, kernel).astype(dtype)
    # Rows of a kernel matrix have no values that would tell in which order to draw them.
    alone = NystroemKernel("precomputed", **params).fit(make(K))
    assert alone.error_estimate_ <= 2 * named.error_estimate_ + 1e-6
    given = NystroemKernel("precomputed", landmarks=named.component_indices_)
    Z = given.fit_transform(make(K))
    np.testing.assert_array_equal(given.component_indices_, named.component_indices_)
    rounding = 1e3 * float(np.finfo(dtype).eps)
    assert given.error_estimate_ == pytest.approx(named.error_estimate_, abs=rounding)
    assert given.n_features_in_ == 200
    expected = named.transform(X.astype(dtype))
    assert_features_close(Z, expected, named, dtype, K.max())
    between = kernel_values(NEW, X, kernel).astype(dtype)
    expected = named.transform(NEW.astype(dtype))
    assert_features_close(given.transform(make(between)), expected, named, dtype, K.max())


def test_the_default_width_is_that_of_scikit_learn():
    fitted = NystroemKernel(landmarks=OWN).fit(X)
    same = NystroemKernel(landmarks=OWN, gamma=1 / 5).fit(X)
    assert_close_to_scale(fitted.transform(NEW), same.transform(NEW), float, 1e4)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "sigmoid"])
def test_scale_is_the_width_by_the_variance_of_all_entries(kernel, make):
    rows = 3 * X + np.arange(5)
    params = {"kernel": kernel, "landmarks": OWN}
    scaled = NystroemKernel(gamma="scale", **params).fit(make(rows))
    same = NystroemKernel(gamma=1 / (5 * rows.var()), **params).fit(make(rows))
    assert scaled.n_components_ == same.n_components_
    A, B = scaled.transform(make(rows)), same.transform(make(rows))
    assert_close_to_scale(A @ A.T, B @ B.T, float, 1e6)
    # Of data that do not vary any width will do.
    constant = NystroemKernel(kernel, gamma="scale").fit(make(np.ones((9, 5))))
    assert constant.n_components_ == 1


@pytest.mark.parametrize(
    "kernel",
    [cauchy, RBF(0.7), lambda a, b: 1.0 + float(a @ b)],
    ids=["function", "object", "lambda"],
)
def test_callables_are_kernels(kernel, seed):
    fitted = NystroemKernel(kernel, n_components=20, random_state=seed)
    Z = fitted.fit_transform(X)
    K = pairwise_kernels(X, metric=kernel)
    assert fitted.error_estimate_ == pytest.approx(
        1 - np.sum(Z**2) / np.trace(K), abs=1e-10
    )
    assert np.linalg.eigvalsh(K - Z @ Z.T)[0] >= -1e-10 * np.trace(K)


def test_parameters_of_a_callable_are_passed_on():
    one = NystroemKernel(cauchy, kernel_params={"scale": 3.0}, landmarks=OWN).fit(X)
    two = NystroemKernel(lambda a, b: cauchy(a, b, 3.0), landmarks=OWN).fit(X)
    np.testing.assert_array_equal(one.transform(NEW), two.transform(NEW))
    prior = RBF(0.3)
    one = NystroemKernel(prior, kernel_params={"length_scale": 2.0}, landmarks=OWN).fit(X)
    two = NystroemKernel(gamma=1 / 8, landmarks=OWN).fit(X)
    assert_close_to_scale(one.transform(NEW), two.transform(NEW), float, 1e4)
    assert prior.length_scale == 0.3


@EACH_METHOD
@pytest.mark.parametrize("kernel", ["sigmoid", "additive_chi2"])
def test_of_an_indefinite_kernel_the_positive_part_is_kept(kernel, landmarks, seed):
    params = {"n_components": 30, "landmarks": landmarks, "random_state": seed}
    fitted = NystroemKernel(kernel, **params)
    Z = fitted.fit_transform(POSITIVE)
    assert_close_to_scale(Z, fitted.transform(POSITIVE), float, 1e8)
    K = pairwise_kernels(POSITIVE, metric=kernel)
    # The error is from 400 samples: here, all.
    error = np.linalg.norm(K - Z @ Z.T) / np.linalg.norm(K)
    assert fitted.error_estimate_ == pytest.approx(error, rel=1e-6)
    m = fitted.components_
    values = np.linalg.eigvalsh(pairwise_kernels(m, metric=kernel))
    above = 64 * np.finfo(float).eps * np.abs(values).max()
    assert values.min() < -above
    assert fitted.n_components_ == np.count_nonzero(values > above)


@pytest.mark.parametrize("landmarks", ["rpcholesky", "greedy", "uniform", "leverage"])
def test_the_error_of_a_precomputed_indefinite_kernel_is_known(landmarks, seed):
    K = np.tanh(X @ X.T - 1)
    fitted = NystroemKernel(
        "precomputed", n_components=30, landmarks=landmarks, random_state=seed
    )
    Z = fitted.fit(K).transform(K)
    error = np.linalg.norm(K - Z @ Z.T) / np.linalg.norm(K)
    assert fitted.error_estimate_ == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize("factor", [1, 10, 1000])
def test_the_error_of_an_indefinite_kernel_is_covered_by_a_sample_of_the_rows(factor, seed):
    rows = np.random.default_rng(seed).standard_normal((900, 5))
    rows[3] *= factor
    fitted = NystroemKernel("sigmoid", n_components=30, random_state=seed)
    Z = fitted.fit_transform(rows)
    K = pairwise_kernels(rows, metric="sigmoid")
    error = np.linalg.norm(K - Z @ Z.T) / np.linalg.norm(K)
    assert error <= fitted.error_estimate_ <= 1.1 * error


@pytest.mark.parametrize("params", [{"tol": 0.1}, {"n_components": 0.9}])
@pytest.mark.parametrize("landmarks", ["rpcholesky", "greedy", "uniform", "leverage"])
def test_a_tolerance_for_an_indefinite_kernel_does_no_harm(landmarks, params):
    fitted = NystroemKernel("sigmoid", landmarks=landmarks, random_state=0, **params)
    Z = fitted.fit_transform(X)
    assert 0 < fitted.n_components_ <= 200
    K = pairwise_kernels(X, metric="sigmoid")
    error = np.linalg.norm(K - Z @ Z.T) / np.linalg.norm(K)
    assert fitted.error_estimate_ == pytest.approx(error, rel=1e-6)


def test_callbacks_see_every_block_and_can_stop_it():
    pytest.importorskip("sklearn.callback")
    tasks = []

    class Recorder:
        stop_after = None

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **kwargs):
            tasks.append(context.task_name)

        def on_fit_task_end(self, estimator, context, **kwargs):
            return len(tasks) == self.stop_after

        def teardown(self, estimator, context):
            pass

    recorder = Recorder()
    kernel = NystroemKernel(random_state=0).set_callbacks(recorder).fit(X)
    blocks = tasks.count("block of landmarks")
    assert blocks > 1
    assert kernel.n_components_ == 100
    tasks.clear()
    recorder.stop_after = len(["fit", "block of landmarks"])
    kernel.fit(X)
    assert tasks.count("block of landmarks") == 1
    assert 0 < kernel.n_components_ < 100


def test_transform_holds_its_output_and_tiles():
    rows = np.random.default_rng(0).standard_normal((40_000, 8))
    kernel = NystroemKernel(n_components=100, landmarks="uniform", random_state=0)
    kernel.fit(rows[:2000])
    kernel.transform(rows[:1])
    tracemalloc.start()
    Z = kernel.transform(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= Z.nbytes + 4 * TILE_BYTES < 1.5 * Z.nbytes


def test_a_fitted_estimator_pickles_and_a_clone_is_not_fitted():
    for params in ({}, {"kernel": "laplacian"}, {"kernel": cauchy}, {"landmarks": OWN}):
        kernel = NystroemKernel(**params, n_components=20, random_state=0).fit(X)
        other = pickle.loads(pickle.dumps(kernel))
        np.testing.assert_array_equal(other.transform(NEW), kernel.transform(NEW))
        assert not hasattr(clone(kernel), "components_")
        assert clone(kernel).get_params().keys() == kernel.get_params().keys()


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_an_interrupted_fit_leaves_the_previous_state(method, error, monkeypatch):
    kernel = NystroemKernel(n_components=20, random_state=0).fit(X)
    before = vars(kernel).copy()

    def interrupt(*args, **kwargs):
        raise error

    monkeypatch.setattr(module, "nystroem_features", interrupt)
    with pytest.raises(error):
        getattr(kernel, method)(X[:, :3])
    assert vars(kernel).keys() == before.keys()
    assert all(vars(kernel)[key] is before[key] for key in before)


def far_rows(kind, n, rng):
    rows = rng.standard_normal((n, 6))
    if kind == "one outlier":
        rows[rng.integers(n)] *= 300
    elif kind == "outliers":
        rows[rng.integers(n, size=5)] *= rng.uniform(5, 1000, (5, 1))
    elif kind == "heavy tails":
        rows = rng.lognormal(0, 2, (n, 6))
    return rows


EACH_KIND = pytest.mark.parametrize(
    "kind", ["plain", "one outlier", "outliers", "heavy tails"]
)


@EACH_KIND
@pytest.mark.parametrize(
    ("kernel", "params"),
    [
        ("sigmoid", {}),
        ("sigmoid", {"gamma": 0.01}),
        ("sigmoid", {"gamma": 0.01, "coef0": 0}),
        ("additive_chi2", {}),
        ("polynomial", {"degree": 3, "coef0": -1}),
    ],
    ids=str,
)
def test_the_error_of_an_indefinite_kernel_covers_that_of_few_far_rows(
    kernel, params, kind, seed
):
    rows = far_rows(kind, 1000, np.random.default_rng(seed))
    rows = np.abs(rows) if kernel == "additive_chi2" else rows
    features = NystroemKernel(kernel, n_components=30, random_state=seed, **params)
    F = features.fit(rows).transform(rows)
    K = pairwise_kernels(rows, metric=kernel, **params)
    truth = np.linalg.norm(K - F @ F.T) / np.linalg.norm(K)
    assert features.error_estimate_ == pytest.approx(truth, rel=0.25, abs=1e-9)


@EACH_KIND
@pytest.mark.parametrize("landmarks", ["uniform", "kmeans", "leverage"])
@pytest.mark.parametrize("kernel", ["linear", "polynomial"])
def test_the_trace_error_covers_that_of_few_far_rows(kernel, landmarks, kind, seed):
    rows = far_rows(kind, 4000, np.random.default_rng(seed))
    features = NystroemKernel(
        kernel, n_components=4, landmarks=landmarks, random_state=seed
    ).fit(rows)
    captured = np.sum(features.transform(rows) ** 2)
    trace = (rows**2).sum() if kernel == "linear" else ((rows**2).sum(1) / 6 + 1) ** 3
    truth = 1 - captured / np.sum(trace)
    assert features.error_estimate_ == pytest.approx(truth, rel=0.1, abs=1e-9)

"""RandomizedPCA against scikit-learn's own, and what it says of its error."""

import pickle
import warnings
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from joblib import parallel_config
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sklearn_rnla.decomposition as module
from sklearn_rnla import RandomizedPCA
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows, excess
from tests.matrices import coherent, deep, gallery, with_spectrum

ARRAYS = [
    "components_",
    "explained_variance_",
    "explained_variance_ratio_",
    "singular_values_",
    "mean_",
]
CONTAINERS = [np.asarray, sp.csr_array, sp.csc_array, sp.csr_matrix, sp.csc_matrix]
DIGITS = load_digits().data


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("algorithm", ["auto", "gram", "krylov"])
@pytest.mark.parametrize("shape", [(500, 30), (30, 200)])
def test_attributes_and_methods_equal_those_of_pca(container, dtype, algorithm, shape):
    X = with_spectrum(0.6 ** np.arange(min(shape)), *shape, dtype=dtype) + dtype(0.05)
    ours = RandomizedPCA(5, algorithm=algorithm, tol=1e-8, random_state=0)
    ours.fit(container(X))
    theirs = PCA(5, svd_solver="full").fit(X.astype(float))
    slack = 1e4
    for name in ARRAYS:
        assert getattr(ours, name).dtype == dtype
        assert_close_to_scale(getattr(ours, name), getattr(theirs, name), dtype, slack)
    rounding = slack * np.finfo(dtype).eps * theirs.explained_variance_[0]
    assert ours.noise_variance_ == pytest.approx(theirs.noise_variance_, abs=rounding)
    assert ours.n_components_ == theirs.n_components_
    assert ours.n_samples_ == ours.n_samples_seen_ == shape[0]
    Z = theirs.transform(X.astype(float))
    assert_close_to_scale(ours.transform(container(X)), Z, dtype, slack)
    assert ours.transform(X).dtype == ours.inverse_transform(Z.astype(dtype)).dtype == dtype
    assert_close_to_scale(
        ours.inverse_transform(Z), theirs.inverse_transform(Z), dtype, slack
    )
    assert_close_to_scale(ours.get_covariance(), theirs.get_covariance(), dtype, slack)
    assert ours.get_feature_names_out().tolist() == [f"randomizedpca{i}" for i in range(5)]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("whiten", [True, False])
def test_likelihood_and_precision_equal_those_of_pca(container, whiten):
    X = np.random.default_rng(0).standard_normal((300, 12)) * np.arange(1, 13)
    ours = RandomizedPCA(4, whiten=whiten).fit(container(X))
    theirs = PCA(4, svd_solver="full").fit(X)
    np.testing.assert_allclose(ours.score_samples(container(X)), theirs.score_samples(X))
    assert ours.score(X) == pytest.approx(theirs.score(X))
    np.testing.assert_allclose(ours.get_precision(), theirs.get_precision(), atol=1e-12)
    every = RandomizedPCA().fit(X)
    assert every.score(X) == pytest.approx(PCA().fit(X).score(X))
    np.testing.assert_allclose(every.get_covariance(), np.cov(X.T), atol=1e-9)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_components", [None, 19, 7])
@pytest.mark.parametrize("data", ["normal", "iris", "scaled"])
def test_precision_is_the_inverse_of_the_covariance(data, n_components, container):
    X = np.random.default_rng(0).standard_normal((200, 20))
    scaled = X * 10.0 ** -(np.arange(20) / 10)
    X = {"normal": X, "iris": load_iris().data, "scaled": scaled}[data]
    n_components = n_components and min(n_components, X.shape[1] - 1)
    ours = RandomizedPCA(n_components).fit(container(X))
    theirs = PCA(n_components, svd_solver="full").fit(X)
    precision, expected = ours.get_precision(), theirs.get_precision()
    assert_close_to_scale(precision, expected, float, 1e7)
    identity = precision @ ours.get_covariance()
    np.testing.assert_allclose(identity, np.eye(X.shape[1]), atol=1e-8)
    np.testing.assert_allclose(ours.score_samples(container(X)), theirs.score_samples(X))


FAR = {
    "pressures": (101325 + 150 * np.random.default_rng(0).standard_normal((500, 8))).astype(
        np.float32
    ),
    "temperatures": (
        288 + np.array([8, 2, 1, 0.5]) * np.random.default_rng(0).standard_normal((500, 4))
    ).astype(np.float32),
    "seconds": 1.7e9 + 30 * np.random.default_rng(0).standard_normal((500, 6)),
}


@pytest.mark.parametrize("name", FAR)
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_far_origin_costs_no_accuracy_of_the_variance(name, container, weighted):
    X = FAR[name]
    w = np.random.default_rng(1).integers(0, 3, len(X)) if weighted else np.ones(len(X))
    pca = RandomizedPCA(2, with_mean=False).fit(container(X), sample_weight=w)
    repeated = np.repeat(X.astype(float), w.astype(int), axis=0)
    coordinates = repeated @ pca.components_.T.astype(float)
    variances = coordinates.var(axis=0)
    np.testing.assert_allclose(pca.explained_variance_, variances, rtol=1e-3)
    total = repeated.var(axis=0).sum()
    np.testing.assert_allclose(pca.explained_variance_ratio_, variances / total, rtol=1e-3)
    model = RandomizedPCA(2, with_mean=False).fit(repeated)
    assert pca.noise_variance_ == pytest.approx(model.noise_variance_, rel=0.05)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("with_mean", [True, False])
def test_shares_of_the_variance_sum_to_at_most_one(dtype, with_mean, seed):
    rng = np.random.default_rng(seed)
    for n in (3, 20, 100):
        X = rng.standard_normal((150, n)).astype(dtype)
        pca = RandomizedPCA(with_mean=with_mean).fit(X)
        batches = RandomizedPCA(with_mean=with_mean).partial_fit(X).partial_fit(X)
        for ratio in (pca.explained_variance_ratio_, batches.explained_variance_ratio_):
            assert ratio.sum() <= 1
            assert np.cumsum(ratio)[-1] <= 1
            assert np.all(np.diff(ratio) <= 0) or not with_mean


@pytest.mark.parametrize("algorithm", ["auto", "gram", "krylov", "one-view"])
def test_error_estimates_are_not_negative(algorithm, seed):
    for _, X in gallery(300, 40, seed=seed):
        pca = RandomizedPCA(5, algorithm=algorithm, random_state=seed).fit(X)
        assert pca.error_estimate_ >= 0


@pytest.mark.parametrize("container", CONTAINERS)
def test_without_mean_it_is_the_truncated_svd(container):
    X = np.random.default_rng(0).random((400, 30)) * np.linspace(1, 3, 30)
    ours = RandomizedPCA(6, with_mean=False).fit(container(X))
    theirs = TruncatedSVD(6, algorithm="arpack", random_state=0).fit(X)
    for name in ARRAYS[:4]:
        assert_close_to_scale(getattr(ours, name), getattr(theirs, name), np.float64, 1e5)
    assert not ours.mean_.any()
    assert_close_to_scale(ours.transform(X), theirs.transform(X), np.float64, 1e5)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("algorithm", ["auto", "krylov"])
def test_whitened_coordinates_have_unit_variance(container, algorithm):
    # Components err by the square root of the excess error.
    pca = RandomizedPCA(8, whiten=True, algorithm=algorithm, tol=1e-14, random_state=0)
    Z = pca.fit_transform(container(DIGITS))
    np.testing.assert_allclose(np.cov(Z.T), np.eye(8), atol=1e-6)
    plain = RandomizedPCA(8).fit(DIGITS)
    assert_close_to_scale(
        pca.inverse_transform(Z),
        plain.inverse_transform(plain.transform(DIGITS)),
        np.float64,
        1e10,
    )


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("algorithm", ["auto", "krylov", "gram"])
def test_a_fraction_of_variance_keeps_as_many_as_pca(fraction, algorithm):
    ours = RandomizedPCA(fraction, algorithm=algorithm, tol=1e-6, random_state=0)
    ours.fit(DIGITS)
    assert ours.n_components_ == PCA(fraction, svd_solver="full").fit(DIGITS).n_components_
    assert ours.explained_variance_ratio_.sum() > fraction


@pytest.mark.parametrize("algorithm", ["auto", "krylov", "gram"])
def test_gavish_donoho_finds_the_planted_rank(algorithm, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((600, 100))
    X += rng.standard_normal((600, 7)) @ rng.standard_normal((7, 100))
    pca = RandomizedPCA("gavish-donoho", algorithm=algorithm, random_state=seed).fit(X)
    assert pca.n_components_ == 7


def test_none_keeps_the_whole_spectrum():
    X = load_iris().data
    assert RandomizedPCA().fit(X).explained_variance_ratio_.sum() == pytest.approx(1)
    assert RandomizedPCA().fit(X[:3]).components_.shape == (3, 4)


@pytest.mark.parametrize("algorithm", ["auto", "krylov", "gram", "one-view"])
def test_without_components_all_variance_is_noise_as_in_pca(algorithm):
    X = load_iris().data
    ours, theirs = RandomizedPCA(0, algorithm=algorithm).fit(X), PCA(0).fit(X)
    streamed = RandomizedPCA(0, algorithm="auto").fit(iter(np.split(X, 3)))
    for pca in (ours, streamed):
        assert pca.transform(X).shape == (len(X), 0)
        assert pca.noise_variance_ == pytest.approx(theirs.noise_variance_)
        assert pca.score(X) == pytest.approx(theirs.score(X))
    updated = RandomizedPCA(0).fit(X[:50]).partial_fit(X[50:])
    assert updated.noise_variance_ == pytest.approx(theirs.noise_variance_)
    with pytest.raises(ValueError, match="asks for components that were dropped"):
        updated.set_params(n_components=1).partial_fit(X)


def test_a_covariance_beyond_the_range_of_doubles_is_infinite():
    X = load_iris().data
    with np.errstate(over="ignore"):
        covariance = RandomizedPCA(2).fit(1e180 * X).get_covariance()
    assert np.isinf(np.diag(covariance)).all()


def test_the_error_estimate_covers_the_truth_and_is_not_pessimistic():
    matrices = [
        *gallery(3000, 200, np.float64),
        ("coherent", coherent(3000, 200)),
        ("digits", DIGITS),
        ("breast cancer", load_breast_cancer(return_X_y=True)[0][:, :29]),
    ]
    covered, ratios = [], []
    for name, X in matrices:
        B = X - X.mean(axis=0)
        squared = np.linalg.svd(B, compute_uv=False) ** 2
        for k, passes, seed in product((3, 10), (1, 2, 3), range(5)):
            pca = RandomizedPCA(
                k, algorithm="krylov", tol=1e-12, max_passes=passes, random_state=seed
            )
            with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):
                V = pca.fit(X).components_
            error = squared.sum() - np.sum((B @ V.T) ** 2)
            truth = np.sqrt(error / squared[k:].sum()) - 1
            # Below, the truth is rounding.
            if truth > 1e-9:
                covered.append((truth <= pca.error_estimate_, name))
                ratios.append(pca.error_estimate_ / truth)
    assert len(ratios) > 100
    missed = [name for inside, name in covered if not inside]
    assert len(missed) <= 0.05 * len(covered), missed
    assert np.median(ratios) <= 4


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-4])
def test_the_tolerance_is_met(tol, seed):
    for name, X in gallery(2000, 120, seed=seed):
        pca = RandomizedPCA(
            6, algorithm="krylov", tol=tol, max_passes=60, random_state=seed
        ).fit(X)
        assert pca.error_estimate_ <= tol
        assert excess(X, pca.components_, 6, True) <= 1.5 * tol, name


@pytest.mark.parametrize("algorithm", ["auto", "gram", "krylov", "subspace"])
def test_ten_orders_of_singular_values_survive(algorithm, seed):
    X, s = deep(1500, 80, seed=seed)
    pca = RandomizedPCA(60, with_mean=False, algorithm=algorithm, random_state=seed).fit(X)
    assert np.abs(pca.singular_values_ - s[:60]).max() <= 1e-10 * s[0]
    assert_orthonormal_rows(pca.components_)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("with_mean", [True, False])
def test_integer_weights_equal_repeated_rows(container, with_mean, seed):
    X = DIGITS[:300, 20:40]
    w = np.random.default_rng(seed).integers(0, 4, len(X))
    weighted = RandomizedPCA(6, with_mean=with_mean, random_state=0)
    weighted.fit(container(X), sample_weight=w)
    repeated = clone(weighted).fit(container(np.repeat(X, w, axis=0)))
    for name in [*ARRAYS, "noise_variance_"]:
        assert_close_to_scale(
            getattr(weighted, name), getattr(repeated, name), np.float64, 1e5
        )


def test_weights_of_an_iteration_meet_the_tolerance(seed):
    X = with_spectrum(1 / np.arange(1.0, 201), 4000, 200, seed)
    w = np.random.default_rng(seed).random(4000) * 3
    pca = RandomizedPCA(5, algorithm="krylov", random_state=seed).fit(X, sample_weight=w)
    B = np.sqrt(w)[:, None] * (X - np.average(X, axis=0, weights=w))
    assert excess(B, pca.components_, 5, False) <= 1.5e-3


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("algorithm", ["krylov", "gram", "one-view"])
def test_threads_change_nothing_but_rounding(container, algorithm):
    X = container(with_spectrum(0.8 ** np.arange(50), 2000, 50))
    pca = RandomizedPCA(5, algorithm=algorithm, block_size=64, random_state=0)
    fitted = [clone(pca).set_params(n_jobs=n).fit(X) for n in (1, 2, -1)]
    with parallel_config(backend="threading", n_jobs=2):
        fitted.append(clone(pca).fit(X))
    for other in fitted[1:]:
        assert_close_to_scale(other.components_, fitted[0].components_, np.float64, 1e5)


@pytest.mark.parametrize("algorithm", ["krylov", "subspace", "one-view"])
def test_a_seed_decides_everything(algorithm):
    X = with_spectrum(1 / np.arange(1.0, 51), 1000, 50)

    def fit(random_state):
        pca = RandomizedPCA(5, algorithm=algorithm, random_state=random_state)
        return pca.fit(X).components_

    np.testing.assert_array_equal(fit(3), fit(3))
    state = np.random.RandomState
    np.testing.assert_array_equal(fit(state(3)), fit(state(3)))
    assert not np.array_equal(fit(3), fit(4))
    fit(None)


def test_too_few_passes_warn_with_the_error():
    X = with_spectrum(np.arange(1.0, 201) ** -0.3, 2000, 200)
    pca = RandomizedPCA(10, algorithm="krylov", tol=1e-8, max_passes=1, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"error is .* max_passes \(now 1\)"):
        pca.fit(X)


def test_a_fitted_estimator_pickles():
    pca = RandomizedPCA(3, random_state=0).fit(DIGITS)
    other = pickle.loads(pickle.dumps(pca))
    np.testing.assert_array_equal(other.transform(DIGITS), pca.transform(DIGITS))


def test_it_works_in_a_grid_search():
    search = GridSearchCV(
        make_pipeline(RandomizedPCA(random_state=0)),
        {"randomizedpca__n_components": [1, 4, 0.5, "gavish-donoho"]},
        cv=3,
    )
    assert search.fit(load_iris().data).best_params_["randomizedpca__n_components"] == 4


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_interrupted_fit_leaves_the_previous_state(method, error, monkeypatch):
    pca = RandomizedPCA(3, random_state=0).fit(DIGITS)
    before = vars(pca).copy()

    def interrupt(*args, **kwargs):
        raise error

    name = "principal_components" if method == "fit" else "updated_components"
    monkeypatch.setattr(module, name, interrupt)
    with pytest.raises(error):
        getattr(pca, method)(DIGITS[:, :50] if method == "fit" else DIGITS)
    assert vars(pca).keys() == before.keys()
    assert all(vars(pca)[key] is before[key] for key in before)


def test_callbacks_see_every_pass():
    pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    tasks = []

    class Recorder:
        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **kwargs):
            tasks.append(context.task_name)

        def on_fit_task_end(self, estimator, context, **kwargs):
            return False

        def teardown(self, estimator, context):
            pass

    X = with_spectrum(np.arange(1.0, 201) ** -0.5, 2000, 200)
    pca = RandomizedPCA(10, algorithm="krylov", tol=1e-4, random_state=0)
    pca.set_callbacks(Recorder()).fit(X)
    assert tasks.count("pass") == pca.n_passes_
    pca.set_callbacks(ProgressBar()).fit(X)

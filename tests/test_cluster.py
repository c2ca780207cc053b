"""NystroemSpectralClustering: labels, whatever the data come as and whatever is wrong."""

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from joblib import parallel_config
from sklearn.base import clone
from sklearn.cluster import SpectralClustering
from sklearn.datasets import make_blobs, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics import adjusted_rand_score

from sklearn_rnla import NystroemSpectralClustering
from sklearn_rnla.linalg.nystroem import features
from tests.sources import Lazy, on_disk, sparse_chunks

X, GROUPS = make_moons(400, noise=0.05, random_state=0)
BLOBS, CENTERS = make_blobs(300, 4, centers=3, cluster_std=0.5, random_state=1)
METHODS = ["kmeans", "discretize", "cluster_qr"]
EACH_METHOD = pytest.mark.parametrize("assign_labels", METHODS)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LANDMARKS = ["rpcholesky", "uniform", "greedy", "kmeans", "leverage"]


def moons(n_clusters=2, **parameters):
    parameters = {"gamma": 30, "n_landmarks": 100, "random_state": 0} | parameters
    return NystroemSpectralClustering(n_clusters, **parameters)


def same_partition(one, other):
    return adjusted_rand_score(one, other) == 1


@EACH_METHOD
@DTYPES
def test_moons_are_told_apart_and_predict_gives_the_labels(assign_labels, dtype, seed):
    rows = X.astype(dtype)
    fitted = moons(assign_labels=assign_labels, random_state=seed).fit(rows)
    assert same_partition(fitted.labels_, GROUPS)
    np.testing.assert_array_equal(fitted.predict(rows), fitted.labels_)
    assert fitted.embedding_.dtype == dtype
    assert fitted.embedding_.shape == (400, 2)
    new, groups = make_moons(200, noise=0.05, random_state=seed + 1)
    assert same_partition(fitted.predict(new), groups)
    assert fitted.fit_predict(rows).dtype == np.int32


@pytest.mark.parametrize("landmarks", [*LANDMARKS, np.arange(0, 400, 3), X[::3]])
def test_every_choice_of_landmarks_serves(landmarks):
    fitted = moons(landmarks=landmarks).fit(X)
    assert same_partition(fitted.labels_, GROUPS)
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)
    assert len(fitted.components_) <= 134
    if fitted.component_indices_ is not None:
        np.testing.assert_array_equal(fitted.components_, X[fitted.component_indices_])


@EACH_METHOD
def test_with_all_landmarks_the_partition_is_that_of_scikit_learn(assign_labels, seed):
    # Groups that overlap: the partition is not that of the centres.
    rows, groups = make_blobs(400, centers=3, cluster_std=1.5, random_state=4)
    parameters = {"gamma": 0.3, "assign_labels": assign_labels, "random_state": seed}
    exact = SpectralClustering(3, **parameters).fit(rows)
    ours = NystroemSpectralClustering(3, n_landmarks=400, **parameters).fit(rows)
    assert adjusted_rand_score(exact.labels_, ours.labels_) > 0.95
    assert not same_partition(exact.labels_, groups)
    assert ours.error_estimate_ <= 1e-12


KERNELS = {
    "laplacian": {"affinity": "laplacian", "gamma": 0.5},
    "chi2": {"affinity": "chi2", "gamma": 1.0},
    "cosine": {"affinity": "cosine"},
    "poly": {"affinity": "poly", "degree": 2, "coef0": 0.5, "gamma": 0.1},
    "sigmoid": {"affinity": "sigmoid", "gamma": 0.01, "coef0": 0.1},
    "gaussian process": {"affinity": RBF(1.0)},
    "callable": {
        "affinity": lambda a, b, width: np.exp(-np.sum((a - b) ** 2) / width),
        "kernel_params": {"width": 2.0},
        "n_landmarks": 20,
    },
}


@pytest.mark.parametrize("parameters", KERNELS.values(), ids=KERNELS)
def test_every_kernel_gives_the_partition_of_scikit_learn(parameters):
    # Groups that differ in direction and in place.
    rng = np.random.default_rng(0)
    rows = np.abs(np.repeat(6 * np.eye(3), 30, axis=0) + rng.standard_normal((90, 3)))
    exact = {name: p for name, p in parameters.items() if name != "n_landmarks"}
    if not isinstance(parameters["affinity"], RBF):
        exact = SpectralClustering(3, random_state=0, **exact).fit_predict(rows)
    else:
        exact = np.repeat(np.arange(3), 30)
    ours = NystroemSpectralClustering(3, random_state=0, **parameters).fit(rows)
    assert same_partition(exact, ours.labels_)
    np.testing.assert_array_equal(ours.predict(rows), ours.labels_)


SOURCES = {
    "list": lambda rows, _: rows.tolist(),
    "pandas": lambda rows, _: pd.DataFrame(rows, columns=list("abcd")),
    "fortran": lambda rows, _: np.asfortranarray(rows),
    "csr": lambda rows, _: sp.csr_array(rows),
    "csc": lambda rows, _: sp.csc_matrix(rows),
    "memmap": on_disk,
    "lazy": lambda rows, _: Lazy(rows),
    "dask": lambda rows, _: da.from_array(rows, chunks=(70, 4)),
    "dask sparse": lambda rows, _: sparse_chunks(rows, 70),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("landmarks", ["rpcholesky", "uniform"])
def test_every_source_gives_the_same_answer(make, landmarks, tmp_path):
    parameters = {"gamma": 0.1, "n_landmarks": 40, "landmarks": landmarks}
    model = NystroemSpectralClustering(3, random_state=0, **parameters)
    expected = clone(model).fit(BLOBS)
    source = make(BLOBS, tmp_path)
    fitted = model.fit(source)
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)
    np.testing.assert_allclose(fitted.eigenvalues_, expected.eigenvalues_, atol=1e-7)
    predicted = fitted.predict(source)
    assert isinstance(predicted, np.ndarray)
    np.testing.assert_array_equal(predicted, fitted.labels_)
    assert fitted.n_features_in_ == 4


def test_columns_have_names():
    fitted = NystroemSpectralClustering(3, gamma=0.1).fit(SOURCES["pandas"](BLOBS, None))
    assert fitted.feature_names_in_.tolist() == list("abcd")


def test_landmarks_among_a_sample_of_the_rows_serve(monkeypatch, seed):
    monkeypatch.setattr(features, "_FACTOR_ENTRIES", 100 * 200)
    fitted = moons(random_state=seed).fit(X)
    assert same_partition(fitted.labels_, GROUPS)
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)


@EACH_METHOD
def test_a_seed_decides_and_threads_do_not(assign_labels):
    def fit(**parameters):
        return moons(3, assign_labels=assign_labels, **parameters).fit(X)

    reference = fit(random_state=3)
    np.testing.assert_array_equal(fit(random_state=3).embedding_, reference.embedding_)
    for n_jobs in (1, 2):
        other = fit(random_state=3, n_jobs=n_jobs)
        np.testing.assert_array_equal(other.labels_, reference.labels_)
        np.testing.assert_allclose(other.embedding_, reference.embedding_, atol=1e-8)
    with parallel_config("threading", n_jobs=2):
        np.testing.assert_array_equal(fit(random_state=3).labels_, reference.labels_)
    state = np.random.RandomState
    one, two = fit(random_state=state(5)), fit(random_state=state(5))
    np.testing.assert_array_equal(one.labels_, two.labels_)
    copied = pickle.loads(pickle.dumps(reference))
    np.testing.assert_array_equal(copied.predict(X), reference.labels_)


def test_the_eigengap_of_separate_groups_is_their_number():
    for k in (2, 3, 5):
        rows = make_blobs(200, centers=10 * np.eye(k), random_state=0)[0]
        fitted = NystroemSpectralClustering(5, gamma=0.1, random_state=0).fit(rows)
        assert fitted.n_clusters_hint_ == k
        assert np.all(fitted.eigenvalues_[:k] > 0.95)
        assert np.all(np.diff(fitted.eigenvalues_) <= 0)


def test_more_or_fewer_eigenvectors_than_clusters():
    for n_components in (2, 3, 5):
        fitted = moons(n_components=n_components).fit(X)
        assert fitted.embedding_.shape == (400, n_components)
        assert len(set(fitted.labels_)) == 2
    assert len(set(moons(4, n_components=2).fit_predict(X))) == 4


def test_one_cluster_takes_all():
    for method in METHODS:
        fitted = moons(1, assign_labels=method).fit(X)
        assert not fitted.labels_.any()
        assert not fitted.predict(X).any()


def test_one_sample_is_a_cluster():
    fitted = NystroemSpectralClustering(1).fit([[1.0, 2.0]])
    assert fitted.labels_.tolist() == [0]
    assert fitted.n_clusters_hint_ == 1
    assert fitted.predict([[1.0, 2.0], [1e6, 0.0]]).tolist() == [0, 0]


@EACH_METHOD
def test_as_many_clusters_as_samples_have_one_each(assign_labels):
    rows = np.array([[0.0], [1.0], [3.0], [7.0]])
    fitted = NystroemSpectralClustering(4, assign_labels=assign_labels, random_state=0)
    assert sorted(fitted.fit_predict(rows)) == [0, 1, 2, 3]


@EACH_METHOD
@DTYPES
def test_copies_share_a_label(assign_labels, dtype):
    rows = np.repeat([[0.0, 0], [0, 1], [9, 9]], [20, 30, 10], axis=0).astype(dtype)
    fitted = NystroemSpectralClustering(2, assign_labels=assign_labels, random_state=0)
    labels = fitted.fit(rows).labels_
    assert same_partition(labels, np.repeat([0, 0, 1], [20, 30, 10]))
    np.testing.assert_array_equal(fitted.predict(rows[::7]), labels[::7])


@EACH_METHOD
def test_constant_data_are_one_cluster_with_a_warning(assign_labels):
    fitted = NystroemSpectralClustering(3, assign_labels=assign_labels, random_state=0)
    with pytest.warns(UserWarning, match="rank 1, less than the 3 eigenvectors"):
        fitted.fit(np.ones((20, 2)))
    assert len(set(fitted.labels_)) == 1
    assert fitted.embedding_.shape == (20, 1)
    np.testing.assert_array_equal(fitted.predict(np.ones((5, 2))), fitted.labels_[:5])


@EACH_METHOD
def test_groups_that_share_no_affinity_are_clusters(assign_labels, seed):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((90, 2)) + np.repeat(1e3 * np.eye(3)[:, :2], 30, axis=0)
    fitted = NystroemSpectralClustering(
        3, n_landmarks=60, assign_labels=assign_labels, random_state=seed
    ).fit(rows)
    assert same_partition(fitted.labels_, np.repeat([0, 1, 2], 30))
    np.testing.assert_allclose(fitted.eigenvalues_[:3], 1, atol=0.01)


@DTYPES
@pytest.mark.parametrize("landmarks", ["rpcholesky", "uniform"])
def test_a_new_sample_far_from_all_takes_the_label_of_the_nearest(landmarks, dtype):
    fitted = moons(landmarks=landmarks).fit(X.astype(dtype))
    far = np.array([[-1e3, 0.6], [1e3, 0.0], [-1e9, 5], [1e9, 5], [-2, 2], [0, 1e4]])
    labels = fitted.predict(far.astype(dtype))
    squares = np.sum((far[:, np.newaxis] - fitted.components_) ** 2, axis=2)
    # In the first the affinities vanish, in the last but one they are small.
    near = fitted.predict(fitted.components_)[squares.argmin(axis=1)]
    np.testing.assert_array_equal(labels, near)
    assert set(labels[:2].tolist()) == {0, 1}


def test_samples_that_no_landmark_stands_for_take_a_label_with_a_warning():
    # Each of them is similar to itself alone.
    rng = np.random.default_rng(0)
    outliers = rng.uniform(-1, 1, (200, 2)) * 100
    rows = np.concatenate([X, outliers])
    with pytest.warns(UserWarning, match="are similar to no landmark"):
        fitted = moons(landmarks=np.arange(0, 400, 2)).fit(rows)
    assert same_partition(fitted.labels_[:400], GROUPS)
    np.testing.assert_array_equal(fitted.predict(rows), fitted.labels_)
    assert np.isfinite(fitted.embedding_).all()
    assert not fitted.embedding_[400:][np.abs(outliers).max(axis=1) > 10].any()


@pytest.mark.parametrize("n_outliers", [1, 10])
@pytest.mark.parametrize("landmarks", ["rpcholesky", "greedy"])
def test_a_few_outliers_change_nothing_for_the_others(landmarks, n_outliers, seed):
    # Pivoting takes them for landmarks.
    rng = np.random.default_rng(seed)
    rows = np.concatenate([X, rng.uniform(5, 100, (n_outliers, 2))])
    fitted = moons(landmarks=landmarks, random_state=seed).fit(rows)
    assert fitted.component_indices_.max() >= 400
    assert same_partition(fitted.labels_[:400], GROUPS)
    np.testing.assert_array_equal(fitted.predict(rows), fitted.labels_)
    # They have the label of the nearest sample that is none.
    squares = np.sum((rows[400:, np.newaxis] - X) ** 2, axis=2)
    near = fitted.labels_[squares.argmin(axis=1)]
    assert np.mean(near == fitted.labels_[400:]) >= 0.7


def test_a_sample_without_any_affinity_has_a_label():
    # The affinity of zero to all samples, and to itself, is zero.
    rows = np.concatenate([np.abs(BLOBS), np.zeros((2, 4))])
    fitted = NystroemSpectralClustering(2, affinity="linear", random_state=0)
    with pytest.warns(UserWarning, match="rank"):
        fitted.set_params(n_clusters=5).fit(rows)
    assert np.isfinite(fitted.embedding_).all()
    np.testing.assert_array_equal(fitted.predict(rows), fitted.labels_)


@pytest.mark.parametrize("affinity", ["linear", "cosine", "sigmoid", "additive_chi2"])
def test_negative_affinities_are_refused(affinity):
    rows = BLOBS - BLOBS.mean(axis=0) if affinity != "additive_chi2" else np.abs(BLOBS)
    with pytest.raises(ValueError, match="affinities must not be negative"):
        NystroemSpectralClustering(3, affinity=affinity).fit(rows)


BAD = np.where(np.arange(8).reshape(4, 2) == 3, np.nan, 1.0)


@pytest.mark.parametrize(
    ("parameters", "rows", "message"),
    [
        ({"affinity": "precomputed"}, X, "not a function of two samples"),
        ({"affinity": "nearest_neighbors"}, X, "use sklearn.cluster.SpectralClustering"),
        ({"affinity": "precomputed_nearest_neighbors"}, X, "not a function"),
        ({"affinity": "graph"}, X, "'affinity' parameter"),
        ({"n_clusters": 0}, X, "'n_clusters' parameter"),
        ({"n_components": 0}, X, "'n_components' parameter"),
        ({"n_landmarks": 0}, X, "'n_landmarks' parameter"),
        ({"n_landmarks": 0.5}, X, "'n_landmarks' parameter"),
        ({"n_init": 0}, X, "'n_init' parameter"),
        ({"gamma": 0}, X, "'gamma' parameter"),
        ({"gamma": -1}, X, "'gamma' parameter"),
        ({"gamma": "auto"}, X, "'gamma' parameter"),
        ({"assign_labels": "nearest"}, X, "'assign_labels' parameter"),
        ({"landmarks": "best"}, X, "'landmarks' parameter"),
        ({"landmarks": [400]}, X, "indices of the n_samples=400"),
        ({"landmarks": np.ones((3, 5))}, X, "5 features, but X has 2"),
        (
            {"assign_labels": "discretize", "n_components": 3},
            X,
            "n_components=3 must be n_clusters=2",
        ),
        ({"n_clusters": 5}, X[:3], "n_samples=3 should be >= n_clusters=5"),
        ({}, X[0], "Expected 2D array"),
        ({}, np.zeros((0, 2)), "0 sample"),
        ({}, BAD, "NaN"),
        ({}, Lazy(BAD), "NaN|infinity"),
        ({}, iter([X]), "read only once"),
        ({"affinity": "chi2"}, X, "[Nn]egative"),
    ],
)
def test_what_is_wrong_is_said(parameters, rows, message):
    model = NystroemSpectralClustering(**{"n_clusters": 2} | parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(rows)
    assert not hasattr(model, "labels_")


def test_a_failed_fit_leaves_the_fitted_state():
    fitted = moons().fit(X)
    before = fitted.labels_
    with pytest.raises(ValueError, match="NaN"):
        fitted.fit(BAD)
    assert fitted.labels_ is before
    np.testing.assert_array_equal(fitted.predict(X), before)


def test_predict_needs_a_fit_and_the_same_features():
    with pytest.raises(NotFittedError):
        moons().predict(X)
    with pytest.raises(ValueError, match="expecting 2 features"):
        moons().fit(X).predict(BLOBS)


def test_gamma_scale_is_that_of_scikit_learn():
    gamma = 1 / (2 * X.var())
    scaled = moons(gamma="scale").fit(X)
    np.testing.assert_allclose(scaled.embedding_, moons(gamma=gamma).fit(X).embedding_)
    default = NystroemSpectralClustering(2, random_state=0).fit(X)
    one = NystroemSpectralClustering(2, gamma=1.0, random_state=0).fit(X)
    np.testing.assert_array_equal(default.embedding_, one.embedding_)


def test_more_outliers_than_clusters_earn_a_warning():
    rng = np.random.default_rng(0)
    groups = np.vstack([rng.normal(c, 0.1, (100, 2)) for c in (0, 3)])
    outliers = 100.0 * np.arange(1, 41).reshape(20, 2)
    clustering = NystroemSpectralClustering(2, gamma=5, random_state=0)
    with pytest.warns(UserWarning, match="20 of 220 samples are similar to no other"):
        clustering.fit(np.vstack([groups, outliers]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("affinity", ["rbf", "laplacian"])
@pytest.mark.parametrize(("n", "n_features", "spread"), [(150, 4, 100), (250, 2000, 1)])
def test_samples_that_are_all_isolated_earn_a_warning_and_scale_is_the_remedy(
    n, n_features, spread, affinity, dtype
):
    rows, groups = make_blobs(n, n_features, centers=3, random_state=0)
    rows = (spread * rows).astype(dtype)
    clustering = NystroemSpectralClustering(3, affinity=affinity, random_state=0)
    with pytest.warns(UserWarning, match=r"similar to no other.* gamma='scale'.* gamma=1"):
        clustering.fit(rows)
    clustering.set_params(gamma="scale").fit(rows)
    assert same_partition(clustering.labels_, groups)


def test_more_groups_without_affinity_than_clusters_earn_a_warning():
    pairs = np.repeat(100 * np.random.default_rng(0).standard_normal((60, 3)), 2, axis=0)
    with pytest.warns(UserWarning, match=r"fall into 60 groups .* n_clusters=3"):
        NystroemSpectralClustering(3, random_state=0).fit(pairs)

"""The spectral embedding against dense eigenproblems, and labels from an embedding."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel

from sklearn_rnla.linalg.nystroem import assignment, spectral_embedding
from sklearn_rnla.linalg.nystroem import features as nystroem
from sklearn_rnla.linalg.nystroem.affinity import degrees, embedded
from sklearn_rnla.linalg.nystroem.features import nystroem_features
from sklearn_rnla.operators import Kernel, as_row_matrix
from tests.invariants import assert_decreasing, assert_orthonormal_rows

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.standard_normal((80, 3)), 3 + RNG.standard_normal((40, 3))])
GAMMA = 0.3
K = rbf_kernel(X, gamma=GAMMA)


def embedding_of(X, m, n_components, seed=0, landmarks="rpcholesky", dtype=float):
    rows, kernel = as_row_matrix(X.astype(dtype)), Kernel("rbf", {"gamma": GAMMA})
    features = nystroem_features(
        rows, kernel, m, landmarks, rng=np.random.default_rng(seed)
    )
    spectrum = spectral_embedding.spectral_embedding(rows, kernel, features, n_components)
    p = spectrum.embedding_map.numerators.shape[1]
    E = rows.map(embedded, spectrum.embedding_map, rows.dtype, n_columns=p + 1)
    return spectrum, E[:, :-1], E[:, -1]


def dense_random_walk(K, p):
    """Return eigenvalues, and eigenvectors that D makes orthonormal, as columns."""
    values, vectors = scipy.linalg.eigh(K, np.diag(K.sum(axis=1)))
    return values[::-1][:p], vectors[:, ::-1][:, :p]


LANDMARKS = pytest.mark.parametrize("landmarks", ["rpcholesky", "uniform", "greedy"])


@LANDMARKS
def test_with_all_landmarks_the_eigenvectors_are_exact(landmarks, seed):
    spectrum, E, lost = embedding_of(X, len(X), 4, seed, landmarks)
    values, vectors = dense_random_walk(K, len(X))
    np.testing.assert_allclose(spectrum.eigenvalues, values, atol=1e-8)
    np.testing.assert_allclose(np.abs(E), np.abs(vectors[:, :4]), atol=1e-8)
    assert np.all(lost == -1)


@LANDMARKS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_eigenvectors_are_orthonormal_and_the_first_is_constant(landmarks, dtype, seed):
    spectrum, E, _ = embedding_of(X, 60, 5, seed, landmarks, dtype)
    assert E.dtype == dtype
    assert_decreasing(spectrum.eigenvalues)
    # A landmark has its exact degree, and any row here more than its own affinity: D is
    # that of the approximation.
    values, _ = dense_random_walk(K, 5)
    np.testing.assert_allclose(spectrum.eigenvalues[:5], values, atol=0.02)
    first = E[:, 0].astype(float)
    # Landmarks drawn uniformly may all but repeat one another.
    slack = 3e5 if dtype == np.float32 else 1e9
    assert np.ptp(first) <= slack * np.finfo(dtype).eps * np.abs(first[0])
    F = embedding_of(X, 60, 60, seed, landmarks)[0].embedding_map
    d = rbf_kernel(X, F.points, gamma=GAMMA) @ F.degree
    Q = (E * np.sqrt(d)[:, np.newaxis]).T.astype(dtype)
    assert_orthonormal_rows(Q, slack)


@LANDMARKS
def test_landmarks_have_their_exact_degree(landmarks, seed):
    rows, kernel = as_row_matrix(X), Kernel("rbf", {"gamma": GAMMA})
    features = nystroem_features(
        rows, kernel, 20, landmarks, rng=np.random.default_rng(seed)
    )
    degree = spectral_embedding.spectral_embedding(
        rows, kernel, features, 1
    ).embedding_map.degree
    approximate = rbf_kernel(features.points, gamma=GAMMA) @ degree
    np.testing.assert_allclose(approximate, K[features.indices].sum(axis=1), rtol=1e-8)


def test_passes_over_rows_and_the_factor_left_behind_give_the_same(seed):
    spectrum, E, _ = embedding_of(X, 40, 3, seed)
    reference = spectrum.embedding_map.points
    rows, kernel = as_row_matrix(X, block_size=17), Kernel("rbf", {"gamma": GAMMA})
    features = nystroem_features(rows, kernel, 40, reference, rng=RNG)
    assert features.cholesky is None
    other = spectral_embedding.spectral_embedding(rows, kernel, features, 3)
    np.testing.assert_allclose(other.eigenvalues, spectrum.eigenvalues, atol=1e-8)
    F = rows.map(embedded, other.embedding_map, rows.dtype, n_columns=4)
    np.testing.assert_allclose(np.abs(F[:, :-1]), np.abs(E), atol=1e-8)


def test_landmarks_among_a_sample_of_the_rows_come_close(monkeypatch, seed):
    monkeypatch.setattr(nystroem, "_FACTOR_ENTRIES", 40 * 80)
    spectrum, _, _ = embedding_of(X, 40, 3, seed)
    values, _ = dense_random_walk(K, 3)
    np.testing.assert_allclose(spectrum.eigenvalues[:3], values, atol=0.05)


def test_a_degree_is_at_least_the_affinity_to_itself():
    F = np.array([[0.6, 0.8], [-0.6, 0.0], [0.1, 0.0]])
    left = 1 - np.sum(F**2, axis=1)
    d = degrees(F, F.sum(axis=0), left)
    # F F^T 1 is 0.7, -0.06 and 0.01: less than ones, the affinities to themselves.
    np.testing.assert_array_equal(d, np.ones(3))
    np.testing.assert_allclose(degrees(3 * F, 3 * F.sum(axis=0), left)[0], 9.0)


def test_no_eigenvalue_exceeds_one_where_affinities_are_exact(seed):
    spectrum, _, _ = embedding_of(X, len(X), 2, seed)
    assert spectrum.eigenvalues[0] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("eigenvalues", "n_clusters"),
    [
        ([1.0], 1),
        ([1.0, 0.2, 0.1], 2),
        ([1.0, 1.0, 1.0, 0.3], 3),
        ([1.0, 0.99, 0.98, 0.97, 0.6, 0.55, 0.5], 4),
        ([1.0, 1.0, 1.0], 3),
    ],
)
def test_the_gap_of_the_eigenvalues_is_found(eigenvalues, n_clusters):
    assert spectral_embedding.eigengap(np.array(eigenvalues)) == n_clusters


def indicators(seed, k=4, n=200, noise=0.05):
    """Return a rotated, noisy, embedding of k groups, and the groups."""
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(k), rng.integers(k, size=n - k)])
    E = np.eye(k)[groups] / np.sqrt(np.bincount(groups))[groups, np.newaxis]
    rotation = np.linalg.qr(rng.standard_normal((k, k)))[0]
    return E @ rotation + noise * rng.standard_normal((n, k)) / np.sqrt(n), groups


METHODS = ["kmeans", "discretize", "cluster_qr"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_groups_are_told_apart_whatever_the_rotation(method, dtype, seed):
    E, groups = indicators(seed)
    rule = assignment.find_assignment(
        E.astype(dtype), 4, method, n_init=5, rng=np.random.default_rng(seed)
    )
    assert adjusted_rand_score(groups, rule.labels(E)) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_label_depends_on_its_row_alone(method, seed):
    E, _ = indicators(seed, noise=2)
    rule = assignment.find_assignment(
        E, 4, method, n_init=1, rng=np.random.default_rng(seed)
    )
    labels = rule.labels(E)
    alone = [int(rule.labels(E[i : i + 1])[0]) for i in range(len(E))]
    assert labels.tolist() == alone


def test_kmeans_started_on_a_sample_ends_where_no_row_would_move(monkeypatch, seed):
    monkeypatch.setattr(assignment, "_START_ROWS", 40)
    monkeypatch.setattr(assignment, "_ROWS_PER_CLUSTER", 10)
    E, groups = indicators(seed, noise=0.3)
    rule = assignment.nearest_center(E, 4, n_init=10, rng=np.random.default_rng(seed))
    labels = rule.labels(E)
    assert adjusted_rand_score(groups, labels) == 1
    means = [E[labels == j].mean(axis=0) for j in range(4)]
    np.testing.assert_allclose(rule.rotation.T, means, atol=1e-12)


@pytest.mark.parametrize("method", ["discretize", "cluster_qr"])
def test_labels_are_those_of_scikit_learn_on_exact_eigenvectors(method, seed):
    exact = SpectralClustering(
        2, affinity="precomputed", assign_labels=method, random_state=seed
    ).fit_predict(K)
    _, E, _ = embedding_of(X, len(X), 2, seed)
    rule = assignment.find_assignment(
        E, 2, method, n_init=1, rng=np.random.default_rng(seed)
    )
    assert adjusted_rand_score(exact, rule.labels(E)) == 1


@pytest.mark.parametrize("method", METHODS)
def test_an_embedding_of_zeros_has_one_label(method):
    rng = np.random.default_rng(0)
    rule = assignment.find_assignment(np.zeros((5, 2)), 2, method, n_init=1, rng=rng)
    assert len(set(rule.labels(np.zeros((5, 2))).tolist())) == 1

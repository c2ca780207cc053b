"""Spectral clustering on landmarks: the embedding, and labels as linear functions of it."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import scipy.linalg
from sklearn.exceptions import ConvergenceWarning

from ..operators import affinity_passes
from ..operators.affinity_passes import EmbeddingMap
from .numerical_rank import numerical_rank
from .ritz import descending_eigh

# Rows of a factor that are normalised at a time.
_GRAM_ROWS = 8192

# Kernels without a negative value; of others, rows that are looked at, and how far below
# zero, relative to the largest value, is no rounding error.
_POSITIVE = frozenset({"rbf", "laplacian", "chi2"})
_CHECKED_ROWS = 200
_NEGATIVE = 1e-6

# Affinity to all others, relative to that to itself, below which a landmark is isolated;
# and the share of the rows that isolated ones are outliers up to, and beyond which groups.
_ISOLATED = 0.1
_OUTLIERS = 0.05

# Rows that k-means is started on several times: for each cluster, and at least.
_ROWS_PER_CLUSTER = 1000
_START_ROWS = 20_000

# Most rotations of the search for a partition, and the relative gain that ends it.
_ROTATIONS = 30
_ROTATION_GAIN = 1e-12

# Eigenvalues that a number of clusters is told from; and below which of the Laplacian's
# they are taken for zero.
_CONNECTED = 0.5
_DISCONNECTED = 2e-3


class SpectralEmbedding(NamedTuple):
    """Leading eigenvectors of a normalised affinity.

    Attributes
    ----------
    eigenvalues : ndarray of shape (rank,)
        All of the approximation, in decreasing order: the first is 1, but for its error.
    embedding_map : EmbeddingMap
        The leading eigenvectors as functions of a row.
    n_alone : int
        Landmarks similar to no other row that are too many to be left out.
    """

    eigenvalues: np.ndarray
    embedding_map: EmbeddingMap
    n_alone: int


class Assignment(NamedTuple):
    """Labels as the largest of linear scores.

    Attributes
    ----------
    rotation : ndarray of shape (n_components, n_clusters)
    offset : ndarray of shape (n_clusters,)
    """

    rotation: np.ndarray
    offset: np.ndarray

    def labels(self, E):
        """Return the label of each row of an embedding: an ndarray of int.

        Parameters
        ----------
        E : ndarray of shape (n_rows, n_components)
        """
        # No product of BLAS: the label of a row must not depend on which others there are.
        scores = np.einsum("ij,jk->ik", E, self.rotation, dtype=np.float64)
        return (scores + self.offset).argmax(axis=1)


def spectral_embedding(rows, kernel, nystroem, n_components):
    """Find the leading eigenvectors of a normalised affinity, through landmarks.

    With features F, and D the degrees ``F F^T 1``, those of ``D^-1/2 F F^T D^-1/2`` are
    ``D^-1/2 F V Lambda^-1/2``, from ``F^T D^-1 F = V Lambda V^T`` of the size of the
    landmarks. Over the root of the degree they are eigenvectors of the random walk
    (Fowlkes, Belongie, Chung & Malik 2004, in a basis that needs no second
    orthogonalisation).

    Parameters
    ----------
    rows : RowMatrix
        The data.
    kernel : Kernel
        The affinity.
    nystroem : NystroemFeatures
        Its landmarks.
    n_components : int
        Most eigenvectors; fewer where the rank is lower.

    Returns
    -------
    SpectralEmbedding

    Raises
    ------
    ValueError
        Where landmarks and a sample of the rows have a negative affinity.

    Notes
    -----
    A landmark that is similar to no other row is a group of its own, with an eigenvalue of
    one. A few such outliers are left out of the graph.

    ``n m^2`` flops for the Gram matrix, from the factor that the choice of landmarks
    left. Where it left none, two passes over the rows: one evaluates n m affinities for
    the degrees, the other once more for the features, and another ``n m^2`` flops.
    """
    if kernel.name not in _POSITIVE:
        _check_affinities(rows, kernel, nystroem.points)
    feature_map = nystroem.feature_map
    if nystroem.cholesky is not None:
        sums, G = _gram_of_factor(nystroem.cholesky)
    else:
        sums, G = _gram_of_rows(rows, kernel, feature_map)
    isolated = _isolated_landmarks(kernel, nystroem, sums)
    n_alone = np.count_nonzero(isolated)
    if feature_map.triangular and _few(isolated, rows.shape[0], n_components):
        n_alone = 0
        # The feature that belongs to such a landmark is that of no other row.
        sums[isolated] = 0.0
        G[isolated] = G[:, isolated] = 0.0
    else:
        isolated[:] = False
    values, V = descending_eigh(G)
    values = np.maximum(values, 0.0)
    rank = numerical_rank(values, G.shape, rows.dtype)
    V = V[: min(n_components, max(1, rank))]
    scale = np.sqrt(np.where(values > 0, values, 1.0)[: len(V)])
    # Signs are arbitrary: those that make the largest coefficient positive.
    scale *= np.sign(V[np.arange(len(V)), np.abs(V).argmax(axis=1)])
    W = feature_map.W
    numerators = W.T @ (V / scale[:, np.newaxis]).T
    embedding_map = EmbeddingMap(
        kernel,
        nystroem.points,
        feature_map.columns,
        numerators,
        W.T @ sums,
        np.flatnonzero(~isolated),
    )
    return SpectralEmbedding(values, embedding_map, n_alone)


def _check_affinities(rows, kernel, points):
    """Raise ValueError where an affinity is negative, by more than rounding."""
    n = rows.shape[0]
    sample = np.unique(np.linspace(0, n - 1, min(n, _CHECKED_ROWS)).astype(np.intp))
    B = rows.take(sample).in_memory()
    blocks = kernel(B, B), kernel(B, points)
    least = min(K.min() for K in blocks)
    if least < -_NEGATIVE * max(np.abs(K).max() for K in blocks):
        raise ValueError(
            f"The affinity of two samples is {least:.3g}: affinities must not be "
            "negative. Use rbf, laplacian or chi2, or non-negative data with an affinity "
            "that is an inner product."
        )


def _isolated_landmarks(kernel, nystroem, sums):
    """Return which landmarks are similar to no other row.

    Their degrees are exact, as is the kernel between landmarks and all rows.
    """
    points = nystroem.points
    d = kernel(points, points) @ (nystroem.feature_map.W.T @ sums)
    return d <= (1 + _ISOLATED) * kernel.diagonal(points)


def _few(isolated, n_rows, n_components):
    """Whether isolated landmarks are outliers: not many, and not all there is."""
    most = min(_OUTLIERS * n_rows, len(isolated) - n_components)
    return 0 < np.count_nonzero(isolated) <= most


def _gram_of_factor(cholesky):
    """Return the sums of the features, and their Gram matrix over the degrees."""
    F, left = cholesky.factor, cholesky.residual_diagonal
    sums = F.sum(axis=0, dtype=np.float64)
    state = None
    for start in range(0, len(F), _GRAM_ROWS):
        part = slice(start, start + _GRAM_ROWS)
        state = affinity_passes.add_affinity_gram(state, F[part], sums, left[part])
    return sums, state[0]


def _gram_of_rows(rows, kernel, feature_map):
    """Return the same in two passes over the rows."""
    (sums,) = rows.fold(
        affinity_passes.fold_column_sums,
        feature_map.columns,
        feature_map.shape[1],
        rows.dtype,
    )
    sums = feature_map.W @ sums
    if not np.isfinite(sums).all():
        raise ValueError("Input X contains NaN, infinity or a value too large.")
    (G,) = rows.fold(
        affinity_passes.fold_affinity_gram, kernel, feature_map, sums, rows.dtype
    )
    return sums, G


def eigengap(eigenvalues):
    """Return the number of clusters, two at least, that the eigenvalues suggest.

    Of k disconnected groups, k eigenvalues of the Laplacian are zero (von Luxburg 2007,
    section 8.3). Here k is followed by the largest ratio of neighbours, among those
    that belong to a connected group rather than to noise.

    Parameters
    ----------
    eigenvalues : ndarray of shape (rank,)
        Of the normalised affinity, decreasing: 1 less those of the Laplacian.

    Returns
    -------
    int
        1 where there is one eigenvalue.
    """
    laplacian = np.maximum(1 - np.append(eigenvalues, 0.0), _DISCONNECTED)
    n = np.count_nonzero(eigenvalues > _CONNECTED)
    ratios = laplacian[1:] / laplacian[:-1]
    return min(2, len(eigenvalues)) if n <= 2 else 2 + int(np.argmax(ratios[1:n]))


def assignment(E, n_clusters, method, *, n_init, rng):
    """Find the rule that gives labels to the rows of an embedding.

    Parameters
    ----------
    E : ndarray of shape (n_rows, n_components)
    n_clusters : int
    method : {"kmeans", "discretize", "cluster_qr"}
        The last two give one cluster for each component.
    n_init : int
        Starts of k-means.
    rng : Generator

    Returns
    -------
    Assignment
    """
    if method == "kmeans":
        return nearest_center(E, n_clusters, n_init=n_init, rng=rng)
    if method == "discretize":
        return nearest_partition(E, rng=rng)
    return pivoted_rows(E)


def nearest_center(E, n_clusters, *, n_init, rng):
    """k-means, by the nearest centre.

    Started several times on a sample of the rows, and once, from the best, on all.
    """
    from sklearn.cluster import KMeans

    def centers_of(rows, **start):
        means = KMeans(n_clusters, random_state=int(rng.integers(2**31)), **start)
        with warnings.catch_warnings():
            # Fewer distinct rows than clusters: the others stay without a row.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return means.fit(rows).cluster_centers_

    size = max(_START_ROWS, _ROWS_PER_CLUSTER * n_clusters)
    if len(E) <= size:
        centers = centers_of(E, n_init=n_init)
    else:
        sample = np.sort(rng.choice(len(E), size=size, replace=False))
        start = centers_of(E[sample], n_init=n_init)
        centers = centers_of(E, n_init=1, init=start)
    centers = centers.astype(np.float64)
    return Assignment(centers.T, -np.einsum("ij,ij->i", centers, centers) / 2)


def pivoted_rows(E):
    """By the orthogonal matrix nearest to the rows that pivoted QR chooses.

    Damle, Minden & Ying (2019), algorithm 1. Scores keep their sign: a row opposite to a
    cluster is not one of it.
    """
    E64 = E.astype(np.float64)
    p = E.shape[1]
    pivots = scipy.linalg.qr(E64.T, mode="r", pivoting=True)[1][:p]
    U, _, Vt = np.linalg.svd(E64[pivots].T, full_matrices=False)
    return Assignment(U @ Vt, np.zeros(Vt.shape[1]))


def nearest_partition(E, *, rng):
    """By the rotation that brings the rows nearest to a partition.

    Yu & Shi (2003): columns of equal norm, rows of norm one; in turn the partition
    nearest to the rotated rows, and the rotation nearest to that.
    """
    columns = np.linalg.norm(E.astype(np.float64), axis=0)
    scale = 1 / np.where(columns > 0, columns, 1.0)
    rows = E * scale
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > 0] / norms[norms > 0, np.newaxis]
    p = E.shape[1]
    if not len(rows):
        return Assignment(np.eye(p), np.zeros(p))
    rotation = _most_different(rows, rng)
    before = 0.0
    for _ in range(_ROTATIONS):
        chosen = (rows @ rotation).argmax(axis=1)
        sums = np.stack([rows[chosen == j].sum(axis=0) for j in range(p)])
        U, s, Vt = np.linalg.svd(sums)
        if s.sum() - before <= _ROTATION_GAIN * len(rows):
            break
        before = s.sum()
        rotation = (U @ Vt).T
    return Assignment(scale[:, np.newaxis] * rotation, np.zeros(p))


def _most_different(rows, rng):
    """Return rows as columns: one at random, then those most orthogonal to the others."""
    p = rows.shape[1]
    chosen = np.empty((p, p))
    overlap = np.zeros(len(rows))
    row = rows[rng.integers(len(rows))]
    for j in range(p):
        chosen[:, j] = row
        overlap += np.abs(rows @ row)
        row = rows[overlap.argmin()]
    return chosen

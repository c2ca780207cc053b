"""Spectral clustering on landmarks: eigenvectors of affinities, and the labels of rows."""

from typing import NamedTuple

import numpy as np

from ..._refusals import refuse_not_finite
from ...operators.threads import consecutive
from ..dense.rank import numerical_rank
from ..dense.ritz import descending_eigh
from .affinity import (
    EmbeddingMap,
    add_affinity_gram,
    embedded,
    fold_affinity_gram,
    fold_column_sums,
)
from .assignment import Assignment, find_assignment

# A factor is normalised this many rows at a time.
_GRAM_ROWS = 8192

# Kernels without a negative value. For others this many rows are looked at, and a value
# is negative if it is below zero by this share of the largest.
_POSITIVE = frozenset({"rbf", "laplacian", "chi2"})
_CHECKED_ROWS = 200
_NEGATIVE = 1e-6

# A landmark is isolated where its affinity to all other rows is below this share of its
# affinity to itself. Isolated landmarks are outliers up to this share of the rows; more of
# them are groups.
_ISOLATED = 0.1
_OUTLIERS = 0.05

# The number of clusters is told from eigenvalues above the first; those of the Laplacian
# below the second count as zero.
_CONNECTED = 0.5
DISCONNECTED = 2e-3


class SpectralEmbedding(NamedTuple):
    """Leading eigenvectors of a normalised affinity.

    Attributes
    ----------
    eigenvalues : ndarray of shape (rank,)
        All eigenvalues of the approximation, in decreasing order. The first is 1, up to
        the error of the approximation.
    embedding_map : EmbeddingMap
        The leading eigenvectors as functions of a row.
    n_alone : int
        Landmarks similar to no other row that are too many to be left out.
    """

    eigenvalues: np.ndarray
    embedding_map: EmbeddingMap
    n_alone: int


class ClusterRule(NamedTuple):
    """The cluster of any row, from its embedding.

    Attributes
    ----------
    embedding_map : EmbeddingMap
    assignment : Assignment
        Labels of what has an embedding.
    landmark_labels : ndarray of int of shape (m,)
        Labels of the landmarks, which rows without an embedding take.
    """

    embedding_map: EmbeddingMap
    assignment: Assignment
    landmark_labels: np.ndarray

    def labels(self, E, landmarks):
        """Return the labels of embedded rows, which `EmbeddingMap.of_rows` gives."""
        labels, lost = self.assignment.labels(E), landmarks >= 0
        labels[lost] = self.landmark_labels[landmarks[lost]]
        return labels.astype(np.int32)


def cluster_rule(embedding_map, E, landmarks, n_clusters, method, *, n_init, rng):
    """Find the rule that gives clusters to rows, from the embedding of some.

    Parameters
    ----------
    embedding_map : EmbeddingMap
    E : ndarray of shape (n_rows, n_components)
        As of ``embedding_map.of_rows``, as are the next.
    landmarks : ndarray of int of shape (n_rows,)
    n_clusters : int
        Number of clusters.
    method : str
        Of `find_assignment`, as is `n_init`.
    n_init : int
        Starts of k-means.
    rng : Generator
        Seeds the search for labels.

    Returns
    -------
    ClusterRule
    """
    # Rows of zeros, which stand for no place, would be a cluster of their own.
    known = E[landmarks < 0]
    known = E if len(known) < n_clusters else known
    assignment = find_assignment(known, n_clusters, method, n_init=n_init, rng=rng)
    of_landmarks = embedded(embedding_map.points, embedding_map, E.dtype)[:, :-1]
    return ClusterRule(embedding_map, assignment, assignment.labels(of_landmarks))


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
    kernel : KernelSource
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
    # Fowlkes et al. need A^-1/2 of the landmarks' affinities and a second eigenproblem to
    # make the vectors orthogonal. F^T D^-1 F has both in one.
    values, V = descending_eigh(G)
    values = np.maximum(values, 0.0)
    rank = numerical_rank(values, G.shape, rows.dtype)
    V = V[: min(n_components, max(1, rank))]
    scale = np.sqrt(np.where(values > 0, values, 1.0)[: len(V)])
    # Signs are arbitrary: those that make the largest coefficient positive.
    scale *= np.sign(V[np.arange(len(V)), np.abs(V).argmax(axis=1)])
    embedding_map = EmbeddingMap(
        kernel=kernel,
        points=nystroem.points,
        columns=feature_map.columns,
        numerators=feature_map.W.T @ (V / scale[:, np.newaxis]).T,
        degree=feature_map.W.T @ sums,
        connected=np.flatnonzero(~isolated),
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
    for part in consecutive(len(F), _GRAM_ROWS):
        state = add_affinity_gram(state, F[part], sums, left[part])
    return sums, state[0]


def _gram_of_rows(rows, kernel, feature_map):
    """Return the same in two passes over the rows."""
    (sums,) = rows.fold(
        fold_column_sums, feature_map.columns, feature_map.shape[1], rows.dtype
    )
    sums = feature_map.W @ sums
    refuse_not_finite(sums)
    (G,) = rows.fold(fold_affinity_gram, kernel, feature_map, sums, rows.dtype)
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
    laplacian = np.maximum(1 - np.append(eigenvalues, 0.0), DISCONNECTED)
    n = np.count_nonzero(eigenvalues > _CONNECTED)
    ratios = laplacian[1:] / laplacian[:-1]
    return min(2, len(eigenvalues)) if n <= 2 else 2 + int(np.argmax(ratios[1:n]))

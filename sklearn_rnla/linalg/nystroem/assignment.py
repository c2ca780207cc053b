"""Labels of the rows of a spectral embedding, as linear functions of it."""

import warnings
from typing import NamedTuple

import numpy as np
import scipy.linalg
from sklearn.exceptions import ConvergenceWarning

# The several starts of k-means see this many rows for each cluster, and at least so many.
_ROWS_PER_CLUSTER = 1000
_START_ROWS = 20_000

# The search for a partition ends after so many rotations, or below this relative gain.
_ROTATIONS = 30
_ROTATION_GAIN = 1e-12


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
        # BLAS rounds by the shape of the product, and the label of a row must not depend on
        # which other rows there are.
        scores = np.einsum("ij,jk->ik", E, self.rotation, dtype=np.float64)
        return (scores + self.offset).argmax(axis=1)


def find_assignment(E, n_clusters, method, *, n_init, rng):
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
    """Return the rule that labels a row by the nearest centre of k-means.

    Beyond some rows, k-means is started several times on a sample, and once on all of
    them from the best centres that were found there.
    """
    from sklearn.cluster import KMeans

    def centers_of(rows, **start):
        means = KMeans(n_clusters, random_state=int(rng.integers(2**31)), **start)
        with warnings.catch_warnings():
            # With fewer distinct rows than clusters, some clusters have no row.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return means.fit(rows).cluster_centers_

    size = max(_START_ROWS, _ROWS_PER_CLUSTER * int(n_clusters))
    if len(E) <= size:
        centers = centers_of(E, n_init=n_init)
    else:
        sample = np.sort(rng.choice(len(E), size=size, replace=False))
        start = centers_of(E[sample], n_init=n_init)
        centers = centers_of(E, n_init=1, init=start)
    centers = centers.astype(np.float64)
    return Assignment(centers.T, -np.einsum("ij,ij->i", centers, centers) / 2)


def pivoted_rows(E):
    """Return the rule of pivoted QR: the orthogonal matrix nearest to the rows it chooses.

    Damle, Minden & Ying (2019), algorithm 1. Unlike there, scores keep their sign: a row
    opposite to a cluster does not belong to it.
    """
    E64 = E.astype(np.float64)
    p = E.shape[1]
    pivots = scipy.linalg.qr(E64.T, mode="r", pivoting=True)[1][:p]
    # The rows chosen stand for the clusters. Their polar factor turns them to unit vectors.
    U, _, Vt = np.linalg.svd(E64[pivots].T, full_matrices=False)
    return Assignment(U @ Vt, np.zeros(Vt.shape[1]))


def nearest_partition(E, *, rng):
    """Return the rotation that brings the rows nearest to a partition.

    Yu & Shi (2003). Columns are scaled to equal norms and rows to norm one. Then the
    partition nearest to the rotated rows and the rotation nearest to that partition are
    found in turn.
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
    """Return rows as columns: a random one, then the most orthogonal to those before."""
    p = rows.shape[1]
    chosen = np.empty((p, p))
    overlap = np.zeros(len(rows))
    row = rows[rng.integers(len(rows))]
    for j in range(p):
        chosen[:, j] = row
        overlap += np.abs(rows @ row)
        row = rows[overlap.argmin()]
    return chosen

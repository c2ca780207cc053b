"""The graph of affinities: kernel values between rows and landmarks, and its passes."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

from ...operators.feature_map import features, gram_rows
from ...operators.kernels import KernelSource
from ...operators.passes import row_squared_norms
from ...operators.rows import add_states
from ...operators.threads import consecutive, tile_rows

# A degree below this share of a row's affinity to itself counts as lost. The degree of a
# sample is at least the whole of it; that of a new row is less if it is far from samples.
_SELF_SHARE = 0.5

# A degree is rounding below this many eps of the sum of its absolute terms.
_ROUNDING = 64.0


def fold_column_sums(state, block, columns, n_columns, dtype):
    """Fold the sums ``[K^T 1]`` of a block's kernel columns K, a tile at a time."""
    size = tile_rows(n_columns, np.dtype(dtype).itemsize)
    sums = np.zeros(n_columns)
    for part in consecutive(block.values.shape[0], size):
        K = columns(block.values[part], dtype)
        sums += K.sum(axis=0, dtype=np.float64)
    return add_states(state, [sums])


def fold_affinity_gram(state, block, kernel, feature_map, sums, dtype):
    """Fold ``[F^T D^-1 F]`` of the features F, with D the approximate degrees."""
    for part in consecutive(block.values.shape[0], gram_rows(feature_map.shape[0])):
        values = block.values[part]
        F = features(values, feature_map, dtype)
        left = kernel.diagonal(values) - row_squared_norms(F)
        state = add_affinity_gram(state, F, sums, np.maximum(left, 0.0))
    return state


def add_affinity_gram(state, F, sums, left):
    """Add ``[F^T D^-1 F]`` to the state, in float64.

    Parameters
    ----------
    state : list or None
    F : ndarray of shape (n_rows, rank)
        Features.
    sums : ndarray of shape (rank,)
        Sums of the features of all rows.
    left : ndarray of shape (n_rows,)
        What the features leave of the affinity of each row to itself.
    """
    d = degrees(F, sums, left)
    # A row that is similar to nothing, not even itself, takes no part.
    weight = np.where(d > 0, 1 / np.where(d > 0, d, 1.0), 0.0)
    F = F * np.sqrt(weight)[:, np.newaxis].astype(F.dtype)
    return add_states(state, [(F.T @ F).astype(np.float64, copy=False)])


def degrees(F, sums, left):
    """Return the degrees ``F F^T 1``, no less than the affinity of each row to itself.

    That bounds the exact degrees, as affinities are not negative; those of an
    approximation may be. Otherwise `left` is no part of the degrees: in the equation
    ``(F F^T + diag(left)) u = lambda (D + diag(left)) u`` it cancels for lambda near 1, and
    in D alone it would take the leading eigenvalues below those of noise.
    """
    return np.maximum(F @ sums, row_squared_norms(F) + left)


@dataclass(frozen=True)
class EmbeddingMap:
    """Eigenvectors of the random walk on a graph, as functions of a row.

    Parameters
    ----------
    kernel : KernelSource
        The affinity.
    points : ndarray or csr_array of shape (m, n_features)
        Landmarks.
    columns : callable
        ``kernel.at(points)``.
    numerators : ndarray of shape (m, n_components)
        ``k(x, points) numerators`` over the degree is the embedding of x.
    degree : ndarray of shape (m,)
        ``k(x, points) degree`` is the degree of x.
    connected : ndarray of int
        The landmarks that a row without a degree may be assigned to.
    """

    kernel: KernelSource
    points: object
    columns: object
    numerators: np.ndarray
    degree: np.ndarray
    connected: np.ndarray

    def __getstate__(self):
        # What is made of the landmarks is made again.
        return {k: v for k, v in vars(self).items() if k != "columns"}

    def __setstate__(self, state):
        vars(self).update(state, columns=state["kernel"].at(state["points"]))

    def of_rows(self, rows):
        """Return the embedding of rows, and the landmarks of those that have none.

        Parameters
        ----------
        rows : RowMatrix

        Returns
        -------
        E : ndarray of shape (n_rows, n_components)
        landmarks : ndarray of int of shape (n_rows,)
            Where the degree is lost, the most similar landmark; -1 elsewhere.
        """
        n_columns = self.numerators.shape[1] + 1
        out = np.asarray(rows.map(embedded, self, rows.dtype, n_columns=n_columns))
        return np.ascontiguousarray(out[:, :-1]), out[:, -1].astype(np.intp)


def embedded(values, embedding, dtype):
    """Return the embedding of a block's rows, and a column that says which have none.

    Parameters
    ----------
    values : ndarray or csr_array of shape (n_rows, n_features)
    embedding : EmbeddingMap
    dtype : numpy dtype
        Kernel values are in it, their products in float64.

    Returns
    -------
    ndarray of shape (n_rows, n_components + 1)
        In the last column -1; or, of a row whose degree is lost, the most similar
        landmark. Its embedding is zero then.
    """
    m, p = embedding.numerators.shape
    degree = embedding.degree
    dual = np.column_stack([embedding.numerators, degree, np.abs(degree)])
    rounding = _ROUNDING * np.finfo(dtype).eps
    out = np.zeros((values.shape[0], p + 1), dtype)
    size = tile_rows(m, 8)
    for tile in consecutive(len(out), size):
        B = values[tile]
        K = embedding.columns(B, dtype).astype(np.float64, copy=False)
        product = K @ dual
        d, terms = product[:, -2], product[:, -1]
        bar = np.maximum(_SELF_SHARE * embedding.kernel.diagonal(B), rounding * terms)
        known = (d >= bar) & (d > 0)
        part = out[tile]
        part[:, -1] = -1
        part[known, :-1] = product[known, :-2] / d[known, np.newaxis]
        lost = np.flatnonzero(~known)
        if len(lost):
            part[lost, -1] = _most_similar(B[lost], K[lost], embedding)
    return out


def _most_similar(B, K, embedding):
    """Return the landmark of largest affinity, or the nearest where all are zero."""
    connected = embedding.connected
    K = K[:, connected]
    nearest = K.argmax(axis=1)
    vanished = np.flatnonzero(K.max(axis=1) <= 0)
    if len(vanished):
        points = embedding.points[connected]
        nearest[vanished] = pairwise_distances_argmin(B[vanished], points)
    return connected[nearest]

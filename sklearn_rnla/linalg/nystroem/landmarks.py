"""Choice of landmarks, and the root of their kernel matrix."""

import warnings
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.linalg
from sklearn.exceptions import ConvergenceWarning

from ...operators.psd_matrix import KernelMatrix
from ..dense.triangular import inverse_cholesky, triangular_inverse
from .distinct import distinct_rows
from .pivoted_cholesky import (
    INDEFINITE,
    PRODUCT_FLOOR,
    ElectedPivots,
    GivenPivots,
    GreedyPivots,
    NotPositiveSemidefiniteError,
    PivotedCholesky,
    complete_cholesky,
    pivoted_cholesky,
)

# k-means runs on at most this many rows for each centre.
_ROWS_PER_CENTER = 40

# Up to this many rows, all of them candidates for as many landmarks, the kernel matrix is
# factored at once: some copies of it in double precision, half a gigabyte at most.
_MOST_COMPLETE = 4096


class Landmarks(NamedTuple):
    """Landmarks chosen among rows.

    Attributes
    ----------
    points : ndarray or sparse matrix of shape (m, n_features)
    indices : ndarray of shape (m,) or None
        Which rows they are; None for centres of clusters.
    cholesky : PivotedCholesky or None
        The factorisation that the choice leaves behind.
    """

    points: object
    indices: np.ndarray | None = None
    cholesky: PivotedCholesky | None = None


class InverseRoot(NamedTuple):
    """``K_mm ~ (W^+) (W^+)^T``: a root of the inverse of the landmarks' kernel.

    Attributes
    ----------
    kept : ndarray of int
        The landmarks used.
    W : ndarray of shape (rank, len(kept))
        Features of rows B are ``k(B, Z) W^T``.
    triangular : bool
        Whether W is lower triangular.
    definite : bool
        Whether no negative eigenvalue was found.
    """

    kept: np.ndarray
    W: np.ndarray
    triangular: bool = True
    definite: bool = True


def choose_landmarks(A, X, k, method, *, weight=None, tol=0.0, rng, report=None):
    """Choose landmarks among the distinct rows of X that have weight.

    A row of weight w is as w copies of it, of which one may become a landmark, and the
    order of the rows does not matter.

    Parameters
    ----------
    A : PSDMatrix
        Kernel matrix of X.
    X : ndarray or csr_array of shape (n, n_features)
        Candidates.
    k : int
        Most landmarks, at most n.
    method : {"rpcholesky", "uniform", "greedy", "kmeans", "leverage"}
    weight : ndarray of shape (n,), default=None
        Weights of the rows.
    tol : float
        Relative trace error at which to stop; not for "kmeans".
    rng : Generator
    report : callable, default=None
        Called after each block of pivots.

    Returns
    -------
    Landmarks
    """
    # Rows of a kernel matrix are no points: each stands for itself.
    if isinstance(A, KernelMatrix):
        rows, copies = distinct_rows(X, weight)
    else:
        rows, copies = np.arange(A.shape[0]), np.ones(A.shape[0])
    if method == "kmeans":
        return Landmarks(_cluster_centers(X, rows, copies, k, rng))
    factored = {"candidates": rows, "weight": weight, "tol": tol, "report": report}
    k = min(k, len(rows))
    if method in ("rpcholesky", "greedy") and len(rows) <= min(k, _MOST_COMPLETE):
        cholesky = complete_cholesky(A, **factored)
    elif method == "rpcholesky":
        pivots = partial(ElectedPivots, rng, copies)
        cholesky = pivoted_cholesky(A, k, pivots, **factored)
    elif method == "greedy":
        cholesky = pivoted_cholesky(A, k, GreedyPivots, **factored)
    else:
        if method == "uniform":
            indices = rows[draw_by_weight(copies, k, rng)]
        else:
            indices = recursive_leverage_sample(A, k, rng, rows, copies)
        if tol == 0:
            return Landmarks(X[indices], indices)
        factored["candidates"] = indices
        pivots = partial(GivenPivots, np.arange(len(indices)))
        cholesky = pivoted_cholesky(A, k, pivots, **factored)
    return Landmarks(X[cholesky.pivots], cholesky.pivots, cholesky)


def draw_by_weight(weight, k, rng):
    """Draw k places without replacement, one by one in proportion to their weights.

    The first of clocks that ring at these rates (Efraimidis & Spirakis 2006).
    """
    keys = rng.exponential(size=len(weight)) / weight
    first = np.argpartition(keys, k - 1)[:k] if k < len(keys) else np.arange(len(keys))
    return first[np.argsort(keys[first])]


def _cluster_centers(X, rows, weight, k, rng):
    """Return the centres of k-means on a sample of the rows, by decreasing size."""
    from sklearn.cluster import KMeans

    size = _ROWS_PER_CENTER * k
    if len(rows) > size:
        # At equal steps through the weights: as often as it has weight, up to one.
        cumulative = np.cumsum(weight)
        steps = (rng.random() + np.arange(size)) * (cumulative[-1] / size)
        drawn = np.searchsorted(cumulative, steps, side="right").clip(max=len(rows) - 1)
        drawn, weight = np.unique(drawn, return_counts=True)
        rows = rows[drawn]
    k = min(k, len(rows))
    seed = int(rng.integers(2**31))
    means = KMeans(k, n_init=1, max_iter=10, random_state=seed)
    with warnings.catch_warnings():
        # Of centres that are equal, the root of their kernel drops the surplus.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means.fit(X[rows], sample_weight=weight)
    sizes = np.bincount(means.labels_, weights=weight, minlength=k)
    return means.cluster_centers_[np.argsort(-sizes, kind="stable")]


def recursive_leverage_sample(A, k, rng, rows=None, copies=None):
    """Sample k distinct indices by approximate ridge leverage scores.

    Musco & Musco (2017), algorithm 3, with the ridge that belongs to the rank they
    sample for. The last sample is drawn without replacement.

    Parameters
    ----------
    A : PSDMatrix
    k : int
    rng : Generator
    rows : ndarray of int of shape (m,), default=None
        Those to sample from; None means all.
    copies : ndarray of shape (m,), default=None
        How often each of them counts.

    Returns
    -------
    ndarray of shape (k,)
    """
    rows = np.arange(A.shape[0]) if rows is None else rows
    n = len(rows)
    order = rows[rng.permutation(n)]
    if k >= n:
        return order
    diagonal, counts = A.diagonal(), np.ones(A.shape[0])
    counts[rows] = 1.0 if copies is None else copies
    oversampling = np.log(max(k, 3))
    rank = max(1, int(np.ceil(k / (4 * oversampling))))
    sizes = [n]
    while sizes[-1] > 2 * k:
        sizes.append(-(-sizes[-1] // 2))
    # Their recursion on half of the rows, unrolled: from the smallest set to all of it.
    sample, weight = order[: min(k, sizes[-1])], np.ones(min(k, sizes[-1]))
    for size in reversed(sizes):
        rows = order[:size]
        # Copies are as one row that is longer by the root of their number.
        root = weight * np.sqrt(counts[sample])
        scores = counts[rows] * _overestimates(A, diagonal, rows, sample, root, rank)
        if size == n:
            break
        probability = np.minimum(1.0, oversampling * scores)
        drawn = rng.random(size) < probability
        # A sample of at most k keeps the cost that of k landmarks.
        sample = rows[drawn][:k] if drawn.any() else rows[:k]
        weight = (
            np.sqrt(1 / probability[drawn][:k]) if drawn.any() else np.ones(len(sample))
        )
    # Scores are zero only where the kernel is. Such rows come last.
    return order[draw_by_weight(np.maximum(scores, 1e-100), k, rng)]


def _overestimates(A, diagonal, rows, sample, weight, rank):
    """Return ridge leverage scores of `rows`, estimated from a weighted sample."""
    scaled = A.submatrix(sample) * np.outer(weight, weight)
    values = np.linalg.eigvalsh(scaled)[::-1]
    if values[-1] < -INDEFINITE * abs(values[0]):
        raise NotPositiveSemidefiniteError(
            f"A is not positive semidefinite: it has an eigenvalue below {values[-1]:.3g}."
        )
    if values[0] <= 0:
        return np.ones(len(rows))
    rounding = 10 * len(sample) * np.finfo(A.dtype).eps * values[0]
    ridge = max(values[rank:].sum() / rank, rounding)
    scaled.flat[:: len(sample) + 1] += ridge
    # l_i = (K - K S (S^T K S + ridge I)^-1 S^T K)_ii / ridge, by a Cholesky factor of the
    # inner matrix.
    weighted = inverse_cholesky(scaled) * weight
    columns = A.columns(sample)

    def captured(tile):
        half = weighted @ columns(tile)
        return np.einsum("ij,ij->j", half, half)

    gain = np.concatenate(A.over_tiles(captured))
    return np.clip((diagonal[rows] - gain[rows]) / ridge, 0.0, 1.0)


def inverse_root(K, eps):
    """Return a root of the inverse of the landmarks' kernel matrix.

    Parameters
    ----------
    K : ndarray of shape (m, m)
        In float64.
    eps : float
        Relative rounding error of the products that the root will be used in.

    Returns
    -------
    InverseRoot
        The inverse of a Cholesky factor: of K as it is, or, where landmarks are
        numerically dependent, of those that pivoting keeps. Where K has negative
        eigenvalues, the part of the spectral decomposition above
        ``64 eps lambda_max``.
    """
    m = len(K)
    # A smaller pivot is rounding in the products that the root is used in.
    floor = PRODUCT_FLOOR * eps * max(np.abs(np.diagonal(K)).max(), 0.0)
    with suppress(np.linalg.LinAlgError):
        L = np.linalg.cholesky(K)
        if np.diagonal(L).min() ** 2 > floor:
            return InverseRoot(np.arange(m), triangular_inverse(L))
    # Some landmarks depend on others: complete pivoting passes over these.
    L, order, rank, _ = scipy.linalg.lapack.dpstrf(K, tol=floor, lower=1)
    order, L = order - 1, np.tril(L)[:, :rank]
    rest = np.diagonal(K)[order[rank:]] - np.einsum("ij,ij->i", L[rank:], L[rank:])
    if rank and rest.min(initial=0.0) >= -floor * m:
        return InverseRoot(order[:rank], triangular_inverse(L[:rank]))
    # What pivoting leaves is no rounding error: there are negative eigenvalues.
    values, U = np.linalg.eigh(K)
    scale = np.abs(values).max()
    kept = values > PRODUCT_FLOOR * eps * scale
    if not kept.any():
        return InverseRoot(np.arange(1), np.zeros((1, 1)), definite=scale == 0)
    W = np.ascontiguousarray((U[:, kept] / np.sqrt(values[kept])).T[::-1])
    return InverseRoot(np.arange(m), W, triangular=False, definite=False)


def feature_error(K_diagonal, features):
    """Return the relative trace error of features on a sample of rows.

    Parameters
    ----------
    K_diagonal : ndarray of shape (n,)
    features : ndarray of shape (n, rank)

    Returns
    -------
    float
    """
    total = float(K_diagonal.sum())
    if total <= 0:
        return 0.0
    captured = np.einsum("ij,ij->", features, features, dtype=np.float64)
    return max(0.0, 1.0 - float(captured) / total)

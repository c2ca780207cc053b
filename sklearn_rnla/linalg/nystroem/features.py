"""Nystroem approximation: features of rows, made from the kernel at landmarks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..._sklearn import assert_all_finite
from ..._typing import AnyArray, Array, DTypeLike
from ...operators import Block
from ...operators.feature_map import FeatureMap
from ...operators.passes import row_squared_norms
from ...operators.rows import add_states
from .landmarks import (
    Landmarks,
    choose_landmarks,
    draw_by_weight,
    feature_error,
    inverse_root,
)
from .pivoted_cholesky import NotPositiveSemidefiniteError, PivotedCholesky

# Most entries of the factor that a choice of landmarks keeps in memory, and of the
# candidates it chooses from.
_FACTOR_ENTRIES = 2**27
_CANDIDATE_ENTRIES = 2**28

# Landmarks a candidate sample is sized for where their number is not known beforehand.
_TYPICAL_LANDMARKS = 1000

# Rows that an error is estimated from; of an indefinite kernel, the square is evaluated.
_ERROR_ROWS = 2000
_ERROR_ROWS_INDEFINITE = 400


class NystroemFeatures(NamedTuple):
    """A kernel feature map.

    Attributes
    ----------
    points : ndarray or csr_array of shape (m, n_features)
        The landmarks; of a precomputed kernel, their rows.
    indices : ndarray of shape (m,) or None
        Which rows they are.
    feature_map : FeatureMap
        The map.
    error_estimate : float or None
        Relative trace error; for an indefinite kernel, relative Frobenius error. None
        where it follows from the features of all rows, which the caller sums.
    cholesky : PivotedCholesky or None
        Where the choice of landmarks saw all rows: its factor holds their features.
    """

    points: object
    indices: np.ndarray | None
    feature_map: FeatureMap
    error_estimate: float | None
    cholesky: PivotedCholesky | None


def nystroem_features(
    rows: Any,
    kernel: Any,
    k: int | None,
    landmarks: AnyArray | str,
    *,
    tol: float = 0.0,
    n_jobs: int | None = None,
    rng: np.random.Generator,
    report: Callable[[], bool] | None = None,
    sums_features: bool = False,
) -> NystroemFeatures:
    """Choose landmarks and make a feature map of them.

    Parameters
    ----------
    rows : RowMatrix
        The data, with their weights; with a `PrecomputedKernel` the kernel matrix.
    kernel : KernelSource
        The kernel.
    k : int or None
        Most landmarks; None is the number of rows.
    landmarks : str or ndarray
        A method of `choose_landmarks`, or row indices, or points.
    tol : float
        Relative trace error at which to stop.
    n_jobs : int or None
        Threads over tiles.
    rng : Generator
        Draws candidates, landmarks and the sample of the error.
    report : callable, default=None
        Called after each block of landmarks.
    sums_features : bool, default=False
        Whether the caller needs the Gram matrix of all features, which tells the trace
        error as well.

    Returns
    -------
    NystroemFeatures

    Notes
    -----
    Landmarks are chosen among all rows while the factor this takes, n k entries, and the
    rows are moderate in size; beyond 2^27 and 2^28 entries, among a uniform sample.
    """
    n = rows.shape[0]
    k = n if k is None else min(k, n)
    if isinstance(landmarks, str):
        chosen, definite = _choose(
            rows, kernel, k, landmarks, tol=tol, n_jobs=n_jobs, rng=rng, report=report
        )
    else:
        chosen, definite = _given(rows, landmarks), not kernel.indefinite
    chosen, feature_map, has_root = _feature_map(kernel, chosen, rows.dtype)
    definite = definite and has_root
    if chosen.cholesky is not None and definite:
        error = chosen.cholesky.relative_error
    elif definite and sums_features and not tol:
        error = None
    elif definite and tol > 0:
        chosen, feature_map, error = _up_to(tol, rows, kernel, chosen, feature_map, rng)
    else:
        error = _estimated_error(rows, kernel, feature_map, definite, rng)
    return NystroemFeatures(
        points=chosen.points,
        indices=chosen.indices,
        feature_map=feature_map,
        error_estimate=error,
        cholesky=chosen.cholesky,
    )


def _choose(rows, kernel, k, method, *, tol, n_jobs, rng, report):
    """Choose landmarks among the rows, or among a sample of them.

    Returns
    -------
    chosen : Landmarks
        Their indices are those of the rows. The factorisation is kept where it is that of
        all rows.
    definite : bool
        Whether no negative eigenvalue was found.
    """
    sample = _candidates(rows, kernel, k, rng)
    X = (rows if sample is None else rows.take(sample)).in_memory()
    assert_all_finite(X, input_name="X")
    A, k = kernel.matrix(X, n_jobs), min(k, X.shape[0])
    # A sample was drawn by the weights.
    weight = rows.weight if sample is None else None
    weight = None if weight is None else weight.astype(np.float64)
    definite = not kernel.indefinite
    options = {"weight": weight, "rng": rng}
    if definite:
        try:
            chosen = choose_landmarks(A, X, k, method, tol=tol, report=report, **options)
        except NotPositiveSemidefiniteError:
            definite = False
    if not definite:
        # Pivoting follows the residual diagonal, which says nothing if it can be negative.
        method = "kmeans" if method == "kmeans" else "uniform"
        chosen = choose_landmarks(A, X, k, method, **options)
    if X.shape[0] and not chosen.points.shape[0]:
        # A kernel that is zero on every row gets one landmark, and a feature of zeros.
        first = np.arange(1) if weight is None else np.flatnonzero(weight)[:1]
        chosen = Landmarks(X[first], first)
    if sample is not None:
        indices = None if chosen.indices is None else sample[chosen.indices]
        chosen = chosen._replace(indices=indices, cholesky=None)
    return chosen, definite


def _candidates(rows, kernel, k, rng):
    """Return the rows that landmarks are chosen among, or None for all of them."""
    n = rows.shape[0]
    k = _TYPICAL_LANDMARKS if k == n else k
    size = min(_FACTOR_ENTRIES // k, _CANDIDATE_ENTRIES * n // max(1, rows.nnz))
    size = max(k, size)
    if size >= n or not kernel.takes_points:
        return None
    weighted = np.arange(n) if rows.weight is None else np.flatnonzero(rows.weight)
    weight = np.ones(n) if rows.weight is None else rows.weight[weighted]
    return np.sort(weighted[draw_by_weight(weight, size, rng)])


def _given(rows, landmarks):
    """Return a user's landmarks: rows by their indices, or points."""
    n, n_features = rows.shape
    if landmarks.ndim == 1:
        if len(landmarks) == 0 or landmarks.min() < -n or landmarks.max() >= n:
            raise ValueError(
                f"landmarks must be indices of the n_samples={n} rows, at least one."
            )
        indices = landmarks % n
        order = np.unique(indices)
        points = rows.take(order).in_memory()[np.searchsorted(order, indices)]
    else:
        if landmarks.shape[1] != n_features:
            raise ValueError(
                f"landmarks have {landmarks.shape[1]} features, but X has {n_features}."
            )
        points, indices = landmarks.astype(rows.dtype), None
    assert_all_finite(points, input_name="landmarks")
    return Landmarks(points, indices)


def _feature_map(kernel, chosen, dtype):
    """Make the feature map of landmarks from the inverse root of their kernel matrix.

    Returns
    -------
    chosen : Landmarks
        The landmarks that do not depend numerically on others. The factorisation is
        dropped with the first of these, as its columns are the features of all of them.
    feature_map : FeatureMap
        The map.
    definite : bool
        Whether the kernel matrix of the landmarks has no negative eigenvalue.
    """
    points, indices = chosen.points, chosen.indices
    K = kernel.among(indices)(points, points)
    root = inverse_root((K + K.T) / 2, np.finfo(dtype).eps)
    if len(root.kept) < points.shape[0] or not root.triangular:
        indices = None if indices is None else indices[root.kept]
        chosen = Landmarks(points[root.kept], indices)
    columns = kernel.among(indices).at(chosen.points)
    return chosen, FeatureMap(columns, root.W, root.triangular), root.definite


def _estimated_error(rows, kernel, feature_map, definite, rng):
    """Estimate the relative error of features from some of the rows.

    The trace measures what the features leave only where that is positive semidefinite.
    For an indefinite kernel the error is that of the Frobenius norm.
    """
    return (trace_error if definite else _frobenius_error)(rows, kernel, feature_map, rng)


def trace_error(rows: Any, kernel: Any, feature_map: Any, rng: np.random.Generator) -> Any:
    """Estimate the relative trace error; the trace itself is that of all rows."""
    return feature_error(*_sampled_features(rows, kernel, feature_map, rng))


def _sampled_features(rows, kernel, feature_map, rng):
    """Return the kernel's diagonal and the features of a sample, as rows of all weight."""
    n = rows.shape[0]
    if n <= _ERROR_ROWS:
        sample, stands_for = np.arange(n), np.ones(n)
    else:
        diagonal = kernel_diagonal(rows, kernel)
        sample, stands_for = _largest_and_others(diagonal, _ERROR_ROWS, rng)
    B = rows.take(sample).in_memory()
    assert_all_finite(B, input_name="X")
    if rows.weight is not None:
        stands_for = stands_for * rows.weight[sample].astype(np.float64)
    root = np.sqrt(stands_for)[:, np.newaxis]
    features = feature_map.of_tile(B, np.float64) * root
    return kernel.among(sample).diagonal(B) * stands_for, features


def _up_to(tol, rows, kernel, chosen, feature_map, rng):
    """Return the first landmarks that reach a tolerance, their map, and the error.

    Each feature of a triangular root is of the landmarks up to its own, so that the errors
    of any number of them follow from the features of all.
    """
    diagonal, features = _sampled_features(rows, kernel, feature_map, rng)
    captured = np.cumsum(np.einsum("ij,ij->j", features, features))
    m = np.count_nonzero(diagonal.sum() - captured > tol * diagonal.sum()) + 1
    if not feature_map.triangular or m >= len(captured):
        return chosen, feature_map, feature_error(diagonal, features)
    indices = None if chosen.indices is None else chosen.indices[:m]
    chosen = Landmarks(chosen.points[:m], indices)
    columns = kernel.among(indices).at(chosen.points)
    feature_map = FeatureMap(columns, feature_map.W[:m, :m].copy(), triangular=True)
    return chosen, feature_map, feature_error(diagonal, features[:, :m])


def _frobenius_error(rows, kernel, feature_map, rng):
    """Estimate the relative Frobenius error from a square of kernel values."""
    (parts,) = rows.fold(fold_diagonal_error, kernel, feature_map, rows.dtype)
    sizes = np.concatenate(parts)
    sample, stands_for = _largest_and_others(sizes, _ERROR_ROWS_INDEFINITE, rng)
    # A pair of rows stands for as many pairs as the two do together, an entry of the
    # diagonal for as many as its row.
    pairs = np.outer(stands_for, stands_for)
    np.fill_diagonal(pairs, stands_for)
    if rows.weight is not None:
        weight = rows.weight[sample].astype(np.float64)
        pairs *= np.outer(weight, weight)
    B = rows.take(sample).in_memory()
    features = feature_map.of_tile(B, np.float64)
    K = kernel.among(sample)(B, B)
    norms = np.sum(pairs * K**2, axis=1)
    left = np.sum(pairs * (K - features @ features.T) ** 2, axis=1)
    if not norms.sum():
        return 0.0
    share = left.sum() / norms.sum()
    # Two standard errors of this ratio, as each row drawn is in both sides of its pairs.
    drawn = stands_for > 1
    spread = np.var((left - share * norms)[drawn]) if drawn.any() else 0.0
    variance = drawn.sum() * spread * (1 - 1 / stands_for.max())
    return float(np.sqrt(share + 4 * np.sqrt(variance) / norms.sum()))


def _largest_and_others(sizes, k, rng):
    """Return the rows of largest size, as many others, and what each stands for.

    Few rows may have most of an error, and a uniform sample would miss them.

    Parameters
    ----------
    sizes : ndarray of shape (n,)
        Large where a row may have a large error.
    k : int
        Number of rows.
    rng : Generator

    Returns
    -------
    sample : ndarray of int
        Indices of rows, in order.
    stands_for : ndarray
        The number of rows that each of these represents.
    """
    # Of rows of equal size, some at random are the largest.
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    largest, others = order[: k // 2], order[k // 2 :]
    others_drawn = rng.permutation(others)[: k - len(largest)]
    sample = np.concatenate([largest, others_drawn])
    stands_for = np.ones(len(sample))
    stands_for[len(largest) :] = len(others) / max(1, len(others_drawn))
    place = np.argsort(sample)
    return sample[place], stands_for[place]


def kernel_diagonal(rows: Any, kernel: Any) -> Any:
    """Return ``k(b, b)`` of all rows: ndarray of shape (n_rows,)."""
    return np.concatenate(rows.fold(fold_diagonal, kernel)[0])


def fold_diagonal(state: Any, block: Block, kernel: Any) -> list[list[Array]]:
    """Fold the diagonal of the kernel: ``[[k(b, b) of the rows]]``."""
    rows = np.arange(block.start, block.start + block.values.shape[0])
    return add_states(state, [[kernel.among(rows).diagonal(block.values)]])


def fold_diagonal_error(
    state: Any, block: Block, kernel: Any, feature_map: FeatureMap, dtype: DTypeLike
) -> list[list[Array]]:
    """Fold how far the squared norms of a block's features are from the kernel's diagonal.

    State: ``[[|k(b, b) - F_b F_b^T| of the rows]]``.
    """
    for part in feature_map.tiles(block.values.shape[0], dtype):
        B = block.values[part]
        assert_all_finite(B, input_name="X")
        F = feature_map.of_tile(B, dtype)
        rows = np.arange(block.start + part.start, block.start + part.stop)
        error = np.abs(kernel.among(rows).diagonal(B) - row_squared_norms(F))
        state = add_states(state, [[error]])
    return state

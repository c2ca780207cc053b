"""Nystroem approximation: features of rows, and eigenpairs of a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from .._sklearn import assert_all_finite
from ..operators.kernel_passes import FeatureMap
from ..operators.kernels import INDEFINITE, Kernel
from ..operators.psd import ExplicitMatrix, KernelMatrix
from .landmarks import choose_landmarks, feature_error, inverse_root
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


@dataclass(frozen=True)
class ChosenColumns:
    """Columns of a precomputed kernel, in the place of ``Kernel.at``."""

    indices: np.ndarray

    def __call__(self, B, dtype):
        """Return the columns of a tile of rows."""
        chosen = B[:, self.indices]
        return np.asarray(chosen if isinstance(B, np.ndarray) else chosen.toarray(), dtype)


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
    error_estimate : float
        Relative trace error; for an indefinite kernel, relative Frobenius error.
    cholesky : PivotedCholesky or None
        Where the choice of landmarks saw all rows: its factor holds their features.
    """

    points: object
    indices: np.ndarray | None
    feature_map: FeatureMap
    error_estimate: float
    cholesky: PivotedCholesky | None


def nystroem_features(
    rows, kernel, k, landmarks, *, tol=0.0, n_jobs=None, rng, report=None
):
    """Choose landmarks and make a feature map of them.

    Parameters
    ----------
    rows : RowMatrix
        The data; with ``kernel="precomputed"`` the kernel matrix.
    kernel : Kernel or "precomputed"
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
    if isinstance(kernel, str) and rows.shape[0] != rows.shape[1]:
        raise ValueError(f"A precomputed kernel of shape {rows.shape} must be square.")
    every = cholesky = None
    indefinite = _is_indefinite(kernel)
    if not isinstance(landmarks, str):
        points, indices = _own_landmarks(rows, landmarks, kernel)
        assert_all_finite(points, input_name="landmarks")
    else:
        size = min(n, _n_candidates(rows, k, n))
        sample = None if size == n else np.sort(rng.choice(n, size=size, replace=False))
        if isinstance(kernel, str):
            size, sample = n, None
        X = (rows if sample is None else rows.take(sample)).in_memory()
        assert_all_finite(X, input_name="X")
        if isinstance(kernel, str):
            A = ExplicitMatrix(X, n_jobs)
        else:
            A = KernelMatrix(kernel, X, n_jobs)
        choose = partial(choose_landmarks, A, X, min(k, size), rng=rng)
        try:
            chosen = None if indefinite else choose(landmarks, tol=tol, report=report)
        except NotPositiveSemidefiniteError:
            indefinite, chosen = True, None
        if chosen is None:
            chosen = choose("kmeans" if landmarks == "kmeans" else "uniform")
        points, indices, cholesky = chosen
        if len(A.diagonal()) and not points.shape[0]:
            # A kernel that is zero on every row has one landmark, and a zero feature.
            points, indices, cholesky = X[:1], np.arange(1), None
        every = sample is None
        if indices is not None and sample is not None:
            indices = sample[indices]
    if isinstance(kernel, str):
        K = ChosenColumns(indices)(points, np.float64)
    else:
        K = kernel(points, points)
    root = inverse_root((K + K.T) / 2, np.finfo(rows.dtype).eps)
    whole = len(root.kept) == points.shape[0] and root.triangular
    if not whole:
        points = points[root.kept]
        indices = None if indices is None else indices[root.kept]
    columns = ChosenColumns(indices) if isinstance(kernel, str) else kernel.at(points)
    feature_map = FeatureMap(columns, root.W, root.triangular)
    if not (every and whole):
        cholesky = None
    definite = root.definite and not indefinite
    if cholesky is not None and definite:
        error = cholesky.relative_error
    else:
        error = _estimated_error(rows, kernel, feature_map, definite, rng)
    return NystroemFeatures(points, indices, feature_map, error, cholesky)


def _is_indefinite(kernel):
    return isinstance(kernel, Kernel) and kernel.name in INDEFINITE


def _n_candidates(rows, k, n):
    k = _TYPICAL_LANDMARKS if k == n else k
    return max(k, min(_FACTOR_ENTRIES // k, _CANDIDATE_ENTRIES * n // max(1, rows.nnz)))


def _own_landmarks(rows, landmarks, kernel):
    """Return points and indices of a user's landmarks."""
    n, n_features = rows.shape
    if landmarks.ndim == 1:
        if len(landmarks) == 0 or landmarks.min() < -n or landmarks.max() >= n:
            raise ValueError(
                f"landmarks must be indices of the n_samples={n} rows, at least one."
            )
        indices = landmarks % n
        order = np.unique(indices)
        points = rows.take(order).in_memory()
        return points[np.searchsorted(order, indices)], indices
    if isinstance(kernel, str):
        raise ValueError("landmarks of a precomputed kernel must be indices.")
    if landmarks.shape[1] != n_features:
        raise ValueError(
            f"landmarks have {landmarks.shape[1]} features, but X has {n_features}."
        )
    return landmarks.astype(rows.dtype), None


def _estimated_error(rows, kernel, feature_map, definite, rng):
    """Estimate the error of features from uniformly sampled rows."""
    n = rows.shape[0]
    size = min(n, _ERROR_ROWS if definite else _ERROR_ROWS_INDEFINITE)
    sample = np.sort(rng.choice(n, size=size, replace=False))
    B = rows.take(sample).in_memory()
    assert_all_finite(B, input_name="X")
    features = feature_map.of_tile(B, np.float64)
    if isinstance(kernel, str):
        K = np.asarray(
            B[:, sample] if isinstance(B, np.ndarray) else B[:, sample].toarray()
        )
        diagonal = np.diagonal(K)
    else:
        diagonal = kernel.diagonal(B)
    if definite:
        return feature_error(diagonal, features)
    if not isinstance(kernel, str):
        K = kernel(B, B)
    norm = np.linalg.norm(K)
    return float(np.linalg.norm(K - features @ features.T) / norm) if norm else 0.0

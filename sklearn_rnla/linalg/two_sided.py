"""Block Krylov iteration on both sides of a matrix in memory."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ..operators import passes
from .orth import complete_rows, extend_rows, orthonormal_rows, product64
from .ritz import descending_eigh
from .triangular import inverse_cholesky

# The iteration starts from this share of the rows.
_SAMPLE_SHARE = 0.05

# What is lacking is at least this share of the last gain, and this many times what it
# would be if gains fell by a constant factor.
_LEAST_SHARE = 0.05
_SAFETY = 3.5

# The basis is cut back to its leading Ritz vectors beyond this many blocks.
MAX_BLOCKS = 8

# Squared norms within this many eps of the largest, or of all, are lost in rounding.
_LOST = 10

# Energies this far below the largest cost digits of the other factor: it is computed from
# the orthonormal one by another product.
_ACCURATE = 1e-3


class TwoSidedSVD(NamedTuple):
    """Leading singular triplets.

    Attributes
    ----------
    U : ndarray of shape (n_rows, k)
        Orthonormal columns.
    singular_values : ndarray of shape (k,)
        In decreasing order.
    Vt : ndarray of shape (k, n_columns)
        Orthonormal rows.
    error_estimate : float
        In the unit of `error_of`.
    converged : bool
        Whether it is within the tolerance.
    n_passes : int
        Products with the matrix and its transpose.
    """

    U: np.ndarray
    singular_values: np.ndarray
    Vt: np.ndarray
    error_estimate: float
    converged: bool
    n_passes: int


def two_sided_krylov(A, k, width, *, tol, error_of, max_passes, rng):
    """Find the leading singular triplets of a dense matrix.

    Parameters
    ----------
    A : ndarray of shape (n_rows, n_columns)
    k : int
        Number of triplets wanted.
    width : int
        Vectors iterated, at least k.
    tol : float
        Error at which to stop.
    error_of : callable
        ``error_of(lacking, captured)`` returns the error where so much of the energy (sum
        of squares) of the best rank k is lacking and captured, as shares of that of A.
    max_passes : int
        Most passes to make, at least 2.
    rng : Generator

    Returns
    -------
    TwoSidedSVD or None
        None where fewer than k singular values stand out of rounding.

    Raises
    ------
    ValueError
        When A has NaN, infinity, or values too large to be squared.

    Notes
    -----
    `block_krylov` in the coordinates of the left factor: what a pass has of them, ``A
    V^T``, is kept, so that the last step needs no pass of its own, and is half a power
    further. Memory for that of up to `MAX_BLOCKS` passes. What is lacking is estimated from
    the gains of each Ritz value in the last pass, on either side, of which one is half a
    step ahead of the other; in the worst case, a spectrum without decay, it converges as
    the square of the passes (Musco & Musco 2015).
    """
    if A.shape[0] < A.shape[1]:
        # Products aside, most work is on right vectors: let them be the short ones.
        options = {"tol": tol, "error_of": error_of, "max_passes": max_passes, "rng": rng}
        found = two_sided_krylov(A.T, k, width, **options)
        return None if found is None else found._replace(U=found.Vt.T, Vt=found.U.T)
    squared_norm = passes.squared_norm(A)
    passes.check_finite(squared_norm, A.dtype)
    if not squared_norm > 0:
        return None
    # Fourth powers of singular values are to come: keep them in range.
    scale = float(np.sqrt(squared_norm))
    eps = float(np.finfo(A.dtype).eps)
    basis = _Basis(A.dtype)
    block = _coarse_rows(A, width, scale, rng)
    right = left = np.zeros(k)
    error = np.inf
    for n_passes in range(1, max_passes + 1):
        image = (block / scale) @ A.T
        product = image @ A
        product /= scale
        basis.add(block, image, product)
        energies, C = basis.left_ritz(k)
        if len(energies) < k:
            return None
        captured = float(energies.sum())
        values = basis.right_energies(k)
        half_before = np.maximum(values - right, 0.0)
        gained = np.maximum(energies - left, 0.0)
        right, left = values, energies
        if n_passes > 1:
            lacking = _lacking(gained, half_before, n_passes)
            error = _error(error_of, lacking, captured, eps)
            if error <= tol or lacking <= eps * captured:
                break
        if n_passes == max_passes:
            break
        block = extend_rows(basis.V, product)
        if not len(block):
            error = _error(error_of, 0.0, captured, eps)
            break
        if len(basis.V) + len(block) > MAX_BLOCKS * width:
            basis.restart(2 * width)
    C = C.astype(A.dtype)
    images = C @ basis.Z if energies[-1] > _ACCURATE * energies[0] else None
    U, s, Vt = _rotated(A, C @ basis.Y, images, scale)
    return TwoSidedSVD(U, s, Vt, float(error), bool(error <= tol), n_passes)


def _error(error_of, lacking, captured, eps):
    rounding = _LOST * eps * captured
    # Of a matrix that is captured but for rounding, rounding is all that can be seen.
    return eps if 1 - captured <= rounding else error_of(lacking + rounding, captured)


def _lacking(gained, half_before, n_passes):
    """Return what the passes to come would gain.

    Given what each value gained in the last pass, and half a pass before.
    """
    most = n_passes / 2
    ratios = gained / np.maximum(half_before, np.finfo(np.float64).tiny)
    ratios = np.minimum(ratios, 1.0) ** 2
    shares = _SAFETY * ratios / np.maximum(1 - ratios, _SAFETY / most * ratios)
    return float(gained @ np.maximum(shares, _LEAST_SHARE))


def _coarse_rows(A, width, scale, rng):
    """Return orthonormal rows near the leading singular vectors, from a sample of A."""
    n_rows = min(len(A), max(4 * width, int(_SAMPLE_SHARE * len(A))))
    sample = A[np.sort(rng.choice(len(A), n_rows, replace=False))]
    sample /= scale
    mixed = rng.standard_normal((width, n_rows), np.float32).astype(A.dtype, copy=False)
    V = orthonormal_rows(mixed @ sample, n_rounds=1)
    V = orthonormal_rows((V @ sample.T) @ sample)
    return complete_rows(V, width, rng)


class _Basis:
    """Orthonormal rows V, their images ``Y = V A^T`` and ``Z = Y A``, and Gram matrices.

    Attributes
    ----------
    H, K : ndarray
        Of the rows of Y, and of Z, in float64.
    """

    def __init__(self, dtype):
        self.dtype = dtype
        self.V = self.Y = self.Z = None
        self.H = self.K = np.empty((0, 0))

    def add(self, V, Y, Z):
        """Add a block."""
        if self.V is not None:
            old = (self.V, self.Y, self.Z)
            pairs = zip(old, (V, Y, Z), strict=True)
            self.V, self.Y, self.Z = (np.concatenate(pair) for pair in pairs)
        else:
            self.V, self.Y, self.Z = V, Y, Z
        self.H, self.K = _extended(self.H, self.Y, Y), _extended(self.K, self.Z, Z)

    def left_ritz(self, k):
        """Return captured energies, and rows C such that those of C Y are orthonormal.

        Of the span of the rows of Y, C Y are the k leading left vectors of A; fewer where
        others are lost in rounding.
        """
        T = self._whitening()
        values, vectors = descending_eigh(T @ self.K @ T.T)
        return values[:k], vectors[:k] @ T

    def right_energies(self, k):
        """Return the energies that the k leading right vectors in the span of V capture."""
        return np.linalg.eigvalsh(self.H)[: -k - 1 : -1]

    def _whitening(self):
        """Return T such that the rows of T Y are orthonormal."""
        lost = _LOST * np.finfo(self.dtype).eps
        with suppress(np.linalg.LinAlgError):
            T = inverse_cholesky(self.H)
            # The trace of the inverse bounds the least eigenvalue.
            if np.sum(T * T) * np.trace(self.H) * lost < 1:
                return T
        values, vectors = descending_eigh(self.H)
        kept = values > lost * values[0]
        return vectors[kept] / np.sqrt(values[kept])[:, np.newaxis]

    def restart(self, n_rows):
        """Keep the leading right Ritz vectors: H is the matrix of their problem, too."""
        values, rotation = descending_eigh(self.H)
        rotation = rotation[:n_rows]
        self.H = np.diag(values[:n_rows])
        self.K = rotation @ self.K @ rotation.T
        rotation = rotation.astype(self.dtype)
        self.V, self.Y, self.Z = (rotation @ rows for rows in (self.V, self.Y, self.Z))


def _extended(gram, rows, fresh):
    """Return the Gram matrix of `rows`, given that of all before the last, `fresh`."""
    known = len(gram)
    extended = np.empty((len(rows), len(rows)))
    extended[:known, :known] = gram
    extended[known:] = product64(fresh, rows)
    extended[:known, known:] = extended[known:, :known].T
    return extended


def _rotated(A, Ut, images, scale):
    """Return U, s and V^T of ``Q^T (Q A)``, where Q are orthonormal rows of those of Ut.

    They are nearly so already, and `images` is ``Ut A / scale``, if it is accurate.
    """
    if images is None:
        Q = orthonormal_rows(Ut)
        B = Q @ A
        B /= scale
    else:
        to_orthonormal = inverse_cholesky(product64(Ut, Ut)).astype(A.dtype)
        Q, B = to_orthonormal @ Ut, to_orthonormal @ images
    # The rows of accurate images are nearly orthogonal.
    basis = orthonormal_rows(B, n_rounds=2 if images is None else 1)
    left, s, right = np.linalg.svd(product64(B, basis), full_matrices=False)
    left, right = left.astype(A.dtype), right.astype(A.dtype)
    return (left.T @ Q).T, (scale * s).astype(A.dtype), right @ basis
